"""Checks of hyper-parameters at construction, in the user's words."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

__all__ = ["require_choice", "require_range"]


def require_range(
    name: str, value: Any, low: float, high: float = float("inf"), *, whole: bool = False, hint: str = ""
) -> None:
    """Raise unless `low <= value <= high` and finite; arrays and traced values pass.

    Args:
        name: of the field.
        value: of the field.
        low: least value.
        high: greatest value.
        whole: whether it must be an int.
        hint: added to the message.

    Raises:
        ValueError: names the field, the value, the expectation and the hint.
    """
    kind = int if whole else Real
    number = isinstance(value, kind) and not isinstance(value, bool)
    if number and low <= float(value) <= high and math.isfinite(value):
        return
    if number or value is None or isinstance(value, str | bool | Real):
        what = "a whole number " if whole else "" if number else "a number "
        bounds = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
        bounds = f"of {bounds}" if what and bounds.startswith("at") else bounds
        raise ValueError(f"{name} = {value!r}: expected {what}{bounds}{f' ({hint})' if hint else ''}")


def require_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise unless `value` is one of `choices`; the message suggests the nearest.

    Raises:
        ValueError: names the field, the value and the choices.
    """
    from envs.registry import did_you_mean

    if value not in choices:
        raise ValueError(f"{name} = {value!r}{did_you_mean(str(value), choices)}")
