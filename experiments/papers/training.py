"""Training runs behind a number of a paper: ordinary runs of configuration files, in directories of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments import checkpoint
from experiments.config import FaultError, parse
from experiments.train import train
from experiments.trained import Trained, load_run

__all__ = ["CONFIGS", "trained"]

CONFIGS = Path(__file__).parents[2] / "configs" / "papers"


def trained(
    configs: Sequence[Path], directory: Path, steps: int | None = None, console: Console | None = None, **flags: Any
) -> Trained:
    """What a run of `configs`, later ones on top, has learned in `directory`; it goes on where it was stopped.

    Args:
        configs: YAML files.
        directory: of the run.
        steps: instead of those of the files.
        console: for progress.
        flags: on top of the files.

    Raises:
        KeyboardInterrupt: it was stopped again.
        FaultError: it, or one of its seeds, failed.
    """
    started = (directory / "config.yaml").is_file()
    args = ["--resume", str(directory)] if started else ["--out", str(directory)]
    if not started:
        args += [f"--config={path}" for path in configs] + [f"--{name}={value}" for name, value in flags.items()]
    args += [f"--steps={steps}"] if steps else []
    asked = parse(args)
    done = checkpoint.latest_step(directory / "checkpoint") or 0 if started else 0
    if done < asked.run.steps:
        command = " ".join(["python run.py", *args])
        code = train(asked, command, console or Console(highlight=False))
        if code >= 128:
            raise KeyboardInterrupt
        if code:
            raise FaultError(f"{command}: failed with exit code {code}")
    found = load_run(directory, str(directory))
    if found.faults:
        raise FaultError(f"{directory}: {found.faults[0]}")
    return found
