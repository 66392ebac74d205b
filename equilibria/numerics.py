"""Linear systems and the simplex, in loops that run side by side for many games."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

__all__ = ["centred", "in_lanes", "linear_solve", "project"]

LANES = 8


def in_lanes(function: Callable[..., Any], batch: Any) -> Any:
    """`function` of every member of `batch`, a few at a time, so that nobody waits for the slowest of all.

    Args:
        function: of one member; it may hold loops of any length.
        batch: PyTree whose leaves have a leading axis.

    Returns:
        What `function` returns, with a leading axis.
    """
    count = jax.tree.leaves(batch)[0].shape[0]
    if count <= LANES:
        return jax.vmap(function)(batch)
    rows = -(-count // LANES)
    fill = lambda leaf: leaf[jnp.minimum(jnp.arange(rows * LANES), count - 1)]  # noqa: E731
    fold = lambda leaf: leaf.reshape(rows, LANES, *leaf.shape[1:])  # noqa: E731
    found = jax.lax.map(jax.vmap(function), jax.tree.map(lambda leaf: fold(fill(leaf)), batch))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], found)


@jax.custom_batching.custom_vmap
def linear_solve(matrix: Float[Array, "N N"], right: Float[Array, " N"]) -> Float[Array, " N"]:
    """The solution of `matrix @ x = right`; not finite if there is none.

    One system is LAPACK's to solve; many side by side are solved by Gauss-Jordan elimination with pivoting, one program
    for all of them.
    """
    return jnp.linalg.solve(matrix, right)


@linear_solve.def_vmap
def _side_by_side(_: int, batched: list[bool], matrix: Array, right: Array) -> tuple[Array, bool]:
    axes = tuple(0 if own else None for own in batched)
    return jax.vmap(_eliminate, axes)(matrix, right), True


def _eliminate(matrix: Float[Array, "N N"], right: Float[Array, " N"]) -> Float[Array, " N"]:
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
