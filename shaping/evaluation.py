"""What policies do when they play each other: rewards, and what the environment reports beside them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from envs import DifferentiableGame, MatrixGame, SymmetricGame
from shaping.counts import groups_of
from shaping.learner import Trajectory
from shaping.match import Match, States, begin, episode, joint
from shaping.objectives import exact_outcome
from shaping.trials import inner_episodes

__all__ = ["Outcome", "outcome", "trial_outcome"]


class Outcome(NamedTuple):
    """What policies do.

    Attributes:
        reward_per_step: `[n]`.
        statistics: name → `[n]`, as of `Environment.statistics`; NaN where nothing was seen.
    """

    reward_per_step: Float[Array, " n"]
    statistics: dict[str, Float[Array, " n"]]


def outcome(match: Match, acting: tuple[Any, ...], key: Key[Array, ""]) -> Outcome:
    """The outcome of the policies `acting`, as of `shaping.policies`; consumes `key`.

    Exact, discounted, where every policy is a table on the exact objective. Otherwise means over `match.batch`
    episodes: of the reward, over all their steps, undiscounted.
    """
    env = match.env
    if all(learner.tables for learner in match.learners):
        tables = joint(match, acting)[0]
        if isinstance(env, DifferentiableGame):
            return Outcome(env.values(tables[:, 0]), env.named(tables[:, 0]))
        if isinstance(env, SymmetricGame):
            groups, place = groups_of(match)
            heads = np.unique(place, return_index=True)[1]
            reward, rate = groups.outcome(tables[heads])
            return Outcome(reward[place], env.named(rate[place], jax.nn.sigmoid(tables[..., 0])))
        assert isinstance(env, MatrixGame), "`check` lets no other game through"
        exact = exact_outcome(env, tables)
        return Outcome(exact.reward_per_step, env.named(exact.action_rates[:, 0], exact.response[..., 0]))
    return _sampled(match, *episode(match, acting, key))


def trial_outcome(match: Match, states: States, key: Key[Array, ""]) -> Outcome:
    """The outcomes of the M inner episodes of a trial from which no shaper learns, leaves `[M, ...]`; consumes `key`.

    Shapers play as they are deployed, against one set of rivals that learn: fresh ones, or the first of warm ones.
    """
    start_key, play_key = jax.random.split(key)
    return inner_episodes(match, begin(match, states, start_key), play_key, partial(_see, match))[2]


def _see(match: Match, acting: Any, trajectories: Any, info: Any, key: Key[Array, ""]) -> Outcome:
    """The outcome of an inner episode."""
    return _sampled(match, trajectories, info) if match.samples else outcome(match, acting, key)


def _sampled(match: Match, trajectories: Sequence[Trajectory], info: Any) -> Outcome:
    env = match.env
    obs, action = (match.by_seat([getattr(t, name) for t in trajectories], axis=2) for name in ("obs", "action"))
    reward = match.by_seat([t.reward for t in trajectories], axis=2)
    valid = trajectories[0].valid
    return Outcome(reward.sum(axis=(0, 1)) / valid.sum(), env.statistics(obs, action, info, valid))
