"""The config of a directory: what differs from the defaults, the command that repeats it, and no secrets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments import league_arguments, psro_arguments
from experiments.config import TRAIN, UserError, default_flags
from experiments.given import read_yaml
from experiments.report.blocks import Section

__all__ = ["HIDDEN", "configure", "safe_command", "safe_flags"]

HIDDEN = "(not shown)"
"""Instead of a secret."""

SECRET = re.compile(r"(api|access|private|auth)[-_]?key|token|passw|passphrase|secret|credential", re.IGNORECASE)
ACCOUNT = re.compile(r"(?<=://)[^/\s@]+(?=@)")

DEFAULTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "train": lambda chosen: default_flags(TRAIN, chosen),
    "psro": psro_arguments.default_flags,
    "league": league_arguments.default_flags,
}


def configure(section: Section, kind: str, path: Path, command: str | None) -> None:
    """Fill in the config of the run in `path`, and the command: the one that made it, unless that went on with another.

    Args:
        section: to be filled in.
        kind: "train", "psro" or "league".
        path: of the directory.
        command: that was recorded, if any.
    """
    flags = read_yaml(str(path / "config.yaml"))
    section.config = safe_flags(flags)
    try:
        defaults = DEFAULTS[kind](flags)
        section.differing = [flag for flag in flags if flag not in defaults or not _same(flags[flag], defaults[flag])]
    except UserError as error:
        section.differing = list(flags)
        section.missing.append(f"what differs from the defaults ({error})")
    if command is None or "--resume" in command:
        words = ["python", "run.py", *([kind] if kind != "train" else [])]
        command = shlex.join([*words, *(f"--{flag}={flags[flag]}" for flag in section.differing)])
    section.command = safe_command(command)


def safe_flags(flags: Mapping[str, Any]) -> dict[str, str]:
    """Flags as text, without secrets."""
    return {flag: HIDDEN if SECRET.search(flag) else ACCOUNT.sub(HIDDEN, _text(value)) for flag, value in flags.items()}


def safe_command(command: str) -> str:
    """A command line without secrets, be they `--key=value`, `--key value` or `KEY=value`."""
    try:
        words = shlex.split(command)
    except ValueError:
        return HIDDEN
    shown = []
    for place, word in enumerate(words):
        key, equals, _ = word.partition("=")
        before = words[place - 1] if place else ""
        if equals and SECRET.search(key):
            shown.append(f"{key}={HIDDEN}")
        elif before.startswith("-") and "=" not in before and SECRET.search(before) and not word.startswith("--"):
            shown.append(HIDDEN)
        else:
            shown.append(ACCOUNT.sub(HIDDEN, word))
    return shlex.join(shown)


def _same(value: str, default: Any) -> bool:
    """Whether a value of `config.yaml` is the default; numbers as numbers, whatever their form."""
    if isinstance(default, int | float) and not isinstance(default, bool):
        try:
            return float(value) == float(default)
        except ValueError:
            return False
    return value == _text(default)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
