"""The learner contract over every registered learner, and the equivalences that a match promises."""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import shaping
from shaping import Learner, Match
from shaping.match import joint

GAMES = {"ipd": {"players": 3}, "rock_paper_scissors": {}, "chicken": {}, "bach_or_stravinsky": {}}
OFTEN = [("naive", "rock_paper_scissors"), ("lola", "ipd")]
CASES = [
    pytest.param(name, game, marks=() if (name, game) in OFTEN else pytest.mark.slow)
    for name in ("naive", "lookahead", "lola")
    for game in GAMES
]


def advance(match, states, seed=0, start=0, stop=4):
    body = lambda i, s: shaping.step(match, s, jax.random.key(seed), i)[0]  # noqa: E731
    return jax.lax.fori_loop(start, stop, body, states)


run = jax.jit(advance)


APART = ((0,), (1,), (2,)), (False,) * 3  # seats of three players, each a group of its own

same = chex.assert_trees_all_equal
close = partial(chex.assert_trees_all_close, rtol=2e-4, atol=2e-4)


def seated(name, env):
    learner = shaping.make(name)
    return Match.of(env, [learner] * env.num_players)


@pytest.mark.parametrize(("name", "game"), CASES)
class TestContract:
    def test_states_keep_their_structure_and_a_second_call_does_not_retrace(self, name, game):
        env = envs.make(game, **GAMES[game])
        match = seated(name, env)
        states = shaping.init(match, jax.random.key(0))
        chex.clear_trace_counter()

        @jax.jit
        @chex.assert_max_traces(n=1)
        def step(states, index):
            return shaping.step(match, states, jax.random.key(1), index)[0]

        after = step(step(states, 0), 1)
        chex.assert_trees_all_equal_shapes_and_dtypes(after, states)
        chex.assert_tree_all_finite(after)
        moved = jax.tree.map(lambda x, y: float(jnp.abs(x - y).max()), after[0].params, states[0].params)
        assert moved > 1e-4, "nothing was learned"

    def test_jit_and_no_jit_agree(self, name, game):
        if game in ("ipd", "rock_paper_scissors") and name != "naive":
            pytest.skip("takes long without jit, and differs in nothing but its size")
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
        state = learner.init(env, jax.random.key(2))
        obs, legal = jnp.zeros((), jnp.int32), env.legal()[0]
        keys = jax.random.split(jax.random.key(0), 4000)
        act = lambda key: learner.act(env, learner.policy(state), (), obs, legal, key)[0]  # noqa: E731
        actions = jax.jit(jax.vmap(act))(keys)
        assert actions.dtype == jnp.int32
        seen = np.bincount(actions, minlength=env.num_actions) / len(keys)
        logits = jnp.concatenate([state.params[0], jnp.zeros(1)])
        np.testing.assert_allclose(seen, jax.nn.softmax(logits), atol=0.04)


@pytest.mark.parametrize(
    "names",
    [("lola", "naive", "lola"), pytest.param(("lookahead", "lola", "naive"), marks=pytest.mark.slow)],
)
def test_seats_group_in_any_order(names):
    """Grouped equals ungrouped: the same initial states bit for bit, the same update to rounding."""
    env = envs.make("ipd", players=3)
    grouped = Match.of(env, [shaping.make(name) for name in names])
    alone = [Match.of(env, [shaping.make(name)] * 3).learners[0] for name in names]
    single = Match(env, tuple(jax.tree.map(lambda leaf: leaf[:1], own) for own in alone), *APART)
    assert len(grouped.learners) == len(set(names))
    tables = []
    for match in (grouped, single):
        states = run(match, shaping.init(match, jax.random.key(3)), 4, 0, 1)
        tables.append(joint(match, shaping.policies(match, states))[0])
    np.testing.assert_allclose(tables[0], tables[1], rtol=1e-5, atol=5e-5)
    first = [joint(m, shaping.policies(m, shaping.init(m, jax.random.key(3))))[0] for m in (grouped, single)]
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
        ends[name] = run(match, shaping.init(match, jax.random.key(0)))[0].params
    np.testing.assert_allclose(ends["sum"], ends["per_step"], rtol=1e-3, atol=1e-3)
    assert float(jnp.abs(ends["sum"] - ends["too small"]).max()) > 1.0


def test_adam_takes_the_first_step_of_its_rate():
    env = envs.make("ipd2")
    match = Match.of(env, [shaping.make("naive", optimizer="adam", learning_rate=0.1)] * 2)
    states = shaping.init(match, jax.random.key(0))
    with jax.numpy_dtype_promotion("standard"):  # optax multiplies a rate with a count
        after = run(match, states, 0, 0, 1)
    np.testing.assert_allclose(jnp.abs(after[0].params - states[0].params), 0.1, rtol=1e-2)


def started(match):
    return shaping.policies(match, shaping.init(match, jax.random.key(0)))


