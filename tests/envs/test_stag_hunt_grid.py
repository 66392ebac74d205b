"""Rules of the stag hunt on a grid: rewards and their signs, the stag's walk, what comes back, seats, the dilemma."""

import itertools
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import StagHuntGrid
from envs.stag_hunt_grid import StagHuntGridState

RIGHT, LEFT, DOWN, UP, STAY = range(5)
MOVES = [(0, 1), (0, -1), (1, 0), (-1, 0), (0, 0)]
AMOUNTS: dict[str, Any] = {"stag_reward": 5.0, "maul_penalty": 2.0, "plant_reward": 0.5}
FAR = [(4, 3), (4, 4)]  # plants in nobody's way


def make_state(env: StagHuntGrid, hunters, stag, plants=FAR) -> StagHuntGridState:
    """Everything at (row, column)."""
    cell = lambda place: place[0] * env.size + place[1]  # noqa: E731
    pieces = ([cell(h) for h in hunters], cell(stag), [cell(p) for p in plants])
    return StagHuntGridState(jnp.zeros((), jnp.int32), *(jnp.array(piece, jnp.int32) for piece in pieces))


@cache
def compiled(env: Any):
    return jax.jit(env.step)


@cache
def compiled_many(env: Any):
    return jax.jit(jax.vmap(env.step, (None, None, 0)))


def play(env: Any, state: StagHuntGridState, actions, seed: int = 0):
    return compiled(env)(state, jnp.array(actions, jnp.int32), jax.random.key(seed))


def play_often(env: Any, state: StagHuntGridState, actions, count: int):
    after, timestep = compiled_many(env)(
        state, jnp.array(actions, jnp.int32), jax.random.split(jax.random.key(1), count)
    )
    return jax.tree.map(np.asarray, (after, timestep))


def assert_uniform(counts):
    """No count of so many equally likely outcomes is off by more than five standard deviations."""
    expected = counts.sum() / counts.size
    assert expected > 100
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize(
    ("fields", "hunters", "stag", "plants", "actions", "rewards", "hunted", "foraged", "mauled"),
    [
        # the second hunter joins the first; the stag comes to two who wait
        ({}, [(2, 2), (2, 3)], (2, 2), FAR, [STAY, LEFT], [5, 5], [1, 1], [0, 0], [0, 0]),
        ({}, [(2, 2), (2, 2)], (2, 3), FAR, [STAY, STAY], [5, 5], [1, 1], [0, 0], [0, 0]),
        # alone on it: it was there, it comes, one walks into it
        ({}, [(2, 2), (0, 4)], (2, 2), FAR, [STAY, STAY], [-2, 0], [0, 0], [0, 0], [1, 0]),
        ({}, [(0, 4), (2, 2)], (3, 2), FAR, [STAY, STAY], [0, -2], [0, 0], [0, 0], [0, 1]),
        ({}, [(2, 2), (0, 4)], (2, 4), FAR, [STAY, DOWN], [0, 0], [0, 0], [0, 0], [0, 0]),
        ({}, [(2, 1), (0, 0)], (2, 3), FAR, [RIGHT, STAY], [-2, 0], [0, 0], [0, 0], [1, 0]),
        # nothing: one leaves it, or changes places with it
        ({}, [(2, 2), (0, 4)], (2, 2), FAR, [RIGHT, STAY], [0, 0], [0, 0], [0, 0], [0, 0]),
        ({}, [(2, 2), (0, 4)], (2, 3), FAR, [RIGHT, STAY], [0, 0], [0, 0], [0, 0], [0, 0]),
        # plants
        ({}, [(0, 0), (3, 0)], (2, 4), [(4, 0), (4, 4)], [STAY, DOWN], [0, 0.5], [0, 0], [0, 1], [0, 0]),
        ({}, [(4, 1), (3, 0)], (0, 4), [(4, 0), (4, 4)], [LEFT, DOWN], [0.5, 0.5], [0, 0], [1, 1], [0, 0]),
        ({}, [(2, 2), (3, 0)], (2, 2), [(4, 0), (4, 4)], [STAY, DOWN], [-2, 0.5], [0, 0], [0, 1], [1, 0]),
        # a plant under the stag
        ({}, [(2, 2), (0, 0)], (2, 2), [(2, 2), (4, 4)], [STAY, STAY], [-2, 0], [0, 0], [0, 0], [1, 0]),
        ({}, [(2, 2), (2, 3)], (2, 2), [(2, 2), (4, 4)], [STAY, LEFT], [5, 5], [1, 1], [0, 0], [0, 0]),
        (
            {"rules": "monster_hunt"},
            *([(2, 2), (0, 0)], (2, 2), [(2, 2), (4, 4)], [STAY, STAY], [-1.5, 0], [0, 0], [1, 0], [1, 0]),
        ),
        # three hunters: two are enough, the third is not paid, or comes too; two are not enough
        (
            {"players": 3},
            *([(2, 2), (2, 3), (0, 0)], (2, 2), FAR, [STAY, LEFT, STAY], [5, 5, 0], [1, 1, 0], [0] * 3, [0] * 3),
        ),
        (
            {"players": 3},
            *([(2, 2), (2, 3), (1, 2)], (2, 2), FAR, [STAY, LEFT, DOWN], [5] * 3, [1] * 3, [0] * 3, [0] * 3),
        ),
        (
            {"players": 3, "needed": 3},
            *([(2, 2), (2, 3), (0, 0)], (2, 2), FAR, [STAY, LEFT, STAY], [-2, -2, 0], [0] * 3, [0] * 3, [1, 1, 0]),
        ),
    ],
)
def test_rewards(fields, hunters, stag, plants, actions, rewards, hunted, foraged, mauled):
    env = StagHuntGrid(**AMOUNTS, **fields)
    _, timestep = play(env, make_state(env, hunters, stag, plants), actions)
    assert timestep.reward.tolist() == rewards
    assert {name: value.tolist() for name, value in timestep.info.items()} == {
        "hunted": hunted,
        "foraged": foraged,
        "mauled": mauled,
    }


