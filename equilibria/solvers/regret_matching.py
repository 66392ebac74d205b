"""Regret matching."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from equilibria.dynamics import Dynamics
from equilibria.game import NormalForm

__all__ = ["RegretMatching"]


class State(NamedTuple):
    """What everybody regrets of every action so far, and plays."""

    regret: Float[Array, "n A"]
    profile: Float[Array, "n A"]


class RegretMatching(Dynamics):
    """Everybody plays every action in proportion to how much better it would have done so far.

    Source: Hart and Mas-Colell 2000, Econometrica 68; "plus": Tammelin 2014, arXiv 1407.5042, with `average` "linear".

    Attributes:
        plus: whether regrets below 0 are forgotten, and players move in turn.
    """

    plus: bool = struct.field(default=False, pytree_node=False)

    def begin(self, game: NormalForm, profile: Float[Array, "n A"]) -> State:
        """Without any regret."""
        return State(jnp.zeros_like(profile), profile)

    def play(self, game: NormalForm, state: State) -> Float[Array, "n A"]:
        """The profile."""
        return state.profile

    def move(self, game: NormalForm, state: State, count: Float[Array, ""]) -> Any:
        """One step of everybody, at once or in turn."""
        if not self.plus:
            return self._of(game, state, state.profile)
        for player in range(game.num_players):
            after = self._of(game, state, state.profile)
            state = State(*(old.at[player].set(new[player]) for old, new in zip(state, after, strict=True)))
        return state

    def _of(self, game: NormalForm, state: State, profile: Float[Array, "n A"]) -> State:
        values = game.action_values(profile)
        regret = state.regret + values - (profile * values).sum(axis=1, keepdims=True)
        regret = jnp.where(game.mask, jnp.maximum(regret, 0.0) if self.plus else regret, 0.0)
        positive = jnp.maximum(regret, 0.0)
        total = positive.sum(axis=1, keepdims=True)
        return State(regret, jnp.where(total > 0, positive / jnp.where(total > 0, total, 1.0), game.uniform()))
