"""COLA: the direction that is its own look-ahead, found by training networks before play."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float, Int, Key

from envs.validation import require_choice, require_range
from shaping.directions import FittedDirection, Params, Value, put_seat, take_seat

__all__ = ["Cola", "inconsistency"]

ACTIVATIONS = {"tanh": nn.tanh, "relu": nn.relu}


class Cola(FittedDirection):
    """Consistent LOLA: directions h that are best replies to each other as look-aheads.

    Networks h_i(θ) of the joint parameters are trained to make h_i(θ) - ∂_i V_i(θ_i, θ_-i + α h_-i(θ)), a total
    derivative, small in square where θ is uniform in a box. Where higher-order LOLA converges they find its limit.

    Source: Willi, Letcher, Treutlein and Foerster 2022, arXiv 2203.04098.

    Attributes:
        lookahead_rate: α, on values in the units of the objective.
        radius: half the side of the box.
        width: units of a hidden layer.
        depth: number of hidden layers.
        activation: of the hidden layers.
        fitting_steps: steps of Adam.
        fitting_batch: joint parameters drawn for each.
        fitting_rate: rate of Adam.
        decay_steps: after so many steps the rate falls to four fifths.
    """

    lookahead_rate: float = 1.0
    radius: float = 7.0
    width: int = struct.field(default=16, pytree_node=False)
    depth: int = struct.field(default=3, pytree_node=False)
    activation: Literal["tanh", "relu"] = struct.field(default="tanh", pytree_node=False)
    fitting_steps: int = struct.field(default=8000, pytree_node=False)
    fitting_batch: int = struct.field(default=64, pytree_node=False)
    fitting_rate: float = 0.001
    decay_steps: int = struct.field(default=750, pytree_node=False)

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        for name in ("lookahead_rate", "radius", "fitting_rate"):
            require_range(name, getattr(self, name), 0.0)
        for name in ("width", "depth", "fitting_batch", "decay_steps"):
            require_range(name, getattr(self, name), 1, whole=True)
        require_range("fitting_steps", self.fitting_steps, 0, whole=True)
        require_choice("activation", self.activation, tuple(ACTIVATIONS))

    def fit(self, value: Value, params: Params, key: Key[Array, ""]) -> Any:
        """Weights of the networks, leaves `[n, ...]`; consumes `key`."""
        start_key, draw_key = jax.random.split(key)
        players = jax.tree.leaves(params)[0].shape[0]
        point = jax.vmap(_flat)(params)
        network = self._network(point.shape[1])
        weights = jax.vmap(lambda key: network.init(key, point.ravel()))(jax.random.split(start_key, players))
        schedule = optax.exponential_decay(self.fitting_rate, self.decay_steps, 0.8, staircase=True)
        optimizer = optax.adam(schedule)

        def loss(weights: Any, key: Key[Array, ""]) -> Float[Array, ""]:
            points = self.draw(params, key, self.fitting_batch)
            return jax.vmap(lambda p: inconsistency(self.lookahead_rate, value, p, partial(self.every, weights)))(
                points
            ).mean()

        def learn(carry: tuple[Any, Any], index: Int[Array, ""]) -> tuple[tuple[Any, Any], None]:
            weights, state = carry
            gradient = jax.grad(loss)(weights, jax.random.fold_in(draw_key, index))
            step, state = optimizer.update(gradient, state, weights)
            return (optax.apply_updates(weights, step), state), None

        return jax.lax.scan(learn, (weights, optimizer.init(weights)), jnp.arange(self.fitting_steps))[0][0]

    def draw(self, params: Params, key: Key[Array, ""], count: int) -> Params:
        """`count` joint parameters, uniform in the box, leaves `[count, n, ...]`; consumes `key`."""
        leaves, structure = jax.tree.flatten(params)
        keys = jax.random.split(key, len(leaves))
        drawn = [
            jax.random.uniform(k, (count, *leaf.shape), leaf.dtype, -1, 1) for k, leaf in zip(keys, leaves, strict=True)
        ]
        return jax.tree.map(lambda leaf: self.radius * leaf, jax.tree.unflatten(structure, drawn))

    def every(self, learned: Any, params: Params) -> Params:
        """What the networks `learned` say to all players, leaves `[n, ...]`."""
        shape = jax.tree.map(lambda leaf: leaf[0], params)
        point = jax.vmap(_flat)(params)
        network = self._network(point.shape[1])
        said = jax.vmap(lambda weights: network.apply(weights, point.ravel()))(learned)
        return jax.vmap(lambda row: _unflat(shape, row))(said)

    def __call__(
        self, value: Value, params: Params, seat: Int[Array, ""], key: Key[Array, ""], learned: Any = None
    ) -> Params:
        """What the own network says; the box is the end of what it knows."""
        inside = jax.tree.map(lambda leaf: jnp.clip(leaf, -self.radius, self.radius), params)
        return take_seat(self.every(learned, inside), seat)

    def _network(self, outputs: int) -> nn.Module:
        layers = [layer for _ in range(self.depth) for layer in (nn.Dense(self.width), ACTIVATIONS[self.activation])]
        return nn.Sequential([*layers, nn.Dense(outputs)])


def inconsistency(rate: Any, value: Value, params: Params, every: Any) -> Float[Array, ""]:
    """Squared distance of all directions `every(params)`, leaves `[n, ...]`, from replies to them as look-aheads."""
    players = jax.tree.leaves(params)[0].shape[0]
    key = jax.random.key(0)  # exact values use none

    def replied(joint: Params, seat: Int[Array, ""]) -> Float[Array, ""]:
        moved = jax.tree.map(lambda p, h: p + rate * h, joint, every(joint))
        return take_seat(value(put_seat(moved, seat, joint), key), seat)

    reply = jax.vmap(lambda seat: take_seat(jax.grad(replied)(params, seat), seat))(jnp.arange(players))
    return ((jax.vmap(_flat)(every(params)) - jax.vmap(_flat)(reply)) ** 2).sum()


def _flat(tree: Any) -> Float[Array, " d"]:
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


def _unflat(shape: Any, row: Float[Array, " d"]) -> Any:
    leaves, structure = jax.tree.flatten(shape)
    ends = [0]
    for leaf in leaves:
        ends.append(ends[-1] + leaf.size)
    parts = [row[a:b].reshape(leaf.shape) for a, b, leaf in zip(ends, ends[1:], leaves, strict=False)]
    return jax.tree.unflatten(structure, parts)
