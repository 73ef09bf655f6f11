"""Behavior Transformer release arrays (specification of BeT, section 2.1): padded ``.npy`` arrays and a validity mask.

================  ==============================  ==========  ==================
folder            observations                    order       mask
================  ==============================  ==========  ==================
``blockpush/``    multimodal_push_observations    batch, time  multimodal_push_masks
``kitchen/``      observations_seq                time, batch  existence_mask
``pointmass/``    observations                    batch, time  masks
================  ==============================  ==========  ==================

The release's ``.pth`` and ``.pkl`` files hold Python objects and are never opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from maskbench.data.importers.base import Imported, provenance
from maskbench.data.importers.reading import check_layout, finite, load_npy, positive
from maskbench.errors import DataError, did_you_mean
from maskbench.trajectory import Episode, Factor, TrajectorySpec


@dataclass(frozen=True)
class _Layout:
    observations: str
    actions: str
    mask: str
    time_major: bool = False


LAYOUTS: dict[str, _Layout] = {
    "blockpush": _Layout("multimodal_push_observations.npy", "multimodal_push_actions.npy", "multimodal_push_masks.npy"),
    "kitchen": _Layout("observations_seq.npy", "actions_seq.npy", "existence_mask.npy", time_major=True),
    "pointmass": _Layout("observations.npy", "actions.npy", "masks.npy"),
}


class BetImporter:
    """Reads one environment of the BeT release, or data written in its layout."""

    format: ClassVar[str] = "bet"
    expects: ClassVar[str] = (
        "a folder with multimodal_push_*.npy (blockpush), *_seq.npy + existence_mask.npy (kitchen) or "
        "observations/actions/masks.npy, or the release folder above them"
    )

    def recognises(self, path: Path) -> bool:
        return bool(_found(path))

    def read(self, path: Path, *, subset: str | None = None, limit: int | None = None) -> Imported:
        """Opens ``path``, the folder of one environment or the release above it.

        subset: ``blockpush``, ``kitchen`` or ``pointmass``; needed where ``path`` holds several.
        limit:  at most so many episodes.

        Factors: ``state`` and ``action``; final states are not part of the layout.
        Raises DataError where arrays are missing, disagree, or a mask is not a prefix of ones.
        """
        positive("limit", limit)
        path = Path(path)
        if subset is not None and subset not in LAYOUTS:
            raise DataError(f"the BeT release has no part '{subset}'. {did_you_mean(subset, LAYOUTS)}")
        found = _found(path)
        if not found:
            raise DataError(f"{path}: expected {self.expects}")
        if subset is None and len(found) > 1:
            raise DataError(f"{path}: found {', '.join(found)}; say which with subset=")
        name = subset or next(iter(found))
        if name not in found:
            raise DataError(f"{path}: expected the arrays of '{name}'; found {', '.join(found)}")
        folder, layout = found[name], LAYOUTS[name]
        arrays = {key: load_npy(folder / getattr(layout, key)) for key in ("observations", "actions", "mask")}
        for key, array in arrays.items():
            check_layout(folder / getattr(layout, key), key, array, (None, None) if key == "mask" else (None, None, None))
        lead = arrays["observations"].shape[:2]
        for key in ("actions", "mask"):
            shape = lead if key == "mask" else (*lead, None)
            check_layout(folder / getattr(layout, key), key, arrays[key], shape)
        if layout.time_major:
            arrays = {k: a.swapaxes(0, 1) for k, a in arrays.items()}
        lengths = _lengths(folder / layout.mask, np.asarray(arrays["mask"]))[:limit]
        spec = TrajectorySpec(
            (
                Factor("state", "continuous", "state", arrays["observations"].shape[2:]),
                Factor("action", "continuous", "action", arrays["actions"].shape[2:]),
            )
        )

        def episodes() -> Iterator[Episode]:
            for i, n in enumerate(lengths.tolist()):
                state = finite(folder / layout.observations, f"episode {i}", arrays["observations"][i, :n], np.float32)
                action = finite(folder / layout.actions, f"episode {i}", arrays["actions"][i, :n], np.float32)
                yield Episode({"state": state, "action": action}, meta={"index": i})

        made_by = provenance(self.format, path, subset=subset, limit=limit)
        return Imported(spec, episodes, len(lengths), f"bet_{name}", "unknown", made_by)


def _found(path: Path) -> dict[str, Path]:
    """Folder of every environment at ``path`` or one level below it in a folder of the environment's name."""
    places = {name: (path, path / name) for name in LAYOUTS}
    return {n: p for n, ps in places.items() for p in ps[::-1] if (p / LAYOUTS[n].observations).is_file()}


def _lengths(path: Path, mask: np.ndarray) -> np.ndarray:
    """Episode lengths of a ``(batch, time)`` mask of leading ones."""
    valid = mask != 0
    lengths: np.ndarray = valid.sum(axis=1)
    prefix = np.arange(mask.shape[1])[None] < lengths[:, None]
    wrong = np.flatnonzero((valid != prefix).any(axis=1) | (lengths == 0))
    if len(wrong):
        raise DataError(f"{path}: episode {int(wrong[0])}: expected ones followed by zeros, at least one; found another mask")
    return lengths
