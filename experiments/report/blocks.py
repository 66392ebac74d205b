"""What a report is made of: sections of facts, charts, tables and pictures, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Chart", "Control", "Line", "Metric", "Picture", "Section", "Table", "number"]


@dataclass(frozen=True)
class Control:
    """A choice of the reader.

    Attributes:
        label: what is chosen.
        options: what there is to choose from, in order.
        groups: a heading for each option, equal ones next to each other; none if empty.
        slider: whether it is a slider instead of a list.
        start: index of the option that is chosen at first.
    """

    label: str
    options: Sequence[str]
    groups: Sequence[str] = ()
    slider: bool = False
    start: int = 0

    def grouped(self) -> list[tuple[str, list[tuple[int, str]]]]:
        """Headings, and the numbers and names of the options below each."""
        found: list[tuple[str, list[tuple[int, str]]]] = []
        for index, option in enumerate(self.options):
            group = self.groups[index] if self.groups else ""
            if not found or found[-1][0] != group:
                found.append((group, []))
            found[-1][1].append((index, option))
        return found


@dataclass(frozen=True)
class Chart:
    """A picture that Plotly draws in the browser; every combination of choices is a view.

    Texts of views are escaped for Plotly, which reads some HTML; see `charts.escaped`.

    Attributes:
        title: what is shown.
        about: how to read it.
        views: indices of the options that are chosen, such as `2,0`, → data and layout of Plotly, in which "--name" as
            a colour stands for a colour of the page.
        controls: what a reader chooses.
        height: in pixels.
    """

    title: str
    about: str
    views: Mapping[str, Mapping[str, Any]]
    controls: Sequence[Control] = ()
    height: int = 420
    kind: str = "chart"


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        title: what is shown.
        headings: of the columns.
        rows: cells of each row.
        about: how to read it.
        texts: how many columns, from the left, hold words instead of numbers.
        marked: rows to be marked.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    about: str = ""
    texts: int = 1
    marked: frozenset[int] = frozenset()
    kind: str = "table"


@dataclass(frozen=True)
class Picture:
    """A picture from a file.

    Attributes:
        title: what is shown.
        about: how to read it.
        uri: the file itself, as a data URI.
    """

    title: str
    about: str
    uri: str
    kind: str = "picture"


@dataclass(frozen=True)
class Line:
    """A quantity over training.

    Attributes:
        label: whose.
        place: which colour is its own.
        steps: `[L]`.
        values: `[L, S]` for S seeds.
        seed: number of the first seed.
    """

    label: str
    place: int
    steps: np.ndarray
    values: np.ndarray
    seed: int = 0


@dataclass(frozen=True)
class Metric:
    """Lines that are shown together.

    Attributes:
        name: of the quantity.
        who: whose it is: a seat, or several.
        lines: one for each match.
        marks: label → value worth comparing with.
    """

    name: str
    who: str
    lines: Sequence[Line]
    marks: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Section:
    """What is shown of one directory.

    Attributes:
        name: of the directory.
        path: as it was given.
        kind: what it holds, in words.
        status: whether it was finished, in a word.
        sentence: what it says.
        facts: name → value, of what was run.
        results: name → value, of what came out.
        made: name → value, of device and versions.
        config: flag → value; secrets left out.
        differing: flags of `config` that differ from their defaults.
        command: that repeats it.
        unit: of the steps of its metrics.
        metrics: over training.
        blocks: charts, tables and pictures.
        missing: what is not shown, and why.
    """

    name: str
    path: str
    kind: str
    status: str = ""
    sentence: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)
    command: str = ""
    unit: str = "training step"
    metrics: list[Metric] = field(default_factory=list)
    blocks: list[Chart | Table | Picture] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


NOTHING = 1e-9
"""What is less is rounding."""


def number(value: Any, digits: int = 3) -> str:
    """A number with so many significant digits, or a dash for what is no number."""
    if value is None or isinstance(value, str) or not np.isfinite(value):
        return "-"
    value = 0.0 if abs(value) < NOTHING else value
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"
