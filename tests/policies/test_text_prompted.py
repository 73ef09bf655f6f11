"""Playing by prompt: what is written comes back, what cannot be read is counted, nothing is sent without a key."""

import json

import pytest
import torch

from maskbench.envs.text.kitchen import KitchenLite
from maskbench.errors import ConfigError
from maskbench.models.language import LanguageModel
from maskbench.policies.text_prompted import KEY, ChatCompletion, LocalCompletion, PromptedAgent
from maskbench.text.encoding import Encoding
from maskbench.text.formats import get_format
from maskbench.text.tokenizer import Tokenizer

FORM = get_format("hindsight_expectation_str")
SAID = (
    "'hindsight_expectation': 'I will read', 'hindsight_summary': 'I waited', 'hindsight_length': '1', "
    "'value': '0'] action: [ look ]"
)


def test_what_was_written_stands_in_later_prompts() -> None:
    prompts: list[str] = []

    def complete(prompt: str) -> str:
        prompts.append(prompt)
        return SAID

    game, agent = KitchenLite(level=1).game(), PromptedAgent(complete, FORM)
    step = game.reset(1)
    agent.begin(0)
    for _ in range(3):
        decision = agent.decide(step)
        step = game.step(decision.command)
    assert (decision.command, decision.labels[0].summary, decision.labels[0].value) == ("look", "I waited", 0.0)
    assert prompts[0].startswith(
        "goal: [get a high batch_fitness]\nstate: ['obs': '','hindsight_expectation': ''] action: [ start ]"
    )
    assert prompts[0].endswith("fitness: 'high' batch_fitness: 'high'")
    assert "'hindsight_expectation': 'I waited'] action: [ look ]" in prompts[2]
    assert agent.failures == 0


def test_completions_without_a_command_are_counted() -> None:
    agent = PromptedAgent(lambda prompt: "nothing", FORM)
    agent.begin(0)
    assert agent.decide(KitchenLite(level=1).game().reset(1)).command == "look"
    assert agent.failures == 1


def test_a_local_model_continues_to_the_end_of_the_line() -> None:
    torch.manual_seed(0)
    encoding = Encoding(Tokenizer())
    model = LanguageModel(encoding.tokenizer.vocab_size, 1, 1, 8, 200, 0.0)
    newline = encoding.tokenizer.encode("\n")[0]
    with torch.no_grad():
        model.pointer.bias.fill_(-20.0)  # type: ignore[union-attr]  # never copies
        model.trunk.norm.bias.fill_(1.0)  # type: ignore[union-attr]
        model.tokens.weight[newline] = 9.0
    assert LocalCompletion(model, encoding)("look" * 90) == "\n"


def test_a_chat_endpoint_needs_its_key_and_https(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    with pytest.raises(ConfigError, match=KEY):
        ChatCompletion("https://example.org/v1", "m", FORM)
    monkeypatch.setenv(KEY, "secret")
    with pytest.raises(ConfigError, match="https"):
        ChatCompletion("http://example.org/v1", "m", FORM)
    request = ChatCompletion("https://example.org/v1/", "m", FORM).request("goal")
    assert request.full_url == "https://example.org/v1/chat/completions"
    body = json.loads(request.data)  # type: ignore[arg-type]
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert body["stop"] == ["\n"]
