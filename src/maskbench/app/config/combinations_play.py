"""Which players fit which environments."""

from __future__ import annotations

import re

from maskbench.app.config.decode import KeyMistake
from maskbench.app.config.schema import RolloutConfig


def policies_play_text(c: RolloutConfig) -> None:
    """People and baselines play text games; other environments are for models."""
    policy = c.policy
    if not c.env.text and policy.name != "model":
        raise KeyMistake("policy", f"{policy.name} plays text games, and env={c.env.name} is none; expected policy=model")
    if policy.name == "retrieval" and policy.data is None:
        raise KeyMistake("policy.data", "retrieval copies from rollouts; give their folder, e.g. data/text/expert")
    store = c.experiment.store
    if not re.fullmatch(r"[\w.+-]+", store):
        raise KeyMistake("experiment.store", f"names a folder: letters, digits and ._+- only; found '{store}'")
