"""Z-machine story files: Zork and its kin, through Jericho."""

from maskbench.envs.text.zmachine.family import ZMachine

__all__ = ["ZMachine"]
