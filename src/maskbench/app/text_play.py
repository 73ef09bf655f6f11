"""A person plays a text game at the terminal, says in hindsight what it amounted to, forks, asks, and hands over (spec 3.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.markup import escape

from maskbench.app.config.instantiate import instantiate
from maskbench.app.config.schema import EvalExperiment, RolloutConfig
from maskbench.app.config.schema_env import EnvNode
from maskbench.app.config.schema_play import PolicyConfig
from maskbench.app.text_players import has_recipe, load_player, make_player, with_what_it_needs
from maskbench.app.text_rollout import EPISODES, stored_as
from maskbench.envs.text.base import TextStep
from maskbench.envs.text.family import TextGames
from maskbench.errors import ConfigError, EnvError, MaskbenchError
from maskbench.policies.text_agents import Decision, TextAgent
from maskbench.policies.text_search import search
from maskbench.policies.text_session import Session
from maskbench.rollout.plan import EpisodePlan
from maskbench.text.rollout import Label, TextRollout, append, read

HELP = """Type a command of the game, or one of these:
  restore:K              keep this rollout, and go on from after its first K commands
  load: ['game': 'G', 'split': 'S']    keep this rollout, and play another environment or story file
  agent: 'NAME'          hand over to another player (expert, a run folder ...); Ctrl-C takes over again
  ... ?                  a question: search what you have read, then write the answer down
  fitness:               scores of the rollouts that are stored beside this one
  end:                   stop here
  help:                  this page"""
_SETTINGS = re.compile(r"'(\w+)'\s*:\s*'([^']*)'")


class Terminal(Protocol):
    """Where a person reads and writes; tests give a script."""

    def show(self, text: str) -> None: ...

    def ask(self, prompt: str) -> str: ...


class ConsoleTerminal:
    """The terminal of this process. Raises EOFError where input ends."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    def show(self, text: str) -> None:
        self._console.print(escape(text), soft_wrap=True)

    def ask(self, prompt: str) -> str:
        return self._console.input(f"[bold]{escape(prompt)}[/bold] ").strip()


@dataclass
class Table:
    """What play at the terminal needs: where rollouts go, and how to open games and call players.

    labels:  ask for a hindsight summary at each step.
    actions: commands of an episode at most.
    """

    terminal: Terminal
    root: Path
    settings: EvalExperiment
    open_game: Callable[[str, str | None], TextGames]
    call_player: Callable[[str], TextAgent | None]
    labels: bool = True
    actions: int = 100
    scores: list[float] = field(default_factory=list)

    def play(self, environment: TextGames, seed: int, player: TextAgent | None, name: str) -> list[TextRollout]:
        """One episode, with everything that branches off it; each rollout is stored as it ends. ``player=None``: the person."""
        return _Sitting(self, environment, seed, player, name).play()

    def keep(self, rollout: TextRollout) -> None:
        """Stores a rollout that holds at least one command."""
        if any(s.command and not s.system for s in rollout.steps):
            file = append(self.root, rollout)
            self.scores.append(rollout.score)
            self.terminal.show(f"[{rollout.score:g} points; stored in {file}]")


