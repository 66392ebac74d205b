"""Quantal response: better actions are played more often, not always."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Key

from equilibria.files import load
from equilibria.game import NormalForm
from equilibria.path import Barrier, follow, link, start
from equilibria.responses import Perceived, perceive
from equilibria.risk import Neutral, PerPlayer, Risk
from equilibria.solution import Solution, certified
from equilibria.solver import Solver

__all__ = ["Fit", "LogitQuantal", "RiskAverseQuantal", "fit"]


class LogitQuantal(Solver):
    """The logit quantal response equilibrium on the path from uniform play: p ∝ exp(λ expected payoff).

    Its regret is that in expected payoff less the Shannon entropy of the own play over λ, negated.

    Source: McKelvey and Palfrey 1995, Games and Economic Behavior 10.

    Attributes:
        precision: λ ≥ 0, unit 1 / payoff, one number or one a player.
        tolerance: of regret, as a share of the largest difference of payoffs.
        steps: at most.
    """

    precision: PerPlayer = 1.0
    tolerance: float = 1e-8
    steps: int = struct.field(default=2000, pytree_node=False)

    how: ClassVar[str] = "the logit path"
    starts_anywhere: ClassVar[bool] = False
    ranges: ClassVar[dict[str, tuple[float, float]]] = Solver.ranges | {"precision": (0.0, math.inf)}

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """The equilibrium at λ; `key` is not used."""
        return _respond(perceive(game, Neutral()), self.precision, "entropy", self.tolerance, self.steps)


class RiskAverseQuantal(Solver):
    """The risk-averse quantal response equilibrium: everybody maximises a measure of risk less ε ν(own play).

    Source: Mazumdar, Panaganti and Shi 2024, arXiv 2406.14156.

    Attributes:
        measure: of risk; entropic by default, the paper's penalty KL.
        temperature: ε > 0, one number or one a player.
        barrier: ν: negative Shannon "entropy", or "log", the barrier -Σ log p.
        tolerance: of regret, as a share of the largest difference of payoffs.
        steps: at most.
    """

    measure: Risk
    temperature: PerPlayer = 0.1
    barrier: Literal["entropy", "log"] = struct.field(default="entropy", pytree_node=False)
    tolerance: float = 1e-8
    steps: int = struct.field(default=2000, pytree_node=False)

    how: ClassVar[str] = "the path from uniform play"
    starts_anywhere: ClassVar[bool] = False
    ranges: ClassVar[dict[str, tuple[float, float]]] = Solver.ranges | {"temperature": (1e-30, math.inf)}

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """The equilibrium to which the path from uniform play leads as ε falls; `key` is not used."""
        rate = 1.0 / jnp.asarray(self.temperature, game.dtype)
        return _respond(perceive(game, self.measure), rate, self.barrier, self.tolerance, self.steps)


def _respond(seen: Perceived, rate: Any, barrier: Barrier, tolerance: Any, steps: int) -> Solution:
    """Along the path on which all precisions rise together, up to `rate`."""
    game, dtype = seen.game, seen.outcomes.dtype
    scale, prior = game.scale(), game.uniform()
    smoothing = jnp.sqrt(jnp.finfo(dtype).eps) * scale if seen.risk.kinked else 0.0
    rate = jnp.broadcast_to(jnp.asarray(rate, dtype), prior.shape[:1])
    largest = jnp.maximum(rate.max(), jnp.finfo(dtype).tiny)
    share = (rate / largest)[:, None]
    push = lambda play, t: t * share * seen.slope(play, smoothing) / scale  # noqa: E731
    point = follow(push, prior, game.mask, start(prior, game.mask), largest * scale, barrier, steps)
    profile = point.play(game.mask)
    pull = link(point.logits, game.mask, barrier)
    slopes = rate[:, None] * seen.slope(profile, smoothing) - pull
    bound = seen.ahead(profile, jnp.where(game.mask, slopes, 0.0)) / jnp.maximum(rate, jnp.finfo(dtype).tiny)
    bound = jnp.where(point.reached(largest * scale), bound, jnp.inf)  # not there yet
    return certified(game, profile, bound, tolerance, point.steps)


class Fit(NamedTuple):
    """The precision under which observed play is most likely.

    Attributes:
        precision: λ.
        profile: `[n, A]`, the equilibrium there.
        log_likelihood: of what was observed.
    """

    precision: float
    profile: np.ndarray
    log_likelihood: float


def fit(game: Any, observed: Any, highest: float = 1e3, points: int = 200) -> Fit:
    """The logit equilibrium under which `observed` play is most likely, in double precision.

    Args:
        game: as `load` takes it.
        observed: `[n, A]`, how often each action was played.
        highest: λ at most, in units of 1 over the largest difference of payoffs.
        points: of the path that are compared, before the best one is refined.

    Raises:
        ValueError: `observed` has another shape, or counts below 0.
    """
    with jax.enable_x64(True):
        return _fit(load(game), observed, highest, points)


def _fit(game: NormalForm, observed: Any, highest: float, points: int) -> Fit:
    from scipy.optimize import minimize_scalar

    counts = np.asarray(observed, float)
    if counts.shape != game.mask.shape or not (counts >= 0).all():
        raise ValueError(f"observed of shape {counts.shape}: expected counts [n, A] = {game.mask.shape}")
    scale = float(game.scale())

    @jax.jit
    @jax.vmap
    def profiles(precision: Float[Array, ""]) -> Array:
        return LogitQuantal(precision).solve(game).profile

    def likelihood(precision: Any) -> np.ndarray:
        play = np.asarray(profiles(jnp.atleast_1d(jnp.asarray(precision, game.dtype))))
        return (np.where(counts > 0, counts, 0.0) * np.log(np.where(counts > 0, play, 1.0))).sum(axis=(1, 2))

    grid = np.concatenate([[0.0], np.geomspace(1e-3, highest, points)]) / scale
    place = int(np.argmax(likelihood(grid)))
    bounds = grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)]
    best = minimize_scalar(lambda own: -likelihood(own)[0], bounds=bounds, method="bounded", options={"xatol": 1e-9})
    precision = jnp.asarray(best.x, game.dtype)
    return Fit(float(best.x), np.asarray(LogitQuantal(precision).solve(game).profile), float(-best.fun))
