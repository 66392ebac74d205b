"""Equilibria of two-player games, support by support."""

from __future__ import annotations

from itertools import combinations
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Key

from equilibria.game import NormalForm
from equilibria.solution import Solution, certified
from equilibria.solver import Solver

__all__ = ["SupportEnumeration"]


class SupportEnumeration(Solver):
    """The Nash equilibria of a two-player game, of which a non-degenerate one has finitely many and is given all.

    For every pair of supports of one size the strategies that make the other indifferent are solved for, all pairs of
    a size at once. In a degenerate game pairs of different sizes count too, and of a continuum of equilibria some
    points are found.

    Source: Dickhaut and Kaplan 1991; Porter, Nudelman and Shoham 2008, Games and Economic Behavior 63.

    Attributes:
        tolerance: of regret, as a share of the largest difference of payoffs.
        limit: of pairs of supports; 2^20 are seconds.
    """

    tolerance: float = 1e-8
    limit: int = struct.field(default=2097152, pytree_node=False)

    how: ClassVar[str] = "enumeration of supports"
    starts_anywhere: ClassVar[bool] = False
    on_host: ClassVar[bool] = True
    players: ClassVar[int | None] = 2

    def check(self, game: NormalForm) -> None:
        """Raise unless there are two players with few enough actions.

        Raises:
            ValueError: says how many pairs of supports there are.
        """
        super().check(game)
        rows, columns = (1 << size for size in game.sizes)
        if rows * columns > self.limit * 4:
            raise ValueError(
                f"support_enumeration: {rows * columns:.3g} pairs of supports, expected up to {self.limit * 4};"
                " try lemke_howson or nash"
            )

    def reason(self, game: NormalForm, found: Solution | None) -> str:
        """That rounding has hidden all, as there is always one."""
        return "every pair of supports failed by more than the tolerance"

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """The first equilibrium, of the smallest supports; `key` is not used."""
        found = self.every(game)
        if found:
            return found[0]
        profile = game.uniform()
        return certified(game, profile, game.regret(profile), self.tolerance, 0)

    def every(self, game: NormalForm) -> list[Solution]:
        """All equilibria, small supports first."""
        rows, columns = (np.flatnonzero(own) for own in np.asarray(game.mask))
        low = np.asarray(game.payoffs, np.float64).min(axis=(1, 2), keepdims=True)
        tables = ((np.asarray(game.payoffs, np.float64) - low) / float(game.scale()))[:, rows][:, :, columns]
        pairs: list[tuple[np.ndarray, np.ndarray]] = []
        for size in range(1, min(len(rows), len(columns)) + 1):
            pairs += _of_sizes(tables, size, size, self.tolerance)
        if len(pairs) % 2 == 0:  # by Wilson's theorem a sign of degeneracy
            for first in range(1, len(rows) + 1):
                for second in range(1, len(columns) + 1):
                    if first != second:
                        pairs += _of_sizes(tables, first, second, self.tolerance)
        found: list[Solution] = []
        seen: list[np.ndarray] = []
        for x, y in pairs:
            own = np.zeros(game.mask.shape)
            own[0, rows], own[1, columns] = x, y
            if all(np.abs(own - other).max() > 1e-6 for other in seen):
                seen.append(own)
                profile = jnp.asarray(own, game.dtype)
                found.append(certified(game, profile, game.regret(profile), self.tolerance, len(seen)))
        return found


def _of_sizes(tables: np.ndarray, first: int, second: int, slack: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Equilibria whose supports have `first` rows and `second` columns."""
    rows, columns = tables.shape[1:]
    left = np.array(list(combinations(range(rows), first)))
    right = np.array(list(combinations(range(columns), second)))
    found = []
    for own in left:  # all supports of the columns at once
        block = tables[0][own[None, :, None], right[:, None, :]]
        y = _indifferent(block, slack)
        x = _indifferent(tables[1][own[None, :, None], right[:, None, :]].transpose(0, 2, 1), slack)
        for place in np.flatnonzero(np.isfinite(y).all(axis=1) & np.isfinite(x).all(axis=1)):
            full_x, full_y = np.zeros(rows), np.zeros(columns)
            full_x[own], full_y[right[place]] = x[place], y[place]
            up, across = tables[0] @ full_y, full_x @ tables[1]
            if up.max() - full_x @ up <= slack and across.max() - across @ full_y <= slack:
                found.append((full_x, full_y))
    return found


def _indifferent(blocks: np.ndarray, slack: float) -> np.ndarray:
    """Mixtures `[P, columns]` that pay the same in all rows of `blocks` `[P, rows, columns]`; NaN if none."""
    count, rows, columns = blocks.shape
    system = np.zeros((count, rows + 1, columns + 1))
    system[:, :rows, :columns], system[:, :rows, -1], system[:, -1, :columns] = blocks, -1.0, 1.0
    right = np.zeros(rows + 1)
    right[-1] = 1.0
    if rows == columns:
        size = np.abs(np.linalg.det(system))
        able = size > 1e-12
        system[~able] = np.eye(rows + 1)
        mixed = np.linalg.solve(system, np.broadcast_to(right, (count, rows + 1))[..., None])[..., 0]
        mixed[~able] = np.nan
    else:
        mixed = np.linalg.pinv(system) @ right
        off = np.abs(np.einsum("prc,pc->pr", system, mixed) - right).max(axis=1)
        mixed[off > slack] = np.nan
    mixed = mixed[:, :-1]
    mixed[(mixed < -slack).any(axis=1)] = np.nan
    mixed = np.maximum(mixed, 0.0)
    return mixed / mixed.sum(axis=1, keepdims=True)
