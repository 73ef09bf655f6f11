"""Training samples and rollout steps per second on block push as ratios to the code of BeT's reproducibility study.

Run: git clone https://github.com/skandermoalla/bet-reproduction && python benchmarks/published_bet.py bet-reproduction

One process of one thread, the sides in turn, the published block-push configuration. Times are processor seconds of this
process. Needs gym 0.21.0, and for rollouts pybullet (benchmarks/README.md says how to keep both apart). Packages that the
published code imports and does not need here (logging, gin, an agents library) are replaced by empty modules.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script, only this folder is on the path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.measure import Result, compare
from benchmarks.published_unimask import seconds
from benchmarks.run import announce, conclude
from maskbench.data.normalise import Normaliser
from maskbench.data.store import EpisodeStore
from maskbench.data.windows import WindowSampler
from maskbench.envs.blockpush import BlockPush
from maskbench.masking.causal import CausalMask
from maskbench.masking.scheme import MaskSet
from maskbench.models.decoder import Decoder
from maskbench.models.heads.bins import BinsHead
from maskbench.models.objective import Objective
from maskbench.models.products import product
from maskbench.policies.model import ModelPolicy, ReturnUnits
from maskbench.policies.queries import Query
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.runner import RolloutRunner
from maskbench.tokens.layout import build_layout
from maskbench.training.bank import TaskBank
from maskbench.training.masked import Epochs, MaskedProblem
from maskbench.training.optim import build_optimizer
from maskbench.training.trainer import Trainer
from maskbench.trajectory import Window

SEED = 0
#: The published block-push run (bet.md sections 1.3 to 1.5).
WINDOW, BATCH, BINS, OFFSET_SCALE = 5, 256, 24, 1e5
LAYERS, HEADS, WIDTH, DROPOUT = 4, 4, 72, 0.1
OPTIMIZER: dict[str, Any] = {"name": "adamw", "lr": 1e-4, "weight_decay": 0.1, "betas": (0.9, 0.95), "decay": "linear"}
CLIP = 1.0
#: Slots of our rollouts where nothing is said.
MANY = RolloutRunner.num_slots
#: Files of the published data set, by the factor that fills them.
FILES = {"state": "multimodal_push_observations.npy", "action": "multimodal_push_actions.npy"}
MASKS = "multimodal_push_masks.npy"


class Published:
    """The study's code, imported from a checkout."""

    def __init__(self, checkout: Path) -> None:
        if not (checkout / "workspaces" / "vec_base.py").is_file():
            raise SystemExit(
                f"{checkout} holds no workspaces/vec_base.py: name a checkout of github.com/skandermoalla/bet-reproduction"
            )
        if find_spec("gym") is None:
            raise SystemExit("the study's code needs gym 0.21.0: see benchmarks/README.md")
        self.checkout = checkout
        os.environ["ASSET_PATH"] = str(checkout)
        stand_ins = _stand_ins()
        absent = {name for name in stand_ins if name == "wandb" or find_spec(name.split(".")[0]) is None}  # wandb opens runs
        for name in absent:
            sys.modules[name] = ModuleType(name)
            vars(sys.modules[name]).update(stand_ins[name])
        sys.path.insert(0, str(checkout))
        with silent():
            self.training = import_module("train")
            self.evaluation = import_module("workspaces.vec_base")
        logging.disable(logging.WARNING)  # the published environment says what happens to its blocks

    @property
    def simulates(self) -> bool:
        """Whether its block push can be played."""
        return find_spec("pybullet") is not None

    def settings(self, name: str, *overrides: str) -> Any:
        """Its own configuration of block push: ``config_train`` or ``config_eval``."""
        from hydra import compose, initialize_config_dir

        with initialize_config_dir(str(self.checkout / "configs"), version_base="1.2"):
            return compose(name, ["env=blockpush", "experiment.device=cpu", *overrides])

    def trainer(self, data: Path, workers: int) -> Any:
        """Its training workspace over the data set in ``data``, bins fitted, ready for an epoch."""
        chosen = self.settings(
            "config_train",
            f"env.dataset.data_directory={data}",
            f"experiment.num_workers={workers}",
            "experiment.cv_run_idx=0",
            f"experiment.save_subdir={data.name}",
        )
        with silent():
            workspace = self.training.Workspace(chosen)
            workspace._init_obs_encoding_net()
            workspace._init_action_ae()
            workspace.action_ae.fit_model(workspace.train_loader, workspace.test_loader, workspace.obs_encoding_net)
            workspace._init_state_prior()
        workspace.log_components = OrderedDict()
        return workspace

    def evaluator(self, trained: Any, environments: int, horizon: int) -> Any:
        """Its vectorised evaluation of a trained workspace's model, without the snapshot in between."""
        workspace = self.evaluation.VecWorkspace.__new__(self.evaluation.VecWorkspace)
        workspace.cfg = self.settings(
            "config_eval",
            "experiment.vectorized_env=True",
            f"experiment.num_envs={environments}",
            f"experiment.num_eval_steps={horizon}",
            f"experiment.save_subdir={environments}",
        )
        workspace.device, workspace.window_size = torch.device("cpu"), WINDOW
        workspace.history, workspace.last_latents = deque(maxlen=WINDOW), None
        for part in ("action_ae", "obs_encoding_net", "state_prior"):
            setattr(workspace, part, getattr(trained, part))
        with silent():
            import_module("envs.block_pushing.block_pushing_multimodal")  # says why where it cannot be imported
            workspace.init_env()
        return workspace


