"""Schema of ``collect.yaml``: ``python -m maskbench collect``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from maskbench.app.config.decode import Bound
from maskbench.app.config.node import Node
from maskbench.app.config.schema_env import DMControl

Count = Annotated[int, Bound(least=1)]
CountOrNone = Annotated[int, Bound(least=0)]
Positive = Annotated[float, Bound(above=0)]
NonNegative = Annotated[float, Bound(least=0)]
Share = Annotated[float, Bound(above=0, most=1)]
Seed = Annotated[int, Bound(least=0, most=2**32 - 1)]


@dataclass(frozen=True)
class IntrinsicNode(Node):
    """A reward that an explorer gives itself."""


@dataclass(frozen=True)
class RND(IntrinsicNode):
    """Random network distillation."""

    target: ClassVar[str] = "maskbench.collect.rewards.rnd.RND"

    features: Count = 512


@dataclass(frozen=True)
class ICMAPT(IntrinsicNode):
    """Entropy of curiosity features."""

    target: ClassVar[str] = "maskbench.collect.rewards.icm_apt.ICMAPT"

    features: Count = 512
    neighbours: Count = 12


@dataclass(frozen=True)
class Proto(IntrinsicNode):
    """Entropy of prototype embeddings, ProtoRL."""

    target: ClassVar[str] = "maskbench.collect.rewards.proto.Proto"

    features: Count = 128
    prototypes: Count = 512
    queue: Count = 2048
    neighbours: Count = 3
    temperature: Positive = 0.1
    sinkhorn: Count = 3
    tau: Share = 0.05


@dataclass(frozen=True)
class LearnerNode(Node):
    """How the agent learns."""

    target: ClassVar[str] = "maskbench.collect.agent.Learner"

    hidden: Count = 256
    batch_size: Count = 256
    lr: Positive = 4e-4
    gamma: Annotated[float, Bound(least=0, below=1)] = 0.99
    tau: Share = 0.01
    nstep: Count = 3
    repeat: Count = 2
    update_every: Count = 2
    warmup_steps: Count = 4000
    noise: NonNegative = 0.2
    noise_clip: NonNegative = 0.3
    actor_every: Count = 1
    critic_norm: bool = True
    squash: bool = True
    capacity: Count = 1_000_000
    precision: Literal["fp32", "bf16"] = "fp32"


@dataclass(frozen=True)
class AgentConfig:
    """The ``agent`` group: what the agent is paid for."""

    name: str
    bonus: Share | None
    intrinsic: IntrinsicNode | None


@dataclass(frozen=True)
class RolloutEpisodes:
    """Episodes of the frozen best agent."""

    train: CountOrNone
    eval: CountOrNone
    noise: NonNegative


@dataclass(frozen=True)
class CollectConfig:
    """One collecting agent and the episodes that it leaves."""

    task: str | None
    out: str
    part: Literal["train", "eval"]
    seed: Seed
    num_steps: Count
    evaluate_every: Count
    evaluation_episodes: Count
    stop_return: Positive | None
    checkpoint_seconds: Positive
    threads: Count
    rollout: RolloutEpisodes
    env: DMControl
    agent: AgentConfig
    learner: LearnerNode
