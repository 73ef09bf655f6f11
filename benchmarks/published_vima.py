"""Samples per second of VIMA's policy, forward and backward, as ratios to the published code at equal size.

Run: git clone https://github.com/vimalabs/VIMA && python benchmarks/published_vima.py VIMA

One process of one thread, the sides in turn, the same batch: demonstrations of the 13 training tasks, which the published code
pads to the most objects and steps of the batch, and the published loss. Before anything is timed, our model is filled with
the published model's weights and must give the same logits. The T5 encoder of both is built from a configuration (no weights
are fetched); packages that the published code imports and does not need here are replaced by empty modules.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script, only this folder is on the path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn

from maskbench.envs.tabletop import Tabletop
from maskbench.masking.causal import CausalMask
from maskbench.models.cross import Conditioning, CrossDecoder
from maskbench.models.heads import HeadChoice, PosesOptions, build_heads
from maskbench.models.prompts import TextOptions
from maskbench.models.sight import SightOptions
from maskbench.models.vima_weights import POSES, load_published
from maskbench.models.xattn import SIZES
from maskbench.objects import OBJECT_BYTES, VIEWS, compacted, unpacked
from maskbench.tokens.layout import build_layout
from maskbench.tokens.prompt import IMAGE, WORD, PromptTokeniser, PromptTokens, Visual
from maskbench.trajectory import Factor, TrajectorySpec, Window

#: T5 as the published model has it (``base``), and one that a CPU can wait for.
T5 = {"base": (768, 12, 12, 64, 3072), "small": (768, 2, 12, 64, 3072)}
ROUNDS = 5
#: Tasks of the training partition.
TASKS = (
    *("visual_manipulation", "scene_understanding", "rotate", "rearrange", "rearrange_then_restore", "novel_adj", "novel_noun"),
    *(
        "twist",
        "follow_order",
        "sweep_without_exceeding",
        "same_shape",
        "manipulate_old_neighbor",
        "pick_in_order_then_restore",
    ),
)


class Published:
    """VIMA's policy and its baselines', imported from a checkout: classes by name."""

    def __init__(self, checkout: Path, t5: str) -> None:
        if not (checkout / "vima" / "policy" / "vima_policy.py").is_file():
            raise SystemExit(f"{checkout} holds no vima/policy/vima_policy.py: name a checkout of github.com/vimalabs/VIMA")
        sys.path.insert(0, str(checkout))
        width, layers, heads, d_kv, d_ff = T5[t5]
        from transformers import T5Config, T5EncoderModel

        config = T5Config(
            d_model=width, num_layers=layers, num_heads=heads, d_kv=d_kv, d_ff=d_ff, vocab_size=1024, dropout_rate=0.0
        )

        class T5PromptEncoder(nn.Module):
            """What the published one does, on a T5 that is built instead of fetched."""

            def __init__(self) -> None:
                super().__init__()
                self.t5 = T5EncoderModel(config)
                self.output_dim = self.input_dim = width

            def forward(self, x: Tensor, *, attention_mask: Tensor | None = None, batch_first: bool = False) -> Tensor:
                out = self.t5(inputs_embeds=x.transpose(0, 1).contiguous(), attention_mask=attention_mask)
                return cast(Tensor, out.last_hidden_state).transpose(0, 1)

        class WordEmbedding(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self._embed_layer = nn.Embedding(1024, width)
                self._embed_layer.weight.requires_grad_(False)

            def forward(self, x: Tensor) -> Tensor:
                return cast(Tensor, self._embed_layer(x))

        from transformers.models.openai import modeling_openai

        modeling_openai.Attention = _attention(modeling_openai.Conv1D)
        modeling_openai.OpenAIGPTPreTrainedModel.get_head_mask = lambda _, mask, layers: [mask] * layers
        shim = ModuleType("vima.nn.prompt_encoder")
        shim.T5PromptEncoder, shim.WordEmbedding = T5PromptEncoder, WordEmbedding  # type: ignore[attr-defined]
        sys.modules.setdefault("kornia", ModuleType("kornia"))
        sys.modules["vima.nn.prompt_encoder"] = shim
        from vima.policy import VIMAFlamingoPolicy, VIMAGatoPolicy, VIMAGPTPolicy, VIMAPolicy

        self.policies: dict[str, type[nn.Module]] = {
            "vima": VIMAPolicy,
            "gato": VIMAGatoPolicy,
            "flamingo": VIMAFlamingoPolicy,
            "gpt": VIMAGPTPolicy,
        }


def _attention(projection: Any) -> type[nn.Module]:
    """The base class of the published attention as it was when the code was written; the installed one has other arguments."""

    class Attention(nn.Module):
        def __init__(self, nx: int, n_positions: int, config: Any, scale: bool = False) -> None:
            super().__init__()
            self.n_head, self.split_size, self.scale, self.n_positions = config.n_head, nx, scale, n_positions
            self.c_attn, self.c_proj = projection(3 * nx, nx), projection(nx, nx)
            self.register_buffer("bias", torch.ones(n_positions, n_positions).tril()[None, None])
            self.attn_dropout, self.resid_dropout = nn.Dropout(config.attn_pdrop), nn.Dropout(config.resid_pdrop)

        def forward(self, x: Tensor, attention_mask: Any = None, head_mask: Any = None, output_attentions: bool = False) -> Any:
            q, k, v = (
                y.view(*y.shape[:2], self.n_head, -1).transpose(1, 2) for y in self.c_attn(x).split(self.split_size, dim=2)
            )
            a = self._attn(q, k.mT, v, attention_mask, head_mask, output_attentions)[0]  # type: ignore[operator]
            return [self.resid_dropout(self.c_proj(a.transpose(1, 2).flatten(2)))]

    return Attention


def make_ours(
    size: str, folder: Path, seen: Factor, length: int, kind: Visual = "objects", conditioning: Conditioning = "cross"
) -> CrossDecoder:
    """The same model here, of observations ``seen``."""
    effector, action = Factor("ee", "discrete", "state", (), 2), Factor("action", "continuous", "action", (12,))
    spec = TrajectorySpec((seen, effector, action))
    layout = build_layout(spec, length, by="role", inputs=("state", "action"))
    poses = PosesOptions("vima", canonical=False, hidden=512)
    n_embd = SIZES[size][0]
    heads = build_heads(spec.select(["action"]), n_embd, {"action": HeadChoice("poses", poses=poses)})
    return CrossDecoder(
        layout,
        heads,
        size=size,
        n_embd=n_embd,
        conditioning=conditioning,
        sight=SightOptions(kind, width=768, layers=4, n_head=24, features=768, waves=0),
        text=TextOptions("t5", path=str(folder), train_last=None),
        prompt_hidden=768,
        action_width=256,
        readout="last",
        null_token=False,
        pad_pictures=True,
    )


def sample(batch: int, length: int, slots: int, words: int, seed: int = 0) -> tuple[Window, dict[str, Any]]:
    """Episodes of noise with two single-object pictures and one scene each, as windows and as the published code wants them."""
    random = np.random.default_rng(seed)

    def cells(*lead: int) -> np.ndarray:
        made = random.integers(0, 256, (*lead, OBJECT_BYTES), dtype=np.uint8)
        made[..., -1] = 1
        return made

    seen = cells(batch, length, 2, slots)
    actions = random.uniform([0.25, -0.5, -1, -1, -1, -1] * 2, [0.75, 0.5, 1, 1, 1, 1] * 2, (batch, length, 12))
    effector = random.integers(0, 2, (batch, length))
    pictures = [[cells(2, 1), cells(2, 1)] for _ in range(batch)]
    ids = random.integers(3, 600, (batch, words))
    kinds = [[0] * (words // 2) + [1] + [0] * (words - words // 2) + [1] for _ in range(batch)]
    tokens = []
    for i in range(batch):
        columns, word, picture = [], 0, 0
        for kind in kinds[i]:
            if kind == 0:
                columns.append((WORD, int(ids[i, word]), 0, 0, len(columns)))
                word += 1
            else:
                columns += [(IMAGE, 0, i * 4 + picture * 2 + v, v, 90 + picture) for v in range(2)]
                picture += 1
        tokens.append(columns)
    table = torch.tensor(tokens).permute(2, 0, 1)
    flat = np.concatenate([p.reshape(-1, OBJECT_BYTES) for row in pictures for p in row])
    values = {"objects": torch.from_numpy(seen), "ee": torch.from_numpy(effector), "action": torch.from_numpy(actions).float()}
    window = Window(values, prompt=PromptTokens(*table, torch.from_numpy(flat)))

    shown = np.stack([p for row in pictures for p in row])
    return window, _published(seen, effector, actions, kinds, ids.ravel(), shown)


def recorded(batch: int, seed: int = 0) -> tuple[Window, dict[str, Any]]:
    """Demonstrations of the 13 training tasks on our tabletop, and the same as the published code pads them: every observation
    to the most objects and every episode to the most steps of the batch, every picture to the most objects of one."""
    env = Tabletop(TASKS, observe="objects", order="spawn")
    episodes = list(env.generate(batch, seed))
    steps = max(map(len, episodes))
    tokeniser = PromptTokeniser(pad_pictures=True)
    readable = [tokeniser.prepare(e.prompt) for e in episodes]  # type: ignore[attr-defined]

    def stacked(name: str) -> np.ndarray:
        return np.stack([np.pad(v := e.values[name], [(0, steps - len(v))] + [(0, 0)] * (v.ndim - 1)) for e in episodes])

    cells = compacted(stacked("objects"))
    cells = cells[:, :, :, : int(cells[..., -1].sum(-1).max())]
    effector, actions = stacked("ee"), stacked("action")
    valid = torch.from_numpy(np.arange(steps) < np.array([len(e) for e in episodes])[:, None])
    values = {"objects": torch.from_numpy(cells), "ee": torch.from_numpy(effector), "action": torch.from_numpy(actions)}
    window = Window(values, valid, prompt=tokeniser(readable))
    kinds, ids, shown = [], [], []
    for r in readable:
        items = [*tokeniser.tokeniser.encode(r.text), tokeniser.tokeniser.end]
        kinds.append([int(isinstance(i, str)) for i in items])
        ids += [i for i in items if not isinstance(i, str)]
        shown += [compacted(r.pictures[i]) for i in items if isinstance(i, str)]
    most = max(p.shape[1] for p in shown)
    padded = np.stack([np.pad(p, ((0, 0), (0, most - p.shape[1]), (0, 0))) for p in shown])
    return window, _published(cells, effector, actions, kinds, np.array(ids), padded)


def _published(
    seen: np.ndarray, effector: np.ndarray, actions: np.ndarray, kinds: list[list[int]], ids: np.ndarray, pictures: np.ndarray
) -> dict[str, Any]:
    """What the published code takes: crops, boxes and masks per view, token types of prompts, poses by name."""

    def cut(x: np.ndarray, axis: int) -> dict[str, dict[str, Tensor]]:
        by_view = {v: np.take(x, i, axis) for i, v in enumerate(VIEWS)}
        return {
            "cropped_img": {v: torch.from_numpy(unpacked(c)[0].copy()) for v, c in by_view.items()},
            "bbox": {v: torch.from_numpy(unpacked(c)[1].astype(np.int64)) for v, c in by_view.items()},
            "mask": {v: torch.from_numpy(unpacked(c)[2]) for v, c in by_view.items()},
        }

    return {
        "objects": cut(seen, 2),
        "ee": torch.from_numpy(effector),
        "prompt": (kinds, torch.from_numpy(ids), cut(pictures, 1)),
        "action": by_pose(torch.from_numpy(actions.astype(np.float32))),
    }


def by_pose(actions: Tensor) -> dict[str, Tensor]:
    """Actions ``(..., 12)`` as poses by name."""
    return dict(zip(POSES, actions.split([2, 4, 2, 4], -1), strict=True))


def theirs(policy: Any, data: dict[str, Any]) -> Tensor:
    """Logits ``(B, T, 750)`` of the published policy in teacher forcing, axis after axis."""
    objects = {k: {v: x.flatten(0, 1) for v, x in per.items()} for k, per in data["objects"].items()}
    b, t = data["ee"].shape
    features = policy.obj_encoder(**objects).view(b, t, -1, policy.embed_dim).transpose(0, 1)
    effector = policy.end_effector_encoder(data["ee"].T)[:, :, None].expand(-1, -1, features.shape[2], -1)
    observed = policy.obs_fusion_layer(torch.cat([features, effector], -1))
    shown = torch.cat([data["objects"]["mask"][v] for v in VIEWS], -1).transpose(0, 1)
    acted = their_actions(policy, data["action"])
    prompt, keep = policy.forward_prompt_assembly(data["prompt"])
    h = policy(obs_token=observed, obs_mask=shown, action_token=acted[:-1], prompt_token=prompt, prompt_token_mask=keep)
    return their_logits(policy, h)


def their_actions(policy: Any, poses: dict[str, Tensor]) -> Tensor:
    """Tokens ``(T, B, E)`` of actions, poses ``(B, T, ...)`` by name."""
    unit = {
        k: ((v - v.new_tensor([0.25, -0.5])) / v.new_tensor([0.5, 1.0]) if k.endswith("position") else (v + 1) / 2)
        for k, v in poses.items()
    }
    classes = policy.discretize_action({k: v.transpose(0, 1).clone() for k, v in unit.items()})
    return cast(Tensor, policy.forward_action_token(classes))


def their_logits(policy: Any, h: Tensor) -> Tensor:
    """States ``(T, B, E)`` to logits ``(B, T, 750)``, axis after axis."""
    dists = policy.forward_action_decoder(h)
    logits = torch.cat([d.logits for k in sorted(dists) for d in dists[k]._dists], -1)
    return logits.transpose(0, 1)


def loss_of(logits: Tensor, model: CrossDecoder, window: Window) -> Tensor:
    """The published loss from logits of all axes, one after the other, over recorded steps."""
    index, valid = model.codec.encode(window.values["action"]), window.valid
    logits, index = (logits[valid], index[valid]) if valid is not None else (logits.flatten(0, 1), index.flatten(0, 1))
    terms = [F.cross_entropy(x, index[:, i]) for i, x in enumerate(logits.split(list(model.codec.bins), -1))]
    return torch.stack([torch.stack(terms[p]).mean() for p in model.codec.parts]).sum()


def ours(model: CrossDecoder, window: Window) -> Tensor:
    """Our logits in the same order."""
    layout = model.layout.with_length(window.length)
    masks = CausalMask(returns="none").sample(torch.Generator().manual_seed(0), window.batch, layout)
    head = model.head("action")
    logits = head.logits(model(window, masks)["action"])  # type: ignore[operator]
    return torch.cat([logits[..., i, :n] for i, n in enumerate(model.codec.bins)], -1)


def timed(run: Callable[[], Tensor], parameters: list[nn.Parameter]) -> float:
    """Processor seconds of one forward and backward pass."""
    for p in parameters:
        p.grad = None
    began = time.process_time()
    run().backward()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--size", choices=tuple(SIZES), default="2M")
    parser.add_argument("--t5", choices=tuple(T5), default="small")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--bf16", action="store_true", help="our side under bf16 autocast")
    options = parser.parse_args()
    console = Console()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    n_embd, layers, heads, crossing = SIZES[options.size]
    published = Published(options.checkout, options.t5)
    policy = cast(Any, published.policies["vima"])(
        embed_dim=n_embd, xf_n_layers=layers, sattn_n_heads=heads, xattn_n_heads=crossing
    )
    window, data = sample(2, 2, 4, 10)
    with TemporaryDirectory() as folder:
        policy.t5_prompt_encoder.t5.save_pretrained(folder)
        plain_tokeniser(Path(folder))
        model = make_ours(options.size, Path(folder), Factor("objects", "objects", "state", (2, 4, OBJECT_BYTES)), 2)
    load_published(model, policy.state_dict())
    policy.eval()
    model.eval()
    with torch.no_grad():
        gap = float((plain(theirs(policy, data), model) - plain(ours(model, window), model)).abs().max())
    console.print(f"largest difference of log-probabilities at equal weights: {gap:.1e}")
    if gap > 1e-3:
        raise SystemExit("the models differ: nothing is timed")
    window, data = recorded(options.batch)
    policy.train()
    model.train()
    for name, p in policy.named_parameters():
        p.requires_grad_("prompt_embedding" not in name)
    precise = torch.autocast("cpu", torch.bfloat16, enabled=options.bf16)

    def run_ours() -> Tensor:
        with precise:
            return loss_of(ours(model, window).float(), model, window)

    def run_theirs() -> Tensor:
        return loss_of(theirs(policy, data), model, window)

    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
    for _ in range(ROUNDS):
        seconds["theirs"].append(timed(run_theirs, list(policy.parameters())))
        seconds["ours"].append(timed(run_ours, list(model.parameters())))
    best = {k: min(v) for k, v in seconds.items()}
    for name, value in best.items():
        console.print(f"{name}: {value:.3f} s, {options.batch / value:.1f} samples/s")
    console.print(f"ratio {best['theirs'] / best['ours']:.2f} (size {options.size}, T5 {options.t5}, batch {options.batch})")


def plain(logits: Tensor, model: CrossDecoder) -> Tensor:
    """Log-probabilities of every axis."""
    return torch.cat([x.log_softmax(-1) for x in logits.split(list(model.codec.bins), -1)], -1)


def plain_tokeniser(folder: Path) -> None:
    """A tokeniser of one word each: prompts here are numbers already."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    Tokenizer(WordLevel({"</s>": 0, "<unk>": 1}, unk_token="<unk>")).save(str(folder / "tokenizer.json"))


if __name__ == "__main__":
    main()
