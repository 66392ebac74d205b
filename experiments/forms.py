"""Command lines as agents of Weights & Biases write them, as flags. Imports no numerics."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

from experiments.errors import UserError
from experiments.given import flatten

__all__ = ["as_flags"]

BARE = re.compile(r"\+{0,2}([A-Za-z_][\w.-]*=.*)", re.DOTALL)


def as_flags(args: Sequence[str]) -> list[str]:
    """`args` with every flag as `--name=value` or `--name value`, nested and listed values as the config files' are.

    What sweeps expand to: `${args}`, `${args_no_equals}` and `${args_no_boolean_flags}` are flags already, but nested
    parameters and lists are Python's, `--lola={'lookahead_rate': 0.5}` and `--learners=['lola', 'naive']`;
    `${args_no_hyphens}` are `name=value`, those for Hydra have a + or two before, and `${args_json}` is one mapping.

    Raises:
        UserError: a mapping that cannot be read.
    """
    found: list[str] = []
    waiting = False  # whether the flag before may have its value here
    for arg in args:
        bare = None if waiting else BARE.fullmatch(arg)
        name, equals, text = (f"--{bare[1]}" if bare else arg).partition("=")
        if arg.startswith("{") and not waiting:
            found += _written("", _mapping(arg))
        elif equals and name.startswith("--") and text.startswith(("{", "[")):
            found += _value(name, text)
        elif waiting and arg.startswith(("{", "[")):
            found += _value(found.pop(), arg)
        else:
            found.append(name + equals + text)
        waiting = arg.startswith("--") and not equals
    return found


def _mapping(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f'{text}: is no JSON: {error}; expected such as {{"env": "ipd"}}') from error
    assert isinstance(value, dict)
    return value


def _value(name: str, text: str) -> list[str]:
    """The flag `name` with the value `text`, a mapping or list as Python writes it; as it is where it is none."""
    try:
        return _written(name.lstrip("-"), ast.literal_eval(text))
    except (ValueError, SyntaxError):
        return [f"{name}={text}"]


def _written(name: str, value: Any) -> list[str]:
    return [f"--{flag}={text}" for flag, text in flatten(name, value).items()]
