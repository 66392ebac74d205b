"""The exact value of symmetric games whose players fall into groups, by a chain over counts instead of joint actions.

Members of a group play the same memory-one table and cannot be told apart by anybody, so how many of each group
defected is all there is to know: (m_1 + 1) ... (m_G + 1) states for groups of m_1, ..., m_G players, where joint
actions have 2^n. One deviator among n players takes 2 n states. The gradient of one member comes from splitting it off
its group, and what it expects another to learn from splitting off two.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from envs import SymmetricGame
from shaping.discounting import discounted_sum
from shaping.match import Match

__all__ = ["Groups", "append", "count_chain", "groups_of"]


class Groups(NamedTuple):
    """The value function of the groups of a symmetric game, as a direction sees it.

    Its "players" are the groups: parameters `[G, ...]`, the value of one member of each. `own_gradients` are those of
    one member that changes alone, so directions that build on them and on the gradient of a group of one, as `Naive`
    and `Lola` do, are those of a single player among n.

    Attributes:
        env: the game.
        sizes: m_1, ..., m_G, players of each group.
        scale: of the values.
    """

    env: SymmetricGame
    sizes: tuple[int, ...]
    scale: Any = 1.0

    def __call__(self, params: tuple[Float[Array, "G O 1"]], key: Key[Array, ""]) -> Float[Array, " G"]:
        """Discounted values `[G]` of one member of each group, times `scale`; exact, so `key` is not used."""
        return self.scale * self.values(params[0])

    def values(self, tables: Float[Array, "G O 1"]) -> Float[Array, " G"]:
        """Discounted values `[G]` of one member of each group; of the one-shot game the expected reward."""
        start, chain, features = count_chain(self.env, self.sizes, tables)
        rewards = features[:, : len(self.sizes)]
        if self.env.horizon > 1:
            rewards = discounted_sum(chain, rewards, self.env.discount)
        return start @ rewards

    def outcome(self, tables: Float[Array, "G O 1"]) -> tuple[Float[Array, " G"], Float[Array, " G"]]:
        """Reward per step `[G]` of one member of each group, and its rate of C, `[G]`, discounted in the same way."""
        start, chain, features = count_chain(self.env, self.sizes, tables)
        if self.env.horizon > 1:
            features = (1 - self.env.discount) * discounted_sum(chain, features, self.env.discount)
        reward, rate = jnp.split(start @ features, 2)
        return reward, rate

    def split(self, group: int) -> Groups:
        """The same players, one member of `group` a group of its own, the last."""
        assert self.sizes[group] > 1, "a group of one is a player already"
        sizes = tuple(size - (place == group) for place, size in enumerate(self.sizes))
        return self._replace(sizes=(*sizes, 1))

    def own_gradients(self, params: Any, key: Key[Array, ""]) -> Any:
        """∂V of one member of each group in its own parameters, leaves `[G, ...]`; all others stand still."""
        singles = [group for group, size in enumerate(self.sizes) if size == 1]
        found = {}
        if singles:
            _, back = jax.vjp(lambda p: self(p, key)[np.array(singles)], params)
            (rows,) = jax.vmap(back)(jnp.eye(len(singles), dtype=jax.tree.leaves(params)[0].dtype))
            found = {group: jax.tree.map(lambda r, i=i, g=group: r[i, g], rows) for i, group in enumerate(singles)}
        for group, size in enumerate(self.sizes):
            if size > 1:
                value = lambda own, g=group: self.split(g)(append(params, own), key)[-1]  # noqa: E731
                found[group] = jax.grad(value)(jax.tree.map(lambda leaf, g=group: leaf[g], params))
        return jax.tree.map(lambda *rows: jnp.stack(rows), *(found[group] for group in range(len(self.sizes))))


def groups_of(match: Match, scale: Any = 1.0) -> tuple[Groups, np.ndarray]:
    """The groups of `match`: its shared ones, and every other seat alone; and the group of each seat, `[n]`."""
    assert isinstance(match.env, SymmetricGame), "the game is symmetric"
    parts: list[tuple[int, ...]] = []
    for seats, shared in zip(match.seats, match.shared, strict=True):
        parts += [seats] if shared else [(seat,) for seat in seats]
    place = np.zeros(match.env.num_players, int)
    for group, seats in enumerate(parts):
        place[list(seats)] = group
    return Groups(match.env, tuple(map(len, parts)), scale), place


def append(params: Any, own: Any) -> Any:
    """`params` with leaves `[G, ...]` and one more group `own`, leaves `[...]`."""
    return jax.tree.map(lambda leaf, new: jnp.concatenate([leaf, new[None]]), params, own)


def count_chain(
    env: SymmetricGame, sizes: tuple[int, ...], tables: Float[Array, "G O 1"]
) -> tuple[Float[Array, " S"], Float[Array, "R S"], Float[Array, "S K"]]:
    """Distribution of the first counts, the chain from counts to counts, and what a member of each group gets.

    A state says how many of each group defected, S = Π (m_g + 1).

    Returns:
        start: `[S]`.
        chain: `[S, S]`; `[0, S]` in the one-shot game, in which nothing comes next.
        features: `[S, 2 G]`, expected reward of a member of each group, then its probability of having co-operated.
    """
    n, groups = env.num_players, len(sizes)
    counts = jnp.asarray(np.indices([size + 1 for size in sizes]).reshape(groups, -1), jnp.int32)  # [G, S]
    total = counts.sum(axis=0)
    one_shot = env.horizon == 1
    start = jnp.ones((1, 1), tables.dtype)
    chain = jnp.ones((0 if one_shot else counts.shape[1], 1), tables.dtype)
    for group, size in enumerate(sizes):
        logits = tables[group, :, 0]
        first = _defections(jnp.array([size], jnp.int32), logits[:1], jnp.array([0], jnp.int32), logits[:1], size)
        start = (start[:, :, None] * first[:, None, :]).reshape(1, -1)
        if one_shot:
            chain = jnp.zeros((0, chain.shape[1] * (size + 1)), tables.dtype)
        else:  # those who saw (C, k = total others) and (D, k = total - 1); out of range where there is none
            after_c = logits[jnp.minimum(1 + total, n)]
            after_d = logits[jnp.maximum(n + total, n + 1)]
            again = _defections(size - counts[group], after_c, counts[group], after_d, size)
            chain = (chain[:, :, None] * again[:, None, :]).reshape(chain.shape[0], -1)
    pays = jnp.asarray(env.payoffs, tables.dtype)
    for_c, for_d = pays[0, jnp.minimum(total, n - 1)], pays[1, jnp.maximum(total - 1, 0)]
    share = counts.astype(tables.dtype) / np.array(sizes, tables.dtype)[:, None]
    return start[0], chain, jnp.concatenate([(1 - share) * for_c[None] + share * for_d[None], 1 - share]).T


def _defections(
    first: Int[Array, " S"], first_logits: Float[Array, " S"],
    second: Int[Array, " S"], second_logits: Float[Array, " S"], size: int,
) -> Float[Array, "S M"]:  # fmt: skip
    """Distribution over 0 ... `size` of how many defect among `first` + `second` players, by their logits of C."""
    if size == 1:
        logits = jnp.where(first == 1, first_logits, second_logits)
        return jnp.stack([jax.nn.sigmoid(logits), jax.nn.sigmoid(-logits)], axis=-1)
    one, two = _binomial(first, first_logits, size), _binomial(second, second_logits, size)
    length = 2 * size + 1
    product = jnp.fft.rfft(one, length) * jnp.fft.rfft(two, length)
    found = jnp.fft.irfft(product, length)[:, : size + 1]
    return found / found.sum(axis=1, keepdims=True)  # rounding is a discount of its own among hundreds of players


def _binomial(trials: Int[Array, " S"], logits: Float[Array, " S"], size: int) -> Float[Array, "S M"]:
    """Distribution over 0 ... `size` of the number of defectors among `trials`; from logits, so that it is smooth."""
    drawn = np.arange(size + 1, dtype=np.int32)[None]
    rest = trials[:, None] - drawn
    possible, rest = rest >= 0, jnp.maximum(rest, 0)
    log_factorial = np.array([math.lgamma(m + 1) for m in range(size + 1)])
    left = np.maximum(np.arange(size + 1)[:, None] - drawn, 0)
    ways = jnp.asarray(log_factorial[:, None] - log_factorial[drawn] - log_factorial[left], logits.dtype)[trials]
    defect, cooperate = jax.nn.log_sigmoid(-logits)[:, None], jax.nn.log_sigmoid(logits)[:, None]
    log_prob = ways + drawn.astype(logits.dtype) * defect + rest.astype(logits.dtype) * cooperate
    return jnp.where(possible, jnp.exp(jnp.where(possible, log_prob, 0.0)), 0.0)
