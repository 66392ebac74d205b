"""Directions that learn something before they are followed: consistent look-aheads, meta-values, starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import shaping
from shaping import Dice, Exact, GradientLearner, Lola, Match, Naive
from shaping.cola import Cola, inconsistency
from shaping.maml import Maml
from shaping.meta_value import MetaValue, _orthogonal, _Training
from shaping.networks import LogitTable

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def promotion():
    """Layers of flax and optimisers of optax promote."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def values_of(game):
    return lambda params, key: Exact().value(game, params[0])


def everybody(direction, value, params, *learned):
    seats = jnp.arange(params[0].shape[0])
    return jax.jit(jax.vmap(lambda seat: direction(value, params, seat, KEY, *learned)[0]))(seats)


def test_trained_look_aheads_are_the_consistent_ones():
    """In the tandem game α h = a s + b with s = x + y, a = -2 α (1 + a)² and b = 2 α (1 - b (1 + a))."""
    value, rate = values_of(envs.make("tandem")), 0.1
    rule = Cola(rate, 1.0, 16, 1, "relu", 3000, 16, 0.03, 100)
    learned = jax.jit(lambda key: rule.fit(value, (jnp.zeros((2, 1, 1)),), key))(KEY)
    a = np.roots([2 * rate, 1 + 4 * rate, 2 * rate]).max()
    b = 2 * rate / (1 + 2 * rate * (1 + a))
    for x, y in ((0.5, -0.2), (-0.6, 0.1), (0.4, 0.5)):
        params = (jnp.array([[[x]], [[y]]]),)
        expected = (a * (x + y) + b) / rate
        np.testing.assert_allclose(everybody(rule, value, params, learned).ravel(), expected, atol=0.06)


def test_inconsistency_is_the_distance_from_the_reply():
    """Of the naive directions it is the squared difference from exact LOLA, which is the reply to them."""
    value, params = values_of(envs.make("ipd2")), (jax.random.normal(KEY, (2, 5, 1)),)
    naive = lambda joint: (everybody(Naive(), value, joint),)  # noqa: E731
    found = jax.jit(lambda p: inconsistency(1.0, value, p, naive))(params)
    gap = everybody(Naive(), value, params) - everybody(Lola(), value, params)
    np.testing.assert_allclose(found, (gap**2).sum(), rtol=1e-4)


def test_a_trained_start_is_better_than_where_training_began():
    game = envs.make("ipd2")
    value, params = values_of(game), (jnp.zeros((2, 5, 1)),)

    def welfare(steps):
        rule = Maml(fitting_steps=steps, fitting_horizon=10, fitting_batch=8, fitting_rate=0.1)
        start, ratio = jax.jit(lambda key: rule.fit(value, params, key))(KEY)
        assert ratio == 1.0
        others = jax.random.normal(jax.random.key(9), (64, 5, 1))

        def life(other):
            move = lambda _, p: p + everybody(Naive(), value, (p,))  # noqa: E731
            return Exact("per_step").value(game, jax.lax.fori_loop(0, 10, move, jnp.stack([start[0], other])))[0]

        return float(jax.jit(jax.vmap(life))(others).mean())

    assert welfare(40) > welfare(0) + 0.1


def test_a_start_is_paid_before_its_first_step():
    """Of one step the only reward is that of the start, so a learned rate has nothing to learn from."""
    value, params = values_of(envs.make("ipd2")), (jnp.zeros((2, 5, 1)),)
    for horizon, moves in ((1, False), (2, True)):
        rule = Maml(learn_rate=True, first_ratio=0.5, fitting_steps=3, fitting_horizon=horizon, fitting_batch=2)
        _, ratio = jax.jit(lambda key, rule=rule: rule.fit(value, params, key))(KEY)
        assert (ratio != 0.5) == moves


@pytest.mark.slow
def test_a_trained_start_makes_naive_learners_cooperate():
    """Clipped, the gradients of chaotic lifetimes do not hide the others: without, it stays at -1.97."""
    game = envs.make("ipd2")
    rule = Maml(learn_rate=True, first_ratio=0.5, fitting_steps=400, fitting_batch=32)
    (start,), ratio = jax.jit(lambda key: rule.fit(values_of(game), (jnp.zeros((2, 5, 1)),), key))(KEY)
    step = jnp.array([ratio, 1.0])[:, None, None]

    def life(other):
        def move(joint, _):
            joint += step * everybody(Naive(), values_of(game), (joint,))
            return joint, Exact("per_step").value(game, joint)[0]

        return jax.lax.scan(move, jnp.stack([start, other]), None, 100)[1].mean()

    others = jax.random.normal(jax.random.key(9), (256, 5, 1))
    assert float(jax.jit(jax.vmap(life))(others).mean()) > -1.3


