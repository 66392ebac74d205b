"""Rules of Coin Game: taking, ties, respawn, seats, observations, the dilemma, against a slow reference."""

import itertools
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import CoinGame
from envs.cells import draw
from envs.coin_game import CoinGameState
from envs.scene import PALETTE

RIGHT, LEFT, DOWN, UP, STAY = range(5)
MOVES = [(0, 1), (0, -1), (1, 0), (-1, 0), (0, 0)]
BOARDS = {
    "two": {},
    "two coins": {"coins": "all_colours"},
    "published": {"coins": "all_colours", "stay": True, "horizon": 16, "zero_last_reward": True},
    "three": {"players": 3, "height": 2, "width": 5, "flat": True},
    "three, absolute": {"players": 3, "height": 4, "width": 3, "coins": "all_colours", "egocentric": False},
    "full": {"players": 4, "height": 4, "width": 2, "coins": "all_colours", "stay": True},
    "line": {"height": 1, "width": 3},
}


def make_state(env: CoinGame, players: list, coins: dict) -> CoinGameState:
    """Players and coins at (row, column); `coins` maps a colour to its place."""
    cell = lambda place: -1 if place is None else place[0] * env.width + place[1]  # noqa: E731
    where = [[cell(p) for p in players], [cell(coins.get(colour)) for colour in range(env.players)]]
    return CoinGameState(jnp.zeros((), jnp.int32), *(jnp.array(cells, jnp.int32) for cells in where))


@cache
def compiled(env: CoinGame):
    return jax.jit(env.step)


def play(env: CoinGame, players: list, coins: dict, actions: list, seed: int = 0):
    state = make_state(env, players, coins)
    return compiled(env)(state, jnp.array(actions, jnp.int32), jax.random.key(seed))


@partial(jax.jit, static_argnums=(2, 3))
def run(env: CoinGame, policy, batch: int, steps: int):
    """Play `policy`, an index into (co-operate, defect, at random)."""

    def step(carry, key):
        state, obs = carry
        act_key, step_key = jax.random.split(key)
        choices = jax.vmap(jax.vmap(env.dilemma))(obs)
        random = jax.random.randint(act_key, (batch, env.players, 1), 0, env.num_actions)
        actions = jnp.concatenate([choices, random], axis=2)[..., policy]
        after, timestep = jax.vmap(env.step)(state, actions, jax.random.split(step_key, batch))
        return (after, timestep.obs), (state, obs, actions, timestep)

    start_key, key = jax.random.split(jax.random.key(7))
    start = jax.vmap(env.reset)(jax.random.split(start_key, batch))
    last, (states, obs, actions, timesteps) = jax.lax.scan(step, start, jax.random.split(key, steps))
    whole = lambda before, after: jnp.concatenate([before, after[None]])  # noqa: E731
    return *jax.tree.map(whole, (states, obs), last), actions, timesteps


@cache
def rollout(board: str, policy: str = "random", batch: int = 64, steps: int = 300):
    """The game, states and observations `[T + 1, B]`, actions and time steps `[T, B]`."""
    env = CoinGame(**BOARDS[board])
    found = run(env, ("cooperate", "defect", "random").index(policy), batch, steps)
    return env, *jax.tree.map(np.asarray, found)


