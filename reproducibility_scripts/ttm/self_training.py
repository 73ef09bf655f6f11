"""The original's epochs without a person: learn, play, label, learn again (TTM spec 6.5); score against epoch with 95% bands.

    python reproducibility_scripts/ttm/self_training.py --epochs 3 --games 20     # kitchens of level 1, minutes on two cores

Epoch 0 learns from the teacher. Every epoch then plays the training games at temperature 0.7 (``student_train``) and games of
the test split greedily (``student_test``); its rollouts are labelled (event, failure, outcome) and join the data of the next
epoch by the admission rule of run, epoch and partition. All values stay, since values are only worth asking for where bad ones
are known; episodes that repeat themselves (unique commands under half) go, and a game counts eight rollouts at most.

Written below ``--folder``: the runs, ``epochs.{csv,md}``. Finished epochs are not trained again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from maskbench.app.campaign import Campaign
from maskbench.app.config.schema import PolicyConfig
from maskbench.app.text_rollout import as_rollout
from maskbench.app.text_train import TextModel, load_text_model, make_text_policy
from maskbench.envs.text.family import TextGames
from maskbench.envs.text.kitchen import KitchenLite
from maskbench.policies.text_agents import AgentPolicy
from maskbench.policies.text_baselines import Expert, Noisy
from maskbench.reports.tables import Cell, Measured, Table
from maskbench.rollout.metrics import bootstrap_mean
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.runner import PolicyFactory, RolloutRunner
from maskbench.text.labellers import label
from maskbench.text.rollout import TextRollout, write

LABELLERS = ("event", "failure", "outcome")
PER_GAME = 8


def kept(rollouts: Iterable[TextRollout]) -> Iterator[TextRollout]:
    """Without episodes that repeat themselves, and at most ``PER_GAME`` of a game."""
    seen: Counter[int | None] = Counter()
    for rollout in rollouts:
        commands = [s.command for s in rollout.visible if s.command]
        if commands and len(set(commands)) * 2 >= len(commands) and seen[rollout.seed] < PER_GAME:
            seen[rollout.seed] += 1
            yield rollout


def play(games: TextGames, factory: PolicyFactory, episodes: int, about: dict[str, object]) -> list[TextRollout]:
    plan = EpisodePlan.build(episodes, int(str(about.get("epoch", 0))), worlds=games.worlds)
    records = RolloutRunner(games, factory, 1, episodes, record_trajectories=True, progress=False).run(plan)
    return [label(as_rollout(r, {"env": games.name, "split": games.split, **about}), LABELLERS) for r in records]


def main(
    epochs: Annotated[int, typer.Option(help="generations after the teacher's", min=1)] = 3,
    games: Annotated[int, typer.Option(help="training games", min=2)] = 20,
    level: Annotated[int, typer.Option(help="cooking level of the kitchens", min=1, max=4)] = 1,
    steps: Annotated[int, typer.Option(help="steps of an epoch's training", min=1)] = 150,
    folder: Annotated[Path, typer.Option(help="where runs, rollouts and results go")] = Path("train_runs/ttm/self_training"),
) -> None:
    """Trains, plays and labels epoch after epoch."""
    console = Console(stderr=True)
    train, test = (KitchenLite(level, split=s, games=games, horizon=25) for s in ("train", "test"))  # type: ignore[arg-type]
    data = folder / "rollouts"
    about: dict[str, object] = {"policy": "self", "partition": "teacher", "agent": "expert", "epoch": 0}
    teacher = play(train, lambda: AgentPolicy(lambda: Noisy(Expert(), 0.5, "Recipe #")), 2 * games, about)
    write(data / teacher[0].folder / "rollouts.jsonl", teacher)
    rows: list[tuple[Cell, ...]] = []
    for epoch in range(epochs + 1):
        line = ["env=kitchen_lite", f"env.level={level}", "paper=ttm/self_training", f"dataset.path={data}"]
        line += [f"experiment.epoch={epoch}", f"experiment.num_steps={steps}"]
        if epoch:
            line += [f"model.load_dir={folder / f'epoch_{epoch - 1}'}", "optimizer.lr=1e-3"]
        Campaign(folder, {f"epoch_{epoch}": line}).run(console)
        model = load_text_model(str(folder / f"epoch_{epoch}"))
        rows.append((epoch, *_epoch(model, epoch, train, test, games, data)))
        console.print(f"epoch {epoch}: {rows[-1][1:]}", highlight=False)
    table = Table("Self-training: normalised score by epoch", ("epoch", "student_train", "student_test"), tuple(rows))
    table.save(folder / "epochs")
    console.print(table.to_rich())


def _epoch(
    model: TextModel, epoch: int, train: TextGames, test: TextGames, games: int, data: Path
) -> tuple[Measured, Measured]:
    """Plays both partitions; the training games' rollouts join the data of the next epoch."""
    found = []
    for partition, environment, temperature in (("student_train", train, 0.7), ("student_test", test, 0.0)):
        about: dict[str, object] = {"policy": "self", "partition": partition, "agent": "model", "epoch": epoch}
        policy = PolicyConfig(temperature=temperature)
        rollouts = play(environment, lambda policy=policy: make_text_policy(model, policy, True), games, about)  # type: ignore[misc]
        chosen = list(kept(rollouts)) if partition == "student_train" else rollouts
        if chosen:
            write(data / chosen[0].folder / "rollouts.jsonl", chosen)
        scored = bootstrap_mean(np.array([r.normalised_score or 0.0 for r in rollouts]))
        found.append(Measured(scored.value, scored.low, scored.high))
    return found[0], found[1]


if __name__ == "__main__":
    typer.run(main)
