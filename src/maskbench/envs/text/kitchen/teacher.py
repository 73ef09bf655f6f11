"""The scripted expert of the kitchen: reads the cookbook first, then does what it says (TTM spec 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskbench.envs.text.kitchen.house import COOKBOOK, HEATS, HELD, KITCHEN, KNIFE, MEAL

if TYPE_CHECKING:
    from maskbench.envs.text.kitchen.game import Kitchen


def advise(game: Kitchen) -> str:
    """The next command of a plan that wins from here, wherever the game has got to; it looks at its inventory before it
    starts, and touches no food before it has read the recipe, whose directions it follows in order: cut, then cook."""
    state, recipe = game.state, game.house.recipe
    if state.moves == 0:
        return "inventory"
    if not state.read:
        return _to(game, COOKBOOK) or "examine cookbook"
    if MEAL in state.places:
        return _fetch(game, MEAL) or "eat meal"
    for item in recipe:
        step = _fetch(game, item.food)
        if step:
            return step
    for item in recipe:
        if item.cutting != "uncut" and state.states[item.food][1] == "uncut":
            verb = {"chopped": "chop", "sliced": "slice", "diced": "dice"}[item.cutting]
            return _fetch(game, KNIFE) or f"{verb} {item.food} with knife"
    for item in recipe:
        if item.cooking != "raw" and state.states[item.food][0] == "raw":
            heat = next(name for name, does in HEATS.items() if does == item.cooking)
            return _walk(game, game.house.furniture[heat].room) or f"cook {item.food} with {heat}"
    return _walk(game, KITCHEN) or "prepare meal"


def _fetch(game: Kitchen, thing: str) -> str | None:
    """The next command on the way to holding ``thing``; None where it is held."""
    place = game.state.places[thing]
    if place == HELD:
        return None
    return _to(game, thing) or (f"take {thing}" if place == game.state.room else f"take {thing} from {place}")


def _to(game: Kitchen, thing: str) -> str | None:
    """The next command on the way to reaching ``thing``, lids included; None where it can be reached."""
    place = game.state.places[thing]
    if place == HELD:
        return None
    holder = game.house.furniture.get(place)
    step = _walk(game, place if holder is None else holder.room)
    if step is None and holder is not None and holder.lid and place in game.state.shut:
        return f"open {place}"
    return step


def _walk(game: Kitchen, room: str) -> str | None:
    way = game.house.towards(game.state.room, room)
    if way is None:
        return None
    direction, door = way
    return f"open {door}" if door in game.state.shut else f"go {direction}"
