"""What a player makes of uncertain payoffs. Uncertain is what the *others* do; over the own play payoffs are expected.

A measure is a concave function of the own mixed strategy, given how likely each joint action of the others is. So best
replies are convex programs, and equilibria exist (Kakutani; Debreu, Fan and Glicksberg), for any number of players.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

__all__ = [
    "ConditionalValueAtRisk",
    "LowerPartialMoment",
    "MeanVariance",
    "Neutral",
    "PerPlayer",
    "Risk",
    "Semideviation",
    "exact",
    "ramp",
]

LOG2 = math.log(2.0)
PerPlayer = Any
"""One number, or one a player."""


class Risk(struct.PyTreeNode):
    """What a player maximises.

    Measures with kinks have a smooth stand-in that is too low by at most `error(smoothing)`; `smoothing`, a width above
    0, has the unit of payoffs. Without it, 0.0, they are exact.
    """

    kinked: ClassVar[bool] = False
    ranges: ClassVar[dict[str, tuple[float, float]]] = {"risk": (0.0, math.inf)}

    def error(self, smoothing: Any, others: int) -> Any:
        """How much too low the smooth stand-in may be, where the others have so many joint actions."""
        return 0.0 * smoothing

    def of(self, seen: Float[Array, " O"], chance: Float[Array, " O"], smoothing: Any = 0.0) -> Float[Array, ""]:
        """The value of getting `seen` with the probabilities `chance`; units of payoffs."""
        raise NotImplementedError

    def utility(
        self, own: Float[Array, " A"], outcomes: Float[Array, "A O"], chance: Float[Array, " O"], smoothing: Any = 0.0
    ) -> Float[Array, ""]:
        """The value of the mixed strategy `own`."""
        return self.of(own @ outcomes, chance, smoothing)


class Neutral(Risk):
    """The mean."""

    def of(self, seen: Float[Array, " O"], chance: Float[Array, " O"], smoothing: Any = 0.0) -> Float[Array, ""]:
        """Σ p z."""
        return chance @ seen


class MeanVariance(Risk):
    """The mean less γ times the variance that the others cause: u = E - γ Var.

    γ has the unit 1 / payoff. With variance "total" the own mixing counts too: u is then convex in the own strategy,
    best replies are pure, and equilibria need not exist.

    Source: Slumbers et al. 2023, arXiv 2205.15434 (reconstructed); "total": Dulleck and Löffler 2021, Games 12(1):5.

    Attributes:
        risk: γ ≥ 0, one number or one a player.
        variance: what varies: the "others'" play, or the "total".
    """

    risk: PerPlayer = 0.1
    variance: Literal["others", "total"] = struct.field(default="others", pytree_node=False)

    def of(self, seen: Float[Array, " O"], chance: Float[Array, " O"], smoothing: Any = 0.0) -> Float[Array, ""]:
        """E z - γ Var z."""
        mean = chance @ seen
        return mean - self.risk * (chance @ (seen - mean) ** 2)

    def utility(
        self, own: Float[Array, " A"], outcomes: Float[Array, "A O"], chance: Float[Array, " O"], smoothing: Any = 0.0
    ) -> Float[Array, ""]:
        """With total variance that over the own play too."""
        if self.variance == "others":
            return self.of(own @ outcomes, chance)
        mean = own @ outcomes @ chance
        return mean - self.risk * (own @ (outcomes - mean) ** 2 @ chance)


class ConditionalValueAtRisk(Risk):
    """The mean of the worst share α: max over c of c - E (c - z)₊ / α. α = 1 is the mean; α → 0 the worst case.

    Source: Rockafellar and Uryasev 2000.

    Attributes:
        level: α in (0, 1], one number or one a player.
    """

    level: PerPlayer = 0.1

    kinked: ClassVar[bool] = True
    ranges: ClassVar[dict[str, tuple[float, float]]] = {"level": (1e-9, 1.0)}

    def error(self, smoothing: Any, others: int) -> Any:
        """Log 2 / α widths."""
        return LOG2 * smoothing / self.level

    def of(self, seen: Float[Array, " O"], chance: Float[Array, " O"], smoothing: Any = 0.0) -> Float[Array, ""]:
        """By the worst outcomes, or, smoothed, by the quantile c at which softened weights sum to α."""
        level = jnp.asarray(self.level, seen.dtype)
        value = _tail(seen, chance, level) if exact(smoothing) else _soft_tail(seen, chance, level, smoothing)
        return jnp.where(level >= 1, chance @ seen, value)


def _tail(seen: Array, chance: Array, level: Array) -> Array:
    """CVaR: outcomes from the worst one on count until their probabilities sum to α; slopes are these weights."""
    order = jnp.argsort(seen)
    own = chance[order]
    before = jnp.cumsum(own) - own
    weights = jnp.clip(level - before, 0.0, own) / level
    return weights @ seen[order]


def _soft_tail(seen: Array, chance: Array, level: Array, width: Any) -> Array:
    """CVaR with softplus for the ramp; the quantile is found by bisection, and differentiated implicitly."""
    width = jnp.asarray(width, seen.dtype)
    still = jax.lax.stop_gradient(seen)
    weight = lambda c, seen: chance @ jax.nn.sigmoid((c - seen) / width)  # noqa: E731

    def halve(bounds: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        low, high = bounds
        middle = (low + high) / 2
        over = weight(middle, still) > level
        return (jnp.where(over, low, middle), jnp.where(over, middle, high)), None

    (low, high), _ = jax.lax.scan(halve, (still.min() - 40 * width, still.max() + 40 * width), None, 60)
    quantile = jax.lax.stop_gradient((low + high) / 2)
    slope = jax.lax.stop_gradient(jax.grad(weight)(quantile, still))
    now = weight(quantile, seen)
    quantile = quantile - (now - jax.lax.stop_gradient(now)) / jnp.maximum(slope, 1e-30)
    return quantile - width * (chance @ jax.nn.softplus((quantile - seen) / width)) / level


class Semideviation(Risk):
    """The mean less κ times the upper semideviation of losses: E z - κ (E (E z - z)₊^r)^(1/r).

    Source: Ogryczak and Ruszczyński 1999.

    Attributes:
        risk: κ in [0, 1], one number or one a player.
        order: r, 1 or 2.
    """

    risk: PerPlayer = 0.5
    order: int = struct.field(default=1, pytree_node=False)

    kinked: ClassVar[bool] = True
    ranges: ClassVar[dict[str, tuple[float, float]]] = {"risk": (0.0, 1.0), "order": (1, 2)}

    def error(self, smoothing: Any, others: int) -> Any:
        """κ times log 2 widths, and one for the root."""
        return self.risk * (LOG2 + (self.order > 1)) * smoothing

    def of(self, seen: Float[Array, " O"], chance: Float[Array, " O"], smoothing: Any = 0.0) -> Float[Array, ""]:
        """With kinks where z is the mean."""
        mean = chance @ seen
        short = ramp(mean - seen, smoothing)
        if self.order == 1:
            return mean - self.risk * (chance @ short)
        floor = jnp.asarray(smoothing, seen.dtype) ** 2 + jnp.finfo(seen.dtype).tiny
        return mean - self.risk * jnp.sqrt(chance @ short**2 + floor)


class LowerPartialMoment(Risk):
    """The mean less γ times the moment of what falls short of a target: E z - γ E (t - z)₊^m.

    Source: Fishburn 1977; for equilibria *Downside Risk-Aware Equilibria*, arXiv 2510.03446.

    Attributes:
        risk: γ ≥ 0, unit payoff^(1 - m), one number or one a player.
        target: t, in units of payoffs, one number or one a player.
        order: m, 2 or more: with 1 slopes jump at the target.
    """

    risk: PerPlayer = 0.1
    target: PerPlayer = 0.0
    order: int = struct.field(default=2, pytree_node=False)

    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        "risk": (0.0, math.inf),
        "order": (2, 9),
        "target": (-1e30, 1e30),
    }

    def of(self, seen: Float[Array, " O"], chance: Float[Array, " O"], smoothing: Any = 0.0) -> Float[Array, ""]:
        """With a kink in a derivative at the target."""
        return chance @ seen - self.risk * (chance @ jnp.maximum(self.target - seen, 0.0) ** self.order)


def exact(smoothing: Any) -> bool:
    """Whether nothing is to be smoothed: the number 0.0 itself, which is known when a program is traced."""
    return isinstance(smoothing, float) and smoothing == 0.0


def ramp(x: Float[Array, ...], smoothing: Any) -> Float[Array, ...]:
    """(x)₊, or softplus of the width `smoothing`."""
    if exact(smoothing):
        return jnp.maximum(x, 0.0)
    width = jnp.asarray(smoothing, x.dtype)
    return width * jax.nn.softplus(x / width)