def test_walls_stop_hunters_and_horizon_truncates():
    env = StagHuntGrid(horizon=1)
    for actions, after in [
        ([UP, UP], [0, 4]),
        ([LEFT, RIGHT], [0, 4]),
        ([DOWN, DOWN], [5, 9]),
        ([RIGHT, LEFT], [1, 3]),
    ]:
        state, timestep = play(env, make_state(env, [(0, 0), (0, 4)], (2, 2)), actions)
        assert state.hunters.tolist() == after
        assert timestep.reward.tolist() == [0, 0]
        assert (bool(timestep.terminated), bool(timestep.truncated)) == (False, True)


@pytest.mark.parametrize(("run_away", "stays"), [(False, True), (True, False)])
def test_stag_that_mauled_stays_or_runs_away(run_away, stays):
    env = StagHuntGrid(run_away=run_away)
    after, _ = play_often(env, make_state(env, [(2, 2), (0, 4)], (2, 2)), [STAY, STAY], 64)
    assert (after.stag == 12).all() == stays
    assert not np.isin(after.stag, [12, 4, 23, 24]).any() or stays


@pytest.mark.parametrize("rules", ["hunt", "monster_hunt"])
def test_stag_comes_back_on_every_free_cell(rules):
    env = StagHuntGrid(rules=rules)
    after, _ = play_often(env, make_state(env, [(2, 2), (2, 3)], (2, 2)), [STAY, LEFT], 8000)
    counts = np.bincount(after.stag, minlength=25)
    assert counts[[12, 23, 24]].sum() == 0
    assert_uniform(np.delete(counts, [12, 23, 24]))


