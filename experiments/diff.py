"""`run.py diff`: in what runs differ."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from experiments.config import UserError
from experiments.diff_arguments import Comparison
from experiments.run_directory import finite
from experiments.tracking import flat

__all__ = ["diff"]

CONDITIONS = ("status", "device", "wall_s", "compile_s", "steps_per_s", "seconds")
LEFT_OUT = ("command", "versions", "statistics", "learning", "seed", "seeds", "env", "players", "learners", "game")
"""Of a summary: what flags say already, and what would fill pages."""


def diff(asked: Comparison, command: str, console: Console) -> int:
    """Print what differs; returns the exit code.

    Raises:
        UserError: a summary that cannot be read.
    """
    summaries = [_summary(path) for path in asked.paths]
    ran = summaries if all(path.is_dir() for path in asked.paths) else []  # of files nothing but flags is known
    found = {
        "flags": _differing(asked.flags),
        "conditions": _differing([_conditions(own) for own in ran]),
        "numbers": _differing([_numbers(own) for own in ran]),
    }
    labels = _labels(asked.paths)
    if asked.json:
        told = {"runs": [str(path) for path in asked.paths], **found}
        print(json.dumps(finite(told), indent=2))  # noqa: T201  the result itself
        return 0
    for title, rows in found.items():
        if rows:
            console.print(_table(title, labels, rows))
        elif ran or title == "flags":
            console.print(f"{title}: no difference", soft_wrap=True)
    return 0


def _summary(path: Path) -> dict[str, Any]:
    """What the run has come to; nothing if it has not ended."""
    file = path / "summary.json"
    if not file.is_file():
        return {}
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"diff {file}: not valid JSON: {error}") from error


def _conditions(summary: dict[str, Any]) -> dict[str, Any]:
    """Under which the run took place, and how long it took."""
    versions = {f"version of {name}": value for name, value in summary.get("versions", {}).items()}
    return {name: summary[name] for name in CONDITIONS if name in summary} | versions


def _numbers(summary: dict[str, Any]) -> dict[str, Any]:
    """Results by name, of seeds their median."""
    return {
        name.removesuffix("/median"): value
        for name, value in flat(summary).items()
        if not re.search(r"/(q10|q90|seed_\d+)$", name) and {*CONDITIONS, *LEFT_OUT}.isdisjoint(name.split("/"))
    }


def _differing(runs: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Name → the value of every run, None where it has none; of those that are not all the same."""
    names = dict.fromkeys(name for own in runs for name in own)
    rows = {name: [own.get(name) for own in runs] for name in names}
    return {name: row for name, row in rows.items() if any(value != row[0] for value in row)}


def _labels(paths: Sequence[Path]) -> list[str]:
    """The names of the paths, or, if two are the same, the paths."""
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _table(title: str, labels: Sequence[str], rows: dict[str, list[Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for heading in ("", *labels):
        table.add_column(heading, overflow="fold")
    for name, values in rows.items():
        table.add_row(name, *map(_cell, values))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
