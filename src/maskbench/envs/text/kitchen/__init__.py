"""A cooking game in pure Python, in TextWorld's own sentences."""

from maskbench.envs.text.kitchen.family import KitchenLite

__all__ = ["KitchenLite"]
