"""Acting on instructions: records depend on their rows alone, prompts are encoded once, changes apply."""

import numpy as np
import pytest
import torch
from tests.prompted import prompted_model

from maskbench.envs.tabletop import Tabletop
from maskbench.masking.prompt import PromptRule
from maskbench.masking.scheme import MaskSet
from maskbench.policies.model import ReturnUnits
from maskbench.policies.prompted import PromptedPolicy
from maskbench.policies.queries import Query
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.runner import RolloutRunner
from maskbench.trajectory import TrajectorySpec


class Plain:
    def apply(self, name, value):
        return value

    def invert(self, name, value):
        return value


TASKS = ("visual_manipulation", "pick_in_order_then_restore")


def policy(env: Tabletop, slots: int, query: Query | None = None, **options) -> PromptedPolicy:
    model = prompted_model(**options)
    with torch.no_grad():
        model.head("action").weights[2].mul_(3000)  # an opinionated model: every change shows
    spec = TrajectorySpec(env.spec.factors)
    asked = query or Query()
    return PromptedPolicy(model, spec, Plain(), asked, "causal", "none", env.horizon, slots, ReturnUnits(), task_of=env.task_of)


def played(env: Tabletop, slots: int, query: Query | None = None, episodes: int = 5, **options):
    runner = RolloutRunner(
        env, lambda: policy(env, slots, query, **options), num_slots=slots, record_trajectories=True, progress=False
    )
    return runner.run(EpisodePlan.build(episodes, 3))


def actions(records) -> list[np.ndarray]:
    return [r.trajectory["action"] for r in records]


@pytest.fixture(scope="module")
def env() -> Tabletop:
    return Tabletop(TASKS, observe="objects", horizon=3)


@pytest.mark.parametrize("options", [{}, {"conditioning": "causal"}], ids=["cached", "whole"])
def test_records_do_not_depend_on_how_many_play_at_once(env, options):
    alone, together = played(env, 1, **options), played(env, 4, **options)
    for a, b in zip(actions(alone), actions(together), strict=True):
        assert np.array_equal(a, b)


def test_cached_steps_act_as_whole_windows_do(env):
    cached = played(env, 3, Query(greedy=True))

    def whole() -> PromptedPolicy:
        made = policy(env, 3, Query(greedy=True))
        made.cached = False
        return made

    found = RolloutRunner(env, whole, num_slots=3, record_trajectories=True, progress=False).run(EpisodePlan.build(5, 3))
    for a, b in zip(actions(cached), actions(found), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_each_prompt_is_encoded_once(env, monkeypatch):
    made = policy(env, 4)
    calls = []
    encode = made.decoder.prompts.forward
    monkeypatch.setattr(made.decoder.prompts, "forward", lambda *a, **k: calls.append(len(a[1])) or encode(*a, **k))
    records = RolloutRunner(env, lambda: made, num_slots=4, progress=False).run(EpisodePlan.build(6, 3))
    assert sum(calls) == 6
    assert sum(r.length for r in records) > 6


@pytest.mark.parametrize(
    "query",
    [
        Query(perturb=("gobbledygook_word",)),
        Query(prompt=PromptRule(text=0.0)),
        Query(prompt=PromptRule(visual=0.0)),
        Query(prompt=PromptRule(both=0.0)),
        Query(shuffle_slots=True),
    ],
    ids=["gibberish", "no words", "no pictures", "nothing", "shuffled"],
)
def test_changes_reach_the_policy_and_are_seeded(env, query):
    base, changed, again = played(env, 3), played(env, 3, query), played(env, 2, query)
    assert all(np.array_equal(a, b) for a, b in zip(actions(changed), actions(again), strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(actions(base), actions(changed), strict=True))


def test_hidden_prompts_do_not_steer(env):
    query = Query(prompt=PromptRule(both=0.0))
    gibberish = Query(prompt=PromptRule(both=0.0), perturb=("swapped_words",))
    for a, b in zip(actions(played(env, 3, query)), actions(played(env, 3, gibberish)), strict=True):
        assert np.array_equal(a, b)


def test_pictures_are_played_too():
    env = Tabletop("rotate", observe="pictures", horizon=2)
    assert len(played(env, 2, episodes=2, sight="patches")) == 2


def test_actions_lie_inside_the_workspace(env):
    for each in actions(played(env, 3)):
        assert ((each[:, [0, 6]] >= 0.25) & (each[:, [0, 6]] <= 0.75)).all()
        assert ((each[:, [1, 7]] >= -0.5) & (each[:, [1, 7]] <= 0.5)).all()


def test_more_objects_than_in_training_are_seen():
    env = Tabletop("visual_manipulation", difficulty="distracting", observe="objects", horizon=1)
    assert env.slots > 3
    assert len(played(env, 2, episodes=2)) == 2


def test_masks_of_rows_keep_their_prompts():
    masks = MaskSet(torch.ones(3, 1, 1, dtype=torch.bool), torch.ones(3, 1, 1, dtype=torch.bool))
    drawn = PromptRule(text=0.5).draw(torch.Generator().manual_seed(0), 3)
    assert masks.rows(slice(1, 2)).prompt is None
    assert torch.equal(drawn.rows(slice(1, 2)).words, drawn.words[1:2])
