"""Symmetric games by counts: equal to the chain over joint actions, one by one, and usable where that is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import shaping
from envs.payoffs import dilemma
from shaping import Exact, Lola, Match, Naive
from shaping.counts import Groups, append, count_chain
from shaping.discounting import discounted_sum

DILEMMAS = ("ipd", "snowdrift", "stag_hunt", "tragedy", "public_goods")
KEY = jax.random.key(0)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def game(players, name="ipd", **fields):
    return envs.make(name, players=players, observe="counts", **fields)


def tables(sizes, scale=1.5, seed=0, one_shot=False):
    """One table a group, `[G, O, 1]`."""
    shape = len(sizes), 1 if one_shot else 2 * sum(sizes) + 1, 1
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=shape), float)


def members(sizes):
    """The group of each player, groups one after the other."""
    return np.repeat(np.arange(len(sizes)), sizes)


def by_joint_actions(payoffs, sizes, groups, **fields):
    """The value of a member of each group, from the chain over joint actions: everybody's table, written out."""
    env = dilemma(payoffs, **fields)
    everyone = groups[members(sizes)][:, env.history_kinds()]
    return Exact().value(env, everyone)[np.cumsum([0, *sizes[:-1]])]


def both_values(sizes, dtype=float, **fields):
    """Values of a member of each group in all dilemmas `[5, G]`: by counts, and by joint actions."""
    payoffs = np.stack([np.asarray(game(sum(sizes), name).payoffs) for name in DILEMMAS])
    groups = tables(sizes, one_shot=fields.get("horizon") == 1)
    by_counts = lambda p, t: Groups(dilemma(p, observe="counts", **fields), sizes).values(t)  # noqa: E731
    by_joint = lambda p, t: by_joint_actions(p, sizes, t, **fields)  # noqa: E731
    found = jax.jit(jax.vmap(by_counts, (0, None)))(jnp.asarray(payoffs, dtype), groups.astype(dtype))
    with jax.enable_x64(True):
        exact = jax.jit(jax.vmap(by_joint, (0, None)))(jnp.asarray(payoffs), jnp.asarray(np.asarray(groups, float)))
    return found, exact


GROUPINGS = [(1, 1), (3,), (1, 1, 2), (2, 3), (1, 5), (8,)]
RARELY = [(2,), (1, 2), (2, 2), (1, 1, 3), (5,), (2, 4), (3, 4), (1, 7), (2, 6), (1, 1, 6)]
GROUPINGS += [pytest.param(sizes, marks=pytest.mark.slow) for sizes in RARELY]


@pytest.mark.parametrize("sizes", GROUPINGS, ids=str)
def test_values_are_those_of_the_chain_over_joint_actions(sizes, float64):
    """In the five dilemmas, with the same table for all members of a group."""
    found, exact = both_values(sizes)
    assert found.shape == (5, len(sizes))
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-10 * float(jnp.abs(exact).max()))


@pytest.mark.parametrize("sizes", [(1, 3), (2, 2), (1, 1, 4), (6,), (1, 7)], ids=str)
def test_values_of_one_shot_games_are_those_of_joint_actions(sizes, float64):
    found, exact = both_values(sizes, horizon=1)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", [(1, 4), (2, 3), (8,)], ids=str)
def test_values_in_single_precision(sizes):
    found, exact = both_values(sizes, np.float32)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-6 * float(np.abs(exact).max()))


def test_the_order_of_groups_does_not_matter(float64):
    sizes, order = (1, 2, 3), np.array([2, 0, 1])
    groups = tables(sizes)
    here, there = (
        jax.jit(Groups(game(6), own).values)(rows)
        for own, rows in ((sizes, groups), (tuple(np.array(sizes)[order].tolist()), groups[order]))
    )
    np.testing.assert_allclose(there, here[order], rtol=1e-12)


