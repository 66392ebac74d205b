"""The path of logit equilibria, from uniform play towards an equilibrium of a game.

Everybody plays p with φ(p) = φ(prior) + push(p, t) + constant: φ = log is the logit response of McKelvey and Palfrey
1995, φ = -1 / p that of players whom a logarithmic barrier keeps inside. With a push of t times the slope of utilities
the path leads from t = 0 to an equilibrium as t → ∞, in almost every game. It is followed by predictor and corrector in
(log p, t), folds included.

Source: Turocy 2005, "A dynamic homotopy interpretation of the logistic quantal response equilibrium correspondence".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from equilibria.numerics import centred, linear_solve

__all__ = ["Barrier", "Point", "follow", "link", "start"]

Barrier = Literal["entropy", "log"]
CORRECTIONS = 4


class Point(NamedTuple):
    """Where a path has come to.

    Attributes:
        logits: `[n, A]`, log p but for a constant a player.
        t: how far along.
        tangent: `[n A + 1]`, the direction.
        length: of the next step.
        steps: so far.
        lost: whether it could not go on.
    """

    logits: Float[Array, "n A"]
    t: Float[Array, ""]
    tangent: Float[Array, " N1"]
    length: Float[Array, ""]
    steps: Int[Array, ""]
    lost: Bool[Array, ""]

    def play(self, mask: Bool[Array, "n A"]) -> Float[Array, "n A"]:
        """Mixed strategies."""
        return _softmax(self.logits, mask)

    def reached(self, target: Any) -> Bool[Array, ""]:
        """Whether it has come to `target`, but for rounding."""
        return self.t >= target * (1 - 8 * jnp.finfo(self.t.dtype).eps)


def start(prior: Float[Array, "n A"], mask: Bool[Array, "n A"], length: float = 0.1) -> Point:
    """The path's beginning, at `prior`, which has probabilities above 0."""
    logits = centred(jnp.log(jnp.where(mask, prior, 1.0)), mask)
    tangent = jnp.zeros(mask.size + 1, prior.dtype).at[-1].set(1.0)
    zero = jnp.zeros((), prior.dtype)
    return Point(logits, zero, tangent, zero + length, jnp.zeros((), jnp.int32), jnp.zeros((), bool))


def follow(
    push: Callable[[Array, Array], Float[Array, "n A"]],
    prior: Float[Array, "n A"],
    mask: Bool[Array, "n A"],
    point: Point,
    target: Any,
    barrier: Barrier = "entropy",
    steps: int = 1000,
) -> Point:
    """The path up to `t = target`, or to where it is lost.

    Args:
        push: (play `[n, A]`, t) → what play responds to, in units of its temperature.
        prior: `[n, A]`, where the path began.
        mask: `[n, A]`, which actions exist.
        point: where to go on from.
        target: t at the end.
        barrier: what keeps play inside.
        steps: at most, from the path's beginning on.
    """
    shape = mask.shape
    eps = jnp.finfo(prior.dtype).eps
    slack = eps**0.5  # of log p
    target = jnp.asarray(target, prior.dtype)
    off = _system(push, prior, mask, barrier)

    def bordered(z: Array, row: Array) -> Array:
        return jnp.concatenate([jax.jacfwd(off)(z), row[None]])

    def correct(z: Array, row: Array) -> tuple[Array, Array]:
        """Newton's method in the plane through `z` across `row`; and how far off it ends."""

        def once(carry: Any) -> Any:
            z, error, step = carry
            z = z + linear_solve(bordered(z, row), -jnp.append(error, 0.0))
            return z, off(z), step + 1

        wrong = lambda carry: (jnp.abs(carry[1]).max() > 0.01 * slack) & (carry[2] < CORRECTIONS)  # noqa: E731
        z, error, _ = jax.lax.while_loop(wrong, once, (z, off(z), 0))
        return z, jnp.abs(error).max()

    end = jnp.zeros(mask.size + 1, prior.dtype).at[-1].set(1.0)

    def advance(point: Point) -> Point:
        z = jnp.append(point.logits.ravel(), point.t)
        tangent = linear_solve(bordered(z, point.tangent), end)
        tangent = tangent / jnp.linalg.norm(tangent)
        over = z[-1] + point.length * tangent[-1] >= target  # end on the target itself
        length = jnp.where(over, (target - z[-1]) / tangent[-1], point.length)
        ahead = z + length * tangent
        found, error = correct(ahead, jnp.where(over, end, tangent))
        play = lambda z: _softmax(z[:-1].reshape(shape), mask)  # noqa: E731
        jump = jnp.abs(play(found) - play(ahead)).max()
        good = (error <= slack) & (jump < 0.05) & (found[-1] > -1e-3)
        good &= jnp.isfinite(found).all()
        kept = jnp.where(good, found, z)
        grown = jnp.where(good, jnp.where(jump < 0.01, length * 2.0, length * 1.2), length / 3.0)
        lost = ~jnp.isfinite(tangent).all() | (grown < 1e3 * eps * (1 + jnp.abs(z).max()))
        return Point(
            kept[:-1].reshape(shape),
            kept[-1],
            jnp.where(good, tangent, point.tangent),
            jnp.where(over & good, point.length, grown),
            point.steps + 1,
            lost,
        )

    return jax.lax.while_loop(lambda p: ~p.reached(target) & (p.steps < steps) & ~p.lost, advance, point)


def _system(
    push: Callable[[Array, Array], Array], prior: Array, mask: Array, barrier: Barrier
) -> Callable[[Array], Array]:
    """(logits, t), flat, → what is 0 on the path, `[n A]`."""
    origin = link(jnp.log(jnp.where(mask, prior, 1.0)), mask, barrier)

    def off(z: Array) -> Array:
        logits, t = z[:-1].reshape(mask.shape), z[-1]
        pushed = link(logits, mask, barrier) - origin - push(_softmax(logits, mask), t)
        gauge = logits.mean(axis=1, keepdims=True, where=mask)
        return jnp.where(mask, centred(pushed, mask) + gauge, logits).ravel()

    return off


def _softmax(logits: Array, mask: Array) -> Array:
    return jax.nn.softmax(jnp.where(mask, logits, -jnp.inf), axis=1)


def link(logits: Float[Array, "n A"], mask: Bool[Array, "n A"], barrier: Barrier) -> Float[Array, "n A"]:
    """φ of play; 0 where there is no action."""
    logs = jax.nn.log_softmax(jnp.where(mask, logits, -jnp.inf), axis=1)
    logs = jnp.where(mask, logs, 0.0)
    return logs if barrier == "entropy" else jnp.where(mask, -jnp.exp(-logs), 0.0)
