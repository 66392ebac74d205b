"""Estimators of advantages: how much better an action was than what the critic expected."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from envs import Environment
from envs.validation import require_choice, require_range
from shaping.learner import Context

__all__ = [
    "Advantages",
    "Alignment",
    "Coala",
    "Estimate",
    "Gae",
    "OpponentQ",
    "generalized_advantages",
    "past_sum",
    "per_step",
]


def generalized_advantages(
    reward: Float[Array, "T ..."],
    value: Float[Array, "T1 ..."],
    terminated: Float[Array, "T ..."],
    discount: float | Array,
    gae_lambda: float | Array,
) -> Float[Array, "T ..."]:
    """Â_t = Σ_k (γλ)^k δ_{t+k} with δ_t = r_t + γ V_{t+1} - V_t; a terminated game has no next value.

    Args:
        reward: `[T, ...]`.
        value: `[T + 1, ...]`, the last one of the observation after the last step: a truncated episode bootstraps.
        terminated: `[T, ...]`, 1 where the game ended with this step.
        discount: γ.
        gae_lambda: λ; 1 gives the discounted return minus the value, 0 the error of one step.

    Source: Schulman et al. 2016, arXiv 1506.02438.
    """
    going = discount * (1 - terminated)
    errors = reward + going * value[1:] - value[:-1]

    def back(later: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        error, going = step
        advantage = error + going * gae_lambda * later
        return advantage, advantage

    return jax.lax.scan(back, jnp.zeros_like(errors[0]), (errors, going), reverse=True)[1]


def per_step(discount: float | Array, horizon: int) -> Array:
    """What takes discounted sums of rewards to the scale of one reward: 1 - γ, but not less than 1 / T.

    Critics learn values on this scale, whatever the discount.
    """
    return jnp.maximum(1.0 - discount, 1.0 / horizon)


class Estimate(NamedTuple):
    """What an estimator makes of an update's experience.

    Attributes:
        advantage: of the own actions, `[T, B]`.
        target: what each critic should learn, `[T, B, K]`.
        weight: of each critic's squared error, `[T, B, K]`.
    """

    advantage: Float[Array, "T B"]
    target: Float[Array, "T B K"]
    weight: Float[Array, "T B K"]


class Advantages(struct.PyTreeNode):
    """Protocol of an estimator of advantages, in discounted sums of rewards; fields are hyper-parameters."""

    discount: float = 0.96

    sees: ClassVar[Literal["own", "rewards"]] = "own"
    """What it reads of the others, as of `Learner.sees`."""

    def check(self, env: Environment) -> None:
        """Raise a `ValueError` unless it is defined on `env`."""

    def critics(self, env: Environment) -> int:
        """How many critics K the network has."""
        return 1

    def __call__(self, context: Context, value: Float[Array, "T1 B K"]) -> Estimate:
        """The estimate from an update's experience and the values `[T + 1, B, K]` of the critics."""
        raise NotImplementedError


class Gae(Advantages):
    """Generalised advantage estimation, from one critic of the own rewards.

    Source: Schulman et al. 2016, arXiv 1506.02438.

    Attributes:
        discount: γ of the returns.
        gae_lambda: λ; 1 for Monte-Carlo returns, 0 for errors of one step.
    """

    discount: float = 0.96
    gae_lambda: float = 0.95

    def __post_init__(self) -> None:
        """Check ranges."""
        _check_ranges(self)

    def __call__(self, context: Context, value: Float[Array, "T1 B K"]) -> Estimate:
        """Â and R = Â + V."""
        assert context.trajectory is not None, "learners that sample have a trajectory"
        advantage = _advantages(self, context, context.trajectory.reward[..., None], value)
        return Estimate(advantage[..., 0], advantage + value[:-1], jnp.ones_like(advantage))


