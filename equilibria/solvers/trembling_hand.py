"""Trembling-hand perfect equilibria."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from equilibria.game import NormalForm
from equilibria.responses import perceive
from equilibria.risk import Neutral
from equilibria.solution import Solution, certified
from equilibria.solver import Solver
from equilibria.solvers.risk_averse import RiskAverse, settle

__all__ = ["TremblingHand"]


class TremblingHand(Solver):
    """The limit of equilibria of games in which nobody can play any action with a probability below ε, as ε → 0.

    An equilibrium with a large ε is followed to a very small one. It has converged if all on the way were equilibria of
    their games, and regret, which is that in expected payoff of the last with all trembles taken out, is small.

    Source: Selten 1975, International Journal of Game Theory 4.

    Attributes:
        tremble: ε at first, a share of 1 / A.
        shrink: factor of ε from one game to the next.
        last: ε at the end, a share of 1 / A.
        tolerance: of regret, as a share of the largest difference of payoffs.
    """

    tremble: float = 0.1
    shrink: float = 0.5
    last: float = 1e-7
    tolerance: float = 1e-6

    how: ClassVar[str] = "continuation in the trembles"
    retries: ClassVar[int] = 8

    def reason(self, game: NormalForm, found: Solution | None) -> str:
        """That the path of trembles was lost."""
        return "some game on the way was not solved"

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """One perfect equilibrium; consumes `key`, which is of the first game's start."""
        first = self.tremble / game.num_actions
        start = RiskAverse(Neutral(), tremble=first).solve(game, key)
        scale = game.scale()

        def shrink(carry: Any) -> Any:
            profile, tremble, worst, count = carry
            before = perceive(game, Neutral(), tremble)
            seen = perceive(game, Neutral(), tremble * self.shrink)
            # what trembles hold goes with them, so that Newton's method need not move those who do not care
            free = (profile - before.least[:, None]) * (seen.free / before.free)[:, None]
            profile, left = settle(seen, jnp.where(game.mask, seen.least[:, None] + free, 0.0))
            return profile, tremble * self.shrink, jnp.maximum(worst, left), count + 1

        tremble = jnp.asarray(first, game.dtype)
        carry = start.profile, tremble, start.regret.max(), jnp.zeros((), jnp.int32)
        ended = lambda c: c[1] > self.last / game.num_actions  # noqa: E731
        profile, tremble, worst, count = jax.lax.while_loop(ended, shrink, carry)
        played = jnp.where(profile > 2 * tremble, profile, 0.0)
        played = played / played.sum(axis=1, keepdims=True)
        found = certified(game, played, game.regret(played), self.tolerance, count)
        return found.replace(converged=found.converged & (worst <= self.tolerance * scale))
