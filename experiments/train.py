"""The host loop around the device program: compile, advance in chunks, log, checkpoint, stop, resume."""

from __future__ import annotations

import re
import shlex
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
from experiments.compiled import Programs
from experiments.config import Run, Training, UserError, to_flags
from experiments.curve_figure import welfare_curves
from experiments.curves import POINTS
from experiments.hosts import Hosts, LostError, agree
from experiments.run_directory import RunDirectory
from experiments.sides import Side, build_sides
from experiments.tables import headline, median_welfare, print_table, sentences, summary, table
from experiments.tracking import Mirror, Tracker

__all__ = ["Clock", "signals", "train"]

CHECKPOINT_EVERY_S = 30.0
STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
CHUNK_S = 1.0  # at most about this long, so that a signal is answered soon

Sides = dict[str, Side]


@dataclass
class Clock:
    """What the host saw of a run.

    Attributes:
        started: when it began, on the performance counter.
        compile_s: seconds spent compiling.
        training_s: seconds spent in the device program.
        steps: training steps taken in that time.
        signal: number of the signal that asked this process to stop.
        others: number of one that asked another process of the run to.
    """

    started: float = field(default_factory=time.perf_counter)
    compile_s: float = 0.0
    training_s: float = 0.0
    steps: int = 0
    signal: int | None = None
    others: int | None = None

    @property
    def stop(self) -> int | None:
        """Number of the signal that stops the run."""
        return self.signal or self.others

    @property
    def wall_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started

    @property
    def steps_per_s(self) -> float:
        """Training steps a second, all seeds and sides together being one step; 1 before the first."""
        return self.steps / self.training_s if self.steps else 1.0


def train(asked: Training, command: str, console: Console) -> int:
    """Run from the start, or from the last checkpoint of the directory to be resumed. Returns the exit code.

    Raises:
        UserError: a mistake in what was asked for, before anything is compiled.
    """
    run, clock = asked.run, Clock()
    sides = build_sides(run)
    agree(to_flags(run), sides)
    hosts = Hosts(sides, clock)
    with signals(clock, console):
        return hosts.run(lambda: _lead(asked, hosts, clock, command, console))


def _lead(asked: Training, hosts: Hosts, clock: Clock, command: str, console: Console) -> int:
    """What the process does that has the run directory; returns the exit code."""
    run, resume = asked
    sides = hosts.sides
    if resume is None:
        side = sides["learners"]
        slug = re.sub(r"[^\w-]+", "-", f"{run.env}-{len(side.names)}-{side.label.replace('*', 'x')}")
        directory = RunDirectory.create(run.out, slug, to_flags(run))
    else:
        directory = RunDirectory(Path(resume))
        if _is_finished(run, directory, console):
            return 0
    with (
        directory.locked(),
        Tracker(
            run.wandb,
            directory,
            to_flags(run),
            console,
            fresh=resume is None,
            mirror=Mirror(**run.components["wandb"]),
        ) as tracker,
    ):
        try:
            _start(run, hosts, clock, console)
            step, logged = _restore(run, directory, hosts, console) if resume else (0, False)
            step = _loop(run, hosts, step, logged, directory, tracker, clock, console)
        except LostError as error:
            raise LostError(f"{error}; to go on from the last checkpoint: {_resume(directory)}") from error
        labels = {name: side.label for name, side in sides.items()}
        title = f"{run.env}, {len(sides['learners'].names)} players"
        lines = directory.read_metrics(POINTS)
        welfare_curves(directory.figure, title, lines, labels, sides["learners"].env.marks())
        tracker.show(directory.figure)
        status = "failed" if _failed(sides) else "interrupted" if step < run.steps else "finished"
        final = summary(run, sides, step, status, command, vars(clock) | {"wall_s": clock.wall_s})
        tracker.summarise(final)
        directory.write_summary(final)
    return _report(run, sides, step, directory, clock, console)


def _is_finished(run: Run, directory: RunDirectory, console: Console) -> bool:
    """Whether there is nothing left to do; the summary is what a run writes last."""
    done, summary = checkpoint.latest_step(directory.checkpoints), directory.read_summary()
    if done is not None and done > run.steps:
        raise UserError(
            f"--steps {run.steps} with --resume: {directory.path} is at step {done}; expected more than that"
        )
    if done != run.steps or (summary.get("status"), summary.get("steps")) != ("finished", done):
        return False
    console.print(f"{directory.path} is finished: step {done} of {run.steps}; --steps N extends it", soft_wrap=True)
    return True


def _start(run: Run, hosts: Hosts, clock: Clock, console: Console) -> None:
    for name, side in hosts.sides.items():
        start, programs = time.perf_counter(), Programs()
        what = f"{side.label} on {run.env}, {len(side.names)} players, {run.seed_count}"
        with console.status(f"compiling {what} ..."):
            hosts.start(name)
        seconds = time.perf_counter() - start
        clock.compile_s += seconds
        console.print(f"compiled {what}: {seconds:.1f} s{programs.told()}", soft_wrap=True)


