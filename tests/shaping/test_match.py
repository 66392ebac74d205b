"""The learner contract over every registered learner, and the equivalences that a match promises."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import shaping
from shaping import Learner, Match

GAMES = {"ipd": {"players": 3}, "rock_paper_scissors": {}, "chicken": {}, "bach_or_stravinsky": {}}


def advance(match, states, seed=0, start=0, stop=4):
    body = lambda i, s: shaping.step(match, s, jax.random.key(seed), i)[0]  # noqa: E731
    return jax.lax.fori_loop(start, stop, body, states)


run = jax.jit(advance)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-4), a, b)


def seated(name, env):
    learner = shaping.make(name)
    return Match.of(env, [learner] * env.num_players)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("name", shaping.names())
class TestContract:
    def test_states_keep_their_structure_and_a_second_call_does_not_retrace(self, name, game):
        env = envs.make(game, **GAMES[game])
        match = seated(name, env)
        states = shaping.init(match, jax.random.key(0))
        traces = []

        @jax.jit
        def step(states, index):
            traces.append(index)
            return shaping.step(match, states, jax.random.key(1), index)[0]

        after = step(step(states, 0), 1)
        assert len(traces) == 1
        assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), states)
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(after))
        moved = jax.tree.map(lambda x, y: float(jnp.abs(x - y).max()), after[0].table, states[0].table)
        assert moved > 1e-4, "nothing was learned"

    def test_jit_and_no_jit_agree(self, name, game):
        env = envs.make(game, **GAMES[game])
        match = seated(name, env)
        states = shaping.init(match, jax.random.key(0))
        plain = shaping.step(match, states, jax.random.key(1), jnp.int32(0))[0]
        close(plain, run(match, states, 1, 0, 1))

    def test_a_run_of_many_seeds_holds_the_single_runs(self, name, game):
        env = envs.make(game, **GAMES[game])
        match = seated(name, env)
        seeds = jnp.arange(3)
        start = lambda seed: shaping.init(match, jax.random.key(seed))  # noqa: E731
        batched = jax.vmap(lambda seed: advance(match, start(seed), seed))(seeds)
        for seed in (0, 2):
            close(jax.tree.map(lambda leaf, seed=seed: leaf[seed], batched), run(match, start(seed), seed))

    def test_actions_are_legal_and_follow_the_policy(self, name, game):
        env = envs.make(game, **GAMES[game])
        learner = shaping.make(name)
        learner.check(env)
        state = learner.init(jax.random.key(2), env)
        obs, legal = jnp.zeros((), jnp.int32), env.legal()[0]
        keys = jax.random.split(jax.random.key(0), 4000)
        act = lambda key: learner.act(state, learner.memory(state), obs, legal, key)[0]  # noqa: E731
        actions = jax.jit(jax.vmap(act))(keys)
        assert actions.dtype == jnp.int32
        seen = np.bincount(actions, minlength=env.num_actions) / len(keys)
        logits = jnp.concatenate([state.table[0], jnp.zeros(1)])
        np.testing.assert_allclose(seen, jax.nn.softmax(logits), atol=0.04)


@pytest.mark.parametrize(
    "names", [("lola", "naive", "lola"), ("naive", "lola", "naive"), ("lookahead", "lola", "naive")]
)
def test_seats_group_in_any_order(names):
    """Grouped equals ungrouped: the same initial states bit for bit, the same update to rounding."""
    env = envs.make("ipd", players=3)
    shared = {name: shaping.make(name) for name in names}
    grouped = Match.of(env, [shared[name] for name in names])
    single = Match.of(env, [shaping.make(name) for name in names])
    assert len(grouped.learners) == len(set(names))
    assert len(single.learners) == 3
    tables = []
    for match in (grouped, single):
        states = run(match, shaping.init(match, jax.random.key(3)), 4, 0, 1)
        tables.append(shaping.policies(match, states))
    np.testing.assert_allclose(tables[0], tables[1], rtol=1e-5, atol=5e-5)
    first = [shaping.policies(m, shaping.init(m, jax.random.key(3))) for m in (grouped, single)]
    same(*first)


def test_twenty_steps_are_ten_and_ten():
    env = envs.make("ipd", players=3)
    match = seated("lola", env)
    states = shaping.init(match, jax.random.key(0))
    same(run(match, states, 0, 0, 20), run(match, run(match, states, 0, 0, 10), 0, 10, 20))


def test_per_step_values_need_rates_larger_by_the_normalisation():
    """Rates of 25 on (1 - γ)-normalised values are rates of 1 on discounted sums; rates of 1 are 25 times too small."""
    env = envs.make("ipd", players=3)
    ends = {}
    for name, fields in {
        "sum": {},
        "per_step": {"units": "per_step", "learning_rate": 25.0, "lookahead_rate": 25.0},
        "too small": {"units": "per_step"},
    }.items():
        match = Match.of(env, [shaping.make("lola", **fields)] * 3)
        ends[name] = run(match, shaping.init(match, jax.random.key(0)))[0].table
    np.testing.assert_allclose(ends["sum"], ends["per_step"], rtol=1e-3, atol=1e-3)
    assert float(jnp.abs(ends["sum"] - ends["too small"]).max()) > 1.0


def test_adam_takes_the_first_step_of_its_rate():
    env = envs.make("ipd2")
    match = Match.of(env, [shaping.make("naive", optimizer="adam", learning_rate=0.1)] * 2)
    states = shaping.init(match, jax.random.key(0))
    with jax.numpy_dtype_promotion("standard"):  # optax multiplies a rate with a count
        after = run(match, states, 0, 0, 1)
    np.testing.assert_allclose(jnp.abs(after[0].table - states[0].table), 0.1, rtol=1e-2)


class Recorder(Learner):
    """Plays its seat's fixed schedule and keeps what it was shown."""

    samples: ClassVar[bool] = True

    def init(self, key, env):
        return {"seen": jnp.zeros((3, env.horizon, 2)), "key": jax.random.key_data(key)}

    def policy(self, state):
        return state["seen"]

    def act(self, state, memory, obs, legal, key):
        return jax.random.randint(key, (), 0, 2), memory, {"acted_on": obs}

    def update(self, state, context, key):
        t = context.trajectory
        seen = jnp.stack([t.obs.astype(float), t.action.astype(float), t.reward])
        return {**state, "seen": seen.transpose(0, 1, 2)}, {"mean": t.reward.mean()}


