"""The allow-list mirrors the classes that it builds, and nothing else can be built."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from dataclasses import MISSING, dataclass, fields
from typing import ClassVar

import pytest

from maskbench.app.config import schema  # noqa: F401 - registers every node
from maskbench.app.config.instantiate import arguments, instantiate
from maskbench.app.config.node import PREFIX, Node, argument_name, members
from maskbench.app.config.schema_env import EnvNode
from maskbench.app.config.schema_masking import BernoulliMask, Mixture, NamedTask
from maskbench.app.config.schema_model import ModelNode
from maskbench.errors import ConfigError

TARGETS = {t: n for t, n in members(Node).items() if t.startswith(PREFIX)}
#: Arguments that the application gives, not YAML (specification, layout, heads ...).
GIVEN = {"self", "spec", "layout", "heads", "head", "normaliser", "sizes", "vocab_size"}


@pytest.mark.parametrize(("target", "node"), TARGETS.items(), ids=lambda x: x if isinstance(x, str) else "")
def test_schemas_mirror_signatures(target: str, node: type[Node]) -> None:
    module, _, name = target.rpartition(".")
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not part of this tree")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    written = {argument_name(f.name): f.default for f in fields(node) if f.name not in node.labels}
    accepted = {k: p.default for k, p in parameters.items() if k not in GIVEN}
    assert set(written) == set(accepted), f"{node.__name__} and {target} differ"
    for key, default in accepted.items():
        mine = written[key]
        assert (mine is MISSING) == (default is inspect.Parameter.empty), key
        assert mine is MISSING or mine == default, key


def test_every_target_is_ours() -> None:
    assert {t.split(".")[0] for t in members(EnvNode) | members(ModelNode)} == {"maskbench"}


@dataclass(frozen=True)
class Counter(Node):
    target: ClassVar[str] = "collections.Counter"


def test_targets_outside_the_package_are_refused() -> None:
    with pytest.raises(ConfigError, match="may not be built"):
        instantiate(Counter())


def test_labels_are_not_arguments() -> None:
    env = next(n for t, n in members(EnvNode).items() if t.endswith("DoorKey"))
    assert arguments(env(name="x")) == {"size": 4, "horizon": 10, "beta": 1.0}  # type: ignore[call-arg]


def test_nested_nodes_are_built_first(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    monkeypatch.setattr(
        "maskbench.app.config.instantiate.importlib.import_module",
        lambda name: type("M", (), {n: staticmethod(lambda _n=n, **kw: built.append(_n) or (_n, kw)) for n in CLASSES}),
    )
    name, given = instantiate(Mixture({"a": NamedTask("bc"), "b": BernoulliMask(p=0.5)}), extra=1)
    assert name == "Mixture"
    assert given["schemes"]["a"] == (
        "NamedTask",
        {
            "name": "bc",
            "tiled": True,
            "legacy_wraparound": False,
            "at": None,
            "attend": "bidirectional",
        },
    )
    assert given["extra"] == 1
    assert built == ["NamedTask", "BernoulliMask", "Mixture"]


CLASSES = ("Mixture", "NamedTask", "BernoulliMask")
