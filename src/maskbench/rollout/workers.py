"""Rows of a plan dealt to spawned processes; records come back one by one as episodes end."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from maskbench.envs.base import Environment
from maskbench.errors import ConfigError
from maskbench.rollout.plan import PlanRow
from maskbench.rollout.policy import Policy
from maskbench.trajectory import EpisodeRecord

#: Each process computes on one thread: they share the machine's cores.
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def play_in_workers(
    environment: Environment,
    policy_factory: Callable[[], Policy],
    dealt: Sequence[Sequence[PlanRow]],
    options: Mapping[str, Any],
) -> Iterator[tuple[EpisodeRecord, np.ndarray | None]]:
    """Plays ``dealt[i]`` in process ``i`` (``options`` as for ``play``); yields results in the order of their arrival.

    Raises ConfigError where the environment or the factory cannot be sent to another process, the worker's own exception
    with its traceback as cause, or RuntimeError where a process died. The other processes are stopped then.
    """
    job = {"environment": _packed("environment", environment), "policy_factory": _packed("policy_factory", policy_factory)}
    context = multiprocessing.get_context("spawn")
    processes, lines = [], {}
    try:
        for i, rows in enumerate(dealt):
            mine, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(theirs, job, rows, dict(options)), name=f"rollout-{i}", daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            lines[mine] = (process, {row.row for row in rows})
        while lines:
            for line in wait(list(lines)):
                assert isinstance(line, Connection)
                process, missing = lines[line]
                try:
                    kind, content = line.recv()
                except EOFError:
                    process.join()
                    raise RuntimeError(
                        f"{process.name} died with exit code {process.exitcode}; its unfinished rows: {sorted(missing)[:20]}"
                    ) from None
                if kind == "record":
                    missing.discard(content[0].row)
                    yield content
                elif kind == "error":
                    raise content[0] from RuntimeError(f"in {process.name}:\n{content[1]}")
                else:
                    del lines[line]
                    process.join()
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
            process.join()


def _packed(what: str, thing: object) -> bytes:
    try:
        return pickle.dumps(thing)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"workers > 1 sends the {what} to other processes, but {thing!r} cannot be pickled ({error}). "
            "Use a class or function defined at the top of a module, functools.partial for its arguments, or workers=1."
        ) from error


def _work(line: Connection, job: Mapping[str, bytes], rows: Sequence[PlanRow], options: Mapping[str, Any]) -> None:
    """A worker's whole life."""
    for name in _ONE_THREAD:  # before the job's modules import torch
        os.environ[name] = "1"
    from maskbench.rollout.runner import play

    try:
        environment, policy_factory = (pickle.loads(job[k]) for k in ("environment", "policy_factory"))
        for result in play(environment, policy_factory(), rows, **options):
            line.send(("record", result))
    except Exception as error:
        line.send(("error", (_sendable(error), traceback.format_exc())))
    else:
        line.send(("end", None))
    line.close()


def _sendable(error: Exception) -> Exception:
    """The exception itself where it survives pickling (its notes travel along), else a RuntimeError that quotes it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # any failure of foreign pickling code means the same: it cannot be sent
        told = RuntimeError(f"{type(error).__name__}: {error}")
        for note in getattr(error, "__notes__", ()):
            told.add_note(note)
        return told
    return error
