"""The catalog of published data sets, and the page that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskbench.data.catalog import catalog, catalog_table, find_data_set
from maskbench.errors import DataError

README = Path(__file__).resolve().parents[2] / "data" / "README.md"


def test_the_readme_shows_the_catalog() -> None:
    text = README.read_text("utf-8")
    shown = text.split("<!-- catalog -->\n")[1].split("<!-- /catalog -->")[0]
    assert shown.strip() == catalog_table().strip(), "data/README.md is stale: paste maskbench.data.catalog.catalog_table()"


def test_every_data_set_can_be_downloaded_or_says_how_to_get_it() -> None:
    for data in catalog().values():
        assert (data.url is None) == (data.manual is not None) == (data.file is None), data.name
        assert data.url is None or data.url.startswith(("http://", "https://"))
        assert data.unpack in (None, "zip", "tar")
        assert data.licence
        assert data.checksum is None or data.checksum.split(":")[0] in ("sha256", "md5")
        assert "{" not in "".join(str(v) for v in vars(data).values()), data.name


def test_families_expand_to_the_published_addresses() -> None:
    known = catalog()
    assert known["exorl/walker/proto"].url == "https://dl.fbaipublicfiles.com/exorl/walker/proto.zip"
    base = "http://rail.eecs.berkeley.edu/datasets/offline_rl"
    assert known["d4rl/hopper-medium-replay-v2"].url == f"{base}/gym_mujoco_v2/hopper_medium_replay-v2.hdf5"
    assert known["d4rl/ant-medium-expert-v2"].url == f"{base}/gym_mujoco_v2/ant_medium_expert-v2.hdf5"
    assert known["d4rl/pen-human-v1"].url == f"{base}/hand_dapg_v1/pen-human-v1.hdf5"
    assert all(known[f"d4rl/{n}"].size is None for n in ("ant-random-v2", "door-cloned-v1"))
    assert known["d4rl/maze2d-large-v1"].url == f"{base}/maze2d/maze2d-large-sparse-v1.hdf5"
    assert (
        known["minari/D4RL/kitchen/mixed-v2"].manual
        == "minari download D4RL/kitchen/mixed-v2, then dataset.path=D4RL/kitchen/mixed-v2"
    )


def test_all_five_systems_are_covered() -> None:
    systems = " ".join(d.system for d in catalog().values())
    assert all(name in systems for name in ("MaskDP", "uniMASK", "BeT", "VIMA", "TTM"))


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(DataError, match="Did you mean 'd4rl/kitchen-mixed-v0'"):
        find_data_set("d4rl/kitchen-mixd-v0")
