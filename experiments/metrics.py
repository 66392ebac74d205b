"""The lines of a file of metrics, of which only one is in memory at a time."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

__all__ = ["end_of", "whole_lines"]

STEP = re.compile(rb'\{"step": (\d{1,18})[,}]')


def whole_lines(file: BinaryIO, most: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Number and text of the lines, without a last one cut short, thinned to about `most`.

    Thinned to those whose step is divided by a power of two, the smallest that leaves no more of them, and the first
    and the last.
    """
    if most is None:
        yield from ((number, line) for number, line in enumerate(file, 1) if line.endswith(b"\n"))
        return
    steps, places, place = array("q"), array("q"), 0
    for line in file:
        if line.endswith(b"\n"):
            found = STEP.match(line)
            steps.append(int(found[1]) if found else 0)  # what is damaged is always read, and reported
            places.append(place)
        place += len(line)
    kept = np.arange(len(steps))
    if len(steps) > most:
        every, numbers = 1, np.frombuffer(steps, np.int64)
        while (numbers % every == 0).sum() > most and every <= numbers.max():
            every *= 2
        kept = np.unique(np.r_[0, np.flatnonzero(numbers % every == 0), len(steps) - 1])
    for number in kept.tolist():
        file.seek(places[number])
        yield number + 1, file.readline()


def end_of(file: BinaryIO, step: int, belongs: Callable[[int], bool]) -> tuple[int, int]:
    """Where the whole lines up to `step` end, and the step of the last of them; 0 and -1 without any.

    Without the last, if no such line `belongs` there.

    Raises:
        ValueError: a line is damaged; the message starts with its number.
    """
    end, before, last = 0, 0, -1
    for number, line in whole_lines(file):
        found = STEP.match(line) if line.endswith(b"}\n") else None
        if found is None:
            raise ValueError(f"line {number} is damaged: expected a line of metrics")
        if int(found[1]) > step:
            break
        end, before, last = end + len(line), end, int(found[1])
    return (end, last) if last < 0 or belongs(last) else (before, -1)
