"""Which stored rollouts a training job may learn from (spec §1.3), on typed fields."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from maskbench.text.rollout import Partition, TextRollout


@dataclass(frozen=True)
class Admission:
    """The job at ``(run_id, epoch, partition)``. A rollout of the same run is admitted to a

    ``teacher`` or ``student_train`` job  from epochs up to its own, unless it is of ``student_test``;
    ``student_test`` job                  from earlier epochs unless of ``student_test``; of its own only from the teacher;

    and only with hindsight asked for, and a listed agent, engine, split, epoch and environment; None lists all.
    """

    run_id: int = 0
    epoch: int = 0
    partition: Partition = "teacher"
    agents: Collection[str] | None = ("human",)
    splits: Collection[str] | None = ("train",)
    epochs: Collection[int] | None = None
    envs: Collection[str] | None = None
    engines: Collection[str] | None = None
    labelled: bool = True

    def of_this_job(self, run_id: int, epoch: int, partition: str) -> bool:
        """The rule on run, epoch and partition alone."""
        if run_id != self.run_id or partition == "student_test":
            return False
        if self.partition != "student_test":
            return epoch <= self.epoch
        return epoch < self.epoch or (epoch == self.epoch and partition != "student_train")

    def admits(self, rollout: TextRollout) -> bool:
        lists = (
            (self.agents, rollout.agent),
            (self.splits, rollout.split),
            (self.epochs, rollout.epoch),
            (self.envs, rollout.env),
            (self.engines, rollout.engine),
        )
        return (
            self.of_this_job(rollout.run_id, rollout.epoch, rollout.partition)
            and all(allowed is None or found in allowed for allowed, found in lists)
            and (rollout.labelled or not self.labelled)
        )

    def filter(self, rollouts: Iterable[TextRollout]) -> Iterator[TextRollout]:
        return (r for r in rollouts if self.admits(r))
