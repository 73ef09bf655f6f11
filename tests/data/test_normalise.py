import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from tests.data.worlds import SPEC, episodes

from maskbench.data.normalise import Normaliser
from maskbench.data.store import EpisodeStore
from maskbench.errors import ConfigError, DataError


@pytest.fixture
def store():
    return EpisodeStore.from_episodes(SPEC, episodes(4, 5, 6))


def test_standard_gives_zero_mean_and_unit_deviation_on_the_fitted_episodes_only(store):
    normaliser = Normaliser.fit(store, {"state": "standard"}, [2, 0])
    fitted = torch.from_numpy(store.array("state")[store.rows([0, 2])])
    out = normaliser.apply("state", fitted)
    torch.testing.assert_close(out.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(0, correction=0), torch.ones(3))
    assert Normaliser.fit(store, {"state": "standard"}).apply("state", fitted).mean(0).abs().max() > 1e-2


def test_minmax_spans_minus_one_to_one(store):
    out = Normaliser.fit(store, {"state": "minmax"}).apply("state", torch.from_numpy(store.array("state")))
    torch.testing.assert_close(out.amin(0), -torch.ones(3))
    torch.testing.assert_close(out.amax(0), torch.ones(3))


@pytest.mark.parametrize("mode", ["none", "standard", "minmax"])
@pytest.mark.parametrize("name", ["state", "state.height", "state.velocity", "reward"])
def test_invert_undoes_apply_also_for_parts(store, mode, name):
    normaliser = Normaliser.fit(store, {"state": mode})
    width = {"state": 3, "state.height": 1, "state.velocity": 2, "reward": 1}[name]
    x = torch.randn(2, 5, width, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(normaliser.invert(name, normaliser.apply(name, x)), x, atol=1e-4, rtol=1e-5)


def test_a_part_is_normalised_like_its_columns(store):
    normaliser = Normaliser.fit(store, {"state": "standard"})
    x = torch.from_numpy(store.array("state"))
    torch.testing.assert_close(normaliser.apply("state.velocity", x[:, 1:3]), normaliser.apply("state", x)[:, 1:3])


def test_constant_dimensions_are_only_centred(store):
    normaliser = Normaliser.fit(store, {"state": "standard"}, [1])
    x = torch.tensor([[0.0, 1.5, 0.0]])
    assert normaliser.apply("state", x)[0, 1] == 0.5


def test_a_factor_name_wins_over_its_role_and_discrete_factors_pass(store):
    normaliser = Normaliser.fit(store, {"simulator": "standard", "physics": "none", "reward": "minmax", "action": "standard"})
    assert normaliser.modes == {"reward": "minmax"}
    action = torch.tensor([0, 3])
    assert normaliser.apply("action", action) is action


def test_state_survives_safetensors_and_json(store):
    normaliser = Normaliser.fit(store, {"state": "standard", "reward": "minmax"})
    state = normaliser.state_dict()
    restored = Normaliser.from_state_dict({"tensors": load(save(state["tensors"])), "json": state["json"]})
    x = torch.from_numpy(store.array("state"))
    assert torch.equal(restored.apply("state.height", x[:, :1]), normaliser.apply("state.height", x[:, :1]))
    assert restored.spec == SPEC


def test_mistakes_are_named(store):
    with pytest.raises(ConfigError, match=r"normalise\.stat is neither.*'state'"):
        Normaliser.fit(store, {"stat": "standard"})
    with pytest.raises(ConfigError, match=r"normalise\.state is 'standart'.*'standard'"):
        Normaliser.fit(store, {"state": "standart"})
    with pytest.raises(ConfigError, match="'key' is discrete"):
        Normaliser.fit(store, {"key": "standard"})
    with pytest.raises(DataError, match=r"'state\.heigth' is no part.*'state\.height'"):
        Normaliser.identity(SPEC).apply("state.heigth", torch.zeros(1))


def test_statistics_are_exact_for_large_offsets():
    recorded = episodes(200, 300)
    for e in recorded:
        e.values["physics"][:] = 1e6 + np.arange(len(e))[:, None] % 2
    normaliser = Normaliser.fit(EpisodeStore.from_episodes(SPEC, recorded), {"simulator": "standard"})
    assert normaliser.invert("physics", torch.ones(2)).tolist() == [1000001.0] * 2
