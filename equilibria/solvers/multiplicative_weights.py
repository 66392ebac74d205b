"""Multiplicative weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from equilibria.dynamics import Dynamics
from equilibria.game import NormalForm

__all__ = ["MultiplicativeWeights"]


class State(NamedTuple):
    """Logits, and the values that everybody saw last."""

    logits: Float[Array, "n A"]
    last: Float[Array, "n A"]


class MultiplicativeWeights(Dynamics):
    """Everybody multiplies the weight of every action by exp(rate times what it would pay).

    Source: Freund and Schapire 1999; "optimistic", which counts the last values twice, so that last plays converge in
    zero-sum games: Daskalakis and Panageas 2019, arXiv 1807.04252.

    Attributes:
        rate: η, in units of 1 over the largest difference of payoffs.
        decay: whether it falls with the square root of time.
        optimistic: whether the last values count twice.
    """

    rate: float = 0.5
    decay: bool = struct.field(default=False, pytree_node=False)
    optimistic: bool = struct.field(default=False, pytree_node=False)

    def begin(self, game: NormalForm, profile: Float[Array, "n A"]) -> State:
        """With the logits of `profile`."""
        tiny = jnp.finfo(profile.dtype).tiny
        return State(jnp.log(jnp.maximum(profile, tiny)), jnp.zeros_like(profile))

    def play(self, game: NormalForm, state: State) -> Float[Array, "n A"]:
        """Softmax of the logits."""
        return jax.nn.softmax(jnp.where(game.mask, state.logits, -jnp.inf), axis=1)

    def move(self, game: NormalForm, state: State, count: Float[Array, ""]) -> Any:
        """One step of everybody at once."""
        values = game.action_values(self.play(game, state))
        rate = self.rate / jnp.sqrt(count + 1.0) if self.decay else self.rate
        logits = state.logits + rate * (2 * values - state.last if self.optimistic else values)
        return State(logits - logits.max(axis=1, keepdims=True), values)
