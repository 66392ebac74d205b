"""What solvers find, in games where it is known, and what must hold whatever they find."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equilibria
from equilibria.game import normal_form
from equilibria.properties import (
    constant_sum,
    dominated,
    eliminate,
    is_supermodular,
    is_symmetric,
    potential,
    price_of_anarchy,
    price_of_stability,
    risk_dominant,
    welfare,
    zero_sum,
)
from equilibria.responses import perceive

COORDINATION = np.stack([np.diag([3.0, 2.0, 1.0])] * 2)
RISKY = {
    "rae": {"risk": 0.3},
    "entropic": {"risk": 0.5},
    "cvar": {"level": 0.4},
    "semideviation": {"risk": 0.5},
    "lower_partial_moment": {"risk": 0.3},
    "strategically_robust": {"radius": 0.2},
}
LONG = [pytest.param(name, marks=pytest.mark.slow if name not in ("nash", "rae") else ()) for name in ("nash", *RISKY)]


def draw(seed, *sizes):
    return np.random.default_rng(seed).normal(size=(len(sizes), *sizes))


def test_enumeration_finds_every_equilibrium_of_a_coordination_game():
    found = equilibria.solve(COORDINATION, "support_enumeration", all=True)
    rows = sorted(tuple(own.profile[0].round(6)) for own in found)
    by_hand = []
    for support in ([0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]):
        weights = np.zeros(3)
        weights[support] = 1 / np.array([3.0, 2.0, 1.0])[support]
        by_hand.append(tuple((weights / weights.sum()).round(6)))
    assert rows == sorted(by_hand)
    pure = equilibria.solve(COORDINATION, "pure", all=True)
    np.testing.assert_array_equal([own.profile[0].argmax() for own in pure], [0, 1, 2])
    ends = equilibria.solve(COORDINATION, "lemke_howson", all=True)
    assert sorted(own.profile[0].argmax() for own in ends) == [0, 1, 2]
    assert {own.share for own in ends} == {1.0}  # nothing started at random


def test_a_degenerate_game_gets_the_equilibria_that_enumeration_can_give():
    table = [[[1, 1], [1, 1]], [[1, 0], [0, 1]]]  # the first player does not care
    found = equilibria.solve(table, "support_enumeration", all=True)
    assert all(own.converged for own in found)
    assert {tuple(own.profile.argmax(axis=1)) for own in found} >= {(0, 0), (1, 1)}
    for name in ("nash", "lemke_howson", "rae"):
        assert equilibria.solve(table, name).converged


@pytest.mark.parametrize("name", ["nash", "rae", "pure", "qre", "lemke_howson", "correlated", "alpha_rank", "security"])
@pytest.mark.parametrize("payoffs", [np.zeros((2, 3, 3)), np.full((2, 1, 1), 7.0), np.ones((2, 1, 3))], ids=str)
def test_games_with_nothing_at_stake(name, payoffs):
    found = equilibria.solve(payoffs, name)
    assert found.converged
    assert np.isfinite(found.profile).all()
    np.testing.assert_allclose(found.regret, 0.0, atol=1e-12)


@pytest.mark.parametrize("unit", [1e-12, 1e12])
@pytest.mark.parametrize("name", ["nash", "qre", "rae", "lemke_howson", "support_enumeration", "correlated"])
def test_units_do_not_matter(name, unit):
    table = draw(0, 3, 3)
    options = {"qre": {"precision": 2.0}, "rae": {"risk": 0.5, "tremble": 0.01}}.get(name, {})
    scaled = {key: value / unit if key in ("risk", "precision") else value for key, value in options.items()}
    one = equilibria.solve(table, name, **options)
    other = equilibria.solve(table * unit + 3 * unit, name, **scaled)
    assert one.converged
    assert other.converged
    np.testing.assert_allclose(other.profile, one.profile, atol=1e-6)


@pytest.mark.parametrize("name", LONG)
def test_names_of_players_and_actions_do_not_matter(name):
    table, options = draw(1, 3, 3, 3), RISKY.get(name, {})
    turned = table[[1, 2, 0]].transpose(0, 2, 3, 1)  # player k is now player k - 1
    shuffled = table[:, ::-1]
    one = equilibria.solve(table, name, tremble=0.02, **options) if name != "nash" else equilibria.solve(table, name)
    again = {"tremble": 0.02, **options} if name != "nash" else {}
    assert one.converged
    np.testing.assert_allclose(equilibria.solve(turned, name, **again).profile, one.profile[[1, 2, 0]], atol=1e-5)
    flipped = equilibria.solve(shuffled, name, **again)
    np.testing.assert_allclose(flipped.profile[0], one.profile[0, ::-1], atol=1e-5)
    np.testing.assert_allclose(flipped.profile[1:], one.profile[1:], atol=1e-5)


@pytest.mark.parametrize("name", ["nash", "rae", "lemke_howson", "correlated", "security"])
def test_masked_actions_change_nothing(name):
    table, mask = draw(8, 3, 3), np.array([[True, False, True], [True, True, False]])
    options = {"risk": 0.2, "tremble": 0.01} if name == "rae" else {}
    with jax.enable_x64(True):
        full = equilibria.solve(normal_form(table, mask), name, **options)
    small = equilibria.solve(table[:, [0, 2]][:, :, :2], name, **options)
    np.testing.assert_allclose(full.profile[0, [0, 2]], small.profile[0], atol=1e-7)
    np.testing.assert_allclose(full.profile[1, :2], small.profile[1], atol=1e-7)
    np.testing.assert_allclose(full.worst, small.worst, atol=1e-6)
    assert (full.profile[~mask] == 0).all()


@pytest.mark.parametrize("risk", [0.1, 10.0])
def test_nothing_varies_in_zero_sum_games(risk):
    table = draw(9, 4, 5)[0]
    found = equilibria.solve(np.stack([table, -table]), "rae", risk=risk)
    assert found.converged
    np.testing.assert_allclose(found.variance, 0.0, atol=1e-9)
    np.testing.assert_allclose(found.payoff_regret, 0.0, atol=1e-7)


def test_what_the_others_alone_decide_moves_the_risk_averse_but_nobody_else():
    first, shifted = "selten_chmura_1", "selten_chmura_7"
    for name, options in (("nash", {}), ("qre", {"precision": 1.0})):
        one, other = (equilibria.solve(game, name, **options).profile for game in (first, shifted))
        np.testing.assert_allclose(one, other, atol=1e-7)
    one, other = (equilibria.solve(game, "rae", risk=0.1, tremble=1e-3).profile for game in (first, shifted))
    assert np.abs(one - other).max() > 0.1


def test_one_risk_a_player():
    both = equilibria.solve("selten_chmura_7", "rae", risk=[0.1, 0.1], tremble=[1e-3, 1e-3])
    one = equilibria.solve("selten_chmura_7", "rae", risk=0.1, tremble=1e-3)
    np.testing.assert_allclose(both.profile, one.profile, atol=1e-9)
    mixed = equilibria.solve("selten_chmura_7", "rae", risk=[0.0, 0.1], tremble=1e-3)
    assert mixed.converged
    assert np.abs(mixed.profile - one.profile).max() > 0.03


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rae", {"risk": 0.0}),
        ("entropic", {"risk": 0.0}),
        pytest.param("cvar", {"level": 1.0}, marks=pytest.mark.slow),
        pytest.param("semideviation", {"risk": 0.0}, marks=pytest.mark.slow),
        pytest.param("strategically_robust", {"radius": 0.0}, marks=pytest.mark.slow),
    ],
)
def test_without_risk_aversion_they_are_nash(name, options):
    table = draw(2, 3, 3)
    nash = equilibria.solve(table, "nash").profile
    np.testing.assert_allclose(equilibria.solve(table, name, **options).profile, nash, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [("worst_case", {}), ("strategically_robust", {"radius": 1.0})])
def test_with_nothing_but_fear_they_are_secure(name, options):
    table = draw(2, 3, 3)
    secure = equilibria.solve(table, "security")
    np.testing.assert_allclose(equilibria.solve(table, name, **options).worst, secure.worst, atol=1e-6)


def test_total_variance_is_offered_with_a_warning():
    game, options = "selten_chmura_7", {"risk": 0.1, "variance": "total"}
    with pytest.warns(UserWarning, match="not concave"):
        found = equilibria.solve(game, "rae", **options)
    assert not found.converged  # best replies are pure, and no pure profile is an equilibrium
    with pytest.raises(ValueError, match="restarts=K"), pytest.warns(UserWarning, match="not concave"):
        equilibria.solve(game, "rae", all=True, **options)


def test_mistakes_are_trembles_of_the_others():
    game = "trust_dilemma"
    plain = equilibria.solve(game, "rae", risk=0.5, tremble=0.1, trembles="mistake", all=True)
    assert [tuple(own.profile[:, 0]) for own in plain] == [(0.0, 0.0)]  # no own tremble, yet only the hare is left


CHICKEN = {"welfare": (10.5, [[0.5, 0.25], [0.25, 0.0]]), "rawls": (10.5, [[0.5, 0.25], [0.25, 0.0]])}


@pytest.mark.parametrize("objective", ["welfare", "rawls", "entropy", "gini", "first"])
@pytest.mark.parametrize("name", ["correlated", "coarse_correlated"])
def test_correlated_equilibria(name, objective):
    found = equilibria.solve("chicken", name, objective=objective)
    assert found.converged
    np.testing.assert_allclose(found.joint.sum(), 1.0, atol=1e-9)
    if objective in CHICKEN:  # Aumann 1974
        np.testing.assert_allclose(found.value.sum(), CHICKEN[objective][0], atol=1e-6)
        np.testing.assert_allclose(found.joint, CHICKEN[objective][1], atol=1e-6)
    many = equilibria.solve(draw(3, 3, 3, 3), name, objective=objective)
    assert many.converged


def test_selections_are_the_best_of_their_kind():
    table = draw(4, 3, 3)
    found = {
        own: equilibria.solve(table, "correlated", objective=own) for own in ("welfare", "entropy", "gini", "rawls")
    }
    flat = {own: one.joint.ravel() for own, one in found.items()}
    entropy = {own: -(p[p > 0] * np.log(p[p > 0])).sum() for own, p in flat.items()}
    assert entropy["entropy"] == max(entropy.values())
    assert min((p**2).sum() for p in flat.values()) == (flat["gini"] ** 2).sum()
    assert max(one.value.sum() for one in found.values()) == pytest.approx(found["welfare"].value.sum())
    assert max(one.value.min() for one in found.values()) == pytest.approx(found["rawls"].value.min())


def test_entropy_without_incentives_is_uniform():
    found = equilibria.solve(np.zeros((2, 2, 3)), "correlated", objective="entropy")
    np.testing.assert_allclose(found.joint[:2, :3], 1 / 6, atol=1e-9)


def test_alpha_rank():
    uniform = equilibria.solve("rock_paper_scissors", "alpha_rank")
    np.testing.assert_allclose(uniform.joint, 1 / 9, atol=1e-9)
    strict = equilibria.solve("battle_of_the_sexes", "alpha_rank")
    np.testing.assert_allclose(strict.joint, [[0.5, 0], [0, 0.5]], atol=1e-6)
    dilemma = equilibria.solve("prisoners_dilemma", "alpha_rank", intensity=100.0)
    np.testing.assert_allclose(dilemma.joint, [[0, 0], [0, 1]], atol=1e-6)
    three = equilibria.solve(draw(5, 2, 3, 2), "alpha_rank", intensity=20.0)
    assert three.converged


def test_commitment_pays():
    found = equilibria.solve([[[2, 4], [1, 3]], [[1, 0], [0, 1]]], "stackelberg")  # Conitzer and Sandholm 2006
    np.testing.assert_allclose(found.profile, [[0.5, 0.5], [0, 1]], atol=1e-7)
    np.testing.assert_allclose(found.value[0], 3.5, atol=1e-7)
    zero = "biased_rock_paper_scissors"
    np.testing.assert_allclose(equilibria.solve(zero, "stackelberg", leader=1).value, 0.0, atol=1e-7)


def test_security_values():
    found = equilibria.solve([[[4, 1], [0, 3]], [[1, 0], [0, 1]]], "security")
    np.testing.assert_allclose(found.profile[0], [0.5, 0.5], atol=1e-9)
    np.testing.assert_allclose(found.worst[0], 2.0, atol=1e-9)


def test_trembles_rule_out_imperfect_equilibria():
    for seed in range(4):
        found = equilibria.solve("perfection", "trembling_hand", key=jax.random.key(seed))
        np.testing.assert_allclose(found.profile, [[1, 0]] * 2, atol=1e-9)
    assert len(equilibria.solve("perfection", "pure", all=True)) == 2


def test_trembles_leave_those_who_do_not_care_alone():
    games = [np.reshape(own, (2, 2, 2)) for own in itertools.product((0.0, 1.0), repeat=8)]
    found = equilibria.solve_batch(games, "trembling_hand")
    assert found.converged.all()
    assert found.payoff_regret.max() <= 1e-6
    for game, profile in zip(games, found.profile, strict=True):  # of two players: perfect if undominated
        for player, table in enumerate((game[0], game[1].T)):
            for action, other in ((0, 1), (1, 0)):
                gains = table[other] - table[action]
                if (gains >= 0).all() and gains.any():
                    assert profile[player, action] <= 1e-6


def test_risk_dominance():
    for game, expected in (("stag_hunt", (1, 1)), ("trust_dilemma", (1, 1)), ("coordination", (0, 0))):
        assert risk_dominant(equilibria.load(game)) == expected
        for name in ("risk_dominant", "tracing"):
            np.testing.assert_allclose(equilibria.solve(game, name).profile[:, expected[0]], 1.0, atol=1e-9)
    assert risk_dominant(equilibria.load("battle_of_the_sexes")) is None  # they tie
    assert risk_dominant(equilibria.load("prisoners_dilemma")) is None
    assert not equilibria.solve("battle_of_the_sexes", "risk_dominant").converged
    three = equilibria.solve(COORDINATION, "risk_dominant")
    assert three.converged
    assert three.profile[0, 0] == 1.0


def test_zero_sum_games_are_checked():
    with pytest.raises(ValueError, match="expected a constant"):
        equilibria.solve("stag_hunt", "zero_sum")
    with pytest.raises(ValueError, match="2 players"):
        equilibria.solve("jordan", "zero_sum")
    table = draw(6, 4, 6)[0]
    found = equilibria.solve(np.stack([table, 5 - table]), "zero_sum")
    assert found.converged
    path = equilibria.solve(np.stack([table, 5 - table]), "nash")
    np.testing.assert_allclose(found.value, path.value, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rae", {"risk": -1}, "risk = -1: expected a number of at least 0"),
        ("rae", {"risk": [1, 2, 3]}, r"risk of shape \(3,\)"),
        ("rae", {"risk": "much"}, "risk = 'much'"),
        ("rae", {"tremble": 0.6}, "tremble = 0.6: expected a number from 0 to 0.5"),
        ("rae", {"rsk": 1}, "no parameter 'rsk': did you mean 'risk'"),
        ("cvar", {"level": 0}, "level = 0"),
        ("qre", {"precision": float("nan")}, "precision = nan"),
        ("nahs", {}, "did you mean 'nash'"),
        ("qre", {"all": True}, "restarts=K"),
        ("rae", {"restarts": -1}, "restarts = -1"),
        ("rae", {"restarts": 2, "all": True}, "restarts = 2 and all=True: expected one of them"),
        ("qre", {"restarts": 2}, "qre always starts the same"),
    ],
)
def test_mistakes_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        equilibria.solve("stag_hunt", name, **options)


def test_a_batch_is_not_a_game():
    with pytest.raises(ValueError, match="a batch of 3 games: expected one; solve_batch solves many"):
        equilibria.solve(equilibria.random_games("gaussian", jax.random.key(0), 3))


def test_options_make_the_solver_again():
    for name, options in (("rae", {"risk": [0.1, 0.2], "tremble": 0.05}), ("nash", {}), ("correlated", {})):
        found = equilibria.solve("stag_hunt", name, **options)
        told = dict(found.options)
        assert set(told) == set(equilibria.REGISTRY.parameters(name))
        assert (
            told.items() >= {key: tuple(own) if isinstance(own, list) else own for key, own in options.items()}.items()
        )
        np.testing.assert_array_equal(equilibria.solve("stag_hunt", name, **told).profile, found.profile)
    assert dict(equilibria.solve("stag_hunt", equilibria.make("qre")).options)["precision"] == 1.0


@pytest.mark.parametrize(
    ("game", "name", "options", "reason"),
    [
        ("matching_pennies", "pure", {}, "no pure equilibrium exists"),
        ("battle_of_the_sexes", "risk_dominant", {}, "the two strict equilibria tie"),
        ("matching_pennies", "risk_dominant", {}, "no strict pure equilibrium exists"),
        ("shapley", "regret_matching", {"steps": 32, "tolerance": 0.0, "key": 0}, "it took all of its 32 steps"),
    ],
)
def test_what_does_not_converge_says_why(game, name, options, reason):
    if "key" in options:
        options = options | {"key": jax.random.key(options["key"])}
    found = equilibria.solve(game, name, **options)
    assert not found.converged
    assert found.reason == reason
    assert f"({reason})" in found.message


@pytest.mark.parametrize("name", equilibria.names())
def test_solvers_say_by_what_they_solve(name):
    solver = equilibria.make(name)
    assert solver.means()
    source = inspect.getsource(type(solver).solve)
    assert solver.starts_anywhere == ("`key` is not used" not in source)


def test_promises_are_checked():
    with pytest.raises(ValueError, match="not symmetric"):
        equilibria.solve("matching_pennies", "nash", symmetric=True)
    found = equilibria.solve("chicken", "nash", all=True, symmetric=True)
    np.testing.assert_allclose([own.profile[:, 0] for own in found], [[2 / 3, 2 / 3]], atol=1e-9)


def test_restarts_find_other_equilibria():
    found = equilibria.solve("stag_hunt", "rae", risk=0.1, tremble=0.05, restarts=64)
    corners = sorted(own.profile[0, 0] for own in found)
    np.testing.assert_allclose([corners[0], corners[-1]], [0.05, 0.95], atol=1e-9)
    assert sum(float(own.share) for own in found) == pytest.approx(1.0)
    assert found[0].share == max(own.share for own in found)


def test_a_batch_is_as_each_alone():
    games = [draw(seed, 3, 2) for seed in range(11)]
    for name in ("rae", "correlated"):
        found = equilibria.solve_batch(games, name)
        assert found.profile.shape == (11, 2, 3)
        for k in (0, 7, 10):
            alone = equilibria.solve(games[k], name)
            np.testing.assert_allclose(found.profile[k], alone.profile, atol=1e-7)
            assert found.converged[k] == alone.converged
    with pytest.raises(ValueError, match=r"game 1 has payoffs \(2, 2, 2\): expected \(2, 3, 3\), as game 0"):
        equilibria.solve_batch([games[0], draw(0, 2, 2)])
    with pytest.raises(ValueError, match="game 3: zero_sum: payoffs sum to"):
        equilibria.solve_batch([np.zeros((2, 2, 2))] * 3 + [draw(0, 2, 2)], "zero_sum")


def test_stochastic_fictitious_play_comes_to_rest():
    table = [[0.0, -1.0, 2.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]
    fields = {"risk": 0.2, "tremble": 0.01, "method": "fictitious_play", "tolerance": 5e-3, "steps": 5000}
    path = equilibria.solve([table, -np.array(table)], "rae", risk=0.2, tremble=0.01)
    steps = []
    for temperature in (0.0, 0.3):
        found = equilibria.solve([table, -np.array(table)], "rae", temperature=temperature, **fields)
        assert found.converged
        np.testing.assert_allclose(found.profile, path.profile, atol=0.05)
        steps.append(int(found.steps))
    assert steps[0] != steps[1]


def test_soft_replies_are_logit_responses():
    with jax.enable_x64(True):
        game = normal_form(draw(3, 3, 4))
        seen = perceive(game, equilibria.make("rae", risk=0.4).measure, 0.02)
        for temperature in (0.01, 1.0):
            reply = seen.respond_softly(game.uniform(), jnp.asarray(temperature))
            slope = seen.slope_at(reply, seen.others(game.uniform()))
            free = seen.free[:, None]
            soft = jax.nn.softmax(jnp.where(game.mask, free * slope / temperature, -jnp.inf), axis=1)
            expected = jnp.where(game.mask, 0.02 + free * soft, 0.0)
            np.testing.assert_allclose(reply, expected, atol=1e-4)


def test_properties():
    load = equilibria.load
    assert zero_sum(load("matching_pennies"))
    assert constant_sum(load("selten_chmura_1"))
    assert not zero_sum(load("selten_chmura_1"))
    assert not constant_sum(load("chicken"))
    assert [is_symmetric(load(name)) for name in ("chicken", "stag_hunt_3", "battle_of_the_sexes", "jordan")] == [
        True,
        True,
        False,
        False,
    ]
    assert is_supermodular(load("stag_hunt"))
    assert not is_supermodular(load("chicken"))
    assert potential(load("matching_pennies")) is None
    found = potential(load("trust_dilemma"))
    np.testing.assert_allclose(found, [[0, -4], [-4, 2]])
    assert price_of_anarchy(load("stag_hunt")) == 2.0
    assert price_of_stability(load("stag_hunt")) == 1.0
    assert np.isnan(price_of_anarchy(load("matching_pennies")))


@pytest.mark.parametrize("unit", [1e-9, 1.0])
@pytest.mark.parametrize("offset", [0.0, 1e9, 1e12])
def test_properties_know_no_units(unit, offset):
    same = lambda table: normal_form((np.asarray(table, float) + offset) * unit)  # noqa: E731
    opposed = lambda table: normal_form((table + offset * np.array([[[1.0]], [[-1.0]]])) * unit)  # noqa: E731
    hunt, pennies = equilibria.load("stag_hunt").payoffs, equilibria.load("matching_pennies").payoffs
    off = np.zeros((2, 2, 2))
    off[0, 0, 0] = 0.5
    assert is_symmetric(same(hunt))
    assert not is_symmetric(same(hunt + off))
    assert zero_sum(opposed(pennies))
    assert constant_sum(same(pennies))
    assert not zero_sum(opposed(pennies + off))
    assert not constant_sum(same(pennies + off))
    assert potential(same(hunt)) is not None
    assert potential(same(pennies)) is None
    assert risk_dominant(same(hunt)) == (1, 1)
    assert risk_dominant(same(equilibria.load("battle_of_the_sexes").payoffs)) is None
    assert is_supermodular(same(hunt))
    np.testing.assert_array_equal(dominated(same(equilibria.load("prisoners_dilemma").payoffs)), [[True, False]] * 2)


@pytest.mark.parametrize("kept", [(0, 1), (1, 2), (0, 2)])
def test_risk_dominance_within_a_larger_table(kept):
    table, mask = np.full((2, 3, 3), -7.0), np.isin(np.arange(3), kept)
    table[np.ix_(range(2), kept, kept)] = equilibria.load("stag_hunt").payoffs
    game = normal_form(table, [mask] * 2)
    assert risk_dominant(game) == (kept[1], kept[1])
    found = equilibria.solve(game, "risk_dominant")
    assert found.converged
    np.testing.assert_array_equal(found.profile, np.eye(3)[[kept[1]] * 2])


def test_fits_are_made_in_double_precision():
    true = equilibria.solve("selten_chmura_7", "qre", precision=0.7).profile
    found = equilibria.fit("selten_chmura_7", 1000 * true, highest=10.0, points=10)
    assert found.profile.dtype == np.float64
    np.testing.assert_allclose(found.precision, 0.7, atol=1e-4)
    np.testing.assert_allclose(found.profile, true, atol=1e-5)


def test_welfare():
    assert welfare("chicken", [[0.5, 0.5]] * 2) == pytest.approx(7.5)
    assert equilibria.welfare("stag_hunt", equilibria.solve("stag_hunt", "pure").profile) == 20
    assert equilibria.solve("chicken", "correlated").welfare == pytest.approx(10.5)
    assert equilibria.price_of_anarchy("stag_hunt") == 2.0
    with pytest.raises(ValueError, match=r"profile of shape \(2,\): expected \[n, A\] = \(2, 2\)"):
        welfare("chicken", [0.5, 0.5])


def test_dominance():
    dilemma = equilibria.load("prisoners_dilemma")
    np.testing.assert_array_equal(dominated(dilemma), [[True, False]] * 2)
    np.testing.assert_array_equal(eliminate(dilemma).mask, [[False, True]] * 2)
    mixed = normal_form([[[3, 0], [0, 3], [1, 1]], np.zeros((3, 2))])  # the third by half of each of the others
    np.testing.assert_array_equal(dominated(mixed)[0], [False, False, True])
    assert not dominated(mixed, mixed=False).any()
    weak = normal_form([[[1, 1], [1, 0]], np.zeros((2, 2))])
    assert not dominated(weak).any()
    np.testing.assert_array_equal(dominated(weak, weakly=True)[0], [False, True])


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("family", list(equilibria.FAMILIES))
def test_random_families_are_what_they_say(family, double):
    with jax.enable_x64(double):
        games = equilibria.random_games(family, jax.random.key(0), 3, 3, 3)
        for k in range(3):
            game = normal_form(games.payoffs[k])  # in double precision
            assert zero_sum(game) == (family == "zero_sum")
            assert is_symmetric(game) == (family == "symmetric")
            assert (potential(game) is not None) == (family in ("potential", "identical"))
    with pytest.raises(ValueError, match="expected one of"):
        equilibria.random_games("gausian", jax.random.key(0), 1)


@pytest.mark.parametrize(("players", "actions"), [(2, 3), (3, 2)])
def test_certificates_hold_in_random_games(players, actions):
    solver = equilibria.make("rae", risk=0.3, tremble=0.01)
    with jax.enable_x64(True):
        for family in equilibria.FAMILIES:
            games = equilibria.random_games(family, jax.random.key(1), 64, players, actions)
            found = equilibria.solve_batch(games, solver)
            converged = np.asarray(found.converged)
            scale = np.asarray(jax.vmap(lambda game: game.scale())(games))
            assert converged.mean() >= 0.98, family
            assert (np.asarray(found.regret) >= 0).all()
            assert (np.asarray(found.regret).max(axis=1)[converged] <= 1e-8 * scale[converged]).all()
            assert (np.asarray(found.profile) >= 0.01 - 1e-9).all()
            # no better reply on a fine net
            net = np.random.default_rng(0).dirichlet(np.ones(actions), 50) * (1 - 0.01 * actions) + 0.01
            better = jax.jit(jax.vmap(_gain, (0, 0, None)))(games, found.profile, jnp.asarray(net))
            assert float(better[converged].max()) <= 1e-7


def _gain(game, profile, net):
    """What the first player gains by the best strategy of a net."""
    seen, chance = game.outcomes()[0], game.others(profile)[0]

    def utility(own):
        pays = own @ seen
        mean = chance @ pays
        return mean - 0.3 * (chance @ (pays - mean) ** 2)

    return jax.vmap(utility)(net).max() - utility(profile[0])


@pytest.mark.slow
@pytest.mark.parametrize(("players", "actions"), [(2, 4), (3, 3), (4, 2)])
@pytest.mark.parametrize("name", ["nash", *RISKY])
def test_thousands_of_random_games(name, players, actions):
    options = {"tremble": 0.01, **RISKY[name]} if name in RISKY else {}
    solver = equilibria.make(name, **options)
    with jax.enable_x64(True):
        for family in equilibria.FAMILIES:
            games = equilibria.random_games(family, jax.random.key(2), 200, players, actions)
            found = equilibria.solve_batch(games, solver)
            scales = np.asarray(jax.vmap(lambda game: game.scales())(games))
            small = (np.asarray(found.regret) <= 1e-8 * scales).all(axis=1)
            assert (np.asarray(found.converged) == small).all()
            least = {"cvar": 0.9, "strategically_robust": 0.9}.get(name, 0.98)  # kinks are hard
            assert np.asarray(found.converged).mean() >= least


def test_replies_keep_trembles():
    with jax.enable_x64(True):
        game = normal_form(equilibria.load("prisoners_dilemma").payoffs)
        seen = perceive(game, equilibria.make("rae").measure, 0.1)
        reply, _ = seen.respond(jnp.array([[0.0, 1.0]] * 2), 1e-6)
    np.testing.assert_allclose(reply, [[0.1, 0.9]] * 2, atol=1e-9)


@pytest.mark.parametrize("field", [{"variance": "tot"}, {"method": "newton"}, {"trembles": "mistak"}])
def test_unknown_choices_are_refused(field):
    ((name, value),) = field.items()
    with pytest.raises(ValueError, match=f"{name} = '{value}'"):
        equilibria.solve("chicken", "rae", **field)


def test_every_player_is_certified_by_the_own_payoffs():
    pennies = np.array([[1.0, -1], [-1, 1]])
    found = equilibria.solve(np.stack([1e8 * pennies, -pennies]), "pure")  # there is none
    assert not found.converged


def test_large_offsets_leave_play_on_the_simplex():
    found = equilibria.solve(np.array([[[3, 0], [5, 1]], [[3, 5], [0, 1]]]) + 1e9, "fictitious_play")
    np.testing.assert_allclose(found.profile.sum(axis=1), 1, atol=1e-12)
    assert found.profile[0, 1] > 0.9
    near, far = (equilibria.solve(np.array([[[6, 2], [7, 0]], [[6, 7], [2, 0]]]) + own, "qre") for own in (0, 1e9))
    assert far.converged
    np.testing.assert_allclose(far.profile, near.profile, atol=1e-6)
