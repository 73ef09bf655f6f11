"""Key-door gridworld of uniMASK (Carroll et al., NeurIPS 2022; ``specs`` 4.1) with exact inference over its trajectories."""

from maskbench.envs.doorkey.env import DoorKey, DoorKeyBatch
from maskbench.envs.doorkey.oracle import Oracle
from maskbench.envs.doorkey.world import World, world

__all__ = ["DoorKey", "DoorKeyBatch", "Oracle", "World", "world"]
