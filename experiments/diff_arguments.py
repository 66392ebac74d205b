"""What `run.py diff` is asked for: runs and files, with all defaults filled in. Imports no numerics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from envs.registry import Parameter, did_you_mean
from experiments.config import parse
from experiments.dry import FLAGS
from experiments.errors import UserError
from experiments.flags import Group, parse_flags
from experiments.given import read_yaml
from experiments.league_arguments import league_arguments
from experiments.psro_arguments import psro_arguments

__all__ = ["Comparison", "diff_arguments"]

DIFF = """Say in what runs differ: flags, with all defaults filled in, versions, device, and final numbers.

Each PATH is a run directory (of a training run, a `psro` or a `league`) or a YAML file as --config takes it, of which
only flags are compared. Numbers are medians over the seeds.

Examples: python run.py diff runs/ipd-4-lolax4-1 runs/ipd-4-lolax4-2
          python run.py diff configs/ipd3.yaml runs/ipd-3-lola-naivex2-1 --json"""
OWN = {"json": Parameter("json", "bool", False, "print one JSON object instead of a table.")}


class Comparison(NamedTuple):
    """What is to be compared.

    Attributes:
        paths: run directories and YAML files.
        flags: of each, resolved.
        json: whether to print JSON.
    """

    paths: tuple[Path, ...]
    flags: tuple[dict[str, Any], ...]
    json: bool


def diff_arguments(args: Sequence[str]) -> Comparison:
    """What to compare, from the command line: paths, before or after the flags.

    Raises:
        UserError: a mistake in the arguments, or in a file.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    flags = [arg for arg in args if arg.startswith("-") or arg.lower() in ("true", "false")]
    for flag in flags:
        name = flag.lstrip("-").partition("=")[0]
        if flag.startswith("-") and name not in (*OWN, "help", "h"):
            raise UserError(f"unknown flag {flag}{did_you_mean(name, OWN)}")
    values = parse_flags({"": Group("", OWN)}, flags, "python run.py diff PATH PATH [PATH ...]", DIFF)[""]
    paths = tuple(Path(arg) for arg in args if arg not in flags)
    if len(paths) < 2:
        raise UserError(f"diff takes two or more run directories or files, found {len(paths)}; see diff --help")
    return Comparison(paths, tuple(map(_flags, paths)), values["json"])


def _flags(path: Path) -> dict[str, Any]:
    """The flags of a run directory or a file, as the command resolves them that it is of."""
    file = path / "config.yaml" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"diff {path}: holds no run; expected a directory with a config.yaml, or a YAML file")
    keys = read_yaml(str(file), "")
    command = "psro" if "oracle" in keys else "league" if "matchmaking" in keys else "train"
    readers: dict[str, Callable[[list[str]], Any]] = {
        "train": parse,
        "psro": psro_arguments,
        "league": league_arguments,
    }
    try:
        return {"command": command, **FLAGS[command](readers[command](["--config", str(file)]))}
    except UserError as error:
        raise UserError(f"diff {path}: {error}") from error
