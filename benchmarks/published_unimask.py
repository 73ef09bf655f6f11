"""Training samples and rollout episodes per second as ratios to uniMASK's published code, both in one process of one thread.

Run: git clone https://github.com/micahcarroll/uniMASK && python benchmarks/published_unimask.py uniMASK [--json results.json]

Times are processor seconds of this process, which other work on the machine disturbs less than the clock. Packages that the
published code imports and does not need here (logging, pickles, GPT-2, windows) are replaced by empty modules.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script, only this folder is on the path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from benchmarks.measure import Result, compare
from benchmarks.run import announce, conclude
from maskbench.data.normalise import Normaliser
from maskbench.data.store import EpisodeStore
from maskbench.data.windows import WindowSampler
from maskbench.envs.doorkey import DoorKey
from maskbench.envs.maze2d import MazePOMDP
from maskbench.masking.mixture import Mixture
from maskbench.masking.random import BernoulliMask
from maskbench.masking.scheme import MaskScheme
from maskbench.masking.tasks import NamedTask
from maskbench.models.encoder import Encoder
from maskbench.models.heads import build_heads
from maskbench.models.objective import Objective
from maskbench.policies.model import ModelPolicy, ReturnUnits
from maskbench.policies.queries import Query
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.runner import RolloutRunner
from maskbench.tokens.layout import build_layout
from maskbench.training.bank import TaskBank
from maskbench.training.masked import MaskedProblem
from maskbench.training.optim import build_optimizer
from maskbench.training.trainer import Trainer

SEED, LENGTH, EPISODES = 0, 10, 500
#: Order of the published ``all_w_dyna``.
TASKS = ("past", "future", "bc", "return", "goal", "waypoint", "forward_dynamics", "inverse_dynamics")
OPTIMIZER: dict[str, Any] = {"name": "adamw", "lr": 1e-4, "weight_decay": 1e-4}


@dataclass(frozen=True)
class Size:
    """One published configuration (spec unimask 3.6), by its batch code."""

    code: str
    width: int
    layers: int
    heads: int
    batch: int
    dropout: float = 0.1

    def scheme(self) -> MaskScheme:
        return BernoulliMask() if self.code == "rnd" else Mixture({t: NamedTask(t) for t in TASKS}, per="cycle")

    def encoder(self, layout: Any) -> Encoder:
        torch.manual_seed(SEED)
        heads = build_heads(layout.spec, self.width, {})
        return Encoder(layout, heads, self.layers, self.heads, self.width, 128, self.dropout)


TRAINING = {"multi-task": Size("all_w_dyna", 32, 3, 4, 250), "random masks": Size("rnd", 128, 2, 8, 100)}
MAZE = Size("rnd", 128, 4, 16, 100, 0.0)
GRIDWORLD = Size("rnd", 128, 2, 8, 100, 0.0)


class Published:
    """The published code, imported from a checkout."""

    def __init__(self, checkout: Path) -> None:
        if not (checkout / "uniMASK" / "trainer.py").is_file():
            raise SystemExit(f"{checkout} holds no uniMASK/trainer.py: name a checkout of github.com/micahcarroll/uniMASK")
        collections.Iterable = collections.abc.Iterable  # type: ignore[attr-defined]  # gone since Python 3.10
        stand_ins: dict[str, dict[str, Any]] = {
            "pickle5": vars(pickle),
            "transformers": {"GPT2Config": None, "GPT2Model": None},
            "wandb": {},
            "glfw": {},
        }
        for name, content in stand_ins.items():
            if find_spec(name) is None:
                sys.modules[name] = ModuleType(name)
                vars(sys.modules[name]).update({k: v for k, v in content.items() if not k.startswith("__")})
        sys.path.insert(0, str(checkout))
        with silent():
            names = ("trainer", "transformer", "transformer_train", "batches", "envs.base_data", "envs.evaluator", "utils")
            self.modules = {name.split(".")[-1]: import_module(f"uniMASK.{name}") for name in names}

    def batches(self, code: str) -> tuple[Any, ...]:
        """What its command line makes of the batch codes ``rnd``, ``all_w_dyna`` and ``BC``."""
        b, k = self.modules["batches"], LENGTH
        rules: dict[str, dict[str, Any]] = {
            "past": {"type": b.PastPred, "rtg_masking_type": "BC"},
            "future": {"type": b.FuturePred, "rtg_masking_type": "BC"},
            "BC": {"type": b.BehaviorCloning, "rtg_masking_type": "BC"},
            "RC": {"type": b.RCBehaviorCloning, "rtg_masking_type": "RC_fixed_first"},
            "goal_conditioned": {"type": b.GoalConditionedBC, "rtg_masking_type": "BC"},
            "waypoint": {
                "type": b.WaypointConditionedBC,
                "waypoints": (0, k // 3, 2 * k // 3, k - 1),
                "rtg_masking_type": "BC",
            },
            "forwards": {"type": b.ForwardDynamics, "rtg_masking_type": "BC"},
            "backwards": {"type": b.BackwardsDynamics, "rtg_masking_type": "BC"},
            "rnd": {"type": b.RandomPred, "rtg_masking_type": "BCRC_uniform_first"},
        }
        chosen = [n for n in rules if n != "rnd"] if code == "all_w_dyna" else [code]
        return tuple(self.modules["utils"].imdict(rules[n] | {"logging_name": n}) for n in chosen)

    def gridworld(self) -> tuple[ModuleType, Any]:
        """Its rollouts in the gridworld, and the gridworld that they play in."""
        if find_spec("gym_minigrid") is None:
            raise SystemExit("the published gridworld needs gym 0.21.0 and gym-minigrid 1.0.3: see benchmarks/README.md")
        with silent():
            inference = import_module("uniMASK.envs.minigrid.inference")
            return inference, import_module("uniMASK.envs.minigrid.env").make_env("key")

    def trainer_of(self, size: Size, weights: dict[str, float], loss: str, widths: int, **options: Any) -> Any:
        """Its ``Trainer`` around its model; ``widths`` columns in a token."""
        model = self.modules["transformer_train"].base_model_params(
            128, size.layers, size.heads, size.width, size.dropout, LENGTH
        )
        settings = self.modules["transformer_train"].base_training_params(
            weights,
            loss,
            LENGTH,
            batch_size=size.batch,
            lr=OPTIMIZER["lr"],
            log_interval=10**6,
            run_name="benchmark",
            **options,
        )
        torch.manual_seed(SEED)
        network = self.modules["transformer"].uniMASKModel(cat_input_dim=widths, **model)
        return self.modules["trainer"].Trainer(network, None, None, **settings)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """The published code prints as it goes."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def seconds(work: Callable[[], object]) -> Callable[[], float]:
    """The same work, answering with the processor seconds it took."""

    def timed() -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    return timed


