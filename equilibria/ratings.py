"""Ratings of entrants who meet in pairs, and how far from transitive what they do to each other is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from equilibria.game import normal_form
from equilibria.solvers.correlated import most_entropy
from equilibria.solvers.zero_sum import ZeroSum

__all__ = ["Matches", "bradley_terry", "cyclic_share", "elo", "intervals", "nash_averaging", "swiss_pairs"]

ELO = 400.0 / math.log(10.0)
"""Points of Elo for a unit of log odds."""
TRIES = 200
PRIOR = 0.1
"""Drawn matches that everybody is taken to have played against everybody else, so that ratings stay finite."""


class Matches(NamedTuple):
    """Results of M matches, in the order in which they were played.

    Attributes:
        first: `[M]`, numbers of entrants.
        second: `[M]`, of those they met.
        score: `[M]`, of the first: 1 won, 0 lost, between them in proportion.
        seed: `[M]`, by which they were played: matches of one seed may depend on each other.
    """

    first: np.ndarray
    second: np.ndarray
    score: np.ndarray
    seed: np.ndarray

    def wins(self, entrants: int) -> np.ndarray:
        """`[K, K]`, how often each beat each."""
        found = np.zeros((entrants, entrants))
        np.add.at(found, (self.first, self.second), self.score)
        np.add.at(found, (self.second, self.first), 1.0 - self.score)
        return found

    def of(self, rows: np.ndarray) -> Matches:
        """Some of them."""
        return Matches(*(own[rows] for own in self))


def elo(matches: Matches, entrants: int, step: float = 16.0, orders: int = 20, seed: int = 0) -> np.ndarray:
    """Ratings `[K]` after one match after the other, 1500 being the mean; means over random orders of the matches.

    Source: Elo 1978.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros(entrants)
    for _ in range(orders):
        rating = np.zeros(entrants)
        for first, second, score, _ in zip(*matches.of(rng.permutation(len(matches.score))), strict=True):
            expected = 1.0 / (1.0 + np.exp((rating[second] - rating[first]) / ELO))
            rating[first] += step * (score - expected)
            rating[second] -= step * (score - expected)
        total += rating
    return 1500.0 + total / orders


def bradley_terry(wins: np.ndarray) -> np.ndarray:
    """Ratings `[K]` on the scale of Elo, most likely given `wins` `[K, K]`, their mean 1500.

    Source: Bradley and Terry 1952; by Newton's method.
    """
    size = len(wins)
    wins = wins + PRIOR / 2 * (1 - np.eye(size))
    games = wins + wins.T
    rating = np.zeros(size)
    for _ in range(100):
        chance = 1.0 / (1.0 + np.exp(np.clip(rating[None] - rating[:, None], -500, 500)))
        slope = (wins - games * chance).sum(axis=1)
        weight = games * chance * (1 - chance)
        curve = np.diag(weight.sum(axis=1)) - weight
        step = np.linalg.solve(curve + np.ones((size, size)) / size, slope)
        rating = rating + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-10:
            break
    return 1500.0 + ELO * (rating - rating.mean())


def intervals(matches: Matches, entrants: int, draws: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ends `[K]` of 95 % bootstrap intervals of `bradley_terry`, over seeds, with all that was played by them."""
    rng = np.random.default_rng(seed)
    every = np.unique(matches.seed)
    won = np.stack([matches.of(matches.seed == own).wins(entrants) for own in every])
    drawn = rng.integers(0, len(every), (draws, len(every)))
    found = np.stack([bradley_terry(won[own].sum(axis=0)) for own in drawn])
    low, high = np.quantile(found, (0.025, 0.975), axis=0)
    return low, high


def nash_averaging(advantage: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The equilibrium mixture `[K]` of highest entropy of the game in which `advantage[i, j]` is what i has over j.

    And how much each entrant has over that mixture, 0 at most: how far it is from being worth while.

    Source: Balduzzi et al. 2018, arXiv 1806.02643.

    Args:
        advantage: `[K, K]`, antisymmetric.

    Raises:
        ValueError: it is not antisymmetric.
    """
    table = np.asarray(advantage, np.float64)
    scale = np.abs(table).max() or 1.0
    if np.abs(table + table.T).max() > 1e-9 * scale:
        raise ValueError("advantage: expected an antisymmetric matrix, what i has over j less what j has over i")
    mixture = most_entropy(table / scale)
    if (table @ mixture).max() > 1e-6 * scale:
        mixture = np.asarray(ZeroSum().solve(normal_form(np.stack([table, -table]))).profile[0], np.float64)
    return mixture, table @ mixture


def cyclic_share(advantage: np.ndarray, met: np.ndarray | None = None) -> float:
    """How much of the squared `advantage` `[K, K]`, antisymmetric, no ratings explain: 0 transitive, 1 a pure cycle.

    Ratings are by least squares on the pairs that have `met`, `[K, K]`; what is left of their differences is the curl.

    Source: Jiang, Lim, Yao and Ye 2011 (HodgeRank), arXiv 0811.1067.
    """
    size = len(advantage)
    weight = (np.ones((size, size)) if met is None else np.asarray(met > 0, float)) * (1 - np.eye(size))
    laplacian = np.diag(weight.sum(axis=1)) - weight
    rating = np.linalg.pinv(laplacian) @ (weight * advantage).sum(axis=1)
    left = weight * (advantage - (rating[:, None] - rating[None]))
    total = float((weight * advantage**2).sum())
    return float((left**2).sum() / total) if total > 0 else 0.0


def swiss_pairs(rating: Sequence[float] | np.ndarray, met: np.ndarray) -> list[tuple[int, int]]:
    """Who meets next: neighbours in `rating` `[K]` who have met least; with an odd number one is left out.

    Matches between equals inform most, so that about K log K of them do for K² / 2.

    Source: Xu et al. 2025, arXiv 2502.14074 (Swim).

    Args:
        rating: `[K]`.
        met: `[K, K]`, how often each pair has met.
    """
    size = len(rating)
    order = [int(k) for k in np.argsort(-np.asarray(rating), kind="stable")]
    if size % 2:  # who has met most sits out, the lowest rated of them
        order.remove(max(reversed(order), key=lambda k: met[k].sum()))
    rank = {k: place for place, k in enumerate(order)}
    rng, best, least = np.random.default_rng(0), [], np.inf
    for attempt in range(TRIES):  # greedily, from several beginnings
        free, pairs, cost = order.copy() if attempt == 0 else rng.permutation(order).tolist(), [], 0.0
        while len(free) > 1:
            own = free.pop(0)
            price = lambda k, own=own: size * met[own, k] + abs(rank[own] - rank[k])  # noqa: E731
            other = min(free, key=price)
            free.remove(other)
            cost += price(other)
            pairs.append((min(own, other), max(own, other)))
        if cost < least:
            best, least = pairs, cost
    return sorted(best)
