"""Reading a completion back: a tolerant state machine in place of the original's regular expression (spec §3.2)."""

from __future__ import annotations

import re

from maskbench.text.formats import Format

_FIELD = re.compile(r"'(\w+)':\s*(['\"])")
_ACTION = re.compile(r"action:\s*\[")


def parse_completion(form: Format, text: str) -> dict[str, str] | None:
    """The fields of a completion of ``form``, the command (stripped) as ``action``; None where it holds no command.

    Fields come in any order; unknown ones, and what surrounds them, are skipped; a field ends at its quote where a comma, a
    bracket or the end follows. The closing bracket of the command may be missing, as in completions that were cut off.
    """
    text = text.replace("\n", " ")
    actions = list(_ACTION.finditer(text))
    if not actions:
        return None
    action = actions[-1]
    fields: dict[str, str] = {}
    at = 0
    while opening := _FIELD.search(text, at, action.start()):
        key, quote = opening.groups()
        closing = re.compile(rf"{quote}(?=\s*(?:,|\]|$))").search(text, opening.end(), action.start())
        end = closing.start() if closing else action.start()
        if key in form.predicted:
            fields[key] = text[opening.end() : end]
        at = max(end, opening.end())
    command = text[action.end() :]
    return {**fields, "action": command.rpartition("]")[0].strip() if "]" in command else command.strip()}
