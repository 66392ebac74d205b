"""Which flags were given, and where: on the command line, and in YAML files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from experiments.errors import UserError

__all__ = ["config_files", "flatten", "given_flags", "origins", "read_files", "read_yaml"]

MOST_YAML = 2**18
"""Bytes of a file of flags; the parser takes a second for so many."""


def given_flags(args: Sequence[str]) -> dict[str, str | None]:
    """Flag → value as written, of all flags on a command line; the last one wins."""
    return dict(_in_order(args))


def config_files(args: Sequence[str]) -> list[str]:
    """The files of a command line, later ones winning: every `--config`, or the config of the run to be resumed."""
    found = [(flag, value) for flag, value in _in_order(args) if value is not None]
    resumed = [str(Path(value) / "config.yaml") for flag, value in found if flag == "resume"]
    return resumed[-1:] or [value for flag, value in found if flag == "config"]


def read_files(paths: Iterable[str]) -> dict[str, str]:
    """Several YAML files as one; later files win."""
    merged: dict[str, str] = {}
    for path in paths:
        merged |= read_yaml(path)
    return merged


def origins(args: Sequence[str]) -> dict[str, str]:
    """Flag → where its value was given: the path of a file, or "command line"."""
    from_files = {key: path for path in config_files(args) for key in read_yaml(path)}
    return from_files | dict.fromkeys(given_flags(args), "command line")


def _in_order(args: Sequence[str]) -> list[tuple[str, str | None]]:
    given: list[tuple[str, str | None]] = []
    for place, arg in enumerate(args):
        if arg.startswith("-") and not re.fullmatch(r"-([\d.].*|inf|nan)?", arg):
            flag, equals, value = arg.lstrip("-").partition("=")
            following = args[place + 1] if place + 1 < len(args) else None
            given.append((flag.replace("-", "_"), value if equals else following))
    return given


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, which a few lines of can fill any memory, and which no config needs."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not supported")
        return super().compose_node(parent, index)


def read_yaml(path: str, named: str = "--config ") -> dict[str, str]:
    """A YAML file as flag → text, nested mappings joined by dots and `name` standing for the mapping itself.

    Messages say what it is `named`, before its path.
    """
    label = f"{named}{path}"
    try:
        with Path(path).open("rb") as file:
            text = file.read(MOST_YAML + 1)
        if len(text) > MOST_YAML:
            raise UserError(f"{label}: has more than {MOST_YAML:,} bytes; expected a file of flags")
        data = yaml.load(text.decode(), Loader=_PlainLoader)  # noqa: S506  a SafeLoader
        if not isinstance(data or {}, dict):
            raise UserError(f"{label}: expected a mapping of flags to values, found {type(data).__name__}")
        if {"method", "parameters"} <= set(data or {}):
            raise UserError(f"{label}: is the file of a sweep; expected: python run.py sweep {path}")
        return flatten("", data or {})
    except OSError as error:
        raise UserError(f"{label}: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no text, no date, or too long a number
        raise UserError(f"{label}: not valid YAML: {' '.join(str(error).split())}") from error


def flatten(prefix: str, value: Any) -> dict[str, str]:
    """A value of the key `prefix` as flag → text, nested mappings joined by dots, lists by commas.

    `name` stands for the mapping that it is in; null is the default, and left out.
    """
    if isinstance(value, dict):
        found = {}
        for key, inner in value.items():
            name = str(key).replace("-", "_")
            found |= flatten(prefix if name == "name" and prefix else f"{prefix}.{name}".lstrip("."), inner)
        return found
    if value is None:
        return {}
    return {prefix: ",".join(map(str, value)) if isinstance(value, list) else str(value)}
