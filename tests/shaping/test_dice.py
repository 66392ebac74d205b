"""The sampled objective agrees with the exact one in expectation: values, gradients, cross-derivatives, directions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import shaping
from shaping import Dice, Exact, GradientLearner, Lola, Match, Naive
from shaping.distributions import distribution
from shaping.networks import ActorCriticNetwork, LogitTable
from shaping.objectives import Bound

DISCOUNT, HORIZON, BATCH, DRAWS = 0.6, 24, 64, 512  # 0.6^24 = 5e-6: the horizon is as good as none


def table_match(players, **dice):
    env = envs.make("ipd", players=players, discount=DISCOUNT, horizon=HORIZON)
    learner = GradientLearner(objective=Dice(discount=DISCOUNT, **dice), direction=Naive(), network=LogitTable())
    return Match.of(env, [learner] * players, batch=BATCH)


def tables(match, seed=3):
    n, observations = match.env.num_players, match.env.num_observations
    return (jax.random.normal(jax.random.key(seed), (n, observations, 1)),)


def draws(function):
    """`function` of many keys: leaves `[DRAWS, ...]`."""
    return jax.jit(jax.vmap(function))(jax.random.split(jax.random.key(7), DRAWS))


def agree(samples, exact, deviations=5.0):
    """The mean of `samples` `[DRAWS, ...]` lies within so many standard errors of `exact`, and says something."""
    samples, exact = np.asarray(samples, float), np.asarray(exact, float)
    error = samples.std(axis=0) / np.sqrt(len(samples))
    np.testing.assert_array_less(np.abs(samples.mean(axis=0) - exact), deviations * error + 1e-4)
    assert error.max() < 0.2 * np.abs(exact).max(), "too noisy to tell anything"


@pytest.mark.parametrize("players", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_values_gradients_and_cross_derivatives(players):
    """V_i, all ∂_j V_i, and the derivative of all ∂_j V_i along one direction in everybody's parameters."""
    match = table_match(players)
    dice, theta = Dice(discount=DISCOUNT), tables(match)
    along = tables(match, seed=4)

    def derivatives(value):
        gradient = jax.jacrev(value)
        first, second = jax.jvp(gradient, (theta,), (along,))
        return value(theta), first[0], second[0]

    sampled = draws(lambda key: derivatives(lambda p: dice(match, p, key)))
    exact = jax.jit(lambda: derivatives(lambda p: Exact().value(match.env, p[0])))()
    for mine, reference in zip(sampled, exact, strict=True):
        agree(mine, reference)


@pytest.mark.slow
@pytest.mark.parametrize("direction", [Lola(lookahead_rate=0.7, expansion="taylor")], ids=["taylor"])
def test_directions_do_not_know_which_objective_they_are_on(direction):
    """The first-order expansion is a product of independent estimates, and so unbiased, too."""
    match = table_match(2)
    theta = tables(match)
    dice = Bound(Dice(discount=DISCOUNT), match)
    exact = Bound(Exact(), match)
    seats = jnp.arange(2)
    sampled = draws(lambda key: jax.vmap(lambda seat: direction(dice, theta, seat, key)[0])(seats))
    agree(sampled, jax.vmap(lambda seat: direction(exact, theta, seat, jax.random.key(0))[0])(seats))


@pytest.mark.slow
def test_the_derivatives_do_not_depend_on_the_critic():
    """A baseline changes the variance, not the mean: here one of large random values."""
    env = envs.make("ipd", players=2, discount=DISCOUNT, horizon=HORIZON)
    learner = GradientLearner(objective=Dice(discount=DISCOUNT), direction=Naive(), network=ActorCriticNetwork())
    match = Match.of(env, [learner] * 2, batch=BATCH)
    logits = tables(match)[0]
    kernel = jnp.concatenate([logits, jnp.zeros_like(logits)], axis=-1)
    objective = learner.objective

    def gradient(critic, key):
        params = ({"actor": {"kernel": kernel}, "critic": {"kernel": critic}},)
        return jax.jacrev(lambda p: objective(match, p, key))(params)[0]

    critic = 3.0 * jax.random.normal(jax.random.key(1), (2, env.num_observations, 1))
    sampled = draws(partial(gradient, critic))
    exact = jax.jacrev(lambda t: Exact().value(env, t))(logits)
    agree(sampled["actor"]["kernel"][..., :1], exact)
    assert float(jnp.abs(sampled["critic"]["kernel"]).max()) == 0.0, "baselines are held fixed"


