"""A mixture over a population of policies, as a player."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from envs import Environment
from shaping.learner import Learner

__all__ = ["Mixture", "Population"]


class Population(NamedTuple):
    """Policies, leaves `[K, ...]`, and how likely each is."""

    policies: Any
    weights: Float[Array, " K"]


class Drawn(NamedTuple):
    """Which policy plays the episode, -1 before the first step; and its own memory."""

    member: Int[Array, ""]
    own: Any


class Mixture(Learner):
    """Plays one of a population of policies for a whole episode, drawn at its first step, and learns nothing.

    Attributes:
        learner: whose policies they are.
    """

    learner: Learner

    @property
    def samples(self) -> bool:
        """No."""
        return False

    def memory(self, env: Environment, policy: Population) -> Drawn:
        """Nobody is drawn yet."""
        first = jax.tree.map(lambda leaf: leaf[0], policy.policies)
        return Drawn(jnp.full((), -1, jnp.int32), self.learner.memory(env, first))

    def act(
        self,
        env: Environment,
        policy: Population,
        memory: Drawn,
        obs: Any,
        legal: Bool[Array, " A"],
        key: Key[Array, ""],
    ) -> tuple[Any, Drawn, Any]:
        """Draw who plays, if nobody has been; and what that one would do; consumes `key`."""
        draw_key, act_key = jax.random.split(key)
        drawn = jax.random.categorical(draw_key, jnp.log(policy.weights)).astype(jnp.int32)
        member = jnp.where(memory.member < 0, drawn, memory.member)
        playing = jax.tree.map(lambda leaf: leaf[member], policy.policies)
        own = self._entered(env, playing, memory)
        action, own, _ = self.learner.act(env, playing, own, obs, legal, act_key)
        return action, Drawn(member, own), ()

    def action_probabilities(
        self, env: Environment, policy: Population, memory: Drawn, obs: Any, legal: Bool[Array, " A"]
    ) -> Float[Array, " A"]:
        """Those of the one who plays; before the first step, their mean over the population."""

        def of(playing: Any) -> Float[Array, " A"]:
            return self.learner.action_probabilities(env, playing, self._entered(env, playing, memory), obs, legal)

        known = (jnp.arange(policy.weights.size, dtype=jnp.int32) == memory.member).astype(policy.weights.dtype)
        return jnp.where(memory.member < 0, policy.weights, known) @ jax.vmap(of)(policy.policies)

    def _entered(self, env: Environment, playing: Any, memory: Drawn) -> Any:
        """The memory of who plays, fresh before the first step."""
        fresh = self.learner.memory(env, playing)
        return jax.tree.map(lambda new, old: jnp.where(memory.member < 0, new, old), fresh, memory.own)
