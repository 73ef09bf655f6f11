"""Our block push beside the original one in PyBullet: the same layouts and the same actions in both worlds.

Run: PYTHONPATH=old-gym:old-pybullet python benchmarks/pybullet_blockpush.py bet-reproduction [--layouts 40] [--json out.json]

Four questions. Does the scripted expert do as well in either world? Where do the actions that it takes in one world lead in
the other? How far off is one step from the same state? What does one straight push do to a block?
Prints tables in Markdown; lengths in mm, angles in degrees.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script, only this folder is on the path

import numpy as np
from rich.console import Console

from benchmarks.published_bet import Published, silent
from maskbench.envs.blockpush import MODES, BlockPush, Oracle
from maskbench.envs.blockpush.layout import START, Layout, draw_layout

#: Steps after which an expert gives up, as in our demonstrations' environment.
HORIZON = 300
#: Straight pushes: metres a second, and how far beside the block's centre the rod meets its face (m).
SPEEDS, OFFSETS = (0.05, 0.15, 0.3), (0.0, 0.005, 0.01, 0.015)
#: The pushed block, where its push begins (its near face is 20 mm away), how far the rod is moved, rests before and after.
BLOCK, AHEAD, STROKE, REST = (0.4, -0.1), -0.16, 0.12, 5
#: A block that is further off than this (m) has left the path that the other world gave it.
ASTRAY = 0.01
#: A block that moves less than this in a step (m) is not being pushed.
STIR = 0.001
#: Columns of the 16 numbers of a state.
ROD, BLOCKS, YAWS = slice(6, 8), (slice(0, 2), slice(3, 5)), (2, 5)


class Table(Protocol):
    """One world: states are the environment's 16 numbers."""

    def reset(self, layout: Layout) -> np.ndarray: ...

    def step(self, action: np.ndarray) -> tuple[np.ndarray, bool]: ...


class OurTable:
    """``BlockPush`` with blocks and zones where a layout says."""

    def __init__(self) -> None:
        self.env = BlockPush(10**6).make()

    def reset(self, layout: Layout) -> np.ndarray:
        """State ``(16,)``."""
        start = np.concatenate([layout.blocks.ravel(), START, START, layout.zones.ravel()])
        return self.place(start, np.zeros(2))

    def place(self, state: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        """Blocks, rod and zones as in a state ``(16,)``, blocks at rest and the rod at ``velocity`` ``(2,)`` m/s."""
        self.env.reset(seed=0)
        row = self.env.physics()
        row[:2], row[10:12], row[20:22] = state[ROD], velocity, state[8:10]
        row[[2, 3, 5]], row[[6, 7, 9]] = state[:3], state[3:6]  # x, y and yaw of x, y, z, yaw
        row[22:28] = state[10:]
        row[28:30] = [np.hypot(*state[x]) for x in BLOCKS]  # what counts as having moved
        return np.asarray(self.env.reset(options={"simulator": row})[0]["state"])

    def step(self, action: np.ndarray) -> tuple[np.ndarray, bool]:
        """State ``(16,)``, and whether both blocks lie in different zones."""
        observation, _, terminated, _, _ = self.env.step(action)
        return np.asarray(observation["state"]), terminated


class OriginalTable:
    """The published environment likewise, before any wrapper. Made once: its robot takes seconds to load."""

    def __init__(self, published: Published) -> None:
        if not published.simulates:
            raise SystemExit("the original world needs pybullet: see benchmarks/README.md")
        from scipy.spatial.transform import Rotation

        with silent():
            module = import_module("envs.block_pushing.block_pushing_multimodal")
        pose = import_module("envs.utils.pose3d").Pose3d

        def turned(yaw: float) -> Any:
            return Rotation.from_rotvec([0, 0, yaw])

        class Placed(module.BlockPushMultimodal):  # type: ignore[misc,name-defined]
            layout = draw_layout(np.random.default_rng(0))

            def _reset_object_poses(self, *centre: float) -> None:
                super()._reset_object_poses(*centre)
                client, heights = self._pybullet_client, (0.0, 0.02)
                bodies = ((self._block_ids, self.layout.blocks), (self._target_ids, self.layout.zones))
                for (ids, poses), z in zip(bodies, heights, strict=True):
                    for body, (x, y, yaw) in zip(ids, poses, strict=True):
                        client.resetBasePositionAndOrientation(body, [x, y, z], turned(yaw).as_quat().tolist())
                self._target_poses = [
                    pose(rotation=turned(yaw), translation=np.array([x, y, 0.02])) for x, y, yaw in self.layout.zones
                ]

        with silent():
            self.env = Placed()

    def reset(self, layout: Layout) -> np.ndarray:
        """State ``(16,)``."""
        self.env.layout = layout
        return _flat(self.env.reset())

    def step(self, action: np.ndarray) -> tuple[np.ndarray, bool]:
        """State ``(16,)``, and whether both blocks lie in different zones."""
        observation, _, done, _ = self.env.step(action)
        return _flat(observation), done


def _flat(observation: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(v) for v in observation.values()]).astype(np.float32)


