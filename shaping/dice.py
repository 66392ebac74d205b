"""The sampled objective: values of all players whose derivatives of any order are estimated from fresh episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from envs import Environment
from envs.validation import require_range
from shaping.advantages import generalized_advantages, per_step
from shaping.distributions import kl_divergence
from shaping.learner import Replay, Trajectory
from shaping.match import SEAT_AXES, Match, episode, split
from shaping.objectives import Objective

__all__ = ["Dice"]


class Dice(Objective):
    """Loaded DiCE: discounted sums of rewards, estimated with derivatives of any order in everybody's parameters.

    With w_t = Σ_{s≤t} λ^{t-s} Σ_j log π_j(a_j,s), u_t the same sum without its last step, and the magic box
    □(x) = exp(x - x̄), where x̄ is x held fixed,

        V_i = mean_B [ Σ_t γ^t r_i,t (held fixed) + Σ_t γ^t (□(w_t) - □(u_t)) Â_i,t ].

    The second sum is 0 and has the derivatives. Â is the (generalised) advantage against the critic of player i, held
    fixed; where a policy has no critic, the discounted rewards to come. Every call plays B = `match.batch` new episodes
    with the policies of `params`, so that a look-ahead sees fresh play after every step. Policies that nobody can
    differentiate, such as fixed strategies, take part and stand still.

    Values are discounted sums over the horizon; without a critic they end there.

    Source: Foerster et al. 2018 (DiCE), arXiv 1802.05098; Farquhar et al. 2019 (Loaded DiCE), arXiv 1909.10549.

    Attributes:
        discount: γ.
        gae_lambda: of the advantages; 1 is unbiased, whatever the critic.
        loading: λ of the log-probabilities that a step depends on; 1 is unbiased.
    """

    discount: float = 0.96
    gae_lambda: float = 1.0
    loading: float = 1.0

    samples: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("discount", "gae_lambda", "loading"):
            require_range(name, getattr(self, name), 0.0, 1.0)

    def __call__(self, match: Match, params: tuple[Any, ...], key: Key[Array, ""]) -> Float[Array, " n"]:
        """Values `[n]` of the joint `params`; consumes `key`."""
        trajectories = self._play(match, params, key)
        return self._values(match, trajectories, _replays(match, params, trajectories))

    def with_divergence(
        self, match: Match, params: tuple[Any, ...], reference: tuple[Any, ...], key: Key[Array, ""]
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """Values, and the divergence on the steps that `params` visit, a discounted mean; consumes `key`."""
        trajectories = self._play(match, params, key)
        now, then = _replays(match, params, trajectories), _replays(match, reference, trajectories)
        weights = trajectories[0].valid * self._discounts(trajectories[0])[:, None]
        divergences = []
        for new, old, trajectory in zip(now, then, trajectories, strict=True):
            still = jnp.zeros_like(trajectory.reward)
            steps = kl_divergence(old.action, new.action) if jax.tree.leaves(new.action) else still
            divergences.append(jnp.einsum("tb,tbs->s", weights, steps) / weights.sum())
        return self._values(match, trajectories, now), match.by_seat(divergences)

    def _play(self, match: Match, params: tuple[Any, ...], key: Key[Array, ""]) -> tuple[Trajectory, ...]:
        return episode(match, jax.lax.stop_gradient(split(match, params)), key)[0]

    def _values(self, match: Match, trajectories: Sequence[Trajectory], replays: Sequence[Replay]) -> Array:
        log_prob = match.by_seat([replay.log_prob for replay in replays], axis=2)
        value = jax.lax.stop_gradient(match.by_seat([replay.value for replay in replays], axis=2))
        reward = match.by_seat([trajectory.reward for trajectory in trajectories], axis=2)
        valid, terminated = trajectories[0].valid[..., None], trajectories[0].terminated[..., None]
        ended = terminated.astype(reward.dtype)
        advantage = valid * generalized_advantages(reward, value, ended, self.discount, self.gae_lambda)
        steps = np.arange(reward.shape[0], dtype=np.float32)
        lag = np.subtract.outer(steps, steps)
        loads = jnp.where(lag >= 0, jnp.asarray(self.loading, float) ** np.maximum(lag, 0), 0.0)
        now = (valid * log_prob).sum(axis=2)
        loaded = loads @ now
        gain = _magic_box(loaded) - _magic_box(loaded - now)
        discounts = self._discounts(trajectories[0])
        return jnp.einsum("t,tbn->n", discounts, reward + gain[..., None] * advantage) / reward.shape[1]

    def _discounts(self, trajectory: Trajectory) -> Float[Array, " T"]:
        return jnp.asarray(self.discount, float) ** np.arange(trajectory.reward.shape[0], dtype=np.float32)

    def critic_scale(self, env: Environment) -> Array:
        """That of one reward."""
        return per_step(self.discount, env.horizon)

    def critic_loss(self, env: Environment, replay: Replay, trajectory: Trajectory) -> Float[Array, ""]:
        """Mean squared error, on the critic's scale, against the discounted rewards to come, then bootstrapped."""
        old = jax.lax.stop_gradient(replay.value)
        ended = trajectory.terminated.astype(old.dtype)
        advantage = generalized_advantages(trajectory.reward, old, ended, self.discount, self.gae_lambda)
        error = trajectory.valid * (self.critic_scale(env) * (replay.value[:-1] - advantage - old[:-1])) ** 2
        return error.sum() / trajectory.valid.sum()


def _replays(match: Match, params: tuple[Any, ...], trajectories: Sequence[Trajectory]) -> list[Replay]:
    """Replays by `params` of each group, leaves `[T, B, seats, ...]`."""
    replay = lambda learner, policy, trajectory: learner.replay(match.env, policy, trajectory)  # noqa: E731
    return [
        jax.vmap(replay, (0, 0, SEAT_AXES), 2, axis_size=len(seats))(learner, policy, trajectory)
        for seats, learner, policy, trajectory in zip(
            match.seats, match.learners, split(match, params), trajectories, strict=True
        )
    ]


def _magic_box(x: Array) -> Array:
    return jnp.exp(x - jax.lax.stop_gradient(x))
