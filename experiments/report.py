"""What a run says: a table per seat and quantile over the seeds, a sentence, and the summary file."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from envs import MatrixGame
from experiments.config import Run

if TYPE_CHECKING:
    from experiments.sides import Side

__all__ = ["QUANTILES", "headline", "learner_label", "print_table", "sentence", "summary", "table", "versions"]

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


def table(env: MatrixGame, title: str, names: Sequence[str], outcome: Any) -> Table:
    """One row a seat and quantile: reward per step, rate of action 0, and its probability after each kind of history.

    Args:
        env: the game.
        title: of the table.
        names: of the learners, one a seat.
        outcome: `shaping.Outcome` with leaves `[S, n, ...]`.
    """
    result = Table(title=title, caption=_caption(env), box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    result.title_justify = result.caption_justify = "left"
    result.add_column("seat")
    for heading in ("seeds", "reward", _initials(env)[0], "first", *_history_labels(env)):
        result.add_column(heading, justify="right", no_wrap=True)
    columns = np.concatenate(
        [outcome.reward_per_step[..., None], outcome.action_rates[..., :1], outcome.response[..., 0]], axis=-1
    )
    for seat, name in enumerate(names):
        for quantile, row in zip(QUANTILES, np.quantile(columns[:, seat], QUANTILES, axis=0), strict=True):
            middle, last = quantile == 0.5, quantile == QUANTILES[-1]
            head = f"{seat} {name}" if quantile == QUANTILES[0] else ""
            cells = (head, f"{quantile:.0%}", f"{row[0]:.2f}", *map(_probability, row[1:]))
            result.add_row(*cells, style="bold" if middle else None, end_section=last)
    return result


def print_table(console: Console, shown: Table) -> None:
    """Print `shown` with every number, on a console as wide as that takes."""
    console.width = max(console.width, console.measure(shown, options=console.options.update(max_width=1000)).maximum)
    console.print("", shown)


def sentence(env: MatrixGame, names: Sequence[str], outcome: Any) -> str:
    """What the learners did, in words.

    Such as `lola cooperates in 14 of 16 seeds: median welfare 5.9 of 6, 12 above 5`. Outcomes of shaping are bimodal,
    so it counts seeds and says no mean.
    """
    welfare, rates = outcome.reward_per_step.mean(axis=1), outcome.action_rates[..., 0].mean(axis=1)
    marks, seeds = env.marks(), len(welfare)
    high, low = list(marks.values())
    label = "/".join(dict.fromkeys(names))
    if "all C" in marks:
        counts = {"cooperates": (rates >= COOPERATES).sum(), "defects": (rates <= DEFECTS).sum()}
        counts["mixes"] = seeds - sum(counts.values())
        verb = max(counts, key=lambda key: counts[key])
        text = f"{label} {verb} in {counts[verb]} of {seeds} seeds"
    else:
        text = f"{label} plays {_first(env)} on {np.median(rates):.0%} of the steps"
    if high > low:
        text += f": median welfare {np.median(welfare):.3g}"
        threshold = low + 0.8 * (high - low)
        text += f" of {high:g}, {(welfare > threshold).sum()} above {threshold:.3g}"
    own = {name: outcome.reward_per_step[:, [n == name for n in names]].mean(axis=1) for name in dict.fromkeys(names)}
    rewards = ", ".join(f"{name} {np.median(reward):.3g}" for name, reward in own.items())
    return f"{text} (median reward: {rewards})" if len(own) > 1 else text


def headline(sides: Mapping[str, Side]) -> str:
    """Median welfare of each side, for the progress bar."""
    return ", ".join(f"{side.label} {np.median(side.metrics()['welfare']):.2f}" for side in sides.values())


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
        "fault": next((s.fault for s in sides.values() if s.fault), None),
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


def _probability(value: float) -> str:
    """Three characters: .00, .42, 1.0."""
    return "1.0" if value >= 0.995 else f"{value:.2f}".lstrip("0")


def _caption(env: MatrixGame) -> str:
    first, letters = _first(env), _initials(env)
    others = env.actions[0][1] if letters == list("CD") else f"not {first}"
    marks = ", ".join(f"{name} {value:.4g}" for name, value in env.marks().items())
    key = f"{letters[0]}1: own {first}, 1 other {others}"
    after = "" if env.horizon == 1 else f" and after each kind of last step ({key})"
    return f"{letters[0]}: rate of {first}; then its probability on the first step{after}. Welfare of {marks}."


def _first(env: MatrixGame) -> str:
    """Name of action 0, or names where the players' differ."""
    return "/".join(dict.fromkeys(own[0] for own in env.actions))


def _history_labels(env: MatrixGame) -> list[str]:
    """Headings of the kinds of history of `shaping.Outcome.response` but START: own action, others who deviated."""
    if env.horizon == 1:
        return []
    return [f"{own}{k}" for own in _initials(env) for k in range(env.num_players)]


def _initials(env: MatrixGame) -> list[str]:
    """One letter an action, or `a`, `b`, ... where the names differ between players or start alike."""
    letters = [name[0] for name in env.actions[0]]
    distinct = len(set(letters)) == env.num_actions and len(set(env.actions)) == 1 and not letters[0].isdigit()
    return letters if distinct else [chr(ord("a") + index) for index in range(env.num_actions)]