@dataclass(frozen=True)
class Run:
    """states ``(T + 1, 16)``, actions ``(T, 2)``, and whether the last state is a success."""

    states: np.ndarray
    actions: np.ndarray
    success: bool


def by_expert(table: Table, layout: Layout, mode: str) -> Run:
    """An episode of our expert, up to success or ``HORIZON``."""
    oracle, states, success = Oracle(mode), [table.reset(layout)], False
    actions: list[np.ndarray] = []
    while not success and len(actions) < HORIZON:
        actions.append(oracle.act(states[-1]))
        state, success = table.step(actions[-1])
        states.append(state)
    return Run(np.stack(states), np.stack(actions), success)


def replay(table: Table, layout: Layout, actions: Iterable[np.ndarray]) -> Run:
    """The same actions, whatever comes of them; success if it was reached at any time."""
    states, taken, success = [table.reset(layout)], [], False
    for action in actions:
        state, done = table.step(action)
        success |= done
        states.append(state)
        taken.append(action)
    return Run(np.stack(states), np.stack(taken), success)


def push(speed: float, offset: float) -> tuple[Layout, np.ndarray]:
    """A layout with a block ahead of the rod and the actions ``(T, 2)`` that push it along y."""
    blocks = np.array([(*BLOCK, 0.0), (0.25, 0.4, 0.0)])
    layout = Layout(blocks, np.array([(0.65, 0.4, math.pi), (0.65, 0.2, math.pi)]))
    way = np.array([BLOCK[0] + offset, AHEAD]) - START
    approach = np.tile(way / 20, (20, 1))
    rest = np.zeros((REST, 2))
    stroke = np.tile([0.0, speed / 10], (round(STROKE / (speed / 10)), 1))
    return layout, np.concatenate([approach, rest, stroke, rest]).astype(np.float32)


def turn(yaw: np.ndarray) -> np.ndarray:
    """Angles in (-pi, pi]."""
    return np.asarray(math.pi - (math.pi - yaw) % math.tau)


def apart(a: Run, b: Run) -> dict[str, float]:
    """How far two runs of the same actions are apart: the rod's path (root mean square, mm), the steps until a block lies
    ``ASTRAY`` off, and where the block ended that is further off (mm) and the one that is turned more (degrees)."""
    rod = np.linalg.norm(a.states[:, ROD] - b.states[:, ROD], axis=1)
    blocks = np.stack([np.linalg.norm(a.states[:, x] - b.states[:, x], axis=1) for x in BLOCKS]).max(0)
    turned = max(float(abs(turn(a.states[-1:, i] - b.states[-1:, i])[0])) for i in YAWS)
    steps = int(np.argmax(blocks > ASTRAY)) if (blocks > ASTRAY).any() else len(blocks) - 1
    rms = 1e3 * math.sqrt(np.mean(rod**2))
    return {"rod": rms, "steps": steps, "block": 1e3 * float(blocks[-1]), "turn": math.degrees(turned)}


