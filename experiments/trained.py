"""What a run directory has learned: `checkpoint:DIR#seat` as a learner."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from envs import Environment
from experiments import checkpoint
from experiments.config import Run, UserError, parse
from shaping import Frozen, Learner, Match, begin, init, policies

__all__ = ["Trained", "frozen", "load"]


@dataclass(frozen=True)
class Trained:
    """A run that has a checkpoint.

    Attributes:
        path: of the run directory.
        run: its flags.
        match: who sat where.
        step: training steps taken.
        states: of the learners, a group each, leaves `[S, seats, ...]` for S seeds.
    """

    path: Path
    run: Run
    match: Match
    step: int
    states: tuple[Any, ...]

    def learner(self, seat: int) -> Learner:
        """The policy of `seat` as a player that learns no more, one for each of the S seeds.

        A fixed strategy, which has learned nothing, as it is, and so are the rivals of shapers.
        """
        group = next(g for g, seats in enumerate(self.match.seats) if seat in seats)
        place = self.match.seats[group].index(seat)
        own = jax.tree.map(lambda leaf: leaf[place], self.match.learners[group])
        if any(self.match.shapers) and not self.match.shapers[group]:
            return own
        inner = lambda states: policies(self.match, begin(self.match, states, jax.random.key(0)))  # noqa: E731
        acting = jax.vmap(inner, axis_size=self.run.seeds)(self.states)[group]
        return Frozen.of(own, jax.tree.map(lambda leaf: leaf[:, place], acting)) if jax.tree.leaves(acting) else own

    def check(self, name: str, env: Environment, seat: int = 0) -> None:
        """Raise a `UserError` that starts with `name` unless `seat` exists and its policy can play `env`."""
        there = self.match.env
        if seat >= there.num_players:
            raise UserError(f"{name}: seat {seat} of {there.num_players}; expected #0 to #{there.num_players - 1}")
        spaces = [
            (type(e).__name__, e.num_observations, e.obs_shape, e.num_actions, e.action_dim) for e in (there, env)
        ]
        if spaces[0] != spaces[1]:
            what = (
                f"(kind, number of observations, their shape, actions, action dimension) {spaces[0]}, here {spaces[1]}"
            )
            raise UserError(f"{name}: learned to play {self.run.env} with {what}; expected the same")


def load(directory: str | Path, name: str | None = None) -> Trained:
    """What the run in `directory` has learned; messages start with `name`, or `checkpoint:` and the directory.

    Raises:
        UserError: it holds no run, or no checkpoint that can be read.
    """
    from experiments.sides import build_sides

    path, name = Path(directory), name or f"checkpoint:{directory}"
    if not (path / "config.yaml").is_file():
        raise UserError(f"{name}: holds no run; expected a directory with a config.yaml")
    run, _ = parse(["--config", str(path / "config.yaml")])
    side = build_sides(run)["learners"]
    seeds = np.zeros(side.padded, np.uint32)
    shapes = jax.eval_shape(jax.vmap(lambda seed: init(side.match, jax.random.key(seed))), seeds)
    step, states, unread = checkpoint.restore_latest(path / "checkpoint", {"learners": shapes})
    if states is None:
        why = f": {unread[0]}" if unread else "; expected a run that has written one"
        raise UserError(f"{name}: holds no checkpoint{why}")
    return Trained(path, run, side.match, step, jax.tree.map(lambda leaf: leaf[: run.seeds], states["learners"]))


def frozen(name: str, env: Environment, seat: int) -> Learner:
    """The learner `checkpoint:DIR#seat`, or `checkpoint:DIR` with the policy of the `seat` it is to sit in.

    Raises:
        UserError: no such seat, or a policy for another environment.
    """
    found = re.fullmatch(r"checkpoint:(.+?)(?:#(\d+))?", name)
    assert found is not None, "names of checkpoints are parsed before"
    trained = load(found[1])
    place = seat if found[2] is None else int(found[2])
    trained.check(name, env, place)
    return trained.learner(place)
