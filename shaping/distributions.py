"""Distributions over actions: sampling, and what learners differentiate.

Continuous actions are distrax's. Discrete ones are written out as sums over the few actions there are: on a CPU that is
several times faster than a reduction over so short an axis, and second derivatives of such reductions, under `vmap`,
have been seen to crash the process (jaxlib 0.10). distrax's categorical distribution is what tests compare with.
"""

from __future__ import annotations

import functools
import operator
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from envs import Environment

__all__ = [
    "ILLEGAL_LOGIT",
    "Gaussian",
    "action_logits",
    "distribution",
    "entropy",
    "kl_divergence",
    "log_probability",
    "probabilities",
    "sample_action",
]

ILLEGAL_LOGIT = -1e9
WRITTEN_OUT = 16  # actions; above that a reduction
EDGE = 1e-6  # of the range, nearer to whose ends single precision cannot tell actions apart


class Gaussian(NamedTuple):
    """Parameters `[..., d]` of a continuous action: its place in its range is the logistic function of a Gaussian.

    So no action is out of range, and far from the middle there still is something to learn.
    """

    mean: Float[Array, "*batch d"]
    log_std: Float[Array, "*batch d"]


def action_logits(table: Float[Array, "*O L"], legal: Bool[Array, "... A"]) -> Float[Array, "*O A"]:
    """Logits of all actions, `[..., A]`, from a table `[..., A - 1]`: 0 for the last, very low for illegal ones."""
    logits = jnp.concatenate([table, jnp.zeros_like(table[..., :1])], axis=-1)
    return jnp.where(legal, logits, ILLEGAL_LOGIT)


def sample_action(env: Environment, action: Any, key: Key[Array, ""]) -> tuple[Any, Any]:
    """An action, in the units of the environment, and its log-probability; consumes `key`.

    The density of a continuous action is that of the Gaussian, before the logistic function.

    Args:
        env: whose actions they are.
        action: logits `[A]`, or a `Gaussian`, `[d]`.
        key: of the one draw.
    """
    if isinstance(action, Gaussian):
        low, high = env.action_range
        drawn = distribution(action).sample(seed=key)
        taken = jax.lax.stop_gradient(low + (high - low) * jax.nn.sigmoid(drawn))
        return taken, log_probability(env, action, taken)
    log_probs = _log_probs(action)
    cumulative = list(_running_sums([jnp.exp(p) for p in log_probs]))
    threshold = jax.random.uniform(key) * cumulative[-1]  # below the last sum, so that what has no mass is never drawn
    drawn = _sum([(threshold >= sum_).astype(jnp.int32) for sum_ in cumulative[:-1]], jnp.zeros((), jnp.int32))
    return drawn, _pick(log_probs, drawn)


def log_probability(env: Environment, action: Any, taken: Any) -> Float[Array, ...]:
    """Log-probabilities under logits `[..., A]` or a `Gaussian` of actions `taken`, in the units of the environment."""
    if isinstance(action, Gaussian):
        low, high = env.action_range
        place = jnp.clip((taken - low) / (high - low), EDGE, 1 - EDGE)
        return distribution(action).log_prob(jax.scipy.special.logit(place))
    return _pick(_log_probs(action), taken)


def probabilities(action: Any) -> Float[Array, "*batch A"]:
    """Probability of each action under logits `[..., A]`; `[..., 0]` of a `Gaussian`, which gives none to any."""
    if isinstance(action, Gaussian):
        return jnp.zeros((*action.mean.shape[:-1], 0))
    return jnp.exp(jnp.stack(_log_probs(action), axis=-1))


def entropy(action: Any) -> Float[Array, ...]:
    """Entropy of logits `[..., A]`, or differential entropy of a `Gaussian`, before the logistic function."""
    if isinstance(action, Gaussian):
        return distribution(action).entropy()
    return -_sum([jnp.exp(p) * p for p in _log_probs(action)])


def kl_divergence(new: Any, old: Any) -> Float[Array, ...]:
    """KL(new ‖ old), from logits, so that it and its derivatives are finite at saturated policies, too."""
    if isinstance(new, Gaussian):
        return distribution(new).kl_divergence(distribution(old))
    return _sum([jnp.exp(p) * (p - q) for p, q in zip(_log_probs(new), _log_probs(old), strict=True)])


def distribution(action: Any) -> Any:
    """The distrax distribution of logits `[..., A]` or a `Gaussian`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what distrax imports, not of ours
        import distrax

    if isinstance(action, Gaussian):
        return distrax.MultivariateNormalDiag(action.mean, jnp.exp(action.log_std))
    return distrax.Categorical(logits=action)


def _log_probs(logits: Float[Array, "*batch A"]) -> list[Float[Array, "*batch"]]:
    """Log-probability of each action."""
    columns = [logits[..., a] for a in range(logits.shape[-1])]
    if len(columns) > WRITTEN_OUT:
        total = jax.nn.logsumexp(logits, axis=-1)
    else:  # not a chain of `logaddexp`, which compilers repeat at each of its uses (docs/benchmarks.md)
        most = jax.lax.stop_gradient(functools.reduce(jnp.maximum, columns))
        columns = [column - most for column in columns]
        total = jnp.log(_sum([jnp.exp(column) for column in columns]))
    return [column - total for column in columns]


def _pick(columns: list[Array], taken: Array) -> Array:
    return _sum([jnp.where(taken == a, column, 0.0) for a, column in enumerate(columns)])


def _running_sums(columns: list[Array]) -> list[Array]:
    sums = [columns[0]]
    for column in columns[1:]:
        sums.append(sums[-1] + column)
    return sums


def _sum(columns: list[Array], start: Any = 0.0) -> Array:
    return functools.reduce(operator.add, columns, start)
