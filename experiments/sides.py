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
from jaxtyping import Array, Int, Key, PyTree

import shaping
from envs import Environment
from experiments.config import Run, UserError, build_environment, build_learners, seat_names
from experiments.report import learner_label, mean_over_seats
from shaping import Match, Outcome

EVALUATION_EPISODES = 64  # for the outcome of policies that have to be sampled
EVALUATION = np.uint32(2**32 - 2)  # folded into a seed's key for them; no training step has this number

__all__ = ["EVALUATION_EPISODES", "Side", "advance", "build_sides", "over_seeds", "seeds_program"]


@dataclass
class Side:
    """One match of a run, and where it stands.

    The arrays hold a few seeds more than asked for, up to a multiple of the tile; see `over_seeds`.

    Attributes:
        names: of the learners, one a seat.
        env: the game.
        match: who sits where.
        seeds: numbers of the seeds asked for, S of them.
        states: of the learners, leaves `[P, ...]` for the padded number P of seeds; set by `start`.
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
        """Number of seeds that the arrays hold."""
        return _padded(len(self.seeds))

    def start(self) -> None:
        """Compile the program, for any number of steps, and initialise the learners."""
        mesh = _mesh(len(self.seeds))
        numbers = np.arange(self.seeds.start, self.seeds.start + _padded(len(self.seeds)))
        begin = jax.jit(over_seeds(_begin, mesh, 1))
        self.states, self._keys = begin((self.match,), (jax.device_put(numbers, _sharding(mesh)),))
        program = jax.jit(over_seeds(advance, mesh, 2))
        common = (self.match, np.int32(0), np.int32(0))
        self._program = program.lower(common, (self.states, self._keys)).compile()

    def place(self, states: Any) -> None:
        """Take over `states`, leaves `[P, ...]`, spread over the devices."""
        self.states = jax.device_put(states, _sharding(_mesh(len(self.seeds))))

    def run_until(self, start: int, stop: int) -> None:
        """Steps `start` ... `stop - 1` of all seeds; none if they are equal, which only updates the outcome."""
        assert self._program is not None, "start first"
        common = (self.match, np.int32(start), np.int32(stop))
        self.states, *seen, first_bad = self._program(common, (self.states, self._keys))
        self.outcome, self.learning = jax.tree.map(lambda leaf: np.asarray(leaf)[: len(self.seeds)], tuple(seen))
        self.fault = self.fault or self._fault(np.asarray(first_bad)[: len(self.seeds)], stop)

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


def over_seeds(function: Callable[..., Any], mesh: jax.sharding.Mesh, arguments: int) -> Callable[..., Any]:
    """Map `function(*common, *of_one_seed)` over seeds, in tiles of fixed width, spread over the devices of `mesh`.

    Learning amplifies rounding until seeds end in other basins, and rounding depends on the width of a batch. In tiles
    of fixed width no seed depends on how many others run beside it, nor on the number of devices.

    Returns:
        A function of `common`, a tuple, and of a tuple of `arguments` PyTrees with leaves `[P, ...]`.
    """

    def run(common: tuple[Any, ...], seeds: tuple[Any, ...]) -> Any:
        assert len(seeds) == arguments
        tiles = jax.tree.map(lambda leaf: leaf.reshape(len(leaf) // _tile(), _tile(), *leaf.shape[1:]), seeds)
        one_tile = jax.vmap(lambda *own: function(*common, *own))
        results = jax.lax.map(lambda tile: one_tile(*tile), tiles)
        return jax.tree.map(lambda leaf: leaf.reshape(len(leaf) * _tile(), *leaf.shape[2:]), results)

    spec = jax.sharding.PartitionSpec
    specs = (spec(), (spec("seeds"),) * arguments)
    return jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=spec("seeds"), check_vma=False)


def seeds_program(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """A program that maps `function(*common, *of_one_seed)` over `count` seeds; compiled when first called.

    Returns:
        A function of `common`, a tuple, and of a tuple of PyTrees with leaves `[count, ...]`; its results are NumPy,
        leaves `[count, ...]`.
    """
    mesh, rows = _mesh(count), np.arange(_padded(count)) % count

    def mapped(common: tuple[Any, ...], seeds: tuple[Any, ...]) -> Any:
        return over_seeds(function, mesh, len(seeds))(common, seeds)

    program = jax.jit(mapped)

    def run(common: tuple[Any, ...], seeds: tuple[Any, ...]) -> Any:
        padded = jax.device_put(jax.tree.map(lambda leaf: leaf[rows], seeds), _sharding(mesh))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], program(common, padded))

    return run


def advance(
    match: Match, start: Int[Array, ""], stop: Int[Array, ""], states: PyTree, key: Key[Array, ""]
) -> tuple[PyTree, Outcome, PyTree, Int[Array, " arrays"]]:
    """Steps `start` ... `stop - 1` of one seed.

    Returns the states, the outcome of the policies, the metrics of the last step (NaN without any), and for each array
    of floats in the states the step that left it not finite, or -1.
    """

    def body(index: Any, carry: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        states, _, first_bad = carry
        states, metrics = shaping.step(match, states, key, index)
        finite = jnp.array([jnp.isfinite(leaf).all() for _, leaf in _floats(states)], bool)
        return states, metrics, jnp.where((first_bad < 0) & ~finite, index + 1, first_bad)

    first_bad = jnp.full(len(_floats(states)), -1, jnp.int32)
    shapes = jax.eval_shape(shaping.step, match, states, key, start)[1]
    metrics = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), shapes)
    states, metrics, first_bad = jax.lax.fori_loop(start, stop, body, (states, metrics, first_bad))
    looking = match.replace(batch=EVALUATION_EPISODES)
    look_key = jax.random.fold_in(jax.random.fold_in(key, EVALUATION), stop)
    return states, shaping.outcome(looking, shaping.policies(match, states), look_key), metrics, first_bad


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
        match = Match.of(env, built, batch=run.batch, episodes=run.episodes, share=run.share)
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


def _tile() -> int:
    """Seeds computed side by side; part of what makes numbers repeatable, so it depends on nothing but the backend."""
    return 4 if jax.default_backend() == "cpu" else 64


def _padded(seeds: int) -> int:
    return -(-seeds // _tile()) * _tile()


def _mesh(seeds: int) -> jax.sharding.Mesh:
    """As many local devices as divide the tiles of the seeds."""
    devices, tiles = jax.local_devices(), _padded(seeds) // _tile()
    count = next(d for d in range(len(devices), 0, -1) if tiles % d == 0)
    return jax.make_mesh((count,), ("seeds",), axis_types=(jax.sharding.AxisType.Auto,), devices=devices[:count])


def _sharding(mesh: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("seeds"))