def expected_observation(env: CoinGame, players, coins, me: int) -> np.ndarray:
    """The class docstring, cell by cell."""
    board = np.zeros((env.height, env.width, 2 * env.players), np.float32)
    for k in range(env.players):
        other = (me + k) % env.players
        for channel, cell in ((k, players[other]), (env.players + k, coins[other])):
            if cell >= 0:
                board[cell // env.width, cell % env.width, channel] = 1.0
    if env.egocentric:
        shift = (env.height // 2 - players[me] // env.width, env.width // 2 - players[me] % env.width)
        board = np.roll(board, shift, axis=(0, 1))
    return board.reshape(env.obs_shape)


@pytest.mark.parametrize(
    ("fields", "players", "coins", "actions", "after", "rewards", "own", "other"),
    [
        # own coin; the other one walks over the edge
        ({}, [(0, 0), (2, 2)], {0: (0, 1)}, [RIGHT, RIGHT], [(0, 1), (2, 0)], [1, 0], [1, 0], [0, 0]),
        ({}, [(0, 0), (2, 2)], {1: (2, 0)}, [UP, DOWN], [(2, 0), (0, 2)], [1, -2], [0, 0], [1, 0]),
        # the seats are alike, in a tie too
        ({}, [(0, 0), (0, 2)], {0: (0, 1)}, [RIGHT, LEFT], [(0, 1), (0, 1)], [-1, 1], [1, 0], [0, 1]),
        ({}, [(0, 0), (0, 2)], {1: (0, 1)}, [RIGHT, LEFT], [(0, 1), (0, 1)], [1, -1], [0, 1], [1, 0]),
        # swapping takes nothing on the way, sharing a cell is allowed
        ({}, [(1, 0), (1, 1)], {0: (2, 2)}, [RIGHT, LEFT], [(1, 1), (1, 0)], [0, 0], [0, 0], [0, 0]),
        ({}, [(1, 0), (1, 2)], {0: (2, 2)}, [RIGHT, LEFT], [(1, 1), (1, 1)], [0, 0], [0, 0], [0, 0]),
        ({}, [(1, 0), (1, 0)], {0: (0, 0)}, [UP, LEFT], [(0, 0), (1, 2)], [1, 0], [1, 0], [0, 0]),
        ({"stay": True}, [(1, 0), (1, 1)], {0: (1, 2)}, [STAY, RIGHT], [(1, 0), (1, 2)], [-2, 1], [0, 0], [0, 1]),
        (
            {"taker_reward": 0.5, "owner_penalty": -3.0, "coins": "all_colours"},
            *([(0, 0), (2, 2)], {0: (2, 1), 1: (0, 1)}, [RIGHT, LEFT], [(0, 1), (2, 1)], [-2.5, -2.5], [0, 0], [1, 1]),
        ),
        (
            {"players": 3, "coins": "all_colours"},  # two others take the coin of player 0
            [(2, 2), (0, 0), (0, 2)],
            {0: (0, 1), 1: (1, 0), 2: (2, 1)},
            *([RIGHT, RIGHT, LEFT], [(2, 0), (0, 1), (0, 1)], [-4, 1, 1], [0, 0, 0], [0, 1, 1]),
        ),
        (
            {"players": 3},  # everyone takes the coin of player 1
            *(
                [(0, 1), (1, 0), (1, 2)],
                {1: (1, 1)},
                [DOWN, RIGHT, LEFT],
                [(1, 1)] * 3,
                [1, -3, 1],
                [0, 1, 0],
                [1, 0, 1],
            ),
        ),
    ],
)
def test_rules(fields, players, coins, actions, after, rewards, own, other):
    env = CoinGame(**fields)
    state, timestep = play(env, players, coins, actions)
    assert [divmod(cell, env.width) for cell in state.players.tolist()] == after
    assert timestep.reward.tolist() == rewards
    assert timestep.info["own_pickups"].tolist() == own
    assert timestep.info["other_pickups"].tolist() == other
    for colour, place in coins.items():
        assert (place in after) == (int(state.coins[colour]) != place[0] * env.width + place[1])  # else it stays


@pytest.mark.parametrize("board", BOARDS)
def test_random_play_agrees_with_the_reference(board):
    env, states, obs, actions, timesteps = rollout(board)
    players, coins, moves = states.players, states.coins, np.array(MOVES)[actions]
    row, column = players[:-1] // env.width + moves[..., 0], players[:-1] % env.width + moves[..., 1]
    np.testing.assert_array_equal(players[1:], row % env.height * env.width + column % env.width)

    takes = players[1:, :, :, None] == coins[:-1, :, None, :]  # T, B, player, colour
    own = np.einsum("tbii->tbi", takes)
    lost = takes.sum(axis=2) - own
    reward = takes.sum(axis=3) - 2.0 * lost
    if env.zero_last_reward:
        reward[env.horizon - 1 :] = 0.0
    np.testing.assert_array_equal(timesteps.reward, reward)
    np.testing.assert_array_equal(timesteps.info["own_pickups"], own)
    np.testing.assert_array_equal(timesteps.info["other_pickups"], takes.sum(axis=3) - own)
    assert own.sum() > 50

    untouched = ~takes.any(axis=2) if env.coins == "all_colours" else ~takes.any(axis=(2, 3))[..., None]
    np.testing.assert_array_equal(np.where(untouched, coins[1:] - coins[:-1], 0), 0)
    assert ((coins >= 0).sum(axis=2) == env.num_coins).all()
    assert coins.max() < env.num_cells
    assert not ((coins[:, :, None, :] == players[..., None]) & (coins >= 0)[:, :, None, :]).any(), (
        "a coin under a player"
    )
    for i, j in itertools.combinations(range(env.players), 2):
        assert not ((coins[..., i] == coins[..., j]) & (coins[..., i] >= 0)).any(), "two coins on a cell"

    for t, b, me in itertools.product(range(0, 300, 37), range(5), range(env.players)):
        np.testing.assert_array_equal(obs[t, b, me], expected_observation(env, players[t, b], coins[t, b], me))


def test_counters_and_the_end():
    """No int8 counters, and no end but the horizon."""
    env, states, _, _, timesteps = rollout("two")
    assert {leaf.dtype for leaf in states} == {np.dtype(np.int32)}
    assert (states.step == np.arange(301)[:, None]).all()
    assert not timesteps.terminated.any()
    np.testing.assert_array_equal(timesteps.truncated, np.arange(1, 301)[:, None].repeat(64, axis=1) >= env.horizon)


@pytest.mark.parametrize(("zero_last_reward", "paid"), [(False, [1.0, -2.0]), (True, [0.0, 0.0])])
def test_last_step_is_paid(zero_last_reward, paid):
    env = CoinGame(horizon=1, zero_last_reward=zero_last_reward)
    _, timestep = play(env, [(0, 0), (2, 2)], {1: (0, 1)}, [RIGHT, RIGHT])
    assert bool(timestep.truncated)
    assert timestep.reward.tolist() == paid
    assert timestep.info["other_pickups"].tolist() == [1.0, 0.0]


def assert_uniform(counts: np.ndarray) -> None:
    """Chi-square, five standard deviations."""
    expected, freedom = counts.mean(), counts.size - 1
    assert counts.min() > 0, "a value is never drawn"
    assert ((counts - expected) ** 2 / expected).sum() < freedom + 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize(
    ("fields", "players", "coins", "actions", "free"),
    [
        ({}, [(0, 0), (0, 2)], {0: (0, 1)}, [RIGHT, LEFT], 8),  # both on one cell
        ({}, [(0, 0), (2, 2)], {1: (0, 1)}, [RIGHT, RIGHT], 7),
        ({"players": 3}, [(0, 0), (2, 2), (0, 2)], {1: (0, 1)}, [RIGHT, RIGHT, LEFT], 7),
        ({"height": 2, "width": 7}, [(0, 0), (1, 6)], {1: (0, 1)}, [RIGHT, LEFT], 12),
    ],
)
def test_one_coin_returns_on_every_free_cell_in_every_colour_independently(fields, players, coins, actions, free):
    """Pitfalls of other code: one key for cell and colour, a third colour that never comes, coins under players."""
    env = CoinGame(**fields)
    state, actions = make_state(env, players, coins), jnp.array(actions, jnp.int32)
    keys = jax.random.split(jax.random.key(1), 20_000)
    after = jax.jit(jax.vmap(lambda key: env.step(state, actions, key)[0]))(keys)
    cells, colours = np.asarray(after.coins).max(axis=1), np.asarray(after.coins).argmax(axis=1)
    table = np.zeros((env.num_cells, env.players))
    np.add.at(table, (cells, colours), 1)
    taken = np.unique(np.asarray(after.players[0]))
    assert table[taken].sum() == 0
    assert len(np.delete(table, taken, axis=0)) == free
    assert_uniform(np.delete(table, taken, axis=0))


def test_coins_taken_together_return_on_different_cells():
    env = CoinGame(players=3, coins="all_colours")
    coins = {0: (0, 1), 1: (1, 1), 2: (2, 1)}
    state = make_state(env, [(0, 0), (1, 0), (2, 2)], coins)
    actions, keys = jnp.array([RIGHT, RIGHT, RIGHT], jnp.int32), jax.random.split(jax.random.key(2), 20_000)
    after = jax.jit(jax.vmap(lambda key: env.step(state, actions, key)[0]))(keys)
    first, second, third = np.asarray(after.coins).T
    assert (third == 7).all()  # player 2 walked away from it
    pairs = np.zeros((9, 9))
    np.add.at(pairs, (first, second), 1)
    free = [0, 2, 3, 5, 8]  # neither the players at 1, 4 and 6 nor the coin at 7
    assert pairs[np.ix_(free, free)].sum() == 20_000
    assert np.diagonal(pairs).sum() == 0
    assert_uniform(pairs[np.ix_(free, free)][~np.eye(5, dtype=bool)])


@pytest.mark.parametrize("count", [1, 2, 3, 7, 1023, 65_535])
def test_draw_is_the_exact_whole_part_and_rest_of_a_fraction(count):
    edges = [-(-k * 2**32 // count) + d for k in range(1, count, max(1, count // 50)) for d in (-1, 0)]
    words = [0, 1, 2**16 - 1, 2**16, 2**32 - 1, *edges]
    drawn, rest = jax.vmap(lambda word: draw(word, count))(jnp.array(words, jnp.uint32))
    assert drawn.tolist() == [word * count >> 32 for word in words]
    assert rest.tolist() == [word * count % 2**32 for word in words]


@pytest.mark.parametrize("coins", ["one_coin", "all_colours"])
def test_start_is_uniform_over_distinct_cells(coins):
    env = CoinGame(coins=coins)
    state, _ = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(3), 30_000))
    joint = np.zeros((10, 10, 10, 10))
    np.add.at(joint, tuple(np.concatenate([state.players, state.coins], axis=1).T), 1)  # -1 is the last index
    distinct = [len({c for c in cells if c < 9}) == 2 + env.num_coins for cells in np.ndindex(*joint.shape)]
    on_board = [
        max(cells[:2]) < 9 and sum(c < 9 for c in cells) == 2 + env.num_coins for cells in np.ndindex(*joint.shape)
    ]
    possible = np.array(distinct) & np.array(on_board)
    assert possible.sum() == (2 * 9 * 8 * 7 if coins == "one_coin" else 9 * 8 * 7 * 6)
    assert joint.ravel()[~possible].sum() == 0
    assert_uniform(joint.ravel()[possible])


@pytest.mark.parametrize("permutation", list(itertools.permutations(range(3))))
def test_seats_are_alike(permutation):
    env = CoinGame(players=3, coins="all_colours", height=2, width=3)
    for case in range(20):
        rng = np.random.default_rng(case)
        players, coins = rng.integers(6, size=3), rng.permutation(6)[:3]
        actions, seats = rng.integers(4, size=3), np.array(permutation)
        outcomes = []
        for order in (np.arange(3), seats):
            state = CoinGameState(jnp.zeros((), jnp.int32), *(jnp.array(x[order], jnp.int32) for x in (players, coins)))
            outcomes.append(compiled(env)(state, jnp.array(actions[order], jnp.int32), jax.random.key(0)))
        (state, ours), (permuted, theirs) = outcomes
        np.testing.assert_array_equal(state.players[seats], permuted.players)
        np.testing.assert_array_equal(ours.reward[seats], theirs.reward)
        cyclic = permutation in [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
        if cyclic and not any(value.any() for value in ours.info.values()):  # no coin was drawn
            np.testing.assert_array_equal(ours.obs[seats], theirs.obs)


def test_egocentric_is_absolute_rolled():
    env = CoinGame(players=3, height=4, width=5)
    views = (env, env.replace(egocentric=False), env.replace(flat=True))
    keys = jax.random.split(jax.random.key(4), 32)
    (state, centred), (_, absolute), (_, flat) = (jax.jit(jax.vmap(view.reset))(keys) for view in views)
    assert (np.asarray(centred)[:, :, 2, 2, 0] == 1).all()
    for game, me in np.ndindex(32, 3):
        row, column = divmod(int(state.players[game, me]), 5)
        np.testing.assert_array_equal(centred[game, me], np.roll(absolute[game, me], (2 - row, 2 - column), (0, 1)))
    np.testing.assert_array_equal(flat, centred.reshape(flat.shape))


def test_statistics():
    """Three steps of two games, the second over after one step."""
    env = CoinGame(players=3)
    own = np.zeros((3, 2, 3), np.float32)
    other = np.zeros((3, 2, 3), np.float32)
    own[:, 0, 0], other[0, 0, 0], other[0, 1, 1] = 1, 1, 1
    own[1, 1, 2] = 1  # after the end
    info = {"own_pickups": jnp.asarray(own), "other_pickups": jnp.asarray(other)}
    valid = jnp.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    found = env.statistics(None, None, info, valid)
    assert tuple(found) == env.statistic_names
    assert env.cooperation in found
    np.testing.assert_allclose(found["own share"], [3 / 4, 0.0, np.nan])
    np.testing.assert_allclose(found["own pick-ups"], [3 / 4, 0.0, 0.0])
    np.testing.assert_allclose(found["other pick-ups"], [1 / 4, 1 / 4, 0.0])
    nothing = env.statistics(None, None, info, jnp.zeros((3, 2)))
    assert all(np.isnan(value).all() for value in nothing.values())


@pytest.mark.parametrize(
    ("policy", "board", "reward", "share"),
    [
        ("random", "two", 0.0, 0.5),
        ("defect", "two", 0.0, 0.5),
        ("random", "two coins", 0.0, 0.5),
        ("defect", "two coins", 0.0, 0.5),
        # 4 of the 8 other cells are one step away, 4 are two: a coin every 1.5 steps, for two players or for each
        ("cooperate", "two", 1 / 1.5 / 2, 1.0),
        ("cooperate", "two coins", 1 / 1.5, 1.0),
    ],
)
def test_anchors(policy, board, reward, share):
    env, _, obs, actions, timesteps = rollout(board, policy)
    found = env.statistics(obs[:-1], actions, timesteps.info, jnp.ones(actions.shape[:2]))
    np.testing.assert_allclose(timesteps.reward.mean(axis=(0, 1)), reward, atol=0.02)
    np.testing.assert_allclose(found["own share"], share, atol=0.03)
    assert env.marks() == {"grab all": 0.0}


def test_third_colour_makes_blind_play_a_loss():
    env, _, _, _, timesteps = rollout("three")
    picked = sum(timesteps.info.values()).sum()
    assert timesteps.reward.sum() / picked == pytest.approx(1 - 2 * 2 / 3, abs=0.05)
    assert env.marks() == {}
    assert env.replace(owner_penalty=-1.5).marks() == {"grab all": 0.0}


def torus_distance(env: CoinGame, a: int, b: int) -> int:
    rows, columns = abs(a // env.width - b // env.width), abs(a % env.width - b % env.width)
    return min(rows, env.height - rows) + min(columns, env.width - columns)


def after_move(env: CoinGame, cell: int, action: int) -> int:
    row, column = cell // env.width + MOVES[action][0], cell % env.width + MOVES[action][1]
    return row % env.height * env.width + column % env.width


@pytest.mark.parametrize("stay", [False, True])
@pytest.mark.parametrize("view", [{}, {"egocentric": False}, {"flat": True}], ids=["centred", "absolute", "flat"])
@pytest.mark.parametrize("size", [(3, 3), (2, 4)])
def test_dilemma_in_every_state_of_two_players(size, view, stay):
    env = CoinGame(height=size[0], width=size[1], stay=stay, **view)
    here = range(env.num_cells)
    cases = [c for c in itertools.product(here, [-1, *here], [-1, *here]) if len(set(c)) == 3]
    seen = np.stack([expected_observation(env, (me, 0), (mine, theirs), 0) for me, mine, theirs in cases])
    found = np.asarray(jax.jit(jax.vmap(env.dilemma))(jnp.asarray(seen)))
    assert found.dtype == np.int32
    for (me, mine, theirs), (cooperate, defect) in zip(cases, found, strict=True):
        coins = [c for c in (mine, theirs) if c >= 0]
        ends = [after_move(env, me, action) for action in range(env.num_actions)]
        near = lambda cell, goals: min(torus_distance(env, cell, goal) for goal in goals)  # noqa: E731
        assert near(ends[defect], coins) == near(me, coins) - 1
        assert ends[cooperate] != theirs
        shorter = [e for e in ends if mine >= 0 and near(e, [mine]) < near(me, [mine]) and e != theirs]
        assert ends[cooperate] in shorter or not shorter
        if mine < 0:
            allowed = [action for action, end in enumerate(ends) if end != theirs]
            assert cooperate == (STAY if stay else allowed[0])


@pytest.mark.parametrize(
    ("fields", "players", "coins", "actions"),
    [
        ({"width": 7}, [(1, 1), (0, 4)], {0: (1, 3), 1: (1, 2)}, [DOWN, RIGHT]),  # around the coin of the other
        ({"width": 7}, [(2, 1), (0, 4)], {0: (1, 3), 1: (1, 2)}, [RIGHT, RIGHT]),  # and on
        (
            {"players": 3},
            [(1, 1), (0, 0), (0, 0)],
            {0: (2, 2), 1: (1, 2), 2: (2, 1)},
            [LEFT, RIGHT],
        ),  # both ways blocked
        ({"height": 1, "width": 9, "stay": True}, [(0, 1), (0, 8)], {0: (0, 3), 1: (0, 2)}, [LEFT, RIGHT]),
        (
            {"players": 3, "height": 1, "width": 9},
            [(0, 1), (0, 8), (0, 8)],
            {0: (0, 3), 1: (0, 2), 2: (0, 0)},
            [DOWN, RIGHT],
        ),
    ],
)
def test_dilemma_goes_around_coins_of_others(fields, players, coins, actions):
    env = CoinGame(coins="all_colours", **fields)
    state = make_state(env, players, coins)
    obs = expected_observation(env, state.players, state.coins, 0)
    assert env.dilemma(jnp.asarray(obs)).tolist() == actions


def test_draw():
    env = CoinGame(players=3, height=2)
    scene = env.draw(make_state(env, [(0, 0), (0, 0), (1, 2)], {2: (1, 0)}))
    assert (scene.width, scene.height) == (3, 2)
    found = {(s.kind, s.text): (s.x, s.y, s.width, s.colour) for s in scene.shapes if s.text}
    blue, red, green = PALETTE[:3]
    assert found == {
        ("circle", "2"): (0.5, 0.5, 0.5, green),  # row 0 is on top
        ("rectangle", "0"): (0.25, 1.5, 0.4, blue),  # two share a cell
        ("rectangle", "1"): (0.75, 1.5, 0.4, red),
        ("rectangle", "2"): (2.5, 0.5, 0.8, green),
    }


def test_render():
    env = CoinGame(players=3, height=2)
    assert env.render(make_state(env, [(0, 0), (0, 0), (1, 2)], {2: (1, 0)})) == "AB .  .\nc  .  C"


def test_payoffs_can_be_differentiated_and_vmapped():
    state = make_state(CoinGame(), [(0, 0), (0, 2)], {0: (0, 1)})

    def reward(taker_reward, owner_penalty):
        env = CoinGame(taker_reward=taker_reward, owner_penalty=owner_penalty)
        return env.step(state, jnp.array([RIGHT, LEFT], jnp.int32), jax.random.key(0))[1].reward

    assert [g.tolist() for g in jax.jacobian(reward, (0, 1))(1.0, -2.0)] == [[1.0, 1.0], [1.0, 0.0]]
    np.testing.assert_allclose(jax.vmap(reward, (0, None))(jnp.array([1.0, 3.0]), -2.0), [[-1, 1], [1, 3]])


@pytest.mark.parametrize("board", [pytest.param("three", marks=pytest.mark.slow), "published"])
def test_conforms(board):
    envs.check_env(CoinGame(**BOARDS[board] | {"horizon": 2}), steps=1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"players": 1}, "players = 1: expected a whole number from 2 to 8"),
        ({"players": 9, "height": 9}, "players = 9"),
        ({"height": 0}, "height = 0: expected a whole number from 1"),
        ({"width": 2.5}, "width = 2.5: expected a whole number"),
        ({"players": 5, "coins": "all_colours"}, r"height \* width = 9: .* at least 10 \(one for each player and coin"),
        ({"coins": "all_colors"}, "did you mean 'all_colours'"),
        ({"owner_penalty": float("nan")}, "owner_penalty = nan"),
        ({"taker_reward": None}, "taker_reward = None: expected a number"),
        ({"horizon": 0}, "horizon = 0: expected a whole number of at least 1"),
        ({"size": 3}, "no parameter 'size'"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        envs.make("coin_game", **fields)
