from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskbench.envs.doorkey import DoorKey
from maskbench.envs.doorkey.oracle import Oracle
from maskbench.errors import EnvError

FACTORS = ("state", "state_key", "action", "rtg")
K = 10
ROWS = 4000


def stack(environment: DoorKey, rows: int, seed: int) -> dict[str, np.ndarray]:
    episodes = list(environment.generate(rows, seed))
    return {n: np.stack([e.values[n] for e in episodes]) for n in FACTORS}


def masks(rows: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Task -> (visible, predict), each (B, K, F): the index sets of the mask table, spans tiled over the rows."""
    rng = np.random.default_rng(0)
    t, none = np.arange(K), np.zeros((rows, K), bool)
    a = (rng.permutation(rows) % K + 1)[:, None]
    g = rng.integers(1, K, rows)[:, None]
    i = rng.integers(0, K - 1, rows)[:, None]
    p = rng.random((rows, 1))
    shown_s, shown_a = rng.random((rows, K)) > p, rng.random((rows, K)) > p
    first, last = none | (t == 0), none | (t == K - 1)

    def mask(s: np.ndarray, a: np.ndarray, r: np.ndarray, ps: np.ndarray, pa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.stack([s, s, a, r], -1), np.stack([ps, ps, pa, none], -1)

    return {
        "bc": mask(t < a, t < a - 1, none, none, t == a - 1),
        "return": mask(t < a, t < a - 1, first, none, t == a - 1),
        "goal": mask((t < g) | last, t < g - 1, none, none, t == g - 1),
        "waypoint": mask((t < a) | np.isin(t, [0, 3, 6, 9]), t < a - 1, none, none, t == a - 1),
        "past": mask(t >= a, t >= a, none, t < a, t < a),
        "future": mask(t < a, t < a - 1, none, t >= a, t >= a - 1),
        "forward_dynamics": mask(t == i, t == i, none, t == i + 1, none),
        "inverse_dynamics": mask(t == i + 1, t == i, none, t == i, none),
        "inverse_wraparound": mask(t == i, t == (i - 1) % K, none, t == (i - 1) % K, none),
        "random": mask(shown_s, shown_a, none, ~shown_s, ~shown_a),
    }


PUBLISHED = {
    "bc": {"action": 1.052},
    "return": {"action": 0.855},
    "goal": {"action": 0.799},
    "waypoint": {"action": 0.532},
    "past": {"state": 1.726, "state_key": 1.495, "action": 1.151, "total": 4.373},
    "future": {"state": 1.593, "state_key": 1.349, "action": 1.172, "total": 4.115},
    "forward_dynamics": {"state": 0.0, "state_key": 0.0},
    "inverse_dynamics": {"state": 0.27, "state_key": 0.26, "total": 0.54},
    "inverse_wraparound": {"total": 0.90},
    "random": {"state": 0.996, "state_key": 0.854, "action": 0.808, "total": 2.66},
}


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    return stack(DoorKey(), ROWS, seed=2)


@pytest.mark.parametrize("task", PUBLISHED)
def test_floor_of_every_task_matches_the_published_one(task: str, data: dict[str, np.ndarray]) -> None:
    """Within three standard errors: ours over these rows, and the 0.01 the published figures state."""
    visible, predict = masks(ROWS)[task]
    oracle = Oracle(DoorKey())
    losses, floor = oracle.cell_losses(data, visible, FACTORS), oracle.floor(data, visible, predict, FACTORS)
    variance = {}
    for name in floor.keys() - {"total"}:
        mask = predict[:, :, FACTORS.index(name)]
        assert floor[name] == losses[name][mask].mean()
        # cells of a row are not independent: the error is that of sums by row (ratio estimator)
        gap = ((losses[name] - floor[name]) * mask).sum(1)
        variance[name] = ROWS * gap.var() / mask.sum() ** 2
    assert floor["total"] == pytest.approx(sum(floor[n] for n in variance))
    variance["total"] = sum(np.sqrt(v) for v in variance.values()) ** 2
    for name, published in PUBLISHED[task].items():
        assert floor[name] == pytest.approx(published, abs=3 * np.sqrt(variance[name] + 0.01**2))


def test_behaviour_cloning_floor_is_the_policy_entropy_since_history_reveals_the_door(data: dict[str, np.ndarray]) -> None:
    visible, _ = masks(ROWS)["bc"]
    visible[:] = np.arange(K)[None, :, None] >= 0
    visible[:, -1, 2] = False
    visible[..., 3] = False
    loss = Oracle(DoorKey()).cell_losses(data, visible, FACTORS, ["action"])["action"][:, -1]
    assert loss.mean() == pytest.approx(1.0772, abs=3 * loss.std() / np.sqrt(ROWS))


def test_nothing_visible_costs_the_marginal_entropies(data: dict[str, np.ndarray]) -> None:
    losses = Oracle(DoorKey()).cell_losses(data, np.zeros((ROWS, K, 4), bool), FACTORS)
    both = losses["state"] + losses["state_key"]
    assert both[:, 0].mean() == pytest.approx(4.16, abs=0.005)
    assert both[:, 9].mean() == pytest.approx(4.66, abs=0.05)


def brute_force(environment: DoorKey) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Every trajectory that the data policy can produce, and its probability."""
    tables, policy, horizon = environment.world, environment.world.policy(environment.beta), environment.horizon
    rows: dict[str, list[list[int]]] = {n: [] for n in FACTORS}
    probability = []
    for start, actions in product(tables.starts, product(range(4), repeat=horizon)):
        path, weight = [int(start)], 1 / len(tables.starts)
        for action in actions:
            weight *= policy[path[-1], action]
            path.append(int(tables.successor[path[-1], action]))
        rows["state"].append([tables.agent[j] for j in path[:-1]])
        rows["state_key"].append([tables.key[j] for j in path[:-1]])
        rows["action"].append(list(actions))
        rows["rtg"].append([tables.distance[j] - tables.distance[path[-1]] + 6 for j in path[:-1]])
        probability.append(weight)
    return {n: np.array(v) for n, v in rows.items()}, np.array(probability)


SHORT = DoorKey(horizon=3, beta=1.3)
EVERYTHING = brute_force(SHORT)


@settings(max_examples=40, deadline=None)
@given(row=st.integers(0, 56 * 64 - 1), bits=st.integers(0, 2**12 - 1))
def test_posterior_equals_enumeration_for_any_mask(row: int, bits: int) -> None:
    table, probability = EVERYTHING
    visible = np.array([bits >> k & 1 for k in range(12)], bool).reshape(1, 3, 4)
    truth = {n: v[row : row + 1] for n, v in table.items()}
    agrees = np.ones(len(probability), bool)
    for f, name in enumerate(FACTORS):
        agrees &= ((table[name] == truth[name]) | ~visible[:, :, f]).all(1)
    evidence = probability[agrees].sum()
    losses = Oracle(SHORT).cell_losses(truth, visible, FACTORS, FACTORS)
    for name in FACTORS:
        for t in range(3):
            want = probability[agrees & (table[name][:, t] == truth[name][0, t])].sum() / evidence
            assert losses[name][0, t] == pytest.approx(-np.log(want), abs=1e-9)


def test_posterior_does_not_depend_on_the_rows_beside_it(data: dict[str, np.ndarray]) -> None:
    visible, _ = masks(ROWS)["random"]
    visible[..., 3] = np.arange(ROWS)[:, None] % 3 == 0
    pick = np.array([3, 0, 7, 3999, 12])
    oracle = Oracle(DoorKey())
    whole = oracle.cell_losses(data, visible, FACTORS)
    some = oracle.cell_losses({n: v[pick] for n, v in data.items()}, visible[pick], FACTORS)
    for name in some:
        np.testing.assert_allclose(some[name], whole[name][pick], atol=1e-9)
        assert whole[name][visible[:, :, FACTORS.index(name)]] == pytest.approx(0.0, abs=1e-9)


def test_factors_may_be_fewer_and_in_any_order(data: dict[str, np.ndarray]) -> None:
    visible, _ = masks(ROWS)["goal"]
    few = {n: v[:50] for n, v in data.items()}
    oracle = Oracle(DoorKey())
    reference = oracle.cell_losses(few, visible[:50], FACTORS)
    turned = oracle.cell_losses(few, visible[:50, :, [2, 1, 0]], ("action", "state_key", "state"))
    for name in reference:
        np.testing.assert_array_equal(reference[name], turned[name])


def test_big_world_is_inferred_too() -> None:
    environment = DoorKey(14)
    values = stack(environment, 6, seed=0)
    visible = np.zeros((6, K, 4), bool)
    visible[:, :3, :2] = True
    visible[:, 0, 3] = True
    losses = Oracle(environment).cell_losses(values, visible, FACTORS, FACTORS)
    assert all(np.isfinite(v).all() for v in losses.values())
    assert losses["rtg"][:, :3].max() == pytest.approx(0.0, abs=1e-9)  # two states and the first return name the others
    assert losses["state"][:, 9].min() > 0.1


def test_impossible_evidence_and_wrong_shapes_are_named(data: dict[str, np.ndarray]) -> None:
    oracle = Oracle(DoorKey())
    few = {n: v[:2].copy() for n, v in data.items()}
    shown = np.ones((2, K, 4), bool)
    few["state"][1, 3] = (few["state"][1, 3] + 8) % 16
    with pytest.raises(EnvError, match=r"rows \[1\] show cells that cannot occur together"):
        oracle.cell_losses(few, shown, FACTORS)
    with pytest.raises(EnvError, match=r"expected visible of shape \(B, 10, 4\); found \(2, 9, 4\)"):
        oracle.cell_losses(few, shown[:, :9], FACTORS)
    with pytest.raises(EnvError, match=r"values\['rtg'\] of shape \(2, 10\); found nothing"):
        oracle.cell_losses({n: few[n] for n in FACTORS[:3]}, shown, FACTORS)
    with pytest.raises(EnvError, match="cannot infer 'reward'"):
        oracle.cell_losses(few, shown, FACTORS, ["reward"])
