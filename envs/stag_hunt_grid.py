"""Stag hunt on a grid: a stag that pays hunters who meet on it and mauls those who come alone, and plants for one."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from envs.cells import board_scene, board_text, draw, free_cell
from envs.environment import Environment, TimeStep
from envs.scene import PALETTE, Scene, Shape
from envs.validation import require_choice, require_range

__all__ = ["StagHuntGrid", "StagHuntGridState"]

RIGHT, LEFT, DOWN, UP, STAY = range(5)
MAX_PLAYERS, MIN_SIZE, MAX_SIZE, MAX_PAYOFF = 4, 3, 32, 1e6
STAG, PLANT = "#6B4423", "#7BB661"  # colours


class StagHuntGridState(NamedTuple):
    """State of a stag hunt; a cell is the number row * size + column.

    Attributes:
        step: int32 scalar, steps taken.
        hunters: int32 `[n]`, the cell of each hunter.
        stag: int32 scalar, its cell.
        plants: int32 `[P]`, the cell of each plant.
    """

    step: Int[Array, ""]
    hunters: Int[Array, " n"]
    stag: Int[Array, ""]
    plants: Int[Array, " P"]


class StagHuntGrid(Environment):
    """A stag pays those who meet on it and mauls whoever comes alone; plants pay less, and need nobody.

    First the stag moves by one cell towards the nearest hunter (Euclidean distance), where hunters were before the
    step; it stays if it shares its cell. Then all hunters move at once; they may share a cell and swap, with the stag
    too, and walls stop them. With `needed` hunters or more on its cell the stag is caught: all of them are paid, and it
    comes back. With fewer all of them are mauled; it comes back elsewhere with `run_away` and else stays. A gathered
    plant comes back. What comes back does so at once, the stag first, on a cell drawn uniformly from those without a
    hunter, stag or plant.

    Rules "hunt": hunters start in the corners, those at the top first, the stag at (size // 2, size // 2), plants on
    free cells drawn uniformly. If the nearest hunter is off both axes, the stag moves along one of them, drawn
    uniformly. Who is on the stag gathers no plant; a plant pays everyone else on it.
    Rules "monster_hunt": everything starts on a cell of its own, drawn uniformly. A stag that has drawn an axis takes
    the other one if there is a plant on its way. Who is on the stag gathers plants too; a plant pays one of those on
    it, drawn uniformly.

    Observation: float32 `[2 (n + 1 + P)]`, for P plants: row and column, each divided by size - 1, of oneself, of
    the others in the order i + 1, ..., n - 1, 0, ..., i - 1, of the stag and of each plant.
    Action: int32, 0 right, 1 left, 2 down, 3 up, 4 stay. `dilemma`: to co-operate is to walk to the stag, and to wait
    one step from it unless it is with another hunter; to defect is to walk to the nearest plant without the stag.
    Both walk along the longer axis first, the rows if equal.
    Reward: `stag_reward` to each who caught the stag, minus `maul_penalty` to each who was mauled, `plant_reward` for
    the plant gathered.
    Termination: never; truncated after `horizon` steps.
    Presets: the registered name `stag_hunt_grid` is "hunt", published with `maul_penalty` 5 or 0.5. `monster_hunt` is
    "monster_hunt" as published: `plant_reward` 2, `maul_penalty` 2, `run_away`.
    Deviations: among several nearest hunters the stag draws one uniformly, so that seats are alike; "hunt" took the
    last, "monster_hunt" the first. In "hunt", a plant gathered while another hunter was mauled by a stag that runs away
    came back only later. "monster_hunt" multiplied rewards by 0.1, and its code has the signs of plants and mauling
    reversed; ours are those of its README. More than two hunters, and `needed`, are our extension.
    Source: arXiv 2205.15434 after Peysakhovich and Lerer, arXiv 1709.02865; rules of "hunt" from
    github.com/NullDefault/Gym-Stag-Hunt, of "monster_hunt" from github.com/staghuntrpg/RPG, arXiv 2103.04564.

    Attributes:
        players: number of hunters n, from 2 to 4.
        needed: how many hunters on its cell catch the stag.
        size: rows, and columns, of the board.
        plants: number of plants P.
        rules: "hunt" or "monster_hunt", see above.
        run_away: whether a stag that mauled somebody comes back elsewhere instead of staying.
        stag_reward: paid to each hunter who takes part in catching the stag.
        maul_penalty: what each mauled hunter loses, without its sign: the reward is minus it.
        plant_reward: paid for a plant.
        horizon: steps T of an episode.
    """

    players: int = struct.field(default=2, pytree_node=False)
    needed: int = struct.field(default=2, pytree_node=False)
    size: int = struct.field(default=5, pytree_node=False)
    plants: int = struct.field(default=2, pytree_node=False)
    rules: Literal["hunt", "monster_hunt"] = struct.field(default="hunt", pytree_node=False)
    run_away: bool = struct.field(default=False, pytree_node=False)
    stag_reward: float = 5.0
    maul_penalty: float = 1.0
    plant_reward: float = 1.0
    horizon: int = struct.field(default=50, pytree_node=False)  # pyright: ignore

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a field out of range, or a board too small for what is on it.
        """
        require_range("players", self.players, 2, MAX_PLAYERS, whole=True)
        require_range("needed", self.needed, 2, self.players, whole=True, hint="at most all players")
        require_range("size", self.size, MIN_SIZE, MAX_SIZE, whole=True)
        most = self.num_cells - self.players - 1
        require_range("plants", self.plants, 1, most, whole=True, hint="one cell for each hunter, plant and the stag")
        require_choice("rules", self.rules, ("hunt", "monster_hunt"))
        require_range("stag_reward", self.stag_reward, -MAX_PAYOFF, MAX_PAYOFF)
        require_range("maul_penalty", self.maul_penalty, 0, MAX_PAYOFF, hint="what is lost, without its sign")
        require_range("plant_reward", self.plant_reward, -MAX_PAYOFF, MAX_PAYOFF)
        require_range("horizon", self.horizon, 1, whole=True)

    @property
    def num_players(self) -> int:
        """Number of hunters n."""
        return self.players

    @property
    def num_actions(self) -> int:
        """4 directions, and to stay."""
        return 5

    @property
    def num_observations(self) -> None:
        """None: observations are arrays."""

    @property
    def obs_shape(self) -> tuple[int, ...]:
        """`(2 (n + 1 + P),)`."""
        return (2 * (self.players + 1 + self.plants),)

    @property
    def num_cells(self) -> int:
        """Cells of the board."""
        return self.size**2

    def reset(self, key: Key[Array, ""]) -> tuple[StagHuntGridState, Float[Array, "n o"]]:
        """Place hunters, stag and plants; consumes `key`."""
        n, size = self.players, self.size
        corners = [0, size - 1, size * (size - 1), self.num_cells - 1]
        fixed = [*corners[:n], size // 2 * size + size // 2] if self.rules == "hunt" else []
        cells = jnp.array(fixed, jnp.int32)
        for word in jax.random.bits(key, (n + 1 + self.plants - len(fixed),), jnp.uint32):
            cells = jnp.append(cells, free_cell(cells, self.num_cells, word))
        state = StagHuntGridState(jnp.zeros((), jnp.int32), cells[:n], cells[n], cells[n + 1 :])
        return state, self._observe(state)

    def step(
        self, state: StagHuntGridState, actions: Int[Array, " n"], key: Key[Array, ""]
    ) -> tuple[StagHuntGridState, TimeStep]:
        """Move the stag, then the hunters by `actions` `[n]`, pay, and put back what was taken; consumes `key`."""
        words = jax.random.bits(key, (2 + self.plants,), jnp.uint32)
        stag = self._move_stag(state, words[0])
        hunters = self._move(state.hunters, actions)
        met = hunters == stag
        caught = met.sum() >= self.needed
        gathered, plant_words = self._gather(hunters[:, None] == state.plants[None, :], met, words[2:])

        back = caught | met.any() if self.run_away else caught
        new = free_cell(jnp.concatenate([hunters, state.plants]), self.num_cells, words[1])
        stag = jnp.where(back, new, stag)
        plants = state.plants
        for i in range(self.plants):
            occupied = jnp.concatenate([hunters, stag[None], plants])
            anew = (jnp.arange(self.plants) == i) & gathered.any(axis=0)
            plants = jnp.where(anew, free_cell(occupied, self.num_cells, plant_words[i]), plants)
        state = StagHuntGridState(state.step + 1, hunters, stag, plants)

        happened = {"hunted": met & caught, "foraged": gathered.any(axis=1), "mauled": met & ~caught}
        info = {name: value.astype(jnp.float32) for name, value in happened.items()}
        reward = self.stag_reward * info["hunted"] - self.maul_penalty * info["mauled"]
        reward = reward + self.plant_reward * info["foraged"]
        truncated = state.step >= self.horizon
        return state, TimeStep(self._observe(state), reward, jnp.zeros((), bool), truncated, info)

    def dilemma(self, obs: Float[Array, " o"]) -> Int[Array, " 2"]:
        """The step towards the stag and the step towards the nearest plant, see the class, of one who sees `obs`."""
        n = self.players
        places = jnp.round(obs * (self.size - 1)).astype(jnp.int32).reshape(-1, 2)
        hunters, stag, plants = jnp.split(places - places[:1], (n, n + 1))
        with_another = (hunters[1:] == stag).all(axis=1).any()
        wait = (jnp.abs(stag).sum() <= 1) & ~with_another
        under_stag = (plants == stag).all(axis=1)
        nearest = jnp.argmin(jnp.abs(plants).sum(axis=1) + 2 * self.size * under_stag.astype(jnp.int32))
        return jnp.stack([jnp.where(wait, STAY, _towards(stag[0])), _towards(plants[nearest])])

    def statistics(self, obs: Any, action: Any, info: dict[str, Any], valid: Any) -> dict[str, Float[Array, " n"]]:
        """P(stag | paid), and catches, plants and maulings per step."""
        valid = jnp.asarray(valid, jnp.float32)
        counts = [jnp.einsum("tb,tbn->n", valid, info[name]) for name in ("hunted", "foraged", "mauled")]
        paid, steps = counts[0] + counts[1], valid.sum()
        share = jnp.where(paid > 0, counts[0] / jnp.where(paid > 0, paid, 1.0), jnp.nan)
        rates = [jnp.where(steps > 0, count / jnp.where(steps > 0, steps, 1.0), jnp.nan) for count in counts]
        return dict(zip(self.statistic_names, (share, *rates), strict=True))

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """Share of stags, and catches, plants and maulings per step."""
        return ("stag share", "hunted", "foraged", "mauled")

    @property
    def cooperation(self) -> str:
        """The share of stags."""
        return "stag share"

    @property
    def legend(self) -> str:
        """How to read the share."""
        return (
            "stag share: of the times a player was paid, how many were for a stag caught together; "
            "hunted, foraged and mauled are per step."
        )

    def render(self, state: StagHuntGridState) -> str:
        """The board as text: hunters are A, B, C and D, the stag is S, a plant is p; a dot is an empty cell."""
        cells = np.concatenate([np.asarray(state.hunters), np.asarray(state.stag)[None], np.asarray(state.plants)])
        letters = "ABCD"[: self.players] + "S" + "p" * self.plants
        return board_text(zip(letters, cells.tolist(), strict=True), self.size, self.size)

    def draw(self, state: StagHuntGridState) -> Scene:
        """The board: hunters are numbered circles, the stag is a square with an S, plants are diamonds."""
        cells = np.concatenate([np.asarray(state.plants), np.asarray(state.stag)[None], np.asarray(state.hunters)])
        pieces = [Shape("rectangle", 0.0, 0.0, 0.35, 0.35, PLANT, math.pi / 4)] * self.plants
        pieces += [Shape("rectangle", 0.0, 0.0, 0.7, 0.7, STAG, text="S")]
        pieces += [Shape("circle", 0.0, 0.0, 0.7, 0.7, PALETTE[i], text=str(i)) for i in range(self.players)]
        about = "circles: hunters; S: the stag; diamonds: plants"
        return board_scene(zip(pieces, cells.tolist(), strict=True), self.size, self.size, about)

    def _move_stag(self, state: StagHuntGridState, word: UInt32[Array, ""]) -> Int[Array, ""]:
        """The cell of the stag after its move."""
        hunters = self._places(state.hunters)
        place = self._places(state.stag)
        distance = ((hunters - place[None]) ** 2).sum(axis=1)
        nearest = distance == distance.min()
        rank, word = draw(word, nearest.sum().astype(jnp.int32))
        before = (nearest[None, :] & (state.hunters[None, :] < state.hunters[:, None])).sum(axis=1)
        target = jnp.where(nearest & (before <= rank), state.hunters, -1).max()  # in the order of cells, not of seats
        down, right = jnp.sign(self._places(target) - place) * np.array([self.size, 1], np.int32)

        rows_first = draw(word, 2)[0] == 0
        first, second = (state.stag + jnp.where(rows_first == rows, down, right) for rows in (True, False))
        if self.rules == "monster_hunt":
            first = jnp.where((first == state.plants).any(), second, first)
        return jnp.where((down != 0) & (right != 0), first, state.stag + down + right)

    def _move(self, hunters: Int[Array, " n"], actions: Int[Array, " n"]) -> Int[Array, " n"]:
        places = self._places(hunters)
        down = (actions == DOWN).astype(jnp.int32) - (actions == UP).astype(jnp.int32)
        right = (actions == RIGHT).astype(jnp.int32) - (actions == LEFT).astype(jnp.int32)
        places = jnp.clip(places + jnp.stack([down, right], axis=1), 0, self.size - 1)
        return places[:, 0] * self.size + places[:, 1]

    def _gather(
        self, on_plant: Bool[Array, "n P"], met: Bool[Array, " n"], words: UInt32[Array, " P"]
    ) -> tuple[Bool[Array, "n P"], UInt32[Array, " P"]]:
        """Who gathers which plant, and words to draw its next cell with."""
        if self.rules == "hunt":
            return on_plant & ~met[:, None], words
        count = on_plant.sum(axis=0).astype(jnp.int32)
        rank, words = draw(words, jnp.maximum(count, 1))
        return on_plant & (jnp.cumsum(on_plant, axis=0) == rank[None, :] + 1), words

    def _observe(self, state: StagHuntGridState) -> Float[Array, "n o"]:
        """What each hunter sees, in the order of the class from its own seat."""
        rest = jnp.append(state.stag, state.plants)
        cells = jnp.stack([jnp.concatenate([jnp.roll(state.hunters, -i), rest]) for i in range(self.players)])
        return self._places(cells).reshape(self.players, -1).astype(jnp.float32) / (self.size - 1)

    def _places(self, cells: Int[Array, " ..."]) -> Int[Array, "... 2"]:
        """Row and column."""
        size = jnp.full_like(cells, self.size)
        return jnp.stack([jax.lax.div(cells, size), jax.lax.rem(cells, size)], axis=-1)


def _towards(offset: Int[Array, " 2"]) -> Int[Array, ""]:
    """The action that shortens the longer part of `offset`, its rows if equal; to stay if there is none."""
    down, right = offset
    rows = jnp.where(down > 0, DOWN, jnp.where(down < 0, UP, STAY))
    columns = jnp.where(right > 0, RIGHT, LEFT)
    return jnp.where(jnp.abs(down) >= jnp.abs(right), rows, columns).astype(jnp.int32)
