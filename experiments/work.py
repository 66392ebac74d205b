"""A run in training: its matches, its directory, and who else is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments import checkpoint
from experiments.clock import Clock
from experiments.config import Run, Training, to_flags
from experiments.curve_figure import welfare_curves
from experiments.curves import POINTS
from experiments.run_directory import RunDirectory
from experiments.sides import Side, build_sides
from experiments.tables import summary
from experiments.tracking import Mirror, Tracker

__all__ = ["Work"]


@dataclass(eq=False)
class Work:
    """A run in training.

    Attributes:
        run: what was asked for.
        resume: its directory, if it goes on.
        command: the command line.
        sides: its matches; "learners", and maybe "baseline".
        directory: where it writes; set when its training begins.
        tracker: who else is told.
        best: where its learners did best.
        kept: the states of then, where those of several runs are.
        step: the step reached.
        told: faults that the console knows.
    """

    run: Run
    resume: str | None
    command: str
    sides: dict[str, Side]
    directory: Any = None
    tracker: Any = None
    best: Any = None
    kept: Any = None
    step: int = 0
    told: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, asked: Training, command: str) -> Work:
        """The work that is asked for. Compiles nothing.

        Raises:
            UserError: an environment, a learner or a combination that is not possible.
        """
        return cls(asked.run, asked.resume, command, build_sides(asked.run))

    @property
    def shape(self) -> Any:
        """What runs have in common that can be trained together."""
        run = self.run
        return {name: side.shape for name, side in self.sides.items()}, run.steps, run.log_every, run.keep

    @property
    def failed(self) -> bool:
        """Whether no seed of the learners is left."""
        return bool(self.sides["learners"].bad.all())

    @property
    def faults(self) -> list[str]:
        """What made seeds stop."""
        return [f"{side.label}: {fault}" for side in self.sides.values() for fault in side.faults]

    @contextmanager
    def opened(self, console: Console) -> Iterator[None]:
        """Within it the run has its directory for itself."""
        flags, fresh = to_flags(self.run), self.resume is None
        if self.resume is None:
            side = self.sides["learners"]
            slug = re.sub(r"[^\w-]+", "-", f"{self.run.env}-{len(side.names)}-{side.label.replace('*', 'x')}")
            self.directory = RunDirectory.create(self.run.out, slug, flags)
        else:
            self.directory = RunDirectory(Path(self.resume))
        mirror = Mirror(**self.run.components["wandb"])
        with (
            self.directory.locked(),
            Tracker(self.run.wandb, self.directory, flags, console, fresh=fresh, mirror=mirror) as self.tracker,
        ):
            self.best = checkpoint.Best(self.directory.checkpoints)
            yield

    def log(self, step: int) -> None:
        """Write a line of metrics."""
        line = {"step": step, **{name: side.metrics() for name, side in self.sides.items()}}
        self.directory.append_metrics(line)
        self.tracker.log(line)

    def close(self, clock: Clock) -> None:
        """Write the figure, and last the summary."""
        side, labels = self.sides["learners"], {name: side.label for name, side in self.sides.items()}
        title = f"{self.run.env}, {len(side.names)} players"
        lines = self.directory.read_metrics(POINTS)
        welfare_curves(self.directory.figure, title, lines, labels, side.env.marks())
        self.tracker.show(self.directory.figure)
        status = "failed" if self.failed else "interrupted" if self.step < self.run.steps else "finished"
        times = vars(clock) | {"wall_s": clock.wall_s}
        final = summary(self.run, self.sides, self.step, status, self.command, times)
        self.tracker.summarise(final)
        self.directory.write_summary(final)
