"""Every registered environment passes the conformance test, and the conformance test fails what it should."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import pytest
from jax import Array

import envs
from envs import MatrixGame


def make(name: str, **fields: Any) -> envs.Environment:
    files = {"matrix": {"payoffs": "examples/stag_hunt.json"}, "function": {"source": "examples/games.py:saddle"}}
    return envs.make(name, **files.get(name, {}), **fields)


@pytest.mark.parametrize("name", envs.names())
def test_registered_environment_conforms(name):
    env = make(name)
    envs.check_env(env.replace(horizon=7) if env.horizon > 7 else env)


def test_dilemmas_conform_when_everyone_counts():
    envs.check_env(make("ipd", players=40, horizon=7, observe="counts"))


MOST_PLAYERS = {"stag_hunt_grid": 4, "monster_hunt": 4}
CROWDS = [
    (name, players)
    for name in envs.names()
    if "players" in envs.REGISTRY.parameters(name)
    for players in range(2, 1 + MOST_PLAYERS.get(name, 6))
]


@pytest.mark.parametrize(("name", "players"), CROWDS)
def test_games_with_a_formula_conform_for_any_number_of_players(name, players):
    env = envs.make(name, players=players)
    assert env.num_players == players
    state, obs = env.reset(jax.random.key(0))
    assert obs.shape == (players, *env.obs_shape)
    if not isinstance(env, MatrixGame):
        return
    _, timestep = env.step(state, jnp.ones(players, jnp.int32), jax.random.key(0))
    assert timestep.reward.shape == (players,)
    assert timestep.obs.tolist() == [env.num_observations - 1] * players  # all played the last action


@pytest.mark.parametrize("name", envs.names())
def test_every_name_has_a_line_and_a_source(name):
    line, source = envs.REGISTRY.describe(name)
    assert line.endswith(".")
    assert source


class Broken(MatrixGame):
    """A game with one broken promise, named by `fault`."""

    fault: ClassVar[str] = "none"

    def step(self, state, actions, key):
        state, timestep = super().step(state, actions, key)
        if self.fault == "dtype of the reward":
            timestep = timestep._replace(reward=timestep.reward.astype(jnp.int32))
        if self.fault == "observation out of range":
            timestep = timestep._replace(obs=timestep.obs + self.num_observations)
        if self.fault == "never ends":
            timestep = timestep._replace(truncated=jnp.zeros((), bool))
        if self.fault == "ends early":
            timestep = timestep._replace(truncated=state.step >= self.horizon - 1)
        if self.fault == "unstable state":
            state = state._replace(step=state.step.astype(jnp.float32))
        if self.fault == "random without the key" and not isinstance(actions, jax.core.Tracer):
            timestep = timestep._replace(reward=timestep.reward + 1.0)
        return state, timestep

    def reset(self, key):
        state, obs = super().reset(key)
        return (state._replace(step=state.step.astype(jnp.int8)) if self.fault == "int8 counter" else state), obs

    def legal(self, state=None) -> Array:
        legal = super().legal(state)
        return legal & False if self.fault == "no legal action" else legal

    def draw(self, state):
        colour = "red" if self.fault == "unknown colour" else "#FF0000"
        return envs.Scene(1.0, 1.0, (envs.Shape("circle", 0.5, 0.5, 1.0, 1.0, colour),))


FAULTS = [
    "dtype of the reward",
    "observation out of range",
    "never ends",
    "ends early",
    "unstable state",
    "random without the key",
    "int8 counter",
    "no legal action",
    "unknown colour",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_conformance_test_refuses(fault):
    good = envs.make("ipd2", horizon=4)
    broken = type("Named", (Broken,), {"fault": fault})(good.payoffs, good.actions, horizon=4)
    with pytest.raises(AssertionError):
        envs.check_env(broken)
