"""The published folder layout (MaskDP study 1.1), and a data card for each folder of episodes."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from maskbench.collect.agent import Agent
from maskbench.data.card import Card, package_versions
from maskbench.data.importers.maskdp import MaskdpImporter
from maskbench.data.statistics import MAX_LISTED_DIMS, Moments
from maskbench.envs.dmc import DMControl
from maskbench.errors import DataError

Part = Literal["train", "eval"]
Quality = Literal["expert", "sup", "semi", "unsup"]

#: Kept beside the episodes. Not ``card.json``, which marks a store.
CARD = "data_card.json"


@dataclass(frozen=True)
class Tree:
    """``maskdp_train`` and ``maskdp_eval`` below ``root``, and ``runs``, where agents keep their checkpoints.

    ::

        maskdp_train/<domain>/expert/<task>/            rollouts of a frozen agent
        maskdp_train/<domain>/sup/<task>/               replay of an agent that learnt the task
        maskdp_train/<domain>/semi/<task>/<agent>/      replay of an explorer that was also paid for the task
        maskdp_train/<domain>/unsup/<agent>/            replay of an explorer
        maskdp_eval/expert/<task>/                      held-out rollouts: other seeds
        maskdp_eval/<quality>/<domain>/...              held-out replay: an agent of another seed

    where ``<task>`` is ``<domain>_<task>``. Readers search recursively, so the level of the agent is one that the published
    tree may also have.
    """

    root: Path

    def folder(self, part: Part, quality: Quality, family: DMControl, agent: str) -> Path:
        """Where episodes of this kind go."""
        task = f"{family.domain}_{family.task}"
        below = {"expert": task, "sup": task, "semi": f"{task}/{agent}", "unsup": agent}[quality]
        if part == "train":
            return self.root / "maskdp_train" / family.domain / quality / below
        return self.root / "maskdp_eval" / quality / (below if quality == "expert" else f"{family.domain}/{below}")

    def run(self, part: Part, family: DMControl, agent: str) -> Path:
        """Where the agent that fills a folder of ``part`` keeps its state."""
        return self.root / "runs" / f"{family.domain}_{family.task}_{agent}{'' if part == 'train' else '_eval'}"


def quality_of(agent: Agent) -> Quality:
    """What the replay of ``agent`` is called."""
    if agent.intrinsic is None:
        return "sup"
    return "unsup" if agent.bonus == 1.0 else "semi"


def write_card(folder: Path, name: str, env: str, command: str, provenance: str) -> Card:
    """Describes the episodes in ``folder`` by one pass over them: factors, statistics, returns, hashes of the files."""
    imported = MaskdpImporter().read(folder)
    wide = {f.name: f.width if f.width <= MAX_LISTED_DIMS else 1 for f in imported.spec}
    moments = {name: Moments(columns) for name, columns in wide.items()}
    totals, hashes, steps = [], {}, 0
    for episode in imported.episodes():
        for factor, rows in episode.values.items():
            moments[factor].update(rows.reshape(-1, wide[factor]))
        totals.append(float(episode.values["reward"].sum(dtype=np.float64)))
        file = str(episode.meta["file"])
        hashes[file] = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        steps += len(episode)
    returns = np.array(totals)
    card = Card(
        name=name,
        env=env,
        origin="generated",
        command=command,
        licence="that of this software",
        provenance=provenance,
        spec=imported.spec,
        episodes=len(totals),
        steps=steps,
        statistics={n: {k: getattr(m, k).tolist() for k in ("mean", "std", "min", "max")} for n, m in moments.items()},
        returns={k: float(getattr(returns, k)()) for k in ("mean", "std", "min", "max")},
        hashes=hashes,
        versions=package_versions("mujoco", "dm_control", "torch"),
    )
    temporary = folder / f".{CARD}.tmp"
    temporary.write_text(json.dumps(card.to_json(), indent=1))
    os.replace(temporary, folder / CARD)
    return card


def read_card(folder: Path) -> Card | None:
    """The card of ``folder``, or None. Raises DataError for one that cannot be read."""
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        return Card.from_json(json.loads(path.read_text()))
    except ValueError as error:
        raise DataError(f"{path} is corrupt: {error}. Remove it; collecting again writes it anew.") from error
