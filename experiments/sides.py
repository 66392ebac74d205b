"""The device side of a run: the matches it trains, and the one program that advances each of them.

A run has one or two *sides* on the same seeds: the match asked for ("learners"), and a match of the baseline learner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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

__all__ = ["Side", "advance", "build_sides"]


@dataclass
class Side:
    """One match of a run, and where it stands.

    Attributes:
        names: of the learners, one a seat.
        env: the game.
        match: who sits where.
        states: of the learners, leaves `[S, ...]`.
        keys: `[S]`, one a seed.
        outcome: of the current policies, NumPy leaves `[S, n, ...]`; set by `run_until`.
        fault: first step, seed and metric that were not finite.
    """

    names: list[str]
    env: MatrixGame
    match: Match
    states: Any
    keys: Key[Array, " S"]
    outcome: Outcome | None = None
    fault: str | None = None
    _program: Callable[..., Any] | None = None

    @property
    def label(self) -> str:
        """Such as `lola,naive*3`."""
        return learner_label(self.names)

    def compile(self) -> None:
        """Compile the chunk program, for any number of steps."""
        seeds = _sharding(self.keys.shape[0])
        program = jax.jit(advance, in_shardings=(None, seeds, seeds, None, None), out_shardings=seeds)
        self._program = program.lower(self.match, self.states, self.keys, np.int32(0), np.int32(0)).compile()

    def place(self, states: Any) -> None:
        """Take over `states`, leaves `[S, ...]`, spread over the devices."""
        self.states = jax.device_put(states, _sharding(self.keys.shape[0]))

    def run_until(self, start: int, stop: int) -> None:
        """Steps `start` ... `stop - 1` of all seeds; none if they are equal, which only updates the outcome."""
        assert self._program is not None, "compile first"
        self.states, outcome, first_bad = self._program(
            self.match, self.states, self.keys, np.int32(start), np.int32(stop)
        )
        outcome = jax.tree.map(np.asarray, outcome)
        self.outcome, self.fault = outcome, self.fault or _fault(outcome, np.asarray(first_bad), stop)

    def metrics(self) -> dict[str, Any]:
        """Per seed: welfare `[S]`, rate of action 0 `[S]`, reward per step `[S][n]`."""
        assert self.outcome is not None, "run first"
        reward, rates = self.outcome.reward_per_step, self.outcome.action_rates[..., 0]
        return {
            "welfare": reward.mean(axis=1).tolist(),
            "cooperation": rates.mean(axis=1).tolist(),
            "reward_per_step": reward.tolist(),
        }


@partial(jax.vmap, in_axes=(None, 0, 0, None, None))
def advance(
    match: Match, states: PyTree, key: Key[Array, ""], start: Int[Array, ""], stop: Int[Array, ""]
) -> tuple[PyTree, Outcome, Int[Array, ""]]:
    """Steps `start` ... `stop - 1` of every seed; written for one seed, leaves `[S, ...]` outside.

    Returns the states, the outcome of the policies, and the first step that left a number not finite, or -1.
    """

    def body(index: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        states, first_bad = carry
        states, _ = shaping.step(match, states, key, index)
        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(states)]).all()
        return states, jnp.where((first_bad < 0) & ~finite, index + 1, first_bad)

    states, first_bad = jax.lax.fori_loop(start, stop, body, (states, jnp.int32(-1)))
    assert isinstance(match.env, MatrixGame), "`build_sides` lets only matrix games through"
    return states, shaping.outcome(match.env, shaping.policies(match, states)), first_bad


def build_sides(run: Run) -> dict[str, Side]:
    """The sides of `run`, freshly initialised: "learners", and "baseline" unless it is none or the same.

    Raises:
        UserError: an environment, a learner or a combination that is not possible.
    """
    env = build_environment(run)
    if not isinstance(env, MatrixGame):
        raise UserError(f"environment {run.env}: expected a matrix game")
    seats = {"learners": seat_names(run.learners, env.num_players)}
    if run.baseline != "none":
        seats["baseline"] = seat_names(run.baseline, env.num_players)
    if seats["learners"] == seats.get("baseline"):
        del seats["baseline"]
    matches = {name: Match.of(env, build_learners(run, env, names)) for name, names in seats.items()}
    init_keys, keys = _keys(np.arange(run.seed, run.seed + run.seeds))
    sides = {}
    for name, match in matches.items():
        states = jax.jit(jax.vmap(shaping.init, in_axes=(None, 0)))(match, init_keys)
        sides[name] = Side(seats[name], env, match, None, jax.device_put(keys, _sharding(run.seeds)))
        sides[name].place(states)
    return sides


@jax.jit
def _keys(seeds: Int[Array, " S"]) -> tuple[Key[Array, " S"], Key[Array, " S"]]:
    """One key a seed for the initial states, and one for the steps."""
    pairs = jax.vmap(lambda seed: jax.random.split(jax.random.key(seed)))(seeds)
    return pairs[:, 0], pairs[:, 1]


def _fault(outcome: Outcome, first_bad: np.ndarray, step: int) -> str | None:
    for metric, values in outcome._asdict().items():
        bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1) | (first_bad >= 0)
        if bad.any():
            seed = int(np.flatnonzero(bad)[0])
            return f"step {first_bad[seed] if first_bad[seed] >= 0 else step}, seed {seed}: {metric} is not finite"
    return None


def _sharding(seeds: int) -> jax.sharding.NamedSharding:
    """Seeds spread over as many local devices as divide them."""
    devices = jax.local_devices()
    count = next(d for d in range(len(devices), 0, -1) if seeds % d == 0)
    mesh = jax.make_mesh((count,), ("seeds",), (jax.sharding.AxisType.Auto,), devices=devices[:count])
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("seeds"))
