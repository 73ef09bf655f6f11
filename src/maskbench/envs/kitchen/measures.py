"""What publications report of rollouts in the kitchen (BeT study 4.2), from the order in which tasks were completed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maskbench.envs.base import Measure, MetricsVersion
from maskbench.trajectory import EpisodeRecord

#: Stands for a task that was not done.
FILLER = "_"
#: Symbols that an episode contributes at least to the published task entropy: one more than a demonstration has tasks.
_LEAST = 5


def sequence(record: EpisodeRecord, width: int = 7) -> str:
    """Letters of the completed tasks in order, padded to ``width``: ``mkls___``."""
    return "".join(name.removeprefix("route:") for _, name in record.events if name.startswith("route:")).ljust(width, FILLER)


def measures(records: Sequence[EpisodeRecord], version: MetricsVersion, tasks: int) -> Iterator[Measure]:
    """Completions and diversity of ``records``; ``tasks`` = how many tasks count.

    Versions differ in the task entropy alone. ``strict``: of the completed tasks of all episodes. ``paper``: with a filler, so
    that every episode contributes five symbols at least (the study's text; its demonstrations have 2.88 bits that way), and as
    ``task_entropy_of_100`` the same averaged over random subsets of 100 episodes (the original authors). ``repstudy_legacy``:
    each distinct sequence once, however often it was played (the study's code).
    """
    done = [sequence(record).rstrip(FILLER) for record in records]
    for n in range(1, tasks + 1):
        yield Measure(f"p_{n}", f"fraction of episodes with at least {n} tasks", "rate", [len(d) >= n for d in done])
    yield Measure("tasks", "completed tasks, mean over episodes", "mean", [len(d) for d in done])
    whole = [[d.ljust(tasks, FILLER)] for d in done]
    yield Measure("sequence_entropy", "entropy in bits over the whole orders of completion", "entropy", whole)
    if version == "strict":
        yield Measure("task_entropy", "entropy in bits over all completed tasks", "entropy", done)
        return
    padded = [d.ljust(_LEAST, FILLER) for d in done]
    if version == "repstudy_legacy":
        told = "entropy in bits over the tasks of distinct orders, each counted once (a mistake of the study)"
        yield Measure("task_entropy", told, "entropy", list(dict.fromkeys(padded)))
        return
    told = f"entropy in bits over all completed tasks and the fillers that make {_LEAST} of them in every episode"
    yield Measure("task_entropy", told, "entropy", padded)
    yield Measure("task_entropy_of_100", f"{told}, mean over random subsets of 100 episodes", "subset_entropy", padded)
