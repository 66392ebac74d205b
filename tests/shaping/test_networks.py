"""Networks and distributions: sizes and first policies of the published learner, recurrence, agreement with distrax."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import envs
import shaping
from shaping.distributions import (
    WRITTEN_OUT,
    Gaussian,
    distribution,
    entropy,
    kl_divergence,
    log_probability,
    probabilities,
    sample_action,
)  # fmt: skip
from shaping.linear import FEW_VALUES, Linear
from shaping.networks import ActorCriticNetwork, LogitTable

LEGAL = jnp.ones(2, bool)


@pytest.mark.parametrize(("players", "parameters"), [(2, 1104), (3, 1296), (4, 1680), (5, 2448)])
def test_recurrent_network_has_the_parameters_and_first_policy_of_leading_the_pack(players, parameters):
    """arXiv 2312.12564, authors' code: one-hot, GRU of 16, linear heads of constant weights."""
    env = envs.make("ipd", players=players)
    network = ActorCriticNetwork(memory_size=16, heads="constant")
    params = network.init(env, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameters
    output, memory = network.step(env, params, network.memory(params), jnp.int32(3), LEGAL)
    assert memory.shape == (16,)
    np.testing.assert_allclose(jax.nn.softmax(output.action), 0.5, atol=1e-6)


def test_gated_unit_is_the_one_written_down():
    env = envs.make("ipd", players=2)
    network = ActorCriticNetwork(memory_size=4)
    params = network.init(env, jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    h = jnp.array([0.3, -0.2, 0.5, 0.9])
    _, after = network.step(env, params, h, jnp.int32(2), LEGAL)
    w, b = params["gates_in"]["kernel"][2], params["gates_in"]["bias"]
    u, c = params["gates_memory"]["kernel"], params["candidate_memory"]["kernel"]
    z, r = jax.nn.sigmoid(w[:4] + b[:4] + h @ u[:, :4]), jax.nn.sigmoid(w[4:8] + b[4:8] + h @ u[:, 4:])
    candidate = jnp.tanh(w[8:] + b[8:] + (r * h) @ c)
    np.testing.assert_allclose(after, (1 - z) * h + z * candidate, rtol=1e-5)


@pytest.mark.parametrize(
    ("rows", "inputs", "units"), [((), 5, 7), ((3,), 5, 7), ((2, 3), 5, 7), ((40,), 5, 7), ((2,), 40, 30)]
)
def test_a_layer_is_the_dense_one_however_it_is_computed(rows, inputs, units):
    """Values and both gradients, below and above the sizes at which products are written out."""
    x = jax.random.normal(jax.random.key(0), (*rows, inputs))
    layer, dense = Linear(units), nn.Dense(units)
    params = layer.init(jax.random.key(1), x)
    chex.assert_trees_all_equal_shapes(params, dense.init(jax.random.key(1), x))
    loss = lambda module: lambda params, x: (jnp.sin(module.apply(params, x)) ** 2).sum()  # noqa: E731
    with jax.numpy_rank_promotion("allow"):
        expected = jax.value_and_grad(loss(dense), (0, 1))(params, x)
    chex.assert_trees_all_close(jax.value_and_grad(loss(layer), (0, 1))(params, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("values", [6, FEW_VALUES + 1])
@pytest.mark.parametrize("rows", [(), (4, 3)])
def test_an_integer_stands_for_its_one_hot_vector(values, rows):
    index = jax.random.randint(jax.random.key(0), rows, 0, values)
    vectors = jax.nn.one_hot(index, values)
    layer = Linear(3, one_hot=values)
    params = layer.init(jax.random.key(1), index)
    loss = lambda params, x: (jnp.sin(layer.apply(params, x)) ** 2).sum()  # noqa: E731
    found, expected = (jax.value_and_grad(loss)(params, x) for x in (index, vectors))
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)
    curvature = lambda x: jax.hessian(  # noqa: E731
        lambda bias: loss({"params": params["params"] | {"bias": bias}}, x)
    )(params["params"]["bias"])
    np.testing.assert_allclose(curvature(index), curvature(vectors), rtol=1e-4, atol=1e-5)


NETWORKS = {
    "table": (ActorCriticNetwork(), "ipd", {}),
    "logits": (LogitTable(), "ipd", {}),
    "gru": (ActorCriticNetwork(memory_size=5), "ipd", {}),
    "mlp": (ActorCriticNetwork(torso="mlp", width=7, depth=3), "coin_game", {}),
    "cnn": (ActorCriticNetwork(torso="cnn", width=6, memory_size=3), "coin_game", {}),
    "gaussian": (ActorCriticNetwork(), "cournot", {}),
}


@pytest.mark.parametrize("case", [pytest.param(c, marks=pytest.mark.slow) if c == "cnn" else c for c in NETWORKS])
def test_an_unroll_is_its_steps(case):
    network, game, fields = NETWORKS[case]
    env = envs.make(game, **fields)
    network.check(env)
    params = network.init(env, jax.random.key(0), 2)
    params = jax.tree.map(lambda leaf: leaf + 0.05, params)
    if env.num_observations:
        obs = jnp.array([0, 3, 1], jnp.int32)
    else:
        obs = jax.random.normal(jax.random.key(1), (3, *env.obs_shape))
    legal = jnp.ones((3, env.num_actions), bool)
    memory = network.memory(params)
    output, last = network.unroll(env, params, memory, obs, legal)
    for t in range(3):
        step, memory = network.step(env, params, memory, obs[t], legal[t])
        chex.assert_trees_all_close(step, jax.tree.map(lambda leaf, t=t: leaf[t], output), rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(memory, last, rtol=1e-5, atol=1e-6)


def test_gradients_flow_through_time_or_stop_after_one_step():
    """The first observation matters for the last action's log-probability only if the gradient goes back in time."""
    env = envs.make("ipd", players=2, horizon=4)
    moved = {}
    for gradient in ("through_time", "one_step"):
        learner = shaping.make("ppo_gru", gradient=gradient, minibatches=1, epochs=1, entropy=0.0, normalize=False)
        match = shaping.Match.of(env, [learner] * 2, batch=2)
        states = jax.jit(shaping.init)(match, jax.random.key(0))
        (seats,), _ = jax.jit(shaping.episode)(match, shaping.policies(match, states), jax.random.key(1))
        own = jax.tree.map(lambda leaf: leaf[0], states[0])
        first = seats._replace(
            **{name: jax.tree.map(lambda leaf: leaf[:, :, 0], getattr(seats, name)) for name in seats._fields[:4]},
            aux=jax.tree.map(lambda leaf: leaf[:, :, 0], seats.aux),
            last_obs=seats.last_obs[:, 0],
            last_memory=seats.last_memory[:, 0],
        )
        context = shaping.Context(env, jnp.int32(0), first, None, None, None, None)
        batch = learner._sample(own.params, context)
        only_last = jnp.zeros_like(batch.advantage).at[-1].set(1.0)  # nothing but the last action counts
        batch = batch._replace(advantage=only_last, weight=0 * batch.weight)
        grads = jax.jit(jax.grad(lambda p, learner=learner, batch=batch: learner._loss(env, p, batch)[0]))(own.params)
        moved[gradient] = float(jnp.abs(grads["gates_in"]["kernel"][0]).max())  # row of START, seen on the first step
    assert moved["one_step"] == 0.0
    assert moved["through_time"] > 1e-6


LOGITS = jnp.array([[0.5, -1.0, 2.0], [30.0, 0.0, -30.0], [1.0, 1.0, -1e9]])


def test_discrete_distributions_agree_with_distrax():
    env = envs.make("rock_paper_scissors")
    with jax.numpy_rank_promotion("allow"):
        reference = distribution(LOGITS)
        np.testing.assert_allclose(entropy(LOGITS), reference.entropy(), rtol=1e-5, atol=1e-6)
        finite = slice(0, 2)
        expected = distribution(LOGITS[finite]).kl_divergence(distribution(LOGITS[finite][::-1]))
        np.testing.assert_allclose(kl_divergence(LOGITS[finite], LOGITS[finite][::-1]), expected, rtol=1e-5)
        for action in range(3):
            taken = jnp.full(3, action, jnp.int32)
            np.testing.assert_allclose(
                log_probability(env, LOGITS, taken), reference.log_prob(taken), rtol=1e-5, atol=1e-5
            )


def test_derivatives_are_those_of_distrax_and_finite_at_saturated_policies():
    taken = jnp.array([2, 0, 1], jnp.int32)
    env = envs.make("rock_paper_scissors")
    ours = jax.hessian(lambda logits: log_probability(env, logits, taken).sum())(LOGITS)
    with jax.numpy_rank_promotion("allow"):
        theirs = jax.hessian(lambda logits: distribution(logits).log_prob(taken).sum())(LOGITS)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    saturated = 100 * LOGITS[:2]
    for function in (entropy, lambda x: kl_divergence(x, LOGITS[:2]), lambda x: kl_divergence(LOGITS[:2], x)):
        chex.assert_tree_all_finite(jax.jacrev(jax.jacrev(function))(saturated))


def test_actions_are_drawn_with_their_probabilities_and_never_without():
    env = envs.make("rock_paper_scissors")
    keys = jax.random.split(jax.random.key(0), 20_000)
    for logits in LOGITS:
        drawn, log_prob = jax.jit(jax.vmap(lambda key, logits=logits: sample_action(env, logits, key)))(keys)
        assert drawn.dtype == jnp.int32
        rates = np.bincount(drawn, minlength=3) / len(keys)
        np.testing.assert_allclose(rates, jax.nn.softmax(logits), atol=0.012)
        np.testing.assert_allclose(log_prob, jax.nn.log_softmax(logits)[drawn], rtol=1e-5, atol=1e-5)
    assert rates[2] == 0.0


def test_the_sum_of_few_actions_is_one_logarithm():
    """Compilers repeat a chain of `logaddexp` at each of its uses. Logits that are equally low are equally likely."""
    env = envs.make("rock_paper_scissors")
    traced = str(jax.make_jaxpr(lambda logits: log_probability(env, logits, jnp.int32(0)))(jnp.zeros(5)))
    assert (traced.count("= log "), traced.count("log1p")) == (1, 0)
    assert probabilities(jnp.full(3, -1e9)) == pytest.approx(np.full(3, 1 / 3))


def test_many_actions_are_not_written_out():
    logits = jax.random.normal(jax.random.key(0), (4, WRITTEN_OUT + 1))
    expected = -(jax.nn.softmax(logits) * jax.nn.log_softmax(logits)).sum(axis=-1)
    np.testing.assert_allclose(entropy(logits), expected, rtol=1e-5)


def test_continuous_actions_are_in_the_units_of_the_environment():
    env = envs.make("cournot", players=2)
    action = Gaussian(jnp.array([0.2]), jnp.array([-1.5]))
    keys = jax.random.split(jax.random.key(0), 20_000)
    with jax.numpy_rank_promotion("allow"):
        drawn, log_prob = jax.jit(jax.vmap(lambda key: sample_action(env, action, key)))(keys)
        again = jax.vmap(lambda taken: log_probability(env, action, taken))(drawn)
        spread = entropy(action)
    low, high = env.action_range
    assert drawn.shape == (20_000, 1)
    assert drawn.min() > low
    assert drawn.max() < high
    place = np.asarray((drawn - low) / (high - low), np.float64)
    logits = np.log(place / (1 - place))
    np.testing.assert_allclose(logits.mean(), 0.2, atol=0.01)
    np.testing.assert_allclose(logits.std(), np.exp(-1.5), rtol=0.03)
    np.testing.assert_allclose(log_prob, again, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(spread, 0.5 * np.log(2 * np.pi * np.e) - 1.5, rtol=1e-5)


def test_continuous_actions_at_the_ends_of_their_range_are_finite():
    env = envs.make("cournot", players=2)
    far = Gaussian(jnp.array([60.0]), jnp.array([0.0]))
    taken, log_prob = sample_action(env, far, jax.random.key(0))
    assert float(taken[0]) == env.action_range[1]
    slope = jax.grad(lambda mean: log_probability(env, far._replace(mean=mean), taken))(far.mean)
    chex.assert_tree_all_finite((log_prob, slope))
