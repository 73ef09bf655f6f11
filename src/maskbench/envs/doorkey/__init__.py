"""Key-door gridworld of uniMASK (Carroll et al., NeurIPS 2022); ``oracle`` holds exact inference over its trajectories."""

from maskbench.envs.doorkey.env import DoorKey, DoorKeyBatch
from maskbench.envs.doorkey.world import World, build_world

__all__ = ["DoorKey", "DoorKeyBatch", "World", "build_world"]
