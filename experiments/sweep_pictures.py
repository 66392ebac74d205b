"""The picture of a sweep: parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from experiments.search import Point
from experiments.sweep_file import Sweep

__all__ = ["number", "parallel_coordinates"]

LOGARITHMIC = 20.0
"""Values above 0 whose greatest is so many times the least have a logarithmic axis."""
TICKS = 5
LONGEST = 22
"""Characters of a label."""


def parallel_coordinates(path: Path, title: str, sweep: Sweep, points: Sequence[Point]) -> None:
    """An axis for each parameter that varies and one for the metric, a line for each run, in the colour of its metric.

    Choices that are no numbers are evenly spaced; numbers over orders of magnitude, or from a distribution that is
    logarithmic, are on a logarithmic axis.

    Args:
        path: of the PNG.
        title: of the figure.
        sweep: what was swept.
        points: runs that have a metric.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.figure import Figure

    metrics = [float(point.metric or 0.0) for point in points]
    columns = [
        Axis(name, [point.values[name] for point in points], sweep.parameters[name].logarithmic)
        for name in sweep.varying
    ]
    columns.append(Axis(str(sweep.metric), metrics))
    heights = np.array([[column.height(value) for value in column.values] for column in columns])  # [axes, runs]
    figure = Figure(figsize=(max(6.0, 1.9 * len(columns) + 1.5), 5.0), layout="constrained")
    axes = figure.add_subplot()
    low, high = min(metrics), max(metrics)
    dark = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.9, 256)))  # its yellow is too light for lines
    shade = ScalarMappable(Normalize(low, high if high > low else low + 1.0), dark)
    order = np.argsort(metrics if sweep.maximize else np.negative(metrics))  # the best on top
    smooth, places = _smooth(heights)
    for run in order:
        axes.plot(places, smooth[:, run], color=shade.to_rgba(metrics[run]), linewidth=1.6, alpha=0.75)
    best = order[-1]
    axes.plot(places, smooth[:, best], color="#D55E00", linewidth=2.6, label=f"best: run {points[best].run}")
    for place, column in enumerate(columns):
        axes.axvline(place, color="black", linewidth=0.9)
        for value, label in column.ticks():
            axes.annotate(label, (place, column.height(value)), xytext=(4, 0), textcoords="offset points", va="center",
                          fontsize=8, bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8},
                          zorder=5)  # fmt: skip
    names = [column.name.replace(".", ".\n").replace("/", "/\n") for column in columns]
    names = [name + ("\n(log)" if column.logarithmic else "") for name, column in zip(names, columns, strict=True)]
    axes.set_xticks(range(len(columns)), names, fontsize=9)
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.set_ylim(-0.06, 1.06)
    axes.set_xlim(-0.1, len(columns) - 0.6)
    axes.spines[:].set_visible(False)
    goal = "more is better" if sweep.maximize else "less is better"
    axes.set_title(f"{title}: {len(points)} runs ({sweep.method}), {goal}", loc="left", fontsize=11)
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, 1.1), frameon=False, fontsize=9)
    figure.colorbar(shade, ax=axes, label=str(sweep.metric), fraction=0.03, pad=0.01).outline.set_visible(False)
    figure.savefig(path, dpi=150)


class Axis:
    """One axis.

    Attributes:
        name: of the parameter or metric.
        values: of the runs.
        logarithmic: whether it is.
    """

    def __init__(self, name: str, values: list[Any], logarithmic: bool = False):
        self.name, self.values = name, values
        numbers = all(isinstance(own, int | float) and not isinstance(own, bool) for own in values)
        self._choices = [] if numbers else sorted({number(own) for own in values})
        wide = numbers and min(values) > 0 and max(values) >= (1.0 if logarithmic else LOGARITHMIC) * min(values)
        self.logarithmic = bool(wide)
        scaled = [self._scaled(own) for own in values]
        self._low, self._high = min(scaled), max(scaled)

    def _scaled(self, value: Any) -> float:
        if self._choices:
            return float(self._choices.index(number(value)))
        return math.log(value) if self.logarithmic else float(value)

    def height(self, value: Any) -> float:
        """Where `value` is, from 0 to 1; in the middle if there is but one."""
        if self._high == self._low:
            return 0.5
        return (self._scaled(value) - self._low) / (self._high - self._low)

    def ticks(self) -> list[tuple[Any, str]]:
        """Values that are marked, and their labels."""
        known = self._choices or sorted(set(self.values))
        if not self._choices and len(known) > TICKS:
            spread = np.linspace(self._low, self._high, TICKS)
            known = np.exp(spread).tolist() if self.logarithmic else spread.tolist()
            return [(own, f"{own:.3g}") for own in known]
        labels = [f"{own:.4g}" if isinstance(own, float) else str(own) for own in known]
        return [(own, text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")
                for own, text in zip(known, labels, strict=True)]  # fmt: skip


def _smooth(heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Curves `[points, runs]` through `heights` `[axes, runs]` that are level at every axis, and their places."""
    inner = np.linspace(0.0, 1.0, 25)[:-1]
    ease = (3 * inner**2 - 2 * inner**3)[:, None]
    parts = [first + ease * (second - first) for first, second in pairwise(heights)]
    places = [place + inner for place in range(len(parts))]
    return np.concatenate([*parts, heights[-1:]]), np.concatenate([*places, [len(heights) - 1]])


def number(value: Any) -> str:
    """Four digits of a number, values of a list by commas, a dash for None."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
