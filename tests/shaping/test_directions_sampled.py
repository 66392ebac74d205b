"""Every direction on the sampled objective: it works, and where it is a product of gradients, these are independent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import shaping
from shaping import Dice, Exact, GradientLearner, Lola, Match, Naive, Pola
from shaping.dynamics import (
    AlternatingGradient,
    CompetitiveGradient,
    Consensus,
    Extragradient,
    HigherOrderLola,
    LevelK,
    LocalSymplecticSurgery,
    StableOpponentShaping,
    SymplecticAdjustment,
)
from shaping.networks import ActorCriticNetwork, LogitTable
from shaping.objectives import Bound

DIRECTIONS = {
    "naive": Naive(),
    "exact lola": Lola(),
    "two steps": Lola(lookahead_steps=2),
    "taylor": Lola(expansion="taylor"),
    "lookahead": Lola(expansion="taylor", terms="lookahead"),
    "exact lookahead": Lola(terms="lookahead"),
    "shaping": Lola(expansion="taylor", terms="shaping"),
    "symmetric": Lola(expansion="taylor", symmetric=True),
    "mixed": Lola(shaping_weight=0.5),
    "pola": Pola(proximal_steps=2, inner_penalty=0.5),
    "extragradient": Extragradient(),
    "alternating": AlternatingGradient(),
    "level 3": LevelK(level=3),
    "hola": HigherOrderLola(order=2),
    "sos": StableOpponentShaping(),
    "consensus": Consensus(),
    "sga": SymplecticAdjustment(),
    "cgd": CompetitiveGradient(iterations=5),
    "lss": LocalSymplecticSurgery(),
}
OFTEN = ("level 3",)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in OFTEN else pytest.mark.slow) for n in DIRECTIONS])
def test_every_direction_learns_from_sampled_play(name):
    """With a critic beside the actor in the parameters, and few episodes."""
    network = ActorCriticNetwork()
    learner = GradientLearner(objective=Dice(), direction=DIRECTIONS[name], network=network, learning_rate=0.1)
    match = Match.of(envs.make("ipd", horizon=3), [learner] * 2, batch=4)
    states = jax.jit(shaping.init)(match, jax.random.key(0))
    after, metrics = jax.jit(shaping.step)(match, states, jax.random.key(1), jnp.int32(0))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after, metrics)))
    policies = [jax.tree.leaves(shaping.policies(match, own)) for own in (states, after)]
    assert all(float(jnp.abs(x - y).max()) > 1e-6 for x, y in zip(*policies, strict=True)), "something did not learn"


def noisy(scale):
    """A game of two whose values are bilinear and quadratic in the own number, with noise in every coefficient.

    V_i = a_i x_i² / 2 + b_i x_1 x_2 + c_i x_i + d_i x_j; the noise of a call is partly the same for both.
    """
    means = jnp.array([[-0.9, 0.9, 2.5, -0.4], [-0.7, -0.8, -2.0, 0.6]])

    class Value:
        def __call__(self, params, key):
            both, own = jnp.split(scale * jax.random.normal(key, (3, 4)), [1])
            a, b, c, d = (means + both + own).T
            return a * params**2 / 2 + b * params.prod() + c * params + d * params[::-1]

        def with_divergence(self, params, reference, key):
            return self(params, key), (params - reference) ** 2 / 2

    return Value()


LINEAR = {
    "naive": Naive(),
    "exact lola": Lola(0.7),
    "three steps": Lola(0.4, lookahead_steps=3),
    "taylor": Lola(0.7, expansion="taylor"),
    "lookahead": Lola(0.7, expansion="taylor", terms="lookahead"),
    "shaping": Lola(0.7, expansion="taylor", terms="shaping"),
    "symmetric": Lola(0.7, expansion="taylor", symmetric=True),
    "mixed": Lola(0.7, shaping_weight=0.3),
    "pola": Pola(0.7, lookahead_steps=2, inner_penalty=0.4, proximal_rate=0.2, proximal_steps=3, outer_penalty=0.5),
    "extragradient": Extragradient(0.7),
    "alternating": AlternatingGradient(0.7),
    "level 4": LevelK(0.7, level=4),
    "hola": HigherOrderLola(0.4, order=3),
    "sos": StableOpponentShaping(0.3, alignment=1.0, radius=0.0),
    "consensus": Consensus(0.7),
    "sga": SymplecticAdjustment(2.0),
}


ALWAYS = ("taylor", "exact lola", "sga")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in ALWAYS else pytest.mark.slow) for n in LINEAR])
def test_gradients_that_are_multiplied_are_of_different_episodes(name):
    """In a game whose gradients are linear all these are unbiased, unless two factors share their noise."""
    direction, params = LINEAR[name], jnp.array([1.6, 1.2])
    every = lambda value, key: jax.vmap(lambda seat: direction(value, params, seat, key))(jnp.arange(2))  # noqa: E731
    exact = jax.jit(lambda: every(noisy(0.0), jax.random.key(0)))()
    scale = 0.1 if name == "sga" else 0.3  # little enough for the sign that it takes
    keys = jax.random.split(jax.random.key(1), 100_000)
    draws = np.asarray(jax.jit(jax.vmap(lambda key: every(noisy(scale), key)))(keys), float)
    error = draws.std(axis=0) / np.sqrt(len(draws))
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - exact), 5 * error + 1e-6)
    assert error.min() > 0.0


DISCOUNT, HORIZON, BATCH, DRAWS = 0.6, 20, 64, 384  # 0.6^20 = 4e-5: the horizon is as good as none
PRODUCTS = {
    "naive": Naive(),
    "taylor": Lola(0.7, expansion="taylor"),
    "lookahead": Lola(0.7, expansion="taylor", terms="lookahead"),
    "shaping": Lola(0.7, expansion="taylor", terms="shaping"),
    "sos": StableOpponentShaping(0.1, alignment=1.0, radius=0.0),
    "consensus": Consensus(0.5),
    "sga": SymplecticAdjustment(0.5),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "naive" else pytest.mark.slow) for name in PRODUCTS]
)
def test_products_of_independent_gradients_are_unbiased(name):
    """Of the 2-player dilemma, within five standard errors of the exact objective's direction."""
    env = envs.make("ipd", discount=DISCOUNT, horizon=HORIZON)
    direction = PRODUCTS[name]
    learner = GradientLearner(objective=Dice(discount=DISCOUNT), direction=direction, network=LogitTable())
    match = Match.of(env, [learner] * 2, batch=BATCH)
    theta = (0.7 * jax.random.normal(jax.random.key(3), (2, 5, 1)),)

    def everybody(objective, key):
        return jax.vmap(lambda seat: direction(Bound(objective, match), theta, seat, key)[0])(jnp.arange(2))

    exact = np.asarray(jax.jit(lambda: everybody(Exact(), jax.random.key(0)))(), float)
    keys = jax.random.split(jax.random.key(7), DRAWS)
    draws = np.asarray(jax.jit(jax.vmap(lambda key: everybody(learner.objective, key)))(keys), float)
    error = draws.std(axis=0) / np.sqrt(DRAWS)
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - exact), 5 * error + 1e-4)
    assert error.max() < 0.2 * np.abs(exact).max(), "too noisy to tell anything"