def test_the_objective_of_a_match_has_the_value_of_each_seat(float64):
    """Seats of one table are not neighbours, and every seat has a group of its own."""
    env, groups = game(4), tables((2, 2))
    match = Match.of(env, [shaping.make("naive")] * 4)
    seats = np.array([0, 1, 0, 1])
    found = jax.jit(Exact(units="per_step"))(match, (groups[seats],), KEY)
    np.testing.assert_allclose(found, 0.04 * jax.jit(Groups(env, (2, 2)).values)(groups)[seats], rtol=1e-12)


def by_inversion(chain, rewards, discount):
    return jnp.linalg.solve(jnp.eye(len(chain), dtype=chain.dtype) - discount * chain, rewards)


DIRECTIONS = {
    "naive": Naive(),
    "exact": Lola(0.3),
    "two steps": Lola(0.3, lookahead_steps=2),
    "taylor": Lola(0.3, expansion="taylor"),
    "lookahead": Lola(0.3, expansion="taylor", terms="lookahead"),
    "shaping": Lola(0.3, expansion="taylor", terms="shaping"),
    "symmetric": Lola(0.3, expansion="taylor", symmetric=True),
    "mixed": Lola(0.3, shaping_weight=0.3),
}
OFTEN = {((3,), "exact"), ((2, 2), "naive")}
GROUPED = {(1, 3): DIRECTIONS, (2, 2): DIRECTIONS, (3,): ("exact", "mixed")}
GROUPED |= dict.fromkeys([(4,), (2, 3), (1, 1, 3), (1, 5), (3, 3)], ("two steps", "symmetric", "mixed"))
CASES = [
    pytest.param(sizes, name, marks=() if (sizes, name) in OFTEN else pytest.mark.slow)
    for sizes, names in GROUPED.items()
    for name in names
]


def of_a_member(direction, env, sizes, groups, group):
    """The direction of one member of `group`, split off it, as the exact objective does."""
    value, params, seat = Groups(env, sizes), (groups,), group
    if sizes[group] > 1:
        value, params, seat = value.split(group), append(params, (groups[group],)), len(sizes)
    return direction(value, params, jnp.asarray(seat), KEY)[0]


@pytest.mark.parametrize(("sizes", "name"), CASES, ids=str)
def test_directions_of_groups_are_those_of_single_players(sizes, name, float64, monkeypatch):
    """One member of each group that changes alone, against the game in which nobody shares anything."""
    monkeypatch.setattr("shaping.counts.discounted_sum", by_inversion)  # compiles in half the time
    direction, env, groups = DIRECTIONS[name], game(sum(sizes), discount=0.9), tables(sizes)
    everyone, alone = groups[members(sizes)], (1,) * sum(sizes)
    heads = np.cumsum([0, *sizes[:-1]])

    @jax.jit
    def both(groups, everyone):
        mine = [of_a_member(direction, env, sizes, groups, group) for group in range(len(sizes))]
        return jnp.stack(mine), jax.vmap(lambda seat: direction(Groups(env, alone), (everyone,), seat, KEY)[0])(heads)

    found, expected = both(groups, everyone)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8 * float(jnp.abs(expected).max()))
    assert float(jnp.abs(expected).max()) > 0.1