def test_a_learned_rate_scales_the_naive_direction():
    value, params = values_of(envs.make("ipd2")), (jax.random.normal(KEY, (2, 5, 1)),)
    found = everybody(Maml(), value, params, (None, 0.5))
    np.testing.assert_allclose(found, 0.5 * everybody(Naive(), value, params), rtol=1e-6)


def critic(**fields):
    rule = MetaValue(width=16, quantiles=8, fitting_batch=6, **fields)
    value, params = values_of(envs.make("ipd2")), (jax.random.normal(KEY, (2, 5, 1)),)
    return rule, value, params, _Training(rule, value, params)


def weights_of(rule, params):
    return rule.network.init(KEY, params[0].reshape(2, -1), jnp.ones(2), 1.0)


def test_without_a_future_the_meta_value_is_the_value():
    rule, value, params, _ = critic(meta_discount=0.0)
    found = everybody(rule, value, params, weights_of(rule, params))
    np.testing.assert_allclose(found, everybody(Naive(), value, params), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rivals", [pytest.param("self", marks=pytest.mark.slow), "naive"])
def test_the_meta_direction_is_the_gradient_of_the_own_meta_value(rivals):
    """Against other rivals the own seat is always the first of the network's."""
    rule, value, params, _ = critic(meta_discount=0.9, rivals=rivals)
    weights = weights_of(rule, params)

    def meta(own, seat):
        joint = (params[0].at[seat].set(own),)
        order = (0, 1) if rivals == "self" or seat == 0 else (1, 0)
        later = rule.later(weights, (joint[0][jnp.array(order)],), jnp.full(2, 0.9)).mean(axis=-1)[order.index(seat)]
        return 0.1 * value(joint, KEY)[seat] + 0.9 * later / 0.04

    found = everybody(rule, value, params, weights)
    for seat in (0, 1):
        expected = jax.grad(meta)(params[0][seat], seat)
        np.testing.assert_allclose(found[seat], expected, rtol=1e-3, atol=1e-5)


def test_players_share_the_network():
    rule, _, params, _ = critic()
    weights = weights_of(rule, params)
    straight = rule.later(weights, params, jnp.array([0.3, 0.8]))
    crossed = rule.later(weights, (params[0][::-1],), jnp.array([0.8, 0.3]))
    np.testing.assert_allclose(straight, crossed[::-1], rtol=1e-5)
    assert float(jnp.abs(straight[0] - straight[1]).max()) > 1e-3


def test_targets_are_those_of_td_lambda():
    rule, value, params, training = critic(trace=0.7)
    weights, discount = weights_of(rule, params), jnp.array([0.9, 0.4])
    path = (params[0] + 0.1 * jnp.arange(4.0)[:, None, None, None],)
    found = training.targets(weights, path, discount)
    later = [rule.later(weights, (path[0][t],), discount) for t in range(4)]
    reward = [0.04 * value((path[0][t],), KEY)[:, None] for t in range(4)]
    gamma, goal = discount[:, None], later[3]
    for t in (2, 1, 0):
        goal = (1 - gamma) * reward[t + 1] + gamma * (0.3 * later[t + 1] + 0.7 * goal)
        np.testing.assert_allclose(found[t], goal, rtol=1e-4, atol=1e-5)


def test_the_loss_has_the_gradient_of_the_quantile_huber_loss():
    rule, _, params, training = critic()
    weights = weights_of(rule, params)
    seen = (jnp.stack([jnp.stack([params[0], 2 * params[0]])] * 3),)  # [B, T, n, ...]
    discount = jnp.full((3, 2), 0.8)
    goal = 2 * jax.random.normal(jax.random.key(5), (3, 2, 2, 8))

    def plain(weights):
        along = lambda p, g: jax.vmap(lambda q: rule.later(weights, (q,), g))(p)  # noqa: E731
        gap = goal[..., None, :] - jax.vmap(along)(seen[0], discount)[..., :, None]
        share = ((jnp.arange(8) + 0.5) / 8)[:, None]
        huber = jnp.where(jnp.abs(gap) <= 1, gap**2 / 2, jnp.abs(gap) - 0.5)
        return (jnp.abs(share - (gap < 0)) * huber).mean(axis=-1).sum(axis=-1).mean()

    found = jax.jit(jax.grad(training.loss))(weights, seen, discount, goal)
    expected = jax.jit(jax.grad(plain))(weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), found, expected)


