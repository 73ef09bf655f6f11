"""Prompts as tables of tokens, and libraries of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskbench.errors import ConfigError, DataError
from maskbench.masking.prompt import PromptRule, WithPrompt
from maskbench.masking.tasks import NamedTask
from maskbench.objects import OBJECT_BYTES
from maskbench.prompt import Prompt, PromptedEpisode, PromptImage, PromptObject
from maskbench.tokens.library import KeptPrompts, PromptLibrary, PromptSource
from maskbench.tokens.perturb import Perturbation
from maskbench.tokens.prompt import IMAGE, PADDING, WORD, LocalT5Tokeniser, PromptTokeniser, Readable
from maskbench.tokens.wordpieces import UNKNOWN, WordPieces


def cells(n: int, seen: int | None = None) -> np.ndarray:
    made = np.zeros((2, n, OBJECT_BYTES), np.uint8)
    made[..., 0] = np.arange(1, 2 * n + 1).reshape(2, n)
    made[:, : n if seen is None else seen, -1] = 1
    return made


def image(kind: str = "scene", ids: tuple[int, ...] = (2, 3)) -> PromptImage:
    segm = np.full((128, 256), 255, np.uint8)
    for i, id in enumerate(ids):
        segm[10 + 20 * i : 20 + 20 * i, 30:50] = id
    rgb = np.random.default_rng(0).integers(0, 256, (3, 128, 256), dtype=np.uint8)
    objects = tuple(PromptObject(id, "pan", "tiger") for id in ids)
    return PromptImage(kind, {"front": rgb, "top": rgb}, {"front": segm, "top": segm}, objects)  # type: ignore[arg-type]


def test_pictures_stand_where_the_text_names_them():
    table = PromptTokeniser()([Readable("Put the {a} into {b}.", {"a": cells(1), "b": cells(3, 2)})])
    kinds = table.kind[0].tolist()
    assert kinds == [WORD, WORD, IMAGE, IMAGE, WORD, *[IMAGE] * 4, WORD, WORD]
    assert table.view[0].tolist() == [0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0]
    assert table.group[0].tolist() == [0, 1, 2, 2, 3, 4, 4, 4, 4, 5, 6]
    shown = table.pictures[table.source[0][table.kind[0] == IMAGE]][:, 0].tolist()
    assert shown == [1, 2, 1, 2, 4, 5]  # unseen objects take no place


def test_published_padding_gives_every_picture_the_room_of_the_largest():
    table = PromptTokeniser(pad_pictures=True)([Readable("Put {a} into {b}.", {"a": cells(1), "b": cells(2)})])
    assert table.kind[0].tolist() == [1, 2, 0, 2, 0, 1, 2, 2, 2, 2, 1, 1]
    assert table.positions[0].tolist() == [0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(("visual", "tokens"), [("patches", 16), ("perceiver", 4), ("single", 1)])
def test_whole_pictures_take_their_number_of_tokens(visual, tokens):
    picture = np.zeros((2, 3, 64, 128), np.uint8)
    table = PromptTokeniser(visual=visual)([Readable("{a} {a}", {"a": picture})])
    assert table.kind[0].tolist() == [IMAGE] * 2 * tokens + [WORD]
    assert table.source[0][:-1].tolist() == list(range(2 * tokens))


def test_batches_are_padded_and_cut_into_rows():
    tokeniser = PromptTokeniser()
    table = tokeniser([Readable("Rotate.", {}), Readable("Rotate {a} now.", {"a": cells(1)})])
    assert table.kind[0].tolist() == [WORD, WORD, WORD, *[PADDING] * 3]
    one = table.rows(torch.tensor([1])).padded(9)
    assert one.kind.shape == (1, 9)
    assert torch.equal(one.words[0, :6], table.words[1])
    with pytest.raises(ConfigError, match="does not fit"):
        table.padded(2)
    with pytest.raises(DataError, match="prompt_length"):
        tokeniser([Readable("Put " * 300, {})])


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="{}"), max_size=40))
def test_any_text_is_spelt_and_read_back(text):
    tokeniser = WordPieces()
    found = tokeniser.encode(text)
    assert UNKNOWN not in found
    assert tokeniser.spell(found) == "".join(text.lower().split())  # type: ignore[arg-type]


def test_words_of_instructions_are_single_pieces():
    tokeniser = WordPieces()
    for word in ("put", "into", "rotate", "degrees", "twist", "blicket", "daxer", "checkerboard", "sweep", "150", "330"):
        assert len(tokeniser.pieces(word)) == 1
    assert len(tokeniser.pieces("qzxkj")) > 1
    assert tokeniser.pieces("Put") == tokeniser.pieces("put")
    assert len(set(tokeniser.vocabulary)) == tokeniser.size < 1024


def test_a_local_tokeniser_reads_around_placeholders(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"</s>": 1, "<unk>": 2, "put": 3, "the": 4}, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    tokeniser = LocalT5Tokeniser(tmp_path)
    assert tokeniser.encode("put the {a} the {b}") == [3, 4, "a", 4, "b"]
    assert tokeniser.end == 1
    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        LocalT5Tokeniser(tmp_path / "nowhere")


def episodes(count: int = 3):
    for _ in range(count):
        prompt = Prompt("Put the {a} into this {scene}.", {"a": image("object", (0,)), "scene": image()})
        yield PromptedEpisode({"action": np.zeros((1, 12), np.float32)}, {}, True, {"task": "rotate"}, replace(prompt))


def keep(folder, tokeniser: PromptTokeniser, numbers: range = range(3)) -> list[PromptedEpisode]:
    """Keeps the prompts of some episodes; all of them come back."""
    found, writer = list(episodes()), KeptPrompts(folder, tokeniser)
    for number in numbers:
        writer.add(number, found[number])
    writer.close()
    return found


def test_libraries_keep_prompts_and_cut_pictures(tmp_path):
    tokeniser = PromptTokeniser()
    passed = keep(tmp_path / "s.prompts", tokeniser)
    library = PromptLibrary.open(tmp_path / "s.prompts")
    assert len(library) == 3
    direct = tokeniser([tokeniser.prepare(e.prompt) for e in passed])
    source = PromptSource(library, tokeniser, Perturbation([]), ["rotate"] * 3)
    kept = source(np.arange(3), np.random.default_rng(0))
    assert torch.equal(kept.kind, direct.kind)
    assert torch.equal(kept.words, direct.words)
    assert torch.equal(kept.pictures, direct.pictures)
    assert library.prompt(1).images["scene"].objects == passed[1].prompt.images["scene"].objects


def test_changes_of_libraries_are_functions_of_their_generator(tmp_path):
    tokeniser = PromptTokeniser()
    keep(tmp_path / "s", tokeniser)
    library = PromptLibrary.open(tmp_path / "s")
    source = PromptSource(library, tokeniser, Perturbation(["gobbledygook_word", "textual"]), ["visual_manipulation"] * 3)
    once, again = (source(np.arange(3), np.random.default_rng(4)) for _ in range(2))
    assert torch.equal(once.words, again.words)
    assert (once.kind == IMAGE).sum() < (tokeniser([library.readable(i) for i in range(3)]).kind == IMAGE).sum()


@pytest.mark.parametrize("visual", ["objects", "patches"])
def test_libraries_go_on_with_the_prompts_that_are_there(tmp_path, visual):
    keep(tmp_path / "whole", PromptTokeniser(visual=visual))
    for numbers in (range(1), range(1, 3)):
        keep(tmp_path / "pieces", PromptTokeniser(visual=visual), numbers)
    for name in ("pictures.npy", "index.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "pieces" / name).read_bytes()


def test_missing_libraries_and_prompts_are_named(tmp_path):
    with pytest.raises(DataError, match="holds no prompts"):
        PromptLibrary.open(tmp_path / "s.prompts")
    with pytest.raises(DataError, match="episode 7 has no prompt"):
        KeptPrompts(tmp_path / "t", PromptTokeniser()).add(7, PromptedEpisode({"action": np.zeros((1, 12), np.float32)}))


def test_rules_draw_the_share_that_they_name_and_leave_other_masks_alone(grid_layout):
    rule = PromptRule(text=0.3, visual=0.8, both=0.9, group=0.5)
    drawn = rule.draw(torch.Generator().manual_seed(0), 4000)
    assert abs(float(drawn.words.float().mean()) - 0.27) < 0.03
    assert abs(float(drawn.images.float().mean()) - 0.72) < 0.03
    assert abs(float(drawn.groups.float().mean()) - 0.5) < 0.01
    assert PromptRule().draw(torch.Generator(), 3) is None
    alone = NamedTask("bc").sample(torch.Generator().manual_seed(1), 8, grid_layout)
    wrapped = WithPrompt(NamedTask("bc"), rule).sample(torch.Generator().manual_seed(1), 8, grid_layout)
    assert torch.equal(alone.visible, wrapped.visible)
    assert wrapped.prompt is not None
    with pytest.raises(ConfigError, match="probability"):
        PromptRule(text=1.5)


def test_masks_hide_words_pictures_and_groups():
    table = PromptTokeniser()([Readable("Put {a} now.", {"a": cells(1)})])
    rule = PromptRule(text=0.0).draw(torch.Generator().manual_seed(0), 1)
    assert rule.keep(table)[0].tolist() == [False, True, True, False, False, False]
    rule = PromptRule(visual=0.0).draw(torch.Generator().manual_seed(0), 1)
    assert rule.keep(table)[0].tolist() == [True, False, False, True, True, True]
    groups = torch.ones(1, 2, dtype=torch.bool)
    groups[0, 1] = False
    assert replace(rule, images=torch.tensor([True]), groups=groups).keep(table)[0].tolist() == [
        True,
        False,
        False,
        True,
        True,
        True,
    ]
