"""Repeated games in normal form: every strategy that reacts, without chance, to what was played last."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from envs import Environment, MatrixGame
from equilibria.files import load
from equilibria.game import NormalForm, normal_form
from shaping.objectives import exact_outcome

__all__ = ["MOST", "reactive"]

MOST = 2**18
"""Profiles of strategies."""
SURE = 80.0
"""The logit of an action that is taken for certain."""


def reactive(env: Environment) -> NormalForm:
    """The game between all deterministic memory-one strategies of a repeated matrix game, or its one-shot form.

    Strategy number s takes, after observation o, the action that is digit o of s in base A, the least digit first.
    Payoffs are exact: discounted means of the reward per step.

    Raises:
        ValueError: no matrix game, or too many strategies.
    """
    if not isinstance(env, MatrixGame):
        raise ValueError(f"{type(env).__name__} has no exact values: expected a matrix game, or an oracle that learns")
    if env.horizon == 1:
        return load(env)
    n, actions, seen = env.num_players, env.num_actions, env.num_observations
    count = actions**seen
    if float(count) ** n > MOST:
        raise ValueError(
            f"{count} deterministic memory-one strategies for each of {n} players: expected {MOST} profiles at most;"
            " use an oracle that learns, such as ppo"
        )
    digits = (np.arange(count)[:, None] // actions ** np.arange(seen)) % actions  # [count, O]
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), env)
        logits = np.where(np.arange(actions) == digits[..., None], SURE, 0.0)
        tables = jnp.asarray(logits[..., :-1] - logits[..., -1:])
        profiles = jnp.asarray(np.indices((count,) * n).reshape(n, -1).T)
        rewards = _rewards(double, tables, profiles)
        table = np.asarray(rewards).T.reshape(n, *(count,) * n)
        return normal_form(table, name=f"reactive {type(env).__name__}", dtype=np.float64)


@jax.jit
def _rewards(env: MatrixGame, tables: Float[Array, "C O L"], profiles: Any) -> Float[Array, "P n"]:
    return jax.lax.map(partial(_reward, env, tables), profiles, batch_size=256)


def _reward(env: MatrixGame, tables: Float[Array, "C O L"], profile: Any) -> Float[Array, " n"]:
    return exact_outcome(env, tables[profile]).reward_per_step
