"""Meta-value learning: climb the discounted value of what everybody will have learned, as a critic foresees it."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float, Int, Key

from envs.validation import require_choice, require_range
from shaping.directions import FittedDirection, Lola, Params, Value, own_gradients, put_seat, take_seat

__all__ = ["MetaValue"]

DECAY, BETA = 0.01, 0.99  # of the weights, and of Adam's second moment


class MetaValue(FittedDirection):
    """Meta-value learning: climb (1 - γ) V_i(θ) + γ U_i(θ), U_i(θ) being the value of the rest of the learning.

    U_i(θ) = (1 - γ) V_i(θ') + γ U_i(θ'), where θ' follows θ when all follow their rules. It is the mean of `quantiles`
    of a network of the joint parameters, of which every player uses its own row, trained before play by TD(λ) on
    learning that it guides itself, for all γ at once. Units of its last layer are switched in sign to explore.

    Departures: the paper has two players; here the others enter the network through their mean.
    Source: Cooijmans, Aghajohari and Courville 2023, arXiv 2307.08863.

    Attributes:
        meta_discount: γ in play.
        rivals: who the others are while it is trained: "self", or naive or first-order LOLA learners. With others than
            "self", or if equivariant, the game should treat all seats alike.
        rate: step size of everybody while it is trained, on values in the units of the objective; make it that of play.
        value_scale: what takes values to those per step, of order one; 0.04 for sums with discount 0.96.
        width: units of a layer.
        quantiles: of the distribution of U.
        equivariant: whether all seats share the network entirely; if not each scales its features.
        fitting_rounds: times that learning starts afresh, each of 10 times 10 steps.
        fitting_batch: joint parameters that learn side by side.
        fitting_rate: rate of Adam.
        trace: λ.
        target_decay: of the slowly moving copy of the network that is used as target and in play.
        flips: probability of a switched unit.
        start_std: standard deviation of the parameters from which learning starts.
    """

    meta_discount: float = 0.95
    rivals: Literal["self", "naive", "lola"] = struct.field(default="self", pytree_node=False)
    rate: float = 1.0
    value_scale: float = 0.04
    width: int = struct.field(default=128, pytree_node=False)
    quantiles: int = struct.field(default=64, pytree_node=False)
    equivariant: bool = struct.field(default=True, pytree_node=False)
    fitting_rounds: int = struct.field(default=1000, pytree_node=False)
    fitting_batch: int = struct.field(default=128, pytree_node=False)
    fitting_rate: float = 0.001
    trace: float = 0.9
    target_decay: float = 0.99
    flips: float = 0.0625
    start_std: float = 1.0

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        for name in ("meta_discount", "trace", "target_decay", "flips"):
            require_range(name, getattr(self, name), 0.0, 1.0)
        for name in ("rate", "value_scale", "fitting_rate", "start_std"):
            require_range(name, getattr(self, name), 0.0)
        for name in ("width", "quantiles", "fitting_batch"):
            require_range(name, getattr(self, name), 1, whole=True)
        require_range("fitting_rounds", self.fitting_rounds, 0, whole=True)
        require_choice("rivals", self.rivals, ("self", "naive", "lola"))

    def fit(self, value: Value, params: Params, key: Key[Array, ""]) -> Any:
        """Weights of the network; consumes `key`."""
        return _Training(self, value, params).run(key)

    def __call__(
        self, value: Value, params: Params, seat: Int[Array, ""], key: Key[Array, ""], learned: Any = None
    ) -> Params:
        """The gradient in θ_i of (1 - γ) V_i + γ U_i, in the units of the objective."""
        players = jax.tree.leaves(params)[0].shape[0]
        first = 0 if self.rivals == "self" else seat  # whoever it is, it was the first in training
        turn = lambda leaf: jnp.take(leaf, (jnp.arange(players) + first) % players, axis=0)  # noqa: E731
        discount = jnp.full(players, self.meta_discount)

        def expected(joint: Params) -> Float[Array, ""]:
            later = self.later(learned, jax.tree.map(turn, joint), discount).mean(axis=-1)
            now = self.value_scale * value(joint, key)
            total = (1 - self.meta_discount) * now + self.meta_discount * turn_back(later, first, players)
            return take_seat(total, seat) / self.value_scale

        return take_seat(jax.grad(expected)(params), seat)

    def later(
        self, weights: Any, params: Params, discount: Float[Array, " n"], signs: Any = 1.0
    ) -> Float[Array, "n Q"]:
        """Quantiles of U, for joint `params` with leaves `[n, ...]`."""
        flat = jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(params)], axis=1)
        said: Any = self.network.apply(weights, flat, discount, signs)
        return said

    @property
    def network(self) -> _Critic:
        """The network."""
        return _Critic(self.width, self.quantiles, self.equivariant)


def turn_back(values: Float[Array, " n"], first: Any, players: int) -> Float[Array, " n"]:
    """`values` of the players first, first + 1, ... in the order of their numbers."""
    return jnp.take(values, (jnp.arange(players) - first) % players)


class _Critic(nn.Module):
    width: int
    quantiles: int
    equivariant: bool

    @nn.compact
    def __call__(self, params: Any, discount: Any, signs: Any) -> Any:
        """Quantiles `[n, Q]` from joint parameters `[n, d]`, discounts `[n]`, signs `[n, width]` of the last layer."""
        layer = lambda z: nn.LayerNorm()(nn.Dense(self.width, use_bias=False, kernel_init=_orthogonal)(z))  # noqa: E731
        seen = nn.gelu(nn.Dense(self.width)(nn.sigmoid(params)))
        seen = nn.gelu(layer(seen))
        z = jnp.concatenate([seen, nn.gelu(nn.Dense(self.width)(discount[:, None]))], axis=-1)
        if not self.equivariant:
            z = z * self.param("scale", nn.initializers.ones, z.shape)
            z = z + self.param("shift", nn.initializers.zeros, z.shape)
        z = nn.gelu(layer(z))
        others = (z.sum(axis=0) - z) / max(len(z) - 1, 1)
        z = nn.gelu(layer(jnp.concatenate([z, others], axis=-1)))
        return nn.Dense(self.quantiles)(nn.tanh(layer(z)) * signs)


def _orthogonal(key: Key[Array, ""], shape: tuple[int, int], dtype: Any = jnp.float32) -> Float[Array, "r c"]:
    """The orthogonal factor of a normal matrix, by Newton's iteration: products only, no factorisation."""
    rows, columns = max(shape), min(shape)
    drawn = jax.random.normal(key, (rows, columns), dtype)
    scaled = drawn / (rows**0.5 + columns**0.5) / 1.2  # largest singular value below 1
    found = jax.lax.fori_loop(0, 40, lambda _, x: 1.5 * x - 0.5 * x @ (x.T @ x), scaled)
    return found if shape[0] >= shape[1] else found.T


