"""What was read once need not be read again: cached states are those of one pass, for text and for trees of continuations."""

import pytest
import torch

from maskbench.errors import ConfigError
from maskbench.models.branching import Tree, score
from maskbench.models.cache import KeyValueCache, extend
from maskbench.models.language import PRESETS, LanguageModel, Memory, Reading
from maskbench.models.transformer import Transformer, initialise

TINY = {"n_layer": 2, "n_head": 2, "n_embd": 16, "context": 64, "dropout": 0.0}


def model(copying: bool = True, lookback: int = 3) -> LanguageModel:
    torch.manual_seed(0)
    made = LanguageModel(50, **TINY, copying=copying, lookback=lookback).eval()  # type: ignore[arg-type]
    for p in made.parameters():
        torch.nn.init.normal_(p, 0.0, 0.3)
    return made


def at_once(language: LanguageModel, tokens: list[int]) -> torch.Tensor:
    """``(N, V)``: log-probabilities of every token behind each prefix, one pass a prefix."""
    rows = []
    for stop in range(1, len(tokens) + 1):
        prefix = torch.tensor([tokens[:stop]])
        states = language.states(prefix)
        memory: Memory = language.remember(prefix, states)
        rows.append(language.next_log_probs(states[:, -1], memory, torch.ones(1, stop, dtype=torch.bool))[0])
    return torch.stack(rows)


@torch.no_grad()
@pytest.mark.parametrize(("copying", "lookback"), [(True, 1), (True, 3), (False, 1)])
def test_cached_log_probabilities_are_those_of_one_pass_for_rows_of_any_length(copying: bool, lookback: int) -> None:
    language = model(copying, lookback)
    lengths = torch.tensor([13, 5, 20])
    tokens = torch.randint(0, 50, (3, 20))
    whole = [at_once(language, row[:n]) for row, n in zip(tokens.tolist(), lengths.tolist(), strict=True)]
    reading = Reading(language)
    reading.grow(3)
    rows, done = torch.tensor([0, 1, 2]), torch.zeros(3, dtype=torch.int64)
    while bool((done < lengths).any()):
        counts = torch.minimum(torch.tensor([4, 1, 7]), lengths - done)
        live = counts > 0
        at = (done[:, None] + torch.arange(7)).clamp(max=19)
        logp = reading.read(rows[live], tokens.gather(1, at)[live], counts[live])
        for k, i in enumerate(rows[live].tolist()):
            for j in range(int(counts[i])):
                t = int(done[i]) + j
                expected = whole[i][t - 1, tokens[i, t]] if t else torch.zeros(())
                assert (logp[k, j] - expected).abs() < 1e-4
        done += counts
        for i in rows[live].tolist():
            assert (reading.next(torch.tensor([i]))[0] - whole[i][int(done[i]) - 1]).abs().max() < 1e-4
    assert reading.lengths.tolist() == [13, 5, 20]


@torch.no_grad()
@pytest.mark.parametrize(("copying", "lookback"), [(True, 1), (True, 3), (False, 1)])
def test_a_tree_scores_each_continuation_as_if_it_stood_alone(copying: bool, lookback: int) -> None:
    language = model(copying, lookback)
    prefixes = [[3, 4, 5], [6, 7, 8, 9, 10]]
    continuations = [[[1, 2, 3], [1, 2], [1, 4, 4], [9]], [[1], [2, 2, 2, 2]]]
    reading, rows = Reading(language), torch.tensor([0, 1])
    reading.grow(2)
    tokens = torch.tensor([p + [0] * (5 - len(p)) for p in prefixes])
    reading.read(rows, tokens, torch.tensor([3, 5]))
    found = score(reading, rows, [Tree.of(c) for c in continuations])
    for prefix, row, scored in zip(prefixes, continuations, found, strict=True):
        for continuation, each in zip(row, scored, strict=True):
            logp = at_once(language, prefix + continuation)
            expected = [logp[len(prefix) - 1 + i, t] for i, t in enumerate(continuation)]
            torch.testing.assert_close(each, torch.stack(expected), atol=1e-4, rtol=0)
    assert reading.lengths.tolist() == [3, 5]


def test_trees_share_beginnings() -> None:
    tree = Tree.of([[1, 2, 3], [1, 2, 4], [5]])
    assert (tree.tokens, tree.parents, tree.paths) == ([1, 2, 3, 4, 5], [-1, 0, 1, 1, -1], [[0, 1, 2], [0, 1, 3], [4]])


@torch.no_grad()
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_any_causal_trunk_can_be_cached(norm: str) -> None:
    torch.manual_seed(0)
    trunk = Transformer(2, 2, 16, norm=norm).eval()  # type: ignore[arg-type]
    initialise(trunk, "xavier")
    x = torch.randn(2, 9, 16)
    cache, rows = KeyValueCache.for_trunk(trunk, 2), torch.arange(2)
    first, keys, values = extend(trunk, x[:, :6], cache, rows, torch.ones(1, 6, 6, dtype=torch.bool).tril())
    cache.commit(rows, keys, values, torch.tensor([6, 6]))
    second, _, _ = extend(trunk, x[:, 6:], cache, rows, torch.ones(1, 3, 3, dtype=torch.bool).tril())
    torch.testing.assert_close(torch.cat([first, second], 1), trunk(x, causal=True), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_cleared_row_forgets_and_the_others_do_not() -> None:
    reading, rows = Reading(model()), torch.tensor([0, 1])
    reading.grow(2)
    tokens = torch.randint(0, 50, (2, 6))
    reading.read(rows, tokens, torch.tensor([6, 6]))
    before = reading.next(rows)
    reading.clear(0)
    reading.read(torch.tensor([0]), tokens[:1], torch.tensor([6]))
    torch.testing.assert_close(reading.next(rows), before, atol=1e-5, rtol=0)
    assert reading.lengths.tolist() == [6, 6]


@pytest.mark.parametrize(("preset", "millions"), [("xs", 0.23), ("s", 1.05), ("m", 5.24)])
def test_presets_have_the_sizes_of_the_specification(preset: str, millions: float) -> None:
    n_layer, n_head, n_embd = PRESETS[preset]
    language = LanguageModel(1200, n_layer, n_head, n_embd, copying=False)
    assert sum(p.numel() for p in language.parameters()) / 1e6 == pytest.approx(millions, rel=0.05)


def test_texts_beyond_the_context_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"raise model\.context"):
        model().states(torch.zeros(1, 65, dtype=torch.int64))