class Recorder(Learner):
    """Plays its seat's fixed schedule and keeps what it was shown."""

    def init(self, env, key):
        return {"seen": jnp.zeros((3, env.horizon, 2)), "key": jax.random.key_data(key)}

    def act(self, env, policy, memory, obs, legal, key):
        return jax.random.randint(key, (), 0, 2), memory, {"acted_on": obs}

    def update(self, state, context, key):
        t = context.trajectory
        seen = jnp.stack([t.obs.astype(float), t.action.astype(float), t.reward])
        return {**state, "seen": seen.transpose(0, 1, 2)}, {"mean": t.reward.mean()}


def recorded(grouped=True, batch=2):
    env = envs.make("ipd", players=3, horizon=6)
    match = Match.of(env, [Recorder()] * 3, batch=batch)
    if not grouped:
        match = Match(env, (Recorder(),) * 3, *APART, batch)
    return env, match, shaping.init(match, jax.random.key(0))


def test_the_buffer_holds_the_observation_before_and_the_reward_of_the_same_step():
    """The published runs stored the next observation, or the previous reward, and changed their results by it."""
    env, match, states = recorded()
    (trajectory,), _ = shaping.episode(match, shaping.policies(match, states), jax.random.key(1))
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
    (trajectory,), _ = jax.jit(shaping.episode)(match, shaping.policies(match, states), jax.random.key(1))
    action = np.asarray(trajectory.action, float)
    flat = action.transpose(2, 0, 1).reshape(3 * 6, 512)
    correlation = np.corrcoef(flat) - np.eye(18)
    assert np.abs(correlation).max() < 0.2
    assert 0.45 < action.mean() < 0.55


def test_sampled_play_does_not_depend_on_the_grouping():
    trajectories = []
    for grouped in (True, False):
        _, match, states = recorded(grouped)
        groups, _ = shaping.episode(match, shaping.policies(match, states), jax.random.key(1))
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
        def init(self, env, key):
            return jnp.zeros((), jnp.int32)

        def update(self, state: Any, context, key):
            return state + 1, {"count": state + 1}

    match = Match.of(env, [Counter()] * 3, episodes=300)
    states, metrics = jax.jit(shaping.trial)(match, shaping.init(match, jax.random.key(0)), jax.random.key(1))
    assert states[0].tolist() == [300] * 3
    assert metrics[0]["count"].tolist() == [300] * 3


def test_learners_that_differ_in_a_float_share_a_group():
    env = envs.make("ipd", players=3)
    rates = (0.5, 1.0, 2.0)
    match = Match.of(env, [shaping.make("naive", learning_rate=rate) for rate in rates])
    assert match.seats == ((0, 1, 2),)
    states = shaping.init(match, jax.random.key(0))
    moved = (run(match, states, 0, 0, 1)[0].params - states[0].params).reshape(3, -1)
    same_rate = Match.of(env, [shaping.make("naive")] * 3)
    reference = (run(same_rate, states, 0, 0, 1)[0].params - states[0].params).reshape(3, -1)
    np.testing.assert_allclose(moved, reference * jnp.array(rates)[:, None], rtol=1e-3, atol=1e-6)


def test_a_match_is_a_pytree_that_can_be_batched():
    """A sweep over a float field of an environment and one of a learner is a vmap."""

    def final(gift, rate):
        env = envs.make("ipd", gift=gift)
        match = Match.of(env, [shaping.make("lola", lookahead_rate=rate)] * 2)
        return advance(match, shaping.init(match, jax.random.key(0)))[0].params

    gifts, rates = jnp.array([1.5, 2.0, 3.0]), jnp.array([0.0, 1.0, 2.0])
    swept = jax.jit(jax.vmap(final))(gifts, rates)
    np.testing.assert_allclose(swept[1], jax.jit(final)(2.0, 1.0), rtol=1e-3, atol=1e-3)
    naive = Match.of(envs.make("ipd", gift=1.5), [shaping.make("naive")] * 2)
    expected = run(naive, shaping.init(naive, jax.random.key(0)))[0].params  # a look-ahead of rate 0
    np.testing.assert_allclose(swept[0], expected, rtol=1e-3, atol=1e-3)


class Random(Learner):
    """Changes its state at random: shows what the keys of updates depend on."""

    @property
    def samples(self):
        return False

    def init(self, env, key):
        return jnp.zeros(())

    def update(self, state, context, key):
        return jax.random.normal(key), {}


def test_the_key_of_an_update_depends_on_seat_step_episode_and_seed():
    env = envs.make("ipd", players=3, horizon=2)
    draws = []
    for episodes in (1, 2):
        match = Match.of(env, [Random()] * 3, episodes=episodes)
        for seed in (0, 1):
            for index in (0, 1):
                (state,), _ = shaping.step(
                    match, shaping.init(match, jax.random.key(0)), jax.random.key(seed), jnp.int32(index)
                )
                draws += state.tolist()
    assert len(set(draws)) == len(draws) == 2 * 2 * 2 * 3