def as_published(store: EpisodeStore) -> dict[str, list[Tensor]]:
    """Gridworld episodes with the keys and types of the published data, those that training does not read included."""
    rows = []
    for e in range(store.num_episodes):
        values = {n: torch.from_numpy(np.array(v)) for n, v in store.episode(e).values.items()}
        state, key = values["state"].long(), values["state_key"].long()
        past_door = (state >= 8).long().cummax(0).values  # the door stands in the third column of four
        factors = {
            "state": (state, 16),
            "state_key_pos": (key, 16),
            "state_key": ((state == key).long(), 2),
            "state_door": (past_door, 2),
            "action": (values["action"].long(), 4),
            "rtg": (values["rtg"].long(), store.spec["rtg"].width),
            "reward": (values["reward"][:, 0].long() + 1, 3),
        }
        coded = {name: F.one_hot(value, classes) for name, (value, classes) in factors.items()}
        rows.append({**coded, "timestep": torch.arange(len(state))[:, None]})
    return {name: [row[name] for row in rows] for name in rows[0]}


def training(published: Published, name: str, steps: int, repeats: int, compiled: bool = False) -> Result:
    """The published training loop over its own epochs, and ours for as many updates of the same size."""
    items, works = training_works(published, name, steps, compiled)
    ways = {label: seconds(work) for label, work in works.items()}
    return compare("doorkey", f"{name}: training samples", items, ways, repeats, "published")


