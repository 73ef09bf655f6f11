"""The rules of the kitchen: TextWorld's cooking game, restated (TTM spec 4.1 and 4.5)."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from maskbench.envs.text.base import TextEnv, TextStep
from maskbench.envs.text.kitchen.house import COOKBOOK, HEATS, HELD, KITCHEN, KNIFE, MEAL, House, build
from maskbench.envs.text.kitchen.prose import Prose, article, listed
from maskbench.envs.text.levels import Level, Split
from maskbench.errors import EnvError

GOAL = (
    "You are hungry! Let's cook a delicious meal. Check the cookbook in the kitchen for the recipe. Once done, enjoy your meal!"
)
_CUTS = {"chop": "chopped", "slice": "sliced", "dice": "diced"}
_UNSEEN, _BLOCKED, _UNHELD = "You can't see any such thing.", "You can't go that way.", "You haven't got that."
_POINT = "Your score has just gone up by one point."


@dataclass
class State:
    """What commands change; ``copy`` is the whole of save and load."""

    room: str
    places: dict[str, str]
    states: dict[str, tuple[str, str]]
    shut: set[str]
    earned: set[tuple[str, str]]
    read: bool = False
    moves: int = 0
    won: bool = False
    lost: bool = False

    def copy(self) -> State:
        parts = (dict(self.places), dict(self.states), set(self.shut), set(self.earned))
        return State(self.room, *parts, self.read, self.moves, self.won, self.lost)


class Kitchen(TextEnv):
    """One cooking game a seed. ``expert``: whether steps name the teacher's command; ``strange``: see ``Prose``."""

    def __init__(
        self, level: Level, split: Split = "train", invented: bool = False, expert: bool = True, strange: float = 0.0
    ) -> None:
        self.level, self.split, self.invented, self.expert, self.strange = level, split, invented, expert, strange
        self._state: State | None = None
        self._last: TextStep | None = None

    def reset(self, seed: int) -> TextStep:
        rng = Random(f"{self.split}/{seed}")
        self.house: House = build(self.level, self.split, self.invented, rng)
        self._prose = Prose(self.house, rng, self.strange)
        house = self.house
        self._state = State(house.start, dict(house.places), dict(house.states), set(house.closed), set())
        return self._step(f"{GOAL}\n{self._look()}", 0)

    def step(self, command: str) -> TextStep:
        state = self.state
        if state.won or state.lost:
            raise EnvError("the game is over; reset it before the next command")
        before = len(state.earned)
        text = self._answer(" ".join(command.split()))
        reward = len(state.earned) - before
        if state.won or state.lost:
            end = "*** The End ***" if state.won else "*** You lost! ***"
            total = f"You scored {len(state.earned)} out of a possible {self.level.max_score}, in {state.moves} turns."
            return self._step("\n".join([text, *[_POINT] * reward, end, total]), reward)
        return self._step("\n".join([text, *[_POINT] * reward]), reward)

    def save(self) -> tuple[House, Prose, State, TextStep]:
        assert self._last is not None
        return self.house, self._prose, self.state.copy(), self._last

    def load(self, state: tuple[House, Prose, State, TextStep]) -> TextStep:
        self.house, self._prose, self._last = state[0], state[1], state[3]
        self._state = state[2].copy()
        return self._last

    @property
    def state(self) -> State:
        """Raises EnvError before the first reset."""
        if self._state is None:
            raise EnvError("reset the game before its first command")
        return self._state

    def _step(self, text: str, reward: int) -> TextStep:
        from maskbench.envs.text.kitchen.teacher import advise

        state = self.state
        over = state.won or state.lost
        self._last = TextStep(
            obs=text,
            score=float(len(state.earned)),
            max_score=float(self.level.max_score),
            reward=float(reward),
            done=over,
            won=state.won,
            lost=state.lost,
            admissible=() if over else tuple(self.admissible()),
            inventory=self._inventory(),
            location=state.room,
            expert=advise(self) if self.expert and not over else None,
        )
        return self._last

    # --- what is where -------------------------------------------------------------------------------------------------

    def at(self, place: str) -> list[str]:
        """Things in a place, in a fixed order; what was picked up last is held first."""
        found = [thing for thing, where in self.state.places.items() if where == place]
        return found[::-1] if place == HELD else found

    def _move(self, thing: str, place: str) -> None:
        """Puts a thing last among those that were moved."""
        del self.state.places[thing]
        self.state.places[thing] = place

    def surfaces(self) -> list[str]:
        """Furniture of this room whose contents can be reached, and the floor."""
        state = self.state
        here = [n for n, h in self.house.furniture.items() if h.room == state.room and not (h.lid and n in state.shut)]
        return [*here, state.room]

    def reachable(self) -> list[str]:
        """Things that lie in sight or are held."""
        return [thing for place in (*self.surfaces(), HELD) for thing in self.at(place)]

    def described(self, thing: str) -> str:
        """``a sliced roasted purple potato``."""
        cooking, cutting = self.state.states.get(thing, ("", ""))
        food = self.house.foods.get(thing)
        words = [cutting if cutting != "uncut" else "", cooking, thing]
        if cooking == "raw" and food is not None and not food.hard:
            words[1] = ""
        noun = " ".join(w for w in words if w)
        return f"some {noun}" if food is not None and not food.counted else f"{article(noun)} {noun}"

    def _contents(self, place: str) -> list[str]:
        return [self.described(thing) for thing in self.at(place)]

    def _look(self) -> str:
        places = (*self.surfaces(), self.state.room)
        return self._prose.room(self.state.room, {p: self._contents(p) for p in places}, self.state.shut)

    def _inventory(self) -> str:
        held = self._contents(HELD)
        return f"You are carrying: {listed(held)}." if held else "You are carrying nothing."

    def edible(self, thing: str) -> bool:
        """A held food that eating makes vanish."""
        food = self.house.foods.get(thing)
        cooking = self.state.states.get(thing, ("", ""))[0]
        return cooking != "burned" and (thing == MEAL or (food is not None and not (food.hard and cooking == "raw")))

    # --- commands ------------------------------------------------------------------------------------------------------

    def admissible(self) -> list[str]:
        """Commands that the game accepts here, sorted, as TextWorld lists them."""
        state, house = self.state, self.house
        here = [name for name, holder in house.furniture.items() if holder.room == state.room]
        surfaces, held = self.surfaces(), self.at(HELD)
        found = ["inventory", "look", *(f"examine {name}" for name in here)]
        for name in here:
            if house.furniture[name].lid:
                found.append(f"{'open' if name in state.shut else 'close'} {name}")
        for way, (_, door) in house.exits[state.room].items():
            if door is not None:
                found.append(f"{'open' if door in state.shut else 'close'} {door}")
            if door not in state.shut:
                found.append(f"go {way}")
        for place in surfaces:
            source = "" if place == state.room else f" from {place}"
            for thing in self.at(place):
                found += [f"examine {thing}", f"take {thing}{source}"]
        for thing in held:
            found.append(f"drop {thing}")
            if thing == COOKBOOK:
                found.append("examine cookbook")
            for place in surfaces[:-1]:
                found.append(f"insert {thing} into {place}" if house.furniture[place].lid else f"put {thing} on {place}")
            found += self._treatments(thing, here, KNIFE in held)
        if state.room == KITCHEN and MEAL not in state.places and all(i.food in held for i in house.recipe):
            found.append("prepare meal")
        return sorted(found)

    def _treatments(self, thing: str, here: list[str], knife: bool) -> list[str]:
        """Ways to cook, cut, eat or drink a held food."""
        food = self.house.foods.get(thing)
        cooking, cutting = self.state.states.get(thing, ("", ""))
        if food is None and thing != MEAL:
            return []
        found = []
        if food is not None and food.liquid:
            return [f"drink {thing}"]
        if self.edible(thing):
            found.append(f"eat {thing}")
        if cooking and cooking != "burned":
            found += [f"cook {thing} with {heat}" for heat in HEATS if heat in here]
        if cutting == "uncut" and knife:
            found += [f"{verb} {thing} with knife" for verb in _CUTS]
        return found

    def _answer(self, command: str) -> str:
        """Carries a command out and says what happened; one that fails changes nothing."""
        state = self.state
        verb, _, rest = command.partition(" ")
        if command in ("inventory", "i", "look", "l"):
            state.moves += 1
            return self._inventory() if command[0] == "i" else self._look()
        if command == "prepare meal":
            return self._prepare()
        if verb in ("examine", "read") and rest:
            return self._examine(rest)
        if verb in ("open", "close") and rest:
            return self._lid(verb, rest)
        if verb == "go" and rest:
            return self._go(rest)
        if verb == "take" and rest:
            return self._take(*(rest.split(" from ", 1)))
        if verb in ("drop", "put", "insert") and rest:
            return self._leave(verb, rest)
        if verb in ("eat", "drink") and rest:
            return self._eat(verb, rest)
        if verb in ("cook", *_CUTS) and " with " in rest:
            return self._treat(verb, *rest.rsplit(" with ", 1))
        return "That's not a verb I recognise."

    def _examine(self, name: str) -> str:
        state, house = self.state, self.house
        if name in house.furniture and house.furniture[name].room == state.room:
            state.moves += 1
            return self._prose.examine(name, self._contents(name), name in state.shut)
        if name not in self.reachable():
            return _UNSEEN
        state.moves += 1
        if name != COOKBOOK:
            return f"That's {self.described(name)}!" if name != KNIFE else "You see nothing special about the knife."
        state.read = True
        return "\n".join(
            [
                'You open the copy of "Cooking: A Modern Approach (3rd Ed.)" and start reading:',
                *("Recipe #1", "---------"),
                "Gather all following ingredients and follow the directions to prepare this tasty meal.",
                *("Ingredients:", *(i.food for i in house.recipe)),
                *("Directions:", *(line for i in house.recipe for line in i.directions), "prepare meal"),
            ]
        )

    def _lid(self, verb: str, name: str) -> str:
        state, house = self.state, self.house
        doors = [door for _, door in house.exits[state.room].values()]
        lid = name in house.furniture and house.furniture[name].room == state.room and house.furniture[name].lid
        if not lid and name not in doors:
            return _UNSEEN
        if (name in state.shut) != (verb == "open"):
            return "That's already open." if verb == "open" else "That's already closed."
        state.moves += 1
        (state.shut.discard if verb == "open" else state.shut.add)(name)
        if not lid:
            return f"You {verb} {name}."
        inside = self._contents(name) if verb == "open" else []
        return f"You {verb} the {name}" + (f", revealing {listed(inside)}." if inside else ".")

    def _go(self, way: str) -> str:
        room, door = self.house.exits[self.state.room].get(way, (None, None))
        if room is None:
            return _BLOCKED
        if door in self.state.shut:
            return f"You have to open the {door} first."
        self.state.moves += 1
        self.state.room = room
        return self._look()

    def _take(self, thing: str, source: str | None = None) -> str:
        state = self.state
        where = state.places.get(thing)
        if where == HELD:
            return "You already have that."
        if where is None or where not in self.surfaces() or source not in (None, where):
            return _UNSEEN
        state.moves += 1
        self._move(thing, HELD)
        if thing in {i.food for i in self.house.recipe} and self.level.take:
            state.earned.add(("take", thing))
        return f"You pick up the {thing} from the ground." if where == state.room else f"You take the {thing} from the {where}."

    def _leave(self, verb: str, rest: str) -> str:
        state = self.state
        thing, _, place = rest.partition({"drop": "\0", "put": " on ", "insert": " into "}[verb])
        if state.places.get(thing) != HELD:
            return _UNHELD
        if verb == "drop":
            state.moves += 1
            self._move(thing, state.room)
            return f"You drop the {thing} on the ground."
        if place not in self.surfaces()[:-1] or self.house.furniture[place].lid != (verb == "insert"):
            return _UNSEEN
        state.moves += 1
        self._move(thing, place)
        return f"You put the {thing} {'into' if verb == 'insert' else 'on'} the {place}."

    def _eat(self, verb: str, thing: str) -> str:
        state, food = self.state, self.house.foods.get(thing)
        if thing not in self.reachable():
            return _UNSEEN
        if state.places[thing] != HELD:
            return f"You need to take the {thing} first."
        state.moves += 1
        if food is not None and food.liquid != (verb == "drink"):
            return "There's nothing suitable to drink here." if verb == "drink" else "That's plainly inedible."
        if not self.edible(thing):
            raw = state.states.get(thing, ("", ""))[0] == "raw"
            return f"You should cook the {thing} first." if raw else "That's plainly inedible."
        del state.places[thing]
        if thing == MEAL:
            state.earned.add(("eat", MEAL))
            state.won = True
        elif thing in {i.food for i in self.house.recipe}:
            state.lost = True
        return f"You {verb} the {thing}. Not bad."

    def _treat(self, verb: str, thing: str, tool: str) -> str:
        """Cooks or cuts. The recipe's own way earns a point; any other ends the game for its ingredients."""
        state, furniture = self.state, self.house.furniture
        if thing not in self.reachable():
            return _UNSEEN
        if state.places[thing] != HELD:
            return f"You need to take the {thing} first."
        cooking, cutting = state.states.get(thing, ("", ""))
        item = next((i for i in self.house.recipe if i.food == thing), None)
        if verb == "cook":
            if tool not in HEATS or furniture.get(tool) is None or furniture[tool].room != state.room:
                return "Cooking requires a source of heat."
            if not cooking:
                return "Can only cook food."
            state.moves += 1
            burnt = cooking != "raw"
            state.states[thing] = ("burned" if burnt else HEATS[tool], cutting)
            done = f"You burned the {thing}!" if burnt else f"You {HEATS[tool]} the {thing}."
            right = item is None or (item.cooking == HEATS[tool] and not burnt)
        else:
            if tool != KNIFE or state.places.get(KNIFE) != HELD:
                return "Cutting something requires a knife."
            if cutting != "uncut":
                return f"The {thing} is already {cutting}." if cutting else "Can only cut cuttable food."
            state.moves += 1
            state.states[thing] = (cooking, _CUTS[verb])
            done = f"You {verb} the {thing}."
            right = item is None or item.cutting == _CUTS[verb]
        if thing == MEAL:
            right = not (verb == "cook" and burnt)
        if not right:
            state.lost = True
        elif item is not None:
            state.earned.add((verb if verb == "cook" else "cut", thing))
        return done

    def _prepare(self) -> str:
        state, recipe = self.state, self.house.recipe
        if state.room != KITCHEN:
            return "Can only prepare meal in the kitchen."
        state.moves += 1
        if MEAL in state.places or any(state.places.get(i.food) != HELD for i in recipe):
            return "You still miss something."
        have = [state.states[i.food] for i in recipe]
        if any(i.cooking != "raw" and cooking != i.cooking for i, (cooking, _) in zip(recipe, have, strict=True)):
            return "Something still needs to be cooked."
        if any(i.cutting != "uncut" and cutting != i.cutting for i, (_, cutting) in zip(recipe, have, strict=True)):
            return "Something still needs to be cut."
        for item in recipe:
            del state.places[item.food]
        state.places[MEAL] = HELD
        state.states[MEAL] = ("raw", "")
        state.earned.add(("prepare", MEAL))
        return "Adding the meal to your inventory."
