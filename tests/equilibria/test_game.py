"""What a normal form computes, against loops, hand-made cases and smaller games."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equilibria
from equilibria.game import normal_form
from equilibria.numerics import linear_solve, project


def random_profile(game, seed):
    drawn = np.random.default_rng(seed).exponential(size=game.mask.shape) * np.asarray(game.mask)
    return drawn / drawn.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module", params=[(2, 3), (3, 2, 4), (2, 2, 2, 3)], ids=str)
def case(request):
    sizes = request.param
    with jax.enable_x64(True):
        table = np.random.default_rng(0).normal(size=(len(sizes), *sizes))
        game = normal_form(table)
        yield table, game, random_profile(game, 1)


def brute(table, profile):
    """Values, action values and variances over the others, by loops."""
    n, sizes = len(table), table.shape[1:]
    values, actions, variances = np.zeros(n), np.zeros(profile.shape), np.zeros(n)
    for player in range(n):
        rest = [range(size) for other, size in enumerate(sizes) if other != player]
        seen, chance = [], []
        for others in itertools.product(*rest):
            weight = np.prod([profile[k if k < player else k + 1, a] for k, a in enumerate(others)])
            pays = [table[(player, *others[:player], own, *others[player:])] for own in range(sizes[player])]
            actions[player, : sizes[player]] += weight * np.array(pays)
            seen.append(profile[player, : sizes[player]] @ np.array(pays))
            chance.append(weight)
        values[player] = np.dot(chance, seen)
        variances[player] = np.dot(chance, (np.array(seen) - values[player]) ** 2)
    return values, actions, variances


def test_expectations_are_those_of_loops(case):
    table, game, profile = case
    values, actions, variances = brute(table, profile)
    with jax.enable_x64(True):
        play = jnp.asarray(profile)
        np.testing.assert_allclose(game.value(play), values, atol=1e-12)
        np.testing.assert_allclose(game.action_values(play), actions, atol=1e-12)
        np.testing.assert_allclose(game.variance(play), variances, atol=1e-12)
        best = [max(own[:size]) for own, size in zip(actions, game.sizes, strict=True)]
        np.testing.assert_allclose(game.regret(play), np.array(best) - values, atol=1e-12)
        np.testing.assert_allclose(game.nash_conv(play), (np.array(best) - values).sum(), atol=1e-12)
        assert game.sizes == table.shape[1:]


def test_a_joint_distribution_of_independent_play_is_worth_the_same(case):
    _, game, profile = case
    with jax.enable_x64(True):
        play = jnp.asarray(profile)
        joint = game.joint(play)
        np.testing.assert_allclose(game.joint_value(joint), game.value(play), atol=1e-12)
        np.testing.assert_allclose(game.marginals(joint), play, atol=1e-12)
        np.testing.assert_allclose(game.coarse_regret(joint), game.regret(play), atol=1e-12)
        assert (game.correlated_regret(joint) >= game.coarse_regret(joint) - 1e-12).all()


def test_masked_actions_are_as_if_cut_out():
    with jax.enable_x64(True):
        table = np.random.default_rng(2).normal(size=(3, 3, 3, 3))
        mask = np.array([[True, False, True], [True, True, True], [False, True, True]])
        game, small = normal_form(table, mask), normal_form(table[:, [0, 2]][:, :, :, [1, 2]])
        full = random_profile(game, 3)
        cut = np.zeros((3, 3))
        cut[0, :2], cut[1], cut[2, :2] = full[0, [0, 2]], full[1], full[2, [1, 2]]
        np.testing.assert_allclose(game.value(jnp.asarray(full)), small.value(jnp.asarray(cut)), atol=1e-12)
        np.testing.assert_allclose(game.regret(jnp.asarray(full)), small.regret(jnp.asarray(cut)), atol=1e-12)
        seen, _ = game.prospects(jnp.asarray(full))
        np.testing.assert_allclose(seen.min(axis=1), small.prospects(jnp.asarray(cut))[0].min(axis=1), atol=1e-12)


@pytest.mark.parametrize(
    ("payoffs", "mask", "message"),
    [
        ([[1, 2], [3, 4]], None, "expected \\[n, A1, ..., An\\]"),
        ([[[1, 2], [3, 4]]], None, "expected \\[n, A1, ..., An\\]"),
        ([[[1, 2], [3]], [[1, 2], [3, 4]]], None, "expected a full"),
        ([[[1, np.nan], [3, 4]], [[1, 2], [3, 4]]], None, r"payoffs\[0, 0, 1\] = nan"),
        ([[[1, 2], [3, 4]], [[1, 2], [np.inf, 4]]], None, r"player 1, joint action \(1, 0\)"),
        (np.zeros((2, 0, 3)), None, "one action or more"),
        (np.zeros((2, 2, 2)), [[True, True], [False, False]], "player 1 has no action"),
        (np.zeros((2, 2, 2)), [[True, True]], "expected \\[n, A\\]"),
        ("cards", None, "expected a full"),
        (np.ones((2, 2, 2)) * 1j, None, "complex"),
    ],
)
def test_bad_payoffs_are_refused(payoffs, mask, message):
    with pytest.raises(ValueError, match=message):
        normal_form(payoffs, mask)


def test_a_profile_of_pure_play_has_a_best_response():
    game = equilibria.load("prisoners_dilemma")
    play = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_array_equal(game.best_responses(play), [[False, True]] * 2)
    np.testing.assert_allclose(game.regret(play), 2.0)


def test_linear_systems():
    rng = np.random.default_rng(4)
    with jax.enable_x64(True):
        matrices, rights = rng.normal(size=(5, 7, 7)), rng.normal(size=(5, 7))
        matrices[0, 0, 0] = 0.0  # needs a pivot
        found = jax.vmap(linear_solve)(jnp.asarray(matrices), jnp.asarray(rights))
        np.testing.assert_allclose(found, np.linalg.solve(matrices, rights[..., None])[..., 0], rtol=1e-9)
        assert not np.isfinite(linear_solve(jnp.zeros((2, 2)), jnp.ones(2))).all()


@pytest.mark.parametrize("least", [0.0, 0.1])
def test_projection_is_the_nearest_profile(least):
    rng = np.random.default_rng(5)
    with jax.enable_x64(True):
        points, mask = rng.normal(size=(4, 5)), np.ones((4, 5), bool)
        mask[1, 3:] = mask[2, 1:] = False
        found = np.asarray(project(jnp.asarray(points), jnp.asarray(mask), least))
        np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)
        assert (found[mask] >= least - 1e-12).all()
        assert (found[~mask] == 0).all()
        for _ in range(200):  # the angle to any other profile is not acute
            other = rng.exponential(size=(4, 5)) * mask
            other = least * mask + (1 - least * mask.sum(axis=1, keepdims=True)) * other / other.sum(
                axis=1, keepdims=True
            )
            assert (((points - found) * mask * (other - found)).sum(axis=1) <= 1e-9).all()
