"""D4RL's MuJoCo tasks: gym's runners (hopper, walker2d, halfcheetah, ant) and the Adroit hand."""

from maskbench.envs.gym_mujoco.adroit import Adroit
from maskbench.envs.gym_mujoco.locomotion import Locomotion

__all__ = ["Adroit", "Locomotion"]
