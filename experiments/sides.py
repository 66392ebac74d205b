"""The device side of a run: the matches it trains, and the one program that advances each of them.

A run has one or two *sides* on the same seeds: the match asked for ("learners"), and a match of the baseline learner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

__all__ = ["EVALUATION_EPISODES", "Side", "advance", "build_sides"]


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
        fault: first step, seed and array that were not finite.
    """

    names: list[str]
    env: Environment
    match: Match
    seeds: range
    states: Any = None
    outcome: Any = None
    learning: Any = ()
    fault: str | None = None
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
        program = jax.jit(tiles.map(advance, 2))
        common = (self.match, np.int32(0), np.int32(0), np.bool_(True))
        self._program = program.lower(common, (self.states, self._keys)).compile()

    def place(self, states: Any) -> None:
        """Take over `states`, leaves `[P, ...]`, spread over the devices."""
        self.states = self._tiles.place(states)

    def collect(self, states: Any) -> Any:
        """`states` from the devices as NumPy leaves `[P, ...]`; see `shapes`."""
        return jax.tree.map(lambda leaf: leaf[: self.padded], self._tiles.collect(states))

    def run_until(self, start: int, stop: int, look: bool = True) -> None:
        """Steps `start` ... `stop - 1` of all seeds, none if they are equal; with `look`, then update the outcome."""
        assert self._program is not None, "start first"
        common = (self.match, np.int32(start), np.int32(stop), np.bool_(look))
        self.states, *seen, first_bad = self._program(common, (self.states, self._keys))
        collected = self._tiles.collect((*seen, first_bad))
        outcome, self.learning, first_bad = jax.tree.map(lambda leaf: leaf[: len(self.seeds)], collected)
        self.outcome = outcome if look else self.outcome
        self.fault = self.fault or self._fault(first_bad, stop)

    def _fault(self, first_bad: np.ndarray, stop: int) -> str | None:
        """The first step, seed and array that were not finite; `first_bad` is `[S, arrays]`, -1 for sound ones."""
        names = [jax.tree_util.keystr(path) for path, _ in _floats(self.states)]
        bad = np.argwhere(first_bad >= 0)
        if len(bad):
            seed, leaf = min(bad, key=lambda place: first_bad[tuple(place)])
            return f"step {first_bad[seed, leaf]}, seed {self.seeds[seed]}: states{names[leaf]} is not finite"
        assert self.outcome is not None
        bad = np.flatnonzero(~np.isfinite(self.outcome.reward_per_step).all(axis=1))
        if len(bad):
            return f"step {stop}, seed {self.seeds[bad[0]]}: reward_per_step is not finite"
        return None

    def metrics(self) -> dict[str, Any]:
        """Per seed: welfare `[S]`, reward per step `[S][n]`, the environment's statistics, and what learners report.

        "cooperation" `[S]` is there where the environment measures it, "statistics" `[S][n]` unless the name of the
        game has none, "learning" (learner → metric → `[S][learners]`) once something was learned.
        """
        assert self.outcome is not None, "run first"
        reward, statistics = self.outcome.reward_per_step, self.outcome.statistics
        metrics: dict[str, Any] = {"welfare": reward.mean(axis=1).tolist()}
        if self.env.cooperation is not None:
            metrics["cooperation"] = mean_over_seats(statistics[self.env.cooperation]).tolist()
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
) -> tuple[PyTree, Outcome, PyTree, Int[Array, " arrays"]]:
    """Steps `start` ... `stop - 1` of one seed; then, with `look`, the outcome of what has been learned.

    Returns the states, the outcome (zeros without `look`), the metrics of the last step (NaN without any), and for
    each array of floats in the states the step that left it not finite, or -1.
    """
    # Both are traced once, for their shapes and for what they do, and inlined, so that nothing rounds differently.
    step, look_at = jax.jit(shaping.step, inline=True), jax.jit(_look, inline=True)

    def body(index: Any, carry: Any) -> Any:
        states, _, first_bad = carry
        states, metrics = step(match, states, key, index)
        finite = jnp.array([jnp.isfinite(leaf).all() for _, leaf in _floats(states)], bool)
        return states, metrics, jnp.where((first_bad < 0) & ~finite, index + 1, first_bad)

    told = jax.eval_shape(step, match, states, key, start)[1]
    metrics = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), told)
    first_bad = jnp.full(len(_floats(states)), -1, jnp.int32)
    states, metrics, first_bad = jax.lax.fori_loop(start, stop, body, (states, metrics, first_bad))
    look_key = jax.random.fold_in(jax.random.fold_in(key, EVALUATION), stop)
    unseen = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(look_at, match, states, look_key)
    )
    return states, jax.lax.cond(look, look_at, lambda *_: unseen, match, states, look_key), metrics, first_bad


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
