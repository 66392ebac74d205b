"""Curves of runs: a metric of every seed over the steps that were logged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from envs.registry import did_you_mean
from experiments.bands import mean
from experiments.config import UserError
from experiments.given import read_yaml
from experiments.run_directory import RunDirectory

__all__ = ["POINTS", "Choice", "Curve", "Source", "Table", "choose", "pool", "read"]

POINTS = 2000
"""About so many logged steps of a run are drawn at most, evenly spread."""


class Choice(NamedTuple):
    """What is drawn of a line of metrics.

    Attributes:
        name: of the metric, such as "welfare" or "statistics.C".
        place: seat, or the like; None for the mean of all.
        places: how many there are; 1 for what a seed has only one of.
    """

    name: str
    place: int | None
    places: int


@dataclass(frozen=True)
class Source:
    """A run directory to read from.

    Attributes:
        path: of the directory.
        config: its flags, as text.
        first: the first line of its metrics.
    """

    path: Path
    config: dict[str, str]
    first: dict[str, Any]

    @classmethod
    def of(cls, path: Path) -> Source:
        """The run in `path`.

        Raises:
            UserError: it has no metrics.
        """
        run = RunDirectory(path)
        first = next(run.read_metrics(), None)
        if first is None:
            raise UserError(f"{path}: has no metrics yet; expected the directory of a run of training or of psro")
        return cls(path, read_yaml(str(run.config)), first)

    @property
    def trains(self) -> bool:
        """Whether it is a run of training, with sides, and not of psro."""
        return "learners" in self.first

    @property
    def players(self) -> int:
        """How many play."""
        return len(_metrics(self.first, "learners")["reward_per_step" if self.trains else "value"][0])

    @property
    def seed(self) -> int:
        """Number of the first seed."""
        return int(self.config.get("seed", 0))

    def sides(self, asked: str) -> tuple[str, ...]:
        """Of "learners", "baseline" or "both", those that are there.

        Raises:
            UserError: there is none.
        """
        sides = tuple(side for side in ("learners", "baseline") if asked in (side, "both"))
        there = tuple(side for side in sides if not self.trains or side in self.first)
        if not there or (not self.trains and asked != "learners"):
            raise UserError(f"--side {asked}: {self.path} has no baseline; expected --side learners")
        return there


@dataclass(frozen=True)
class Table:
    """A metric of every seed.

    Attributes:
        steps: of the L lines, increasing.
        values: `[L, S]`; NaN where a seed has none.
        seeds: numbers of the S seeds.
    """

    steps: np.ndarray
    values: np.ndarray
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Curve:
    """A line of a figure, and the seeds behind it.

    Attributes:
        label: its name.
        table: the metric of every seed.
        x: where each of the L lines is drawn, `[L]`.
    """

    label: str
    table: Table
    x: np.ndarray


def choose(source: Source, side: str, metric: str) -> list[Choice]:
    """What `metric` stands for in a run: one curve, or one for each seat.

    Raises:
        UserError: the run has no such metric; the message lists those that it has.
    """
    known = {name: len(_rows(own)[0]) for name, own in _metrics(source.first, side).items() if own}
    match = re.fullmatch(r"(.*?)(?:\[(\d+|\*)\])?", metric.strip())
    name, place = match.groups() if match else (metric, None)
    found = [name] if name in known else [own for own in known if own.endswith(f".{name}")]
    if len(found) != 1:
        raise UserError(f"--metric {metric}: {source.path} {_unknown(name, found, known)}")
    places = known[found[0]]
    if place is None:
        return [Choice(found[0], None, places)]
    if place != "*" and int(place) >= places:
        expected = f"{name}[0] to {name}[{places - 1}]" if places > 1 else name
        raise UserError(f"--metric {metric}: {source.path} has {places} of them; expected {expected}")
    return [Choice(found[0], own, places) for own in (range(places) if place == "*" else [int(place)])]


def _unknown(name: str, found: list[str], known: dict[str, int]) -> str:
    if found:
        return f"has several; expected one of {', '.join(found)}"
    several = [f"{own}[0..{places - 1}]" if places > 1 else own for own, places in known.items()]
    near = did_you_mean(name, [*known, *(own.rpartition(".")[2] for own in known)])
    return f"has no such metric{f'{near} It has' if '?' in near else '; it has'} {', '.join(several)}"


def read(source: Source, side: str, choices: Sequence[Choice]) -> list[Table]:
    """The metrics `choices` of a side, each a table, of about `POINTS` steps at most.

    Raises:
        UserError: a line is damaged, or without a metric.
    """
    steps: list[int] = []
    rows: list[list[np.ndarray]] = [[] for _ in choices]
    for line in RunDirectory(source.path).read_metrics(POINTS):
        steps.append(line["step"])
        for choice, own in zip(choices, rows, strict=True):
            try:
                own.append(_row(_metrics(line, side)[choice.name], choice))
                assert len(own[-1]) == len(own[0])
            except (AssertionError, KeyError, IndexError, TypeError, ValueError) as error:
                text = f"{source.path}: step {line['step']} of metrics.jsonl is damaged"
                raise UserError(f"{text}: expected {choice.name} of every seed") from error
    seeds = tuple(range(source.seed, source.seed + len(rows[0][0])))
    return [Table(np.array(steps), np.stack(own), seeds) for own in rows]


def _metrics(line: dict[str, Any], side: str) -> dict[str, Any]:
    """Name → values of every seed; names of nested tables are joined by dots."""
    found: dict[str, Any] = {}

    def flatten(prefix: str, own: Any) -> None:
        if isinstance(own, dict):
            for name, inner in own.items():
                flatten(f"{prefix}.{name}".lstrip("."), inner)
        elif isinstance(own, list):
            found[prefix] = own

    flatten("", line.get(side, {}) if "learners" in line else line)
    return found


def _rows(values: list[Any]) -> list[list[Any]]:
    return [own if isinstance(own, list) else [own] for own in values]


def _row(values: list[Any], choice: Choice) -> np.ndarray:
    """One number a seed, `[S]`."""
    table = np.array(_rows(values), float)
    return mean(table, axis=1) if choice.place is None else table[:, choice.place]


def pool(tables: Sequence[Table]) -> Table:
    """The seeds of several runs of one configuration, at the steps that all have logged; each seed once.

    Raises:
        UserError: they have no step in common.
    """
    steps = reduce(np.intersect1d, [table.steps for table in tables])
    if not len(steps):
        raise UserError("--group True: runs that differ only in seeds have logged no step in common")
    columns: dict[int, np.ndarray] = {}
    for table in tables:
        rows = table.values[np.isin(table.steps, steps)]
        for seed, column in zip(table.seeds, rows.T, strict=True):
            columns.setdefault(seed, column)
    return Table(steps, np.stack(list(columns.values()), axis=1), tuple(columns))
