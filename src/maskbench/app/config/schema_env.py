"""Environments that ``configs/env`` may name. Keys are the keyword arguments of the target class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from maskbench.app.config.decode import Bound
from maskbench.app.config.node import Node

KitchenTask = Literal["bottom_burner", "top_burner", "light_switch", "slide_cabinet", "hinge_cabinet", "microwave", "kettle"]
Steps = Annotated[int, Bound(least=1)]
Pixels = Annotated[int, Bound(least=1)]
NonNegative = Annotated[float, Bound(least=0)]


@dataclass(frozen=True)
class EnvNode(Node):
    """An environment; ``name`` is how run folders and results call it."""

    labels: ClassVar[tuple[str, ...]] = ("name",)
    #: States and actions are classes, not numbers.
    discrete: ClassVar[bool] = False
    #: States and actions are words: played by text policies, trained on as rollouts.
    text: ClassVar[bool] = False

    name: str


@dataclass(frozen=True)
class DoorKey(EnvNode):
    """Key-door gridworld of uniMASK."""

    target: ClassVar[str] = "maskbench.envs.doorkey.DoorKey"
    discrete: ClassVar[bool] = True

    size: Annotated[int, Bound(least=4)] = 4
    horizon: Steps = 10
    beta: NonNegative = 1.0


@dataclass(frozen=True)
class PointMass(EnvNode):
    """Multipath point mass of the BeT reproducibility study."""

    target: ClassVar[str] = "maskbench.envs.pointmass.PointMass"

    version: Literal[1, 2] = 1
    fixed_start: bool = True
    snap: bool = True
    spacing: Literal["grid", "legacy"] = "grid"
    noise_scale: NonNegative = 0.0


@dataclass(frozen=True)
class MazePOMDP(EnvNode):
    """Partially observed maze2d of uniMASK."""

    target: ClassVar[str] = "maskbench.envs.maze2d.MazePOMDP"

    size: Literal["umaze", "medium", "large"] = "medium"
    horizon: Steps = 200
    velocity_noise: NonNegative = 0.1
    legacy_velocity_accumulation: bool = False
    start_noise: NonNegative = 0.3
    pixels_per_cell: Pixels = 32


@dataclass(frozen=True)
class Maze2D(EnvNode):
    """maze2d of D4RL; ``horizon=None`` takes that of the maze."""

    target: ClassVar[str] = "maskbench.envs.maze2d.Maze2D"

    size: Literal["umaze", "medium", "large"]
    horizon: Steps | None = None
    start_noise: NonNegative = 0.1
    velocity_noise: NonNegative = 0.1
    pixels_per_cell: Pixels = 32


@dataclass(frozen=True)
class DMControl(EnvNode):
    """A dm_control task with flat observations, as in ExoRL and MaskDP."""

    target: ClassVar[str] = "maskbench.envs.dmc.DMControl"

    domain: str
    task: str
    horizon: Steps = 1000
    height: Pixels = 240
    width: Pixels = 320


@dataclass(frozen=True)
class BlockPush(EnvNode):
    """Multimodal block push of Behavior Transformers."""

    target: ClassVar[str] = "maskbench.envs.blockpush.BlockPush"

    horizon: Steps = 300
    min_yaw: NonNegative = 0.0


@dataclass(frozen=True)
class Kitchen(EnvNode):
    """Franka kitchen of RPL, D4RL and BeT."""

    target: ClassVar[str] = "maskbench.envs.kitchen.Kitchen"

    horizon: Steps = 280
    tasks: tuple[KitchenTask, ...] = get_args(KitchenTask)
    noise: NonNegative = 0.1
    height: Steps = 240
    width: Steps = 320


@dataclass(frozen=True)
class Carla(EnvNode):
    """CARLA of Behavior Transformers, which is refused with what it needs."""

    target: ClassVar[str] = "maskbench.envs.carla.Carla"

    horizon: Steps = 700


@dataclass(frozen=True)
class Locomotion(EnvNode):
    """A runner of D4RL's gym-MuJoCo data."""

    target: ClassVar[str] = "maskbench.envs.gym_mujoco.Locomotion"

    task: Literal["hopper", "walker2d", "halfcheetah", "ant"]
    horizon: Steps = 1000
    height: Pixels = 240
    width: Pixels = 320


