"""The ``model`` and ``head`` groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from maskbench.app.config.decode import Bound
from maskbench.app.config.node import Node

Size = Annotated[int, Bound(least=1)]
Dropout = Annotated[float, Bound(least=0, below=1)]
Which = Literal["best", "last"]
Hidden = Literal["zero", "token", "indicator"]
Timesteps = Literal["none", "learned"]
Positions = Literal["sinusoidal", "sincos", "sincos_half", "learned"]


@dataclass(frozen=True)
class ModelNode(Node):
    """A sequence model; ``load_dir`` is the run whose weights training starts from."""

    labels: ClassVar[tuple[str, ...]] = ("load_dir", "which")
    #: The attention rules that the model follows.
    attention: ClassVar[tuple[str, ...]] = ("bidirectional",)

    load_dir: str | None = None
    which: Which = "best"

    @property
    def episode_limit(self) -> int | None:
        """Timesteps of the longest episode that the model can follow; None = any."""
        learned = getattr(self, "timesteps", "none") == "learned"
        return getattr(self, "max_timesteps") if learned else None  # noqa: B009 - both come together


@dataclass(frozen=True)
class Encoder(ModelNode):
    """BERT-like model of uniMASK."""

    target: ClassVar[str] = "maskbench.models.encoder.Encoder"

    n_layer: Size = 2
    n_head: Size = 8
    n_embd: Size = 128
    n_inner: Size | None = 128
    dropout: Dropout = 0.1
    activation: Literal["relu", "gelu"] = "relu"
    norm: Literal["post", "pre"] = "post"
    positions: Positions = "sinusoidal"
    scale_embedding: bool = True
    hidden: Hidden = "zero"
    timesteps: Timesteps = "none"
    max_timesteps: Size = 1000


@dataclass(frozen=True)
class Autoencoder(ModelNode):
    """Masked autoencoder of MaskDP and MTM: the encoder sees visible tokens only."""

    target: ClassVar[str] = "maskbench.models.autoencoder.Autoencoder"

    n_enc_layer: Size = 3
    n_dec_layer: Size = 2
    n_head: Size = 4
    n_embd: Size = 256
    n_inner: Size | None = None
    dropout: Dropout = 0.0
    style: Literal["maskdp", "mtm"] = "maskdp"
    hidden: Hidden = "zero"


@dataclass(frozen=True)
class LanguageModel(ModelNode):
    """Causal transformer over the tokens of text games."""

    target: ClassVar[str] = "maskbench.models.language.LanguageModel"
    attention: ClassVar[tuple[str, ...]] = ("causal",)

    n_layer: Size = 4
    n_head: Size = 4
    n_embd: Size = 128
    context: Size = 768
    dropout: Dropout = 0.1
    copying: bool = True
    lookback: Size = 1
    activation: Literal["relu", "gelu", "gelu_tanh"] = "gelu"
    path: str | None = None


@dataclass(frozen=True)
class Decoder(ModelNode):
    """Causal transformer of GPT, Decision Transformer and BeT."""

    target: ClassVar[str] = "maskbench.models.decoder.Decoder"
    attention: ClassVar[tuple[str, ...]] = ("causal",)

    n_layer: Size = 4
    n_head: Size = 4
    n_embd: Size = 72
    n_inner: Size | None = None
    dropout: Dropout = 0.1
    positions: Positions = "learned"
    final_norm: bool = True
    init: Literal["normal", "xavier"] = "normal"
    hidden: Hidden = "zero"
    activation: Literal["relu", "gelu"] = "gelu"
    embed_norm: bool = False
    timesteps: Timesteps = "none"
    max_timesteps: Size = 1000


@dataclass(frozen=True)
class MLP(ModelNode):
    """Multilayer perceptron on the flattened window: uniMASK's baseline, BeT's ablation."""

    target: ClassVar[str] = "maskbench.models.mlp.MLP"
    attention: ClassVar[tuple[str, ...]] = ("bidirectional", "causal")

    n_layer: Size = 3
    n_hidden: Size = 128
    n_embd: Size = 64
    dropout: Dropout = 0.1
    hidden: Literal["zero", "indicator"] = "zero"
    norm: Literal["none", "batch", "layer"] = "none"
    init: Literal["default", "orthogonal"] = "default"


@dataclass(frozen=True)
class LSTM(ModelNode):
    """Recurrent trunk: LSTM-GMM, BeT's ablation."""

    target: ClassVar[str] = "maskbench.models.lstm.LSTM"
    attention: ClassVar[tuple[str, ...]] = ("causal",)

    n_layer: Size = 2
    n_embd: Size = 256
    dropout: Dropout = 0.0


