"""Linear systems and the simplex, in loops that run side by side for many games."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

__all__ = ["centred", "linear_solve", "project"]


def linear_solve(matrix: Float[Array, "N N"], right: Float[Array, " N"]) -> Float[Array, " N"]:
    """The solution of `matrix @ x = right`, by Gauss-Jordan elimination with pivoting; not finite if there is none.

    Unlike LAPACK's it is one program for any number of systems side by side.
    """
    size = right.shape[0]
    rows = jnp.arange(size)

    def eliminate(column: Any, table: Array) -> Array:
        sizes = jnp.where(rows >= column, jnp.abs(table[:, column]), -1.0)
        pivot = jnp.argmax(sizes)
        top, chosen = table[column], table[pivot]
        table = table.at[pivot].set(top)
        chosen = chosen / chosen[column]
        factors = jnp.where(rows == column, 0.0, table[:, column])
        return (table - factors[:, None] * chosen[None]).at[column].set(chosen)

    table = jnp.concatenate([matrix, right[:, None]], axis=1)
    return jax.lax.fori_loop(0, size, eliminate, table)[:, -1]


def centred(values: Float[Array, "n A"], mask: Bool[Array, "n A"]) -> Float[Array, "n A"]:
    """Less the mean over each player's actions; 0 where there is no action."""
    return jnp.where(mask, values - values.mean(axis=1, keepdims=True, where=mask), 0.0)


def project(points: Float[Array, "n A"], mask: Bool[Array, "n A"], least: Any = 0.0) -> Float[Array, "n A"]:
    """The nearest profile in which every action that exists has a probability of `least` or more.

    Args:
        points: `[n, A]`.
        mask: `[n, A]`.
        least: of each player, `[n]`, or one number; at most 1 / A.

    Source: the sort-based projection, e.g. Duchi et al. 2008.
    """
    dtype = points.dtype
    least = jnp.broadcast_to(jnp.asarray(least, dtype), points.shape[:1])[:, None]
    rest = 1.0 - least * mask.sum(axis=1, keepdims=True, dtype=dtype)
    moved = jnp.where(mask, points - least, -jnp.inf)
    ordered = -jnp.sort(-moved, axis=1)
    counts = jnp.arange(1, points.shape[1] + 1, dtype=dtype)
    levels = (jnp.cumsum(jnp.where(jnp.isfinite(ordered), ordered, 0.0), axis=1) - rest) / counts[None]
    inside = jnp.isfinite(ordered) & (ordered > levels)
    last = jnp.maximum(inside.sum(axis=1, keepdims=True) - 1, 0)
    level = jnp.take_along_axis(levels, last, axis=1)
    return jnp.where(mask, jnp.maximum(moved - level, 0.0) + least, 0.0)
