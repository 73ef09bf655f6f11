"""dm_control locomotion: walker, cheetah and quadruped with the suite's and ExoRL's tasks."""

from maskbench.envs.dmc.environment import DMControl, DMControlEnv

__all__ = ["DMControl", "DMControlEnv"]
