"""The co-players of arXiv 2312.12564 as its public code runs them, every deviation a switch."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Int, Key

from envs import Environment
from envs.validation import require_choice, require_range
from shaping.learner import Context, Learner, Trajectory
from shaping.wrappers import Wrapper

__all__ = ["AsPublished"]

COUNTER_PERIOD, COUNTER_DONE = 256, 232
"""An int8 counter equals 1000, which it cannot hold, whenever its count is 232 modulo 256."""


class State(NamedTuple):
    """The state of the learner, how many episodes it has seen, and, where it counts, the last reward, `[B]`."""

    own: Any
    episodes: Int[Array, ""]
    reward: Any


class AsPublished(Wrapper):
    """A learner whose experience is stored as in the public code of arXiv 2312.12564, or as it should be.

    Defaults are the corrected ones, but that the value after the last step of an episode is that of START under the
    memory at its end, since there the next inner episode begins.
    Source: Souly et al. 2023, arXiv 2312.12564, code.

    Attributes:
        learner: what is wrapped.
        obs_in_buffer: "current", before acting, or "next", after it, which contains the own action.
        reward_in_buffer: "current", paid for the action, or "previous", for that of the step before.
        episode_terminal: whether values end with every inner episode.
        outer_counter_wrap: whether they end with the inner episodes 232, 488, 744 and 1000, at which a counter of 8
            bits equals the number of episodes.
        environments: B, which has to be that of the match where rewards are previous ones.
    """

    learner: Learner
    obs_in_buffer: Literal["current", "next"] = struct.field(default="current", pytree_node=False)
    reward_in_buffer: Literal["current", "previous"] = struct.field(default="current", pytree_node=False)
    episode_terminal: bool = struct.field(default=False, pytree_node=False)
    outer_counter_wrap: bool = struct.field(default=False, pytree_node=False)
    environments: int = struct.field(default=2, pytree_node=False)

    def __post_init__(self) -> None:
        """Check choices."""
        require_choice("obs_in_buffer", self.obs_in_buffer, ("current", "next"))
        require_choice("reward_in_buffer", self.reward_in_buffer, ("current", "previous"))
        require_range("environments", self.environments, 1, whole=True)

    def check(self, env: Environment, batch: int = 1) -> None:
        """Raise unless the learner can play `env`, whose observation 0 is START, in as many environments."""
        self.learner.check(env, batch)
        if env.num_observations is None:
            raise ValueError(f"{type(env).__name__} has no observation START: expected a matrix game")
        if self.reward_in_buffer == "previous" and batch != self.environments:
            raise ValueError(f"environments = {self.environments}: expected the {batch} of --batch")

    def init(self, env: Environment, key: Key[Array, ""]) -> State:
        """That of the learner, which has seen nothing; consumes `key`."""
        reward = jnp.zeros(self.environments) if self.reward_in_buffer == "previous" else ()
        return State(self.learner.init(env, key), jnp.zeros((), jnp.int32), reward)

    def policy(self, state: State) -> Any:
        """That of the learner."""
        return self.learner.policy(state.own)

    def update(self, state: State, context: Context, key: Key[Array, ""]) -> tuple[State, Any]:
        """That of the learner on what is stored; consumes `key`."""
        assert context.trajectory is not None, "it samples"
        stored = self._stored(context.trajectory, state)
        own, metrics = self.learner.update(state.own, context._replace(trajectory=stored), key)
        last = context.trajectory.reward[-1] if self.reward_in_buffer == "previous" else ()
        return State(own, state.episodes + 1, last), metrics

    def _stored(self, played: Trajectory, state: State) -> Trajectory:
        start = jnp.zeros_like(played.last_obs)
        stored = played._replace(last_obs=start)
        if self.obs_in_buffer == "next":
            stored = stored._replace(obs=jnp.concatenate([played.obs[1:], start[None]]))
        if self.reward_in_buffer == "previous":
            stored = stored._replace(reward=jnp.concatenate([state.reward[None], played.reward[:-1]]))
        wraps = (state.episodes + 1) % COUNTER_PERIOD == COUNTER_DONE
        ends = jnp.asarray(self.episode_terminal) | (wraps & self.outer_counter_wrap)
        return stored._replace(terminated=stored.terminated.at[-1].set(stored.terminated[-1] | ends))
