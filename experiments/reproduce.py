"""Run the experiments of a reproduction, one after the other, and set what came out beside what was published.

An experiment is a function that returns rows. Each is written down as soon as it ends, so that nothing is lost and a
stopped reproduction goes on where it was; the report is made of what has been written.
"""

from __future__ import annotations

import fnmatch
import importlib
import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from envs.registry import did_you_mean
from experiments.config import UserError
from experiments.reproduce_arguments import Reproduction
from experiments.run_directory import write_atomically, write_json
from experiments.tables import versions

__all__ = [
    "HEADINGS",
    "Experiment",
    "Measured",
    "Row",
    "at_least",
    "cells",
    "factor",
    "near",
    "read_result",
    "reproduce",
    "sampled",
    "shown",
]


@dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        what: it is.
        published: by others, or computed in closed form; None where nobody has.
        ours: what we measure.
        tolerance: in words.
        passed: whether ours is within it; None where there is nothing to compare with.
    """

    what: str
    published: float | str | None
    ours: float | str
    tolerance: str
    passed: bool | None


@dataclass(frozen=True)
class Measured:
    """Rows, and what figures and summaries are made of beside them.

    Attributes:
        rows: of the table.
        data: of numbers, strings, lists and dictionaries with strings for keys.
    """

    rows: list[Row]
    data: dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """Rows that are measured together.

    Attributes:
        name: on the command line.
        title: in the report.
        setting: what was run, and where the published numbers are from.
        seeds: independent runs behind each row.
        run: measures them; returns rows, or `Measured`.
        resumes: whether `run` takes a directory of its own, in which it goes on where it was stopped; it holds
            `setting.txt`, too.
    """

    name: str
    title: str
    setting: str
    seeds: int
    run: Callable[..., list[Row] | Measured]
    resumes: bool = False


def near(what: str, published: float, ours: float, tolerance: float) -> Row:
    """A row whose number should be within `tolerance` of the published one."""
    return Row(what, published, float(ours), f"± {tolerance:.3g}", bool(abs(ours - published) <= tolerance))


def factor(what: str, published: float, ours: float, ratio: float) -> Row:
    """A row whose number should be within a factor of `ratio` of the published one."""
    close = 1 / ratio <= abs(ours / published) <= ratio if published else ours == 0
    return Row(what, published, float(ours), f"× {ratio:g}", bool(close))


def at_least(what: str, published: float | str, ours: float, least: float) -> Row:
    """A row whose number should be `least` or more."""
    return Row(what, published, float(ours), f"≥ {least:.3g}", bool(ours >= least))


def sampled(what: str, published: float, samples: Sequence[float] | np.ndarray, floor: float) -> Row:
    """A row whose number, a mean of `samples`, should be within `floor` and four standard errors of the published."""
    values = np.asarray(samples, float)
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return near(what, published, float(values.mean()), floor + 4 * float(error))


def shown(what: str, ours: float | str, published: float | str | None = None) -> Row:
    """A row with nothing, or nothing reliable, to compare with."""
    return Row(what, published, ours if isinstance(ours, str) else float(ours), "", None)


def reproduce(asked: Reproduction, _: str, console: Console) -> int:
    """Run the experiments asked for that are not done yet; print the tables and write the report.

    Returns:
        0, or 1 if a row missed its tolerance.

    Raises:
        UserError: an unknown experiment, a directory that cannot be written, or a damaged result.
    """
    module = importlib.import_module(f"experiments.papers.{asked.name}")
    if asked.scale not in module.SCALES:
        raise UserError(f"--scale {asked.scale}: {asked.name} has {', '.join(module.SCALES)}")
    known: dict[str, Experiment] = {experiment.name: experiment for experiment in module.experiments(asked.scale)}
    for pattern in asked.only:
        if not fnmatch.filter(known, pattern):
            raise UserError(f"--only: unknown experiment {pattern!r}{did_you_mean(pattern, known)}")
    asked_for = {name for name in known if not asked.only or any(fnmatch.fnmatch(name, p) for p in asked.only)}
    directory = asked.out
    if asked.report and asked.report.is_dir():
        raise UserError(
            f"--report {asked.report}: is a directory; expected a file, such as {asked.report}/{asked.name}.md"
        )
    try:
        for folder in (directory, *([asked.report.parent] if asked.report else [])):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be written: {error.strerror or error}") from error
    results = []
    for experiment in known.values():
        file = directory / f"{experiment.name}.json"
        wanted = experiment.name in asked_for
        if wanted and (asked.fresh or not file.is_file() or read_result(file)["setting"] != experiment.setting):
            console.print(f"{experiment.name}: {experiment.title} ...", soft_wrap=True)
            command = f"python run.py reproduce {asked.name} --scale {asked.scale} --only {experiment.name}"
            folder, start = directory / experiment.name, time.perf_counter()
            resumed = experiment.resumes and _goes_on(folder, experiment.setting, asked.fresh)
            found = experiment.run(folder) if experiment.resumes else experiment.run()
            found = found if isinstance(found, Measured) else Measured(found, {})
            seconds = round(time.perf_counter() - start, 1)
            result = {"title": experiment.title, "setting": experiment.setting, "command": command}
            result |= {"seeds": experiment.seeds, "seconds": seconds, "resumed": resumed, "versions": versions()}
            write_json(file, result | asdict(found))
        if file.is_file():
            results.append((experiment, read_result(file)))
            if wanted:
                console.print(_table(*results[-1]))
    shown_now = [result for experiment, result in results if experiment.name in asked_for]
    missed = [row["what"] for result in shown_now for row in result["rows"] if row["passed"] is False]
    total = sum(row["passed"] is not None for result in shown_now for row in result["rows"])
    console.print(f"{total - len(missed)} of {total} numbers within tolerance; results: {directory}", soft_wrap=True)
    if asked.report:
        write_atomically(asked.report, _markdown(module, results, asked.report.parent).encode())
        console.print(f"report: {asked.report}", soft_wrap=True)
    return 1 if missed else 0


def _goes_on(folder: Path, setting: str, fresh: bool) -> bool:
    """Whether `folder` holds a begun experiment of this `setting`; any other is set aside, as `folder-1`, say."""
    note = folder / "setting.txt"
    if folder.is_dir() and (fresh or (note.is_file() and note.read_text(encoding="utf-8") != setting)):
        numbered = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(1))
        folder.rename(next(spare for spare in numbered if not spare.exists()))
    begun = folder.is_dir() and any(file != note for file in folder.iterdir())
    folder.mkdir(exist_ok=True)
    write_atomically(note, setting.encode())
    return begun


def read_result(file: Path) -> dict[str, Any]:
    """What an experiment left: its setting, seconds, whether these are since it was resumed, seeds, rows and data.

    Raises:
        UserError: a damaged file.
    """
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        rows = [asdict(Row(**row)) for row in result["rows"]]
        kept = {key: result[key] for key in ("setting", "seconds", "seeds")}
        return kept | {"resumed": result.get("resumed", False), "rows": rows, "data": result.get("data", {})}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: is damaged; expected what `reproduce` writes: remove it, or use --fresh True"
        ) from error


HEADINGS = ("what", "published", "ours", "tolerance", "")
"""Of a table of rows; the last is the verdict."""


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of a table, below `HEADINGS`."""
    verdict = {True: "pass", False: "MISS", None: ""}[row["passed"]]
    published, ours = (_number(row[key], row["tolerance"]) for key in ("published", "ours"))
    return row["what"], published, ours, row["tolerance"], verdict


