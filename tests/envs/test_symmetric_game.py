"""Symmetric games in which everyone counts: the same games as in their joint form, for any number of players."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import shaping
from envs import SymmetricGame
from shaping import Match

DILEMMAS = ("ipd", "snowdrift", "stag_hunt", "tragedy", "public_goods")
KEY = jax.random.key(0)


def forms(name, players, **fields):
    """The game by joint actions, and by counts."""
    return [envs.make(name, players=players, observe=observe, **fields) for observe in ("joint", "counts")]


@functools.cache
def first_step(players):
    """What both forms of the first step do for every joint action, as functions of the games."""
    every = jnp.asarray(np.indices((2,) * players).reshape(players, -1).T, jnp.int32)
    step = lambda env: jax.vmap(lambda actions: env.step(env.reset(KEY)[0], actions, KEY)[1])(every)  # noqa: E731
    return jax.jit(step)


@pytest.mark.parametrize("players", [2, 3, 4, 5])
@pytest.mark.parametrize("name", DILEMMAS)
def test_rewards_and_observations_are_those_of_the_joint_form(name, players):
    joint, counts = forms(name, players)
    mine, other = first_step(players)(counts), first_step(players)(joint)
    np.testing.assert_array_equal(mine.reward, other.reward)
    np.testing.assert_array_equal(mine.obs, joint.history_kinds()[np.asarray(other.obs)])
    assert joint.marks() == pytest.approx(counts.marks())
    assert joint.histories == counts.num_observations == 2 * players + 1
    assert joint.statistic_names == counts.statistic_names


def test_an_observation_is_the_own_action_and_how_many_others_defected():
    env = envs.make("ipd", players=4, observe="counts")
    state, obs = env.reset(KEY)
    assert obs.tolist() == [0] * 4
    _, timestep = env.step(state, jnp.array([0, 1, 1, 0], jnp.int32), KEY)
    assert timestep.obs.tolist() == [1 + 2, 1 + 4 + 1, 1 + 4 + 1, 1 + 2]
    assert timestep.reward.tolist() == [2.0, 5.0, 5.0, 2.0]


@pytest.mark.parametrize("name", DILEMMAS)
def test_the_one_shot_game_is_that_of_the_joint_form(name):
    joint, counts = forms(name, 3, horizon=1)
    mine, other = first_step(3)(counts), first_step(3)(joint)
    for field in ("reward", "obs", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(mine, field), getattr(other, field))
    assert counts.num_observations == 1
    assert counts.statistic_names == ("C", "first")
    assert mine.terminated.all()


def test_the_repeated_game_is_truncated():
    env = envs.make("ipd", players=3, observe="counts", horizon=2)
    state, _ = env.reset(KEY)
    defect = jnp.ones(3, jnp.int32)
    state, first = env.step(state, defect, KEY)
    _, last = env.step(state, defect, KEY)
    assert (bool(first.truncated), bool(last.truncated), bool(last.terminated)) == (False, True, False)
    assert last.reward.tolist() == [1.0] * 3
    assert last.obs.tolist() == [6] * 3


def test_five_hundred_players():
    """Rewards, observations and statistics of a step in which every fourth defects."""
    env = envs.make("ipd", players=500, observe="counts", horizon=3)
    assert (env.num_players, env.num_observations, env.payoffs.shape) == (500, 1001, (2, 500))
    actions = jnp.asarray(np.arange(500) % 4 == 0, jnp.int32)
    _, timestep = jax.jit(env.step)(env.reset(KEY)[0], actions, KEY)
    np.testing.assert_array_equal(timestep.reward, np.where(actions, 2 * 375 + 1, 2 * 374))
    np.testing.assert_array_equal(timestep.obs, np.where(actions, 1 + 500 + 124, 1 + 125))
    assert env.statistic_names == ("C", "first", *(f"{own}{k}" for own in "CD" for k in (0, 125, 250, 374, 499)))
    assert env.marks() == {"all C": 2.0 * 499, "all D": 1.0}
    match = Match.of(env, [shaping.make("random", probability=0.25)] * 500, batch=2)
    outcome = jax.jit(shaping.outcome)(match, shaping.policies(match, shaping.init(match, KEY)), KEY)
    assert 0.2 < outcome.statistics["C"].mean() < 0.3
    assert outcome.reward_per_step.shape == (500,)


@pytest.mark.parametrize("players", [2, 3, 5])
def test_statistics_are_those_of_the_joint_form(players):
    """Of the same random play, with steps that do not count; kinds of history that did not occur are NaN in both."""
    joint, counts = forms("snowdrift", players, horizon=6)
    match = Match.of(joint, [shaping.make("random", probability=0.7)] * players, batch=3)
    ((played,), info) = jax.jit(shaping.episode)(match, shaping.policies(match, shaping.init(match, KEY)), KEY)
    valid = played.valid.at[-1, 1].set(0.0)
    expected = joint.statistics(played.obs, played.action, info, valid)
    found = counts.statistics(jnp.asarray(joint.history_kinds())[played.obs], played.action, info, valid)
    assert tuple(found) == counts.statistic_names == tuple(expected)
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-6)
    assert any(np.isnan(values).any() for values in found.values()) == (players > 2)


STRATEGIES = [
    ("tit_for_tat", {}),
    ("tit_for_tat", {"variant": "harsh"}),
    ("tit_for_tat", {"variant": "strict_switch"}),
    ("generous_tit_for_tat", {}),
    ("win_stay_lose_shift", {}),
    ("grim", {}),
    ("zd_extortionate", {}),
]


@pytest.mark.parametrize(
    "players", [3, pytest.param(2, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("name", "fields"), STRATEGIES, ids=str)
def test_strategies_do_the_same_in_both_forms(name, fields, players):
    """Action for action, beside others who co-operate more often than not, with the same random numbers."""
    learners = [shaping.make(name, **fields), *[shaping.make("random", probability=0.8)] * (players - 1)]
    played = []
    for env in forms("ipd", players, horizon=12):
        match = Match.of(env, learners, batch=16)
        trajectories, _ = jax.jit(shaping.episode)(match, shaping.policies(match, shaping.init(match, KEY)), KEY)
        played.append([np.asarray(trajectory.action) for trajectory in trajectories])
    for mine, other in zip(*played, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert 0 < played[0][0].mean() < 1, "it depends on what the others do"


def test_the_others_are_learned_from_as_in_the_joint_form():
    """A table of counts that a table of joint actions repeats plays alike, with the same random numbers."""
    joint, counts = forms("ipd", 3, horizon=8)
    tables = 2 * jax.random.normal(jax.random.key(3), (3, 7, 1))
    actions = []
    for env, policy in ((joint, tables[:, joint.history_kinds()]), (counts, tables)):
        match = Match.of(env, [shaping.make("naive")] * 3, batch=32)
        (trajectory,), _ = jax.jit(shaping.episode)(match, (policy,), KEY)
        actions.append(trajectory.action)
    np.testing.assert_array_equal(*actions)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        (
            "ipd",
            {"players": 40},
            r"players = 40: expected a whole number from 2 to 16 \(more with observe = 'counts'\)",
        ),
        ("ipd", {"players": 1001, "observe": "counts"}, "players = 1001: expected a whole number from 2 to 1000"),
        ("ipd", {"players": 1, "observe": "counts"}, "players = 1: expected a whole number from 2"),
        ("ipd", {"observe": "counts", "horizon": 0}, "horizon = 0: expected a whole number of at least 1"),
        ("ipd", {"observe": "counts", "discount": 1.0}, "discount = 1.0: expected from 0"),
        ("ipd", {"observe": "counts", "gift": 1e38}, "expected finite numbers up to 1e"),
        ("ipd2", {"observe": "counts"}, "no parameter 'observe'"),
    ],
)
def test_bad_fields_are_named(name, fields, message):
    with pytest.raises(ValueError, match=message):
        envs.make(name, **fields)


@pytest.mark.parametrize(
    ("payoffs", "message"),
    [
        (np.zeros((3, 4)), r"payoffs of shape \(3, 4\): expected \[2, n\], by own action and by defectors"),
        (np.zeros(4), r"payoffs of shape \(4,\): expected \[2, n\]"),
        (jnp.zeros((4, 3)), r"payoffs of shape \(4, 3\)"),
        (np.full((2, 3), np.nan), "expected finite numbers"),
    ],
)
def test_bad_payoffs_are_named(payoffs, message):
    with pytest.raises(ValueError, match=message):
        SymmetricGame(payoffs)


def test_games_can_be_batched_and_constants_differentiated():
    gifts = jnp.array([1.0, 2.0, 3.0])
    games = jax.vmap(lambda gift: envs.make("ipd", players=20, gift=gift, observe="counts"))(gifts)
    assert (games.payoffs.shape, games.num_players) == ((3, 2, 20), 20)
    cooperate = jnp.zeros(20, jnp.int32)
    reward = lambda env: env.step(env.reset(KEY)[0], cooperate, KEY)[1].reward[0]  # noqa: E731
    np.testing.assert_allclose(jax.vmap(reward)(games), gifts * 19)
    assert float(jax.grad(lambda g: reward(envs.make("ipd", players=20, gift=g, observe="counts")))(2.0)) == 19.0
