"""What `run.py plot` is asked for. Imports no numerics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.registry import Parameter
from experiments.commands import asks_for_help, flag_values, split_arguments
from experiments.config import UserError

__all__ = ["FORMATS", "Plotting", "plot_arguments"]

PLOT = """Draw a metric of any number of runs, of training or of psro, into one figure.

A DIR is a run directory; directories come before the flags. --metric names anything that metrics.jsonl has of every
seed: welfare, cooperation, 'reward_per_step[0]' for a seat, 'reward_per_step[*]' for a curve of each; statistics and
learning by their last name, such as C0 or entropy; of psro gap, nash_conv, 'value[0]' and others. Without brackets
seats are averaged. A thick line is the median over the seeds, its band goes from their 10 % to their 90 % quantile.

Examples: python run.py plot runs/ipd-2-lolax2-1 --side both --lines True
          python run.py plot runs/ipd-* --metric cooperation --group True --interval bootstrap --out c.pdf,c.csv"""

FORMATS = (".pdf", ".png", ".svg", ".csv")
LEVELS = {"quantiles": 0.8, "bootstrap": 0.95, "none": 0.8}
FLAGS = (
    Parameter("metric", "str | None", None, "what is drawn; welfare, or the gap of psro, if not given."),
    Parameter("side", "Literal['learners', 'baseline', 'both']", "learners", "whose, of training runs."),
    Parameter(
        "x", "Literal['step', 'episodes']", "step", "or inner episodes of training, or episodes that psro simulated."
    ),
    Parameter("average", "Literal['median', 'mean']", "median", "over the seeds."),
    Parameter(
        "interval",
        "Literal['quantiles', 'bootstrap', 'none']",
        "quantiles",
        "what the band shows: quantiles of the seeds, or a bootstrap interval of their average, by resampling seeds.",
    ),
    Parameter("level", "float | None", None, "what the band covers; 0.8 of quantiles, 0.95 of bootstrap."),
    Parameter("lines", "bool", False, "whether every seed is a thin line, too."),
    Parameter("group", "bool", False, "whether runs that differ in nothing but seeds are one curve."),
    Parameter("smooth", "float | None", None, "average every seed over windows of this width on the x-axis."),
    Parameter("log", "Literal['none', 'x', 'y', 'xy']", "none", "which axes are logarithmic."),
    Parameter("labels", "str | None", None, "names of the curves, by commas; what the runs differ in if not given."),
    Parameter("title", "str | None", None, "of the figure; what the runs have in common if not given, '' for none."),
    Parameter("note", "bool", True, "whether a line below the title says what is drawn."),
    Parameter("marks", "bool", True, "whether welfare that the game is known for, such as all C, is marked."),
    Parameter("width", "float", 5.5, "of the figure in inches."),
    Parameter("height", "float | None", None, "of the figure in inches; what it takes if not given."),
    Parameter("out", "str | None", None, "files .pdf, .png, .svg, .csv by commas; DIR/plot-METRIC.png if not given."),
)
SIZES = {"width": (2.5, 50.0), "height": (1.0, 50.0)}


@dataclass(frozen=True)
class Plotting:
    """What is to be drawn.

    Attributes:
        directories: of the runs.
        metric: name, with a seat or [*]; None for what is usual.
        side: "learners", "baseline" or "both".
        x: "step" or "episodes".
        average: "median" or "mean", over the seeds.
        interval: "quantiles", "bootstrap" or "none".
        level: what the band covers.
        lines: whether to draw every seed.
        group: whether to pool runs that differ only in seeds.
        smooth: width of windows, in units of x; None for none.
        log: axes that are logarithmic.
        labels: of the curves; None to make them.
        title: of the figure; None to make it.
        note: whether the figure says what is drawn.
        marks: whether known welfare is marked.
        width: in inches.
        height: in inches; None for what it takes.
        out: files; None for a figure in the first directory.
    """

    directories: tuple[Path, ...]
    metric: str | None
    side: str
    x: str
    average: str
    interval: str
    level: float
    lines: bool
    group: bool
    smooth: float | None
    log: str
    labels: tuple[str, ...] | None
    title: str | None
    note: bool
    marks: bool
    width: float
    height: float | None
    out: tuple[Path, ...] | None


def plot_arguments(args: Sequence[str]) -> Plotting:
    """What to draw, from the command line.

    Raises:
        UserError: a mistake in the arguments.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    found, flags = split_arguments(args)
    if not found and not asks_for_help(flags):
        raise UserError(
            "plot takes run directories, before the flags, found none; expected such as: plot runs/ipd-2-lolax2-1"
        )
    values = flag_values(FLAGS, flags, "python run.py plot DIR [DIR ...]", PLOT)
    level = LEVELS[values["interval"]] if values["level"] is None else values["level"]
    if not 0 < level < 1:
        raise UserError(f"--level {level:g}: expected a number between 0 and 1")
    if values["smooth"] is not None and not 0 < values["smooth"] < math.inf:
        raise UserError(f"--smooth {values['smooth']:g}: expected a width above 0")
    for flag, (low, high) in SIZES.items():
        if values[flag] is not None and not low <= values[flag] <= high:
            raise UserError(f"--{flag} {values[flag]:g}: expected {low:g} to {high:g} inches")
    labels = None if values["labels"] is None else tuple(label.strip() for label in values["labels"].split(","))
    out = None if values["out"] is None else tuple(_file(name.strip()) for name in values["out"].split(","))
    made = {"level": level, "labels": labels, "out": out}
    return Plotting(directories=_different(found), **{**values, **made})


def _different(found: Sequence[str]) -> tuple[Path, ...]:
    """The directories, each a run, none twice."""
    seen: dict[Path, str] = {}
    for text in found:
        path = Path(text)
        if not (path / "config.yaml").is_file():
            raise UserError(f"{text}: holds no run; expected a directory with a config.yaml")
        if path.resolve() in seen:
            raise UserError(f"{text}: given twice, also as {seen[path.resolve()]}; expected each run once")
        seen[path.resolve()] = text
    return tuple(map(Path, found))


def _file(name: str) -> Path:
    path = Path(name)
    if path.suffix.lower() not in FORMATS or path.name.startswith("."):
        raise UserError(
            f"--out {name or repr('')}: expected files ending in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        )
    if path.is_dir():
        raise UserError(f"--out {name}: is a directory; expected a file, such as {name}/plot.pdf")
    return path
