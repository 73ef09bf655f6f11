"""``python -m maskbench text``: options as the original spells them, bodies in ``text_commands``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

text_app = typer.Typer(no_args_is_help=True, help="Text games: make them, play them, and their rollouts.")


@text_app.command("write-finetune")
def write_finetune(
    pickle_path: Annotated[Path, typer.Option("--pickle_path", help="the original's pickle, or our rollouts (file or folder)")],
    finetune_path: Annotated[Path, typer.Option("--finetune_path", help="the JSONL to write")],
    format: Annotated[str, typer.Option("--format", help="a format of docs/text.md, or v2")] = "model_inference_str",
    run_id: Annotated[int, typer.Option("--run_id", min=0)] = 0,
    epoch: Annotated[int, typer.Option("--epoch", min=0)] = 0,
    partition: Annotated[str, typer.Option("--partition")] = "teacher",
    hindsight_fitness_current_batch: Annotated[int, typer.Option("--hindsight_fitness_current_batch", min=0, max=1)] = 1,
    allowed_splits: Annotated[str, typer.Option("--allowed_splits", help="a,b; empty allows all")] = "train",
    allowed_agent_names: Annotated[str, typer.Option("--allowed_agent_names", help="a,b; empty allows all")] = "human",
    allowed_epochs: Annotated[str, typer.Option("--allowed_epochs", help="a,b; empty allows all up to the epoch")] = "",
    allowed_engines: Annotated[str, typer.Option("--allowed_engines", help="a,b; empty allows all")] = "",
    mode: Annotated[
        str, typer.Option("--mode", help="corrected, or original with the published code's mistakes")
    ] = "corrected",
    style: Annotated[str, typer.Option("--style", help="completion, chat, preference or value")] = "completion",
    value: Annotated[
        str, typer.Option("--value", help="label_mean, final, rtg, steps_to_reward or rtg_discounted")
    ] = "label_mean",
    bucket: Annotated[str, typer.Option("--bucket", help="three, ten or quantile_<k>")] = "three",
) -> None:
    """Rollouts to a checked fine-tune file."""
    from maskbench.app.text_commands import FinetuneOptions, write_finetune_file

    write_finetune_file(FinetuneOptions(**{k: v for k, v in locals().items() if k in FinetuneOptions.__dataclass_fields__}))


@text_app.command("import-legacy")
def import_legacy_command(
    path: Annotated[Path, typer.Argument(help="grounding_data.pkl of the original")],
    out: Annotated[Path, typer.Argument(help="folder of text data")],
    policy: Annotated[str, typer.Option("--policy", help="name of the folder that keeps them")] = "legacy",
) -> None:
    """The original's pickle, read through an allow-list, as rollouts."""
    from maskbench.app.text_commands import import_legacy

    import_legacy(path, out, policy)


@text_app.command("label")
def label_command(
    path: Annotated[Path, typer.Argument(help="rollouts: a file, or a folder of them")],
    labellers: Annotated[
        str, typer.Option("--labellers", help="of event,failure,reading,recipe,outcome; empty takes all")
    ] = "",
) -> None:
    """Hindsight labels read off the games, written into the rollouts."""
    from maskbench.app.text_commands import label_rollouts

    label_rollouts(path, labellers)
