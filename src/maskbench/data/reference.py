"""D4RL reference returns: ``normalised = 100 (return - random) / (expert - random)``.

Numbers as published with D4RL (``d4rl/infos.py``); those of the locomotion and Adroit tasks are shared by all data
qualities and versions of a task.
"""

from __future__ import annotations

import re

from maskbench.errors import DataError, did_you_mean

_BY_ID: dict[str, tuple[float, float]] = {
    "maze2d-open-v0": (0.01, 20.66),
    "maze2d-umaze-v1": (23.85, 161.86),
    "maze2d-medium-v1": (13.13, 277.39),
    "maze2d-large-v1": (6.7, 273.99),
    "maze2d-umaze-dense-v1": (68.537689, 193.66285642381482),
    "maze2d-medium-dense-v1": (44.264742, 297.4552547777125),
    "maze2d-large-dense-v1": (30.569041, 303.4857382709002),
    "kitchen-complete-v0": (0.0, 4.0),
    "kitchen-partial-v0": (0.0, 4.0),
    "kitchen-mixed-v0": (0.0, 4.0),
}
_BY_TASK: dict[str, tuple[float, float]] = {
    "halfcheetah": (-280.178953, 12135.0),
    "walker2d": (1.629008, 4592.3),
    "hopper": (-20.272305, 3234.3),
    "ant": (-325.6, 3879.7),
    "pen": (96.262799, 3076.8331017826877),
    "hammer": (-274.856578, 12794.134825156867),
    "relocate": (-6.425911, 4233.877797728884),
    "door": (-56.512833, 2880.5693087298737),
}
_LOCOMOTION = re.compile(
    r"(halfcheetah|walker2d|hopper|ant)-(random|medium|expert|medium-replay|full-replay|medium-expert)-v[012]"
)
_ADROIT = re.compile(r"(pen|hammer|relocate|door)-(human|cloned|expert)-v[01]")


def reference_returns(env_id: str) -> tuple[float, float]:
    """``(random, expert)`` reference returns of a D4RL id; raises DataError for an id without any."""
    if env_id in _BY_ID:
        return _BY_ID[env_id]
    found = _LOCOMOTION.fullmatch(env_id) or _ADROIT.fullmatch(env_id)
    if found is None:
        examples = [
            *_BY_ID,
            *(f"{t}-medium-v2" for t in ("halfcheetah", "walker2d", "hopper", "ant")),
            "pen-human-v1",
            "door-human-v1",
        ]
        raise DataError(f"no D4RL reference score is known for '{env_id}'. {did_you_mean(env_id, examples)}")
    return _BY_TASK[found[1]]


def normalised_score(env_id: str, value: float) -> float:
    """An episode return as D4RL's normalised score: 0 = random policy, 100 = expert."""
    low, high = reference_returns(env_id)
    return 100.0 * (value - low) / (high - low)
