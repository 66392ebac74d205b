"""What learners say of the probabilities of their actions, against how often they take them; mixtures of policies."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import shaping
from shaping import Frozen, Match
from shaping.learner import ENVIRONMENTS
from shaping.mixture import Mixture, Population
from shaping.q_learning import QPolicy
from shaping.wrappers import Blind

GAMES = {
    "ipd": {"players": 3, "horizon": 4},
    "rock_paper_scissors": {"horizon": 4},
    "coin_game": {"horizon": 4},
    "counts": {"players": 3, "horizon": 4, "observe": "counts"},
}
FIELDS = {
    "maml": {"fitting_steps": 1, "fitting_horizon": 2, "fitting_batch": 2},
    "meta_pg": {"fitting_steps": 1, "fitting_horizon": 2, "fitting_batch": 2},
    "meta_mapg": {"fitting_steps": 1, "fitting_horizon": 2, "fitting_batch": 2},
    "cola": {"fitting_steps": 2},
    "meva": {"fitting_rounds": 1, "fitting_batch": 2, "width": 8, "quantiles": 4},
    "pax_ppo_gru": {"minibatches": 1},
}
QUICK = {("ipd", name) for name in ("mfos", "mfos_exact", "q_learning", "generous_tit_for_tat", "grim")}
QUICK |= {("rock_paper_scissors", "uniform"), ("rock_paper_scissors", "ppo"), ("coin_game", "always_defect")}
DRAWS = 4000


def environment(game):
    return envs.make("ipd" if game == "counts" else game, **GAMES[game])


def fitting():
    for game in GAMES:
        for name in shaping.names():
            try:
                shaping.make(name, **FIELDS.get(name, {})).check(environment(game), 4)
            except ValueError:
                continue
            yield pytest.param(game, name, marks=() if (game, name) in QUICK else pytest.mark.slow)


def acting(env, learner, key):
    """A policy far from uniform."""
    state = learner.init(env, key)
    if learner.span == "trial":
        state = learner.enter(env, learner.begin(env, state, key), key)
    leaves, structure = jax.tree.flatten(learner.policy(state))
    keys = jax.random.split(key, max(len(leaves), 1))
    drawn = [1.5 * jax.random.normal(own, leaf.shape, leaf.dtype) for own, leaf in zip(keys, leaves, strict=False)]
    policy = structure.unflatten(drawn)
    return policy._replace(exploration=jnp.float32(0.3)) if isinstance(policy, QPolicy) else policy


def watch(env, learner, policy, seen, legal):
    """Probabilities after the last of the observations `seen`, and how often actions are taken there."""

    def look(key):
        memory = learner.memory(env, policy)
        for step, obs in enumerate(seen):
            told = learner.action_probabilities(env, policy, memory, obs, legal)
            action, memory, _ = learner.act(env, policy, memory, obs, legal, jax.random.fold_in(key, step))
        return told, action

    beside = jax.vmap(look, axis_name=ENVIRONMENTS)
    each = jax.vmap(lambda key: beside(key[None]))
    told, actions = jax.jit(each)(jax.random.split(jax.random.key(7), DRAWS))
    return np.asarray(told, float)[:, 0].mean(axis=0), np.bincount(np.ravel(actions), minlength=env.num_actions) / DRAWS


def observations(env):
    if env.num_observations:
        return [jnp.int32(k) for k in (0, 2, env.num_observations - 1)]
    return [env.reset(jax.random.key(start))[1][0] for start in range(2)]


@pytest.mark.parametrize(("game", "name"), list(fitting()))
def test_actions_are_as_likely_as_learners_say(game, name):
    env, learner = environment(game), shaping.make(name, **FIELDS.get(name, {}))
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # of flax, in what prepares
        policy = acting(env, learner, jax.random.key(0))
    told, seen = watch(env, learner, policy, observations(env), env.legal(None)[0])
    np.testing.assert_allclose(told.sum(), 1, atol=1e-5)
    np.testing.assert_allclose(told, seen, atol=5 * 0.5 / DRAWS**0.5)


def test_illegal_actions_have_no_probability():
    payoffs = np.zeros((2, 3, 3))
    env = envs.MatrixGame(payoffs, (("a", "b", "c"), ("a", "b")), horizon=3)
    legal = env.legal(None)[1]
    for name in ("uniform", "naive", "q_learning"):
        learner = shaping.make(name)
        policy = acting(env, learner, jax.random.key(0))
        told, seen = watch(env, learner, policy, [jnp.int32(0)], legal)
        assert told[2] == seen[2] == 0
        np.testing.assert_allclose(told.sum(), 1, atol=1e-6)


def test_continuous_actions_have_none():
    env = envs.make("cournot", horizon=4)
    for name in ("ppo_gru", "uniform"):
        learner = shaping.make(name)
        policy = learner.policy(learner.init(env, jax.random.key(0)))
        legal = env.legal(None)[0]
        told = learner.action_probabilities(env, policy, learner.memory(env, policy), jnp.zeros(env.obs_shape), legal)
        assert told.shape == (0,)


def test_wrapped_learners_say_what_the_learner_says():
    env, learner = environment("ipd"), shaping.make("ppo")
    policy = acting(env, learner, jax.random.key(0))
    legal = env.legal(None)[0]
    own = lambda who, obs: who.action_probabilities(env, policy, (), obs, legal)  # noqa: E731
    plain = learner.action_probabilities(env, policy, (), jnp.int32(3), legal)
    start = learner.action_probabilities(env, policy, (), jnp.int32(0), legal)
    np.testing.assert_array_equal(own(Frozen.of(learner, policy), jnp.int32(3)), plain)
    blind = jax.vmap(lambda obs: own(Blind(learner, 1), obs), axis_name=ENVIRONMENTS)
    np.testing.assert_allclose(blind(jnp.array([3, 3], jnp.int32)), np.stack([start, plain]), rtol=1e-6)


class TestMixture:
    def mixture(self, name="ppo_gru", weights=(0.2, 0.0, 0.8)):
        env, learner = environment("ipd"), shaping.make(name)
        every = [acting(env, learner, jax.random.key(k)) for k in range(3)]
        policies = jax.tree.map(lambda *leaves: jnp.stack(leaves), *every)
        return env, Mixture(learner), Population(policies, jnp.array(weights))

    def test_actions_are_as_likely_as_it_says(self):
        env, mixture, population = self.mixture()
        for seen in observations(env)[:1], observations(env):
            told, taken = watch(env, mixture, population, seen, env.legal(None)[0])
            np.testing.assert_allclose(told, taken, atol=5 * 0.5 / DRAWS**0.5)

    def test_one_policy_plays_a_whole_episode_and_another_the_next(self):
        env, mixture, population = self.mixture()
        match = Match.of(env, [mixture] * 3, batch=512)
        states = (jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), population),)
        (played,), _ = jax.jit(shaping.episode)(match, states, jax.random.key(1))
        members = np.asarray(played.last_memory.member)
        assert members.shape == (512, 3)
        assert set(members.ravel()) == {0, 2}  # the other one has no weight
        np.testing.assert_allclose((members == 2).mean(), 0.8, atol=0.06)
        alone = jax.tree.map(lambda leaf: leaf[2], population.policies)
        (two,), _ = jax.jit(shaping.episode)(
            Match.of(env, [mixture] * 3, batch=512),
            (
                jax.tree.map(
                    lambda leaf: jnp.stack([leaf] * 3), population._replace(weights=jnp.array([0.0, 0.0, 1.0]))
                ),
            ),
            jax.random.key(1),
        )
        memory = mixture.learner.memory(env, alone)
        for step in range(env.horizon):  # the memory is that of the one who plays
            obs = two.obs[step, 0, 0]
            _, memory, _ = mixture.learner.act(env, alone, memory, obs, env.legal(None)[0], jax.random.key(0))
        chex.assert_trees_all_close(two.last_memory.own[0, 0], memory, atol=1e-5)

    def test_it_freezes_as_any_other(self):
        env, mixture, population = self.mixture("tabular")
        both = jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf]), population)
        match = Match.of(env, [Frozen.of(mixture, both, 1), *[shaping.make("tit_for_tat")] * 2], batch=4)
        (state, _) = shaping.init(match, jax.random.key(0))
        chex.assert_trees_all_equal(jax.tree.map(lambda leaf: -leaf[0], state), population)
        assert not match.samples
