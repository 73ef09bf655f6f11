"""Teacher data of text games: clean play, play with noise from which the teacher recovers, and chance (TTM spec 4.2)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskbench.app.config.instantiate import instantiate
from maskbench.app.config.schema_env import EnvNode
from maskbench.app.config.schema_play import PolicyConfig
from maskbench.app.text_players import has_recipe, make_player
from maskbench.app.text_rollout import as_rollout
from maskbench.envs.text.family import TextGames
from maskbench.errors import ConfigError
from maskbench.policies.text_agents import AgentPolicy
from maskbench.rollout.plan import EpisodePlan, PlanRow
from maskbench.rollout.runner import RolloutRunner
from maskbench.text.rollout import TextRollout, write

CARD = "card.json"


@dataclass(frozen=True)
class Share:
    """``episodes`` of each game by the teacher with ``epsilon`` of its commands drawn at random; None = by chance alone."""

    epsilon: float | None
    episodes: int


#: Mixes by name. ``default``: for imitation; about four fifths are won. ``value``: for value conditioning, which learns nothing
#: from data in which nearly everything is won: a third of it or more is lost or left unfinished (TTM spec 6.6, lesson 4).
MIXES: dict[str, tuple[Share, ...]] = {
    "clean": (Share(0.0, 1),),
    "default": (Share(0.0, 1), Share(0.2, 3), Share(0.5, 2), Share(None, 1)),
    "value": (Share(0.0, 2), Share(0.2, 2), Share(0.5, 2), Share(0.8, 2), Share(None, 1)),
}


def read_mix(text: str) -> tuple[Share, ...]:
    """A named mix, or shares such as ``0:1,0.2:3,random:2``. Raises ConfigError for anything else."""
    if text in MIXES:
        return MIXES[text]
    try:
        pairs = [part.split(":") for part in text.split(",")]
        shares = tuple(Share(None if e == "random" else float(e), int(n)) for e, n in pairs)
    except ValueError:
        shares = ()
    if not shares or any(s.episodes < 1 or (s.epsilon is not None and not 0 <= s.epsilon <= 1) for s in shares):
        raise ConfigError(f"a mix is {', '.join(MIXES)}, or epsilon:episodes pairs such as 0:1,0.2:3,random:2; found '{text}'")
    return shares


def collect_rollouts(
    env: EnvNode,
    mix: Sequence[Share],
    about: dict[str, Any],
    *,
    games: int | None = None,
    seed: int = 0,
    workers: int = 1,
) -> list[TextRollout]:
    """The teacher's rollouts of every game of ``env``, or of ``games`` of them where any seed is one.

    about: fields of ``TextRollout`` (policy, run_id, epoch). Rollouts of a seed are the same whatever ``workers`` is.
    """
    changes: dict[str, Any] = {"expert": True} if hasattr(env, "expert") else {}
    if hasattr(env, "admissible"):
        changes["admissible"] = True
    environment: TextGames = instantiate(replace(env, **changes))
    environment.prepare(workers)
    worlds = environment.worlds or EpisodePlan.build(games or 100, seed).rows
    seeds = [w.env_seed if isinstance(w, PlanRow) else int(w) for w in worlds][: games or len(worlds)]
    rollouts: list[TextRollout] = []
    for k, share in enumerate(mix):
        name = "expert" if share.epsilon is not None else "random_admissible"
        policy = PolicyConfig(name=name, epsilon=share.epsilon or 0.0)  # type: ignore[arg-type]
        drawn = np.random.SeedSequence([seed, k]).generate_state(len(seeds) * share.episodes)
        rows = tuple(PlanRow(i, seeds[i % len(seeds)], int(s) % 2**31) for i, s in enumerate(drawn))
        factory = partial(AgentPolicy, partial(make_player, policy, has_recipe(env)))
        slots = min(16, len(rows))
        runner = RolloutRunner(environment, factory, workers, slots, record_trajectories=True, invariant=False)
        engine = "" if share.epsilon in (0.0, None) else f"epsilon={share.epsilon:g}"
        own = {"env": environment.name, "split": environment.split, "partition": "teacher", "agent": name, "engine": engine}
        rollouts += [as_rollout(record, own | about | {"labelled": False}) for record in runner.run(EpisodePlan(rows))]
    return rollouts


def store(rollouts: Sequence[TextRollout], root: Path, command: str, overwrite: bool = False) -> Path:
    """Writes rollouts of one folder and a card about them; returns the file. Raises ConfigError where it exists already."""
    file = root / rollouts[0].folder / "rollouts.jsonl"
    if file.exists() and not overwrite:
        raise ConfigError(f"{file} exists; collect under another --run_id or --store, or add --overwrite")
    write(file, rollouts)
    card = {"origin": "generated", "command": command, "rollouts": len(rollouts), **describe(rollouts)}
    part = file.with_name(f"{CARD}.part")
    part.write_text(json.dumps(card, indent=1), encoding="utf-8")
    os.replace(part, file.with_name(CARD))
    return file


def describe(rollouts: Sequence[TextRollout]) -> dict[str, Any]:
    """Steps, mean normalised score and shares of won and lost games: of all, and of each kind of player."""

    def row(part: Sequence[TextRollout]) -> dict[str, Any]:
        return {
            "rollouts": len(part),
            "steps": sum(len(r.steps) - 1 for r in part),
            "score": round(float(np.mean([r.normalised_score or 0.0 for r in part])), 4),
            "won": round(float(np.mean([r.won for r in part])), 4),
            "lost": round(float(np.mean([r.lost for r in part])), 4),
            "failed": round(float(np.mean([not r.won for r in part])), 4),
        }

    players = dict.fromkeys(" ".join(filter(None, (r.agent, r.engine))) for r in rollouts)
    own = {p: row([r for r in rollouts if " ".join(filter(None, (r.agent, r.engine))) == p]) for p in players}
    return {**row(rollouts), "players": own}