class _Sitting:
    """The course of one episode at the terminal."""

    def __init__(self, table: Table, environment: TextGames, seed: int, player: TextAgent | None, name: str) -> None:
        self.table, self.terminal, self.seed = table, table.terminal, seed
        self.player, self.name = player, name
        self.done: list[TextRollout] = []
        self.ended = False
        self._open(environment)

    def _open(self, environment: TextGames) -> None:
        environment.prepare()
        about = stored_as(self.table.settings, environment, self.name) | {"labelled": self.table.labels}
        self.session = Session(environment.game(), self.seed, about)
        self._hand_over(self.player, self.name)

    def _hand_over(self, player: TextAgent | None, name: str) -> None:
        self.player, self.name = player, name
        folder = Path(name).is_dir()
        self.session.about = {**self.session.about, "agent": "model" if folder else name, "engine": name if folder else ""}
        if player is not None:
            player.attach(self.session.game)
            player.begin(self.seed)

    def play(self) -> list[TextRollout]:
        last = Decision("")
        try:
            while not self.ended:
                step = self.session.now
                over = step.done or self._commands() >= self.table.actions
                last = self._turn(step, over) if self.player is None else self._watch(self.player, step, over)
                self.ended |= over
                if last.command:
                    self.session.send(last)
                    last = Decision("")  # said once
        finally:  # what was played is kept however it ends
            self._keep(self.session.finish(last))
            self.session.game.close()
        return self.done

    def _commands(self) -> int:
        return sum(not s.system and "question" not in s.texts for s in self.session.steps)

    def _keep(self, rollout: TextRollout) -> None:
        self.table.keep(rollout)
        self.done.append(rollout)

    def _watch(self, player: TextAgent, step: TextStep, over: bool) -> Decision:
        """Another player's turn, shown."""
        self.terminal.show(step.obs)
        if over:
            return Decision("")
        try:
            decision = player.decide(step)
        except KeyboardInterrupt:
            self._hand_over(None, "human")
            return Decision("")
        self.terminal.show(f"> {decision.command}")
        return decision

    def _turn(self, step: TextStep, over: bool) -> Decision:
        """The person's turn; an empty command sends nothing."""
        self.terminal.show(f"\n{step.obs}\n[{step.score:g} of {step.max_score:g} points]")
        labels = self._hindsight() if self.table.labels else ()
        while True:
            line = "" if over else self.terminal.ask("action:")
            if over or line == "end:":
                self.ended = True
                return Decision("", labels=labels)
            if not line:
                continue
            try:
                if not self._special(line):
                    return Decision(line, labels=labels)
            except MaskbenchError as error:
                self.terminal.show(str(error))
                continue
            if line.startswith(("restore:", "load:", "agent:")) or line.endswith("?"):
                return Decision("")  # the present is another one now

    def _hindsight(self) -> tuple[Label, ...]:
        """What the last steps amounted to; an empty line says nothing."""
        summary = self.terminal.ask("hindsight_summary:")
        if not summary:
            return ()
        length = self._number("hindsight_length:", lambda n: n >= 0 and n == int(n), "a number of steps, 0 or more")
        value = self._number("value:", lambda v: 0 <= v <= 1, "a number from 0 to 1")
        return (Label(summary, int(length), value),)

    def _number(self, prompt: str, fits: Callable[[float], bool], wanted: str) -> float:
        while True:
            text = self.terminal.ask(prompt)
            if re.fullmatch(r"-?\d+(\.\d*)?|-?\.\d+", text) and fits(float(text)):
                return float(text)
            self.terminal.show(f"expected {wanted}; found '{text}'")

    def _special(self, line: str) -> bool:
        """Carries out a command that is not the game's; False where it is."""
        word, _, rest = line.partition(":")
        rest = rest.strip()
        if line == "help:":
            self.terminal.show(HELP)
        elif word == "restore":
            if not rest.isdigit():
                raise EnvError(f"restore:K needs a number of commands; found '{rest}'")
            self._keep(self.session.fork(int(rest)))
        elif word == "load":
            given = dict(_SETTINGS.findall(rest))
            if "game" not in given:
                raise EnvError("load needs a game: load: ['game': 'lantern_house']")
            environment = self.table.open_game(given["game"], given.get("split"))
            self._keep(self.session.finish(Decision("")))
            self.session.game.close()
            self._open(environment)
            self.session.say(line)
        elif word == "agent":
            name = rest.strip("'\" ")
            player = self.table.call_player(name)
            self.session.say(line)
            self._hand_over(player, name)
        elif line == "fitness:":
            self.terminal.show(self._fitness())
        elif line.endswith("?"):
            self._question(line)
        else:
            return False
        return True

    def _question(self, question: str) -> None:
        """Search until an answer is written; the answer takes the place of the next observation."""
        searches, relevant = list[str](), list[str]()
        while True:
            term = self.terminal.ask("search (empty = answer):")
            if not term:
                break
            found = search(self.session.steps, term)
            searches.append(term)
            for i, window in enumerate(found):
                self.terminal.show(f"[{i}] {window.text}")
            if found:
                marked = re.findall(r"\d+", self.terminal.ask("relevant (numbers):"))
                relevant += [str(found[int(i)].step) for i in marked if int(i) < len(found)]
        answer = self.terminal.ask("answer:")
        texts = {"question": question, "searches": "\n".join(searches), "relevant": ",".join(relevant), "answer": answer}
        self.session.note(question, {k: v for k, v in texts.items() if v}, Label(f"{question} {answer}", 0, 1.0), answer)

    def _fitness(self) -> str:
        about = self.session.about
        folder = self.session.finish(Decision("")).folder
        path = self.table.root / folder
        rollouts = list(read(path)) if path.exists() else []
        if not rollouts:
            return f"no rollouts are stored as {about['policy']}, run {about['run_id']}, epoch {about['epoch']} yet"
        return "\n".join(f"{name}: {value:.3f}" for name, value in batch_statistics(rollouts).items())


