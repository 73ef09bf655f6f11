"""Mazes of D4RL's maze2d with its waypoint experts: the original task, and uniMASK's partially observed one."""

from maskbench.envs.maze2d.environment import Maze2D
from maskbench.envs.maze2d.pomdp import MazePOMDP

__all__ = ["Maze2D", "MazePOMDP"]