@pytest.mark.parametrize(
    "sizes", [(2, 2), *(pytest.param(s, marks=pytest.mark.slow) for s in [(4,), (1, 1, 2), (1, 5)])]
)
def test_own_gradients_of_groups_are_those_of_single_players(sizes, float64):
    env, groups = game(sum(sizes), "stag_hunt"), tables(sizes)
    alone = Groups(env, (1,) * sum(sizes))
    jacobian = jax.jit(jax.jacrev(alone.values))(groups[members(sizes)])
    expected = jnp.einsum("jj...->j...", jacobian)
    found = jax.jit(lambda t: Groups(env, sizes).own_gradients((t,), KEY)[0])(groups)
    np.testing.assert_allclose(found[members(sizes)], expected, rtol=0, atol=1e-9)
    split = jax.jit(lambda t: alone.own_gradients((t,), KEY)[0])(groups[members(sizes)])
    np.testing.assert_allclose(split, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "names",
    [
        ("naive",) * 4,
        pytest.param(("lola",) * 4, marks=pytest.mark.slow),
        pytest.param(("naive", "lola", "naive", "lola"), marks=pytest.mark.slow),
        pytest.param(("lola", "naive", "naive", "naive", "lookahead"), marks=pytest.mark.slow),
    ],
)
def test_a_step_of_seats_that_share_is_the_step_of_each_of_them(names, float64):
    """From equal tables in the seats of one name; with tables in single precision, which all learners start with."""
    env = game(len(names), discount=0.9)
    learners = {name: shaping.make(name, lookahead_rate=0.3) for name in {*names} - {"naive"}}
    learners |= {"naive": shaping.make("naive")}
    rows = {name: row for row, name in enumerate(dict.fromkeys(names))}
    start, ends = tables([1] * len(names))[: len(rows)], []
    for share in (True, False):
        match = Match.of(env, [learners[name] for name in names], share=share)
        states = []
        for state, seats in zip(shaping.init(match, KEY), match.seats, strict=True):
            own = [seats[0]] if state.params.shape[0] == 1 else seats
            states.append(state._replace(params=jnp.stack([start[rows[names[seat]]] for seat in own])))
        assert any(match.shared) == share
        after, _ = jax.jit(shaping.step)(match, tuple(states), KEY, 0)
        ends.append(shaping.joint(match, shaping.policies(match, after))[0])
    np.testing.assert_allclose(ends[0], ends[1], rtol=0, atol=1e-8)
    assert float(jnp.abs(ends[0] - start[np.array([rows[name] for name in names])]).max()) > 0.1


def test_nothing_overflows_at_saturated_tables():
    """Values, gradients and directions of LOLA where probabilities are 0 and 1 in single precision."""
    env, sizes = game(5, discount=0.99), (4, 1)
    value = Groups(env, sizes)
    patterns = {
        "all C": np.ones((2, 11)),
        "all D": -np.ones((2, 11)),
        "mixed": np.sign(np.random.default_rng(2).normal(size=(2, 11))),
        "alternating": np.where(np.arange(11) < 6, -1.0, 1.0) * np.ones((2, 1)),  # the opposite of the own last action
    }

    @jax.jit
    def everything(groups):
        gradients = value.own_gradients((groups,), KEY)[0]
        return value.values(groups), gradients, Lola()(value, (groups,), jnp.int32(1), KEY)[0]

    for pattern, signs in patterns.items():
        for scale in (30.0, 200.0):
            found = everything(jnp.asarray(scale * signs[..., None], jnp.float32))
            assert all(np.isfinite(leaf).all() for leaf in found), f"{pattern}, {scale}"
            if pattern.startswith("all"):
                np.testing.assert_allclose(found[0], 100 * (8.0 if pattern == "all C" else 1.0), rtol=1e-4)


