"""What is known of the runs of a sweep, kept so that a sweep that was killed goes on."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from envs.registry import did_you_mean
from experiments.config import Run, UserError, parse
from experiments.psro_arguments import psro_arguments
from experiments.run_directory import RunDirectory, new_directory, write_atomically
from experiments.search import Point, propose
from experiments.sweep_arguments import OPTIONS, Sweeping
from experiments.sweep_job import STARTED
from experiments.tracking import flat

__all__ = ["Record", "parsed"]


class Record:
    """What is known of the runs of a sweep: `sweep.jsonl`, a line whenever a run is proposed or done.

    Attributes:
        asked: what is swept.
        folder: its directory.
        points: of the runs, in their order.
    """

    def __init__(self, asked: Sweeping, folder: Path):
        self.asked, self.folder = asked, folder
        self.points: list[Point] = []

    @classmethod
    def opened(cls, asked: Sweeping) -> Record:
        """The record in the directory that is asked for, a new one or that of a sweep that goes on.

        Raises:
            UserError: flags that no run can have; or the directory holds something else, or cannot be written.
        """
        name = f"sweep-{Path(asked.sweep.path).stem}"
        if not asked.goes_on:
            _check(asked, propose(asked, []))
        folder = Path(asked.out or "") if asked.goes_on else new_directory(asked.out, name)
        return cls(asked, folder)

    def read(self) -> None:
        """Keep what is asked for, and read what is there: statuses from the runs; a line cut short is left out."""
        file, path = Path(self.asked.sweep.path), self.folder / "sweep.jsonl"
        options = {flag: self.asked.flags[flag] for flag in OPTIONS}
        write_atomically(self.folder / "options.yaml", yaml.safe_dump(options, sort_keys=False).encode())
        if file.resolve() != (self.folder / "sweep.yaml").resolve():  # by which a sweep is known
            write_atomically(self.folder / "sweep.yaml", file.read_bytes())
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        found: dict[int, Point] = {}
        for line in lines:
            if line.endswith("\n"):
                point = Point(**json.loads(line))
                found[point.run] = point
        self.points = [found[run] for run in sorted(found)]
        for point in self.points:
            if point.status != "failed":
                point.status, point.metric = "proposed", None
                self.judge(point, None)
            elif self.asked.flags["retry"]:
                point.status, point.reason = "proposed", None
        write_atomically(path, "".join(_line(point) for point in self.points).encode())

    def write(self, points: Sequence[Point]) -> None:
        """Add lines."""
        with (self.folder / "sweep.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(_line(point) for point in points)

    def todo(self) -> list[Point]:
        """The next runs: those that are not done, or else what is proposed then."""
        left = [point for point in self.points if point.status == "proposed" and point.run < self.asked.total]
        if not left and not self.reached:
            left = propose(self.asked, self.points)
            _check(self.asked, left)
            self.points += left
            self.write(left)
        return left

    def directory(self, point: Point) -> Path:
        """The directory of a run."""
        return self.folder / "runs" / point.name

    @property
    def reached(self) -> bool:
        """Whether a run has reached the target, with which the sweep ends."""
        sweep, target = self.asked.sweep, self.asked.sweep.target
        metrics = [point.metric for point in self.points if point.metric is not None]
        return target is not None and any(own == target or sweep.better(own, target) for own in metrics)

    def judge(self, point: Point, output: Path | None) -> str | None:
        """Set what came of a run: its status there, None if it has left nothing. Reasons are in `output`.

        Raises:
            UserError: it has no such metric.
        """
        run = RunDirectory(self.directory(point))
        summary = run.read_summary()
        status = summary.get("status")
        if status is None:
            if output is not None:
                point.status, point.reason = "failed", _reason(output)
            return None
        if status == "interrupted":
            return status
        faults = [f"{own['side']}, step {own['step']}, seed {own['seed']}: {own['array']} is not finite"
                  for own in summary.get("faults", [])]  # fmt: skip
        point.status, point.seconds, point.reason = status, summary["wall_s"], "; ".join(faults[:2]) or None
        if status == "finished":
            point.metric = self.metric(run)
        return status

    def metric(self, run: RunDirectory) -> float | None:
        """The last value of the metric that a run has logged; None if there is no metric, or it is not finite."""
        name = self.asked.sweep.metric
        if name is None:
            return None
        last = list(run.read_metrics(1))[-1]
        metrics, known = flat(last), flat(_filled(last))
        if name not in known:
            names = [own for own in known if "/seed_" not in own]
            raise UserError(f"metric {name!r}: {run.path} has none{did_you_mean(name, names)}")
        value = metrics.get(name, math.nan)
        return float(value) if math.isfinite(value) else None


def _line(point: Point) -> str:
    return json.dumps(asdict(point)) + "\n"


def _filled(data: Any) -> Any:
    """`data` with numbers where there were none that are finite."""
    if isinstance(data, dict):
        return {name: _filled(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_filled(value) for value in data]
    return 0.0 if data is None else data


def _reason(output: Path) -> str:
    """The last error in the output of a job's last attempt, or its last line."""
    text = output.read_text(encoding="utf-8") if output.exists() else ""
    lines = [line for line in text.rpartition(STARTED)[2].splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or ["the worker ended without a word"])[-1].removeprefix("error: ").strip()


def _check(asked: Sweeping, points: Sequence[Point]) -> None:
    """Raise a `UserError` for flags that no run can have."""
    for point in points:
        name, *args = asked.sweep.args(point.values, "disabled")
        try:
            parsed(tuple(args)) if name == "train" else psro_arguments(args)
        except (UserError, SystemExit) as error:
            reason = error if isinstance(error, UserError) else "a flag is refused"
            raise UserError(f"run {point.run} of {asked.sweep.path}: {reason}: {shlex.join(args)}") from error


@cache
def parsed(args: tuple[str, ...]) -> Run:
    """The run that is asked for; raises as `parse`."""
    return parse(args).run