@pytest.mark.parametrize("rules", ["hunt", "monster_hunt"])
def test_plants_come_back_on_free_cells_of_their_own(rules):
    env = StagHuntGrid(rules=rules, size=3)
    state = make_state(env, [(0, 0), (1, 1)], (2, 2), [(0, 1), (1, 0)])
    after, timestep = play_often(env, state, [RIGHT, LEFT], 8000)
    assert (timestep.reward == 1).all()
    pairs = np.zeros((9, 9))
    np.add.at(pairs, tuple(after.plants.T), 1)
    assert set(after.stag.tolist()) == {5, 7}  # one step towards the hunter at (1, 1)
    free = [0, 2, 4, 8]  # neither hunters at 1 and 3 nor where the stag may be
    assert pairs[[1, 3]].sum() == pairs[:, [1, 3]].sum() == np.diagonal(pairs).sum() == 0
    assert not (after.plants == after.stag[:, None]).any()
    assert_uniform(pairs[np.ix_(free, free)][~np.eye(4, dtype=bool)])


def test_a_plant_pays_one_of_those_on_it_in_monster_hunt():
    env = StagHuntGrid(rules="monster_hunt", players=3, **AMOUNTS)
    plants = [(0, 1), (4, 4)]
    _, timestep = play_often(env, make_state(env, [(0, 0), (0, 2), (1, 1)], (4, 0), plants), [RIGHT, LEFT, UP], 3000)
    assert (timestep.reward.sum(axis=1) == 0.5).all()
    assert_uniform(timestep.info["foraged"].sum(axis=0))
    caught = make_state(env, [(2, 2), (2, 2), (0, 0)], (2, 2), [(2, 2), (4, 4)])
    after, timestep = play_often(env, caught, [STAY, STAY, STAY], 3000)
    assert (np.sort(timestep.reward, axis=1) == [0, 5, 5.5]).all()
    assert_uniform(timestep.info["foraged"].sum(axis=0)[:2])
    assert (after.plants[:, 0] != 12).all()


def walks(size, rules, hunters, stag, plants) -> set:
    """Where the stag may go, by the class docstring."""
    squares = [(r - stag[0]) ** 2 + (c - stag[1]) ** 2 for r, c in hunters]
    found = set()
    for target in (h for h, square in zip(hunters, squares, strict=True) if square == min(squares)):
        down, right = np.sign(np.subtract(target, stag)).tolist()
        ways = [(stag[0] + down, stag[1]), (stag[0], stag[1] + right)]
        if not (down and right):
            found.add((stag[0] + down, stag[1] + right))
        elif rules == "hunt":
            found.update(ways)
        else:
            found.update(ways[1 - k] if ways[k] in plants else ways[k] for k in range(2))
    return found


@pytest.mark.parametrize(("rules", "players"), [("hunt", 2), ("hunt", 4), ("monster_hunt", 3)])
def test_stag_walks_to_a_nearest_hunter_by_every_way_that_it_may(rules, players):
    env = StagHuntGrid(rules=rules, players=players, needed=players, size=4)
    rng = np.random.default_rng(0)
    places = list(itertools.product(range(4), range(4)))
    ways = []
    for _ in range(60):
        *hunters, first, second, stag = (places[k] for k in rng.permutation(16)[: players + 3])
        after, _ = play_often(env, make_state(env, hunters, stag, [first, second]), [STAY] * players, 256)
        expected = walks(4, rules, hunters, stag, [first, second])
        assert {divmod(cell, 4) for cell in after.stag.tolist()} == expected
        ways.append(len(expected))
    assert len(set(ways)) > 1


def test_ties_are_even():
    env = StagHuntGrid()
    after, _ = play_often(env, make_state(env, [(0, 2), (4, 2)], (2, 2)), [STAY, STAY], 2000)
    assert_uniform(np.bincount(after.stag)[[7, 17]])
    after, _ = play_often(env, make_state(env, [(0, 0), (4, 1)], (2, 2)), [STAY, STAY], 2000)
    assert_uniform(np.bincount(after.stag)[[11, 17]])  # rows or columns of the nearer one


