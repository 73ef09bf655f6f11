"""Where text models take their episodes from: stored rollouts, fresh kitchens, or a mixture of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from maskbench.app.config.schema import TrainConfig
from maskbench.envs.text.kitchen import KitchenLite
from maskbench.errors import DataError
from maskbench.policies.text_agents import Decision, TextAgent
from maskbench.policies.text_baselines import Expert, Noisy, RandomAdmissible
from maskbench.policies.text_session import Session
from maskbench.text.admission import Admission
from maskbench.text.labellers import label
from maskbench.text.rollout import TextRollout, read
from maskbench.training.text import TextSource

#: Seeds of fresh kitchens lie far from those of any split.
FRESH = 1_000_000


class Kitchens:
    """Endless games of ``kitchen_lite``, each a pure function of (seed, index).

    mix: (probability of a random command once the recipe was read, weight); 1.0 plays at random from the start.
    """

    def __init__(
        self,
        levels: Sequence[int],
        foods: str,
        mix: Sequence[tuple[float, float]],
        horizon: int,
        seed: int = 0,
        strange: float = 0.0,
    ) -> None:
        self.games = {n: KitchenLite(level=n, foods=foods, strange=strange).game() for n in levels}  # type: ignore[arg-type]
        self.mix, self.horizon, self.seed = mix, horizon, seed

    def rollout(self, index: int) -> TextRollout:
        random = Random(f"kitchens/{self.seed}/{index}")
        game = self.games[random.choice(sorted(self.games))]
        (epsilon,) = random.choices([e for e, _ in self.mix], [w for _, w in self.mix])
        agent: TextAgent = RandomAdmissible() if epsilon >= 1 else Noisy(Expert(), epsilon, "Recipe #")
        agent.begin(random.randrange(2**31))
        session = Session(game, FRESH + random.randrange(2**31), {"env": "kitchen_lite", "agent": "expert"})
        while not session.now.done and len(session.steps) < self.horizon:
            decision = agent.decide(session.now)
            session.send(Decision(decision.command, noise=decision.noise or epsilon >= 1))
        return session.finish(Decision(""))


class Stored:
    """Rollouts in an order of their own in every pass."""

    def __init__(self, rollouts: Sequence[TextRollout], seed: int = 0) -> None:
        self.rollouts, self.seed = rollouts, seed

    def rollout(self, index: int) -> TextRollout:
        epoch, inside = divmod(index, len(self.rollouts))
        order = list(range(len(self.rollouts)))
        Random(f"stored/{self.seed}/{epoch}").shuffle(order)
        return self.rollouts[order[inside]]


class Mixed:
    """``share`` of the episodes from the first source, the rest from the second."""

    def __init__(self, first: TextSource, second: TextSource, share: float, seed: int = 0) -> None:
        self.first, self.second, self.share, self.seed = first, second, share, seed

    def rollout(self, index: int) -> TextRollout:
        chosen = self.first if Random(f"mixed/{self.seed}/{index}").random() < self.share else self.second
        return chosen.rollout(index)


class Labelled:
    """Another source's episodes with automatic hindsight."""

    def __init__(self, source: TextSource, names: Sequence[str]) -> None:
        self.source, self.names = source, names

    def rollout(self, index: int) -> TextRollout:
        return label(self.source.rollout(index), self.names)


def build_source(config: TrainConfig) -> tuple[TextSource, list[TextRollout]]:
    """Training episodes, and as many for validation as configured: the last games of stored rollouts, or kitchens that training
    never meets. Raises DataError where no stored rollout is admitted."""
    text, seed = config.text, config.experiment.seed

    def kitchens(of: int) -> Kitchens:
        return Kitchens(text.kitchen_levels, text.kitchen_foods, text.mix, text.horizon, of, text.kitchen_strange)

    source: TextSource = kitchens(seed)
    validation = [kitchens(-1 - seed).rollout(i) for i in range(text.validation)]
    if text.kitchen < 1:
        path = Path(config.dataset.path or "")
        admission = Admission(
            run_id=config.experiment.run_id,
            epoch=config.experiment.epoch,
            partition=text.partition,
            agents=text.agents,
            splits=("train",),
            labelled=False,
        )
        admitted = [r for r in admission.filter(read(path)) if r.env == config.env.name]
        train, held_out = by_game(admitted, text.validation)
        if not train:
            raise DataError(
                f"{path} holds no rollouts of env={config.env.name} for experiment.run_id={config.experiment.run_id}, epoch up "
                f"to {config.experiment.epoch}, partition={text.partition}; collect some: python -m maskbench text collect"
            )
        stored = Stored(train, seed)
        source = Mixed(source, stored, text.kitchen, seed) if text.kitchen > 0 else stored
        validation = held_out or train[: text.validation]
    if text.labellers:
        return Labelled(source, text.labellers), [label(r, text.labellers) for r in validation]
    return source, validation


def by_game(rollouts: Sequence[TextRollout], held_out: int) -> tuple[list[TextRollout], list[TextRollout]]:
    """Training and held-out rollouts; all of one game go to the same side, and at most a tenth of the games is held out."""
    games = sorted({(r.game, r.seed or 0) for r in rollouts})
    kept = set(games[len(games) - len(games) // 10 :]) if len(games) >= 10 else set()
    train = [r for r in rollouts if (r.game, r.seed or 0) not in kept]
    return train, [r for r in rollouts if (r.game, r.seed or 0) in kept][:held_out]
