"""Two-player zero-sum games, by a linear program."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key
from scipy.optimize import linprog

from equilibria.game import NormalForm
from equilibria.properties import constant_sum
from equilibria.solution import Solution, certified
from equilibria.solver import Solver

__all__ = ["ZeroSum", "maximin"]


class ZeroSum(Solver):
    """An equilibrium of a two-player game whose payoffs sum to a constant, by HiGHS.

    Source: von Neumann 1928; Dantzig 1951.

    Attributes:
        tolerance: of regret, as a share of the largest difference of payoffs.
    """

    tolerance: float = 1e-7

    how: ClassVar[str] = "a linear program (HiGHS)"
    starts_anywhere: ClassVar[bool] = False
    on_host: ClassVar[bool] = True
    players: ClassVar[int | None] = 2
    checks_payoffs: ClassVar[bool] = True

    def check(self, game: NormalForm) -> None:
        """Raise unless there are two players whose payoffs sum to a constant.

        Raises:
            ValueError: names the sums.
        """
        super().check(game)
        if not constant_sum(game):
            total = np.asarray(game.payoffs.sum(axis=0))[np.asarray(game.legal())]
            raise ValueError(
                f"zero_sum: payoffs sum to between {total.min():g} and {total.max():g}, expected a constant;"
                " try lemke_howson, support_enumeration or nash"
            )

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """One equilibrium; `key` is not used."""
        rows, columns = (np.flatnonzero(own) for own in np.asarray(game.mask))
        own, payoffs = np.zeros(game.mask.shape), np.asarray(game.payoffs, np.float64)
        table = payoffs[0][np.ix_(rows, columns)]
        own[0, rows], prices = maximin(table)
        own[1, columns] = prices
        profile = jnp.asarray(own, game.dtype)
        return certified(game, profile, game.regret(profile), self.tolerance, 1)


def maximin(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The strategy `[A]` that maximises the worst column of `table` `[A, O]`, and the columns' best reply `[O]`.

    Raises:
        RuntimeError: the linear program failed; the message is that of HiGHS.
    """
    rows, columns = table.shape
    low, high = table.min(), table.max()
    scaled = (table - low) / (high - low) if high > low else np.zeros_like(table)
    found = linprog(
        np.append(np.zeros(rows), -1.0),
        A_ub=np.column_stack([-scaled.T, np.ones(columns)]),
        b_ub=np.zeros(columns),
        A_eq=np.append(np.ones(rows), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * rows + [(None, None)],
        method="highs",
    )
    if found.status != 0:
        raise RuntimeError(f"linear program: {found.message}")
    own, prices = np.maximum(found.x[:-1], 0.0), np.maximum(-found.ineqlin.marginals, 0.0)
    return own / own.sum(), prices / prices.sum()
