"""What a run says: a table per seat and quantile over the seeds, a sentence, and the summary file."""

from __future__ import annotations

import importlib.metadata
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from envs import Environment
from experiments.config import Run

if TYPE_CHECKING:
    from experiments.sides import Side
    from shaping import Outcome

__all__ = [
    "QUANTILES",
    "headline",
    "learner_label",
    "mean_over_seats",
    "median_welfare",
    "print_table",
    "quantiles",
    "sentence",
    "sentences",
    "summary",
    "table",
    "versions",
]

QUANTILES = (0.1, 0.5, 0.9)
COOPERATES, DEFECTS = 0.8, 0.2


def learner_label(names: Sequence[str]) -> str:
    """`["lola", "naive", "naive"]` → `lola,naive*2`."""
    parts: list[list[Any]] = []
    for name in names:
        if parts and parts[-1][0] == name:
            parts[-1][1] += 1
        else:
            parts.append([name, 1])
    return ",".join(name if count == 1 else f"{name}*{count}" for name, count in parts)


def table(env: Environment, title: str, names: Sequence[str], outcome: Outcome) -> Table:
    """One row a seat and quantile over the seeds: reward per step, and the statistics of the environment.

    Neighbours with the same numbers, as those who share a policy in a symmetric game have, are one.

    Args:
        env: the game.
        title: of the table.
        names: of the learners, one a seat.
        outcome: leaves `[S, n]`.
    """
    marks = ", ".join(f"{name} {value:.4g}" for name, value in env.marks().items())
    caption = " ".join(filter(None, [env.legend, f"Welfare of {marks}." if marks else ""]))
    result = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    result.title_justify = result.caption_justify = "left"
    result.add_column("seat")
    for heading in ("seeds", "reward", *env.statistic_names):
        result.add_column(heading, justify="right", no_wrap=True)
    statistics = [outcome.statistics[name] for name in env.statistic_names]
    columns = np.stack([outcome.reward_per_step, *statistics], axis=-1)
    for first, last_seat in _alike(names, columns):
        seat, name = first, names[first]
        label = f"{seat} {name}" if last_seat == first else f"{first}-{last_seat} {name}"
        for quantile, row in zip(QUANTILES, quantiles(columns[:, seat]), strict=True):
            middle, last = quantile == 0.5, quantile == QUANTILES[-1]
            head = label if quantile == QUANTILES[0] else ""
            cells = (head, f"{quantile:.0%}", f"{row[0]:.2f}", *map(_cell, row[1:]))
            result.add_row(*cells, style="bold" if middle else None, end_section=last)
    return result


def _alike(names: Sequence[str], columns: np.ndarray) -> list[tuple[int, int]]:
    """First and last of neighbouring seats with the same name and `columns` `[S, n, K]`."""
    runs: list[tuple[int, int]] = []
    for seat, name in enumerate(names):
        same = runs and names[seat - 1] == name
        if same and np.array_equal(columns[:, seat - 1], columns[:, seat], equal_nan=True):
            runs[-1] = (runs[-1][0], seat)
        else:
            runs.append((seat, seat))
    return runs


def print_table(console: Console, shown: Table) -> None:
    """Print `shown` with every number, on a console as wide as that takes."""
    console.width = max(console.width, console.measure(shown, options=console.options.update(max_width=1000)).maximum)
    console.print("", shown)


def sentence(env: Environment, names: Sequence[str], outcome: Outcome) -> str:
    """What the learners did, in words.

    Such as `lola cooperates in 14 of 16 seeds: median welfare 5.9 of 6, 12 above 5`. Outcomes of shaping are bimodal,
    so it counts seeds and says no mean. Seeds that failed do not count.
    """
    sound = np.isfinite(outcome.reward_per_step).all(axis=1)
    if not sound.any():
        return f"{'/'.join(dict.fromkeys(names))}: all seeds failed"
    outcome = type(outcome)(outcome.reward_per_step[sound], {k: v[sound] for k, v in outcome.statistics.items()})
    welfare, marks = outcome.reward_per_step.mean(axis=1), env.marks()
    text = f"{'/'.join(dict.fromkeys(names))}{_verb(env, outcome)}: median welfare {np.median(welfare):.3g}"
    if len(marks) == 2 and len(set(marks.values())) == 2:
        high, low = marks.values()
        threshold = low + 0.8 * (high - low)
        text += f" of {high:g}, {(welfare > threshold).sum()} above {threshold:.3g}"
    own = {name: outcome.reward_per_step[:, [n == name for n in names]].mean(axis=1) for name in dict.fromkeys(names)}
    rewards = ", ".join(f"{name} {np.median(reward):.3g}" for name, reward in own.items())
    return f"{text} (median reward: {rewards})" if len(own) > 1 else text


