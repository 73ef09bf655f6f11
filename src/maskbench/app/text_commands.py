"""Bodies of ``python -m maskbench text``: import pickles, write fine-tune files, label rollouts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from maskbench.errors import ConfigError

console = Console(stderr=True)


@dataclass(frozen=True)
class FinetuneOptions:
    """``write-finetune``'s options; the first eight with the original's names and meanings."""

    pickle_path: Path
    finetune_path: Path
    format: str = "model_inference_str"
    run_id: int = 0
    epoch: int = 0
    partition: str = "teacher"
    hindsight_fitness_current_batch: int = 1
    allowed_splits: str = "train"
    allowed_agent_names: str = "human"
    allowed_epochs: str = ""
    allowed_engines: str = ""
    mode: str = "corrected"
    style: str = "completion"
    value: str = "label_mean"
    bucket: str = "three"


def write_finetune_file(options: FinetuneOptions) -> None:
    """Rollouts (a pickle of the original, a JSONL file, or a folder of them) to a checked fine-tune file."""
    from maskbench.text.admission import Admission
    from maskbench.text.examples import ORIGINAL_ENGINES, ORIGINAL_EPOCHS, Job, original_job, pairs
    from maskbench.text.finetune import check_finetune, rows, write_finetune
    from maskbench.text.formats import get_format
    from maskbench.text.legacy import read_legacy
    from maskbench.text.rollout import PARTITIONS, read
    from maskbench.text.values import STRATEGIES, buckets, step_values

    if options.mode not in ("corrected", "original"):
        raise ConfigError(f"--mode is corrected or original; found '{options.mode}'")
    if options.partition not in PARTITIONS:
        raise ConfigError(f"--partition is one of {', '.join(PARTITIONS)}; found '{options.partition}'")
    original = options.mode == "original"
    lists = None
    if options.pickle_path.suffix == ".pkl":
        imported = read_legacy(options.pickle_path)
        rollouts, lists = imported.rollouts, imported.batches
    else:
        rollouts = tuple(read(options.pickle_path))
    epochs = tuple(int(e) for e in _words(options.allowed_epochs) or ()) or (ORIGINAL_EPOCHS if original else None)
    engines = _words(options.allowed_engines) or (ORIGINAL_ENGINES if original else None)
    admission = Admission(
        run_id=options.run_id,
        epoch=options.epoch,
        partition=options.partition,  # type: ignore[arg-type]
        agents=None if original else _words(options.allowed_agent_names),  # there the engines decide
        splits=_words(options.allowed_splits),
        epochs=epochs,
        engines=engines,
    )
    if options.value not in STRATEGIES:
        raise ConfigError(f"--value is one of {', '.join(STRATEGIES)}; found '{options.value}'")
    fitted = (
        [v for r in admission.filter(rollouts) for v in step_values(r, options.value) if v is not None]
        if options.bucket.startswith("quantile")
        else []
    )
    scale = buckets(options.bucket, fitted)
    current = bool(options.hindsight_fitness_current_batch)
    if original:
        job = original_job(admission, current)
    else:
        job = Job(admission, strategy=options.value, buckets=scale, current_batch=current)
    form = None if options.format == "v2" else get_format(options.format)
    made = list(pairs(form, rollouts, job, lists))
    write_finetune(options.finetune_path, rows(options.style, made, form, scale))
    counts = check_finetune(options.finetune_path, options.style, form)
    words = ", ".join(f"{word or 'none'} {sum(p.value == word for p in made)}" for word in dict.fromkeys(p.value for p in made))
    _say(
        f"{options.finetune_path}: {counts['lines']} lines, {counts['prompt_characters'] // counts['lines']} + "
        f"{counts['completion_characters'] // counts['lines']} characters in the mean; values: {words}",
    )


def import_legacy(file: Path, out: Path, policy: str) -> None:
    """A pickle of the original to JSONL below ``out``; says what was skipped."""
    from maskbench.text.legacy import read_legacy
    from maskbench.text.rollout import TextRollout, write

    imported = read_legacy(file, policy)
    folders: dict[Path, list[TextRollout]] = {}
    for rollout in imported.rollouts:
        folders.setdefault(rollout.folder, []).append(rollout)
    for folder, rollouts in folders.items():
        write(out / folder / "rollouts.jsonl", rollouts)
    for reason in imported.skipped:
        _say(f"skipped {reason}")
    _say(
        f"{out}: {len(imported.rollouts)} rollouts in {len(folders)} files; {imported.copies} repetitions dropped",
    )


def label_rollouts(path: Path, names: str) -> None:
    """Writes automatic labels into all rollouts of a file or folder, in place."""
    from maskbench.text.labellers import LABELLERS, label
    from maskbench.text.rollout import read, write

    wanted = _words(names) or tuple(LABELLERS)
    for file in sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]:
        labelled = [label(r, wanted) for r in read(file)]
        write(file, labelled)
        count = sum(len(s.labels) for r in labelled for s in r.steps)
        _say(f"{file}: {len(labelled)} rollouts, {count} labels")


def _say(text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)


def _words(text: str) -> tuple[str, ...] | None:
    """``a,b`` as a tuple; None for nothing, which allows all."""
    return tuple(w.strip() for w in text.split(",") if w.strip()) or None
