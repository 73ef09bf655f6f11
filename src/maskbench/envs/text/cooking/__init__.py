"""The cooking games of TextWorld."""

from maskbench.envs.text.cooking.family import Cooking

__all__ = ["Cooking"]
