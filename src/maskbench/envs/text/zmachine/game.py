"""One story file, seen as a ``TextEnv`` (TTM spec 4.3 and 4.4)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from maskbench.envs.text.base import TextEnv, TextStep
from maskbench.envs.text.clean import Cleaning
from maskbench.envs.text.zmachine.story import Story, candidates
from maskbench.errors import EnvError, MissingExtraError

#: Longer commands are cut. Jericho takes 198 bytes, but hands them to stories with smaller buffers, which then crash.
MOST_BYTES = 100
_STATUS = re.compile(r"^>?[^\n]*?\s{3,}(?:Score: *-?\d+ +(?:Moves|Turns): *\d+|Time: *\d+:\d+[^\n]*?)[ \t]*$", re.MULTILINE)
_ASKED_SCORE = re.compile(r"(-?\d+)\D+?(?:of|possible)\D+?(\d+)")
_OVER = re.compile(r"would you like to (?:re)?start|\brestart\b[^.\n]*\bquit\b|\*\*\* *The End", re.IGNORECASE)
_WON = re.compile(r"\*+\s*(?:You have won|You win|Victory|The End)", re.IGNORECASE)
Meter = Literal["jericho", "globals", "asked", "none"]


class ZMachineGame(TextEnv):
    """A game that can be saved, loaded and seeded.

    path:       story file (.z1 to .z8).
    solution:   commands that win, followed by the expert as long as the player has followed them too.
    seed:       seed of the chance in every episode; None = each episode's own.
    admissible: whether to search for commands that change the world (tens of milliseconds to seconds a step).

    The score comes from Jericho for the games it knows, from the globals of version 3, or from asking ``score`` in a copy of
    the state; where none of them tells, it stays 0.
    Raises MissingExtraError without Jericho.
    """

    def __init__(
        self,
        path: Path,
        solution: Sequence[str] = (),
        seed: int | None = None,
        admissible: bool = False,
        cleaning: Cleaning | None = None,
    ) -> None:
        try:
            from jericho import FrotzEnv
        except ImportError as error:
            raise MissingExtraError("jericho", "text", f"playing {path.name}") from error
        if not path.is_file():
            raise EnvError(f"there is no story file at {path}")
        self.path, self.seed, self.search = path, seed, admissible
        self.cleaning = cleaning or Cleaning()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "not fully supported": this class supplies what is missing
            self._env: Any = FrotzEnv(str(path), seed=1)
        self.known = bool(self._env.is_fully_supported)
        self.solution = tuple(solution) or (tuple(self._env.get_walkthrough()) if self.known else ())
        self._whole = np.frombuffer(path.read_bytes(), np.uint8)  # words and names lie beyond what changes in play
        self._story = Story.of(self._whole)
        self._words = self._story.words(self._whole)
        self._own_seed = int(self._env.bindings.get("seed", 1)) if self.known else 1
        self._meter: Meter | None = None
        self._over = True
        self._worlds: dict[tuple[bytes, int, bool], tuple[str, ...]] = {}

    @property
    def walkthrough_seed(self) -> int:
        """The seed under which Jericho's walkthrough of a known game was recorded; 1 for others."""
        return self._own_seed

    def reset(self, seed: int) -> TextStep:
        chance = self.seed if self.seed is not None else seed % (2**31 - 2) + 1
        self._env.seed(chance)
        raw, _ = self._env.reset()
        self._history: tuple[str, ...] = ()
        self._score, self._over = 0, False
        if self._meter is None:
            self._meter, self.max_score = self._find_meter()
        self._score = self._read_score()
        return self._step(raw, self._score)

    def step(self, command: str) -> TextStep:
        if self._over:
            raise EnvError("the game is over, or has not begun; reset it before the next command")
        command = " ".join(command.split()).encode("ascii", "ignore")[:MOST_BYTES].decode()
        raw = self._env.step(command)[0]
        self._history = (*self._history, command.lower())
        before, self._score = self._score, self._read_score()
        return self._step(raw, before)

    def save(self) -> Any:
        return self._env.get_state(), self._history, self._score, self._over, self._last

    def load(self, state: Any) -> TextStep:
        frotz, self._history, self._score, self._over, self._last = state
        self._env.set_state(frotz)
        return self._last

    def close(self) -> None:
        self._env.close()

    def _step(self, raw: str, before: float) -> TextStep:
        over = self._ended(raw)
        full = 0 < self.max_score <= self._score
        won = over and (full or bool(self._env.victory() if self.known else _WON.search(raw)))
        self._over = over
        text = self._shown(raw)
        if self.cleaning.look and not over:
            look = self._shown(self._ask("look"))
            text = text if look in text else f"{text}\n{look}"
        inventory = None
        if self.cleaning.inventory:
            inventory = self._shown(self._ask("inventory")) if not over else ""
            text = f"{text}\n{inventory}"
        step = TextStep(
            obs=text,
            score=float(self._score),
            max_score=float(self.max_score),
            reward=float(self._score - before),
            done=over,
            won=won,
            lost=over and not won,
            admissible=(() if over else self._changes(text)) if self.search else None,
            inventory=inventory,
            location=None if over else self._location(),
            expert=None if over else self._advice(),
        )
        self._last = step
        return step

    def _shown(self, raw: str) -> str:
        return self.cleaning.text(raw if self.cleaning.status else _STATUS.sub("", raw))

    def _ended(self, raw: str) -> bool:
        if self.known:
            return bool(self._env.game_over() or self._env.victory() or self._env._emulator_halted())
        return bool(_OVER.search(raw)) or bool(self._env._emulator_halted())

    def _ask(self, command: str) -> str:
        """The answer to a command, as if it had never been given."""
        state = self._env.get_state()
        raw: str = self._env.step(command)[0]
        self._env.set_state(state)
        return raw

    def _find_meter(self) -> tuple[Meter, int]:
        if self.known:
            return "jericho", int(self._env.get_max_score())
        asked = _ASKED_SCORE.search(_STATUS.sub("", self._ask("score")))
        if self._story.status(self._env._get_ram()) is not None:
            return "globals", int(asked[2]) if asked else 0
        return ("asked", int(asked[2])) if asked else ("none", 0)

    def _read_score(self) -> int:
        if self._meter == "jericho":
            return int(self._env.get_score())
        if self._meter == "globals":
            status = self._story.status(self._env._get_ram())
            return status[1] if status is not None else 0
        if self._meter == "asked":
            found = self.asked_score()
            return self._score if found is None else found
        return 0

    def asked_score(self) -> int | None:
        """What the game answers to ``score``; None where it names no number."""
        found = _ASKED_SCORE.search(_STATUS.sub("", self._ask("score")))
        return int(found[1]) if found else None

    def _location(self) -> str | None:
        status = self._story.status(self._env._get_ram())
        if status is not None:
            return self._story.object_name(self._whole, status[0]) or None
        place = self._env.get_player_location() if self.known else None
        return str(place.name) or None if place is not None else None

    def _advice(self) -> str | None:
        """The next command of the solution, while the episode has followed it."""
        done = len(self._history)
        if done < len(self.solution) and self._history == tuple(c.lower() for c in self.solution[:done]):
            return self.solution[done]
        return None

    def _changes(self, text: str) -> tuple[str, ...]:
        """Commands after which the world or the score differs, or the game is over: one for each way in which it can."""
        here = self._state_of("")
        if here not in self._worlds:
            state = self._env.get_state()
            text = f"{text} {self._ask('look')} {self._ask('inventory')}"
            found = {here: ""}
            for command in candidates(text, self._words, self._story.letters):
                answer = self._env.step(command)[0]
                found.setdefault(self._state_of(answer), command)
                self._env.set_state(state)
            self._worlds[here] = tuple(sorted(command for command in found.values() if command))
        return self._worlds[here]

    def _state_of(self, answer: str) -> tuple[bytes, int, bool]:
        """What tells states apart, without asking the game anything."""
        memory = self._env._get_ram()
        status = self._story.status(memory)
        score = int(self._env.get_score()) if self.known else status[1] if status is not None else 0
        return self._story.world(memory), score, bool(answer) and self._ended(answer)
