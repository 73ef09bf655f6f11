"""VIMA-Gato, VIMA-Flamingo and VIMA-GPT: the published modules' names and shapes fill our models (VIMA spec 2.6).

Numbers are compared with the published modules themselves in ``benchmarks/published_vima_baselines.py``.
"""

import pytest
import torch
from tests.models.test_vima_parts import published_state
from tests.prompted import prompted_layout, prompted_window
from torch import Tensor

from maskbench.errors import DataError
from maskbench.masking.causal import CausalMask
from maskbench.models.cross import CrossDecoder
from maskbench.models.heads import HeadChoice, PosesOptions, build_heads
from maskbench.models.perceiver import Perceiver
from maskbench.models.prompts import TextOptions
from maskbench.models.sight import SightOptions
from maskbench.models.vima_weights import load_published, read_checkpoint

E = 256
KINDS = {"gato": ("patches", "causal"), "flamingo": ("perceiver", "cross"), "gpt": ("single", "causal")}


def state_of(name: str) -> dict[str, Tensor]:
    """Names and shapes of a published baseline, with numbers of our own; its T5 encoder apart."""
    found = {n.removeprefix("policy."): t for n, t in published_state().items() if "t5_prompt_encoder.t5" not in n}
    seen = ("bbox_mlp", "pre_transformer_layer", "cls_token", "pos_embed", "projection", "conv1")
    found = {n: t for n, t in found.items() if not (n.startswith("obj_encoder.") and any(s in n for s in seen))}
    torch.manual_seed(1)
    vit, width = "obj_encoder.cropped_img_encoder.vit.", 768
    shapes: dict[str, tuple[int, ...]] = {
        vit + "conv1.weight": (width, 3, 32, 32),
        vit + "pos_embed": (8 + (name == "gpt"), width),
        vit + "projection": (width, E),
    }
    if name == "gpt":
        shapes |= {vit + "cls_token": (width,), "obs_fusion_layer.weight": (E, 2 * E + 2)}
        shapes |= {"prompt_obj_post_layer.0.weight": (768, 2 * E)}
    if name == "flamingo":
        shapes |= perceiver_shapes()
    else:
        found = {n.replace("xattn_gpt.", "transformer.lm."): t for n, t in found.items() if "xattn" not in n.split(".", 1)[1]}
        shapes |= {"transformer.lm.tokens_embed.weight": (5, E), "prompt_sep_token": (E,)}
    return found | {n: torch.randn(s) * 0.02 for n, s in shapes.items()}


def perceiver_shapes() -> dict[str, tuple[int, ...]]:
    """Of a Perceiver of the transformers library with as many channels as the policy."""
    model = "obj_encoder.peceiver.model."
    shapes: dict[str, tuple[int, ...]] = {model + "embeddings.latents": (4, E)}
    for layer in ("cross_attention", *(f"self_attends.{i}" for i in range(4))):
        at = f"{model}encoder.{layer}."
        norms = ["attention.self.layernorm1", "layernorm"] + ["attention.self.layernorm2"] * (layer == "cross_attention")
        linears = [f"attention.self.{n}" for n in ("query", "key", "value")] + [
            "attention.output.dense",
            "mlp.dense1",
            "mlp.dense2",
        ]
        shapes |= {f"{at}{n}.{kind}": (E,) for n in norms for kind in ("weight", "bias")}
        shapes |= {f"{at}{n}.weight": (E, E) for n in linears} | {f"{at}{n}.bias": (E,) for n in linears}
    return shapes


def baseline(name: str) -> CrossDecoder:
    kind, conditioning = KINDS[name]
    layout = prompted_layout("pictures", 2)
    poses = PosesOptions("vima", canonical=False, hidden=512)
    return CrossDecoder(
        layout,
        build_heads(layout.spec.select(["action"]), E, {"action": HeadChoice("poses", poses=poses)}),
        size="2M",
        n_embd=E,
        conditioning=conditioning,
        sight=SightOptions(kind, width=768, layers=4, n_head=24),
        text=TextOptions("bow", width=768),
        prompt_hidden=768,
        action_width=256,
        null_token=False,
        readout="last",
    )


