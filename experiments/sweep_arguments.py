"""What `run.py sweep` is asked for. Imports no numerics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from envs.registry import Parameter
from experiments.commands import asks_for_help, flag_values, split_arguments
from experiments.errors import UserError
from experiments.given import given_flags
from experiments.sweep_file import Sweep, read_sweep

__all__ = ["OPTIONS", "Sweeping", "sweep_arguments"]

SWEEP = """Run a sweep of Weights & Biases without a server: the same FILE, a directory for every run, a table, plots.

Methods grid, random and bayes (which needs the extra `sweep`); all distributions; the metric is the last value that a
run has logged. Runs that differ in numbers (floats) of environments and learners only are trained together, in one
program. A sweep that was stopped goes on with --resume DIR, or the same command with --out DIR: runs that are done are
not run again, half-done ones go on. Runs are below DIR/runs; DIR/results.csv has a row for each.

Examples: python run.py sweep configs/sweeps/lola_ipd.yaml --workers 2
          python run.py sweep configs/sweeps/lola_random.yaml --count 32
          python run.py sweep --resume runs/sweep-lola_random-1 --count 64"""

FLAGS = (
    Parameter("out", "str | None", None, "directory to write to; a new one below runs/ if not given."),
    Parameter("resume", "str | None", None, "continue the sweep in this directory; --count extends it."),
    Parameter("count", "int | None", None, "most runs, beside run_cap in the file."),
    Parameter("workers", "int", 1, "how many processes; one runs everything in this one."),
    Parameter("together", "int", 16, "most runs that are trained in one program; 1 for each alone."),
    Parameter("wide", "bool", False, "one vmap over runs that are trained together; it may change rounding."),
    Parameter("seed", "int", 0, "of random draws and of the optimiser."),
    Parameter("generation", "int", 4, "runs that bayes proposes at once, from the results of all before."),
    Parameter("retry", "bool", False, "whether to run failed runs again."),
    Parameter("launcher", "Literal['local', 'submitit', 'ray']", "local", "what starts workers."),
    Parameter("cluster", "str | None", None, "options of the launcher: NAME=VALUE by commas, slurm_partition=gpu."),
    Parameter("wandb", "Literal['disabled', 'offline', 'online']", "disabled", "of the runs, whatever the file says."),
)
OPTIONS = ("seed", "generation", "wandb", "count")
"""Flags that a sweep that goes on keeps, unless they are given again."""
RANGES = {"workers": (1, 1024), "together": (1, 4096), "generation": (1, 4096), "seed": (0, 2**30)}


@dataclass(frozen=True)
class Sweeping:
    """What is to be swept.

    Attributes:
        sweep: the file.
        total: number of runs.
        out: directory; None for a new one.
        goes_on: whether a sweep in it is to go on.
        flags: the values of all flags.
    """

    sweep: Sweep
    total: int
    out: str | None
    goes_on: bool
    flags: dict[str, Any]


def sweep_arguments(args: Sequence[str]) -> Sweeping:
    """What to sweep, from the command line.

    Raises:
        UserError: a mistake in the arguments or in the file.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    found, flags = split_arguments(args)
    values, given = flag_values(FLAGS, flags, "python run.py sweep FILE", SWEEP), given_flags(flags)
    if len(found) != (0 if values["resume"] else 1) and not asks_for_help(flags):
        what = " ".join(found) or "none"
        raise UserError(f"sweep takes one file, or --resume DIR, found {what}; expected such as: sweep {EXAMPLE}")
    for flag, (low, high) in RANGES.items():
        if not low <= values[flag] <= high:
            raise UserError(f"--{flag} {values[flag]}: expected a whole number from {low} to {high}")
    if values["count"] is not None and values["count"] < 1:
        raise UserError(f"--count {values['count']}: expected a whole number from 1")
    out = values["resume"] or values["out"]
    before = Path(out) / "sweep.yaml" if out else None
    goes_on = before is not None and before.is_file()
    if values["resume"]:
        if not goes_on:
            raise UserError(f"--resume {out}: holds no sweep; expected a directory with a sweep.yaml")
        if given.get("out") is not None:
            raise UserError("--out with --resume: a sweep goes on where it is; expected one of them")
    sweep = read_sweep(str(before) if values["resume"] else found[0])
    if goes_on and before is not None:
        if sweep.space != read_sweep(str(before)).space:
            raise UserError(f"--out {out}: holds another sweep, of other parameters; expected a new directory")
        kept = yaml.safe_load((before.parent / "options.yaml").read_text(encoding="utf-8"))
        for flag in ("seed", "generation"):
            if flag in given and values[flag] != kept[flag]:
                raise UserError(f"--{flag} {values[flag]}: the sweep in {out} has {kept[flag]}; expected the same")
        values |= {flag: value for flag, value in kept.items() if flag not in given}
    return Sweeping(sweep, _total(sweep, values["count"]), out, goes_on, values)


EXAMPLE = "configs/sweeps/lola_ipd.yaml"


def _total(sweep: Sweep, count: int | None) -> int:
    """The number of runs."""
    most = min((own for own in (sweep.run_cap, count) if own is not None), default=None)
    if sweep.method == "grid":
        size = math.prod(len(own.grid() or ()) for own in sweep.parameters.values())
        return size if most is None else min(size, most)
    if most is None:
        raise UserError(
            f"sweep {sweep.path}: method {sweep.method} has no end; expected --count, or run_cap in the file"
        )
    return most
