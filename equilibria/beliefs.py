"""Measures of risk that are means under a belief other than the true one: the least over beliefs, at a price."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from equilibria.risk import LOG2, ConditionalValueAtRisk, PerPlayer, Risk, exact, ramp

__all__ = ["Entropic", "ReverseEntropic", "Robust", "TotalVariation", "WorstCase"]


class Entropic(Risk):
    """The entropic risk measure: -log E exp(-τ z) / τ, in the limit τ = 0 the mean.

    Its dual: the least mean under any belief, less its relative entropy to the true one over τ.

    Source: Föllmer and Schied 2002; for equilibria Mazumdar et al. 2024, arXiv 2406.14156.

    Attributes:
        risk: τ ≥ 0, unit 1 / payoff, one number or one a player.
    """

    risk: PerPlayer = 0.1

    def of(self, seen: Float[Array, " O"], chance: Float[Array, " O"], smoothing: Any = 0.0) -> Float[Array, ""]:
        """-log Σ p exp(-τ z) / τ, by way of its series for small τ z."""
        bent = lambda gap, rate: -jax.nn.logsumexp(-rate * gap, b=chance) / rate  # noqa: E731
        return _or_series(seen, chance, self.risk, bent, 1 / 6)


class ReverseEntropic(Risk):
    """The least over beliefs p of the mean plus KL(q | p) / τ, where q is the true one; in the limit τ = 0 the mean.

    By its dual: max over ν of 1 / τ + E log(τ (z + ν)) / τ - ν.

    Source: Mazumdar et al. 2024, arXiv 2406.14156 (penalty: reverse KL).

    Attributes:
        risk: τ ≥ 0, unit 1 / payoff, one number or one a player.
    """

    risk: PerPlayer = 0.1

    def of(self, seen: Float[Array, " O"], chance: Float[Array, " O"], smoothing: Any = 0.0) -> Float[Array, ""]:
        """ν by bisection: above minus the least payoff, by 1 / τ at most."""
        some = chance > 0

        def bent(gap: Array, rate: Array) -> Array:
            low = jax.lax.stop_gradient(gap.min())
            mass = lambda over, gap: (  # noqa: E731
                jnp.where(some, chance, 0.0) / (rate * jnp.where(some, gap - low + over, 1.0))
            ).sum()
            still = jax.lax.stop_gradient(gap)

            def halve(bounds: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
                least, most = bounds
                middle = (least + most) / 2
                light = mass(middle, still) < 1
                return (jnp.where(light, least, middle), jnp.where(light, middle, most)), None

            bounds = jnp.zeros_like(low), 1.0 / jax.lax.stop_gradient(rate)
            (_, over), _ = jax.lax.scan(halve, bounds, None, 60)
            over = jax.lax.stop_gradient(over)
            steep = jax.lax.stop_gradient(jax.grad(mass)(over, still))
            now = mass(over, gap)
            over = over - (now - jax.lax.stop_gradient(now)) / jnp.minimum(steep, -1e-30)  # its derivative, implicitly
            logs = jnp.log(jnp.where(some, rate * (gap - low + over), 1.0))
            return 1.0 / rate + chance @ logs / rate - over + low

        return _or_series(seen, chance, self.risk, bent, 1 / 3)


class TotalVariation(Risk):
    """The least over beliefs p of the mean plus TV(p, q) / τ: nothing counts for more than the worst case plus 1 / τ.

    Source: Mazumdar et al. 2024, arXiv 2406.14156 (penalty: total variation).

    Attributes:
        risk: τ > 0, unit 1 / payoff, one number or one a player.
    """

    risk: PerPlayer = 0.1

    kinked: ClassVar[bool] = True
    ranges: ClassVar[dict[str, tuple[float, float]]] = {"risk": (1e-9, math.inf)}

    def error(self, smoothing: Any, others: int) -> Any:
        """Those of the least payoff, and of the cap."""
        return LOG2 * smoothing + WorstCase().error(smoothing, others)

    def of(self, seen: Float[Array, " O"], chance: Float[Array, " O"], smoothing: Any = 0.0) -> Float[Array, ""]:
        """E min(z, min z + 1 / τ)."""
        cap = WorstCase().of(seen, chance, smoothing) + 1.0 / jnp.maximum(jnp.asarray(self.risk, seen.dtype), 1e-30)
        return chance @ (seen - ramp(seen - cap, smoothing))


class WorstCase(Risk):
    """The least payoff that any joint action of the others, likely or not, may leave."""

    kinked: ClassVar[bool] = True

    def error(self, smoothing: Any, others: int) -> Any:
        """Log O widths."""
        return smoothing * math.log(others)

    def of(self, seen: Float[Array, " O"], chance: Float[Array, " O"], smoothing: Any = 0.0) -> Float[Array, ""]:
        """The minimum, or its softened form."""
        if exact(smoothing):
            return seen.min()
        width = jnp.asarray(smoothing, seen.dtype)
        return -width * jax.nn.logsumexp(-seen / width)


class Robust(Risk):
    """The least mean under any belief that moves at most ε of the probability: total variation within ε.

    ε = 0 is the mean, ε = 1 the worst case.

    Source: strategically robust equilibria with the discrete cost of transport, Lanzetti et al. 2025.

    Attributes:
        radius: ε in [0, 1], one number or one a player.
    """

    radius: PerPlayer = 0.1

    kinked: ClassVar[bool] = True
    ranges: ClassVar[dict[str, tuple[float, float]]] = {"radius": (0.0, 1.0)}

    def error(self, smoothing: Any, others: int) -> Any:
        """Those of the two parts."""
        return LOG2 * smoothing + WorstCase().error(smoothing, others) * self.radius

    def of(self, seen: Float[Array, " O"], chance: Float[Array, " O"], smoothing: Any = 0.0) -> Float[Array, ""]:
        """(1 - ε) times the mean of the worst share 1 - ε, and ε times the worst case."""
        kept = jnp.clip(1.0 - jnp.asarray(self.radius, seen.dtype), 1e-9, 1.0)
        tail = ConditionalValueAtRisk(kept).of(seen, chance, smoothing)
        return kept * tail + (1.0 - kept) * WorstCase().of(seen, chance, smoothing)


def _or_series(seen: Array, chance: Array, rate: Any, bent: Callable[[Array, Array], Array], third: float) -> Array:
    """The mean plus `bent` (deviations from it, τ), or, where τ times them is small, -τ/2 Var + `third` τ² E dev³."""
    rate = jnp.asarray(rate, seen.dtype)
    mean = chance @ seen
    gap = seen - mean
    small = rate * jnp.abs(gap).max() < 1e-4
    series = -rate / 2 * (chance @ gap**2) + third * rate**2 * (chance @ gap**3)
    far = bent(jnp.where(small, 0.0, gap), jnp.where(small, 1.0, rate))
    return mean + jnp.where(small, series, far)
