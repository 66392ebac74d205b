"""What `run.py league` is asked for. Imports no numerics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import equilibria
from envs.registry import Parameter, did_you_mean
from experiments import config
from experiments.config import CONTROL, TRAIN, Command, Run, UserError, resolve, with_resume
from experiments.flags import plain
from experiments.given import config_files, given_flags, read_files
from experiments.run_directory import require_run

__all__ = ["SAMPLED", "Contest", "default_flags", "league_arguments", "to_flags"]

LEAGUE = """Which learner would a rational, perhaps risk-averse player deploy?

Every profile of the entrants --learners (names, or checkpoint:DIR#seat, by commas) plays --env for --steps training
steps and --seeds seeds. What a learner earns, over the whole of learning or at the end, is a payoff of the game whose
strategies are the entrants; any solver solves it, and entrants are rated: Bradley-Terry with bootstrap intervals, Elo,
Nash averaging, alpha-rank, and how much of all that is cyclic, so that no ratings tell it. Beside entrants without
exact values, such as grim, naive, lola and pola are reinforce, lola_dice and pola_dice. With --matchmaking swiss pairs
meet in Swiss rounds, neighbours first, and only ratings are made; of games of two players. --resume goes on.

Examples: python run.py league --env ipd2 --learners naive,lola,tit_for_tat,always_defect --solver nash
          python run.py league --env ipd --players 3 --learners ppo,tit_for_tat,always_defect --solver rae --risk 0.1"""

OWN = {
    "solver": Parameter("solver", "str", "nash", "of the game between entrants."),
    "payoff": Parameter(
        "payoff",
        "Literal['whole', 'final']",
        "whole",
        "what counts: the mean reward over the whole of learning, or its end.",
    ),
    "matchmaking": Parameter(
        "matchmaking", "Literal['round_robin', 'swiss']", "round_robin", "every profile, or pairs in Swiss rounds."
    ),
    "rounds": Parameter("rounds", "int | None", None, "Swiss rounds; log2 of the number of entrants and two more."),
    "looks": Parameter("looks", "int | None", None, "evaluations in the course of learning, evenly spaced; else 10."),
    **CONTROL,
    "resume": Parameter("resume", "str | None", None, "go on in this directory: what has been played is kept."),
}
SAMPLED = {"naive": "reinforce", "lola": "lola_dice", "pola": "pola_dice"}
"""Who stands for learners on exact values where an entrant has none."""
FLAGS = ("env", "players", "learners", "seeds", "seed", "steps", "batch", "episodes", "rivals", "rival_start", "out")
FLAGS += ("wandb",)
DEFAULTS: dict[str, Any] = {"env": "ipd2", "learners": "naive,lola,tit_for_tat,always_defect", "seeds": 8}


@dataclass(frozen=True)
class Contest:
    """What is to be played.

    Attributes:
        run: environment, entrants' hyper-parameters, steps and seeds.
        entrants: names.
        solver: name.
        options: of the solver.
        payoff: "whole" or "final".
        swiss: whether pairs meet in Swiss rounds.
        rounds: of them; None to leave it to the number of entrants.
        looks: evaluations over the whole of learning.
        resume: directory to go on in, or None.
        exact: whether all entrants play by their exact values; what they are decides, no flag.
    """

    run: Run
    entrants: tuple[str, ...]
    solver: str
    options: dict[str, Any]
    payoff: str
    swiss: bool
    rounds: int | None
    looks: int
    resume: str | None
    exact: bool = False


def league_arguments(args: Sequence[str]) -> Contest:
    """What to play, from the command line.

    Raises:
        UserError: a mistake in the arguments.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    if args and not args[0].startswith("-"):
        raise UserError(f"league takes flags only, found {args[0]!r}; did you mean --learners {args[0]}?")
    given = given_flags(args)
    if resume := given.get("resume"):
        require_run("league", resume)
        for flag in given:
            if not with_resume(flag, "solver", "payoff", *_solver_flags(given.get("solver"))):
                raise UserError(f"--{flag} with --resume: what was played stays; expected --solver or --payoff")
    files = config_files(args)
    from_files = read_files(files)
    if given.get("solver"):  # options of the solver before are not its own
        old = _solver_flags(from_files.get("solver"))
        from_files = {flag: value for flag, value in from_files.items() if flag not in old}
    kept = {flag: value for flag, value in from_files.items() if flag not in given}
    command, entrants = _command(kept | {flag: value for flag, value in given.items() if value is not None})
    run, own = resolve(command, list(args), kept, ", ".join(files))
    if len(set(entrants)) != len(entrants) or len(entrants) < 2:
        raise UserError(f"--learners {run.learners}: expected two or more entrants, each once")
    if own["rounds"] is not None and own["rounds"] < 1:
        raise UserError(f"--rounds {own['rounds']}: expected 1 or more")
    own["looks"] = min(10, run.steps) if own["looks"] is None else own["looks"]
    if not 1 <= own["looks"] <= run.steps:
        raise UserError(f"--looks {own['looks']}: expected a whole number from 1 to the {run.steps} steps")
    chosen = {flag: plain(own[flag]) for flag in _solver_flags(own["solver"]) if flag in own}
    return Contest(
        run,
        tuple(entrants),
        own["solver"],
        chosen,
        own["payoff"],
        own["matchmaking"] == "swiss",
        own["rounds"],
        own["looks"],
        resume,
    )


def default_flags(chosen: dict[str, Any]) -> dict[str, Any]:
    """Flag → default, where environment, entrants and solver are those `chosen`.

    Raises:
        UserError: a name that is not known.
    """
    return config.default_flags(_command(chosen)[0], chosen)


def _command(chosen: dict[str, Any]) -> tuple[Command, list[str]]:
    """The flags, where entrants and solver are those `chosen`; and the entrants."""
    flags = {flag: replace(TRAIN.flags[flag], default=DEFAULTS.get(flag, TRAIN.flags[flag].default)) for flag in FLAGS}
    flags["learners"] = replace(flags["learners"], help="the entrants, by commas.")
    flags["out"] = replace(flags["out"], help="directory to write to; a new one below runs/ if not given.")
    options = _solver_flags(chosen.get("solver") or str(OWN["solver"].default))
    flags |= OWN | {flag: own for flag, own in options.items() if flag not in ("steps",)}
    entrants = [part.strip() for part in str(chosen.get("learners") or flags["learners"].default).split(",")]
    names = tuple(dict.fromkeys(own for own in entrants if not own.startswith("checkpoint:")))
    names += tuple(SAMPLED[own] for own in names if own in SAMPLED and SAMPLED[own] not in names)
    return Command("python run.py league", LEAGUE, flags, {"baseline": "none"}, names), entrants


def to_flags(asked: Contest) -> dict[str, Any]:
    """The resolved flags; what `config.yaml` holds."""
    flags = {flag: value for flag, value in config.to_flags(asked.run).items() if flag in FLAGS or "." in flag}
    flags |= {"solver": asked.solver, "payoff": asked.payoff, "looks": asked.looks}
    flags |= {"matchmaking": "swiss" if asked.swiss else "round_robin"} | asked.options
    return flags if asked.rounds is None else flags | {"rounds": asked.rounds}


def _solver_flags(name: str | None) -> dict[str, Parameter]:
    if name is None:
        return {}
    if name not in equilibria.names():
        raise UserError(f"unknown solver {name!r}{did_you_mean(name, equilibria.names())}")
    return equilibria.REGISTRY.parameters(name)
