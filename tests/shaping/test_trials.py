"""Trials: shapers, the rivals they meet, and what each may keep from one inner episode, and one trial, to the next."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import shaping
from shaping import Frozen, Learner, Match
from shaping.as_published import AsPublished
from shaping.learner import Context, Trajectory
from shaping.wrappers import Blind, Prepared, Stopped

KEY = jax.random.key(0)
SHAPERS = [name for name in shaping.names() if shaping.make(name).span == "trial"]
SMALL = {
    "shaper": {"population": 4, "memory_size": 3, "sigma": 1.0},
    "mfos": {"population": 4, "memory_size": 3, "sigma": 1.0},
    "good_shepherd": {"population": 4, "width": 4, "sigma": 1.0},
    "shaper_ppo": {"epochs": 1, "memory_size": 3},
    "mfos_ppo": {"epochs": 1, "memory_size": 3},
    "coala_pg": {"epochs": 1, "minibatches": 1, "memory_size": 3},
    "mfos_exact": {"width": 8},
}


def standard(function):
    """evosax and optax mix types and ranks, which strict promotion refuses."""
    return jax.numpy_rank_promotion("allow")(jax.numpy_dtype_promotion("standard")(function))


step = standard(jax.jit(shaping.step))


class Probe(Learner):
    """A rival: its state counts updates from a random start; it defects or not at random, and remembers steps."""

    def init(self, env, key):
        return {"start": jax.random.normal(key), "updates": jnp.zeros((), jnp.int32)}

    def memory(self, env, policy):
        return jnp.zeros((), jnp.int32)

    def act(self, env, policy, memory, obs, legal, key):
        return jax.random.bernoulli(key).astype(jnp.int32), memory + 1, memory

    def update(self, state, context, key):
        first = context.trajectory.aux[0].max().astype(float)
        after = state | {"updates": state["updates"] + 1}
        return after, {"updates": after["updates"].astype(float), "memory": first}


class Candidate(Probe):
    """A shaper that tries the numbers 0 ... P - 1 and is told its reward, what its memory was, and who it met."""

    @property
    def population(self):
        return 2

    @property
    def span(self):
        return "trial"

    def carry(self, env, policy, memory):
        return memory

    def act(self, env, policy, memory, obs, legal, key):
        draw = jax.random.bernoulli(key, 0.5).astype(jnp.int32)
        return draw, memory + 1, memory

    def candidates(self, env, state, key):
        alone = super().candidates(env, state, key)
        return jax.tree.map(lambda leaf: jnp.repeat(leaf, self.population, axis=0), alone)

    def update(self, state, context, key):
        t = context.trajectory
        return state, {"reward": t.reward.mean(), "first": t.aux[0, 0], "draws": t.action.mean()}

    def learn(self, env, state, tried, told, key):
        return state | {"updates": state["updates"] + 1}, told


def met(**options):
    """Two shapers that play at random among one rival, in a match."""
    env = envs.make("ipd", players=3, horizon=4)
    match = Match.of(env, [Candidate(), Probe(), Candidate()], batch=2, episodes=3, rivals=2, **options)
    return match, shaping.init(match, KEY)


def test_a_trial_is_played_by_every_member_against_every_set_of_rivals():
    match, states = met()
    after, (shapers, rivals) = step(match, states, jax.random.key(1), jnp.int32(0))
    told = shapers["reward"]  # [seats, P, R, M]
    assert told.shape == (2, 2, 2, 3)
    np.testing.assert_array_equal(shapers["first"], np.broadcast_to([0, 4, 8], told.shape))  # memory outlives episodes
    assert rivals["memory"].tolist() == [0.0]  # that of rivals does not
    assert rivals["updates"].tolist() == [3.0]
    np.testing.assert_array_equal(told[:, 0], told[:, 1])  # equal members fare equally: they draw the same numbers
    assert len(np.unique(np.asarray(shapers["draws"])[0, 0])) > 2  # but not against every set, nor in every episode
    assert after[0]["updates"].tolist() == [1, 1]
    assert after[1] == () == states[1]


def test_rivals_start_cold_or_go_on():
    for start, count in (("cold", 3.0), ("warm", 6.0)):
        match, states = met(rival_start=start)
        for index in range(2):
            states, metrics = step(match, states, jax.random.key(1), jnp.int32(index))
        assert metrics[1]["updates"].tolist() == [count]
    starts = np.asarray(states[1]["start"])  # warm: [P, R, seats]
    np.testing.assert_array_equal(starts[0], starts[1])  # every member meets the same rivals
    assert starts[0, 0, 0] != starts[0, 1, 0]


def test_fresh_rivals_differ_from_trial_to_trial_and_seed_to_seed():
    from shaping.match import fresh_rivals

    match, _ = met()
    keys = [jax.random.fold_in(jax.random.key(seed), index) for seed in (0, 1) for index in (0, 1)]
    starts = np.concatenate([np.ravel(fresh_rivals(match, key)[1]["start"]) for key in keys])
    assert len(np.unique(starts)) == len(starts) == 8


def test_what_is_deployed_plays_a_trial():
    match, states = met(rival_start="warm")
    seen = standard(jax.jit(shaping.trial_outcome))(match, states, jax.random.key(1))
    assert seen.reward_per_step.shape == (3, 3)


def test_mistakes_about_shapers_are_named():
    env = envs.make("ipd", players=3, horizon=4)
    shaper, naive = shaping.make("shaper"), shaping.make("reinforce")
    for learners, options, message in (
        ([naive] * 3, {"rivals": 2}, "rivals = 2 without a shaper"),
        ([shaper, shaping.make("shaper", population=8), naive], {}, "populations of 8 and 32"),
        ([shaper, naive, naive], {"rivals": 0}, "rivals"),
    ):
        with pytest.raises(ValueError, match=message):
            Match.of(env, learners, **options)
    two = envs.make("ipd2")
    with pytest.raises(ValueError, match="learns before play"):
        Match.of(two, [shaping.make("mfos_exact"), shaping.make("maml")], episodes=3)
    with pytest.raises(ValueError, match="episodes = 1"):
        Match.of(two, [shaping.make("mfos_exact"), shaping.make("naive")])
    for fields, message in (
        ({"strategy": "Open_E"}, "strategy"),
        ({"population": 7}, "even number"),
        ({"averaging": "attention", "memory_size": 0}, "averaging"),
    ):
        with pytest.raises(ValueError, match=message):
            shaping.make("shaper", **fields).check(env)
    with pytest.raises(ValueError, match="'one_step'"):
        shaping.make("mfos_ppo", gradient="through_time").check(env, 2)


@pytest.mark.parametrize("name", SHAPERS)
@pytest.mark.parametrize("seat", [0, *(pytest.param(seat, marks=pytest.mark.slow) for seat in (1, 2))])
def test_every_shaper_in_every_seat_keeps_the_form_of_its_state(name, seat):
    """Shapes only, which costs no compilation."""
    env = envs.make("ipd", players=3, horizon=3)
    rival = "naive" if shaping.make(name).tables else "reinforce"
    learners = [shaping.make(name if s == seat else rival, **(SMALL[name] if s == seat else {})) for s in range(3)]
    match = Match.of(env, learners, batch=2, episodes=2, rivals=2)
    states = jax.eval_shape(lambda: shaping.init(match, KEY))
    after, _ = jax.eval_shape(standard(shaping.step), match, states, KEY, jnp.int32(0))
    chex.assert_trees_all_equal_shapes_and_dtypes(after, states)


@pytest.mark.parametrize("rival", ["lola_dice", "loqa", "advantage_alignment", "ppo_gru", "coala_pg"])
@pytest.mark.parametrize("name", ["shaper", "mfos", "shaper_ppo", "mfos_ppo"])
def test_any_learner_can_be_a_rival(name, rival):
    """Those that differentiate what others do, and other shapers, too; shapes only."""
    env = envs.make("ipd", players=3, horizon=3)
    fields = {"coala_pg": SMALL["coala_pg"]}.get(
        rival, {"minibatches": 1} if rival in ("ppo_gru", "advantage_alignment") else {}
    )
    learners = [shaping.make(rival, **fields)] * 2
    match = Match.of(env, [shaping.make(name, **SMALL[name]), *learners], batch=2, episodes=2, rivals=2)
    states = jax.eval_shape(lambda: shaping.init(match, KEY))
    after, _ = jax.eval_shape(standard(shaping.step), match, states, KEY, jnp.int32(0))
    chex.assert_trees_all_equal_shapes_and_dtypes(after, states)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "shaper" else pytest.mark.slow) for name in SHAPERS]
)
def test_every_shaper_learns_from_a_trial(name):
    env = envs.make("ipd", players=2, horizon=3)
    shaper = shaping.make(name, **SMALL[name])
    match = Match.of(
        env, [shaper, shaping.make("naive" if shaper.tables else "tabular")], batch=2, episodes=2, rivals=2
    )
    states = shaping.init(match, KEY)
    after, metrics = step(match, states, jax.random.key(1), jnp.int32(0))
    chex.assert_tree_all_finite((after, metrics))
    before, now = (jax.tree.leaves(shaping.begin(match, own, KEY)[0]) for own in (states, after))
    assert max(float(jnp.abs(x - y).max()) for x, y in zip(before, now, strict=True)) > 1e-6


def trajectory(steps=3, batch=2, start=0):
    count = jnp.arange(start, start + steps * batch).reshape(steps, batch)
    zeros = jnp.zeros((steps, batch))
    return Trajectory(
        count, zeros[..., None], count, count.astype(float), zeros + 1, zeros > 0, (zeros, zeros[..., None], ()),
        count[-1] + 100, (),
    )  # fmt: skip


def stored(state_after: Any = 0, **switches: Any) -> Trajectory:
    """What `AsPublished` makes of a trajectory after a number of episodes, the last reward 50 and 51."""
    learner = AsPublished(Probe(), **switches)
    state = learner.init(envs.make("ipd2"), KEY)._replace(
        episodes=jnp.asarray(state_after), reward=jnp.array([50.0, 51.0])
    )
    return learner._stored(trajectory(), state)


def test_experience_as_it_should_be_and_as_published():
    right, played = stored(), trajectory()
    chex.assert_trees_all_equal(right._replace(last_obs=0), played._replace(last_obs=0))
    assert right.last_obs.tolist() == [0, 0]  # START: the next inner episode begins there
    np.testing.assert_array_equal(stored(obs_in_buffer="next").obs, [[2, 3], [4, 5], [0, 0]])
    np.testing.assert_array_equal(stored(reward_in_buffer="previous").reward, [[50, 51], [0, 1], [2, 3]])
    np.testing.assert_array_equal(stored(episode_terminal=True).terminated, [[0, 0], [0, 0], [1, 1]])


def test_a_counter_of_8_bits_ends_the_episodes_that_it_did():
    counted = jax.jit(jax.vmap(lambda k: stored(k, outer_counter_wrap=True).terminated[-1, 0]))(jnp.arange(1000))
    ends = (np.flatnonzero(counted) + 1).tolist()
    assert ends == [232, 488, 744, 1000]
    counters = np.arange(1, 1001).astype(np.int8)
    assert ends == (np.flatnonzero(counters == np.array(1000).astype(np.int8)) + 1).tolist()


def test_the_last_reward_is_carried_to_the_next_episode():
    env = envs.make("ipd", players=2, horizon=3)
    learner = AsPublished(Probe(), reward_in_buffer="previous")
    context = Context(env, jnp.int32(0), trajectory()._replace(aux=jnp.zeros((3, 2))), None, None, None, None)
    state, _ = learner.update(learner.init(env, KEY), context, KEY)
    assert state.reward.tolist() == [4.0, 5.0]
    assert int(state.episodes) == 1


def test_a_stopped_rival_learns_so_often_and_no_more():
    env = envs.make("ipd", players=2, horizon=3)
    match = Match.of(env, [Stopped(Probe(), 2), Probe()], batch=2, episodes=5)
    states, _ = step(match, shaping.init(match, KEY), jax.random.key(1), jnp.int32(0))
    assert states[0].own["updates"].tolist() == [2]
    assert states[1]["updates"].tolist() == [5]


class Shown(Probe):
    """Remembers what it saw."""

    def act(self, env, policy, memory, obs, legal, key):
        return jnp.int32(1), memory, obs


def test_a_blind_learner_sees_the_start_in_the_first_environments():
    env = envs.make("ipd", players=2, horizon=3)
    match = Match.of(env, [Blind(Shown(), 1), Shown()], batch=3)
    (blind, other), _ = shaping.episode(match, shaping.policies(match, shaping.init(match, KEY)), KEY)
    np.testing.assert_array_equal(blind.aux[:, 0], 0)
    np.testing.assert_array_equal(blind.aux[:, 1:], other.aux[:, 1:])
    assert (np.asarray(other.aux)[1:] > 0).all()


def test_a_prepared_rival_starts_from_one_of_its_states():
    env = envs.make("ipd", players=2, horizon=3)
    states = {"start": jnp.array([3.0, 5.0]), "updates": jnp.zeros(2, jnp.int32)}
    drawn = [float(Prepared(Probe(), states).init(env, jax.random.key(seed))["start"]) for seed in range(20)]
    assert set(drawn) == {3.0, 5.0}


def test_a_frozen_shaper_keeps_its_memory_through_a_trial():
    env = envs.make("ipd", players=3, horizon=4)
    policies = {"start": jnp.zeros(1), "updates": jnp.zeros(1, jnp.int32)}
    match = Match.of(env, [Frozen.of(Candidate(), policies), Probe(), Probe()], batch=2, episodes=3)
    assert match.shapers == (True, False)

    def see(acting, trajectories, info, key):
        return trajectories[0].last_memory

    states = shaping.begin(match, shaping.init(match, KEY), KEY)
    memory = jax.jit(lambda states: shaping.inner_episodes(match, states, KEY, see)[2])(states)
    np.testing.assert_array_equal(memory[:, :, 0], [[4, 4], [8, 8], [12, 12]])


def test_a_frozen_shaper_goes_on_to_choose_its_tables():
    env = envs.make("ipd", players=2)
    learners = [shaping.make("mfos_exact", **SMALL["mfos_exact"]), shaping.make("naive")]
    match = Match.of(env, learners, episodes=4)
    states = shaping.init(match, KEY)
    kept = jax.tree.map(lambda leaf: jnp.stack([-leaf, leaf]), states[0])  # of two training seeds
    begun = jax.vmap(lambda own: learners[0].begin(env, jax.tree.map(lambda leaf: leaf[0], own), KEY))(kept)
    frozen = Match.of(env, [Frozen.of(learners[0], begun, 1), learners[1]], episodes=4)
    assert (frozen.shapers, frozen.learners[0].tables) == ((True, False), True)
    outcome = jax.jit(shaping.trial_outcome)
    expected, found = (outcome(own, shaping.init(own, KEY), KEY).reward_per_step for own in (match, frozen))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (np.abs(np.diff(expected[:, 0])) > 1e-3).all(), "tables do not change"
    with pytest.raises(ValueError, match="Grim has none"):
        Match.of(env, [frozen.learners[0], shaping.make("grim")], episodes=4)
