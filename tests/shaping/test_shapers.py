"""What single shapers compute, against formulas written out: evolution, the meta-game, learning-aware credit, gates."""

from dataclasses import fields

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import envs
import shaping
from shaping import Match
from shaping.actor_critic import of_trial
from shaping.advantages import Coala, per_step
from shaping.evolution import Evolution, strategies
from shaping.learner import ENVIRONMENTS, Context, Trajectory
from shaping.mfos import Mfos, Step

KEY = jax.random.key(0)


def standard(function):
    return jax.numpy_rank_promotion("allow")(jax.numpy_dtype_promotion("standard")(function))


def evolve(**fields):
    """A small shaper, the game, its first state and candidates."""
    env = envs.make("ipd", players=2, horizon=4)
    shaper = shaping.make("shaper", **({"population": 6, "memory_size": 2, "pairing": "index"} | fields))
    assert isinstance(shaper, Evolution)
    state = shaper.init(env, KEY)
    return shaper, env, state, shaper.candidates(env, state, jax.random.key(1))


def flat(params):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


@standard
def test_the_first_generation_is_mirrored_around_uniform_play():
    shaper, env, state, tried = evolve()
    assert not flat(shaper.begin(env, state, KEY).policy.params).any()
    members = np.stack([flat(jax.tree.map(lambda leaf, p=p: leaf[p], tried.policy.params)) for p in range(6)])
    np.testing.assert_allclose(members[:3], -members[3:], atol=1e-6)
    assert 0.02 < members.std() < 0.06


@standard
def test_the_mean_moves_along_the_estimated_gradient():
    """The first step of Adam is its rate times the sign of Σ_p noise_p (F_p - mean F) / (P σ)."""
    shaper, env, state, tried = evolve(learning_rate=0.1)
    fitness = np.array([0.3, -0.2, 0.9, 0.1, 0.5, -0.7])
    told = jnp.asarray(fitness)[:, None, None] + jnp.zeros((6, 2, 3))
    after, metrics = shaper.learn(env, state, tried, told, KEY)
    members = np.stack([flat(jax.tree.map(lambda leaf, p=p: leaf[p], tried.policy.params)) for p in range(6)])
    gradient = (members / 0.04).T @ (fitness - fitness.mean()) / (6 * 0.04)
    moved = flat(shaper.begin(env, after, KEY).policy.params)
    clear = np.abs(gradient) > 1e-3
    np.testing.assert_allclose(moved[clear], 0.1 * np.sign(gradient)[clear], rtol=1e-3)
    assert float(metrics["fitness"]) == pytest.approx(fitness.mean(), abs=1e-6)
    best = shaper.replace(plays="best").begin(env, after, KEY)
    np.testing.assert_allclose(flat(best.policy.params), members[2], atol=1e-7)  # of the last generation, not the mean
    assert float(after.best_fitness) == pytest.approx(0.9)


@standard
def test_rates_and_widths_shrink_to_their_floors():
    shaper, env, state, _ = evolve(sigma_decay=0.5, learning_rate=0.1, learning_rate_decay=0.1)
    widths = []
    for index in range(4):
        tried = shaper.candidates(env, state, jax.random.key(index))
        widths.append(float(state.strategy.std))
        state, _ = shaper.learn(env, state, tried, jnp.arange(6.0)[:, None, None], KEY)
    assert widths[0] == pytest.approx(0.04)
    assert widths[-1] == pytest.approx(0.01)
    np.testing.assert_allclose([float(shaper._rate(k)) for k in range(4)], [0.1, 0.01, 0.001, 0.001], rtol=1e-5)


@standard
def test_shuffled_pairs_are_the_same_candidates_in_another_order():
    index, shuffled = (evolve(pairing=pairing)[3] for pairing in ("index", "shuffled"))
    rows = [
        np.stack(sorted(np.asarray(t.policy.params["actor"]["kernel"]).reshape(6, -1).tolist()))
        for t in (index, shuffled)
    ]
    np.testing.assert_allclose(*rows)
    first = [np.asarray(t.policy.params["actor"]["kernel"]).reshape(6, -1) for t in (index, shuffled)]
    assert not np.allclose(*first)