class Coala(Advantages):
    """Learning-aware credit over a trial: what is done in one environment pays, through the rivals' update, in all.

    Rivals learn from the whole batch of B environments, so an action is followed by the rewards of its own environment
    to the end of its inner episode, and then by those of every environment:

        Â_l^b = 1/B Σ_{l' = l ... end of the episode} (γλ)^{l'-l} δ_l'^b + Σ_{l' after it} (γλ)^{l'-l} mean_b' δ_l'^b'

    with the errors δ of one step. For γλ much below 1 the second term, all of shaping, vanishes over long episodes;
    for long trials with γλ = 1 it is noise: keep γλ = 1 and trials short. Inner episodes do not end the game.

    Source: Meulemans et al. 2025 (COALA-PG), arXiv 2410.18636, equation 5 and algorithm 1.

    Attributes:
        discount: γ.
        gae_lambda: λ.
        credit: "coala"; "mfos", the same without the factor 1/B, which overweights the current episode; or "unaware",
            only the own environment, all along.
    """

    discount: float = 1.0
    gae_lambda: float = 1.0
    credit: Literal["coala", "mfos", "unaware"] = struct.field(default="coala", pytree_node=False)

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        _check_ranges(self)
        require_choice("credit", self.credit, ("coala", "mfos", "unaware"))

    def __call__(self, context: Context, value: Float[Array, "T1 B K"]) -> Estimate:
        """Â; critics learn its sum without the factor 1/B, plus V."""
        assert context.trajectory is not None, "learners that sample have a trajectory"
        steps, batch = context.inner or context.trajectory.reward.shape
        reward = context.trajectory.reward
        errors = (reward + self.discount * value[1:, :, 0] - value[:-1, :, 0]).reshape(len(reward), -1, batch)
        decay = self.discount * self.gae_lambda
        share = 1 / batch if self.credit == "coala" else 1.0
        last = (jnp.arange(len(reward)) + 1) % steps == 0

        def back(later: tuple[Array, Array, Array], now: tuple[Array, Array]) -> tuple[Any, Any]:
            error, ends = now
            own, whole, everybody = later
            if self.credit != "unaware":
                own, whole = (jnp.where(ends, everybody, sum_) for sum_ in (own, whole))
            own, whole = share * error + decay * own, error + decay * whole
            everybody = jnp.broadcast_to((error + decay * everybody).mean(axis=1, keepdims=True), error.shape)
            return (own, whole, everybody), (own, whole)

        nothing = jnp.zeros_like(errors[0])
        own, whole = jax.lax.scan(back, (nothing,) * 3, (errors, last), reverse=True)[1]
        target = whole.reshape(reward.shape)[..., None] + value[:-1]
        return Estimate(own.reshape(reward.shape), target, jnp.ones_like(target))


class Alignment(Advantages):
    """Advantage Alignment: like an action more if it is good for those after whom one has done well, and conversely.

    With the advantages A_i of the own actions and A_j of those of the others, each from a critic of that player's
    rewards on the own observations,

        A*_t = A_i,t + β γ (Σ_{k<t} γ^{t-k} A_i,k) Σ_{j≠i} A_j,t                        rule "paper"
        A*_t = Ã_i,t + β (Σ_{k<t} Ã_i,k) (Σ_{j≠i} Ã_j,t) / (t + 1)                      rule "code"

    where Ã are normalised over the experience of the update, as in the authors' public code.

    Deviations: the paper has two players, we sum over the others; it uses the others' own critics, we learn one for
    each of them from their rewards, so that they may be learners of any kind; its agents are trained in self-play.
    Source: Duque et al. 2025, arXiv 2406.14662.

    Attributes:
        discount: γ.
        gae_lambda: λ of all advantages.
        alignment: β; 0 is the learner without alignment.
        rule: "paper" with discounting, or "code" without.
    """

    discount: float = 0.96
    gae_lambda: float = 0.95
    alignment: float = 1.0
    rule: Literal["paper", "code"] = struct.field(default="paper", pytree_node=False)

    sees: ClassVar[Literal["own", "rewards"]] = "rewards"

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        _check_ranges(self)
        require_range("alignment", self.alignment, 0.0)
        require_choice("rule", self.rule, ("paper", "code"))

    def critics(self, env: Environment) -> int:
        """One a player, the own first."""
        return env.num_players

    def __call__(self, context: Context, value: Float[Array, "T1 B K"]) -> Estimate:
        """A* and the returns of all players."""
        assert context.record is not None, "learners that see rewards have a record"
        advantage = _advantages(self, context, context.record.reward, value)
        estimate = Estimate(advantage[..., 0], advantage + value[:-1], jnp.ones_like(advantage))
        if self.rule == "code":
            centred = advantage - advantage.mean(axis=(0, 1), keepdims=True)
            advantage = centred / (centred.std(axis=(0, 1), keepdims=True) + 1e-8)
        own, others = advantage[..., 0], advantage[..., 1:].sum(axis=-1)
        if self.rule == "code":
            times = jnp.arange(1.0, own.shape[0] + 1)[:, None]
            return estimate._replace(advantage=own + self.alignment * past_sum(own, 1.0) / times * others)
        past = past_sum(own, self.discount)
        return estimate._replace(advantage=own + self.alignment * self.discount * past * others)


