"""Residual codes: further groups refine, the codec is reproducible, and nothing else is disturbed."""

from __future__ import annotations

import pytest
import torch

from maskbench.errors import DataError
from maskbench.tokens.rvq import ResidualVQ


def values(n: int = 2000) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(0))


def fitted(groups: int = 2, codes: int = 8, steps: int = 150) -> tuple[ResidualVQ, float]:
    codec = ResidualVQ(3, groups, codes, n_embd=16, n_hidden=32, steps=steps)
    return codec, codec.fit(values())


def test_a_second_code_refines_what_the_first_left() -> None:
    one, two = fitted(1)[1], fitted(2)[1]
    spread = float(values().abs().mean())
    assert two < 0.75 * one < 0.75 * spread


def test_codes_are_classes_and_decode_near_the_value() -> None:
    codec, error = fitted()
    codes = codec.encode(values(50).view(5, 10, 3))
    assert codes.shape == (5, 10, 2)
    assert codes.min() >= 0
    assert codes.max() < 8
    assert len(torch.unique(codec.encode(values())[:, 0])) == 8
    near = (codec.decode(codes) - values(50).view(5, 10, 3)).abs().mean()
    assert float(near) == pytest.approx(error, rel=0.3)


def test_few_distinct_values_are_kept_exactly_apart() -> None:
    corners = torch.eye(3).repeat(100, 1)
    codec = ResidualVQ(3, 1, 4, n_embd=16, n_hidden=32, steps=200)
    assert codec.fit(corners) < 0.05
    assert len(torch.unique(codec.encode(torch.eye(3)))) == 3


def test_fitting_is_reproducible_and_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    a, b = fitted(steps=20)[0], fitted(steps=20)[0]
    torch.manual_seed(7)
    fitted(steps=20)[0].fit(values())
    c = ResidualVQ(3, 2, 8, n_embd=16, n_hidden=32, steps=20)
    torch.manual_seed(7)
    c.fit(values())
    assert torch.equal(torch.rand(3), expected)
    for name, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[name]), name
        assert torch.equal(value, c.state_dict()[name]), name


def test_a_codec_is_frozen_and_travels_in_its_state() -> None:
    codec, _ = fitted(steps=20)
    assert not any(p.requires_grad for p in codec.parameters())
    twin = ResidualVQ(3, 2, 8, n_embd=16, n_hidden=32)
    with pytest.raises(DataError, match="never fitted"):
        twin.encode(values(3))
    twin.load_state_dict(codec.state_dict())
    assert torch.equal(twin.encode(values()), codec.encode(values()))


def test_progress_is_told() -> None:
    seen: list[tuple[int, int, float]] = []
    ResidualVQ(3, 1, 4, n_embd=8, n_hidden=8, steps=120).fit(values(), lambda *row: seen.append(row))
    assert [s[:2] for s in seen] == [(50, 120), (100, 120), (120, 120)]