def _restore(run: Run, directory: RunDirectory, hosts: Hosts, console: Console) -> tuple[int, bool]:
    """Go on from the last sound checkpoint; returns its step, 0 if there is none, and whether that is logged."""
    step, states, unread = checkpoint.restore_latest(directory.checkpoints, hosts.shapes)
    for message in unread:
        console.print(f"warning: {message}; trying an older one", soft_wrap=True)
    if states is None:
        console.print(f"{directory.path} has no checkpoint: starting from step 0", soft_wrap=True)
    else:
        hosts.place(states)
    written = directory.truncate_metrics(step, lambda own: _is_logged(run, own))
    directory.write_config(to_flags(run))
    return step, written


def _loop(
    run: Run,
    hosts: Hosts,
    step: int,
    logged_before: bool,
    directory: RunDirectory,
    tracker: Tracker,
    clock: Clock,
    console: Console,
) -> int:
    """Advance to the last step, or until a signal or until all seeds failed; returns the step reached.

    Leaves a checkpoint of that step. Seeds that failed stay where they were.
    """
    columns = [TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}")]
    saved, sides, best = time.perf_counter(), hosts.sides, checkpoint.Best(directory.checkpoints)
    hosts.run_until(step, step)
    told = _faults(sides)
    if _is_logged(run, step):
        _offer(hosts, step, best)
        if not logged_before:
            _log(sides, step, directory, tracker)
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=run.steps, completed=step)
        while step < run.steps and clock.stop is None and not _failed(sides):
            logged = min(step + run.log_every - step % run.log_every, run.steps)
            stop = min(logged, step + max(1, int(clock.steps_per_s * CHUNK_S)))
            start = time.perf_counter()
            hosts.run_until(step, stop, look=stop == logged)
            clock.training_s += time.perf_counter() - start
            clock.steps += stop - step
            step = stop
            if (new := [fault for fault in _faults(sides) if fault not in told]) and not _failed(sides):
                console.print(f"warning: {_shortened(new)}; the other seeds go on", soft_wrap=True)
                told += new
            if step == logged:
                _log(sides, step, directory, tracker)
                _offer(hosts, step, best)
            if time.perf_counter() - saved > CHECKPOINT_EVERY_S:
                _save(run, hosts, step, directory, best)
                saved = time.perf_counter()
            speed = f"{clock.steps_per_s:,.0f} steps/s"
            progress.update(task, completed=step, description=f"{speed}  welfare {headline(sides)}")
    if not _is_logged(run, step):
        hosts.run_until(step, step)
        _log(sides, step, directory, tracker)
    _save(run, hosts, step, directory, best)
    return step


def _is_logged(run: Run, step: int) -> bool:
    """Whether `metrics.jsonl` has a line of `step`, wherever the run is interrupted."""
    return step % run.log_every == 0 or step == run.steps


def _offer(hosts: Hosts, step: int, best: checkpoint.Best) -> None:
    if best.offer(step, median_welfare(hosts.sides["learners"])):
        hosts.keep()


def _save(run: Run, hosts: Hosts, step: int, directory: RunDirectory, best: checkpoint.Best) -> None:
    directory.settle_metrics()
    best.write(lambda: hosts.states(best=True))
    checkpoint.save(directory.checkpoints, step, hosts.states(), run.keep)


def _log(sides: Sides, step: int, directory: RunDirectory, tracker: Tracker) -> None:
    line = {"step": step, **{name: side.metrics() for name, side in sides.items()}}
    directory.append_metrics(line)
    tracker.log(line)


def _report(run: Run, sides: Sides, step: int, directory: RunDirectory, clock: Clock, console: Console) -> int:
    """Print the tables, the sentence and the way on; returns the exit code."""
    if _failed(sides):
        print(f"error: {_faults(sides)[0]}; what was written until then is in {directory.path}", file=sys.stderr)
        return 1
    shown = [sides[name] for name in ("baseline", "learners") if name in sides]
    for side in shown:
        title = f"{side.label} on {run.env} after {step} steps, {run.seed_count}"
        print_table(console, table(side.env, title, side.names, side.outcome))
    console.print(sentences(sides))
    console.print(f"run directory: {directory.path}", soft_wrap=True)
    if step < run.steps and clock.stop:
        console.print(f"stopped at step {step} of {run.steps}; to go on: {_resume(directory)}", soft_wrap=True)
        return 128 + clock.stop
    if faults := _faults(sides):
        print(f"error: {_shortened(faults)}; the other seeds are sound", file=sys.stderr)
    return int(bool(faults))


def _resume(directory: RunDirectory) -> str:
    return f"python run.py --resume {shlex.quote(str(directory.path))}"


@contextmanager
def signals(clock: Clock, console: Console) -> Iterator[None]:
    """Within it, the first signal asks the loop to stop after its chunk, the second stops at once."""

    def handle(number: int, _: Any) -> None:
        if clock.signal is not None:
            raise SystemExit(128 + number)
        clock.signal = number
        name = signal.Signals(number).name
        console.print(f"{name}: stopping after this chunk; once more to stop at once and lose what is not saved")

    old = {number: signal.signal(number, handle) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _failed(sides: Sides) -> bool:
    """Whether no seed of the learners is left."""
    return bool(sides["learners"].bad.all())


def _faults(sides: Sides) -> list[str]:
    return [f"{side.label}: {fault}" for side in sides.values() for fault in side.faults]


def _shortened(faults: list[str]) -> str:
    return "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
