"""The protocol of solvers."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np
from flax import struct
from jaxtyping import Array, Key

from envs.registry import did_you_mean
from equilibria.game import NormalForm
from equilibria.solution import Solution

__all__ = ["Solver", "require_numbers"]

ANY = float("inf")


class Solver(struct.PyTreeNode):
    """Finds what it is named after; its fields are its parameters.

    `solve` is pure: it can be compiled, and mapped over games, keys, and over those fields that are numbers. Solvers
    `on_host` are not: they call libraries that run on the processor, in double precision.
    """

    how: ClassVar[str] = ""
    """By what it solves, in a few words."""
    on_host: ClassVar[bool] = False
    starts_anywhere: ClassVar[bool] = True
    """Whether a key makes it start, and perhaps end, elsewhere."""
    players: ClassVar[int | None] = None
    """For how many players it is; None: for any number."""
    checks_payoffs: ClassVar[bool] = False
    """Whether `check` looks at payoffs, not only at which actions exist."""
    retries: ClassVar[int] = 0
    """How many random starts `equilibria.solve` tries when the solver's own leads nowhere."""
    ranges: ClassVar[dict[str, tuple[float, float]]] = {"tolerance": (0.0, 1.0), "steps": (1, ANY)}
    """Least and greatest values of fields."""

    def check(self, game: NormalForm) -> None:
        """Raise unless it can solve `game`, in the user's words.

        Raises:
            ValueError: it is for another number of players, for games with a property that `game` lacks, or a field is
                out of range; the message names the field, its value and what was expected.
        """
        for part in (self, getattr(self, "measure", self)):
            for name, hint in get_type_hints(type(part)).items():
                if get_origin(hint) is Literal and getattr(part, name) not in get_args(hint):
                    value, choices = getattr(part, name), get_args(hint)
                    raise ValueError(f"{name} = {value!r}{did_you_mean(str(value), choices)}")
            for name, (low, high) in part.ranges.items():
                if hasattr(part, name):
                    require_numbers(name, getattr(part, name), low, high, game.num_players)
        if self.players not in (None, game.num_players):
            raise ValueError(
                f"{type(self).__name__} is for {self.players} players, and the game has {game.num_players}"
            )

    def means(self, everything: bool = False) -> str:
        """By what it solves, or finds `everything`, in a few words."""
        return self.how

    def reason(self, game: NormalForm, found: Solution | None) -> str:
        """Why `found` has not converged, or nothing was found, as far as more than regret tells; else ""."""
        steps = 0 if found is None else int(np.max(np.asarray(found.steps)))
        limit = getattr(self, "steps", None)
        return f"it took all of its {steps} steps" if limit is not None and steps >= limit else ""

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """One solution of `game`; from a random start if there is a `key`, which is consumed."""
        raise NotImplementedError

    def every(self, game: NormalForm) -> list[Solution]:
        """All solutions of `game`, of solvers that can enumerate them.

        Raises:
            ValueError: this one cannot.
        """
        raise ValueError(f"{type(self).__name__} cannot enumerate solutions; ask for restarts=K instead of all=True")


def require_numbers(name: str, value: Any, low: float, high: float, players: int) -> None:
    """Raise unless `value` is a number from `low` to `high`, or one a player.

    Raises:
        ValueError: names the field, the value and the expectation.
    """
    if value is None:
        return
    bounds = f"from {low:g} to {high:g}" if high < ANY else f"of at least {low:g}"
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {value!r}: expected a number {bounds}, or one a player") from None
    if numbers.shape not in ((), (players,)):
        raise ValueError(f"{name} of shape {numbers.shape}: expected one number, or one for each of {players} players")
    if not ((numbers >= low) & (numbers <= high) & np.isfinite(numbers)).all():
        raise ValueError(f"{name} = {value!r}: expected a number {bounds}")
