"""Golden vectors in float64: gradients of the reference notebook for eight games, and losses after 20 steps.

`tests/data/golden_shaping.json` holds descent directions g on losses L = -V, θ_i[k] = sin(1 + i d + k), discount 0.96.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import shaping
from shaping import CONVENTIONS, Exact, Lola, Naive
from shaping.dynamics import (
    CompetitiveGradient,
    Consensus,
    Extragradient,
    HigherOrderLola,
    LocalSymplecticSurgery,
    StableOpponentShaping,
    SymplecticAdjustment,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden_shaping.json").read_text())
DIRECTIONS = {
    "nl": lambda rate: Naive(),
    "la": lambda rate: Lola(lookahead_rate=rate, expansion="taylor", terms="lookahead"),
    "lola0": lambda rate: Lola(lookahead_rate=rate, expansion="taylor", terms="shaping"),
    "lola": lambda rate: Lola(lookahead_rate=rate, expansion="taylor"),
    "lola_exact1": lambda rate: Lola(lookahead_rate=rate),
    "la_exact1": lambda rate: Lola(lookahead_rate=rate, terms="lookahead"),
    "symlola": lambda rate: Lola(lookahead_rate=rate, expansion="taylor", symmetric=True),
    "hola2": lambda rate: HigherOrderLola(lookahead_rate=rate, order=2),
    "sos": lambda rate: StableOpponentShaping(lookahead_rate=rate),
    "sga": lambda rate: SymplecticAdjustment(),
    "co": lambda rate: Consensus(),
    "eg": lambda rate: Extragradient(lookahead_rate=rate),
    "cgd": lambda rate: CompetitiveGradient(lookahead_rate=rate),
    "lss": lambda rate: LocalSymplecticSurgery(),
}
GAMES = {
    "ipd2_absolute": lambda: envs.make("ipd2"),
    "ipd2_relative": lambda: envs.make("ipd2"),
    "imp2_relative": lambda: envs.make("matching_pennies", stake=-1.0),  # the first player wants to differ
    "ipd3_pax_relative": lambda: envs.make("ipd", players=3),
    "mp3_jordan": lambda: envs.make("matching_pennies", players=3, horizon=1),
    "chicken_oneshot": lambda: envs.make("chicken"),
}


def values_of(game):
    """`value(params, key) -> [n]` on parameters `[n, d]` in the convention of the golden file."""
    env = GAMES[game]() if game in GAMES else envs.make(game)
    convention = CONVENTIONS["sos"] if game.endswith("absolute") else CONVENTIONS["parley"]
    as_table = convention.to_ours if env.horizon > 1 else lambda p: p[..., None]
    return lambda p, key: Exact().value(env, as_table(p))


def ascent(direction, value, params):
    seats = jnp.arange(params.shape[0])
    return jax.vmap(lambda seat: direction(value, params, seat, jax.random.key(0)))(seats)


def jitted_ascent(direction, value, params):
    return jax.jit(lambda p: ascent(direction, value, p))(params)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("game", GOLDEN)
def test_losses(game):
    golden = GOLDEN[game]
    values = values_of(game)(jnp.array(golden["theta"]), None)
    np.testing.assert_allclose(-values, golden["losses"], rtol=0, atol=1e-8)


QUICK = ("nl", "lola0", "lola", "lola_exact1"), ("ipd2_relative", "mp3_jordan", "tandem")
CASES = [
    pytest.param(game, name, marks=() if name in QUICK[0] or game in QUICK[1] else pytest.mark.slow)
    for game in GOLDEN
    for name in DIRECTIONS
]


@pytest.mark.parametrize(("game", "name"), CASES)
def test_gradients(game, name):
    golden = GOLDEN[game]
    got = jitted_ascent(DIRECTIONS[name](golden["alpha"]), values_of(game), jnp.array(golden["theta"]))
    np.testing.assert_allclose(-got, golden[name], rtol=0, atol=1e-8)


OFTEN = {("ipd3_pax_relative", "lola_exact1"), ("ipd2_absolute", "lss")}
SINGLE = [
    pytest.param(game, name, marks=() if (game, name) in OFTEN else pytest.mark.slow)
    for game in GOLDEN
    for name in DIRECTIONS
]


@pytest.mark.parametrize(("game", "name"), SINGLE)
def test_gradients_in_single_precision(game, name):
    """Errors of 1e-5 of the largest entry were measured, and 1e-4 of `lss`, which inverts the square of a matrix."""
    with jax.enable_x64(False):
        golden = GOLDEN[game]
        theta = jnp.array(golden["theta"], jnp.float32)
        got = jitted_ascent(DIRECTIONS[name](golden["alpha"]), values_of(game), theta)
        assert got.dtype == jnp.float32
        tolerance = (1e-3 if name == "lss" else 1e-4) * np.abs(golden[name]).max()
        np.testing.assert_allclose(-got, golden[name], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", [pytest.param("nl", marks=pytest.mark.slow), "lola"])
@pytest.mark.parametrize("game", GOLDEN)
def test_losses_after_20_steps(game, name):
    golden = GOLDEN[game]
    value, direction = values_of(game), DIRECTIONS[name](golden["alpha"])
    step = lambda _, p: p + golden["alpha"] * ascent(direction, value, p)  # noqa: E731
    params = jax.jit(lambda p: jax.lax.fori_loop(0, 20, step, p))(jnp.array(golden["theta"]))
    np.testing.assert_allclose(-value(params, None), golden["loss_after_20"][name], rtol=0, atol=1e-8)


@pytest.mark.parametrize("game", GOLDEN)
def test_full_lola_is_naive_plus_its_two_terms(game):
    golden = {name: np.array(GOLDEN[game][name]) for name in ("nl", "la", "lola0", "lola")}
    terms = (golden["la"] - golden["nl"]) + (golden["lola0"] - golden["nl"])
    np.testing.assert_allclose(golden["lola"] - golden["nl"], terms, atol=1e-10)


def test_the_learner_takes_the_golden_step():
    """20 updates of `lola` in a match, not of the bare direction."""
    golden = GOLDEN["ipd3_pax_relative"]
    env = envs.make("ipd", players=3)
    match = shaping.Match.of(env, [shaping.make("lola", expansion="taylor")] * 3)
    states = shaping.init(match, jax.random.key(0))
    states = (states[0]._replace(params=jnp.array(golden["theta"])[..., None]),)
    step = lambda i, s: shaping.step(match, s, jax.random.key(1), i)[0]  # noqa: E731
    states = jax.jit(lambda s: jax.lax.fori_loop(0, 20, step, s))(states)
    values = Exact().value(env, shaping.policies(match, states)[0])
    np.testing.assert_allclose(-values, golden["loss_after_20"]["lola"], rtol=0, atol=1e-8)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.slow
def test_k_step_lola_is_the_unrolled_definition(steps):
    """The field against a plain loop written from the definition, one player at a time."""
    env = envs.make("ipd", players=3)
    value = lambda p, key=None: Exact().value(env, p)  # noqa: E731
    theta = jnp.array(GOLDEN["ipd3_pax_relative"]["theta"])[..., None]

    def by_hand(own, seat):
        joint = [own if j == seat else theta[j] for j in range(3)]
        for _ in range(steps):
            old = jnp.stack(joint)
            joint = [
                own if j == seat else old[j] + 0.3 * jax.grad(lambda p, j=j: value(p)[j])(old)[j] for j in range(3)
            ]
        return value(jnp.stack(joint))[seat]

    expected = jnp.stack([jax.jit(jax.grad(by_hand), static_argnums=1)(theta[seat], seat) for seat in range(3)])
    got = jitted_ascent(Lola(lookahead_rate=0.3, lookahead_steps=steps), value, theta)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)
