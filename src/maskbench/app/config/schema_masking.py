"""The ``masking`` group: one node per scheme of ``maskbench.masking``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from maskbench.app.config.decode import Bound
from maskbench.app.config.node import Node

#: Tasks that a trained model can be asked (``maskbench.masking.tasks``).
TaskName = Literal[
    "bc",
    "return",
    "goal",
    "waypoint",
    "past",
    "future",
    "forward_dynamics",
    "inverse_dynamics",
    "inverse_dynamics_action",
    "last_state",
    "action_between",
]
Fraction = Annotated[float, Bound(above=0, below=1)]
Share = Annotated[float, Bound(above=0, most=1)]
Probability = Annotated[float, Bound(least=0, most=1)]
Weight = Annotated[float, Bound(least=0)]
Per = Literal["batch", "row"]
Predict = Literal["hidden", "all"]
Attend = Literal["bidirectional", "causal"]
Bit = Literal[0, 1]


@dataclass(frozen=True)
class SchemeNode(Node):
    """A rule that draws visible, predicted and attended cells."""

    @property
    def attention(self) -> str:
        """Which tokens may look at which under this scheme; a mixture follows its schemes."""
        attend: str = getattr(self, "attend", "bidirectional")
        return attend


@dataclass(frozen=True)
class NamedTask(SchemeNode):
    """One task of the table of named tasks."""

    target: ClassVar[str] = "maskbench.masking.tasks.NamedTask"

    name: TaskName
    tiled: bool = True
    legacy_wraparound: bool = False
    at: Literal["last", "second_last"] | None = None
    attend: Attend = "bidirectional"


@dataclass(frozen=True)
class BernoulliMask(SchemeNode):
    """Independent cells: BERT, uniMASK."""

    target: ClassVar[str] = "maskbench.masking.random.BernoulliMask"

    p: Fraction | None = None
    first_return: Probability = 0.5
    predict: Predict = "hidden"
    independent_parts: bool = False
    attend: Attend = "bidirectional"


@dataclass(frozen=True)
class RatioMask(SchemeNode):
    """A fixed count of tokens: MaskDP."""

    target: ClassVar[str] = "maskbench.masking.random.RatioMask"

    ratios: tuple[Fraction, ...]
    per: Per = "batch"
    predict: Predict = "all"


@dataclass(frozen=True)
class BlockMask(SchemeNode):
    """Runs of tokens: CurrMask's block masks."""

    target: ClassVar[str] = "maskbench.masking.block.BlockMask"

    blocks: tuple[Annotated[int, Bound(least=1)], ...]
    ratios: tuple[Fraction, ...]
    per: Per = "batch"
    predict: Predict = "all"


@dataclass(frozen=True)
class ModalityMask(SchemeNode):
    """Per modality: MTM's RANDOM."""

    target: ClassVar[str] = "maskbench.masking.random.ModalityMask"

    visible: tuple[Share, ...]
    per: Per = "row"
    predict: Predict = "all"


@dataclass(frozen=True)
class TokenMask(SchemeNode):
    """Per token: MTM's FULL_RANDOM."""

    target: ClassVar[str] = "maskbench.masking.random.TokenMask"

    visible: tuple[Share, ...] | None = None
    per: Per = "row"
    predict: Predict = "all"


@dataclass(frozen=True)
class PatternMask(SchemeNode):
    """One fixed pattern of MTM's specialists."""

    target: ClassVar[str] = "maskbench.masking.mtm.PatternMask"

    name: Literal["id", "fd", "bc", "rcbc", "goal", "goal_n", "bc_random"]
    per: Per = "row"
    predict: Predict = "all"


@dataclass(frozen=True)
class FrontierMask(SchemeNode):
    """Per modality up to a causal frontier: MTM's AUTO_MASK."""

    target: ClassVar[str] = "maskbench.masking.random.FrontierMask"

    visible: tuple[Share, ...]
    frontier: Mapping[Literal["state", "return", "action"], Weight]
    per: Per = "row"
    predict: Predict = "all"


@dataclass(frozen=True)
class CausalMask(SchemeNode):
    """Everything before is visible: GPT, BeT."""

    target: ClassVar[str] = "maskbench.masking.causal.CausalMask"

    predict: tuple[str, ...] = ("action",)
    returns: Literal["none", "all", "first", "all_half", "first_half"] = "first_half"

    @property
    def attention(self) -> str:
        return "causal"


@dataclass(frozen=True)
class SpanMask(SchemeNode):
    """A contiguous piece."""

    target: ClassVar[str] = "maskbench.masking.span.SpanMask"

    limits: tuple[Annotated[int, Bound(least=0)], Annotated[int, Bound(least=0)]] | None = None
    attend: Attend = "bidirectional"


@dataclass(frozen=True)
class CustomMask(SchemeNode):
    """Written out by hand."""

    target: ClassVar[str] = "maskbench.masking.custom.CustomMask"

    visible: Mapping[str, tuple[Bit, ...]]
    predict: Mapping[str, tuple[Bit, ...]] | None = None


TextFactor = Literal["val", "obs", "exp", "sum", "len", "rew", "act", "next"]


@dataclass(frozen=True)
class TextScheme(SchemeNode):
    """Spans of text that are given, predicted or hidden: TTM."""

    target: ClassVar[str] = "maskbench.masking.text.TextScheme"

    name: str = "text_bc"
    given: tuple[TextFactor, ...] = ("obs",)
    predict: tuple[TextFactor, ...] = ("act",)
    order: tuple[TextFactor, ...] = ("val", "obs", "exp", "sum", "len", "rew", "act", "next")
    value: Literal["label_mean", "final", "rtg", "steps_to_reward", "rtg_discounted"] = "final"
    learn: Literal["clean", "executed"] = "clean"
    observations: Weight = 0.1
    keep: Literal["all", "nearest"] = "nearest"
    random: bool = False
    goal: bool = False
    format: str | None = None

    @property
    def attention(self) -> str:
        return "causal"


@dataclass(frozen=True)
class Mixture(SchemeNode):
    """Several schemes in one batch."""

    target: ClassVar[str] = "maskbench.masking.mixture.Mixture"

    schemes: Mapping[str, SchemeNode]
    weights: Mapping[str, Weight] | None = None
    per: Literal["row", "batch", "cycle"] = "row"


@dataclass(frozen=True)
class PromptRule:
    """Probabilities with which parts of prompts are shown (``maskbench.masking.prompt``)."""

    text: Probability = 1.0
    visual: Probability = 1.0
    both: Probability = 1.0
    group: Probability = 1.0


@dataclass(frozen=True)
class Masking:
    """What is hidden in training, which tasks validation asks, and how factor losses are weighed.

    ``returns`` shows the returns-to-go so, whatever ``train`` does with them (``maskbench.masking.returns``).
    """

    train: SchemeNode
    tasks: tuple[TaskName, ...]
    weights: Mapping[str, Weight]
    reduction: Literal["factor", "pooled"]
    returns: Literal["none", "all", "first", "all_half", "keep_half", "first_half"] | None = None
    prompt: PromptRule = field(default_factory=PromptRule)
