"""Franka kitchen: seven household tasks for one arm, behind the 60-d observation of D4RL, RPL and BeT."""

from maskbench.envs.kitchen.environment import Kitchen, KitchenEnv

__all__ = ["Kitchen", "KitchenEnv"]
