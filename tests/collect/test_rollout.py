"""Rollouts of frozen policies in the simulator, their files, checks and relabelling."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskbench.collect.relabel import relabel_episode, relabel_tree
from maskbench.collect.rollout import returns, rollouts
from maskbench.collect.tree import CARD, Tree, read_card, write_card
from maskbench.collect.validate import check_episode, check_tree, family_of
from maskbench.data.importers.maskdp import MaskdpImporter, write_maskdp
from maskbench.envs.dmc import DMControl
from maskbench.envs.dmc.simulator import Simulator
from maskbench.errors import ConfigError, DataError
from maskbench.trajectory import Episode

pytest.importorskip("mujoco")
pytest.importorskip("dm_control")

PUBLISHED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "maskdp_train"


def act(states: np.ndarray) -> np.ndarray:
    """Some deterministic policy of six actions."""
    return np.tanh(states[:, :6] + 0.1 * states[:, -6:])


def episodes(family: DMControl, indices: range, noise: float = 0.2) -> list[Episode]:
    wide = family.body.action_size == 12
    policy = (lambda states: np.tile(act(states), 2)) if wide else act
    return list(rollouts(family, policy, indices, seed=1, noise=noise, slots=3))


def test_an_episode_is_the_same_whichever_others_are_rolled_out() -> None:
    family = DMControl("cheetah", "run", horizon=15)
    everything, some = episodes(family, range(5)), episodes(family, range(4, 5))
    assert len(everything) == 5
    for name in family.spec.names:
        np.testing.assert_array_equal(everything[4].values[name], some[0].values[name])
    assert not np.array_equal(everything[0].values["state"], everything[1].values["state"])


def test_actions_carry_the_noise_and_stay_in_range() -> None:
    family = DMControl("walker", "walk", horizon=200)
    episode = episodes(family, range(1))[0]
    noise = episode.values["action"] - act(episode.values["state"])
    inside = np.abs(episode.values["action"]) < 1.0
    assert 0.1 < noise[inside].std() < 0.22
    assert np.abs(episode.values["action"]).max() <= 1.0


def test_returns_are_those_of_rolled_out_means() -> None:
    family = DMControl("cheetah", "run_backward", horizon=20)
    episode = episodes(family, range(1), noise=0.0)[0]
    seed = int(np.random.default_rng([1, 0]).integers(2**32))
    assert returns(family, act, [seed, seed, seed])[0] == pytest.approx(episode.values["reward"].sum(), rel=1e-5)


@pytest.mark.parametrize(("domain", "task"), [("walker", "flip"), ("cheetah", "flip_backward"), ("quadruped", "jump")])
def test_collected_episodes_come_out_of_the_simulator_again(domain: str, task: str, tmp_path: Path) -> None:
    family = DMControl(domain, task, horizon=25)
    folder = tmp_path / domain / "expert" / f"{domain}_{task}"
    write_maskdp(folder, episodes(family, range(2)))
    for check in check_tree(tmp_path):
        assert check.fault is None
        assert (check.rows, check.state, check.task) == (25, 0.0, f"{domain}_{task}")
        assert check.reward is not None
        assert check.reward < 1e-6


def test_published_episodes_come_out_of_the_simulator_again() -> None:
    if not PUBLISHED.is_dir():
        pytest.skip(f"no published episodes at {PUBLISHED}")
    files = sorted(PUBLISHED.rglob("episode_*.npz"))[::4]  # four of them need a solver that is run to its end
    for file in files:
        (check,) = check_tree(file)
        assert check.fault is None
        assert (check.rows, check.task) == (1000, "walker_walk")
        assert check.state < 1e-5
        assert check.reward is not None
        assert check.reward < 1e-6


def test_relabelling_published_episodes_for_their_own_task_changes_nothing() -> None:
    if not PUBLISHED.is_dir():
        pytest.skip(f"no published episodes at {PUBLISHED}")
    imported = MaskdpImporter().read(next(iter(sorted(PUBLISHED.rglob("episode_*.npz")))))
    episode = next(imported.episodes())
    again = relabel_episode(episode, family_of(imported.spec, "walker_walk"))
    np.testing.assert_allclose(again.values["reward"], episode.values["reward"], atol=1e-6)
    run = relabel_episode(episode, family_of(imported.spec, "run"))
    assert run.values["reward"].sum() < 0.6 * episode.values["reward"].sum()


@pytest.mark.parametrize(
    ("factor", "row", "by", "fault"),
    [
        ("state", 7, 0.01, "observation after row 6 differs by 0.01"),
        ("action", 3, 0.5, "observation after row 3 differs"),
        ("reward", 5, 0.01, "reward of row 5 differs by 0.01 from that of walker_walk"),
        ("physics", 4, 0.1, "observation after row [34] differs"),
        ("state", 9, np.nan, "observation after row 8 differs by nan"),
    ],
)
def test_a_changed_number_is_found(factor: str, row: int, by: float, fault: str) -> None:
    family = DMControl("walker", "walk", horizon=15)
    episode = episodes(family, range(1))[0]
    values = {name: array.copy() for name, array in episode.values.items()}
    values[factor][row] += by
    check = check_episode(replace(episode, values=values), family, Simulator(family.body))
    assert check.fault is not None
    assert re.search(fault, check.fault)


def test_small_deviations_of_many_rows_are_found() -> None:
    family = DMControl("walker", "walk", horizon=15)
    episode = episodes(family, range(1))[0]
    values = {**episode.values, "state": episode.values["state"] + np.float32(5e-5)}
    fault = check_episode(replace(episode, values=values), family, Simulator(family.body)).fault
    assert fault is not None
    assert "of 15 observations differ" in fault


def test_a_relabelled_tree_keeps_its_layout_and_passes_as_the_other_task(tmp_path: Path) -> None:
    family = DMControl("quadruped", "walk", horizon=12)
    write_maskdp(tmp_path / "a" / "unsup" / "rnd", episodes(family, range(2)), first_index=3)
    rows = list(relabel_tree(tmp_path / "a", tmp_path / "b", "roll_fast"))
    assert [f.relative_to(tmp_path / "b").as_posix() for f, _ in rows] == [f"unsup/rnd/episode_00000{i}_12.npz" for i in (3, 4)]
    assert all(c.fault is None for c in check_tree(tmp_path / "b", task="quadruped_roll_fast"))
    assert all(c.fault for c in check_tree(tmp_path / "b", task="walk"))
    assert all(c.reward is None and c.fault is None for c in check_tree(tmp_path / "b"))


def test_relabelling_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    family = DMControl("cheetah", "run", horizon=5)
    write_maskdp(tmp_path / "a", episodes(family, range(1)))
    with pytest.raises(DataError, match="folder of their own"):
        list(relabel_tree(tmp_path / "a", tmp_path / "a", "run"))
    with pytest.raises(ConfigError, match="no task 'stand'"):
        list(relabel_tree(tmp_path / "a", tmp_path / "b", "stand"))
    with pytest.raises(DataError, match="holds no episode"):
        list(relabel_tree(tmp_path / "none", tmp_path / "b", "run"))


def test_the_tree_is_the_published_one(tmp_path: Path) -> None:
    tree, family = Tree(tmp_path), DMControl("cheetah", "run_backward")
    cases = {
        ("train", "expert"): "maskdp_train/cheetah/expert/cheetah_run_backward",
        ("train", "sup"): "maskdp_train/cheetah/sup/cheetah_run_backward",
        ("train", "semi"): "maskdp_train/cheetah/semi/cheetah_run_backward/proto",
        ("train", "unsup"): "maskdp_train/cheetah/unsup/proto",
        ("eval", "expert"): "maskdp_eval/expert/cheetah_run_backward",
        ("eval", "unsup"): "maskdp_eval/unsup/cheetah/proto",
    }
    for (part, quality), path in cases.items():
        assert tree.folder(part, quality, family, "proto") == tmp_path / path  # type: ignore[arg-type]


def test_importers_read_quality_and_task_from_the_tree(tmp_path: Path) -> None:
    tree, family = Tree(tmp_path), DMControl("cheetah", "run", horizon=4)
    for quality in ("expert", "sup", "semi", "unsup"):
        write_maskdp(tree.folder("train", quality, family, "rnd"), episodes(family, range(1)))  # type: ignore[arg-type]
    found = [e.meta for e in MaskdpImporter().read(tmp_path / "maskdp_train" / "cheetah").episodes()]
    assert {(m["quality"], m.get("task")) for m in found} == {
        ("expert", "cheetah_run"),
        ("sup", "cheetah_run"),
        ("semi", "cheetah_run"),
        ("unsup", None),
    }


def test_a_card_holds_statistics_returns_and_hashes(tmp_path: Path) -> None:
    family = DMControl("walker", "stand", horizon=8)
    made = list(episodes(family, range(3)))
    write_maskdp(tmp_path, made)
    card = write_card(tmp_path, "walker_stand sup", "walker", "a command", "somewhere")
    totals = [float(e.values["reward"].sum()) for e in made]
    assert (card.episodes, card.steps) == (3, 24)
    assert card.returns == pytest.approx(
        {"mean": np.mean(totals), "std": np.std(totals), "min": min(totals), "max": max(totals)}
    )
    states = np.concatenate([e.values["state"] for e in made])
    np.testing.assert_allclose(card.statistics["state"]["std"], states.std(0), rtol=1e-4)
    assert set(card.hashes) == {f.name for f in tmp_path.glob("*.npz")}
    assert read_card(tmp_path) == card
    (tmp_path / CARD).write_text("{")
    with pytest.raises(DataError, match="corrupt"):
        read_card(tmp_path)
    assert read_card(tmp_path / "elsewhere") is None
