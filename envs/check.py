"""The conformance test of the Environment contract, for our games and for a user's own."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.environment import Environment, TimeStep
from envs.scene import Scene

__all__ = ["check_env"]


def check_env(env: Environment, *, seed: int = 0, steps: int = 5) -> None:
    """Play `env` with random legal actions and assert all that the contract promises.

    Checked: shapes and dtypes of what `reset` and `step` return, a state of stable structure, int32 counters,
    discrete observations inside their range, at least one legal action a player, no end before its time and truncation
    exactly at the horizon, a scene of numbers and colours if there is one, the same results under `jit` and under
    `vmap`, and the same results from the same key.

    Args:
        env: the environment.
        seed: of the random play.
        steps: how many steps are compared under `jit` and `vmap`; the horizon is always reached once.

    Raises:
        AssertionError: names the promise that is broken.
    """
    key = jax.random.key(seed)
    reset, step = jax.jit(env.reset), jax.jit(env.step)
    state, obs = reset(key)
    _check_obs(env, obs, "reset")
    _assert_equal(env.reset(key), (state, obs), "reset differs with and without jit")
    both = jax.vmap(env.reset)(jnp.stack([key, key]))
    _assert_equal(jax.tree.map(lambda leaf: leaf[1], both), (state, obs), "reset differs under vmap")
    _check_counters(state)
    _check_scene(env, state)
    done, time, timestep = False, 0, None
    for time in range(env.horizon):
        act_key, step_key = jax.random.split(jax.random.fold_in(key, time))
        actions = _random_actions(env, state, act_key)
        old, (state, timestep) = state, step(state, actions, step_key)
        _check_timestep(env, timestep)
        assert jax.tree.map(_aval, old) == jax.tree.map(_aval, state), "step changes the structure of the state"
        done = bool(timestep.terminated | timestep.truncated)
        if time < steps:
            _check_transforms(env, old, actions, step_key, (state, timestep))
        if done:
            break
    assert timestep is not None
    _check_scene(env, state)
    assert done, f"no end after the horizon of {env.horizon} steps"
    assert bool(timestep.terminated) or time + 1 == env.horizon, f"truncated at step {time + 1}, not at the horizon"


def _check_obs(env: Environment, obs: Any, where: str) -> None:
    assert obs.shape == (env.num_players, *env.obs_shape), f"{where}: observation of shape {obs.shape}"
    if env.num_observations is None:
        assert jnp.issubdtype(obs.dtype, jnp.floating), f"{where}: observations that are arrays are floats"
        assert bool(jnp.isfinite(obs).all()), f"{where}: observation is not finite"
        return
    assert obs.dtype == jnp.int32, f"{where}: discrete observations are int32, not {obs.dtype}"
    low, high = int(obs.min()), int(obs.max())
    assert low >= 0, f"{where}: observation {low}, expected at least 0"
    assert high < env.num_observations, f"{where}: observation {high}, expected less than {env.num_observations}"


def _check_counters(state: Any) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        small = jnp.issubdtype(leaf.dtype, jnp.integer) and leaf.dtype.itemsize < 4
        assert not small, f"state{jax.tree_util.keystr(path)} is {leaf.dtype}: integers are int32, they must not wrap"


def _check_scene(env: Environment, state: Any) -> None:
    scene = env.draw(state)
    assert scene is None or isinstance(scene, Scene), f"draw returns {type(scene).__name__}, expected a Scene or None"
    for shape in scene.shapes if scene else ():
        numbers = (shape.x, shape.y, shape.width, shape.height, shape.angle)
        assert all(map(np.isfinite, numbers)), f"draw: {shape} is not finite"
        assert re.fullmatch("#[0-9a-fA-F]{6}", shape.colour), f"draw: colour {shape.colour!r}, expected #rrggbb"


def _check_timestep(env: Environment, timestep: TimeStep) -> None:
    n = env.num_players
    assert isinstance(timestep, TimeStep), f"step returns {type(timestep).__name__}, expected TimeStep"
    _check_obs(env, timestep.obs, "step")
    assert timestep.reward.shape == (n,), f"reward of shape {timestep.reward.shape}, expected ({n},)"
    assert jnp.issubdtype(timestep.reward.dtype, jnp.floating), f"reward is {timestep.reward.dtype}, expected a float"
    assert bool(jnp.isfinite(timestep.reward).all()), "reward is not finite"
    for name, value in timestep.info.items():
        assert value.shape == (n,), f"info[{name!r}] of shape {value.shape}, expected ({n},)"
    for name in ("terminated", "truncated"):
        flag = getattr(timestep, name)
        assert (flag.shape, flag.dtype) == ((), bool), f"{name} is {flag.dtype}{flag.shape}, expected one boolean"


def _check_transforms(env: Environment, state: Any, actions: Any, key: Any, expected: Any) -> None:
    again = env.step(state, actions, key)
    _assert_equal(again, expected, "step differs with and without jit")
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), (state, actions, key))
    both = jax.vmap(env.step)(*batch)
    for i in range(2):
        _assert_equal(jax.tree.map(lambda x, i=i: x[i], both), expected, "step differs under vmap")


def _random_actions(env: Environment, state: Any, key: Any) -> Any:
    legal = env.legal(state)
    if not env.num_actions:
        low, high = env.action_range
        assert env.action_dim > 0, "neither num_actions nor action_dim is positive: nobody can act"
        assert low < high, f"action_range ({low}, {high}): expected low < high"
        return jax.random.uniform(key, (env.num_players, env.action_dim), minval=low, maxval=high)
    assert legal.shape == (env.num_players, env.num_actions), f"legal of shape {legal.shape}, expected [n, A]"
    assert bool(legal.any(axis=1).all()), "a player has no legal action"
    return jax.random.categorical(key, jnp.where(legal, 0.0, -jnp.inf), axis=1).astype(jnp.int32)


def _aval(leaf: Any) -> tuple[Any, Any]:
    return leaf.shape, leaf.dtype


def _assert_equal(got: Any, expected: Any, message: str) -> None:
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-6, err_msg=message)
