"""Files to fine-tune a language model with, and their checker (spec §2.3).

completion  ``{"prompt", "completion"}`` a line, as the original; a completion starts with two spaces
chat        ``{"messages": [system, user, assistant]}``
preference  ``{"input", "preferred_output", "non_preferred_output"}`` from pairs of the same prompt, valued high and low
value       the completion style for a value model: prompt with its completion, then the rollout's score
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from maskbench.errors import ConfigError, DataError, did_you_mean
from maskbench.text.examples import Pair
from maskbench.text.formats import STOP, Format, clean
from maskbench.text.lossless import EOS, parse_spans
from maskbench.text.parsing import parse_completion
from maskbench.text.states import number
from maskbench.text.values import Buckets

Style = Literal["completion", "chat", "preference", "value"]
_KEYS: dict[str, tuple[str, ...]] = {
    "completion": ("prompt", "completion"),
    "value": ("prompt", "completion"),
    "chat": ("messages",),
    "preference": ("input", "preferred_output", "non_preferred_output"),
}
#: Of a value file: the best and the worst so many.
EXTREMES = 300


def rows(style: str, pairs: Iterable[Pair], form: Format | None, buckets: Buckets) -> Iterator[dict[str, Any]]:
    """The lines of a file. Raises ConfigError for an unknown style."""
    if style not in _KEYS:
        raise ConfigError(f"style '{style}' is unknown. {did_you_mean(style, _KEYS)}")
    if style == "chat":
        return (_chat(p, form) for p in pairs)
    if style == "preference":
        return _preferences(pairs, buckets)
    if style == "value":
        return _values(list(pairs))
    return ({"prompt": p.example.prompt, "completion": _spaced(p, form)} for p in pairs)


def write_finetune(file: Path, lines: Iterable[Mapping[str, Any]]) -> int:
    """Writes JSONL under a temporary name until it is whole; returns the number of lines. Raises DataError for none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    count = 0
    with part.open("w", encoding="utf-8") as out:
        for line in lines:
            out.write(json.dumps(line) + "\n")
            count += 1
    if count == 0:
        part.unlink()
        raise DataError(f"no examples for {file.name}: no rollout is admitted, or none was asked for hindsight")
    part.replace(file)
    return count


def check_finetune(file: Path, style: str, form: Format | None) -> dict[str, int]:
    """Counts of lines, of characters of prompts and completions, and of completions by their command.

    Raises DataError naming the line that is not UTF-8, no JSON, lacks a key, has an empty completion, one without the stop
    token, one that does not parse back, or roles that do not alternate.
    """
    counts: Counter[str] = Counter()
    for line, row in enumerate(_read(file), 1):
        where = f"{file}, line {line}"
        missing = [k for k in _KEYS[style] if k not in row]
        if missing:
            raise DataError(f"{where}: expected the keys {_KEYS[style]}; found {sorted(row)}")
        if style == "chat":
            prompt, completion = _check_roles(row["messages"], where)
        elif style == "preference":
            prompt, completion = row["input"], row["preferred_output"]
            _check_completion(row["non_preferred_output"], form, where)
        else:
            prompt, completion = row["prompt"], row["completion"]
        if style == "value":
            if not completion.strip().lstrip("-").replace(".", "", 1).isdigit():
                raise DataError(f"{where}: expected a score; found '{completion}'")
        else:
            _check_completion(completion, form, where, stop=style == "completion")
        counts.update({"lines": 1, "prompt_characters": len(prompt), "completion_characters": len(completion)})
    return dict(counts)


def _spaced(pair: Pair, form: Format | None) -> str:
    """The original writes one more space in front of completions."""
    return pair.example.completion if form is None else f" {pair.example.completion}"


def _chat(pair: Pair, form: Format | None) -> dict[str, Any]:
    name = form.name if form else "v2"
    fields = ", ".join([*(f for f in pair.example.predicted if f != "action"), "action"])
    rules = f"Format {name}. Continue the last line with: {fields}. One line; the action is one command of the game."
    contents = (("system", rules), ("user", pair.example.prompt), ("assistant", pair.example.completion.strip()))
    return {"messages": [{"role": role, "content": content} for role, content in contents]}


def _preferences(pairs: Iterable[Pair], buckets: Buckets) -> Iterator[dict[str, Any]]:
    rank = {word: i for i, word in enumerate(buckets.words)}
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        if pair.value in rank:
            groups.setdefault(pair.key, []).append(pair)
    for key, group in groups.items():
        ordered = sorted(group, key=lambda p: rank[p.value])
        worst, best = ordered[0], ordered[-1]
        if rank[worst.value] < rank[best.value] and worst.example.completion != best.example.completion:
            yield {
                "input": key,
                "preferred_output": best.example.completion,
                "non_preferred_output": worst.example.completion,
            }


def _values(pairs: Sequence[Pair]) -> Iterator[dict[str, Any]]:
    ordered = sorted(pairs, key=lambda p: p.rollout.score, reverse=True)
    worst = ordered[max(EXTREMES, len(ordered) - EXTREMES) :]
    for pair in (*ordered[:EXTREMES], *worst):
        yield {"prompt": pair.example.prompt + pair.example.completion, "completion": f" {number(pair.rollout.score)}{STOP}"}


def _read(file: Path) -> Iterator[Mapping[str, Any]]:
    try:
        lines = file.read_bytes().decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: expected UTF-8; {error}") from error
    for line, text in enumerate(lines, 1):
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{file}, line {line}: expected JSON; {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{file}, line {line}: expected an object; found {type(row).__name__}")
        yield row


def _check_roles(messages: Any, where: str) -> tuple[str, str]:
    found = [m.get("role") for m in messages]
    turns = found[1:] if found[:1] == ["system"] else found
    if not turns or len(turns) % 2 or turns != ["user", "assistant"] * (len(turns) // 2):
        raise DataError(f"{where}: expected a system message, then user and assistant in turn; found {found}")
    return messages[-2]["content"], messages[-1]["content"]


def _check_completion(completion: str, form: Format | None, where: str, stop: bool = False) -> None:
    if not completion.strip():
        raise DataError(f"{where}: the completion is empty")
    token = EOS if form is None else STOP
    if stop and not completion.endswith(token):
        raise DataError(f"{where}: the completion does not end with the stop token {token!r}")
    if form is None:
        parse_spans(completion)
        return
    parsed = parse_completion(form, completion)
    if parsed is None and form.layout != "full_state":
        raise DataError(f"{where}: no command parses back from '{clean(completion)}'")
    if form.predicted and form.layout == "plain" and not set(form.predicted) & set(parsed or {}):
        raise DataError(f"{where}: none of {form.predicted} parses back from '{clean(completion)}'")
