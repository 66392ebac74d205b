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
from envs import MatrixGame
from experiments.config import Run, UserError, build_environment, build_learners, seat_names
from experiments.report import learner_label
from shaping import Match, Outcome

__all__ = ["Side", "advance", "build_sides", "over_seeds"]


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
        fault: first step, seed and array that were not finite.
    """

    names: list[str]
    env: MatrixGame
    match: Match
    seeds: range
    states: Any = None
    outcome: Outcome | None = None
    fault: str | None = None
    _keys: Any = None
    _program: Callable[..., Any] | None = None

    @property
    def label(self) -> str:
        """Such as `lola,naive*3`."""
        return learner_label(self.names)

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
        self.states, outcome, first_bad = self._program(common, (self.states, self._keys))
        self.outcome = jax.tree.map(lambda leaf: np.asarray(leaf)[: len(self.seeds)], outcome)
        self.fault = self.fault or self._fault(np.asarray(first_bad)[: len(self.seeds)], stop)

    def _fault(self, first_bad: np.ndarray, stop: int) -> str | None:
        """The first step, seed and array that were not finite; `first_bad` is `[S, arrays]`, -1 for sound ones."""
        names = [jax.tree_util.keystr(path) for path, _ in _floats(self.states)]
        bad = np.argwhere(first_bad >= 0)
        if len(bad):
            seed, leaf = min(bad, key=lambda place: first_bad[tuple(place)])
            return f"step {first_bad[seed, leaf]}, seed {self.seeds[seed]}: states{names[leaf]} is not finite"
        assert self.outcome is not None
        for metric, values in self.outcome._asdict().items():
            bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
            if len(bad):
                return f"step {stop}, seed {self.seeds[bad[0]]}: {metric} is not finite"
        return None

    def metrics(self) -> dict[str, Any]:
        """Per seed: welfare `[S]`, rate of action 0 `[S]`, reward per step `[S][n]`."""
        assert self.outcome is not None, "run first"
        reward, rates = self.outcome.reward_per_step, self.outcome.action_rates[..., 0]
        return {
            "welfare": reward.mean(axis=1).tolist(),
            "cooperation": rates.mean(axis=1).tolist(),
            "reward_per_step": reward.tolist(),
        }


def over_seeds(function: Callable[..., Any], mesh: jax.sharding.Mesh, arguments: int) -> Callable[..., Any]:
    """Map `function(*common, *of_one_seed)` over seeds, in tiles of fixed width, spread over the devices of `mesh`.

    Learning amplifies rounding until seeds end in other basins, and rounding depends on the width of a batch. In tiles
    of fixed width no seed depends on how many others run beside it, nor on the number of devices.

    Returns:
        A function of `common`, a tuple, and of a tuple of `arguments` PyTrees with leaves `[P, ...]`.
    """

    def run(common: tuple[Any, ...], seeds: tuple[Any, ...]) -> Any:
        assert len(seeds) == arguments
        tiles = jax.tree.map(lambda leaf: leaf.reshape(-1, _tile(), *leaf.shape[1:]), seeds)
        one_tile = jax.vmap(lambda *own: function(*common, *own))
        results = jax.lax.map(lambda tile: one_tile(*tile), tiles)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), results)

    spec = jax.sharding.PartitionSpec
    specs = (spec(), (spec("seeds"),) * arguments)
    return jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=spec("seeds"), check_vma=False)


def advance(
    match: Match, start: Int[Array, ""], stop: Int[Array, ""], states: PyTree, key: Key[Array, ""]
) -> tuple[PyTree, Outcome, Int[Array, " arrays"]]:
    """Steps `start` ... `stop - 1` of one seed.

    Returns the states, the outcome of the policies, and for each array of floats in the states the step that left it
    not finite, or -1.
    """

    def body(index: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        states, first_bad = carry
        states, _ = shaping.step(match, states, key, index)
        finite = jnp.array([jnp.isfinite(leaf).all() for _, leaf in _floats(states)], bool)
        return states, jnp.where((first_bad < 0) & ~finite, index + 1, first_bad)

    first_bad = jnp.full(len(_floats(states)), -1, jnp.int32)
    states, first_bad = jax.lax.fori_loop(start, stop, body, (states, first_bad))
    assert isinstance(match.env, MatrixGame), "`build_sides` lets only matrix games through"
    return states, shaping.outcome(match.env, shaping.policies(match, states)), first_bad


def build_sides(run: Run) -> dict[str, Side]:
    """The sides of `run`: "learners", and "baseline" unless it is none or the same. Compiles nothing.

    Raises:
        UserError: an environment, a learner or a combination that is not possible.
    """
    env = build_environment(run)
    if not isinstance(env, MatrixGame):
        raise UserError(f"environment {run.env}: expected a matrix game")
    seats = {"learners": seat_names(run.learners, env.num_players)}
    if run.baseline != "none":
        seats["baseline"] = seat_names(run.baseline, env.num_players, "baseline")
    if seats["learners"] == seats.get("baseline"):
        del seats["baseline"]
    seeds = range(run.seed, run.seed + run.seeds)
    return {
        name: Side(names, env, Match.of(env, build_learners(run, env, names)), seeds) for name, names in seats.items()
    }


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
