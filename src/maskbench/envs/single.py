"""One slot of a vectorised environment, seen as a ``gymnasium.Env``: a family writes its dynamics once."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from maskbench.envs.base import BatchEnv, Start
from maskbench.trajectory import TrajectorySpec


def observation_space(spec: TrajectorySpec) -> gymnasium.spaces.Dict:
    """``Dict`` of the state factors of ``spec``: ``Discrete(classes)``, ``Text``, bytes, or an unbounded ``Box``."""
    spaces: dict[str, gymnasium.Space[Any]] = {}
    for factor in spec.with_role("state"):
        if factor.kind == "text":
            spaces[factor.name] = text_space()
        elif factor.classes is not None:
            spaces[factor.name] = gymnasium.spaces.Discrete(factor.classes)
        elif factor.dtype == np.uint8:
            spaces[factor.name] = gymnasium.spaces.Box(0, 255, factor.shape, np.uint8)
        else:
            spaces[factor.name] = gymnasium.spaces.Box(-np.inf, np.inf, factor.shape, factor.dtype.type)
    return gymnasium.spaces.Dict(spaces)


def text_space() -> gymnasium.spaces.Text:
    """Any text of the Latin scripts, of any practical length."""
    characters = frozenset(map(chr, (*range(0x20, 0x250), *range(0x2010, 0x2040), 0x0A)))
    return gymnasium.spaces.Text(max_length=100_000, min_length=0, charset=characters)


class SingleEnv(gymnasium.Env[dict[str, np.ndarray], Any]):
    """Slot 0 of ``batch``.

    ``info`` holds ``events`` (names of what happened in this step) and ``success`` (whether ``success_event`` has
    happened in this episode). ``reset()`` without a seed draws one from the environment's own generator.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - gymnasium's own declaration
        "render_modes": ["rgb_array"],
        "render_fps": 5,
    }

    def __init__(self, batch: BatchEnv, spec: TrajectorySpec, action_space: gymnasium.Space[Any], success_event: str) -> None:
        self.batch = batch
        self.observation_space: gymnasium.spaces.Dict = observation_space(spec)  # type: ignore[assignment]
        self.action_space = action_space
        self.render_mode = "rgb_array"
        self._success_event = success_event
        self._success = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        row = (options or {}).get("simulator")
        observation = self.batch.reset([0], [seed], [None if row is None else Start(row)])
        self._success = False
        return self._first(observation), {"events": (), "success": False}

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        step = self.batch.step([0], np.asarray(action)[None])
        self._success |= self._success_event in step.events[0]
        info = {"events": step.events[0], "success": self._success}
        return self._first(step.observation), float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]), info

    def render(self) -> np.ndarray:  # type: ignore[override]
        return self.batch.render(0)

    def close(self) -> None:
        self.batch.close()

    @staticmethod
    def _first(observation: Any) -> dict[str, np.ndarray]:
        return {name: value[0] for name, value in observation.items()}
