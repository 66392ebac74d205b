"""Commitment: one player announces a mixed strategy, the other replies."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Key
from scipy.optimize import linprog

from equilibria.game import NormalForm
from equilibria.solution import Solution, certified
from equilibria.solver import Solver

__all__ = ["Stackelberg"]


class Stackelberg(Solver):
    """The strong Stackelberg equilibrium of a two-player game: the follower breaks ties for the leader.

    The regret is the follower's, in expected payoff; the leader's is 0 by the optimality of the linear programs.

    Source: von Stackelberg 1934; Conitzer and Sandholm 2006, EC.

    Attributes:
        leader: 0 or 1.
        tolerance: of regret, as a share of the largest difference of payoffs.
    """

    leader: int = struct.field(default=0, pytree_node=False)
    tolerance: float = 1e-7

    how: ClassVar[str] = "linear programs (HiGHS)"
    starts_anywhere: ClassVar[bool] = False
    on_host: ClassVar[bool] = True
    players: ClassVar[int | None] = 2

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """The best of one linear program for each reply; `key` is not used."""
        follower = 1 - self.leader
        rows, columns = (np.flatnonzero(np.asarray(game.mask)[side]) for side in (self.leader, follower))
        tables = np.asarray(game.payoffs, np.float64) / float(game.scale())
        own, its = (tables[side] if self.leader == 0 else tables[side].T for side in (self.leader, follower))
        own, its = own[np.ix_(rows, columns)], its[np.ix_(rows, columns)]
        best, commitment, reply = -np.inf, np.full(len(rows), 1.0 / len(rows)), 0
        for column in range(len(columns)):
            better = its - its[:, [column]]
            found = linprog(
                -own[:, column],
                A_ub=better.T,
                b_ub=np.zeros(len(columns)),
                A_eq=np.ones((1, len(rows))),
                b_eq=[1.0],
                bounds=[(0, None)] * len(rows),
                method="highs",
            )
            if found.status == 0 and -found.fun > best + 1e-12:
                best, commitment, reply = -found.fun, np.maximum(found.x, 0.0), column
        profile = np.zeros(game.mask.shape)
        profile[self.leader, rows] = commitment / commitment.sum()
        profile[follower, columns[reply]] = 1.0
        played = jnp.asarray(profile, game.dtype)
        regret = game.regret(played).at[self.leader].set(0.0)
        return certified(game, played, regret, self.tolerance, len(columns))