def compare_experts(ours: Table, original: Table, layouts: int) -> tuple[dict[str, list[Run]], dict[str, list[Run]]]:
    """The expert in both worlds, then each world's actions in the other; layout ``i`` is of seed ``i``, its mode ``i % 4``."""
    tables = {"MuJoCo": ours, "PyBullet": original}
    experts: dict[str, list[Run]] = {name: [] for name in tables}
    replays: dict[str, list[Run]] = {name: [] for name in tables}
    for i in range(layouts):
        layout = draw_layout(np.random.default_rng(i))
        for name, table in tables.items():
            experts[name].append(by_expert(table, layout, MODES[i % len(MODES)]))
        for name, other in zip(tables, reversed(tables), strict=True):
            replays[name].append(replay(tables[name], layout, experts[other][-1].actions))
    return experts, replays


def one_step(ours: OurTable, runs: Iterable[Run]) -> dict[str, float]:
    """How much a block moves (mm) and turns (degrees) in one step of the original world, and how far off it ends in ours after
    the same step from the same state: medians over the steps in which it moves by ``STIR`` in either."""
    found = []
    for run in runs:
        before = np.diff(run.states[:, ROD], axis=0, prepend=run.states[:1, ROD]) * 10
        for state, velocity, action, after in zip(run.states[:-1], before[:-1], run.actions, run.states[1:], strict=True):
            ours.place(state, velocity)
            end = ours.step(action)[0]
            for x, yaw in zip(BLOCKS, YAWS, strict=True):
                moved, other, off = (np.linalg.norm(a[x] - b[x]) for a, b in ((after, state), (end, state), (after, end)))
                if max(moved, other) > STIR:
                    turns = [abs(float(turn(a[[yaw]] - b[[yaw]])[0])) for a, b in ((after, state), (after, end))]
                    found.append((1e3 * moved, 1e3 * off, *np.degrees(turns)))
    middle = np.median(found, axis=0)
    return dict(zip(("moved", "off", "turned", "off by"), map(float, middle), strict=True)) | {"steps": len(found)}


def compare_pushes(ours: Table, original: Table) -> list[dict[str, float]]:
    """Per speed and offset what one push did: along and across its way (mm), and the turn (degrees), in both worlds."""
    rows = []
    for speed in SPEEDS:
        for offset in OFFSETS:
            row = {"speed": speed, "offset": 1e3 * offset}
            for name, table in (("MuJoCo", ours), ("PyBullet", original)):
                end = replay(table, *push(speed, offset)).states[-1]
                across, along = 1e3 * (end[BLOCKS[0]] - np.array(BLOCK))
                angle = math.degrees(float(turn(end[[YAWS[0]]])[0]))
                row |= {f"{name} along": float(along), f"{name} across": float(across), f"{name} turn": angle}
            rows.append(row)
    return rows


def check_oracle(runs: Sequence[Run]) -> float:
    """Largest difference (m) between the published expert's displacements and ours, on the states of our expert's runs in the
    published world; run ``i`` follows mode ``i % 4``."""
    module = import_module("envs.block_pushing.oracles.multimodal_push_oracle")
    names = ("block", "block2", "effector", "effector_target", "target", "target2")
    worst = 0.0
    for i, run in enumerate(runs):
        expert = module.MultimodalOrientedPushOracle(_Specified())
        expert._choose_goal_order = partial(_order, MODES[i % len(MODES)])
        for step, (state, action) in enumerate(zip(run.states, run.actions, strict=False)):
            parts = np.split(state.astype(np.float64), [3, 6, 8, 10, 13])
            seen = {f"{name}_translation": part[:2] for name, part in zip(names, parts, strict=True)}
            seen |= {f"{name}_orientation": part[2:] for name, part in zip(names, parts, strict=True) if len(part) > 2}
            answer = expert._action(_Moment(seen, step == 0), ())
            worst = max(worst, float(np.abs(answer.action - action).max()))
    return worst