def _stand_ins() -> dict[str, dict[str, Any]]:
    """What the published code asks of packages that it does not need here."""
    run = SimpleNamespace(tags=())
    nothing: dict[str, Any] = {
        "init": lambda **_: run,
        "log": lambda *_, **__: None,
        "config": SimpleNamespace(update=lambda _: None),
    }
    unchanged: dict[str, Any] = {"configurable": lambda f: f, "constants_from_enum": lambda f: f}
    policy = type("PyPolicy", (), {"__init__": lambda self, *_: None})
    step = type("PolicyStep", (SimpleNamespace,), {})
    return {
        "wandb": nothing,
        "gin": unchanged,
        "six": {},
        "tf_agents": {},
        "tf_agents.policies": {"py_policy": SimpleNamespace(PyPolicy=policy)},
        "tf_agents.trajectories": {"policy_step": SimpleNamespace(PolicyStep=step), "time_step": SimpleNamespace()},
        "tf_agents.typing": {"types": SimpleNamespace()},
    }


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """The published code and its simulator print as they go, the latter past Python."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)
        os.close(nowhere)


def as_published(store: EpisodeStore, folder: Path) -> None:
    """Writes episodes in the layout of the released data (bet.md section 2.1): padded with zeros, 1 = valid."""
    longest = int(store.lengths.max())
    masks = np.arange(longest) < store.lengths[:, None]
    for name, file in FILES.items():
        padded = np.zeros((*masks.shape, store.spec[name].width), np.float32)
        padded[masks] = store.array(name)
        np.save(folder / file, padded)
    np.save(folder / MASKS, masks.astype(np.float32))


def build_model(store: EpisodeStore, dropout: float = DROPOUT) -> Decoder:
    """BeT's block-push network, bins not fitted."""
    layout = build_layout(store.spec, WINDOW, "timestep", inputs=("state",), factors=("state", "action"))
    torch.manual_seed(SEED)
    head = BinsHead(store.spec["action"], WIDTH, num_bins=BINS, offset_scale=OFFSET_SCALE)
    return Decoder(layout, {"action": head}, LAYERS, HEADS, WIDTH, dropout=dropout)


def as_ours(theirs: nn.Module, centres: Tensor, store: EpisodeStore) -> Decoder:
    """Our network with the weights of the published GPT and the centres of its bins."""
    given, model = theirs.state_dict(), build_model(store)
    names = {"tok_emb": "embed.streams.0", "ln_f": "trunk.norm", "head": "heads.action.net"}
    for i in range(LAYERS):
        parts = {"ln1": "norm1", "ln2": "norm2", "attn.proj": "attention.out", "mlp.0": "up", "mlp.2": "down"}
        names |= {f"blocks.{i}.{old}": f"trunk.blocks.{i}.{new}" for old, new in parts.items()}
    state = model.state_dict()
    state["positions.table"] = given["pos_emb"][0]
    state["heads.action.centres"] = centres
    for old, new in names.items():
        state |= {f"{new}.{kind}": given[f"{old}.{kind}"] for kind in ("weight", "bias") if f"{new}.{kind}" in state}
    for i in range(LAYERS):
        for kind in ("weight", "bias"):
            rows = [given[f"blocks.{i}.attn.{part}.{kind}"] for part in ("query", "key", "value")]
            state[f"trunk.blocks.{i}.attention.qkv.{kind}"] = torch.cat(rows)
    model.load_state_dict(state)
    return model


