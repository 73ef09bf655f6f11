"""Goals and prompts of MaskDP's protocol: what a row asks for stands in the recorded episode where the protocol says."""

from dataclasses import replace

import numpy as np
import pytest

from maskbench.app.config.compose import load
from maskbench.app.config.schema_play import FAIR
from maskbench.app.held_out import goal_pairs, multi_goal_rows, prompt_rows
from maskbench.data.dataset import Dataset
from maskbench.data.normalise import Normaliser
from maskbench.data.split import Split
from maskbench.data.store import EpisodeStore
from maskbench.errors import ConfigError
from maskbench.rollout.plan import EpisodePlan
from maskbench.trajectory import Episode, Factor, TrajectorySpec

SPEC = TrajectorySpec(
    (
        Factor("state", "continuous", "state", (2,)),
        Factor("action", "continuous", "action", (1,)),
        Factor("physics", "continuous", "simulator", (1,)),
    )
)
CODE, PAPER = (load("train", ["env=walker", f"protocol={name}"]).protocol for name in ("code", "paper"))


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Cells say which episode and timestep they belong to: state = (episode, t), action = t, physics = 1000 episode + t."""

    def episode(e: int, length: int) -> Episode:
        t = np.arange(length, dtype=np.float32)
        state = np.stack([np.full_like(t, e), t], 1)
        return Episode({"state": state, "action": t[:, None], "physics": (1000.0 * e + t)[:, None].astype(np.float64)})

    store = EpisodeStore.from_episodes(SPEC, [episode(e, 950) for e in range(4)])
    split = Split(np.arange(2), np.array([2, 3]), np.array([], np.int64))
    return Dataset(store, split, Normaliser.identity(SPEC), SPEC)


def test_a_goal_is_the_state_that_the_recorded_actions_lead_to(data: Dataset) -> None:
    plan, actions = goal_pairs(data, 200, 0)
    steps = np.array([row.budget for row in plan])
    assert (steps.min(), steps.max()) == (14, 18)
    for row in plan:
        episode, place = divmod(int(row.start.simulator[0]), 1000)
        assert episode in (2, 3)
        assert row.moment == place
        assert row.goal["state"].tolist() == [episode, place + row.budget]
        assert actions[row.row][:, 0].tolist() == list(range(place, place + row.budget))


def test_pairs_are_a_function_of_data_and_seed_alone(data: Dataset) -> None:
    plan = goal_pairs(data, 50, 3)[0]
    assert plan.hash() == goal_pairs(data, 50, 3)[0].hash() != goal_pairs(data, 50, 4)[0].hash()


def test_plans_with_contexts_and_judged_waypoints_are_read_back(data: Dataset, tmp_path) -> None:
    for plan in (prompt_rows(data, 3, 0, 5, 20)[0], multi_goal_rows(data, 3, 0, PAPER)[0]):
        plan.save(tmp_path / "plan.json")
        again = EpisodePlan.load(tmp_path / "plan.json")
        assert again.hash() == plan.hash()
        assert again.rows[0].moment == plan.rows[0].moment


def test_several_goals_lie_at_their_times(data: Dataset) -> None:
    plan, actions = multi_goal_rows(data, 30, 0)
    for row in plan:
        place = int(row.start.simulator[0]) % 1000
        assert row.waypoints.times.tolist() == [12, 24, 36, 48, 60]
        assert row.budget == 60
        assert (row.waypoints.states["state"][:, 1] - place).tolist() == [12, 24, 36, 48, 60]
        assert len(actions[row.row]) == 60


def test_the_code_gives_baselines_more_steps_and_judges_them_by_segment(data: Dataset) -> None:
    """MaskDP spec 6.3 and 6.4."""
    ours, theirs = (multi_goal_rows(data, 5, 0, CODE, baseline)[0].rows[0] for baseline in (False, True))
    assert (ours.budget, ours.waypoints.judged) == (60, "episode")
    assert (theirs.budget, theirs.waypoints.judged) == (70, "segment")
    assert theirs.waypoints.times.tolist() == [14, 28, 42, 56, 70]
    assert np.array_equal(ours.waypoints.states["state"], theirs.waypoints.states["state"])
    single = [goal_pairs(data, 40, 0, CODE, baseline)[0] for baseline in (False, True)]
    assert all(b.budget == a.budget + 5 for a, b in zip(*single, strict=True))
    assert max(row.moment for row in single[0]) < 900


def test_the_paper_draws_times_and_grants_grace(data: Dataset) -> None:
    rows = multi_goal_rows(data, 40, 0, PAPER)[0].rows
    times = np.array([row.waypoints.times for row in rows])
    assert times.min() >= 12
    assert times.max() < 60
    assert len(np.unique(times[:, 0])) > 3
    assert all(row.budget == row.waypoints.times[-1] + 5 for row in rows)
    assert goal_pairs(data, 40, 0, PAPER)[0].rows[0].budget == goal_pairs(data, 40, 0)[0].rows[0].budget + 3


def test_a_prompt_ends_where_the_episode_goes_on(data: Dataset) -> None:
    plan, actions = prompt_rows(data, 60, 0, context=5, forecast=20)
    for row in plan:
        episode, place = divmod(int(row.start.simulator[0]), 1000)
        assert place >= 100
        assert row.context["state"].tolist() == [[episode, t] for t in range(place - 5, place)]
        assert row.context["action"][:, 0].tolist() == list(range(place - 5, place))
        assert actions[row.row][:, 0].tolist() == list(range(place, place + 20))


def test_episodes_that_are_too_short_are_refused_with_the_fix(data: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"longer than 2100 steps: raise dataset\.split\.test"):
        prompt_rows(data, 1, 0, context=5, forecast=2000)
    assert goal_pairs(data, 3, 0, replace(FAIR, goal_steps=(900, 940)))[0].rows[0].moment < 50
