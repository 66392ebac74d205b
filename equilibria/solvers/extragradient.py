"""Projected gradients with a look ahead."""

from __future__ import annotations

from typing import Any, Literal

from flax import struct
from jaxtyping import Array, Float

from equilibria.dynamics import Dynamics
from equilibria.game import NormalForm
from equilibria.numerics import project

__all__ = ["Extragradient"]


class Extragradient(Dynamics):
    """Everybody moves along the values that the others' *next* play would give, not their last.

    Source: Korpelevich 1976; a look ahead of the "plain" kind is none: simultaneous gradient ascent.

    Attributes:
        rate: step, in units of 1 over the largest difference of payoffs.
        look: whether to "ahead" or not, "plain".
    """

    average: Literal["uniform", "linear", "last"] = struct.field(default="last", pytree_node=False)
    rate: float = 0.1
    look: Literal["ahead", "plain"] = struct.field(default="ahead", pytree_node=False)

    def begin(self, game: NormalForm, profile: Float[Array, "n A"]) -> Any:
        """The profile."""
        return profile

    def play(self, game: NormalForm, state: Any) -> Float[Array, "n A"]:
        """The profile."""
        return state

    def move(self, game: NormalForm, state: Any, count: Float[Array, ""]) -> Any:
        """One step of everybody at once."""
        rate = self.rate
        ahead = project(state + rate * game.action_values(state), game.mask)
        return ahead if self.look == "plain" else project(state + rate * game.action_values(ahead), game.mask)
