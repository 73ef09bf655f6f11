"""Prompted decoders: what may reach a prediction, what may not, and that acting step by step is the same as looking at all."""

from dataclasses import replace

import pytest
import torch
from tests.prompted import prompted_layout, prompted_model, prompted_window
from torch import Tensor

from maskbench.errors import ConfigError
from maskbench.masking.causal import CausalMask
from maskbench.masking.prompt import PromptRule, WithPrompt
from maskbench.masking.scheme import MaskSet, PromptMask
from maskbench.masking.tasks import NamedTask
from maskbench.models.cross import CrossDecoder
from maskbench.models.leakage import prove_no_leak
from maskbench.models.sight import SightOptions
from maskbench.tokens.prompt import IMAGE, WORD, PromptTokens
from maskbench.trajectory import Window

KINDS = [
    {},
    {"text": "bow"},
    {"eye": "conv"},
    {"conditioning": "causal"},
    {"conditioning": "prefix"},
    {"groups": "group"},
    {"null_token": False},
    {"readout": "last"},
    {"sight": "patches"},
    {"sight": "patches", "conditioning": "causal"},
    {"sight": "perceiver"},
    {"sight": "single", "conditioning": "causal"},
]
NAMES = ["-".join(map(str, k.values())) or "vima" for k in KINDS]
every_kind = pytest.mark.parametrize("options", KINDS, ids=NAMES)
SCHEME = CausalMask(returns="none")


def masks(model: CrossDecoder, window: Window, prompt: PromptMask | None = None) -> MaskSet:
    drawn = SCHEME.sample(torch.Generator().manual_seed(0), window.batch, model.layout.with_length(window.length))
    return replace(drawn, prompt=prompt)


def answer(model: CrossDecoder, window: Window, prompt: PromptMask | None = None, whole: bool = True) -> Tensor:
    model.whole = whole
    with torch.no_grad():
        return model(window, masks(model, window, prompt))["action"]


def shown(batch: int, words: bool, images: bool) -> PromptMask:
    return PromptMask(torch.full((batch,), words), torch.full((batch,), images))


def scrambled(prompt: PromptTokens, kind: int) -> PromptTokens:
    """Other words, or other pictures."""
    if kind == WORD:
        return replace(prompt, words=torch.where(prompt.kind == WORD, (prompt.words * 7 + 5) % 600, prompt.words))
    pictures = prompt.pictures.flip(0) // 2
    if prompt.pictures.dim() == 2:
        pictures[:, -1] = 1
    return replace(prompt, pictures=pictures)


@every_kind
@pytest.mark.parametrize("kind", [WORD, IMAGE])
def test_hidden_prompt_content_changes_no_bit(options, kind):
    model = prompted_model(**options)
    window = prompted_window(model)
    other = replace(window, prompt=scrambled(window.prompt, kind))
    assert not torch.equal(answer(model, window), answer(model, other)), "shown, it matters"
    if options.get("null_token") is False and kind == WORD:
        hide = shown(3, False, True)
    else:
        hide = shown(3, kind != WORD, kind != IMAGE)
    assert torch.equal(answer(model, window, hide), answer(model, other, hide))


@every_kind
def test_single_words_and_pictures_can_be_hidden(options):
    model = prompted_model(**options)
    window = prompted_window(model)
    groups = torch.ones(3, 256, dtype=torch.bool)
    groups[:, 1] = False
    hide = PromptMask(torch.ones(3, dtype=torch.bool), torch.ones(3, dtype=torch.bool), groups)
    table = window.prompt
    words = torch.where((table.group == 1) & (table.kind == WORD), 77, table.words)
    assert torch.equal(answer(model, window, hide), answer(model, replace(window, prompt=replace(table, words=words)), hide))
    assert not torch.equal(answer(model, window, hide), answer(model, window))


@every_kind
@pytest.mark.parametrize("name", ["state", "action"])
def test_later_cells_change_nothing_before(options, name):
    model = prompted_model(**options)
    window, k = prompted_window(model), 1
    values = {n: v.clone() for n, v in window.values.items()}
    for f in model.layout.spec.with_role(name):
        changed = values[f.name][:, k + (name == "state") :]
        changed.copy_(changed.flip(0))
    before, after = answer(model, window), answer(model, replace(window, values=values))
    assert torch.equal(before[:, : k + 1], after[:, : k + 1])
    assert not torch.equal(before[:, k + 1 :], after[:, k + 1 :])


