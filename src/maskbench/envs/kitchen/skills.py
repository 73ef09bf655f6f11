"""One way to do each task, as way-points for the hand (BeT study 7.3, facts 8.2; numbers tuned in the simulator).

A skill is a generator of actions that reads the live simulation between them. It ends when its task is done with a margin
or when its patience does. Doors, once open, stand in the way of other skills: heights below are chosen to pass under them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from maskbench.envs.kitchen.arm import CLOSED, OPEN, Arm
from maskbench.envs.kitchen.simulator import START

Actions = Iterator[np.ndarray]

_HALF = 0.5**0.5
#: Pointing forward, away from the robot (+y); fingers open sideways (x).
FORWARD = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
#: Pointing forward and down by 45 degrees.
SLANTED = np.array([[0.0, 1.0, 0.0], [_HALF, 0.0, _HALF], [_HALF, 0.0, -_HALF]])
#: Slanted postures above the counter, with the elbow out of the way of what follows.
MICROWAVE_POSTURE = np.array([-1.015, -1.49, 1.776, -1.601, 0.924, 0.832, 0.844])
KETTLE_POSTURE = np.array([-0.289, -0.962, 2.408, -2.906, 0.42, 1.622, 1.798])
#: Vertical axes (x, y) about which the doors turn.
HINGE_AXIS, MICROWAVE_AXIS = np.array([-0.224, 0.71]), np.array([-1.128, 0.455])
#: How far ahead of the hand its aim is in free space, metres.
_FREE = 0.16


@dataclass(frozen=True)
class Style:
    """What differs between two demonstrations of one task.

    jitter: ``(3,)`` metres added to way-points in free space.
    lead:   multiplies how far ahead of the hand its aim is, which is also how hard the hand pushes.
    """

    jitter: tuple[float, float, float] = (0.0, 0.0, 0.0)
    lead: float = 1.0


PLAIN = Style()

Skill = Callable[[Arm, Style], Actions]


def by(x: float, y: float, z: float) -> np.ndarray:
    """``(3,)`` offset in metres: right, forward, up as seen from the robot."""
    return np.array([x, y, z])


def goto(arm: Arm, position: np.ndarray, rotation: np.ndarray, grip: float, lead: float, within: float = 0.03) -> Actions:
    """Moves the hand ``within`` metres of ``position``, or until something stops it for four steps."""
    best, stalled = np.inf, 0
    while stalled < 4:
        distance = float(np.linalg.norm(position - arm.tip))
        if distance < within:
            return
        stalled = 0 if distance < best - 0.004 else stalled + 1
        best = min(best, distance)
        yield arm.reach(position, rotation, grip, lead)


def bend(arm: Arm, posture: np.ndarray, grip: float, within: float, patience: int = 30) -> Actions:
    """Moves joint by joint until all seven are ``within`` radians of ``posture``."""
    for _ in range(patience):
        if np.abs(arm.joints - posture).max() < within:
            return
        yield arm.bend(posture, grip)


def home(arm: Arm, style: Style) -> Actions:
    """Back to about the posture in which episodes begin, from which every skill works."""
    yield from bend(arm, START[:7], CLOSED, within=0.3)


def grasp(arm: Arm, position: np.ndarray, rotation: np.ndarray) -> Actions:
    """Closes the fingers where the hand is."""
    for _ in range(3):
        yield arm.reach(position, rotation, CLOSED, 0.05)


def retreat(arm: Arm, way: tuple[float, float, float], rotation: np.ndarray, grip: float, steps: int = 3) -> Actions:
    """Moves the hand along ``way`` from wherever it is."""
    for _ in range(steps):
        yield arm.reach(arm.tip + way, rotation, grip, 0.12)


def _burner(mark: str, joint: int) -> Skill:
    def skill(arm: Arm, style: Style) -> Actions:
        """Straddles the knob's bar and twists."""
        knob = arm.site(mark)
        front, at = knob + by(0.0, -0.095, 0.0), knob + by(0.0, -0.028, 0.0)
        yield from goto(arm, front + by(0.0, -0.035, 0.0) + style.jitter, FORWARD, OPEN, _FREE * style.lead, within=0.05)
        yield from goto(arm, front, FORWARD, OPEN, _FREE * style.lead, within=0.015)
        yield from goto(arm, at, FORWARD, OPEN, 0.10 * style.lead, within=0.012)
        yield from grasp(arm, at, FORWARD)
        turned = FORWARD
        for _ in range(20):
            angle = -arm.position(joint)
            if angle > 0.75:
                break
            turned = _about_y(angle + 0.35) @ FORWARD
            yield arm.reach(at, turned, CLOSED, 0.10)
        yield from retreat(arm, (0.0, -0.1, 0.0), turned, OPEN)

    return skill


