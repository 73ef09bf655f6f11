"""D4RL's maze2d in three sizes, with its waypoint expert."""

from maskbench.envs.maze2d.environment import Maze2D, Maze2DEnv

__all__ = ["Maze2D", "Maze2DEnv"]
