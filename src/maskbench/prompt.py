"""Prompts of text and pictures, as environments give them, data sets keep them and models read them (VIMA-Bench's form)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from maskbench.errors import DataError
from maskbench.trajectory import Episode

#: ``{name}`` in a prompt's text stands for a picture or a word.
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.]*)\}")


@dataclass(frozen=True)
class PromptObject:
    """One object that a prompt's picture shows. ``id`` is its value in the segmentation images."""

    id: int
    name: str
    texture: str


@dataclass(frozen=True, eq=False)
class PromptImage:
    """The picture behind a placeholder.

    kind:    ``object``: one object alone on white, id 0, background 255. ``scene``: a whole workspace, objects in spawn order.
    rgb:     per view ``(3, H, W)`` uint8.
    segm:    per view ``(H, W)`` uint8 object ids.
    objects: what the picture shows; an object may be hidden in a view.
    """

    kind: Literal["object", "scene"]
    rgb: Mapping[str, np.ndarray]
    segm: Mapping[str, np.ndarray]
    objects: tuple[PromptObject, ...]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PromptImage):
            return NotImplemented
        pairs = ((self.rgb, other.rgb), (self.segm, other.segm))
        same = all(a.keys() == b.keys() and all(np.array_equal(a[v], b[v]) for v in a) for a, b in pairs)
        return same and (self.kind, self.objects) == (other.kind, other.objects)

    __hash__ = None  # type: ignore[assignment]  # arrays are compared by value


@dataclass(frozen=True)
class Prompt:
    """An instruction whose placeholders are pictures: ``"Put the {dragged_obj} into the {base_obj}."``

    text:   with ``{placeholder}`` where a picture stands.
    images: placeholder -> picture; DataError where the text names one that is missing.
    """

    text: str
    images: Mapping[str, PromptImage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [name for name in self.placeholders if name not in self.images]
        if missing:
            raise DataError(f"the prompt '{self.text}' names {missing}, without a picture; found {list(self.images)}")

    @property
    def placeholders(self) -> Sequence[str]:
        """Names of the pictures, in the order in which the text shows them; one may be shown twice."""
        return PLACEHOLDER.findall(self.text)


@dataclass(frozen=True)
class PromptedEpisode(Episode):
    """A recording together with what it was asked for; stores keep both (``data.prompts``)."""

    prompt: Prompt | None = None