@dataclass(frozen=True)
class Adroit(EnvNode):
    """The Adroit hand of D4RL; ``horizon=None`` takes that of the task."""

    target: ClassVar[str] = "maskbench.envs.gym_mujoco.Adroit"

    task: Literal["pen", "door", "hammer", "relocate"]
    reward: Literal["dense", "goal_achieved"] = "dense"
    horizon: Steps | None = None
    height: Pixels = 240
    width: Pixels = 320


@dataclass(frozen=True)
class Sinusoid(EnvNode):
    """Sinusoids with random signs, MTM's toy."""

    target: ClassVar[str] = "maskbench.envs.sinusoid.Sinusoid"

    noise: NonNegative = 0.03
    flip: bool = True


@dataclass(frozen=True)
class KitchenLite(EnvNode):
    """Cooking games in pure Python."""

    target: ClassVar[str] = "maskbench.envs.text.kitchen.KitchenLite"
    text: ClassVar[bool] = True

    level: Literal[1, 2, 3, 4] = 2
    flavour: Literal["gata", "ttm"] = "gata"
    foods: Literal["textworld", "invented"] = "textworld"
    split: Literal["train", "valid", "test"] = "train"
    games: Steps | None = None
    horizon: Steps = 50
    expert: bool = True
    strange: Annotated[float, Bound(least=0, most=1)] = 0.0


@dataclass(frozen=True)
class Cooking(EnvNode):
    """Cooking games of TextWorld."""

    target: ClassVar[str] = "maskbench.envs.text.cooking.Cooking"
    text: ClassVar[bool] = True

    level: Literal[1, 2, 3, 4]
    flavour: Literal["gata", "ttm"] = "gata"
    split: Literal["train", "valid", "test"] = "train"
    games: Steps | None = None
    folder: str = "data/generated/cooking"
    horizon: Steps = 100
    expert: bool = False
    status: bool = False
    banner: bool = False
    score_text: bool = True
    collapse: bool = True
    append_inventory: bool = False
    append_look: bool = False


@dataclass(frozen=True)
class ZMachine(EnvNode):
    """A Z-machine story file, played by Jericho."""

    target: ClassVar[str] = "maskbench.envs.text.zmachine.ZMachine"
    text: ClassVar[bool] = True

    game: str
    folder: str = "data/games"
    seed: int | Literal["walkthrough", "episode"] = "walkthrough"
    horizon: Steps = 400
    admissible: bool = False
    status: bool = False
    score_text: bool = True
    collapse: bool = True
    append_inventory: bool = False
    append_look: bool = False


@dataclass(frozen=True)
class Tabletop(EnvNode):
    """VIMA-Bench's tabletop."""

    target: ClassVar[str] = "maskbench.envs.tabletop.Tabletop"

    task: str | tuple[str, ...] = "visual_manipulation"
    partition: Literal[
        "train",
        "placement_generalization",
        "combinatorial_generalization",
        "novel_object_generalization",
        "novel_task_generalization",
    ] = "train"
    difficulty: Literal["easy", "distracting", "extreme", "extremely_distracting"] = "easy"
    observe: Literal["features", "objects", "pictures"] = "features"
    order: Literal["shuffle", "spawn", "spatial"] = "shuffle"
    slots: Steps | None = None
    backend: Literal["kinematic", "mujoco", "vima_bench"] = "kinematic"
    rearrange: Literal["original", "fixed3"] = "original"
    stop_on_failure: bool = True
    rest: Annotated[int, Bound(least=0)] = 0
    horizon: Steps | None = None
