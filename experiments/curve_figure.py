"""Figures of curves, for the screen and for print: colours for every eye, names at the lines, fonts embedded."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.bands import Band, band
from experiments.config import UserError
from experiments.curves import Curve, Table
from experiments.run_directory import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Look", "add_curves", "band_name", "curve_figure", "said", "saved", "spread", "welfare_curves"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, told apart by every eye; without yellow, which paper swallows."""

DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,  # TrueType, which journals ask for
    "svg.hashsalt": "parley",  # the same figure is the same file
}
DOTS = 300
"""Of a PNG, an inch."""

GREY, SMALL = "0.35", 6.5
FEW, SHARE = 6, 0.4
"""Names are at the ends of so few curves, where they take no more than this share of the width."""

SHAPE = 0.55
"""Height of the axes over the width of the figure."""

HEAVY = 200_000
"""Thin lines of more points are pictures, even in a PDF."""


@dataclass(frozen=True)
class Look:
    """What a figure shows beside its curves.

    Attributes:
        title: above it; "" for none.
        x: name of the x-axis.
        y: name of the y-axis.
        note: below the title; "" for none.
        marks: name → value, horizontal lines.
        lines: whether every seed is a thin line, too.
        log: axes that are logarithmic: "none", "x", "y" or "xy".
        width: in inches.
        height: in inches; as much as all that takes if None.
    """

    title: str
    x: str
    y: str
    note: str = ""
    marks: dict[str, float] = field(default_factory=dict)
    lines: bool = False
    log: str = "none"
    width: float = 5.5
    height: float | None = None


def said(curves: Sequence[Curve], average: str, interval: str, level: float, lines: bool) -> str:
    """What is drawn, in words, such as `median of 16 seeds; band: 10 % to 90 % quantile; thin: every seed`."""
    counts = sorted({len(curve.table.seeds) for curve in curves})
    if counts == [1]:
        return "1 seed"
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    name = band_name(interval, level)
    drawn = f"; band: {name}" + (f" of the {average}, resampling seeds" if interval == "bootstrap" else "")
    return f"{average} of {number} seeds{drawn if name else ''}{'; thin: every seed' if lines else ''}"


def band_name(interval: str, level: float) -> str:
    """Such as `10 % to 90 % quantile`; "" for no band."""
    quantiles = f"{50 - 50 * level:.4g} % to {50 + 50 * level:.4g} % quantile"
    return {"quantiles": quantiles, "bootstrap": f"{100 * level:.4g} % bootstrap interval", "none": ""}[interval]


def welfare_curves(
    path: Path, title: str, lines: Iterable[dict[str, Any]], labels: dict[str, str], marks: dict[str, float]
) -> None:
    """Welfare over training steps: every seed thin, their median thick, their quantiles a band, marks dotted.

    Args:
        path: of the PNG.
        title: of the figure.
        lines: of `metrics.jsonl`.
        labels: key of a match in the lines → its name.
        marks: name → welfare, horizontal lines.
    """
    rows = [(line["step"], [line[key]["welfare"] for key in labels]) for line in lines]
    steps, welfare = np.array([step for step, _ in rows]), np.array([own for _, own in rows], float)  # [L, keys, S]
    seeds = tuple(range(welfare.shape[2]))
    curves = [Curve(label, Table(steps, welfare[:, k], seeds), steps) for k, label in enumerate(labels.values())]
    bands = [band(curve.table.values, "median", "quantiles", 0.8) for curve in curves]
    note = said(curves, "median", "quantiles", 0.8, lines=True)
    words = ("training step", "welfare: reward per step, mean over the seats")
    figure = curve_figure(curves, bands, Look(title, *words, note, marks, lines=True, width=7))
    write_atomically(path, saved(figure, "png"))


def saved(figure: Figure, kind: str, creator: str = "Parley") -> bytes:
    """The file of a figure, "png", "pdf" or "svg"; it names its creator, and no date."""
    import matplotlib

    told = {"png": {"Software": creator}, "pdf": {"Creator": creator, "CreationDate": None}}
    file = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(file, format=kind, dpi=DOTS, metadata=told.get(kind, {"Creator": creator, "Date": None}))
    return file.getvalue()