def test_meta_discounts_are_from_the_arcsine_law():
    *_, training = critic()
    drawn = jax.vmap(training.discounts)(jax.random.split(KEY, 2000))
    assert float(drawn.mean()) == pytest.approx(1 / 2, abs=0.01)
    assert float(drawn.var()) == pytest.approx(1 / 8, abs=0.005)


@pytest.mark.parametrize("shape", [(12, 12), (20, 8), (8, 20)])
def test_initial_layers_are_orthogonal(shape):
    found = _orthogonal(KEY, shape)
    short = found.T @ found if shape[0] >= shape[1] else found @ found.T
    np.testing.assert_allclose(short, jnp.eye(min(shape)), atol=1e-4)


FITTED = {
    "cola": {"fitting_steps": 3},
    "maml": {"fitting_steps": 2, "fitting_horizon": 3, "fitting_batch": 2},
    "meva": {"fitting_rounds": 1, "fitting_batch": 2, "width": 8, "quantiles": 4},
}


@pytest.mark.parametrize("name", ["cola", "maml", pytest.param("meva", marks=pytest.mark.slow)])
def test_what_was_learned_before_play_stays_with_the_state(name):
    match = Match.of(envs.make("ipd2"), [shaping.make(name, **FITTED[name])] * 2)
    states = jax.jit(lambda key: shaping.init(match, key))(KEY)
    after = jax.jit(lambda states: shaping.step(match, states, KEY, jnp.int32(0))[0])(states)
    jax.tree.map(np.testing.assert_array_equal, states[0].learned, after[0].learned)
    moved = after[0].params - states[0].params
    assert np.isfinite(moved).all()
    assert float(jnp.abs(moved).max()) > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("rivals", ["self", "naive", "lola"])
def test_meta_values_of_three_players(rivals):
    """Any other player's features enter alike, so the order of the others does not matter."""
    game, rule = envs.make("ipd", players=3), MetaValue(rivals=rivals, **FITTED["meva"])
    value, params = values_of(game), (jax.random.normal(KEY, (3, 9, 1)),)
    weights = jax.jit(lambda key: rule.fit(value, params, key))(KEY)
    moved = everybody(rule, value, params, weights)
    assert np.isfinite(moved).all()
    assert (np.abs(moved).max(axis=(1, 2)) > 1e-6).all()
    straight = rule.later(weights, params, jnp.full(3, 0.5))
    crossed = rule.later(weights, (params[0][jnp.array([0, 2, 1])],), jnp.full(3, 0.5))
    np.testing.assert_allclose(straight[0], crossed[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FITTED)
def test_fitted_learners_need_joint_actions(name):
    with pytest.raises(ValueError, match="not defined where players are counted"):
        shaping.make(name).check(envs.make("ipd", players=4, observe="counts"))


def test_fitted_directions_need_exact_values():
    learner = GradientLearner(objective=Dice(), direction=Maml(), network=LogitTable())
    with pytest.raises(ValueError, match="Maml learns from exact values before play: expected objective = Exact"):
        learner.check(envs.make("ipd"))


@pytest.mark.parametrize("through", ["all", "own"])
def test_the_start_follows_the_gradient_through_the_steps_that_count(through):
    """Two steps in a quadratic game: V_i = -(θ_i - a_i θ_j - b_i)²; Adam's first step is the sign of the gradient."""
    a, b, rate = jnp.array([0.7, -0.4]), jnp.array([0.3, 1.0]), 0.2
    value = lambda params, key: -((params[0][:, 0] - a * params[0][::-1, 0] - b) ** 2)  # noqa: E731
    maml = Maml(rate=rate, through=through, fitting_steps=1, fitting_horizon=3, fitting_batch=1, fitting_rate=0.01)

    def lifetime(own, other):
        total = 0.0
        for _ in range(3):
            total += -((own - a[0] * other - b[0]) ** 2)
            step = (-2 * (own - a[0] * other - b[0]), -2 * (other - a[1] * own - b[1]))
            given = step[1] if through == "all" else jax.lax.stop_gradient(step[1])
            own, other = own + rate * step[0], other + rate * given
        return total

    params, key = (jnp.zeros((2, 1)),), jax.random.key(3)
    (found,), _ = maml.fit(value, params, key)
    own_key, draw_key = jax.random.split(key)
    first = maml._draw(params, own_key)[0][0, 0]
    other = maml._draw(params, jax.random.split(jax.random.fold_in(draw_key, 0), 1)[0])[0][1, 0]
    slope = jax.grad(lifetime)(first, other)
    np.testing.assert_allclose(found[0] - first, 0.01 * jnp.sign(slope), rtol=1e-3)
