"""The processor's description says which library is the faster one."""

from pathlib import Path

import pytest

from maskbench import arithmetic


@pytest.mark.parametrize(
    ("vendor", "family", "narrow"), [("AuthenticAMD", 26, True), ("AuthenticAMD", 25, False), ("GenuineIntel", 6, False)]
)
def test_mkl_is_narrow_on_amd_from_zen_5_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vendor: str, family: int, narrow: bool
) -> None:
    monkeypatch.setattr(arithmetic, "has_wide_vectors", lambda: True)
    told = tmp_path / "cpuinfo"
    told.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\n\nprocessor\t: 1\nvendor_id\t: other\n")
    monkeypatch.setattr(arithmetic, "CPUINFO", told)
    arithmetic.mkl_is_narrow.cache_clear()
    assert arithmetic.mkl_is_narrow() == narrow
    monkeypatch.setattr(arithmetic, "CPUINFO", tmp_path / "absent")
    arithmetic.mkl_is_narrow.cache_clear()
    assert not arithmetic.mkl_is_narrow()
    arithmetic.mkl_is_narrow.cache_clear()
