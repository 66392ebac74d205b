"""Checks of hyper-parameters at construction, in the user's words."""

from __future__ import annotations

from numbers import Real
from typing import Any

__all__ = ["require_choice", "require_range"]


def require_range(name: str, value: Any, low: float, high: float = float("inf"), *, hint: str = "") -> None:
    """Raise unless `low <= value <= high`; values that are not yet numbers (traced ones) pass.

    Raises:
        ValueError: names the field, the value, the expectation and the hint.
    """
    if isinstance(value, Real) and not low <= float(value) <= high:  # NaN fails both comparisons
        bounds = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
        raise ValueError(f"{name} = {value}: expected {bounds}{f' ({hint})' if hint else ''}")


def require_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise unless `value` is one of `choices`; the message suggests the nearest.

    Raises:
        ValueError: names the field, the value and the choices.
    """
    from envs.registry import did_you_mean

    if isinstance(value, str) and value not in choices:
        raise ValueError(f"{name} = {value!r}{did_you_mean(value, choices)}")
