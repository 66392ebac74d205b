"""Learners around a learner: what it plays and learns is its own, but for what the wrapper changes."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from envs import Environment, MatrixGame
from envs.validation import require_range
from shaping.distributions import action_logits, probabilities, sample_action
from shaping.learner import ENVIRONMENTS, Context, Learner, Replay, Trajectory

__all__ = ["Blind", "Prepared", "Stopped", "Tabled", "Wrapper", "tabled"]

NEVER = -30.0
"""The logarithm of a probability of 0 in a table."""


class Wrapper(Learner):
    """A learner that does all as `learner` does.

    Attributes:
        learner: what is wrapped.
    """

    learner: Learner

    @property
    def sees(self) -> Literal["own", "rewards", "policies"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the learner does."""
        return self.learner.sees

    @property
    def span(self) -> Literal["episode", "trial"]:
        """That of the learner."""
        return self.learner.span

    @property
    def population(self) -> int:
        """That of the learner."""
        return self.learner.population

    @property
    def samples(self) -> bool:
        """Whether the learner does."""
        return self.learner.samples

    @property
    def tables(self) -> bool:
        """Whether the learner has one."""
        return self.learner.tables

    @property
    def learns(self) -> bool:
        """Whether the learner does."""
        return self.learner.learns

    @property
    def prepares(self) -> bool:
        """Whether the learner does."""
        return self.learner.prepares

    def check(self, env: Environment, batch: int = 1) -> None:
        """Raise unless the learner can play `env`."""
        self.learner.check(env, batch)

    def check_match(self, match: Any) -> None:
        """Raise unless the learner can play in `match`."""
        self.learner.check_match(match)

    def init(self, env: Environment, key: Key[Array, ""]) -> Any:
        """That of the learner; consumes `key`."""
        return self.learner.init(env, key)

    def policy(self, state: Any) -> Any:
        """That of the learner."""
        return self.learner.policy(state)

    def memory(self, env: Environment, policy: Any) -> Any:
        """That of the learner."""
        return self.learner.memory(env, policy)

    def carry(self, env: Environment, policy: Any, memory: Any) -> Any:
        """As the learner does."""
        return self.learner.carry(env, policy, memory)

    def act(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Any, key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """As the learner does; consumes `key`."""
        return self.learner.act(env, policy, memory, obs, legal, key)

    def action_probabilities(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"]
    ) -> Float[Array, " A"]:
        """Those of the learner."""
        return self.learner.action_probabilities(env, policy, memory, obs, legal)

    def replay(self, env: Environment, policy: Any, trajectory: Trajectory) -> Replay:
        """That of the learner."""
        return self.learner.replay(env, policy, trajectory)

    def update(self, state: Any, context: Context, key: Key[Array, ""]) -> tuple[Any, Any]:
        """That of the learner; consumes `key`."""
        return self.learner.update(state, context, key)

    def begin(self, env: Environment, state: Any, key: Key[Array, ""]) -> Any:
        """That of the learner; consumes `key`."""
        return self.learner.begin(env, state, key)

    def candidates(self, env: Environment, state: Any, key: Key[Array, ""]) -> Any:
        """Those of the learner; consumes `key`."""
        return self.learner.candidates(env, state, key)

    def enter(self, env: Environment, state: Any, key: Key[Array, ""]) -> Any:
        """As the learner does; consumes `key`."""
        return self.learner.enter(env, state, key)

    def learn(
        self, env: Environment, state: Any, tried: Any, told: Any, key: Key[Array, ""]
    ) -> tuple[Any, dict[str, Any]]:
        """As the learner does; consumes `key`."""
        return self.learner.learn(env, state, tried, told, key)


class Counted(NamedTuple):
    """The state of a learner, and how often it has updated."""

    own: Any
    updates: Int[Array, ""]


class Stopped(Wrapper):
    """Learns for a number of inner episodes, and no more: a shaper's hold on it is tested after that ("hardstop").

    Source: Khan et al. 2024, arXiv 2312.12568, code.

    Attributes:
        learner: what is wrapped.
        episodes: updates it makes.
    """

    learner: Learner
    episodes: int = struct.field(default=1, pytree_node=False)

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("episodes", self.episodes, 0, whole=True)

    def init(self, env: Environment, key: Key[Array, ""]) -> Counted:
        """That of the learner, at 0 updates; consumes `key`."""
        return Counted(self.learner.init(env, key), jnp.zeros((), jnp.int32))

    def policy(self, state: Counted) -> Any:
        """That of the learner."""
        return self.learner.policy(state.own)

    def update(self, state: Counted, context: Context, key: Key[Array, ""]) -> tuple[Counted, Any]:
        """That of the learner, or nothing once it has stopped; consumes `key`."""
        own, metrics = self.learner.update(state.own, context, key)
        going = state.updates < self.episodes
        kept = jax.tree.map(lambda new, old: jnp.where(going, new, old), own, state.own)
        return Counted(kept, state.updates + 1), metrics


class Blind(Wrapper):
    """Sees observation 0, the start of an episode, in the first environments of a batch ("blindsight").

    A shaper that averages its memory over the batch may know what happened there all the same.
    Source: Khan et al. 2024, arXiv 2312.12568, code.

    Attributes:
        learner: what is wrapped.
        environments: how many of the B environments it does not see.
    """

    learner: Learner
    environments: int = struct.field(default=1, pytree_node=False)

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("environments", self.environments, 0, whole=True)

    def act(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Any, key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """As the learner does, on what is seen; consumes `key`."""
        return self.learner.act(env, policy, memory, self._seen(obs), legal, key)

    def action_probabilities(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"]
    ) -> Float[Array, " A"]:
        """Those of the learner, on what is seen."""
        return self.learner.action_probabilities(env, policy, memory, self._seen(obs), legal)

    def _seen(self, obs: Any) -> Any:
        hidden = jax.lax.axis_index(ENVIRONMENTS) < self.environments
        return jax.tree.map(lambda leaf: jnp.where(hidden, jnp.zeros_like(leaf), leaf), obs)


class Tabled(Wrapper):
    """A learner that never learns, as the memory-one table of what it does, from which others know its exact value."""

    @property
    def samples(self) -> bool:
        """No."""
        return False

    @property
    def tables(self) -> bool:
        """Yes."""
        return True

    def init(self, env: Environment, key: Key[Array, ""]) -> Float[Array, "O L"]:
        """The table of the learner's policy; consumes `key`."""
        policy, every = self.learner.policy(self.learner.init(env, key)), jnp.ones(env.num_actions, bool)
        seen = jnp.arange(env.num_observations or 0, dtype=jnp.int32)
        chance = jax.vmap(lambda obs: self.learner.action_probabilities(env, policy, (), obs, every))(seen)
        logits = jnp.maximum(jnp.log(jnp.asarray(chance, float)), NEVER)
        return logits[:, :-1] - logits[:, -1:]

    def policy(self, state: Any) -> Any:
        """The table."""
        return state

    def memory(self, env: Environment, policy: Any) -> tuple[()]:
        """None."""
        return ()

    def carry(self, env: Environment, policy: Any, memory: Any) -> tuple[()]:
        """None."""
        return ()

    def act(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Any, key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """Draw from the table; consumes `key`."""
        return sample_action(env, action_logits(policy[obs], legal), key)[0], memory, ()

    def action_probabilities(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"]
    ) -> Float[Array, " A"]:
        """Those of the table."""
        return probabilities(action_logits(policy[obs], legal))


def tabled(env: Environment, learner: Learner) -> Learner | None:
    """`learner` as it is if it has a table, as `Tabled` if it never learns and can have one in `env`; else None."""
    if learner.tables:
        return learner
    if learner.learns or learner.span == "trial" or not isinstance(env, MatrixGame):
        return None
    memory = jax.eval_shape(lambda key: learner.memory(env, learner.policy(learner.init(env, key))), jax.random.key(0))
    return None if jax.tree.leaves(memory) else Tabled(learner)


class Prepared(Wrapper):
    """Starts from one of a few states that were prepared before, drawn at random.

    Attributes:
        learner: what is wrapped.
        states: of the learner, leaves `[K, ...]`.
    """

    learner: Learner
    states: Any

    @property
    def prepares(self) -> bool:
        """No longer."""
        return False

    def init(self, env: Environment, key: Key[Array, ""]) -> Any:
        """One of the states; consumes `key`."""
        choice = jax.random.randint(key, (), 0, len(jax.tree.leaves(self.states)[0]))
        return jax.tree.map(lambda leaf: leaf[choice], self.states)
