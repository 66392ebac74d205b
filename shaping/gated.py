"""The network of model-free opponent shaping: a policy without history, gated by what earlier episodes taught."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float, Key

from envs import Environment
from shaping.learner import ENVIRONMENTS
from shaping.networks import ActorCriticNetwork, NetworkModule, Output, masked

__all__ = ["GatedNetwork"]


class Memory(NamedTuple):
    """Three recurrent memories, the gate in use, and the one that the next inner episode will use; all `[H]`."""

    meta: Float[Array, "... H"]
    actor: Float[Array, "... H"]
    critic: Float[Array, "... H"]
    gate: Float[Array, "... H"]
    next_gate: Float[Array, "... H"]


class GatedNetwork(struct.PyTreeNode):
    """M-FOS: actor and critic that forget between inner episodes, times a gate that a third memory sets for the next.

    All three read every observation. The actor's logits are linear in gate x memory, the value likewise; the gate of
    the next inner episode is σ(linear in the meta-memory) after the last step of this one. It is 1 in the first, and
    all that outlives an episode. `unroll` is along one inner episode, so that in trials PPO has to take memories as
    data (`gradient` "one_step").

    Source: Lu et al. 2022 (M-FOS), arXiv 2205.01447; the form of Khan et al. 2024, arXiv 2312.12568, code.

    Attributes:
        torso: what features of observations are made of, as of `ActorCriticNetwork`, one each.
        width: units of a dense layer, channels of a convolution.
        depth: number of dense layers of the MLP.
        memory_size: units H of each memory.
        averaging: of all memories before every step, with those of the other environments: "none" or "average".
    """

    torso: Literal["auto", "table", "mlp", "cnn"] = struct.field(default="auto", pytree_node=False)
    width: int = struct.field(default=16, pytree_node=False)
    depth: int = struct.field(default=2, pytree_node=False)
    memory_size: int = struct.field(default=16, pytree_node=False)
    averaging: Literal["none", "average"] = struct.field(default="none", pytree_node=False)

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        self._plain()
        if self.averaging == "attention" or not self.memory_size:
            raise ValueError("averaging of gated memories: expected 'none' or 'average', and memory_size of 1 or more")

    def check(self, env: Environment) -> None:
        """Raise unless the torso fits the observations of `env`, whose actions are discrete."""
        self._plain().check(env)
        if not env.num_actions:
            raise ValueError(f"gated memories need discrete actions, unlike those of {type(env).__name__}: try shaper")

    def init(self, env: Environment, key: Key[Array, ""], critics: int = 1) -> Any:
        """Fresh parameters; consumes `key`."""
        dtype = jnp.int32 if env.num_observations is not None else jnp.float32
        return self._module(env, critics).init(key, self.memory(None), jnp.zeros(env.obs_shape, dtype))["params"]

    def memory(self, params: Any) -> Memory:
        """Zeros, and gates of 1."""
        zeros, ones = jnp.zeros(self.memory_size), jnp.ones(self.memory_size)
        return Memory(zeros, zeros, zeros, ones, ones)

    def carry(self, params: Any, memory: Memory) -> Memory:
        """Only the next gate, in use now."""
        return self.memory(params)._replace(gate=memory.next_gate)

    def mix(self, params: Any, memory: Memory) -> Memory:
        """As `averaging` says."""
        if self.averaging == "none":
            return memory
        half = lambda leaf: (leaf + jax.lax.pmean(leaf, ENVIRONMENTS)) / 2  # noqa: E731
        return memory._replace(meta=half(memory.meta), actor=half(memory.actor), critic=half(memory.critic))

    def step(self, env: Environment, params: Any, memory: Memory, obs: Any, legal: Any) -> tuple[Output, Memory]:
        """Output and the next memory after one observation."""
        module = self._module(env, params["critic"]["kernel"].shape[-1])
        results: Any = module.apply({"params": params}, memory, obs)
        memory, action, value = results
        return Output(masked(action, legal), value), memory

    def unroll(self, env: Environment, params: Any, memory: Memory, obs: Any, legal: Any) -> tuple[Output, Memory]:
        """Outputs along one inner episode, leaves `[T, ...]` or `[T, B, ...]` with one memory for all."""
        lead = obs.shape[1 : obs.ndim - len(env.obs_shape)]
        memory = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*lead, self.memory_size)), memory)

        def step(memory: Memory, seen: tuple[Any, Any]) -> tuple[Memory, Output]:
            output, memory = self.step(env, params, memory, *seen)
            return memory, output

        memory, output = jax.lax.scan(step, memory, (obs, legal))
        return output, memory

    def _plain(self) -> ActorCriticNetwork:
        return ActorCriticNetwork(self.torso, self.width, self.depth, self.memory_size)

    def _module(self, env: Environment, critics: int) -> _Gated:
        return _Gated(self._plain().module(env, critics), self.memory_size, env.num_actions, critics)


class _Gated(nn.Module):
    plain: NetworkModule
    memory_size: int
    outputs: int
    critics: int

    def setup(self) -> None:
        self.trunks = [self.plain.clone() for _ in range(3)]
        small = nn.initializers.orthogonal(0.01)
        self.gate = nn.Dense(self.memory_size)
        self.actor = nn.Dense(self.outputs, kernel_init=small)
        self.critic = nn.Dense(self.critics, kernel_init=small)

    def __call__(self, memory: Memory, obs: Any) -> tuple[Memory, Any, Any]:
        before = memory.meta, memory.actor, memory.critic
        meta, actor, critic = (trunk.recall(h, obs) for trunk, h in zip(self.trunks, before, strict=True))
        gate = jax.nn.sigmoid(self.gate(meta))
        decided = self.actor(memory.gate * actor), self.critic(memory.gate * critic)
        return Memory(meta, actor, critic, memory.gate, gate), *decided
