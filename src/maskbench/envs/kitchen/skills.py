"""One way to do each task: way-points for the hand, found by trial in the simulator (BeT study 7.3).

A skill is a generator of actions. It ends when its task is done with a margin, or when its patience does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from maskbench.envs.kitchen.arm import CLOSED, OPEN, Arm
from maskbench.envs.kitchen.simulator import START

Actions = Iterator[np.ndarray]

_HALF = 0.5**0.5
#: Pointing forward, away from the robot (+y); fingers open sideways.
FORWARD = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
#: Pointing forward and down by 45 degrees.
SLANTED = np.array([[0.0, 1.0, 0.0], [_HALF, 0.0, _HALF], [_HALF, 0.0, -_HALF]])
#: Postures above the counter that turn the elbow out of the way of what follows.
MICROWAVE_POSTURE = np.array([-1.015, -1.49, 1.776, -1.601, 0.924, 0.832, 0.844])
KETTLE_POSTURE = np.array([-0.289, -0.962, 2.408, -2.906, 0.42, 1.622, 1.798])

HZ = -0.08
HINGE_AXIS, MICROWAVE_AXIS = np.array([-0.224, 0.71]), np.array([-1.128, 0.455])


@dataclass(frozen=True)
class Style:
    """How one demonstration differs from another.

    speed:  multiplies how far ahead of the hand its aim is.
    jitter: ``(3,)`` metres added to way-points in free space.
    """

    speed: float = 1.0
    jitter: tuple[float, float, float] = (0.0, 0.0, 0.0)


def goto(arm: Arm, position: np.ndarray, rotation: np.ndarray, grip: float, lead: float, within: float = 0.03) -> Actions:
    """Moves the hand ``within`` metres of ``position``, or until something stops it."""
    best, stalled = np.inf, 0
    while stalled < 4:
        distance = float(np.linalg.norm(position - arm.tip))
        if distance < within:
            return
        stalled = 0 if distance < best - 0.004 else stalled + 1
        best = min(best, distance)
        yield arm.reach(position, rotation, grip, lead)


def posture(arm: Arm, joints: np.ndarray, grip: float, within: float = 0.15, patience: int = 30) -> Actions:
    """Moves the arm joint by joint."""
    for _ in range(patience):
        if np.abs(arm.data.qpos[:7] - joints).max() < within:
            return
        yield arm.bend(joints, grip)


def home(arm: Arm, style: Style) -> Actions:
    """Back to the posture in which episodes begin."""
    yield from posture(arm, START[:7], CLOSED, within=0.3)


def slide_cabinet(arm: Arm, style: Style) -> Actions:
    handle = arm.site("slide_site")
    yield from goto(arm, handle + SA + style.jitter, FORWARD, OPEN, 0.16 * style.speed, 0.05)
    yield from goto(arm, handle + SB, FORWARD, OPEN, 0.12 * style.speed, 0.025)
    for _ in range(40):
        if arm.data.qpos[19] > 0.2:
            break
        yield arm.reach(np.array([arm.tip[0] + 0.2, handle[1] + SB[1], handle[2] + SB[2]]), FORWARD, OPEN, 0.12 * style.speed)
    for _ in range(2):
        yield arm.reach(arm.tip + [0.0, -0.15, 0.0], FORWARD, OPEN, 0.15)


SA, SB = np.array([0.0, -0.13, -0.15]), np.array([0.0, -0.02, -0.135])


def light_switch(arm: Arm, style: Style) -> Actions:
    switch = arm.site("light_site")
    yield from goto(arm, switch * [1, 0, 1] + [0.09, 0.47, 0.0] + style.jitter, FORWARD, CLOSED, 0.16 * style.speed, 0.05)
    yield from goto(arm, switch + [0.08, -0.035, 0.0], FORWARD, CLOSED, 0.12 * style.speed)
    for _ in range(30):
        if arm.data.qpos[17] < -0.62:
            return
        yield arm.reach(np.array([arm.tip[0] - 0.15, switch[1] - 0.03, switch[2]]), FORWARD, CLOSED, 0.08 * style.speed)


DEEP, R, PUSH, CLOSE, LEAD = 0.028, 0.0, 0.35, 3, 0.1


def _burner(mark: str, joint: int, height: float) -> Callable[[Arm, Style], Actions]:
    def skill(arm: Arm, style: Style) -> Actions:
        knob = arm.site(mark)
        yield from goto(arm, knob + [0.0, -0.13, R] + style.jitter, FORWARD, OPEN, 0.16 * style.speed, 0.05)
        yield from goto(arm, knob + [0.0, -0.095, R], FORWARD, OPEN, 0.16 * style.speed, 0.015)
        grasp = knob + [0.0, -DEEP, R]
        yield from goto(arm, grasp, FORWARD, OPEN, 0.10 * style.speed, 0.012)
        for _ in range(CLOSE):
            yield arm.reach(grasp, FORWARD, CLOSED, 0.05)
        for _ in range(20):
            angle = -arm.data.qpos[joint]
            if angle > 0.75:
                break
            yield arm.reach(grasp, _about_y(FORWARD, angle + PUSH), CLOSED, LEAD)
        for _ in range(3):
            yield arm.reach(arm.tip + [0.0, -0.1, 0.0], _about_y(FORWARD, angle), OPEN, 0.1)

    return skill


def hinge_cabinet(arm: Arm, style: Style) -> Actions:
    handle = arm.site("hinge_site2")
    yield from goto(arm, handle + [0.0, -0.16, HZ - 0.02] + style.jitter, FORWARD, OPEN, 0.16 * style.speed, 0.04)
    yield from goto(arm, handle + [0.0, -0.012, HZ], FORWARD, OPEN, 0.10 * style.speed, 0.02)
    for _ in range(3):
        yield arm.reach(handle + [0.0, -0.012, HZ], FORWARD, CLOSED, 0.05)
    start = arm.tip
    radius = start[:2] - HINGE_AXIS
    for _ in range(45):
        angle = float(arm.data.qpos[21])
        if angle > 1.2:
            break
        yield arm.reach(np.array([*HINGE_AXIS + _turned(radius, angle + 0.25), start[2]]), _about_z(FORWARD, 0.5 * angle), CLOSED, 0.10 * style.speed)
    for _ in range(3):
        yield arm.reach(arm.tip + [0.0, -0.1, -0.03], FORWARD, OPEN, 0.1)


def microwave(arm: Arm, style: Style) -> Actions:
    handle = arm.site("microhandle_site")
    yield from posture(arm, MICROWAVE_POSTURE, OPEN)
    grasp = handle + [0.0, 0.02, 0.10]
    yield from goto(arm, grasp, SLANTED, OPEN, 0.10 * style.speed, 0.02)
    for _ in range(3):
        yield arm.reach(grasp, SLANTED, CLOSED, 0.05)
    start = arm.tip
    radius = start[:2] - MICROWAVE_AXIS
    for _ in range(40):
        angle = float(arm.data.qpos[22])
        if angle < -0.5:
            break
        target = np.array([*MICROWAVE_AXIS + _turned(radius, angle - 0.15), start[2]])
        yield arm.reach(target, _about_z(SLANTED, 0.7 * angle), CLOSED, 0.08 * style.speed)
    for _ in range(4):
        yield arm.reach(arm.tip + [0.0, -0.05, 0.15], SLANTED, OPEN, 0.12)


def kettle(arm: Arm, style: Style) -> Actions:
    yield from posture(arm, KETTLE_POSTURE, CLOSED)
    for _ in range(40):
        if arm.data.qpos[24] > 0.55:
            break
        target = np.array([arm.data.qpos[23], arm.tip[1] + 0.2, 1.765])
        yield arm.reach(target, SLANTED, CLOSED, 0.08 * style.speed)
    for _ in range(3):
        yield arm.reach(arm.tip + [0.0, -0.15, 0.05], SLANTED, CLOSED, 0.12)


def _turned(vector: np.ndarray, angle: float) -> np.ndarray:
    """A horizontal vector ``(2,)`` turned counter-clockwise, seen from above."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c * vector[0] - s * vector[1], s * vector[0] + c * vector[1]])


def _about_z(rotation: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ rotation


def _about_y(rotation: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]) @ rotation


SKILLS: Mapping[str, Callable[[Arm, Style], Actions]] = {
    "bottom_burner": _burner("knob2_site", 11, 0.04),
    "top_burner": _burner("knob4_site", 15, 0.032),
    "light_switch": light_switch,
    "slide_cabinet": slide_cabinet,
    "hinge_cabinet": hinge_cabinet,
    "microwave": microwave,
    "kettle": kettle,
}
