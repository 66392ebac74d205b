"""What `run.py reproduce` is asked for. Imports no numerics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.registry import Parameter, did_you_mean
from experiments.commands import asks_for_help, flag_values, split_arguments
from experiments.config import UserError

__all__ = ["Reproduction", "reproduce_arguments"]

PAPERS = {
    "differentiable": "the papers on differentiable opponent shaping",
    "leading_the_pack": "n-player opponent shaping (arXiv 2312.12564)",
    "many_players": "no paper: shaping among 2 to 10 players, and rivals other than those of training",
    "mfos": "model-free opponent shaping (arXiv 2205.01447)",
    "risk_averse_psro": "populations averse to risk (arXiv 2205.15434): its claims, on re-created environments",
    "risk_matrix_games": "risk-averse and quantal equilibria of matrix games (arXiv 2205.15434 and others)",
    "shaper": "memory and averaging of shapers (arXiv 2312.12568)",
}
REPRODUCE = f"""Compute published numbers and compare: published value, ours, tolerance, pass or miss, seeds, seconds.

NAME is one of:
{chr(10).join(f"  {name}: {what}" for name, what in PAPERS.items())}

Each experiment is written to --out when it ends, and not run again, so that a stopped reproduction goes on. Exit code 1
if a number is out of tolerance."""
REPRODUCE_FLAGS = (
    Parameter(
        "only", "str | None", None, "names of experiments, or patterns such as naive_*, by commas; all if not given."
    ),
    Parameter(
        "scale",
        "str",
        "cpu",
        "effort: smoke, seconds that show that it runs; cpu, hours on two cores; full, as published.",
    ),
    Parameter("out", "str | None", None, "directory for results; runs/reproduce-NAME(-SCALE) if not given."),
    Parameter("report", "str | None", None, "Markdown file to write the table to, such as docs/results/NAME.md."),
    Parameter("fresh", "bool", False, "whether to run again what has been done; what was begun is set aside."),
)


@dataclass(frozen=True)
class Reproduction:
    """What is to be reproduced.

    Attributes:
        name: of a module in `experiments.papers`.
        only: names of its experiments, or patterns; all of them if empty.
        scale: effort.
        out: directory for results.
        report: Markdown file to write the table to; None for none.
        fresh: whether to run again what has been done.
    """

    name: str
    only: tuple[str, ...]
    scale: str
    out: Path
    report: Path | None
    fresh: bool


def reproduce_arguments(args: Sequence[str]) -> Reproduction:
    """What to reproduce. Names of experiments are checked by whoever knows them.

    Raises:
        UserError: a mistake in the arguments.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    found, flags = split_arguments(args)
    if len(found) != 1 and not asks_for_help(flags):
        raise UserError(f"reproduce takes one name, found {' '.join(found) or 'none'}; known: {', '.join(PAPERS)}")
    if found and found[0] not in PAPERS:
        raise UserError(f"unknown reproduction {found[0]!r}{did_you_mean(found[0], PAPERS)}")
    values = flag_values(REPRODUCE_FLAGS, flags, "python run.py reproduce NAME", REPRODUCE)
    only = tuple(name.strip() for name in values["only"].split(",")) if values["only"] is not None else ()
    scale = values["scale"]
    out = Path(values["out"] or f"runs/reproduce-{found[0]}{'' if scale == 'cpu' else f'-{scale}'}")
    return Reproduction(
        found[0], only, scale, out, Path(values["report"]) if values["report"] else None, values["fresh"]
    )
