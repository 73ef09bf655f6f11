"""The original's epochs without a person: learn, play, label, learn again (TTM spec 6.5); score against epoch with 95% bands.

    python reproducibility_scripts/ttm/self_training.py quick   # three epochs, 20 kitchens of level 1, minutes on two cores
    python reproducibility_scripts/ttm/self_training.py full    # six epochs, 100 kitchens of level 2, ten times the steps

Epoch 0 learns from the teacher, half of whose commands are random. Every epoch then plays the training games at temperature 0.7
(``student_train``) and games of the test split greedily (``student_test``); its rollouts are labelled (event, failure, outcome)
and join the data of the next epoch by the admission rule of run, epoch and partition. All values stay, since values are only
worth asking for where bad ones are known; episodes that repeat themselves (unique commands under half) go, and a game counts
eight rollouts at most.

Written below ``--folder``: the runs, ``self_training.{csv,md,png}``. Finished epochs are not trained again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import ttm_study as study
import typer
from rich.console import Console

from maskbench.app.campaign import Campaign
from maskbench.app.text_rollout import as_rollout
from maskbench.app.text_train import TextModel, load_text_model
from maskbench.envs.text.family import TextGames
from maskbench.envs.text.kitchen import KitchenLite
from maskbench.policies.text_baselines import Expert, Noisy
from maskbench.reports.behaviour import swept
from maskbench.reports.tables import Measured, Table
from maskbench.rollout.policy import Policy
from maskbench.text.labellers import label
from maskbench.text.rollout import TextRollout, write

LABELLERS = ("event", "failure", "outcome")
PER_GAME = 8
#: Generations after the teacher's, training games, cooking level, steps of an epoch's training.
SIZES: Mapping[study.Mode, tuple[int, int, int, int]] = {"quick": (3, 20, 1, 120), "full": (6, 100, 2, 1500)}
#: Share of the teacher's commands that are random.
NOISE = 0.5


def kept(rollouts: Iterable[TextRollout]) -> Iterator[TextRollout]:
    """Without episodes that repeat themselves, and at most ``PER_GAME`` of a game."""
    seen: Counter[int | None] = Counter()
    for rollout in rollouts:
        commands = [s.command for s in rollout.visible if s.command]
        if commands and len(set(commands)) * 2 >= len(commands) and seen[rollout.seed] < PER_GAME:
            seen[rollout.seed] += 1
            yield rollout


def play(
    folder: Path, games: TextGames, policy: Callable[[], Policy], episodes: int, about: Mapping[str, object]
) -> list[TextRollout]:
    """Labelled rollouts of ``episodes`` episodes."""
    records = study.play(folder, games, policy, episodes)
    return [label(as_rollout(r, {"env": games.name, "split": games.split, **about}), LABELLERS) for r in records]


def line(epoch: int, root: Path, mode: study.Mode) -> list[str]:
    """Overrides of one epoch's training."""
    _, _, level, steps = SIZES[mode]
    found = ["paper=ttm/self_training", f"env.level={level}", f"dataset.path={root / 'rollouts'}"]
    found += [f"experiment.epoch={epoch}", f"experiment.num_steps={steps}"]
    before = [f"model.load_dir={root / f'epoch_{epoch - 1}'}", "model.which=last", "optimizer.lr=1e-3"]
    return found + (before if epoch else [])


def students(
    model: TextModel, epoch: int, root: Path, train: TextGames, test: TextGames, games: int
) -> tuple[Measured, Measured]:
    """Scores of both partitions; the training games' rollouts join the data of the next epoch."""
    found = []
    for partition, environment, temperature in (("student_train", train, 0.7), ("student_test", test, 0.0)):
        about = {"policy": "self", "partition": partition, "agent": "model", "epoch": epoch}
        policy = study.player(model, temperature=temperature)
        rollouts = play(root / f"epoch_{epoch}/played/{partition}", environment, policy, games, about)
        chosen = list(kept(rollouts)) if partition == "student_train" else rollouts
        if chosen:
            write(root / "rollouts" / chosen[0].folder / "rollouts.jsonl", chosen)
        found.append(study.mean([np.array([r.normalised_score or 0.0 for r in rollouts])]))
    return found[0], found[1]


def main(mode: study.ModeArgument = "quick", folder: study.Folder = Path("train_runs/ttm/self_training")) -> None:
    """Trains, plays and labels epoch after epoch; then tabulates and draws."""
    how, console = study.checked(mode), Console(stderr=True)
    epochs, games, level, _ = SIZES[how]
    root = folder / how
    train, test = (KitchenLite(level, split=s, games=games, horizon=25) for s in ("train", "test"))  # type: ignore[arg-type]
    about = {"policy": "self", "partition": "teacher", "agent": "expert", "epoch": 0}
    noisy = study.agent(lambda: Noisy(Expert(), NOISE, "Recipe #"))
    teacher = play(root / "teacher", train, noisy, 2 * games, about)
    write(root / "rollouts" / teacher[0].folder / "rollouts.jsonl", teacher)
    curves: dict[str, dict[float, Measured]] = {"student_train": {}, "student_test": {}}
    for epoch in range(epochs + 1):
        Campaign(root, {f"epoch_{epoch}": line(epoch, root, how)}).run(console)
        # the last weights: those best at held-out games of the data, which its own rollouts are not like, would stay the first
        model = load_text_model(str(root / f"epoch_{epoch}"), "last")
        found = students(model, epoch, root, train, test, games)
        for name, score in zip(curves, found, strict=True):
            curves[name][epoch] = score
    best = float(np.mean([r.normalised_score or 0.0 for r in teacher]))
    rows = tuple((e, *(curve[e] for curve in curves.values())) for e in range(epochs + 1))
    notes = (f"The teacher with half of its commands random: {best:.2f}.",)
    table = Table("Self-training: normalised score by epoch", ("epoch", *curves), rows, notes)
    figure = swept("Fitness by epoch", curves, x_label="epoch", y_label="normalised score")
    study.publish(root, "self_training", table, console, figure)


if __name__ == "__main__":
    typer.run(main)