def _order(mode: str) -> list[tuple[str, str]]:
    """A mode as the published expert spells it: ``red-green>green-red`` is block to target2, then block2 to target."""
    number = {"red": "", "green": "2"}
    pairs = [pair.split("-") for pair in mode.split(">")]
    return [(f"block{number[block]}", f"target{number[zone]}") for block, zone in pairs]


class _Specified:
    """What the published expert asks of its environment."""

    def time_step_spec(self) -> None:
        """Not looked at."""

    def action_spec(self) -> None:
        """Not looked at."""

    def get_control_frequency(self) -> float:
        return 10.0


@dataclass(frozen=True)
class _Moment:
    """A step as the published expert sees it."""

    observation: dict[str, np.ndarray]
    first: bool

    def is_first(self) -> bool:
        return self.first


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="folder of the published code")
    parser.add_argument("--layouts", type=int, default=40, help="layouts of the expert's comparison")
    parser.add_argument("--json", type=Path, help="also write the results here")
    chosen = parser.parse_args(arguments)
    published, console = Published(chosen.checkout.resolve()), Console(highlight=False, soft_wrap=True)
    ours, original = OurTable(), OriginalTable(published)
    experts, replays = compare_experts(ours, original, chosen.layouts)
    said: dict[str, Any] = {"oracle difference (m)": check_oracle(experts["PyBullet"])}
    console.print(f"published and our expert differ by {said['oracle difference (m)']:.1e} m at most\n")
    console.print("| world | expert's success | steps (least - most) | std of actions | rod behind its command at rest |")
    console.print("| --- | --- | --- | --- | --- |")
    for name, runs in experts.items():
        lengths = [len(r.actions) for r in runs]
        spread = np.concatenate([r.actions for r in runs]).std(0) * 1e3
        behind = np.median([np.linalg.norm(r.states[0, ROD] - START) for r in runs]) * 1e3
        won = sum(r.success for r in runs)
        said[name] = {"success": won, "lengths": lengths, "action std": spread.tolist(), "behind": float(behind)}
        text = f"{won} of {len(runs)} | {np.mean(lengths):.0f} ({min(lengths)} - {max(lengths)})"
        console.print(f"| {name} | {text} | {spread[0]:.1f}, {spread[1]:.1f} | {behind:.1f} |")
    console.print("\n| actions of | played in | success | rod's path | steps to 10 mm | furthest block | most turned block |")
    console.print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, other in zip(replays, reversed(replays), strict=True):
        gaps = [apart(a, b) for a, b in zip(replays[name], experts[other], strict=True)]
        middle = {k: float(np.median([g[k] for g in gaps])) for k in gaps[0]}
        won = sum(r.success for r in replays[name])
        said[f"{other} in {name}"] = {"success": won, **middle}
        cells = f"{middle['rod']:.1f} | {middle['steps']:.0f} | {middle['block']:.0f} | {middle['turn']:.0f}"
        console.print(f"| {other} | {name} | {won} of {len(gaps)} | {cells} |")
    said["one step"] = step = one_step(ours, experts["PyBullet"])
    console.print(
        f"\nIn {step['steps']} steps of the original a block moves by {step['moved']:.1f} and turns by {step['turned']:.1f}; "
        f"after the same step from the same state ours is {step['off']:.1f} and {step['off by']:.1f} away (medians)"
    )
    said["pushes"] = compare_pushes(ours, original)
    console.print("\n| m/s | beside the centre | along: PyBullet, MuJoCo | across | turn |\n| --- | --- | --- | --- | --- |")
    for row in said["pushes"]:
        pairs = [f"{row[f'PyBullet {k}']:.1f}, {row[f'MuJoCo {k}']:.1f}" for k in ("along", "across", "turn")]
        console.print(f"| {row['speed']} | {row['offset']:.0f} | {' | '.join(pairs)} |")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(said, indent=2) + "\n")
    return said


if __name__ == "__main__":
    main()
