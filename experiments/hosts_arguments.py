"""How processes on several machines find each other: the flag `--distributed`. Imports no numerics."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NamedTuple

from experiments.config import UserError

__all__ = ["Meeting", "meeting_argument"]


class Meeting(NamedTuple):
    """Where the processes of a run meet; JAX asks the cluster for what is None.

    Attributes:
        coordinator: address and port at which process 0 waits for the others.
        processes: how many there are.
        process: number of this one, from 0.
    """

    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None


def meeting_argument(args: Sequence[str]) -> tuple[list[str], Meeting | None]:
    """The command line `args` without `--distributed`, and what that says, None if it is not there.

    Raises:
        UserError: a mistake in its value.
    """
    control = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    control.add_argument("--distributed", nargs="?", const="auto")
    known, rest = control.parse_known_args(list(args))
    return rest, None if known.distributed is None else _meeting(known.distributed)


def _meeting(text: str) -> Meeting:
    if text == "auto":
        return Meeting()
    found = re.fullmatch(r"(\[[^\]]+\]|[^:,\s]+):(\d+),(\d+),(\d+)", text)
    problem = None
    if found is None:
        problem = "not understood"
    elif not 0 < int(found[2]) < 2**16:
        problem = f"no port {found[2]}"
    elif not int(found[4]) < int(found[3]):
        problem = f"no process {found[4]} among {found[3]}, which are counted from 0"
    if found is None or problem:
        raise UserError(
            f"--distributed {text}: {problem}; expected auto, under SLURM, or HOST:PORT,PROCESSES,PROCESS, such as "
            "10.0.0.1:12345,2,0 on the first machine and 10.0.0.1:12345,2,1 on the second"
        )
    return Meeting(f"{found[1]}:{found[2]}", int(found[3]), int(found[4]))
