"""Tiny prompted windows for tests: objects or pictures of noise, prompts of words and pictures."""

import numpy as np
import torch

from maskbench.models.cross import CrossDecoder
from maskbench.models.heads import HeadChoice, PosesOptions, build_heads
from maskbench.models.prompts import TextOptions
from maskbench.models.sight import SightOptions
from maskbench.objects import OBJECT_BYTES
from maskbench.tokens.layout import TokenLayout, build_layout
from maskbench.tokens.prompt import Readable
from maskbench.trajectory import Factor, TrajectorySpec, Window

TEXTS = ("Put the {a} into the {b}.", "Rearrange to this {scene}.", "Stack objects in this order {scene} {a} {scene}.")


def prompted_spec(kind: str = "objects", slots: int = 3) -> TrajectorySpec:
    if kind == "objects":
        seen = Factor("objects", "objects", "state", (2, slots, OBJECT_BYTES))
    else:
        seen = Factor("pictures", "image", "state", (2, 3, 64, 128))
    return TrajectorySpec((seen, Factor("ee", "discrete", "state", (), 2), Factor("action", "continuous", "action", (12,))))


def prompted_layout(kind: str = "objects", length: int = 4, slots: int = 3) -> TokenLayout:
    return build_layout(prompted_spec(kind, slots), length, by="role", inputs=("state", "action"))


def cells(random: np.random.Generator, *lead: int) -> np.ndarray:
    """Objects ``(*lead, OBJECT_BYTES)`` of noise, most of them seen."""
    made = random.integers(0, 256, (*lead, OBJECT_BYTES), dtype=np.uint8)
    made[..., -1] = random.random(lead) < 0.8
    return made


def prompted_window(model: CrossDecoder, batch: int = 3, seed: int = 0, slots: int = 3) -> Window:
    random = np.random.default_rng(seed)
    t = model.layout.length
    objects = model.sight.objects
    seen = cells(random, batch, t, 2, slots) if objects else random.integers(0, 256, (batch, t, 2, 3, 64, 128), dtype=np.uint8)
    actions = random.uniform([0.25, -0.5, -1, -1, -1, -1] * 2, [0.75, 0.5, 1, 1, 1, 1] * 2, (batch, t, 12)).astype(np.float32)
    values = {
        "objects" if objects else "pictures": torch.from_numpy(seen),
        "ee": torch.from_numpy(random.integers(0, 2, (batch, t))),
        "action": torch.from_numpy(actions),
    }

    def picture(n: int) -> np.ndarray:
        if not objects:
            return random.integers(0, 256, (2, 3, 64, 128), dtype=np.uint8)
        made = cells(random, 2, n)
        made[..., -1] = 1
        return made

    prompts = [Readable(TEXTS[i % len(TEXTS)], {"a": picture(1), "b": picture(1), "scene": picture(3)}) for i in range(batch)]
    return Window(values, prompt=model.tokeniser(prompts))


def prompted_model(sight: str = "objects", length: int = 4, outputs: tuple[str, ...] = ("action",), **options) -> CrossDecoder:
    torch.manual_seed(0)
    layout = prompted_layout("objects" if sight == "objects" else "pictures", length)
    width = options.setdefault("n_embd", 32)
    choices = {"action": HeadChoice("poses", poses=PosesOptions(hidden=16))}
    heads = build_heads(layout.spec.select(outputs), width, choices)
    eye = SightOptions(sight, options.pop("eye", "vit"), width=16, layers=1, n_head=2, features=16)
    text = TextOptions(options.pop("text", "tiny_t5"), width=24, layers=2, n_head=2)
    small = {"prompt_hidden": 16, "action_width": 8, "n_head": 4, "n_layer": 2}
    if sight == "perceiver":
        small["n_head"] = 8
    model = CrossDecoder(layout, heads, sight=eye, text=text, **{**small, **options})
    for parameter in model.parameters():  # no part may be silent
        if parameter.abs().sum() == 0:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()
