"""What an evaluation level lets tasks draw from (VIMA specification 1.7), and how difficulties change tasks (3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from maskbench.envs.tabletop.objects import object_names
from maskbench.envs.tabletop.reading import read_yaml
from maskbench.envs.tabletop.textures import dark_textures, light_textures, texture_set
from maskbench.errors import ConfigError, did_you_mean

Partition = Literal[
    "train",
    "placement_generalization",
    "combinatorial_generalization",
    "novel_object_generalization",
    "novel_task_generalization",
]
PARTITIONS: tuple[Partition, ...] = get_args(Partition)
Difficulty = Literal["easy", "distracting", "extreme", "extremely_distracting"]
DIFFICULTIES: tuple[Difficulty, ...] = get_args(Difficulty)
#: Textures of a task where its partition leaves them open: halves of the light ones for what is dragged and for bases; all
#: light ones; or dark ones too.
OpenTextures = Literal["halves", "light", "light_and_dark"]


@dataclass(frozen=True)
class Pools:
    """Names that a task may draw from."""

    dragged: tuple[str, ...]
    base: tuple[str, ...]
    dragged_textures: tuple[str, ...]
    base_textures: tuple[str, ...]

    @property
    def textures(self) -> tuple[str, ...]:
        """Those of both roles."""
        return (*self.dragged_textures, *(t for t in self.base_textures if t not in self.dragged_textures))


def check_partition(name: str) -> None:
    """Raises ConfigError naming the nearest partition."""
    if name not in PARTITIONS:
        raise ConfigError(f"no partition is called '{name}'. {did_you_mean(name, PARTITIONS)}")


def level(partition: str) -> int:
    """0 for training, 1 to 4 for the test levels."""
    check_partition(partition)
    return int(read_yaml(f"partitions/{partition}.yaml")["level"])


def tasks_of(partition: str) -> tuple[str, ...]:
    """Names of the tasks that a partition holds."""
    check_partition(partition)
    return tuple(read_yaml(f"partitions/{partition}.yaml")["tasks"])


def cells() -> tuple[tuple[Partition, str], ...]:
    """The 42 pairs of a test partition and a task over which levels are averaged."""
    return tuple((p, t) for p in PARTITIONS[1:] for t in tasks_of(p))


@cache
def pools(partition: str, task: str, open_textures: OpenTextures = "halves") -> Pools:
    """What ``task`` draws from in ``partition``. Raises ConfigError where the partition does not hold the task."""
    if task not in tasks_of(partition):
        where = [p for p in PARTITIONS if task in tasks_of(p)]
        raise ConfigError(f"partition={partition} does not hold task={task}; it is part of {', '.join(where)}")
    row = read_yaml(f"partitions/{partition}.yaml")
    light = light_textures()
    half = (len(light) + 1) // 2
    open_lists: dict[OpenTextures, tuple[tuple[str, ...], tuple[str, ...]]] = {
        "halves": (light[:half], light[half:]),
        "light": (light, light),
        "light_and_dark": ((*light, *dark_textures()), light[half:]),
    }
    dragged, base = open_lists[open_textures]
    return Pools(
        dragged=_objects("dragged", row["dragged_objects"]),
        base=tuple(row.get("only_base", {}).get(task, ())) or _objects("base", row["base_objects"]),
        dragged_textures=texture_set(row["dragged_textures"]) if row["dragged_textures"] else dragged,
        base_textures=texture_set(row["base_textures"]) if row["base_textures"] else base,
    )


def settings(task: str, difficulty: str) -> dict[str, Any]:
    """Fields of the task's class that ``difficulty`` changes."""
    if difficulty not in DIFFICULTIES:
        raise ConfigError(f"no difficulty is called '{difficulty}'. {did_you_mean(difficulty, DIFFICULTIES)}")
    rows = read_yaml("difficulty.yaml")[task]
    both = ("distracting", "extreme") if difficulty == "extremely_distracting" else (difficulty,)
    changed = {k: v for name in both if name != "easy" for k, v in rows[name].items()}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in changed.items()}


def _objects(group: str, which: str) -> tuple[str, ...]:
    return object_names(group, {"trained": False, "novel": True, "all": None}[which])
