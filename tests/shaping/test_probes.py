"""Probe environments, each of which only a learner without one kind of mistake can solve.

After the probes of rejax (`tests/environments.py`), for two players at once: seat 0 runs each probe, seat 1 a copy with
other draws. Which probe it is is a field, so that a learner is compiled once for all of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import shaping
from envs import Environment, TimeStep, check_env
from shaping import Match

VALUE, DISCOUNT, ADVANTAGE, OBSERVATION, MEMORY, TRUNCATION = range(6)
GAMMA, STEPS = 0.5, 3
CUES = 2


class State(NamedTuple):
    step: Array
    cue: Array


class Probe(Environment):
    """Observations: 1 + cue on the first step, 3 on the second, 0 on the third and after it.

    VALUE pays 1 on the first step and ends; what it would pay later, 100, is never paid. DISCOUNT pays 1 on the third
    step and ends. ADVANTAGE ends after the first step, and pays 1 for action 1 and -1 for action 0. OBSERVATION ends
    likewise, and pays for the action that is the cue. MEMORY pays on the third step for the action that was the cue.
    TRUNCATION pays 1 on every step and goes on.
    """

    kind: float = 0.0

    num_players = 2
    num_actions = 2
    num_observations = 4
    obs_shape = ()
    horizon = STEPS

    def reset(self, key):
        state = State(jnp.zeros((), jnp.int32), jax.random.randint(key, (2,), 0, CUES))
        return state, self._observe(state)

    def step(self, state, actions, key):
        right = jnp.where(actions == state.cue, 1.0, -1.0)
        time, ones = state.step, jnp.ones(2)
        late = jnp.where(time == STEPS - 1, 1.0, 0.0)
        rewards = jnp.stack(
            [
                jnp.where(time == 0, 1.0, 100.0) * ones,
                late * ones,
                jnp.where(actions == 1, 1.0, -1.0),
                right,
                late * right,
                ones,
            ]
        )
        kind = jnp.asarray(self.kind).astype(jnp.int32)
        early = (kind == VALUE) | (kind == ADVANTAGE) | (kind == OBSERVATION)
        after = State(time + 1, state.cue)
        last = after.step >= STEPS
        terminated = jnp.where(early, time == 0, last & (kind != TRUNCATION))
        reward = (rewards * jnp.where(jnp.arange(6) == kind, 1.0, 0.0)[:, None]).sum(axis=0)
        return after, TimeStep(self._observe(after), reward, terminated, last & ~terminated, {})

    def _observe(self, state):
        later = jnp.where(state.step == 1, 3, 0)
        return jnp.where(state.step == 0, 1 + state.cue, later).astype(jnp.int32)


FIELDS = {"discount": GAMMA}
LEARNERS = {
    "reinforce": {"learning_rate": 0.1, "entropy": 0.0},
    "tabular": {"learning_rate": 0.1, "entropy": 0.0},
    "ppo": {"learning_rate": 0.05, "entropy": 0.0},
    "ppo_gru": {"learning_rate": 0.01, "entropy": 0.0},
    "advantage_alignment": {"learning_rate": 0.05, "entropy": 0.0},
    "loqa": {"learning_rate": 0.1, "entropy": 0.0},
    "lola_dice": {"learning_rate": 0.1},
    "pola_dice": {
        "adam": True,
        "lookahead_rate": 0.1,
        "outer_penalty": 0.1,
        "proximal_rate": 0.05,
        "proximal_steps": 2,
    },
    "q_learning": {"learning_rate": 0.1, "exploration": 0.5, "exploration_floor": 0.1},
}
REMEMBERS = {"ppo_gru"}


def value(name, learner, env, state, trajectory):
    """The value of the first observation, a mean over episodes, of seat 0."""
    if name == "q_learning":
        return state.values[trajectory.obs[0]].max(axis=-1).mean()
    return learner.replay(env, learner.policy(state), trajectory).value[0].mean()


@pytest.fixture(scope="module")
def solved():
    """Name → (value of the first observation, rate of action 1, mean last reward), each `[probes]`; trained once."""
    cache = {}

    def solve(name):
        if name not in cache:
            with jax.numpy_dtype_promotion("standard"):  # optax multiplies a rate with a count
                cache[name] = jax.jit(jax.vmap(lambda kind: _train(name, kind)))(jnp.arange(6.0))
        return cache[name]

    return solve


def _train(name, kind):
    match = Match.of(Probe(kind), [shaping.make(name, **FIELDS, **LEARNERS[name])] * 2, batch=32)
    key, steps = jax.random.key(1), 250 if name in REMEMBERS else 150
    states = jax.lax.fori_loop(0, steps, lambda i, s: shaping.step(match, s, key, i)[0], shaping.init(match, key))
    (seats,), _ = shaping.episode(match, shaping.policies(match, states), jax.random.key(2))
    axes = (0, 0, shaping.match.SEAT_AXES)
    values = jax.vmap(lambda *own: value(name, own[0], match.env, *own[1:]), axes)(match.learners[0], states[0], seats)
    first = jnp.where(seats.action[0] == 1, 1.0, 0.0).mean(axis=0)
    last = jnp.where(kind == MEMORY, seats.reward[-1], seats.reward[0]).mean(axis=0)
    return values, first, last


def test_the_probe_conforms():
    for kind in range(6):
        check_env(Probe(float(kind)))


SLOW = {"pola_dice", "lola_dice", "advantage_alignment", "ppo", "ppo_gru"}  # the last two share their code with others


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in LEARNERS])
class TestProbes:
    def test_value_of_a_reward_and_not_of_what_follows_the_end(self, name, solved):
        np.testing.assert_allclose(solved(name)[0][VALUE], 1.0, atol=0.1)

    def test_discount(self, name, solved):
        np.testing.assert_allclose(solved(name)[0][DISCOUNT], GAMMA ** (STEPS - 1), atol=0.06)

    def test_a_truncated_episode_goes_on(self, name, solved):
        np.testing.assert_allclose(solved(name)[0][TRUNCATION], 1 / (1 - GAMMA), atol=0.2)

    def test_advantage_of_an_action(self, name, solved):
        assert (solved(name)[1][ADVANTAGE] > 0.8).all()

    def test_action_by_observation(self, name, solved):
        assert (solved(name)[2][OBSERVATION] > 0.6).all()

    def test_memory(self, name, solved):
        reward = solved(name)[2][MEMORY]
        # One network in sixteen, of whatever settings, stays where it does not look at its memory; of two, hardly both.
        assert reward.max() > 0.6 if name in REMEMBERS else (jnp.abs(reward) < 0.5).all()
