"""The adapter to the real benchmark, against stand-ins of both of its interfaces."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from maskbench.envs.tabletop import Tabletop
from maskbench.envs.tabletop.vima_bench import VimaBenchEnv, pose_dictionary
from maskbench.errors import ConfigError, EnvError

VIEWS = ("front", "top")


class Task:
    def __init__(self) -> None:
        self.difficulties: list[str] = []

    def set_difficulty(self, difficulty: str) -> None:
        self.difficulties.append(difficulty)


class Bench:
    """What ``vima_bench.make`` gives: the calls that the adapter makes, recorded."""

    def __init__(self, fork: bool, **arguments: Any) -> None:
        self.fork, self.arguments = fork, arguments
        self.task = Task()
        self.prompt = "Put the {dragged_obj_1} into the {base_obj}."
        alone = {v: np.full((128, 256), 255, np.uint8) for v in VIEWS}
        picture = {v: np.zeros((3, 128, 256), np.uint8) for v in VIEWS}
        self.prompt_assets = {
            name: {
                "rgb": picture,
                "segm": {**alone, "obj_info": {"obj_id": 0, "obj_name": kind, "obj_color": "red"}},
                "placeholder_type": "object",
            }
            for name, kind in (("dragged_obj_1", "heart"), ("base_obj", "bowl"))
        }
        info = {"obj_name": "bowl", "texture_name": "red"}
        self.meta_info = {"obj_id_to_info": {5: info, 6: {**info, "obj_name": "heart"}}}
        self.calls: list[Any] = []

    def seed(self, seed: int) -> None:
        self.calls.append(("seed", seed))

    def observation(self) -> dict[str, Any]:
        rgb = {v: np.zeros((3, 128, 256), np.uint8) for v in VIEWS}
        return {"rgb": rgb, "segm": {v: np.zeros((128, 256), np.uint8) for v in VIEWS}, "ee": 0}

    def reset(self) -> Any:
        self.calls.append("reset")
        if self.calls[-2] == ("seed", 7):
            raise ValueError("no room for an object")
        return None if self.fork else self.observation()

    def step(self, action: Any) -> tuple[Any, ...]:
        self.calls.append(action)
        info = {"success": action is not None and float(action["pose0_position"][0]) > 0.6, "failure": False}
        done = info["success"]
        return (self.observation(), 0.0, done, False, info) if self.fork else (self.observation(), 0.0, done, info)

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture(params=["published", "fork"])
def made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Bench]:
    made: list[Bench] = []
    module = ModuleType("vima_bench")

    def make(**arguments: Any) -> Bench:
        made.append(Bench(request.param == "fork", **arguments))
        return made[-1]

    module.make = make  # type: ignore[attr-defined]
    cell = {"visual_manipulation": {"possible_base_obj": "bowl"}}
    module.PARTITION_TO_SPECS = {  # type: ignore[attr-defined]
        "train": {"visual_manipulation": None},
        "test": {"placement_generalization": cell},
    }
    monkeypatch.setitem(sys.modules, "vima_bench", module)
    return made


def test_it_speaks_the_interface_of_our_own_table(made: list[Bench]) -> None:
    env = VimaBenchEnv("visual_manipulation", "placement_generalization", "extreme", order="spawn")
    bench = made[0]
    assert bench.arguments["task_name"] == "visual_manipulation"
    assert bench.arguments["task_kwargs"] == {"possible_base_obj": "bowl"}
    assert bench.arguments["modalities"] == ["rgb", "segm"]
    observation, info = env.reset(seed=3)
    assert env.observation_space.contains(observation)
    assert info["prompt"].placeholders == ["dragged_obj_1", "base_obj"]
    assert [(o.id, o.name) for o in info["objects"]] == [(5, "bowl"), (6, "heart")]
    assert bench.calls[:2] == [("seed", 3), "reset"]
    assert (bench.calls[2:] == [None]) == bench.fork  # the fork's first observation
    action = np.array([0.7, 0, 0, 0, 0, 0.96, 0.5, 0.2, 0, 0, 0.5, 0.5], np.float32)
    _, reward, terminated, truncated, info = env.step(action)
    assert (reward, terminated, truncated, info["events"]) == (1.0, True, False, ("success",))
    sent = bench.calls[-1]
    assert {k: v.shape for k, v in sent.items()} == {
        **{f"pose{i}_position": (2,) for i in (0, 1)},
        **{f"pose{i}_rotation": (4,) for i in (0, 1)},
    }
    assert np.linalg.norm(sent["pose0_rotation"]) == pytest.approx(1.0)
    assert env.render().shape == (128, 512, 3)


def test_difficulty_is_set_once_a_task_and_failed_draws_take_the_next_seed(made: list[Bench]) -> None:
    env = VimaBenchEnv()
    assert env.reset(seed=7)[1]["seed"] == 8
    env.reset(seed=9)
    assert made[0].task.difficulties == ["easy"]
    made[0].task = Task()
    env.reset(seed=10)
    assert made[0].task.difficulties == ["easy"]


def test_episodes_end_two_steps_after_the_oracles_limit(made: list[Bench]) -> None:
    env = VimaBenchEnv()
    with pytest.raises(EnvError, match="reset"):
        env.step(np.zeros(12, np.float32))
    env.reset(seed=0)
    ends = [env.step(np.full(12, 0.3, np.float32))[3] for _ in range(5)]
    assert ends == [False] * 4 + [True]


def test_a_cell_that_the_benchmark_lacks_is_named(made: list[Bench]) -> None:
    with pytest.raises(EnvError, match="does not hold task=rotate"):
        VimaBenchEnv("rotate", "placement_generalization")


def test_without_the_benchmark_the_message_says_what_is_missing() -> None:
    if "vima_bench" in sys.modules:
        pytest.skip("vima_bench is installed")
    with pytest.raises(EnvError, match=r"env\.backend=kinematic plays the same tasks"):
        VimaBenchEnv()


def test_a_zero_quaternion_turns_nothing() -> None:
    assert pose_dictionary(np.zeros(12))["pose1_rotation"].tolist() == [0, 0, 0, 1]
    with pytest.raises(EnvError, match="12 finite numbers"):
        pose_dictionary(np.zeros(14))


def test_it_plays_as_a_backend_of_the_environment(made: list[Bench]) -> None:
    family = Tabletop(backend="vima_bench", observe="objects")
    batch = family.make_batch(2)
    observation = batch.reset([0, 1], [1, 2])
    assert observation["objects"].shape == (2, *family.spec["objects"].shape)
    assert [p.text for p in batch.prompts([0, 1])] == [made[0].prompt] * 2
    step = batch.step([0], np.full((1, 12), 0.7, np.float32))
    assert step.events == (("success",),)
    with pytest.raises(EnvError, match="no scripted oracle"):
        next(iter(family.generate(1, seed=0)))
    with pytest.raises(ConfigError, match="one task at a time"):
        Tabletop(["rotate", "twist"], backend="vima_bench")
