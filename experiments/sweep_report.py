"""What a sweep says: a line for each run, a table with the best first, a file of results and a picture."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from experiments.run_directory import write_atomically
from experiments.search import Point
from experiments.sweep_arguments import Sweeping
from experiments.sweep_file import Sweep
from experiments.sweep_pictures import number, parallel_coordinates
from experiments.tables import print_table

__all__ = ["report", "told"]

SHOWN = 20
"""Rows of the table; the file of results has all."""


def told(sweep: Sweep, point: Point) -> str:
    """One run in a line."""
    values = ", ".join(f"{name}={number(point.values[name])}" for name in sweep.varying)
    if point.status == "failed":
        return f"run {point.run} failed: {point.reason} ({values})"
    metric = f": {sweep.metric} {number(point.metric)}" if sweep.metric else ""
    return f"run {point.run} {point.status}{metric} ({values})"


def report(asked: Sweeping, folder: Path, points: Sequence[Point], console: Console) -> None:
    """Write `results.csv` and the picture, print the table and what is best."""
    sweep, ranked = asked.sweep, _ranked(asked.sweep, points)
    _write_csv(folder / "results.csv", sweep, ranked)
    done = [point for point in ranked if point.status != "proposed"]
    if done:
        print_table(console, _table(sweep, done))
    failed = sum(point.status == "failed" for point in points)
    if failed:
        console.print(f"{failed} of {len(points)} runs failed; what they printed is in {folder / 'output'}")
    judged = [point for point in points if point.metric is not None]
    if judged:
        parallel_coordinates(folder / "parallel_coordinates.png", folder.name, sweep, judged)
        best = ranked[0]
        name, *args = sweep.args(best.values, asked.flags["wandb"])
        words = ["python", "run.py", *([] if name == "train" else [name])]
        args = [arg for arg in args if arg != "--wandb=disabled"]
        console.print(f"best: run {best.run}, {sweep.metric} {number(best.metric)}: {folder / 'runs' / best.name}",
                      soft_wrap=True)  # fmt: skip
        console.print(shlex.join([*words, *args]), soft_wrap=True)
    elif not sweep.metric:
        console.print("the file names no metric: runs are in their order")
    console.print(f"sweep directory: {folder}", soft_wrap=True)


def _ranked(sweep: Sweep, points: Sequence[Point]) -> list[Point]:
    """The best first, those without a metric last."""
    sign = -1 if sweep.maximize else 1
    return sorted(points, key=lambda own: (own.metric is None, sign * (own.metric or 0.0), own.run))


def _table(sweep: Sweep, ranked: Sequence[Point]) -> Table:
    goal = "most" if sweep.maximize else "least"
    title = f"{len(ranked)} runs" + (f", {goal} {sweep.metric} first" if sweep.metric else "")
    title += f"; the first {SHOWN}" if len(ranked) > SHOWN else ""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("run", justify="right")
    for heading in ("status", *([sweep.metric] if sweep.metric else []), *sweep.varying):
        table.add_column(heading, no_wrap=True)
    for place, point in enumerate(ranked[:SHOWN]):
        cells = [str(point.run), point.status, *([number(point.metric)] if sweep.metric else [])]
        best = place == 0 and point.metric is not None
        table.add_row(*cells, *(number(point.values[name]) for name in sweep.varying), style="bold" if best else None)
    return table


def _write_csv(path: Path, sweep: Sweep, ranked: Sequence[Point]) -> None:
    text = io.StringIO()
    rows = csv.writer(text)
    names = list(sweep.parameters)
    rows.writerow(["run", "status", sweep.metric or "metric", *names, "seconds", "reason"])
    for own in sorted(ranked, key=lambda point: point.run):
        rows.writerow([own.run, own.status, own.metric, *(own.values[name] for name in names), own.seconds, own.reason])
    write_atomically(path, text.getvalue().encode())
