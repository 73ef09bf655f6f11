"""Root schemas of ``train.yaml``, ``eval.yaml`` and ``run_on_env.yaml``, and the groups without a target.

``collect.yaml`` has a module of its own, ``schema_collect.py``; so have the groups that say how models act, ``schema_play.py``.

Fields have no defaults here: the YAML files are the only place where values are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from maskbench.app.config.decode import Bound
from maskbench.app.config.schema_collect import CollectConfig
from maskbench.app.config.schema_data import Dataset, Tokens
from maskbench.app.config.schema_env import EnvNode
from maskbench.app.config.schema_masking import Masking, TaskName
from maskbench.app.config.schema_model import Head, LoadedModel, ModelNode
from maskbench.app.config.schema_play import FAIR, PAPER, Metrics, PolicyConfig, Protocol, Query

Count = Annotated[int, Bound(least=1)]
CountOrNone = Annotated[int, Bound(least=0)]
Positive = Annotated[float, Bound(above=0)]
NonNegative = Annotated[float, Bound(least=0)]
Fraction = Annotated[float, Bound(least=0, below=1)]
Device = Literal["auto", "cpu", "cuda", "mps"]
#: Rollout queries; ``goal_open`` plans once and plays the plan, the others ask again after every step, those in two stages
#: for the states ahead and then for the action.
RolloutName = Literal[
    "bc",
    "return",
    "goal",
    "goal_open",
    "goal_demonstrated",
    "bc_two_stage",
    "return_two_stage",
    "multi_goal",
    "multi_goal_open",
    "prompt",
    "prompt_open",
    "prompt_20",
    "prompt_20_open",
    "prompt_40",
    "prompt_40_open",
    "prompt_60",
    "prompt_60_open",
]
Seed = Annotated[int, Bound(least=0, most=2**32 - 1)]


@dataclass(frozen=True)
class Experiment:
    """Run settings of ``train.py``."""

    name: str
    seed: Seed
    device: Device
    num_steps: Count
    num_prior_epochs: Count | None
    batch_size: Count
    window_size: Count | None
    num_eval_eps: CountOrNone | None
    num_eval_steps: Count | None
    record_video: bool
    num_workers: CountOrNone
    num_envs: Count
    num_cv_runs: Count
    data_root: str
    # runs of earlier versions do not have this
    cv_run_idx: CountOrNone | None = None
    run_id: CountOrNone = 0
    epoch: CountOrNone = 0


@dataclass(frozen=True)
class EvalExperiment:
    """Run settings of ``eval.py`` and ``run_on_env.py``."""

    name: str
    seed: Seed
    device: Device
    batch_size: Count
    num_eval_eps: Count | None
    num_eval_steps: Count | None
    record_video: bool
    num_workers: CountOrNone
    num_envs: Count
    data_root: str
    # runs of earlier versions do not have these
    cv_run_idx: Literal["all"] | CountOrNone = "all"
    vectorized_env: bool = True
    async_envs: bool = False
    action_batch_size: Count = 1
    action_update_every: Count = 1
    enable_offsets: bool = True
    run_id: CountOrNone | None = None
    epoch: CountOrNone = 0
    partition: Literal["teacher", "student_train", "student_test"] | None = None
    store: str = "model"


@dataclass(frozen=True)
class Optimizer:
    """The ``optimizer`` group."""

    name: Literal["adam", "adamw"]
    lr: Positive
    weight_decay: NonNegative
    betas: tuple[Fraction, Fraction]
    decay: Literal["linear", "all", "none"]


@dataclass(frozen=True)
class Scheduler:
    """The learning rate's course: the ``scheduler`` group."""

    name: Literal["constant", "cosine", "linear"]
    warmup_steps: CountOrNone
    final_ratio: Annotated[float, Bound(least=0, most=1)]
    decay_steps: Count | None = None


@dataclass(frozen=True)
class Trainer:
    """The ``trainer`` group (``maskbench.training.trainer.Trainer``)."""

    precision: Literal["fp32", "bf16"]
    threads: Count | None
    grad_clip: Positive | None
    accumulate: Count
    ema_decay: Annotated[float, Bound(above=0, below=1)] | None
    validate_every: Count | None
    checkpoint_every: Count | None
    checkpoint_seconds: Positive | None
    log_every: Count
    compile: Literal["auto"] | bool
    deterministic: bool
    strategy: Literal["auto", "ddp"]
    devices: Count
    early_stop_patience: Count | None
    profile: bool
    stack_seeds: Literal["auto"] | bool = "auto"


