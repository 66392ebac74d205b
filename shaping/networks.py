"""What learners act with: an actor, and a critic where there is one, from parameters that are a PyTree.

Every network has the same six functions, written for one observation or, with leading axes, for many:

    init(env, key) -> params
    memory(params) -> memory                                        fresh, () where there is none
    carry(params, memory) -> memory                                 for the next inner episode of a trial
    mix(params, memory) -> memory                                   across the environments of an update, in `act`
    step(env, params, memory, obs, legal) -> (Output, memory)       one observation
    unroll(env, params, memory, obs, legal) -> (Output, memory)     sequences, leaves [T, ...] or [T, B, ...]
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Bool, Float, Key

from envs import Environment
from envs.validation import require_choice, require_range
from shaping.distributions import ILLEGAL_LOGIT, Gaussian, action_logits, log_probability, probabilities
from shaping.learner import ENVIRONMENTS, Learner, Replay, Trajectory
from shaping.linear import Linear

__all__ = [
    "ActorCriticNetwork",
    "LogitTable",
    "Network",
    "NetworkLearner",
    "NetworkModule",
    "NetworkState",
    "Output",
    "masked",
]


POINT = -20.0  # logarithm of a standard deviation too small to matter: the action itself
LARGE_BOARD = 25  # cells up to which dense layers are at least as good, and compile ten times as fast


class Output(NamedTuple):
    """What a network says of an observation.

    Attributes:
        action: logits `[..., A]` of discrete actions, very low for illegal ones, or a `Gaussian`.
        value: `[..., K]` of each of its critics; K = 0 without any.
    """

    action: Any
    value: Float[Array, "*batch K"]


class LogitTable(struct.PyTreeNode):
    """A memory-one table: the logits of actions 0 ... A - 2 after each observation, `[O, A - 1]`.

    The logit of the last action is 0. Where actions are continuous it holds the action itself, `[O, d]`.

    Attributes:
        initial_std: standard deviation of the initial numbers, normal with mean 0.
    """

    initial_std: float = 1.0

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("initial_std", self.initial_std, 0.0)

    def check(self, env: Environment) -> None:
        """Raise unless observations of `env` are discrete."""
        if env.num_observations is None:
            raise ValueError(f"a table needs discrete observations, {type(env).__name__} has others")

    def init(self, env: Environment, key: Key[Array, ""], critics: int = 0) -> Float[Array, "O L"]:
        """Normal numbers; consumes `key`. There is no critic, whatever `critics`."""
        assert env.num_observations is not None, "see `check`"
        width = env.num_actions - 1 if env.num_actions else env.action_dim
        return self.initial_std * jax.random.normal(key, (env.num_observations, width))

    def memory(self, params: Any) -> tuple[()]:
        """None."""
        return ()

    def carry(self, params: Any, memory: Any) -> tuple[()]:
        """None."""
        return ()

    def mix(self, params: Any, memory: Any) -> tuple[()]:
        """None."""
        return ()

    def step(self, env: Environment, params: Any, memory: Any, obs: Any, legal: Any) -> tuple[Output, Any]:
        """Logits of one observation."""
        return self.unroll(env, params, memory, obs, legal)

    def unroll(self, env: Environment, params: Any, memory: Any, obs: Any, legal: Any) -> tuple[Output, Any]:
        """Logits of any number of observations."""
        row = jnp.asarray(params)[obs]
        none = jnp.zeros((*row.shape[:-1], 0))
        if env.num_actions:
            return Output(action_logits(row, legal), none), memory
        low, high = env.action_range
        place = jnp.clip((row - low) / (high - low), 1e-6, 1 - 1e-6)
        mean = jax.scipy.special.logit(place)
        return Output(Gaussian(mean, jnp.full_like(mean, POINT)), none), memory


class ActorCriticNetwork(struct.PyTreeNode):
    """Torso, optional recurrent memory, and linear heads for the actor and one or more critics.

    Discrete observations are one-hot. A continuous action is Gaussian with a learned scale that no observation changes.

    Attributes:
        torso: "table" is none at all: one-hot observations, so that without memory the heads are tables; "mlp" dense
            layers with tanh; "cnn" two 3 x 3 convolutions on a torus and a dense layer with relu; "auto" the table for
            discrete observations, the CNN for boards `[H, W, C]` of more than 25 cells, the MLP for other arrays.
        width: units of a dense layer, channels of a convolution.
        depth: number of dense layers of the MLP.
        memory_size: units of the gated recurrent memory; 0 for none.
        averaging: of the memory before every step, with those in the other environments of the update, from all of
            which the rivals learn: "none"; "average", half the own and half the mean of all (arXiv 2205.01447); or
            "attention" of the own one to all in place of that mean (arXiv 2312.12568).
        heads: initial weights of the heads: "small", normal of standard deviation 0.01 a unit for the actor, or
            "constant", 0.5 everywhere, as in the code of arXiv 2312.12564; uniform play either way.
    """

    torso: Literal["auto", "table", "mlp", "cnn"] = struct.field(default="auto", pytree_node=False)
    width: int = struct.field(default=16, pytree_node=False)
    depth: int = struct.field(default=2, pytree_node=False)
    memory_size: int = struct.field(default=0, pytree_node=False)
    averaging: Literal["none", "average", "attention"] = struct.field(default="none", pytree_node=False)
    heads: Literal["small", "constant"] = struct.field(default="small", pytree_node=False)

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        require_choice("torso", self.torso, ("auto", "table", "mlp", "cnn"))
        require_range("width", self.width, 1, whole=True)
        require_range("depth", self.depth, 1, whole=True)
        require_range("memory_size", self.memory_size, 0, whole=True, hint="0 for no memory")
        require_choice("averaging", self.averaging, ("none", "average", "attention"))
        if self.averaging != "none" and not self.memory_size:
            raise ValueError(f"averaging = {self.averaging!r} without a memory: expected memory_size of 1 or more")
        require_choice("heads", self.heads, ("small", "constant"))

    def check(self, env: Environment) -> None:
        """Raise unless the torso fits the observations of `env`."""
        if self.torso == "table" and env.num_observations is None:
            raise ValueError(
                f"torso = 'table' needs discrete observations, {type(env).__name__} has arrays: try 'auto'"
            )
        if self.torso == "cnn" and len(env.obs_shape) != 3:
            raise ValueError(f"torso = 'cnn' needs boards [H, W, C], observations here are {env.obs_shape}: try auto")

    def init(self, env: Environment, key: Key[Array, ""], critics: int = 1) -> Any:
        """Fresh parameters with `critics` value heads; consumes `key`."""
        module = self.module(env, critics)
        dtype = jnp.int32 if env.num_observations is not None else jnp.float32
        params = dict(module.init(key, self._fresh(), jnp.zeros(env.obs_shape, dtype))["params"])
        if self.averaging == "attention":
            h = self._fresh()
            params["attention"] = _Attention().init(jax.random.fold_in(key, 1), h, h[None])["params"]
        return params

    def memory(self, params: Any) -> Any:
        """Zeros, or () without memory."""
        return self._fresh()

    def carry(self, params: Any, memory: Any) -> Any:
        """It stays."""
        return memory

    def mix(self, params: Any, memory: Any) -> Any:
        """As `averaging` says."""
        if self.averaging == "none":
            return memory
        if self.averaging == "average":
            return (memory + jax.lax.pmean(memory, ENVIRONMENTS)) / 2
        everywhere = jax.lax.all_gather(memory, ENVIRONMENTS)
        attended: Any = _Attention().apply({"params": params["attention"]}, memory, everywhere)
        return (memory + attended) / 2

    def step(self, env: Environment, params: Any, memory: Any, obs: Any, legal: Any) -> tuple[Output, Any]:
        """Output and the next memory after one observation."""
        module = self.module(env, params["critic"]["kernel"].shape[-1])
        results: Any = module.apply({"params": params}, memory, obs)
        memory, action, value = results
        return Output(masked(action, legal), value), memory

    def unroll(self, env: Environment, params: Any, memory: Any, obs: Any, legal: Any) -> tuple[Output, Any]:
        """Outputs of sequences, leaves `[T, ...]` or `[T, B, ...]` with a memory or B of them, and the last memories.

        Only the memory is computed one step at a time; all else as one long batch, which is twice as fast as two axes.
        """
        module = self.module(env, params["critic"]["kernel"].shape[-1])
        apply: Any = partial(module.apply, {"params": params})
        lead = obs.shape[: obs.ndim - len(env.obs_shape)]
        flat = lambda leaf: leaf.reshape(-1, *leaf.shape[len(lead) :])  # noqa: E731
        unflat = lambda leaf: leaf.reshape(*lead, *leaf.shape[1:])  # noqa: E731
        features = apply(flat(obs), method="embed")
        if self.memory_size:
            gates = unflat(apply(features, method="project"))
            memory = jnp.broadcast_to(memory, (*lead[1:], self.memory_size))
            memory, features = jax.lax.scan(lambda h, x: (apply(h, x, method="remember"),) * 2, memory, gates)
            features = flat(features)
        action, value = jax.tree.map(unflat, apply(features, method="decide"))
        return Output(masked(action, legal), value), memory

    def _fresh(self) -> Any:
        return jnp.zeros(self.memory_size) if self.memory_size else ()

    def module(self, env: Environment, critics: int) -> NetworkModule:
        """The flax module for `env`."""
        torso = self.torso
        if torso == "auto":
            board = len(env.obs_shape) == 3 and env.obs_shape[0] * env.obs_shape[1] > LARGE_BOARD
            torso = "table" if env.num_observations is not None else "cnn" if board else "mlp"
        return NetworkModule(
            torso, self.width, self.depth, self.memory_size, self.heads, env.num_observations, len(env.obs_shape),
            env.num_actions or env.action_dim, not env.num_actions, critics,
        )  # fmt: skip


Network = LogitTable | ActorCriticNetwork


class NetworkState(NamedTuple):
    """Parameters of a network, and the state of their optimiser."""

    params: Any
    optimizer: Any


class NetworkLearner(Learner):
    """What learners with a network have in common: its parameters are the policy, and replay trajectories.

    Attributes:
        network: what acts, and holds the parameters.
    """

    network: Network

    def policy(self, state: Any) -> Any:
        """The parameters."""
        return state.params

    def memory(self, env: Environment, policy: Any) -> Any:
        """That of the network."""
        return self.network.memory(policy)

    def action_probabilities(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"]
    ) -> Float[Array, " A"]:
        """Those of the network."""
        output, _ = self.network.step(env, policy, self.network.mix(policy, memory), obs, legal)
        return probabilities(output.action)

    def critic_scale(self, env: Environment) -> float | Array:
        """What takes discounted sums to the scale on which the network's critics learn them."""
        raise NotImplementedError

    def replay(self, env: Environment, policy: Any, trajectory: Trajectory) -> Replay:
        """Log-probabilities of the actions, and values of the first critic; 0 where there is none."""
        t, fresh, everything = trajectory, self.network.memory(policy), jnp.ones(env.num_actions, bool)
        output, memory = self.network.unroll(env, policy, fresh, t.obs, t.legal)
        last, _ = self.network.step(env, policy, memory, t.last_obs, everything)
        values = jnp.concatenate([output.value, last.value[None]])
        own = values[..., 0] if values.shape[-1] else jnp.zeros(values.shape[:-1])
        return Replay(log_probability(env, output.action, t.action), own / self.critic_scale(env), output.action)


