"""Bins are held with the offset of the present, clouds hold what is played, and all chance is the episode's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskbench.errors import ConfigError
from maskbench.models.heads import BinsHead, CodesHead, CodesOptions, GaussianHead
from maskbench.models.heads.sampling import Sampling, draw_class
from maskbench.policies.drawing import Drawing
from maskbench.policies.queries import Query
from maskbench.trajectory import Factor

ACTION = Factor("action", "continuous", "action", (2,))
CENTRES = torch.tensor([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [30.0, 0.0]])
SLOTS = np.array([0, 1, 2])


def bins() -> BinsHead:
    head = BinsHead(ACTION, 4, num_bins=4)
    head.centres.copy_(CENTRES)
    return head


def flat(step: int) -> torch.Tensor:
    """Four equally likely bins; bin ``k`` adds ``(step / 10, k)``."""
    offsets = torch.tensor([[step / 10, k] for k in range(4)]).flatten()
    return torch.cat([torch.zeros(4), offsets]).expand(3, -1)


def play(query: Query, steps: int, seed: int = 0) -> np.ndarray:
    """Actions ``(steps, 3, 2)``."""
    drawing, head = Drawing(query, 3), bins()
    for slot in SLOTS:
        drawing.reset(int(slot), seed + int(slot))
    actions = []
    for t in range(steps):
        drawing.step(SLOTS)
        actions.append(drawing.draw("action", head, flat(t), SLOTS))
    return torch.stack(actions).numpy()


def chosen(actions: np.ndarray) -> np.ndarray:
    """The bins ``(steps, 3)`` behind actions."""
    return np.rint(actions[..., 0] / 10 - 0.01).astype(int)


def test_a_committed_bin_is_held_with_the_matching_offset_of_each_step() -> None:
    actions = play(Query(commit_steps=4), 12)
    held = chosen(actions).reshape(3, 4, 3)
    assert (held == held[:, :1]).all()
    assert len(np.unique(held[:, 0])) > 1
    assert (actions[..., 1] == chosen(actions)).all()  # the bin's own offset
    np.testing.assert_allclose(actions[:, 0, 0] % 10, np.arange(12) / 10, atol=1e-5)  # of this step


def test_the_studys_action_update_every_mixes_the_offset_of_a_fresh_bin_into_the_held_one() -> None:
    actions = play(Query(commit_steps=4, commit_legacy=True), 40)
    held = chosen(actions).reshape(10, 4, 3)
    assert (held == held[:, :1]).all()
    assert (actions[..., 1] != chosen(actions)).mean() > 0.4  # of three quarters of the steps, three quarters


def test_without_commitment_every_step_draws_anew() -> None:
    assert (chosen(play(Query(), 40))[1:] != chosen(play(Query(), 40))[:-1]).mean() > 0.5
    assert np.array_equal(play(Query(), 9), play(Query(), 9))


def test_episodes_that_begin_later_count_their_own_steps() -> None:
    drawing, head, seen = Drawing(Query(commit_steps=3), 3), bins(), []
    for t in range(9):
        if t in (0, 2):
            drawing.reset(t // 2, 5)
        live = np.array([0] if t < 2 else [0, 1])
        drawing.step(live)
        seen.append(drawing.draw("action", head, flat(0)[: len(live)], live).numpy())
    assert np.array_equal([a[0] for a in seen[:7]], [a[1] for a in seen[2:]])


def test_offsets_can_be_left_out() -> None:
    actions = play(Query(offsets=False), 20)
    assert (actions[..., 1] == 0).all()
    assert set(actions[..., 0].ravel()) <= {0.0, 10.0, 20.0, 30.0}


def test_one_of_several_draws_is_played_and_all_can_be_seen() -> None:
    drawing, head = Drawing(Query(action_batch=50), 3), bins()
    for slot in SLOTS:
        drawing.reset(int(slot), int(slot))
    drawing.step(SLOTS)
    played = drawing.draw("action", head, flat(0), SLOTS)
    cloud = drawing.clouds["action"]
    assert cloud.shape == (3, 50, 2)
    assert (cloud == played[:, None]).all(-1).any(1).all()
    assert len(torch.unique(cloud[0, :, 0])) == 4


@pytest.mark.parametrize(
    ("how", "kept"),
    [(Sampling(top_k=1), {2}), (Sampling(top_k=2), {1, 2}), (Sampling(top_p=0.75), {1, 2}), (Sampling(greedy=True), {2})],
)
def test_unlikely_classes_are_left_out(how: Sampling, kept: set[int]) -> None:
    logits = torch.log(torch.tensor([0.1, 0.3, 0.6])).expand(1000, 3)
    u = (torch.arange(1000) + 0.5).double() / 1000
    drawn = draw_class(logits, u, how)
    assert set(drawn.tolist()) == kept
    if len(kept) == 2:
        assert float((drawn == 2).float().mean()) == pytest.approx(2 / 3, abs=0.01)


def test_spread_shrinks_gaussians_to_their_mean() -> None:
    head, drawing = GaussianHead(ACTION, 4), Drawing(Query(spread=0), 3)
    for slot in SLOTS:
        drawing.reset(int(slot), 0)
    drawing.step(SLOTS)
    assert drawing.draw("action", head, torch.tensor([1.0, 2.0, 3.0, 3.0]).expand(3, 4), SLOTS).tolist() == [[1, 2]] * 3


@pytest.mark.parametrize(
    "wrong", [{"top_k": 0}, {"top_p": 0}, {"top_p": 1.5}, {"spread": -1}, {"commit_steps": 0}, {"action_batch": 0}]
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f"query.*{next(iter(wrong)).split('_')[0]}"):
        Query(**wrong)


def test_overlapping_chunks_are_averaged_and_each_episode_starts_with_its_own() -> None:
    head = CodesHead(ACTION, 4, CodesOptions(num_groups=1, num_codes=2, n_embd=2, n_hidden=2, n_head_hidden=2, chunk=3))
    head.realise_chunk = lambda params, choice, how, offset_of: params[..., :6].unflatten(-1, (3, 2))  # type: ignore
    drawing, slots = Drawing(Query(), 3), np.array([1])
    width = head.num_logits + 2 * 6

    def say(chunk: list[float]) -> float:
        drawing.step(slots)
        params = torch.zeros(1, width)
        params[0, :6] = torch.tensor(chunk).repeat_interleave(2)
        return float(drawing.draw("action", head, params, slots)[0, 0])

    for _ in range(2):
        drawing.reset(1, 0)
        assert say([1, 2, 3]) == 1
        assert say([4, 5, 6]) == (2 + 4) / 2
        assert say([7, 8, 9]) == (3 + 5 + 7) / 3
        assert say([0, 0, 0]) == pytest.approx((6 + 8 + 0) / 3)
