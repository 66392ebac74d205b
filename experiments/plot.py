"""`run.py plot`: a metric of any number of runs in one figure, and the same curves as a table."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments import curve_names
from experiments.bands import Band, band, smoothed
from experiments.config import UserError
from experiments.curve_figure import Look, band_name, curve_figure, said, saved
from experiments.curves import POINTS, Choice, Curve, Source, Table, choose, pool, read
from experiments.plot_arguments import Plotting
from experiments.run_directory import RunDirectory, write_atomically

__all__ = ["plot"]

CREATOR = "python run.py plot"
LEADING = ("run", "metric", "band", "step")
"""What only figures of ours are from, and how only tables of ours begin."""


def plot(asked: Plotting, command: str, console: Console) -> None:
    """Read the runs, draw the figure, write the files.

    Raises:
        UserError: a metric, a side or a file that cannot be.
    """
    sources = [Source.of(path) for path in asked.directories]
    metric = asked.metric or ("welfare" if sources[0].trains else "gap")
    slug = re.sub(r"\W+", "-", metric.replace("*", "all")).strip("-")
    files = asked.out or (asked.directories[0] / f"plot-{slug}.png",)
    for file in files:
        _check(file)
    groups = _grouped(sources) if asked.group else [[source] for source in sources]
    curves, choices = _gathered(asked, metric, groups, console)
    bands = [band(curve.table.values, asked.average, asked.interval, asked.level) for curve in curves]
    _tell(asked, sources, curves, bands, console)
    look = _look(asked, [group[0] for group in groups], curves, choices)
    for file in files:
        kind = file.suffix.lower().removeprefix(".")
        if kind == "csv":
            _write(file, _csv(asked, curves, bands, choices))
        else:
            _write(file, saved(curve_figure(curves, bands, look), kind, CREATOR))
    console.print(f"{look.y}; {_note(asked, curves)}", soft_wrap=True)
    for file in files:
        console.print(f"written: {file}", soft_wrap=True)


def _note(asked: Plotting, curves: Sequence[Curve]) -> str:
    return said(curves, asked.average, asked.interval, asked.level, asked.lines)


def _look(asked: Plotting, runs: Sequence[Source], curves: Sequence[Curve], choices: Sequence[Choice]) -> Look:
    """What the figure shows beside its curves."""
    return Look(
        title=curve_names.title(runs) if asked.title is None else asked.title,
        x=curve_names.x_name(runs[0], asked.x),
        y=curve_names.y_name(runs[0], choices, asked.smooth),
        note=_note(asked, curves) if asked.note else "",
        marks=_marks(runs) if asked.marks and choices[0].name == "welfare" else {},
        lines=asked.lines,
        log=asked.log,
        width=asked.width,
        height=asked.height,
    )


def _gathered(
    asked: Plotting, metric: str, groups: Sequence[list[Source]], console: Console
) -> tuple[list[Curve], list[Choice]]:
    """All curves under the names that they will have, and what each shows."""
    choices: list[Choice] = []
    curves: list[Curve] = []
    for group, label in zip(groups, curve_names.labels([group[0] for group in groups]), strict=True):
        for side in group[0].sides(asked.side):
            own = choose(group[0], side, metric)
            choices += own
            curves += _curves(asked, group, label, side, own, len(groups) == 1)
        if len(group) > 1:
            _tell_pooled(group, label, curves[-1], console)
    return _named(asked, curves), choices


def _grouped(sources: Sequence[Source]) -> list[list[Source]]:
    """Runs of one configuration together, whatever their seeds."""
    groups: dict[Any, list[Source]] = {}
    for source in sources:
        key = tuple(sorted((flag, own) for flag, own in source.config.items() if flag not in curve_names.SAME))
        groups.setdefault(key, []).append(source)
    return list(groups.values())


def _curves(
    asked: Plotting, group: list[Source], label: str, side: str, choices: list[Choice], alone: bool
) -> list[Curve]:
    """One side of runs that are drawn as one: a curve, or one for each seat."""
    first = group[0]
    simulated = asked.x == "episodes" and not first.trains
    wanted = [*choices, *(choose(first, side, "episodes") if simulated else [])]
    tables = [pool(own) for own in zip(*(read(source, side, wanted) for source in group), strict=True)]
    each = int(first.config.get("episodes", 1)) if asked.x == "episodes" else 1
    x = np.median(tables[-1].values, axis=1) if simulated else tables[0].steps * float(each)
    found = []
    for choice, table in zip(choices, tables, strict=False):
        name = curve_names.curve_name(label, first, side, choice, alone=alone, seats=len(choices) > 1)
        found.append(_prepared(asked, Curve(name, table, x), f"{first.path}, {choice.name}"))
    return found


def _prepared(asked: Plotting, curve: Curve, what: str) -> Curve:
    """As it is drawn: smoothed, and without what a logarithmic x-axis cannot show."""
    kept = curve.x > 0 if asked.log in ("x", "xy") else np.full(len(curve.x), True)
    steps, values, x = curve.table.steps[kept], curve.table.values[kept], curve.x[kept]
    if not np.isfinite(values).any():
        raise UserError(f"{what}: has no value that could be drawn; expected another --metric")
    if asked.log in ("y", "xy") and not (values > 0).any():
        raise UserError(f"--log {asked.log}: {what}, is nowhere above 0; expected --log none")
    values = values if asked.smooth is None else smoothed(x, values, asked.smooth)
    return Curve(curve.label, Table(steps, values, curve.table.seeds), x)


def _named(asked: Plotting, curves: list[Curve]) -> list[Curve]:
    """With the names asked for, and the number of seeds where it is not the same."""
    names = asked.labels or [curve.label for curve in curves]
    if len(names) != len(curves):
        known = ", ".join(f"{curve.label!r}" for curve in curves)
        raise UserError(f"--labels: {len(names)} for {len(curves)} curves; expected one for each of {known}")
    counts = [len(curve.table.seeds) for curve in curves]
    if len(set(counts)) > 1:
        names = [f"{name} (n = {count})" for name, count in zip(names, counts, strict=True)]
    return [Curve(name, curve.table, curve.x) for name, curve in zip(names, curves, strict=True)]


def _marks(sources: Sequence[Source]) -> dict[str, float]:
    """Welfare that the game is known for, of runs that have ended and agree on it."""
    found = []
    for source in sources:
        try:
            summary = json.loads(RunDirectory(source.path).summary.read_text(encoding="utf-8"))
            found.append({name: own for name, own in summary["baselines"].items() if isinstance(own, float)})
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return {}
    return found[0] if all(own == found[0] for own in found) else {}


def _tell_pooled(group: Sequence[Source], label: str, curve: Curve, console: Console) -> None:
    """Say what has become one curve."""
    steps, seeds = curve.table.steps, len(curve.table.seeds)
    text = f"{label}: {len(group)} runs, {seeds} seeds, steps {steps[0]} to {steps[-1]} that all have logged"
    twice = sum(int(source.config.get("seeds", 1)) for source in group) - seeds
    console.print(f"{text}; seeds that several have count once: {twice}" if twice > 0 else text, soft_wrap=True)


def _tell(asked: Plotting, sources: list[Source], curves: list[Curve], bands: list[Band], console: Console) -> None:
    """Say what is left out."""
    for source in sources:
        lines = RunDirectory(source.path).count_metrics()
        if lines > POINTS:
            text = f"{source.path}: of {lines:,} logged steps about {POINTS:,} at most, evenly spread, are drawn"
            console.print(text, soft_wrap=True)
    for curve, own in zip(curves, bands, strict=True):
        if missing := int((own.seeds < len(curve.table.seeds)).sum()):
            text = f"{curve.label}: at {missing} of {len(curve.x)} steps some seeds have no value"
            console.print(f"{text}, and are left out there", soft_wrap=True)
        if asked.log in ("y", "xy") and (below := int((own.middle <= 0).sum())):
            text = f"{curve.label}: {below} of {len(own.middle)} points are 0 or less, below any logarithmic axis"
            console.print(text, soft_wrap=True)


def _csv(asked: Plotting, curves: Sequence[Curve], bands: Sequence[Band], choices: Sequence[Choice]) -> bytes:
    """A row a curve and step: what is drawn of all seeds, and of each."""
    everyone = sorted({seed for curve in curves for seed in curve.table.seeds})
    extra = ["episodes"] if asked.x == "episodes" else []
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow([*LEADING, *extra, asked.average, "low", "high", "seeds", *(f"seed_{seed}" for seed in everyone)])
    for curve, own, choice in zip(curves, bands, choices, strict=True):
        metric = choice.name if choice.place is None else f"{choice.name}[{choice.place}]"
        metric += "" if asked.smooth is None else f" smoothed over {asked.smooth:g}"
        for row, step in enumerate(curve.table.steps.tolist()):
            seeds = dict(zip(curve.table.seeds, curve.table.values[row].tolist(), strict=True))
            numbers = [curve.x[row], own.middle[row], own.low[row], own.high[row]][len(extra) == 0 :]
            cells = [*map(_cell, numbers), int(own.seeds[row]), *(_cell(seeds.get(seed)) for seed in everyone)]
            table.writerow([curve.label, metric, band_name(asked.interval, asked.level), step, *cells])
    return file.getvalue().encode()


def _cell(value: float | None) -> float | str:
    return "" if value is None or np.isnan(value) else float(value)


def _check(file: Path) -> None:
    """Raise where there is a file that is no earlier figure or table of ours."""
    try:
        if not file.exists():
            return
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"--out {file}: cannot be read: {error.strerror or error}") from error
    table = file.suffix.lower() == ".csv"
    ours = content.startswith(",".join(LEADING).encode()) if table else CREATOR.encode() in content
    if not ours:
        raise UserError(f"--out {file}: is there, and not drawn by plot; expected the name of a new file")


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content)
    except OSError as error:
        raise UserError(f"--out {file}: cannot be written: {error.strerror or error}") from error