def test_every_look_ahead_step_and_the_outer_value_play_fresh_episodes():
    """Each of them adds its own noise to ∂_0 V_0 here; the noise of one key would add up to a variance of 16."""

    def value(params, key):
        noise = jax.random.normal(key)
        return jnp.stack([params[0] * (params[1] + noise), params[1] * noise])

    direction = Lola(lookahead_steps=3, lookahead_rate=1.0)
    one = lambda key: direction(value, jnp.zeros(2), jnp.int32(0), key)  # noqa: E731
    noise = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 20_000))
    np.testing.assert_allclose(noise.var(), 3 + 1, rtol=0.06)


@pytest.mark.slow
def test_fixed_strategies_take_part_and_stand_still():
    """Beside tit-for-tat the joint parameters have a form of their own for it, without leaves."""
    env = envs.make("ipd", players=3, horizon=6)
    names = ["lola_dice", "tit_for_tat", "ppo_gru"]
    match = Match.of(env, [shaping.make(name) for name in names], batch=4)
    states = shaping.init(match, jax.random.key(0))
    acting = shaping.policies(match, states)
    params = shaping.joint(match, acting)
    assert [len(jax.tree.leaves(form)) for form in params] == [2, 0, 6]
    back = shaping.split(match, params)
    for mine, original in zip(jax.tree.leaves(back), jax.tree.leaves(acting), strict=True):
        np.testing.assert_array_equal(mine, original)
    gradients = jax.jit(jax.jacrev(lambda p: Dice()(match, p, jax.random.key(1))))(params)
    recurrent = jax.tree.leaves(gradients[2])
    assert all(float(jnp.abs(leaf[:, :2]).max()) == 0.0 for leaf in recurrent), "rows of other seats are not used"
    assert any(float(jnp.abs(leaf[0, 2]).max()) > 0.0 for leaf in recurrent), "through the whole of its memory"


def test_divergence_is_that_of_the_old_policy_from_the_new():
    """Of policies that play the same everywhere, so that it does not matter where it is taken: distrax's, by seat."""
    match = table_match(2)
    old, new = jnp.array([-0.5, 1.0]), jnp.array([1.5, 0.0])
    everywhere = lambda logits: (jnp.zeros_like(tables(match)[0]) + logits[:, None, None],)  # noqa: E731
    as_distrax = lambda logits: distribution(jnp.stack([logits, jnp.zeros(2)], axis=-1))  # noqa: E731
    expected = as_distrax(old).kl_divergence(as_distrax(new))
    for objective in (Dice(discount=DISCOUNT), Exact()):
        found = jax.jit(objective.with_divergence)(match, everywhere(new), everywhere(old), jax.random.key(0))[1]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (jnp.abs(expected - as_distrax(new).kl_divergence(as_distrax(old))) > 1e-3).all()


def test_divergence_is_finite_at_saturated_policies():
    match = table_match(2)
    dice, theta = Dice(discount=DISCOUNT), tables(match)
    values, none = jax.jit(dice.with_divergence)(match, theta, theta, jax.random.key(0))
    np.testing.assert_allclose(none, 0.0, atol=1e-6)
    np.testing.assert_allclose(values, jax.jit(dice)(match, theta, jax.random.key(0)), rtol=1e-5)
    saturated = (jnp.full_like(theta[0], 120.0),)
    for objective in (dice, Exact()):
        both = lambda p, objective=objective: objective.with_divergence(match, p, theta, jax.random.key(0))[1].sum()  # noqa: E731
        divergence, gradient = jax.jit(jax.value_and_grad(both))(saturated)
        assert np.isfinite(divergence)
        assert float(divergence) > 0.5
        assert np.isfinite(gradient[0]).all()
