"""The host loop around the device program: compile, advance in chunks, log, checkpoint, stop, resume."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from experiments import checkpoint
from experiments.clock import Clock, signals
from experiments.compiled import Programs
from experiments.config import Run, Training, UserError, to_flags
from experiments.hosts import Hosts, LostError, agree
from experiments.run_directory import RunDirectory
from experiments.sides import Side
from experiments.tables import headline, median_welfare, print_table, sentences, table
from experiments.work import Work

__all__ = ["train", "train_together"]

CHECKPOINT_EVERY_S = 30.0
CHUNK_S = 1.0  # at most about this long, so that a signal is answered soon


def train(asked: Training, command: str, console: Console) -> int:
    """Run from the start, or from the last checkpoint of the directory to be resumed. Returns the exit code.

    Raises:
        UserError: a mistake in what was asked for, before anything is compiled.
    """
    return train_together([Work.of(asked, command)], console)


def train_together(works: Sequence[Work], console: Console, wide: bool = False) -> int:
    """Train runs of the same shape in one program, see `Side.together`; returns the exit code, of several the worst.

    All are from the start, or all are to be resumed and at the same step. One that fails does not stop the others.

    Raises:
        UserError: a directory that cannot be written, or runs that are not at the same step.
    """
    first, clock = works[0], Clock()
    agree(to_flags(first.run), first.sides)
    sides = first.sides
    if len(works) > 1:
        sides = {name: Side.together([work.sides[name] for work in works], wide) for name in sides}
    hosts = Hosts(sides, clock)
    with signals(clock, console):
        return hosts.run(lambda: _lead(works, hosts, clock, console))


def _lead(works: Sequence[Work], hosts: Hosts, clock: Clock, console: Console) -> int:
    """What the process does that has the run directories; returns the exit code."""
    first = works[0]
    if len(works) == 1 and first.resume is not None:
        directory = RunDirectory(Path(first.resume))
        if _is_finished(first.run, directory, console):
            return 0
    with ExitStack() as stack:
        for work in works:
            stack.enter_context(work.opened(console))
        try:
            _start(works, hosts, clock, console)
            logged = _restore(works, hosts, console) if first.resume is not None else [False for _ in works]
            _loop(works, hosts, logged, clock, console)
        except LostError as error:
            raise LostError(f"{error}; to go on from the last checkpoint: {_resume(first.directory)}") from error
        for work in works:
            work.close(clock)
    return max(_report(work, clock, console, alone=len(works) == 1) for work in works)


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


def _start(works: Sequence[Work], hosts: Hosts, clock: Clock, console: Console) -> None:
    run = works[0].run
    for name, side in hosts.sides.items():
        start, programs = time.perf_counter(), Programs()
        what = f"{side.label} on {run.env}, {len(side.names)} players, {run.seed_count}"
        what += f", {len(works)} runs" if len(works) > 1 else ""
        with console.status(f"compiling {what} ..."):
            hosts.start(name)
        seconds = time.perf_counter() - start
        clock.compile_s += seconds
        console.print(f"compiled {what}: {seconds:.1f} s{programs.told()}", soft_wrap=True)


def _restore(works: Sequence[Work], hosts: Hosts, console: Console) -> list[bool]:
    """Go on from the last sound checkpoints, if there are any; returns whether their steps are logged."""
    like, found = _parts(hosts.shapes, len(works))[0], []
    for work in works:
        work.step, states, unread = checkpoint.restore_latest(work.directory.checkpoints, like)
        for message in unread:
            console.print(f"warning: {message}; trying an older one", soft_wrap=True)
        if states is None:
            console.print(f"{work.directory.path} has no checkpoint: starting from step 0", soft_wrap=True)
        else:
            found.append(states)
    if len({work.step for work in works}) > 1 or len(found) not in (0, len(works)):
        raise UserError(f"runs at steps {', '.join(str(work.step) for work in works)}: expected the same for all")
    if found:
        hosts.place(jax.tree.map(lambda *leaves: np.concatenate(leaves), *found))
    logged = [work.directory.truncate_metrics(work.step, lambda own: _is_logged(works[0].run, own)) for work in works]
    for work in works:
        work.directory.write_config(to_flags(work.run))
    return logged


def _parts(states: Any, count: int) -> list[Any]:
    """PyTrees of shapes or arrays, those of `count` runs one after the other, one for each."""
    if count == 1:
        return [states]

    def part(leaf: Any, number: int) -> Any:
        size = leaf.shape[0] // count
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype)
        return leaf[number * size : (number + 1) * size]

    return [jax.tree.map(lambda leaf, number=number: part(leaf, number), states) for number in range(count)]


def _loop(works: Sequence[Work], hosts: Hosts, logged_before: Sequence[bool], clock: Clock, console: Console) -> None:
    """Advance to the last step, or until a signal or until all seeds of all runs failed.

    Leaves a checkpoint of that step. Seeds that failed stay where they were, and runs of which all have.
    """
    columns = [TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}")]
    run, step, saved = works[0].run, works[0].step, time.perf_counter()
    hosts.run_until(step, step)
    for work in works:
        work.told = work.faults
    if _is_logged(run, step):
        _offer(works, works, hosts, step)
        for work, logged in zip(works, logged_before, strict=True):
            if not logged:
                work.log(step)
    going = [work for work in works if not work.failed]
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=run.steps, completed=step)
        while step < run.steps and clock.stop is None and going:
            logged = min(step + run.log_every - step % run.log_every, run.steps)
            stop = min(logged, step + max(1, int(clock.steps_per_s * CHUNK_S)))
            start = time.perf_counter()
            hosts.run_until(step, stop, look=stop == logged)
            clock.training_s += time.perf_counter() - start
            clock.steps += stop - step
            step = stop
            for work in going:
                work.step = step
                _warn(work, console)
            if step == logged:
                for work in going:
                    work.log(step)
                _offer(works, going, hosts, step)
            over, going = [work for work in going if work.failed], [work for work in going if not work.failed]
            _end(works, over, hosts, step)
            if going and time.perf_counter() - saved > CHECKPOINT_EVERY_S:
                _save(works, going, hosts)
                saved = time.perf_counter()
            told = f"welfare {headline(works[0].sides)}" if len(works) == 1 else f"of {len(works)} runs"
            progress.update(task, completed=step, description=f"{clock.steps_per_s:,.0f} steps/s  {told}")
    _end(works, going, hosts, step)


def _warn(work: Work, console: Console) -> None:
    """Tell of faults that are new, as long as other seeds go on."""
    new = [fault for fault in work.faults if fault not in work.told]
    if new and not work.failed:
        console.print(f"warning: {_shortened(new)}; the other seeds go on", soft_wrap=True)
        work.told += new


def _end(works: Sequence[Work], some: Sequence[Work], hosts: Hosts, step: int) -> None:
    """Leave a line of metrics and a checkpoint of the last step of `some` of `works`."""
    if not some:
        return
    if not _is_logged(works[0].run, step):
        hosts.run_until(step, step)
        for work in some:
            work.log(step)
    _save(works, some, hosts)


def _offer(works: Sequence[Work], some: Sequence[Work], hosts: Hosts, step: int) -> None:
    """Keep the present states of those of `some` of `works` that have never done better."""
    better = [work for work in some if work.best.offer(step, median_welfare(work.sides["learners"]))]
    if better and len(works) == 1:
        hosts.keep()
    elif better:
        states = dict(zip(works, _parts(hosts.states(), len(works)), strict=True))
        for work in better:
            work.kept = jax.tree.map(np.copy, states[work])


def _save(works: Sequence[Work], some: Sequence[Work], hosts: Hosts) -> None:
    for work in some:
        work.directory.settle_metrics()
        work.best.write(lambda work=work: hosts.states(best=True) if len(works) == 1 else work.kept)
    states = dict(zip(works, _parts(hosts.states(), len(works)), strict=True))
    for work in some:
        checkpoint.save(work.directory.checkpoints, work.step, states[work], work.run.keep)


def _report(work: Work, clock: Clock, console: Console, alone: bool) -> int:
    """Print what went wrong, of a run `alone` also the tables, the sentence and the way on; returns the exit code."""
    run, step, directory = work.run, work.step, work.directory
    if work.failed:
        print(f"error: {work.faults[0]}; what was written until then is in {directory.path}", file=sys.stderr)
        return 1
    for name in ("baseline", "learners") if alone else ():
        if (side := work.sides.get(name)) is not None:
            title = f"{side.label} on {run.env} after {step} steps, {run.seed_count}"
            print_table(console, table(side.env, title, side.names, side.outcome))
    if alone:
        console.print(sentences(work.sides))
    console.print(f"run directory: {directory.path}", soft_wrap=True)
    if step < run.steps and clock.stop:
        console.print(f"stopped at step {step} of {run.steps}; to go on: {_resume(directory)}", soft_wrap=True)
        return 128 + clock.stop
    if work.faults:
        print(f"error: {_shortened(work.faults)}; the other seeds are sound", file=sys.stderr)
    return int(bool(work.faults))


def _resume(directory: RunDirectory) -> str:
    return f"python run.py --resume {shlex.quote(str(directory.path))}"


def _is_logged(run: Run, step: int) -> bool:
    """Whether `metrics.jsonl` has a line of `step`, wherever the run is interrupted."""
    return step % run.log_every == 0 or step == run.steps


def _shortened(faults: list[str]) -> str:
    return "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