def _verb(env: Environment, outcome: Outcome) -> str:
    """` cooperates in 14 of 16 seeds` where the environment measures co-operation."""
    if env.cooperation is None:
        return ""
    rates = mean_over_seats(outcome.statistics[env.cooperation])
    counts = {"cooperates": (rates >= COOPERATES).sum(), "defects": (rates <= DEFECTS).sum()}
    counts["mixes"] = len(rates) - sum(counts.values())
    verb = max(counts, key=lambda key: counts[key])
    return f" {verb} in {counts[verb]} of {len(rates)} seeds"


def sentences(sides: Mapping[str, Side]) -> str:
    """What the baseline did, and what the learners."""
    shown = [sides[name] for name in ("baseline", "learners") if name in sides]
    return "; ".join(sentence(side.env, side.names, side.outcome) for side in shown) + "."


def headline(sides: Mapping[str, Side]) -> str:
    """Median welfare of each side, for the progress bar."""
    return ", ".join(f"{side.label} {median_welfare(side):.2f}" for side in sides.values())


def median_welfare(side: Side) -> float:
    """Over the seeds that did not fail; NaN without any."""
    return float(quantiles(side.outcome.reward_per_step.mean(axis=1))[QUANTILES.index(0.5)])


def summary(
    run: Run, sides: Mapping[str, Side], step: int, status: str, command: str, clock: Mapping[str, Any]
) -> dict[str, Any]:
    """The contents of `summary.json`.

    Args:
        run: what was asked for.
        sides: where its matches stand.
        step: training steps taken.
        status: "finished", "interrupted" or "failed".
        command: the command line.
        clock: `wall_s`, `compile_s`, `training_s` in seconds, and the `steps` taken in the last.
    """
    import jax

    side = sides["learners"]
    baselines: dict[str, Any] = dict(side.env.marks())
    if "baseline" in sides:
        baselines[sides["baseline"].label] = sides["baseline"].metrics()
    return {
        "command": command,
        "status": status,
        "faults": [{"side": s.label, **fault._asdict()} for s in sides.values() for fault in s.faults],
        "sentence": sentences(sides),
        "env": run.env,
        "players": len(side.names),
        "learners": side.names,
        "seeds": run.seeds,
        "seed": run.seed,
        "steps": step,
        **side.metrics(),
        "baselines": baselines,
        "wall_s": round(clock["wall_s"], 3),
        "compile_s": round(clock["compile_s"], 3),
        "steps_per_s": round(clock["steps"] / clock["training_s"], 1) if clock["training_s"] else None,
        "device": jax.devices()[0].device_kind,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    packages = ("parley", "jax", "jaxlib", "numpy", "optax", "flax")
    installed = {dist.metadata["Name"] for dist in importlib.metadata.distributions()}
    return {"python": sys.version.split()[0]} | {p: importlib.metadata.version(p) for p in packages if p in installed}


def quantiles(values: np.ndarray) -> np.ndarray:
    """Quantiles over the seeds, axis 0, of those that are not NaN; NaN without any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all NaN
        return np.nanquantile(values, QUANTILES, axis=0)


def mean_over_seats(values: Any) -> np.ndarray:
    """Mean over the seats, axis 1, of those that are not NaN; 0 without any."""
    seen = np.isfinite(values)
    return np.where(seen, values, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)


def _cell(value: float) -> str:
    """Three characters for what lies between 0 and 1: .00, .42, 1.0; a dash for what was never seen."""
    if np.isnan(value):
        return "-"
    if not 0 <= value <= 1:
        return f"{value:.2f}"
    return "1.0" if value >= 0.995 else f"{value:.2f}".lstrip("0")
