"""What `run.py psro` is asked for. Imports no numerics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import envs
import equilibria
import shaping
from envs.registry import Parameter, did_you_mean, read_parameters
from experiments.config import CONTROL, TRAIN, UserError, mirror_parameters, with_resume
from experiments.flags import Group, defaults, parse_flags, plain
from experiments.given import config_files, given_flags, read_files
from experiments.run_directory import require_run

__all__ = ["EXACT", "Growing", "default_flags", "psro_arguments", "to_flags"]

PSRO = """Grow populations of policies by responses to a solution of the game between them (PSRO).

The game is --env NAME with --players, or --game NAME of the catalogue, or --payoffs FILE. The oracle is exact, for
games in normal form and repeated matrix games with few deterministic memory-one strategies, or a learner, such as ppo,
with its own flags (--ppo.learning_rate). The solver is any of `python run.py solve`, with its flags (--risk,
--tremble). What the oracle maximises, --measure, has its flags with those of the oracle (--oracle.risk), so that solver
and oracle are averse to risk each for itself. Policies, metrics and figures are in a run directory; --resume goes on.

Examples: python run.py psro --game rock_paper_scissors --oracle exact --solver zero_sum
          python run.py psro --env stag_hunt_grid --oracle ppo --solver rae --risk 0.1 --tremble 0.01
          python run.py psro --env ipd2 --oracle exact --solver rae --risk 1 --measure mean_variance --oracle.risk 1"""

EXACT = "exact"
OWN = (
    Parameter("env", "str | None", None, "environment; `python run.py list` names them."),
    Parameter("players", "int | None", None, "number of players of the environment."),
    Parameter("game", "str | None", None, "name of a game of the catalogue, instead."),
    Parameter("payoffs", "str | None", None, "file of a game: .json, .npz or .nfg, instead."),
    Parameter("oracle", "str", EXACT, "what responds: exact, or a learner."),
    Parameter("measure", "str", "neutral", "what the oracle maximises."),
    Parameter("solver", "str", "nash", "of the game between populations."),
    Parameter("iterations", "int", 10, "responses, one after the other."),
    Parameter(
        "until",
        "float | None",
        None,
        "end as soon as responses of all seeds gain no more than this, in sum over players; of the exact oracle.",
    ),
    Parameter("capacity", "int | None", None, "policies a player may have; as many as iterations can add."),
    Parameter("seeds", "int", 1, "how many runs side by side."),
    Parameter("seed", "int", 0, "the first seed; the others follow it."),
    Parameter("out", "str | None", None, "run directory; a new one below runs/ if not given."),
    Parameter("resume", "str | None", None, "continue the run in this directory; takes --iterations to extend it."),
    CONTROL["config"],
    CONTROL["dry"],
    TRAIN.flags["wandb"],
)
HIDDEN = ("oracle", "solver")
"""Fields of `Psro` that are chosen by name."""
FOR_LEARNERS = {"normalize": False, "max_grad_norm": 1e6}
"""Presets of actor-critics as oracles: what is rare and bad keeps its weight."""


@dataclass(frozen=True)
class Growing:
    """What is to grow.

    Attributes:
        own: the flags that belong to no component.
        psro: fields of `Psro`.
        env: parameters of the environment.
        solver: options of the solver.
        oracle: fields of the oracle and its measure of risk.
        learner: hyper-parameters of the learner.
        resume: directory to go on in, or None.
        mirror: fields of `Mirror`.
    """

    own: dict[str, Any]
    psro: dict[str, Any]
    env: dict[str, Any]
    solver: dict[str, Any]
    oracle: dict[str, Any]
    learner: dict[str, Any]
    resume: str | None
    mirror: dict[str, Any]

    @property
    def title(self) -> str:
        """Of the game."""
        if self.own["env"]:
            return self.own["env"]
        return self.own["game"] or Path(self.own["payoffs"]).stem


def psro_arguments(args: Sequence[str]) -> Growing:
    """What to grow, from the command line.

    Raises:
        UserError: a mistake in the arguments.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    if args and not args[0].startswith("-"):
        raise UserError(f"psro takes flags only, found {args[0]!r}; did you mean --env {args[0]}?")
    given = given_flags(args)
    if resume := given.get("resume"):
        for flag in given:
            if not with_resume(flag, "iterations"):
                raise UserError(f"--{flag} with --resume: a run continues as it was; expected --iterations or --wandb")
        require_run("psro", resume)
    files = config_files(args)
    from_files = read_files(files)
    groups = _groups({**from_files, **{flag: value for flag, value in given.items() if value is not None}})
    known = [f"{prefix}.{name}".lstrip(".") for prefix, group in groups.items() for name in group.parameters]
    for flag in given:
        if flag not in (*known, "help", "h"):
            raise UserError(f"unknown flag --{flag}{did_you_mean(flag, known)}")
    for key in from_files:
        if key not in known or key in (*CONTROL, "out"):
            raise UserError(f"unknown key {key!r} in {', '.join(files)}{did_you_mean(key, known)}")
    merged = [f"--{key}={value}" for key, value in from_files.items() if key not in given]
    values = parse_flags(groups, [*merged, *args], "python run.py psro", PSRO)
    own = values.pop("")
    _check(own)
    solver = {name: plain(own.pop(name)) for name in equilibria.REGISTRY.parameters(own["solver"])}
    psro = {name: own.pop(name) for name in _psro_fields()}
    resume = own.pop("resume")
    own.pop("config")
    own.pop("dry")
    learner = {} if own["oracle"] == EXACT else values[own["oracle"]]
    oracle = {name: plain(value) for name, value in values["oracle"].items()}
    return Growing(own, psro, values.get("env", {}), solver, oracle, learner, resume, values["wandb"])