def recorded(names_are_one_object=True, batch=2, episodes=1):
    env = envs.make("ipd", players=3, horizon=6)
    learner = Recorder()
    learners = [learner] * 3 if names_are_one_object else [Recorder() for _ in range(3)]
    match = Match.of(env, learners, batch=batch, episodes=episodes)
    states = shaping.init(match, jax.random.key(0))
    return env, match, states


def test_the_buffer_holds_the_observation_before_and_the_reward_of_the_same_step():
    """The published runs stored the next observation, or the previous reward, and changed their results by it."""
    env, match, states = recorded()
    (trajectory,) = shaping.episode(match, states, jax.random.key(1))
    obs, action, reward = (np.asarray(x) for x in (trajectory.obs, trajectory.action, trajectory.reward))
    assert obs.shape == action.shape == reward.shape == (6, 2, 3)
    payoffs = np.asarray(env.payoffs)
    for b in range(2):
        assert obs[0, b].tolist() == [0, 0, 0]
        for t in range(6):
            joint = tuple(action[t, b])
            np.testing.assert_allclose(reward[t, b], payoffs[(slice(None), *joint)])
            views = [1 + int("".join(str(joint[(i + k) % 3]) for k in range(3)), 2) for i in range(3)]
            following = obs[t + 1, b] if t < 5 else np.asarray(trajectory.last_obs)[b]
            assert following.tolist() == views
    np.testing.assert_array_equal(trajectory.aux["acted_on"], trajectory.obs)


def test_keys_are_not_shared_between_seats_environments_or_steps():
    """One key sampled for every agent is among the defects of published code."""
    _, match, states = recorded(batch=512)
    (trajectory,) = jax.jit(shaping.episode)(match, states, jax.random.key(1))
    action = np.asarray(trajectory.action, float)
    flat = action.transpose(2, 0, 1).reshape(3 * 6, 512)
    correlation = np.corrcoef(flat) - np.eye(18)
    assert np.abs(correlation).max() < 0.2
    assert 0.45 < action.mean() < 0.55


def test_sampled_play_does_not_depend_on_the_grouping():
    trajectories = []
    for one_object in (True, False):
        _, match, states = recorded(one_object)
        groups = shaping.episode(match, states, jax.random.key(1))
        trajectories.append(match.by_seat([group.action for group in groups], axis=2))
    same(*trajectories)


def test_a_black_box_learner_is_not_shown_the_others_policies():
    env = envs.make("ipd", players=3, horizon=4)

    class Nosy(Recorder):
        def update(self, state, context, key):
            assert context.policies is None
            assert context.trajectory.reward.shape == (4, 2)  # the own seat's part alone
            return state, {}

    match = Match.of(env, [Nosy(), Nosy(), Nosy()], batch=2)
    shaping.step(match, shaping.init(match, jax.random.key(0)), jax.random.key(1), jnp.int32(0))


def test_a_trial_updates_after_each_inner_episode():
    env = envs.make("ipd", players=3, horizon=4)

    class Counter(Recorder):
        def init(self, key, env):
            return jnp.zeros((), jnp.int32)

        def update(self, state: Any, context, key):
            return state + 1, {"count": state + 1}

    match = Match.of(env, [Counter()] * 3, episodes=300)
    states, metrics = jax.jit(shaping.trial)(match, shaping.init(match, jax.random.key(0)), jax.random.key(1))
    assert states[0].tolist() == [300] * 3
    assert metrics[0]["count"].tolist() == [300] * 3


def test_wrong_seats_are_named():
    env = envs.make("ipd", players=3)
    with pytest.raises(ValueError, match="2 learners for 3 players"):
        Match.of(env, [shaping.make("naive")] * 2)
    with pytest.raises(ValueError, match="batch = 0"):
        Match.of(env, [shaping.make("naive")] * 3, batch=0)