def _number(value: float | str | None, tolerance: str) -> str:
    """Four significant digits, or as many as a small tolerance takes; whole numbers as they are."""
    if value is None or isinstance(value, str):
        return value or ""
    if value == round(value) and abs(value) < 1e6:
        return f"{value:.0f}"
    within = float(tolerance[2:]) if tolerance.startswith("± ") else 0.0
    digits = math.ceil(math.log10(abs(value) / within)) if within > 0 else 0
    return f"{value:.{max(4, digits)}g}"


def _effort(result: dict[str, Any]) -> str:
    since = " since it was resumed" if result["resumed"] else ""
    return f"{result['seeds']} seed{'' if result['seeds'] == 1 else 's'}, {result['seconds']:.0f} s{since}."


def _table(experiment: Experiment, result: dict[str, Any]) -> Table:
    caption = f"{result['setting']} {_effort(result)}"
    table = Table(title=experiment.title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if place in (1, 2) else "left")
    for row in result["rows"]:
        table.add_row(*cells(row), style={False: "bold red"}.get(row["passed"]))
    return table


def _markdown(module: Any, results: list[tuple[Experiment, dict[str, Any]]], folder: Path) -> str:
    """The page; what a module has an `overview` of comes first, with figures that it draws into `folder`."""
    lines = [module.INTRODUCTION.strip()]
    if hasattr(module, "overview"):
        lines += ["", *module.overview({experiment.name: result["data"] for experiment, result in results}, folder)]
    for experiment, result in results:
        lines += ["", f"## {experiment.title}", "", result["setting"], ""]
        lines += [f"{_effort(result)} `--only {experiment.name}`", ""]
        lines += ["| " + " | ".join(HEADINGS) + " |", "|---|---:|---:|---|---|"]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in result["rows"]]
    return "\n".join(lines) + "\n"
