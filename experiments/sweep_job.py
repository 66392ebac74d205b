"""What a worker does: one run of a sweep, or several of one shape in one program. Imports JAX when it begins."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from rich.console import Console

from experiments.config import UserError, parse

__all__ = ["STARTED", "Job", "run_job"]

STARTED = "-- started --"
"""A line of the output before each attempt."""

PATIENCE_S = 60.0
"""So long a worker waits for one that still works in the directory: that of a sweep that was killed saves, and ends."""


@dataclass(frozen=True)
class Job:
    """Runs for one worker.

    Attributes:
        numbers: of the runs.
        directories: theirs.
        args: arguments of `run.py` for each; the first is the name of the command.
        output: file for what they print.
        wide: whether those that are trained together are one `vmap`.
    """

    numbers: tuple[int, ...]
    directories: tuple[Path, ...]
    args: tuple[tuple[str, ...], ...]
    output: Path
    wide: bool


def run_job(job: Job) -> None:
    """Start the runs of `job`, or go on with those that have been started. Results are what their directories hold."""
    job.output.parent.mkdir(parents=True, exist_ok=True)
    with job.output.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        file.write(f"{STARTED}\n")
        try:
            from experiments.cli import main, prepare_jax

            args = [_args(*own) for own in zip(job.directories, job.args, strict=True)]
            if len(job.args) == 1:
                main(args[0])
            else:
                prepare_jax()
                _together(args, job.wide)
        except UserError as error:
            file.write(f"error: {error}\n")
        except SystemExit as error:
            if error.code not in (None, 0, 2):  # of a second signal, or of submitit, not of the parser of flags
                raise
        except Exception:
            traceback.print_exc()


def _args(directory: Path, args: tuple[str, ...]) -> list[str]:
    """The arguments with which a run starts in `directory`, or goes on."""
    if directory.is_dir():
        with FileLock(directory / ".lock", timeout=PATIENCE_S):
            begun = (directory / "config.yaml").is_file()
            (directory / "summary.json").unlink(missing_ok=True)  # so that it is of this time, or missing
        if begun:
            return [args[0], "--resume", str(directory)]
    return [*args, "--out", str(directory)]


def _together(args: list[list[str]], wide: bool) -> None:
    """Train runs of one shape together; those that cannot be built are left out."""
    from experiments.train import train_together
    from experiments.work import Work

    groups: list[list[Work]] = []
    for own in args:
        try:
            work = Work.of(parse(own[1:]), shlex.join(["python", "run.py", *own[1:]]))
        except (UserError, SystemExit) as error:
            sys.stderr.write(f"left out: {error}\n")
            continue
        alike = next((group for group in groups if group[0].shape == work.shape), None)
        if alike is None:
            groups.append([work])
        else:
            alike.append(work)
    for group in groups:
        if train_together(group, Console(highlight=False, markup=False), wide) > 128:
            return


def in_process(job: Job, share: int, watch: Callable[[], None] | None = None) -> None:
    """`run_job` in a process of its own, one of `share` on this machine.

    It is deaf to the terminal, so that it is the sweep that says when to stop; and it stops when the sweep is gone.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    if share > 1:
        os.environ["JAX_NUM_CPU_DEVICES"] = str(max(1, int(os.environ["JAX_NUM_CPU_DEVICES"]) // share))
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if watch is not None:
        watch()
    run_job(job)
