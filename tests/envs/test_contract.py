"""Every environment that configs/env names keeps the contract of ``maskbench.testing.check_env``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskbench.app.config.compose import load
from maskbench.app.config.instantiate import arguments, instantiate
from maskbench.app.config.schema_env import Carla
from maskbench.data.dataset import environment_options
from maskbench.errors import MaskbenchError
from maskbench.testing import check_env

FILES = sorted((Path(__file__).resolve().parents[2] / "configs" / "env").glob("*.yaml"))
#: Games of words have a contract of their own: tests/envs/text.
NAMES = [p.stem for p in FILES if "maskbench.envs.text." not in p.read_text()]
NAMES.remove("carla")  # named, not built


def test_carla_is_refused_with_what_it_needs_and_where_it_runs() -> None:
    for build in (lambda: instantiate(Carla("carla")), lambda: load("train", ["env=carla"])):
        with pytest.raises(MaskbenchError, match=r"CARLA 0\.9\.13 server with a GPU.*notmahi/bet.*env=blockpush"):
            build()


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_holds(name: str) -> None:
    if name not in ("doorkey", "doorkey16", "pointmass1", "pointmass2", "sinusoid"):
        pytest.importorskip("mujoco")
    if name.startswith("adroit"):
        pytest.importorskip("gymnasium_robotics")
    long = ("walker", "cheetah", "quadruped", "hopper", "walker2d", "halfcheetah", "ant")
    options = ["env.horizon=40"] if name in long or name.startswith("adroit") else []
    config = load("train", [f"env={name}", *options])
    environment = instantiate(config.env)
    assert environment.name == config.env.name
    assert set(environment_options(environment)) >= {"horizon"} & set(arguments(config.env))
    json.dumps(environment_options(environment))  # what tells cached data of other arguments apart
    random_starts = name not in ("pointmass1", "pointmass2")
    slow_to_generate = name in ("kitchen",)
    check_env(
        environment,
        episodes=2,
        render=False,
        distinct_starts=random_starts,
        generates=not slow_to_generate,
        exact_restore=name != "quadruped" and not name.startswith("adroit"),
        exact_reward=name != "ant",
    )