def test_start():
    keys = jax.random.split(jax.random.key(3), 8000)
    hunt = StagHuntGrid(players=4)
    state, _ = jax.jit(jax.vmap(hunt.reset))(keys)
    assert (np.asarray(state.hunters) == [0, 4, 20, 24]).all()
    assert (state.stag == 12).all()
    counts = np.bincount(np.asarray(state.plants).ravel(), minlength=25)
    assert counts[[0, 4, 12, 20, 24]].sum() == 0
    assert_uniform(np.delete(counts, [0, 4, 12, 20, 24]))
    state, _ = jax.jit(jax.vmap(hunt.replace(rules="monster_hunt", size=3).reset))(keys)
    cells = np.concatenate([state.hunters, np.asarray(state.stag)[:, None], state.plants], axis=1)
    assert (np.diff(np.sort(cells, axis=1), axis=1) > 0).all()
    for column in cells.T:
        assert_uniform(np.bincount(column, minlength=9))


@pytest.mark.parametrize("rules", ["hunt", "monster_hunt"])
def test_seats_are_alike(rules):
    env = StagHuntGrid(rules=rules, players=3, size=3, run_away=True)
    paid = 0
    for case in range(30):
        rng = np.random.default_rng(case)
        hunters, actions = rng.permutation(9)[:3], rng.integers(5, size=3)
        rest = [jnp.array(x, jnp.int32) for x in (rng.integers(9), rng.permutation(9)[:2])]
        outcomes = {}
        for seats in itertools.permutations(range(3)):
            order = np.array(seats)
            state = StagHuntGridState(jnp.zeros((), jnp.int32), jnp.array(hunters[order], jnp.int32), *rest)
            outcomes[seats] = play(env, state, actions[order], case)
        state, ours = outcomes[0, 1, 2]
        if rules == "monster_hunt" and len(set(state.hunters.tolist())) < 3:
            continue  # a lot decides who of two hunters gets a plant
        paid += int((ours.reward != 0).any())
        for seats, (permuted, theirs) in outcomes.items():
            order = np.array(seats)
            np.testing.assert_array_equal(state.hunters[order], permuted.hunters)
            assert (int(state.stag), state.plants.tolist()) == (int(permuted.stag), permuted.plants.tolist())
            np.testing.assert_array_equal(ours.reward[order], theirs.reward)
            for name, value in ours.info.items():
                np.testing.assert_array_equal(value[order], theirs.info[name])
            if seats in [(1, 2, 0), (2, 0, 1)]:
                np.testing.assert_array_equal(ours.obs[order], theirs.obs)
    assert paid > 5


def test_observation():
    env = StagHuntGrid(players=3)
    _, timestep = play(env, make_state(env, [(0, 0), (0, 4), (4, 1)], (2, 2), [(1, 3), (4, 4)]), [STAY] * 3)
    state, _ = play(env, make_state(env, [(0, 0), (0, 4), (4, 1)], (2, 2), [(1, 3), (4, 4)]), [STAY] * 3)
    own, rest = [[0, 0], [0, 4], [4, 1]], [list(divmod(int(state.stag), 5)), [1, 3], [4, 4]]
    for me in range(3):
        seen = np.array(own[me:] + own[:me] + rest).ravel() / 4
        np.testing.assert_array_equal(timestep.obs[me], seen)


@pytest.mark.parametrize(
    ("hunters", "stag", "plants", "actions"),
    [
        ([(0, 0), (4, 4)], (2, 2), [(0, 3), (3, 3)], [DOWN, RIGHT]),  # rows before columns; the nearest plant
        ([(0, 0), (4, 4)], (1, 3), [(4, 0), (3, 2)], [RIGHT, DOWN]),  # the longer axis; the first of two plants
        ([(2, 1), (4, 4)], (2, 2), [(2, 4), (0, 1)], [STAY, UP]),  # it comes
        ([(2, 1), (2, 2)], (2, 2), [(4, 1), (0, 4)], [RIGHT, DOWN]),  # it is with another
        ([(2, 2), (4, 4)], (2, 2), [(2, 2), (0, 1)], [STAY, UP]),  # the near plant is under the stag
        ([(4, 3), (0, 0)], (2, 3), [(4, 3), (0, 1)], [UP, STAY]),
    ],
)
def test_dilemma(hunters, stag, plants, actions):
    env = StagHuntGrid()
    obs = np.array([*hunters, stag, *plants], np.float32).ravel() / np.float32(4)
    found = env.dilemma(jnp.asarray(obs))
    assert (found.tolist(), found.dtype) == (actions, jnp.int32)


