"""Training samples, windows and goal evaluations per second as ratios to MaskDP's published code, in one process of one thread.

Run: git clone https://github.com/FangchenLiu/MaskDP_public && python benchmarks/published_maskdp.py MaskDP_public

Times are processor seconds of this process. Both models have the published size (3 + 2 layers, width 256, windows of 64) and
fp32; ``bf16`` trains ours under autocast. Each turn of the training trains once with every mask ratio; the published code is
handed its batches, ours draws them. Evaluations play the same pairs; films, loggers and packages for them are replaced by
empty modules.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MUJOCO_GL", "disable")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script, only this folder is on the path

import numpy as np
import torch
from rich.console import Console

from benchmarks.measure import Result, compare
from benchmarks.published_unimask import seconds, silent
from benchmarks.run import announce, conclude
from maskbench.app.held_out import goal_pairs
from maskbench.data.dataset import Dataset
from maskbench.data.importers.maskdp import write_maskdp
from maskbench.data.normalise import Normaliser
from maskbench.data.split import Split
from maskbench.data.store import EpisodeStore
from maskbench.data.windows import WindowSampler
from maskbench.envs.dmc import DMControl
from maskbench.masking.random import RatioMask
from maskbench.models.autoencoder import Autoencoder
from maskbench.models.heads import HeadChoice, build_heads
from maskbench.models.objective import Objective
from maskbench.policies.model import ModelPolicy, ReturnUnits
from maskbench.policies.queries import Query
from maskbench.rollout.plan import EpisodePlan
from maskbench.rollout.runner import RolloutRunner
from maskbench.tokens.layout import TokenLayout, build_layout
from maskbench.training.optim import build_optimizer

SEED, LENGTH, WIDTH, EPISODES = 0, 64, 256, 20
RATIOS = (0.15, 0.35, 0.55, 0.75, 0.95)
HEADS = {"state": HeadChoice(target="l2"), "action": HeadChoice(tanh=True)}
CASES = ("training", "loader", "goals")


class Published:
    """The published code, imported from a checkout."""

    def __init__(self, checkout: Path) -> None:
        if not (checkout / "agent" / "mdp.py").is_file():
            raise SystemExit(f"{checkout} holds no agent/mdp.py: name a checkout of github.com/FangchenLiu/MaskDP_public")
        for name, kind in (("float", float), ("int", int)):
            if name not in vars(np):
                setattr(np, name, kind)  # gone since numpy 1.24
        for name in ("wandb", "torchvision", "cv2", "termcolor", "PIL"):
            if find_spec(name) is None:
                sys.modules[name] = ModuleType(name)
                sys.modules[name].colored = None  # type: ignore[attr-defined]
        sys.path.insert(0, str(checkout))
        with silent():
            self.modules = {n: import_module(n) for n in ("agent.mdp", "agent.mdp_goal", "replay_buffer", "dmc", "eval_goal")}
        sizes = {"n_embd": WIDTH, "n_head": 4, "n_enc_layer": 3, "n_dec_layer": 2, "traj_length": LENGTH}
        others = {"embd_pdrop": 0, "resid_pdrop": 0, "attn_pdrop": 0, "pe": "fixed", "loss": "total", "norm": "l2"}
        self.config = SimpleNamespace(**sizes, **others)

    def trainer(self, batch: int) -> Any:
        """Its pretraining agent."""
        torch.manual_seed(SEED)
        agent = self.modules["agent.mdp"].MaskedDPAgent
        with silent():
            return agent("mdp", (24,), (6,), "cpu", 1e-4, batch, False, list(RATIOS), self.config)

    def goal_agent(self, model: torch.nn.Module) -> Any:
        """Its goal-reaching agent around ``model``, without the snapshot that it would load."""
        kind = self.modules["agent.mdp_goal"].MDPGoalAgent
        agent = kind.__new__(kind)
        agent.mdp, agent.config, agent.device, agent.training = model, self.config, "cpu", False
        return agent


def layout_of(environment: DMControl) -> TokenLayout:
    return build_layout(environment.spec, LENGTH, by="factor", inputs=["state", "action"])


def model_of(layout: TokenLayout) -> Autoencoder:
    torch.manual_seed(SEED)
    return Autoencoder(layout, build_heads(layout.spec, WIDTH, HEADS, "norm_relu"))


def training(published: Published, store: EpisodeStore, layout: TokenLayout, batch: int, passes: int, repeats: int) -> Result:
    """Updates per second times the batch, which ours takes in so many ``passes`` (``trainer.accumulate``); the numbers of
    parameters are checked to be equal."""
    agent, model = published.trainer(batch), model_of(layout)
    if sum(p.numel() for p in agent.model.parameters()) != model.num_parameters:
        raise SystemExit("the two networks differ in size")
    whole, sampler = (WindowSampler(store, LENGTH, n, SEED, factors=layout.spec.names) for n in (batch, batch // passes))
    optimiser, objective = build_optimizer(model, "adam", lr=1e-4), Objective()
    given = whole.batch(0).values
    schemes = [RatioMask([ratio]) for ratio in RATIOS]

    def theirs() -> None:
        for ratio in RATIOS:
            agent.mask_ratio = [ratio]
            agent.update_mdp(given["state"], given["action"])

    def ours(bf16: bool) -> None:
        for update, scheme in enumerate(schemes):
            for step in range(update * passes, (update + 1) * passes):
                window = sampler.batch(step)
                masks = scheme.sample(torch.Generator().manual_seed(step), window.batch, layout)
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    loss = objective(model, window, masks)["loss"] / passes
                loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    ways = {"published": seconds(theirs)}
    ways |= {name: seconds(partial(ours, bf16)) for name, bf16 in (("maskbench", False), ("bf16", True))}
    what = f"training samples, batch {batch}" + (f" (ours in {passes} passes)" if passes > 1 else "")
    return compare("walker", what, batch * len(RATIOS), ways, repeats, "published")


def loader(published: Published, store: EpisodeStore, folder: Path, batch: int, repeats: int) -> Result:
    """Batches of windows of 64, in this process."""
    episodes = [store.episode(e) for e in range(store.num_episodes)]
    write_maskdp(folder, episodes)
    make = published.modules["replay_buffer"].make_replay_loader
    with silent():
        theirs_iter = iter(make(None, folder, 10**8, batch, 0, 0.99, "walker", LENGTH, relabel=False))
        next(theirs_iter)
    names = ("state", "action")
    sampler, step = WindowSampler(store, LENGTH, batch, SEED, factors=names), iter(range(10**9))
    turns = 5

    def theirs() -> None:
        for _ in range(turns):
            next(theirs_iter)

    def ours() -> None:
        for _ in range(turns):
            sampler.batch(next(step))

    ways = {"published": seconds(theirs), "maskbench": seconds(ours)}
    return compare("walker", f"windows of {LENGTH}, batch {batch}", batch * turns, ways, repeats, "published")


def goals(published: Published, environment: DMControl, store: EpisodeStore, pairs: int, repeats: int) -> Result:
    """Closed-loop evaluations of the same pairs; the model sees start and goal alone, as published."""
    everyone = np.arange(store.num_episodes)
    data = Dataset(store, Split(everyone, everyone, everyone[:0]), Normaliser.identity(store.spec), store.spec)
    plan = goal_pairs(data, pairs, SEED)[0]
    agent = published.goal_agent(published.trainer(1).model)
    with silent():
        world = published.modules["dmc"].make("walker_walk", seed=SEED)
    nothing = SimpleNamespace(init=_ignore, record=_ignore, save=_ignore, render_goal=_ignore)
    batch = batch_of(plan)

    def theirs() -> None:
        with silent():
            play = published.modules["eval_goal"].eval_mdp
            play(0, agent, world, _Silence(), iter([batch]), "cpu", pairs, nothing, replan=True)

    layout = layout_of(environment)
    model, spec = model_of(layout), store.spec
    most = max(row.budget or 0 for row in plan) + 1

    def ours() -> None:
        policy: Callable[[], ModelPolicy] = partial(
            ModelPolicy,
            *(model, spec, Normaliser.identity(spec), Query("goal", history=0), "bidirectional", "none", 1000, pairs),
            ReturnUnits(),
            length=most,
        )
        RolloutRunner(environment, policy, num_slots=pairs, progress=False).run(plan)

    ways = {"published": seconds(theirs), "maskbench": seconds(ours)}
    return compare("walker", "closed-loop goal evaluations", pairs, ways, repeats, "published")


def batch_of(plan: EpisodePlan) -> list[torch.Tensor]:
    """The plan as the published loader hands it over: start, physics, goal, its physics, steps.

    Plans hold no observation of the start, which costs nothing to look at: the goal stands for it.
    """
    rows = list(plan)
    states = torch.stack([torch.from_numpy(np.asarray((row.goal or {})["state"])) for row in rows])
    physics = torch.from_numpy(np.stack([row.start.simulator for row in rows if row.start is not None]))
    steps = torch.tensor([row.budget for row in rows])
    return [states, physics, states, physics, steps]


class _Silence:
    """Stands for its logger."""

    def log_and_dump_ctx(self, *_: Any, **__: Any) -> _Silence:
        return self

    def __enter__(self) -> Callable[..., None]:
        return _ignore

    def __exit__(self, *_: object) -> None:
        return None


def _ignore(*_: Any, **__: Any) -> None:
    return None


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="checkout of the published code")
    parser.add_argument("--only", choices=CASES, help="one comparison alone")
    parser.add_argument("--repeats", type=int, default=3, help="turns per comparison")
    parser.add_argument("--batch", type=int, default=384, help="windows per update and batch (published: 384)")
    parser.add_argument("--passes", type=int, default=1, help="passes that ours takes a training batch in; must divide it")
    parser.add_argument("--pairs", type=int, default=100, help="goal evaluations per turn")
    parser.add_argument("--json", type=Path, help="also write the results here")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    published, console, results = Published(chosen.checkout.resolve()), Console(), []
    environment = DMControl("walker", "walk")
    store = EpisodeStore.from_episodes(environment.spec, environment.generate(EPISODES, SEED))
    layout = layout_of(environment)
    for case in CASES:
        if chosen.only not in (None, case):
            continue
        if case == "training":
            result = training(published, store, layout, chosen.batch, chosen.passes, chosen.repeats)
        elif case == "loader":
            with TemporaryDirectory() as folder:
                result = loader(published, store, Path(folder), chosen.batch, chosen.repeats)
        else:
            result = goals(published, environment, store, chosen.pairs, chosen.repeats)
        results.append(result)
        announce(console, result)
    conclude(console, results, chosen.json)
    return results


if __name__ == "__main__":
    main()
