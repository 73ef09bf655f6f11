"""Pictures of MuJoCo simulations without a display, drawn only when somebody asks for one.

Nothing here touches OpenGL before the first picture, so stepping works on machines that have none. Shadows, reflections
and multisampling are off: on a CPU they cost 16-88 times the rest of the picture.
"""

from __future__ import annotations

import ctypes.util
import importlib
import os
import sys
import weakref
from types import ModuleType
from typing import Any

import numpy as np

from maskbench.errors import EnvError, MissingExtraError

#: Off-screen OpenGL libraries by the value of MUJOCO_GL, in order of preference.
_OFFSCREEN = {"egl": "EGL", "osmesa": "OSMesa"}


def import_mujoco(purpose: str) -> ModuleType:
    """The ``mujoco`` module.

    Raises MissingExtraError, naming ``purpose``, where it is not installed, and EnvError where its import fails because
    MUJOCO_GL asks for an OpenGL library that is not there.
    """
    try:
        return importlib.import_module("mujoco")
    except ImportError as error:
        raise MissingExtraError("mujoco", "robotics", purpose) from error
    except (AttributeError, RuntimeError, OSError) as error:
        asked = os.environ.get("MUJOCO_GL", "")
        raise EnvError(
            f"mujoco cannot be imported with MUJOCO_GL='{asked}' ({error}). Unset it: only pictures need OpenGL"
        ) from error


def offscreen_backend() -> str:
    """Name of the OpenGL back end that pictures will use: ``MUJOCO_GL`` where set, else the first one installed.

    Raises EnvError where rendering is switched off or no library is found.
    """
    if sys.platform == "darwin":
        return "cgl"
    asked = os.environ.get("MUJOCO_GL", "").strip().lower()
    if asked in (*_OFFSCREEN, "glfw"):
        return asked
    if asked in ("disable", "disabled", "off", "false", "0"):
        raise EnvError(f"rendering is switched off by MUJOCO_GL={asked}. Unset it, or set MUJOCO_GL=egl or MUJOCO_GL=osmesa")
    for name, library in _OFFSCREEN.items():
        if ctypes.util.find_library(library):
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
        model.vis.quality.offsamples = 0
        model.vis.quality.shadowsize = 512
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        backend = offscreen_backend()
        try:
            self._gl: Any = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
            self._gl.make_current()
            self._context: Any = mj.MjrContext(model, mj.mjtFontScale.mjFONTSCALE_100)
        except (ImportError, AttributeError, RuntimeError, OSError, mj.FatalError) as error:
            raise EnvError(
                f"no '{backend}' OpenGL context could be made ({error}). Set MUJOCO_GL=egl or MUJOCO_GL=osmesa"
            ) from error
        # Freed before the interpreter takes OpenGL's modules apart, also where nobody closes the camera.
        self._free = weakref.finalize(self, _free, self._context, self._gl)
        mj.mjr_setBuffer(mj.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._model = model
        self._scene = mj.MjvScene(model, maxgeom=2000)
        self._scene.flags[mj.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mj.mjtRndFlag.mjRND_REFLECTION] = 0
        self._option, self._perturb, self._view = mj.MjvOption(), mj.MjvPerturb(), mj.MjvCamera()
        index = model.camera(camera).id if isinstance(camera, str) else camera
        if index >= 0:
            self._view.type, self._view.fixedcamid = mj.mjtCamera.mjCAMERA_FIXED, index
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
        """Frees the OpenGL context; the camera draws nothing any more."""
        self._free()


def _free(context: Any, gl: Any) -> None:
    context.free()
    gl.free()
