"""What starts the workers of a sweep: this process, processes of this machine, or an engine for clusters."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from pathlib import Path
from typing import Any, Protocol

from experiments.config import UserError
from experiments.sweep_job import Job, in_process, run_job

__all__ = ["Handle", "Launcher", "make_launcher"]


class Handle(Protocol):
    """A job that was started."""

    def done(self) -> bool:
        """Whether it has ended."""
        ...

    def stop(self) -> None:
        """Ask it to save, and end."""
        ...


class Launcher(Protocol):
    """What starts jobs.

    Attributes:
        width: how many jobs it takes at a time.
    """

    width: int

    def submit(self, job: Job) -> Handle:
        """Start `job`."""
        ...


def make_launcher(name: str, workers: int, options: str | None, folder: Path) -> Launcher:
    """The launcher `name` for so many workers, with options as `NAME=VALUE,...`; `folder` is for its own files.

    Raises:
        UserError: it refuses an option.
    """
    if name == "local":
        if options is not None:
            raise UserError(f"--cluster {options}: is for --launcher submitit or ray")
        return Processes(workers) if workers > 1 else Here()
    return (Submitit if name == "submitit" else Ray)(workers, _options(options), folder)


def _options(text: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in (text or "").split(",") if text else ():
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--cluster {text}: expected NAME=VALUE by commas, such as slurm_partition=gpu")
        found[key.strip()] = int(value) if value.strip().lstrip("-").isdigit() else value.strip()
    return found


class Done:
    """A job that has ended."""

    def done(self) -> bool:
        """It has."""
        return True

    def stop(self) -> None:
        """It has."""


class Here:
    """Runs jobs in this process."""

    width = 1

    def submit(self, job: Job) -> Handle:
        """Run `job`."""
        run_job(job)
        return Done()


class Processes:
    """Starts a process for each job, so that a crash is the job's alone."""

    def __init__(self, workers: int):
        self.width = workers

    def submit(self, job: Job) -> Handle:
        """Start `job`."""
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=in_process, args=(job, self.width, _stop_with_parent), daemon=True)
        process.start()
        return _Process(process)


class _Process:
    def __init__(self, process: Any):
        self.process = process

    def done(self) -> bool:
        return self.process.exitcode is not None

    def stop(self) -> None:
        self.process.terminate()


def _stop_with_parent() -> None:
    """Ask this process to save and end when the one that started it is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


class Submitit:
    """Submits jobs to SLURM, or with cluster=local to this machine, by submitit."""

    def __init__(self, workers: int, options: dict[str, Any], folder: Path):
        import submitit  # pyright: ignore[reportMissingImports]

        self.width = workers
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=options.pop("cluster", None))
            self._executor.update_parameters(name="parley", **options)
        except Exception as error:
            raise UserError(f"--launcher submitit: {' '.join(str(error).split())}") from error

    def submit(self, job: Job) -> Handle:
        """Submit `job`."""
        return _Submitted(self._executor.submit(Resumable(), job))


class _Submitted:
    def __init__(self, job: Any):
        self.job = job

    def done(self) -> bool:
        return self.job.done()

    def stop(self) -> None:
        self.job.cancel(check=False)


class Resumable:
    """`run_job` as submitit calls it; after a time-out or a pre-emption it is queued again, and goes on."""

    def __call__(self, job: Job) -> None:
        """Run `job`."""
        run_job(job)

    def checkpoint(self, job: Job) -> Any:
        """What is queued again."""
        from submitit.helpers import DelayedSubmission  # pyright: ignore[reportMissingImports]

        return DelayedSubmission(self, job)


class Ray:
    """Starts tasks of Ray, here or with address=... on its cluster; other options are those of its tasks."""

    def __init__(self, workers: int, options: dict[str, Any], folder: Path):
        import ray  # pyright: ignore[reportMissingImports]

        self.width, self._ray = workers, ray
        address = options.pop("address", None)
        try:
            here = {} if address else {"num_cpus": workers, "include_dashboard": False}
            ray.init(address, log_to_driver=False, logging_level="error", **here)
            self._task = ray.remote(run_job).options(**options)
        except Exception as error:
            raise UserError(f"--launcher ray: {' '.join(str(error).split())}") from error

    def submit(self, job: Job) -> Handle:
        """Start `job`."""
        return _Task(self._ray, self._task.remote(job))


class _Task:
    def __init__(self, ray: Any, reference: Any):
        self.ray, self.reference = ray, reference

    def done(self) -> bool:
        return bool(self.ray.wait([self.reference], timeout=0)[0])

    def stop(self) -> None:
        self.ray.cancel(self.reference)
