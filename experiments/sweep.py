"""`run.py sweep`: propose values, run them, record what came of it, and report."""

from __future__ import annotations

import importlib
import math
import shlex
import time
from collections.abc import Sequence
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from experiments.clock import Clock, signals
from experiments.config import UserError, to_flags
from experiments.launchers import Handle, Launcher, make_launcher
from experiments.run_directory import RunDirectory
from experiments.search import Point
from experiments.sweep_arguments import Sweeping
from experiments.sweep_job import Job
from experiments.sweep_record import Record, parsed
from experiments.sweep_report import report, told

__all__ = ["sweep"]

POLL_S = 0.05
ENGINES = {"bayes": ("optuna", "sweep"), "submitit": ("submitit", "cluster"), "ray": ("ray", "ray")}
"""Methods and launchers that need a package, and the extra that has it."""


def sweep(asked: Sweeping, command: str, console: Console) -> int:
    """Run a sweep, from the start or from where it was stopped. Returns the exit code.

    Raises:
        UserError: a mistake in what was asked for, an engine that is missing, or a metric that no run has.
    """
    flags, clock = asked.flags, Clock()
    console.file = console.file  # of now: what runs print in this process goes elsewhere
    for engine in {asked.sweep.method, flags["launcher"]} & set(ENGINES):
        _require(engine)
    record = Record.opened(asked)
    try:
        with FileLock(record.folder / ".lock", timeout=0), signals(clock, console):
            record.read()
            launcher = make_launcher(flags["launcher"], flags["workers"], flags["cluster"], record.folder / "launcher")
            console.print(f"{asked.total} runs ({asked.sweep.method}) in {record.folder}", soft_wrap=True)
            while todo := record.todo():
                if not _play(record, todo, launcher, clock, console):
                    break
            report(asked, record.folder, record.points, console)
    except Timeout as error:
        raise UserError(f"{record.folder}: another process is working in it") from error
    left = asked.total - sum(point.status != "proposed" for point in record.points)
    if left > 0 and not record.reached:
        again = f"python run.py sweep --resume {shlex.quote(str(record.folder))}"
        console.print(f"{left} of {asked.total} runs are not done; to go on: {again}", soft_wrap=True)
        return 128 + (clock.signal or 2)
    return 1 if any(point.status == "failed" for point in record.points) else 0


def _require(engine: str) -> None:
    module, extra = ENGINES[engine]
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{engine} needs {module}, which is not installed: pip install 'parley[{extra}]'") from error


def _play(record: Record, todo: list[Point], launcher: Launcher, clock: Clock, console: Console) -> bool:
    """Run the jobs of `todo`; returns whether the sweep may go on."""
    waiting, running = _jobs(record, todo, launcher), list[tuple[Handle, Job]]()
    points, interrupted, told_to_stop = {point.run: point for point in todo}, False, False
    while waiting or running:
        if clock.signal is not None and not told_to_stop:
            interrupted = told_to_stop = True
            for handle, _ in running:
                handle.stop()
        if interrupted or record.reached:
            waiting = []
        while waiting and len(running) < launcher.width and clock.signal is None:
            job = waiting.pop(0)
            running.append((launcher.submit(job), job))
        ended = [own for own in running if own[0].done()]
        running = [own for own in running if own not in ended]
        for _, job in ended:
            for point in (points[run] for run in job.numbers):
                status = record.judge(point, job.output)
                if status == "interrupted" or (status is None and interrupted):
                    point.status, interrupted = "proposed", True
                elif status is None and len(job.numbers) > 1:  # it is to blame, or another that was trained with it
                    point.status = "proposed"
                    waiting.append(_job(record, [point]))
                else:
                    record.write([point])
                    done = sum(own.status != "proposed" for own in record.points)
                    console.print(f"{done}/{record.asked.total} {told(record.asked.sweep, point)}", soft_wrap=True)
        if not ended:
            time.sleep(POLL_S)
    return not interrupted and not record.reached


def _jobs(record: Record, todo: Sequence[Point], launcher: Launcher) -> list[Job]:
    """Jobs for so many workers; runs of one shape, and at one step, are one as far as they may be."""
    groups: dict[Any, list[Point]] = {}
    for point in todo:
        groups.setdefault(_shape(record, point), []).append(point)
    jobs = []
    for group in groups.values():
        size = min(record.asked.flags["together"], math.ceil(len(group) / launcher.width))
        for first in range(0, len(group), size):
            jobs.append(_job(record, group[first : first + size]))
    return jobs


def _job(record: Record, points: Sequence[Point]) -> Job:
    flags = record.asked.flags
    name = points[0].name if len(points) == 1 else f"{points[0].name}-{points[-1].name}"
    return Job(
        tuple(point.run for point in points),
        tuple(record.directory(point).absolute() for point in points),
        tuple(tuple(record.asked.sweep.args(point.values, flags["wandb"])) for point in points),
        (record.folder / "output" / f"{name}.txt").absolute(),
        flags["wide"],
    )


def _shape(record: Record, point: Point) -> Any:
    """What runs that can be trained together have in common: all flags but numbers of components, and the step."""
    from experiments.checkpoint import latest_step

    name, *args = record.asked.sweep.args(point.values, "disabled")
    if name != "train":
        return point.run
    flags = to_flags(parsed(tuple(args)))
    alike = {flag: value for flag, value in flags.items() if not ("." in flag and isinstance(value, float))}
    directory = RunDirectory(record.directory(point))
    step = latest_step(directory.checkpoints) if directory.config.is_file() else "new"
    return repr(alike), step
