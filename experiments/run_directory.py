"""The run directory: what a run leaves behind, written so that nothing already there is ever lost.

`config.yaml` holds the resolved flags (`--config` repeats the run), `metrics.jsonl` one line per logged step with the
values of every seed (the source of truth), `summary.json` the final numbers, `curves.png` welfare over steps, and
`checkpoint/` the states of all learners: the last few, and the best.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock, Timeout

from experiments.errors import FaultError, UserError
from experiments.given import read_yaml
from experiments.metrics import end_of, whole_lines

__all__ = [
    "RunDirectory",
    "finite",
    "kind_of_run",
    "new_directory",
    "require_training",
    "write_atomically",
    "write_json",
]

PARTIAL = ".partial"
"""What the name of a file ends with until it is whole."""


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
        run = cls(new_directory(out, name, f", or --resume {out}"))
        with run.locked():
            if run.config.exists():
                raise UserError(f"--out {out}: another process has begun a run there; expected a new directory")
            run.write_config(flags)
        return run

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within it this process alone works in the directory.

        Raises:
            UserError: another process does, or the directory cannot be written.
            FaultError: it can be no longer, such as when the disk is full.
        """
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            for partial in self.path.glob(f"**/.*{PARTIAL}"):  # of a process that was killed
                partial.unlink(missing_ok=True)
        except Timeout as error:
            raise UserError(f"{self.path}: another process is working in it") from error
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        try:
            yield
        except BrokenPipeError:  # nobody reads what is printed
            raise
        except OSError as error:
            what = f"{error.filename or self.path}: {error.strerror or error}"
            raise FaultError(f"{what}; what was written until then stays, and --resume goes on from there") from error
        finally:
            with suppress(OSError):  # the directory is gone
                lock.release()

    def write_config(self, flags: dict[str, Any]) -> None:
        """Write `config.yaml`."""
        write_atomically(self.config, yaml.safe_dump(flags, sort_keys=False).encode())

    def discard(self) -> None:
        """Remove a directory in which nothing has been written yet but the config."""
        shutil.rmtree(self.path)

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one line to `metrics.jsonl`; NaN and infinity become null, as JSON has neither."""
        with _named(self.metrics), self.metrics.open("ab") as file:
            file.write((json.dumps(finite(line)) + "\n").encode())

    def settle_metrics(self) -> None:
        """Wait until all lines are on the disk, so that no checkpoint outlives those before it."""
        if self.metrics.exists():
            with _named(self.metrics), self.metrics.open("ab") as file:
                os.fsync(file.fileno())

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
            for number, line in whole_lines(file, most):
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

    def truncate_metrics(self, step: int, belongs: Callable[[int], bool] = lambda _: True) -> bool:
        """Drop, in place, what a run that is resumed at `step` will write again, and a line that a crash cut short.

        Args:
            step: lines after it are dropped.
            belongs: whether the whole run has a line of a step. If not, it is dropped, where it is the last before
                `step`: it told where the run was interrupted.

        Returns:
            Whether there is a line of `step`.

        Raises:
            UserError: a line is damaged.
        """
        if not self.metrics.exists():
            return False
        with _named(self.metrics), self.metrics.open("r+b") as file:
            try:
                end, last = end_of(file, step, belongs)
            except ValueError as error:
                raise UserError(f"{self.metrics}: {error}") from error
            file.truncate(end)
            os.fsync(file.fileno())
        return last == step

    def read_summary(self) -> dict[str, Any]:
        """The contents of `summary.json`; empty where there is none that can be read."""
        try:
            return dict(json.loads(self.summary.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`."""
        write_json(self.summary, summary)


def kind_of_run(directory: Path, name: str) -> Literal["train", "psro", "league"]:
    """Which command has written the run in `directory`; the message starts with `name`.

    Raises:
        UserError: it holds no run.
    """
    config = directory / "config.yaml"
    if (directory / "sweep.yaml").is_file():
        raise UserError(f"{name}: holds a sweep; expected one of its runs, such as {directory / 'runs' / '000'}")
    if not config.is_file():
        raise UserError(f"{name}: holds no run; expected a directory with a config.yaml")
    flags = read_yaml(str(config))
    return "psro" if "oracle" in flags else "league" if "looks" in flags else "train"


def require_run(kind: str, directory: str) -> None:
    """Raise a `UserError` unless a run of `kind` can be resumed in `directory`."""
    found = kind_of_run(Path(directory), f"--resume {directory}")
    if found != kind:
        again = f"python run.py {'' if found == 'train' else f'{found} '}--resume {directory}"
        raise UserError(f"--resume {directory}: holds a run of {found}; to go on with it: {again}")


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


def new_directory(out: str | None, name: str, instead: str = "") -> Path:
    """Make the new directory `out`, or the first free `runs/<name>-<number>`; `instead` is said where a run is.

    Raises:
        UserError: `out` holds a run or other files, or cannot be written.
    """
    try:
        if not out:
            return _next(Path("runs"), name)
        path = Path(out)
        if (path / "config.yaml").exists():
            raise UserError(f"--out {out}: already holds a run; expected a new directory{instead}")
        if path.is_dir() and not all(map(_of_no_run, path.iterdir())):
            raise UserError(f"--out {out}: is not empty; expected a new directory")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out or 'runs'}: cannot be written: {error.strerror or error}") from error
    return path


def _of_no_run(path: Path) -> bool:
    """Whether this is all that a process has left that was killed before a run began."""
    return path.name == ".lock" or path.name.endswith(PARTIAL) or (path.is_dir() and not any(path.iterdir()))


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
    """Write `path` so that a crash leaves either the old file or the new one.

    Raises:
        OSError: it cannot be written; the old file is there.
    """
    temporary = path.with_name(f".{path.name}{PARTIAL}")
    with _named(path):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)  # room for others
            raise
        if hasattr(os, "O_DIRECTORY"):  # the new name, too
            folder = os.open(path.parent, os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Within it errors of the file system name `path`; those of writing name nothing by themselves."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path)
        raise


def finite(value: Any) -> Any:
    """`value` with None for NaN and infinity, of which JSON has neither."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and value - value != 0 else value
