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


def gambit(payoffs, folder):
    """The game as a file that Gambit reads."""
    pygambit = pytest.importorskip("pygambit")
    path = folder / "game.nfg"
    equilibria.write(equilibria.normal_form(payoffs), path)
    return pygambit, pygambit.read_nfg(str(path))


def told(profile, payoffs):
    """A profile of Gambit's."""
    return [
        [float(profile[str(player + 1)][str(action)]) for action in range(size)]
        for player, size in enumerate(payoffs.shape[1:])
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_equilibria_of_gambit(seed, tmp_path):
    payoffs = tables(seed, 3, 4)
    pygambit, game = gambit(payoffs, tmp_path)
    found = pygambit.nash.enummixed_solve(game, rational=False).equilibria
    assert ours(payoffs) == as_set([told(own, payoffs) for own in found])


@pytest.mark.parametrize("sizes", [(2, 2), (3, 3), (2, 2, 2)])
def test_the_logit_path_of_gambit(sizes, tmp_path):
    payoffs = tables(7, *sizes)
    pygambit, game = gambit(payoffs, tmp_path)
    found = pygambit.nash.logit_solve(game)
    theirs = found.equilibria[0] if hasattr(found, "equilibria") else found.equilibrium  # version 16, or 17
    np.testing.assert_allclose(equilibria.solve(payoffs, "nash").profile, told(theirs, payoffs), atol=1e-3)


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
