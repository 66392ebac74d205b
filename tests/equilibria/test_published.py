"""Published and computed equilibria, at their printed digits (arXiv 2205.15434 and neighbours)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equilibria
from equilibria.game import normal_form
from equilibria.responses import perceive
from equilibria.risk import MeanVariance

SC = [f"selten_chmura_{number}" for number in range(1, 13)]
DIGITS = 6e-7


def first(found):
    """Probabilities of both players' first actions."""
    return found.profile[:, 0]


@pytest.mark.parametrize("risk", [0.01, 0.1, 1.0])
@pytest.mark.parametrize(
    ("game", "profile"),
    [
        ("matching_pennies", [[0.5, 0.5]] * 2),
        ("rock_paper_scissors", [[1 / 3] * 3] * 2),
        ("biased_rock_paper_scissors", [[1 / 16, 10 / 16, 5 / 16]] * 2),
        ("selten_chmura_1", [[1 / 11, 10 / 11], [10 / 11, 1 / 11]]),
        ("selten_chmura_6", [[5 / 11, 6 / 11], [7 / 11, 4 / 11]]),
    ],
)
def test_in_constant_sum_games_it_is_a_nash_equilibrium_without_variance(game, profile, risk):  # cases A and B
    found = equilibria.solve(game, "rae", risk=risk)
    assert found.converged
    np.testing.assert_allclose(found.profile, profile, atol=DIGITS)
    np.testing.assert_allclose(found.variance, 0.0, atol=1e-9)
    np.testing.assert_allclose(found.payoff_regret, 0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("game", "risk", "profile", "digits"),
    [
        ("selten_chmura_7", 0.01, (0.098123, 0.902170), 6e-7),
        ("selten_chmura_7", 0.1, (0.269662, 0.860168), 6e-7),
        ("selten_chmura_7", 1.0, (0.855960, 0.990675), 6e-7),
        ("selten_chmura_8", 0.01, (0.19151, 0.71549), 6e-6),
        ("selten_chmura_8", 0.1, (0.343762, 0.673695), 6e-7),
        ("selten_chmura_8", 1.0, (0.58370, 0.92482), 6e-6),
        ("selten_chmura_9", 0.01, (0.28518, 0.90413), 6e-6),
        ("selten_chmura_9", 0.1, (0.43373, 0.88386), 6e-6),
        ("selten_chmura_9", 1.0, (0.84166, 0.98778), 6e-6),
    ],
)
def test_other_games(game, risk, profile, digits):  # case C1
    found = equilibria.solve(game, "rae", risk=risk, tremble=1e-3)
    assert found.converged
    np.testing.assert_allclose(first(found), profile, atol=digits)


@pytest.mark.parametrize(
    ("risk", "means", "variances"),
    [
        (0.0, (9.454545, 9.272727), (1.322314, 1.322314)),
        (0.1, (9.554041, 10.083933), (0.497477, 4.056029)),
        (1.0, (9.814784, 11.646356), (0.180119, 1.186814)),
    ],
)
def test_own_variance_need_not_fall_with_risk_aversion(risk, means, variances):  # case C2
    found = equilibria.solve("selten_chmura_7", "rae", risk=risk, tremble=0.0 if risk == 0 else 1e-3)
    np.testing.assert_allclose(found.value, means, atol=DIGITS)
    np.testing.assert_allclose(found.variance, variances, atol=DIGITS)


@pytest.mark.parametrize(
    ("game", "interiors"),
    [
        ("stag_hunt", {0.05: 0.793748, 0.1: 0.861553, 0.2: 0.919320, 0.3: 0.943534}),
        ("trust_dilemma", {0.05: 0.742039, 0.1: 0.832322, 0.2: 0.906730, 0.3: 0.936076}),
    ],
)
def test_all_equilibria_of_stag_hunts(game, interiors):  # case D
    for risk, mixed in interiors.items():
        found = equilibria.solve(game, "rae", risk=risk, tremble=0.05, all=True)
        np.testing.assert_allclose(sorted(own.profile[0, 0] for own in found), [0.05, mixed, 0.95], atol=DIGITS)
        assert all(own.converged for own in found)


