"""From a configuration to the objects of a run, and from a run folder back to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from maskbench.app.config.decode import decode
from maskbench.app.config.instantiate import instantiate
from maskbench.app.config.runs import saved_config
from maskbench.app.config.schema import TrainConfig
from maskbench.app.config.schema_data import Dataset as DatasetConfig
from maskbench.app.config.schema_masking import Masking
from maskbench.app.config.schema_model import HeadSpec
from maskbench.data.dataset import Dataset, load_dataset
from maskbench.data.growing import Keep
from maskbench.data.normalise import Normaliser
from maskbench.data.windows import WindowSampler
from maskbench.envs.base import Environment
from maskbench.errors import ConfigError, DataError
from maskbench.masking.prompt import PromptRule, WithPrompt
from maskbench.masking.returns import WithReturns
from maskbench.masking.scheme import MaskScheme
from maskbench.models.cross import CrossDecoder
from maskbench.models.heads import CodesOptions, Head, HeadChoice, PosesOptions, build_heads
from maskbench.models.heads.codes import following
from maskbench.models.objective import Objective
from maskbench.models.sequence import SequenceModel
from maskbench.policies.model import ModelPolicy, ReturnUnits
from maskbench.policies.prompted import PromptedPolicy
from maskbench.policies.queries import Query, answerable
from maskbench.tokens.layout import TokenLayout, build_layout
from maskbench.tokens.library import KeptPrompts, PromptLibrary, PromptSource
from maskbench.tokens.perturb import Perturbation
from maskbench.tokens.prompt import PromptTokeniser
from maskbench.training import checkpoint
from maskbench.training.progress import RunProgress
from maskbench.trajectory import MODEL_ROLES, TrajectorySpec, part_slice


@dataclass(frozen=True)
class Model:
    """A sequence model with all that it takes to ask it something; needs no data."""

    config: TrainConfig
    environment: Environment
    spec: TrajectorySpec
    normaliser: Normaliser
    scheme: MaskScheme
    network: SequenceModel
    objective: Objective
    #: Hash of the training data, and who made them: provenance of every number reported of this model.
    data_hash: str
    origin: str

    @property
    def layout(self) -> TokenLayout:
        return self.network.layout

    def refusals(self, environment: Environment) -> dict[str, str | None]:
        """Per rollout query None, or why model and environment cannot answer it."""
        layout, scheme = self.layout, self.scheme
        frames, saved = self.config.dataset.sampling.goal_frames, bool(environment.spec.with_role("simulator"))
        return answerable(layout, scheme.attend, scheme.returns, self.network.outputs, environment.queries, frames, saved)

    def policy(
        self, query: Query, num_slots: int, environment: Environment | None = None, timesteps: int | None = None
    ) -> ModelPolicy:
        """The model acting. Windows have ``timesteps``, as many as the question needs, where its positions allow others than
        those of its training. Raises ConfigError naming the queries that it can answer where it cannot answer this one."""
        environment = environment or self.environment
        limit = self.network.max_timesteps
        if limit is not None and environment.horizon > limit:
            raise ConfigError(
                f"episodes of this environment last {environment.horizon} timesteps, but the model has embeddings for {limit}: "
                "train with a larger model.max_timesteps"
            )
        reasons = self.refusals(environment)
        if reasons[query.name] is not None:
            possible = [n for n, why in reasons.items() if why is None]
            raise ConfigError(f"query={query.name} cannot be answered: {reasons[query.name]}. Possible here: {possible}")
        scheme, returns = self.scheme, self.config.dataset.returns
        build: Callable[..., ModelPolicy] = ModelPolicy
        if isinstance(self.network, CrossDecoder):
            build = partial(PromptedPolicy, task_of=environment.task_of)
        return build(
            self.network,
            environment.spec if isinstance(self.network, CrossDecoder) else self.spec,
            self.normaliser,
            query,
            scheme.attend,
            scheme.returns,
            environment.horizon,
            num_slots,
            ReturnUnits(returns.scale, returns.mode == "mean", returns.horizon),
            self.config.dataset.sampling.goal_frames,
            timesteps if self.network.stretches else None,
        )


#: What folders of prompts are called, after their store.
PROMPTS = "prompts"


def build_dataset(config: DatasetConfig, environment: Environment, root: str) -> Dataset:
    """Episodes of ``environment`` as the configuration asks for them."""
    returns = None if config.returns.mode == "none" else asdict(config.returns)
    return load_dataset(
        environment,
        path=config.path,
        format=config.format,
        generate=asdict(config.generate),
        split=asdict(config.split),
        returns=returns,
        normalise={str(role): mode for role, mode in config.normalise.items()},
        normalise_floor=config.normalise_floor,
        unlabelled={k: v for k, v in asdict(config.unlabelled).items() if k != "ratio"},
        place=config.place,
        root=root,
        select={"tasks": config.tasks, "qualities": config.qualities, "limit": config.limit},
        hindsight=config.sampling.hindsight != "none",
        keep=keep_prompts(environment),
    )


def library_beside(store: Path) -> Path:
    """Folder of the prompts of a store."""
    return store.with_name(f"{store.name}.{PROMPTS}")


def keep_prompts(environment: Environment) -> Keep | None:
    """Keeps prompts of environments that show pictures beside their stores."""
    kinds = {f.kind for f in environment.spec.with_role("state")}
    if not kinds & {"objects", "image"}:
        return None
    tokeniser = PromptTokeniser(visual="objects" if "objects" in kinds else "patches")
    return Keep(PROMPTS, partial(KeptPrompts, tokeniser=tokeniser))


def build_prompts(config: TrainConfig, data: Dataset, tokeniser: PromptTokeniser) -> PromptSource:
    """The prompts of the data as tokens, changed as the configuration says."""
    if data.store.path is None:
        raise DataError("a store in memory has no prompts")
    library = PromptLibrary.open(library_beside(data.store.path))
    tasks = [str(m.get("task", "")) for m in data.store.metas]
    return PromptSource(library, tokeniser, Perturbation(config.dataset.perturb, tokeniser.tokeniser), tasks)


def build_sampler(
    config: TrainConfig,
    data: Dataset,
    part: str,
    layout: TokenLayout,
    device: Any,
    episodes: np.ndarray | None = None,
    network: SequenceModel | None = None,
) -> WindowSampler:
    """Windows of one part of the split, or of some ``episodes``, with prompts where the network reads them. Raises ConfigError
    where episodes outlast the model's timestep embeddings."""
    limit, longest = config.model.episode_limit, int(data.store.lengths.max(initial=0))
    if limit is not None and longest > limit:
        raise ConfigError(f"model.max_timesteps={limit}, but the longest episode has {longest} timesteps; raise it and retrain")
    return WindowSampler(
        data.store,
        layout.length,
        config.experiment.batch_size,
        config.experiment.seed,
        episodes=getattr(data.split, part) if episodes is None else episodes,
        factors=layout.spec.names,
        device=device,
        normaliser=data.normaliser,
        known=data.known,
        chunk=chunk_of(config),
        prompts=build_prompts(config, data, network.tokeniser) if isinstance(network, CrossDecoder) else None,
        **asdict(config.dataset.sampling),
    )


