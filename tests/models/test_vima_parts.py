"""Parts of the prompted decoders against published sizes, names and equations (VIMA spec 2)."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from tests.prompted import prompted_layout, prompted_model, prompted_window
from torch import Tensor

from maskbench.errors import ConfigError, DataError
from maskbench.masking.causal import CausalMask
from maskbench.models.cross import CrossDecoder
from maskbench.models.heads import BoxesHead, HeadChoice, PosesHead, PosesOptions, build_head, build_heads
from maskbench.models.heads.sampling import Sampling
from maskbench.models.prompts import TextOptions
from maskbench.models.sight import SightOptions
from maskbench.models.t5 import T5Encoder, bucket_of, local_t5
from maskbench.models.vima_weights import load_published, published_weights, read_checkpoint
from maskbench.models.vision import VisionTransformer
from maskbench.models.xattn import SIZES, Controller, CrossBlock, SelfBlock

#: Millions of parameters of the published controllers (spec 2.3), and of their names.
PUBLISHED = {"2M": 2.1, "4M": 4.2, "9M": 9.8, "20M": 18.9, "43M": 41.9, "92M": 91.8, "200M": 207.6}


@pytest.mark.parametrize("size", PUBLISHED)
def test_controllers_have_the_published_number_of_parameters(size):
    n_embd, layers, heads, crossing = SIZES[size]
    with torch.device("meta"):
        count = sum(p.numel() for p in Controller(n_embd, layers, heads, crossing).parameters())
    assert abs(count / 1e6 / PUBLISHED[size] - 1) < 0.05
    assert 32 * n_embd**2 * layers <= count < 32 * n_embd**2 * layers * 1.02


def test_the_published_vision_parts_have_their_shapes():
    with torch.device("meta"):
        eye = VisionTransformer((32, 32), 16, 768, 4, 24, 768, True)
        gato = VisionTransformer((64, 128), 32, 768, 4, 24, 256, False)
    assert eye.positions.shape == (5, 768)
    assert gato.positions.shape == (8, 768)
    block = 12 * 768**2 + 13 * 768
    assert sum(p.numel() for p in eye.blocks.parameters()) == 4 * block


def test_the_cross_block_follows_the_published_equations():
    torch.manual_seed(0)
    block, x, prompt = CrossBlock(16, 4), torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    keep = torch.rand(2, 7) < 0.7
    keep[:, 0] = True
    q = block.query(F.layer_norm(x, (16,), block.norm.weight, block.norm.bias))
    k, v = block.key_value(prompt).chunk(2, -1)
    heads = []
    for i in range(4):
        s = slice(4 * i, 4 * i + 4)
        score = q[..., s] @ k[..., s].mT / math.sqrt(4)
        heads.append(score.masked_fill(~keep[:, None], -torch.inf).softmax(-1) @ v[..., s])
    h = block.out(torch.cat(heads, -1)) + x
    normed = F.layer_norm(h, (16,), block.norm_up.weight, block.norm_up.bias)
    expected = block.down(F.gelu(block.up(normed)) * block.gate(h)) + h  # the gate reads what is not normalised
    found = block(x, block.remember(prompt), keep[:, None, None])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_self_block_normalises_after_its_sums():
    torch.manual_seed(0)
    block, x = SelfBlock(16, 4, 0.0).eval(), torch.randn(2, 5, 16)
    q, k, v = (y.unflatten(-1, (4, 4)).transpose(1, 2) for y in block.qkv(x).chunk(3, -1))
    score = (q @ k.mT / 2).masked_fill(~torch.ones(5, 5, dtype=torch.bool).tril(), -torch.inf)
    n = block.norm1(x + block.out((score.softmax(-1) @ v).transpose(1, 2).flatten(2)))
    expected = block.norm2(n + block.down(F.gelu(block.up(n)) * block.gate(n)))
    found = block(x, torch.ones(5, 5, dtype=torch.bool).tril()[None, None])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_computing_the_first_token_alone_changes_nothing():
    torch.manual_seed(0)
    eye = VisionTransformer((32, 32), 16, 24, 2, 4, 8, True).eval()
    pictures = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    x = (pictures.float() - eye.mean) / eye.std
    x = eye.embed(x.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 1, 4, 5).reshape(3, 4, -1))
    x = eye.ln_pre(torch.cat([eye.cls_token.expand(3, 1, -1), x], 1) + eye.positions)
    for block in eye.blocks:
        x = block(x)
    torch.testing.assert_close(eye(pictures), eye.ln_post(x[:, 0]) @ eye.projection, atol=1e-5, rtol=1e-4)


def test_relative_distances_fall_into_the_published_buckets():
    distance = torch.tensor([0, -1, -7, -8, -15, -16, -127, -500, 1, 7, 8, 127, 500])
    assert bucket_of(distance, 32, 128).tolist() == [0, 1, 7, 8, 9, 10, 15, 15, 17, 23, 24, 31, 31]


def test_a_local_t5_gives_the_states_that_transformers_gives(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    for kind in ("relu", "gated-gelu"):
        config = transformers.T5Config(
            d_model=16, num_layers=2, num_heads=2, d_kv=4, d_ff=24, vocab_size=40, feed_forward_proj=kind
        )
        published = transformers.T5EncoderModel(config).eval()
        published.save_pretrained(tmp_path / kind)
        encoder, words = local_t5(tmp_path / kind)
        ids = torch.randint(0, 40, (2, 9))
        keep = torch.ones(2, 9, dtype=torch.bool)
        keep[1, 5:] = False
        with torch.no_grad():
            expected = published(input_ids=ids, attention_mask=keep.long()).last_hidden_state
            found = encoder.eval()(words[ids], keep)
        torch.testing.assert_close(found[keep], expected[keep], atol=1e-5, rtol=1e-4)
    with pytest.raises(ConfigError, match=r"config\.json"):
        local_t5(tmp_path)


def test_only_the_last_blocks_of_a_frozen_t5_learn():
    encoder = T5Encoder(16, 4, 2)
    encoder.freeze_except_last(2)
    assert [all(p.requires_grad for p in b.parameters()) for b in encoder.block] == [False, False, True, True]


def published_state(e: int = 256, layers: int = 1, width: int = 768, t5: int = 768, words: int = 699) -> dict[str, Tensor]:
    """Names and shapes of a public checkpoint (the 2M policy has E = 256), with numbers of our own."""
    shapes: dict[str, tuple[int, ...]] = {
        "xattn_gpt.positions_embed.weight": (512, e),
        "xattn_gpt.xattn_positions_embed.weight": (256, e),
        "xattn_gpt.position_ids": (512,),
        "xattn_gpt.xattn_position_ids": (256,),
        "end_effector_encoder.weight": (2, 2),
        "obs_fusion_layer.weight": (e, e + 2),
        "obs_fusion_layer.bias": (e,),
        "action_encoder._post_layer.weight": (e, 1024),
        "action_encoder._post_layer.bias": (e,),
        "prompt_embedding._embed_layer.weight": (words, t5),
        "t5_prompt_encoder.t5.shared.weight": (words, t5),
        "t5_prompt_encoder.t5.encoder.embed_tokens.weight": (words, t5),
        "t5_prompt_encoder.t5.encoder.final_layer_norm.weight": (t5,),
        "t5_prompt_encoder_post_layer.weight": (e, t5),
    }
    for i in range(layers):
        h, x = f"xattn_gpt.h.{i}.", f"xattn_gpt.xattns.{i}."
        shapes |= {h + "attn.bias": (1, 1, 512, 512), h + "attn.c_attn.weight": (e, 3 * e), h + "attn.c_attn.bias": (3 * e,)}
        shapes |= {h + "attn.c_proj.weight": (e, e), h + "attn.c_proj.bias": (e,), h + "mlp.c_fc.weight": (e, 4 * e)}
        shapes |= {h + "mlp.c_fc.bias": (4 * e,), h + "mlp.c_proj.weight": (4 * e, e), h + "mlp.c_proj.bias": (e,)}
        shapes |= {h + "mlp.gated_layer.weight": (4 * e, e), x + "kv_position_ids": (256,), x + "query.weight": (e, e)}
        shapes |= {x + "key_value.weight": (2 * e, e), x + "attention_out.weight": (e, e), x + "linear1.weight": (4 * e, e)}
        shapes |= {x + "linear2.weight": (e, 4 * e), x + "gated_layer.weight": (4 * e, e)}
        for norm in (h + "ln_1", h + "ln_2", x + "layernorm", x + "ln"):
            shapes |= {norm + ".weight": (e,), norm + ".bias": (e,)}
    vit = "obj_encoder.cropped_img_encoder.vit."
    shapes |= {vit + "cls_token": (width,), vit + "pos_embed": (5, width), vit + "projection": (width, width)}
    shapes |= {vit + "conv1.weight": (width, 3, 16, 16)}
    for norm in ("ln_pre", "ln_post", *(f"blocks.{j}.ln_{k}" for j in range(4) for k in (1, 2))):
        shapes |= {f"{vit}{norm}.weight": (width,), f"{vit}{norm}.bias": (width,)}
    for j in range(4):
        b = f"{vit}blocks.{j}."
        shapes |= {b + "attn.in_proj_weight": (3 * width, width), b + "attn.in_proj_bias": (3 * width,)}
        shapes |= {b + "attn.out_proj.weight": (width, width), b + "attn.out_proj.bias": (width,)}
        shapes |= {b + "mlp.c_fc.weight": (4 * width, width), b + "mlp.c_fc.bias": (4 * width,)}
        shapes |= {b + "mlp.c_proj.weight": (width, 4 * width), b + "mlp.c_proj.bias": (width,)}

    def perceptron(name: str, *widths: int) -> None:
        for place, (a, b) in zip((0, 3, 6), itertools.pairwise(widths), strict=False):
            shapes.update({f"{name}.{place}.weight": (b, a), f"{name}.{place}.bias": (b,)})

    for view in ("front", "top"):
        perceptron(f"obj_encoder.bbox_mlp.{view}", 4, width, width, width)
        shapes |= {f"obj_encoder.pre_transformer_layer.{view}.weight": (e, 2 * width)}
        shapes |= {f"obj_encoder.pre_transformer_layer.{view}.bias": (e,)}
    perceptron("prompt_obj_post_layer", e, 768, 768, t5)
    for pose, n, bins in (("position", 2, (50, 100)), ("rotation", 4, (50,) * 4)):
        for which in (0, 1):
            perceptron(f"action_encoder._embed_dict.pose{which}_{pose}._layer", n, 256, 256)
            for d, k in enumerate(bins):
                perceptron(f"action_decoder._decoders.pose{which}_{pose}.mlps.{d}", e, 512, 512, k)
    generator = torch.Generator().manual_seed(0)
    return {f"policy.{n}": torch.randn(s, generator=generator) * 0.02 for n, s in shapes.items()}


def smallest(length: int = 2) -> CrossDecoder:
    layout = prompted_layout(length=length)
    poses = PosesOptions("vima", canonical=False, hidden=512)
    heads = build_heads(layout.spec.select(["action"]), 256, {"action": HeadChoice("poses", poses=poses)})
    sight = SightOptions(width=768, layers=4, n_head=24, features=768, waves=0)
    options = {"prompt_hidden": 768, "action_width": 256, "null_token": False, "readout": "last", "pad_pictures": True}
    return CrossDecoder(layout, heads, size="2M", n_embd=256, sight=sight, text=TextOptions("bow", width=768), **options)


def test_published_weights_fill_the_published_model_and_nothing_is_left_over():
    state = published_state()
    state = {n: t for n, t in state.items() if "t5_prompt_encoder.t5.encoder" not in n}
    model = smallest()
    load_published(model, state)
    own = model.state_dict()
    assert torch.equal(own["controller.self_blocks.0.qkv.weight"], state["policy.xattn_gpt.h.0.attn.c_attn.weight"].T)
    assert torch.equal(own["sight.encoder.join.1.bias"], state["policy.obj_encoder.pre_transformer_layer.top.bias"])
    second = state["policy.action_decoder._decoders.pose1_position.mlps.1.6.weight"]
    assert torch.equal(own["heads.action.weights.2"][7], second)
    first = state["policy.action_decoder._decoders.pose0_position.mlps.0.6.weight"]
    assert torch.equal(own["heads.action.weights.2"][0, :50], first)
    assert not own["heads.action.weights.2"][0, 50:].any()
    window = prompted_window(model)
    masks = CausalMask(returns="none").sample(torch.Generator().manual_seed(0), 3, model.layout)
    assert torch.isfinite(model.eval()(window, masks)["action"][..., :50]).all()


def test_entries_that_no_policy_has_and_other_sizes_are_refused():
    with pytest.raises(DataError, match="no entry of a published policy"):
        published_weights({"policy.xattn_gpt.h.0.attn.rotary": torch.zeros(1)})
    state = {n: t for n, t in published_state(layers=2).items() if "t5.encoder" not in n}
    with pytest.raises(DataError, match="choose the published size"):
        load_published(smallest(), state)
    del state["policy.obs_fusion_layer.bias"]
    with pytest.raises(DataError, match=r"lack 'fuse\.bias'"):
        load_published(smallest(), state)


def test_checkpoint_files_are_read_without_running_them(tmp_path):
    cfg = {"embed_dim": 256, "xf_n_layers": 1, "sattn_n_heads": 8, "xattn_n_heads": 8}
    torch.save({"cfg": cfg, "state_dict": {"policy.obs_fusion_layer.bias": torch.zeros(3)}}, tmp_path / "2M.ckpt")
    sizes, state = read_checkpoint(tmp_path / "2M.ckpt")
    assert sizes == {"n_embd": 256, "n_layer": 1, "n_head": 8, "cross_heads": 8}
    assert list(state) == ["policy.obs_fusion_layer.bias"]
    with pytest.raises(DataError, match="no checkpoint"):
        read_checkpoint(tmp_path / "20M.ckpt")


def test_the_pose_loss_is_that_of_a_plain_loop():
    model = prompted_model()
    head, target = model.head("action"), prompted_window(model).values["action"]
    assert isinstance(head, PosesHead)
    params = head(torch.randn(3, 4, 32))
    index = head.codec.encode(target)
    parts = []
    for part in ((0, 1), (2, 3, 4, 5), (6, 7), (8, 9, 10, 11)):
        terms = []
        for axis in part:
            logits = params.unflatten(-1, (12, 100))[..., axis, : head.codec.bins[axis]]
            terms.append(F.cross_entropy(logits.flatten(0, 1), index[..., axis].flatten(), reduction="none").view(3, 4))
        parts.append(torch.stack(terms).mean(0))
    losses = head.losses(params, target)
    torch.testing.assert_close(losses["pick"] + losses["place"], torch.stack(parts).sum(0))
    averaged = PosesHead(head.factor, 32, PosesOptions(hidden=16, reduction="axes"))
    averaged.load_state_dict(head.state_dict())
    mean = sum(p * n for p, n in zip(parts, (2, 4, 2, 4), strict=True)) / 12
    torch.testing.assert_close(sum(averaged.losses(params, target).values()), mean)


def test_pose_heads_answer_alike_with_and_without_gradients_and_within_their_classes():
    head = prompted_model().head("action")
    h = torch.randn(5, 32)
    with torch.no_grad():
        alone = head(h)
    torch.testing.assert_close(head(h), alone)
    drawn = head.choose(head(h), torch.full((5, 12), 0.999999, dtype=torch.float64))
    assert (drawn < torch.tensor(head.codec.bins)).all()
    assert head.sample(head(h), torch.rand(5, 12, dtype=torch.float64)).shape == (5, 12)


def chained(smooth: float = 0.0, **options) -> PosesHead:
    torch.manual_seed(0)
    factor = prompted_model().head("action").factor
    head = PosesHead(factor, 32, PosesOptions(hidden=16, smooth=smooth, axes="chained", **options))
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return head


def test_chained_axes_depend_on_those_before_them_alone():
    head, h = chained(), torch.randn(5, 32)
    classes = torch.randint(0, 50, (5, 12))
    base = head.logits(head(h), classes)
    for axis in (0, 4, 11):
        other = classes.clone()
        other[:, axis] = (other[:, axis] + 7) % 50
        changed = (head.logits(head(h), other) != base).any(-1).any(0)
        assert changed.tolist() == [i > axis for i in range(12)]


@pytest.mark.parametrize("how", [Sampling(), Sampling(greedy=True)])
def test_chained_axes_are_drawn_from_what_they_are_trained_to_say(how):
    head, h = chained(), torch.randn(4, 32)
    uniform = torch.rand(4, 12, dtype=torch.float64)
    with torch.no_grad():
        drawn = head.choose(head(h), uniform, how)
    told = head.logits(head(h), drawn).double()
    cumulative = told.softmax(-1).cumsum(-1)
    expected = told.argmax(-1) if how.greedy else (cumulative < uniform[..., None]).sum(-1)
    assert torch.equal(drawn, expected)
    assert (drawn < torch.tensor(head.codec.bins)).all()
    torch.testing.assert_close(head.mode(head(h)), head.codec.decode(head.choose(head(h), uniform, Sampling(greedy=True))))


def test_chained_axes_learn_which_x_goes_with_which_y():
    """Two objects, picked equally often: independent axes put one half of the picks beside both of them."""
    torch.manual_seed(0)
    factor = prompted_model().head("action").factor
    picks = torch.tensor([[0.3, -0.4], [0.7, 0.4]]).repeat(32, 1)
    target = torch.cat([picks, torch.tensor([0, 0, 0, 1, 0.5, 0, 0, 0, 0, 1.0]).expand(64, -1)], 1)
    beside = {}
    for axes in ("independent", "chained"):
        head = PosesHead(factor, 8, PosesOptions(hidden=32, axes=axes))
        optimiser, h = torch.optim.Adam(head.parameters(), 1e-2), torch.ones(64, 8)
        for _ in range(150):
            loss = sum(v.mean() for v in head.losses(head(h), target).values())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            drawn = head.sample(head(torch.ones(400, 8)), torch.rand(400, 12, dtype=torch.float64))
        beside[axes] = float(((drawn[:, 0] > 0.5) != (drawn[:, 1] > 0)).float().mean())
    assert beside["independent"] > 0.4
    assert beside["chained"] < 0.05


def test_objects_are_predicted_as_boxes_of_what_is_there():
    layout = prompted_layout()
    head = build_head(layout.spec["objects"], 32, HeadChoice())
    assert isinstance(head, BoxesHead)
    target = prompted_window(prompted_model()).values["objects"]
    params = head(torch.randn(3, 4, 32))
    base = head.losses(params, target)["boxes"]
    unseen = target.clone()
    unseen[..., -5:-1] = torch.where(target[..., -1:] > 0, target[..., -5:-1], 255)
    torch.testing.assert_close(head.losses(params, unseen)["boxes"], base)
    assert head.mode(params).dtype == torch.uint8


def test_one_trajectory_is_learned_by_heart():
    model = prompted_model(dropout=0.0).train()
    window = prompted_window(model, batch=1)
    masks = CausalMask(returns="none").sample(torch.Generator().manual_seed(0), 1, model.layout)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    head = model.head("action")
    for _ in range(150):
        loss = sum(v.mean() for v in head.losses(model(window, masks)["action"], window.values["action"]).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        found = head.logits(model(window, masks)["action"]).argmax(-1)
    assert torch.equal(found, head.codec.encode(window.values["action"]))


def test_smoothed_targets_share_with_near_classes_and_vanish_where_the_bell_is_said():
    model = prompted_model()
    factor, target = model.head("action").factor, prompted_window(model).values["action"]
    head = PosesHead(factor, 32, PosesOptions(hidden=16, smooth=1.0, rotation="yaw"))
    index = head.codec.encode(target)
    gap = (torch.arange(100) - index[..., None]).abs().float()
    counts = torch.tensor(head.codec.bins)[:, None]
    turns = torch.tensor([False, False, True] * 2)[:, None]
    gap = torch.where(turns, torch.minimum(gap, counts - gap), gap)
    bell = (-(gap**2) / 2).masked_fill(head.beyond, -torch.inf)
    losses = head.losses(bell.flatten(-2), target)
    assert float(sum(losses.values()).abs().max()) < 1e-4
    finite = bell.masked_fill(head.beyond, -50.0)
    near, far = (finite.roll(n, -1).masked_fill(head.beyond, -torch.inf) for n in (1, 9))
    assert head.losses(near.flatten(-2), target)["pick"].mean() < head.losses(far.flatten(-2), target)["pick"].mean()
