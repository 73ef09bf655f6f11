"""Tasks 6, 7 and 8: made-up nouns and adjectives, defined in the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from maskbench.envs.tabletop.layout import Layout, Size
from maskbench.envs.tabletop.objects import ObjectSpec
from maskbench.envs.tabletop.picture import object_image
from maskbench.envs.tabletop.tasks.base import Task
from maskbench.envs.tabletop.tasks.put import IN_BASE, add_distractors
from maskbench.envs.tabletop.textures import GRAY, dark_textures
from maskbench.envs.tabletop.trial import Goal, PlacingTrial
from maskbench.prompt import Prompt, PromptImage

Attribute = Literal["taller", "shorter", "lighter", "darker"]
_OPPOSITE: dict[Attribute, Attribute] = {"taller": "shorter", "shorter": "taller", "lighter": "darker", "darker": "lighter"}

NOUNS = ("dax", "blicket", "wug", "zup")
ADJECTIVES = ("daxer", "blicker", "modier", "kobar")


def _twin(texture: str) -> str:
    """The dark texture of a light one, and the other way round."""
    return texture.removeprefix("dark ") if texture.startswith("dark ") else f"dark {texture}"


def _twinned(textures: tuple[str, ...]) -> tuple[str, ...]:
    """Those that exist in a light and a dark version, in both."""
    light = [t for t in textures if not t.startswith("dark ") and f"dark {t}" in dark_textures()]
    return (*light, *map(_twin, light))


@dataclass(frozen=True)
class Look:
    """How an object of a kind shows an attribute: texture and size."""

    texture: str
    size: Size


def contrast(layout: Layout, spec: ObjectSpec, attribute: Attribute) -> tuple[Look, Look]:
    """An object that has the attribute, and one of the same kind that has the opposite."""
    texture, (x, y, z) = layout.pick(_twinned(layout.pools.dragged_textures)), layout.size(spec)
    if attribute in ("taller", "shorter"):
        low = float(layout.rng.uniform(0.3, 0.4))
        short, tall = Look(texture, (x, y, z * low)), Look(texture, (x, y, z * (low + 2.0)))
        return (tall, short) if attribute == "taller" else (short, tall)
    light = texture.removeprefix("dark ")
    bright, dim = Look(light, (x, y, z)), Look(_twin(light), (x, y, z))
    return (bright, dim) if attribute == "lighter" else (dim, bright)


def demonstrations(layout: Layout, attribute: Attribute, word: str) -> tuple[str, dict[str, PromptImage]]:
    """Three pairs that define an adjective: their sentences and pictures."""
    images: dict[str, PromptImage] = {}
    for k in (1, 2, 3):
        spec = layout.dragged()
        for name, look in zip(("demo_blicker_obj", "demo_less_blicker_obj"), contrast(layout, spec, attribute), strict=True):
            images[f"{name}_{k}"] = object_image(spec, look.texture, look.size)
    return " ".join(f"{{demo_blicker_obj_{k}}} is {word} than {{demo_less_blicker_obj_{k}}}." for k in (1, 2, 3)), images


@dataclass(frozen=True)
class NovelAdjective(Task):
    """Three comparisons define an adjective; of two objects that differ in it, put one into the base."""

    number, name, group = 6, "novel_adj", "concept grounding"
    open_textures = "light_and_dark"
    with_nouns: ClassVar[bool] = False
    distractors: int = 0
    half_matching: int = 0
    adjectives: tuple[str, ...] = ADJECTIVES
    nouns: tuple[str, ...] = NOUNS
    base_from_dragged: bool = False

    @property
    def most_objects(self) -> int:
        return 3 + self.distractors + self.half_matching

    def build(self, layout: Layout) -> PlacingTrial:
        spec, base_spec, attribute, less = self._drawn(layout)
        wanted, confusing = contrast(layout, spec, _OPPOSITE[attribute] if less else attribute)
        base = layout.add(base_spec, layout.pick(layout.pools.base_textures))
        dragged = layout.add(spec, wanted.texture, size=wanted.size)
        others = [layout.add(spec, confusing.texture, size=confusing.size)]
        names = (spec.name, base_spec.name)
        others += add_distractors(layout, self.distractors, [], names)
        for _ in range(self.half_matching):  # has the attribute and is of another kind
            others.append(layout.add(layout.dragged(but=names), wanted.texture, size=None))

        word = layout.pick(self.adjectives)
        told, images = demonstrations(layout, attribute, word)
        images["base_obj"] = object_image(base_spec, GRAY, layout.scene[base].size)
        images["dragged_obj"] = object_image(spec, GRAY, layout.size(spec))
        text = self._text(layout, told, f"less {word}" if less else word)
        goal = Goal(dragged, (layout.scene[base].pose,), IN_BASE)
        return PlacingTrial(layout.scene, Prompt(text, images), [[goal]], tuple(others))

    def _drawn(self, layout: Layout) -> tuple[ObjectSpec, ObjectSpec, Attribute, bool]:
        base_spec = layout.base(self.base_from_dragged)
        spec = layout.dragged(but=[base_spec.name])
        return spec, base_spec, layout.pick(tuple(_OPPOSITE)), bool(layout.rng.random() < 0.5)

    def _text(self, layout: Layout, told: str, adjective: str) -> str:
        return f"{told} Put the {adjective} {{dragged_obj}} into the {{base_obj}}."


@dataclass(frozen=True)
class NovelAdjectiveAndNoun(NovelAdjective):
    """Both concepts at once; never trained."""

    number, name, group = 8, "novel_adj_and_noun", "concept grounding"
    distractors: int = 2

    def _text(self, layout: Layout, told: str, adjective: str) -> str:
        noun, base_noun = layout.pick_several(self.nouns, 2)
        defined = definitions(layout, noun, "dragged_obj", base_noun)
        return f"{defined} {told} Put the {adjective} {noun} into the {base_noun}."


def definitions(layout: Layout, noun: str, dragged: str, base_noun: str) -> str:
    """What the two nouns mean, in random order."""
    sentences = [f"This is a {noun} {{{dragged}}}.", f"This is a {base_noun} {{base_obj}}."]
    return " ".join(layout.pick_several(sentences, 2))


@dataclass(frozen=True)
class NovelNoun(Task):
    """This is a <noun> {dragged_obj_1}. This is a <noun> {base_obj}. Put a <noun> into a <noun>."""

    number, name, group = 7, "novel_noun", "concept grounding"
    distractors: int = 1
    nouns: tuple[str, ...] = NOUNS
    base_from_dragged: bool = False

    @property
    def most_objects(self) -> int:
        return 2 + self.distractors

    def build(self, layout: Layout) -> PlacingTrial:
        base_spec = layout.base(self.base_from_dragged)
        spec = layout.dragged(but=[base_spec.name])
        base = layout.add(base_spec, layout.pick(layout.pools.base_textures))
        dragged = layout.add(spec, layout.pick(layout.pools.dragged_textures))
        others = add_distractors(layout, self.distractors, [], (spec.name, base_spec.name))
        noun, base_noun = layout.pick_several(self.nouns, 2)
        images = {
            "dragged_obj_1": object_image(spec, GRAY, layout.scene[dragged].size),
            "base_obj": object_image(base_spec, GRAY, layout.scene[base].size),
        }
        text = f"{definitions(layout, noun, 'dragged_obj_1', base_noun)} Put a {noun} into a {base_noun}."
        goal = Goal(dragged, (layout.scene[base].pose,), IN_BASE)
        return PlacingTrial(layout.scene, Prompt(text, images), [[goal]], tuple(others))
