"""Which values the runs of a sweep have: all, random ones, or what an optimiser proposes. Imports no numerics.

The values of a run are a function of the seed, the number of the run and, for an optimiser, of the results of the
generations before; so a sweep that goes on after it was stopped is the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from experiments.sweep_arguments import Sweeping
from experiments.sweep_file import Sweep

__all__ = ["Point", "propose"]

RANDOM_FIRST = 10
"""Runs that must have finished before an optimiser proposes others; the first generation."""


@dataclass
class Point:
    """A run of a sweep.

    Attributes:
        run: its number.
        values: of the parameters.
        places: of the values in their distributions; empty in a grid.
        status: "proposed", "finished" or "failed".
        metric: by which it is judged; None if it has none, or one that is not finite.
        seconds: that it took, together with those that were trained together with it.
        reason: why it failed.
    """

    run: int
    values: dict[str, Any]
    places: dict[str, float] = field(default_factory=dict)
    status: str = "proposed"
    metric: float | None = None
    seconds: float | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """Of its directory."""
        return f"{self.run:03}"


def propose(asked: Sweeping, points: Sequence[Point]) -> list[Point]:
    """The next points, [] when there are all; those before are done, if method is bayes."""
    first = len(points)
    if asked.sweep.method == "grid":
        return list(itertools.islice(_grid(asked.sweep), first, asked.total))
    if asked.sweep.method == "random":
        return [_random(asked.sweep, asked.flags["seed"], run) for run in range(first, asked.total)]
    new = range(first, min(max(first + asked.flags["generation"], RANDOM_FIRST), asked.total))
    if sum(point.metric is not None for point in points) < RANDOM_FIRST:
        return [_random(asked.sweep, asked.flags["seed"], run) for run in new]
    return _optimised(asked.sweep, asked.flags["seed"], points, new) if new else []


def _grid(sweep: Sweep) -> Any:
    names = list(sweep.parameters)
    values = [own.grid() or () for own in sweep.parameters.values()]
    for run, chosen in enumerate(itertools.product(*values)):
        yield Point(run, dict(zip(names, chosen, strict=True)))


def _random(sweep: Sweep, seed: int, run: int) -> Point:
    places = {name: own.draw(Random(f"{seed}/{run}/{name}")) for name, own in sweep.parameters.items()}  # noqa: S311
    return _point(sweep, run, places)


def _point(sweep: Sweep, run: int, places: dict[str, float]) -> Point:
    return Point(run, {name: own.at(places[name]) for name, own in sweep.parameters.items()}, places)


def _optimised(sweep: Sweep, seed: int, points: Sequence[Point], new: range) -> list[Point]:
    """Points that a tree-structured Parzen estimator proposes, told of all `points`; failed ones count as the worst."""
    import optuna  # pyright: ignore[reportMissingImports]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds: dict[str, Any] = {
        name: optuna.distributions.FloatDistribution(0.0, 1.0)
        if own.choices is None
        else optuna.distributions.CategoricalDistribution(tuple(range(len(own.choices))))
        for name, own in sweep.parameters.items()
    }
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=0,
        constant_liar=True,
        seed=Random(f"{seed}/{new.start}").getrandbits(31),  # noqa: S311
    )
    study = optuna.create_study(direction="maximize" if sweep.maximize else "minimize", sampler=sampler)
    known = [point.metric for point in points if point.metric is not None]
    worst = min(known) if sweep.maximize else max(known)
    for point in points:
        value = worst if point.metric is None else point.metric
        study.add_trial(optuna.trial.create_trial(params=point.places, distributions=kinds, value=value))
    return [_point(sweep, run, dict(study.ask(kinds).params)) for run in new]
