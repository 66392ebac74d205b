"""The summary of a league: numbers under the names of those they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import jax

from experiments.tables import versions

__all__ = ["summary"]

RATINGS = ("bradley_terry", "elo", "nash_averaging")


def summary(command: str, env: str, result: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The contents of `summary.json`.

    Args:
        command: the command line.
        env: name of the game.
        result: the contents of `league.json`.
        seconds: that it took.
    """
    entrants, solution = result["entrants"], result.get("solution", {})
    seats = [f"seat_{seat}" for seat in range(len(solution.get("value", ())))]
    return {
        "command": command,
        "status": "finished",
        "env": env,
        "profiles": result["profiles"],
        "cyclic_share": result["cyclic_share"],
        **{name: _of(entrants, result[name]) for name in RATINGS if name in result},
        **{name: _of(seats, solution[name]) for name in ("value", "regret") if solution},
        "profile": _of(seats, [_of(entrants, own) for own in solution.get("profile", ())]),
        "wall_s": round(seconds, 3),
        "device": jax.devices()[0].device_kind,
        "versions": versions(),
    }


def _of(names: Sequence[str], values: Iterable[Any]) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))
