"""TextWorld's sentences about rooms, furniture and exits; which ones a game uses is drawn once, so that ``look`` repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from maskbench.envs.text.kitchen.babble import babble
from maskbench.envs.text.kitchen.house import House

_INTRO = (
    "You are in a {0}. A normal kind of place.",
    "You've entered a {0}.",
    "You're now in the {0}.",
    "You find yourself in a {0}. A typical one.",
    "You've just walked into a {0}.",
    "Well, here we are in the {0}.",
    "Look around you. Take it all in. It's not every day someone gets to be in a {0}.",
    "You have walked into a {0}. Not the {0} you'd expect. No, this is a {0}.",
    "You arrive in a {0}. A standard one.",
    "Well how about that, you are in a place we're calling a {0}.",
)
_AFTER_INTRO = (
    *("",) * 4,
    " You begin to take stock of what's in the room.",
    " You start to take note of what's in the room.",
    " You begin looking for stuff.",
    " The room is well lit.",
    " You can barely contain your excitement.",
    " Okay, just remember what you're here to do, and everything will go great.",
)
_SEE = (
    *("You see {0}.", "You can see {0}.", "You make out {0}.", "You can make out {0}.") * 2,
    "Look out! It's a- oh, never mind, it's just {0}.",
    "You scan the room, seeing {0}.",
    "Oh, great. Here's {0}.",
    "You smell an interesting smell, and follow it to {0}.",
    "You see a gleam over in a corner, where you can see {0}.",
    "You bend down to tie your shoe. When you stand up, you notice {0}.",
)
_ON = (
    "On the {0} you see {1}.",
    "On the {0} you can see {1}.",
    "On the {0} you make out {1}.",
    "You see {1} on the {0}.",
)
_BARE = (
    "But the thing is empty.",
    "But there isn't a thing on it.",
    "Unfortunately, there isn't a thing on it.",
    "The {0} appears to be empty.",
    "However, the {0}, like an empty {0}, has nothing on it.",
    "But the thing hasn't got anything on it. Hm. Oh well.",
    "Looks like someone's already been here and taken everything off it, though.",
)
_VOID = (
    "The {0} is empty! What a waste of a day!",
    "The {0} is empty, what a horrible day!",
    "What a letdown! The {0} is empty!",
)
_WAY = (
    "There is an exit to the {0}.",
    "There is an exit to the {0}. Don't worry, there is no door.",
    "You need an exit without a door? You should try going {0}.",
    "You don't like doors? Why not try going {0}, that entranceway is not blocked by one.",
)
_EXAMINE = ("{0} is unstable.", "{0} is stable.", "{0} is solid.", "{0} is balanced.", "{0} is shaky.", "{0} looks grand.")


class Prose:
    """The sentences of one game.

    strange: share of those about rooms and furniture that are random words around the names.
    """

    def __init__(self, house: House, rng: Random, strange: float = 0.0) -> None:
        self._house = house
        self._intro = {room: (rng.choice(_INTRO) + rng.choice(_AFTER_INTRO)).format(room) for room in house.exits}
        self._see = {name: rng.choice(_SEE) for name in house.furniture}
        self._look = {name: f" The {name} is {house.furniture[name].look}." * rng.randrange(2) for name in house.furniture}
        self._full = {name: rng.choice(_ON) for name in house.furniture}
        self._empty = {name: rng.choice(_VOID if holder.lid else _BARE) for name, holder in house.furniture.items()}
        self._examine = {name: rng.choice(_EXAMINE).format(f"The {name}") for name in house.furniture}
        self._ways = {(room, way): rng.choice(_WAY).format(way) for room, ways in house.exits.items() for way in ways}
        self._lidless = {name for name, holder in house.furniture.items() if holder.lid and rng.random() < 0.5}
        if strange > 0:
            self._estrange(rng, strange)

    def _estrange(self, rng: Random, share: float) -> None:
        tellings: tuple[tuple[dict[Any, str], Callable[[Any], tuple[str, ...]]], ...] = (
            (self._intro, lambda room: (room,)),
            (self._see, lambda _: ("{0}",)),
            (self._look, lambda _: ()),
            (self._full, lambda _: ("the {0}", "{1}")),
            (self._empty, lambda _: ()),
            (self._ways, lambda way: (way[1],)),
        )
        for sentences, names in tellings:
            for key in sentences:
                if rng.random() < share:
                    sentences[key] = " " * (sentences is self._look) + babble(rng, *names(key))

    def room(self, room: str, on: dict[str, list[str]], shut: set[str]) -> str:
        """What ``look`` prints. ``on``: contents of each place in sight, described. ``shut``: closed doors and lids."""
        house = self._house
        seen = []
        for name, holder in house.furniture.items():
            if holder.room == room:
                seen.append(self._furniture(name, on.get(name, []), name in shut))
        ways = []
        for way, (_, door) in house.exits[room].items():
            if door is None:
                ways.append(self._ways[room, way])
            else:
                ways.append(f"There is {'a closed' if door in shut else 'an open'} {door} leading {way}.")
        lines = [f"-= {room.capitalize()} =-", self._intro[room], " ".join(seen), " ".join(ways)]
        if on.get(room):
            verb = "is" if len(on[room]) == 1 or not on[room][0].startswith("some ") else "are"
            lines.append(f"There {verb} {listed(on[room])} on the floor.")
        return "\n".join(line for line in lines if line)

    def _furniture(self, name: str, contents: Sequence[str], shut: bool) -> str:
        holder = self._house.furniture[name]
        if holder.lid:
            kind = article(name) if name in self._lidless else "a closed" if shut else "an open"
            noun = f"{kind} {name}"
            rest = (
                ""
                if shut
                else f" The {name} contains {listed(contents)}."
                if contents
                else f" {self._empty[name]}".format(name)
            )
            return self._see[name].format(noun) + rest
        rest = self._full[name].format(name, listed(contents)) if contents else self._empty[name].format(name)
        return f"{self._see[name].format(f'{article(name)} {name}')}{self._look[name]} {rest}"

    def examine(self, name: str, contents: Sequence[str], shut: bool) -> str:
        """A closer look at a piece of furniture."""
        if name == "stove":
            return "Useful for frying things."
        if name == "oven":
            return "Useful for roasting things."
        if name == "BBQ":
            return "Useful for grilling things."
        if self._house.furniture[name].lid:
            inside = "You can't see inside it because the lid's in your way." if shut else "You can see inside it."
            return f"{self._examine[name]} {inside}"
        return self._examine[name] + (f" On the {name} you can see {listed(contents)}." if contents else "")


def article(noun: str) -> str:
    """``a`` or ``an``, by the first letter."""
    return "an" if noun[0] in "aeiou" else "a"


def listed(things: Sequence[str]) -> str:
    """``a, b and c``."""
    return things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"
