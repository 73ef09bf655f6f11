"""A generation that is interrupted goes on where it stopped, and ends in the bytes of one that was not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests.data.worlds import SPEC, episode

import maskbench
from maskbench.data.growing import Keep
from maskbench.data.shards import unfinished_folder
from maskbench.data.store import EpisodeStore, grow_store
from maskbench.errors import DataError

ABOUT = {"name": "s", "env": "x", "origin": "generated", "command": "", "licence": "", "provenance": ""}
VERSIONS = {"simulator": "1"}
QUIET = Console(quiet=True)
COUNT = 9


class Lines:
    """Keeps a line an episode."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "lines.txt").open("a")

    def add(self, number, episode) -> None:
        self._file.write(f"{number} {episode.meta['mode']}\n")

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


KEEP = Keep("lines", Lines)


def grow(path: Path, made: list[int] | None = None, stop: int | None = None, final=lambda i: True, **about) -> EpisodeStore:
    """Makes ``COUNT`` episodes, a shard each; ``made`` gets their numbers, ``stop`` is the first that fails."""

    def make(first: int):
        for i in range(first, COUNT):
            if i == stop:
                raise KeyboardInterrupt
            if made is not None:
                made.append(i)
            yield episode(i, 4 + i % 3, final=final(i))

    options = {"versions": VERSIONS, "keep": KEEP, "console": QUIET, "seconds": 0.0} | ABOUT | about
    return grow_store(path, SPEC, COUNT, make, **options)


def interrupted(path: Path, at: int = 5, **about) -> Path:
    with pytest.raises(KeyboardInterrupt):
        grow(path, stop=at, **about)
    assert not path.exists()
    return unfinished_folder(path)


def contents(path: Path) -> dict[str, bytes]:
    """Every file of a store and of what is kept beside it, the card's date apart."""
    folders = (path, KEEP.beside(path))
    return {f"{f.parent.name}/{f.name}": f.read_bytes() for folder in folders for f in sorted(folder.iterdir())}


@pytest.fixture
def whole(tmp_path) -> dict[str, bytes]:
    grow(tmp_path / "whole" / "s").verify()
    return contents(tmp_path / "whole" / "s")


@pytest.mark.parametrize("at", [1, 5, COUNT - 1])
def test_an_interrupted_generation_goes_on_where_it_stopped_and_ends_in_the_same_bytes(tmp_path, whole, at):
    folder, made = interrupted(tmp_path / "s", at), []
    assert folder.exists()
    grow(tmp_path / "s", made).verify()
    assert made == list(range(at, COUNT))
    assert contents(tmp_path / "s") == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s", "s.lines", "whole"]


def test_what_came_after_the_last_whole_shard_is_cut_off(tmp_path, whole):
    folder, made = interrupted(tmp_path / "s"), []
    for path in (folder / "state.npy", folder / "meta.jsonl", folder / "lines" / "lines.txt", folder / "shards.jsonl"):
        path.write_bytes(path.read_bytes() + b'{"half of a')
    (folder / "final.reward.npy").write_bytes(b"left over")
    grow(tmp_path / "s", made)
    assert made[0] == 5
    assert contents(tmp_path / "s") == whole


@pytest.mark.parametrize("name", ["state.npy", "ends.npy", "final.key.npy", "meta.jsonl", "lines/lines.txt"])
def test_a_damaged_shard_and_those_after_it_are_made_again(tmp_path, whole, name):
    folder, made = interrupted(tmp_path / "s"), []
    shards = [json.loads(line) for line in (folder / "shards.jsonl").read_text().splitlines()[1:]]
    damaged = bytearray((folder / name).read_bytes())
    damaged[shards[2]["files"][name][0] - 1] ^= 1  # the last byte of the third shard
    (folder / name).write_bytes(damaged)
    grow(tmp_path / "s", made)
    assert made[0] == 2
    assert contents(tmp_path / "s") == whole


@pytest.mark.parametrize("name", ["action.npy", "lines/lines.txt"])
def test_a_missing_file_means_to_begin_anew(tmp_path, whole, name):
    folder, made = interrupted(tmp_path / "s"), []
    (folder / name).unlink()
    grow(tmp_path / "s", made)
    assert made[0] == 0
    assert contents(tmp_path / "s") == whole


def test_shards_of_another_simulator_are_not_gone_on_with(tmp_path):
    made = []
    interrupted(tmp_path / "s")
    store = grow(tmp_path / "s", made, versions={"simulator": "2"})
    assert made[0] == 0
    assert store.card.versions == {"simulator": "2"}


def test_a_finished_store_is_opened_and_never_made_again(tmp_path):
    made = []
    grow(tmp_path / "s", made)
    grow(tmp_path / "s", made, stop=0)
    assert made == list(range(COUNT))


