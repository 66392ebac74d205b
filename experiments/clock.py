"""What the host loop sees: times, and the signals that stop it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

__all__ = ["Clock", "signals"]

STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


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


_LISTENING: list[tuple[Clock, Console]] = []
"""Who hears signals: a loop, and the loops around it."""


@contextmanager
def signals(clock: Clock, console: Console) -> Iterator[None]:
    """Within it, the first signal asks this loop, and those around it, to stop; the second stops at once."""

    def handle(number: int, _: Any) -> None:
        if clock.signal is not None:
            raise SystemExit(128 + number)
        for heard, _console in _LISTENING:
            heard.signal = number
        name = signal.Signals(number).name
        told = f"{name}: stopping after this chunk; once more to stop at once and lose what is not saved"
        _LISTENING[0][1].print(told)

    clock.signal = next((own.signal for own, _ in _LISTENING if own.signal is not None), clock.signal)
    _LISTENING.append((clock, console))
    old = {number: signal.signal(number, handle) for number in STOPPING}
    try:
        yield
    finally:
        _LISTENING.pop()
        for number, handler in old.items():
            signal.signal(number, handler)
