"""COLA: the direction that is its own look-ahead, found by training networks before play."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jax.flatten_util import ravel_pytree
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
        point, _ = _rows(params)
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
        many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), params)
        drawn = optax.tree.random_like(key, many, partial(jax.random.uniform, minval=-1, maxval=1))
        return optax.tree.scale(self.radius, drawn)

    def every(self, learned: Any, params: Params) -> Params:
        """What the networks `learned` say to all players, leaves `[n, ...]`."""
        point, unravel = _rows(params)
        network = self._network(point.shape[1])
        return jax.vmap(lambda weights: unravel(network.apply(weights, point.ravel())))(learned)

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
    return optax.tree.norm(optax.tree.sub(every(params), reply), squared=True)


def _rows(params: Params) -> tuple[Float[Array, "n d"], Callable[[Any], Any]]:
    """Everybody's parameters as vectors, and the way back for one of them."""
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], params))
    return jax.vmap(lambda own: ravel_pytree(own)[0])(params), unravel
