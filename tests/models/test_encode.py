"""Representations for other learners: they are the model's own, and stay frozen unless asked otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.examples import continuous_spec, discrete_spec

from maskbench.data.normalise import Normaliser
from maskbench.data.store import EpisodeStore
from maskbench.errors import ConfigError
from maskbench.masking.scheme import MaskSet
from maskbench.models.autoencoder import Autoencoder
from maskbench.models.encode import FrozenEncoder, encode_store
from maskbench.models.encoder import Encoder
from maskbench.models.heads import build_heads
from maskbench.tokens.layout import build_layout
from maskbench.trajectory import Episode, Window

SPEC = continuous_spec(4, 2)


def recorded() -> EpisodeStore:
    rng = np.random.default_rng(0)
    values = lambda n: {"state": rng.normal(3, 2, (n, 4)).astype("f4"), "action": rng.normal(0, 1, (n, 2)).astype("f4")}  # noqa: E731
    return EpisodeStore.from_episodes(SPEC, [Episode(values(n)) for n in (4, 7)])


def mtm(dropout: float = 0.0, **layout) -> Autoencoder:
    torch.manual_seed(0)
    chosen = build_layout(SPEC, 5, by="factor", order="stream", **layout)
    return Autoencoder(chosen, build_heads(chosen.spec, 16, {}), 2, 1, 2, 16, style="mtm", dropout=dropout)


STORE = recorded()
SCALING = Normaliser.fit(STORE, {"state": "standard"})


def own_states(model: Autoencoder, values: dict[str, torch.Tensor], visible: torch.Tensor) -> torch.Tensor:
    """Encoder states of a window in recorded units, by the model's own means: no bound, nothing cut."""
    layout = model.layout
    scaled = {f.name: SCALING.apply(f.name, values[f.name]) for f in layout.spec}
    x = layout.to_sequence(model.embed(scaled, visible)) + model._place(layout, 0)
    return model.eval().encoder(x, keys=layout.tokens_with(visible))


def test_a_single_state_is_what_the_models_encoder_makes_of_it() -> None:
    model = mtm()
    state = torch.as_tensor(STORE.array("state")[:6])
    window = {"state": torch.zeros(6, 5, 4), "action": torch.zeros(6, 5, 2)}
    window["state"][:, 0] = state
    visible = torch.zeros(6, 5, 2, dtype=torch.bool)
    visible[:, 0, 0] = True
    expected = own_states(model, window, visible)[:, model.layout.token(0, 0)]
    encoder = FrozenEncoder(model, SCALING)
    assert (encoder.inputs, encoder.width) == (("state",), 16)
    torch.testing.assert_close(encoder({"state": state}), expected)


def test_every_row_of_a_store_is_encoded_with_the_rows_before_it_in_its_episode() -> None:
    model = mtm()
    encoder = FrozenEncoder(model, SCALING, ("state", "action"), steps=3)
    result = encode_store(encoder, STORE, batch_size=4)
    assert result.shape == (11, 32)
    assert result.dtype == np.float32
    for row, before in ((0, 0), (1, 1), (3, 2), (4, 0), (5, 1), (10, 2)):
        visible = torch.zeros(1, 5, 2, dtype=torch.bool)
        visible[:, 2 - before : 3] = True
        values = {f.name: torch.zeros(1, 5, *f.shape) for f in SPEC}
        for f in SPEC:
            values[f.name][0, 2 - before : 3] = torch.as_tensor(STORE.array(f.name)[row - before : row + 1])
        expected = own_states(model, values, visible)[:, [model.layout.token(2, s) for s in range(2)]].flatten(1)
        torch.testing.assert_close(torch.as_tensor(result[row : row + 1]), expected, atol=1e-5, rtol=1e-5)


def test_other_models_give_their_last_layer_and_split_factors_are_put_together() -> None:
    torch.manual_seed(0)
    layout = build_layout(SPEC, 5, by="factor", split=["state"])
    model = Encoder(layout, build_heads(layout.spec, 16, {}), n_layer=1, n_head=2, n_embd=16, n_inner=16, positions="learned")
    encoder = FrozenEncoder(model, SCALING)
    assert (encoder.inputs, encoder.width) == (("state",), 32)
    state = torch.as_tensor(STORE.array("state")[:3])
    window = encoder.window({"state": state})
    torch.testing.assert_close(window.values["state.pose"][:, 0], SCALING.apply("state", state)[:, :2])
    visible = torch.zeros(3, 5, 3, dtype=torch.bool)
    visible[:, 0, :2] = True
    expected = model.states(Window(window.values), MaskSet(visible, ~visible), layout)[:, :2].flatten(1)
    torch.testing.assert_close(encoder({"state": state}), expected)


def test_classes_are_encoded_too() -> None:
    layout = build_layout(discrete_spec(), 4, by="factor")
    model = Autoencoder(layout, build_heads(layout.spec, 16, {}), 1, 1, 2, 16, style="mtm")
    encoder = FrozenEncoder(model, Normaliser.identity(discrete_spec()), steps=2)
    assert encoder({"state": torch.ones(3, 2, dtype=torch.long), "state_key": torch.zeros(3, 2).long()}).shape == (3, 32)


def test_a_frozen_encoder_stays_as_it_is_and_an_unfrozen_one_learns() -> None:
    state = {"state": torch.randn(8, 4)}
    frozen = FrozenEncoder(mtm(dropout=0.5), SCALING).train()
    assert torch.equal(frozen(state), frozen(state))
    assert not any(p.requires_grad for p in frozen.parameters())
    free = FrozenEncoder(mtm(dropout=0.5), SCALING, frozen=False)
    assert not torch.equal(free(state), free(state))
    free(state).square().sum().backward()
    assert free.model.embed.streams[0].weight.grad.abs().sum() > 0


def test_mistakes_are_refused() -> None:
    with pytest.raises(ConfigError, match="steps=6"):
        FrozenEncoder(mtm(), SCALING, steps=6)
    with pytest.raises(ConfigError, match="return"):
        FrozenEncoder(mtm(), SCALING, ("state", "return"))
    with pytest.raises(ConfigError, match=r"\['state'\] are missing"):
        FrozenEncoder(mtm(), SCALING)({"action": torch.zeros(1, 2)})