@partial(jax.jit, static_argnums=(0, 1, 2))
def returns(env: StagHuntGrid, policies, batch: int):
    """Rewards of episodes `[B, n]` where seat i plays `policies[i]`, 0 hunt, 1 forage; what happened `[T, B, n]`."""

    def step(carry, key):
        state, obs = carry
        choices = jax.vmap(jax.vmap(env.dilemma))(obs)
        actions = jnp.stack([choices[:, i, policy] for i, policy in enumerate(policies)], axis=1)
        state, timestep = jax.vmap(env.step)(state, actions, jax.random.split(key, batch))
        return (state, timestep.obs), (state, timestep.reward, timestep.info)

    start_key, key = jax.random.split(jax.random.key(7))
    start = jax.vmap(env.reset)(jax.random.split(start_key, batch))
    _, (states, reward, info) = jax.lax.scan(step, start, jax.random.split(key, env.horizon))
    return states, reward.sum(axis=0), info


HUNT, FORAGE = 0, 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stag_hunt_grid", {(HUNT, HUNT): [122, 122], (HUNT, FORAGE): [-34, 27], (FORAGE, FORAGE): [21, 21]}),
        ("monster_hunt", {(HUNT, HUNT): [118, 118], (HUNT, FORAGE): [-35, 38], (FORAGE, FORAGE): [22.5, 22.5]}),
    ],
)
def test_scripted_play_is_a_stag_hunt(name, expected):
    """Together is best, alone is worst, and foraging is safe; the returns of an episode are those of this code."""
    env = envs.make(name)
    assert isinstance(env, StagHuntGrid)
    for policies, means in expected.items():
        states, total, info = returns(env, policies, 512)
        np.testing.assert_allclose(total.mean(axis=0), means, atol=3)
        amounts = zip(
            (env.stag_reward, -env.maul_penalty, env.plant_reward), ("hunted", "mauled", "foraged"), strict=True
        )
        paid = sum(amount * info[kind].sum(axis=0) for amount, kind in amounts)
        np.testing.assert_allclose(total, paid, rtol=1e-5, atol=1e-3)
        assert not (info["hunted"] * info["mauled"]).any()
        assert (states.plants[..., 0] != states.plants[..., 1]).all()
        assert int(states.hunters.max()) < 25


def test_statistics():
    """Three steps of two games, the second over after one step."""
    env = StagHuntGrid()
    hunted, foraged, mauled = (np.zeros((3, 2, 2), np.float32) for _ in range(3))
    hunted[0, 0], foraged[1, 0, 0], mauled[0, 1, 1] = 1, 1, 1
    foraged[2, 1, 1] = 1  # after the end
    info = {"hunted": hunted, "foraged": foraged, "mauled": mauled}
    found = env.statistics(None, None, info, jnp.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]]))
    assert tuple(found) == env.statistic_names
    assert env.cooperation in found
    for name, values in zip(found, [[1 / 2, 1], [1 / 4, 1 / 4], [1 / 4, 0], [0, 1 / 4]], strict=True):
        np.testing.assert_allclose(found[name], values)
    nothing = env.statistics(None, None, info, jnp.zeros((3, 2)))
    assert all(np.isnan(value).all() for value in nothing.values())


def test_draw():
    env = StagHuntGrid(size=3)
    scene = env.draw(make_state(env, [(0, 1), (2, 2)], (1, 0), [(2, 0), (1, 1)]))
    assert (scene.width, scene.height) == (3, 3)
    assert {(s.kind, s.text, s.x, s.y) for s in scene.shapes if s.text} == {
        ("circle", "0", 1.5, 2.5),
        ("circle", "1", 2.5, 0.5),
        ("rectangle", "S", 0.5, 1.5),
    }
    assert [(s.x, s.y) for s in scene.shapes if s.angle] == [(0.5, 0.5), (1.5, 1.5)]  # plants


