"""Replicator dynamics."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from equilibria.dynamics import Dynamics
from equilibria.game import NormalForm
from equilibria.numerics import project

__all__ = ["Replicator"]


class Replicator(Dynamics):
    """Every action grows in proportion to how much better it does than the own mean.

    With `least` above 0 play is projected back to where every action has that probability: projected replicator
    dynamics, whose average is the meta-strategy of Lanctot et al. 2017, arXiv 1711.00832.

    Source: Taylor and Jonker 1978; projection as in OpenSpiel.

    Attributes:
        rate: step of time, in units of 1 over the largest difference of payoffs.
        least: probability of every action.
        euler: whether steps are those of Euler's method; else multiplicative, which never leave the simplex.
    """

    rate: float = 0.05
    least: float = 0.0
    euler: bool = struct.field(default=False, pytree_node=False)

    def begin(self, game: NormalForm, profile: Float[Array, "n A"]) -> Any:
        """The profile, away from 0."""
        return project(profile, game.mask, self.least)

    def play(self, game: NormalForm, state: Any) -> Float[Array, "n A"]:
        """The profile."""
        return state

    def move(self, game: NormalForm, state: Any, count: Float[Array, ""]) -> Any:
        """One step of everybody at once."""
        values = game.action_values(state)
        better = values - (state * values).sum(axis=1, keepdims=True)
        if self.euler:
            return project(state * (1 + self.rate * better), game.mask, self.least)
        grown = jnp.where(game.mask, state * jnp.exp(self.rate * better), 0.0)
        return project(grown / grown.sum(axis=1, keepdims=True), game.mask, self.least)
