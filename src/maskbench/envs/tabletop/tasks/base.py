"""What every task template declares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from maskbench.envs.tabletop.layout import Layout
from maskbench.envs.tabletop.partitions import OpenTextures
from maskbench.envs.tabletop.scene import EndEffector
from maskbench.envs.tabletop.trial import Trial

Group = Literal[
    "instruction following", "goal reaching", "memory", "concept grounding", "one-shot imitation", "constraint", "reasoning"
]


class Task(ABC):
    """A template: draws scenes with their prompts and goals. Subclasses are dataclasses whose fields are the settings that
    difficulties change (``difficulty.yaml``).

    number:           of published tables, 1 to 17.
    oracle_max_steps: actions that the benchmark grants its oracle; evaluations grant two more.
    open_textures:    what textures are drawn from where a partition leaves them open.
    """

    number: ClassVar[int]
    name: ClassVar[str]
    group: ClassVar[Group]
    ee: ClassVar[EndEffector] = "suction"
    oracle_max_steps: ClassVar[int] = 3
    open_textures: ClassVar[OpenTextures] = "halves"

    @property
    @abstractmethod
    def most_objects(self) -> int:
        """Objects in the largest scene that may be drawn."""

    @abstractmethod
    def build(self, layout: Layout) -> Trial:
        """Draws an episode; raises NoRoomError where this draw does not work out."""