@standard
def test_noise_is_fresh_or_fixed():
    """Fixed noise is a function of the member, the environment and the step, whatever the key of the trial."""
    for noise, equal in (("fresh", False), ("fixed", True)):
        shaper, env, _, tried = evolve(noise=noise)
        own = shaper.policy(jax.tree.map(lambda leaf: leaf[1], tried))

        def actions(key, shaper=shaper, env=env, own=own):
            def act(memory, key):
                action, memory, _ = shaper.act(env, own, memory, jnp.int32(0), jnp.ones(2, bool), key)
                return memory, action

            play = lambda key: jax.lax.scan(act, shaper.memory(env, own), jax.random.split(key, 64))[1]  # noqa: E731
            return jax.vmap(play, axis_name=ENVIRONMENTS)(jax.random.split(key, 2))

        one, two = (np.asarray(jax.jit(actions)(jax.random.key(seed))) for seed in (0, 1))
        assert (one == two).all() == equal
        assert (one[0] != one[1]).any()


@standard
def test_fixed_noise_differs_between_shapers_and_seeds():
    """One key for all agents has changed published results before."""
    env = envs.make("ipd", players=3, horizon=4)
    shaper = shaping.make("shaper", population=4, memory_size=2, noise="fixed")
    match = Match.of(env, [shaper, shaper, shaping.make("uniform")], episodes=2)
    noise = [shaping.init(match, jax.random.key(seed))[0].noise for seed in (0, 1)]
    assert len(np.unique(np.asarray(noise))) == 4
    state = jax.tree.map(lambda leaf: leaf[0], shaping.init(match, KEY)[0])
    tried = [shaper.candidates(env, state, jax.random.key(key)).policy.noise for key in (1, 2)]
    np.testing.assert_array_equal(*tried)  # in all generations
    assert len(np.unique(np.asarray(tried[0]))) == 4  # of all members


def test_a_look_plays_what_is_deployed():
    """The best sample, here one that always defects; or the mean, here uniform play."""
    env, rewards = envs.make("ipd", players=2, horizon=50), {}
    for plays in ("best", "mean"):
        shepherd = shaping.make("good_shepherd", population=4, torso="table", plays=plays)
        match = Match.of(env, [shepherd, shaping.make("always_cooperate")], batch=2, episodes=3)
        state, *rest = shaping.init(match, KEY)
        candidate = jax.tree.map(lambda leaf: leaf[0], shaping.begin(match, (state, *rest), KEY)[0])
        zeros = candidate.policy.params
        defect = zeros | {"actor": {"kernel": zeros["actor"]["kernel"].at[:, 1].set(50.0)}}
        best = ravel_pytree(defect)[0]
        states = (state._replace(best=best[None]), *rest)
        look = standard(jax.jit(shaping.trial_outcome))
        rewards[plays] = np.asarray(look(match, states, KEY).reward_per_step)
    np.testing.assert_allclose(rewards["best"], np.array([[3.0, 0.0]] * 3))
    assert (np.abs(rewards["mean"] - np.array([2.5, 1.0])) < 0.25).all()


@pytest.mark.slow
def test_good_shepherd_learns_to_defect_where_nothing_can_be_shaped():
    env = envs.make("ipd", players=2, horizon=10)
    shepherd = shaping.make("good_shepherd", population=32, torso="table", sigma=0.3, learning_rate=0.2, momentum=0.9)
    match = Match.of(env, [shepherd, shaping.make("always_cooperate")], batch=8, episodes=2)
    step = standard(jax.jit(shaping.step))
    states = shaping.init(match, KEY)
    for index in range(60):
        states, metrics = step(match, states, KEY, jnp.int32(index))
    assert float(metrics[0]["fitness"][0]) > 2.9  # of 3, the temptation


