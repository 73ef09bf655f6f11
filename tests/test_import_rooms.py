"""Who may import whom, and the house rules that a parser can check: every module under ``src`` is read, none is run."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src"
MODULES = sorted(p for p in SRC.rglob("*.py") if ".egg-info" not in str(p))
MAX_LINES = 400

#: room -> what it may import besides itself and ``maskbench.errors``. A dotted name allows that one module of a room.
DATA_SIDE = ("trajectory", "prompt", "objects", "data", "text", "tokens", "masking", "models", "training")
ROOMS: dict[str, set[str]] = {room: set(DATA_SIDE[:i]) for i, room in enumerate(DATA_SIDE)} | {
    "models": {*DATA_SIDE[:-2], "arithmetic"},
    "training": {*DATA_SIDE[:-1], "memory"},
    "errors": set(),
    "arithmetic": set(),
    "memory": set(),
    "envs": {"trajectory", "prompt", "objects"},
    "collect": {"trajectory", "data", "envs", "training"},
    "rollout": {"trajectory", "prompt", "objects", "envs", "memory", "arithmetic"},
    "policies": {*DATA_SIDE[:-1], "envs", "rollout.policy", "rollout.plan"},
    "reports": {"trajectory"},
}
#: These may import everything; nothing but themselves may import them.
TOP = {"app", "__main__", "testing"}

#: Packages of the extras: imported inside the function that needs them, so that the base install imports every module.
EXTRA_PACKAGES = {
    *("h5py", "minari", "mujoco", "dm_control", "dm_env", "gymnasium_robotics", "tensorboard", "wandb", "optuna", "joblib"),
    *("submitit", "transformers", "tokenizers", "textworld", "jericho", "pybullet", "pytest", "hypothesis"),
}
#: Test helpers under maskbench.testing may use the test tools.
TEST_TOOLS = {"pytest", "hypothesis"}

#: Modules that unpickle what another process of the same program has just pickled, never a file.
BETWEEN_PROCESSES = {"maskbench.rollout.workers"}


def name_of(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_type_checking(node: ast.AST) -> bool:
    if not isinstance(node, ast.If):
        return False
    return ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def nodes(tree: ast.AST, *, into_functions: bool = True) -> Iterator[ast.AST]:
    """Everything in ``tree`` that runs; bodies of ``if TYPE_CHECKING`` do not."""
    for child in ast.iter_child_nodes(tree):
        if is_type_checking(child):
            for other in child.orelse:
                yield other
                yield from nodes(other, into_functions=into_functions)
            continue
        yield child
        if into_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from nodes(child, into_functions=into_functions)


def imports(tree: ast.AST, module: str, is_package: bool, *, into_functions: bool = True) -> Iterator[tuple[str, int]]:
    """(absolute dotted name, line) of each import; ``from a import b`` gives ``a.b``."""
    for node in nodes(tree, into_functions=into_functions):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def room_faults(module: str, tree: ast.AST, is_package: bool) -> list[str]:
    own = module.split(".")[1] if "." in module else ""
    if own in TOP:
        return []
    if own and own not in ROOMS:
        return [f"room '{own}' is unknown: give it a line in ROOMS"]
    allowed = ROOMS.get(own, set())
    faults = []
    for target, line in imports(tree, module, is_package):
        parts = target.split(".")
        if parts[0] != "maskbench" or len(parts) == 1 or parts[1] in {own, "errors", "__version__"}:
            continue
        if parts[1] not in allowed and ".".join(parts[1:3]) not in allowed:
            faults.append(f"line {line}: {own or 'the package'} may not import {target}")
    return faults


def style_faults(tree: ast.AST, module: str = "") -> list[str]:
    """Rules of the house that linters leave alone; data and checkpoints are never unpickled."""
    faults = []
    for node in ast.walk(tree):
        where = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            faults.append(f"{where}: bare except")
        if isinstance(node, ast.ExceptHandler) and all(isinstance(n, ast.Pass) for n in node.body) and _catches_all(node):
            faults.append(f"{where}: an except that hides everything")
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if called == "print":
            faults.append(f"{where}: print (people read the rich console, data goes to files)")
        if keywords.get("allow_pickle", "False") != "False":
            faults.append(f"{where}: allow_pickle={keywords['allow_pickle']}")
        if called == "torch.load" and keywords.get("weights_only") != "True":
            faults.append(f"{where}: torch.load without weights_only=True unpickles")
        package, _, function = called.rpartition(".")
        loads = {"load", "Unpickler"} if module in BETWEEN_PROCESSES else {"load", "loads", "Unpickler"}
        if package.lstrip("_") in {"pickle", "dill", "cloudpickle", "joblib"} and function in loads:
            faults.append(f"{where}: {called} unpickles; legacy files go through a subclass with its own find_class")
    return faults


def _catches_all(handler: ast.ExceptHandler) -> bool:
    return handler.type is not None and ast.unparse(handler.type) in {"Exception", "BaseException"}


def loose_unpicklers(tree: ast.AST) -> list[str]:
    """Subclasses of ``Unpickler`` that do not restrict which names a pickle may reach."""
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).endswith("Unpickler") for base in node.bases)
        and not any(isinstance(item, ast.FunctionDef) and item.name == "find_class" for item in node.body)
    ]


@pytest.fixture(params=MODULES, ids=name_of)
def module(request) -> tuple[str, ast.Module, Path]:
    return name_of(request.param), ast.parse(request.param.read_text()), request.param


def test_rooms_import_only_what_the_design_allows(module):
    name, tree, path = module
    if name.split(".")[0] == "maskbench":
        assert room_faults(name, tree, path.name == "__init__.py") == []


def test_extras_are_imported_where_they_are_used(module):
    name, tree, path = module
    forbidden = EXTRA_PACKAGES - (TEST_TOOLS if name.startswith("maskbench.testing") else set())
    found = imports(tree, name, path.name == "__init__.py", into_functions=False)
    assert [(target, line) for target, line in found if target.split(".")[0] in forbidden] == []


def test_modules_keep_the_house_rules(module):
    name, tree, path = module
    assert style_faults(tree, name) == []
    assert loose_unpicklers(tree) == []
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_LINES, f"{lines} lines: a file is one idea, {MAX_LINES} lines at most"
    assert path.name != "utils.py"


def run_python(code: str) -> str:
    environ = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", code], env=environ, check=True, capture_output=True, text=True).stdout


def test_importing_the_package_brings_nothing_but_the_standard_library():
    code = "import sys; before = set(sys.modules); import maskbench; print(*sorted(set(sys.modules) - before))"
    foreign = {name.split(".")[0] for name in run_python(code).split()} - set(sys.stdlib_module_names)
    assert foreign == {"maskbench"}


def test_importing_the_package_takes_a_fraction_of_the_interpreters_own_start():
    code = "import time; t = time.perf_counter(); import maskbench; print(time.perf_counter() - t)"
    assert min(float(run_python(code)) for _ in range(3)) < 0.1


def test_reports_import_without_torch():
    names = [name for name in map(name_of, MODULES) if name.startswith("maskbench.reports")]
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    assert run_python(code).strip() == "False"


@pytest.mark.parametrize(
    ("module", "line", "allowed"),
    [
        ("maskbench.masking.scheme", "from maskbench.tokens.layout import TokenLayout", True),
        ("maskbench.tokens.layout", "from maskbench.masking.scheme import MaskScheme", False),
        ("maskbench.tokens.layout", "from maskbench import masking", False),
        ("maskbench.tokens.layout", "from ..masking import scheme", False),
        ("maskbench.tokens.layout", "from .continuous import Encoder", True),
        ("maskbench.tokens.layout", "from maskbench.errors import ConfigError", True),
        ("maskbench.tokens.layout", "def f():\n    import maskbench.models", False),
        ("maskbench.tokens.layout", "if TYPE_CHECKING:\n    import maskbench.models", True),
        ("maskbench.rollout.runner", "from maskbench.policies.masked import MaskedPolicy", False),
        ("maskbench.policies.masked", "from maskbench.rollout.policy import Policy", True),
        ("maskbench.policies.masked", "from maskbench.rollout.runner import RolloutRunner", False),
        ("maskbench.envs.kitchen", "from maskbench.data.store import EpisodeStore", False),
        ("maskbench.app.train", "from maskbench.reports.html import write", True),
        ("maskbench.training.trainer", "from maskbench.app import train", False),
        ("maskbench.somewhere.new", "import os", False),
    ],
)
def test_the_room_check_tells_right_from_wrong(module, line, allowed):
    assert (room_faults(module, ast.parse(line), is_package=False) == []) is allowed


@pytest.mark.parametrize(
    ("code", "faulty"),
    [
        ("try:\n    f()\nexcept:\n    raise", True),
        ("try:\n    f()\nexcept Exception:\n    pass", True),
        ("try:\n    f()\nexcept KeyError:\n    pass", False),
        ("np.load(path, allow_pickle=True)", True),
        ("np.load(path, allow_pickle=False)", False),
        ("pickle.load(file)", True),
        ("torch.load(path)", True),
        ("torch.load(path, weights_only=True)", False),
        ("print(1)", True),
        ("console.print(1)", False),
    ],
)
def test_the_style_check_tells_right_from_wrong(code, faulty):
    assert bool(style_faults(ast.parse(code))) is faulty


def test_an_unpickler_has_to_restrict_its_names():
    assert loose_unpicklers(ast.parse("class Loose(pickle.Unpickler):\n    pass")) == ["Loose"]
    assert loose_unpicklers(ast.parse("class Strict(pickle.Unpickler):\n    def find_class(self, module, name): ...")) == []
