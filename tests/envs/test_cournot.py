"""Cournot: closed forms, the equilibrium by gradients, clipping, observations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import Cournot


def sell(env: Cournot, *quantities: float):
    state, _ = env.reset(jax.random.key(0))
    return env.step(state, jnp.array(quantities, float)[:, None], jax.random.key(1))


@pytest.mark.parametrize(
    ("players", "quantity", "profit"), [(1, 45, 2025), (2, 30, 900), (3, 22.5, 506.25), (4, 18, 324), (5, 15, 225)]
)
def test_closed_forms(players, quantity, profit):
    env = envs.make("cournot", players=players)
    assert float(env.nash()) == quantity
    assert float(env.collusion()) * players == 45
    assert env.marks() == pytest.approx({"collusion": 2025 / players, "Nash": profit})
    _, timestep = sell(env, *[quantity] * players)
    np.testing.assert_allclose(timestep.reward, profit)
    assert f"{quantity:g} at Nash" in env.legend


CONSTANTS = [
    {},
    {"players": 3, "intercept": 50.0, "slope": 0.5, "marginal_cost": 2.0},
    {"players": 4, "capacity": 10.0},  # the equilibrium would be 18
    {"marginal_cost": 200.0},  # nobody wants to sell
]


@pytest.mark.parametrize("fields", CONSTANTS)
def test_nobody_gains_by_leaving_the_equilibrium_and_no_joint_change_gains_on_collusion(fields):
    env = Cournot(**fields)
    n, grid = env.players, np.linspace(0.0, env.capacity, 201, dtype=np.float32)

    def reward(quantities):
        state, _ = env.reset(jax.random.key(0))
        return env.step(state, quantities[:, None], jax.random.key(0))[1].reward

    nash, together = jnp.full(n, env.nash()), jnp.full(n, env.collusion())
    alone = jax.vmap(lambda q: reward(nash.at[0].set(q))[0])(jnp.asarray(grid))
    joint = jax.vmap(lambda q: reward(jnp.full(n, q)).sum())(jnp.asarray(grid))
    assert alone.max() <= reward(nash)[0] * (1 + 1e-5)
    assert joint.max() <= reward(together).sum() * (1 + 1e-5)
    if 0 < env.nash() < env.capacity:
        np.testing.assert_allclose(jnp.diagonal(jax.jacobian(reward)(nash)), 0.0, atol=1e-4)
        np.testing.assert_allclose(jax.grad(lambda q: reward(q).sum())(together), 0.0, atol=1e-4)


def test_gradient_ascent_of_everyone_finds_the_equilibrium():
    env = Cournot(players=3)
    state, _ = env.reset(jax.random.key(0))

    def own_gradient(quantities):
        reward = lambda q: env.step(state, q[:, None], jax.random.key(0))[1].reward  # noqa: E731
        return jnp.diagonal(jax.jacobian(reward)(quantities))

    start = jnp.array([1.0, 20.0, 40.0])
    found = jax.lax.fori_loop(0, 200, lambda _, q: q + 0.1 * own_gradient(q), start)
    np.testing.assert_allclose(found, env.nash(), rtol=1e-4)


@pytest.mark.parametrize(
    ("quantities", "sold", "price"),
    [((30, 30), (30, 30), 40), ((-5, 20), (0, 20), 80), ((150, 0), (100, 0), 0), ((80, 60), (80, 60), -40)],
)
def test_quantities_are_clipped_and_prices_may_be_negative(quantities, sold, price):
    state, timestep = sell(Cournot(), *quantities)
    assert state.quantities.tolist() == list(sold)
    np.testing.assert_allclose(timestep.reward, [(price - 10) * q for q in sold])
    np.testing.assert_allclose(timestep.obs[:, -1], price / 100, atol=1e-6)


def test_observation_has_the_own_quantity_first():
    env = Cournot(players=3, intercept=50.0, capacity=20.0)
    _, timestep = sell(env, 2, 4, 10)
    expected = [[0.1, 0.2, 0.5, 0.68], [0.2, 0.5, 0.1, 0.68], [0.5, 0.1, 0.2, 0.68]]
    np.testing.assert_allclose(timestep.obs, expected, rtol=1e-6)


def test_start_is_uniform():
    env = Cournot(capacity=60.0)
    state, obs = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 4000))
    np.testing.assert_allclose(np.quantile(state.quantities, [0.0, 0.25, 0.5, 0.75, 1.0]), [0, 15, 30, 45, 60], atol=1)
    np.testing.assert_allclose(obs[:, 0, 2], 1 - state.quantities.sum(axis=1) / 100, atol=1e-6)
    assert abs(np.corrcoef(state.quantities.T)[0, 1]) < 0.05


@pytest.mark.parametrize("horizon", [1, 300])
def test_one_shot_game_ends_and_repeated_game_is_truncated(horizon):
    env = Cournot(horizon=horizon)
    step = lambda _, carry: env.step(carry[0], jnp.full((2, 1), 30.0), jax.random.key(0))  # noqa: E731
    start = sell(env, 30, 30)
    state, timestep = jax.lax.fori_loop(1, horizon, step, start)
    assert (state.step.dtype, int(state.step)) == (jnp.int32, horizon)
    assert timestep.reward.tolist() == [900.0, 900.0]
    assert (bool(timestep.terminated), bool(timestep.truncated)) == (horizon == 1, horizon > 1)
    assert bool(start[1].truncated | start[1].terminated) == (horizon == 1)


def test_statistics():
    env = Cournot()
    action = jnp.array([[[[10.0], [-5.0]]], [[[30.0], [120.0]]], [[[70.0], [70.0]]]])  # T, B, n, d
    found = env.statistics(None, action, {}, jnp.array([[1.0], [1.0], [0.0]]))
    assert tuple(found) == env.statistic_names
    np.testing.assert_allclose(found["quantity"], [20.0, 50.0])
    assert np.isnan(env.statistics(None, action, {}, jnp.zeros((3, 1)))["quantity"]).all()


def test_constants_can_be_differentiated_and_vmapped():
    nash = lambda cost: Cournot(marginal_cost=cost).nash()  # noqa: E731
    assert float(jax.grad(nash)(10.0)) == pytest.approx(-1 / 3)
    env = jax.vmap(lambda slope: Cournot(slope=slope))(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(jax.vmap(lambda env: sell(env, 10, 20)[1].reward[0])(env), [600, 300])


@pytest.mark.parametrize("fields", [{}, {"players": 3, "horizon": 4, "capacity": 7.0}])
def test_conforms(fields):
    env = Cournot(**fields)
    assert (env.num_actions, env.action_dim, env.action_range) == (0, 1, (0.0, env.capacity))
    envs.check_env(env, steps=2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"players": 0}, "players = 0: expected a whole number from 1"),
        ({"slope": 0.0}, "slope = 0.0: expected from 1e-06"),
        ({"capacity": -1.0}, "capacity = -1.0"),
        ({"intercept": float("inf")}, "intercept = inf"),
        ({"marginal_cost": -1.0}, "marginal_cost = -1.0: expected from 0"),
        ({"horizon": 1.5}, "horizon = 1.5: expected a whole number"),
        ({"cost": 1.0}, "no parameter 'cost'"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        envs.make("cournot", **fields)
