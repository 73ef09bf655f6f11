"""uniMASK, Figures 4 and 6: one random-mask model of the gridworld, asked in many ways.

    python reproducibility_scripts/unimask/queries.py [FOLDER]

Trains the default model (about two minutes on two CPU cores) unless FOLDER holds it already, then draws ``queries.png``
(walks by conditioning, and trajectories inferred backwards from the goal) and ``beliefs.png`` (where the agent is at
t = 1, 2, 4, 5 given s_0, s_3 and s_6, beside exact inference).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from maskbench.app.campaign import Campaign
from maskbench.app.experiment import Model, build_dataset, load_model
from maskbench.app.plans import waypoint_rows
from maskbench.data.dataset import Dataset
from maskbench.envs.doorkey import DoorKey
from maskbench.envs.doorkey.oracle import Oracle
from maskbench.masking.scheme import MaskSet
from maskbench.policies.imagine import backwards, imagine
from maskbench.policies.queries import Query
from maskbench.reports.plane import grid_beliefs, grid_paths
from maskbench.reports.style import png
from maskbench.rollout.plan import EpisodePlan, PlanRow
from maskbench.rollout.runner import RolloutRunner
from maskbench.trajectory import Window

RUN = ("env=doorkey", "masking=unimask", "evaluation.rollout=[]")
WALKS = 40
GIVEN, ASKED = (0, 3, 6), (1, 2, 4, 5)


def main(root: Path) -> None:
    """Trains what is missing, then draws both figures and prints what they show in numbers."""
    console = Console(stderr=True)
    Campaign(root, {"random": RUN}).run(console)
    model = load_model(str(root / "random"))
    environment = model.environment
    assert isinstance(environment, DoorKey)
    data = build_dataset(model.config.dataset, environment, model.config.experiment.data_root)
    walls = np.zeros((environment.size, environment.size), bool)
    walls[environment.world.wall_x - 1, 1:] = True

    row = waypoint_rows(environment, data, 8, 0, None, model.layout.length)[0].rows[-1]
    walks, marks = rolled_out(model, row)
    walks["backwards"], legal = inferred_backwards(model, environment)
    marks["backwards"] = np.array([[environment.size - 1] * 2])
    console.print(f"backward inference: {legal:.1%} of the inferred steps obey the dynamics")
    (root / "queries.png").write_bytes(png(grid_paths(walks, walls, marks)))

    rows, given = beliefs(model, environment, data)
    gap = np.abs(np.stack(rows["model"]) - np.stack(rows["exact"])).sum((1, 2)) / 2
    told = ", ".join(f"{value:.3f} at t={t}" for value, t in zip(gap, ASKED, strict=True))
    console.print(f"total variation between the model and exact inference: {told}")
    (root / "beliefs.png").write_bytes(png(grid_beliefs(rows, [f"t = {t}" for t in ASKED], walls, given)))
    console.print(f"figures: {root / 'queries.png'} and {root / 'beliefs.png'}")


def rolled_out(model: Model, row: PlanRow) -> tuple[dict[str, list[np.ndarray]], dict[str, np.ndarray]]:
    """Walks ``(11, 2)`` from the start of ``row`` under each conditioning, and the cells that each asks for."""
    size, wanted = model.environment.size, 3 * 4 + 1  # type: ignore[attr-defined]
    goal = {name: np.array(wanted) for name in ("state", "state_key")}
    asked = {
        "behaviour (bc)": replace(row, query="bc"),
        "goal (4, 2)": replace(row, query="goal", goal=goal),
        "return 3": replace(row, query="return", target_return=3.0),
        "waypoints": row,
    }
    walks = {}
    for title, wish in asked.items():
        plan = EpisodePlan(tuple(replace(wish, row=i, policy_seed=i) for i in range(WALKS)))
        policy = partial(model.policy, Query(wish.query), WALKS)
        records = RolloutRunner(model.environment, policy, 1, WALKS, record_trajectories=True).run(plan)
        cells = [np.append(r.trajectory["state"], r.trajectory["final.state"]) for r in records if r.trajectory]
        walks[title] = [np.stack(divmod(c, size), 1) for c in cells]
    points = row.waypoints.states["state"] if row.waypoints is not None else np.array([], int)
    marks = {"goal (4, 2)": np.array([[wanted // size, wanted % size]]), "waypoints": np.stack(divmod(points, size), 1)}
    return walks, marks


def inferred_backwards(model: Model, environment: DoorKey) -> tuple[list[np.ndarray], float]:
    """Walks that end on the goal with the key, and the share of their steps that the dynamics allow."""
    layout, k = model.layout, model.layout.length
    values = {f.name: torch.zeros(WALKS, k, dtype=torch.long) for f in layout.spec}
    visible = torch.zeros(WALKS, k, len(layout.spec.names), dtype=torch.bool)
    for name in ("state", "state_key"):
        values[name][:, -1] = environment.world.goal
        visible[:, -1, layout.column(name)] = True
    drawn = imagine(model.network, values, visible, backwards(layout, k - 1), np.random.default_rng(0))
    state, key, action = (drawn[n].numpy() for n in ("state", "state_key", "action"))
    world = environment.world
    known = np.stack([world.agent, world.key], 1)
    steps = {  # every (agent, key, action, agent, key) that some joint state allows
        (*known[joint].tolist(), a, *known[after].tolist())
        for joint, row in enumerate(world.successor)
        for a, after in enumerate(row)
    }
    found = np.stack([state[:, :-1], key[:, :-1], action[:, :-1], state[:, 1:], key[:, 1:]], -1).reshape(-1, 5)
    legal = float(np.mean([tuple(step) in steps for step in found.tolist()]))
    return [np.stack(divmod(row, environment.size), 1) for row in state], legal


def beliefs(
    model: Model, environment: DoorKey, data: Dataset
) -> tuple[Mapping[str, list[np.ndarray]], dict[str, tuple[int, int]]]:
    """Distributions ``(size, size)`` over the position at ``ASKED`` by the model and by exact inference, and what was given:
    the states at ``GIVEN`` of a held-out episode."""
    layout, size, store = model.layout, environment.size, data.store
    classes = size * size
    firsts = [int(store.ends[e] - store.lengths[e]) for e in data.split.test]

    def turns(first: int) -> int:
        """How far the agent gets off a straight line between the given states: where there is something to infer."""
        x, y = np.array(divmod(np.array(store.array("state")[first + np.array(GIVEN)]), size))
        return int(np.minimum(abs(np.diff(x)), abs(np.diff(y))).sum())

    first = max(firsts, key=turns)
    episode = {f.name: np.array(store.array(f.name)[first : first + layout.length]) for f in layout.spec}
    visible = np.zeros((1, layout.length, len(layout.spec.names)), bool)
    for name in ("state", "state_key"):
        visible[:, list(GIVEN), layout.column(name)] = True

    window = Window({name: torch.as_tensor(value)[None] for name, value in episode.items()})
    mask = torch.as_tensor(visible)
    with torch.no_grad():
        learnt = model.network(window, MaskSet(mask, ~mask), only=["state"])["state"][0].softmax(-1).numpy()

    hypotheses = {name: np.repeat(value[None], classes, 0) for name, value in episode.items()}
    hypotheses["state"][:, list(ASKED)] = np.arange(classes)[:, None]  # row c asks for the probability of class c
    losses = Oracle(environment).cell_losses(hypotheses, visible.repeat(classes, 0), layout.spec.names, ["state"])["state"]
    rows = {
        "model": [learnt[t].reshape(size, size) for t in ASKED],
        "exact": [np.exp(-losses[:, t]).reshape(size, size) for t in ASKED],
    }
    x, y = divmod(episode["state"][list(GIVEN)], size)
    return rows, {f"s{t}": (int(x[i]), int(y[i])) for i, t in enumerate(GIVEN)}


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "train_runs/unimask/queries"))
