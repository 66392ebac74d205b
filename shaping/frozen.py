"""A trained policy that has stopped learning."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from envs import Environment
from shaping.learner import Context, Learner

__all__ = ["Frozen"]


class Frozen(Learner):
    """Plays a policy that another learner has learned, and learns nothing. To the others it stands still.

    A shaper goes on to play whole trials: its memory is kept from one inner episode to the next, and where it chooses
    its policies from those of everybody, it goes on to choose.

    Attributes:
        learner: whose policy it is.
        policies: of each of K training seeds, leaves `[K, ...]`; of a shaper the inner states, as of `begin`.
        choice: which of them plays; -1 draws one with the seed's key.
    """

    learner: Learner
    policies: Any
    choice: Int[Array, ""]

    @classmethod
    def of(cls, learner: Learner, policies: Any, choice: int = -1) -> Frozen:
        """Freeze `policies`, leaves `[K, ...]`."""
        return cls(learner, policies, jnp.int32(choice))

    @property
    def sees(self) -> Literal["own", "policies"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The policies of all seats, if the learner is a shaper that chooses from them."""
        return "policies" if self._chooses else "own"

    @property
    def tables(self) -> bool:
        """Whether it chooses from tables."""
        return self._chooses and self.learner.tables

    @property
    def samples(self) -> bool:
        """Whether the learner, as a shaper, plays trials; it learns nothing from them."""
        return self.span == "trial" and self.learner.samples

    @property
    def learns(self) -> bool:
        """Whether it chooses anew after every inner episode, as a shaper."""
        return self._chooses

    @property
    def span(self) -> Literal["episode", "trial"]:
        """That of the learner: what a shaper has learned shows in a trial, among rivals that learn."""
        return self.learner.span

    def init(self, env: Environment, key: Key[Array, ""]) -> Any:
        """The policy of one training seed; consumes `key`."""
        drawn = jax.random.randint(key, (), 0, len(jax.tree.leaves(self.policies)[0]))
        return jax.tree.map(lambda leaf: leaf[jnp.where(self.choice < 0, drawn, self.choice)], self.policies)

    def enter(self, env: Environment, state: Any, key: Key[Array, ""]) -> Any:
        """As the learner does, as a shaper; consumes `key`."""
        return self.learner.enter(env, state, key)

    def policy(self, state: Any) -> Any:
        """The policy, or what acts of the inner state of a shaper."""
        return self.learner.policy(state) if self.span == "trial" else state

    def update(self, state: Any, context: Context, key: Key[Array, ""]) -> tuple[Any, Any]:
        """What a shaper chooses to play next, if it does; consumes `key`."""
        return (self.learner.update(state, context, key)[0] if self._chooses else state), {}

    def memory(self, env: Environment, policy: Any) -> Any:
        """That of the learner."""
        return self.learner.memory(env, policy)

    def carry(self, env: Environment, policy: Any, memory: Any) -> Any:
        """As the learner does."""
        return self.learner.carry(env, policy, memory)

    def act(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Any, key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """What the learner would do; consumes `key`."""
        action, memory, _ = self.learner.act(env, policy, memory, obs, legal, key)
        return action, memory, ()

    def action_probabilities(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"]
    ) -> Float[Array, " A"]:
        """Those of the learner."""
        return self.learner.action_probabilities(env, policy, memory, obs, legal)

    @property
    def _chooses(self) -> bool:
        return self.span == "trial" and self.learner.sees == "policies"
