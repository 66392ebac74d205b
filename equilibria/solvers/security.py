"""Security strategies: what a player can be sure of."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from equilibria.game import NormalForm
from equilibria.solution import Solution, certified
from equilibria.solver import Solver
from equilibria.solvers.zero_sum import maximin

__all__ = ["Security"]


class Security(Solver):
    """Everybody maximises the least expected payoff that the others, together, could leave.

    The regret is in that utility. It is no equilibrium but of zero-sum games.

    Source: von Neumann and Morgenstern 1944.

    Attributes:
        tolerance: of regret, as a share of the largest difference of payoffs.
    """

    tolerance: float = 1e-7

    how: ClassVar[str] = "linear programs (HiGHS)"
    starts_anywhere: ClassVar[bool] = False
    on_host: ClassVar[bool] = True

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """One linear program a player; `key` is not used."""
        mask, outcomes = np.asarray(game.mask), np.asarray(game.outcomes(), np.float64)
        own, regret = np.zeros(mask.shape), np.zeros(len(mask))
        for player, actions in enumerate(mask):
            table = outcomes[player][actions]
            own[player, actions], prices = maximin(table)
            regret[player] = max((table @ prices).max() - (own[player, actions] @ table).min(), 0.0)  # weak duality
        return certified(game, jnp.asarray(own, game.dtype), jnp.asarray(regret), self.tolerance, 1)