@pytest.mark.parametrize(
    ("game", "tremble", "threshold"),
    [
        ("stag_hunt", 0.1, 0.154321),
        ("stag_hunt", 0.05, 0.342811),
        ("stag_hunt", 0.01, 1.826618),
        ("trust_dilemma", 0.1, 0.185185),
        ("trust_dilemma", 0.05, 0.387812),
        ("trust_dilemma", 0.01, 1.989593),
    ],
)
def test_risk_aversion_at_which_hunting_ends(game, tremble, threshold):  # case D
    with jax.enable_x64(True):
        table = equilibria.load(game)
        hunt = jnp.array([[1 - tremble, tremble]] * 2)
        for risk, stays in ((threshold - 1e-6, True), (threshold + 1e-6, False)):
            gap = perceive(table, MeanVariance(risk), tremble).gap(hunt).max()
            assert (float(gap) == 0.0) == stays


@pytest.mark.parametrize(
    ("risk", "entropic", "variance"),
    [
        (0.002, (0.091574, 0.908429), (0.091576, 0.908427)),
        (0.02, (0.097871, 0.902394), (0.098123, 0.902170)),
        (0.1, (0.134054, 0.875451), (0.146021, 0.870945)),
        (1.0, (0.686268, 0.992244), (0.730750, 0.977093)),
    ],
)
def test_small_risks_are_entropic(risk, entropic, variance):  # case E
    game = "selten_chmura_7"
    np.testing.assert_allclose(
        first(equilibria.solve(game, "entropic", risk=risk, tremble=1e-3)), entropic, atol=DIGITS
    )
    np.testing.assert_allclose(first(equilibria.solve(game, "rae", risk=risk / 2, tremble=1e-3)), variance, atol=DIGITS)


def test_best_reply_of_a_gambler():  # case F
    with jax.enable_x64(True):
        game = normal_form([[[10, -50], [5, 5]], [[0, 0], [0, 0]]])
        others = jnp.array([[0.5, 0.5], [0.95, 0.05]])
        for risk, gambles in ((0.01, 0.584795), (0.05, 0.116959), (0.001, 1.0)):
            reply, left = perceive(game, MeanVariance(risk)).respond(others, 1e-10)
            np.testing.assert_allclose(reply[0, 0], gambles, atol=DIGITS)
            assert float(left[0]) < 1e-9
        seen = perceive(game, MeanVariance(1.0))
        np.testing.assert_allclose(game.variance(others)[0], 42.75)  # the covariance is [[171, 0], [0, 0]]
        np.testing.assert_allclose(seen.utility(others)[0], 0.5 * 7 + 0.5 * 5 - 42.75)


def test_risk_aversion_calms_fictitious_play():  # case G
    with jax.enable_x64(True):
        game = equilibria.load("shapley")
        off = jax.random.key(1)
        for risk, least, most in ((0.1, 0.05, 1.0), (1.0, 0.0, 2e-2), (5.0, 0.0, 1e-5)):
            solver = equilibria.make("rae", risk=risk, method="fictitious_play", steps=5000, tolerance=1e-9)
            found = jax.jit(lambda own, key: own.solve(game, key))(solver, off)
            assert least <= float(found.regret.sum()) <= most


MIXED = [(1, 10), (2, 8), (3, 10), (4, 9), (4, 8), (5, 7), (1, 10), (2, 8)]
QUANTAL = [
    (0.042, 0.638),
    (0.154, 0.580),
    (0.168, 0.770),
    (0.276, 0.734),
    (0.307, 0.657),
    (0.417, 0.607),
    (0.042, 0.638),
    (0.154, 0.580),
]
HUMANS = [
    (0.079, 0.690),
    (0.217, 0.527),
    (0.163, 0.793),
    (0.286, 0.736),
    (0.327, 0.664),
    (0.445, 0.596),
    (0.141, 0.564),
    (0.250, 0.586),
]


@pytest.mark.parametrize("number", range(8))
def test_selten_and_chmura(number):  # P1
    nash = equilibria.solve(SC[number], "support_enumeration", all=True)
    assert len(nash) == 1
    np.testing.assert_allclose(first(nash[0]), np.array(MIXED[number]) / 11, atol=1e-9)
    found = equilibria.solve(SC[number], "qre", precision=1.05)
    np.testing.assert_allclose(first(found), QUANTAL[number], atol=1e-3)


