"""The matches that a run trains, where they stand, and the programs that advance them.

A run has one or two *sides* on the same seeds: the match asked for ("learners"), and a match of the baseline learner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs import Environment
from experiments.advance import advance, begin_seed, floats, sound
from experiments.config import Run, UserError, build_environment, build_learners, seat_names
from experiments.tables import learner_label, mean_over_seats
from experiments.tiles import Tiles
from shaping import Match

__all__ = ["Fault", "Side", "build_sides"]


class Fault(NamedTuple):
    """What made a seed stop.

    Attributes:
        step: that left something not finite.
        seed: its number.
        array: what was not finite.
    """

    step: int
    seed: int
    array: str

    def __str__(self) -> str:
        return f"step {self.step}, seed {self.seed}: {self.array} is not finite"


@dataclass
class Side:
    """One match of a run, and where it stands.

    The arrays hold a few seeds more than asked for, to fill tiles and devices; see `Tiles`.

    Attributes:
        names: of the learners, one a seat.
        env: the game.
        match: who sits where.
        seeds: numbers of the seeds asked for, S of them.
        states: of the learners, on the devices; set by `start`.
        outcome: of the current policies, NumPy leaves `[S, n, ...]`; set by `run_until`.
        learning: metrics of the last update, a group of the match each, NumPy leaves `[S, learners]`.
        marks: for each array of floats in the states, and then for the outcome's rewards, the step that left it not
            finite, -1 for sound ones; on the devices. A seed that has one is at a fault: it goes no further, keeps the
            last states that were finite, and has no outcome any more.
        first_bad: the marks of the seeds asked for, NumPy `[S, arrays]`.
        parts: of several runs the sides that this one stands for, one after the other in its arrays; see `together`.
        wide: whether those are one `vmap`.
    """

    names: list[str]
    env: Environment
    match: Match
    seeds: range
    states: Any = None
    outcome: Any = None
    learning: Any = ()
    marks: Any = None
    first_bad: Any = None
    parts: Sequence[Side] = ()
    wide: bool = False
    _keys: Any = None
    _program: Callable[..., Any] | None = None

    @classmethod
    def together(cls, sides: Sequence[Side], wide: bool = False) -> Side:
        """One side for those of several runs, which have the same `shape`.

        They differ in floats only, and one program advances them. Their tiles follow each other, so that the numbers of
        each run are those that it has alone, bit for bit; unless `wide`.
        """
        first = sides[0]
        return cls(first.names, first.env, first.match, first.seeds, parts=tuple(sides), wide=wide)

    @property
    def shape(self) -> Any:
        """What sides have in common that can be advanced together: all but the values of their floats."""
        leaves, structure = jax.tree.flatten(self.match)
        return self.names, self.seeds, structure, [(np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]

    @property
    def label(self) -> str:
        """Such as `lola,naive*3`."""
        return learner_label(self.names)

    @property
    def count(self) -> int:
        """Number of seeds, those of all parts."""
        return self._tiles.runs * len(self.seeds)

    @property
    def shapes(self) -> Any:
        """Of the states in a checkpoint, leaves `[S, ...]`."""
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((self.count, *leaf.shape[1:]), leaf.dtype), self.states)

    @property
    def sound(self) -> np.ndarray:
        """The marks `[S, arrays]` as long as everything is finite."""
        return sound(self.states, self.count)

    @property
    def _tiles(self) -> Tiles:
        return Tiles.of(len(self.seeds), self.match, max(1, len(self.parts)), self.wide)

    @cached_property
    def _given(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """What all seeds have in common, and what those of each run have, leaves `[runs, ...]`: matches."""
        if not self.parts:
            return (self.match,), ()
        return (), (jax.tree.map(lambda *leaves: jnp.stack(leaves), *(part.match for part in self.parts)),)

    def check(self) -> None:
        """Raise a `UserError` unless all processes have work."""
        _ = self._tiles.mesh

    def start(self) -> None:
        """Compile the program, for any number of steps, and initialise the learners."""
        tiles, (common, of_runs) = self._tiles, self._given
        numbers = np.tile(np.array(self.seeds), tiles.runs)
        begin = jax.jit(tiles.map(begin_seed, 1))
        self.states, self._keys = begin(common, (tiles.place(numbers),), of_runs)
        self.marks = tiles.place(self.sound)
        program = jax.jit(tiles.map(advance, 3))
        common = (*common, np.int32(0), np.int32(0), np.bool_(True))
        self._program = program.lower(common, (self.states, self._keys, self.marks), of_runs).compile()

    def place(self, states: Any, marks: Any = None) -> None:
        """Take over `states`, and `marks` unless all is sound, leaves `[S, ...]`, spread over the devices."""
        self.states = self._tiles.place(states)
        self.marks = self._tiles.place(self.sound if marks is None else marks)

    def collect(self, states: Any) -> Any:
        """`states` from the devices as NumPy leaves `[S, ...]`."""
        return self._tiles.collect(states)

    def run_until(self, start: int, stop: int, look: bool = True) -> None:
        """Steps `start` ... `stop - 1` of all seeds, none if they are equal; with `look`, then update the outcome.

        Without a step no fault is found, so that it makes no difference where a run was interrupted.
        """
        assert self._program is not None, "start first"
        tiles, (common, of_runs) = self._tiles, self._given
        common = (*common, np.int32(start), np.int32(stop), np.bool_(look))
        self.states, *seen, marks = self._program(common, (self.states, self._keys, self.marks), of_runs)
        self.marks = marks if stop > start else self.marks
        collected = tiles.collect((*seen, self.marks))
        for number, part in enumerate(self.parts or (self,)):
            rows = slice(number * tiles.count, (number + 1) * tiles.count)
            part.states = self.states  # of which a part tells the names
            part._see(jax.tree.map(lambda leaf, rows=rows: leaf[rows], collected), look)

    def _see(self, collected: Any, look: bool) -> None:
        """Take over what a program has told of the seeds asked for."""
        *seen, self.first_bad = collected
        outcome, self.learning = jax.tree.map(self._of_sound_seeds, tuple(seen))
        self.outcome = outcome if look else self.outcome

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Those of all seeds, in the order in which they happened."""
        if not self.bad.any():
            return ()
        first_bad: np.ndarray = self.first_bad
        names = [f"states{jax.tree_util.keystr(path)}" for path, _ in floats(self.states)] + ["reward_per_step"]
        steps = np.where(first_bad < 0, np.iinfo(np.int32).max, first_bad)
        first = {place: int(steps[place].argmin()) for place in np.flatnonzero(self.bad).tolist()}
        return tuple(sorted(Fault(int(steps[at, n]), self.seeds[at], names[n]) for at, n in first.items()))

    @property
    def fault(self) -> Fault | None:
        """The first of them, if there is one."""
        return next(iter(self.faults), None)

    @property
    def bad(self) -> np.ndarray:
        """`[S]`, whether a seed is at a fault."""
        return np.asarray((self.first_bad >= 0).any(axis=1))

    def _of_sound_seeds(self, leaf: np.ndarray) -> np.ndarray:
        """`[S, ...]`, with NaN for seeds at a fault."""
        bad = self.bad
        return np.where(bad.reshape(-1, *(1,) * (leaf.ndim - 1)), np.nan, leaf) if bad.any() else leaf

    def metrics(self) -> dict[str, Any]:
        """Per seed: welfare `[S]`, reward per step `[S][n]`, the environment's statistics, and what learners report.

        "cooperation" `[S]` is there where the environment measures it, "statistics" `[S][n]` unless the name of the
        game has none, "learning" (learner → metric → `[S][learners]`) once something was learned.
        """
        assert self.outcome is not None, "run first"
        reward, statistics = self.outcome.reward_per_step, self.outcome.statistics
        metrics: dict[str, Any] = {"welfare": reward.mean(axis=1).tolist()}
        if self.env.cooperation is not None:
            rates = mean_over_seats(statistics[self.env.cooperation])
            metrics["cooperation"] = self._of_sound_seeds(rates).tolist()
        metrics["reward_per_step"] = reward.tolist()
        if statistics:
            metrics["statistics"] = {name: statistics[name].tolist() for name in self.env.statistic_names}
        learning = {
            self.names[seats[0]]: {metric: values.tolist() for metric, values in own.items()}
            for seats, own in zip(self.match.seats, self.learning, strict=False)
            if own
        }
        return metrics | ({"learning": learning} if learning else {})