def check_equal(theirs: nn.Module, ours: Decoder) -> None:
    """Both networks hold as many parameters and answer the same. Raises SystemExit where they do not."""
    counts = [sum(p.numel() for p in network.parameters()) for network in (theirs, ours)]
    if counts[0] != counts[1]:
        raise SystemExit(f"the two networks differ in size: {counts}")
    states = torch.randn(7, WINDOW, 16, generator=torch.Generator().manual_seed(SEED))
    with torch.no_grad():
        expected = theirs.eval()(states)[0]
        masks = MaskSet(torch.ones(7, WINDOW, 2, dtype=torch.bool), torch.ones(7, WINDOW, 2, dtype=torch.bool), "causal")
        answered = ours.eval()(Window({"state": states, "action": torch.zeros(7, WINDOW, 2)}), masks)["action"]
    if not torch.allclose(expected, answered, atol=1e-5):
        raise SystemExit(f"the two networks answer differently, by up to {(expected - answered).abs().max()}")


@dataclass(frozen=True)
class Sides:
    """One data set and one network for both."""

    published: Published
    store: EpisodeStore
    workspace: Any
    model: Decoder
    episodes: list[int]

    @classmethod
    def build(cls, published: Published, demonstrations: int, workers: int, folder: Path) -> Sides:
        environment = BlockPush()
        store = EpisodeStore.from_episodes(environment.spec, environment.generate(demonstrations, SEED))
        as_published(store, folder)
        workspace = published.trainer(folder, workers)
        theirs = workspace.state_prior.model
        model = as_ours(theirs, workspace.action_ae.bin_centers, store)
        check_equal(theirs, model)
        return cls(published, store, workspace, model, list(workspace.train_set.dataset.indices))


def training_works(sides: Sides, compiled: bool) -> tuple[int, dict[str, Callable[[], object]]]:
    """Windows of an epoch, and what trains on them, by name: the published loop, ours over as many windows of the same episodes
    in batches as large (``maskbench``, ``bf16``), and where compiled ``compile`` and ``compile + bf16``."""
    sampler = WindowSampler(sides.store, WINDOW, BATCH, SEED, episodes=sides.episodes, legacy_slicing=True)
    if sampler.num_windows != len(sides.workspace.train_set):
        raise SystemExit(f"the two data sets differ: {len(sides.workspace.train_set)} windows and {sampler.num_windows}")
    steps = sampler.steps_per_epoch
    problem = MaskedProblem(Epochs(sampler), CausalMask(("action",)), Objective(), TaskBank(sampler.batch(0), {}), BATCH, SEED)

    def theirs() -> None:
        with silent():
            sides.workspace.train_prior_one_epoch()

    def network() -> Decoder:
        model = build_model(sides.store)
        model.load_state_dict(sides.model.state_dict())
        return model.train()

    works: dict[str, Callable[[], object]] = {"published": theirs}
    optimizer = partial(build_optimizer, **OPTIMIZER)
    for label, precision, compile in (
        ("maskbench", "fp32", False),
        ("bf16", "bf16", False),
        *([("compile", "fp32", True), ("compile + bf16", "bf16", True)] if compiled else []),
    ):
        works[label] = partial(_fit, _trainer(steps, precision, compile), network(), problem, optimizer)
    return sampler.num_windows, works


