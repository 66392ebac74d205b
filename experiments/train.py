"""The host loop around the device program: compile, advance in chunks, log, checkpoint, stop, resume."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from experiments import checkpoint
from experiments.config import Run, to_flags
from experiments.figures import welfare_curves
from experiments.report import headline, sentence, summary, table
from experiments.run_directory import RunDirectory
from experiments.sides import Side, build_sides
from experiments.tracking import Tracker

__all__ = ["train"]

CHECKPOINT_EVERY_S = 30.0

Sides = dict[str, Side]


@dataclass
class Clock:
    """What the host saw of a run.

    Attributes:
        started: when it began, on the performance counter.
        compile_s: seconds spent compiling.
        training_s: seconds spent in the device program.
        steps: training steps taken in that time.
        signal: number of the signal that stopped the run.
    """

    started: float = field(default_factory=time.perf_counter)
    compile_s: float = 0.0
    training_s: float = 0.0
    steps: int = 0
    signal: int | None = None

    @property
    def wall_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started

    @property
    def steps_per_s(self) -> float:
        """Training steps a second, all seeds and sides together being one step."""
        return self.steps / max(self.training_s, 1e-9)


def train(run: Run, resume: str | None, command: str, console: Console) -> int:
    """Run `run` from its start, or from the last checkpoint of the directory `resume`. Returns the exit code.

    Raises:
        UserError: a mistake in what was asked for, before anything is compiled.
    """
    clock = Clock()
    sides = build_sides(run)
    directory, start = _open(run, resume, sides)
    if start >= run.steps:
        console.print(
            f"{directory.path} is finished: step {start} of {run.steps}; --steps N extends it", soft_wrap=True
        )
        return 0
    with _signals(clock), Tracker(run.wandb, directory.path, to_flags(run)) as tracker:
        _compile(run, sides, clock, console)
        step = _loop(run, sides, start, directory, tracker, clock, console)
        _save(directory, step, sides)
    status = "failed" if _fault(sides) else "interrupted" if step < run.steps else "finished"
    directory.write_summary(summary(run, sides, step, status, command, vars(clock) | {"wall_s": clock.wall_s}))
    labels = {name: side.label for name, side in sides.items()}
    welfare_curves(directory.figure, list(directory.read_metrics()), labels, sides["learners"].env.marks())
    return _report(run, sides, step, directory, clock, console)


def _open(run: Run, resume: str | None, sides: Sides) -> tuple[RunDirectory, int]:
    """The run directory, and the step of the states now in `sides`."""
    if resume is None:
        side = sides["learners"]
        slug = f"{run.env}-{len(side.names)}-{side.label.replace('*', 'x').replace(',', '-')}"
        return RunDirectory.create(run.out, slug, to_flags(run)), 0
    directory = RunDirectory(Path(resume))
    directory.write_config(to_flags(run))
    path = checkpoint.latest(directory.checkpoints)
    if path is None:
        directory.truncate_metrics(-1)
        return directory, 0
    step, states = checkpoint.restore(path, _states(sides))
    for name, side in sides.items():
        side.place(states[name])
    directory.truncate_metrics(step)
    return directory, step


def _compile(run: Run, sides: Sides, clock: Clock, console: Console) -> None:
    for side in sides.values():
        start = time.perf_counter()
        what = f"{side.label} on {run.env}, {len(side.names)} players, {run.seed_count}"
        with console.status(f"compiling {what} ..."):
            side.compile()
        seconds = time.perf_counter() - start
        clock.compile_s += seconds
        console.print(f"compiled {what}: {seconds:.1f} s")


def _loop(
    run: Run, sides: Sides, step: int, directory: RunDirectory, tracker: Tracker, clock: Clock, console: Console
) -> int:
    """Advance to the last step, or until a signal or a fault; returns the step reached."""
    columns = [TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}")]
    saved = time.perf_counter()
    for side in sides.values():
        side.run_until(step, step)
    if step == 0:
        _log(sides, step, directory, tracker)
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=run.steps, completed=step)
        while step < run.steps and clock.signal is None and not _fault(sides):
            stop = min(step + run.log_every - step % run.log_every, run.steps)
            start = time.perf_counter()
            for side in sides.values():
                side.run_until(step, stop)
            clock.training_s += time.perf_counter() - start
            clock.steps += stop - step
            step = stop
            _log(sides, step, directory, tracker)
            speed = f"{clock.steps_per_s:,.0f} steps/s"
            progress.update(task, completed=step, description=f"{speed}  welfare {headline(sides)}")
            if time.perf_counter() - saved > CHECKPOINT_EVERY_S:
                _save(directory, step, sides)
                saved = time.perf_counter()
    return step


def _log(sides: Sides, step: int, directory: RunDirectory, tracker: Tracker) -> None:
    line = {"step": step, **{name: side.metrics() for name, side in sides.items()}}
    directory.append_metrics(line)
    tracker.log(line)


def _save(directory: RunDirectory, step: int, sides: Sides) -> None:
    """Write a checkpoint, unless its numbers are broken: a run goes on from the last sound one."""
    if not _fault(sides):
        checkpoint.save(directory.checkpoints, step, _states(sides))


def _report(run: Run, sides: Sides, step: int, directory: RunDirectory, clock: Clock, console: Console) -> int:
    """Print the tables, the sentence and the way on; returns the exit code."""
    shown = [sides[name] for name in ("baseline", "learners") if name in sides]
    for side in shown:
        title = f"{side.label} on {run.env} after {step} steps, {run.seed_count}"
        console.print("", table(side.env, title, side.names, side.outcome))
    console.print("; ".join(sentence(side.env, side.names, side.outcome) for side in shown) + ".")
    console.print(f"run directory: {directory.path}", soft_wrap=True)
    if fault := _fault(sides):
        print(f"error: {fault}; what was written until then is in {directory.path}", file=sys.stderr)
        return 1
    if step < run.steps and clock.signal:
        resume = f"python run.py --resume {directory.path}"
        console.print(f"stopped at step {step} of {run.steps}; to go on: {resume}", soft_wrap=True)
        return 128 + clock.signal
    return 0


@contextmanager
def _signals(clock: Clock) -> Iterator[None]:
    """Within it, the first Ctrl-C or SIGTERM asks the loop to stop after its chunk, the second stops at once."""

    def handle(number: int, _: Any) -> None:
        if clock.signal is not None:
            raise KeyboardInterrupt
        clock.signal = number

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _fault(sides: Sides) -> str | None:
    return next((f"{side.label}: {side.fault}" for side in sides.values() if side.fault), None)


def _states(sides: Sides) -> dict[str, Any]:
    return {name: side.states for name, side in sides.items()}
