"""What a run directory has learned: `checkpoint:DIR#seat` as a learner, and policies to use elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from envs import Environment
from experiments.config import Run, UserError, parse, seat_names
from experiments.grown import Grown, load_grown
from experiments.learned import Learned, restored
from experiments.run_directory import kind_of_run, require_training
from shaping import Learner, Match, begin, init, policies

if TYPE_CHECKING:
    from experiments.sides import Fault

__all__ = ["Trained", "frozen", "load", "load_run"]


@dataclass(frozen=True)
class Trained(Learned):
    """A training run.

    Attributes:
        path: of the run directory.
        run: its flags.
        match: who sat where.
        step: training steps taken.
        states: of the learners, a group each, leaves `[S, seats, ...]`.
        faults: of seeds that went no further; their states are the last that were finite.
    """

    path: Path
    run: Run
    match: Match
    step: int
    states: tuple[Any, ...]
    faults: tuple[Fault, ...] = ()

    @property
    def env(self) -> Environment:
        """The environment."""
        return self.match.env

    @property
    def title(self) -> str:
        """Name of the environment."""
        return self.run.env

    @property
    def names(self) -> list[str]:
        """Of the learners, one a seat."""
        return seat_names(self.run.learners, self.env.num_players)

    @property
    def seeds(self) -> range:
        """Numbers of its seeds, S of them."""
        return range(self.run.seed, self.run.seed + self.run.seeds)

    @property
    def batch(self) -> int:
        """Environments that were side by side."""
        return self.run.batch

    @property
    def components(self) -> dict[str, dict[str, Any]]:
        """Hyper-parameters of environment and learners."""
        return self.run.components

    def kept(self, seat: int) -> tuple[Learner, Any]:
        """Its policy, or, as a shaper, what it starts a trial with."""
        group = next(g for g, seats in enumerate(self.match.seats) if seat in seats)
        place = self.match.seats[group].index(seat)
        own = jax.tree.map(lambda leaf: leaf[place], self.match.learners[group])
        shapes = self.match.shapers[group]
        if any(self.match.shapers) and not shapes:
            return own, None

        def start(states: tuple[Any, ...]) -> Any:
            inner = begin(self.match, states, jax.random.key(0))
            return inner[group] if shapes else policies(self.match, inner)[group]

        every = jax.jit(jax.vmap(start, axis_size=len(self.seeds)))(self.states)
        return own, jax.tree.map(lambda leaf: leaf[:, min(place, leaf.shape[1] - 1)], every)  # shapers may share one


def load(directory: str | Path, name: str | None = None, best: bool = False) -> Trained | Grown:
    """What the run in `directory` has learned; messages start with `name`, or `checkpoint:` and the directory.

    Args:
        directory: of the run.
        name: what messages call it.
        best: whether it is what the learners had learned where their median welfare was highest, instead of last.

    Raises:
        UserError: it holds no run, or no checkpoint that can be read.
    """
    path, name = Path(directory), name or f"checkpoint:{directory}"
    kind = kind_of_run(path, name)
    if kind == "league":
        raise UserError(f"{name}: holds a league, whose entrants are not kept; expected a run of train or psro")
    if kind == "psro" and best:
        raise UserError(f"{name}: holds a run of psro, of which no best is kept; expected it without @best")
    return load_run(path, name, best) if kind == "train" else load_grown(path, name)


def load_run(path: Path, name: str, best: bool = False) -> Trained:
    """What a training run has learned; raises as `load`."""
    from experiments.advance import sound
    from experiments.sides import build_sides

    run, _ = parse(["--config", str(require_training(path, name))])
    side = build_sides(run)["learners"]
    seeds = np.zeros(run.seeds, np.uint32)
    shapes = jax.eval_shape(jax.vmap(lambda seed: init(side.match, jax.random.key(seed))), seeds)
    like = {"learners": shapes, "faults": {"learners": sound(shapes, run.seeds)}}
    step, found = restored(path, name, like, best)
    side.states, side.first_bad = shapes, found["faults"]["learners"]
    return Trained(path, run, side.match, step, found["learners"], side.faults)


def frozen(name: str, env: Environment, seat: int) -> Learner:
    """The learner `checkpoint:DIR#seat`, or `checkpoint:DIR` with the policy of the `seat` it is to sit in.

    `checkpoint:DIR@best` and `checkpoint:DIR@best#seat` are those of the best checkpoint instead of the last.

    Raises:
        UserError: no such seat, or a policy for another environment.
    """
    found = re.fullmatch(r"checkpoint:(.+?)(@best)?(?:#(\d+))?", name)
    assert found is not None, "names of checkpoints are parsed before"
    learned = load(found[1], best=found[2] is not None)
    place = seat if found[3] is None else int(found[3])
    learned.check(name, env, place)
    return learned.learner(place)
