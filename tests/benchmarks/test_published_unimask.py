"""The comparison with published code feeds it our episodes unchanged; the published code itself is not tested here."""

from pathlib import Path

import pytest
import torch
from benchmarks.published_unimask import Published, as_published

from maskbench.data.store import EpisodeStore
from maskbench.envs.doorkey import DoorKey


def test_episodes_keep_their_values_as_one_hot_codes() -> None:
    environment = DoorKey()
    store = EpisodeStore.from_episodes(environment.spec, environment.generate(20, 0))
    coded = as_published(store)
    assert {len(v) for v in coded.values()} == {20}
    named = {"state": ("state", 16), "state_key": ("state_key_pos", 16), "action": ("action", 4), "rtg": ("rtg", 17)}
    for ours, (theirs, width) in named.items():
        values = torch.cat(coded[theirs])
        assert values.shape[-1] == width
        assert torch.equal(values.argmax(-1), torch.as_tensor(store.array(ours)).long())


def test_a_folder_without_the_published_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="name a checkout"):
        Published(tmp_path)
