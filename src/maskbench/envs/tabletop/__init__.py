"""VIMA-Bench's tabletop, without its simulator and without a download (VIMA specification 1, 4)."""

from maskbench.envs.tabletop.environment import FactorEnv, Tabletop, TabletopBatch
from maskbench.envs.tabletop.tabletop_env import TabletopEnv

__all__ = ["FactorEnv", "Tabletop", "TabletopBatch", "TabletopEnv"]
