"""The seven things to do in the kitchen, in the canonical order of the BeT release's one-hot goals (BeT study 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

#: A task is completed when its joints come this close (Euclidean norm) to its goal.
THRESHOLD = 0.3


@dataclass(frozen=True)
class Task:
    """One task.

    letter: its name in sequence strings.
    joints: slice of the 30 positions (robot 9, objects 21) that the task is about.
    goal:   values of these positions to come close to.
    """

    name: str
    letter: str
    joints: slice
    goal: tuple[float, ...]


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task("bottom_burner", "b", slice(11, 13), (-0.88, -0.01)),
        Task("top_burner", "t", slice(15, 17), (-0.92, -0.01)),
        Task("light_switch", "l", slice(17, 19), (-0.69, -0.05)),
        Task("slide_cabinet", "s", slice(19, 20), (0.37,)),
        Task("hinge_cabinet", "h", slice(20, 22), (0.0, 1.45)),
        Task("microwave", "m", slice(22, 23), (-0.75,)),
        Task("kettle", "k", slice(23, 30), (-0.23, 0.75, 1.62, 0.99, 0.0, 0.0, -0.06)),
    )
}

LETTERS: Mapping[str, Task] = {task.letter: task for task in TASKS.values()}

#: Positions ``(30,)`` that all goals ask for together; NaN where no task asks for anything.
GOALS = np.full(30, np.nan)
for _task in TASKS.values():
    GOALS[_task.joints] = _task.goal

# Row i selects the positions of task i.
_SELECT = np.array([[float(task.joints.start <= j < task.joints.stop) for j in range(30)] for task in TASKS.values()])


def gaps(positions: np.ndarray) -> np.ndarray:
    """``(..., 7)``: how far each task's joints are from its goal (Euclidean norm) at ``positions`` ``(..., 30)``."""
    return np.asarray(np.sqrt(np.square(np.nan_to_num(positions - GOALS)) @ _SELECT.T))


def completed(positions: np.ndarray) -> np.ndarray:
    """``(..., 7)`` bool: which tasks' joints are within the threshold of their goals."""
    return np.asarray(gaps(positions) < THRESHOLD)
