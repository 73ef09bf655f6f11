"""Weights of the published policies as those of ``CrossDecoder`` (VIMA spec 2.6, 4.7): names, and where layouts differ, shapes.

VIMA itself, whose checkpoints are public, and its baselines VIMA-Gato, VIMA-Flamingo and VIMA-GPT, whose code is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from maskbench.errors import DataError
from maskbench.models.cross import CrossDecoder
from maskbench.objects import VIEWS

#: Poses in the order of an action.
POSES = ("pose0_position", "pose0_rotation", "pose1_position", "pose1_rotation")
#: Controllers: that of VIMA and Flamingo looks at the prompt, that of Gato and GPT reads it first.
_GPT = r"(?:xattn_gpt|transformer\.lm)\."
_BLOCK, _OUR_BLOCK = rf"{_GPT}h\.(\d+)\.", r"controller.self_blocks.\1."
_CROSS, _OUR_CROSS = r"xattn_gpt\.xattns\.(\d+)\.", r"controller.cross_blocks.\1."
_VIT, _OUR_VIT = r"obj_encoder\.cropped_img_encoder\.vit\.", r"sight.encoder.eye."
#: Flamingo's latents: the layer that looks at tokens, and those that look at each other.
_LATENTS = r"obj_encoder\.peceiver\.model\."
_LAYERS_OF_LATENTS = (
    (rf"{_LATENTS}encoder\.cross_attention\.", "sight.encoder.latents.look."),
    (rf"{_LATENTS}encoder\.self_attends\.(\d+)\.", r"sight.encoder.latents.think.\1."),
)
#: Entries that hold no weights, or repeat others.
_UNUSED = re.compile(
    rf"{_BLOCK}attn\.bias|.*position_ids|{_GPT}tokens_embed\.weight|"
    r"t5_prompt_encoder\.t5\.(shared|encoder\.embed_tokens)\.weight"
)
#: Published name -> ours; ``\1`` ... stand for numbers. A third entry says how the tensor changes.
_NAMES: tuple[tuple[str, str, str], ...] = (
    (rf"{_GPT}positions_embed\.weight", "positions.weight", ""),
    (r"xattn_gpt\.xattn_positions_embed\.weight", "prompt_positions.weight", ""),
    (r"prompt_sep_token", "separator", ""),
    (rf"{_BLOCK}attn\.c_attn\.(weight|bias)", rf"{_OUR_BLOCK}qkv.\2", "transposed"),
    (rf"{_BLOCK}attn\.c_proj\.(weight|bias)", rf"{_OUR_BLOCK}out.\2", "transposed"),
    (rf"{_BLOCK}ln_(\d)\.(\w+)", rf"{_OUR_BLOCK}norm\2.\3", ""),
    (rf"{_BLOCK}mlp\.c_fc\.(weight|bias)", rf"{_OUR_BLOCK}up.\2", "transposed"),
    (rf"{_BLOCK}mlp\.c_proj\.(weight|bias)", rf"{_OUR_BLOCK}down.\2", "transposed"),
    (rf"{_BLOCK}mlp\.gated_layer\.weight", rf"{_OUR_BLOCK}gate.weight", ""),
    (rf"{_CROSS}layernorm\.(\w+)", rf"{_OUR_CROSS}norm.\2", ""),
    (rf"{_CROSS}ln\.(\w+)", rf"{_OUR_CROSS}norm_up.\2", ""),
    (rf"{_CROSS}(query|key_value)\.weight", rf"{_OUR_CROSS}\2.weight", ""),
    (rf"{_CROSS}attention_out\.weight", rf"{_OUR_CROSS}out.weight", ""),
    (rf"{_CROSS}linear1\.weight", rf"{_OUR_CROSS}up.weight", ""),
    (rf"{_CROSS}linear2\.weight", rf"{_OUR_CROSS}down.weight", ""),
    (rf"{_CROSS}gated_layer\.weight", rf"{_OUR_CROSS}gate.weight", ""),
    (rf"{_VIT}cls_token", f"{_OUR_VIT}cls_token", ""),
    (rf"{_VIT}pos_embed", f"{_OUR_VIT}positions", ""),
    (rf"{_VIT}projection", f"{_OUR_VIT}projection", ""),
    (rf"{_VIT}conv1\.weight", f"{_OUR_VIT}embed.weight", "flattened"),
    (rf"{_VIT}ln_(pre|post)\.(\w+)", rf"{_OUR_VIT}ln_\1.\2", ""),
    (rf"{_VIT}blocks\.(\d+)\.ln_(\d)\.(\w+)", rf"{_OUR_VIT}blocks.\1.ln_\2.\3", ""),
    (rf"{_VIT}blocks\.(\d+)\.attn\.in_proj_(\w+)", rf"{_OUR_VIT}blocks.\1.qkv.\2", ""),
    (rf"{_VIT}blocks\.(\d+)\.attn\.out_proj\.(\w+)", rf"{_OUR_VIT}blocks.\1.out.\2", ""),
    (rf"{_VIT}blocks\.(\d+)\.mlp\.c_fc\.(\w+)", rf"{_OUR_VIT}blocks.\1.up.\2", ""),
    (rf"{_VIT}blocks\.(\d+)\.mlp\.c_proj\.(\w+)", rf"{_OUR_VIT}blocks.\1.down.\2", ""),
    (rf"{_LATENTS}embeddings\.latents", "sight.encoder.latents.latents", ""),
    *(
        (f"{theirs}{part}\\.(?P<kind>\\w+)", f"{ours}{name}.\\g<kind>", "")
        for theirs, ours in _LAYERS_OF_LATENTS
        for part, name in (
            (r"attention\.self\.layernorm1", "norm"),
            (r"attention\.self\.layernorm2", "norm_tokens"),
            (r"attention\.self\.query", "query"),
            (r"attention\.self\.key", "key"),
            (r"attention\.self\.value", "value"),
            (r"attention\.output\.dense", "out"),
            ("layernorm", "norm_up"),
            (r"mlp\.dense1", "up"),
            (r"mlp\.dense2", "down"),
        )
    ),
    (r"end_effector_encoder\.weight", "effector.weight", ""),
    (r"obs_fusion_layer\.(\w+)", r"fuse.\1", ""),
    (r"action_encoder\._post_layer\.(\w+)", r"act.\1", ""),
    (r"prompt_embedding\._embed_layer\.weight", "prompts.words.weight", ""),
    (r"t5_prompt_encoder\.t5\.encoder\.(.+)", r"prompts.encoder.\1", ""),
    (r"t5_prompt_encoder_post_layer\.weight", "prompts.out.weight", ""),
)
_VIEW = re.compile(r"obj_encoder\.(bbox_mlp|pre_transformer_layer)\.(\w+)\.(.+)")
_POSE = re.compile(r"action_encoder\._embed_dict\.(\w+)\._layer\.(\d+)\.(\w+)")
_PROMPT = re.compile(r"prompt_obj_post_layer\.(\d+)\.(\w+)")
_DECODER = re.compile(r"action_decoder\._decoders\.(\w+)\.mlps\.(\d+)\.(\d+)\.(\w+)")
#: What sizes are called in the configurations of VIMA, Flamingo, and the decoder-only baselines.
_SIZES = {
    "n_embd": ("embed_dim",),
    "n_layer": ("xf_n_layers", "dt_n_layers", "n_layer"),
    "n_head": ("sattn_n_heads", "dt_n_heads", "n_head"),
    "cross_heads": ("xattn_n_heads",),
}
#: Places of linear layers in the published perceptrons, which hold an identity behind each.
_LAYERS = {"0": 0, "3": 1, "6": 2}


def published_weights(state: Mapping[str, Tensor], action: str = "action") -> dict[str, Tensor]:
    """Tensors of a published policy under our names; ``action`` is the factor that its heads predict.

    Raises DataError naming the first entry that no published policy has.
    """
    found: dict[str, Tensor] = {}
    heads: dict[tuple[int, str], dict[int, Tensor]] = {}
    for full, tensor in state.items():
        name = full.removeprefix("policy.")
        if _UNUSED.fullmatch(name):
            continue
        if match := _DECODER.fullmatch(name):
            pose, axis, layer, kind = match.groups()
            first = sum(2 if p.endswith("position") else 4 for p in POSES[: POSES.index(pose)])
            heads.setdefault((_LAYERS[layer], kind), {})[first + int(axis)] = tensor
        elif match := _VIEW.fullmatch(name):
            part, view, rest = match.groups()
            place, _, kind = rest.rpartition(".")
            ours = f"boxes.{VIEWS.index(view)}.{2 * _LAYERS[place]}" if part == "bbox_mlp" else f"join.{VIEWS.index(view)}"
            found[f"sight.encoder.{ours}.{kind}"] = tensor
        elif match := _POSE.fullmatch(name):
            found[f"poses.{POSES.index(match[1])}.{2 * _LAYERS[match[2]]}.{match[3]}"] = tensor
        elif match := _PROMPT.fullmatch(name):
            found[f"prompts.pictures.{2 * _LAYERS[match[1]]}.{match[2]}"] = tensor
        else:
            ours, changed = _renamed(name, tensor)
            found[ours] = changed
    for (layer, kind), axes in heads.items():
        most = max(len(t) for t in axes.values())
        stacked = [F.pad(t, (0, 0) * (t.dim() - 1) + (0, most - len(t))) for _, t in sorted(axes.items())]
        found[f"heads.{action}.{'weights' if kind == 'weight' else 'biases'}.{layer}"] = torch.stack(stacked)
    return found


def _renamed(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    for pattern, ours, how in _NAMES:
        if match := re.fullmatch(pattern, name):
            if how == "transposed" and tensor.dim() == 2:
                tensor = tensor.T.contiguous()
            return match.expand(ours), tensor.flatten(1) if how == "flattened" else tensor
    raise DataError(f"'{name}' is no entry of a published policy; expected the state dictionary of VIMA or of a baseline")


def load_published(model: CrossDecoder, state: Mapping[str, Tensor], action: str = "action") -> None:
    """Fills a model with published weights. What the published model does not have (tokens of what is hidden) stays.

    Raises DataError naming the first tensor that is missing or of another shape.
    """
    weights = published_weights(state, action)
    own = model.state_dict()
    extra = {"absent", "absent_effector", "prompts.null"}
    for name, tensor in own.items():
        if name not in weights and name not in extra:
            raise DataError(f"the published weights lack '{name}'")
        if name in weights and weights[name].shape != tensor.shape:
            raise DataError(
                f"'{name}' is {tuple(weights[name].shape)} as published, {tuple(tensor.shape)} here: choose the published size"
            )
    unknown = sorted(set(weights) - set(own))
    if unknown:
        raise DataError(f"the published weights hold '{unknown[0]}', which this model does not have: choose the published size")
    model.load_state_dict({**{n: own[n] for n in extra}, **weights})


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Sizes (``n_embd``, ``n_layer``, ``n_head``; ``cross_heads`` where it has such) and state of a checkpoint of VIMA or of a
    baseline in the same form; nothing in it is run."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no checkpoint {path}")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, Mapping) or not {"cfg", "state_dict"} <= set(content):
        raise DataError(f"{path}: expected a VIMA checkpoint with cfg and state_dict")
    cfg = content["cfg"]
    sizes = {ours: int(cfg[name]) for ours, names in _SIZES.items() for name in names if name in cfg}
    if missing := [name for name in ("n_embd", "n_layer", "n_head") if name not in sizes]:
        raise DataError(f"{path}: cfg tells no {missing}; found {sorted(cfg)}")
    return sizes, dict(content["state_dict"])