def coala_by_definition(errors, steps, decay, credit):
    """The sums of the docstring, written out; errors `[M T, R, B]`."""
    total, rivals, batch = errors.shape
    found = np.zeros_like(errors)
    for l, r, b in np.ndindex(total, rivals, batch):  # noqa: E741
        end = total if credit == "unaware" else (l // steps + 1) * steps
        share = 1 / batch if credit == "coala" else 1.0
        found[l, r, b] = share * sum(decay ** (k - l) * errors[k, r, b] for k in range(l, end))
        found[l, r, b] += sum(decay ** (k - l) * errors[k, r].mean() for k in range(end, total))
    return found


@pytest.mark.parametrize("credit", ["coala", "mfos", "unaware"])
def test_learning_aware_credit_is_its_definition(credit):
    episodes, steps, rivals, batch = 3, 4, 2, 3
    keys = jax.random.split(KEY)
    reward = jax.random.normal(keys[0], (episodes * steps, rivals * batch))
    value = jax.random.normal(keys[1], (episodes * steps + 1, rivals * batch, 1))
    played = Trajectory(None, None, None, reward, None, None, None, None, None)
    context = Context(envs.make("ipd2"), jnp.int32(0), played, None, None, None, None, inner=(steps, batch))
    for discount, gae_lambda in ((1.0, 1.0), (0.9, 0.8)):
        estimate = Coala(discount, gae_lambda, credit)(context, value)
        errors = np.asarray(reward + discount * value[1:, :, 0] - value[:-1, :, 0]).reshape(-1, rivals, batch)
        expected = coala_by_definition(errors, steps, discount * gae_lambda, credit)
        np.testing.assert_allclose(estimate.advantage, expected.reshape(reward.shape), rtol=1e-4, atol=1e-5)


def test_credit_for_the_rivals_learning_vanishes_with_usual_discounts():
    """The trap: with γλ = 0.96 * 0.95 and 100 steps, what comes after the episode counts for a ten-thousandth."""
    reward = jnp.concatenate([jnp.zeros((100, 1)), jnp.ones((100, 1))])
    played = Trajectory(None, None, None, reward, None, None, None, None, None)
    context = Context(envs.make("ipd2"), jnp.int32(0), played, None, None, None, None, inner=(100, 1))
    first = {
        rates: float(Coala(*rates)(context, jnp.zeros((201, 1, 1))).advantage[0, 0])
        for rates in ((1.0, 1.0), (0.96, 0.95))
    }
    assert first[1.0, 1.0] == 100
    assert first[0.96, 0.95] < 2e-3


def test_a_trial_is_one_long_trajectory():
    told = jnp.arange(2 * 3 * 4 * 5 * 2).reshape(2, 3, 4, 5, 2)  # [P, R, M, T, B]
    reward = told.astype(jnp.float32)
    last = jnp.arange(2 * 3 * 4 * 2).reshape(2, 3, 4, 2)
    long = of_trial(Trajectory(told, told, told, reward, reward, reward > 0, (), last, last))
    assert long.obs.shape == (20, 12)
    np.testing.assert_array_equal(long.obs[:, 0], told[0, 0, :, :, 0].ravel())  # in the order of play
    np.testing.assert_array_equal(long.obs[0].reshape(2, 3, 2), told[:, :, 0, 0])  # of one set of rivals side by side
    np.testing.assert_array_equal(long.last_obs, last[:, :, -1].ravel())
    assert not long.terminated.any()


def test_the_gate_is_all_that_outlives_an_episode():
    env = envs.make("ipd2")
    network = shaping.make("mfos", memory_size=3).network
    params = network.init(env, KEY)
    params["actor"]["kernel"] = jax.random.normal(KEY, params["actor"]["kernel"].shape)
    legal = jnp.ones(2, bool)
    fresh = network.memory(params)
    np.testing.assert_array_equal(fresh.gate, 1)
    output, memory = network.step(env, params, fresh, jnp.int32(2), legal)
    _, memory = network.step(env, params, memory, jnp.int32(1), legal)
    np.testing.assert_array_equal(memory.gate, 1)  # within the episode it stays
    expected = jax.nn.sigmoid(memory.meta @ params["gate"]["kernel"] + params["gate"]["bias"])
    after = network.carry(params, memory)
    np.testing.assert_allclose(after.gate, expected, rtol=1e-6)
    assert not any(np.any(leaf) for leaf in (after.meta, after.actor, after.critic))
    np.testing.assert_array_equal(after.next_gate, 1)
    again, _ = network.step(env, params, after, jnp.int32(2), legal)
    bias = params["actor"]["bias"]
    weight = jnp.linalg.norm(output.action - bias), jnp.linalg.norm(again.action - bias)
    assert weight[1] < weight[0]  # gates are below 1


def test_memories_are_averaged_over_environments():
    memory = jnp.array([[0.0, 4.0], [2.0, 0.0]])
    network = shaping.make("shaper", memory_size=2, averaging="average").network
    mixed = jax.vmap(lambda own: network.mix({}, own), axis_name=ENVIRONMENTS)(memory)
    np.testing.assert_allclose(mixed, [[0.5, 3.0], [1.5, 1.0]])
    network = shaping.make("shaper", memory_size=2, averaging="attention").network
    params = network.init(envs.make("ipd2"), KEY)
    attend = jax.vmap(lambda own: network.mix(params, own), axis_name=ENVIRONMENTS)
    far = attend(memory.at[1].set(jnp.array([-7.0, 9.0])))
    assert not np.allclose(attend(memory)[0], far[0])  # what happened elsewhere is attended to


def meta_step(seat=0, **fields):
    """What M-FOS in a seat of three sees, is paid, and does next."""
    env = envs.make("ipd", players=3)
    mfos = shaping.make("mfos_exact", width=8, **fields)
    tables = jax.random.normal(KEY, (3, env.num_observations, 1))
    state = mfos.init(env, KEY)
    alone = jax.tree.map(lambda leaf: leaf[0], mfos.candidates(env, state, KEY))
    inner = alone._replace(table=tables[seat])
    update = lambda tables: mfos.update(  # noqa: E731
        inner, Context(env, jnp.int32(seat), None, None, None, (tables,), 0), jax.random.key(3)
    )
    return env, mfos, tables, inner, standard(jax.jit(update))(tables)


@pytest.mark.parametrize("seat", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_meta_game_shows_all_tables_and_pays_their_exact_value(seat):
    env, _, tables, inner, (after, step) = meta_step(seat)
    order = [(seat + k) % 3 for k in range(3)]
    np.testing.assert_allclose(step.obs, jax.nn.sigmoid(tables[jnp.array(order)]).ravel(), rtol=1e-5)
    expected = shaping.Exact("per_step").value(env, tables)[seat]
    np.testing.assert_allclose(step.reward, expected, rtol=1e-4)
    np.testing.assert_allclose(after.table.ravel(), step.action, rtol=1e-6)
    assert bool(step.chose)
    assert not np.allclose(after.table, inner.table)


class Telling(Mfos):
    """M-FOS that shows what it was told."""

    def learn(self, env, state, tried, told, key):
        return state, {"obs": told.obs}


def test_the_first_table_of_every_set_of_rivals_is_its_own():
    own = shaping.make("mfos_exact", width=4)
    telling = Telling(**{field.name: getattr(own, field.name) for field in fields(own)})
    match = Match.of(envs.make("ipd2"), [telling, shaping.make("naive")], episodes=3, rivals=4)
    step = standard(jax.jit(lambda match: shaping.step(match, shaping.init(match, KEY), KEY, jnp.int32(0))[1]))
    first = np.asarray(step(match)[0]["obs"])[0, 0, :, 0, :5]  # [R, O], probabilities
    assert len(np.unique(first.round(5))) == first.size
    assert 0.1 < first.std() < 0.4


def test_meta_returns_start_after_the_first_choice():
    """PPO is told that choice m was worth what was paid from step m + 1 on: a reward of step 0 changes nothing."""
    env = envs.make("ipd2")
    mfos = shaping.make("mfos_exact", width=4)
    state = mfos.init(env, KEY)
    keys = jax.random.split(KEY, 3)
    shape = (1, 2, 4)
    told = Step(
        jax.random.uniform(keys[0], (*shape, 10)), jax.random.normal(keys[1], (*shape, 5)), -7.0 * jnp.ones(shape),
        jax.random.normal(keys[2], shape), jnp.ones(shape, bool),
    )  # fmt: skip
    tried = mfos.candidates(env, state, KEY)
    learn = standard(jax.jit(lambda told: mfos.learn(env, state, tried, told, KEY)[0].params))
    reference = flat(learn(told))
    np.testing.assert_array_equal(flat(learn(told._replace(reward=told.reward.at[:, :, 0].add(9.0)))), reference)
    assert not np.allclose(flat(learn(told._replace(reward=told.reward.at[:, :1, 3].add(9.0)))), reference)
    assert not np.allclose(reference, flat(state.params))
    idle = standard(jax.jit(lambda told: mfos.learn(env, state, tried, told, KEY)[0]))(
        told._replace(chose=told.chose & False)
    )
    np.testing.assert_array_equal(flat(idle.params), flat(state.params))  # nothing is learned from playing naively
    assert int(idle.trials) == 1


@pytest.mark.slow
def test_a_genetic_candidate_must_beat_the_unperturbed_one():
    env = envs.make("ipd2")
    mfos = shaping.make("mfos_exact", width=4, outer="genetic", population=3)
    state = mfos.init(env, KEY)
    tried = mfos.candidates(env, state, jax.random.key(1))
    np.testing.assert_array_equal(flat(jax.tree.map(lambda leaf: leaf[-1], tried.params)), flat(state.params))
    for reward, chosen in (([1.0, 3.0, 2.0], 1), ([1.0, 2.0, 2.0], 2)):
        paid = jnp.asarray(reward)[:, None, None] + jnp.zeros((3, 2, 4))
        zeros = jnp.zeros((3, 2, 4))
        told = Step(zeros[..., None], zeros[..., None], zeros, paid, zeros == 0)
        after, _ = mfos.learn(env, state, tried, told, KEY)
        np.testing.assert_array_equal(
            flat(after.params), flat(jax.tree.map(lambda leaf, p=chosen: leaf[p], tried.params))
        )


def test_annealed_self_play_lets_one_seat_choose_and_then_all():
    env = envs.make("ipd", players=3)
    mfos = shaping.make("mfos_exact", naive_share=1.0, naive_decay=0.02)

    def chooses(trials, seat):
        context = Context(env, seat, None, None, None, None, None)
        return mfos._chooses(trials, context)

    seats = jax.jit(jax.vmap(jax.vmap(chooses, (None, 0)), (0, None)))(jnp.arange(100), jnp.arange(3))
    count = np.asarray(seats).sum(axis=1)
    assert set(count) == {1, 3}
    assert count[0] == 1
    assert (count[50:] == 3).all()
    assert np.asarray(seats)[count == 1].any(axis=0).all()  # each seat has its turn
    assert np.asarray(jax.vmap(chooses, (None, 0))(jnp.int32(-1), jnp.arange(3))).all()  # once deployed
    _, _, tables, inner, (after, step) = meta_step(1, naive_share=1.0)  # trial 0 is that of seat 0
    assert not bool(step.chose)
    value = lambda own: shaping.Exact().value(envs.make("ipd", players=3), tables.at[1].set(own))[1]  # noqa: E731
    np.testing.assert_allclose(after.table - inner.table, jax.grad(value)(tables[1]), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@standard
def test_every_strategy_of_evosax_evolves():
    """Traced, not run: what it asks for and is told has the shapes it expects."""
    for name in strategies():
        shaper, env = shaping.make("shaper", strategy=name, population=8, memory_size=2), envs.make("ipd", horizon=4)

        def generation(key, shaper=shaper, env=env):
            state = shaper.init(env, key)
            tried = shaper.candidates(env, state, key)
            after, _ = shaper.learn(env, state, tried, jnp.zeros((8, 1, 1)), key)
            return (state, after), tried, shaper.begin(env, after, key)

        (state, after), tried, deployed = jax.eval_shape(generation, KEY)
        assert jax.tree.structure(state) == jax.tree.structure(after), name
        assert jax.tree.leaves(tried.policy.params)[0].shape == (
            8,
            *jax.tree.leaves(deployed.policy.params)[0].shape,
        ), name


def test_values_are_learned_in_the_units_that_are_asked_for():
    env, shape = envs.make("ipd", players=2, horizon=4), (4, 2)
    values = {}
    for units in ("per_step", "sum"):
        learner = shaping.make("ppo", value_units=units)
        state = learner.init(env, KEY)
        params = jax.tree.map(jnp.ones_like, state.params)
        seen = Trajectory(
            jnp.zeros(shape, int), jnp.ones((*shape, 2), bool), jnp.zeros(shape, int), jnp.zeros(shape),
            jnp.ones(shape), jnp.zeros(shape, bool), (), jnp.zeros(2, int), (),
        )  # fmt: skip
        values[units] = learner.replay(env, params, seen).value
    np.testing.assert_allclose(values["sum"], 1.0)
    np.testing.assert_allclose(values["per_step"], 1 / per_step(0.96, 4), rtol=1e-5)
