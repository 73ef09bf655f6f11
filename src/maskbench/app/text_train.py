"""Text models: ``train.py`` with a text game and a ``text_*`` scheme, and ``run_on_env.py`` with what that trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from rich.console import Console

from maskbench.app.config.decode import decode
from maskbench.app.config.instantiate import instantiate
from maskbench.app.config.runs import saved_config
from maskbench.app.config.schema import RolloutConfig, TrainConfig
from maskbench.app.config.schema_masking import Masking, Mixture
from maskbench.app.config.schema_model import LanguageModel as LanguageNode
from maskbench.app.config.schema_play import PolicyConfig
from maskbench.app.experiment import pick_device
from maskbench.app.text_players import has_recipe, with_what_it_needs, wrapped
from maskbench.app.text_rollout import play_text
from maskbench.app.text_stream import build_source
from maskbench.masking.text import TextScheme
from maskbench.models.language import LanguageModel
from maskbench.policies.text import Decoding, TextModelAgent, TextModelPolicy
from maskbench.policies.text_agents import AgentPolicy
from maskbench.policies.text_prompted import LocalCompletion, PromptedAgent
from maskbench.reports.html import write_report
from maskbench.rollout.policy import Policy
from maskbench.text.encoding import Encoding
from maskbench.text.formats import get_format
from maskbench.text.lexicon import Lexicon, common_names
from maskbench.text.rollout import TextRollout
from maskbench.text.tokenizer import fit_tokenizer, read_tokenizer
from maskbench.text.values import buckets, step_values
from maskbench.training import checkpoint
from maskbench.training.loggers import build_loggers
from maskbench.training.optim import build_optimizer, build_scheduler
from maskbench.training.seeding import seed_everything
from maskbench.training.text import TextProblem, TextSource
from maskbench.training.trainer import Trainer

#: Training episodes that the tokenizer, the common names and the buckets are fitted on.
FITTED = 300


@dataclass(frozen=True)
class TextModel:
    """A language model with all that it takes to play."""

    config: TrainConfig
    network: LanguageModel
    encoding: Encoding
    schemes: list[tuple[float, TextScheme]]

    @property
    def scheme(self) -> TextScheme:
        """The one it plays by: the first that predicts commands."""
        return next((s for _, s in self.schemes if "act" in s.predict), self.schemes[0][1])


def run_text_training(config: TrainConfig, run_dir: Path) -> float | None:
    """Trains and saves a text model; returns its best validation loss."""
    settings, console = config.experiment, Console(stderr=True)
    seed_everything(settings.seed)
    source, validation = build_source(config)
    schemes = build_schemes(config.masking)
    start = config.model.load_dir
    node = config.model
    if start is None:
        encoding = fit_encoding(config, source, schemes[0][1])
    else:
        encoding = load_text_model(start, node.which).encoding
        node = replace(node, path=None)  # type: ignore[call-arg]
    network: LanguageModel = instantiate(node, vocab_size=encoding.tokenizer.vocab_size)
    if start is not None and not (config.resume is not None and checkpoint.exists(run_dir)):
        checkpoint.load_weights(network, start, config.model.which)
    network.train()
    options = {k: v for k, v in asdict(config.trainer).items() if k != "stack_seeds"}
    steps = settings.num_steps
    trainer = Trainer(steps, seed=settings.seed, device=settings.device, **options)
    warmup = min(config.scheduler.warmup_steps, steps // 10)
    schedule = partial(build_scheduler, num_steps=steps, **{**asdict(config.scheduler), "warmup_steps": warmup})
    optimiser = partial(build_optimizer, **asdict(config.optimizer))
    loggers = build_loggers([config.logger.name], run_dir, project=config.logger.project, mode=config.logger.mode)
    problem = TextProblem(source, validation, encoding, schemes, settings.batch_size, settings.seed)
    parameters = sum(p.numel() for p in network.parameters())
    names = ", ".join(s.name for _, s in schemes)
    console.print(
        f"{names} on {config.env.name}: {parameters:,} parameters, {encoding.tokenizer.vocab_size} tokens", highlight=False
    )
    extra = {"encoding": encoding.to_json()}
    result = trainer.fit(network, problem, optimiser, schedule, run_dir, loggers, extra, config.resume is not None)
    from maskbench.app.train import point_latest

    point_latest(run_dir)
    write_report(run_dir)
    console.print(f"{run_dir}: {result.samples_per_second:.1f} episodes/s, best loss {result.best_loss}", highlight=False)
    return result.best_loss


def build_schemes(masking: Masking) -> list[tuple[float, TextScheme]]:
    """What sequences ask, with the weight of each scheme."""
    train: Any = masking.train
    if isinstance(train, Mixture):
        weights = train.weights or {}
        return [(weights.get(name, 1.0), instantiate(scheme)) for name, scheme in train.schemes.items()]
    return [(1.0, instantiate(train))]


def fit_encoding(config: TrainConfig, source: TextSource, scheme: TextScheme) -> Encoding:
    """Tokens, common names and buckets fitted on the first training episodes."""
    text = config.text
    rollouts = [source.rollout(i) for i in range(FITTED)]
    common = common_names([r.visible for r in rollouts], text.common) if text.entities else None
    values: list[float] = []
    if text.bucket.startswith("quantile"):
        values = [v for r in rollouts for v in step_values(r, scheme.value) if v is not None]
    model: LanguageNode = config.model  # type: ignore[assignment]
    published = model.path is not None
    tokenizer = read_tokenizer(Path(model.path or "")) if published else fit_tokenizer(text.tokenizer, _texts(rollouts, common))
    return Encoding(tokenizer, buckets(text.bucket, values), common, model.context)


def _texts(rollouts: Sequence[TextRollout], common: frozenset[str] | None) -> Iterator[str]:
    for i, rollout in enumerate(rollouts):
        lexicon = Lexicon(common, Random(i)) if common is not None else None
        for step in rollout.visible:
            if lexicon is not None:
                lexicon.meet(step.obs, step.admissible or ())
            for words in (step.obs, step.command, *(x.summary for x in step.labels)):
                yield lexicon.hide(words) if lexicon is not None else words


def load_text_model(run_dir: str, which: str = "best", device: torch.device | str = "cpu") -> TextModel:
    """The trained text model of a run folder, from nothing but that folder."""
    saved = OmegaConf.to_container(saved_config(run_dir, "model.load_dir"), resolve=True)
    config: TrainConfig = decode(TrainConfig, saved)
    state = checkpoint.load_trainer_state(Path(run_dir), which)  # type: ignore[arg-type]
    encoding = Encoding.from_json(state["extra"]["encoding"])
    node = replace(config.model, path=None)  # type: ignore[call-arg]  # weights are the run's own
    network: LanguageModel = instantiate(node, vocab_size=encoding.tokenizer.vocab_size)
    network.load_state_dict(checkpoint.load_model(run_dir, which), strict=True)  # type: ignore[arg-type]
    network.to(device).eval()
    return TextModel(config, network, encoding, build_schemes(config.masking))


def make_text_policy(model: TextModel, policy: PolicyConfig, recipe: bool) -> Policy:
    """All games in one batch; with a meta-policy, noise or a guard of free text around it, one player a game."""
    together = policy.meta == "fixed" and policy.memory == "none" and not policy.epsilon
    guard = policy.loop_guard if together and policy.decode in ("admissible", "trie") else None
    asked = (policy.decode, policy.rank, policy.temperature, policy.condition, policy.value, policy.kappa, policy.filter)
    decoding = Decoding(*asked, guard)
    if model.scheme.format is not None:
        form = get_format(model.scheme.format)
        complete = LocalCompletion(model.network, model.encoding, policy.temperature)
        return AgentPolicy(lambda: wrapped(PromptedAgent(complete, form), policy, recipe))
    parts = (model.network, model.encoding, model.scheme, decoding)
    if together and guard == policy.loop_guard:
        return TextModelPolicy(*parts)
    return AgentPolicy(lambda: wrapped(TextModelAgent(*parts), policy, recipe))


def play_text_model(config: RolloutConfig, run_dir: Path) -> float | None:
    """``run_on_env.py`` for a trained text model; returns the mean return, negated."""
    device = pick_device(config.experiment.device)
    model = load_text_model(config.model.load_dir, config.model.which, device)
    env = with_what_it_needs(config.env, config.policy)
    if config.policy.decode in ("admissible", "trie") and hasattr(env, "admissible"):
        env = replace(env, admissible=True)  # type: ignore[call-arg]
    environment = instantiate(env)
    factory = partial(make_text_policy, model, config.policy, has_recipe(env))
    engine = Path(config.model.load_dir).name
    records = play_text(environment, factory, config.experiment, "model", run_dir, about={"engine": engine})
    return -float(np.mean([r.episode_return for r in records]))
