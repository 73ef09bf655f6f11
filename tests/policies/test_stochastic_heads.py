"""Rollouts from every stochastic head are the same bits for any batch size, however actions are drawn."""

from __future__ import annotations

import pytest
import torch

from maskbench.data.normalise import Normaliser
from maskbench.envs.pointmass import PointMass
from maskbench.models.decoder import Decoder
from maskbench.models.heads import CodesOptions, HeadChoice, build_heads
from maskbench.models.heads.codes import following
from maskbench.policies.model import ModelPolicy, ReturnUnits
from maskbench.policies.queries import Query
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.runner import RolloutRunner
from maskbench.tokens.layout import build_layout
from maskbench.trajectory import TrajectorySpec

ENV = PointMass(snap=False)
SPEC = TrajectorySpec(ENV.spec.with_role("state", "action"))
CODES = {"num_codes": 4, "n_embd": 8, "n_hidden": 16, "steps": 20, "n_head_hidden": 16}
HEADS = {
    "bins": HeadChoice("bins", num_bins=5),
    "mdn": HeadChoice("mdn", num_bins=3),
    "gaussian": HeadChoice("gaussian"),
    "vq": HeadChoice("vq", vq=CodesOptions(**CODES)),
    "sequential": HeadChoice("vq", vq=CodesOptions(**CODES, sequential=True)),
    "chunks": HeadChoice("vq", vq=CodesOptions(**CODES, chunk=3)),
}


def model(choice: HeadChoice) -> Decoder:
    torch.manual_seed(0)
    layout = build_layout(SPEC, 5, inputs=["state"])
    heads = build_heads(layout.spec.select(["action"]), 16, {"action": choice})
    actions = torch.randn(300, 2)
    heads["action"].fit(following(actions, 3) if heads["action"].chunk == 3 else actions)
    return Decoder(layout, heads, n_layer=1, n_head=2, n_embd=16, dropout=0.0)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize(
    "query", [Query(), Query(temperature=0.5, top_k=2, commit_steps=3, action_batch=4, spread=0.5)], ids=["plain", "all"]
)
def test_records_are_the_same_bits_for_any_batch_size(kind: str, query: Query) -> None:
    acting, seen = model(HEADS[kind]), []
    for slots in (1, 3, 7):
        args = (acting, ENV.spec, Normaliser.identity(ENV.spec), query, "causal", "none", 50, slots, ReturnUnits())
        runner = RolloutRunner(ENV, lambda a=args: ModelPolicy(*a), num_slots=slots, progress=False)
        seen.append([r.to_json() for r in runner.run(EpisodePlan.build(7, 1))])
    assert seen[0] == seen[1] == seen[2]
    assert len({r["episode_return"] for r in seen[0]} | {r["length"] for r in seen[0]}) > 1


def test_the_cloud_of_a_policy_is_in_the_environments_units() -> None:
    import numpy as np

    acting = ModelPolicy(
        *(model(HEADS["bins"]), ENV.spec, Normaliser.identity(ENV.spec), Query(action_batch=6), "causal", "none", 50, 2),
        ReturnUnits(),
    )
    slots = np.array([0, 1])
    acting.reset(slots, EpisodePlan.build(2, 0).rows)
    played = acting.act({"state": np.zeros((2, 2), np.float32)}, slots)
    assert acting.cloud.shape == (2, 6, 2)
    assert (acting.cloud == played[:, None]).all(-1).any(1).all()
