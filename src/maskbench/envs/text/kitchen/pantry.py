"""Foods of the kitchen: TextWorld's, or invented ones of which every episode has others."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from maskbench.envs.text.levels import Split

COOKINGS = ("fried", "roasted", "grilled")
CUTTINGS = ("chopped", "sliced", "diced")


@dataclass(frozen=True)
class Food:
    """What can be done with a food. ``hard``: it is not eaten before it is cooked."""

    name: str
    cookable: bool = True
    cuttable: bool = True
    hard: bool = False
    liquid: bool = False
    counted: bool = True

    def allows(self, cook: bool, cut: bool) -> bool:
        """Whether a recipe may ask to cook and cut it."""
        return (self.cookable or not cook) and (self.cuttable or not cut)


def _foods(names: str, **properties: bool) -> list[Food]:
    return [Food(name, **properties) for name in names.split(", ")]


def _list(words: str) -> list[str]:
    return words.split()


#: TextWorld's foods by the split that owns them; valid and test games also use those of train (its cooking challenge).
_SOFT = (
    "orange bell pepper, block of cheese, red hot pepper, yellow bell pepper, banana, white onion, red onion, red apple, carrot"
)
FOODS: dict[Split, tuple[Food, ...]] = {
    "train": (
        *_foods(_SOFT),
        *_foods("purple potato, yellow potato, red potato, pork chop", hard=True),
        *_foods("chicken leg, chicken wing", hard=True, cuttable=False),
        *_foods("cilantro, parsley", cookable=False),
        *_foods("black pepper, salt, flour", cookable=False, cuttable=False),
        *_foods("olive oil", cookable=False, cuttable=False, counted=False),
        *_foods("water", cookable=False, cuttable=False, liquid=True, counted=False),
    ),
    "valid": (
        *_foods("green apple, green bell pepper, red bell pepper, lettuce"),
        *_foods("red tuna", hard=True),
        *_foods("chicken breast", hard=True, cuttable=False),
        *_foods("vegetable oil, peanut oil", cookable=False, cuttable=False, counted=False),
    ),
    "test": (
        *_foods("yellow onion, yellow apple, green hot pepper, tomato"),
        *_foods("white tuna", hard=True),
        *_foods("egg", hard=True, cuttable=False),
        *_foods("sugar", cookable=False, cuttable=False),
        *_foods("milk", cookable=False, cuttable=False, liquid=True, counted=False),
    ),
}

_KINDS = _list(
    "amber bitter blue brown crimson curly dark dwarf fat flat fuzzy giant gold green grey hairy heavy hollow ivory "
    "jade long mild mottled noble old orange pale pink plain plump purple red round royal salty sharp shiny short "
    "silver small soft sour spicy spotted striped sweet tall tart thin violet wild white winter wrinkled yellow young"
)
_STEMS = _list(
    "bar bel bor cal cor dal dor fal fen gar gil gor har jal kal kel kor lam lor mal mar mel mor nal nor pal pel por "
    "ral rin ror sal sel sor tal tam tor val vel vor wal wen zal zor"
)
_ENDINGS = {
    "train": _list("abo ack amo ash eek ello enta erry ica ina ish olla on oot ova ut"),
    "valid": _list("anga eech ilo oke ume"),
    "test": _list("arro eff inth opa usk"),
}


def stock(split: Split, invented: bool, count: int, rng: Random) -> list[Food]:
    """Foods that may appear in a game, the ones of ``split`` first among equals.

    invented: ``count`` names of an adjective and a noun that exist nowhere else; those of different splits share no noun.
              Neighbours in the list share a word, so that a name has to be read to its end.
    """
    if not invented:
        foods = [*FOODS[split], *(FOODS["train"] if split != "train" else ())]
        rng.shuffle(foods)
        return foods
    nouns = [rng.choice(_STEMS) + rng.choice(_ENDINGS[split]) for _ in range(max(2, count // 2))]
    kinds = rng.sample(_KINDS, max(2, count // 3))
    names: dict[str, None] = {}
    while len(names) < count:
        kind = rng.choice(kinds)
        noun = rng.choice(nouns)
        names.setdefault(noun if rng.random() < 0.15 else f"{kind} {noun}")
        if rng.random() < 0.05:
            nouns.append(rng.choice(_STEMS) + rng.choice(_ENDINGS[split]))
    return [_invented(name, rng) for name in names]


def _invented(name: str, rng: Random) -> Food:
    draw = rng.random()
    if draw < 0.12:
        return Food(name, cookable=False, cuttable=False, counted=rng.random() < 0.5)
    if draw < 0.2:
        return Food(name, cookable=False)
    return Food(name, hard=rng.random() < 0.4)
