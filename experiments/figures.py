"""Figures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments.report import QUANTILES

__all__ = ["welfare_curves"]

COLOURS = {"learners": "#0072B2", "baseline": "#D55E00"}  # Okabe-Ito: told apart by every eye and in print


def welfare_curves(
    path: Path, title: str, lines: list[dict[str, Any]], labels: dict[str, str], marks: dict[str, float]
) -> None:
    """Welfare over training steps: every seed thin, quantiles thick, marks dashed.

    Args:
        path: of the PNG.
        title: of the figure.
        lines: of `metrics.jsonl`.
        labels: key of a match in the lines → its name in the legend.
        marks: name → welfare, horizontal lines.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    steps = [line["step"] for line in lines]
    for key, label in labels.items():
        welfare = np.array([line[key]["welfare"] for line in lines], float)  # [lines, S]
        colour = COLOURS.get(key)
        marker = "o" if len(steps) == 1 else None
        axes.plot(steps, welfare, color=colour, linewidth=0.6, alpha=0.35, marker=marker)
        low, middle, high = np.nanquantile(welfare, QUANTILES, axis=1)
        axes.plot(steps, low, steps, high, color=colour, linewidth=1.6, linestyle=(0, (4, 1)))
        seeds = welfare.shape[1]
        drawn = f"median of {seeds} seeds; dashed: 10 %, 90 %; thin: every seed" if seeds > 1 else "1 seed"
        axes.plot(steps, middle, color=colour, linewidth=3, marker=marker, label=f"{label}: {drawn}")
    by_value: dict[float, list[str]] = {}
    for name, value in marks.items():
        by_value.setdefault(value, []).append(name)
    for value, names in by_value.items():
        name = ", ".join(names)
        axes.axhline(value, color="black", linewidth=0.8, linestyle=":")
        axes.annotate(name, (1.0, value), xycoords=("axes fraction", "data"), xytext=(4, 0),
                      textcoords="offset points", va="center")  # fmt: skip
    axes.set_title(title, loc="left")
    axes.set_xlabel("training step")
    axes.set_ylabel("welfare: reward per step, mean over the seats")
    axes.margins(x=0.01)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=1, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