def build_model(config: TrainConfig, environment: Environment, data: Dataset) -> Model:
    """An untrained model, its bins fitted on the training episodes."""
    model = _assemble(config, environment, data.spec, data.normaliser, data.store.card.content_hash, data.store.card.origin)
    for name in model.network.outputs:
        head, factor = model.network.head(name), model.layout.spec[name]
        if factor.kind == "continuous":
            values = torch.as_tensor(data.store.array(factor.parent)[data.training_rows(factor.parent)]).float()
            values = data.normaliser.apply(factor.parent, values)[..., part_slice(data.spec[factor.parent], name)]
            if head.chunk > 1:
                episodes = values.split(data.store.lengths[data.training_episodes(factor.parent)].tolist())
                values = torch.cat([following(e.flatten(1), head.chunk) for e in episodes])
            _fit(head, values, name)
    return model


def _fit(head: Head, values: torch.Tensor, name: str) -> None:
    """What a head learns before training, with a bar where that takes steps."""
    shown: list[RunProgress] = []

    def watch(step: int, steps: int, error: float) -> None:
        if not shown:
            shown.append(RunProgress(steps, enabled=os.environ.get("LOCAL_RANK", "0") == "0"))
            shown[0].note(f"first stage: codes of '{name}' (loss: mean absolute error of reconstructed values)")
        shown[0].step(step)
        shown[0].row(step, {"train/loss": error})

    try:
        head.fit(values, watch)
    finally:
        for progress in shown:
            progress.close()


