"""Distributions of the parameters of a sweep, those of Weights & Biases. Imports no numerics.

Each is the inverse of its distribution function: it makes a value of a *place* from 0 to 1, or, where there are values
to choose from, of the number of one. So a random search draws places, and an optimiser searches places, whatever the
distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from statistics import NormalDist
from typing import Any

from envs.registry import did_you_mean

__all__ = ["Distribution", "read_distribution"]

EDGE = 1e-9  # places nearer to 0 and 1 may have infinite values
LARGEST_GRID = 10**6


@dataclass(frozen=True)
class Distribution:
    """What values a parameter takes.

    Attributes:
        kind: such as uniform; "categorical" also where there is one value.
        options: such as min and max.
    """

    kind: str
    options: dict[str, Any]

    @property
    def choices(self) -> list[Any] | None:
        """The values to choose from, if it is categorical."""
        return self.options["values"] if self.kind == "categorical" else None

    @property
    def logarithmic(self) -> bool:
        """Whether it is even, or normal, in the logarithm."""
        return "log" in self.kind

    def draw(self, random: Random) -> float:
        """A place: a number from 0 to 1, or that of a choice."""
        if self.choices is None:
            return random.random()
        return random.choices(range(len(self.choices)), self.options.get("probabilities"))[0]

    def at(self, place: float) -> Any:
        """The value at `place`."""
        if self.choices is not None:
            return self.choices[int(place)]
        kind, q = self.kind.removeprefix("q_"), self.options.get("q")
        value = QUANTILES[kind](self.options, min(max(place, EDGE), 1 - EDGE))
        if q is None:
            return value
        steps = round(value / q)
        return steps * q if isinstance(q, int) else float(f"{steps * q:.12g}")  # 0.3, not 0.30000000000000004

    def grid(self) -> list[Any] | None:
        """All values, where they can be listed; None where a grid has no end, or values are of unequal weight."""
        if self.kind == "categorical":
            return self.options["values"] if "probabilities" not in self.options else None
        if self.kind == "int_uniform" and self.options["max"] - self.options["min"] < LARGEST_GRID:
            return list(range(self.options["min"], self.options["max"] + 1))
        if self.kind == "q_uniform":
            q = self.options["q"]
            first, last = (self.options[end] / q for end in ("min", "max"))
            if last - first < LARGEST_GRID:
                steps = range(math.ceil(first - EDGE), math.floor(last + EDGE) + 1)
                return [step * q if isinstance(q, int) else float(f"{step * q:.12g}") for step in steps]
        return None


def _line(options: dict[str, Any], place: float) -> float:
    return options["min"] + place * (options["max"] - options["min"])


def _log_line(options: dict[str, Any], place: float) -> float:
    low, high = math.log(options["min"]), math.log(options["max"])
    return min(max(math.exp(low + place * (high - low)), options["min"]), options["max"])


def _normal(options: dict[str, Any], place: float) -> float:
    return options["mu"] + options["sigma"] * NormalDist().inv_cdf(place)


def _beta(options: dict[str, Any], place: float) -> float:
    from scipy.special import betaincinv

    return float(betaincinv(options["a"], options["b"], place))


QUANTILES: dict[str, Callable[[dict[str, Any], float], Any]] = {
    "int_uniform": lambda own, place: min(own["min"] + int(place * (own["max"] - own["min"] + 1)), own["max"]),
    "uniform": _line,
    "log_uniform": lambda own, place: math.exp(_line(own, place)),
    "log_uniform_values": _log_line,
    "inv_log_uniform": lambda own, place: math.exp(-_line(own, 1 - place)),
    "inv_log_uniform_values": _log_line,  # log(1/X) is even where log(X) is
    "normal": _normal,
    "log_normal": lambda own, place: math.exp(_normal(own, place)),
    "beta": _beta,
}
QUANTISED = ("uniform", "log_uniform", "log_uniform_values", "normal", "log_normal", "beta")
KINDS = ["categorical", *QUANTILES, *(f"q_{kind}" for kind in QUANTISED)]
SAME = {"constant": "categorical", "categorical_w_probabilities": "categorical"}
"""Other names of kinds."""


def read_distribution(text: Any) -> Distribution:
    """The distribution of one parameter, from the mapping in the file of a sweep.

    Raises:
        ValueError: a key or a value that is missing, unknown or out of range, named in the message.
    """
    if not isinstance(text, dict):
        raise ValueError(f"{text!r}: expected a mapping, such as {{value: {text}}} or {{values: [1, 2]}}")
    given = dict(text)
    kind = given.pop("distribution", None) or _inferred(given)
    if SAME.get(kind, kind) not in KINDS:
        raise ValueError(f"distribution = {kind!r}: unknown{did_you_mean(str(kind), [*KINDS, *SAME])}")
    needed, defaults = _keys(kind)
    for key in given:
        if key not in (*needed, *defaults):
            raise ValueError(f"{key}: is no key of {kind}{did_you_mean(key, [*needed, *defaults])}")
    for key in needed:
        if key not in given:
            raise ValueError(f"{kind}: {key} is missing")
    options = defaults | given
    if "value" in options:
        return Distribution("categorical", {"values": [options["value"]]})
    _check(kind, options)
    return Distribution(SAME.get(kind, kind), options)


def _inferred(given: dict[str, Any]) -> str:
    """The kind where none is given, as Weights & Biases infers it."""
    if "value" in given:
        return "constant"
    if "values" in given:
        return "categorical_w_probabilities" if "probabilities" in given else "categorical"
    if "min" in given or "max" in given:
        return "int_uniform" if all(_whole(given.get(key, 0)) for key in ("min", "max")) else "uniform"
    raise ValueError("expected value, values, min and max, a distribution, or parameters below it")


def _keys(kind: str) -> tuple[Sequence[str], dict[str, Any]]:
    """Keys that a kind needs, and defaults of the others."""
    if kind == "constant":
        return ("value",), {}
    if kind == "categorical":
        return ("values",), {}
    if kind == "categorical_w_probabilities":
        return ("values", "probabilities"), {}
    defaults = {"q": 1} if kind.startswith("q_") else {}
    if "normal" in kind:
        return (), {"mu": 0.0, "sigma": 1.0} | defaults
    return ((), {"a": 1.0, "b": 1.0} | defaults) if "beta" in kind else (("min", "max"), defaults)


def _check(kind: str, options: dict[str, Any]) -> None:
    for key, value in options.items():
        if key in ("values", "probabilities"):
            if not isinstance(value, list) or not value:
                raise ValueError(f"{key} = {value!r}: expected a list")
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            hint = "; YAML takes 1e-4 for text, and 1.0e-4 for a number" if isinstance(value, str) else ""
            raise ValueError(f"{key} = {value!r}: expected a number{hint}")
        if kind == "int_uniform" and not _whole(value):
            raise ValueError(f"{key} = {value!r}: expected a whole number")
        if key in ("q", "sigma", "a", "b") and value <= 0:
            raise ValueError(f"{key} = {value!r}: expected a number above 0")
    if "min" in options and options["min"] >= options["max"]:
        raise ValueError(f"min = {options['min']!r}: expected less than max = {options['max']!r}")
    if kind.endswith("log_uniform_values") and options["min"] <= 0:
        raise ValueError(f"min = {options['min']!r}: expected a number above 0")
    if "log_uniform" in kind and not kind.endswith("values") and max(map(abs, _ends(options))) > 700:
        raise ValueError(f"min and max of {kind} are exponents: expected -700 to 700, or {kind}_values")
    if "probabilities" in options:
        weights = options["probabilities"]
        if len(weights) != len(options["values"]):
            raise ValueError(f"probabilities: {len(weights)} of them for {len(options['values'])} values")
        if any(weight < 0 for weight in weights) or not math.isclose(sum(weights), 1, abs_tol=1e-6):
            raise ValueError(f"probabilities = {weights}: expected numbers from 0 on that sum to 1")


def _ends(options: dict[str, Any]) -> tuple[float, float]:
    return options["min"], options["max"]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
