"""One live simulation of a domain: start, restore, step, read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from maskbench.envs.camera import Camera, import_mujoco
from maskbench.envs.dmc.domains import Domain, advance, load_model
from maskbench.errors import EnvError


class Simulator:
    """MuJoCo model and data of ``domain``. Raises MissingExtraError where mujoco or dm_control is not installed.

    model: a model compiled before, to be shared by simulations that are stepped from one thread (compiling takes 40 ms).
    """

    def __init__(self, domain: Domain, model: Any = None) -> None:
        mujoco = self._mujoco = import_mujoco(f"The environment '{domain.name}'")
        model = self.model = load_model(mujoco, domain) if model is None else model
        data = self._data = mujoco.MjData(model)
        self._domain = domain
        low, high = model.actuator_ctrlrange.T
        self._middle, self._half = (low + high) / 2.0, (high - low) / 2.0
        self._state = (data.qpos, data.qvel, data.act)
        self._ctrl = data.ctrl
        self._faults = data.warning.number[mujoco.mjtWarning.mjWARN_BADQPOS.value :]
        self._refresh = tuple(getattr(mujoco, name) for name in domain.refresh)
        self._camera: Camera | None = None
        #: Observation ``(observation_size,)`` float32 and reward features ``(k,)`` float64 of the present state.
        self.observe = domain.observe(mujoco, model, data)
        self.features = domain.features(mujoco, model, data)

    def start(self, seed: int) -> None:
        """The first state of an episode, as the suite's task with ``random=seed`` draws it after being built."""
        self._mujoco.mj_resetData(self.model, self._data)
        self._settle()
        self._domain.start(self._mujoco, self.model, self._data, np.random.RandomState(seed))
        self._settle()

    def restore(self, physics: np.ndarray) -> None:
        """Continues from a saved row ``(physics_size,)``: positions, velocities, activations."""
        self._mujoco.mj_resetData(self.model, self._data)
        self._settle()
        self._set(physics)
        self._settle()

    def move(self, physics: np.ndarray) -> None:
        """Continues from a saved row where another one led there: the solver starts from what it found last."""
        self._set(physics)
        self._mujoco.mj_step1(self.model, self._data)

    @contextmanager
    def converged(self) -> Iterator[None]:
        """Inside, the solver goes on until it changes nothing, so that its start does not matter; twenty times as slow."""
        options = self.model.opt
        before = options.tolerance, options.iterations
        options.tolerance, options.iterations = 0.0, 200
        try:
            yield
        finally:
            options.tolerance, options.iterations = before

    def step(self, action: np.ndarray) -> None:
        """One control step with ``action`` in [-1, 1], scaled to the actuators' range.

        Raises EnvError for an action that is not finite, and where the simulation diverges.
        """
        if not np.isfinite(action).all():
            raise EnvError(f"'{self._domain.name}' takes finite actions; found {action}")
        self._ctrl[:] = self._middle + self._half * action
        advance(self._mujoco, self.model, self._data, self._domain.substeps)
        if self._faults.any():
            raise EnvError(
                f"the simulation of '{self._domain.name}' diverged: positions, velocities or forces grew beyond all measure"
            )

    def physics(self) -> np.ndarray:
        """``(physics_size,)`` float64 copy of the full state."""
        return np.concatenate(self._state)

    def features_of(self, physics: np.ndarray) -> np.ndarray:
        """Reward features ``(n, k)`` of saved rows ``(n, physics_size)``: only the stages that they need are computed."""
        model, data = self.model, self._data
        rows = []
        for row in physics:
            self._set(row)
            for stage in self._refresh:
                stage(model, data)
            rows.append(self.features())
        return np.array(rows)

    def picture(self, height: int, width: int) -> np.ndarray:
        """``(height, width, 3)`` uint8; EnvError where no OpenGL library is installed."""
        if self._camera is None:
            self._camera = Camera(self.model, self._domain.camera, height, width)
        return self._camera.picture(self._data)

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _set(self, physics: np.ndarray) -> None:
        first = 0
        for part in self._state:
            part[:] = physics[first : first + part.size]
            first += part.size

    def _settle(self) -> None:
        """A forward pass without actuation: there is no meaningful control before the first action."""
        options, off = self.model.opt, self._mujoco.mjtDisableBit.mjDSBL_ACTUATION.value
        flags = options.disableflags
        options.disableflags = flags | off
        self._mujoco.mj_forward(self.model, self._data)
        options.disableflags = flags
