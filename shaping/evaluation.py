"""What policies do when they play each other: rewards, and what the environment reports beside them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from envs import DifferentiableGame, MatrixGame, SymmetricGame
from shaping.counts import groups_of
from shaping.match import Match, episode, joint
from shaping.objectives import exact_outcome

__all__ = ["Outcome", "outcome"]


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
    trajectories, info = episode(match, acting, key)
    obs, action = (match.by_seat([getattr(t, name) for t in trajectories], axis=2) for name in ("obs", "action"))
    reward = match.by_seat([t.reward for t in trajectories], axis=2)
    valid = trajectories[0].valid
    return Outcome(reward.sum(axis=(0, 1)) / valid.sum(), env.statistics(obs, action, info, valid))