def build_sides(run: Run) -> dict[str, Side]:
    """The sides of `run`: "learners", and "baseline" unless it is none or the same. Compiles nothing.

    Raises:
        UserError: an environment, a learner or a combination that is not possible.
    """
    env = build_environment(run)
    sides = {"learners": _build_side(run, env, "learners", run.learners)}
    baseline = run.baseline
    if baseline == "auto":  # beside what it is comparable with
        baseline = "naive" if all(learner.tables for learner in sides["learners"].match.learners) else "none"
    if baseline != "none" and seat_names(baseline, env.num_players, "baseline") != sides["learners"].names:
        sides["baseline"] = _build_side(run, env, "baseline", baseline)
    return sides


def _build_side(run: Run, env: Environment, flag: str, learners: str) -> Side:
    names = seat_names(learners, env.num_players, flag)
    built = build_learners(run, env, names)
    try:
        shapes = any(learner.span == "trial" for learner in built)
        rivals = run.rivals if shapes or flag == "learners" else 1  # a baseline has none
        match = Match.of(
            env,
            built,
            batch=run.batch,
            episodes=run.episodes,
            share=run.share,
            rivals=rivals,
            rival_start=run.rival_start,
        )
    except ValueError as error:
        raise UserError(f"--{flag} {learners}: {error}") from error
    return Side(names, env, match, range(run.seed, run.seed + run.seeds))
