"""Decisions per second of a language model over admissible commands: all games in lock step on a cache and a tree of commands,
as a ratio to one game at a time that reads everything anew for each command, of one run.

Both score every admissible command of the same recorded games, and must agree. Untrained weights: arithmetic does not mind.

Run: python benchmarks/text_decoding.py [--quick] [--games 16] [--json results.json]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script, only this folder is on the path

import torch
from rich.console import Console
from rich.table import Table
from torch.nn.utils.rnn import pad_sequence

from benchmarks.measure import Result, Work, compare
from benchmarks.run import conclude
from maskbench.envs.text.base import TextStep
from maskbench.envs.text.kitchen import KitchenLite
from maskbench.masking.text import TextScheme
from maskbench.models.language import PRESETS, LanguageModel
from maskbench.policies.text import Decoding, TextReader
from maskbench.policies.text_baselines import choices
from maskbench.text.encoding import Encoding
from maskbench.text.tokenizer import fit_tokenizer

Game = list[tuple[TextStep, str]]


def record(games: int, commands: int) -> list[Game]:
    """The expert's play of different kitchens: what was shown, and what was answered."""
    made = []
    for seed in range(games):
        game = KitchenLite(level=2).game()
        step, transcript = game.reset(seed), []
        while not step.done and len(transcript) < commands:
            assert step.expert is not None
            transcript.append((step, step.expert))
            step = game.step(step.expert)
        made.append(transcript)
    return made


def lock_step(reader: TextReader, games: Sequence[Game]) -> list[list[list[float]]]:
    """Scores of every command at every step of every game, all games at once."""
    found: list[list[list[float]]] = [[] for _ in games]
    for slot in range(len(games)):
        reader.begin(slot, slot)
    for t in range(max(map(len, games))):
        live = [i for i, game in enumerate(games) if t < len(game)]
        reader.observe(live, [games[i][t][0] for i in live])
        for i, scores in zip(live, reader.scores(live, [choices(games[i][t][0], "gata") for i in live]), strict=True):
            found[i].append(scores)
            reader.answer(i, games[i][t][1])
    return found


@torch.no_grad()
def one_by_one(reader: TextReader, games: Sequence[Game]) -> list[list[list[float]]]:
    """The same without a cache: per decision one batch of all its commands, each behind the whole text so far."""
    model, found = reader.model, []
    for seed, game in enumerate(games):
        whole = TextReader(model, reader.encoding, reader.scheme, reader.decoding)
        whole.begin(0, seed)
        state, scored = whole.games[0], []
        lexicon, tokenizer = state.lexicon, reader.tokenizer
        assert lexicon is not None
        text = list(state.unread)
        for step, answer in game:
            lexicon.meet(step.obs, step.admissible or ())
            text += [tokenizer.specials["<obs>"], *tokenizer.encode(lexicon.hide(step.obs)), tokenizer.specials["<act>"]]
            options = [[*whole.tokens(0, c), 1] for c in choices(step, "gata")]
            batch = pad_sequence([torch.tensor(text + o) for o in options], batch_first=True)
            states = model.states(batch)
            at = torch.arange(len(text) - 1, batch.shape[1] - 1)
            visible = torch.arange(batch.shape[1])[None] <= at[:, None]
            logp = model.log_probs(states[:, at], batch[:, at + 1], model.remember(batch, states), visible[None])
            scored.append([float(logp[i, : len(o)].sum()) for i, o in enumerate(options)])
            text += [*whole.tokens(0, answer), 1]
        found.append(scored)
    return found


def measure(preset: str, games: Sequence[Game], repeats: int) -> Result:
    """Both ways on the same games. Raises AssertionError where they do not agree."""
    n_layer, n_head, n_embd = PRESETS[preset]
    tokenizer = fit_tokenizer("bpe_1200", (text for game in games for step, c in game for text in (step.obs, c)))
    common = frozenset({"cookbook", "counter", "fridge", "knife", "meal", "oven", "stove", "table"})
    torch.manual_seed(0)
    model = LanguageModel(tokenizer.vocab_size, n_layer, n_head, n_embd)
    reader = TextReader(model, Encoding(tokenizer, common=common), TextScheme(), Decoding())
    for ours, plain in zip(lock_step(reader, games), one_by_one(reader, games), strict=True):
        for mine, theirs in zip(ours, plain, strict=True):
            torch.testing.assert_close(torch.tensor(mine), torch.tensor(theirs), atol=1e-2, rtol=0)

    def plain_work() -> None:
        one_by_one(reader, games)

    def our_work() -> None:
        lock_step(reader, games)

    ways: dict[str, Work] = {"plain": plain_work, "maskbench": our_work}
    return compare(f"text_gpt_{preset}, {len(games)} games", "decisions/s", sum(map(len, games)), ways, repeats)


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run of some seconds, not to be quoted")
    parser.add_argument("--games", type=int, default=16)
    parser.add_argument("--preset", choices=sorted(PRESETS), nargs="+", default=["s"])
    parser.add_argument("--repeats", type=int, default=3, help="turns per comparison")
    parser.add_argument("--json", type=Path, help="also write the results here")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    games = record(2 if chosen.quick else chosen.games, 3 if chosen.quick else 10)
    results = [measure(p, games, 1 if chosen.quick else chosen.repeats) for p in (["xs"] if chosen.quick else chosen.preset)]
    console, view = Console(), Table("case", "decisions", "one by one /s", "lock step /s", "ratio")
    for r in results:
        low, middle, high = r.ratios["maskbench"]
        rates = (f"{r.rates[n]:.1f}" for n in ("plain", "maskbench"))
        view.add_row(r.case, str(r.items), *rates, f"{middle:.1f}x ({low:.1f} - {high:.1f})")
    console.print(view)
    conclude(console, results, chosen.json)
    return results


if __name__ == "__main__":
    main()
