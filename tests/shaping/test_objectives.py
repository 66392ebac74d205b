"""The exact objective: closed forms, a plain NumPy solution, well-behaved numerics, agreement with sampled play."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
import shaping
from shaping import Exact, Match, exact_outcome
from shaping.objectives import action_probabilities, discounted_sum

SURE = 200.0  # a logit whose probability is exactly 1 in float32
ALL_C, ALL_D, RANDOM = [SURE] * 5, [-SURE] * 5, [0.0] * 5
TIT_FOR_TAT = [SURE, SURE, -SURE, SURE, -SURE]  # START, CC, CD, DC, DD: the other's last action


def table(*rows):
    return jnp.array(rows, jnp.float32)[..., None]


@pytest.mark.parametrize(
    ("first", "second", "values"),
    [
        (TIT_FOR_TAT, TIT_FOR_TAT, (-25, -25)),
        (ALL_D, ALL_D, (-50, -50)),
        (TIT_FOR_TAT, ALL_D, (-51, -48)),
        (ALL_C, ALL_D, (-75, 0)),
        (RANDOM, RANDOM, (-37.5, -37.5)),
        (TIT_FOR_TAT, RANDOM, (-38, -36.5)),
        (ALL_D, RANDOM, (-25, -62.5)),
    ],
)
def test_closed_forms_of_the_two_player_dilemma(first, second, values):
    env = envs.make("ipd2")
    np.testing.assert_allclose(Exact().value(env, table(first, second)), values, rtol=2e-5)
    per_step = Exact(units="per_step").value(env, table(first, second))
    np.testing.assert_allclose(per_step, np.array(values) * 0.04, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("players", [2, 3, 4, 5, 6])
def test_all_cooperate_and_all_defect_for_any_number_of_players(players):
    env = envs.make("ipd", players=players)
    ones = jnp.ones((players, env.num_observations, 1))
    np.testing.assert_allclose(Exact().value(env, SURE * ones), 25 * 2.0 * (players - 1), rtol=1e-4)
    np.testing.assert_allclose(Exact().value(env, -SURE * ones), 25.0, rtol=1e-4)


def test_uniform_play_earns_the_mean_payoff():
    for name in ("rock_paper_scissors", "tragedy", "bach_or_stravinsky"):
        env = envs.make(name)
        zeros = jnp.zeros((env.num_players, env.num_observations, env.num_actions - 1))
        expected = np.asarray(env.payoffs).reshape(env.num_players, -1).mean(axis=1)
        np.testing.assert_allclose(exact_outcome(env, zeros).reward_per_step, expected, atol=1e-5)


def by_hand(env, tables):
    """Values from the definition: enumerate histories, one linear solve in float64."""
    n, actions, size = env.num_players, env.num_actions, env.num_actions**env.num_players
    probabilities = np.asarray(action_probabilities(tables, env.legal()), float)
    joint_actions = list(itertools.product(range(actions), repeat=n))
    chance = lambda views: [np.prod([probabilities[i, views[i], a[i]] for i in range(n)]) for a in joint_actions]  # noqa: E731
    start = np.array(chance([0] * n))
    chain = np.zeros((size, size))
    for row, joint in enumerate(joint_actions):
        views = [1 + joint_actions.index(joint[i:] + joint[:i]) for i in range(n)]
        chain[row] = chance(views)
    rewards = np.asarray(env.payoffs, float).reshape(n, -1).T
    return start @ np.linalg.solve(np.eye(size) - env.discount * chain, rewards)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("ipd", {"players": 3}),
        ("stag_hunt", {"players": 4}),
        ("matching_pennies", {"players": 3}),
        ("rock_paper_scissors", {}),
        ("ipd2", {"discount": 0.0}),
        ("ipd2", {"discount": 0.99}),
    ],
)
def test_value_is_that_of_the_definition(name, fields):
    env = envs.make(name, **fields)
    tables = 2 * jax.random.normal(jax.random.key(3), (env.num_players, env.num_observations, env.num_actions - 1))
    np.testing.assert_allclose(Exact().value(env, tables), by_hand(env, tables), rtol=2e-4, atol=2e-4)


def test_masked_actions_are_never_taken(tmp_path):
    payoffs = np.zeros((2, 2, 3))
    payoffs[:, 1, :] = [1.0, 2.0, 3.0]
    np.savez(tmp_path / "game.npz", payoffs=payoffs)
    env = envs.make("matrix", payoffs=str(tmp_path / "game.npz"))
    tables = jax.random.normal(jax.random.key(0), (2, env.num_observations, 2))
    rates = exact_outcome(env, tables).action_rates
    assert float(rates[0, 2]) == 0.0
    np.testing.assert_allclose(rates.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(Exact().value(env, tables), by_hand(env, tables), rtol=1e-4)
    assert bool(jnp.isfinite(jax.jacrev(lambda t: Exact().value(env, t))(tables)).all())


def test_a_player_with_one_action_of_two_always_takes_it(tmp_path):
    np.savez(tmp_path / "game.npz", payoffs=np.arange(4.0).reshape(2, 1, 2))
    env = envs.make("matrix", payoffs=str(tmp_path / "game.npz"))
    assert env.legal().tolist() == [[True, False], [True, True]]
    tables = jax.random.normal(jax.random.key(0), (2, env.num_observations, 1))
    np.testing.assert_allclose(exact_outcome(env, tables).action_rates[0], [1.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(Exact().value(env, tables), by_hand(env, tables), rtol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 20.0, 200.0])
@pytest.mark.parametrize("players", [2, 4])
def test_no_nan_in_value_gradient_or_second_derivative(players, scale):
    env = envs.make("ipd", players=players, discount=0.99)
    tables = scale * jax.random.uniform(jax.random.key(1), (players, 2**players + 1, 1), minval=-1.0)
    tables = tables.at[:, ::2].set(scale * jnp.sign(tables[:, ::2]))  # many exactly at the end
    value = lambda t: Exact().value(env, t)  # noqa: E731
    second = lambda t: jax.jvp(jax.jacrev(value), (t,), (jnp.ones_like(t),))[1]  # noqa: E731
    for result in jax.jit(lambda t: (value(t), jax.jacrev(value)(t), second(t)))(tables):
        assert bool(jnp.isfinite(result).all())


def test_solve_is_accurate_close_to_a_discount_of_one():
    chain = jax.nn.softmax(jax.random.normal(jax.random.key(0), (16, 16)), axis=1)
    for discount in (0.9, 0.99, 0.999):
        got = discounted_sum(chain, jnp.ones((16, 1)), discount)
        np.testing.assert_allclose(got, 1 / (1 - discount), rtol=1e-3)


def test_derivatives_in_the_discount_and_the_payoffs():
    env = envs.make("ipd2")
    tables = jnp.zeros((2, 5, 1))
    total = lambda discount: Exact().value(env.replace(discount=discount), tables)[0]  # noqa: E731
    assert float(jax.grad(total)(0.9)) == pytest.approx(-1.5 / (1 - 0.9) ** 2, rel=1e-3)  # V = -1.5 / (1 - γ)
    in_payoffs = jax.grad(lambda p: Exact().value(env.replace(payoffs=p), tables)[0])(jnp.asarray(env.payoffs, float))
    np.testing.assert_allclose(in_payoffs[0], 25 / 4, rtol=1e-4)  # every outcome a quarter of 25 discounted steps
    np.testing.assert_allclose(in_payoffs[1], 0.0)


def test_one_shot_value_is_the_expected_payoff():
    env = envs.make("chicken")
    tables = jnp.array([[[0.3]], [[-0.2]]])
    p, q = (float(jax.nn.sigmoid(t)) for t in (0.3, -0.2))
    first = -p * (1 - q) + (1 - p) * q - 100 * (1 - p) * (1 - q)
    second = p * (1 - q) - (1 - p) * q - 100 * (1 - p) * (1 - q)
    np.testing.assert_allclose(Exact().value(env, tables), [first, second], rtol=1e-5)


def test_response_averages_the_histories_of_a_kind():
    env = envs.make("ipd", players=3)
    logits = jnp.arange(9.0).reshape(1, 9, 1) - 4 + jnp.zeros((3, 1, 1))
    p = np.asarray(jax.nn.sigmoid(logits[0, :, 0]))
    # START, C0, C1, C2, D0, D1, D2 of START, CCC, CCD, CDC, CDD, DCC, DCD, DDC, DDD
    expected = [p[0], p[1], (p[2] + p[3]) / 2, p[4], p[5], (p[6] + p[7]) / 2, p[8]]
    np.testing.assert_allclose(exact_outcome(env, logits).response[0, :, 0], expected, rtol=1e-5)


def test_sampled_play_agrees_with_the_exact_value():
    """4096 episodes of 100 steps; the discounted mean lies within five standard errors of the exact one."""
    env = envs.make("ipd", players=3, horizon=100)
    match = Match.of(env, [shaping.make("naive", initial_std=2.0)] * 3, batch=4096)
    states = shaping.init(match, jax.random.key(5))
    (trajectory,), _ = jax.jit(shaping.episode)(match, shaping.policies(match, states), jax.random.key(6))
    weights = 0.96 ** np.arange(100)
    returns = np.einsum("t,tbn->bn", weights, np.asarray(trajectory.reward, float))
    exact = np.asarray(Exact().value(env, shaping.policies(match, states)[0]))
    tail = 0.96**100 * 25 * 5  # at most, for the steps after the horizon
    error = 5 * returns.std(axis=0) / np.sqrt(len(returns)) + tail
    assert (np.abs(returns.mean(axis=0) - exact) < error).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), scale=st.floats(0.1, 5.0), shift=st.floats(-5.0, 5.0))
def test_values_follow_affine_payoffs_and_permuted_players(seed, scale, shift):
    env = envs.make("ipd", players=3)
    payoffs = jax.random.normal(jax.random.key(seed), (3, 2, 2, 2))
    tables = jax.random.normal(jax.random.key(seed + 1), (3, 9, 1))
    value = _value(payoffs, tables)
    np.testing.assert_allclose(
        _value(scale * payoffs + shift, tables), scale * value + 25 * shift, rtol=1e-3, atol=2e-2
    )
    rotated = jnp.roll(payoffs.transpose(0, 2, 3, 1), -1, axis=0)  # player i + 1 takes seat i: own views do not change
    np.testing.assert_allclose(_value(rotated, jnp.roll(tables, -1, axis=0)), jnp.roll(value, -1), rtol=1e-3, atol=1e-3)
    assert env.num_observations == 9


@jax.jit
def _value(payoffs, tables):
    return Exact().value(envs.make("ipd", players=3).replace(payoffs=payoffs), tables)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: shaping.make("naive").check(envs.make("ipd", players=9)), "at most 8 players"),
        (lambda: shaping.make("lola", terms="shaping"), "expected expansion = 'taylor'"),
        (lambda: shaping.make("lola", lookahead_steps=0), "lookahead_steps = 0"),
        (lambda: shaping.make("lola", learning_rate=-1.0), "learning_rate = -1.0"),
        (lambda: shaping.make("lola", learning_rate=float("inf")), "learning_rate = inf"),
        (lambda: Exact(units="steps"), "units = 'steps'"),
        (lambda: shaping.make("lola", optimizer="adams"), "did you mean 'adam'"),
        (lambda: shaping.make("lolla"), "did you mean 'lola'"),
        (lambda: shaping.make("lola", lookahed_rate=1.0), "did you mean 'lookahead_rate'"),
        (lambda: shaping.make("lookahead", terms="both"), "no parameter 'terms'"),
    ],
)
def test_bad_values_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
