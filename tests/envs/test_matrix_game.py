"""Rules of the matrix games: payoffs of the literature, observations, timing, counters, errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import MatrixGame

# Rows: number of defectors 0..n; columns: reward of a co-operator, of a defector (None: nobody plays that).
# arXiv 2312.12564, authors' configuration files, rounded there.
LEADING_THE_PACK = {
    ("ipd", 3): [(4, None), (2, 5), (0, 3), (None, 1)],
    ("ipd", 4): [(6, None), (4, 7), (2, 5), (0, 3), (None, 1)],
    ("ipd", 5): [(8, None), (6, 9), (4, 7), (2, 5), (0, 3), (None, 1)],
    ("snowdrift", 2): [(1.5, None), (1, 2), (None, 0)],
    ("snowdrift", 3): [(2.33, None), (2, 3), (1, 3), (None, 0)],
    ("snowdrift", 4): [(3.25, None), (3, 4), (2.5, 4), (1, 4), (None, 0)],
    ("snowdrift", 5): [(4.2, None), (4, 5), (3.667, 5), (3, 5), (1, 5), (None, 0)],
    ("stag_hunt", 2): [(3, None), (-3, 0), (None, 0)],
    ("stag_hunt", 3): [(3, None), (1, 4), (-3, 0), (None, 0)],
    ("stag_hunt", 4): [(3, None), (1.5, 4.5), (0, 3), (-3, 0), (None, 0)],
    ("stag_hunt", 5): [(3, None), (1.8, 4.8), (0.6, 3.6), (-3, 0), (-3, 0), (None, 0)],
    ("tragedy", 3): [(2, None), (2, 5), (-3, 0), (None, 0)],
    ("tragedy", 4): [(2, None), (2, 5), (-3, 0), (-3, 0), (None, 0)],
    ("tragedy", 5): [(2, None), (2, 5), (2, 5), (-3, 0), (-3, 0), (None, 0)],
}

# Mean reward per player for d = 0..n defectors, and of uniformly random play, from the rules, exactly.
REFERENCE = {
    ("ipd", 3): ([4, 3, 2, 1], 2.5),
    ("ipd", 4): ([6, 4.75, 3.5, 2.25, 1], 3.5),
    ("ipd", 5): ([8, 6.6, 5.2, 3.8, 2.4, 1], 4.5),
    ("snowdrift", 3): ([7 / 3] * 3 + [0], 2.0417),
    ("snowdrift", 4): ([3.25] * 4 + [0], 3.0469),
    ("snowdrift", 5): ([4.2] * 5 + [0], 4.0688),
    ("stag_hunt", 3): ([3, 2, -1, 0], 0.75),
    ("stag_hunt", 4): ([3, 2.25, 1.5, -0.75, 0], 1.125),
    ("stag_hunt", 5): ([3, 2.4, 1.8, -1.2, -0.6, 0], 0.5625),
    ("tragedy", 3): ([2, 3, -1, 0], 1.0),
    ("tragedy", 4): ([2, 2.75, -1.5, -0.75, 0], 0.0625),
    ("tragedy", 5): ([2, 2.6, 3.2, -1.2, -0.6, 0], 1.0),
}


@pytest.mark.parametrize(("name", "players"), LEADING_THE_PACK)
def test_payoffs_of_leading_the_pack(name, players):
    env = envs.make(name, players=players)
    for joint in itertools.product((0, 1), repeat=players):
        for player, action in enumerate(joint):
            expected = LEADING_THE_PACK[name, players][sum(joint)][action]
            assert env.payoffs[(player, *joint)] == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("name", "players"), REFERENCE)
def test_reference_values_of_leading_the_pack(name, players):
    env = envs.make(name, players=players)
    welfare, uniform = REFERENCE[name, players]
    mean = np.asarray(env.payoffs).mean(axis=0)
    for joint in itertools.product((0, 1), repeat=players):
        assert mean[joint] == pytest.approx(welfare[sum(joint)])
    assert mean.mean() == pytest.approx(uniform, abs=1e-4)
    assert env.marks() == pytest.approx({"all C": welfare[0], "all D": welfare[-1]})


@pytest.mark.parametrize(
    ("name", "fields", "joint", "rewards"),
    [
        ("ipd2", {}, (0, 1), (-3, 0)),
        ("ipd2", {}, (1, 1), (-2, -2)),
        ("matching_pennies", {}, (0, 0), (1, -1)),
        ("matching_pennies", {}, (1, 0), (-1, 1)),
        ("matching_pennies", {"players": 3}, (0, 0, 1), (1, -1, 1)),  # Jordan: 3 wants to differ from 1
        ("matching_pennies", {"players": 3}, (1, 1, 1), (1, 1, -1)),
        ("chicken", {}, (1, 1), (-100, -100)),
        ("chicken", {}, (0, 1), (-1, 1)),
        ("bach_or_stravinsky", {}, (0, 0), (2, 1)),
        ("bach_or_stravinsky", {}, (1, 1), (1, 2)),
        ("bach_or_stravinsky", {}, (0, 1), (0, 0)),
        ("rock_paper_scissors", {}, (0, 2), (1, -1)),
        ("rock_paper_scissors", {}, (0, 1), (-1, 1)),
        ("rock_paper_scissors", {}, (2, 2), (0, 0)),
        ("public_goods", {}, (0, 1), (1.33 / 2 - 1, 1.33 / 2)),
        ("public_goods", {"players": 3}, (0, 0, 1), (0.6 * 2 - 1, 0.6 * 2 - 1, 0.6 * 2)),
        ("ultimatum", {}, (0, 1), (5, 5)),
        ("ultimatum", {}, (1, 0), (8, 2)),
        ("ultimatum", {}, (1, 1), (0, 0)),
        ("matrix", {"payoffs": "examples/stag_hunt.json"}, (0, 1), (0, 3)),
    ],
)
def test_payoffs_of_the_classics(name, fields, joint, rewards):
    env = envs.make(name, **fields)
    state, _ = env.reset(jax.random.key(0))
    _, timestep = env.step(state, jnp.array(joint, jnp.int32), jax.random.key(0))
    np.testing.assert_allclose(timestep.reward, rewards, rtol=1e-6)


def test_observation_is_the_joint_action_from_the_own_seat_with_start_first():
    """arXiv 2312.12564: the circular list (a_i, a_i+1, ..., a_i-1) as a binary number, own action first."""
    env = envs.make("ipd", players=4)
    state, obs = env.reset(jax.random.key(0))
    assert obs.tolist() == [0] * 4
    assert env.num_observations == 17
    _, timestep = env.step(state, jnp.array([0, 1, 1, 0], jnp.int32), jax.random.key(0))
    assert timestep.obs.tolist() == [1 + 0b0110, 1 + 0b1100, 1 + 0b1001, 1 + 0b0011]


def test_observation_with_three_actions():
    env = envs.make("rock_paper_scissors")
    state, _ = env.reset(jax.random.key(0))
    _, timestep = env.step(state, jnp.array([2, 1], jnp.int32), jax.random.key(0))
    assert timestep.obs.tolist() == [1 + 2 * 3 + 1, 1 + 1 * 3 + 2]


def test_last_step_is_paid_and_shows_the_joint_action():
    env = envs.make("ipd", players=3, horizon=2)
    state, _ = env.reset(jax.random.key(0))
    defect = jnp.ones(3, jnp.int32)
    state, first = env.step(state, defect, jax.random.key(0))
    _, last = env.step(state, defect, jax.random.key(0))
    assert (bool(first.truncated), bool(last.truncated), bool(last.terminated)) == (False, True, False)
    assert last.reward.tolist() == [1.0] * 3
    assert last.obs.tolist() == [8] * 3


def test_counters_do_not_wrap():
    """An int8 counter ended trials of the published code at episodes 232, 488, 744."""
    env = envs.make("ipd2", horizon=70_000)
    step = lambda _, state: env.step(state, jnp.zeros(2, jnp.int32), jax.random.key(0))[0]  # noqa: E731
    state = jax.lax.fori_loop(0, 69_999, step, env.reset(jax.random.key(0))[0])
    _, timestep = env.step(state, jnp.zeros(2, jnp.int32), jax.random.key(0))
    assert int(state.step) == 69_999
    assert bool(timestep.truncated)


def test_one_shot_game_only_observes_start():
    env = envs.make("chicken")
    state, _ = env.reset(jax.random.key(0))
    _, timestep = env.step(state, jnp.array([1, 0], jnp.int32), jax.random.key(0))
    assert env.num_observations == 1
    assert timestep.obs.tolist() == [0, 0]
    assert bool(timestep.terminated), "the game ends: there is nothing to bootstrap from"
    assert not bool(timestep.truncated)


@pytest.mark.parametrize("name", ["ipd", "snowdrift", "stag_hunt", "tragedy", "public_goods"])
def test_dilemmas_treat_the_seats_alike(name):
    payoffs = np.asarray(envs.make(name, players=4).payoffs)
    for permutation in itertools.permutations(range(4)):
        np.testing.assert_allclose(payoffs[list(permutation)], payoffs.transpose([0, *(1 + np.argsort(permutation))]))


@pytest.mark.parametrize(
    ("name", "field"),
    [("ipd", "gift"), ("snowdrift", "benefit"), ("stag_hunt", "cost"), ("ipd2", "sucker"), ("ultimatum", "unfair")],
)
def test_payoffs_can_be_differentiated_and_vmapped_in_their_constants(name, field):
    total = lambda constant: envs.make(name, **{field: constant}).payoffs[0].sum()  # noqa: E731
    low, high = jax.vmap(total)(jnp.array([1.0, 1.5]))
    assert float(jax.grad(total)(1.2)) * 0.5 == pytest.approx(float(high - low), rel=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"discount": None}, "discount = None: expected a number"),
        ({"horizon": 2.5}, "horizon = 2.5: expected a whole number"),
    ],
)
def test_fields_of_another_type_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        envs.make("ipd2", **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"players": 1}, "players = 1: expected a whole number from 2"),
        ({"players": 40}, "players = 40"),
        ({"horizon": 0}, "horizon = 0: expected a whole number of at least 1"),
        ({"discount": 1.0}, "discount = 1.0: expected from 0"),
        ({"discount": float("nan")}, "discount = nan"),
        ({"gift": 1e38}, "expected finite numbers up to 1e"),
        ({"gifts": 1.0}, "no parameter 'gifts': did you mean 'gift'"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        envs.make("ipd", **fields)


def test_games_can_be_batched():
    gifts = jnp.array([1.0, 2.0, 3.0])
    games = jax.vmap(lambda gift: envs.make("ipd", players=3, gift=gift))(gifts)
    assert games.payoffs.shape == (3, 3, 2, 2, 2)
    assert (games.num_players, games.num_actions) == (3, 2)

    def all_cooperate(env):
        return env.step(env.reset(jax.random.key(0))[0], jnp.zeros(3, jnp.int32), jax.random.key(0))[1].reward

    np.testing.assert_allclose(jax.vmap(all_cooperate)(games), jnp.repeat(gifts[:, None] * 2, 3, axis=1))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(envs.make("ipd2") for _ in range(2)))
    assert stacked.payoffs.shape == (2, 2, 2, 2)


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match=r"shape \(2, 2, 3\)"):
        MatrixGame(np.zeros((2, 2, 3)), (("a", "b"), ("a", "b")))
    with pytest.raises(ValueError, match=r"expected \[n, A, ..., A\]"):
        MatrixGame(np.zeros((2, 2, 2)), (("a", "b"),))
    with pytest.raises(ValueError, match="finite"):
        MatrixGame(np.full((2, 2, 2), np.nan), (("a", "b"),) * 2)
    with pytest.raises(ValueError, match="unknown environment 'ipdd': did you mean 'ipd'"):
        envs.make("ipdd")
