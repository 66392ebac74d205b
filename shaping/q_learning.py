"""Independent tabular Q-learning."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from envs import Environment
from envs.validation import require_range
from shaping.learner import Context, Learner

__all__ = ["QLearning", "QPolicy", "QState"]


class QState(NamedTuple):
    """Action values `[O, A]`, and the number of updates so far."""

    values: Float[Array, "O A"]
    updates: Int[Array, ""]


class QPolicy(NamedTuple):
    """Action values `[O, A]`, and ε."""

    values: Float[Array, "O A"]
    exploration: Float[Array, ""]


class QLearning(Learner):
    """Q-learning, each player for itself, greedy but for a share ε of uniformly random actions.

    After each step, in every environment, Q(o, a) += α (r + γ max_a' Q(o', a') - Q(o, a)), over the legal a'; where
    several environments visit the same (o, a) in one step, with the mean of their errors. A player acts on the values
    that it had at the start of the episode.

    Source: Watkins and Dayan 1992, Machine Learning 8.

    Attributes:
        learning_rate: α.
        discount: γ.
        exploration: ε of the first update.
        exploration_decay: factor of ε from one update to the next.
        exploration_floor: least ε.
        initial_value: of all actions, in discounted sums of rewards.
    """

    learning_rate: float = 0.1
    discount: float = 0.96
    exploration: float = 0.2
    exploration_decay: float = 0.99
    exploration_floor: float = 0.01
    initial_value: float = 0.0

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("learning_rate", "discount", "exploration", "exploration_decay", "exploration_floor"):
            require_range(name, getattr(self, name), 0.0, 1.0)
        require_range("initial_value", self.initial_value, -float("inf"))

    def check(self, env: Environment, batch: int = 1) -> None:
        """Raise unless observations and actions are discrete."""
        if env.num_observations is None or not env.num_actions:
            raise ValueError(
                f"a table of action values needs discrete observations and actions, {type(env).__name__} has others: "
                "try ppo"
            )

    def init(self, env: Environment, key: Key[Array, ""]) -> QState:
        """Equal values; `key` is not used."""
        assert env.num_observations is not None, "see `check`"
        values = jnp.full((env.num_observations, env.num_actions), self.initial_value, float)
        return QState(values, jnp.zeros((), jnp.int32))

    def policy(self, state: QState) -> QPolicy:
        """The values, and ε."""
        return QPolicy(state.values, self._exploration(state))

    def act(
        self, env: Environment, policy: QPolicy, memory: Any, obs: Any, legal: Bool[Array, " A"], key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """The best legal action, ties broken at random, or with probability ε any; consumes `key`."""
        explore_key, tie_key = jax.random.split(key)
        values = jnp.where(legal, policy.values[obs], -jnp.inf)
        explore = jax.random.bernoulli(explore_key, policy.exploration)
        candidates = legal & (explore | (values == values.max()))
        action = jax.random.categorical(tie_key, jnp.where(candidates, 0.0, -jnp.inf))
        return action.astype(jnp.int32), memory, ()

    def action_probabilities(
        self, env: Environment, policy: QPolicy, memory: Any, obs: Any, legal: Bool[Array, " A"]
    ) -> Float[Array, " A"]:
        """ε spread over the legal actions, the rest over the best of them."""
        values = jnp.where(legal, policy.values[obs], -jnp.inf)
        allowed, best = (mask.astype(values.dtype) for mask in (legal, legal & (values == values.max())))
        return policy.exploration * allowed / allowed.sum() + (1 - policy.exploration) * best / best.sum()

    def update(self, state: QState, context: Context, key: Key[Array, ""]) -> tuple[QState, dict[str, Any]]:
        """One sweep over the episodes, in the order of time."""
        t = context.trajectory
        assert t is not None, "learners that sample have a trajectory"
        after = jnp.concatenate([t.obs[1:], t.last_obs[None]])
        legal_after = jnp.concatenate([t.legal[1:], jnp.ones_like(t.legal[:1])])
        shape = state.values.shape

        def learn(values: Array, step: Any) -> tuple[Array, Array]:
            obs, action, reward, valid, terminated, after, legal = step
            best = jnp.where(legal, values[after], -jnp.inf).max(axis=-1)
            error = valid * (reward + self.discount * jnp.where(terminated, 0.0, best) - values[obs, action])
            cell = jax.nn.one_hot(obs * shape[1] + action, shape[0] * shape[1]) * valid[:, None]
            visits = cell.sum(axis=0)
            change = (error @ cell / jnp.maximum(visits, 1.0)).reshape(shape)
            return values + self.learning_rate * change, jnp.abs(error).mean()

        steps = (t.obs, t.action, t.reward, t.valid, t.terminated, after, legal_after)
        values, errors = jax.lax.scan(learn, state.values, steps)
        metrics = {"td_error": errors.mean(), "exploration": self._exploration(state)}
        return QState(values, state.updates + 1), metrics

    def _exploration(self, state: QState) -> Array:
        """ε = max(floor, start decay^updates)."""
        decayed = self.exploration * jnp.asarray(self.exploration_decay) ** state.updates.astype(float)
        return jnp.maximum(decayed, self.exploration_floor)