def chains(size):
    """Chains by name, some of which the biconjugate gradient method does not solve."""
    steps = np.arange(size)
    sticky = 0.999 * np.eye(size) + 0.001 * np.roll(np.eye(size), 1, axis=1)
    return {
        "random": np.asarray(jax.nn.softmax(jax.random.normal(KEY, (size, size)), axis=1)),
        "identity": np.eye(size),
        "cycle": np.roll(np.eye(size), 1, axis=1),
        "flip": np.eye(size)[::-1],
        "staircase": np.eye(size)[np.minimum(steps + 1, size - 1)],
        "absorbing": np.eye(size)[np.zeros(size, int)],
        "sticky": sticky,
    }


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("size", [2, 13, 60, 120])
def test_discounted_sums_solve_their_equation(size, precision):
    """Of rewards that are random, the same everywhere, and paid in one state only."""
    rng = np.random.default_rng(1)
    rewards = np.concatenate([rng.normal(size=(size, 2)), np.ones((size, 1)), np.eye(size)[:, :1]], axis=1)
    with jax.enable_x64(precision == "double"):
        dtype, solve = jnp.asarray(0.0).dtype, jax.jit(discounted_sum)
        for discount, single in ((0.0, 1e-6), (0.9, 2e-5), (0.96, 2e-5), (0.99, 1e-4)):
            for name, chain in chains(size).items():
                for paid in (rewards, rewards[:, 3:]):
                    found = solve(jnp.asarray(chain, dtype), jnp.asarray(paid, dtype), discount)
                    expected = np.linalg.solve(np.eye(size) - discount * np.asarray(chain, float), paid)
                    error = 1e-10 if precision == "double" else single
                    np.testing.assert_allclose(
                        found, expected, rtol=0, atol=error * np.abs(expected).max(), err_msg=f"{name}, {discount}"
                    )


@pytest.mark.parametrize("size", [12, 60, 120])
@pytest.mark.parametrize("name", ["cycle", "sticky", "identity"])
def test_discounted_sums_at_discounts_close_to_one(name, size, float64):
    """The largest discount that a game takes, by every method."""
    chain, discount = jnp.asarray(chains(size)[name], float), 1 - 1e-5
    rewards = jnp.eye(size)[:, :2]
    expected = np.linalg.solve(np.eye(size) - discount * np.asarray(chain), rewards)
    np.testing.assert_allclose(discounted_sum(chain, rewards, discount), expected, rtol=1e-3)


def test_discounted_sums_can_be_differentiated_twice(float64):
    """In the chain and in the discount, against the inverse matrix."""
    logits, rewards = jnp.asarray(np.random.default_rng(0).normal(size=(6, 6))), jnp.arange(12.0).reshape(6, 2)

    def total(solve, logits, discount):
        return (solve(jax.nn.softmax(logits, axis=1), rewards, discount) ** 2).sum()

    for order in (jax.grad, lambda f: jax.hessian(f)):
        for argument in (0, 1):
            of = lambda solve, order=order, argument=argument: jax.jit(  # noqa: E731
                order(lambda x: total(solve, *((x, 0.9) if argument == 0 else (logits, x))))
            )((logits, 0.9)[argument])
            np.testing.assert_allclose(of(discounted_sum), of(by_inversion), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("sizes", "states"), [((199, 1), 400), ((7,), 8), ((48, 1, 1), 196), ((2, 3), 12)], ids=str)
def test_the_number_of_states_is_that_of_counts(sizes, states):
    env = game(sum(sizes))
    start, chain, features = jax.jit(lambda t: count_chain(env, sizes, t))(tables(sizes))
    assert (start.shape, chain.shape, features.shape) == ((states,), (states, states), (states, 2 * len(sizes)))
    np.testing.assert_allclose(start.sum(), 1.0, rtol=1e-4)
    np.testing.assert_allclose(chain.sum(axis=1), 1.0, rtol=1e-4)
    assert float(chain.min()) > -1e-6


@pytest.mark.parametrize(("players", "name"), [(200, "naive"), pytest.param(50, "lola", marks=pytest.mark.slow)])
def test_many_players_who_share_learn(players, name):
    env = game(players, gift=2 / players)
    match = Match.of(env, [shaping.make(name)] * players, share=True)
    states = shaping.init(match, KEY)
    after, _ = jax.jit(shaping.step)(match, states, KEY, 0)
    assert after[0].params.shape == (1, 2 * players + 1, 1)
    assert np.isfinite(after[0].params).all()
    assert 1e-3 < float(jnp.abs(after[0].params - states[0].params).max()) < 1e3


