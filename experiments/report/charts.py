"""Charts as data and layout of Plotly: curves over training, bars over names, heat maps."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from experiments.bands import Band, band
from experiments.report.blocks import Chart, Control, Line, Metric, number

__all__ = ["Bars", "bars", "curves", "escaped", "heat_height", "heat_map", "quantiles", "rounded", "spread"]

COLOURS = 8
"""Colours of the page for series; more of them start again."""

MOST_SEEDS, MOST_NUMBERS, MOST_CELLS = 32, 250_000, 400
"""Seeds with a line or point of their own, numbers in curves, and cells with their number written into them."""

LEVEL = 0.8
"""Of the seeds that a band covers."""

SCALE = [[0, "--heat-low"], [0.5, "--heat-middle"], [1, "--heat-high"]]

Trace = dict[str, Any]
View = dict[str, Any]


def curves(title: str, unit: str, metrics: Sequence[Metric], *, seeds_shown: bool) -> Chart:
    """Lines over training of one metric at a time: median and band over the seeds, and every seed.

    Args:
        title: of the chart.
        unit: of the steps.
        metrics: to choose from, those of one name next to each other.
        seeds_shown: whether seeds are seen at once, or when the legend is clicked.
    """
    lines = [line for metric in metrics for line in metric.lines]
    each = sum(3 + min(MOST_SEEDS, line.values.shape[1]) for line in lines)
    points = max(20, MOST_NUMBERS // each)
    views = {}
    for index, metric in enumerate(metrics):
        data: list[Trace] = []
        for line in metric.lines:
            kept = spread(len(line.steps), points)
            data += _line(line, line.steps[kept].tolist(), line.values[kept], seeds_shown)
        layout = {"xaxis": {"title": {"text": escaped(unit)}}, "yaxis": {"title": {"text": escaped(metric.name)}}}
        views[str(index)] = {"data": data, "layout": layout | _marks(metric.marks)}
    about = "Line: median over the seeds; band: 10 % to 90 %; thin: every seed. A click in the legend hides or shows."
    if any(len(line.steps) > points for line in lines):
        about += f" {points} of the logged steps are drawn, evenly spaced."
    if any(line.values.shape[1] > MOST_SEEDS for line in lines):
        about += f" Of the seeds the first {MOST_SEEDS} have a line of their own; the band is over all."
    control = Control("metric", [metric.who for metric in metrics], [metric.name for metric in metrics])
    return Chart(title, about, views, [control])


def _line(line: Line, steps: list[int], values: np.ndarray, seeds_shown: bool) -> list[Trace]:
    """The traces of a line: band, seeds, median; `values` are `[L, S]`."""
    colour, seeds, label = f"--series-{line.place % COLOURS}", values.shape[1], escaped(line.label)
    own = {"type": "scatter", "x": steps, "mode": "lines" if len(values) > 1 else "markers"}
    own |= {"hovertemplate": "%{text}<br>%{x}: %{y:.4g}<extra></extra>"}
    shown = quantiles(values)
    found: list[Trace] = []
    if seeds > 1:
        edge = own | {"line": {"width": 0, "color": colour}, "hoverinfo": "skip", "legendgroup": f"{line.place} band"}
        found.append(edge | {"y": rounded(shown.low), "showlegend": False})
        fill = {"fill": "tonexty", "fillcolor": f"{colour}-band", "name": f"{label}: 10 % to 90 %"}
        found.append(edge | fill | {"y": rounded(shown.high)})
        thin = {"line": {"width": 1, "color": colour}, "marker": {"color": colour, "size": 5}, "opacity": 0.4}
        thin |= {"name": f"{label}: every seed", "legendgroup": f"{line.place} seeds"}
        thin |= {"visible": True if seeds_shown else "legendonly"}
        for place, seed in enumerate(values.T[:MOST_SEEDS]):
            told = {"text": f"{label}, seed {line.seed + place}", "showlegend": place == 0}
            found.append(own | thin | told | {"y": rounded(seed)})
    what = f"{label}: " + (f"median of {seeds} seeds" if seeds > 1 else f"seed {line.seed}")
    thick = {"line": {"width": 2.5, "color": colour}, "marker": {"color": colour, "size": 9}}
    thick |= {"name": what, "text": what, "legendgroup": f"{line.place} median"}
    return [*found, own | thick | {"y": rounded(shown.middle)}]


def quantiles(values: np.ndarray) -> Band:
    """Median over the seeds of `[L, S]`, and what 80 % of them lie between."""
    return band(values, "median", "quantiles", LEVEL)


def _marks(marks: Mapping[str, float]) -> dict[str, Any]:
    """Dotted lines with their names, those of equal value together."""
    pairs = sorted(marks.items(), key=lambda pair: pair[1])
    levels = [(value, ", ".join(name for name, _ in own)) for value, own in groupby(pairs, key=lambda pair: pair[1])]
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "line": {"dash": "dot", "width": 1, "color": "--muted"}}
    text = {"xref": "paper", "x": 1, "xanchor": "right", "yanchor": "bottom", "showarrow": False}
    text |= {"font": {"color": "--muted", "size": 11}}
    return {
        "shapes": [line | {"y0": value, "y1": value} for value, _ in levels],
        "annotations": [text | {"y": value, "text": escaped(names)} for value, names in levels],
    }


@dataclass(frozen=True)
class Bars:
    """A group of bars, one for each name.

    Attributes:
        label: in the legend.
        values: `[S, H]` for S seeds and H names, NaN where there are none.
    """

    label: str
    values: np.ndarray


def bars(names: Sequence[str], groups: Sequence[Bars], quantity: str, seed: int = 0) -> View:
    """A view with groups of bars from 0 to 1, the medians over the seeds, and a point for each seed.

    Args:
        names: of the H bars of a group.
        groups: side by side at each name.
        quantity: what the bars measure.
        seed: number of the first.
    """
    width, places, data = 0.84 / len(groups), np.arange(len(names)), list[Trace]()
    for index, group in enumerate(groups):
        values, left = group.values[:MOST_SEEDS], (index - len(groups) / 2) * width
        texts = [f"{escaped(group.label)}<br>{escaped(name)}" for name in names]
        own = {"legendgroup": str(index), "hovertemplate": "%{text}: %{y:.3f}<extra></extra>"}
        bar = {
            "type": "bar",
            "name": escaped(group.label),
            "width": 0.94 * width,
            "offset": left,
            "textposition": "none",
        }
        bar |= {"marker": {"color": f"--series-{index % COLOURS}", "opacity": 0.65}, "text": texts}
        data.append(own | bar | {"x": places.tolist(), "y": rounded(quantiles(group.values.T).middle)})
        if len(values) > 1:
            shift = left + width * (0.5 + 0.7 * np.linspace(-0.5, 0.5, len(values)))
            points = {"type": "scatter", "mode": "markers", "showlegend": False, "cliponaxis": False}
            points |= {"marker": {"color": "--text", "size": 4, "opacity": 0.6}}
            points |= {"text": [f"{text}, seed {seed + place}" for place in range(len(values)) for text in texts]}
            where = {"x": rounded((shift[:, None] + places).ravel()), "y": rounded(values.ravel())}
            data.append(own | points | where)
    across = _ticks(names) | {"range": [-0.6, len(names) - 0.4]}
    up = {"title": {"text": escaped(quantity)}, "range": [0, 1]}
    return {"data": data, "layout": {"xaxis": across, "yaxis": up, "showlegend": len(groups) > 1}}


def heat_map(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    axes: tuple[str, str],
    told: Sequence[Sequence[str]] | None = None,
) -> View:
    """A view with a cell for each of `values` `[R, C]`.

    Args:
        values: what is shown.
        rows: their names, from above.
        columns: their names.
        axes: what rows and columns are.
        told: more to say of each cell.
    """
    hover = [
        [
            f"{escaped(row)}<br>{escaped(column)}<br><b>{number(value, 4)}</b>"
            + (f"<br>{escaped(told[r][c])}" if told else "")
            for c, (column, value) in enumerate(zip(columns, own, strict=True))
        ]
        for r, (row, own) in enumerate(zip(rows, values, strict=True))
    ]
    trace: Trace = {"type": "heatmap", "z": [rounded(own) for own in values], "colorscale": SCALE}
    trace |= {"hovertext": hover, "hovertemplate": "%{hovertext}<extra></extra>", "xgap": 1, "ygap": 1}
    trace |= {"colorbar": {"thickness": 10, "outlinewidth": 0}}
    if values.size <= MOST_CELLS:
        trace |= {"text": [[number(value) for value in own] for own in values], "texttemplate": "%{text}"} | {
            "textfont": {"color": "--text"}
        }
    up, across = (
        _ticks(names) | {"title": {"text": escaped(what)}} for names, what in zip((rows, columns), axes, strict=True)
    )
    return {"data": [trace], "layout": {"yaxis": up | {"autorange": "reversed"}, "xaxis": across}}


def heat_height(rows: int) -> int:
    """Pixels of a heat map with so many rows."""
    return min(900, 130 + 36 * max(rows, 4))


def _ticks(names: Sequence[str]) -> dict[str, Any]:
    """An axis with names at 0, 1, ..."""
    return {"tickvals": list(range(len(names))), "ticktext": list(map(escaped, names)), "showgrid": False}


def spread(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` places, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def rounded(values: Iterable[Any]) -> list[float | None]:
    """Five significant digits; None for what is not finite."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]


def escaped(text: str) -> str:
    """`text` for Plotly, which reads entities and some tags."""
    return html.escape(text, quote=False)