def products_alone(model: nn.Module, rows: int, steps: int, dtype: torch.dtype) -> Callable[[], None]:
    """What the matrix products of ``steps`` training steps take, forward and backward, over ``rows`` tokens, and nothing else:
    what would be left of training if all else were free."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    sizes = [(m.weight.detach().to(dtype), m.in_features, m.out_features) for m in layers]
    operands = [(w, torch.randn(i, rows).to(dtype), torch.randn(o, rows).to(dtype)) for w, i, o in sizes]

    def work() -> None:
        for _ in range(steps):
            for w, x, dy in operands:
                product(w, x.t())
                product(w.t(), dy.t())
                product(dy, x)

    return work


def training(sides: Sides, compiled: bool, repeats: int) -> Result:
    """Windows a second of both sides, and of our products alone."""
    items, works = training_works(sides, compiled)
    works["products alone"] = products_alone(sides.model, BATCH * WINDOW, -(-items // BATCH), torch.float32)
    works["products alone, bf16"] = products_alone(sides.model, BATCH * WINDOW, -(-items // BATCH), torch.bfloat16)
    return compare("blockpush", "training samples", items, {n: seconds(w) for n, w in works.items()}, repeats, "published")


def _trainer(steps: int, precision: Any, compile: bool = False) -> Trainer:
    options: dict[str, Any] = {"log_every": 50, "checkpoint_seconds": None, "progress": False, "grad_clip": CLIP}
    return Trainer(steps, device="cpu", precision=precision, compile=compile, **options)


def _fit(trainer: Trainer, network: Decoder, problem: MaskedProblem, optimizer: Any) -> None:
    with TemporaryDirectory() as folder:
        trainer.fit(network, problem, optimizer, None, Path(folder))


def rollouts(sides: Sides, environments: int, horizon: int, repeats: int) -> Result:
    """The published lock-step evaluation of PyBullet tables, and our runner on our tables with the same weights."""
    evaluator = sides.published.evaluator(sides.workspace, environments, horizon)
    model = as_ours(sides.workspace.state_prior.model, sides.workspace.action_ae.bin_centers, sides.store)
    spec = sides.store.spec
    scaling = Normaliser.identity(spec)
    taken: set[int] = set()

    def theirs() -> None:
        with silent():
            evaluator.run_single_episode()

    def ours(slots: int) -> None:
        arguments = (model, spec, scaling, Query("bc"), "causal", "none", horizon, slots, ReturnUnits())
        policy = partial(ModelPolicy, *cast(Any, arguments))
        records = RolloutRunner(BlockPush(horizon), policy, num_slots=slots, progress=False).run(EpisodePlan.build(slots, SEED))
        taken.update(r.length for r in records)

    many = seconds(partial(ours, MANY))
    ways: dict[str, Callable[[], float | None]] = {
        "published": seconds(theirs),
        "maskbench": seconds(partial(ours, environments)),
        f"{MANY} slots": lambda: many() * environments / MANY,  # seconds for as many steps
    }
    result = compare("blockpush", f"rollout steps, {environments} at once", environments * horizon, ways, repeats, "published")
    if taken != {horizon}:  # untrained weights solve nothing
        raise SystemExit(f"episodes of {horizon} steps ended after {sorted(taken)}: the sides did not do the same work")
    evaluator.envs.close()
    return result


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="folder of the published code")
    parser.add_argument("--only", choices=["training", "rollouts"], help="one comparison alone")
    parser.add_argument("--repeats", type=int, default=5, help="turns per comparison")
    parser.add_argument("--demonstrations", type=int, default=200, help="a turn is one epoch of 95 %% of them")
    parser.add_argument("--workers", type=int, default=0, help="published loader processes (1 in its runs); not timed")
    parser.add_argument("--compiled", action="store_true", help="also train with trainer.compile=true (a minute to compile)")
    parser.add_argument("--environments", type=int, nargs="+", default=[20, 1], help="tables at once, one comparison each")
    parser.add_argument("--horizon", type=int, default=100, help="their steps")
    parser.add_argument("--json", type=Path, help="also write the results here")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    published, console, results = Published(chosen.checkout.resolve()), Console(), []
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        sides = Sides.build(published, chosen.demonstrations, chosen.workers, Path(folder))
        if chosen.only != "rollouts":
            results.append(training(sides, chosen.compiled, chosen.repeats))
        if chosen.only != "training" and not published.simulates:
            console.print("rollouts left out: no pybullet", highlight=False)
        elif chosen.only != "training":
            results += [rollouts(sides, n, chosen.horizon, chosen.repeats) for n in chosen.environments]
    for result in results:
        announce(console, result)
    conclude(console, results, chosen.json)
    return results


if __name__ == "__main__":
    main()
