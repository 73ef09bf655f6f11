"""The public VIMA checkpoints as weights of ``CrossDecoder`` (VIMA spec 4.7): names, and where layouts differ, shapes."""

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
#: Entries that hold no weights, or repeat others.
_UNUSED = re.compile(
    r"xattn_gpt\.h\.\d+\.attn\.bias|.*position_ids|t5_prompt_encoder\.t5\.(shared|encoder\.embed_tokens)\.weight"
)
#: Published name -> ours; ``\1`` ... stand for numbers. A second name says how the tensor changes.
_NAMES: tuple[tuple[str, str, str], ...] = (
    (r"xattn_gpt\.positions_embed\.weight", "positions.weight", ""),
    (r"xattn_gpt\.xattn_positions_embed\.weight", "prompt_positions.weight", ""),
    (r"xattn_gpt\.h\.(\d+)\.attn\.c_attn\.(weight|bias)", r"controller.self_blocks.\1.qkv.\2", "transposed"),
    (r"xattn_gpt\.h\.(\d+)\.attn\.c_proj\.(weight|bias)", r"controller.self_blocks.\1.out.\2", "transposed"),
    (r"xattn_gpt\.h\.(\d+)\.ln_(\d)\.(\w+)", r"controller.self_blocks.\1.norm\2.\3", ""),
    (r"xattn_gpt\.h\.(\d+)\.mlp\.c_fc\.(weight|bias)", r"controller.self_blocks.\1.up.\2", "transposed"),
    (r"xattn_gpt\.h\.(\d+)\.mlp\.c_proj\.(weight|bias)", r"controller.self_blocks.\1.down.\2", "transposed"),
    (r"xattn_gpt\.h\.(\d+)\.mlp\.gated_layer\.weight", r"controller.self_blocks.\1.gate.weight", ""),
    (r"xattn_gpt\.xattns\.(\d+)\.layernorm\.(\w+)", r"controller.cross_blocks.\1.norm.\2", ""),
    (r"xattn_gpt\.xattns\.(\d+)\.ln\.(\w+)", r"controller.cross_blocks.\1.norm_up.\2", ""),
    (r"xattn_gpt\.xattns\.(\d+)\.(query|key_value)\.weight", r"controller.cross_blocks.\1.\2.weight", ""),
    (r"xattn_gpt\.xattns\.(\d+)\.attention_out\.weight", r"controller.cross_blocks.\1.out.weight", ""),
    (r"xattn_gpt\.xattns\.(\d+)\.linear1\.weight", r"controller.cross_blocks.\1.up.weight", ""),
    (r"xattn_gpt\.xattns\.(\d+)\.linear2\.weight", r"controller.cross_blocks.\1.down.weight", ""),
    (r"xattn_gpt\.xattns\.(\d+)\.gated_layer\.weight", r"controller.cross_blocks.\1.gate.weight", ""),
    (r"obj_encoder\.cropped_img_encoder\.vit\.cls_token", "sight.encoder.eye.cls_token", ""),
    (r"obj_encoder\.cropped_img_encoder\.vit\.pos_embed", "sight.encoder.eye.positions", ""),
    (r"obj_encoder\.cropped_img_encoder\.vit\.projection", "sight.encoder.eye.projection", ""),
    (r"obj_encoder\.cropped_img_encoder\.vit\.conv1\.weight", "sight.encoder.eye.embed.weight", "flattened"),
    (r"obj_encoder\.cropped_img_encoder\.vit\.ln_(pre|post)\.(\w+)", r"sight.encoder.eye.ln_\1.\2", ""),
    (r"obj_encoder\.cropped_img_encoder\.vit\.blocks\.(\d+)\.ln_(\d)\.(\w+)", r"sight.encoder.eye.blocks.\1.ln_\2.\3", ""),
    (
        r"obj_encoder\.cropped_img_encoder\.vit\.blocks\.(\d+)\.attn\.in_proj_(\w+)",
        r"sight.encoder.eye.blocks.\1.qkv.\2",
        "",
    ),
    (
        r"obj_encoder\.cropped_img_encoder\.vit\.blocks\.(\d+)\.attn\.out_proj\.(\w+)",
        r"sight.encoder.eye.blocks.\1.out.\2",
        "",
    ),
    (r"obj_encoder\.cropped_img_encoder\.vit\.blocks\.(\d+)\.mlp\.c_fc\.(\w+)", r"sight.encoder.eye.blocks.\1.up.\2", ""),
    (r"obj_encoder\.cropped_img_encoder\.vit\.blocks\.(\d+)\.mlp\.c_proj\.(\w+)", r"sight.encoder.eye.blocks.\1.down.\2", ""),
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
#: Places of linear layers in the published perceptrons, which hold an identity behind each.
_LAYERS = {"0": 0, "3": 1, "6": 2}


def published_weights(state: Mapping[str, Tensor], action: str = "action") -> dict[str, Tensor]:
    """Tensors of a public VIMA policy under our names; ``action`` is the factor that its heads predict.

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
    raise DataError(f"'{name}' is no entry of a public VIMA policy; expected the state dictionary of VIMAPolicy")


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
    """Sizes (``n_embd``, ``n_layer``, ``n_head``, ``cross_heads``) and state of a public checkpoint; nothing in it is run."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no checkpoint {path}")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, Mapping) or not {"cfg", "state_dict"} <= set(content):
        raise DataError(f"{path}: expected a public VIMA checkpoint with cfg and state_dict")
    cfg = content["cfg"]
    names = {"n_embd": "embed_dim", "n_layer": "xf_n_layers", "n_head": "sattn_n_heads", "cross_heads": "xattn_n_heads"}
    return {ours: int(cfg[theirs]) for ours, theirs in names.items()}, dict(content["state_dict"])