@dataclass(frozen=True)
class Evaluation:
    """What is measured after training: the ``evaluation`` group."""

    num_windows: Count
    seed: Seed
    rollout: tuple[RolloutName, ...]


@dataclass(frozen=True)
class OfflineRL:
    """Reinforcement learning on a model's trunk instead of masked training: the ``rl`` group
    (``maskbench.models.actor_critic``, ``maskbench.training.offline_rl``)."""

    name: Literal["td3"]
    timesteps: Count
    attend: Literal["causal", "bidirectional"]
    placed: Literal["dense", "interleaved"]
    init: Literal["pretrained", "orthogonal"]
    target: Literal["heads", "all"]
    freeze: Literal["none", "actor", "as_published"]
    discount: Annotated[float, Bound(least=0, most=1)]
    rate: Annotated[float, Bound(above=0, most=1)]
    noise: NonNegative
    clip: NonNegative
    cloning: NonNegative


@dataclass(frozen=True)
class TextTraining:
    """What text models read and how it becomes tokens: the ``text`` group; other models ignore it."""

    tokenizer: str = "bpe_1200"
    entities: bool = True
    common: Annotated[float, Bound(above=0, most=1)] = 0.3
    bucket: str = "ten"
    kitchen: Annotated[float, Bound(least=0, most=1)] = 0.0
    kitchen_levels: tuple[Annotated[int, Bound(least=1, most=4)], ...] = (1, 2)
    kitchen_foods: Literal["textworld", "invented"] = "invented"
    kitchen_strange: Annotated[float, Bound(least=0, most=1)] = 0.0
    mix: tuple[tuple[float, float], ...] = ((0.0, 1.0), (0.2, 1.0))
    horizon: Count = 25
    labellers: tuple[Literal["event", "failure", "reading", "recipe", "outcome"], ...] = ()
    partition: Literal["teacher", "student_train", "student_test"] = "student_train"
    agents: tuple[str, ...] | None = None
    validation: Count = 32


@dataclass(frozen=True)
class Logger:
    """Where numbers go besides the run folder: the ``logger`` group."""

    name: Literal["csv", "tensorboard", "wandb"]
    project: str
    mode: Literal["offline", "online", "disabled"]


@dataclass(frozen=True)
class Sweep:
    """Search space and study of ``sweep=optuna``; read by the sweeper alone."""

    params: Mapping[str, Any]
    trials: Count
    parallel: Count
    direction: Literal["minimize", "maximize"]
    sampler: Literal["tpe", "random"]
    seed: Seed
    study: str
    storage: str


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    experiment: Experiment
    resume: str | None
    env: EnvNode
    dataset: Dataset
    tokens: Tokens
    masking: Masking
    model: ModelNode
    head: Head
    optimizer: Optimizer
    scheduler: Scheduler
    trainer: Trainer
    evaluation: Evaluation
    query: Query
    logger: Logger
    sweep: Sweep | None = None
    metrics: Metrics = PAPER
    text: TextTraining = TextTraining()
    protocol: Protocol = FAIR
    rl: OfflineRL | None = None


@dataclass(frozen=True)
class EvalConfig:
    """Losses of a trained run on its held-out windows, task by task."""

    experiment: EvalExperiment
    env: EnvNode
    dataset: Dataset
    model: LoadedModel
    evaluation: Evaluation
    tasks: tuple[TaskName, ...] | None
    part: Literal["train", "validation", "test"]
    query: Query | None = None
    sweep: Sweep | None = None
    metrics: Metrics = PAPER
    protocol: Protocol = FAIR


@dataclass(frozen=True)
class RolloutConfig:
    """A trained run acting in an environment."""

    experiment: EvalExperiment
    env: EnvNode
    dataset: Dataset
    model: LoadedModel
    query: Query
    sweep: Sweep | None = None
    metrics: Metrics = PAPER
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    protocol: Protocol = FAIR


Config = TrainConfig | EvalConfig | RolloutConfig | CollectConfig

#: Schema by command (also the name of its primary YAML file).
SCHEMAS: dict[str, type[Any]] = {
    "train": TrainConfig,
    "eval": EvalConfig,
    "run_on_env": RolloutConfig,
    "collect": CollectConfig,
}
