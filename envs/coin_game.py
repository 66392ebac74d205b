"""Coin Game: n players on a torus, coins of n colours, and a price for taking those of others."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from envs.cells import ABSENT, board_scene, board_text, draw, free_cell
from envs.environment import Environment, TimeStep
from envs.scene import PALETTE, Scene, Shape
from envs.validation import require_choice, require_range

__all__ = ["CoinGame", "CoinGameState"]

MOVES = ((0, 1), (0, -1), (1, 0), (-1, 0), (0, 0))  # rows, columns: right, left, down, up, stay
MAX_PLAYERS, MAX_SIDE, MAX_PAYOFF = 8, 32, 1e6


class CoinGameState(NamedTuple):
    """State of a Coin Game; a cell is the number row * width + column.

    Attributes:
        step: int32 scalar, steps taken.
        players: int32 `[n]`, the cell of each player.
        coins: int32 `[n]`, the cell of the coin of each colour, -1 for a colour that is not on the board.
    """

    step: Int[Array, ""]
    players: Int[Array, " n"]
    coins: Int[Array, " n"]


class CoinGame(Environment):
    """Coins in the players' colours: taking any of them pays, and costs the player whose colour it has.

    All move at once on a torus; they may share a cell and swap. Everyone who stands on a coin after the move takes it,
    so a tie favours nobody. A taken coin comes back at once on a cell drawn uniformly from those without a player or a
    coin; with `one_coin` its colour is drawn anew, uniformly and independently of the cell. An episode starts with
    players and coins on cells of their own, drawn uniformly.

    Observation: float32 zeros and ones `[height, width, 2 n]`, `[height * width * 2 n]` if `flat`. Channels: oneself;
    the others in the order i + 1, ..., n - 1, 0, ..., i - 1; the coin of one's own colour; those of the others in the
    same order. `egocentric` rolls the board so that oneself is at (height // 2, width // 2).
    Action: int32, 0 right, 1 left, 2 down, 3 up and, with `stay`, 4 stay. `dilemma`: to co-operate is to walk a
    shortest path to the own coin around those of others, or, without one, to stay or make the first move that takes
    none; to defect is to walk a shortest path to the nearest coin of any colour. Between equal actions, the first.
    Reward: `taker_reward` for every coin taken, and `owner_penalty` to the owner for each other player who took it.
    Termination: never; truncated after `horizon` steps.
    Variants: SHAPER, arXiv 2312.12568, plays `all_colours` with `stay`, horizon 16 and `zero_last_reward`, and there
    coins may return under a player. More than two players are our extension.
    Source: Coin Game of arXiv 1707.01068, as in LOLA, arXiv 1709.04326.

    Attributes:
        players: number of players n, and of colours.
        height: rows of the board.
        width: columns of the board.
        coins: "one_coin" at a time, or "all_colours": one of each colour.
        stay: whether there is a fifth action, to stay.
        egocentric: whether everyone sees the board centred on itself.
        flat: whether observations are vectors.
        taker_reward: paid to everyone who takes a coin.
        owner_penalty: paid to the owner of a coin, for each other player who takes it.
        zero_last_reward: whether the last step pays nothing, as in some published runs.
        horizon: steps T of an episode.
    """

    players: int = struct.field(default=2, pytree_node=False)
    height: int = struct.field(default=3, pytree_node=False)
    width: int = struct.field(default=3, pytree_node=False)
    coins: Literal["one_coin", "all_colours"] = struct.field(default="one_coin", pytree_node=False)
    stay: bool = struct.field(default=False, pytree_node=False)
    egocentric: bool = struct.field(default=True, pytree_node=False)
    flat: bool = struct.field(default=False, pytree_node=False)
    taker_reward: float = 1.0
    owner_penalty: float = -2.0
    zero_last_reward: bool = struct.field(default=False, pytree_node=False)
    horizon: int = struct.field(default=50, pytree_node=False)  # pyright: ignore

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a field out of range, or a board too small for its players and coins.
        """
        require_range("players", self.players, 2, MAX_PLAYERS, whole=True)
        require_range("height", self.height, 1, MAX_SIDE, whole=True)
        require_range("width", self.width, 1, MAX_SIDE, whole=True)
        require_choice("coins", self.coins, ("one_coin", "all_colours"))
        require_range("taker_reward", self.taker_reward, -MAX_PAYOFF, MAX_PAYOFF)
        require_range("owner_penalty", self.owner_penalty, -MAX_PAYOFF, MAX_PAYOFF)
        require_range("horizon", self.horizon, 1, whole=True)
        needed = self.players + self.num_coins
        require_range("height * width", self.num_cells, needed, whole=True, hint="one for each player and coin")

    @property
    def num_players(self) -> int:
        """Number of players n."""
        return self.players

    @property
    def num_actions(self) -> int:
        """4 directions and, with `stay`, to stay."""
        return 5 if self.stay else 4

    @property
    def num_observations(self) -> None:
        """None: observations are arrays."""

    @property
    def obs_shape(self) -> tuple[int, ...]:
        """`(height, width, 2 n)`, or its product if `flat`."""
        channels = 2 * self.players
        return (self.num_cells * channels,) if self.flat else (self.height, self.width, channels)

    @property
    def num_cells(self) -> int:
        """Cells of the board."""
        return self.height * self.width

    @property
    def num_coins(self) -> int:
        """Coins on the board."""
        return 1 if self.coins == "one_coin" else self.players

    def reset(self, key: Key[Array, ""]) -> tuple[CoinGameState, Float[Array, "n ..."]]:
        """Place players and coins; consumes `key`."""
        n = self.players
        words = jax.random.bits(key, (n + self.num_coins,), jnp.uint32)
        players = jnp.full(n, ABSENT, jnp.int32)
        for i in range(n):
            players = jnp.where(jnp.arange(n) == i, free_cell(players, self.num_cells, words[i]), players)
        coins = self._respawn(jnp.full(n, ABSENT, jnp.int32), jnp.ones(n, bool), players, words[n:])
        state = CoinGameState(jnp.zeros((), jnp.int32), players, coins)
        return state, self._observe(state)

    def step(
        self, state: CoinGameState, actions: Int[Array, " n"], key: Key[Array, ""]
    ) -> tuple[CoinGameState, TimeStep]:
        """Move by `actions` `[n]`, take coins and put them back; consumes `key`."""
        players = self._move(state.players, actions)
        takes = players[:, None] == state.coins[None, :]  # player, colour
        words = jax.random.bits(key, (self.num_coins,), jnp.uint32)
        coins = self._respawn(state.coins, takes.any(axis=0), players, words)
        state = CoinGameState(state.step + 1, players, coins)
        truncated = state.step >= self.horizon

        own = (takes & np.eye(self.players, dtype=bool)).any(axis=1).astype(jnp.float32)
        other = takes.sum(axis=1).astype(jnp.float32) - own
        lost = takes.sum(axis=0).astype(jnp.float32) - own
        reward = self.taker_reward * (own + other) + self.owner_penalty * lost
        if self.zero_last_reward:
            reward = jnp.where(truncated, 0.0, reward)
        info = {"own_pickups": own, "other_pickups": other}
        return state, TimeStep(self._observe(state), reward, jnp.zeros((), bool), truncated, info)

    def dilemma(self, obs: Float[Array, " ..."]) -> Int[Array, " 2"]:
        """The step towards the own coin and the step towards the nearest coin, see the class, of one who sees `obs`."""
        n, far = self.players, self.num_cells
        board = obs.reshape(self.height, self.width, 2 * n) > 0
        me, mine, theirs = board[..., 0], board[..., n], board[..., n + 1 :].any(axis=-1)
        goal, avoid = jnp.stack([mine, mine | theirs]), jnp.stack([theirs, jnp.zeros_like(theirs)])

        def after_moves(distance: Int[Array, "2 H W"]) -> Int[Array, "A 2 H W"]:
            moves = MOVES[: self.num_actions]
            return jnp.stack([jnp.roll(distance, (-down, -right), axis=(1, 2)) for down, right in moves])

        def relax(_: Any, distance: Int[Array, "2 H W"]) -> Int[Array, "2 H W"]:
            return jnp.where(avoid, far + 1, jnp.minimum(distance, 1 + after_moves(distance).min(axis=0)))

        distance = jax.lax.fori_loop(0, far, relax, jnp.where(goal, 0, far))
        cost = jnp.where(me, after_moves(distance), 0).sum(axis=(2, 3))  # action, policy
        stays = jnp.arange(self.num_actions)[:, None] == MOVES.index((0, 0))
        return jnp.argmin(2 * cost - stays.astype(jnp.int32), axis=0).astype(jnp.int32)

    def statistics(self, obs: Any, action: Any, info: dict[str, Any], valid: Any) -> dict[str, Float[Array, " n"]]:
        """P(own | pick), and pick-ups per step."""
        valid = jnp.asarray(valid, jnp.float32)
        own, other = (jnp.einsum("tb,tbn->n", valid, info[name]) for name in ("own_pickups", "other_pickups"))
        steps = jnp.full_like(own, valid.sum())
        values = (_ratio(own, own + other), _ratio(own, steps), _ratio(other, steps))
        return dict(zip(self.statistic_names, values, strict=True))

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """Share of the own coins, and pick-ups per step."""
        return ("own share", "own pick-ups", "other pick-ups")

    @property
    def cooperation(self) -> str:
        """The share of the own coins."""
        return "own share"

    @property
    def legend(self) -> str:
        """How to read the share."""
        return (
            "own share: of the coins a player took, how many had its own colour, "
            f"{1 / self.players:.2g} if it does not look at colours; pick-ups are per step."
        )

    def marks(self) -> dict[str, float]:
        """Welfare 0 if everyone takes coins of any colour alike, where the payoffs make it so whatever the rate."""
        per_coin = self.taker_reward + self.owner_penalty * (self.players - 1) / self.players
        return {"grab all": 0.0} if per_coin == 0 else {}

    def render(self, state: CoinGameState) -> str:
        """The board as text: player 0 is A and its coin a, player 1 is B and its coin b; a dot is an empty cell."""
        lists = (("A", state.players), ("a", state.coins))
        pieces = [(chr(ord(a) + i), cell) for a, items in lists for i, cell in enumerate(np.asarray(items).tolist())]
        return board_text(pieces, self.height, self.width)

    def draw(self, state: CoinGameState) -> Scene:
        """The board: players are squares, coins are circles of the colour and with the number of their owner."""
        colours = [(colour, str(i)) for i, colour in enumerate(PALETTE[: self.players])]
        pieces = [Shape("circle", 0.0, 0.0, 0.5, 0.5, colour, text=text) for colour, text in colours]
        pieces += [Shape("rectangle", 0.0, 0.0, 0.8, 0.8, colour, text=text) for colour, text in colours]
        cells = np.concatenate([np.asarray(state.coins), np.asarray(state.players)])
        about = "squares: players; circles: the coins of each"
        return board_scene(zip(pieces, cells.tolist(), strict=True), self.height, self.width, about)

    def _move(self, players: Int[Array, " n"], actions: Int[Array, " n"]) -> Int[Array, " n"]:
        row, column = self._row_and_column(players)
        down = (actions == 2).astype(jnp.int32) - (actions == 3).astype(jnp.int32)
        right = (actions == 0).astype(jnp.int32) - (actions == 1).astype(jnp.int32)
        return _wrap(row + down, self.height) * self.width + _wrap(column + right, self.width)

    def _respawn(
        self,
        coins: Int[Array, " n"],
        taken: Bool[Array, " n"],
        players: Int[Array, " n"],
        words: UInt32[Array, " coins"],
    ) -> Int[Array, " n"]:
        """`coins` with those `taken` on free cells."""
        colours = jnp.arange(self.players)
        if self.coins == "one_coin":
            colour, word = draw(words[0], self.players)
            anew = jnp.where(colours == colour, free_cell(players, self.num_cells, word), ABSENT)
            return jnp.where(taken.any(), anew, coins)
        coins = jnp.where(taken, ABSENT, coins)
        for colour in range(self.players):
            cell = free_cell(jnp.concatenate([players, coins]), self.num_cells, words[colour])
            coins = jnp.where(taken & (colours == colour), cell, coins)
        return coins

    def _observe(self, state: CoinGameState) -> Float[Array, "n ..."]:
        """What each player sees, in the order of channels from its own seat."""
        n, items = self.players, (state.players, state.coins)
        cells = jnp.stack([jnp.concatenate([jnp.roll(item, -i) for item in items]) for i in range(n)])
        if self.egocentric:
            row, column = self._row_and_column(cells)
            row = _wrap(row - row[:, :1] + self.height // 2, self.height)
            column = _wrap(column - column[:, :1] + self.width // 2, self.width)
            cells = jnp.where(cells == ABSENT, ABSENT, row * self.width + column)
        one_hot = jnp.eye(self.num_cells + 1, self.num_cells, dtype=jnp.float32)  # the last row, of ABSENT, is empty
        return jnp.swapaxes(one_hot[cells], 1, 2).reshape(n, *self.obs_shape)

    def _row_and_column(self, cells: Int[Array, " ..."]) -> tuple[Int[Array, " ..."], Int[Array, " ..."]]:
        width = jnp.full_like(cells, self.width)
        return jax.lax.div(cells, width), jax.lax.rem(cells, width)  # cheaper than // and %, which floor


def _wrap(x: Int[Array, " ..."], size: int) -> Int[Array, " ..."]:
    """`x % size` for `-size <= x < 2 * size`, cheaper."""
    return jnp.where(x < 0, x + size, jnp.where(x >= size, x - size, x))


def _ratio(part: Float[Array, " n"], whole: Float[Array, " n"]) -> Float[Array, " n"]:
    """`part / whole`, NaN where `whole` is 0."""
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1.0), jnp.nan)
