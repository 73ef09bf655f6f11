"""The expert of TextWorld's cooking games (TTM spec 4.2).

TextWorld names the shortest winning plan from any state, but the plan knows the recipe without reading it, and a student who
imitates it cannot meet a new one. So the expert first walks to the cookbook and reads it, and follows the plan only then.
"""

from __future__ import annotations

from collections import deque
from typing import Any

_WAYS = {"north_of": "south", "south_of": "north", "east_of": "west", "west_of": "east"}


class Teacher:
    """What to do next in one episode, whatever was done so far."""

    def __init__(self) -> None:
        self._read = False

    def saw(self, command: str, feedback: str) -> None:
        """Takes note of a command and its answer."""
        self._read |= "cookbook" in command and "Recipe #" in (feedback or "")

    def advise(self, state: Any, moves: int) -> str | None:
        """The next command of the expert; None once the game cannot be won."""
        if not state.policy_commands:
            return None
        if self._read:
            return state.policy_commands[0]
        return "inventory" if moves == 0 else to_cookbook(state.facts)


def to_cookbook(facts: Any) -> str:
    """The next command of a shortest way to reading the cookbook: doors are opened, a lid too."""
    at: dict[str, str] = {}
    ways: dict[str, dict[str, str]] = {}
    doors: dict[tuple[str, str], str] = {}
    closed: set[str] = set()
    for fact in facts:
        names = [argument.name for argument in fact.arguments]
        if fact.name in ("at", "on", "in") and len(names) == 2:
            at[names[0]] = names[1]
        elif fact.name in _WAYS:  # north_of(a, b): a lies north of b, so b is reached going south from a
            ways.setdefault(names[0], {})[names[1]] = _WAYS[fact.name]
        elif fact.name == "link":
            doors[names[0], names[2]] = names[1]
        elif fact.name == "closed":
            closed.add(names[0])
    place = at["cookbook"]
    if place == "I":
        return "examine cookbook"
    here, there = at["P"], at.get(place, place)
    if here == there:
        return f"open {place}" if place in closed else "examine cookbook"
    came: dict[str, str] = {there: there}  # room -> the next one towards the cookbook
    queue = deque([there])
    while here not in came:
        room = queue.popleft()
        for other in ways.get(room, {}):
            if other not in came:
                came[other] = room
                queue.append(other)
    door = doors.get((here, came[here]))
    return f"open {door}" if door in closed else f"go {ways[here][came[here]]}"
