"""The run directory: what a run leaves behind, written so that nothing already there is ever lost.

`config.yaml` holds the resolved flags (`--config` repeats the run), `metrics.jsonl` one line per logged step with the
values of every seed (the source of truth), `summary.json` the final numbers, `curves.png` welfare over steps, and
`checkpoint/` the states of all learners.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import yaml
from filelock import FileLock, Timeout

from experiments.config import UserError
from experiments.given import read_yaml

__all__ = [
    "RunDirectory",
    "finite",
    "kind_of_run",
    "new_directory",
    "require_training",
    "write_atomically",
    "write_json",
]


STEP = re.compile(rb'\{"step": (\d{1,18})')


class RunDirectory:
    """A directory that holds one run."""

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.summary = path / "summary.json"
        self.figure = path / "curves.png"
        self.checkpoints = path / "checkpoint"

    @classmethod
    def create(cls, out: str | None, name: str, flags: dict[str, Any]) -> RunDirectory:
        """A new run directory: `out`, or the first free `runs/<name>-<number>`.

        Raises:
            UserError: `out` holds a run or other files, or cannot be written.
        """
        run = cls(new_directory(out, name))
        try:
            run.checkpoints.mkdir(parents=True, exist_ok=True)
            run.write_config(flags)
        except OSError as error:
            raise UserError(f"--out {out or 'runs'}: cannot be written: {error.strerror or error}") from error
        return run

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within it this process alone works in the directory.

        Raises:
            UserError: another process does.
        """
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / ".lock", timeout=0):
                yield
        except Timeout as error:
            raise UserError(f"{self.path}: another process is working in it") from error

    def write_config(self, flags: dict[str, Any]) -> None:
        """Write `config.yaml`."""
        write_atomically(self.config, yaml.safe_dump(flags, sort_keys=False).encode())

    def discard(self) -> None:
        """Remove a directory in which nothing has been written yet but the config."""
        shutil.rmtree(self.path)

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one line to `metrics.jsonl`; NaN and infinity become null, as JSON has neither."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(line)) + "\n")

    def read_metrics(self, most: int | None = None) -> Iterator[dict[str, Any]]:
        """The lines of `metrics.jsonl`; a last line cut short by a crash is left out.

        With `most`, of more lines than that only those whose step is divided by a power of two, the smallest that
        leaves no more of them, and the first and the last: runs of different lengths keep common steps.

        Raises:
            UserError: another line is damaged.
        """
        if not self.metrics.exists():
            return
        with self.metrics.open("rb") as file:
            for number, line in _lines(file, most):
                try:
                    data = json.loads(line)
                    yield {**data, "step": int(data["step"])}
                except (ValueError, KeyError, TypeError) as error:
                    raise UserError(f"{self.metrics}: line {number} is damaged: expected a line of metrics") from error

    def count_metrics(self) -> int:
        """How many lines `metrics.jsonl` has, without one cut short."""
        if not self.metrics.exists():
            return 0
        with self.metrics.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))

    def truncate_metrics(self, step: int) -> bool:
        """Drop the lines after `step`, which a resumed run will write again; returns whether there is one of `step`."""
        lines = [line for line in self.read_metrics() if line["step"] <= step]
        write_atomically(self.metrics, "".join(json.dumps(line) + "\n" for line in lines).encode())
        return bool(lines) and lines[-1]["step"] == step

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`."""
        write_json(self.summary, summary)


def _lines(file: BinaryIO, most: int | None) -> Iterator[tuple[int, bytes]]:
    """Number and text of the whole lines of a file of metrics, thinned to about `most`; see `read_metrics`."""
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


def kind_of_run(directory: Path, name: str) -> Literal["train", "psro", "league"]:
    """Which command has written the run in `directory`; the message starts with `name`.

    Raises:
        UserError: it holds no run.
    """
    config = directory / "config.yaml"
    if not config.is_file():
        raise UserError(f"{name}: holds no run; expected a directory with a config.yaml")
    flags = read_yaml(str(config))
    return "psro" if "oracle" in flags else "league" if "looks" in flags else "train"


def require_training(directory: Path, name: str) -> Path:
    """The `config.yaml` of the training run in `directory`; the message starts with `name`.

    Raises:
        UserError: it holds no run, or another kind of it.
    """
    kind = kind_of_run(directory, name)
    if kind != "train":
        play = "; its mixtures play as learners, --learners checkpoint:DIR#seat" if kind == "psro" else ""
        raise UserError(f"{name}: holds a run of {kind}; expected one that trained learners{play}")
    return directory / "config.yaml"


def new_directory(out: str | None, name: str) -> Path:
    """Make the new directory `out`, or the first free `runs/<name>-<number>`.

    Raises:
        UserError: `out` holds a run or other files, or cannot be written.
    """
    try:
        if not out:
            return _next(Path("runs"), name)
        path = Path(out)
        if (path / "config.yaml").exists():
            raise UserError(f"--out {out}: already holds a run; expected a new directory, or --resume {out}")
        if path.is_dir() and any(path.iterdir()):
            raise UserError(f"--out {out}: is not empty; expected a new directory")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out or 'runs'}: cannot be written: {error.strerror or error}") from error
    return path


def _next(parent: Path, name: str) -> Path:
    """Claim the first free number; creating the directory is what claims it."""
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        try:
            (parent / f"{name}-{number}").mkdir()
        except FileExistsError:
            number += 1
            continue
        return parent / f"{name}-{number}"


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write `path`, atomically; NaN and infinity become null, as JSON has neither."""
    write_atomically(path, (json.dumps(finite(data), indent=2) + "\n").encode())


def write_atomically(path: Path, data: bytes) -> None:
    """Write `path` so that a crash leaves either the old file or the new one."""
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def finite(value: Any) -> Any:
    """`value` with None for NaN and infinity, of which JSON has neither."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and value - value != 0 else value
