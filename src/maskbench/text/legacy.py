"""Rollouts that the original research code pickled (``grounding_data.pkl``), read without running the pickle.

A file is a dictionary from the printed command-line namespace plus the game's file name to a list of rollouts; each rollout is
a list of triples (state, goal, command). Some lists repeat the rollouts of earlier ones: the original saved growing batches.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskbench.data.unpickle import read_pickle
from maskbench.errors import DataError
from maskbench.text.rollout import GOAL, PARTITIONS, Label, TextRollout, TextStepRecord

#: Fields of a state that have a place of their own in ``TextStepRecord``; ``hindsight_data`` is computed anew when needed.
_PLACED = {"obs", "invisible", "hindsight_summary", "hindsight_data", "hindsight_accurate", "question_data"}
_COOKING_LEVEL_2_MAX = 4.0


class LegacyTrajectory(list):
    """A list of ``[state, goal, command]``."""


class LegacyRollout(dict):
    """``trajectory``, ``goal`` and ``scores``; the pickle's attributes (agent, args, timestamp) in ``attributes``."""

    def __init__(self, *_: Any) -> None:
        super().__init__()
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.attributes = dict(state)


@dataclass(frozen=True)
class LegacyImport:
    """``rollouts`` in the file's order; ``batches[i]`` the number of the list that held rollout ``i`` (the original's unit of
    batch fitness); ``skipped`` what was left out, with the reason; ``copies`` how many repetitions were dropped."""

    rollouts: tuple[TextRollout, ...]
    batches: tuple[int, ...]
    skipped: tuple[str, ...]
    copies: int


def read_legacy(file: Path, policy: str = "legacy") -> LegacyImport:
    """Reads a pickle of the original. Raises DataError for other pickles, before anything in them is built."""
    data = read_pickle(
        file,
        classes={"trajectory.Trajectory": LegacyTrajectory, "trajectory.Rollout": LegacyRollout},
        stubs=("openai",),
        names=("trajectory.Goal", "argparse.Namespace"),
    )
    if not isinstance(data, dict):
        raise DataError(f"{file}: expected a dictionary of rollouts by command line; found {type(data).__name__}")
    rollouts, batches, skipped = [], [], []
    seen: set[str] = set()
    copies = 0
    for number, (key, batch) in enumerate(data.items()):
        options = parse_key(str(key))
        for position, legacy in enumerate(batch):
            where = f"list {number}, rollout {position}"
            fault = _fault(options, legacy)
            if fault:
                skipped.append(f"{where}: {fault}")
                continue
            rollout = _rollout(legacy, options, policy, where)
            identity = repr((rollout.timestamp, rollout.agent, rollout.engine, rollout.steps))
            copies += identity in seen
            if identity not in seen:
                seen.add(identity)
                rollouts.append(rollout)
                batches.append(number)
    return LegacyImport(tuple(rollouts), tuple(batches), tuple(skipped), copies)


def parse_key(key: str) -> dict[str, str]:
    """The options in ``"Namespace(env='zork1.z5', epoch=7, ...) game='zork1.z5'"`` as text; empty where it is another text."""
    printed = re.fullmatch(r"Namespace\((.*)\) game='(.*)'", key, re.DOTALL)
    if not printed:
        return {}
    call = ast.parse(f"f({printed[1]})", mode="eval").body
    if not isinstance(call, ast.Call):
        return {}
    pairs = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    return {**{k: str(v) for k, v in pairs.items()}, "game": printed[2]}


def _fault(options: Mapping[str, str], legacy: Any) -> str | None:
    """Why a rollout cannot be imported: only its command line says which run, environment and split it belongs to."""
    if not options:
        return "its key is no command line"
    if not isinstance(legacy, LegacyRollout) or not isinstance(legacy.get("trajectory"), list):
        return "it holds no trajectory"
    if not all(len(s) == 3 and isinstance(s[0], Mapping) for s in legacy["trajectory"]):
        return "its states are of an older form"
    return None


def _rollout(legacy: LegacyRollout, options: Mapping[str, str], policy: str, where: str) -> TextRollout:
    agent = legacy.attributes.get("agent") or {"name": options["meta_policy"], "engine": ""}
    steps = [_step(s, where) for s in legacy["trajectory"]]
    env, scores = options["env"], [float(s) for s in legacy["scores"]]
    cumulative = env.startswith("cooking")  # TextWorld counts points so far, Jericho those of one command
    rewards = [b - a for a, b in zip([0.0, *scores], scores, strict=False)] if cumulative else scores
    total = (scores[-1] if scores else 0.0) if cumulative else sum(scores)
    goals = [getattr(s[1], "goal", s[1]) for s in legacy["trajectory"]]
    partition = options["partition"]
    if partition not in PARTITIONS:  # one model's rollout was filed under 'human'
        partition = "teacher" if agent["name"] == "human" else "student_train"
    stamp = legacy.attributes.get("timestamp")
    return TextRollout(
        env=env,
        steps=_earned(steps, rewards),
        policy=policy,
        run_id=int(options["run_id"]),
        epoch=int(options["epoch"]),
        partition=partition,  # type: ignore[arg-type]
        split=options["split"],  # type: ignore[arg-type]
        game=options["game"],
        agent=str(agent["name"]),
        engine=str(agent["engine"]),
        goal=str(goals[0]) if goals else GOAL,
        objective=str(goals[-1]) if goals else "",
        score=total,
        max_score=_COOKING_LEVEL_2_MAX if env == "cooking_level_2" else None,
        won=env == "cooking_level_2" and total == _COOKING_LEVEL_2_MAX,
        labelled=any("hindsight_summary" in s[0] for s in legacy["trajectory"]),
        timestamp=stamp.isoformat() if stamp is not None else "",
    )


def _step(triple: list[Any], where: str) -> TextStepRecord:
    state, _, command = triple
    texts = {k: str(v) for k, v in state.items() if k not in _PLACED}
    question = state.get("question_data")
    if question:
        texts |= {"question": str(question.get("question", "")), "answer": str(question.get("answer", ""))}
    summary = str(state.get("hindsight_summary", ""))
    labels: tuple[Label, ...] = ()
    if summary:
        length, value = texts.pop("hindsight_length", ""), texts.pop("value", "")
        if not length.isdigit():  # a player once typed "south": kept as a word, and covering nothing
            texts["hindsight_length"], length = length, "0"
        try:
            number = float(value) if value else None
        except ValueError as error:
            raise DataError(f"{where}: expected the value of a label in 0..1; found '{value}'") from error
        accurate = state.get("hindsight_accurate")
        labels = (Label(summary, int(length), number, None if accurate is None else bool(accurate)),)
    else:
        texts = {k: v for k, v in texts.items() if v or k not in ("hindsight_length", "value")}
    return TextStepRecord(str(state["obs"]), str(command), labels=labels, texts=texts, system=bool(state.get("invisible")))


def _earned(steps: list[TextStepRecord], rewards: list[float]) -> tuple[TextStepRecord, ...]:
    """Rewards go to the real commands in order: those after the placeholder and the book-keeping."""
    earned, score = list(steps), 0.0
    real = [i for i, s in enumerate(steps) if i > 0 and not s.system]
    for i, reward in zip(real, rewards, strict=False):
        earned[i] = replace(steps[i], reward=reward, score=score)
        score += reward
    for i in real[len(rewards) :]:
        earned[i] = replace(steps[i], score=score)
    return tuple(earned)
