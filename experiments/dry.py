"""`--dry`: the flags of a run as resolved, and where each of them comes from. Imports no numerics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import yaml

from experiments import config, league_arguments, psro_arguments
from experiments.given import given_flags, origins

__all__ = ["FLAGS", "is_dry", "resolved"]

FLAGS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "train": lambda asked: config.to_flags(asked.run),
    "psro": psro_arguments.to_flags,
    "league": league_arguments.to_flags,
}
"""Of the commands that write a `config.yaml`: what was asked for → what that holds."""


def is_dry(command: str, args: Sequence[str]) -> bool:
    """Whether `--dry` is among the arguments of a command that has it."""
    asked = given_flags(args).get("dry", "false")
    return command in FLAGS and (asked or "").lower() != "false"


def resolved(command: str, asked: Any, args: Sequence[str]) -> str:
    """The flags of what was `asked` for by `args`, one a line, as YAML that `--config` takes."""
    known = origins(args)
    lines = [
        (
            f"{flag}: {yaml.safe_dump([value], default_flow_style=True, width=10**6).strip()[1:-1]}",
            known.get(flag, "default"),
        )
        for flag, value in FLAGS[command](asked).items()
    ]
    width = max(len(line) for line, _ in lines)
    return "\n".join(f"{line:<{width}}  # {origin}" for line, origin in lines)
