"""No solution at all: everybody plays everything alike."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Array, Key

from equilibria.game import NormalForm
from equilibria.solution import Solution, certified
from equilibria.solver import Solver

__all__ = ["Uniform"]


class Uniform(Solver):
    """Uniform play; between populations of responses it is fictitious self-play.

    Its regret is what it is; that counts as converged.

    Source: Brown 1951; Heinrich, Lanctot and Silver 2015; as a meta-strategy, Lanctot et al. 2017, arXiv 1711.00832.
    """

    how: ClassVar[str] = "definition"
    starts_anywhere: ClassVar[bool] = False

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """Uniform play; `key` is not used."""
        profile = game.uniform()
        return certified(game, profile, game.regret(profile), 1.0, 0)
