"""Pictures of MuJoCo simulations without a display, drawn only when somebody asks for one.

Nothing here touches OpenGL before the first picture, so stepping works on machines that have none. Shadows, reflections
and multisampling are off: on a CPU they cost 16-88 times the rest of the picture.
"""

from __future__ import annotations

import ctypes.util
import importlib
import os
import sys
from types import ModuleType
from typing import Any

import numpy as np

from maskbench.errors import EnvError, MissingExtraError

#: Off-screen OpenGL back ends by the value of MUJOCO_GL, in order of preference: (shared library, MuJoCo's context module).
_BACKENDS = {"egl": ("EGL", "mujoco.egl"), "osmesa": ("OSMesa", "mujoco.osmesa"), "glfw": ("glfw", "mujoco.glfw")}


def import_mujoco(purpose: str) -> ModuleType:
    """The ``mujoco`` module, or a MissingExtraError that says what ``purpose`` needed it for."""
    try:
        return importlib.import_module("mujoco")
    except ImportError as error:
        raise MissingExtraError("mujoco", "robotics", purpose) from error


def offscreen_backend() -> str:
    """Name of the OpenGL back end that pictures will use: ``MUJOCO_GL`` where set, else the first one installed.

    Raises EnvError where rendering is switched off or no library is found.
    """
    if sys.platform == "darwin":
        return "cgl"
    asked = os.environ.get("MUJOCO_GL", "").strip().lower()
    if asked in _BACKENDS:
        return asked
    if asked in ("disable", "disabled", "off", "false", "0"):
        raise EnvError(f"rendering is switched off by MUJOCO_GL={asked}. Unset it, or set MUJOCO_GL=egl or MUJOCO_GL=osmesa")
    for name in ("egl", "osmesa"):
        if ctypes.util.find_library(_BACKENDS[name][0]):
            return name
    if os.environ.get("DISPLAY") or sys.platform == "win32":
        return "glfw"
    raise EnvError(
        "rendering needs an OpenGL library and found neither libEGL nor libOSMesa. "
        "Run: apt-get install libegl1 libosmesa6 (rollouts without video need none)"
    )


class Camera:
    """Draws one simulation with one camera.

    camera: name or index of a camera of the model, -1 for the free one.
    Raises EnvError where no off-screen OpenGL context can be made.
    """

    def __init__(self, model: Any, camera: str | int = -1, height: int = 240, width: int = 320) -> None:
        mj = self._mj = import_mujoco("rendering")
        backend = offscreen_backend()
        try:
            context = importlib.import_module("mujoco.cgl" if backend == "cgl" else _BACKENDS[backend][1])
            self._gl: Any = context.GLContext(width, height)
        except (ImportError, AttributeError, RuntimeError, OSError) as error:
            raise EnvError(
                f"no '{backend}' OpenGL context could be made ({error}). Set MUJOCO_GL=egl or MUJOCO_GL=osmesa"
            ) from error
        self._gl.make_current()
        model.vis.quality.offsamples = 0
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        model.vis.quality.shadowsize = 512
        self._model = model
        self._scene = mj.MjvScene(model, maxgeom=2000)
        self._scene.flags[mj.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mj.mjtRndFlag.mjRND_REFLECTION] = 0
        self._option, self._perturb, self._view = mj.MjvOption(), mj.MjvPerturb(), mj.MjvCamera()
        index = model.camera(camera).id if isinstance(camera, str) else camera
        if index >= 0:
            self._view.type, self._view.fixedcamid = mj.mjtCamera.mjCAMERA_FIXED, index
        self._context: Any = mj.MjrContext(model, mj.mjtFontScale.mjFONTSCALE_100)
        mj.mjr_setBuffer(mj.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._rect = mj.MjrRect(0, 0, width, height)

    def picture(self, data: Any) -> np.ndarray:
        """``(height, width, 3)`` uint8 picture of the simulation state ``data``."""
        mj, rect = self._mj, self._rect
        self._gl.make_current()
        mj.mjv_updateScene(self._model, data, self._option, self._perturb, self._view, mj.mjtCatBit.mjCAT_ALL, self._scene)
        mj.mjr_render(rect, self._scene, self._context)
        pixels = np.empty((rect.height, rect.width, 3), np.uint8)
        mj.mjr_readPixels(pixels, None, rect, self._context)
        return np.ascontiguousarray(pixels[::-1])

    def close(self) -> None:
        """Frees the OpenGL context."""
        self._context.free()
        self._gl.free()
