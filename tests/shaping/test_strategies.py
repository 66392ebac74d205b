"""Fixed strategies: replies to given moves, exact probabilities, the lines that zero-determinant strategies hold."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
import shaping
from envs import Environment, MatrixGame
from envs.registry import read_parameters
from shaping import Match, strategies
from shaping.learner import Context
from shaping.strategies import Given, Grim, MemoryOne, Random, TitForTat, Uniform, WinStayLoseShift
from shaping.zero_determinant import ZeroDeterminant

KEY = jax.random.key(0)
HARSH, HALF, STAY, SWITCH = (TitForTat(variant) for variant in ("harsh", "half", "strict_stay", "strict_switch"))
EXAMPLES = [
    Uniform(),
    Random(),
    TitForTat(),
    Grim(),
    WinStayLoseShift(),
    ZeroDeterminant(),
    ZeroDeterminant("generous"),
]
AXELROD = {"reward": 3.0, "sucker": 0.0, "temptation": 5.0, "punishment": 1.0}

# (strategy, what the others do on steps 0, 1, ..., the replies on these steps) in ipd; lower case replies are forced.
# If k others defect C is paid 2 (n - 1 - k) and D 1 more; win-stay, lose-shift aspires to n - 1/2.
VERSUS = [
    (Random(1.0), "C D D", "CCC"),
    (Random(0.0), "C D C", "DDD"),
    (TitForTat(), "C D D C C", "CCDDC"),
    (TitForTat(), "C D C", "dCD"),
    (HARSH, "C D D C C", "CCDDC"),
    (STAY, "C D D C C", "CCDDC"),
    (SWITCH, "C D D C C", "CCDDC"),
    (Grim(), "C D C C C", "CCDDD"),
    (Grim(), "C C C", "dCC"),
    (WinStayLoseShift(), "C D C D D C", "CCDDCD"),
    (WinStayLoseShift(), "C D C", "dDC"),
    (ZeroDeterminant(slope=1.0, strength=1.0), "C D D C", "DCDD"),
    (ZeroDeterminant("generous", slope=1.0, strength=1.0), "C D D C", "CCDD"),
    # three players: two of two others are more than half, one is not
    (Random(0.0), "CC CC", "DD"),
    (TitForTat(), "CC CD DD DC CC", "CCCDC"),
    (TitForTat("soft"), "CC CD DD DC CC", "CCCDC"),
    (HARSH, "CC CD CC DC DD CC", "CCDCDD"),
    (STAY, "CD DD DC CC CC", "CCDDC"),
    (STAY, "CD CC CD", "dDC"),
    (SWITCH, "CD CD DD CD CC", "CDCDC"),
    (SWITCH, "CD CC CD", "dCC"),
    (Grim(), "CC CC DC CC CC", "CCCDD"),
    (Grim(), "CC CC CC", "dCC"),
    (WinStayLoseShift(), "CC CD CD DD CC", "CCDDC"),
    (WinStayLoseShift(2.0), "CD DC DD CC", "CCCD"),  # C with one defector pays 2, and an aspiration reached is a win
    # four: two of three are more than half
    (TitForTat(), "CCC CCD CDD DDD DDC CDC", "CCCDDD"),
    (HARSH, "CCC CDC CCC DDD", "CCDC"),
    (STAY, "CCD CDD DDD CCD CCC CDD", "CCCDDC"),
    (SWITCH, "CCD CDD DDD CCD CCC DDC", "CDCDCC"),
    (Grim(), "CCC CCD CCC CCC", "CCDD"),
    (WinStayLoseShift(), "CCD CDD CCD CDD DDD", "CCDDC"),
    # half: one of two is enough, two of three, two of four
    (HALF, "C D C", "CCD"),
    (HALF, "CC CD CC DC DD CC", "CCDCDD"),
    (HALF, "CCC CCD CDD DDD CCC", "CCCDD"),
    (HALF, "CCCC CCCD CCDD CDDD CCCC", "CCCDD"),
    (Given(jnp.array([1.0, 0.0, 1.0, 0.0, 1.0])), "C D C", "CDC"),
    # five: two of four are not more than half, three are
    (TitForTat(), "CCDD DCCC DDDC DDDD CDCD CCCC", "CCCDDC"),
    (HARSH, "CCCC CCCD CCCC", "CCD"),
    (STAY, "CDDD DDDD CCCD CCCC", "CCDD"),
    (SWITCH, "CDDD DDDD CCCD CCCC", "CDDC"),
    (Grim(), "CCCC DCCC CCCC CCCC", "CCDD"),
    (WinStayLoseShift(), "CCCD CCDD CCDD CDDD CCCC", "CCDDC"),
]


def label(value):
    return repr(value).replace(" ", "") if isinstance(value, strategies.Learner) else value


@pytest.mark.parametrize("last_seat", [False, True])
@pytest.mark.parametrize(("strategy", "moves", "expected"), VERSUS, ids=label)
def test_replies(strategy, moves, expected, last_seat):
    others = [["CD".index(move) for move in step] for step in moves.split()]
    env = envs.make("ipd", players=len(others[0]) + 1)
    seat = env.num_players - 1 if last_seat else 0
    strategy.check(env)
    state, obs = env.reset(KEY)
    memory, replies = strategy.memory(env, ()), ""
    for step, (rest, wanted) in enumerate(zip(others, expected, strict=True)):
        key = jax.random.fold_in(KEY, step)
        action, memory, aux = strategy.act(env, (), memory, obs[seat], env.legal(state)[seat], key)
        assert action.dtype == jnp.int32
        assert aux == ()
        if wanted.islower():
            action = jnp.int32("cd".index(wanted))
        replies += ("cd" if wanted.islower() else "CD")[int(action)]
        actions = jnp.roll(jnp.array([int(action), *rest], jnp.int32), seat)
        state, timestep = env.step(state, actions, key)
        obs = timestep.obs
    assert replies == expected


@pytest.mark.parametrize("players", [2, 3, 4, 5])
def test_every_observation_is_answered_as_its_kind_of_history(players):
    env = envs.make("ipd", players=players)
    telling = Telling()
    obs = jnp.arange(env.num_observations, dtype=jnp.int32)
    keys = jax.random.split(KEY, (env.num_observations, 3000))
    act = lambda obs, key: telling.act(env, (), (), obs, env.legal()[0], key)[0]  # noqa: E731
    actions = jax.jit(jax.vmap(jax.vmap(act, (None, 0))))(obs, keys)
    views = [None, *itertools.product((0, 1), repeat=players)]
    kinds = [0 if view is None else 1 + view[0] * players + sum(view[1:]) for view in views]
    np.testing.assert_array_equal(kinds, env.history_kinds())
    np.testing.assert_allclose(1 - actions.mean(axis=1), telling.response(env)[np.array(kinds)], atol=0.045)


class Telling(MemoryOne):
    """Its rate of co-operation tells the kind of history."""

    def response(self, env):
        return jnp.linspace(0.0, 1.0, 1 + 2 * env.num_players)


THIRD = 1 / 3


@pytest.mark.parametrize(
    ("strategy", "game", "fields", "expected"),
    [
        (TitForTat(forgiveness=THIRD), "ipd", {}, [1, 1, THIRD, 1, THIRD]),
        (TitForTat("harsh", 0.25), "ipd", {"players": 3}, [1, 1, 0.25, 0.25, 1, 0.25, 0.25]),
        (TitForTat("strict_stay", 0.5), "ipd", {"players": 3}, [1, 1, 1, 0.5, 1, 0.5, 0.5]),
        (Grim(), "ipd", {"players": 3}, [1, 1, 0, 0, 1, 0, 0]),
        (WinStayLoseShift(), "ipd2", {}, [1, 1, 0, 0, 1]),
        (WinStayLoseShift(), "public_goods", {}, [1, 1, 0, 0, 1]),
        (WinStayLoseShift(), "stag_hunt", {}, [1, 1, 0, 1, 1]),  # T = P: both lose
        (WinStayLoseShift(-10.0), "ipd2", {}, [1, 1, 1, 0, 0]),  # contented
        (WinStayLoseShift(10.0), "ipd2", {}, [1, 0, 0, 1, 1]),  # never content
        # Press and Dyson's extortion factor 3 with φ in the middle of its range, then Extort-2, ZDGTFT-2
        (ZeroDeterminant(slope=THIRD), "ipd2", AXELROD, [0, 11 / 13, 1 / 2, 7 / 26, 0]),
        (ZeroDeterminant(slope=0.5), "ipd2", AXELROD, [0, 8 / 9, 1 / 2, 1 / 3, 0]),
        (ZeroDeterminant("generous", 0.5, strength=1.0), "ipd2", AXELROD, [1, 1, 1 / 8, 1, 1 / 4]),
        # Press and Dyson's p2 and p3 for p1 = 2/3 and p4 = 1/3, which hold the other at 2
        (ZeroDeterminant("equaliser", 0.0, 2.0, 1.0), "ipd2", AXELROD, [1 / 2, 2 / 3, 0, 2 / 3, 1 / 3]),
        # fair strategies of n players co-operate in proportion to the others that did
        (ZeroDeterminant(slope=1.0, strength=1.0), "ipd", {"players": 3}, [0, 1, 1 / 2, 0, 1, 1 / 2, 0]),
        (ZeroDeterminant(slope=1.0, strength=1.0), "ipd", {"players": 5}, [0, *[1, 3 / 4, 1 / 2, 1 / 4, 0] * 2]),
    ],
    ids=label,
)
def test_exact_responses(strategy, game, fields, expected):
    env = envs.make(game, **fields)
    strategy.check(env)
    np.testing.assert_allclose(strategy.response(env), expected, atol=1e-6)


@pytest.mark.parametrize("chi", [1.0, 1.5, 3.0, 20.0])
@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_two_player_extortion_is_that_of_press_and_dyson(chi, strength):
    """Their formula for p with extortion factor χ, φ as a share of its largest value."""
    t, r, p, s = 5.0, 3.0, 1.0, 0.0
    phi = strength * (p - s) / ((p - s) + chi * (t - p))
    expected = [
        1 - phi * (chi - 1) * (r - p) / (p - s),
        1 - phi * (1 + chi * (t - p) / (p - s)),
        phi * (chi + (t - p) / (p - s)),
        0,
    ]
    strategy = ZeroDeterminant(slope=1 / chi, strength=strength)
    np.testing.assert_allclose(strategy.response(envs.make("ipd2", **AXELROD))[1:], expected, atol=1e-6)


def long_run(env, tables):
    """Payoffs per step `[n]` of the stationary distribution, from probabilities of C `[n, 2^n]` in own view."""
    n = env.num_players
    joints = list(itertools.product((0, 1), repeat=n))
    chain = np.ones((2**n, 2**n))
    for row, joint in enumerate(joints):
        for player in range(n):
            probability = tables[player][joints.index(joint[player:] + joint[:player])]
            chain[row] *= [1 - probability if after[player] else probability for after in joints]
    system = np.vstack([chain.T - np.eye(2**n), np.ones(2**n)])
    stationary = np.linalg.lstsq(system, np.eye(2**n + 1)[-1])[0]
    return np.asarray(env.payoffs, float).reshape(n, -1) @ stationary


def others_against(strategy, env, seat, rng):
    """Own payoff and mean payoff of the others, who play random memory-one strategies."""
    n = env.num_players
    with jax.enable_x64(True):
        response = np.asarray(strategy.response(env))
    assert response.dtype == np.float64
    own = [response[1 + view[0] * n + sum(view[1:])] for view in itertools.product((0, 1), repeat=n)]
    tables = rng.uniform(0.02, 0.98, (n, 2**n))
    tables[seat] = own
    payoffs = long_run(env, tables)
    return payoffs[seat], (payoffs.sum() - payoffs[seat]) / (n - 1)


LINES = [
    (kind, slope, players)
    for kind in ("extortionate", "generous")
    for players, slopes in {2: (-0.4, 0.0, 0.5, 1.0), 3: (0.25, 0.8, 1.0), 4: (0.5, 0.8)}.items()
    for slope in slopes
]


@pytest.mark.parametrize(("kind", "slope", "players"), LINES)
def test_the_line_is_held_against_random_strategies(kind, slope, players):
    env = envs.make("ipd", players=players)
    baseline = {"extortionate": 1.0, "generous": 2.0 * (players - 1)}[kind]
    rng = np.random.default_rng(0)
    for strength, seat in itertools.product((0.2, 1.0), (0, players - 1)):
        strategy = ZeroDeterminant(kind, slope, strength=strength)
        strategy.check(env)
        own, others = others_against(strategy, env, seat, rng)
        assert others == pytest.approx(slope * own + (1 - slope) * baseline, abs=1e-6)
        if 0 < slope < 1:
            assert (own > others) == (kind == "extortionate")


@pytest.mark.parametrize(
    ("game", "fields", "slope"),
    [
        ("snowdrift", {"players": 3}, 0.8),
        ("stag_hunt", {"players": 4}, 0.6),
        ("tragedy", {"players": 3}, 0.5),
        ("public_goods", {"players": 3}, 0.3),
        ("ipd2", {}, 0.5),
    ],
)
@pytest.mark.parametrize("kind", ["extortionate", "generous"])
def test_lines_in_other_dilemmas(game, fields, slope, kind):
    env = envs.make(game, **fields)
    strategy = ZeroDeterminant(kind, slope)
    strategy.check(env)
    own, others = others_against(strategy, env, 0, np.random.default_rng(1))
    baseline = env.marks()["all D" if kind == "extortionate" else "all C"]
    assert others == pytest.approx(slope * own + (1 - slope) * baseline, abs=1e-6)


@pytest.mark.parametrize(
    ("players", "baseline", "pinned"),
    [(2, None, 1.5), (2, 1.0, 1.0), (2, 1.25, 1.25), (2, 2.0, 2.0), (3, None, 2.5), (3, 2.2, 2.2)],
)
def test_an_equaliser_decides_what_the_others_get(players, baseline, pinned):
    env = envs.make("ipd", players=players)
    strategy = ZeroDeterminant("equaliser", 0.0, baseline)
    strategy.check(env)
    rng = np.random.default_rng(2)
    for seat in range(players):
        assert others_against(strategy, env, seat, rng)[1] == pytest.approx(pinned, abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    slope=st.floats(-1, 1),
    strength=st.floats(0.01, 1),
    kind=st.sampled_from(["extortionate", "generous"]),
    game=st.sampled_from(["ipd", "snowdrift", "stag_hunt", "tragedy", "public_goods"]),
    players=st.integers(2, 5),
)
def test_a_line_is_refused_exactly_when_probabilities_would_leave_their_range(slope, strength, kind, game, players):
    env = envs.make(game, players=players)
    strategy = ZeroDeterminant(kind, slope, strength=strength)
    own, others = strategies.payoffs_by_role(env, np)
    gap = strategy._gap(own, others)
    raw = np.array([[1.0], [0.0]]) + strength / np.abs(gap).max() * gap
    try:
        strategy.check(env)
    except ValueError as error:
        assert raw.min() < 0 or raw.max() > 1
        low, high = (float(word) for word in str(error).split("from ")[-1].split(" to "))
        for better in (low, high):
            strategy.replace(slope=better).check(env)
    else:
        assert raw.min() > -1e-5
        assert raw.max() < 1 + 1e-5


@pytest.mark.parametrize("game", ["ipd", "snowdrift", "stag_hunt", "tragedy", "public_goods"])
@pytest.mark.parametrize("players", [2, 3, 4, 5])
def test_default_slopes_can_be_held_in_the_dilemmas(game, players):
    for kind in ("extortionate", "generous"):
        ZeroDeterminant(kind).check(envs.make(game, players=players))


@pytest.mark.parametrize(
    ("strategy", "game", "fields", "words"),
    [
        (ZeroDeterminant(slope=0.5), "ipd", {"players": 5}, "slope = 0.5, .*try a slope from 0.63 to 1"),
        (ZeroDeterminant("generous", 0.2), "tragedy", {}, "generous .*try a slope from 0.4 to 1"),
        (ZeroDeterminant("equaliser", 0.0), "ipd", {"players": 4}, "no equaliser.*another kind or tit_for_tat"),
        (ZeroDeterminant("equaliser", 0.0, 5.0), "ipd", {}, "baseline = 5: .*a baseline from 1 to 2"),
        (ZeroDeterminant(), "bach_or_stravinsky", {}, "paid alike, unlike in MatrixGame .*Bach.*try tit_for_tat"),
        (WinStayLoseShift(), "matching_pennies", {"players": 3}, "WinStayLoseShift .*paid alike.*try tit_for_tat"),
        (WinStayLoseShift(), "rock_paper_scissors", {}, "2 actions .*rock/paper/scissors.*uniform"),
        (ZeroDeterminant(), "rock_paper_scissors", {}, "2 actions .*rock/paper/scissors.*uniform"),
        (TitForTat(), "rock_paper_scissors", {}, "TitForTat .*2 actions .*rock/paper/scissors.*uniform"),
        (Grim(), "rock_paper_scissors", {}, "Grim .*2 actions .*rock/paper/scissors.*uniform"),
        (Random(), "rock_paper_scissors", {}, "rock/paper/scissors.*which action co-operates.*uniform"),
    ],
    ids=label,
)
def test_games_that_are_refused(strategy, game, fields, words):
    with pytest.raises(ValueError, match=words):
        strategy.check(envs.make(game, **fields))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Random(1.5), "probability = 1.5: expected from 0 to 1"),
        (lambda: TitForTat("hash"), "variant = 'hash': did you mean 'harsh'"),
        (lambda: TitForTat(forgiveness=-1.0), "forgiveness = -1.0"),
        (lambda: WinStayLoseShift("high"), "aspiration = 'high'"),
        (lambda: ZeroDeterminant("generic"), "kind = 'generic': did you mean 'generous'"),
        (lambda: ZeroDeterminant(slope=2.0), "slope = 2.0"),
        (lambda: ZeroDeterminant("equaliser"), "slope = 0.8: .*equaliser"),
        (lambda: ZeroDeterminant(strength=0.0), "strength = 0.0"),
        (lambda: ZeroDeterminant(baseline=float("nan")), "baseline = nan"),
    ],
)
def test_fields_that_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def test_payoffs_must_be_alike_for_all_seats_and_in_any_order_of_the_others():
    env = envs.make("ipd", players=3)
    for player, *joint in [(0, 0, 1, 0), (2, 1, 1, 0), (1, 1, 1, 1)]:
        payoffs = env.payoffs.copy()
        payoffs[(player, *joint)] += 1.0
        with pytest.raises(ValueError, match="paid alike"):
            WinStayLoseShift().check(env.replace(payoffs=payoffs))
    WinStayLoseShift().check(env.replace(payoffs=env.payoffs * 3.0 - 1.0))


class Board(Environment):
    """Two players see a number; which of three actions co-operates depends on it."""

    helpful: bool = True

    num_players, num_actions, num_observations, obs_shape, horizon = 2, 3, None, (1,), 4

    def reset(self, key):
        return jnp.int32(0), jnp.array([[0.0], [1.0]])

    def dilemma(self, obs):
        return jnp.where(obs[0] > 0, jnp.array([2, 1], jnp.int32), jnp.array([0, 2], jnp.int32))


class Bare(Board):
    """One that has no dilemma."""

    def dilemma(self, obs):
        return None


class Plane(Bare):
    """One with continuous actions."""

    num_actions, action_dim, action_range = 0, 2, (-1.0, 3.0)


def test_cooperation_follows_the_dilemma_of_the_environment():
    env = Board()
    _, obs = env.reset(KEY)
    for probability, expected in ((1.0, [0, 2]), (0.0, [2, 1])):
        player = Random(probability)
        player.check(env)
        act = lambda obs, key, player=player: player.act(env, (), (), obs, jnp.ones(3, bool), key)[0]  # noqa: E731
        actions = jax.vmap(jax.vmap(act, (None, 0)), (0, None))(obs, jax.random.split(KEY, 50))
        np.testing.assert_array_equal(actions, np.repeat(np.array(expected)[:, None], 50, axis=1))
        assert actions.dtype == jnp.int32
    with pytest.raises(ValueError, match="Bare and 2 players does not say which action co-operates"):
        Random().check(Bare())


def test_matrix_games_with_two_actions_have_a_dilemma():
    obs = jnp.zeros((), jnp.int32)
    np.testing.assert_array_equal(envs.make("chicken").dilemma(obs), [0, 1])
    assert envs.make("rock_paper_scissors").dilemma(obs) is None
    assert MatrixGame(np.zeros((2, 2, 2)), (("a", "b"), ("only",))).dilemma(obs) is None


def test_uniform_plays_everywhere():
    keys = jax.random.split(KEY, 6000)
    act = lambda env, legal: jax.vmap(lambda key: Uniform().act(env, (), (), jnp.zeros(1), legal, key)[0])(keys)  # noqa: E731
    for legal in ([True, True, True], [True, False, True], [False, True, False]):
        actions = act(Bare(), jnp.array(legal))
        assert actions.dtype == jnp.int32
        rates = np.bincount(actions, minlength=3) / len(keys)
        np.testing.assert_allclose(rates, np.array(legal) / np.sum(legal), atol=0.03)
    for env in (Bare(), Plane()):
        Uniform().check(env)
    moves = act(Plane(), jnp.ones(0, bool))
    assert moves.shape == (6000, 2)
    np.testing.assert_allclose([moves.min(), moves.mean(), moves.max()], [-1, 1, 3], atol=0.06)


@pytest.mark.parametrize("strategy", [Random(0.3), TitForTat(forgiveness=0.3)], ids=label)
def test_rates_through_act(strategy):
    """Against a defector both co-operate with probability 0.3."""
    env = envs.make("ipd")
    keys = jax.random.split(KEY, 6000)
    act = lambda key: strategy.act(env, (), (), jnp.int32(2), env.legal()[0], key)[0]  # noqa: E731
    assert 1 - jax.jit(jax.vmap(act))(keys).mean() == pytest.approx(0.3, abs=0.03)


def test_payoffs_and_fields_may_be_traced():
    gifts, slopes = jnp.array([1.5, 2.0, 3.0]), jnp.array([0.6, 0.8, 1.0])

    def responses(gift, slope):
        env = envs.make("ipd", players=3, gift=gift)
        return ZeroDeterminant(slope=slope).response(env), WinStayLoseShift(slope + 2.0).response(env)

    together = jax.jit(jax.vmap(responses))(gifts, slopes)
    for index in range(3):
        apart = responses(float(gifts[index]), float(slopes[index]))
        for batch, one in zip(together, apart, strict=True):
            np.testing.assert_allclose(batch[index], one, atol=1e-6)
    slope = jax.grad(lambda gift: responses(gift, 0.8)[0].sum())(2.0)
    assert np.isfinite(slope)


@pytest.mark.parametrize("strategy", EXAMPLES, ids=label)
def test_contract_of_learners(strategy):
    env = envs.make("ipd", players=3, horizon=6)
    strategy.check(env)
    state = strategy.init(env, KEY)
    assert not strategy.samples
    assert not strategy.tables
    assert strategy.sees == "own"
    assert state == ()
    assert strategy.update(state, Context._make([None] * len(Context._fields)), KEY) == ((), {})

    def play(memory, key):
        action, memory, _ = strategy.act(env, strategy.policy(state), memory, jnp.int32(3), env.legal()[0], key)
        return memory, action

    keys = jax.random.split(KEY, (6, 4))
    memory = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (4,)), strategy.memory(env, state))
    _, actions = jax.jit(lambda memory, keys: jax.lax.scan(jax.vmap(play), memory, keys))(memory, keys)
    assert actions.shape == (6, 4)
    assert set(np.unique(actions)) <= {0, 1}


def test_a_match_groups_seats_whose_fields_differ():
    env = envs.make("ipd", players=3, horizon=4)
    seats = [Random(1.0), TitForTat("harsh"), Random(0.0)]
    match = Match.of(env, seats, batch=2)
    assert match.seats == ((0, 2), (1,))
    states = shaping.init(match, KEY)
    trajectories, _ = shaping.episode(match, shaping.policies(match, states), KEY)
    actions = match.by_seat([trajectory.action for trajectory in trajectories], axis=2)
    np.testing.assert_array_equal(actions[:, 0], [[0, 0, 1], [0, 1, 1], [0, 1, 1], [0, 1, 1]])
    assert shaping.step(match, states, KEY, jnp.int32(0))[0] == ((), ())


@pytest.mark.parametrize("name", [name for name in strategies.__all__ if name != "MemoryOne"])
def test_every_field_is_explained(name):
    assert all(parameter.help for parameter in read_parameters(f"shaping.strategies:{name}"))


def test_grim_forgets_between_episodes_and_remembers_in_them():
    env, grim = envs.make("ipd"), Grim()
    legal = env.legal()[0]
    memory = grim.memory(env, ())
    assert (memory.dtype, memory.shape, bool(memory)) == (bool, (), False)
    for obs, expected in ((0, 0), (1, 0), (3, 0), (2, 1), (1, 1), (3, 1)):  # START, CC, DC, CD, CC, DC
        action, memory, _ = grim.act(env, (), memory, jnp.int32(obs), legal, KEY)
        assert (int(action), bool(memory)) == (expected, bool(expected))
    assert int(grim.act(env, (), grim.memory(env, ()), jnp.int32(0), legal, KEY)[0]) == 0
