"""Multimodal block push of Behavior Transformers, rebuilt in MuJoCo (specification of BeT, section 2.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np

from maskbench.envs.base import Environment, Measure, MetricsVersion, numbered
from maskbench.envs.blockpush.layout import HIGH, LOW, START, draw_layout
from maskbench.envs.blockpush.measures import EVENTS, measures
from maskbench.envs.blockpush.oracle import MODES, Oracle
from maskbench.envs.blockpush.picture import draw
from maskbench.envs.blockpush.rules import COLOURS, Placement, Progress, changes, events, reward, solved
from maskbench.envs.blockpush.world import PHYSICS_SIZE, World
from maskbench.errors import ConfigError, EnvError
from maskbench.trajectory import Episode, EpisodeRecord, Factor, TrajectorySpec

#: A saved state: simulation, commanded effector position, zone poses, progress.
_ROW = PHYSICS_SIZE + 2 + 6 + Progress.SIZE
#: Layouts that a demonstration may try before its generator is blamed; more than 98 % succeed at once without noise.
_ATTEMPTS = 100


class BlockPush(Environment):
    """Push the red and the green block into the two zones, in any order and either way round.

    horizon: steps of 0.1 s after which an episode is truncated. 300 is where published evaluations stop, so their numbers
             compare; the registered limit of the original, 350, is never reached there.
    min_yaw: lower end (rad) of the uniform law of the blocks' first yaw, whose upper end is pi. The published code asks for
             ``uniform(pi)``, which draws between pi and 1: 1 suits checkpoints trained on the released data.

    Factors: ``state`` (16,), ``action`` (2,) = displacement (m) of the commanded effector position, which is cut to the
    workspace while the action itself is not, ``reward`` and ``physics``, all that an episode needs to continue. Events and
    rewards: see ``maskbench.envs.blockpush.rules``. Raises ConfigError for values out of range.
    """

    queries: ClassVar[tuple[str, ...]] = ("bc", "return", "goal")
    action_range: ClassVar[tuple[float, float]] = (-0.1, 0.1)
    success_events: ClassVar[tuple[str, ...]] = ("success",)
    events = EVENTS

    def __init__(self, horizon: int = 300, min_yaw: float = 0.0) -> None:
        if horizon < 1:
            raise ConfigError(f"horizon must be at least 1; found {horizon}")
        if not 0.0 <= min_yaw <= np.pi:
            raise ConfigError(f"min_yaw must lie between 0 and pi; found {min_yaw}")
        self.name = "blockpush"
        self.horizon, self.min_yaw = horizon, min_yaw
        parts = (
            ("block1", 0, 3),
            ("block2", 3, 6),
            ("effector", 6, 8),
            ("effector_target", 8, 10),
            ("target1", 10, 13),
            ("target2", 13, 16),
        )
        self.spec = TrajectorySpec(
            (
                Factor("state", "continuous", "state", (16,), parts=parts),
                Factor("action", "continuous", "action", (2,)),
                Factor("reward", "continuous", "reward", (1,)),
                Factor("physics", "continuous", "simulator", (_ROW,)),
            )
        )

    def make(self) -> BlockPushEnv:
        """One environment; raises MissingExtraError where mujoco is not installed. Pictures need no OpenGL."""
        return BlockPushEnv(self)

    def generate(  # type: ignore[override]  # named options: a misspelt one is refused
        self,
        episodes: int | range,
        seed: int,
        modes: Literal["balanced", "sampled"] = "balanced",
        action_noise: float = 0.0,
        max_length: int = 210,
    ) -> Iterator[Episode]:
        """Successful demonstrations of the scripted expert; ``meta["mode"]`` is the mode that they follow.

        modes:        ``balanced``: episode ``i`` follows mode ``i % 4``; ``sampled``: one of the four, drawn uniformly.
        action_noise: standard deviation (m) of noise on the expert's displacements; 0.002 to 0.005 adds recoveries.
        max_length:   an attempt that takes longer, or follows another mode, is discarded and another layout tried.

        Raises ConfigError for other values, EnvError where no attempt succeeds.
        """
        if modes not in ("balanced", "sampled"):
            raise ConfigError(f"modes must be 'balanced' or 'sampled'; found '{modes}'")
        if action_noise < 0 or max_length < 1:
            raise ConfigError(f"action_noise must be >= 0 and max_length >= 1; found {action_noise} and {max_length}")
        env = self.make()
        for i in numbered(episodes):
            rng = np.random.default_rng([seed, i])
            mode = MODES[i % len(MODES) if modes == "balanced" else rng.integers(len(MODES))]
            for _ in range(_ATTEMPTS):
                env_seed = int(rng.integers(2**31))
                found = self._attempt(env, env_seed, Oracle(mode, action_noise, rng), min(max_length, self.horizon))
                if found is not None and found[2] == mode:
                    break
            else:
                raise EnvError(
                    f"no demonstration of mode '{mode}' in {_ATTEMPTS} attempts; found action_noise={action_noise}, "
                    f"max_length={max_length}: lower the one or raise the other"
                )
            values, final, _ = found
            meta = {"env": self.name, "quality": "expert", "mode": mode, "env_seed": env_seed, "action_noise": action_noise}
            yield Episode(values, final=final, terminated=True, meta=meta)

    def measures(self, records: Sequence[EpisodeRecord], version: MetricsVersion) -> Iterator[Measure]:
        return measures(records, version, self.horizon)

    def mode(self, episode: Episode) -> str:
        """As ``meta`` says it, else by the zones that blocks enter. Published recordings lack the state after the last action,
        in which the second block enters: without it, that block counts into the zone that is left."""
        if "mode" in episode.meta:
            return str(episode.meta["mode"])
        states = np.stack((*episode.values["state"], *episode.final.values())).astype(np.float64)
        routes: list[str] = []
        progress = Progress((float(np.hypot(*states[0, :2])), float(np.hypot(*states[0, 3:5]))))
        for row in states.tolist():
            after = progress.after((row[0:2], row[3:5]), (row[10:12], row[13:15]))
            routes += [e.removeprefix("route:") for e in events(progress, after, False) if e.startswith("route:")]
            progress = after
        if len(routes) == 1 and not episode.final:
            block, zone = (COLOURS[1 - COLOURS.index(name)] for name in routes[0].split("-"))
            routes.append(f"{block}-{zone}")
        return ">".join(routes)

    def _attempt(
        self, env: BlockPushEnv, env_seed: int, oracle: Oracle, limit: int
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], str] | None:
        """Recorded factors, final state and followed mode of one try, or None where it does not succeed in time."""
        rows: dict[str, list[Any]] = {name: [] for name in self.spec.names}
        observation, _ = env.reset(seed=env_seed)
        routes: list[str] = []
        for _ in range(limit):
            action = oracle.act(observation["state"])
            rows["state"].append(observation["state"])
            rows["action"].append(action)
            rows["physics"].append(env.physics())
            observation, earned, terminated, _, info = env.step(action)
            rows["reward"].append([earned])
            routes += [e.removeprefix("route:") for e in info["events"] if e.startswith("route:")]
            if terminated:
                values = {name: np.array(row, self.spec[name].dtype) for name, row in rows.items()}
                return values, observation, ">".join(routes)
        return None


class BlockPushEnv(gymnasium.Env[Any, Any]):
    """One table. ``reset(options={"simulator": row})`` continues from ``physics()`` bit for bit, with the step count at 0."""

    def __init__(self, family: BlockPush) -> None:
        self._family = family
        self._world = World()
        self.observation_space = gymnasium.spaces.Dict({"state": gymnasium.spaces.Box(-np.inf, np.inf, (16,), np.float32)})
        self.action_space = gymnasium.spaces.Box(-0.1, 0.1, (2,), np.float32)
        self.render_mode = "rgb_array"
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
        self._steps = -1
        self._commanded = START
        self._zones = np.zeros((2, 3))
        self._progress = Progress((0.0, 0.0))
        self._placement = Placement((False, False), ((False, False), (False, False)))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        row = (options or {}).get("simulator")
        if row is None:
            layout = draw_layout(self.np_random, self._family.min_yaw)
            self._commanded, self._zones = START, layout.zones
            self._world.place(START, layout.blocks)
            red, green = (float(np.hypot(x, y)) for x, y, _ in layout.blocks)
            self._progress = Progress((red, green))
        else:
            physics, commanded, zones, progress = np.split(self._checked(row), np.cumsum((PHYSICS_SIZE, 2, 6)))
            self._commanded, self._zones = (float(commanded[0]), float(commanded[1])), zones.reshape(2, 3)
            self._world.restore(physics)
            self._progress = Progress.of(progress)
        self._steps = 0
        now = self._world.read()
        self._placement = self._placed(now)
        return {"state": self._observe(now)}, {"events": ()}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        if self._steps < 0:
            raise EnvError("'blockpush' must be reset before its first step")
        move = np.asarray(action, np.float64)
        if move.shape != (2,) or not np.isfinite(move).all():
            raise EnvError(f"'blockpush' takes 2 finite displacements; found {action}")
        dx, dy = move.tolist()
        x, y = self._commanded
        self._commanded = min(max(x + dx, LOW[0]), HIGH[0]), min(max(y + dy, LOW[1]), HIGH[1])
        self._world.step(self._commanded)
        self._steps += 1

        now = self._world.read()
        blocks, zones = ((now[0], now[1]), (now[3], now[4])), self._zones[:, :2].tolist()
        before, after, success = self._progress, self._progress.after(blocks, zones), solved(blocks, zones)
        was, placed = self._placement, self._placed(now)
        self._progress, self._placement = after, placed
        info = {"events": (*events(before, after, success), *changes(was, placed))}
        truncated = self._steps >= self._family.horizon and not success
        return {"state": self._observe(now)}, reward(before, after, success), success, truncated, info

    def physics(self) -> np.ndarray:
        """``(36,)`` float64: simulation, commanded effector position, zone poses and what has been achieved."""
        return np.concatenate((self._world.physics(), self._commanded, self._zones.ravel(), self._progress.row()))

    def render(self) -> np.ndarray:  # type: ignore[override]
        """``(186, 320, 3)`` uint8 view of the workspace from above: x downwards, y to the right."""
        now = self._world.read()
        return draw(self._zones, np.array(now[:6]).reshape(2, 3), now[6:])

    def _placed(self, now: tuple[float, ...]) -> Placement:
        return Placement.of(now[6:8], ((now[0], now[1]), (now[3], now[4])), self._zones[:, :2].tolist())

    def _observe(self, now: tuple[float, ...]) -> np.ndarray:
        return np.array((*now, *self._commanded, *self._zones.ravel()), np.float32)

    def _checked(self, row: Any) -> np.ndarray:
        saved = np.asarray(row, np.float64)
        if saved.shape != (_ROW,) or not np.isfinite(saved).all():
            raise EnvError(f"'blockpush' starts from {_ROW} finite numbers; found an array {saved.shape}")
        return saved