def masked(action: Any, legal: Any) -> Any:
    """Logits, very low for illegal actions; continuous ones as they are."""
    return action if isinstance(action, Gaussian) else jnp.where(legal, action, ILLEGAL_LOGIT)


class _Attention(nn.Module):
    """Of one memory `[H]` to those of all environments `[B, H]`: norm, attention, norm, linear."""

    @nn.compact
    def __call__(self, memory: Any, everywhere: Any) -> Any:
        norm = nn.LayerNorm()
        attend = nn.MultiHeadDotProductAttention(num_heads=1)
        return nn.Dense(memory.shape[-1])(nn.LayerNorm()(attend(norm(memory)[None], norm(everywhere))[0]))


class NetworkModule(nn.Module):
    """The flax module behind `ActorCriticNetwork`, in the parts that an unroll batches differently."""

    torso: str
    width: int
    depth: int
    memory_size: int
    heads: str
    observations: int | None
    obs_rank: int
    outputs: int
    continuous: bool
    critics: int

    def setup(self) -> None:
        """Layers; those that are not called have no parameters."""
        fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
        if self.torso == "cnn":
            conv = partial(nn.Conv, kernel_size=(3, 3), padding="CIRCULAR", kernel_init=fan_in)
            self.convolutions = [conv(self.width), conv(self.width)]
        layers = {"table": 0, "cnn": 1, "mlp": self.depth}[self.torso]
        dense = partial(Linear, one_hot=self.observations)
        self.dense = [dense(self.width, kernel_init=fan_in) for _ in range(layers)]
        if self.memory_size:
            self.gates_in = dense(3 * self.memory_size, kernel_init=fan_in)
            self.gates_memory = Linear(2 * self.memory_size, use_bias=False, kernel_init=fan_in)
            self.candidate_memory = Linear(self.memory_size, use_bias=False, kernel_init=fan_in)
        constant = nn.initializers.constant(0.5)
        bias = self.torso != "table"
        small = nn.initializers.normal(0.01)
        self.actor = dense(self.outputs, use_bias=bias, kernel_init=constant if self.heads == "constant" else small)
        zeros = nn.initializers.zeros
        self.critic = dense(self.critics, use_bias=bias, kernel_init=constant if self.heads == "constant" else zeros)
        if self.continuous:
            self.log_std = self.param("log_std", nn.initializers.constant(-1.0), (self.outputs,))

    def embed(self, obs: Any) -> Any:
        """Features of observations, with any leading axes; discrete ones as they are, up to the first layer."""
        if self.observations is not None:
            x = obs
        elif self.torso == "cnn":
            x = obs
            for layer in self.convolutions:
                x = nn.relu(layer(x))
            x = x.reshape(*x.shape[:-3], -1)
        else:
            x = obs.reshape(*obs.shape[: obs.ndim - self.obs_rank], -1)
        for layer in self.dense:
            x = (nn.relu if self.torso == "cnn" else nn.tanh)(layer(x))
        return x

    def project(self, features: Any) -> Any:
        """What the features add to the gates; no memory involved, so that a sequence is one product."""
        return self.gates_in(features)

    def remember(self, h: Any, gates: Any) -> Any:
        """z, r = σ(W x + U h + b); h' = (1 - z) h + z tanh(W x + U (r h) + b), the gated recurrent unit of Haiku."""
        both, candidate = jnp.split(gates, [2 * self.memory_size], axis=-1)
        z, r = jnp.split(jax.nn.sigmoid(both + self.gates_memory(h)), 2, axis=-1)
        return (1 - z) * h + z * jnp.tanh(candidate + self.candidate_memory(r * h))

    def decide(self, x: Any) -> tuple[Any, Any]:
        """Action parameters and values of features, or of memories where there are any."""
        action = self.actor(x)
        if self.continuous:
            action = Gaussian(action, jnp.broadcast_to(self.log_std, action.shape))
        return action, self.critic(x)

    def recall(self, memory: Any, obs: Any) -> Any:
        """The memory after one observation."""
        return self.remember(memory, self.project(self.embed(obs)))

    def __call__(self, memory: Any, obs: Any) -> tuple[Any, Any, Any]:
        """One step: memory, action parameters, values."""
        if self.memory_size:
            x = memory = self.recall(memory, obs)
        else:
            x = self.embed(obs)
        return memory, *self.decide(x)
