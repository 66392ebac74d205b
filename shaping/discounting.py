"""Discounted sums along a Markov chain, the linear systems behind every exact value."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

__all__ = ["discounted_sum", "gauss_jordan"]

INVERTED = 32  # states from which one inverse is cheaper than an elimination for every derivative
ITERATED = 100  # states from which iterating is cheaper than that
MOST_ITERATIONS, MOST_SWEEPS = 100, 50


def discounted_sum(
    chain: Float[Array, "S S"], rewards: Float[Array, "S K"], discount: Float[Array, ""] | float
) -> Float[Array, "S K"]:
    """Discounted sums (I - γP)⁻¹ R, `[S, K]`, of `rewards` along `chain`, differentiable any number of times.

    I - γP is strictly diagonally dominant, so Gauss–Jordan elimination needs no pivoting: a scan of S fused
    rank-one updates, which is faster than a batched LAPACK call for such small systems. Derivatives solve a system
    each, they do not differentiate the elimination; larger systems are inverted once for all of them, and those of
    hundreds of states iterated.
    """
    size = chain.shape[0]
    identity = jnp.eye(size, dtype=chain.dtype)
    system = identity - discount * chain

    def multiply(x: Array) -> Array:
        return x - discount * (chain @ x)

    if size >= ITERATED:
        solve, transposed = partial(_iterate, system), partial(_iterate, system.T)
    elif size >= INVERTED:
        inverse = jax.lax.stop_gradient(gauss_jordan(system, identity)[0])
        solve, transposed = lambda _, b: inverse @ b, lambda _, b: inverse.T @ b
    else:
        solve, transposed = lambda _, b: gauss_jordan(system, b)[0], lambda _, b: gauss_jordan(system.T, b)[0]
    return jax.lax.custom_linear_solve(multiply, rewards, solve=solve, transpose_solve=transposed)


Iterate = tuple[Array, Array, Int[Array, ""]]  # solution so far, residual, count


def _iterate(system: Float[Array, "S S"], multiply: Callable[[Array], Array], right: Array) -> Array:
    """The solution of `multiply`(x) = `right`, `multiply` being the product with `system`.

    The biconjugate gradient method finds nearly every one in a hundredth of the time of an elimination. What it finds
    is improved by x ← x + (right - system x), which contracts; if that is not enough, the system is eliminated.
    """
    epsilon = float(jnp.finfo(right.dtype).eps)
    found = jax.scipy.sparse.linalg.bicgstab(multiply, right, tol=epsilon, maxiter=MOST_ITERATIONS)[0]
    guess = jnp.where(jnp.isfinite(found).all(), found, 0.0)

    def far(carry: Iterate) -> Array:
        x, residual, _ = carry
        return jnp.abs(residual).max() > 8 * epsilon * jnp.abs(x).max()

    def improve(carry: Iterate) -> Iterate:
        x, residual, count = carry
        return x + residual, right - multiply(x + residual), count + 1

    def eliminate(carry: Iterate) -> Iterate:
        x, _ = gauss_jordan(system, right)
        return x, jnp.zeros_like(x), carry[2] + 1

    start = guess, right - multiply(guess), jnp.int32(0)
    x, residual, _ = jax.lax.while_loop(lambda c: far(c) & (c[2] < MOST_SWEEPS), improve, start)
    return jax.lax.while_loop(lambda c: far(c) & (c[2] < 1), eliminate, (x, residual, jnp.int32(0)))[0]


def gauss_jordan(
    matrix: Float[Array, "S S"], right: Float[Array, "S K"]
) -> tuple[Float[Array, "S K"], Float[Array, " S"]]:
    """The solution of `matrix` x = `right`, by elimination without pivoting, and the pivots.

    For matrices that need none: diagonally dominant, or symmetric and positive definite.
    """
    size = matrix.shape[0]

    def eliminate(table: Array, index: Array) -> tuple[Array, Array]:
        row = jax.lax.dynamic_slice_in_dim(table, index, 1, axis=0)
        pivot = jax.lax.dynamic_slice_in_dim(row, index, 1, axis=1)
        row = row / pivot
        column = jax.lax.dynamic_slice_in_dim(table, index, 1, axis=1)
        return jnp.where((jnp.arange(size) == index)[:, None], row, table - column * row), pivot[0, 0]

    table, pivots = jax.lax.scan(eliminate, jnp.concatenate([matrix, right], axis=1), jnp.arange(size))
    return table[:, size:], pivots
