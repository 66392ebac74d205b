"""Directions of look-ahead: what they cost, and mixtures with the naive one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from shaping import Exact, Lola, Naive

KEY = jax.random.key(0)


def three_players():
    """The value function of the 3-player iterated prisoner's dilemma, and tables."""
    env = envs.make("ipd", players=3)
    return lambda p, key: Exact().value(env, p), jax.random.normal(KEY, (3, 9, 1))


def ascent(direction, value, params):
    return jax.vmap(lambda seat: direction(value, params, seat, KEY))(jnp.arange(params.shape[0]))


def test_memory_grows_more_slowly_than_the_number_of_look_ahead_steps():
    """A step is done again for its derivatives; what is kept of it are parameters."""
    value, params = three_players()
    size = {}
    for steps in (4, 64):
        direction = Lola(0.1, lookahead_steps=steps)
        compiled = jax.jit(lambda p, d=direction: ascent(d, value, p)).lower(params).compile()
        size[steps] = compiled.memory_analysis().temp_size_in_bytes
    assert size[4] > params.nbytes
    assert size[64] < 8 * size[4]
    assert size[64] - size[4] < 60 * 2 * 3 * params.nbytes, "for each of the three seats, and as much again"


@pytest.mark.parametrize("fields", [{}, {"expansion": "taylor", "terms": "shaping"}], ids=["exact", "shaping"])
def test_the_weight_mixes_lola_with_naive(fields):
    value, params = three_players()
    weigh = lambda weight: ascent(Lola(0.3, shaping_weight=weight, **fields), value, params)  # noqa: E731
    plain = jax.jit(lambda: jnp.stack([ascent(Naive(), value, params), ascent(Lola(0.3, **fields), value, params)]))()
    mixed = jax.jit(jax.vmap(weigh))(jnp.array([0.0, 1.0, 0.5, 0.2]))
    expected = [plain[0], plain[1], plain.mean(axis=0), 0.8 * plain[0] + 0.2 * plain[1]]
    np.testing.assert_allclose(mixed, jnp.stack(expected), rtol=1e-4, atol=1e-4)
    assert float(jnp.abs(plain[1] - plain[0]).max()) > 0.1


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_a_weight_that_is_a_plain_number_does_the_same(weight):
    """1 skips the naive part."""
    value, params = three_players()
    plain = jax.jit(lambda: ascent(Lola(0.3, shaping_weight=weight), value, params))()
    array = jax.jit(lambda w: ascent(Lola(0.3, shaping_weight=w), value, params))(jnp.array(weight))
    np.testing.assert_allclose(plain, array, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("weight", [-0.1, 1.5])
def test_a_weight_out_of_range_is_named(weight):
    with pytest.raises(ValueError, match=f"shaping_weight = {weight}: expected from 0 to 1"):
        Lola(shaping_weight=weight)
