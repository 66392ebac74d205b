"""Random games, of several families."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from equilibria.game import NormalForm

__all__ = ["FAMILIES", "random_games"]

Payoffs = Float[Array, "n ..."]


def _gaussian(key: Key[Array, ""], players: int, actions: int) -> Payoffs:
    """Independent standard normal payoffs."""
    return _normal(key, (players, *(actions,) * players))


def _normal(key: Key[Array, ""], shape: tuple[int, ...]) -> Payoffs:
    """Normal numbers."""
    return _rounded(jax.random.normal(key, shape))


def _rounded(numbers: Payoffs) -> Payoffs:
    """To so few digits that sums of numbers up to 128 are exact, in whatever order."""
    unit = 2.0 ** (7 - jnp.finfo(numbers.dtype).nmant)
    return jnp.round(numbers / unit) * unit


def _zero_sum(key: Key[Array, ""], players: int, actions: int) -> Payoffs:
    """Normal payoffs less their mean over players."""
    drawn = _gaussian(key, players, actions)
    table = _rounded(drawn - drawn.mean(axis=0, keepdims=True))
    return table.at[0].add(-table.sum(axis=0))  # what rounding the means has left


def _identical(key: Key[Array, ""], players: int, actions: int) -> Payoffs:
    """The same normal payoff for everybody."""
    drawn = _normal(key, (actions,) * players)
    return jnp.broadcast_to(drawn, (players, *drawn.shape))


def _potential(key: Key[Array, ""], players: int, actions: int) -> Payoffs:
    """A normal potential, and for each player a normal term that depends on the others alone."""
    common, dummy = jax.random.split(key)
    terms = []
    for player, own in enumerate(jax.random.split(dummy, players)):
        shape = tuple(1 if k == player else actions for k in range(players))
        terms.append(jnp.broadcast_to(_normal(own, shape), (actions,) * players))
    return _identical(common, players, actions) + jnp.stack(terms)


def _covariant(key: Key[Array, ""], players: int, actions: int, correlation: float = 0.5) -> Payoffs:
    """Normal payoffs that correlate over players by 0.5 (as GAMUT's covariant games)."""
    common, own = jax.random.split(key)
    shared, drawn = _identical(common, players, actions), _gaussian(own, players, actions)
    return jnp.sqrt(correlation) * shared + jnp.sqrt(1 - correlation) * drawn


def _symmetric(key: Key[Array, ""], players: int, actions: int) -> Payoffs:
    """Normal payoffs that depend on the own action and on how many of the others take each."""
    table = _normal(key, (actions, *(actions,) * (players - 1)))
    total, orders = jnp.zeros_like(table), _orders(players - 1)
    for order in orders:
        total = total + table.transpose([0, *(1 + k for k in order)])
    own = total / jnp.sqrt(jnp.asarray(len(orders), total.dtype))
    return jnp.stack([jnp.moveaxis(own, 0, player) for player in range(players)])


def _orders(size: int) -> list[list[int]]:
    """All permutations of 0, ..., size - 1."""
    if size == 0:
        return [[]]
    return [[*left[:k], size - 1, *left[k:]] for left in _orders(size - 1) for k in range(size)]


FAMILIES: dict[str, Callable[[Key[Array, ""], int, int], Payoffs]] = {
    "gaussian": _gaussian,
    "zero_sum": _zero_sum,
    "identical": _identical,
    "potential": _potential,
    "covariant": _covariant,
    "symmetric": _symmetric,
}
"""Name → (key, players n, actions A) → payoffs `[n, A, ..., A]`."""


def random_games(family: str, key: Key[Array, ""], games: int, players: int = 2, actions: int = 2) -> NormalForm:
    """A batch of random games: a `NormalForm` whose leaves have a leading axis `games`; consumes `key`.

    Raises:
        ValueError: unknown family.
    """
    if family not in FAMILIES:
        raise ValueError(f"family = {family!r}: expected one of {', '.join(FAMILIES)}")
    payoffs = jax.vmap(lambda own: FAMILIES[family](own, players, actions))(jax.random.split(key, games))
    return NormalForm(payoffs, jnp.ones((games, players, actions), bool))
