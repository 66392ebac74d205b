"""Lemke and Howson's path of complementary pivots, for one game or for many side by side."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from equilibria.game import NormalForm
from equilibria.solution import Solution, certified
from equilibria.solver import Solver

__all__ = ["LemkeHowson"]


class LemkeHowson(Solver):
    """A Nash equilibrium of a two-player game, at the end of the path that drops one label.

    Labels are the actions of the first player, then those of the second. Ties are broken lexicographically, so that
    degenerate games do not cycle.

    Source: Lemke and Howson 1964, SIAM J. 12; tableaus as in Codenotti, De Rossi and Pagan 2008, arXiv 0811.3247.

    Attributes:
        label: the one that is dropped, counted from 0 round the actions that exist; with a key a random one.
        tolerance: of regret, as a share of the largest difference of payoffs.
        steps: pivots at most.
    """

    label: int = struct.field(default=0, pytree_node=False)
    tolerance: float = 1e-8
    steps: int = struct.field(default=10_000, pytree_node=False)

    how: ClassVar[str] = "complementary pivots"
    players: ClassVar[int | None] = 2

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """The equilibrium at the end of the path; consumes `key`."""
        return self._from(game, self.label if key is None else jax.random.randint(key, (), 0, game.mask.sum()))

    def every(self, game: NormalForm) -> list[Solution]:
        """The equilibria at the ends of the paths of all labels: not necessarily all there are."""
        labels = jnp.arange(sum(game.sizes))
        found = jax.jit(jax.vmap(self._from, (None, 0)))(game, labels)
        return [jax.tree.map(lambda leaf, k=k: leaf[k], found) for k in range(len(labels))]

    def _from(self, game: NormalForm, label: Any) -> Solution:
        size = game.num_actions
        exists = game.mask.ravel()
        dropped = jnp.argmax(jnp.cumsum(exists) > label % exists.sum())
        tableaus, basis = _tableaus(game)

        def pivot(carry: Any) -> Any:
            tableaus, basis, entering, side, _, count = carry
            table, rows = tableaus[side], basis[side]
            column = table[:, entering]
            chosen, bounded = _leaving(table, column)
            leaving = rows[chosen]
            pivoted = table[chosen] / column[chosen]
            table = (table - column[:, None] * pivoted[None]).at[chosen].set(pivoted)
            after = tableaus.at[side].set(jnp.where(bounded, table, tableaus[side]))
            basis = basis.at[side, chosen].set(entering)
            return after, basis, leaving, 1 - side, (leaving == dropped) | ~bounded, count + 1

        side = jnp.where(dropped < size, 0, 1)
        carry = tableaus, basis, dropped, side, jnp.zeros((), bool), jnp.zeros((), jnp.int32)
        tableaus, basis, *_, count = jax.lax.while_loop(lambda c: ~c[4] & (c[5] < self.steps), pivot, carry)
        held = jnp.zeros((2, 2 * size + 1), tableaus.dtype)
        held = jax.vmap(lambda own, rows, value: own.at[rows].add(value))(held, basis, tableaus[:, :, -1])
        weights = jnp.stack([held[0, :size], held[1, size : 2 * size]])
        weights = jnp.where(game.mask, jnp.maximum(weights, 0.0), 0.0)
        profile = weights / weights.sum(axis=1, keepdims=True)
        return certified(game, profile, game.regret(profile), self.tolerance, count)


def _tableaus(game: NormalForm) -> tuple[Float[Array, "2 A L"], Int[Array, "2 A"]]:
    """What {x ≥ 0, B'x ≤ 1} and {y ≥ 0, Ay ≤ 1} look like at 0: columns are labels, then the right side."""
    size, mask = game.num_actions, game.mask
    positive = (game.payoffs - game.payoffs.min()) / game.scale() + 1.0
    positive = jnp.where(game.legal()[None], positive, 0.0)
    one, identity = jnp.ones((size, 1), positive.dtype), jnp.eye(size, dtype=positive.dtype)
    first = jnp.concatenate([positive[1].T, identity, one], axis=1)
    second = jnp.concatenate([identity, positive[0], one], axis=1)
    missing = jnp.full(size, 2 * size)  # rows of actions that do not exist are nobody's
    basis = jnp.stack(
        [jnp.where(mask[1], size + jnp.arange(size), missing), jnp.where(mask[0], jnp.arange(size), missing)]
    )
    return jnp.stack([first, second]), basis


def _leaving(table: Float[Array, "A L"], column: Float[Array, " A"]) -> tuple[Array, Array]:
    """The row that leaves, by the lexicographic least of rows over their pivot; and whether there is one."""
    slack = 1e3 * jnp.finfo(table.dtype).eps
    able = column > slack
    ratios = jnp.where(able[:, None], table / jnp.where(able, column, 1.0)[:, None], jnp.inf)
    labels = table.shape[1] - 1

    def narrow(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        left, place = carry
        values = jnp.where(left, ratios[:, place - 1], jnp.inf)  # the right side, then one label after another
        least = values.min()
        return left & (values <= least + slack * (1 + jnp.abs(least))), place + 1

    tied = lambda carry: (carry[0].sum() > 1) & (carry[1] <= labels)  # noqa: E731
    left, _ = jax.lax.while_loop(tied, narrow, (able, jnp.zeros((), jnp.int32)))
    return jnp.argmax(left), able.any()
