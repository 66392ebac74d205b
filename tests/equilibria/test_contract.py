"""Every solver keeps the protocol: shapes, the same compiled or not, one of many or alone, and honest certificates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equilibria

GAMES = {
    "zero_sum": "biased_rock_paper_scissors",
    "risk_dominant": "stag_hunt",
}
NAMES = equilibria.names()


def game_for(name):
    return equilibria.load(GAMES.get(name, "chicken"))


KINKED = ("cvar", "semideviation", "worst_case", "strategically_robust", "rqe_total_variation")


def slowly(names):
    """Measures with kinks take long to compile."""
    return [pytest.param(name, marks=pytest.mark.slow if name in KINKED else ()) for name in names]


@pytest.mark.parametrize("name", slowly(NAMES))
def test_solution_is_what_the_game_says(name):
    game = game_for(name)
    found = equilibria.solve(game, name)
    n, actions = game.num_players, game.num_actions
    assert found.profile.shape == (n, actions)
    assert found.profile.dtype == np.float64
    np.testing.assert_allclose(found.profile.sum(axis=1), 1.0, atol=1e-9)
    assert (found.profile >= 0).all()
    for leaf in (found.value, found.variance, found.cvar, found.worst, found.regret, found.payoff_regret):
        assert leaf.shape == (n,)
    assert (found.variance >= -1e-12).all()
    assert (found.regret >= 0).all()
    assert (found.worst <= found.cvar + 1e-9).all()
    assert found.solver == name
    assert name in found.message
    assert bool(found.converged), found.message
    if found.joint is None:
        with jax.enable_x64(True):
            exact = equilibria.normal_form(np.asarray(game.payoffs, np.float64))
            np.testing.assert_allclose(found.value, exact.value(jnp.asarray(found.profile)), atol=1e-9)
            np.testing.assert_allclose(found.payoff_regret, exact.regret(jnp.asarray(found.profile)), atol=1e-9)


@pytest.mark.parametrize("name", ["lemke_howson", "regret_matching", "qre", "rae"])
def test_one_of_many_is_as_alone_and_keeps_its_precision(name):
    solver = equilibria.make(name)
    games = equilibria.random_games("gaussian", jax.random.key(0), 3, 2, 3)
    count = 0

    def solve(games):
        nonlocal count
        count += 1
        return jax.vmap(solver.solve)(games)

    compiled = jax.jit(solve)
    many = compiled(games)
    again = compiled(jax.tree.map(lambda leaf: leaf[::-1], games))
    assert count == 1  # traced once
    np.testing.assert_allclose(many.profile[0], again.profile[2], atol=1e-6)
    assert many.profile.dtype == games.payoffs.dtype == np.float32
    with jax.enable_x64(True):
        alone = equilibria.solve(np.asarray(games.payoffs[1]), name)
    np.testing.assert_allclose(many.profile[1], alone.profile, atol=2e-3)
