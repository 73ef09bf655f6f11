"""From what a game prints to what a player is shown (TTM spec 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: TextWorld's right-aligned status line, which tells score and moves: ``>        -= Kitchen =-1/4``.
_STATUS = re.compile(r"\n?>?[ \t]{2,}-= [^\n]*? =-\s*-?\d+/\d+[ \t]*(?=\n|$)")
#: Lines of TextWorld's title picture hold nothing but these, and at least one dollar sign or bar.
_BANNER = re.compile(r"^[\s$\\/|_<>-]*[$\\|_][\s$\\/|_<>-]*$")
_SCORE = re.compile(r"^(?:Your score has (?:just )?gone (?:up|down) by .*|You scored -?\d+ out of .*|\[Your score has .*\])$")
_PROMPT = re.compile(r"^(?:Would you like to RESTART, RESTORE a saved game.*|>)$")


@dataclass(frozen=True)
class Cleaning:
    """What of a game's text is shown.

    status:    TextWorld's status line; it tells the score, so a model could read its own value there.
    banner:    TextWorld's title picture.
    score:     sentences that say that the score went up, and the final count.
    collapse:  one line for one paragraph, blank lines left out; False keeps the layout.
    inventory, look: append what these commands would print, as agents on Jericho games commonly do.
    """

    status: bool = False
    banner: bool = False
    score: bool = True
    collapse: bool = True
    inventory: bool = False
    look: bool = False

    def text(self, raw: str) -> str:
        """``raw`` as it is shown; ``inventory`` and ``look`` are up to the environment."""
        if not self.status:
            raw = _STATUS.sub("", raw)
        lines = [line.rstrip() for line in raw.replace("\r", "\n").split("\n")]
        lines = [line for line in lines if not _PROMPT.match(line.strip())]
        if not self.banner:
            lines = [line for line in lines if not _BANNER.match(line)]
        if not self.score:
            lines = [line for line in lines if not _SCORE.match(line.strip())]
        if not self.collapse:
            return "\n".join(lines).strip("\n")
        return "\n".join(" ".join(line.split()) for line in lines if line.strip())
