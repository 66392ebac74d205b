"""Zero-determinant strategies: memory-one players who hold everybody's payoffs on a line."""

from __future__ import annotations

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from envs import Environment
from envs.validation import require_choice, require_range
from shaping.strategies import TOLERANCE, MemoryOne, after, check_symmetric, game_name, payoffs_by_role

__all__ = ["ZeroDeterminant"]

KINDS = ("extortionate", "generous", "equaliser")


class ZeroDeterminant(MemoryOne):
    """Zero-determinant: hold the others' mean payoff on a line in the own, whatever they do.

    In the long run, undiscounted, (mean payoff of the others) = slope * (own payoff) + (1 - slope) * baseline. With s
    the slope, l the baseline, g the own payoff of the last joint action, ḡ the mean of the others', and 1_C = 1 after
    an own C, else 0, the probability of C is

        p = 1_C + φ [(1 - s) (l - g) + g - ḡ],  0 < φ <= 1 / max |[...]|

    because the mean of p - 1_C along play is 0. An extortionate player gains 1 / s times as much over all D as the
    others (for two players the extortion factor χ), a generous one loses 1 / s times as much from all C, and an
    equaliser alone decides what the others get. Extortionate players defect first, generous ones co-operate,
    equalisers toss a coin. With (T, R, P, S) = (5, 3, 1, 0) and slope 0.5, strength 0.5 is Extort-2 and, generous,
    strength 1 is ZDGTFT-2. Slope 1 is fair; with strength 1 and two players it is tit-for-tat, but for the first move.
    The more players, the fewer lines can be held; `check` says which.
    Source: Press and Dyson 2012, PNAS 109:10409; for n players Hilbe, Wu, Traulsen and Nowak 2014, "Cooperation and
    control in multiplayer social dilemmas", PNAS 111:16425; generous: Stewart and Plotkin 2013, PNAS 110:15348.

    Attributes:
        kind: which baseline: that of all D ("extortionate"), of all C ("generous"), or any ("equaliser", slope 0).
        slope: s, of the others' mean payoff in the own; 0 for an equaliser.
        baseline: l, reward per step; by default that of `kind`, for an equaliser the middle of those it can hold.
        strength: of the reactions, as a share of the strongest possible; above 0.
    """

    kind: Literal["extortionate", "generous", "equaliser"] = struct.field(default="extortionate", pytree_node=False)
    slope: float = 0.8
    baseline: float | None = None
    strength: float = 0.5

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        require_choice("kind", self.kind, KINDS)
        require_range("slope", self.slope, -1.0, 1.0, hint="1 is fair, 0 an equaliser")
        if self.kind == "equaliser":
            require_range("slope", self.slope, 0.0, 0.0, hint="that of an equaliser")
        if self.baseline is not None:
            require_range("baseline", self.baseline, -float("inf"))
        require_range("strength", self.strength, 1e-6, 1.0)

    def check(self, env: Environment, batch: int = 1) -> None:
        """Raise unless `env` is a symmetric matrix game with two actions a player, and the line can be held."""
        check_symmetric(self, env)
        own, others = payoffs_by_role(env, np)
        if self._holds(own, others):
            return
        if self.kind == "equaliser":
            low, high, name = others[1].max(), others[0].min(), "baseline"
        else:
            slopes = [s for s in np.arange(-100, 101) / 100 if self.replace(slope=s)._holds(own, others)]
            low, high, name = min(slopes, default=1.0), max(slopes, default=-1.0), "slope"
        raise ValueError(
            f"slope = {self.slope:g}, baseline = {self._baseline(own, others):g}: no {self.kind} strategy holds this "
            f"line in {game_name(env)}: try "
            + (f"a {name} from {low:g} to {high:g}" if low <= high else "another kind or tit_for_tat")
        )

    def response(self, env: Environment) -> Float[Array, " H"]:
        """The formula above."""
        gap = self._gap(*payoffs_by_role(env, jnp))
        probability = jnp.array([[1.0], [0.0]]) + self.strength / jnp.abs(gap).max() * gap
        first = {"extortionate": 0.0, "generous": 1.0, "equaliser": 0.5}[self.kind]
        return after(first, jnp.clip(probability, 0.0, 1.0))

    def _holds(self, own: Any, others: Any) -> bool:
        """Whether the bracket is not positive after C, not negative after D, and not always 0."""
        gap, tolerance = self._gap(own, others), TOLERANCE * np.abs(own).max()
        return bool(gap[0].max() <= tolerance and gap[1].min() >= -tolerance and np.abs(gap).max() > tolerance)

    def _baseline(self, own: Any, others: Any) -> Any:
        if self.baseline is not None:
            return self.baseline
        middle = (others[1].max() + others[0].min()) / 2
        return {"extortionate": own[1, -1], "generous": own[0, 0], "equaliser": middle}[self.kind]

    def _gap(self, own: Any, others: Any) -> Any:
        """The bracket of the formula, `[2, n]`."""
        return (1 - self.slope) * (self._baseline(own, others) - own) + own - others