def test_three_in_a_cell_are_drawn_beside_each_other():
    env = StagHuntGrid(size=3)
    scene = env.draw(make_state(env, [(0, 0), (0, 0)], (0, 0), [(2, 0), (1, 1)]))
    places = {s.text: (s.x, s.y, s.width) for s in scene.shapes if s.text}
    assert places == {"S": (0.25, 2.75, 0.35), "0": (0.75, 2.75, 0.35), "1": (0.25, 2.25, 0.35)}


def test_render():
    env = StagHuntGrid(size=3)
    assert env.render(make_state(env, [(0, 0), (2, 2)], (2, 2), [(0, 1), (1, 0)])) == "A  p  .\np  .  .\n.  .  BS"


def test_rewards_can_be_differentiated_and_vmapped():
    def reward(stag_reward, maul_penalty, plant_reward, actions):
        env = StagHuntGrid(stag_reward=stag_reward, maul_penalty=maul_penalty, plant_reward=plant_reward)
        state = make_state(env, [(2, 2), (2, 3)], (2, 2), [(3, 3), (4, 4)])
        return env.step(state, jnp.array(actions, jnp.int32), jax.random.key(0))[1].reward

    slopes = jax.jacobian(reward, (0, 1, 2))
    assert [g.tolist() for g in slopes(5.0, 1.0, 1.0, [STAY, LEFT])] == [[1, 1], [0, 0], [0, 0]]
    assert [g.tolist() for g in slopes(5.0, 1.0, 1.0, [STAY, DOWN])] == [[0, 0], [-1, 0], [0, 1]]
    swept = jax.vmap(lambda penalty: reward(5.0, penalty, 1.0, [STAY, DOWN]))(jnp.array([0.5, 5.0]))
    assert swept.tolist() == [[-0.5, 1], [-5, 1]]


@pytest.mark.parametrize("players", [2, 3, 4])
@pytest.mark.parametrize("name", ["stag_hunt_grid", "monster_hunt"])
def test_conforms(name, players):
    envs.check_env(envs.make(name, players=players, horizon=3), steps=1)


def test_presets():
    env = envs.make("monster_hunt")
    assert isinstance(env, StagHuntGrid)
    assert (env.rules, env.run_away, env.stag_reward, env.maul_penalty, env.plant_reward) == (
        *("monster_hunt", True),
        *(5.0, 2.0, 2.0),
    )
    assert envs.make("stag_hunt_grid", maul_penalty=5.0) == StagHuntGrid(maul_penalty=5.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"players": 1}, "players = 1: expected a whole number from 2 to 4"),
        ({"players": 5}, "players = 5: expected a whole number from 2 to 4"),
        ({"needed": 3}, r"needed = 3: expected a whole number from 2 to 2 \(at most all players\)"),
        ({"needed": 1}, "needed = 1: expected a whole number from 2"),
        ({"size": 2}, "size = 2: expected a whole number from 3 to 32"),
        ({"size": 5.0}, "size = 5.0: expected a whole number"),
        ({"plants": 0}, "plants = 0: expected a whole number from 1 to 22"),
        ({"size": 3, "plants": 7}, r"plants = 7: expected a whole number from 1 to 6 \(one cell for each"),
        ({"rules": "monster"}, "rules = 'monster': did you mean 'monster_hunt'"),
        ({"stag_reward": None}, "stag_reward = None: expected a number"),
        ({"maul_penalty": -1.0}, r"maul_penalty = -1.0: expected from 0 to 1e\+06 \(what is lost, without its sign\)"),
        ({"plant_reward": float("nan")}, "plant_reward = nan"),
        ({"horizon": 0}, "horizon = 0: expected a whole number of at least 1"),
        ({"width": 3}, "no parameter 'width'"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        envs.make("stag_hunt_grid", **fields)
