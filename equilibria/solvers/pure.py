"""Equilibria in pure strategies."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Key

from equilibria.game import NormalForm
from equilibria.solution import Solution, certified
from equilibria.solver import Solver

__all__ = ["Pure", "pure_equilibria"]


def pure_equilibria(game: NormalForm) -> Bool[Array, ...]:
    """Which joint actions `[A, ..., A]` are Nash equilibria, up to rounding."""
    slack = 16 * jnp.finfo(game.dtype).eps * game.scale()
    found = game.legal()
    for player in range(game.num_players):
        own = jnp.where(game.legal(), game.payoffs[player], -jnp.inf)
        found &= own >= own.max(axis=player, keepdims=True) - slack
    return found


class Pure(Solver):
    """A Nash equilibrium in pure strategies, that of most welfare, if there is any; regret tells.

    Attributes:
        tolerance: of regret, as a share of the largest difference of payoffs.
    """

    tolerance: float = 1e-9

    how: ClassVar[str] = "enumeration of joint actions"
    starts_anywhere: ClassVar[bool] = False

    def reason(self, game: NormalForm, found: Solution | None) -> str:
        """That there is none."""
        return "" if np.asarray(pure_equilibria(game)).any() else "no pure equilibrium exists"

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """The pure equilibrium of most welfare, or the joint action of least largest regret; `key` is not used."""
        gains = jnp.zeros_like(game.payoffs[0])
        for player in range(game.num_players):
            own = jnp.where(game.legal(), game.payoffs[player], -jnp.inf)
            gains = jnp.maximum(gains, own.max(axis=player, keepdims=True) - own)
        welfare = game.payoffs.sum(axis=0)
        found = pure_equilibria(game)
        score = jnp.where(found.any(), jnp.where(found, welfare, -jnp.inf), -gains)
        place = jnp.argmax(jnp.where(game.legal(), score, -jnp.inf))
        return self._at(game, place)

    def every(self, game: NormalForm) -> list[Solution]:
        """All pure equilibria, in the order of joint actions."""
        places = np.flatnonzero(np.asarray(pure_equilibria(game)).ravel())
        at = jax.jit(self._at)
        return [at(game, jnp.asarray(place)) for place in places]

    def _at(self, game: NormalForm, place: Array) -> Solution:
        size, n = game.num_actions, game.num_players
        actions = (place // size ** jnp.arange(n - 1, -1, -1)) % size
        profile = jax.nn.one_hot(actions, size, dtype=game.dtype)
        return certified(game, profile, game.regret(profile), self.tolerance, 1)
