"""Prompt formats and schemes at equal steps (TTM spec 7.3, T2), and what those that foretell observations are worth.

    python reproducibility_scripts/ttm/formats.py quick   # five formats, kitchens of level 1, one seed, minutes
    python reproducibility_scripts/ttm/formats.py full    # all formats of spec 2.2, level 2, three seeds, preset s

Whole-episode schemes (``text_*``) read entity ids and choose among admissible commands. The original's formats are windowed
pairs of prompt and completion, one drawn from each episode, read words and write freely, as the original did; a completion
without a command sends ``look``. Each row took the same number of steps, of as many sequences. All play the
same kitchens of the test split.

Written below ``--folder``: ``formats.{csv,md,png}``; ``expectations.{csv,md}``: what the models that foretell say beside what
happened (token F1, exact); ``surprise.png``: how surprising each observation of a lost game was (F3).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import ttm_study as study
import typer
from rich.console import Console

from maskbench.app.text_eval import ask, tabulate
from maskbench.app.text_rollout import as_rollout
from maskbench.app.text_stream import build_source
from maskbench.app.text_train import TextModel
from maskbench.envs.text.kitchen import KitchenLite
from maskbench.policies.text_expectation import Foretold
from maskbench.reports.comparison import Key
from maskbench.reports.figures import grouped_bars
from maskbench.reports.style import LIGHT, canvas, png, set_title
from maskbench.reports.tables import Cell, Measured, Table
from maskbench.text.rollout import TextRollout

#: Schemes by name, with what they change; formats of the original are windowed pairs.
SCHEMES: Mapping[str, tuple[str, ...]] = {
    "text_bc": ("masking=text_bc",),
    "text_hindsight": ("masking=text_hindsight", "masking.train.given=[obs]", "text.labellers=[event,failure,recipe]"),
    "text_expect_act": ("masking=text_expect_act",),
}
FORMATS: Mapping[study.Mode, tuple[str, ...]] = {
    "quick": ("hindsight_expectation_str", "imitation_inference_str"),
    "full": (
        *("hindsight_expectation_str", "hindsight_expectation_plain_str", "imitation_inference_str", "expected_observation"),
        *("model_inference_str", "model_action_inference_str", "action_inference_str", "obs_summary_t_to_expectation_action"),
    ),
}
SEEDS: Mapping[study.Mode, int] = {"quick": 1, "full": 3}
LEVEL: Mapping[study.Mode, int] = {"quick": 1, "full": 2}
GAMES = 30


def runs(mode: study.Mode, seeds: int) -> dict[str, list[str]]:
    """Overrides by name, ``formats/<format>/<seed>``."""
    level = LEVEL[mode]
    common = ["env=kitchen_lite", f"env.level={level}", "text.kitchen=1", f"text.kitchen_levels=[{level}]", "text.horizon=16"]
    common += ["model.dropout=0.0", "scheduler.final_ratio=0.05", "text.mix=[[0.0,0.6],[0.2,0.4]]"]
    if mode == "quick":
        common += ["model=text_gpt_xs", "model.n_embd=128", "experiment.batch_size=8", "experiment.num_steps=200"]
        common += ["optimizer.lr=3e-3", "trainer.precision=bf16"]
    else:
        common += ["experiment.num_steps=4000"]
    found = {
        f"formats/{name}/{s}": [*own, *common, f"experiment.seed={s}"] for name, own in SCHEMES.items() for s in range(seeds)
    }
    pair = ("masking=text_hindsight", "text.labellers=[event,failure,reading]")
    for name in FORMATS[mode]:
        for s in range(seeds):
            form = f"masking.train.format={name}"
            found[f"formats/{name}/{s}"] = [*pair, *common, form, f"experiment.seed={s}"]
    return found


def report(root: Path, models: Mapping[str, Sequence[TextModel]], games: KitchenLite, console: Console) -> None:
    """Scores by format."""
    rows: list[tuple[Cell, ...]] = []
    bars: dict[Key, Measured] = {}
    for name, own in models.items():
        played = [study.play(root / name / str(s) / "played/kitchens", games, study.player(m)) for s, m in enumerate(own)]
        seeds = [study.scores(records, games) for records in played]
        short = name.removeprefix("formats/")
        bars[short, "score"] = study.mean(seeds)
        kind = "whole episodes, admissible" if short in SCHEMES else "windowed pairs, free"
        rows.append((short, kind, bars[short, "score"], study.won(played)))
    random = study.scores(study.play(root / "formats/chance", games, study.chance), games)
    bars["random admissible", "score"] = study.mean([random])
    rows.append(("random admissible", "", bars["random admissible", "score"], None))
    table = Table("Formats at equal steps: normalised score", ("format", "reads, decodes", "score", "won"), tuple(rows))
    study.publish(root, "formats", table, console, grouped_bars("Formats at equal steps", bars, unit="normalised score"))


def expectations(root: Path, models: Mapping[str, Sequence[TextModel]], console: Console) -> dict[str, list[Foretold]]:
    """What the first seed of each whole-episode scheme foretells of held-out kitchens."""
    found: dict[str, list[Foretold]] = {}
    for name in SCHEMES:
        model = models[f"formats/{name}"][0]
        found |= ask(model, build_source(model.config)[1])
    study.publish(root, "expectations", tabulate(found), console)
    return found


def surprise(root: Path, model: TextModel, games: KitchenLite, console: Console) -> None:
    """Nats a token of each observation of the first lost game, the losing step marked; of any game where all are won."""
    records = study.play(root / "formats/text_expect_act/0/played/kitchens", games, study.player(model))
    rollouts = [as_rollout(r, {"env": games.name}) for r in records]
    game = next((r for r in rollouts if r.lost), rollouts[0])
    (spans,) = ask(model, [game]).values()
    read = {s.step: s.nats for s in spans if s.factor == "obs"}
    (root / "surprise.png").write_bytes(png(_drawn(game, read)))
    (root / "surprise.json").write_text(json.dumps({"commands": [s.command for s in game.visible], "nats": read}, indent=1))
    console.print(f"{root}/surprise.png", soft_wrap=True)


def _drawn(game: TextRollout, read: Mapping[int, float]):  # type: ignore[no-untyped-def]
    with canvas(LIGHT, 6.4, 3.2) as figure:
        axes = figure.subplots()
        end = f"lost by: {game.visible[-2].command}" if game.lost else "not lost"
        set_title(axes, f"Surprise at each observation ({end})")
        steps = sorted(read)
        axes.plot(steps, [read[t] for t in steps], "o-", color=LIGHT.palette[0], lw=1.8, ms=4.5)
        if game.lost and steps:
            axes.plot(steps[-1], read[steps[-1]], "o", color=LIGHT.palette[1], ms=9, label="the failing step")
            axes.legend()
        commands = ["start", *(s.command for s in game.visible)]
        axes.set_xticks(steps, [commands[t] for t in steps], rotation=35, ha="right", fontsize=7)
        axes.set_ylabel("nats a token")
    return figure


def main(
    mode: study.ModeArgument = "quick", folder: study.Folder = study.RUNS, seeds: study.Seeds = None, workers: study.Workers = 2
) -> None:
    """Trains what is missing, then plays, tabulates and draws."""
    how, console = study.checked(mode), Console(stderr=True)
    root = folder / how
    models = study.train(root, runs(how, seeds or SEEDS[how]), workers, console)
    games = KitchenLite(LEVEL[how], split="test", games=GAMES, horizon=25, foods="invented")
    report(root, models, games, console)
    expectations(root, models, console)
    surprise(root, models["formats/text_expect_act"][0], games, console)


if __name__ == "__main__":
    typer.run(main)