class OpponentQ(Advantages):
    """Learning with opponent Q-learning awareness: the others are taken to act on their action values.

    Player j is modelled by the softmax policy p_j = softmax(Q_j / τ) over its action values, learned from its rewards
    on the own observations. What it will be paid after an action, G_j, depends on the own later actions, so that

        ∇_i log p_j(b_t) = (1 - p_j(b_t)) ∇_i G_j,t / τ,     ∇_i G_j,t = Σ_{k>t} γ^{k-t} A_j,k ∇_i log π_i(a_k),

    and the own gradient Σ_t A_i,t (∇_i log π_i(a_t) + w Σ_j ∇_i log p_j(b_t)) is, with the sums exchanged, a policy
    gradient with the advantages

        A*_k = A_i,k + (w / τ) Σ_{j≠i} A_j,k Σ_{t<k} γ^{k-t} A_i,t (1 - p_j(b_t)).

    Deviations: the paper has two players, we sum over the others; its estimate of ∇_i G_j,t weighs ∇_i log π_i by
    rewards to come, ours by advantages, which have the same mean and less variance; its opponent's Q-network sees the
    opponent's observation, ours the own; in p_j the value of the action taken is the return, as in the public code.
    Source: Aghajohari et al. 2024, arXiv 2405.01035.

    Attributes:
        discount: γ.
        gae_lambda: λ of all advantages.
        opponent_weight: w; 0 is the learner without awareness.
        temperature: τ, in units of discounted sums of rewards.
    """

    discount: float = 0.96
    gae_lambda: float = 0.95
    opponent_weight: float = 1.0
    temperature: float = 1.0

    sees: ClassVar[Literal["own", "rewards"]] = "rewards"

    def __post_init__(self) -> None:
        """Check ranges."""
        _check_ranges(self)
        require_range("opponent_weight", self.opponent_weight, 0.0)
        require_range("temperature", self.temperature, 1e-8)

    def check(self, env: Environment) -> None:
        """Raise unless actions are discrete."""
        if not env.num_actions:
            raise ValueError(f"action values need discrete actions, those of {type(env).__name__} are continuous")

    def critics(self, env: Environment) -> int:
        """Values of all players, the own first; then the action values of each of the others."""
        return env.num_players + (env.num_players - 1) * env.num_actions

    def __call__(self, context: Context, value: Float[Array, "T1 B K"]) -> Estimate:
        """A*, the returns of all players, and those of the actions that the others took."""
        assert context.record is not None, "learners that see rewards have a record"
        n, actions = context.env.num_players, context.env.num_actions
        values, choices = value[..., :n], value[:-1, :, n:].reshape(*value[:-1].shape[:2], n - 1, actions)
        advantage = _advantages(self, context, context.record.reward, values)
        returns = advantage + values[:-1]
        taken = jax.nn.one_hot(context.record.action[..., 1:], actions)
        gained = returns[..., 1:, None]
        logits = jnp.where(taken > 0, gained, choices) / self.temperature
        surprise = 1 - (taken * jax.nn.softmax(logits)).sum(axis=-1)
        blame = past_sum(advantage[..., :1] * surprise, self.discount)
        shaped = advantage[..., 0] + self.opponent_weight / self.temperature * (blame * advantage[..., 1:]).sum(axis=-1)
        target = jnp.where(taken > 0, gained, choices).reshape(*choices.shape[:2], -1)
        weight = jnp.concatenate([jnp.ones_like(returns), taken.reshape(target.shape)], axis=-1)
        return Estimate(shaped, jnp.concatenate([returns, target], axis=-1), weight)


def past_sum(values: Float[Array, "T ..."], discount: float | Array) -> Float[Array, "T ..."]:
    """Σ_{k<t} γ^{t-k} x_k for every t, strictly the past."""

    def forward(past: Array, now: Array) -> tuple[Array, Array]:
        return discount * (past + now), past

    return jax.lax.scan(forward, jnp.zeros_like(values[0]), values)[1]


def _advantages(estimator: Any, context: Context, reward: Array, value: Array) -> Array:
    """Generalised advantages `[T, B, K]` of every critic, 0 after the end of an episode."""
    trajectory = context.trajectory
    assert trajectory is not None, "learners that sample have a trajectory"
    ended = trajectory.terminated.astype(value.dtype)[..., None]
    advantage = generalized_advantages(reward, value, ended, estimator.discount, estimator.gae_lambda)
    return advantage * trajectory.valid[..., None]


def _check_ranges(estimator: Any) -> None:
    for name in ("discount", "gae_lambda"):
        require_range(name, getattr(estimator, name), 0.0, 1.0)