@pytest.mark.parametrize("moved", [False, True])
def test_an_interruption_of_the_last_step_costs_no_episode(tmp_path, whole, monkeypatch, moved):
    """Before the folder is renamed; with ``moved``, what is kept beside it has already moved."""
    name = "_rename" if moved else "replace_folder"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"maskbench.data.store.{name}", killed)
        with pytest.raises(KeyboardInterrupt):
            grow(tmp_path / "s")
    assert KEEP.beside(tmp_path / "s").exists() == moved
    grow(tmp_path / "s", stop=0)
    assert contents(tmp_path / "s") == whole


def test_final_states_that_some_episodes_lack_are_left_out_after_an_interruption_too(tmp_path):
    interrupted(tmp_path / "s", 5, final=lambda i: i != 3)
    made = []
    grow(tmp_path / "s", made, final=lambda i: i != 3).verify()
    assert made[0] == 5
    assert not list((tmp_path / "s").glob("final.*"))


def test_faults_are_named_by_the_number_of_their_episode_after_an_interruption(tmp_path):
    interrupted(tmp_path / "s")

    def make(first):
        for i in range(first, COUNT):
            found = episode(i, 4)
            if i == 7:
                found.values["state"][2, 0] = np.nan
            yield found

    with pytest.raises(DataError, match="episode 7, row 2"):
        grow_store(tmp_path / "s", SPEC, COUNT, make, versions=VERSIONS, keep=KEEP, console=QUIET, seconds=0.0, **ABOUT)


def test_no_episodes_are_refused(tmp_path):
    with pytest.raises(DataError, match="at least one episode"):
        grow_store(tmp_path / "s", SPEC, 0, lambda first: (), versions=VERSIONS, console=QUIET, **ABOUT)


def test_a_second_process_waits_for_the_first_and_opens_its_store(tmp_path):
    begun, go_on, made = threading.Event(), threading.Event(), []

    def slow(first):
        for i in range(first, COUNT):
            begun.set()
            assert go_on.wait(10)
            made.append(i)
            yield episode(i, 4)

    def run():
        grow_store(tmp_path / "s", SPEC, COUNT, slow, versions=VERSIONS, console=QUIET, **ABOUT)

    threads = [threading.Thread(target=run) for _ in range(2)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    threading.Timer(0.2, go_on.set).start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert made == list(range(COUNT))
    EpisodeStore.open(tmp_path / "s").verify()


SCRIPT = """
import sys, time
from pathlib import Path
from maskbench.data.dataset import load_dataset
from maskbench.app.experiment import keep_prompts
from maskbench.envs.tabletop import Tabletop

import maskbench.data.store
maskbench.data.store.grow_store.__kwdefaults__["seconds"] = 0.3
env = Tabletop(["visual_manipulation", "rotate"], observe="objects")
options = {"workers": int(sys.argv[2])}
load_dataset(env, generate={"episodes": 80, "seed": 1, "options": options}, root=sys.argv[1], keep=keep_prompts(env))
"""


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_generation_of_the_tabletop_resumes(tmp_path, workers):
    def begin(root: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", SCRIPT, str(root), str(workers)]
        here = {**os.environ, "PYTHONPATH": str(Path(maskbench.__file__).parents[1])}
        return subprocess.Popen(command, stderr=subprocess.PIPE, env=here)

    killed = begin(tmp_path / "killed")
    try:
        deadline = time.monotonic() + 60
        journal = None
        while journal is None or journal.read_text().count('"episodes"') < 2:
            assert killed.poll() is None, killed.stderr.read().decode()  # type: ignore[union-attr]
            assert time.monotonic() < deadline
            time.sleep(0.05)
            journal = next((tmp_path / "killed").glob("generated/.*/shards.jsonl"), None)
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
    assert not list((tmp_path / "killed").glob("generated/*/card.json"))
    resumed, whole = begin(tmp_path / "killed"), begin(tmp_path / "whole")
    said = resumed.communicate()[1].decode()
    assert resumed.returncode == 0, said
    assert "going on with tabletop-" in said
    assert whole.wait() == 0
    (name,) = (p.parent.name for p in (tmp_path / "whole").glob("generated/*/card.json"))
    for folder in (name, f"{name}.prompts"):
        files = sorted(p.name for p in (tmp_path / "whole/generated" / folder).iterdir())
        assert files == sorted(p.name for p in (tmp_path / "killed/generated" / folder).iterdir())
        for file in files:
            one, other = (tmp_path / root / "generated" / folder / file for root in ("whole", "killed"))
            assert one.read_bytes() == other.read_bytes(), file