def test_too_many_groups_are_refused_and_told_to_share():
    learners = [shaping.make("naive")] * 11
    with pytest.raises(ValueError, match=r"11 groups of 1, 1, .* have 2048 counts, .* takes 1024: .* --share True"):
        Match.of(game(11), learners)
    Match.of(game(11), learners, share=True)
    Match.of(game(10), learners[:10])
    rates = [shaping.make("naive", learning_rate=rate) for rate in (0.1, 0.2)]
    with pytest.raises(ValueError, match=r"2 groups of 40, 40 players have 1681 counts"):
        Match.of(game(80), rates * 40, share=True)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("name", ["consensus", "hola", "pola"])
def test_directions_of_all_players_at_once_are_refused(name, share):
    with pytest.raises(ValueError, match=r"is not defined where players are counted: expected observe = 'joint', or"):
        Match.of(game(4), [shaping.make(name)] * 4, share=share)


def test_sharing_needs_a_symmetric_game():
    with pytest.raises(ValueError, match="share: Exact is a function of the policies of all seats"):
        Match.of(envs.make("ipd", players=4), [shaping.make("naive")] * 4, share=True)


@pytest.mark.parametrize("share", [True, False])
def test_the_outcome_is_what_happens(share):
    """Against 4096 episodes; six players, two of whom have tables of their own, or all."""
    env = game(6, discount=0.9, horizon=100)
    rates = (1.0, 1.0, 2.0, 1.0, 3.0, 1.0)
    match = Match.of(env, [shaping.make("naive", learning_rate=r, initial_std=2.0) for r in rates], share=share)
    batched = match.replace(batch=4096)
    acting = shaping.policies(match, shaping.init(match, jax.random.key(4)))
    found = jax.jit(shaping.outcome)(match, acting, KEY)
    trajectories, _ = jax.jit(shaping.episode)(batched, acting, jax.random.key(5))
    weights = 0.1 * 0.9 ** np.arange(100)
    cooperated = match.by_seat([np.asarray(t.action == 0, np.float32) for t in trajectories], axis=2)
    paid = match.by_seat([t.reward for t in trajectories], axis=2)
    for exact, seen in ((found.reward_per_step, paid), (found.statistics["C"], cooperated)):
        returns = np.einsum("t,tbn->bn", weights, np.asarray(seen, float))
        error = returns.std(axis=0) / np.sqrt(len(returns))
        np.testing.assert_array_less(np.abs(returns.mean(axis=0) - exact), 5 * error + 1e-3)
        assert error.max() < 0.02 * np.abs(exact).max()
    assert len(set(np.asarray(found.reward_per_step).round(3).tolist())) == (3 if share else 6)


def test_the_outcome_of_the_one_shot_game():
    env = game(5, "snowdrift", horizon=1)
    match = Match.of(env, [shaping.make("naive")] * 5, share=True)
    found = jax.jit(shaping.outcome)(match, (jnp.full((5, 1, 1), 0.4),), KEY)
    p, k = 1 / (1 + np.exp(-0.4)), np.arange(5)
    ways = np.array([1, 4, 6, 4, 1]) * p ** (4 - k) * (1 - p) ** k
    expected = ways @ (p * np.asarray(env.payoffs)[0] + (1 - p) * np.asarray(env.payoffs)[1])
    np.testing.assert_allclose(found.reward_per_step, expected, rtol=1e-5)
    np.testing.assert_allclose(found.statistics["C"], p, rtol=1e-6)
    assert set(found.statistics) == {"C", "first"}


def test_hundreds_of_players_lose_nothing_in_single_precision():
    """Of 500 who toss coins half co-operate, and get 2 for each of the others who does, and 1 half of the time."""
    env = game(500, discount=0.999)
    reward, rate = jax.jit(Groups(env, (500,)).outcome)(jnp.zeros((1, 1001, 1), jnp.float32))
    np.testing.assert_allclose(rate, 0.5, rtol=1e-4)
    np.testing.assert_allclose(reward, 499.5, rtol=1e-4)