def to_flags(asked: Growing) -> dict[str, Any]:
    """The resolved flags; what `config.yaml` holds."""
    flags = {name: value for name, value in asked.own.items() if name != "out"} | asked.psro | asked.solver
    components = {"env": asked.env, "oracle": asked.oracle, asked.own["oracle"]: asked.learner, "wandb": asked.mirror}
    for prefix, values in components.items():
        flags |= {f"{prefix}.{name}": value for name, value in values.items()}
    wanted = {flag: list(value) if isinstance(value, tuple) else value for flag, value in flags.items()}
    return {flag: value for flag, value in wanted.items() if value is not None}


def default_flags(chosen: dict[str, Any]) -> dict[str, Any]:
    """Flag → default, where environment, oracle, measure and solver are those `chosen`; `...` where it has none.

    Raises:
        UserError: a name that is not known.
    """
    return defaults(_groups(chosen))


def _groups(values: dict[str, Any]) -> dict[str, Group]:
    """The flags, as far as names are chosen: prefix → group."""
    chosen = {own.name: own.default for own in OWN} | values
    try:
        solver = equilibria.REGISTRY.parameters(chosen["solver"])
        measure = equilibria.MEASURES.parameters(chosen["measure"])
        flags = {own.name: own for own in OWN} | _psro_fields()
        clash = set(flags) & set(solver)
        assert not clash, clash
        groups = {"": Group("", flags | solver)}
        if chosen["env"]:
            env = envs.REGISTRY.parameters(chosen["env"])
            env.pop("players", None)
            groups["env"] = Group(f"environment {chosen['env']}", env)
        kind = "oracles:BestResponse" if chosen["oracle"] == EXACT else "learner_oracle:LearnerOracle"
        fields = {p.name: p for p in read_parameters(f"equilibria.{kind}") if p.name not in ("learner", "measure")}
        groups["wandb"] = Group("Weights & Biases", mirror_parameters())
        groups["oracle"] = Group(f"oracle, {chosen['measure']}", fields | measure)
        if chosen["oracle"] != EXACT:
            if chosen["oracle"] not in shaping.names():
                names = [EXACT, *shaping.names()]
                raise UserError(f"--oracle {chosen['oracle']}{did_you_mean(chosen['oracle'], names)}")
            learner = shaping.REGISTRY.parameters(chosen["oracle"])
            for name, value in FOR_LEARNERS.items():
                if name in learner:
                    learner[name] = replace(learner[name], default=value)
            groups[chosen["oracle"]] = Group(f"learner {chosen['oracle']}", learner)
    except ValueError as error:
        raise UserError(str(error)) from error
    return groups


def _psro_fields() -> dict[str, Parameter]:
    return {p.name: p for p in read_parameters("equilibria.growth:Psro") if p.name not in HIDDEN}


def _check(own: dict[str, Any]) -> None:
    sources = [key for key in ("env", "game", "payoffs") if own[key] is not None]
    if len(sources) != 1:
        found = ", ".join(f"--{key}" for key in sources) or "none"
        raise UserError(f"psro: expected one of --env, --game and --payoffs, found {found}")
    if own["players"] is not None and not own["env"]:
        raise UserError("--players: is for --env; games and files say how many there are")
    for name, low, high in (("iterations", 1, 10_000), ("seeds", 1, 2**16), ("seed", 0, 2**30)):
        if not low <= own[name] <= high:
            raise UserError(f"--{name} {own[name]}: expected a whole number from {low} to {high}")
    if own["until"] is not None and (own["until"] < 0 or own["oracle"] != EXACT):
        raise UserError(f"--until {own['until']:g}: expected a number from 0, and --oracle exact, which tells gains")
    if own["capacity"] is not None and own["capacity"] < 2:
        raise UserError(f"--capacity {own['capacity']}: expected 2 or more policies")
