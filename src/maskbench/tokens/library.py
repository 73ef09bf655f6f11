"""The prompts of a data set, cut once: pictures as cells in one memory-mapped array, texts and names beside it.

<folder>/pictures.npy   (K, OBJECT_BYTES) uint8, the objects of one picture after the other, view by view;
                        or (K, V, 3, 64, 128) uint8, whole pictures
         index.jsonl    per episode its text, and per picture its kind, objects and rows

Instructions can be changed and are tokenised when a batch is drawn; pictures never have to be read as pictures again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskbench.data.npyfile import GrowingArray
from maskbench.errors import DataError
from maskbench.objects import OBJECT_BYTES, VIEWS
from maskbench.prompt import Prompt, PromptedEpisode, PromptImage, PromptObject
from maskbench.tokens.perturb import Perturbation
from maskbench.tokens.prompt import PromptTokeniser, PromptTokens, Readable
from maskbench.trajectory import Episode


class PromptLibrary:
    """Prompts by the number of their episode."""

    def __init__(self, folder: Path, rows: Sequence[str], pictures: np.ndarray) -> None:
        self.folder, self._rows, self.pictures = folder, rows, pictures

    @classmethod
    def open(cls, folder: str | Path) -> PromptLibrary:
        """Raises DataError where there is none."""
        folder = Path(folder)
        if not (folder / "index.jsonl").is_file():
            raise DataError(f"{folder} holds no prompts. Delete the store beside it and make it again with prompts.")
        rows = (folder / "index.jsonl").read_text(encoding="utf-8").splitlines()
        return cls(folder, rows, np.load(folder / "pictures.npy", mmap_mode="r", allow_pickle=False))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def objects(self) -> bool:
        """Whether pictures are cut into objects."""
        return self.pictures.ndim == 2

    def prompt(self, episode: int) -> Prompt:
        """What an episode asks for; its pictures know their objects and hold no pixels."""
        row = self._row(episode)
        return Prompt(row["text"], {n: _image(about) for n, about in row["images"].items()})

    def readable(self, episode: int, prompt: Prompt | None = None) -> Readable:
        """Text and cut pictures of an episode, or of its ``prompt`` after changes."""
        row = self._row(episode)
        text = row["text"] if prompt is None else prompt.text
        return Readable(text, {n: self._picture(about) for n, about in row["images"].items()})

    def _row(self, episode: int) -> dict[str, Any]:
        if not 0 <= episode < len(self):
            raise DataError(f"{self.folder} has the prompts of {len(self)} episodes; number {episode} was asked for")
        row: dict[str, Any] = json.loads(self._rows[episode])
        return row

    def _picture(self, about: dict[str, Any]) -> np.ndarray:
        first = about["row"]
        if not self.objects:
            picture: np.ndarray = self.pictures[first]
            return picture
        cells: np.ndarray = self.pictures[first : first + len(VIEWS) * len(about["objects"])]
        return cells.reshape(len(VIEWS), -1, OBJECT_BYTES)


class KeptPrompts:
    """A library that grows with a store (``data.growing.Keeping``) in ``folder``; prompts that are there stay."""

    def __init__(self, folder: str | Path, tokeniser: PromptTokeniser) -> None:
        self._tokeniser = tokeniser
        self._shape = (OBJECT_BYTES,) if tokeniser.visual == "objects" else (len(VIEWS), 3, 64, 128)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._pictures = GrowingArray(folder / "pictures.npy", np.dtype(np.uint8), self._shape)
        self._index = (folder / "index.jsonl").open("a", encoding="utf-8")

    def add(self, number: int, episode: Episode) -> None:
        """Cuts and keeps the prompt of an episode. Raises DataError where it has none."""
        prompt = episode.prompt if isinstance(episode, PromptedEpisode) else None
        if prompt is None:
            raise DataError(f"episode {number} has no prompt; this environment or format gives none")
        about = {}
        for name, cut in self._tokeniser.prepare(prompt).pictures.items():
            image = prompt.images[name]
            flat = cut.reshape(-1, *self._shape)
            listed = [[o.id, o.name, o.texture] for o in image.objects]
            about[name] = {"kind": image.kind, "objects": listed, "row": self._pictures.rows}
            if len(flat):
                self._pictures.append(flat)
        self._index.write(json.dumps({"text": prompt.text, "images": about}) + "\n")

    def flush(self) -> None:
        self._pictures.flush()
        self._index.flush()

    def close(self) -> None:
        self._pictures.close()
        self._index.close()


def _image(about: dict[str, Any]) -> PromptImage:
    return PromptImage(about["kind"], {}, {}, tuple(PromptObject(*o) for o in about["objects"]))


class PromptSource:
    """Prompts of batches, as tokens: what window samplers call.

    tasks: per episode the name of its template, which some changes need.
    """

    def __init__(
        self, library: PromptLibrary, tokeniser: PromptTokeniser, perturbation: Perturbation, tasks: Sequence[str]
    ) -> None:
        self.library, self.tokeniser, self.perturbation, self.tasks = library, tokeniser, perturbation, tasks
        if len(tasks) != len(library):
            raise DataError(f"{library.folder} has {len(library)} prompts for {len(tasks)} episodes. Make the store again.")

    def __call__(self, episodes: np.ndarray, random: np.random.Generator) -> PromptTokens:
        chosen = [int(e) for e in episodes]
        if not self.perturbation.names:
            return self.tokeniser([self.library.readable(e) for e in chosen])
        seeds = random.integers(2**63, size=len(chosen))
        changed = [
            self.perturbation(self.library.prompt(e), self.tasks[e], [int(s)]) for e, s in zip(chosen, seeds, strict=True)
        ]
        return self.tokeniser([self.library.readable(e, p) for e, p in zip(chosen, changed, strict=True)])
