"""What a cross-play says: statistics of every cell, tables, files and figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.figures import cell_texts, crossplay_distributions, crossplay_matrix
from experiments.run_directory import write_atomically, write_json
from experiments.tables import print_table, versions

__all__ = ["COLUMNS", "Cell", "bootstrap_interval", "write"]

QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
COLUMNS = (
    *("row", "column", "pairs", "mean", "ci_low", "ci_high", *QUANTILES),
    *("column_mean", "cooperation", "same_seed_mean", "different_seed_mean"),
)
"""Of `crossplay.csv`."""

RESAMPLES = 2000
TIE = 5e-4  # means that are printed alike


@dataclass(frozen=True)
class Cell:
    """What the row's entry did in seat 0 with the column's in all others.

    Attributes:
        row: label of the row.
        column: label of the column.
        reward: per step, `[K_row, K_column, n]`.
        cooperation: `[K_row, K_column, n]`, or None where it is not measured; NaN where nothing was seen.
        same_seeds: whether member k of both comes from one training; K_row = K_column then.
    """

    row: str
    column: str
    reward: np.ndarray
    cooperation: np.ndarray | None
    same_seeds: bool

    @property
    def values(self) -> np.ndarray:
        """The row's reward per step, `[K_row, K_column]`."""
        return self.reward[..., 0].astype(float)

    def statistics(self) -> dict[str, Any]:
        """One line of `crossplay.csv`; None for what is not defined."""
        values = self.values
        low, high = bootstrap_interval(values, same_seeds=self.same_seeds)
        line = {"row": self.row, "column": self.column, "pairs": values.size, "mean": float(values.mean())}
        line |= {"ci_low": low, "ci_high": high}
        line |= dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values())).tolist(), strict=True))
        line["column_mean"] = float(self.reward[..., 1:].astype(float).mean())
        line["cooperation"] = None if self.cooperation is None else _mean(self.cooperation[..., 0])
        equal = np.eye(len(values), values.shape[1], dtype=bool)
        line["same_seed_mean"] = _mean(values[equal]) if self.same_seeds else None
        line["different_seed_mean"] = _mean(values[~equal]) if self.same_seeds else None
        return line


def _mean(values: np.ndarray) -> float | None:
    """Mean of those that are not NaN; None without any."""
    seen = values[np.isfinite(values)]
    return float(seen.astype(float).mean()) if seen.size else None


def bootstrap_interval(
    values: np.ndarray, *, same_seeds: bool = False, level: float = 0.95, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` `[K_row, K_column]`.

    Pairs of seeds that share a seed are not independent, so seeds are resampled, not pairs: those of the row and those
    of the column each for itself. With `same_seeds` both are the same draw; pairs of a seed with itself, which a draw
    with repetitions has too many of, keep their share of 1 / K. The mean itself, twice, for one seed against one.
    Source: Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1.
    """
    rng = np.random.default_rng(0)
    rows, columns = values.shape
    drawn = rng.multinomial(rows, np.full(rows, 1 / rows), resamples) / rows  # [resamples, K_row], weights of the seeds
    if same_seeds:
        itself = np.eye(rows, dtype=bool)
        own = drawn @ values[itself]
        weight = 1 - (drawn**2).sum(axis=1)  # of pairs of different seeds
        others = np.einsum("bi,ij,bj->b", drawn, np.where(itself, 0.0, values), drawn)
        across = np.where(weight > 1e-9, others / np.maximum(weight, 1e-9), own)  # a draw of one seed has no others
        means = own / rows + across * (1 - 1 / rows)
    else:
        met = rng.multinomial(columns, np.full(columns, 1 / columns), resamples) / columns
        means = np.einsum("bi,ij,bj->b", drawn, values, met)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def write(directory: Path, cells: Sequence[Sequence[Cell]], about: dict[str, Any], console: Console) -> None:
    """Write the files of a cross-play into `directory`, and print its matrix.

    Args:
        directory: to write to.
        cells: by row and column.
        about: what was played; the head of `crossplay.json`.
        console: to print to.
    """
    lines = [[cell.statistics() for cell in row] for row in cells]
    flat = [(cell, line) for row, own in zip(cells, lines, strict=True) for cell, line in zip(row, own, strict=True)]
    labels = [row[0].row for row in cells]
    mean, low, high = (
        np.array([[line[name] for line in row] for row in lines]) for name in ("mean", "ci_low", "ci_high")
    )
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(line for _, line in flat)
    write_atomically(directory / "crossplay.csv", text.getvalue().encode())
    said = sentence(labels, mean)
    pairs = [line | {"reward_per_step": cell.reward.tolist()} | _rates(cell) for cell, line in flat]
    write_json(directory / "crossplay.json", about | {"summary": said, "pairs": pairs, "versions": versions()})
    title = f"{about['env']}, {about['players']} players"
    crossplay_matrix(directory / "crossplay.png", title, labels, mean, low, high)
    crossplay_distributions(directory / "distributions.png", title, labels, [[c.values for c in row] for row in cells])
    print_table(console, _matrix(f"Cross-play on {title}", about["measured"], labels, mean, low, high))
    console.print(said, soft_wrap=True)
    console.print(f"written: {directory}", soft_wrap=True)


def _rates(cell: Cell) -> dict[str, Any]:
    return {} if cell.cooperation is None else {"cooperation_per_player": cell.cooperation.tolist()}


def _matrix(
    title: str, measured: str, labels: Sequence[str], mean: np.ndarray, low: np.ndarray, high: np.ndarray
) -> Table:
    """Mean and interval of every cell, and the mean of every row."""
    caption = f"The row's reward per step, mean [95 % interval] over pairs of seeds; {measured}."
    shown = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.title_justify = shown.caption_justify = "left"
    shown.add_column("row \\ column", no_wrap=True)
    for label in (*labels, "all"):
        shown.add_column(label, justify="right", no_wrap=True)
    digits = 2 if np.abs(mean).max() >= 1 else 3
    for label, *row in zip(labels, mean, low, high, strict=True):
        cells = [f"{middle} {interval}" for middle, interval in cell_texts(*row, digits=digits)]
        shown.add_row(label, *cells, f"{row[0].mean():.{digits}f}")
    return shown


def sentence(labels: Sequence[str], mean: np.ndarray) -> str:
    """Who has the best mean against all, and who against itself."""
    against_all, itself = _best(labels, mean.mean(axis=1)), _best(labels, np.diag(mean))
    return f"Best against all, itself included: {against_all}. Best against itself: {itself}."


def _best(labels: Sequence[str], values: np.ndarray) -> str:
    best = [label for label, value in zip(labels, values, strict=True) if value > values.max() - TIE]
    return f"{' and '.join(best)} with {values.max():.3g} per step"
