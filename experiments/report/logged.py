"""What a training run has logged, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.bands import mean
from experiments.config import seat_names
from experiments.tables import learner_label

__all__ = ["Logged", "groups", "over_seats", "read"]

MOST_SEATS = 8
"""Of more seats those with one learner are shown together."""


@dataclass(frozen=True)
class Logged:
    """What a match of a run has logged, in L lines.

    Attributes:
        label: of its learners.
        names: of the learners, one a seat.
        steps: `[L]`.
        whole: quantity of the match → `[L, S]` for S seeds.
        seats: quantity of each seat → `[L, S, n]`.
        statistics: names in `seats` that are statistics of the environment.
        learning: what the learners report → `[L, S]`, NaN where they do not.
    """

    label: str
    names: list[str]
    steps: np.ndarray
    whole: dict[str, np.ndarray]
    seats: dict[str, np.ndarray]
    statistics: list[str]
    learning: dict[str, np.ndarray]


def read(config: dict[str, str], summary: dict[str, Any], lines: list[dict[str, Any]]) -> list[Logged]:
    """The learners' match, and the baseline's if there is one.

    Args:
        config: flags of the run.
        summary: its `summary.json`; nothing of it is needed.
        lines: its metrics, at least one.
    """
    players = len(lines[0]["learners"]["reward_per_step"][0])
    named = [name for name, value in summary.get("baselines", {}).items() if isinstance(value, dict)]
    baseline = named[0] if named else config.get("baseline", "auto").replace("auto", "naive")
    sides = {"learners": config["learners"], "baseline": baseline}
    found = []
    for key in (key for key in sides if key in lines[0]):
        names = seat_names(sides[key], players)
        label = learner_label(names) + (" (baseline)" if key == "baseline" else "")
        found.append(_logged(label, names, [line["step"] for line in lines], [line[key] for line in lines]))
    return found


def _logged(label: str, names: list[str], steps: list[int], own: list[dict[str, Any]]) -> Logged:
    statistics = list(own[0].get("statistics", {}))
    whole = {name: _array([line[name] for line in own]) for name in ("welfare", "cooperation") if name in own[0]}
    seats = {"reward_per_step": _array([line["reward_per_step"] for line in own])}
    seats |= {name: _array([line["statistics"][name] for line in own]) for name in statistics}
    learning: dict[str, np.ndarray] = {}
    for place, line in enumerate(own):
        for learner, metrics in line.get("learning", {}).items():
            for metric, values in metrics.items():
                name = f"{learner}: {metric}".replace("_", " ")
                told = learning.setdefault(name, np.full(whole["welfare"].shape, np.nan))
                told[place] = _array(values).mean(axis=1)
    return Logged(label, names, np.array(steps), whole, seats, statistics, learning)


def _array(values: Any) -> np.ndarray:
    """Numbers, NaN for null."""
    return np.array(values, float)


def groups(match: Logged) -> dict[str, list[int]]:
    """Label → seats that are shown as one: all with one learner if there are many seats, else the alike.

    Those are neighbours with one learner and the same numbers, as those who share a policy in a symmetric game have.
    """
    names = match.names
    if len(names) > MOST_SEATS:
        found = [[seat for seat, own in enumerate(names) if own == name] for name in dict.fromkeys(names)]
        return {f"{names[seats[0]]}, {_seats(seats, f'mean of {len(seats)} seats')}": seats for seats in found}
    every = np.stack([match.seats["reward_per_step"], *(match.seats[name] for name in match.statistics)])
    found = []
    for seat, name in enumerate(names):
        alike = found and names[seat - 1] == name
        if alike and np.array_equal(every[..., seat - 1], every[..., seat], equal_nan=True):
            found[-1].append(seat)
        else:
            found.append([seat])
    return {f"{_seats(seats, f'seats {seats[0]}-{seats[-1]}')}: {names[seats[0]]}": seats for seats in found}


def _seats(seats: Sequence[int], several: str) -> str:
    return f"seat {seats[0]}" if len(seats) == 1 else several


def over_seats(values: np.ndarray, seats: Sequence[int]) -> np.ndarray:
    """Mean over `seats` of `[..., n]`, of what is not NaN; NaN without any."""
    return mean(values[..., list(seats)], axis=-1)
