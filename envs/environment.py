"""The Environment contract: what every game promises, and what a step returns."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key, Num

from envs.scene import Scene

__all__ = ["Environment", "StepCount", "TimeStep"]


class StepCount(NamedTuple):
    """State of a game that forgets everything else.

    Attributes:
        step: int32 scalar, steps taken.
    """

    step: Int[Array, ""]


class TimeStep(NamedTuple):
    """What a transition shows.

    Attributes:
        obs: observation after the transition, leaves `[n, ...]`; never overwritten by a reset.
        reward: `[n]`, paid for this transition, the last one included.
        terminated: scalar, the game ended by its own rules; a learner bootstraps with zero.
        truncated: scalar, the horizon was reached; a learner may bootstrap with the value of `obs`.
        info: name → `[n]`, what the transition shows beside rewards; summarised by `Environment.statistics`.
    """

    obs: Any
    reward: Float[Array, " n"]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    info: dict[str, Float[Array, " n"]]


class Environment(struct.PyTreeNode):
    """An n-player simultaneous-move game: pure functions on a PyTree state.

    Fields are hyper-parameters: floats and arrays are PyTree leaves (they can be vmapped and differentiated), ints,
    bools, strings and tuples are static. Written for one environment; batch axes come from `vmap`. There is no
    automatic reset, nothing detaches gradients, counters are int32.

    A subclass has the properties `num_players`, `num_observations`, `obs_shape` and `horizon`, `num_actions` or, when
    actions are continuous, `action_dim` and `action_range`, and raises `version` whenever its behaviour changes.
    """

    version: ClassVar[int] = 0

    @property
    def num_players(self) -> int:
        """Number of players n."""
        raise NotImplementedError

    @property
    def num_actions(self) -> int:
        """Number of actions A of the player who has most; `legal` masks the rest. 0 when actions are continuous."""
        return 0

    @property
    def action_dim(self) -> int:
        """Length d of a continuous action; 0 when actions are discrete."""
        return 0

    @property
    def action_range(self) -> tuple[float, float]:
        """Range of each number of a continuous action; `step` clips to it."""
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

    def step(self, state: Any, actions: Num[Array, "n ..."], key: Key[Array, ""]) -> tuple[Any, TimeStep]:
        """Play the joint action `actions`, `[n]` or, when continuous, `[n, d]`; consumes `key`."""
        raise NotImplementedError

    def legal(self, state: Any) -> Bool[Array, "n A"]:
        """Which actions each player may take, `[n, A]`; all of them by default, `[n, 0]` when continuous."""
        return jnp.ones((self.num_players, self.num_actions), bool)

    def dilemma(self, obs: Any) -> Int[Array, " 2"] | None:
        """The co-operative and the defecting action of one player who sees `obs`; None, by default, if there are none.

        What `always_cooperate`, `always_defect` and the like play.
        """
        return None

    def statistics(self, obs: Any, action: Any, info: dict[str, Any], valid: Any) -> dict[str, Float[Array, " n"]]:
        """What episodes show beside rewards, one number a player; nothing by default.

        Args:
            obs: before acting, leaves `[T, B, n, ...]`.
            action: `[T, B, n]` or `[T, B, n, d]`.
            info: of the transitions, leaves `[T, B, n]`.
            valid: `[T, B]`, 1 for steps before the end of their episode, 0 after it.

        Returns:
            One entry `[n]` for each of `statistic_names`; NaN where nothing was seen.
        """
        return {}

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """Names of the entries of `statistics`, in the order in which to show them."""
        return ()

    @property
    def cooperation(self) -> str | None:
        """Name of the entry of `statistics` that measures co-operation, from 0 to 1; None, by default, without one."""
        return None

    def draw(self, state: Any) -> Scene | None:
        """What one state, on the host, looks like; None, by default, if it cannot be drawn."""
        return None

    @property
    def legend(self) -> str:
        """What the names in `statistics` mean, in a sentence or two."""
        return ""

    def marks(self) -> dict[str, float]:
        """Name → welfare (reward per step, mean over the players) of play worth comparing with; none by default."""
        return {}
