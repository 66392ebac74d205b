"""What commands other than train have in common: positional arguments and flags. Imports no numerics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from envs.registry import Parameter, did_you_mean
from experiments.config import TRAIN, Run, UserError, parse
from experiments.flags import Group, parse_flags
from experiments.given import read_yaml
from experiments.run_directory import require_training

__all__ = ["asks_for_help", "flag_values", "one_directory", "run_in", "split_arguments", "training_flags"]


def flag_values(known: Sequence[Parameter], flags: Sequence[str], prog: str, description: str) -> dict[str, Any]:
    """The values of flags that are those of no run.

    Raises:
        UserError: a flag that is not known.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    own = {parameter.name: parameter for parameter in known}
    for flag in (arg[2:].split("=")[0] for arg in flags if arg.startswith("--")):
        if flag not in (*own, "help"):
            raise UserError(f"unknown flag --{flag}{did_you_mean(flag, own)}")
    return parse_flags({"": Group("", own)}, flags, prog, description)[""]


def split_arguments(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Positional arguments, and the flags after them."""
    end = next((place for place, arg in enumerate(args) if arg.startswith("-")), len(args))
    return list(args[:end]), list(args[end:])


def one_directory(command: str, args: Sequence[str], example: str) -> tuple[list[str], list[str]]:
    """The run directory that a command takes, [] beside `--help`, and the flags.

    Raises:
        UserError: none, or more than one.
    """
    found, flags = split_arguments(args)
    if len(found) != 1 and not asks_for_help(flags):
        what = " ".join(found) or "none"
        raise UserError(f"{command} takes one run directory, found {what}; expected such as: {command} {example}")
    return found, flags


def asks_for_help(flags: Sequence[str]) -> bool:
    """Whether `--help` is among the flags."""
    return not {"-h", "--help"}.isdisjoint(flags)


def training_flags(**defaults: object) -> dict[str, Parameter]:
    """Flags of training runs, with other defaults."""
    return {name: replace(TRAIN.flags[name], default=default) for name, default in defaults.items()}


def run_in(path: Path, text: str) -> tuple[Run, dict[str, str]]:
    """The run in `path`, and the parameters of its environment as flags."""
    config = require_training(path, text)
    run, _ = parse(["--config", str(config)])
    return run, {key: value for key, value in read_yaml(str(config)).items() if key.startswith("env.")}
