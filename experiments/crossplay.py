"""Cross-play: everyone plays everyone, training seed against training seed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

import shaping
from envs import Environment
from experiments.advance import EVALUATION_EPISODES, advance
from experiments.config import FaultError, Run, UserError, build_environment, build_learners
from experiments.crossplay_arguments import Entry, Pairing
from experiments.crossplay_report import Cell, write
from experiments.run_directory import new_directory
from experiments.tiles import Tiles
from experiments.trained import Trained, load_run
from shaping import Frozen, Learner, Match
from shaping.wrappers import Tabled, tabled

__all__ = ["Form", "Player", "crossplay", "forms", "play", "players"]

PAIRS_A_CALL = {False: 1024, True: 64}
"""Pairs of seeds in one call of the device program, without and with training; between calls, Ctrl-C is answered."""


@dataclass(frozen=True)
class Player:
    """An entry that can play.

    Attributes:
        entry: as asked for.
        members: the K learners that it stands for, leaves `[K, ...]`.
        seeds: number of the training seed of each member; of a fixed strategy just one.
        learns: whether it is trained in place.
        trained: the run it comes from; None for a learner given by its name.
    """

    entry: Entry
    members: Learner
    seeds: list[int]
    learns: bool
    trained: Trained | None = None

    @property
    def label(self) -> str:
        """Of the entry."""
        return self.entry.label

    def describe(self) -> dict[str, Any]:
        """Where it comes from; an entry of `crossplay.json`."""
        about = {"label": self.label, "entry": self.entry.text, "seeds": self.seeds, "trained_in_place": self.learns}
        if self.trained is None:
            return about
        run = str(self.trained.path.resolve())
        return about | {"run": run, "seat": self.entry.seat, "steps": self.trained.step, "env": self.trained.run.env}

    def same_seeds(self, other: Player) -> bool:
        """Whether member k of both comes from one training, so that pairs of equal seeds are of those that met."""
        if self.learns or other.learns or len(self.seeds) != len(other.seeds):
            return False
        if self.trained is None or other.trained is None:
            return self.entry == other.entry
        return self.trained.path.resolve() == other.trained.path.resolve()


@dataclass(frozen=True)
class Form:
    """Players of one structure and shape; one program plays all of them.

    Attributes:
        players: number and player, in the order of the entries.
        members: of all of them, leaves `[M, ...]`.
    """

    players: list[tuple[int, Player]]
    members: Learner

    @property
    def first(self) -> Learner:
        """The first member."""
        return jax.tree.map(lambda leaf: leaf[0], self.members)

    @property
    def learns(self) -> bool:
        """Whether its players are trained in place."""
        return self.players[0][1].learns

    def offsets(self) -> list[int]:
        """Where in `members` each player starts."""
        return np.cumsum([0, *(len(player.seeds) for _, player in self.players)]).tolist()[:-1]


def crossplay(asked: Pairing, command: str, console: Console) -> Path:
    """Play everyone against everyone, print the matrix, and write it to a new directory; returns the directory.

    Raises:
        UserError: a mistake in what was asked for, before anything is compiled.
        FaultError: numbers that are not finite; the message names the pair.
    """
    entries, run = asked
    env = build_environment(run)
    if env.num_players < 2:
        raise UserError(f"{run.env} has 1 player: expected an environment with 2 or more")
    found = players(entries, run, env)
    games = list(_games(forms(found), run, env))
    directory = new_directory(run.out, "crossplay")
    try:
        for player in found:
            console.print(_introduction(player, run), soft_wrap=True)
        cells = play(games, found, run, console)
        about = {"command": command, "env": run.env, "env_parameters": run.components["env"], "seed": run.seed}
        about |= {"players": env.num_players, "steps": run.steps if any(player.learns for player in found) else 0}
        exact = all(learner.tables for *_, match in games for learner in match.learners)
        about["measured"] = "exact, discounted" if exact else f"{EVALUATION_EPISODES} episodes, undiscounted"
        if any(any(game[2].shapers) for game in games):
            about["measured"] = f"{about['measured']}; with a shaper, trials of {run.episodes} inner episodes"
        about |= {"entries": [player.describe() for player in found]}
        write(directory, cells, about, console)
    except BaseException:
        with contextlib.suppress(OSError):  # it is not empty
            directory.rmdir()
        raise
    return directory


def players(entries: Sequence[Entry], run: Run, env: Environment) -> list[Player]:
    """A player an entry; those that never learn as tables, if others learn from exact values.

    Raises:
        UserError: no run, no such seat, or a learner that cannot play `env`.
    """
    loaded = cache(load_run)
    found: list[Player] = []
    for entry in entries:
        trained = None
        if entry.path is None:
            assert entry.name is not None, "an entry is a directory or a name"
            (learner,) = build_learners(run, env, [entry.name])
        else:
            trained = loaded(entry.path.resolve(), str(entry.path))
            trained.check(entry.text, env, entry.seat)
            learner = trained.learner(entry.seat)
        found.append(_player(entry, learner, run, env, trained))
    if not any(player.members.tables for player in found):
        return found
    return [replace(own, members=Tabled(own.members)) if _can_be_table(own, env) else own for own in found]


def _can_be_table(player: Player, env: Environment) -> bool:
    return not player.members.tables and tabled(env, jax.tree.map(lambda leaf: leaf[0], player.members)) is not None


def _player(entry: Entry, learner: Learner, run: Run, env: Environment, trained: Trained | None) -> Player:
    """The members of `learner`: one a policy, one a seed to train, or one."""
    learns = learner.learns and not isinstance(learner, Frozen)
    first, seeds = run.seed, run.seeds if learns else 1
    policies = None
    if isinstance(learner, Frozen):
        assert trained is not None, "policies come from a run"
        first, seeds = trained.run.seed, trained.run.seeds
        policies = jax.tree.map(lambda leaf: jnp.asarray(leaf)[:, None], learner.policies)  # [K, 1, ...]
        learner = Frozen.of(learner.learner, jax.tree.map(lambda leaf: leaf[0], policies), 0)
    one = jax.tree.map(lambda leaf: leaf[0], _match(env, run, learner, learner, entry.text).learners[0])
    members = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (seeds, *leaf.shape)), one)
    if policies is not None:
        members = members.replace(policies=policies)
    return Player(entry, members, list(range(first, first + seeds)), learns, trained)


def forms(found: Sequence[Player]) -> list[Form]:
    """The players, those of one form together."""
    groups: dict[Any, list[tuple[int, Player]]] = {}
    for number, player in enumerate(found):
        leaves, structure = jax.tree.flatten(player.members)
        key = structure, tuple((leaf.shape[1:], str(leaf.dtype)) for leaf in leaves)
        groups.setdefault(key, []).append((number, player))
    join = lambda *leaves: jnp.concatenate(leaves)  # noqa: E731
    return [Form(group, jax.tree.map(join, *(player.members for _, player in group))) for group in groups.values()]


Game = tuple[Form, Form, Match]


def _games(found: Sequence[Form], run: Run, env: Environment) -> Iterator[Game]:
    """Row form, column form and the match of their first members, for every pair of forms."""
    for rows in found:
        for columns in found:
            name = f"{rows.players[0][1].label} against {columns.players[0][1].label}"
            yield rows, columns, _match(env, run, rows.first, columns.first, name)


def _match(env: Environment, run: Run, row: Learner, column: Learner, name: str) -> Match:
    try:
        learners = [row] + [column] * (env.num_players - 1)
        sets = max(1, EVALUATION_EPISODES // run.batch) if any(own.span == "trial" for own in learners) else 1
        return Match.of(env, learners, batch=run.batch, episodes=run.episodes, rivals=sets)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error


def play(games: Sequence[Game], found: Sequence[Player], run: Run, console: Console) -> list[list[Cell]]:
    """Play `games`; returns a cell for each pair of the players `found`, by row and column.

    Raises:
        FaultError: numbers that are not finite.
    """
    cells: dict[tuple[int, int], Cell] = {}
    columns = [TextColumn("pairs of seeds"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}")]
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=sum(len(player.seeds) for player in found) ** 2)
        for game in games:
            row, column = (form.players[0][1].label for form in game[:2])
            progress.update(task, description=f"{row} against {column}" + (" and the like" if len(games) > 1 else ""))
            pairs, blocks = _pairs(game)
            values = []
            for some in _calls(game, pairs, run):
                values.append(some)
                progress.advance(task, len(some[0]))
            reward, cooperation, bad = (np.concatenate(parts) for parts in zip(*values, strict=True))
            for (r, c), block in blocks.items():
                cells[r, c] = _cell((found[r], found[c]), reward[block], cooperation[block], bad[block])
    return [[cells[row, column] for column in range(len(found))] for row in range(len(found))]


def _pairs(game: Game) -> tuple[np.ndarray, dict[tuple[int, int], slice]]:
    """All pairs of a game, and where in them those of each pair of entries are.

    Returns `[P, 6]`: places of the two members in their forms; numbers of the row's entry and member, of the column's.
    """
    pairs, blocks, start = [], {}, 0
    rows, columns, _ = game
    for (r, row), above in zip(rows.players, rows.offsets(), strict=True):
        for (c, column), left in zip(columns.players, columns.offsets(), strict=True):
            i, j = np.indices((len(row.seeds), len(column.seeds))).reshape(2, -1)
            pairs.append(np.stack([above + i, left + j, np.full_like(i, r), i, np.full_like(i, c), j], axis=1))
            blocks[r, c] = slice(start, start + len(i))
            start += len(i)
    return np.concatenate(pairs).astype(np.int32), blocks


def _calls(game: Game, pairs: np.ndarray, run: Run) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The results of `play_pair` for `pairs`, in calls of equal size, leaves `[pairs of the call, ...]`."""
    rows, columns, match = game
    learns = rows.learns or columns.learns
    calls = -(-len(pairs) // PAIRS_A_CALL[learns])
    size = -(-len(pairs) // calls)
    program = Tiles.of(size, match).program(play_pair)
    common = (match, rows.members, columns.members, np.int32(run.steps if learns else 0), np.uint32(run.seed))
    for start in range(0, len(pairs), size):
        some = pairs[start : start + size]
        reward, cooperation, bad = program(common, (np.resize(some, (size, pairs.shape[1])),))
        yield reward[: len(some)], cooperation[: len(some)], bad[: len(some)]


def play_pair(
    match: Match, rows: Learner, columns: Learner, stop: Int[Array, ""], seed: Int[Array, ""], pair: Int[Array, " 6"]
) -> tuple[Array, Array, Array]:
    """One pair of members, the row's in seat 0 and the column's in all others, trained until step `stop`.

    Args:
        match: of any members of the two forms.
        rows: members of the row's form, leaves `[M, ...]`.
        columns: those of the column's.
        stop: number of training steps.
        seed: of the cross-play.
        pair: see `_pairs`.

    Returns:
        Reward per step `[n]`; co-operation `[n]`, `[0]` where it is not measured; and whether the training failed.
    """
    row, column = jax.tree.map(lambda leaf: leaf[pair[0]], rows), jax.tree.map(lambda leaf: leaf[pair[1]], columns)
    seated = tuple(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *(column if seat else row for seat in seats))
        for seats in match.seats
    )
    match = match.replace(learners=seated)
    key = jax.random.key(seed)
    for number in pair[2:]:
        key = jax.random.fold_in(key, number)
    _, outcome, _, first_bad = advance(match, jnp.int32(0), stop, jnp.bool_(True), shaping.init(match, key), key)
    cooperation = jnp.zeros(0) if match.env.cooperation is None else outcome.statistics[match.env.cooperation]
    return outcome.reward_per_step, cooperation, (first_bad >= 0).any()


def _cell(pair: tuple[Player, Player], reward: np.ndarray, cooperation: np.ndarray, bad: np.ndarray) -> Cell:
    """What two entries did, from flat values of their pairs of seeds."""
    row, column = pair
    shape = (len(row.seeds), len(column.seeds))
    wrong = np.argwhere((bad | ~np.isfinite(reward).all(axis=1)).reshape(shape))
    if len(wrong):
        i, j = wrong[0]
        what = "what was learned" if bad.reshape(shape)[i, j] else "reward_per_step"
        names = f"{row.label}, seed {row.seeds[i]}, against {column.label}, seed {column.seeds[j]}"
        raise FaultError(f"{names}: {what} is not finite")
    rates = cooperation.reshape(*shape, -1)
    same = row.same_seeds(column)
    return Cell(row.label, column.label, reward.reshape(*shape, -1), rates if rates.shape[2] else None, same)


def _introduction(player: Player, run: Run) -> str:
    """Who plays, in words, and where from."""
    count = len(player.seeds)
    if player.trained is None:
        how = f"trained in place, {count} seeds, {run.steps} steps against each" if player.learns else "fixed strategy"
        return f"{player.label}: {how}"
    there = player.trained.run
    text = (
        f"{player.label}: {count} polic{'ies' if count > 1 else 'y'} of {player.entry.path}, seat {player.entry.seat}"
    )
    text += f", trained for {player.trained.step} steps"
    elsewhere = (there.env, there.components["env"]) != (run.env, run.components["env"])
    return text + (f"; learned on {there.env} with other parameters than here" if elsewhere else "")
