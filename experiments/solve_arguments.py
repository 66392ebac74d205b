"""What `run.py solve` is asked for. Imports no numerics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equilibria
from envs.registry import Parameter, did_you_mean
from experiments.config import UserError
from experiments.flags import Group, parse_flags, plain

__all__ = ["Solving", "solve_arguments"]

SOLVE = f"""Solve a game in normal form: profile, values, risks and regrets, and a sentence.

The game is --game NAME of the catalogue, --payoffs FILE (.json, .npz, or Gambit's .nfg), or a step of --env NAME with
--players. Solvers: {", ".join(equilibria.names())}. The flags below --seed are those of the chosen solver, or of all
that are compared; numbers may be one, or one a player by commas.

Examples: python run.py solve --game stag_hunt --solver rae --risk 0.1 --tremble 0.05
          python run.py solve --game chicken --compare nash,qre,rae,rqe
          python run.py solve --game stag_hunt --solver rae --tremble 0.05 --sweep risk=0:1:50 --out frontier"""

OWN = (
    Parameter("game", "str | None", None, "name of the catalogue, such as stag_hunt."),
    Parameter("payoffs", "str | None", None, "file of a game: .json, .npz or .nfg."),
    Parameter("env", "str | None", None, "environment whose first step is the game."),
    Parameter("players", "int | None", None, "number of players, of the environment."),
    Parameter("solver", "str", "nash", "what to solve for."),
    Parameter("compare", "str | None", None, "several solvers, by commas, side by side."),
    Parameter("sweep", "str | None", None, "NAME=FROM:TO:POINTS: solve over a range of one option."),
    Parameter("all", "bool", False, "all solutions, of solvers that can enumerate."),
    Parameter("restarts", "int", 0, "so many random starts, and the distinct solutions they lead to."),
    Parameter("symmetric", "bool", False, "promise a symmetric game, which is checked, for symmetric solutions only."),
    Parameter("json", "bool", False, "print one JSON object instead, or a list of them."),
    Parameter("plot", "bool", False, "draw best replies (two players, two actions) or play on the simplex (three)."),
    Parameter(
        "out", "str | None", None, "new directory for the files of --plot or --sweep; else runs/solve-GAME-NUMBER."
    ),
    Parameter("seed", "int", 0, "of the random starts of --restarts."),
)


@dataclass(frozen=True)
class Solving:
    """What is to be solved.

    Attributes:
        game: name or file; None for an environment.
        env: name of an environment, or None.
        players: of the environment.
        solvers: names and options.
        sweep: name of an option, least and greatest value, points; or None.
        everything: whether to enumerate.
        restarts: random starts.
        symmetric: whether the game is promised to be.
        json: whether to print JSON.
        plot: whether to draw.
        out: new directory for files; None for the first that is free.
        seed: of random starts.
    """

    game: str | None
    env: str | None
    players: int | None
    solvers: tuple[tuple[str, dict[str, Any]], ...]
    sweep: tuple[str, float, float, int] | None
    everything: bool
    restarts: int
    symmetric: bool
    json: bool
    plot: bool
    out: str | None
    seed: int

    @property
    def title(self) -> str:
        """Of the game."""
        return Path(self.game).stem if self.game else f"{self.env}{f'-{self.players}' if self.players else ''}"


def solve_arguments(args: Sequence[str]) -> Solving:
    """What to solve, from the command line.

    Raises:
        UserError: a mistake in the arguments.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    names = _solvers(args)
    options: dict[str, Parameter] = {}
    for name in names:
        for key, parameter in equilibria.REGISTRY.parameters(name).items():
            options.setdefault(key, parameter)
    own = {parameter.name: parameter for parameter in OWN}
    clash = set(own) & set(options)
    assert not clash, clash
    given = _given(args, {**own, **options})
    values = parse_flags({"": Group("", {**own, **options})}, args, "python run.py solve", SOLVE)[""]
    sources = [key for key in ("game", "payoffs", "env") if values[key] is not None]
    if len(sources) != 1:
        found = ", ".join(f"--{key}" for key in sources) or "none"
        raise UserError(f"solve: expected one of --game, --payoffs and --env, found {found}")
    if values["players"] is not None and not values["env"]:
        raise UserError("--players: is for --env; games and files say how many there are")
    if values["restarts"] < 0:
        raise UserError(f"--restarts {values['restarts']}: expected 0 or more")
    if values["restarts"] and values["all"]:
        raise UserError("--restarts and --all: expected one of them")
    if values["sweep"]:
        for key in ("restarts", "all", "symmetric", "plot"):
            if values[key]:
                raise UserError(
                    f"--{key} and --sweep: expected one of them; a sweep takes one solution a point, and draws"
                )
    if values["out"] is not None:
        if not values["sweep"] and not values["plot"]:
            raise UserError(f"--out {values['out']}: expected --plot or --sweep, which write files")
        _check_new(Path(values["out"]))
    chosen = {key: plain(values[key]) for key in given if key in options}
    known = {name: set(equilibria.REGISTRY.parameters(name)) for name in names}
    solvers = tuple((name, {key: own for key, own in chosen.items() if key in known[name]}) for name in names)
    return Solving(
        game=values["game"] or values["payoffs"],
        env=values["env"],
        players=values["players"],
        solvers=solvers,
        sweep=_sweep(values["sweep"], names) if values["sweep"] else None,
        everything=values["all"],
        restarts=values["restarts"],
        symmetric=values["symmetric"],
        json=values["json"],
        plot=values["plot"],
        out=values["out"],
        seed=values["seed"],
    )


def _check_new(path: Path) -> None:
    """Raise unless `path` can become a new directory."""
    for own in (path, *path.parents):
        if own.exists() and not own.is_dir():
            raise UserError(f"--out {path}: {own} is a file; expected a new directory")
    if path.is_dir() and any(path.iterdir()):
        raise UserError(f"--out {path}: is not empty; expected a new directory")


def _solvers(args: Sequence[str]) -> list[str]:
    """The solvers that the arguments name."""
    text = " ".join(args)
    compared = re.findall(r"--compare[= ](\S+)", text)
    single = re.findall(r"--solver[= ](\S+)", text)
    if compared and single:
        raise UserError("--solver and --compare: expected one of them")
    names = compared[-1].split(",") if compared else [single[-1] if single else "nash"]
    for name in names:
        if name not in equilibria.names():
            raise UserError(f"unknown solver {name!r}{did_you_mean(name, equilibria.names())}")
    return names


def _given(args: Sequence[str], known: dict[str, Parameter]) -> list[str]:
    """Names of the flags that are there.

    Raises:
        UserError: one is not known.
    """
    found = [arg[2:].split("=")[0] for arg in args if arg.startswith("--")]
    for name in found:
        if name not in (*known, "help"):
            owners = [solver for solver in equilibria.names() if name in equilibria.REGISTRY.parameters(solver)]
            if owners:
                raise UserError(f"--{name}: is a flag of {', '.join(owners)}; expected one of them by --solver")
            raise UserError(f"unknown flag --{name}{did_you_mean(name, known)}")
    if args and not args[0].startswith("-"):
        raise UserError(f"solve takes flags only, found {args[0]!r}; did you mean --game {args[0]}?")
    return found


def _sweep(text: str, names: Sequence[str]) -> tuple[str, float, float, int]:
    """`risk=0:1:50` as its parts."""
    found = re.fullmatch(r"(\w+)=([^:]+):([^:]+):(\d+)", text)
    if len(names) != 1:
        raise UserError("--sweep: is for one solver; expected no --compare")
    try:
        if found is None:
            raise ValueError
        name, low, high, points = found[1], float(found[2]), float(found[3]), int(found[4])
    except ValueError:
        raise UserError(f"--sweep {text}: expected NAME=FROM:TO:POINTS, such as risk=0:1:50") from None
    parameters = equilibria.REGISTRY.parameters(names[0])
    numbers = [key for key, own in parameters.items() if own.annotation in ("float", "PerPlayer")]
    if name not in numbers:
        raise UserError(f"--sweep {text}: {names[0]} has no number {name!r}{did_you_mean(name, numbers)}")
    if not 2 <= points <= 10_000:
        raise UserError(f"--sweep {text}: expected 2 to 10000 points")
    return name, low, high, points