def _assemble(
    config: TrainConfig, environment: Environment, spec: TrajectorySpec, normaliser: Normaliser, data_hash: str, origin: str
) -> Model:
    history = config.experiment.window_size or config.dataset.window
    length = config.dataset.sampling.goal_frames + history + chunk_of(config) - 1
    layout = make_layout(config, spec, length)
    scheme = build_scheme(config.masking)
    choices = {role: _choice(getattr(config.head, key)) for role, key in HEAD_KEYS.items()}
    width = getattr(config.model, "n_embd")  # noqa: B009 - every model of the group has one
    heads = build_heads(layout.spec.select(scheme.outputs(layout)), width, choices, config.head.net)
    network = instantiate(config.model, layout=layout, heads=heads)
    objective = Objective(config.masking.weights, config.masking.reduction)
    return Model(config, environment, spec, normaliser, scheme, network, objective, data_hash, origin)


def _choice(config: HeadSpec) -> HeadChoice:
    plain = asdict(config)
    return HeadChoice(**{**plain, "vq": CodesOptions(**plain["vq"]), "poses": PosesOptions(**plain["poses"])})


def chunk_of(config: TrainConfig) -> int:
    """Consecutive actions that one prediction stands for."""
    return config.head.action.vq.chunk if config.head.action.kind == "vq" else 1


def build_scheme(config: Masking) -> MaskScheme:
    """The training scheme, showing returns-to-go as the configuration wants them."""
    scheme: MaskScheme = instantiate(config.train)
    if config.returns is not None:
        scheme = WithReturns(scheme, config.returns)
    rule = PromptRule(**asdict(config.prompt))
    return scheme if rule.shows_all else WithPrompt(scheme, rule)


def make_layout(config: TrainConfig, spec: TrajectorySpec, length: int) -> TokenLayout:
    """Tokens as configured; a factor that is neither an input nor weighed in the loss is no part of them."""
    tokens, weights = config.tokens, config.masking.weights
    modelled = [
        f.name
        for f in spec.with_role(*MODEL_ROLES)
        if f.role in tokens.inputs or weights.get(f.name, weights.get(f.role, 1.0)) != 0
    ]
    return build_layout(spec, length, **{**asdict(tokens), "factors": tokens.factors or modelled})


#: Role -> field of the ``head`` schema (``return`` is a Python keyword).
HEAD_KEYS = {"action": "action", "state": "state", "return": "return_"}


def saved_with(model: Model) -> dict[str, Any]:
    """What a checkpoint holds besides weights, as plain JSON: specification, normaliser, provenance."""
    state = model.normaliser.state_dict()
    tensors = {name: value.tolist() for name, value in state["tensors"].items()}
    return {
        "spec": model.spec.to_json(),
        "normaliser": {"tensors": tensors, "json": state["json"]},
        "data_hash": model.data_hash,
        "origin": model.origin,
    }


def load_model(run_dir: str, which: str = "best", device: torch.device | str = "cpu", **changes: Any) -> Model:
    """The trained model of a run folder, from nothing but that folder."""
    node = saved_config(run_dir, "model.load_dir")
    config: TrainConfig = decode(TrainConfig, OmegaConf.to_container(node, resolve=True))
    extra: Mapping[str, Any] = checkpoint.load_trainer_state(Path(run_dir), which)["extra"]  # type: ignore[arg-type]
    spec = TrajectorySpec.from_json(extra["spec"])
    plain = extra["normaliser"]
    tensors = {name: torch.tensor(value) for name, value in plain["tensors"].items()}
    normaliser = Normaliser.from_state_dict({"tensors": tensors, "json": plain["json"]})
    environment = instantiate(config.env)
    model = _assemble(config, environment, spec, normaliser, extra["data_hash"], extra["origin"])
    model.network.load_state_dict(checkpoint.load_model(run_dir, which), strict=True)  # type: ignore[arg-type]
    model.network.to(device).eval()
    return model


def pick_device(name: str) -> torch.device:
    """``auto`` takes CUDA, then MPS, then the CPU. Raises ConfigError where the device is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if not there.get(name.split(":")[0], False):
        raise ConfigError(f"experiment.device={name} is not available on this machine; use auto or cpu")
    return torch.device(name)
