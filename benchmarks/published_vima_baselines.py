"""VIMA's baselines, filled with the weights of the published code's own modules: how far their log-probabilities differ.

Run: git clone https://github.com/vimalabs/VIMA && python benchmarks/published_vima_baselines.py VIMA

The pictures are those of demonstrations on our tabletop. Weights are as both sides draw them: no checkpoints of VIMA-Gato,
VIMA-Flamingo and VIMA-GPT are public. T5 and what the published code imports otherwise: as in ``published_vima.py``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script, only this folder is on the path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from benchmarks.published_vima import (
    T5,
    TASKS,
    Published,
    by_pose,
    make_ours,
    ours,
    plain,
    plain_tokeniser,
    their_actions,
    their_logits,
)
from maskbench.envs.tabletop import Tabletop
from maskbench.models.cross import Conditioning
from maskbench.models.vima_weights import load_published
from maskbench.models.xattn import SIZES
from maskbench.objects import VIEWS
from maskbench.tokens.prompt import PromptTokeniser, Visual
from maskbench.trajectory import Window

#: How a baseline sees and how it is asked.
BASELINES: dict[str, tuple[Visual, Conditioning]] = {
    "gato": ("patches", "causal"),
    "flamingo": ("perceiver", "cross"),
    "gpt": ("single", "causal"),
}


def sizes(name: str, size: str) -> dict[str, int]:
    """Arguments of a published baseline of one of the published sizes."""
    n_embd, layers, heads, crossing = SIZES[size]
    if name == "flamingo":
        return {"embed_dim": n_embd, "dt_n_layers": layers, "dt_n_heads": heads, "xattn_n_heads": crossing}
    return {"embed_dim": n_embd, "n_layer": layers, "n_head": heads}


def recorded(kind: Visual, batch: int, seed: int = 0) -> tuple[Window, dict[str, Any]]:
    """Demonstrations as windows, and as the published code wants them, which pads them to the most steps of the batch."""
    episodes = list(Tabletop(TASKS, observe="pictures").generate(batch, seed))
    steps = max(map(len, episodes))

    def stacked(name: str) -> Tensor:
        rows = [np.pad(v := e.values[name], [(0, steps - len(v))] + [(0, 0)] * (v.ndim - 1)) for e in episodes]
        return torch.from_numpy(np.stack(rows))

    values = {name: stacked(name) for name in ("pictures", "ee", "action")}
    valid = torch.arange(steps) < torch.tensor([len(e) for e in episodes])[:, None]
    tokeniser = PromptTokeniser(visual=kind)
    readable = [tokeniser.prepare(e.prompt) for e in episodes]  # type: ignore[attr-defined]
    items = [[*tokeniser.tokeniser.encode(r.text), tokeniser.tokeniser.end] for r in readable]
    shown = np.stack([r.pictures[i] for r, row in zip(readable, items, strict=True) for i in row if isinstance(i, str)])
    prompt = (
        [[int(isinstance(i, str)) for i in row] for row in items],
        torch.tensor([i for row in items for i in row if not isinstance(i, str)]),
        {"rgb": {view: torch.from_numpy(shown[:, v]) for v, view in enumerate(VIEWS)}},
    )
    return Window(values, valid, prompt=tokeniser(readable)), {**values, "prompt": prompt}


def theirs(policy: Any, data: dict[str, Any]) -> Tensor:
    """Logits ``(B, T, 750)`` of a published baseline in teacher forcing, axis after axis."""
    pictures = data["pictures"].transpose(0, 1)  # (T, B, V, 3, 64, 128)
    flat = pictures.flatten(0, 1)
    features = policy.obj_encoder(rgb={view: flat[:, v] for v, view in enumerate(VIEWS)}).unflatten(0, pictures.shape[:2])
    effector = policy.end_effector_encoder(data["ee"].T)
    if features.dim() == 4:
        effector = effector[:, :, None].expand(-1, -1, features.shape[2], -1)
    observed = policy.obs_fusion_layer(torch.cat([features, effector], -1))
    acted = their_actions(policy, by_pose(data["action"]))
    prompt, keep = policy.forward_prompt_assembly(data["prompt"])
    h = policy(obs_token=observed, action_token=acted[:-1], prompt_token=prompt, prompt_token_mask=keep)
    return their_logits(policy, h)


def difference(published: Published, name: str, size: str, batch: int) -> float:
    """Largest difference of log-probabilities over recorded steps, at equal weights."""
    torch.manual_seed(0)
    policy = cast(Any, published.policies[name])(**sizes(name, size))
    policy.device = torch.device("cpu")  # which the published code asks of itself without having it
    with torch.no_grad():
        for parameter in policy.parameters():  # zeros and ones hide what is mixed up
            parameter.add_(torch.randn_like(parameter) * 0.02)
    kind, conditioning = BASELINES[name]
    window, data = recorded(kind, batch)
    pictures = Tabletop(TASKS, observe="pictures").spec["pictures"]
    with TemporaryDirectory() as folder:
        policy.t5_prompt_encoder.t5.save_pretrained(folder)
        plain_tokeniser(Path(folder))
        model = make_ours(size, Path(folder), pictures, window.length, kind, conditioning)
    load_published(model, policy.state_dict())
    policy.eval()
    model.eval()
    with torch.no_grad():
        gap = plain(theirs(policy, data), model) - plain(ours(model, window), model)
    assert window.valid is not None
    return float(gap[window.valid].abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--size", choices=tuple(SIZES), default="2M")
    parser.add_argument("--t5", choices=tuple(T5), default="small")
    parser.add_argument("--batch", type=int, default=13)
    options = parser.parse_args()
    torch.set_num_threads(1)
    published = Published(options.checkout, options.t5)
    for name in BASELINES:
        gap = difference(published, name, options.size, options.batch)
        Console().print(f"{name}: largest difference of log-probabilities at equal weights {gap:.1e}")


if __name__ == "__main__":
    main()
