"""The device side of a run: the matches it trains, and the one program that advances each of them.

A run has one or two *sides* on the same seeds: the match asked for ("learners"), and a match of the baseline learner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key, PyTree

import shaping
from envs import Environment
from experiments.config import Run, UserError, build_environment, build_learners, seat_names
from experiments.tables import learner_label, mean_over_seats
from experiments.tiles import Tiles
from shaping import Match, Outcome

EVALUATION_EPISODES = 64  # for the outcome of policies that have to be sampled
EVALUATION_TRIALS = 8  # at least, among shapers
EVALUATION = np.uint32(2**32 - 2)  # folded into a seed's key for them; no training step has this number

__all__ = ["EVALUATION_EPISODES", "Fault", "Side", "advance", "build_sides", "sound"]


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
    _keys: Any = None
    _program: Callable[..., Any] | None = None

    @property
    def label(self) -> str:
        """Such as `lola,naive*3`."""
        return learner_label(self.names)

    @property
    def padded(self) -> int:
        """Number of seeds that checkpoints hold."""
        return self._tiles.padded

    @property
    def shapes(self) -> Any:
        """Of the states in a checkpoint, leaves `[P, ...]` for the padded number P of seeds."""
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((self.padded, *leaf.shape[1:]), leaf.dtype), self.states)

    @property
    def sound(self) -> np.ndarray:
        """The marks `[P, arrays]` as long as everything is finite."""
        return sound(self.states, self.padded)

    @property
    def _tiles(self) -> Tiles:
        return Tiles.of(len(self.seeds), self.match)

    def check(self) -> None:
        """Raise a `UserError` unless all processes have work."""
        _ = self._tiles.mesh

    def start(self) -> None:
        """Compile the program, for any number of steps, and initialise the learners."""
        tiles = self._tiles
        numbers = np.arange(self.seeds.start, self.seeds.start + tiles.spread)
        begin = jax.jit(tiles.map(_begin, 1))
        self.states, self._keys = begin((self.match,), (tiles.place(numbers),))
        self.marks = tiles.place(self.sound)
        program = jax.jit(tiles.map(advance, 3))
        common = (self.match, np.int32(0), np.int32(0), np.bool_(True))
        self._program = program.lower(common, (self.states, self._keys, self.marks)).compile()

    def place(self, states: Any, marks: Any = None) -> None:
        """Take over `states`, and `marks` unless all is sound, leaves `[P, ...]`, spread over the devices."""
        self.states = self._tiles.place(states)
        self.marks = self._tiles.place(self.sound if marks is None else marks)

    def collect(self, states: Any) -> Any:
        """`states` from the devices as NumPy leaves `[P, ...]`; see `shapes`."""
        return jax.tree.map(lambda leaf: leaf[: self.padded], self._tiles.collect(states))

    def run_until(self, start: int, stop: int, look: bool = True) -> None:
        """Steps `start` ... `stop - 1` of all seeds, none if they are equal; with `look`, then update the outcome.

        Without a step no fault is found, so that it makes no difference where a run was interrupted.
        """
        assert self._program is not None, "start first"
        common = (self.match, np.int32(start), np.int32(stop), np.bool_(look))
        self.states, *seen, marks = self._program(common, (self.states, self._keys, self.marks))
        self.marks = marks if stop > start else self.marks
        collected = self._tiles.collect((*seen, self.marks))
        *seen, self.first_bad = jax.tree.map(lambda leaf: leaf[: len(self.seeds)], collected)
        outcome, self.learning = jax.tree.map(self._of_sound_seeds, tuple(seen))
        self.outcome = outcome if look else self.outcome

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Those of all seeds, in the order in which they happened."""
        if not self.bad.any():
            return ()
        first_bad: np.ndarray = self.first_bad
        names = [f"states{jax.tree_util.keystr(path)}" for path, _ in _floats(self.states)] + ["reward_per_step"]
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


def advance(
    match: Match,
    start: Int[Array, ""],
    stop: Int[Array, ""],
    look: Bool[Array, ""],
    states: PyTree,
    key: Key[Array, ""],
    first_bad: Int[Array, " arrays"] | None = None,
) -> tuple[PyTree, Outcome, PyTree, Int[Array, " arrays"]]:
    """Steps `start` ... `stop - 1` of one seed; then, with `look`, the outcome of what has been learned.

    Returns the states, the outcome (zeros without `look`), the metrics of the last step (NaN without any), and
    `first_bad`: for each array of floats in the states, and for the rewards of the outcome, the step that left it not
    finite, or -1, as it is before the first. From that step on the states stay as they were before it.
    """
    # Both are traced once, for their shapes and for what they do, and inlined, so that nothing rounds differently.
    step, look_at = jax.jit(shaping.step, inline=True), jax.jit(_look, inline=True)
    bad = jnp.asarray(sound(states, 1)[0]) if first_bad is None else first_bad

    def body(index: Any, carry: Any) -> Any:
        old, _, bad = carry
        states, metrics = step(match, old, key, index)
        finite = jnp.array([jnp.isfinite(leaf).all() for _, leaf in _floats(states)] + [True], bool)
        bad = jnp.where((bad < 0) & ~finite, index + 1, bad)
        return jax.tree.map(lambda *both: jnp.where((bad < 0).all(), *both), states, old), metrics, bad

    told = jax.eval_shape(step, match, states, key, start)[1]
    metrics = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), told)
    states, metrics, bad = jax.lax.fori_loop(start, stop, body, (states, metrics, bad))
    look_key = jax.random.fold_in(jax.random.fold_in(key, EVALUATION), stop)
    unseen = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(look_at, match, states, look_key)
    )
    outcome = jax.lax.cond(look, look_at, lambda *_: unseen, match, states, look_key)
    finite = jnp.isfinite(outcome.reward_per_step).all()
    last = jnp.where((bad[-1] < 0) & ~finite, stop, bad[-1])
    return states, outcome, metrics, bad.at[-1].set(last)


def _look(match: Match, states: PyTree, key: Key[Array, ""]) -> Outcome:
    """The outcome of the policies, of as many episodes as there are to evaluate.

    Among shapers, the mean over trials from which nobody learns, each against rivals of its own.
    """
    if not any(match.shapers):
        return shaping.outcome(match.replace(batch=EVALUATION_EPISODES), shaping.policies(match, states), key)
    keys = jax.random.split(key, max(match.rivals, EVALUATION_TRIALS))
    seen = jax.vmap(lambda own: shaping.trial_outcome(match, states, own))(keys)
    return jax.tree.map(lambda leaf: jnp.nanmean(leaf, (0, 1)), seen)


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


def _begin(match: Match, seed: Int[Array, ""]) -> tuple[Any, Key[Array, ""]]:
    """Initial states of a seed, and its key for training."""
    key = jax.random.key(seed)
    return shaping.init(match, key), key


def _floats(states: Any) -> list[tuple[Any, Any]]:
    """Path and array of everything in `states` that could be not finite."""
    leaves = jax.tree_util.tree_leaves_with_path(states)
    return [(path, leaf) for path, leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]


def sound(states: Any, count: int) -> np.ndarray:
    """The marks of `count` seeds with such `states` as long as everything is finite."""
    return np.full((count, len(_floats(states)) + 1), -1, np.int32)
