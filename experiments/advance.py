"""What a device does for one seed: begin, take steps, and look at what has been learned."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key, PyTree

import shaping
from shaping import Match, Outcome

__all__ = ["EVALUATION_EPISODES", "advance", "begin_seed", "floats", "sound"]

EVALUATION_EPISODES = 64  # for the outcome of policies that have to be sampled
EVALUATION_TRIALS = 8  # at least, among shapers
EVALUATION = np.uint32(2**32 - 2)  # folded into a seed's key for them; no training step has this number


def advance(
    match: Match,
    start: Int[Array, ""],
    stop: Int[Array, ""],
    look: Bool[Array, ""],
    states: PyTree,
    key: Key[Array, ""],
    first_bad: Int[Array, " arrays"] | None = None,
) -> tuple[PyTree, Outcome, PyTree, Int[Array, " arrays"]]:
    """Steps `start` ... `stop - 1` of one seed; then, with `look`, the outcome of what has been learned.

    Returns the states, the outcome (zeros without `look`), the metrics of the last step (NaN without any), and
    `first_bad`: for each array of floats in the states, and for the rewards of the outcome, the step that left it not
    finite, or -1, as it is before the first. From that step on the states stay as they were before it.
    """
    # Both are traced once, for their shapes and for what they do, and inlined, so that nothing rounds differently.
    step, look_at = jax.jit(shaping.step, inline=True), jax.jit(_look, inline=True)
    bad = jnp.asarray(sound(states, 1)[0]) if first_bad is None else first_bad

    def body(index: Any, carry: Any) -> Any:
        old, _, bad = carry
        states, metrics = step(match, old, key, index)
        finite = jnp.array([jnp.isfinite(leaf).all() for _, leaf in floats(states)] + [True], bool)
        bad = jnp.where((bad < 0) & ~finite, index + 1, bad)
        return jax.tree.map(lambda *both: jnp.where((bad < 0).all(), *both), states, old), metrics, bad

    told = jax.eval_shape(step, match, states, key, start)[1]
    metrics = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), told)
    states, metrics, bad = jax.lax.fori_loop(start, stop, body, (states, metrics, bad))
    look_key = jax.random.fold_in(jax.random.fold_in(key, EVALUATION), stop)
    unseen = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(look_at, match, states, look_key)
    )
    outcome = jax.lax.cond(look, look_at, lambda *_: unseen, match, states, look_key)
    finite = jnp.isfinite(outcome.reward_per_step).all()
    last = jnp.where((bad[-1] < 0) & ~finite, stop, bad[-1])
    return states, outcome, metrics, bad.at[-1].set(last)


def _look(match: Match, states: PyTree, key: Key[Array, ""]) -> Outcome:
    """The outcome of the policies, of as many episodes as there are to evaluate.

    Among shapers, the mean over trials from which nobody learns, each against rivals of its own.
    """
    if not any(match.shapers):
        return shaping.outcome(match.replace(batch=EVALUATION_EPISODES), shaping.policies(match, states), key)
    keys = jax.random.split(key, max(match.rivals, EVALUATION_TRIALS))
    seen = jax.vmap(lambda own: shaping.trial_outcome(match, states, own))(keys)
    return jax.tree.map(lambda leaf: jnp.nanmean(leaf, (0, 1)), seen)


def begin_seed(match: Match, seed: Int[Array, ""]) -> tuple[Any, Key[Array, ""]]:
    """Initial states of a seed, and its key for training."""
    key = jax.random.key(seed)
    return shaping.init(match, key), key


def floats(states: Any) -> list[tuple[Any, Any]]:
    """Path and array of everything in `states` that could be not finite."""
    leaves = jax.tree_util.tree_leaves_with_path(states)
    return [(path, leaf) for path, leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]


def sound(states: Any, count: int) -> np.ndarray:
    """The marks of `count` seeds with such `states` as long as everything is finite."""
    return np.full((count, len(floats(states)) + 1), -1, np.int32)