def test_memory_is_carried_through_an_episode_and_fresh_in_the_next():
    env = envs.make("ipd", players=2, horizon=5)

    class Remembers(Recorder):
        def memory(self, env, policy):
            return jnp.zeros((), jnp.int32)

        def act(self, env, policy, memory, obs, legal, key):
            return jnp.zeros((), jnp.int32), memory + 1, memory

    match = Match.of(env, [Remembers()] * 2, batch=3)
    for _ in range(2):
        (trajectory,), _ = shaping.episode(match, started(match), jax.random.key(1))
        np.testing.assert_array_equal(trajectory.aux, np.broadcast_to(np.arange(5)[:, None, None], (5, 3, 2)))


def test_illegal_actions_are_never_sampled(tmp_path):
    np.savez(tmp_path / "game.npz", payoffs=np.zeros((2, 2, 3)))
    env = envs.make("matrix", payoffs=str(tmp_path / "game.npz"))
    match = Match.of(env, [shaping.make("naive")] * 2, batch=64)
    (trajectory,), _ = shaping.episode(match, started(match), jax.random.key(1))
    assert int(trajectory.action[..., 0].max()) == 1
    assert int(trajectory.action[..., 1].max()) == 2


def test_a_white_box_learner_next_to_an_unreadable_one_is_refused():
    with pytest.raises(ValueError, match="on the exact objective reads the memory-one table of every seat"):
        Match.of(envs.make("ipd2"), [shaping.make("lola"), shaping.make("grim")])


def tables_after(learners, steps=4):
    """Tables of all seats, at first and after some steps, and the match."""
    match = Match.of(envs.make("ipd2"), learners)
    states = shaping.init(match, jax.random.key(0))
    tables = [joint(match, shaping.policies(match, own))[0] for own in (states, advance(match, states, stop=steps))]
    return *tables, match


def test_fixed_strategies_sit_among_learners_on_exact_values():
    found = {}
    for name in ("naive", "lola"):
        before, after, match = tables_after([shaping.make(name), shaping.make("tit_for_tat")])
        np.testing.assert_array_equal(before[1], after[1])
        np.testing.assert_allclose(jax.nn.sigmoid(after[1, :, 0]), [1, 1, 0, 1, 0], atol=1e-12)
        found[name] = before[0], after[0]
        assert not match.samples
    assert np.abs(found["lola"][1] - found["lola"][0]).max() > 0.1
    np.testing.assert_allclose(*(found[name][1] - found[name][0] for name in found), rtol=1e-5)  # it stands still
    uniform, _, match = tables_after([shaping.make("naive"), shaping.make("uniform")])
    np.testing.assert_array_equal(uniform[1], 0)
    acting = shaping.policies(match, shaping.init(match, jax.random.key(1)))
    seen = shaping.outcome(match, acting, jax.random.key(0))
    expected = shaping.exact_outcome(match.env, joint(match, acting)[0])
    np.testing.assert_allclose(seen.reward_per_step, expected.reward_per_step)


def test_trained_policies_sit_among_learners_on_exact_values():
    naive = shaping.make("naive")
    tables, _, _ = tables_after([naive, naive])
    frozen = shaping.Frozen.of(naive, jnp.asarray(tables), 1)
    before, after, _ = tables_after([naive, frozen])
    np.testing.assert_allclose(before[1], tables[1], rtol=1e-5)
    np.testing.assert_array_equal(before[1], after[1])
    assert np.abs(before[0] - after[0]).max() > 0.1


@pytest.mark.parametrize("logits", [(40.0, 38.0), (0.0, -200.0), (200.0, 0.0)])
def test_tables_have_the_probabilities_of_what_never_learns(logits):
    naive, env = shaping.make("naive"), envs.make("rock_paper_scissors")
    match = Match.of(env, [naive, shaping.Frozen.of(naive, jnp.array([[logits]]), 0)])
    table = joint(match, shaping.policies(match, shaping.init(match, jax.random.key(0))))[0][1]
    found = jax.nn.softmax(jnp.append(table[0], 0.0))
    np.testing.assert_allclose(found, jax.nn.softmax(jnp.array([*logits, 0.0])), atol=1e-6)


def test_no_lapack_call_is_compiled():
    """Batched LAPACK under vmap and scan was seen to hang."""
    match = seated("lola", envs.make("ipd", players=3))
    states = shaping.init(match, jax.random.key(0))
    text = jax.jit(jax.vmap(advance, (None, 0))).lower(match, jax.tree.map(lambda x: x[None], states)).as_text()
    assert "while" in text
    assert "lapack" not in text
    assert "custom_call" not in text


def test_wrong_seats_are_named():
    env = envs.make("ipd", players=3)
    with pytest.raises(ValueError, match="2 learners for 3 players"):
        Match.of(env, [shaping.make("naive")] * 2)
    with pytest.raises(ValueError, match="batch = 0"):
        Match.of(env, [shaping.make("naive")] * 3, batch=0)