def batch_statistics(rollouts: Sequence[TextRollout]) -> Mapping[str, float]:
    """Mean score of a batch, and how varied its episodes are (spec 1.4)."""

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values) if values else 0.0

    steps = [[s for s in r.visible if s.command] for r in rollouts]
    return {
        "rollouts": float(len(rollouts)),
        "fitness": mean([r.score for r in rollouts]),
        "won": mean([float(r.won) for r in rollouts]),
        "unique actions": mean([len({s.command for s in part}) / len(part) for part in steps if part]),
        "unique observations": mean([len({s.obs for s in part}) / len(part) for part in steps if part]),
    }


def play_configured(config: RolloutConfig, terminal: Terminal | None = None, name: str | None = None) -> float | None:
    """``run_on_env.py policy=human``: ``experiment.num_eval_eps`` episodes (one, where nothing is said) at the terminal.

    name: who plays, as ``call_player`` understands it; None = the policy of ``config``.
    """
    name = name or config.policy.name
    environment: TextGames = instantiate(with_what_it_needs(config.env, config.policy))
    environment.prepare()
    settings = config.experiment
    table = Table(
        terminal=terminal or ConsoleTerminal(),
        root=Path(settings.data_root) / "text",
        settings=settings,
        open_game=lambda game, split: open_game(game, split, settings.data_root),
        call_player=lambda name: call_player(name, config.env, config.policy),
        labels=config.policy.labels,
        actions=settings.num_eval_steps or environment.horizon,
    )
    episodes = settings.num_eval_eps or 1
    plan = EpisodePlan.build(max(episodes, EPISODES), settings.seed, worlds=environment.worlds)
    table.terminal.show(HELP)
    player = call_player(name, config.env, config.policy)
    scores = []
    for row in plan.rows[:episodes]:
        try:
            scores += [r.score for r in table.play(environment, row.env_seed, player, name)]
        except EOFError:
            break
    return -sum(scores) / len(scores) if scores else None


def call_player(name: str, env: EnvNode, policy: PolicyConfig) -> TextAgent | None:
    """A player by name, or the model of a run folder; None for the person at the terminal. Raises ConfigError for an unknown
    one."""
    known = ("random_admissible", "admissible_uniform", "expert", "walkthrough", "retrieval")
    if name == "human":
        return None
    if Path(name).is_dir():
        return load_player(name, policy, has_recipe(env))
    if name not in known:
        raise ConfigError(f"no player is called '{name}'; expected human, {', '.join(known)}, or the folder of a trained run")
    return make_player(replace(policy, name=name), has_recipe(env))  # type: ignore[arg-type]


def env_overrides(game: str, split: str | None) -> list[str]:
    """What composes an environment by its name in ``configs/env``, or a story file by its own."""
    from maskbench.app.config.folder import config_folder
    from maskbench.app.config.help import options

    if game in options(config_folder(), "env"):
        split_games = game.startswith("cooking") or game == "kitchen_lite"
        return [f"env={game}", *([f"env.split={split}"] if split is not None and split_games else [])]
    return ["env=zmachine", f"env.game='{game}'"]


def open_game(game: str, split: str | None, data_root: str) -> TextGames:
    """An environment by its name, or a story file. Raises ConfigError or EnvError where there is none."""
    from maskbench.app.config.compose import load

    loaded = load("run_on_env", [*env_overrides(game, split), "policy=human", f"experiment.data_root='{data_root}'"])
    return instantiate(loaded.env)
