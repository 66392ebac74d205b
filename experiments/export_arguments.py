"""What `run.py export` is asked for. Imports no numerics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.registry import Parameter
from experiments.commands import flag_values, one_directory
from experiments.config import UserError
from experiments.run_directory import kind_of_run

__all__ = ["Exporting", "export_arguments"]

EXPORT = """Write what was learned in a seat as files that need neither this project nor the device it was trained on.

DIR is the run directory of train, or of psro, whose mixtures play. The new directory holds policy.bin, a program of
jax.export for CPUs, GPUs and TPUs and any number of environments at once, (observation, memory, random bits) ->
(action, probabilities, memory), the weights inside; policy.npz, of policies without memory that see one of a few
observations: a table for NumPy alone; policy.json, what it is; and play.py and play_table.py, which play it.

Example: python run.py export runs/ipd-2-lolax2-1 --seat 0 --training_seed 3"""
FLAGS = (
    Parameter("seat", "int", 0, "whose policy."),
    Parameter("training_seed", "int | None", None, "seed of the run; the first if not given."),
    Parameter("out", "str | None", None, "directory to write to; a new one in DIR if not given."),
)


@dataclass(frozen=True)
class Exporting:
    """What is to be exported.

    Attributes:
        directory: of the run.
        seat: whose policy.
        training_seed: number of a seed of the run; None for the first.
        out: directory to write to, or None.
    """

    directory: Path
    seat: int
    training_seed: int | None
    out: str | None


def export_arguments(args: Sequence[str]) -> Exporting:
    """The run directory, and which policy.

    Raises:
        UserError: a mistake in the arguments.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    found, flags = one_directory("export", args, "runs/ipd-2-lolax2-1")
    values = flag_values(FLAGS, flags, "python run.py export DIR", EXPORT)
    if kind_of_run(Path(found[0]), found[0]) == "league":
        raise UserError(f"{found[0]}: holds a league, whose entrants are not kept; expected a run of train or psro")
    return Exporting(Path(found[0]), **values)
