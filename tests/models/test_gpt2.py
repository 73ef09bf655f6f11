"""GPT-2's own weights give GPT-2's own logits here, and what is not GPT-2 is refused."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from maskbench.errors import ConfigError, DataError
from maskbench.models.gpt2 import load_gpt2
from maskbench.models.language import LanguageModel
from maskbench.text.tokenizer import SPECIALS, read_tokenizer

SIZES = {"n_layer": 2, "n_head": 4, "n_embd": 32}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A GPT-2 of random weights and 300 tokens, as transformers saves it."""
    transformers = pytest.importorskip("transformers", reason="compares with the package transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=300, n_positions=64, bos_token_id=0, eos_token_id=0, **SIZES)
    theirs = transformers.GPT2LMHeadModel(config)
    for p in theirs.parameters():
        torch.nn.init.normal_(p, 0.0, 0.2)
    theirs.save_pretrained(tmp_path, safe_serialization=True)
    return tmp_path


def ours(folder: Path, **changes: object) -> LanguageModel:
    options: dict[str, object] = {**SIZES, "context": 64, "dropout": 0.1, "copying": False, "activation": "gelu_tanh"}
    options |= {"path": str(folder), **changes}
    return LanguageModel(300 + len(SPECIALS), **options).eval()  # type: ignore[arg-type]


@torch.no_grad()
def test_logits_are_those_of_transformers(folder: Path) -> None:
    import transformers

    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    tokens = torch.randint(0, 300, (3, 40))
    model = ours(folder)
    found = F.linear(model.states(tokens + len(SPECIALS)), model.tokens.weight)
    torch.testing.assert_close(found[..., len(SPECIALS) :], theirs(tokens).logits, atol=2e-4, rtol=1e-4)


def test_the_pointer_can_be_added_to_published_weights(folder: Path) -> None:
    assert ours(folder, copying=True, lookback=2).previous is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_layer": 3}, r"set model\.n_layer=2"),
        ({"context": 32}, r"set model\.context=64"),
        ({"activation": "gelu"}, "gelu_new"),
    ],
)
def test_another_architecture_is_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ours(folder, **changes)


def test_weights_of_another_model_are_refused(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    kept = {k: v for k, v in load_file(folder / "model.safetensors").items() if "wpe" not in k}
    save_file(kept, folder / "model.safetensors")
    with pytest.raises(DataError, match=r"is no GPT-2: it lacks 'wpe\.weight'"):
        ours(folder)


def test_a_folder_without_safe_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ConfigError, match=r"lacks model\.safetensors"):
        load_gpt2(LanguageModel(300), tmp_path)


def test_its_byte_pairs_become_our_tokens(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="byte pairs need the package tokenizers")
    theirs = tokenizers.ByteLevelBPETokenizer()
    theirs.train_from_iterator(["You see a table. Take the knife."] * 9, vocab_size=280, min_frequency=2, show_progress=False)
    theirs.save_model(str(tmp_path))
    found = read_tokenizer(tmp_path)
    text = "You take the knife."
    assert found.encode(text) == [i + len(SPECIALS) for i in theirs.encode(text).ids]
    assert found.decode(found.encode(text)) == text
    assert found.vocab_size == theirs.get_vocab_size() + len(SPECIALS)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(ConfigError, match="holds no tokenizer"):
        read_tokenizer(tmp_path)