class _Training:
    """How the network is trained; `value` and the shapes of `params` are those of the game."""

    rounds, steps = 10, 10  # updates before learning starts afresh, and steps of learning between them

    def __init__(self, direction: MetaValue, value: Value, params: Params):
        self.rule, self.value, self.shapes = direction, value, params
        self.players = jax.tree.leaves(params)[0].shape[0]
        self.optimizer = optax.adamw(direction.fitting_rate, b2=BETA, weight_decay=DECAY)

    def run(self, key: Key[Array, ""]) -> Any:
        """The target network's weights."""
        rule, ones = self.rule, jnp.ones(self.players)
        online_key, target_key, key = jax.random.split(key, 3)
        flat = jnp.concatenate([leaf.reshape(self.players, -1) for leaf in jax.tree.leaves(self.shapes)], axis=1)
        start = lambda key: rule.network.init(key, flat, ones, jnp.ones((self.players, rule.width)))  # noqa: E731
        online = start(online_key)
        carry = online, start(target_key), self.optimizer.init(online)
        rounds = jax.random.split(key, rule.fitting_rounds)
        return jax.lax.scan(self.afresh, carry, rounds)[0][1]

    def afresh(self, carry: Any, key: Key[Array, ""]) -> tuple[Any, None]:
        """One round: fresh parameters, discounts and signs, then ten updates on the way that they lead."""
        rule, batch = self.rule, self.rule.fitting_batch
        keys = jax.random.split(key, 5)
        many = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((batch, *leaf.shape), leaf.dtype), self.shapes)
        params = optax.tree.scale(rule.start_std, optax.tree.random_like(keys[0], many))
        guide = self.discounts(keys[1])
        signs = 1 - 2.0 * jax.random.bernoulli(keys[2], rule.flips, (batch, self.players, rule.width))

        def update(carry: Any, key: Key[Array, ""]) -> tuple[Any, None]:
            params, online, target, state = carry
            params = jax.vmap(lambda *one: self.explore(online, *one))(params, guide, signs)
            discount = self.discounts(key)
            path = jax.vmap(lambda *one: self.follow(online, *one))(params, discount)  # leaves [B, steps + 1, n, ...]
            goal = jax.vmap(lambda *one: self.targets(target, *one))(path, discount)  # [B, steps, n, Q]
            seen = jax.tree.map(lambda leaf: leaf[:, :-1], path)
            gradient = jax.grad(self.loss)(online, seen, discount, goal)
            step, state = self.optimizer.update(gradient, state, online)
            online = optax.apply_updates(online, step)
            target = optax.incremental_update(online, target, 1 - rule.target_decay)
            return (params, online, target, state), None

        (_, *carry), _ = jax.lax.scan(update, (params, *carry), jax.random.split(keys[3], self.rounds))
        return tuple(carry), None

    def discounts(self, key: Key[Array, ""]) -> Float[Array, "B n"]:
        """Meta-discounts from Beta(1/2, 1/2), which is the sine law."""
        uniform = jax.random.uniform(key, (self.rule.fitting_batch, self.players))
        return jnp.sin(jnp.pi / 2 * uniform) ** 2

    def explore(self, weights: Any, params: Params, discount: Any, signs: Any) -> Params:
        """Where ten steps up the switched U lead."""
        ascent = self.ascent(lambda p: self.rule.later(weights, p, discount, signs).mean(axis=-1))
        return jax.lax.scan(lambda p, _: (self.move(p, ascent(p)), None), params, None, self.steps)[0]

    def follow(self, weights: Any, params: Params, discount: Any) -> Params:
        """The way of ten steps up the meta-value, leaves `[steps + 1, ...]`."""

        def meta(p: Params) -> Float[Array, " n"]:
            later = self.rule.later(weights, p, discount).mean(axis=-1)
            return (1 - discount) * self.now(p) + discount * later

        ascent = self.ascent(meta)
        last, path = jax.lax.scan(lambda p, _: (self.move(p, ascent(p)), p), params, None, self.steps)
        return jax.tree.map(lambda leaf, end: jnp.concatenate([leaf, end[None]]), path, last)

    def now(self, params: Params) -> Float[Array, " n"]:
        """Values per step."""
        return self.rule.value_scale * self.value(params, jax.random.key(0))

    def ascent(self, meta: Any) -> Any:
        """Everybody's directions: up the own `meta`, or as rivals do."""

        def directions(params: Params) -> Params:
            own = own_gradients(lambda p, _: meta(p), params, jax.random.key(0))
            if self.rule.rivals == "self":
                return own
            now = lambda p, _: self.now(p)  # noqa: E731
            if self.rule.rivals == "naive":
                rivals = own_gradients(now, params, jax.random.key(0))
            else:
                lola = Lola(self.rule.rate / self.rule.value_scale, expansion="taylor", terms="shaping")
                every = lambda seat: lola(now, params, seat, jax.random.key(0))  # noqa: E731
                rivals = jax.vmap(every)(jnp.arange(self.players))
            return put_seat(rivals, jnp.int32(0), own)

        return directions

    def move(self, params: Params, ascent: Params) -> Params:
        """One step of everybody, in the units of the objective."""
        return jax.tree.map(lambda p, a: p + self.rule.rate / self.rule.value_scale * a, params, ascent)

    def targets(self, target: Any, path: Params, discount: Float[Array, " n"]) -> Float[Array, "T n Q"]:
        """TD(λ) targets along a path, for every quantile."""
        rule = self.rule
        after = jax.tree.map(lambda leaf: leaf[1:], path)
        reward = jax.vmap(self.now)(after)[..., None]
        later = jax.vmap(lambda p: rule.later(target, p, discount))(after)
        gamma = discount[:, None]

        def back(carry: Any, step: Any) -> tuple[Any, Any]:
            reward, later = step
            goal = (1 - gamma) * reward + gamma * ((1 - rule.trace) * later + rule.trace * carry)
            return goal, goal

        return jax.lax.scan(back, later[-1], (reward, later), reverse=True)[1]

    def loss(self, weights: Any, seen: Params, discount: Any, goal: Float[Array, "B T n Q"]) -> Float[Array, ""]:
        """Quantile Huber loss, a sum over quantiles, a mean over targets and batch: its gradient, not its value."""
        along = jax.vmap(lambda p, g: jax.vmap(lambda q: self.rule.later(weights, q, g))(p))
        found = along(seen, discount)
        share = (jnp.arange(self.rule.quantiles) + 0.5) / self.rule.quantiles
        found_now = jax.lax.stop_gradient(found)

        def compare(index: Any, total: Array) -> Array:  # target by target: all pairs at once take ten times as long
            gap = jax.lax.dynamic_slice_in_dim(goal, index, 1, axis=-1) - found_now
            return total + jnp.abs(share - (gap < 0)) * jnp.clip(gap, -1, 1)

        slope = jax.lax.fori_loop(0, self.rule.quantiles, compare, jnp.zeros_like(found)) / self.rule.quantiles
        return -(slope * found).sum(axis=-1).mean()
