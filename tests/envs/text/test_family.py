"""Text games in the workbench: words as factors, fixed worlds, records that do not depend on workers or slots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskbench.envs.text.base import TextStep
from maskbench.envs.text.family import TextGames, pack, unpack
from maskbench.envs.text.kitchen import KitchenLite
from maskbench.errors import ConfigError, EnvError
from maskbench.policies.text_agents import AgentPolicy
from maskbench.policies.text_baselines import Noisy, RandomAdmissible
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.records import read_records, write_records
from maskbench.rollout.runner import RolloutRunner


def lantern() -> TextGames:
    pytest.importorskip("jericho", reason="Z-machine games need maskbench[text]")
    from maskbench.envs.text.zmachine import ZMachine

    return ZMachine("lantern_house", admissible=True, horizon=12)


@pytest.fixture(params=["kitchen_lite", "lantern_house"])
def games(request: pytest.FixtureRequest) -> TextGames:
    return KitchenLite(level=4, games=5, horizon=12) if request.param == "kitchen_lite" else lantern()


def players() -> AgentPolicy:
    return AgentPolicy(noisy)


def noisy() -> Noisy:
    return Noisy(RandomAdmissible(), 0.5)


def play(games: TextGames, slots: int, workers: int = 1, episodes: int = 7):
    plan = EpisodePlan.build(episodes, 3, worlds=games.worlds)
    return RolloutRunner(games, players, workers, slots, record_trajectories=True, progress=False).run(plan)


def test_steps_survive_the_way_through_arrays() -> None:
    full = TextStep(
        "You see a table.", 1, 4, 1, False, False, False, ("look", "go north"), "You are empty-handed.", "hall", "look"
    )
    bare = TextStep("", 0, 0, 0, False, False, False, None, None, None, None)
    packed = pack([full, bare])
    assert packed["obs"].dtype == object
    assert packed["points"].shape == (2, 3)
    assert unpack(packed) == [full, bare]


def test_records_depend_on_their_own_row_only(games: TextGames) -> None:
    alone, together = play(games, 1), play(games, 4)
    for a, b in zip(alone, together, strict=True):
        assert a.to_json() == b.to_json()
        assert a.trajectory is not None
        assert b.trajectory is not None
        assert set(a.trajectory) == set(b.trajectory) >= {"obs", "command", "notes", "final.obs", "points"}
        for name, value in a.trajectory.items():
            assert (value == b.trajectory[name]).all(), name


@pytest.mark.slow
def test_workers_do_not_change_records() -> None:
    games = KitchenLite(level=2, games=3, horizon=10)
    assert [r.to_json() for r in play(games, 2)] == [r.to_json() for r in play(games, 2, workers=2)]


def test_a_batch_answers_as_single_games_do(games: TextGames) -> None:
    seeds = [games.worlds[i % len(games.worlds)] for i in range(3)]
    batch, single = games.make_batch(3), games.game()
    packed = batch.reset([0, 1, 2], seeds)
    steps = unpack(packed)
    commands = [s.admissible[i] for i, s in enumerate(steps) if s.admissible and i < len(s.admissible)]
    commands += ["look"] * (3 - len(commands))
    after = batch.step([0, 1, 2], np.array(commands, object))
    for i in range(3):
        assert single.reset(seeds[i]) == steps[i]
        assert single.step(commands[i]).obs == after.observation["obs"][i]
    batch.close()


def test_an_episode_ends_at_the_horizon() -> None:
    records = play(KitchenLite(level=4, games=2, horizon=3), 2, episodes=2)
    assert [r.length for r in records] == [3, 3]
    assert not any(r.terminated for r in records)


def test_a_fixed_set_of_games_is_played_in_turn_with_other_players() -> None:
    plan = EpisodePlan.build(5, 0, worlds=range(9000, 9002))
    assert [r.env_seed for r in plan] == [9000, 9001, 9000, 9001, 9000]
    assert len({r.policy_seed for r in plan}) == 5
    assert [r.policy_seed for r in plan] == [r.policy_seed for r in EpisodePlan.build(5, 0)]


def test_transcripts_are_kept_on_disk_as_text(tmp_path: Path) -> None:
    records = play(KitchenLite(games=2, horizon=6), 2, episodes=2)
    write_records(records, tmp_path)
    again = read_records(tmp_path)
    assert again[0].trajectory is not None
    assert records[0].trajectory is not None
    assert again[0].trajectory["command"].tolist() == records[0].trajectory["command"].tolist()
    assert str(again[0].trajectory["final.obs"]) == str(records[0].trajectory["final.obs"])
    assert records[0].metrics["normalised_score"] == records[0].episode_return / 5


def test_a_game_is_a_gymnasium_environment(games: TextGames) -> None:
    env = games.make()
    observation, _ = env.reset(seed=games.worlds[0])
    assert env.observation_space.contains(observation)
    after, reward, terminated, truncated, info = env.step("inventory")
    assert env.observation_space.contains(after)
    assert reward == 0
    assert not terminated
    assert not truncated
    assert info == {"events": (), "success": False}
    env.close()


def test_what_a_text_game_cannot_do_is_said() -> None:
    games = KitchenLite()
    with pytest.raises(EnvError, match="text collect env=kitchen_lite"):
        games.generate(1, 0)
    with pytest.raises(EnvError, match="no picture"):
        games.make_batch(1).render(0)
    with pytest.raises(ConfigError, match="at least 1"):
        KitchenLite(games=0)
