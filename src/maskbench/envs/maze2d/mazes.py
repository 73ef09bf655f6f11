"""Maps, coordinates and shortest paths of D4RL's maze2d, and the waypoint expert that drives them.

Positions are D4RL's: ``(row, column)`` numbers in which the cell ``(i, j)`` is the square of side 1 centred at
``(i - 0.2, j - 0.2)``. Starts and goals lie at whole numbers, hence 0.2 off the centre in either direction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

#: Distance of a cell's number to its centre, and to its lower edge.
TO_CENTRE, TO_EDGE = 0.2, 0.7


@dataclass(frozen=True)
class Maze:
    """A map of ``#`` walls, ``O`` free cells and one ``G`` goal cell, with its published horizon and scores.

    scores: D4RL's reference returns (random, expert) of ``maze2d-<size>-v1``.
    """

    rows: tuple[str, ...]
    horizon: int
    scores: tuple[float, float]

    @cached_property
    def walls(self) -> np.ndarray:
        """``(H, W)`` bool, True = wall."""
        return np.array([[c == "#" for c in row] for row in self.rows])

    @cached_property
    def free(self) -> np.ndarray:
        """``(n, 2)`` int cells that are no wall, row by row."""
        return np.argwhere(~self.walls)

    @cached_property
    def goal(self) -> np.ndarray:
        """``(2,)`` float64 position of the task's goal."""
        return np.array(next((i, row.index("G")) for i, row in enumerate(self.rows) if "G" in row), np.float64)

    def cell(self, position: np.ndarray) -> np.ndarray:
        """``(..., 2)`` int cells that hold ``position`` ``(..., 2)``, cut off at the map's edge."""
        return np.clip(np.floor(position + TO_EDGE).astype(np.int64), 0, np.array(self.walls.shape) - 1)

    @cached_property
    def next_cell(self) -> np.ndarray:
        """``(H, W, H, W, 2)`` int: the cell to enter next on a shortest path from the first cell to the second.

        Ties go to the column before, the column after, the row before, the row after, in that order: D4RL's up, down, left,
        right. Where no path leads, the second cell itself.
        """
        height, width = self.walls.shape
        table = np.empty((height, width, height, width, 2), np.int64)
        table[:] = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1)
        for goal in self.free:
            steps = self._distances(goal)
            for i, j in self.free:
                neighbours = ((i, j - 1), (i, j + 1), (i - 1, j), (i + 1, j))
                best = min(neighbours, key=lambda c: steps[c])
                if 0 < steps[i, j] < np.inf:
                    table[i, j, goal[0], goal[1]] = best
        return table

    def path(self, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """``(n, 2)`` int cells of the shortest path from cell ``start``, which is left out, to cell ``goal``."""
        cells = []
        while (start != goal).any():
            start = self.next_cell[(*start, *goal)]
            cells.append(start)
        return np.array(cells, np.int64).reshape(-1, 2)

    def _distances(self, goal: np.ndarray) -> np.ndarray:
        """``(H, W)`` steps to ``goal`` over free cells, infinite for walls and cells cut off from it."""
        steps = np.full(self.walls.shape, np.inf)
        steps[tuple(goal)] = 0
        queue = deque([(int(goal[0]), int(goal[1]))])
        while queue:
            i, j = queue.popleft()
            for cell in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                if not self.walls[cell] and np.isinf(steps[cell]):
                    steps[cell] = steps[i, j] + 1
                    queue.append(cell)
        return steps

    def expert(self, state: np.ndarray, goal: np.ndarray, gain: float = 10.0, damping: float = 1.0) -> np.ndarray:
        """``(..., 2)`` float32 actions that drive ``state`` ``(..., 4)`` to the positions ``goal`` ``(..., 2)``.

        A proportional-derivative force ``clip(gain (target - position) - damping velocity, -1, 1)`` towards the centre of the
        next cell of a shortest path, or the goal itself once inside its cell. Larger damping is slower: sub-optimal data.
        """
        position, velocity = state[..., :2], state[..., 2:]
        here, there = self.cell(position), self.cell(goal)
        following = self.next_cell[here[..., 0], here[..., 1], there[..., 0], there[..., 1]] - TO_CENTRE
        target = np.where((here == there).all(-1, keepdims=True), goal, following)
        force = gain * (target - position) - damping * velocity
        return np.asarray(np.minimum(np.maximum(force, -1.0), 1.0), np.float32)


MAZES: Mapping[str, Maze] = {
    "umaze": Maze(
        rows=("#####", "#GOO#", "###O#", "#OOO#", "#####"),
        horizon=300,
        scores=(23.85, 161.86),
    ),
    "medium": Maze(
        rows=("########", "#OO##OO#", "#OO#OOO#", "##OOO###", "#OO#OOO#", "#O#OO#O#", "#OOO#OG#", "########"),
        horizon=600,
        scores=(13.13, 277.39),
    ),
    "large": Maze(
        rows=(
            "############",
            "#OOOO#OOOOO#",
            "#O##O#O#O#O#",
            "#OOOOOO#OOO#",
            "#O####O###O#",
            "#OO#O#OOOOO#",
            "##O#O#O#O###",
            "#OO#OOO#OGO#",
            "############",
        ),
        horizon=800,
        scores=(6.7, 273.99),
    ),
}
