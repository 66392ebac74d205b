"""What curves, axes and figures of runs are called: what the runs differ in, and what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from experiments.config import seat_names
from experiments.curves import Choice, Source

__all__ = ["SAME", "curve_name", "labels", "title", "x_name", "y_name"]

SAME = ("seed", "seeds", "log_every", "wandb")
"""Flags that change no seed of a run."""

TRIFLES = ("steps", "baseline", "iterations", "capacity")
"""Flags that name a run only where nothing else does."""

BARE = ("env", "game", "payoffs", "learners", "oracle", "solver", "measure")
"""Flags whose values speak for themselves."""

WORDS = {
    "welfare": "welfare: reward per step, mean over the seats",
    "cooperation": "rate of co-operation, mean over the seats",
    "value": "value of the mixtures",
    "sizes": "policies",
    "variance": "variance that the others cause",
    "regret": "regret of the solution",
    "converged": "share of solutions that converged",
    "gap": "gain by the new policies, sum over players",
    "nash_conv": "NashConv",
    "episodes": "episodes simulated",
}
MOST_FLAGS = 3


def labels(runs: Sequence[Source]) -> list[str]:
    """What tells runs apart: the few flags that they differ in, or else their directories; of one run, who learns."""
    configs = [source.config for source in runs]
    if len(runs) == 1:
        return [", ".join(configs[0][flag] for flag in _identity(runs[0]))]
    for ignored in ((*SAME, *TRIFLES), SAME, SAME[1:]):
        flags = _differing(configs, ignored)
        found = [", ".join(_shown(flag, own[flag]) for flag in flags if flag in own) for own in configs]
        if len(flags) <= MOST_FLAGS and all(found) and len(set(found)) == len(found):
            return found
    paths = [source.path.resolve().parts for source in runs]
    parts = 1
    while len({own[-parts:] for own in paths}) < len(paths):
        parts += 1
    return ["/".join(own[-parts:]) for own in paths]


def _identity(source: Source) -> tuple[str, ...]:
    """Flags that say who learns."""
    return ("learners",) if source.trains else ("oracle", "solver")


def _differing(configs: Sequence[dict[str, str]], ignored: Sequence[str]) -> list[str]:
    """Flags of which there are several values."""
    flags = dict.fromkeys(flag for own in configs for flag in own if flag not in ignored)
    return [flag for flag in flags if len({own[flag] for own in configs if flag in own}) > 1]


def _shown(flag: str, value: str) -> str:
    """Such as `learning rate 0.01`."""
    if flag in BARE:
        return value
    with suppress(ValueError):
        value = f"{float(value):g}"  # not 0.013000000000000001
    return f"{flag.rpartition('.')[2].replace('_', ' ')} {value}"


def curve_name(label: str, source: Source, side: str, choice: Choice, *, alone: bool, seats: bool) -> str:
    """Of one curve of a run.

    Args:
        label: of the run.
        source: the run.
        side: "learners" or "baseline".
        choice: what is drawn.
        alone: whether there is no other run.
        seats: whether each seat has a curve.
    """
    learners = source.config.get(side, "").replace("auto", "naive")
    unit, seated = _unit(source, choice), seats and choice.place is not None
    if alone and source.trains:
        label = seat_names(learners, source.players, side)[choice.place or 0] if seated and unit == "seat" else learners
    if side == "baseline":
        label += " (baseline)" if alone else ", baseline"
    if not seated:
        return label
    return f"{label}, {unit} {choice.place}"


def _unit(source: Source, choice: Choice) -> str:
    """What a metric has one value of for each."""
    if not source.trains:
        return "player"
    return "learner" if choice.name.startswith("learning.") else "seat"


def title(runs: Sequence[Source]) -> str:
    """What all runs have in common: the game, the number of players, and of several runs who learns."""
    parts = [{_game(source.config) for source in runs}, {f"{source.players} players" for source in runs}]
    if len(runs) > 1:
        parts += [{source.config.get(flag, "") for source in runs} for flag in _identity(runs[0])]
    return ", ".join(part.pop() for part in parts if len(part) == 1)


def _game(config: dict[str, str]) -> str:
    return config.get("env") or config.get("game") or Path(config.get("payoffs", "")).stem


def x_name(source: Source, x: str) -> str:
    """Of the x-axis, "step" or "episodes"."""
    if source.trains:
        return "training step" if x == "step" else "inner episode"
    return "iteration" if x == "step" else "episodes simulated, median over the seeds"


def y_name(source: Source, choices: Sequence[Choice], smooth: float | None) -> str:
    """What the numbers are, and what was done to them."""
    first, names = choices[0], {choice.name for choice in choices}
    parts = first.name.split(".")
    text = WORDS.get(first.name, parts[-1].replace("_", " "))
    if parts[0] == "learning" and len(names) == 1:
        text += f" of {'.'.join(parts[1:-1])}"
    if first.places > 1 and len({choice.place for choice in choices}) == 1:
        unit = _unit(source, first)
        text += f", mean over the {unit}s" if first.place is None else f", {unit} {first.place}"
    return text if smooth is None else f"{text}; smoothed over windows of {smooth:g} on the x-axis"
