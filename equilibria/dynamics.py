"""Learning dynamics as solvers: everybody adapts to the others' play; the average, or the last, counts."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key

from equilibria.game import NormalForm
from equilibria.solution import Solution, certified
from equilibria.solver import Solver

__all__ = ["CHECKED", "Dynamics"]

CHECKED = 32
"""Steps between two looks at the regret."""


class Dynamics(Solver):
    """Plays a rule until the regret of its profile is small, or for a number of steps.

    In two-player zero-sum games averages come to an equilibrium by any rule without regret; in other games the average
    of *joint* play comes to a coarse correlated equilibrium, and the profile need not come to any.

    Subclasses say how they start and move; their states are PyTrees, `play` is the profile of a state.

    Attributes:
        average: which profile counts: the mean of all, "uniform" or "linear" in time, or the "last".
        tolerance: of regret, as a share of the largest difference of payoffs.
        steps: at most.
    """

    average: Literal["uniform", "linear", "last"] = struct.field(default="uniform", pytree_node=False)
    tolerance: float = 1e-3
    steps: int = struct.field(default=100_000, pytree_node=False)

    how: ClassVar[str] = "learning dynamics"

    def begin(self, game: NormalForm, profile: Float[Array, "n A"]) -> Any:
        """The state that plays `profile`."""
        raise NotImplementedError

    def play(self, game: NormalForm, state: Any) -> Float[Array, "n A"]:
        """What everybody plays."""
        raise NotImplementedError

    def move(self, game: NormalForm, state: Any, count: Float[Array, ""]) -> Any:
        """The state after step number `count`, from 0 on; payoffs differ by at most 1."""
        raise NotImplementedError

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """From uniform play, or from a random profile; consumes `key`."""
        start = game.uniform()
        if key is not None:
            drawn = jnp.where(game.mask, jax.random.exponential(key, start.shape, start.dtype), 0.0)
            start = drawn / drawn.sum(axis=1, keepdims=True)
        unit = game.replace(payoffs=game.payoffs / game.scale())

        def once(carry: Any, _: None) -> tuple[Any, None]:
            state, mean, count = carry
            state = self.move(unit, state, count)
            now = self.play(unit, state)
            weight = {"uniform": 1.0 / (count + 1.0), "linear": 2.0 / (count + 2.0), "last": 1.0}[self.average]
            return (state, mean + weight * (now - mean), count + 1.0), None

        def look(carry: Any) -> Any:
            inner, _ = jax.lax.scan(once, carry[0], None, min(CHECKED, self.steps))
            return inner, unit.regret(inner[1]).max()

        zero = jnp.zeros((), start.dtype)
        carry = (self.begin(unit, start), start, zero), unit.regret(start).max()
        unfinished = lambda c: (c[1] > self.tolerance) & (c[0][2] < self.steps)  # noqa: E731
        ((_, mean, count), _) = jax.lax.while_loop(unfinished, look, carry)
        profile = mean / mean.sum(axis=1, keepdims=True)
        return certified(game, profile, game.regret(profile), self.tolerance, count.astype(jnp.int32))
