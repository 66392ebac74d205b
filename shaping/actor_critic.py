"""The black-box learner that samples: an actor, a critic, and the policy gradient, clipped or not."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Key

from envs import Environment
from envs.validation import require_choice, require_range
from shaping.advantages import Advantages, per_step
from shaping.distributions import entropy, log_probability, sample_action
from shaping.learner import Context, Trajectory
from shaping.networks import ActorCriticNetwork, NetworkLearner, NetworkState

__all__ = ["ActorCritic"]


class Sample(NamedTuple):
    """What PPO learns from, leaves `[T, B, ...]`; `memory` before acting where gradients stop there, else ()."""

    obs: Any
    legal: Any
    action: Any
    log_prob: Float[Array, ...]
    value: Float[Array, ...]
    advantage: Float[Array, ...]
    target: Float[Array, ...]
    weight: Float[Array, ...]
    valid: Float[Array, ...]
    memory: Any


def of_trial(told: Trajectory) -> Trajectory:
    """The trajectories of a trial, leaves `[P, R, M, T, B, ...]`, as one long one, leaves `[M T, P R B, ...]`.

    An inner episode may end the game, but not the trial.
    """

    def flat(leaf: Array) -> Array:
        moved = jnp.moveaxis(leaf, (2, 3), (0, 1))
        return moved.reshape(moved.shape[0] * moved.shape[1], -1, *leaf.shape[5:])

    def last(leaf: Array) -> Array:
        return leaf[:, :, -1].reshape(-1, *leaf.shape[4:])

    steps = jax.tree.map(flat, told._replace(last_obs=None, last_memory=None))
    end = jax.tree.map(last, {"last_obs": told.last_obs, "last_memory": told.last_memory})
    return steps._replace(terminated=jnp.zeros_like(steps.terminated), **end)


class ActorCritic(NetworkLearner):
    """Policy gradient with a learned critic; for more than one epoch proximal (PPO).

    With the ratio ρ = π(a|h) / π_old(a|h), the advantage  and the return R = Â + V_old, every gradient step descends

        - E[min(ρ Â, clip(ρ, 1 - ε, 1 + ε) Â)] + c_v E[max((V - R)², (clip(V, V_old ± ε) - R)²)] - c_e E[entropy]

    where V and R are in `value_units`. For one epoch of one
    minibatch ρ = 1, and the first term's gradient is that of REINFORCE with a baseline, or of the advantage
    actor-critic. With memory the gradient flows through time over whole episodes; "one_step" takes the memory before
    each step as data, as the code of arXiv 2312.12564 does.

    Source: Williams 1992 (REINFORCE); Schulman et al. 2016, arXiv 1506.02438 (GAE); Schulman et al. 2017, arXiv
    1707.06347 (PPO).

    Attributes:
        network: actor and critic.
        estimator: of advantages.
        learning_rate: of Adam (or of "sgd").
        optimizer: of optax.
        epochs: passes over the experience of an update.
        minibatches: gradient steps a pass, each on other episodes. If there are too few, and no gradient flows through
            time, on other steps, which is slower.
        clip: ε of the ratio and of the value; 0 clips nothing.
        value_coefficient: c_v.
        entropy: c_e.
        normalize: whether advantages are normalised, in each minibatch, to mean 0 and standard deviation 1.
        max_grad_norm: global norm to which gradients are clipped.
        gradient: of recurrent networks: "through_time" over the experience of an update, or "one_step".
        value_units: what critics learn: "per_step", values on the scale of one reward (`advantages.per_step` times the
            discounted sums), or "sum", the sums themselves; ε and c_v are in these units, too.
        span: what it learns from: each inner "episode"; or, as a shaper, a whole "trial" at once, its memory kept and
            returns going on from one inner episode to the next.
    """

    network: ActorCriticNetwork  # pyright: ignore[reportIncompatibleVariableOverride]
    estimator: Advantages
    learning_rate: float = 0.01
    optimizer: Literal["adam", "sgd"] = struct.field(default="adam", pytree_node=False)
    epochs: int = struct.field(default=1, pytree_node=False)
    minibatches: int = struct.field(default=1, pytree_node=False)
    clip: float = 0.0
    value_coefficient: float = 0.5
    entropy: float = 0.01
    normalize: bool = struct.field(default=True, pytree_node=False)
    max_grad_norm: float = 0.5
    gradient: Literal["through_time", "one_step"] = struct.field(default="through_time", pytree_node=False)
    value_units: Literal["per_step", "sum"] = struct.field(default="per_step", pytree_node=False)
    span: Literal["episode", "trial"] = struct.field(default="episode", pytree_node=False)  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        for name in ("learning_rate", "clip", "value_coefficient", "entropy"):
            require_range(name, getattr(self, name), 0.0)
        for name in ("epochs", "minibatches"):
            require_range(name, getattr(self, name), 1, whole=True)
        require_range("max_grad_norm", self.max_grad_norm, 1e-8)
        require_choice("optimizer", self.optimizer, ("adam", "sgd"))
        require_choice("gradient", self.gradient, ("through_time", "one_step"))
        require_choice("value_units", self.value_units, ("per_step", "sum"))
        require_choice("span", self.span, ("episode", "trial"))

    @property
    def sees(self) -> Literal["own", "rewards"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The own trajectory, unless the advantages need more."""
        return self.estimator.sees

    @property
    def _through_time(self) -> bool:
        return bool(self.network.memory_size) and self.gradient == "through_time"

    def check(self, env: Environment, batch: int = 1) -> None:
        """Raise unless network and estimator fit, and the experience divides into minibatches."""
        self.network.check(env)
        self.estimator.check(env)
        if self.network.averaging != "none" and (self._through_time or self.network.averaging == "attention"):
            raise ValueError(
                f"averaging = {self.network.averaging!r}: expected 'none', or 'average' with gradient = 'one_step'"
            )
        if self.span == "trial" and self.sees == "rewards":
            raise ValueError(f"span = 'trial' with {type(self.estimator).__name__}: expected advantages of own rewards")
        if self._through_time and not isinstance(self.network, ActorCriticNetwork) and self.span == "trial":
            raise ValueError("gradient = 'through_time' of gated memories over a trial: expected 'one_step'")
        units, what = (batch, "episodes") if self._through_time else (batch * env.horizon, "steps")
        if units % self.minibatches:
            raise ValueError(
                f"minibatches = {self.minibatches}: expected a divisor of the {units} {what} of an update "
                f"(--batch {batch}{'' if self._through_time else f' x horizon {env.horizon}'})"
            )

    def init(self, env: Environment, key: Key[Array, ""]) -> NetworkState:
        """A fresh network and optimiser; consumes `key`."""
        params = self.network.init(env, key, self.estimator.critics(env))
        return NetworkState(params, self._optimizer().init(params))

    def act(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Any, key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """Sample; aux: log-probability, values, and the memory before acting where gradients stop there."""
        memory = self.network.mix(policy, memory)
        output, after = self.network.step(env, policy, memory, obs, legal)
        action, log_prob = sample_action(env, output.action, key)
        kept = memory if self.network.memory_size and not self._through_time else ()
        return action, after, (log_prob, output.value, kept)

    def carry(self, env: Environment, policy: Any, memory: Any) -> Any:
        """Fresh, or, in a trial, that of the network."""
        return self.network.carry(policy, memory) if self.span == "trial" else self.memory(env, policy)

    def critic_scale(self, env: Environment) -> float | Array:
        """That of `value_units`."""
        return per_step(self.estimator.discount, env.horizon) if self.value_units == "per_step" else 1.0

    def update(self, state: NetworkState, context: Context, key: Key[Array, ""]) -> tuple[NetworkState, Any]:
        """`epochs` passes of gradient steps over the experience; in a trial, only keep that."""
        if self.span == "trial":
            return state, context.trajectory
        return self._fit(state, context, key)

    def learn(
        self, env: Environment, state: NetworkState, tried: Any, told: Trajectory, key: Key[Array, ""]
    ) -> tuple[NetworkState, dict[str, Any]]:
        """`epochs` passes of gradient steps over the experience of a trial, one long episode."""
        context = Context(env, jnp.zeros((), jnp.int32), of_trial(told), None, None, None, None)
        return self._fit(state, context._replace(inner=told.reward.shape[3:]), key)

    def _fit(self, state: NetworkState, context: Context, key: Key[Array, ""]) -> tuple[NetworkState, dict[str, Any]]:
        sample = self._sample(state.params, context)
        gradient = jax.grad(self._loss, argnums=1, has_aux=True)

        def descend(state: NetworkState, batch: Sample) -> tuple[NetworkState, Any]:
            grads, metrics = gradient(context.env, state.params, batch)
            step, optimizer = self._optimizer().update(grads, state.optimizer, state.params)
            return NetworkState(optax.apply_updates(state.params, step), optimizer), metrics

        def epoch(state: NetworkState, key: Key[Array, ""]) -> tuple[NetworkState, Any]:
            return jax.lax.scan(descend, state, self._shuffle(sample, key))

        if self.epochs * self.minibatches == 1:
            return descend(state, sample)
        state, metrics = jax.lax.scan(epoch, state, jax.random.split(key, self.epochs))
        return state, jax.tree.map(lambda leaf: leaf.mean(), metrics)

    def _sample(self, params: Any, context: Context) -> Sample:
        t = context.trajectory
        assert t is not None
        log_prob, value, memory = t.aux
        scale = self.critic_scale(context.env)
        last = self._value(context.env, params, t.last_memory, t.last_obs)
        estimate = self.estimator(context, jnp.concatenate([value, last[None]]) / scale)
        estimate = estimate._replace(target=estimate.target * scale)
        return Sample(t.obs, t.legal, t.action, log_prob, value, *estimate, t.valid, memory)

    def _value(self, env: Environment, params: Any, memory: Any, obs: Any) -> Array:
        """Values `[B, K]` of the observations after the last step."""
        return self.network.step(env, params, memory, obs, jnp.ones(env.num_actions, bool))[0].value

    def _shuffle(self, sample: Sample, key: Key[Array, ""]) -> Sample:
        """Minibatches, leaves `[minibatches, ...]`: of whole episodes `[T, B', ...]`, or of steps `[1, N, ...]`."""
        if self.minibatches == 1:
            return jax.tree.map(lambda leaf: leaf[None], sample)
        if sample.valid.shape[1] % self.minibatches:
            sample = jax.tree.map(lambda leaf: leaf.reshape(1, -1, *leaf.shape[2:]), sample)
        units = sample.valid.shape[1]
        order = jax.random.permutation(key, units).reshape(self.minibatches, -1)
        return jax.vmap(lambda rows: jax.tree.map(lambda leaf: jnp.take(leaf, rows, axis=1), sample))(order)

    def _loss(self, env: Environment, params: Any, batch: Sample) -> tuple[Any, dict[str, Any]]:
        if self._through_time or not self.network.memory_size:
            memory = self.network.memory(params)
            output, _ = self.network.unroll(env, params, memory, batch.obs, batch.legal)
        else:
            batch = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batch)
            output, _ = self.network.step(env, params, batch.memory, batch.obs, batch.legal)
        share = batch.valid / batch.valid.sum()
        mean = lambda values: (share * values).sum()  # noqa: E731
        advantage = batch.advantage
        if self.normalize:
            centred = advantage - mean(advantage)
            advantage = centred / (jnp.sqrt(mean(centred**2)) + 1e-8)
        ratio = jnp.exp(log_probability(env, output.action, batch.action) - batch.log_prob)
        surrogate = self._clipped(ratio, advantage)
        errors = (output.value - batch.target) ** 2
        near = batch.value + jnp.clip(output.value - batch.value, -self.clip, self.clip)
        worst = jnp.maximum(errors, (near - batch.target) ** 2)
        errors = (batch.weight * jnp.where(self.clip > 0, worst, errors)).sum(axis=-1)
        spread = mean(entropy(output.action))
        loss = -mean(surrogate) + self.value_coefficient * mean(errors) - self.entropy * spread
        return loss, {"entropy": spread, "value_error": mean(errors), "policy_change": mean((ratio - 1) ** 2)}

    def _clipped(self, ratio: Array, advantage: Array) -> Array:
        clipped = jnp.clip(ratio, 1 - self.clip, 1 + self.clip)
        return jnp.where(self.clip > 0, jnp.minimum(ratio * advantage, clipped * advantage), ratio * advantage)

    def _optimizer(self) -> optax.GradientTransformation:
        rule = optax.adam(self.learning_rate, eps=1e-5) if self.optimizer == "adam" else optax.sgd(self.learning_rate)
        return optax.chain(optax.clip_by_global_norm(self.max_grad_norm), rule)