def light_switch(arm: Arm, style: Style) -> Actions:
    """Sweeps the closed fingers over the switch from the right."""
    switch = arm.site("light_site")
    front = np.array([switch[0] + 0.09, 0.47, switch[2]])
    yield from goto(arm, front + style.jitter, FORWARD, CLOSED, _FREE * style.lead, within=0.05)
    yield from goto(arm, switch + by(0.08, -0.035, 0.0), FORWARD, CLOSED, 0.12 * style.lead)
    for _ in range(30):
        if arm.position(17) < -0.62:
            return
        yield arm.reach(np.array([arm.tip[0] - 0.15, switch[1] - 0.03, switch[2]]), FORWARD, CLOSED, 0.08 * style.lead)


def slide_cabinet(arm: Arm, style: Style) -> Actions:
    """Straddles the lower end of the handle, below an open hinge cabinet, and drags it to the right."""
    handle = arm.site("slide_site")
    at = handle + by(0.0, -0.02, -0.135)
    yield from goto(arm, handle + by(0.05, -0.13, -0.2) + style.jitter, FORWARD, OPEN, _FREE * style.lead, within=0.05)
    yield from goto(arm, at, FORWARD, OPEN, 0.12 * style.lead, within=0.025)
    for _ in range(40):
        missed = arm.tip[0] > arm.site("slide_site")[0] + 0.1
        if arm.position(19) > 0.25 or missed:
            break
        yield arm.reach(np.array([arm.tip[0] + 0.2, at[1], at[2]]), FORWARD, OPEN, 0.12 * style.lead)
    yield from goto(arm, arm.tip + by(0.0, -0.11, -0.02), FORWARD, OPEN, 0.12)


def hinge_cabinet(arm: Arm, style: Style) -> Actions:
    """Grasps the handle of the right door and follows its circle, no further than needed: an open door is an obstacle."""
    handle = arm.site("hinge_site2")
    at = handle + by(0.0, -0.012, -0.08)
    yield from goto(arm, handle + by(0.0, -0.16, -0.1) + style.jitter, FORWARD, OPEN, _FREE * style.lead, within=0.04)
    yield from goto(arm, at, FORWARD, OPEN, 0.10 * style.lead, within=0.02)
    yield from grasp(arm, at, FORWARD)
    radius, height = arm.tip[:2] - HINGE_AXIS, arm.tip[2]
    for _ in range(45):
        angle = arm.position(21)
        if angle > 1.2:
            break
        target = HINGE_AXIS + _about_z(angle + 0.25)[:2, :2] @ radius
        yield arm.reach(np.array([*target, height]), _about_z(0.5 * angle) @ FORWARD, CLOSED, 0.10 * style.lead)
    yield from retreat(arm, (0.0, -0.1, -0.03), FORWARD, OPEN)


def microwave(arm: Arm, style: Style) -> Actions:
    """Grasps the handle from above, deep enough not to slip, and follows the door's circle."""
    at = arm.site("microhandle_site") + by(0.0, 0.02, 0.10)
    yield from bend(arm, MICROWAVE_POSTURE, OPEN, within=0.15)
    yield from goto(arm, at, SLANTED, OPEN, 0.10 * style.lead, within=0.02)
    yield from grasp(arm, at, SLANTED)
    radius, height = arm.tip[:2] - MICROWAVE_AXIS, arm.tip[2]
    for _ in range(40):
        angle = arm.position(22)
        if angle < -0.5:
            break
        target = MICROWAVE_AXIS + _about_z(angle - 0.15)[:2, :2] @ radius
        yield arm.reach(np.array([*target, height]), _about_z(0.7 * angle) @ SLANTED, CLOSED, 0.08 * style.lead)
    yield from retreat(arm, (0.0, -0.05, 0.15), SLANTED, OPEN, steps=4)


def kettle(arm: Arm, style: Style) -> Actions:
    """Pushes the body of the kettle with closed fingers: higher up tips it over, lower the elbow meets the counter."""
    yield from bend(arm, KETTLE_POSTURE, CLOSED, within=0.15)
    for _ in range(40):
        if arm.position(24) > 0.55:
            break
        yield arm.reach(np.array([arm.position(23), arm.tip[1] + 0.2, 1.765]), SLANTED, CLOSED, 0.08 * style.lead)
    yield from retreat(arm, (0.0, -0.15, 0.05), SLANTED, CLOSED)


def _about_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _about_y(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


SKILLS: Mapping[str, Skill] = {
    "bottom_burner": _burner("knob2_site", 11),
    "top_burner": _burner("knob4_site", 15),
    "light_switch": light_switch,
    "slide_cabinet": slide_cabinet,
    "hinge_cabinet": hinge_cabinet,
    "microwave": microwave,
    "kettle": kettle,
}
