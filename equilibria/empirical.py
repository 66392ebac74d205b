"""What profiles of policies have earned: the game that is played between populations, entry by entry."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from itertools import permutations, product
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct

from equilibria.game import NormalForm

__all__ = ["QUANTILES", "EmpiricalGame"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class EmpiricalGame(struct.PyTreeNode):
    """Moments of the returns of every profile of policies; NumPy arrays, on the host.

    Every player has a population of up to K policies. Entries of profiles that were not played are 0.

    Attributes:
        sizes: `[n]`, how many policies each player has.
        count: `[K, ..., K]`, episodes.
        mean: `[n, K, ..., K]`, of returns.
        squares: `[n, K, ..., K]`, sums of squared deviations from the mean.
        quantiles: `[n, K, ..., K, Q]`, of returns, at `QUANTILES`; where episodes came in several parts, means over
            the parts, by their numbers of episodes.
        least: `[n, K, ..., K]`, the least return.
    """

    sizes: np.ndarray
    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    quantiles: np.ndarray
    least: np.ndarray

    @classmethod
    def empty(cls, players: int, capacity: int) -> EmpiricalGame:
        """Of populations without policies, with room for `capacity` each."""
        cells = (capacity,) * players
        own = (players, *cells)
        return cls(
            np.zeros(players, np.int32),
            np.zeros(cells),
            np.zeros(own),
            np.zeros(own),
            np.zeros((*own, len(QUANTILES))),
            np.zeros(own),
        )

    @property
    def num_players(self) -> int:
        """Number of players n."""
        return len(self.sizes)

    @property
    def capacity(self) -> int:
        """How many policies each player may have, K."""
        return self.count.shape[0]

    @property
    def played(self) -> np.ndarray:
        """Which profiles have an entry, `[K, ..., K]`."""
        return self.count > 0

    @property
    def variance(self) -> np.ndarray:
        """Of returns, `[n, K, ..., K]`; 0 where there are fewer than two episodes."""
        return self.squares / np.maximum(self.count - 1, 1)

    @property
    def standard_error(self) -> np.ndarray:
        """Of `mean`, `[n, K, ..., K]`; infinite where there are fewer than two episodes."""
        error = np.sqrt(self.variance / np.maximum(self.count, 1))
        return np.where(self.count >= 2, error, np.inf)

    def profiles(self, symmetric: bool = False) -> Iterator[tuple[int, ...]]:
        """All profiles of policies; with `symmetric` one of those that differ in who is who."""
        for profile in product(*(range(size) for size in self.sizes)):
            if not symmetric or list(profile) == sorted(profile):
                yield profile

    def add(self, profiles: np.ndarray, returns: np.ndarray, symmetric: bool = False) -> EmpiricalGame:
        """With more episodes; moments by the formula of Chan, Golub and LeVeque 1979.

        Args:
            profiles: `[B, n]`, each of them once.
            returns: `[B, E, n]`.
            symmetric: whether the game is, so that an episode counts for all profiles that differ in who is who.
        """
        found = {name: getattr(self, name).copy() for name in ("count", "mean", "squares", "quantiles", "least")}
        for profile, seen in zip(np.asarray(profiles), np.asarray(returns, np.float64), strict=True):
            orders = permutations(range(len(profile))) if symmetric else [tuple(range(len(profile)))]
            cells: dict[tuple[int, ...], list[np.ndarray]] = {}
            for order in orders:
                cells.setdefault(tuple(int(profile[k]) for k in order), []).append(seen[:, list(order)])
            for cell, alike in cells.items():
                _merge(found, cell, np.stack(alike))
        return self.replace(**found)

    def game(self, noise: float = 0.0) -> NormalForm:
        """The game of mean returns, less `noise` times their variance within a profile.

        Mixed strategies over policies are as over actions. `noise` has the unit 1 / return. Profiles that were not
        played get the least-squares fit of a sum of one number a policy to those that were.
        """
        mask = np.arange(self.capacity) < self.sizes[:, None]
        payoffs = self.mean - noise * self.variance if noise else self.mean
        legal = reduce(np.multiply.outer, mask)
        if (legal & ~self.played).any():
            payoffs = _filled(payoffs, self.played, legal)
        return NormalForm(jnp.asarray(np.where(legal, payoffs, 0.0)), jnp.asarray(mask))

    def cut(self) -> EmpiricalGame:
        """Without room for more policies."""
        return self.room(int(self.sizes.max()))

    def room(self, most: int) -> EmpiricalGame:
        """With room for `most` policies, of which there are no more."""
        cells = (slice(0, most),) * self.num_players
        fields = {
            name: getattr(self, name)[(slice(None), *cells)] for name in ("mean", "squares", "quantiles", "least")
        }
        return self.replace(count=self.count[cells], **fields)


def _filled(payoffs: np.ndarray, played: np.ndarray, legal: np.ndarray) -> np.ndarray:
    """Payoffs `[n, K, ..., K]` with estimates where `played` is False."""
    cells = np.stack(np.nonzero(legal), axis=1)
    size = played.shape[0]
    features = np.concatenate([np.eye(size)[cells[:, player]] for player in range(cells.shape[1])], axis=1)
    known = played[legal]
    found = payoffs.copy()
    for own in found:
        middle = own[legal][known].mean() if known.any() else 0.0
        weights = np.linalg.lstsq(features[known], own[legal][known] - middle, rcond=None)[0]
        own[legal] = np.where(known, own[legal], middle + features @ weights)
    return found


def _merge(found: dict[str, Any], cell: tuple[int, ...], seen: np.ndarray) -> None:
    """Add episodes `seen`, `[G, E, n]`, to a cell: the same ones, seen from seats that are alike."""
    own = (slice(None), *cell)
    before, more = found["count"][cell], seen.shape[1]
    total = before + more
    mean = seen.mean(axis=(0, 1))
    away = mean - found["mean"][own]
    found["squares"][own] += ((seen - mean) ** 2).sum(axis=1).mean(axis=0) + away**2 * before * more / total
    found["mean"][own] += away * more / total
    parts = np.quantile(seen, QUANTILES, axis=(0, 1)).T
    found["quantiles"][own] += (parts - found["quantiles"][own]) * more / total
    least = seen.min(axis=(0, 1))
    found["least"][own] = np.minimum(found["least"][own], least) if before else least
    found["count"][cell] = total
