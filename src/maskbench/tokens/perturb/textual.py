"""Pictures of single objects said in words: ``{dragged_obj}`` becomes ``the red letter M`` (CoGeLoT)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from maskbench.prompt import PLACEHOLDER, Prompt

#: Words that stand for any object.
GENERIC = ("object", "item", "thing")
#: Tasks whose pictures show scenes or meanings that words cannot say; left as they are, and averages leave them out.
UNSAYABLE = frozenset(
    (
        *("scene_understanding", "rearrange", "rearrange_then_restore", "novel_adj", "novel_adj_and_noun", "twist"),
        *("follow_motion", "follow_order"),
    )
)
#: Words behind which a description needs no article of its own.
_DETERMINED = ("the", "a", "an", "any", "all", "one", "two", "three", "this", "that", "same")


def textual(
    prompt: Prompt, task: str, random: np.random.Generator, noun: Literal["name", "generic", "none"], texture: bool
) -> Prompt:
    """Texture and name of every object picture in its place; scenes stay pictures.

    noun: its name, one of ``GENERIC``, or nothing.
    """
    if task in UNSAYABLE:
        return prompt

    pieces, place = [], 0
    for match in PLACEHOLDER.finditer(prompt.text):
        pieces.append(prompt.text[place : match.start()])
        place = match.end()
        image = prompt.images[match[1]]
        if image.kind != "object":
            pieces.append(match[0])
            continue
        shown = image.objects[0]
        said = {"name": shown.name, "generic": str(random.choice(GENERIC)), "none": ""}[noun]
        words = f"{shown.texture if texture else ''} {said}".split() or [shown.name]
        before = "".join(pieces).split()
        article = [] if before and before[-1].lower() in _DETERMINED else ["the"]
        pieces.append(" ".join([*article, *words]))
    text = "".join([*pieces, prompt.text[place:]])
    left = {n: i for n, i in prompt.images.items() if f"{{{n}}}" in text}
    return replace(prompt, text=text, images=left)