def training_works(published: Published, name: str, steps: int, compiled: bool) -> tuple[int, dict[str, Callable[[], object]]]:
    """Samples of a turn, and what trains on them, by name: ``published``, ``maskbench``, ``bf16``, and where compiled
    ``compile`` and ``compile + bf16``."""
    size, environment = TRAINING[name], DoorKey()
    store = EpisodeStore.from_episodes(environment.spec, environment.generate(EPISODES, SEED))
    layout = build_layout(store.spec, LENGTH, "timestep")
    data = published.modules["base_data"].Dataset(as_published(store))
    weights = {"state": 1.0, "state_key_pos": 1.0, "action": 1.0, "rtg": 0.0}
    columns = sum(f.width for f in layout.spec)
    trainer = published.trainer_of(size, weights, "sce", columns, train_batch_params_n=published.batches(size.code))
    ours = size.encoder(layout)
    if sum(p.numel() for p in trainer.model.parameters()) != ours.num_parameters:
        raise SystemExit("the two networks differ in size")
    per_epoch = data.total_timesteps // (size.batch * LENGTH)
    steps = max(steps // per_epoch, 1) * per_epoch  # the published loop trains whole epochs
    trained = 0

    def theirs() -> None:
        nonlocal trained
        with silent():
            for _ in range(steps // per_epoch):
                trained = trainer.training_itereration(data, trained, 1)

    works: dict[str, Callable[[], object]] = {"published": theirs}
    sampler = WindowSampler(store, LENGTH, size.batch, SEED, factors=layout.spec.names, by="length")
    bank = TaskBank(sampler.batch(0), {})
    problem = MaskedProblem(sampler, size.scheme(), Objective({"return": 0.0}), bank, size.batch, SEED)
    sides = [("maskbench", "fp32", False), ("bf16", "bf16", False)]
    if compiled:
        sides += [("compile", "fp32", True), ("compile + bf16", "bf16", True)]
    for label, precision, compile in sides:
        options: dict[str, Any] = {"log_every": 50, "checkpoint_seconds": None, "progress": False}
        options |= {"precision": precision, "compile": compile}
        fit = Trainer(steps, device="cpu", grad_clip=0.5, **options)
        network = size.encoder(layout).train()
        works[label] = partial(_fit, fit, network, problem)
    return steps * size.batch, works


def _fit(trainer: Trainer, network: Encoder, problem: MaskedProblem) -> None:
    with TemporaryDirectory() as folder:
        trainer.fit(network, problem, partial(build_optimizer, **OPTIMIZER), None, Path(folder))


class OldGym:
    """One of our mazes behind the interface of 2021 that the published evaluator speaks."""

    def __init__(self, environment: MazePOMDP) -> None:
        self.env = environment.make()
        self.observation_space = SimpleNamespace(shape=environment.spec["state"].shape)
        self.action_space = SimpleNamespace(shape=environment.spec["action"].shape)

    def seed(self, seed: int) -> None:
        self.next_seed = seed

    def reset(self) -> np.ndarray:
        return np.asarray(self.env.reset(seed=self.next_seed)[0]["state"])

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return np.asarray(observation["state"]), float(reward), bool(terminated or truncated), info

    def close(self) -> None:
        """Played again at the next turn."""


def rollouts(published: Published, episodes: int, horizon: int, repeats: int) -> Result:
    """The published evaluator asking for behaviour cloning, and our runner asking the same of as large a model."""
    environment = MazePOMDP("medium", horizon)
    spec = EpisodeStore.from_episodes(environment.spec, environment.generate(2, SEED)).spec
    plan = EpisodePlan.build(episodes, SEED)
    weights = {"state": 1.0, "action": 1.0}
    batches = published.batches("BC")
    trainer = published.trainer_of(MAZE, weights, "l2", 6, train_batch_params_n=batches, rew_batch_params_n=batches)
    seeds = [row.env_seed % 10**6 for row in plan]
    evaluator = published.modules["evaluator"].Evaluator(
        lambda: OldGym(environment), episodes, [published.modules["trainer"].BCEvalIndicator], horizon, 1.0, env_seeds=seeds
    )
    evaluator.set_trainer(trainer)
    trainer.model.eval()

    def theirs() -> None:
        with torch.no_grad(), silent():
            evaluator.evaluate()

    layout = build_layout(spec, LENGTH, "timestep", factors=("state", "action"))
    network = MAZE.encoder(layout)

    def ours(slots: int) -> None:
        policy = partial(
            ModelPolicy,
            network,
            spec,
            Normaliser.identity(spec),
            Query("bc"),
            "bidirectional",
            "none",
            horizon,
            slots,
            ReturnUnits(),
        )
        RolloutRunner(environment, policy, num_slots=slots, progress=False).run(plan)

    ways: dict[str, Callable[[], float | None]] = {
        "published": seconds(theirs),
        "maskbench": seconds(partial(ours, 16)),
        "64 slots": seconds(partial(ours, 64)),
    }
    return compare("maze2d", f"rollout episodes of {horizon} steps", episodes, ways, repeats, "published")


def gridworld_rollouts(published: Published, episodes: int, repeats: int) -> Result:
    """The published forward completion of ``episodes`` from their first states, and our runner asking an as large model for
    behaviour cloning; both take the likeliest action."""
    inference, world = published.gridworld()
    environment = DoorKey()
    store = EpisodeStore.from_episodes(environment.spec, environment.generate(episodes, SEED))
    layout = build_layout(store.spec, LENGTH, "timestep")
    weights = {"state": 1.0, "state_key_pos": 1.0, "action": 1.0, "rtg": 0.0}
    columns, batches = sum(f.width for f in layout.spec), published.batches(GRIDWORLD.code)
    trainer = published.trainer_of(GRIDWORLD, weights, "sce", columns, train_batch_params_n=batches)
    trainer.model.eval()
    network = GRIDWORLD.encoder(layout)
    if sum(p.numel() for p in trainer.model.parameters()) != network.num_parameters:
        raise SystemExit("the two networks differ in size")
    data = published.modules["base_data"].Dataset(as_published(store)).to_token_seq()
    hidden = {f"{name}_masks": np.zeros(LENGTH) for name in ("state", "action", "rtg", "reward")}
    masks = hidden | {"state_masks": np.eye(LENGTH)[0]}

    def theirs() -> None:
        with torch.no_grad(), silent():
            inference.get_forward_completion(world, data, masks, trainer, set(weights), debug_print=False)

    spec, plan, query = store.spec, EpisodePlan.build(episodes, SEED), Query("bc", greedy=True)
    scaling = Normaliser.identity(spec)

    def ours(slots: int) -> None:
        policy = partial(ModelPolicy, network, spec, scaling, query, "bidirectional", "none", LENGTH, slots, ReturnUnits())
        RolloutRunner(environment, policy, num_slots=slots, progress=False).run(plan)

    ways: dict[str, Callable[[], float | None]] = {
        "published": seconds(theirs),
        "maskbench": seconds(partial(ours, 64)),
        "all at once": seconds(partial(ours, episodes)),
    }
    return compare("doorkey", f"{episodes} rollout episodes of {LENGTH} steps", episodes, ways, repeats, "published")


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="folder that holds the published package uniMASK")
    parser.add_argument("--only", choices=[*TRAINING, "rollouts", "gridworld rollouts"], help="one comparison alone")
    parser.add_argument("--repeats", type=int, default=5, help="turns per comparison")
    parser.add_argument("--steps", type=int, default=40, help="updates per turn")
    parser.add_argument("--episodes", type=int, default=64, help="episodes per turn")
    parser.add_argument("--horizon", type=int, default=50, help="their steps, in the maze")
    parser.add_argument("--compiled", action="store_true", help="also train with trainer.compile=true (a minute to compile)")
    parser.add_argument("--json", type=Path, help="also write the results here")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    published, console, results = Published(chosen.checkout.resolve()), Console(), []
    for name in (*TRAINING, "rollouts", "gridworld rollouts"):
        if chosen.only not in (None, name):
            continue
        if chosen.only is None and name == "gridworld rollouts" and find_spec("gym_minigrid") is None:
            console.print(f"{name} left out: no gym_minigrid", highlight=False)
            continue
        if name == "rollouts":
            result = rollouts(published, chosen.episodes, chosen.horizon, chosen.repeats)
        elif name == "gridworld rollouts":
            result = gridworld_rollouts(published, chosen.episodes, chosen.repeats)
        else:
            result = training(published, name, chosen.steps, chosen.repeats, chosen.compiled)
        results.append(result)
        announce(console, result)
    conclude(console, results, chosen.json)
    return results


if __name__ == "__main__":
    main()
