"""Behavior Transformers' block push: two blocks, two zones, four ways to do it. With its scripted expert."""

from maskbench.envs.blockpush.environment import BlockPush, BlockPushEnv
from maskbench.envs.blockpush.oracle import MODES, Oracle

__all__ = ["MODES", "BlockPush", "BlockPushEnv", "Oracle"]
