"""Ratings, and how far from transitive results are."""

import numpy as np
import pytest

from equilibria.ratings import (
    ELO,
    Matches,
    bradley_terry,
    cyclic_share,
    elo,
    intervals,
    nash_averaging,
    swiss_pairs,
)

CYCLE = np.array([[0.0, 1, -1], [-1, 0, 1], [1, -1, 0]])


def drawn(strength, count, seed=0):
    """Matches between random entrants, who win by the model of Bradley and Terry."""
    rng = np.random.default_rng(seed)
    size = len(strength)
    first = rng.integers(0, size, count)
    second = (first + rng.integers(1, size, count)) % size
    chance = 1 / (1 + np.exp((strength[second] - strength[first]) / ELO))
    return Matches(first, second, (rng.random(count) < chance).astype(float), np.arange(count) % 200)


def test_ratings_are_found_again_and_lie_in_their_intervals():
    strength = np.array([1700.0, 1600, 1500, 1400, 1300])
    matches = drawn(strength, 4000)
    rating = bradley_terry(matches.wins(5))
    np.testing.assert_allclose(rating, strength, atol=30)
    low, high = intervals(matches, 5)
    assert ((low < strength) & (strength < high)).sum() >= 4
    assert (high - low < 80).all()
    np.testing.assert_allclose(elo(matches, 5), strength, atol=90)


def test_matches_of_one_seed_count_as_one():
    strength = np.array([1700.0, 1500, 1300])
    single = drawn(strength, 300)._replace(seed=np.arange(300))
    thrice = Matches(*(np.repeat(own, 3) for own in single))
    for ends, wanted in zip(intervals(thrice, 3), intervals(single, 3), strict=True):
        np.testing.assert_allclose(ends, wanted, atol=3)  # but for the prior
    low, high = intervals(thrice._replace(seed=np.arange(900)), 3)
    wide = np.subtract(*intervals(single, 3)[::-1])
    assert (high - low < 0.8 * wide).all()


def test_two_entrants_have_closed_forms():
    matches = Matches(np.zeros(100, int), np.ones(100, int), np.repeat([1.0, 0.0], [75, 25]), np.arange(100))
    rating = bradley_terry(matches.wins(2))
    np.testing.assert_allclose(rating[0] - rating[1], ELO * np.log((75 + 0.05) / (25 + 0.05)), rtol=1e-6)
    one = elo(Matches(np.array([0]), np.array([1]), np.array([1.0]), np.zeros(1, int)), 2, step=16)
    np.testing.assert_allclose(one, [1508, 1492])


def test_who_always_wins_has_a_finite_rating():
    rating = bradley_terry(np.array([[0.0, 50], [0, 0]]))
    assert np.isfinite(rating).all()
    assert rating[0] > 1500 > rating[1]


def test_nash_averaging_ignores_copies_and_the_weak():
    mixture, over = nash_averaging(CYCLE)
    np.testing.assert_allclose(mixture, 1 / 3, atol=1e-4)
    np.testing.assert_allclose(over, 0, atol=1e-6)
    doubled = np.array([0, 1, 2, 2])
    mixture, _ = nash_averaging(CYCLE[np.ix_(doubled, doubled)])
    np.testing.assert_allclose(mixture, [1 / 3, 1 / 3, 1 / 6, 1 / 6], atol=1e-4)
    weak = np.zeros((4, 4))
    weak[:3, :3] = CYCLE
    weak[3, :3], weak[:3, 3] = -1, 1
    mixture, over = nash_averaging(weak)
    np.testing.assert_allclose(mixture, [1 / 3, 1 / 3, 1 / 3, 0], atol=1e-3)
    np.testing.assert_allclose(over[3], -1, atol=1e-3)
    with pytest.raises(ValueError, match="antisymmetric"):
        nash_averaging(np.ones((2, 2)))


def test_cyclic_share_tells_cycles_from_ladders():
    assert cyclic_share(CYCLE) == pytest.approx(1.0)
    rating = np.array([3.0, 1.0, -2.0])
    assert cyclic_share(rating[:, None] - rating[None]) == pytest.approx(0.0, abs=1e-12)
    assert 0 < cyclic_share(CYCLE + rating[:, None] - rating[None]) < 1
    assert cyclic_share(np.zeros((3, 3))) == 0.0
    ladder = np.arange(8.0)
    met = np.abs(ladder[:, None] - ladder[None]) == 1  # neighbours alone
    assert cyclic_share(met * (ladder[:, None] - ladder[None]), met) == pytest.approx(0.0, abs=1e-12)


def test_swiss_pairs_are_neighbours_who_have_not_met():
    rating = np.array([10.0, 40, 30, 20])
    assert swiss_pairs(rating, np.zeros((4, 4))) == [(0, 3), (1, 2)]
    met = np.zeros((4, 4))
    met[1, 2] = met[2, 1] = 1
    assert swiss_pairs(rating, met) == [(0, 2), (1, 3)]
    assert len(swiss_pairs(np.arange(5.0), np.zeros((5, 5)))) == 2


@pytest.mark.parametrize("size", [3, 5, 6])
def test_as_many_rounds_as_a_round_robin_has_let_everybody_meet(size):
    met = np.zeros((size, size))
    for _ in range(size - 1 + size % 2):
        for i, j in swiss_pairs(np.arange(size, dtype=float), met):
            met[i, j] += 1
            met[j, i] += 1
    assert (met + np.eye(size) > 0).all()


def test_swiss_rounds_find_the_order_with_fewer_matches():
    strength = np.linspace(1900, 1100, 16)
    rng = np.random.default_rng(1)
    met, wins = np.zeros((16, 16)), np.zeros((16, 16))
    played = 0
    for _ in range(6):
        for i, j in swiss_pairs(bradley_terry(wins), met):
            chance = 1 / (1 + np.exp((strength[j] - strength[i]) / ELO))
            score = rng.binomial(8, chance)
            wins[i, j] += score
            wins[j, i] += 8 - score
            met[i, j] += 1
            met[j, i] += 1
            played += 1
    order = np.corrcoef(np.argsort(np.argsort(bradley_terry(wins))), np.argsort(np.argsort(strength)))[0, 1]
    assert played == 48  # of 120
    assert order > 0.9
