"""Games in normal form: what everybody gets for every joint action, and what follows from that."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

__all__ = ["NormalForm", "normal_form"]

MAX_PAYOFF = 1e30  # squares and products of a few stay finite in double precision
MAX_ENTRIES = 2**26


class NormalForm(struct.PyTreeNode):
    """An n-player game in normal form.

    Players may have different numbers of actions: all axes are as long as that of the player who has most, and `mask`
    tells which actions there are. Profiles are arrays `[n, A]`, 0 where there is no action; the order of the others, as
    of `outcomes` and `others`, is i + 1, ..., n - 1, 0, ..., i - 1.

    `normal_form` builds one from an array, and checks it. It keeps payoffs in double precision, in NumPy's array; what
    is computed from them has the precision that JAX has, `dtype`.

    Attributes:
        payoffs: `[n, A, ..., A]`, what each player gets for each joint action; 0 where an action does not exist.
        mask: `[n, A]`, which actions exist.
        name: of the game.
        actions: names of each player's actions, or ().
    """

    payoffs: Float[Array, "n ..."]
    mask: Bool[Array, "n A"]
    name: str = struct.field(default="", pytree_node=False)
    actions: tuple[tuple[str, ...], ...] = struct.field(default=(), pytree_node=False)

    @property
    def num_players(self) -> int:
        """Number of players n."""
        return self.mask.shape[-2]

    @property
    def num_actions(self) -> int:
        """Number of actions A of the player who may have most."""
        return self.mask.shape[-1]

    @property
    def dtype(self) -> Any:
        """Of what is computed from the payoffs: single precision, or double where JAX has it."""
        return jnp.result_type(self.payoffs)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many actions each player has; not of a traced game."""
        return tuple(int(size) for size in np.asarray(self.mask).sum(axis=-1))

    def uniform(self) -> Float[Array, "n A"]:
        """The profile of uniform play."""
        mask = jnp.asarray(self.mask, self.dtype)
        return mask / mask.sum(axis=1, keepdims=True)

    def legal(self) -> Bool[Array, ...]:
        """Which joint actions exist, `[A, ..., A]`."""
        return reduce(jnp.logical_and, _axes(self.mask))

    def scale(self) -> Float[Array, ""]:
        """The largest difference of two payoffs of one player; 1 if there is none."""
        largest = self._ranges().max()
        return jnp.where(largest > 0, largest, 1.0)

    def scales(self) -> Float[Array, " n"]:
        """The largest difference of two payoffs of each player; the largest of all for whom it is 0."""
        own = self._ranges()
        return jnp.where(own > 0, own, self.scale())

    def _ranges(self) -> Float[Array, " n"]:
        legal = self.legal()[None]
        high = jnp.where(legal, self.payoffs, -jnp.inf).reshape(self.num_players, -1).max(axis=1)
        low = jnp.where(legal, self.payoffs, jnp.inf).reshape(self.num_players, -1).min(axis=1)
        return high - low

    def outcomes(self) -> Float[Array, "n A O"]:
        """Each player's payoffs by own action and by joint action of the others, O = A^(n - 1).

        Joint actions that do not exist look like one that does, so that they are no worst case.
        """
        n = self.num_players
        turned = jnp.stack([self._turned(self.payoffs[i], i) for i in range(n)]).reshape(n, self.num_actions, -1)
        exists = (
            jnp.stack([self._turned(self.legal(), i) for i in range(n)]).reshape(n, self.num_actions, -1).any(axis=1)
        )
        first = jnp.argmax(exists, axis=1)[:, None, None]
        return jnp.where(exists[:, None, :], turned, jnp.take_along_axis(turned, first, axis=2))

    def _turned(self, table: Any, player: int) -> Any:
        """A table `[A, ..., A]` with the axis of `player` first, then i + 1, ..., n - 1, 0, ..., i - 1."""
        return table.transpose([(player + k) % self.num_players for k in range(self.num_players)])

    def others(self, profile: Float[Array, "n A"]) -> Float[Array, "n O"]:
        """The probability of each joint action of the others, for each player."""

        def one(player: Int[Array, ""]) -> Array:
            rest = jnp.roll(profile, -player, axis=0)[1:]
            return reduce(
                lambda joint, own: (joint[:, None] * own[None]).ravel(), rest, jnp.ones(1, jnp.result_type(rest))
            )

        return jax.vmap(one)(jnp.arange(self.num_players))

    def action_values(self, profile: Float[Array, "n A"]) -> Float[Array, "n A"]:
        """Expected payoff of each pure action while the others keep to `profile`; 0 where there is no action."""
        return jnp.einsum("iao,io->ia", self.outcomes(), self.others(profile))

    def value(self, profile: Float[Array, "n A"]) -> Float[Array, " n"]:
        """Expected payoff of each player."""
        return (profile * self.action_values(profile)).sum(axis=1)

    def welfare(self, profile: Float[Array, "n A"]) -> Float[Array, ""]:
        """The sum of everybody's expected payoffs."""
        return self.value(profile).sum()

    def variance(self, profile: Float[Array, "n A"]) -> Float[Array, " n"]:
        """Variance over the *others'* play of the payoff expected over the own (arXiv 2205.15434)."""
        seen, chance = self.prospects(profile)
        mean = (seen * chance).sum(axis=1, keepdims=True)
        return (chance * (seen - mean) ** 2).sum(axis=1)

    def prospects(self, profile: Float[Array, "n A"]) -> tuple[Float[Array, "n O"], Float[Array, "n O"]]:
        """What each player expects for each joint action of the others, over the own play; and its probability."""
        return jnp.einsum("ia,iao->io", profile, self.outcomes()), self.others(profile)

    def best_responses(self, profile: Float[Array, "n A"]) -> Bool[Array, "n A"]:
        """Which actions of each player do best against `profile`, up to rounding."""
        values = jnp.where(self.mask, self.action_values(profile), -jnp.inf)
        slack = 16 * jnp.finfo(values.dtype).eps * self.scale()
        return self.mask & (values >= values.max(axis=1, keepdims=True) - slack)

    def regret(self, profile: Float[Array, "n A"]) -> Float[Array, " n"]:
        """What each player would gain by the best reply to `profile`, in expected payoff; 0 at a Nash equilibrium."""
        values = self.action_values(profile)
        best = jnp.where(self.mask, values, -jnp.inf).max(axis=1)
        return jnp.maximum(best - (profile * values).sum(axis=1), 0.0)

    def nash_conv(self, profile: Float[Array, "n A"]) -> Float[Array, ""]:
        """The sum of all regrets."""
        return self.regret(profile).sum()

    def exploitability(self, profile: Float[Array, "n A"]) -> Float[Array, ""]:
        """The mean regret, NashConv / n."""
        return self.regret(profile).mean()

    def joint(self, profile: Float[Array, "n A"]) -> Float[Array, ...]:
        """The distribution over joint actions `[A, ..., A]` of independent play."""
        return reduce(jnp.multiply, _axes(profile))

    def joint_value(self, joint: Float[Array, ...]) -> Float[Array, " n"]:
        """Expected payoffs under a distribution over joint actions `[A, ..., A]`."""
        return (self.payoffs * joint[None]).reshape(self.num_players, -1).sum(axis=1)

    def marginals(self, joint: Float[Array, ...]) -> Float[Array, "n A"]:
        """Each player's own play under a distribution over joint actions."""
        n = self.num_players
        return jnp.stack([joint.sum(axis=tuple(k for k in range(n) if k != i)) for i in range(n)])

    def correlated_regret(self, joint: Float[Array, ...]) -> Float[Array, " n"]:
        """What each player gains by the best rule that answers a recommended action with another; 0 at a CE."""
        gains = self._deviations(joint)
        return jnp.where(self.mask[:, None, :], gains, -jnp.inf).max(axis=2).sum(axis=1, where=self.mask)

    def coarse_regret(self, joint: Float[Array, ...]) -> Float[Array, " n"]:
        """What each player gains by the best action in place of all recommended ones; 0 at a CCE."""
        gains = self._deviations(joint).sum(axis=1)
        return jnp.maximum(jnp.where(self.mask, gains, -jnp.inf).max(axis=1), 0.0)

    def _deviations(self, joint: Float[Array, ...]) -> Float[Array, "n A A"]:
        """`[i, a, b]`: what player i gains over all recommendations of a by playing b instead."""
        n, own = self.num_players, self.outcomes()
        turned = jnp.stack([self._turned(joint, i) for i in range(n)]).reshape(n, self.num_actions, -1)
        moved = jnp.einsum("iao,ibo->iab", turned, own)
        return moved - jnp.einsum("iao,iao->ia", turned, own)[:, :, None]


