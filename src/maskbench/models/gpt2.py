"""GPT-2's published weights in the language model of text games: same blocks, other names (TTM spec 6.2).

A folder as ``transformers`` saves it: ``config.json`` and ``model.safetensors``. Pickled weights are refused. Rows of the
embedding stand in the order of ``maskbench.text.tokenizer``: our special tokens first, then GPT-2's vocabulary.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from maskbench.errors import ConfigError, DataError

if TYPE_CHECKING:
    from maskbench.models.language import LanguageModel

#: Their names of a block's parts; their linear maps are stored as (in, out).
_LINEAR = {"attn.c_attn": "attention.qkv", "attn.c_proj": "attention.out", "mlp.c_fc": "up", "mlp.c_proj": "down"}
_NORMS = {"ln_1": "norm1", "ln_2": "norm2"}
_SIZES = {"n_layer": "n_layer", "n_head": "n_head", "n_embd": "n_embd", "n_positions": "context"}


def load_gpt2(model: LanguageModel, folder: Path) -> None:
    """Fills ``model`` with the weights of ``folder``; special tokens start as the mean of all others plus a little noise.

    Raises ConfigError where sizes differ or the folder lacks a file, DataError for weights of another architecture.
    """
    from safetensors.torch import load_file

    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise ConfigError(
                f"model.path={folder} lacks {name}: give a folder of GPT-2 as transformers saves it (safetensors)"
            )
    _check(model, json.loads((folder / "config.json").read_text(encoding="utf-8")), folder)
    theirs = {name.removeprefix("transformer."): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    ours = dict(model.state_dict())
    try:
        ours |= _renamed(theirs, len(model.trunk.blocks))
        words, special = theirs["wte.weight"], model.vocab_size - len(theirs["wte.weight"])
    except KeyError as error:
        raise DataError(f"{folder}/model.safetensors is no GPT-2: it lacks {error}") from None
    if special < 0:
        raise ConfigError(f"{folder} has {len(words)} tokens, the tokenizer only {model.vocab_size}: it is another one's")
    start = words.mean(0) + torch.randn(special, words.shape[1]) * words.std() * 0.1
    model.load_state_dict(ours | {"tokens.weight": torch.cat([start, words])}, strict=True)


def _check(model: LanguageModel, config: dict[str, Any], folder: Path) -> None:
    block: Any = model.trunk.blocks[0]
    here = {"n_layer": len(model.trunk.blocks), "n_head": block.attention.n_head, "context": model.context}
    here["n_embd"] = model.tokens.weight.shape[1]
    wrong = [f"model.{ours}={config[theirs]}" for theirs, ours in _SIZES.items() if config.get(theirs) != here[ours]]
    if wrong:
        raise ConfigError(f"model.path={folder} has other sizes; set {' '.join(wrong)}")
    if config.get("activation_function") != "gelu_new" or block.activation != "gelu_tanh":
        found = f"{config.get('activation_function')} there, {block.activation} here"
        raise ConfigError(f"GPT-2's activation is gelu_new, model.activation=gelu_tanh; found {found}")


def _renamed(theirs: dict[str, Tensor], n_layer: int) -> dict[str, Tensor]:
    found = {"positions.weight": theirs["wpe.weight"]}
    found |= {f"trunk.norm.{x}": theirs[f"ln_f.{x}"] for x in ("weight", "bias")}
    for i in range(n_layer):
        for name, own in _LINEAR.items():
            found[f"trunk.blocks.{i}.{own}.weight"] = theirs[f"h.{i}.{name}.weight"].T.contiguous()
            found[f"trunk.blocks.{i}.{own}.bias"] = theirs[f"h.{i}.{name}.bias"]
        for name, own in _NORMS.items():
            found |= {f"trunk.blocks.{i}.{own}.{x}": theirs[f"h.{i}.{name}.{x}"] for x in ("weight", "bias")}
    return found