@every_kind
def test_padding_changes_nothing(options):
    model = prompted_model(**options)
    window = prompted_window(model)
    expected = answer(model, window)
    longer = replace(window, prompt=window.prompt.padded(window.prompt.kind.shape[1] + 9))
    if options.get("null_token", True):
        torch.testing.assert_close(answer(model, longer), expected, atol=1e-5, rtol=1e-4)
    if options.get("readout") == "last":
        return
    torch.testing.assert_close(answer(model, window, whole=False), expected, atol=1e-5, rtol=1e-4)
    if model.sight.objects:
        cells = window.values["objects"]
        more = torch.cat([cells, torch.zeros_like(cells)], 3)
        wider = replace(window, values={**window.values, "objects": more})
        torch.testing.assert_close(answer(model, wider), expected, atol=1e-5, rtol=1e-4)
    short = {n: v[:, :3] for n, v in window.values.items()}
    valid = torch.tensor([[True, True, True, False]]).expand(3, -1)
    torch.testing.assert_close(
        answer(model, replace(window, values=short)), answer(model, replace(window, valid=valid))[:, :3], atol=1e-5, rtol=1e-4
    )


@every_kind
def test_a_prompt_that_is_hidden_altogether_leaves_finite_answers(options):
    model = prompted_model(**options)
    window = prompted_window(model)
    logits = answer(model, window, shown(3, False, False))
    assert torch.isfinite(logits[torch.isfinite(answer(model, window))]).all()
    model.train()
    loss = model.head("action").losses(
        model(window, masks(model, window, shown(3, False, False)))["action"], window.values["action"]
    )
    sum(v.mean() for v in loss.values()).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


@every_kind
def test_rows_do_not_see_each_other(options):
    model = prompted_model(**options)
    window = prompted_window(model)
    one = window.rows(torch.tensor([1]))
    torch.testing.assert_close(answer(model, one), answer(model, window)[1:2], atol=1e-5, rtol=1e-4)


def test_hiding_words_does_not_move_the_positions_of_pictures():
    model = prompted_model()
    table = prompted_window(model).prompt
    assert table.positions[0].tolist() == [
        *range(int(table.valid[0].sum())),
        *[int(table.valid[0].sum()) - 1] * int((~table.valid[0]).sum()),
    ]


@every_kind
def test_gradients_prove_that_nothing_leaks(options):
    prove_no_leak(prompted_model(**options), SCHEME, batch=2)


@pytest.mark.parametrize("task", ["goal", "inverse_dynamics_action", "bc", "past"])
@pytest.mark.parametrize("sight", ["objects", "patches"])
def test_other_schemes_ask_the_same_model(task, sight):
    model = prompted_model(sight=sight)
    scheme = WithPrompt(NamedTask(task), PromptRule(both=0.0))
    prove_no_leak(model, scheme, batch=2)
    window = prompted_window(model)
    drawn = scheme.sample(torch.Generator().manual_seed(1), 3, model.layout)
    logits = model(window, drawn)["action"]
    other = replace(window, prompt=scrambled(scrambled(window.prompt, WORD), IMAGE))
    assert torch.equal(logits, model(other, drawn)["action"])


@pytest.mark.parametrize(
    "options", [{}, {"readout": "last"}, {"sight": "patches"}, {"sight": "perceiver"}, {"null_token": False}]
)
def test_acting_step_by_step_is_the_same_as_looking_at_the_whole_history(options):
    model = prompted_model(**options)
    window = prompted_window(model)
    whole = answer(model, window)
    with torch.no_grad():
        cache = model.remember(window.prompt, None, 3, 4 * 7 + 1 if model.sight.objects else 4 * 17 + 1)
        for t in range(4):
            values = {n: torch.stack([v[:, max(t - 1, 0)], v[:, t]], 1) for n, v in window.values.items()}
            visible = torch.zeros(3, 2, 3, dtype=torch.bool)
            visible[:, 0, 2], visible[:, 1, :2] = t > 0, True
            h = model.step(Window(values), MaskSet(visible, visible, "causal"), torch.full((3,), t), cache)
            torch.testing.assert_close(model.head("action")(h), whole[:, t], atol=1e-5, rtol=1e-4)


def test_windows_without_prompts_are_answered():
    model = prompted_model()
    window = replace(prompted_window(model), prompt=None)
    assert answer(model, window).shape == (3, 4, 12 * 100)


def test_factors_that_it_cannot_read_are_refused(grid_layout):
    with pytest.raises(ConfigError, match="model=cross reads"):
        CrossDecoder(grid_layout, prompted_model().heads)
    heads, patches = dict(prompted_model().heads), SightOptions("patches", width=16, layers=1, n_head=2, features=16)
    with pytest.raises(ConfigError, match="Prepare the data"):
        CrossDecoder(prompted_layout("objects"), heads, sight=patches)


def test_prompts_that_do_not_fit_are_refused():
    model = prompted_model(prompt_length=8)
    with pytest.raises(Exception, match="prompt_length"):
        prompted_window(model)