@pytest.mark.parametrize("name", KINDS)
def test_published_baselines_fill_ours_and_nothing_is_left_over(name):
    state, model = state_of(name), baseline(name).eval()
    load_published(model, state)
    own = model.state_dict()
    controller = "xattn_gpt" if name == "flamingo" else "transformer.lm"
    assert torch.equal(own["controller.self_blocks.0.qkv.weight"], state[f"{controller}.h.0.attn.c_attn.weight"].T)
    eye = "obj_encoder.cropped_img_encoder.vit."
    assert torch.equal(own["sight.encoder.eye.embed.weight"], state[eye + "conv1.weight"].flatten(1))
    assert torch.equal(own["sight.encoder.eye.positions"], state[eye + "pos_embed"])
    if name == "flamingo":
        at = "obj_encoder.peceiver.model.encoder."
        assert torch.equal(own["sight.encoder.latents.think.3.up.weight"], state[at + "self_attends.3.mlp.dense1.weight"])
        tokens = state[at + "cross_attention.attention.self.layernorm2.bias"]
        assert torch.equal(own["sight.encoder.latents.look.norm_tokens.bias"], tokens)
    else:
        assert torch.equal(own["separator"], state["prompt_sep_token"])
    masks = CausalMask(returns="none").sample(torch.Generator().manual_seed(0), 3, model.layout)
    with torch.no_grad():
        assert torch.isfinite(model(prompted_window(model), masks)["action"][..., :50]).all()


def test_a_baseline_does_not_fill_another_one():
    with pytest.raises(DataError, match="choose the published size"):
        load_published(baseline("gato"), state_of("gpt"))
    with pytest.raises(DataError, match=r"lack 'sight\.encoder\.latents"):
        load_published(baseline("flamingo"), {n: t for n, t in state_of("flamingo").items() if "peceiver" not in n})


@pytest.mark.parametrize(
    ("cfg", "sizes"),
    [
        ({"embed_dim": 256, "n_layer": 1, "n_head": 8}, {"n_embd": 256, "n_layer": 1, "n_head": 8}),
        (
            {"embed_dim": 256, "dt_n_layers": 2, "dt_n_heads": 8, "xattn_n_heads": 4},
            {"n_embd": 256, "n_layer": 2, "n_head": 8, "cross_heads": 4},
        ),
    ],
)
def test_sizes_of_baselines_are_read_from_their_configurations(tmp_path, cfg, sizes):
    torch.save({"cfg": cfg, "state_dict": {}}, tmp_path / "a.ckpt")
    assert read_checkpoint(tmp_path / "a.ckpt")[0] == sizes
    torch.save({"cfg": {"embed_dim": 256}, "state_dict": {}}, tmp_path / "b.ckpt")
    with pytest.raises(DataError, match=r"tells no \['n_layer', 'n_head'\]"):
        read_checkpoint(tmp_path / "b.ckpt")


def test_perceivers_give_the_states_that_transformers_gives():
    perceiver = pytest.importorskip("transformers.models.perceiver.modeling_perceiver")
    torch.manual_seed(0)
    options = {"num_latents": 4, "num_blocks": 4, "num_self_attends_per_block": 4}
    heads = {"num_self_attention_heads": 8, "num_cross_attention_heads": 8}
    theirs = perceiver.PerceiverModel(perceiver.PerceiverConfig(d_model=32, d_latents=32, **options, **heads)).eval()
    ours, at = (
        Perceiver(32, 4, 4, 4, 8).eval(),
        {"cross_attention": "look"} | {f"self_attends.{i}": f"think.{i}" for i in range(4)},
    )
    parts = {"attention.self.layernorm1": "norm", "attention.self.layernorm2": "norm_tokens", "attention.output.dense": "out"}
    parts |= {f"attention.self.{n}": n for n in ("query", "key", "value")}
    parts |= {"layernorm": "norm_up", "mlp.dense1": "up", "mlp.dense2": "down"}
    named = {
        f"encoder.{a}.{p}.{k}": f"{b}.{q}.{k}" for a, b in at.items() for p, q in parts.items() for k in ("weight", "bias")
    }
    state = theirs.state_dict()
    ours.load_state_dict({"latents": state["embeddings.latents"], **{named[n]: t for n, t in state.items() if n in named}})
    tokens = torch.randn(3, 16, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(inputs=tokens).last_hidden_state, atol=1e-5, rtol=1e-4)
