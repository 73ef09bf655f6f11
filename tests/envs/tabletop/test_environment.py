"""``env=tabletop``: the contract for every form of observation, demonstrations, and what the batch tells of prompts."""

from __future__ import annotations

import numpy as np
import pytest

from maskbench.envs.tabletop import Tabletop, TabletopEnv
from maskbench.envs.tabletop.actions import NOTHING
from maskbench.envs.tabletop.features import SLOT_WIDTH
from maskbench.envs.tabletop.tasks import TASKS
from maskbench.errors import ConfigError, EnvError
from maskbench.objects import CROP_BYTES, OBJECT_BYTES, find_boxes
from maskbench.prompt import PromptedEpisode
from maskbench.testing import check_env


@pytest.mark.parametrize("observe", ["features", "objects", "pictures"])
def test_the_contract_holds_for_several_tasks(observe) -> None:
    check_env(Tabletop(["rearrange", "sweep_without_exceeding"], observe=observe, order="spatial"), episodes=2, steps=4)


def test_factors_are_those_that_models_of_prompts_read() -> None:
    spec = Tabletop(observe="objects", slots=5).spec
    assert spec.names == ("objects", "ee", "action", "reward")
    assert (spec["objects"].kind, spec["objects"].shape) == ("objects", (2, 5, OBJECT_BYTES))
    assert [p[0] for p in spec["action"].parts] == ["pose0_position", "pose0_rotation", "pose1_position", "pose1_rotation"]
    assert Tabletop(observe="pictures").spec["pictures"].shape == (2, 3, 64, 128)
    assert Tabletop().spec["state"].shape == (3 * SLOT_WIDTH + 1,)


