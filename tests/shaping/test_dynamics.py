"""Rules of differentiable games: identities, fixed points and consistency that are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import shaping
from shaping import Lola, Naive
from shaping.directions import own_gradients
from shaping.dynamics import (
    AlternatingGradient,
    CompetitiveGradient,
    Extragradient,
    HigherOrderLola,
    LevelK,
    StableOpponentShaping,
    SymplecticAdjustment,
)

RATE = 0.1
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def tandem(params, key):
    """L_1 = (x + y)² - 2 x, L_2 = (x + y)² - 2 y; values of `[2]` parameters."""
    return -((params[0] + params[1]) ** 2 - 2 * params)


def crossed(params, key):
    """Three players with two parameters each, whose values no two share a term of."""
    x = jnp.sin(params).sum(axis=1)
    return x * jnp.roll(x, 1) - (params**2).sum(axis=1) / 4 + jnp.roll(x, -1) ** 2 * x / 3


def ascent(direction, value, params):
    return jax.vmap(lambda seat: direction(value, params, seat, KEY))(jnp.arange(params.shape[0]))


IDENTITIES = {
    "first-order HOLA is exact LOLA": (HigherOrderLola(RATE, 1), Lola(RATE)),
    "HOLA of order 0 is naive": (HigherOrderLola(RATE, 0), Naive()),
    "level 1 is naive": (LevelK(RATE, 1), Naive()),
    "level 2 is LookAhead": (LevelK(RATE, 2), Lola(RATE, terms="lookahead")),
    "far from fixed points SOS is LOLA, if they agree": (
        StableOpponentShaping(RATE, alignment=1.0, radius=0.0),
        Lola(RATE, expansion="taylor"),
    ),
    "without rates all are naive": (
        lambda *a: jnp.stack(
            [
                rule(*a)
                for rule in (
                    Extragradient(0.0),
                    AlternatingGradient(0.0),
                    CompetitiveGradient(0.0),
                    StableOpponentShaping(0.0),
                    SymplecticAdjustment(0.0),
                )
            ]
        ).mean(axis=0),
        Naive(),
    ),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities(name):
    params = jnp.sin(1.0 + jnp.arange(6.0)).reshape(3, 2)
    found, expected = (jax.jit(lambda p, d=d: ascent(d, crossed, p))(params) for d in IDENTITIES[name])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_optimistic_steps_are_twice_the_gradient_less_the_last():
    rate, gradients = 0.3, jnp.array([0.7, -0.2, 1.1])
    rule = shaping.make("optimistic", learning_rate=rate)._optimizer()
    state, steps = rule.init(jnp.zeros(())), []
    for gradient in gradients:
        step, state = rule.update(-gradient, state)
        steps.append(step)
    before = jnp.concatenate([gradients[:1], gradients[:-1]])  # the first step is plain
    np.testing.assert_allclose(jnp.stack(steps), rate * (2 * gradients - before), rtol=1e-12)


def test_players_move_in_turn():
    params = jnp.sin(1.0 + jnp.arange(6.0)).reshape(3, 2)
    moved = params
    for seat in range(3):
        moved = moved.at[seat].add(RATE * own_gradients(crossed, moved, KEY)[seat])
    found = jax.jit(lambda p: ascent(AlternatingGradient(RATE), crossed, p))(params)
    np.testing.assert_allclose(params + RATE * found, moved, rtol=1e-12)


def test_the_competitive_step_is_the_equilibrium_of_the_local_game():
    """No player gains by another step in the game to second order between players, with cost ‖step‖² / (2 α)."""
    params = jnp.sin(1.0 + jnp.arange(6.0)).reshape(3, 2)
    step = RATE * jax.jit(lambda p: ascent(CompetitiveGradient(RATE), crossed, p))(params)

    def local(own, seat):
        others = step.at[seat].set(0.0)
        slope = lambda p: jax.grad(lambda q: crossed(q, KEY)[seat])(p)[seat]  # noqa: E731
        bilinear = jax.jvp(slope, (params,), (others,))[1]
        return own @ (slope(params) + bilinear) - own @ own / (2 * RATE)

    for seat in range(3):
        np.testing.assert_allclose(jax.grad(local)(step[seat], seat), 0.0, atol=1e-8)


TANDEM = {
    "naive": (Naive(), 1.0),
    "lookahead": (Lola(RATE, expansion="taylor", terms="lookahead"), 1.0),
    "cgd": (CompetitiveGradient(RATE), 1.0),
    "extragradient": (Extragradient(RATE), 1.0),
    "sga": (SymplecticAdjustment(), 1.0),
    "sos": (StableOpponentShaping(RATE), 1.0),
    "lola": (Lola(RATE, expansion="taylor"), (2 - 4 * RATE) / (2 - 8 * RATE)),
    "exact lola": (Lola(RATE), 1.3125),
}


@pytest.mark.parametrize("name", TANDEM)
def test_fixed_point_of_the_tandem_game(name):
    direction, total = TANDEM[name]
    step = lambda _, p: p + RATE * ascent(direction, tandem, p)  # noqa: E731
    end = jax.jit(lambda p: jax.lax.fori_loop(0, 400, step, p))(jnp.array([0.3, -0.1]))
    np.testing.assert_allclose(end.sum(), total, atol=1e-6)


@pytest.mark.parametrize(
    ("rate", "lola", "second"),
    [(1.0, 128.0, 512.0), (0.5, 40 / 3, 40 / 3), (0.3, 2.541, 2.090), (0.1, 0.07875, 9.17e-3)],
)
def test_how_inconsistent_higher_orders_are_in_the_tandem_game(rate, lola, second):
    """Mean square of h^(m + 1) - h^m over U[-1, 1]², as in arXiv 2203.04098; the quadrature is exact."""
    nodes, weights = np.polynomial.legendre.leggauss(3)
    points = jnp.array([[x, y] for x in nodes for y in nodes])
    mass = np.outer(weights, weights).ravel() / 4
    orders = [jax.jit(jax.vmap(lambda p, m=m: ascent(HigherOrderLola(rate, m), tandem, p)))(points) for m in (1, 2, 3)]
    for low, high, expected in ((orders[0], orders[1], lola), (orders[1], orders[2], second)):
        np.testing.assert_allclose(mass @ ((high - low) ** 2).sum(axis=1), expected, rtol=1e-3)
