"""The one training loop: step → trial → inner episode. Everybody updates after each, shapers after all of a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from shaping.learner import Learner
from shaping.match import (
    Match,
    States,
    episode,
    fresh_rivals,
    heads_of,
    memories_of,
    of_shaper,
    policies,
    update,
)

__all__ = ["POPULATION", "inner_episodes", "step", "trial"]

POPULATION = "population"
"""Name of the axis of a mesh over whose devices the candidates of shapers are spread, where there is one."""


def step(match: Match, states: States, key: Key[Array, ""], index: Int[Array, ""]) -> tuple[States, Any]:
    """Training step number `index` of the seed with `key`: one trial. Randomness is a function of the two."""
    return trial(match, states, jax.random.fold_in(key, index))


def trial(match: Match, states: States, key: Key[Array, ""]) -> tuple[States, Any]:
    """M inner episodes, everybody updating after each, then shapers learn from all of them; consumes `key`.

    Every member of a population plays a trial against every set of rivals. All members meet the same rivals, and all
    draw the same random numbers, so that they differ in nothing but what they do.

    Returns the states and the metrics, one dictionary a group with leaves `[learners]`: of the last update.
    """
    if not any(match.shapers):
        states, told, _ = inner_episodes(match, states, key)
        return states, jax.tree.map(lambda leaf: leaf[-1], told)
    rival_key, shaper_key, play_key, learn_key = jax.random.split(key, 4)
    tried = tuple(
        _tried(match, group, shaper_key, state) if shapes else () for group, (state, shapes) in _groups(match, states)
    )
    warm = match.rival_start == "warm"
    rivals = _without(match.shapers, states) if warm else fresh_rivals(match, rival_key)

    def play(tried: States, rivals: States, key: Key[Array, ""]) -> tuple[States, Any]:
        inner = tuple(
            of_shaper(match, group, "enter", jax.random.fold_in(key, match.episodes), own) if shapes else rivals[group]
            for group, (own, shapes) in _groups(match, tried)
        )
        after, told, _ = inner_episodes(match, inner, key)
        last = tuple(
            own if shapes else jax.tree.map(lambda leaf: leaf[-1], own) for _, (own, shapes) in _groups(match, told)
        )
        return _without(match.shapers, after), last

    keys = jax.vmap(jax.random.fold_in, (None, 0))(play_key, jnp.arange(match.rivals))
    members = jax.vmap(jax.vmap(play, (None, 0, 0)), (0, 0 if warm else None, None))
    rivals, told = members(_spread(tried), rivals, keys)
    found, metrics = [], []
    for group, (state, shapes) in _groups(match, states):
        if shapes:
            after, own = _learn(match, group, state, tried[group], told[group], learn_key)
        else:
            after, own = rivals[group] if warm else (), jax.tree.map(lambda leaf: leaf.mean((0, 1)), told[group])
        found.append(after)
        metrics.append(own)
    return tuple(found), tuple(metrics)


def _spread(tried: States) -> States:
    """Leaves `[P, ...]`, over devices if the caller has some for them."""
    if POPULATION not in jax.sharding.get_abstract_mesh().axis_names:
        return tried
    return jax.lax.with_sharding_constraint(tried, jax.sharding.PartitionSpec(POPULATION))


def _groups(match: Match, trees: Sequence[Any]) -> Any:
    """(group, (tree, whether it shapes)) of all groups."""
    return enumerate(zip(trees, match.shapers, strict=True))


def _without(shapers: Sequence[bool], states: States) -> States:
    """() in place of what belongs to shapers."""
    return tuple(() if shapes else state for state, shapes in zip(states, shapers, strict=True))


def _tried(match: Match, group: int, key: Key[Array, ""], state: Any) -> Any:
    """What a group of shapers tries, leaves `[P, seats, ...]`; one candidate alone in all P places."""
    tried = of_shaper(match, group, "candidates", key, state, out_axes=1)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (match.population, *leaf.shape[1:])), tried)


def _learn(match: Match, group: int, state: Any, tried: Any, told: Any, key: Key[Array, ""]) -> tuple[Any, Any]:
    """Shapers of a group learn from a trial: `tried`, leaves `[P, seats, ...]`, and `told`, `[P, R, M, seats, ...]`."""
    learner, seats = heads_of(match.shared[group], match.learners[group], jnp.array(match.seats[group]))

    def one(learner: Learner, state: Any, tried: Any, told: Any, seat: Int[Array, ""]) -> Any:
        return learner.learn(match.env, state, tried, told, jax.random.fold_in(key, seat))

    return jax.vmap(one, (0, 0, 1, 3, 0))(learner, state, tried, told, seats)


def inner_episodes(
    match: Match, states: States, key: Key[Array, ""], see: Callable[..., Any] | None = None
) -> tuple[States, Any, Any]:
    """M inner episodes from inner `states`, everybody updating after each; memories are carried as learners say.

    Consumes `key`.

    Args:
        match: who sits where.
        states: inner ones, as of `begin`.
        key: of randomness.
        see: (acting, trajectories, info, key) → what to keep of each episode before the update.

    Returns:
        The inner states; what updates returned, one PyTree a group with leaves `[M, learners, ...]`; and what `see`
        kept, leaves `[M, ...]`.
    """

    def inner(carry: tuple[States, Any], index: Int[Array, ""]) -> tuple[Any, Any]:
        states, memories = carry
        play_key, update_key = jax.random.split(jax.random.fold_in(key, index))
        acting = policies(match, states)
        trajectories: Any = (None,) * len(states)
        info = {}
        if match.samples:
            trajectories, info = episode(match, acting, play_key, memories)
        seen = see(acting, trajectories, info, play_key) if see else ()
        states, told = update(match, states, trajectories, update_key)
        if match.samples and match.episodes > 1:
            memories = _carried(match, policies(match, states), [own.last_memory for own in trajectories])
        return (states, memories), (told, seen)

    carry = states, memories_of(match, policies(match, states)) if match.samples else ()
    if match.episodes == 1:
        (states, _), kept = inner(carry, jnp.zeros((), jnp.int32))
        kept = jax.tree.map(lambda leaf: leaf[None], kept)
    else:
        (states, _), kept = jax.lax.scan(inner, carry, jnp.arange(match.episodes))
    return states, *kept


def _carried(match: Match, acting: Sequence[Any], memories: Sequence[Any]) -> tuple[Any, ...]:
    """Memories with which the next inner episode starts, leaves `[B, seats, ...]`, from those of the last one's end."""
    found = []
    for learner, seats, policy, memory in zip(match.learners, match.seats, acting, memories, strict=True):
        every = jax.vmap(lambda own, p, m: own.carry(match.env, p, m), axis_size=len(seats))
        found.append(jax.vmap(every, (None, None, 0), axis_size=match.batch)(learner, policy, memory))
    return tuple(found)