def curve_figure(curves: Sequence[Curve], bands: Sequence[Band], look: Look) -> Figure:
    """Curves with their names at their ends, or, where there is no room for those, in a legend below.

    Raises:
        UserError: the figure is too small.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(look.width, look.height or SHAPE * look.width), layout="constrained")
        FigureCanvasAgg(figure)  # which measures text
        axes = figure.add_subplot()
        axes.set_xscale("log" if look.log in ("x", "xy") else "linear")
        axes.set_yscale("log" if look.log in ("y", "xy") else "linear")
        lines = add_curves(axes, curves, bands, lines=look.lines)
        _axes(axes, look)
        by_value: dict[float, list[str]] = {}
        for name, value in look.marks.items():
            by_value.setdefault(value, []).append(name)
        for value in by_value:
            axes.axhline(value, color="black", linewidth=0.6, linestyle=":", zorder=1)
        names = [(value, ", ".join(names), "black") for value, names in by_value.items()]
        ends = [(own.middle[-1], line.get_label(), line.get_color()) for own, line in zip(bands, lines, strict=True)]
        if _fit(figure, curves, ends):
            names += ends
            grown = 0.0
        else:
            grown = _legend(figure, lines)
        head = _head(axes, look)
        if look.height is None:
            figure.set_size_inches(look.width, SHAPE * look.width + grown + head)
        _name(figure, axes, names)
    return figure


def add_curves(axes: Axes, curves: Sequence[Curve], bands: Sequence[Band], lines: bool = False) -> list[Any]:
    """Draw curves and their bands, and with `lines` every seed; returns the thick lines."""
    thick = []
    for place, (curve, own) in enumerate(zip(curves, bands, strict=True)):
        colour, dashes = COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]
        seeds = curve.table.values
        marker = "o" if np.isfinite(own.middle).sum() == 1 else None  # which no line shows
        if lines and seeds.shape[1] > 1:
            axes.plot(curve.x, seeds, color=colour, linewidth=0.4, alpha=0.35, marker=marker, markersize=3,
                      rasterized=seeds.size > HEAVY, zorder=2)  # fmt: skip
        if seeds.shape[1] > 1 and np.isfinite(own.low).any():
            axes.fill_between(curve.x, own.low, own.high, color=colour, alpha=0.16, linewidth=0, zorder=1.5)
            if marker:
                axes.vlines(curve.x, own.low, own.high, color=colour, linewidth=1, zorder=2.5)
        thick += axes.plot(curve.x, own.middle, color=colour, linestyle=dashes, linewidth=1.5, marker=marker,
                           markersize=4, label=curve.label, zorder=3)  # fmt: skip
    return thick


def _axes(axes: Axes, look: Look) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.set_xlabel(look.x)
    letters = 14 * (look.height or SHAPE * look.width)  # of a line along the y-axis
    axes.set_ylabel("\n".join(line for part in look.y.split("; ") for line in _even(part, letters)))
    axes.margins(x=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.3, alpha=0.6)
    axes.set_axisbelow(True)
    if look.log not in ("x", "xy"):
        axes.xaxis.set_major_locator(
            MaxNLocator(max(3, round(1.4 * look.width)), integer=True, steps=[1, 2, 2.5, 5, 10])
        )
        if axes.get_xlim()[1] >= 10_000:
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _even(text: str, letters: float) -> list[str]:
    """Lines of about the same length, of not many more `letters`."""
    lines = math.ceil(len(text) / letters)
    return textwrap.wrap(text, math.ceil(len(text) / lines) + 3) if lines > 1 else [text]


def _head(axes: Axes, look: Look) -> float:
    """Write title and note; returns the inches that they take."""
    room = 72 * look.width - 36
    note = textwrap.wrap(look.note, max(20, int(room / (0.56 * SMALL))))
    title = textwrap.wrap(look.title, max(20, int(room / (0.58 * STYLE["axes.titlesize"]))))
    below = (SMALL + 2) * len(note) + 4
    axes.annotate("\n".join(note), (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", va="bottom",
                  fontsize=SMALL, color=GREY, linespacing=1.15)  # fmt: skip
    axes.set_title("\n".join(title), loc="left", pad=below + 2)
    return (below + (STYLE["axes.titlesize"] + 3) * len(title)) / 72


def _fit(figure: Figure, curves: Sequence[Curve], names: Sequence[tuple[float, str, str]]) -> bool:
    """Whether the names of curves have room where these end: all at the right."""
    last = np.array([curve.x[-1] for curve in curves])
    ends = [end for end, _, _ in names]
    if len(curves) > FEW or not np.isfinite(ends).all() or last.min() < 0.97 * last.max():
        return False
    if figure.axes[0].get_yscale() == "log" and min(ends) <= 0:
        return False
    texts = [figure.text(0, 0, name) for _, name, _ in names]
    width = max(text.get_window_extent().width for text in texts)
    for text in texts:
        text.remove()
    return width <= SHARE * figure.bbox.width


def _legend(figure: Figure, lines: Sequence[Any]) -> float:
    """A legend below, in as many columns as there is room for; returns the inches that it takes."""
    for columns in range(min(len(lines), 6), 0, -1):
        legend = figure.legend(handles=lines, loc="outside lower center", ncols=columns, frameon=False)
        box = legend.get_window_extent()
        if box.width <= figure.bbox.width or columns == 1:
            return box.height / figure.dpi
        legend.remove()
    return 0.0


def _name(figure: Figure, axes: Axes, names: Sequence[tuple[float, str, str]]) -> None:
    """Write names beside the right end of the axes, at their values, apart from each other."""
    ticks = {"arrowstyle": "-", "linewidth": 0.5, "shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)}
    placed = [
        axes.annotate(text, (1, value), (8, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                      va="center", color=colour, annotation_clip=False, arrowprops=ticks | {"color": colour})
        for value, text, colour in names
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "constrained_layout not applied")
        try:
            figure.draw_without_rendering()  # which lays it out
        except UserWarning as error:
            width, height = figure.get_size_inches()
            text = f"{width:g} x {height:.3g} inches have no room for the curves beside names and titles"
            raise UserError(f"{text}; expected a larger --width or --height, or fewer curves") from error
    if not placed:
        return
    point = figure.dpi / 72
    values = axes.get_yaxis_transform().transform([(1, value) for value, _, _ in names])[:, 1] / point
    bottom, top = np.array([axes.bbox.y0, axes.bbox.y1]) / point
    apart = spread(values, 1.2 * STYLE["font.size"], bottom, top)
    for text, moved in zip(placed, apart - values, strict=True):
        text.xyann = (8, moved)


def spread(wanted: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Places as near as can be to those `wanted`, in their order, `gap` apart, and between `low` and `high`."""
    order = np.argsort(wanted, kind="stable")
    blocks: list[tuple[float, int]] = []  # first place, and how many follow each other
    for place in wanted[order].tolist():
        start, count = place, 1
        while True:
            start = max(low, min(start, high - gap * (count - 1)))
            if not blocks or blocks[-1][0] + gap * blocks[-1][1] <= start:
                break
            before, many = blocks.pop()
            start = (before * many + (start - gap * many) * count) / (many + count)
            count += many
        blocks.append((start, count))
    places = np.empty(len(wanted))
    places[order] = [start + gap * k for start, count in blocks for k in range(count)]
    return places
