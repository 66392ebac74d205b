"""Learners on exact values against each other, for the numbers of papers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import shaping
from envs import Environment
from shaping import Exact, GradientLearner, Learner, Match
from shaping.networks import LogitTable

__all__ = ["drawn_of", "exact", "exact_value", "fitted", "pair", "play", "seat_fitted", "tit_for_tat"]

BATCH = 32  # seeds side by side: wider programs are no faster on a CPU, and some crash there (jaxlib 0.10)


def play(
    env: Environment, learners: Sequence[Learner], steps: int, seeds: int, prepare: Callable[..., Any] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Tables after `steps` steps, and rewards per step after every one, the start first.

    Args:
        env: the game.
        learners: one a seat, on the exact objective.
        steps: T.
        seeds: S.
        prepare: (match, initial states, key) → states to begin with.

    Returns:
        `[S, n, O, L]` and `[S, T + 1, n]`.
    """
    match = Match.of(env, learners)
    value = Exact("per_step") if env.horizon > 1 else Exact()

    def run(seed: Any) -> Any:
        key = jax.random.key(seed)
        states = shaping.init(match, key)
        states = prepare(match, states, key) if prepare else states
        tables = lambda states: shaping.joint(match, shaping.policies(match, states))[0]  # noqa: E731

        def step(states: Any, index: Any) -> tuple[Any, Any]:
            states = shaping.step(match, states, key, index)[0]
            return states, value.value(env, tables(states))

        first = value.value(env, tables(states))
        states, rewards = jax.lax.scan(step, states, jnp.arange(steps))
        return tables(states), jnp.concatenate([first[None], rewards])

    with jax.numpy_dtype_promotion("standard"):
        found = jax.jit(lambda seeds: jax.lax.map(run, seeds, batch_size=BATCH))(jnp.arange(seeds))
    return jax.tree.map(np.asarray, found)


def pair(name: str, count: int = 2, **fields: Any) -> list[Learner]:
    """The same learner in every seat."""
    return [shaping.make(name, **fields)] * count


def exact(direction: Any, rate: float = 1.0, std: float = 1.0) -> GradientLearner:
    """A learner that follows `direction` on exact values."""
    return GradientLearner(LogitTable(std), Exact(), direction, rate)


def exact_value(env: Environment, params: Any, key: Any) -> Any:
    """Values `[n]` of tables `params[0]`; `key` is not used."""
    return Exact().value(env, params[0])


def fitted(env: Environment, rule: Any, count: int, seed: int = 0) -> Any:
    """What `rule` learns before play, `count` times, leaves `[count, ...]`."""
    learner = exact(rule)
    example = (jnp.stack([learner.network.init(env, jax.random.key(0))] * env.num_players),)
    keys = jax.random.split(jax.random.key(seed), count)
    with jax.numpy_dtype_promotion("standard"):
        fit = lambda key: rule.fit(partial(exact_value, env), example, key)  # noqa: E731
        return jax.jit(lambda keys: jax.lax.map(fit, keys))(keys)


def drawn_of(key: Any, count: int) -> Any:
    """Which of `count` trained learners plays under `key`."""
    return jax.random.bits(key) % count


def seat_fitted(
    learned: dict[str, Any], rules: dict[str, Any], names: Sequence[str], match: Match, states: Any, key: Any
) -> Any:
    """Give seats whose name has something `learned`, leaves `[K, ...]`, one of the K, the same in all seats."""
    changed = list(states)
    for group, seats in enumerate(match.seats):
        name = names[seats[0]]
        if name not in learned:
            continue
        drawn = jnp.full(len(seats), drawn_of(key, len(jax.tree.leaves(learned[name])[0])))
        own = jax.tree.map(lambda leaf, drawn=drawn: leaf[drawn], learned[name])
        (params,) = jax.vmap(rules[name].start)((states[group].params,), own)
        changed[group] = states[group]._replace(params=params, learned=own)
    return tuple(changed)


def tit_for_tat(tables: np.ndarray, rewards: np.ndarray, least: float, best: float) -> np.ndarray:
    """By seed, whether the classifier of POLA's code calls both players tit-for-tat.

    Neither co-operates with .65 or more after mutual defection or after a defection of the other, and both get more
    than .8 of what co-operation adds to defection.
    """
    chance = 1 / (1 + np.exp(-tables[..., 0].astype(float)))  # START, CC, CD, DC, DD, own action first
    fair = rewards > least + 0.8 * (best - least)
    return np.all((chance[..., 2] < 0.65) & (chance[..., 4] < 0.65) & fair, axis=1)
