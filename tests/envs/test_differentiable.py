"""Differentiable games: values of the literature, games of one's own, and learners that play them."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import shaping
from envs import DifferentiableGame, differentiable_game
from shaping import Exact, Lola, Match

EXAMPLES = Path(__file__).parents[2] / "examples" / "games.py"
POINTS = [(0.0, 0.0), (1.0, 0.0), (0.3, -0.7), (-1.2, 0.4), (2.0, 1.5)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def market(x, y):
    g = y**4 / (1 + x**2) - x**4 / (1 + y**2)
    return x * y - x**2 / 2 + x**6 / 6 + g / 4, -x * y - y**2 / 2 + y**6 / 6 - g / 4


def zero_sum(x, y):
    loss = x * y - x**2 / 2 + y**2 / 2 + x**4 / 4 - y**4 / 4
    return loss, -loss


def logistic(x, y):
    shared = ((x * y) ** 2 + (x**2 - y**2) ** 2) / 10000
    p, q = sigmoid(x), sigmoid(y)
    return 4 * p * (1 - 2 * q) + shared, 4 * q * (1 - 2 * p) + shared


LOSSES = {
    "tandem": ("tandem", {}, lambda x, y: ((x + y) ** 2 - 2 * x, (x + y) ** 2 - 2 * y)),
    "quartic": ("tandem", {"quartic": True}, lambda x, y: ((x + y) ** 4 - 2 * x, (x + y) ** 4 - 2 * y)),
    "hamiltonian": ("hamiltonian", {}, lambda x, y: (x * y, -x * y)),
    "balduzzi": ("balduzzi", {}, lambda x, y: (x**2 / 2 + 10 * x * y, y**2 / 2 - 10 * x * y)),
    "coupled": ("balduzzi", {"coupling": 3.0}, lambda x, y: (x**2 / 2 + 3 * x * y, y**2 / 2 - 3 * x * y)),
    "market": ("market", {}, market),
    "zero_sum": ("zero_sum", {}, zero_sum),
    "logistic": ("logistic", {}, logistic),
}


@pytest.mark.parametrize("case", LOSSES)
def test_values_are_the_losses_of_the_literature_with_their_sign_turned(case):
    name, fields, losses = LOSSES[case]
    env = envs.make(name, **fields)
    assert (env.num_players, env.action_dim, env.horizon, env.num_observations) == (2, 1, 1, 1)
    for x, y in POINTS:
        theta = jnp.array([[x], [y]])
        np.testing.assert_allclose(env.values(theta), -np.array(losses(x, y)), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(Exact().value(env, theta[:, None]), env.values(theta))


@pytest.mark.parametrize(("quartic", "power"), [(False, 2), (True, 4)])
def test_tandem_of_three(quartic, power):
    env = envs.make("tandem", players=3, quartic=quartic)
    theta = np.array([0.4, -1.3, 2.2])
    np.testing.assert_allclose(env.values(jnp.array(theta[:, None])), 2 * theta - theta.sum() ** power, rtol=1e-5)


def test_the_market_game_has_one_fixed_point_from_which_both_flee():
    """No other point where both own gradients vanish, and both own second derivatives of the values are 1 at 0."""
    env = envs.make("market")

    def own_gradients(point):
        return jnp.diagonal(jax.jacobian(lambda p: env.values(p[:, None]))(point))

    np.testing.assert_allclose(jnp.diagonal(jax.jacobian(own_gradients)(jnp.zeros(2))), 1.0)
    grid = np.stack(np.meshgrid(*[np.linspace(-3, 3, 121)] * 2), axis=-1).reshape(-1, 2)
    length = np.linalg.norm(jax.jit(jax.vmap(own_gradients))(jnp.asarray(grid, jnp.float32)), axis=1)
    away = np.linalg.norm(grid, axis=1) > 0.1
    assert length[away].min() > 0.05
    assert length[~away].min() == 0.0


def test_the_ultimatum_game_of_the_literature_is_the_registered_matrix_game():
    """V_A = 5 p_f + 8 (1 - p_f) p_a and V_B = 5 p_f + 2 (1 - p_f) p_a, p the logistic function of the parameters."""
    env = envs.make("ultimatum")
    for x, y in POINTS:
        fair, accept = sigmoid(x), sigmoid(y)
        expected = 5 * fair + np.array([8, 2]) * (1 - fair) * accept
        np.testing.assert_allclose(Exact().value(env, jnp.array([[[x]], [[y]]])), expected, rtol=1e-6)


@differentiable_game(players=3, dim=2, bound=1.5)
def quadratic(params, coupling=2.0, drift=0.5):
    """Everybody is drawn to 0, pushed along by all others, and drifts in the second number."""
    others = params.sum(axis=0, keepdims=True) - params
    return (coupling * params * others - params**2 / 2).sum(axis=1) + drift * params[:, 1]


def test_a_decorated_function_is_a_game_whose_constants_are_its_defaults():
    assert isinstance(quadratic, DifferentiableGame)
    assert quadratic.constants == {"coupling": 2.0, "drift": 0.5}
    assert (quadratic.players, quadratic.dim, quadratic.action_range) == (3, 2, (-1.5, 1.5))
    theta = np.arange(6.0).reshape(3, 2) / 10
    others = theta.sum(axis=0) - theta
    expected = (2 * theta * others - theta**2 / 2).sum(axis=1) + theta[:, 1] / 2
    np.testing.assert_allclose(quadratic.values(jnp.array(theta)), expected, rtol=1e-6)
    envs.check_env(quadratic)


def test_constants_can_be_swept_and_differentiated():
    theta = jnp.arange(6.0).reshape(3, 2) / 10
    value = lambda drift: quadratic.replace(constants={"coupling": 1.0, "drift": drift}).values(theta)[2]  # noqa: E731
    swept = jax.vmap(value)(jnp.array([0.0, 1.0, 3.0]))
    np.testing.assert_allclose(swept - swept[0], [0.0, 0.5, 1.5], rtol=1e-5)
    assert float(jax.grad(value)(0.3)) == pytest.approx(0.5)
    coupled = jax.vmap(lambda c: envs.make("balduzzi", coupling=c))(jnp.array([0.0, 10.0]))
    point = jnp.array([[1.0], [2.0]])
    np.testing.assert_allclose(jax.vmap(lambda env: env.values(point))(coupled), [[-0.5, -2.0], [-20.5, 18.0]])


def test_games_of_other_constants_do_not_retrace():
    traced = []

    @jax.jit
    def values(env):
        traced.append(env)
        return env.values(jnp.ones((2, 1)))

    found = [float(values(envs.make("balduzzi", coupling=c))[0]) for c in (1.0, 4.0)]
    assert (found, len(traced)) == ([-1.5, -4.5], 1)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda params, c: params[:, 0] * c, "argument 'c' has no default: expected one, such as 1.0"),
        (lambda params: params, r"values of shape \(2, 1\): expected \[n\] = \(2,\)"),
        (lambda params: params.sum(), r"values of shape \(\): expected \[n\] = \(2,\)"),
        (lambda params: [params[0, 0], params[1, 0]], r"expected \[n\] = \(2,\)"),
    ],
)
def test_a_function_that_is_no_game_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        differentiable_game(players=2)(function)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"players": 0}, "players = 0: expected a whole number from 1 to 64"),
        ({"players": 65}, "players = 65"),
        ({"bound": 0.0}, "bound = 0.0: expected from 0.001"),
        ({"quartics": True}, "no parameter 'quartics': did you mean 'quartic'"),
        ({"dim": 2}, "no parameter 'dim'"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        envs.make("tandem", **fields)


def test_a_game_of_a_file():
    env = envs.make("function", source=f"{EXAMPLES}:saddle")
    np.testing.assert_allclose(env.values(jnp.array([[2.0], [3.0]])), [-6 - 0.2, 6 - 0.45], rtol=1e-6)
    assert env.constants == {"coupling": 1.0, "attraction": 0.1}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "expected a Python file and a name in it, such as games.py:saddle"),
        ("saddle", "expected a Python file and a name in it"),
        ("no/such/file.py:saddle", "expected a Python file and a name in it"),
        (f"{EXAMPLES}:sadle", "has no game 'sadle': did you mean 'saddle'"),
        (f"{EXAMPLES}:jnp", "has no game 'jnp'; known: saddle"),
        (f"{Path(__file__).parents[2] / 'LICENSE'}:saddle", r"cannot be loaded: expected a Python file, \.py"),
    ],
)
def test_a_file_without_the_game_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        envs.make("function", source=source)


def test_a_file_without_any_game_is_refused(tmp_path):
    (tmp_path / "empty.py").write_text("def saddle(params):\n    return params[:, 0]\n")
    with pytest.raises(ValueError, match=r"nothing in it is decorated with envs\.differentiable_game"):
        envs.make("function", source=f"{tmp_path / 'empty.py'}:saddle")


def test_a_game_of_a_file_keeps_its_players_dimensions_and_box(tmp_path):
    (tmp_path / "own.py").write_text(
        "import jax.numpy as jnp\nfrom envs import differentiable_game\n\n"
        "@differentiable_game(players=4, dim=3, bound=2.0)\n"
        "def pull(params, weight=3.0):\n    return weight * params.sum(axis=1)\n"
    )
    env = envs.make("function", source=f"{tmp_path / 'own.py'}:pull")
    assert (env.num_players, env.action_dim, env.action_range) == (4, 3, (-2.0, 2.0))
    np.testing.assert_allclose(env.values(jnp.ones((4, 3))), 9.0)


def test_play_is_one_step_of_clipped_actions():
    env = envs.make("tandem", bound=0.5)
    state, obs = env.reset(jax.random.key(0))
    assert obs.tolist() == [0, 0]
    state, timestep = env.step(state, jnp.array([[7.0], [-0.2]]), jax.random.key(0))
    np.testing.assert_allclose(timestep.reward, env.values(jnp.array([[0.5], [-0.2]])))
    assert (bool(timestep.terminated), bool(timestep.truncated), int(state.step)) == (True, False, 1)


def test_statistics_are_the_mean_clipped_vectors():
    env = quadratic
    action = jnp.array([[[[3.0, 0.5], [0.0, 0.0], [-9.0, 1.0]], [[0.5, 0.5], [1.0, 0.0], [-0.5, 0.0]]]])  # [1, B, n, d]
    found = env.statistics(None, action, {}, jnp.ones((1, 2)))
    assert tuple(found) == env.statistic_names == ("x1", "x2")
    np.testing.assert_allclose(found["x1"], [1.0, 0.5, -1.0])
    np.testing.assert_allclose(found["x2"], [0.5, 0.0, 0.5])
    assert quadratic.replace(dim=9).statistic_names == ("x1", "x2", "x3", "x4")
    assert envs.make("tandem").statistic_names == ("x",)


def test_exact_learners_choose_vectors_outside_the_box():
    """Tandem ends where the sum is 1 for naive learners, and beyond for those that shape; no box holds them back."""
    for name, total in (("naive", 1.0), ("lola", 1.3125)):
        fields = {"learning_rate": 0.1} | ({"lookahead_rate": 0.1} if name == "lola" else {})
        match = Match.of(envs.make("tandem", bound=0.25), [shaping.make(name, **fields)] * 2)
        states = shaping.init(match, jax.random.key(0))
        step = lambda i, s, match=match: shaping.step(match, s, jax.random.key(1), i)[0]  # noqa: E731
        states = jax.jit(lambda s, step=step: jax.lax.fori_loop(0, 300, step, s))(states)
        outcome = shaping.outcome(match, shaping.policies(match, states), jax.random.key(0))
        x = np.asarray(outcome.statistics["x"])
        np.testing.assert_allclose(x.sum(), total, rtol=1e-4)
        np.testing.assert_allclose(outcome.reward_per_step, 2 * x - x.sum() ** 2, rtol=1e-5)


def test_lola_of_three_players_in_the_tandem_game():
    """The direction at a point, from the definition: others move by α ∂_j V_j, and V_i is differentiated in all."""
    env, theta, rate = envs.make("tandem", players=3), jnp.array([0.2, -0.4, 0.7]), 0.1
    value = lambda p, key: env.values(p[:, None])  # noqa: E731
    found = jax.vmap(lambda seat: Lola(rate)(value, theta, seat, jax.random.key(0)))(jnp.arange(3))
    total = float(theta.sum())
    moved = total + 2 * rate * (2 - 2 * total)  # both others go up by α (2 - 2 s)
    np.testing.assert_allclose(found, 2 - 2 * moved * (1 - 4 * rate), rtol=1e-5)


@pytest.mark.parametrize("names", [pytest.param(("ppo", "lola_dice"), marks=pytest.mark.slow), ("ppo", "ppo")])
def test_learners_that_sample_play_it(names):
    env = envs.make("tandem")
    match = Match.of(env, [shaping.make(name) for name in names], batch=8)
    states = jax.jit(shaping.init)(match, jax.random.key(0))
    with jax.numpy_dtype_promotion("standard"):  # optax multiplies a rate with a count
        after, metrics = jax.jit(shaping.step)(match, states, jax.random.key(1), jnp.int32(0))
    for leaf in jax.tree.leaves((after, metrics)):
        assert np.isfinite(leaf).all()
    pairs = list(zip(jax.tree.leaves(states), jax.tree.leaves(after), strict=True))
    assert any(float(jnp.abs(x - y).max()) > 1e-6 for x, y in pairs if jnp.issubdtype(x.dtype, jnp.floating))
    outcome = jax.jit(shaping.outcome)(match, shaping.policies(match, after), jax.random.key(2))
    assert np.isfinite(outcome.reward_per_step).all()
    assert (np.abs(outcome.statistics["x"]) <= 10.0).all()
