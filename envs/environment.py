"""The Environment contract: what every game promises, and what a step returns."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

__all__ = ["Environment", "TimeStep"]


class TimeStep(NamedTuple):
    """What a transition shows.

    Attributes:
        obs: observation after the transition, leaves `[n, ...]`; never overwritten by a reset.
        reward: `[n]`, paid for this transition, the last one included.
        terminated: scalar, the game ended by its own rules; a learner bootstraps with zero.
        truncated: scalar, the horizon was reached; a learner may bootstrap with the value of `obs`.
        info: mapping of extra arrays for logging.
    """

    obs: Any
    reward: Float[Array, " n"]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    info: dict[str, Any]


class Environment(struct.PyTreeNode):
    """An n-player simultaneous-move game: pure functions on a PyTree state.

    Fields are hyper-parameters: floats and arrays are PyTree leaves (they can be vmapped and differentiated), ints,
    bools, strings and tuples are static. Written for one environment; batch axes come from `vmap`. There is no
    automatic reset, nothing detaches gradients, counters are int32.

    A subclass has the properties `num_players`, `num_actions`, `obs_shape`, `num_observations` and `horizon`, and
    raises `version` whenever its behaviour changes.
    """

    version: ClassVar[int] = 0

    @property
    def num_players(self) -> int:
        """Number of players n."""
        raise NotImplementedError

    @property
    def num_actions(self) -> int:
        """Number of actions A of the player who has most; `legal` masks the rest."""
        raise NotImplementedError

    @property
    def num_observations(self) -> int | None:
        """Number of values a discrete observation takes, or None when observations are arrays of floats."""
        raise NotImplementedError

    @property
    def obs_shape(self) -> tuple[int, ...]:
        """Shape of one player's observation."""
        raise NotImplementedError

    @property
    def horizon(self) -> int:
        """Number of steps T after which an episode is truncated."""
        raise NotImplementedError

    def reset(self, key: Key[Array, ""]) -> tuple[Any, Any]:
        """Start an episode; consumes `key`. Returns the state and the observation, leaves `[n, ...]`."""
        raise NotImplementedError

    def step(self, state: Any, actions: Int[Array, " n"], key: Key[Array, ""]) -> tuple[Any, TimeStep]:
        """Play the joint action `actions` `[n]`; consumes `key`."""
        raise NotImplementedError

    def legal(self, state: Any) -> Bool[Array, "n A"]:
        """Which actions each player may take, `[n, A]`; all of them by default."""
        return jnp.ones((self.num_players, self.num_actions), bool)
