"""The file of a sweep, in the format of Weights & Biases. Imports no numerics."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from envs.registry import did_you_mean
from experiments.distributions import Distribution, read_distribution
from experiments.errors import UserError
from experiments.given import flatten

__all__ = ["METHODS", "Sweep", "read_sweep"]

METHODS = ("grid", "random", "bayes")
COMMANDS = ("train", "psro")
"""What can be swept: commands whose runs write metrics, and can be resumed."""
IGNORED = ("apiVersion", "controller", "description", "entity", "kind", "name", "program", "project")
"""Keys that are for a server."""
REFUSED = {
    "early_terminate": "runs go to their last step here; expected none",
    "metrics": "one is optimised here; expected metric",
    "scheduler": "is for a server; expected method grid, random or bayes",
    "job": "is for a server; expected program: run.py",
    "image_uri": "is for a server; expected program: run.py",
}
KNOWN = (*IGNORED, "command", "method", "metric", "parameters", "run_cap")
TAKEN = ("out", "resume")
DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")


@dataclass(frozen=True)
class Sweep:
    """A sweep.

    Attributes:
        path: of the file.
        method: grid, random or bayes.
        metric: name of the metric by which runs are judged; None if the file names none.
        maximize: whether more of it is better.
        target: a value of it with which the sweep ends.
        parameters: flag → its distribution, in the order of the file, without wandb.
        run_cap: most runs.
        command: name of the command, and flags that all runs have.
    """

    path: str
    method: str
    metric: str | None
    maximize: bool
    target: float | None
    parameters: dict[str, Distribution]
    run_cap: int | None
    command: tuple[str, ...]

    @property
    def space(self) -> tuple[Any, ...]:
        """What must not change while a sweep goes on."""
        return self.method, list(self.parameters.items()), self.command

    @property
    def varying(self) -> list[str]:
        """Parameters of more than one value."""
        return [name for name, own in self.parameters.items() if own.choices is None or len(own.choices) > 1]

    def args(self, values: dict[str, Any], wandb: str) -> list[str]:
        """The arguments of `run.py` for `values` of the parameters."""
        flags: dict[str, str] = {}
        for name, value in values.items():
            flags |= flatten(name, value)
        return [*self.command, *(f"--{name}={text}" for name, text in (flags | {"wandb": wandb}).items())]

    def better(self, first: float, second: float) -> bool:
        """Whether `first` is better than `second`."""
        return first > second if self.maximize else first < second


def read_sweep(path: str) -> Sweep:
    """The sweep in a YAML file.

    Raises:
        UserError: what is wrong with it, with its key.
    """
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        again = f"; to go on with a sweep: --resume {path}" if Path(path).is_dir() else ""
        near = [str(own) for own in Path(path).parent.glob("*.y*ml")] if not again else []
        hint = again or (did_you_mean(path, near) if near else "")
        raise UserError(f"sweep {path}: {error.strerror or error}{hint}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"sweep {path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UserError(f"sweep {path}: expected a mapping, found {type(data).__name__}")
    try:
        return _sweep(path, data)
    except ValueError as error:
        raise UserError(f"sweep {path}: {error}") from error


def _sweep(path: str, data: dict[str, Any]) -> Sweep:
    for key in data:
        if key in REFUSED:
            raise ValueError(f"{key}: {REFUSED[key]}")
        if key not in KNOWN:
            raise ValueError(f"unknown key {key!r}{did_you_mean(str(key), KNOWN)}")
    if (method := data.get("method")) not in METHODS:
        raise ValueError(f"method = {method!r}: expected one of {', '.join(METHODS)}")
    if Path(str(data.get("program", "run.py"))).name != "run.py":
        raise ValueError(f"program = {data['program']!r}: expected run.py")
    run_cap = data.get("run_cap")
    if run_cap is not None and (not isinstance(run_cap, int) or run_cap < 1):
        raise ValueError(f"run_cap = {run_cap!r}: expected a whole number from 1")
    parameters = _parameters("", data.get("parameters"))
    parameters.pop("wandb", None)
    for name, own in parameters.items():
        if method == "grid" and own.grid() is None:
            raise ValueError(f"parameters: {name}: {own.kind} has no grid; expected values, or method: random or bayes")
    metric, maximize, target = _metric(data.get("metric"))
    if method == "bayes" and metric is None:
        raise ValueError("metric: is missing; method bayes optimises one, such as learners/welfare/median")
    return Sweep(path, method, metric, maximize, target, parameters, run_cap, _command(data.get("command")))


def _parameters(prefix: str, data: Any) -> dict[str, Distribution]:
    """Flag → distribution, nested ones joined by dots as in a config file."""
    where = f"parameters: {prefix}" if prefix else "parameters"
    if not isinstance(data, dict) or not data:
        raise ValueError(f"{where}: expected a mapping of flags to values")
    found: dict[str, Distribution] = {}
    for key, own in data.items():
        name = str(key).replace("-", "_")
        flag = prefix if name == "name" and prefix else f"{prefix}.{name}".lstrip(".")
        if isinstance(own, dict) and isinstance(own.get("parameters"), dict) and len(own) == 1:
            inner = _parameters(flag, own["parameters"])
        else:
            try:
                inner = {flag: read_distribution(own)}
            except ValueError as error:
                raise ValueError(f"parameters: {flag}: {error}") from error
        if flag in TAKEN:
            raise ValueError(f"parameters: {flag}: every run has a directory of its own; expected none")
        if again := set(inner) & set(found):
            raise ValueError(f"parameters: {again.pop()}: is there twice")
        found |= inner
    return found


def _metric(data: Any) -> tuple[str | None, bool, float | None]:
    if data is None:
        return None, False, None
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise ValueError(f"metric = {data!r}: expected such as {{name: learners/welfare/median, goal: maximize}}")
    for key in data:
        if key not in ("name", "goal", "target", "impute"):
            raise ValueError(f"metric: unknown key {key!r}{did_you_mean(key, ['name', 'goal', 'target', 'impute'])}")
    goal, target = data.get("goal", "minimize"), data.get("target")
    if goal not in ("minimize", "maximize"):
        raise ValueError(f"metric: goal = {goal!r}: expected minimize or maximize")
    if target is not None and not isinstance(target, int | float):
        raise ValueError(f"metric: target = {target!r}: expected a number")
    if data.get("impute", "worst") != "worst":
        raise ValueError(f"metric: impute = {data['impute']!r}: expected worst, which failed runs count as")
    return data["name"], goal == "maximize", target


def _command(data: Any) -> tuple[str, ...]:
    """Name of the command, and what flags stand between `${program}` and `${args}`."""
    words = [str(word) for word in (DEFAULT_COMMAND if data is None else data)]
    if "${program}" not in words:
        raise ValueError("command: ${program} is missing")
    after = words[words.index("${program}") + 1 :]
    if not any(word.startswith("${args") for word in after):
        raise ValueError("command: ${args} is missing after ${program}")
    kept = [
        word
        for word, following in zip(after, [*after[1:], ""], strict=True)
        if not word.startswith("${args") and (word, following) != ("--config", "${args_json_file}")
    ]
    kept = [re.sub(r"\$\{envvar:(\w+)\}", lambda found: os.environ.get(found[1], found[1]), word) for word in kept]
    name = "train" if not kept or kept[0].startswith("-") else kept.pop(0)
    if name not in COMMANDS:
        raise ValueError(f"command: {name} has no metrics of runs; expected {' or '.join(COMMANDS)}")
    return name, *kept