def test_precision_that_fits_humans():  # P1, over the eight games whose data are given
    with jax.enable_x64(True):
        solver = equilibria.make("qre")
        solve = jax.jit(lambda game, precision: solver.replace(precision=precision).solve(game).profile[:, 0])
        games = [normal_form(np.asarray(equilibria.load(name).payoffs)) for name in SC[:8]]

        def distance(precision):
            play = [solve(game, jnp.asarray(precision)) for game in games]
            return float(np.square(np.array(play) - np.array(HUMANS)).sum(axis=1).mean())

        np.testing.assert_allclose(distance(0.9659), 0.004543, atol=2e-6)
        assert distance(0.9659) < min(distance(0.95), distance(0.98))
    nash = np.array(MIXED) / 11
    np.testing.assert_allclose(np.square(nash - np.array(HUMANS)).sum(axis=1).mean(), 0.035132, atol=2e-6)


@pytest.mark.parametrize(
    ("number", "temperature", "risk", "authors", "exact"),
    [
        (1, (0.21, 0.555), (0.1, 100), (0.08040, 0.68988), (0.081049, 0.692011)),
        (2, (0.68, 10), (0.08, 2), (0.21423, 0.52451), (0.214234, 0.524509)),
        (3, (0.216, 0.837), (0.1, 56), (0.16290, 0.79290), (0.163606, 0.793574)),
        (4, (0.35, 1.64), (0.1, 30), (0.28709, 0.73619), (0.288058, 0.736607)),
        (5, (0.38, 2.7), (0.1, 10), (0.32783, 0.66474), (0.328234, 0.664830)),
        (6, (0.92, 3.8), (0.1, 6), (0.45801, 0.60991), (0.459606, 0.610483)),
        (7, (0.49, 1.88), (0.1, 11), (0.14151, 0.56415), (0.141954, 0.565353)),
        (8, (0.36, 2.8), (0.1, 10), (0.24923, 0.58604), (0.249887, 0.586607)),
    ],
)
def test_risk_averse_quantal_equilibria(number, temperature, risk, authors, exact):  # P3
    found = equilibria.solve(SC[number - 1], "rqe", temperature=temperature, risk=risk, barrier="log")
    assert found.converged
    np.testing.assert_allclose(first(found), exact, atol=1e-6)
    np.testing.assert_allclose(first(found), authors, atol=5e-3)
    np.testing.assert_allclose(first(found), HUMANS[number - 1], atol=0.02)


def test_goeree_holt_and_palfrey():  # P2
    found = equilibria.solve("goeree_holt_palfrey_4", "nash")
    np.testing.assert_allclose(first(found), (17 / 32, 15 / 32), atol=1e-9)


def test_asymmetric_matching_pennies():  # P4
    game = "asymmetric_matching_pennies"
    for precision, play in ((1, (0.586784, 0.451807)), (2, (0.617522, 0.371982)), (3, (0.616897, 0.314016))):
        np.testing.assert_allclose(first(equilibria.solve(game, "qre", precision=precision)), play, atol=DIGITS)
    with jax.enable_x64(True):
        seen = 128 * np.array([[0.527, 1 - 0.527], [0.366, 1 - 0.366]])
        best = equilibria.fit(equilibria.load(game), seen)
    np.testing.assert_allclose(best.precision, 1.845610, atol=1e-5)
    np.testing.assert_allclose(best.profile[:, 0], (0.615651, 0.383291), atol=2e-6)
    np.testing.assert_allclose(best.log_likelihood, -174.764532, atol=DIGITS)


def test_projected_replicator_dynamics():  # P5: steps of 1e-3 in units of payoffs, which differ by 4
    tables = [[[2, 1, 0], [0, -1, -2]]] * 2
    options = {"least": 1e-8, "rate": 4e-3, "steps": 50_000, "tolerance": 0.0, "average": "last"}
    found = equilibria.solve(tables, "projected_replicator", **options)
    assert found.profile[0, 0] > 0.999
