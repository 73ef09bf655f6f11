"""The comparisons with BeT's published code feed both sides the same; the published code itself is not tested here."""

from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.published_bet import (
    BATCH,
    BINS,
    FILES,
    LAYERS,
    MASKS,
    WIDTH,
    WINDOW,
    Published,
    as_ours,
    as_published,
    check_equal,
    products_alone,
)
from benchmarks.pybullet_blockpush import BLOCK, BLOCKS, OFFSETS, SPEEDS, OurTable, apart, by_expert, one_step, push, replay
from torch import Tensor, nn

from maskbench.data.importers.bet import BetImporter
from maskbench.data.store import EpisodeStore
from maskbench.data.windows import WindowSampler
from maskbench.envs.blockpush import MODES, BlockPush
from maskbench.envs.blockpush.layout import Layout, draw_layout

pytest.importorskip("mujoco")


@pytest.fixture(scope="module")
def store() -> EpisodeStore:
    environment = BlockPush()
    return EpisodeStore.from_episodes(environment.spec, environment.generate(3, 0))


@pytest.fixture(scope="module")
def layout() -> Layout:
    return draw_layout(np.random.default_rng(1))


class Reference(nn.Module):
    """minGPT with the parameter names of the published code, written out (bet.md section 1.3)."""

    def __init__(self) -> None:
        super().__init__()
        self.tok_emb, self.ln_f = nn.Linear(16, WIDTH), nn.LayerNorm(WIDTH)
        self.pos_emb, self.head = nn.Parameter(torch.zeros(1, WINDOW, WIDTH)), nn.Linear(WIDTH, 3 * BINS, bias=False)
        self.blocks = nn.ModuleList()
        for _ in range(LAYERS):
            block = nn.Module()
            block.ln1, block.ln2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            block.attn = nn.ModuleDict({part: nn.Linear(WIDTH, WIDTH) for part in ("query", "key", "value", "proj")})
            block.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
            self.blocks.append(block)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        x = self.tok_emb(x) + self.pos_emb[:, : x.shape[1]]
        for block in self.blocks:
            attn, y = block.attn, block.ln1(x)
            q, k, v = (attn[part](y).unflatten(-1, (4, -1)).transpose(1, 2) for part in ("query", "key", "value"))
            score = (q @ k.mT / (WIDTH // 4) ** 0.5).masked_fill(torch.ones(x.shape[1], x.shape[1]).triu(1).bool(), -torch.inf)
            x = x + attn["proj"]((score.softmax(-1) @ v).transpose(1, 2).flatten(2))
            x = x + block.mlp(block.ln2(x))
        return self.head(self.ln_f(x)), None


def test_weights_of_the_published_network_answer_the_same_in_ours(store: EpisodeStore) -> None:
    torch.manual_seed(3)
    theirs = Reference()
    for p in theirs.parameters():
        nn.init.normal_(p, std=0.2)
    centres = torch.randn(BINS, 2)
    ours = as_ours(theirs, centres, store)
    check_equal(theirs, ours)
    assert ours.num_parameters == 259_488
    assert torch.equal(ours.head("action").get_buffer("centres"), centres)
    with torch.no_grad():
        theirs.pos_emb += torch.randn_like(theirs.pos_emb)
    with pytest.raises(SystemExit, match="answer differently"):
        check_equal(theirs, ours)


def test_episodes_come_back_from_the_published_layout(store: EpisodeStore, tmp_path: Path) -> None:
    as_published(store, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {*FILES.values(), MASKS}
    masks = np.load(tmp_path / MASKS).astype(bool)
    assert masks.sum(1).tolist() == store.lengths.tolist()
    for name, file in FILES.items():
        padded = np.load(tmp_path / file)
        np.testing.assert_array_equal(padded[masks], store.array(name))
        assert not padded[~masks].any()
    imported = list(BetImporter().read(tmp_path).episodes())
    np.testing.assert_array_equal(np.concatenate([e.values["state"] for e in imported]), store.array("state"))


def test_an_epoch_has_the_published_number_of_windows(store: EpisodeStore) -> None:
    sampler = WindowSampler(store, WINDOW, BATCH, 0, legacy_slicing=True)
    assert sampler.num_windows == sum(length - WINDOW for length in store.lengths)


def test_a_folder_without_the_published_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="name a checkout"):
        Published(tmp_path)


def test_our_table_begins_where_a_layout_says(layout: Layout) -> None:
    state = OurTable().reset(layout)
    np.testing.assert_allclose(state[:6], layout.blocks.ravel(), atol=1e-6)
    np.testing.assert_allclose(state[10:], layout.zones.ravel(), atol=1e-6)


def test_replayed_actions_of_the_same_world_end_where_they_did(layout: Layout) -> None:
    table = OurTable()
    run = by_expert(table, layout, MODES[0])
    assert run.success
    again = replay(table, layout, run.actions)
    assert again.success
    assert apart(run, again) == {"rod": 0.0, "steps": len(run.actions), "block": 0.0, "turn": 0.0}


def test_runs_that_part_are_told_apart(layout: Layout) -> None:
    run = by_expert(OurTable(), layout, MODES[0])
    states = run.states.copy()
    states[40:, BLOCKS[1]] += (0.03, 0.04)
    states[:, 6] += 0.002
    states[-1, 5] += np.pi / 2 - 2 * np.pi
    found = apart(run, type(run)(states, run.actions, True))
    assert found == pytest.approx({"rod": 2.0, "steps": 40, "block": 50.0, "turn": 90.0}, rel=1e-3)


def test_one_step_of_the_same_world_from_the_same_state_hardly_differs(layout: Layout) -> None:
    table = OurTable()
    found = one_step(table, [by_expert(table, layout, MODES[0])])
    assert found["steps"] > 20
    assert found["off"] < 0.2 * found["moved"]


@pytest.mark.parametrize("speed", SPEEDS)
def test_a_push_beside_the_centre_turns_the_block(speed: float) -> None:
    table, turns = OurTable(), []
    for offset in OFFSETS:
        layout, actions = push(speed, offset)
        states = replay(table, layout, actions).states
        before = states[20, BLOCKS[0]]
        np.testing.assert_allclose(before, BLOCK, atol=1e-4)  # the approach touches nothing
        turns.append(float(states[-1, 2]))
    assert turns[0] == pytest.approx(0.0, abs=0.02)
    assert min(turns[1:]) > 0.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_products_alone_are_all_that_training_multiplies(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    asked: list[int] = []

    def counted(a: Tensor, b: Tensor) -> None:
        assert (a.dtype, b.dtype, a.shape[1]) == (dtype, dtype, b.shape[1])
        asked.append(2 * a.shape[0] * a.shape[1] * b.shape[0])

    network = Reference()
    monkeypatch.setattr("benchmarks.published_bet.product", counted)
    products_alone(network, 10, 3, dtype)()
    weights = sum(m.weight.numel() for m in network.modules() if isinstance(m, nn.Linear))
    assert sum(asked) == 3 * 3 * 2 * 10 * weights
