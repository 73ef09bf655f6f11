"""Playing by prompt and completion, as the original did: the history is rendered in a named format, a language model continues
it, the completion is read back (TTM spec 3.2). The model may be a local one, or anything behind a chat endpoint."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable
from random import Random

import torch

from maskbench.envs.text.base import TextStep
from maskbench.errors import ConfigError
from maskbench.models.language import LanguageModel, Reading
from maskbench.policies.text_agents import Decision, TextAgent
from maskbench.text.encoding import Encoding
from maskbench.text.formats import STOP, Conditions, Format, render
from maskbench.text.hindsight import Hindsight
from maskbench.text.parsing import parse_completion
from maskbench.text.rollout import GOAL, Label, TextStepRecord
from maskbench.text.states import base_states, prefix_states

#: What the original asks for, always.
HIGH = Conditions("high", "high")
#: From a prompt to its continuation.
Complete = Callable[[str], str]
#: Where the key of a chat endpoint is read from.
KEY = "MASKBENCH_API_KEY"
#: Longest completion of a local model, in tokens.
LONGEST = 120


class PromptedAgent(TextAgent):
    """Plays by ``complete``. What it writes about the past comes back to it as hindsight in later prompts.

    asked:    values that prompts ask for.
    failures: completions without a command so far; ``look`` is sent instead.
    """

    def __init__(self, complete: Complete, form: Format, asked: Conditions = HIGH) -> None:
        self.complete, self.form, self.asked = complete, form, asked
        self.failures = 0
        self._steps: list[TextStepRecord] = []

    def begin(self, seed: int) -> None:
        self._steps = [TextStepRecord("", "start")]

    def prompt(self, step: TextStep) -> str:
        """The history with ``step`` as its open last line."""
        steps = [*self._steps, TextStepRecord(step.obs, "")]
        states, _ = prefix_states(base_states(steps), Hindsight(steps), len(steps) - 1)
        return render(self.form, states, self.asked, GOAL).prompt

    def decide(self, step: TextStep) -> Decision:
        parsed = parse_completion(self.form, self.complete(self.prompt(step)))
        self.failures += parsed is None
        found = parsed or {}
        labels: tuple[Label, ...] = ()
        if found.get("hindsight_summary"):
            length, value = found.get("hindsight_length", ""), found.get("value", "")
            given = float(value) if value.replace(".", "", 1).isdigit() else None
            labels = (Label(found["hindsight_summary"], int(length) if length.isdigit() else 0, _bounded(given)),)
        texts = {"hindsight_expectation": found["hindsight_expectation"]} if found.get("hindsight_expectation") else {}
        decision = Decision(found.get("action") or "look", texts, labels)
        self._steps.append(TextStepRecord(step.obs, decision.command, labels=labels, texts=texts))
        return decision

    def sent(self, command: str) -> None:
        last = self._steps.pop()
        self._steps.append(TextStepRecord(last.obs, command, labels=last.labels, texts=last.texts))


def _bounded(value: float | None) -> float | None:
    return value if value is not None and 0 <= value <= 1 else None


class LocalCompletion:
    """Continuations by a local model: the likeliest token each time, or drawn at a temperature, up to the end of the line."""

    def __init__(self, model: LanguageModel, encoding: Encoding, temperature: float = 0.0, seed: int = 0) -> None:
        self.model, self.tokenizer, self.temperature = model, encoding.tokenizer, temperature
        self._random = Random(seed)

    def __call__(self, prompt: str) -> str:
        ids = self.tokenizer.encode(prompt)[-(self.model.context - LONGEST) :]
        reading, row = Reading(self.model), torch.tensor([0], device=self.model.tokens.weight.device)
        reading.grow(1)
        written: list[int] = []
        while len(written) < LONGEST and STOP not in self.tokenizer.decode(written):
            new = torch.tensor([ids if not written else written[-1:]], device=row.device)
            reading.read(row, new, torch.tensor([new.shape[1]], device=row.device))
            logp = reading.next(row)[0].cpu()
            if self.temperature > 0:
                weights = (logp / self.temperature).softmax(-1).tolist()
                written.append(self._random.choices(range(len(weights)), weights)[0])
            else:
                written.append(int(logp.argmax()))
        return self.tokenizer.decode(written)


class ChatCompletion:
    """Continuations by an OpenAI-compatible chat endpoint; its key stands in the environment variable ``MASKBENCH_API_KEY``.

    url: base of the endpoint, such as ``https://api.openai.com/v1``. Raises ConfigError without a key.
    """

    def __init__(self, url: str, model: str, form: Format, temperature: float = 0.0, timeout: float = 60.0) -> None:
        key = os.environ.get(KEY)
        if not key:
            raise ConfigError(f"a chat endpoint needs its key: set the environment variable {KEY}")
        if not url.startswith("https://") and not url.startswith("http://localhost"):
            raise ConfigError(f"a chat endpoint is reached by https (or on localhost); found '{url}'")
        fields = ", ".join([*form.predicted, "action"])
        self.rules = (
            f"Format {form.name}. Continue the last line with: {fields}. One line; the action is one command of the game."
        )
        self.url, self.model, self.temperature, self.timeout = (
            f"{url.rstrip('/')}/chat/completions",
            model,
            temperature,
            timeout,
        )
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def request(self, prompt: str) -> urllib.request.Request:
        """What is sent for a prompt."""
        messages = [{"role": "system", "content": self.rules}, {"role": "user", "content": prompt}]
        body = {"model": self.model, "messages": messages, "temperature": self.temperature, "stop": [STOP], "max_tokens": 400}
        return urllib.request.Request(self.url, json.dumps(body).encode(), self._headers)

    def __call__(self, prompt: str) -> str:
        with urllib.request.urlopen(self.request(prompt), timeout=self.timeout) as answer:
            return str(json.load(answer)["choices"][0]["message"]["content"])
