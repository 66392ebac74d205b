"""A policy on its own: what was learned in a seat, as a function from observations to actions."""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Key

from envs import Environment
from shaping import Learner
from shaping.learner import ENVIRONMENTS

__all__ = ["Policy"]


class Policy(struct.PyTreeNode, eq=False):
    """What one seat does: `memory = policy.init()`, then `action, memory = policy(observation, memory, key)` each step.

    A pure function, to be jitted and vmapped, of one environment or of B environments side by side, as long as
    observations have an axis more than `env.obs_shape`; `policy.init((B,))` is their memory. Memories are fresh at
    the start of an episode; those of a shaper go on from one inner episode of a trial to the next, by `carry`. A
    shaper that averages its memory over environments does so over those that are side by side.

    Attributes:
        env: the environment in which it was learned.
        learner: how to act.
        params: what was learned.
        seat: where it sat, which decides what is legal.
    """

    env: Environment
    learner: Learner
    params: Any
    seat: int = struct.field(default=0, pytree_node=False)

    def init(self, batch: tuple[int, ...] = ()) -> Any:
        """Memory before the first step, leaves `[*batch, ...]`; () where there is none."""
        fresh = self.learner.memory(self.env, self.params)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*batch, *jnp.shape(leaf))), fresh)

    def carry(self, memory: Any) -> Any:
        """Memory at the start of the next inner episode, from that at the end of the last; fresh but for shapers."""
        one = lambda own: self.learner.carry(self.env, self.params, own)  # noqa: E731
        pairs = zip(jax.tree.leaves(memory), jax.tree.leaves(self.init()), strict=True)
        wide = any(jnp.ndim(leaf) > jnp.ndim(fresh) for leaf, fresh in pairs)
        return jax.vmap(one)(memory) if wide else one(memory)

    def __call__(
        self, observation: Any, memory: Any, key: Key[Array, ""], legal: Bool[Array, "*batch A"] | None = None
    ) -> tuple[Any, Any]:
        """Action and memory after it; consumes `key`, which is split for B environments.

        Args:
            observation: of the seat, `env.obs_shape`, or with an axis of B environments before it.
            memory: as of `init` or of the step before.
            key: of the draw.
            legal: which actions are allowed; those that the seat has at all if None.
        """
        observation, alone = self._seen(observation)
        keys = key[None] if alone else jax.random.split(key, len(observation))
        found = self.act(observation, _wide(memory, alone), keys, legal)
        return _narrow(found, alone)

    def probabilities(
        self, observation: Any, memory: Any, legal: Bool[Array, "*batch A"] | None = None
    ) -> Float[Array, "*batch A"]:
        """With which probability `policy(observation, memory, key)` takes each action; `[0]` where they are continuous.

        Raises:
            NotImplementedError: a learner of your own that has no `action_probabilities`.
        """
        observation, alone = self._seen(observation)
        found = self._together("action_probabilities", observation, _wide(memory, alone), legal)
        return _narrow(found, alone)

    def act(self, observation: Any, memory: Any, keys: Key[Array, " B"], legal: Any = None) -> tuple[Any, Any]:
        """The same for B environments side by side, each with a key of its own."""
        action, memory, _ = self._together("act", observation, memory, legal, keys)
        return action, memory

    @property
    def observed(self) -> jax.ShapeDtypeStruct:
        """Shape and type of an observation."""
        seen = jax.eval_shape(lambda: self.env.reset(jax.random.key(0))[1])
        return jax.ShapeDtypeStruct(seen.shape[1:], seen.dtype)

    @property
    def looks_across(self) -> bool:
        """Whether what it does in one environment depends on the others that are side by side."""
        seen, key = jnp.zeros(self.observed.shape, self.observed.dtype), jax.random.key(0)
        try:
            jax.eval_shape(lambda: self.learner.act(self.env, self.params, self.init(), seen, self.legal, key)[:2])
        except NameError:  # there is no axis of environments
            return True
        return False

    @property
    def legal(self) -> Bool[Array, " A"]:
        """The actions that the seat has, whatever the state."""
        return self.env.legal(None)[self.seat]

    def _seen(self, observation: Any) -> tuple[Array, bool]:
        """The observation, with an axis of environments, and whether there is but one.

        Raises:
            ValueError: another shape.
        """
        like, found = self.observed, jnp.shape(observation)
        if found not in (like.shape, (*found[:1], *like.shape)):
            raise ValueError(f"observation of shape {found}: expected {like.shape}, or (B, ...) of environments")
        alone = len(found) == len(like.shape)
        return cast(Array, _wide(jnp.asarray(observation, like.dtype), alone)), alone

    def _together(self, method: str, observation: Array, memory: Any, legal: Any, *keys: Any) -> Any:
        """`learner.method` of B environments, across which it may look."""
        allowed = self.legal if legal is None else jnp.asarray(legal, bool)
        allowed = jnp.broadcast_to(allowed, (observation.shape[0], self.env.num_actions))

        def one(*own: Any) -> Any:
            return getattr(self.learner, method)(self.env, self.params, *own)

        return jax.vmap(one, axis_name=ENVIRONMENTS)(memory, observation, allowed, *keys)


def _wide(tree: Any, alone: bool) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree) if alone else tree


def _narrow(tree: Any, alone: bool) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], tree) if alone else tree
