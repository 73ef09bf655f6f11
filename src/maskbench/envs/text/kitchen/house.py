"""Houses of one to twelve rooms, what stands in them, and where a game's things lie."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from maskbench.envs.text.kitchen.pantry import COOKINGS, CUTTINGS, Food, stock
from maskbench.envs.text.levels import Level, Split

HELD = "inventory"
KITCHEN, COOKBOOK, KNIFE, MEAL = "kitchen", "cookbook", "knife", "meal"
#: Appliance -> what it does to food.
HEATS = {"stove": "fried", "oven": "roasted", "BBQ": "grilled"}

_OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}
_MOVES = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}
#: Rooms by the size of the house in which they first appear (TextWorld's cooking challenge).
_ROOMS = {
    1: ("kitchen",),
    6: ("pantry", "livingroom", "corridor", "bedroom", "bathroom"),
    9: ("shed", "garden", "backyard"),
    12: ("driveway", "street", "supermarket"),
}
_NEIGHBOURS = {
    "kitchen": ("livingroom", "backyard", "corridor", "pantry"),
    "pantry": ("kitchen",),
    "livingroom": ("kitchen", "bedroom", "driveway", "corridor"),
    "bathroom": ("corridor",),
    "bedroom": ("livingroom", "corridor"),
    "backyard": ("kitchen", "garden", "shed", "corridor"),
    "garden": ("backyard",),
    "shed": ("backyard",),
    "driveway": ("livingroom", "street", "corridor"),
    "street": ("driveway", "supermarket"),
    "corridor": ("livingroom", "kitchen", "bedroom", "bathroom", "driveway", "backyard"),
    "supermarket": ("street",),
}
_DOORS = {
    frozenset(("pantry", "kitchen")): ("frosted-glass door", "plain door"),
    frozenset(("kitchen", "backyard")): ("sliding patio door", "patio door", "screen door"),
    frozenset(("corridor", "backyard")): ("sliding patio door", "patio door", "screen door"),
    frozenset(("backyard", "shed")): ("barn door", "wooden door"),
    frozenset(("livingroom", "driveway")): ("front door", "fiberglass door"),
    frozenset(("corridor", "driveway")): ("front door", "fiberglass door"),
    frozenset(("supermarket", "street")): ("sliding door", "commercial glass door"),
}


@dataclass(frozen=True)
class Holder:
    """A piece of furniture. ``lid``: things lie inside, and it can be opened and closed."""

    room: str
    look: str
    lid: bool = False


_FURNITURE = {
    "fridge": Holder("kitchen", "conventional", lid=True),
    "oven": Holder("kitchen", "conventional", lid=True),
    "table": Holder("kitchen", "massive"),
    "counter": Holder("kitchen", "vast"),
    "stove": Holder("kitchen", "conventional"),
    "shelf": Holder("pantry", "wooden"),
    "BBQ": Holder("backyard", "recent", lid=True),
    "patio table": Holder("backyard", "stylish"),
    "patio chair": Holder("backyard", "stylish"),
    "showcase": Holder("supermarket", "metallic"),
    "sofa": Holder("livingroom", "comfy"),
    "bed": Holder("bedroom", "large"),
    "toilet": Holder("bathroom", "white"),
    "workbench": Holder("shed", "wooden"),
    "toolbox": Holder("shed", "metallic", lid=True),
}
#: Where foods may lie; of those in the house one is drawn.
_LARDERS = ("fridge", "counter", "garden", "shelf", "showcase", "fridge", "counter")


@dataclass(frozen=True)
class Ingredient:
    """A line of the recipe: what is to become of a food; ``raw`` and ``uncut`` ask for nothing."""

    food: str
    cooking: str
    cutting: str

    @property
    def directions(self) -> list[str]:
        verbs = {"chopped": "chop", "sliced": "slice", "diced": "dice", "fried": "fry", "roasted": "roast", "grilled": "grill"}
        return [f"{verbs[how]} the {self.food}" for how in (self.cutting, self.cooking) if how in verbs]


@dataclass(frozen=True)
class House:
    """A game before its first command.

    exits:  room -> direction -> (room, door or None).
    places: thing -> the furniture, room or inventory in which it lies.
    states: food -> (cooking, cutting) at the beginning.
    """

    exits: Mapping[str, Mapping[str, tuple[str, str | None]]]
    furniture: Mapping[str, Holder]
    foods: Mapping[str, Food]
    places: Mapping[str, str]
    states: Mapping[str, tuple[str, str]]
    recipe: tuple[Ingredient, ...]
    start: str
    closed: frozenset[str]
    level: Level

    def towards(self, start: str, goal: str) -> tuple[str, str | None] | None:
        """First direction of a shortest way between two rooms, and the door in it; None where they are the same."""
        if start == goal:
            return None
        came: dict[str, tuple[str, str | None]] = {}
        queue = deque([start])
        while goal not in came:
            room = queue.popleft()
            for direction, (other, door) in self.exits[room].items():
                if other != start and other not in came:
                    came[other] = came[room] if room != start else (direction, door)
                    queue.append(other)
        return came[goal]


def build(level: Level, split: Split, invented: bool, rng: Random) -> House:
    """Draws a house, its foods and its recipe. Everything that the recipe needs can be reached."""
    exits = _rooms(level.rooms, rng)
    doors = {door for ways in exits.values() for _, door in ways.values() if door}
    furniture = {name: holder for name, holder in _FURNITURE.items() if holder.room in exits}
    foods = stock(split, invented, 12 + 2 * level.recipe, rng)
    wanted = [f for f in foods if f.allows(level.cook, level.cut)][: level.recipe]
    others = [f for f in foods if f not in wanted]
    kin = [f for f in others if any(set(f.name.split()) & set(w.name.split()) for w in wanted)][:2]
    rest = [f for f in others if f not in kin][: rng.randrange(1, 5)]
    recipe = tuple(_directions(f, level, "BBQ" in furniture, rng) for f in sorted(wanted, key=lambda f: f.name))
    states = {f.name: ("raw" if f.cookable else "", "uncut" if f.cuttable else "") for f in (*wanted, *kin, *rest)}
    for item in recipe:  # what the level does not ask to do is done already
        cooking, cutting = states[item.food]
        states[item.food] = (cooking if level.cook or item.cooking == "raw" else item.cooking, cutting)
        if not level.cut and item.cutting != "uncut":
            states[item.food] = (states[item.food][0], item.cutting)
    larders = [place for place in _LARDERS if place in furniture or place in exits]
    places = {f.name: rng.choice(larders) for f in (*wanted, *rest)}
    places |= {f.name: places[rng.choice(wanted).name] for f in kin}
    if level.take == 0:
        places |= {f.name: HELD for f in wanted}
    places[COOKBOOK] = rng.choice(("counter", "table"))
    if level.cut or rng.random() < 0.5:
        places[KNIFE] = rng.choice(("counter", "table"))
    lids = {name for name, holder in furniture.items() if holder.lid}
    closed = frozenset(doors | lids) if level.closed else frozenset()
    start = rng.choice(sorted(exits))
    kept = {f.name: f for f in (*wanted, *kin, *rest)}
    return House(exits, furniture, kept, places, states, recipe, start, closed, level)


def _directions(food: Food, level: Level, grill: bool, rng: Random) -> Ingredient:
    cookings = COOKINGS if grill else COOKINGS[:2]
    cooked = food.cookable and (level.cook or food.hard or rng.random() < 0.6)
    cut = food.cuttable and (level.cut or rng.random() < 0.6)
    return Ingredient(food.name, rng.choice(cookings) if cooked else "raw", rng.choice(CUTTINGS) if cut else "uncut")


def _rooms(count: int, rng: Random) -> dict[str, dict[str, tuple[str, str | None]]]:
    """Rooms placed on a grid, each beside one that may be its neighbour; more walls between neighbours open by chance."""
    while True:
        cells, exits = {KITCHEN: (0, 0)}, {KITCHEN: dict[str, tuple[str, str | None]]()}
        waiting = [room for size, rooms in _ROOMS.items() if 1 < size <= count for room in rooms]
        rng.shuffle(waiting)
        for _ in range(8 * len(waiting)):
            room = waiting.pop(0) if waiting else None
            if room is None:
                break
            spots = [
                (other, way)
                for other in cells
                if other in _NEIGHBOURS[room]
                for way, (dx, dy) in _MOVES.items()
                if (cells[other][0] + dx, cells[other][1] + dy) not in cells.values()
            ]
            if not spots:
                waiting.append(room)
                continue
            other, way = rng.choice(spots)
            cells[room] = (cells[other][0] + _MOVES[way][0], cells[other][1] + _MOVES[way][1])
            exits[room] = {}
            _connect(exits, other, way, room, rng)
        if not waiting:
            break
    where = {cell: room for room, cell in cells.items()}
    for room, (x, y) in cells.items():
        for way in ("north", "east"):
            beside = where.get((x + _MOVES[way][0], y + _MOVES[way][1]))
            if beside in _NEIGHBOURS[room] and beside is not None and way not in exits[room] and rng.random() < 0.5:
                _connect(exits, room, way, beside, rng)
    return exits


def _connect(exits: dict[str, dict[str, tuple[str, str | None]]], room: str, way: str, other: str, rng: Random) -> None:
    taken = {door for ways in exits.values() for _, door in ways.values()}
    names = [name for name in _DOORS.get(frozenset((room, other)), ()) if name not in taken]
    door = rng.choice(names) if names else None
    exits[room][way] = (other, door)
    exits[other][_OPPOSITE[way]] = (room, door)