def test_slots_hold_the_same_object_in_both_views_and_at_every_step() -> None:
    family = Tabletop("rotate", observe="objects")
    env = family.make()
    observation, info = env.reset(seed=4)
    boxes, seen = observation["objects"][..., CROP_BYTES:-1], observation["objects"][..., -1] > 0
    for slot, thing in enumerate(info["objects"]):
        for v, view in enumerate(("front", "top")):
            edges, there = find_boxes(env.table.frame.segm[view][None], np.array([thing.id]))
            top, bottom, left, right = edges[0, 0]
            assert there[0, 0] == seen[v, slot]
            assert boxes[v, slot].tolist() == [(left + right) // 2, (top + bottom) // 2, bottom - top, right - left]
    assert env.step(env.action_space.low)[4]["objects"] == info["objects"]


def test_slot_orders_differ_as_they_say() -> None:
    shown = {
        o: [TabletopEnv("visual_manipulation", order=o).reset(seed=s)[1]["objects"] for s in range(12)]
        for o in ("spawn", "shuffle", "spatial")
    }
    assert all([o.id for o in objects] == sorted(o.id for o in objects) for objects in shown["spawn"])
    assert len({tuple(o.id for o in objects) for objects in shown["shuffle"]}) > 3
    env = TabletopEnv("visual_manipulation", order="spatial")
    for seed in range(5):
        ids = [o.id for o in env.reset(seed=seed)[1]["objects"]]
        columns = [env.trial.scene[i].pose.y for i in ids]
        assert columns == sorted(columns)


def test_demonstrations_do_not_depend_on_the_number_of_processes() -> None:
    family = Tabletop(["rotate", "visual_manipulation"], observe="objects")
    one, two = list(family.generate(5, seed=3)), list(family.generate(5, seed=3, workers=2))
    for a, b in zip(one, two, strict=True):
        assert isinstance(b, PromptedEpisode)
        assert (a.meta, getattr(a, "prompt", None)) == (b.meta, b.prompt)
        for name in family.spec.names:
            np.testing.assert_array_equal(a.values[name], b.values[name])
    assert [e.meta["task"] for e in one] == ["rotate", "visual_manipulation"] * 2 + ["rotate"]
    assert all(e.values["reward"].sum() == 1 for e in one)


def test_random_pixels_give_many_answers_to_one_scene() -> None:
    env = TabletopEnv("visual_manipulation")
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    picks = {pick: {tuple(env.expert(rng, pick)[:2].tolist()) for _ in range(20)} for pick in ("centroid", "random_pixel")}
    assert (len(picks["centroid"]), len(picks["random_pixel"]) > 10) == (1, True)


def test_live_prompts_and_frames_belong_to_their_slots() -> None:
    batch = Tabletop(["rotate", "visual_manipulation"]).make_batch(2)
    batch.reset([0, 1], [10, 11])
    texts = [p.text for p in batch.prompts([1, 0])]
    assert texts[0].startswith("Put the")
    assert texts[1].startswith("Rotate the")
    assert batch.frames([0])[0].rgb["top"].shape == (3, 128, 256)


def test_a_goal_is_where_the_oracle_leads() -> None:
    family = Tabletop()
    goal = family.goal(5)
    assert goal is not None
    env, rng = family.make(), np.random.default_rng(5)
    before, _ = env.reset(seed=5)
    after = env.step(env.table.expert(rng))[0]
    distance = family.goal_distance({"state": np.stack([before["state"], after["state"]])}, goal)
    assert distance[0] > 0.1
    assert distance[1] == 0


def test_strict_success_is_one_without_a_detour() -> None:
    env = TabletopEnv("pick_in_order_then_restore")
    for detour in (False, True):
        _, info = env.reset(seed=1)
        assert info["minimum_steps"] == 3
        if detour:
            env.step(NOTHING)
        rng, done = np.random.default_rng(0), False
        while not done:
            _, _, done, _, info = env.step(env.expert(rng))
        assert info["events"] == (("success",) if detour else ("success", "strict_success"))


def test_reset_options_choose_the_cell() -> None:
    env = TabletopEnv()
    _, info = env.reset(seed=0, options={"task": "same_shape", "partition": "novel_object_generalization"})
    assert info["prompt"].text == "Put all objects with the same profile as {base_obj} into it."
    assert (info["task"], info["difficulty"]) == ("same_shape", "easy")
    with pytest.raises(ConfigError, match="does not hold"):
        env.reset(seed=0, options={"task": "follow_motion"})


def test_spoilt_episodes_end_unless_they_may_go_on() -> None:
    for stop in (True, False):
        env = TabletopEnv("follow_order", stop_on_failure=stop)
        env.reset(seed=0)
        _, _, terminated, _, info = env.step(env.action_space.low)
        assert info["events"] == ("failure",)
        assert terminated == stop
        if not stop:
            assert env.step(env.action_space.low)[4]["events"] == ()


def test_horizons_are_the_oracles_and_two_more() -> None:
    assert {t.number: t.oracle_max_steps for t in TASKS.values()} == {
        **dict.fromkeys((1, 2, 3, 6, 7, 8), 3),
        **dict.fromkeys((11, 14, 15, 16, 17), 4),
        4: 5,
        5: 8,
        9: 5,
        10: 2,
        12: 8,
        13: 14,
    }
    assert Tabletop(["rotate", "twist"]).horizon == 7
    assert Tabletop("rotate", horizon=10, rest=2).horizon == 10
    assert Tabletop("rotate", rest=2).horizon == 7


@pytest.mark.parametrize("task", ["visual_manipulation", "sweep_without_exceeding"])
def test_episodes_may_rest_after_their_success(task: str) -> None:
    family = Tabletop(task, rest=2)
    check_env(family, episodes=2, steps=4)
    episode = next(iter(family.generate(1, seed=0)))
    state, reward = episode.values["state"], episode.values["reward"][:, 0]
    assert reward.tolist() == [*[0.0] * (len(episode) - 3), 1.0, 0.0, 0.0]
    np.testing.assert_array_equal(state[-2], state[-1])
    np.testing.assert_array_equal(state[-1], episode.final["state"])
    assert not np.array_equal(state[-2], state[-3])


def test_mistakes_are_named() -> None:
    for arguments, message in (
        ({"task": "rotat"}, "Did you mean 'rotate'"),
        ({"task": []}, "at least one task"),
        ({"observe": "feature"}, "Did you mean 'features'"),
        ({"slots": 2}, "expected at least 3"),
        ({"task": "same_texture"}, "part of novel_task_generalization"),
    ):
        with pytest.raises(ConfigError, match=message):
            Tabletop(**arguments)
    with pytest.raises(ConfigError, match="workers"):
        next(iter(Tabletop().generate(1, 0, workers=0)))
    with pytest.raises(EnvError, match="reset"):
        TabletopEnv().step(np.zeros(12))
