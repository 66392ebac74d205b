"""What `run.py report` is asked for. Imports no numerics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.registry import Parameter
from experiments.commands import asks_for_help, flag_values, split_arguments
from experiments.config import UserError
from experiments.run_directory import kind_of_run

__all__ = ["GENERATOR", "Reporting", "is_result", "kind_of", "report_arguments"]

REPORT = """Write one HTML file that shows what is in directories. It opens offline in any browser, and loads nothing.

DIR is the directory of a training run, of psro, of a league, of a cross-play, or of a reproduction. Shown of each: what
it says, its final numbers, its config, the command that repeats it, curves, policies over training, the games between
populations or learners, and an episode; what cannot be shown is said. Several are compared in common curves and a
table of what differs. Values of keys that look like passwords are left out.

Example: python run.py report runs/ipd-3-lola-naivex2-1 runs/ipd-3-lolax3-1 --out compared.html"""

FLAGS = (
    Parameter("out", "str | None", None, "file to write; report.html in the first directory if not given."),
    Parameter(
        "checkpoints",
        "bool",
        True,
        "whether to load what training runs have learned, for policies after every history and, where there is no "
        "episode.gif, for an episode; without, no environment is built, and it takes seconds.",
    ),
)
GENERATOR = '<meta name="generator" content="Parley report">'
"""By which a report is known as one, and may be written anew."""


@dataclass(frozen=True)
class Reporting:
    """What is to be shown.

    Attributes:
        directories: path → kind of what is there, in order.
        out: file to write.
        checkpoints: whether to load what training runs have learned.
    """

    directories: dict[Path, str]
    out: Path
    checkpoints: bool


def report_arguments(args: Sequence[str]) -> Reporting:
    """What to show, and where.

    Raises:
        UserError: a mistake in the arguments.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    found, flags = split_arguments(args)
    if not found and not asks_for_help(flags):
        raise UserError("report takes directories, found none; expected such as: report runs/ipd-4-lolax4-1")
    values = flag_values(FLAGS, flags, "python run.py report DIR [DIR ...]", REPORT)
    directories = {Path(text): kind_of(Path(text)) for text in found}
    if len({path.resolve() for path in directories}) < len(found):
        raise UserError(f"report {' '.join(found)}: expected each directory once")
    out = Path(values["out"]) if values["out"] else Path(found[0]) / "report.html"
    if out.exists() and not _is_report(out):
        raise UserError(f"--out {out}: already holds something else; expected a new file, or a report")
    if out.suffix not in (".html", ".htm"):
        raise UserError(f"--out {out}: expected a name that ends in .html")
    return Reporting(directories, out, values["checkpoints"])


def kind_of(path: Path) -> str:
    """What a directory holds: "train", "psro", "league", "crossplay" or "reproduce".

    Raises:
        UserError: none of these.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such directory")
    if (path / "crossplay.json").is_file():
        return "crossplay"
    if (path / "config.yaml").is_file():
        return kind_of_run(path, str(path))
    if any(map(is_result, path.glob("*.json"))):
        return "reproduce"
    inner = [str(own.parent) for own in sorted([*path.glob("*/config.yaml"), *path.glob("runs/*/config.yaml")])]
    hint = f", such as {' '.join(inner[:3])}" if inner else ""
    raise UserError(f"{path}: holds nothing that can be shown; expected the directory of a run{hint}")


def is_result(path: Path) -> bool:
    """Whether a file is what an experiment of a reproduction leaves."""
    try:
        return {"rows", "setting"} <= set(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return False


def _is_report(path: Path) -> bool:
    return path.is_file() and GENERATOR in path.read_bytes()[:2000].decode(errors="replace")
