"""Figures of a cross-play."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

__all__ = ["cell_texts", "crossplay_distributions", "crossplay_matrix"]

COLOURS = {"learners": "#0072B2", "baseline": "#D55E00"}  # Okabe-Ito: told apart by every eye and in print

POINTS = 300
"""At most so many pairs of seeds are drawn as points of a distribution."""


def crossplay_matrix(
    path: Path, title: str, labels: Sequence[str], mean: np.ndarray, low: np.ndarray, high: np.ndarray
) -> None:
    """A heat map of the row's mean reward, with the numbers and their intervals in the cells.

    Args:
        path: of the PNG.
        title: of the figure.
        labels: of the E entries.
        mean: `[E, E]`, by row and column.
        low: lower end of the interval, `[E, E]`.
        high: upper end, `[E, E]`.
    """
    from matplotlib.figure import Figure

    count, longest = len(labels), max(map(len, labels))
    texts = [cell_texts(*row, digits=2 if np.abs(mean).max() >= 1 else 3) for row in zip(mean, low, high, strict=True)]
    cell = max(1.0, 0.07 * max(len(interval) for row in texts for _, interval in row))
    size = (max(5.5, cell * count + 0.09 * longest + 2.2), 0.75 * count + 0.07 * longest + 1.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(mean, cmap="cividis", aspect="auto")  # told apart by every eye, and in grey
    for row in range(count):
        for column in range(count):
            colour = _on(image.to_rgba(mean[row, column]))
            for words, points, shift in zip(texts[row][column], (12, 8), (6, -8), strict=True):
                axes.annotate(words, (column, row), (0, shift), textcoords="offset points", ha="center", va="center",
                              fontsize=points, color=colour)  # fmt: skip
    axes.set_xticks(range(count), labels, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), labels)
    axes.set_xlabel("column: in all other seats")
    axes.set_ylabel("row: in seat 0")
    axes.set_title(f"{title}\nmean reward per step of the row [95 % interval]", loc="left", fontsize=11)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="reward per step", fraction=0.04).outline.set_visible(False)
    figure.savefig(path, dpi=150)


def cell_texts(mean: np.ndarray, low: np.ndarray, high: np.ndarray, digits: int) -> list[tuple[str, str]]:
    """Such as `1.98` and `[1.95, 2.00]`, for every entry of a row."""
    cells = zip(mean, low, high, strict=True)
    return [(f"{middle:.{digits}f}", f"[{bottom:.{digits}f}, {top:.{digits}f}]") for middle, bottom, top in cells]


def _on(colour: np.ndarray | tuple[float, ...]) -> str:
    """Black or white, what can be read better on a colour."""
    luminance = np.dot(np.power(colour[:3], 2.2), (0.2126, 0.7152, 0.0722))
    return "black" if luminance > 0.18 else "white"


def crossplay_distributions(
    path: Path, title: str, labels: Sequence[str], values: Sequence[Sequence[np.ndarray]]
) -> None:
    """A panel a row, in it a column's box and points: the row's reward in every pair of seeds.

    Args:
        path: of the PNG.
        title: of the figure.
        labels: of the E entries.
        values: by row and column, the row's reward in each pair, `[K_row, K_column]`.
    """
    from matplotlib.figure import Figure

    count = len(labels)
    across = 2 if count == 4 else min(count, 3)
    down = -(-count // across)
    width, height = max(3.2, 0.5 * count + 1), 2.6
    room = 0.06 * max(map(len, labels)) + 1.2
    figure = Figure(figsize=(max(6, across * width + 0.6), down * height + room), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    spread = np.random.default_rng(0)
    for panel, label, row in zip(panels.flat, labels, values, strict=False):
        panel.set_title(f"row: {label}", loc="left", fontsize=10)
        for place, pairs in enumerate(row):
            shown = pairs.ravel() if pairs.size <= POINTS else spread.choice(pairs.ravel(), POINTS, replace=False)
            panel.plot(place + spread.uniform(-0.25, 0.25, len(shown)), shown, "o", color=COLOURS["learners"],
                       markersize=4, alpha=max(0.25, len(shown) ** -0.25), markeredgewidth=0, zorder=3)  # fmt: skip
        boxes = [np.quantile(pairs, (0.05, 0.25, 0.5, 0.75, 0.95)) for pairs in row]
        names = ("whislo", "q1", "med", "q3", "whishi")
        panel.bxp([dict(zip(names, box, strict=True)) for box in boxes], positions=range(count), widths=0.7,
                  showfliers=False, manage_ticks=False, boxprops={"color": "0.4"}, whiskerprops={"color": "0.4"},
                  capprops={"color": "0.4"}, medianprops={"color": COLOURS["baseline"], "linewidth": 2})  # fmt: skip
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", linewidth=0.4, alpha=0.5)
    for panel in list(panels.flat)[count:]:
        panel.set_visible(False)
    for panel in list(panels.flat)[max(0, count - across) : count]:
        panel.set_xticks(range(count), labels, rotation=35, ha="right", rotation_mode="anchor", fontsize=8)
        panel.tick_params(labelbottom=True)
    figure.supylabel("reward per step of the row", fontsize=10)
    note = "box: 25 %, 50 %, 75 %; whiskers: 5 %, 95 %; points: pairs of seeds"
    figure.suptitle(f"{title}, by column\n{note}", fontsize=10, x=0.01, ha="left")
    figure.savefig(path, dpi=150)