@dataclass(frozen=True)
class Sight(Node):
    """How pictures become tokens (``maskbench.models.sight``)."""

    target: ClassVar[str] = "maskbench.models.sight.SightOptions"

    kind: Literal["objects", "patches", "perceiver", "single"] = "objects"
    eye: Literal["vit", "conv"] = "vit"
    width: Size = 96
    layers: Size = 2
    n_head: Size = 4
    patch: Size = 16
    features: Size = 96
    waves: Annotated[int, Bound(least=0)] = 7


@dataclass(frozen=True)
class Text(Node):
    """How the words of prompts are encoded (``maskbench.models.prompts``)."""

    target: ClassVar[str] = "maskbench.models.prompts.TextOptions"

    kind: Literal["tiny_t5", "bow", "t5"] = "tiny_t5"
    width: Size = 128
    layers: Size = 2
    n_head: Size = 4
    dropout: Dropout = 0.1
    path: str | None = None
    train_last: Annotated[int, Bound(least=0)] | None = 2


@dataclass(frozen=True)
class CrossDecoder(ModelNode):
    """Decoder that is asked by a prompt: VIMA and its baselines."""

    target: ClassVar[str] = "maskbench.models.cross.CrossDecoder"
    attention: ClassVar[tuple[str, ...]] = ("causal", "bidirectional")

    n_layer: Size = 2
    n_head: Size = 4
    n_embd: Size = 128
    cross_heads: Size | None = None
    size: Literal["2M", "4M", "9M", "20M", "43M", "92M", "200M"] | None = None
    dropout: Dropout = 0.1
    conditioning: Literal["cross", "causal", "prefix"] = "cross"
    sight: Sight | None = None
    text: Text | None = None
    prompt_hidden: Size = 128
    prompt_length: Size = 256
    history_length: Size = 512
    action_width: Size = 64
    groups: Literal["token", "group"] = "token"
    readout: Literal["valid", "last"] = "valid"
    null_token: bool = True
    pad_pictures: bool = False


@dataclass(frozen=True)
class LoadedModel:
    """``eval.py`` and ``run_on_env.py``: the run folder to load, and which of its checkpoints."""

    load_dir: str
    which: Which


@dataclass(frozen=True)
class Codes:
    """Codes of VQ-BeT (``maskbench.models.heads.codes``)."""

    chunk: Size = 1
    num_groups: Size = 2
    num_codes: Size = 16
    n_embd: Size = 64
    n_hidden: Size = 128
    steps: Size = 1000
    batch_size: Size = 256
    lr: Annotated[float, Bound(above=0)] = 1e-3
    n_head_hidden: Size = 256
    primary: Annotated[float, Bound(least=0)] = 5.0
    secondary: Annotated[float, Bound(least=0)] = 0.5
    sequential: bool = False
    offset_of: Literal["sampled", "true"] = "sampled"
    offsets_only_after: Annotated[float, Bound(above=0, below=1)] | None = None


@dataclass(frozen=True)
class Poses:
    """Classes of poses (``maskbench.models.heads.poses``)."""

    rule: Literal["centred", "vima"] = "centred"
    rotation: Literal["quat", "yaw"] = "quat"
    canonical: bool = True
    hidden: Size = 128
    reduction: Literal["parts", "axes"] = "parts"
    smooth: Annotated[float, Bound(least=0)] = 0.0
    axes: Literal["independent", "chained"] = "independent"


@dataclass(frozen=True)
class HeadSpec:
    """Distribution over one role's cells and how its parameters are trained."""

    kind: Literal["auto", "mse", "gaussian", "mdn", "categorical", "bins", "vq", "uniform_bins", "given_bins", "poses"]
    target: Literal["raw", "l2", "standard"]
    tanh: bool
    focal_gamma: Annotated[float, Bound(least=0)]
    num_bins: Size
    offset_scale: Annotated[float, Bound(least=0)]
    predict_offsets: bool
    std: Annotated[float, Bound(above=0)] | None
    # runs of earlier versions do not have these
    values: tuple[float, ...] | None = None
    standardise_bins: bool = False
    std_floor: Annotated[float, Bound(above=0)] = 0.01
    vq: Codes = field(default_factory=Codes)
    poses: Poses = field(default_factory=Poses)


@dataclass(frozen=True)
class Head:
    """The ``head`` group: the layers before the outputs, and a distribution a role."""

    net: Literal["linear", "norm_relu", "norm_gelu"]
    action: HeadSpec
    state: HeadSpec
    return_: HeadSpec
