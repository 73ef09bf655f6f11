"""Contracts that extensions must pass, as functions to call from their tests."""

from maskbench.testing.check_env import check_env

__all__ = ["check_env"]
