"""Random games against nashpy, pygambit and OpenSpiel (the extra `peers`): the same equilibria, the same values."""

import warnings

import numpy as np
import pytest

import equilibria

SEEDS = range(5)


def tables(seed, *sizes):
    return np.random.default_rng(seed).normal(size=(len(sizes), *sizes))


def as_set(profiles):
    return sorted(tuple(np.round(np.concatenate(profile), 5) + 0.0) for profile in profiles)


def ours(payoffs):
    found = equilibria.solve(payoffs, "support_enumeration", all=True)
    return as_set([[own.profile[i, :size] for i, size in enumerate(payoffs.shape[1:])] for own in found])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_equilibria_of_nashpy(seed):
    nashpy = pytest.importorskip("nashpy")
    payoffs = tables(seed, 4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = list(nashpy.Game(*payoffs).support_enumeration())
    assert ours(payoffs) == as_set(theirs)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_equilibria_of_gambit(seed):
    pygambit = pytest.importorskip("pygambit")
    payoffs = tables(seed, 3, 4)
    found = pygambit.nash.enummixed_solve(pygambit.Game.from_arrays(*payoffs), rational=False).equilibria
    theirs = [[[float(own[move]) for move in player.strategies] for player in own.game.players] for own in found]
    assert ours(payoffs) == as_set(theirs)


@pytest.mark.parametrize("sizes", [(2, 2), (3, 3), (2, 2, 2)])
def test_the_logit_path_of_gambit(sizes):
    pygambit = pytest.importorskip("pygambit")
    payoffs = tables(7, *sizes)
    found = pygambit.nash.logit_solve(pygambit.Game.from_arrays(*payoffs)).equilibria[0]
    theirs = [[float(found[move]) for move in player.strategies] for player in found.game.players]
    np.testing.assert_allclose(equilibria.solve(payoffs, "nash").profile, theirs, atol=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_values_of_openspiel(seed):
    pyspiel = pytest.importorskip("pyspiel")
    lp_solver = pytest.importorskip("open_spiel.python.algorithms.lp_solver")
    table = tables(seed, 5, 6)[0]
    game = pyspiel.create_matrix_game(table.tolist(), (-table).tolist())
    _, _, value, _ = lp_solver.solve_zero_sum_matrix_game(game)
    for source in (np.stack([table, -table]), game):
        found = equilibria.solve(source, "zero_sum")
        np.testing.assert_allclose(found.value, [value, -value], atol=1e-6)