def _axes(rows: Any) -> list[Any]:
    """Rows `[n, A]`, each along an axis of its own of `[A, ..., A]`."""
    n = len(rows)
    return [own.reshape((1,) * k + (-1,) + (1,) * (n - 1 - k)) for k, own in enumerate(rows)]


def normal_form(
    payoffs: Any, mask: Any = None, name: str = "", actions: Sequence[Sequence[str]] = (), dtype: Any = None
) -> NormalForm:
    """A game from its payoffs.

    Args:
        payoffs: `[n, A1, ..., An]`, as an array or nested lists; the number of axes tells the number of players.
        mask: `[n, max A]`, which of the actions exist; all of them if not given.
        name: of the game.
        actions: names of each player's actions; numbers if not given.
        dtype: of JAX's array of the payoffs; if not given NumPy's holds them, in double precision.

    Raises:
        ValueError: shapes that do not fit, too large or no numbers; the message says where.
    """
    try:
        given = np.asarray(payoffs)
        if given.dtype.kind == "c":
            raise TypeError("found complex ones")
        table = given.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"payoffs: expected a full [n, A1, ..., An] array of numbers ({error})") from error
    n = table.ndim - 1
    if n < 1 or table.shape[0] != n:
        raise ValueError(
            f"payoffs of shape {table.shape}: expected [n, A1, ..., An], one table with n axes for each of n players;"
            f" for {max(n, 1)} players {(max(n, 1), *table.shape[1:])}"
        )
    if 0 in table.shape:
        raise ValueError(f"payoffs of shape {table.shape}: expected one action or more for every player")
    size = max(table.shape[1:])
    if n * size**n > MAX_ENTRIES:
        raise ValueError(
            f"payoffs of {n} players with {size} actions: expected at most {MAX_ENTRIES} entries; use PSRO"
        )
    exists = np.arange(size) < np.array(table.shape[1:])[:, None]
    if mask is not None:
        own = np.asarray(mask, bool)
        if own.shape != (n, size):
            raise ValueError(f"mask of shape {own.shape}: expected [n, A] = {(n, size)}")
        exists &= own
    if not exists.any(axis=1).all():
        raise ValueError(f"mask: player {int(np.argmin(exists.any(axis=1)))} has no action; expected one or more")
    padded = np.zeros((n, *(size,) * n))
    padded[tuple(slice(length) for length in table.shape)] = table
    legal = reduce(np.logical_and, _axes(exists))
    bad = legal & ~(np.abs(padded) <= MAX_PAYOFF)
    if bad.any():
        place = tuple(int(k) for k in np.argwhere(bad)[0])
        raise ValueError(
            f"payoffs{list(place)} = {padded[place]}: expected finite numbers up to {MAX_PAYOFF:g}"
            f" (player {place[0]}, joint action {place[1:]})"
        )
    if actions and [len(own) for own in actions] != list(table.shape[1:]):
        raise ValueError(f"actions: {[len(own) for own in actions]} names, expected {list(table.shape[1:])}")
    names = tuple(tuple(str(own) for own in names) for names in actions)
    cut: Any = np.where(legal, padded, 0.0)
    return NormalForm(cut if dtype is None else jnp.asarray(cut, dtype), jnp.asarray(exists), name, names)
