"""A run folder with synthetic numbers, every agreed file present."""

import json
from pathlib import Path

import numpy as np

from maskbench.rollout.video import grid, write_video

CONFIG = """\
experiment: {name: doorkey_random_mask, seed: 0, num_steps: 20000, record_video: true}
env: {_target_: maskbench.envs.doorkey.DoorKey, size: 4, horizon: "${experiment.num_steps}"}
dataset: {name: "doorkey <500>", split: 0.9}
model: {_target_: maskbench.models.encoder.Encoder, n_layer: 4, n_head: 4, n_embd: 128}
"""
TASKS = {"behaviour_cloning": (1.19, 1.07), "goal": (1.06, 0.98), "past": (4.95, 4.6), "forward_dynamics": (0.32, 0.19)}


def write_run(folder: Path) -> Path:
    draw = np.random.default_rng(0)
    evaluation = folder / "evaluation"
    evaluation.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "card.json").write_text(json.dumps({"hash": "9f3a6c21", "episodes": 500, "name": "doorkey_500", "spec": []}))
    (folder / "timing.csv").write_text("step,samples_per_second\n100,5200\n200,5400\n")

    lines = ["step,train/loss,validation/loss,train/lr"]
    for step in range(0, 2001, 100):
        loss = 1.2 + 6 * np.exp(-step / 300)
        validation = f"{loss * 1.05:.4f}" if step % 500 == 0 else ""
        lines.append(f"{step},{loss + 0.1 * draw.normal():.4f},{validation},{3e-4 * min(1, step / 500):.6f}")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")

    lines = ["task,factor,loss,low,high,n,floor"]
    for task, (loss, floor) in TASKS.items():
        lines += [
            f"{task},action,{loss * 0.4},{loss * 0.39},{loss * 0.41},5000,",
            f"{task},total,{loss},{loss * 0.97},{loss * 1.03},5000,{floor}",
        ]
    (evaluation / "task_losses.csv").write_text("\n".join(lines) + "\n")

    lines = ["query,policy,metric,value,low,high,n,definition"]
    for query, policy, rate in (("bc", "masked", 0.82), ("goal", "masked", 0.93), ("bc", "random", 0.04)):
        lines += [
            f"{query},{policy},success,{rate},{rate - 0.03},{rate + 0.03},200,fraction of episodes with a success event",
            f"{query},{policy},return,{rate * 6},,,200,sum of rewards",
            f"{query},{policy},event:key,{rate},{rate},{rate},200,",
        ]
    (evaluation / "rollouts.csv").write_text("\n".join(lines) + "\n")

    films = [[np.full((24, 24, 3), 40 * k + 3 * t, np.uint8) for t in range(4 + k)] for k in range(4)]
    write_video(grid(films), evaluation / "rollouts_goal.gif", fps=10)
    return folder
