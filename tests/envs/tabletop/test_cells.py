"""The 42 evaluation cells: hold-outs, sound starts, determinism; and the scripted oracle on every task."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np
import pytest

from maskbench.envs.tabletop import TabletopEnv
from maskbench.envs.tabletop.objects import find_object
from maskbench.envs.tabletop.partitions import DIFFICULTIES, PARTITIONS, cells, level, pools, settings, tasks_of
from maskbench.envs.tabletop.scene import FIRST_ID
from maskbench.envs.tabletop.tabletop_env import draw_trial
from maskbench.envs.tabletop.tasks import TASKS, find_task
from maskbench.envs.tabletop.textures import GRAY
from maskbench.errors import ConfigError

#: Resets a cell; ``MASKBENCH_RESETS=200`` runs those of docs/tabletop.md.
RESETS = int(os.environ.get("MASKBENCH_RESETS", "6"))
CELLS = cells()
_STRIPS = ("three-sided rectangle", "line", "small block", "shorter block")


def first_partition(task: str) -> str:
    return next(p for p in PARTITIONS if task in tasks_of(p))


def test_there_are_42_cells_of_17_tasks() -> None:
    assert len(CELLS) == 42
    assert Counter(level(p) for p, _ in CELLS) == {1: 13, 2: 13, 3: 12, 4: 4}
    assert [t.number for t in TASKS.values()] == list(range(1, 18))
    assert {t for _, t in CELLS} == set(TASKS)
    assert not set(tasks_of("novel_task_generalization")) & set(tasks_of("train"))


@pytest.mark.parametrize(("partition", "task"), CELLS, ids=lambda c: str(c))
def test_scenes_keep_their_hold_outs_and_are_sound(partition: str, task: str) -> None:
    allowed = pools(partition, task, TASKS[task].open_textures)
    for seed in range(RESETS):
        _, trial, _ = draw_trial(seed, task, partition, "easy")
        assert not trial.success
        assert not trial.failed
        assert trial.sound()
        assert trial.scene.ee == TASKS[task].ee
        assert list(trial.scene.bodies) == [FIRST_ID[trial.scene.ee] + i for i in range(len(trial.scene))]
        for body in trial.scene:
            assert body.spec.name in (*allowed.dragged, *allowed.base, *_STRIPS)
            light = body.texture.removeprefix("dark ")
            assert light in [t.removeprefix("dark ") for t in allowed.textures]
            if body.spec.group in ("base", "strip"):
                assert body.texture in allowed.textures
        for name, image in trial.prompt.images.items():
            assert {o.name for o in image.objects} <= {*allowed.dragged, *allowed.base, *_STRIPS}
            assert name in trial.prompt.placeholders
            assert {o.texture for o in image.objects} <= {GRAY, *allowed.textures, *(f"dark {t}" for t in allowed.textures)}


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_draws_its_own_scene_and_always_the_same(task: str) -> None:
    first, second = (TabletopEnv(task, first_partition(task)) for _ in range(2))
    shown = []
    for seed in range(5):
        observation, info = first.reset(seed=seed)
        second.reset(seed=seed + 1)  # what ran before must not matter
        again, info_again = second.reset(seed=seed)
        for view in ("front", "top"):
            np.testing.assert_array_equal(observation["rgb"][view], again["rgb"][view])
            np.testing.assert_array_equal(observation["segm"][view], again["segm"][view])
        assert info["prompt"] == info_again["prompt"]
        assert info["objects"] == info_again["objects"]
        shown.append(observation["rgb"]["top"].tobytes())
    assert len(set(shown)) == len(shown)


def solved(env: TabletopEnv, seed: int, pick: Any) -> tuple[bool, int]:
    """Whether the oracle succeeds, and in how many actions."""
    env.reset(seed=seed)
    rng, steps = np.random.default_rng(seed), 0
    while True:
        action = env.expert(rng, pick)
        if action is None:
            return False, steps
        _, reward, terminated, truncated, info = env.step(action)
        steps += 1
        if terminated or truncated:
            assert reward == float(info["success"])
            return bool(info["success"]), steps


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("task", TASKS)
def test_the_oracle_succeeds(task: str, difficulty: str) -> None:
    partition = first_partition(task)
    env = TabletopEnv(task, partition, difficulty)
    picks = ("centroid", "random_pixel")
    found = [solved(env, seed, picks[seed % 2]) for seed in range(2 if difficulty != "easy" else max(4, RESETS))]
    assert sum(ok for ok, _ in found) >= 0.99 * len(found)
    slots = find_task(task, settings(task, difficulty)).most_objects
    env.reset(seed=0)
    assert len(env.objects) <= slots


def test_levels_1_to_3_differ_in_what_they_hold_out() -> None:
    train, l2, l3 = (pools(PARTITIONS[i], "visual_manipulation") for i in (0, 2, 3))
    assert (train.dragged_textures, train.base_textures) == (l2.base_textures, l2.dragged_textures)
    assert not set(train.dragged) & set(l3.dragged)
    assert not set(train.base) & set(l3.base)
    assert set(l3.dragged) == {"letter R", "diamond", "hexagon", "round", "star"}
    assert pools(PARTITIONS[3], "pick_in_order_then_restore").base == ("pallet",)
    assert len(l3.dragged_textures) + len(l3.base_textures) == 49
    assert len(pools(PARTITIONS[3], "novel_adj", "light_and_dark").dragged_textures) == 82


def test_unknown_names_and_cells_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'rearrange'"):
        find_task("rearange")
    with pytest.raises(ConfigError, match="part of novel_task_generalization"):
        pools("train", "follow_motion")
    with pytest.raises(ConfigError, match="Did you mean 'extreme'"):
        settings("rotate", "extrem")
    with pytest.raises(ConfigError, match="no partition is called"):
        pools("L1", "rotate")
    assert find_task("sweep").name == "sweep_without_exceeding"
    assert find_object("block").symmetry == pytest.approx(np.pi / 2)
