"""Flags ⇄ YAML ⇄ the fields of environments and learners. Imports no numerics.

Every flag is a YAML key of the same name (`env.horizon: 50`, or nested: `env: {name: ipd, horizon: 50}`), and every
YAML value goes through the flag of its name, so there is one schema and one set of errors for both.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import envs
import shaping
from envs.registry import Parameter, did_you_mean, read_parameters
from experiments.errors import FaultError, UserError
from experiments.flags import Group, defaults, parse_flags
from experiments.given import config_files, given_flags, read_files
from experiments.run_directory import require_run

if TYPE_CHECKING:
    from envs import Environment
    from shaping import Learner

__all__ = [
    "TRAIN",
    "Command",
    "FaultError",
    "Run",
    "Training",
    "UserError",
    "build_environment",
    "build_learners",
    "default_flags",
    "mirror_parameters",
    "parse",
    "resolve",
    "seat_names",
    "to_flags",
    "with_resume",
]


@dataclass(frozen=True)
class Run:
    """A training run: the flags that belong to no component, and the hyper-parameters of the components.

    Attributes:
        env: environment; `python run.py list` names them.
        players: number of players; the environment's own default if not given.
        learners: who sits where, e.g. lola,naive*3; one name fills all seats. checkpoint:DIR#seat is the policy that
            the run in DIR has learned in that seat, and that learns no more; checkpoint:DIR@best#seat the best it had.
            Beside shapers that have no exact values, naive is reinforce.
        baseline: learner that fills all seats of a second match, on the same seeds, for comparison; none; or auto,
            which is naive beside learners on the exact objective and none beside others.
        seeds: how many seeds run side by side.
        seed: the first seed; the others follow it.
        steps: training steps.
        batch: environments played side by side for one update, by learners that sample.
        episodes: inner episodes of a training step, together a trial; everybody updates after each, shapers after all.
        rivals: sets of rivals, each learning by itself, that shapers meet in a trial.
        rival_start: of a trial, among shapers: cold, with fresh rivals, or warm, where the last trial left them.
        share: whether seats of one name are played by one learner, with the experience of all of them.
        log_every: steps between two lines of metrics.
        keep: how many checkpoints are kept, the newest and those before; the best one is, too.
        out: run directory; a new one below runs/ if not given.
        wandb: mirror the run in Weights & Biases; if not given, runs of a sweep as WANDB_MODE says, or online, and
            others not.
        components: prefix of the flags ("env", "wandb", or a learner's name) → its parameters.
    """

    env: str = "ipd"
    players: int | None = None
    learners: str = "lola"
    baseline: str = "auto"
    seeds: int = 16
    seed: int = 0
    steps: int = 200
    batch: int = 32
    episodes: int = 1
    rivals: int = 1
    rival_start: Literal["cold", "warm"] = "cold"
    share: bool = False
    log_every: int = 10
    keep: int = 2
    out: str | None = None
    wandb: Literal["disabled", "offline", "online"] | None = None
    components: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def seed_count(self) -> str:
        """Such as `16 seeds`."""
        return f"{self.seeds} seeds" if self.seeds > 1 else "1 seed"


RANGES = {
    "seeds": (1, 2**20),
    "batch": (1, 2**20),
    "episodes": (1, 2**20),
    "rivals": (1, 2**20),
    "steps": (1, 2**31 - 1),
    "log_every": (1, 2**31 - 1),
    "keep": (1, 2**20),
    "seed": (0, 2**30),
}
CONTROL = {
    "config": Parameter(
        "config", "str | None", None, "YAML file of flags; may be given several times, later files and flags win."
    ),
    "resume": Parameter(
        "resume", "str | None", None, "continue the run in this directory; takes --steps to extend it, and --wandb."
    ),
    "dry": Parameter("dry", "bool", False, "print the flags as resolved, and where each comes from, and stop."),
    "distributed": Parameter(
        "distributed",
        "str | None",
        None,
        "train on several machines, on each of which the same command is started: auto under SLURM, else HOST:PORT,"
        "PROCESSES,PROCESS (address of process 0, how many there are, number of this one).",
    ),
}
"""Flags that say where a run comes from, and are no part of it."""

AMONG_SHAPERS = {"seeds": 2, "batch": 2, "episodes": 50}
"""Defaults of a run in which somebody learns from trials: each is of many episodes, and one seed is many matches."""

HELP = ("help", "h")
CHECKPOINT = "checkpoint:"

DESCRIPTION = """Train learners on an n-player game, beside a baseline, on many seeds at once.

Other commands: `python run.py list` names environments and learners; `python run.py evaluate DIR` replays a trained run
on new seeds and measures it against a standard panel; `python run.py crossplay ENTRY ENTRY ...` plays everyone against
everyone; `python run.py plot DIR DIR ...` draws a metric of runs, `render DIR` policies, trajectories and an episode;
`diff DIR DIR` says in what runs differ, `report DIR ...` shows all in one HTML file; `export DIR` writes a policy as
files that play without this project; `python run.py solve` solves games, `psro` grows populations of policies, `league`
asks which learner to deploy; `sweep FILE` runs a sweep; `python run.py reproduce NAME` sets published numbers beside
ours; each has its own --help. The flags below are those of the chosen environment and learners; each is also accepted
as --flag=value and as a key of a --config file.

Compiled programs are kept below ~/.cache/parley, at most 1 GiB of them, or in JAX_COMPILATION_CACHE_DIR."""


@dataclass(frozen=True)
class Command:
    """A command of `run.py`: the flags it takes beside those of components, and what it says of itself.

    Attributes:
        prog: how it is called.
        description: what it does, for `--help`.
        flags: its own flags by name: fields of a `Run` and others.
        fixed: fields of a `Run` that it sets itself.
        learners: whose hyper-parameters are flags; those in the flags `learners` and `baseline` if None.
    """

    prog: str
    description: str
    flags: dict[str, Parameter]
    fixed: dict[str, Any] = field(default_factory=dict)
    learners: tuple[str, ...] | None = None


def _own_flags() -> dict[str, Parameter]:
    own = {p.name: p for p in read_parameters("experiments.config:Run") if p.name != "components"}
    return own | CONTROL


TRAIN = Command("python run.py", DESCRIPTION, _own_flags())


class Training(NamedTuple):
    """What is to be trained.

    Attributes:
        run: the resolved flags.
        resume: directory of the run to be continued, if any.
    """

    run: Run
    resume: str | None = None


def parse(args: Sequence[str]) -> Training:
    """Resolve a command line that trains.

    Raises:
        UserError: a mistake in the flags, a file or a value.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    control = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    control.add_argument("--config", action="append", default=[])
    control.add_argument("--resume")
    known, rest = control.parse_known_args(list(args))
    given = given_flags(rest)
    if known.resume is not None:
        _check_resumed(known.resume, [*given, *(["config"] if known.config else [])])
    files = config_files(args)
    return Training(resolve(TRAIN, rest, read_files(files), ", ".join(files))[0], known.resume)


def resolve(
    command: Command, args: Sequence[str], from_files: dict[str, str], files: str = ""
) -> tuple[Run, dict[str, Any]]:
    """Resolve the flags `args` of a command, before those `from_files`.

    Returns the run, and the command's flags that are no fields of one.

    Raises:
        UserError: a mistake in the flags, a file or a value.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    given = given_flags(args)
    groups = _groups(command, {**from_files, **given})
    _check_flags(groups, given, from_files, files)
    seated = [key for key in from_files if "." not in key or key.split(".")[0] in groups]
    merged = [f"--{key}={from_files[key]}" for key in seated if key not in given]
    values = parse_flags(groups, [*merged, *args], command.prog, command.description)
    own = values.pop("")
    for prefix, group in groups.items():
        for name, parameter in group.parameters.items():
            if "Path" in parameter.annotation:  # so that a config means the same wherever it is used
                values[prefix][name] = str(Path(values[prefix][name]).resolve())
    for flag, (low, high) in RANGES.items():
        if flag in own and not low <= own[flag] <= high:
            raise UserError(f"--{flag} {own[flag]}: expected a whole number from {low} to {high}")
    if "learners" in own and own["learners"] != _as_played(own["learners"]):
        for flag in given:
            if flag.startswith("naive."):
                raise UserError(
                    f"--{flag}: beside shapers without exact values naive is reinforce; expected --reinforce."
                    f"{flag.removeprefix('naive.')}, or another learner"
                )
        own["learners"] = _as_played(own["learners"])
    of_run = {f.name: own.pop(f.name) for f in fields(Run) if f.name in own}
    return Run(**command.fixed, **of_run, components=values), own


def to_flags(run: Run) -> dict[str, Any]:
    """The resolved run as a flat mapping of flag → value; what `config.yaml` holds."""
    flags = {f.name: getattr(run, f.name) for f in fields(run) if f.name not in ("components", "out")}
    for prefix, values in run.components.items():
        flags |= {f"{prefix}.{name}": value for name, value in values.items()}
    return {flag: value for flag, value in flags.items() if value is not None}


def mirror_parameters() -> dict[str, Parameter]:
    """The flags `wandb.`: where a run is mirrored."""
    return {p.name: p for p in read_parameters("experiments.tracking:Mirror")}


def build_environment(run: Run) -> Environment:
    """The environment of `run`.

    Raises:
        UserError: a value that the environment refuses.
    """
    values = dict(run.components["env"])
    takes_players = "players" in envs.REGISTRY.parameters(run.env)
    if run.players is not None and takes_players:
        values["players"] = run.players
    try:
        env = envs.make(run.env, **values)
    except ValueError as error:
        raise UserError(f"environment {run.env}: {error}") from error
    if run.players not in (None, env.num_players):
        raise UserError(f"--players {run.players}: {run.env} has {env.num_players} players")
    return env


def build_learners(run: Run, env: Environment, seats: Sequence[str]) -> list[Learner]:
    """One learner a seat; seats of the same name share one object.

    Raises:
        UserError: a value that a learner refuses, or a learner that cannot play `env`.
    """
    from experiments.trained import frozen

    made: dict[str, Learner] = {}
    learners = []
    for seat, name in enumerate(seats):
        if name.startswith(CHECKPOINT):
            learners.append(frozen(name, env, seat))
            continue
        try:
            if name not in made:
                made[name] = shaping.make(name, **run.components[name])
                made[name].check(env, run.batch)
        except ValueError as error:
            raise UserError(f"learner {name}: {error}") from error
        learners.append(made[name])
    return learners


def seat_names(learners: str, players: int, flag: str = "learners") -> list[str]:
    """The name of the learner in each of `players` seats, from `a,b*3`; one name fills all.

    Raises:
        UserError: the seats do not add up.
    """
    parts = _seat_list(learners, flag)
    total = sum(count for _, count in parts)
    if total == 1:
        return [parts[0][0]] * players
    if total != players:
        raise UserError(
            f"--{flag} {learners}: {total} seats for {players} players; expected {players}, "
            f"or one name for all, such as --{flag} {parts[0][0]}"
        )
    return [name for name, count in parts for _ in range(count)]


def _seat_list(learners: str, flag: str) -> list[tuple[str, int]]:
    """`a,b*3` → [("a", 1), ("b", 3)]."""
    seats = []
    for part in learners.split(","):
        match = re.fullmatch(rf"\s*(\w+|{CHECKPOINT}[^*]+?)\s*(?:\*\s*(\d+))?\s*", part)
        if match is None or match[2] == "0":
            raise UserError(
                f"--{flag} {learners}: {part!r} is no seat; expected such as lola,naive*3 or checkpoint:DIR#0"
            )
        seats.append((match[1], int(match[2] or 1)))
    return seats


def with_resume(flag: str, *others: str) -> bool:
    """Whether a run to be continued takes `flag`: one of the `others`, or one that is no part of the run."""
    return flag in ("resume", "dry", *HELP, *others) or flag.split(".")[0] == "wandb"


def _check_resumed(directory: str, given: Sequence[str]) -> None:
    """Raise unless the run in `directory` can be continued with the flags `given`."""
    for flag in given:
        if not with_resume(flag, "steps"):
            raise UserError(f"--{flag} with --resume: a run continues as it was; expected --steps or --wandb")
    require_run("train", directory)


def _check_flags(groups: dict[str, Group], given: Iterable[str], keys: Iterable[str], files: str) -> None:
    """Raise on flags `given`, or `keys` of the config `files`, that do not exist."""
    flags = [f"{prefix}.{name}".lstrip(".") for prefix, group in groups.items() for name in group.parameters]
    for flag in given:
        if flag not in (*flags, *HELP):
            owner = flag.partition(".")[0]
            if "." in flag and owner in shaping.names() and owner not in groups:
                where = "--learners" if "learners" in flags else "those who play"
                raise UserError(f"--{flag}: no {owner} plays; expected it among {where}")
            raise UserError(f"unknown flag --{flag}{did_you_mean(flag, flags)}")
    allowed = [flag for flag in flags if flag not in (*CONTROL, "out")]
    allowed += [f"{name}.{p}" for name in shaping.names() for p in shaping.REGISTRY.parameters(name)]  # seated or not
    for key in keys:
        if key not in allowed:
            raise UserError(f"unknown key {key!r} in {files}{did_you_mean(key, allowed)}")


def _groups(command: Command, values: dict[str, Any]) -> dict[str, Group]:
    """The flags of a command whose flags `values` are known so far: prefix → group, its own under ""."""

    def chosen(flag: str) -> str:
        if flag in command.fixed:
            return command.fixed[flag]
        return command.flags[flag].default if values.get(flag) is None else values[flag]

    name = chosen("env")
    try:
        env = envs.REGISTRY.parameters(name)
        learners = _seated(chosen) if command.learners is None else command.learners
        flags = command.flags
        if command is TRAIN and any("shaper" in tags for tags in map(_tags, learners)):
            flags = flags | {flag: replace(flags[flag], default=value) for flag, value in AMONG_SHAPERS.items()}
        groups = {"": Group("", flags), "env": Group(f"environment {name}", env)}
        if "wandb" in flags:
            groups["wandb"] = Group("Weights & Biases", mirror_parameters())
        env.pop("players", None)  # has a flag of its own
        for name in dict.fromkeys(name for name in learners if not name.startswith(CHECKPOINT)):
            groups[name] = Group(f"learner {name}", shaping.REGISTRY.parameters(name))
    except ValueError as error:
        raise UserError(str(error)) from error
    return groups


def _seated(chosen: Callable[[str], str]) -> list[str]:
    """Names of the learners and of those of the baseline, from the value `chosen` for a flag."""
    seats = _seat_list(_as_played(chosen("learners")), "learners")
    if chosen("baseline") == "auto":
        seats.append(("naive", 1))
    elif chosen("baseline") != "none":
        seats += _seat_list(chosen("baseline"), "baseline")
    return [name for name, _ in seats]


def _as_played(learners: str) -> str:
    """The learners of a run, naive as reinforce beside shapers that have no exact values."""
    tags = [_tags(name) for name, _ in _seat_list(learners, "learners")]
    if any("shaper" in own and "exact" not in own for own in tags):
        return re.sub(r"(?<![\w:/])naive(?![\w/])", "reinforce", learners)
    return learners


def _tags(name: str) -> tuple[str, ...]:
    return () if name.startswith(CHECKPOINT) else shaping.REGISTRY.tags(name)


def default_flags(command: Command, chosen: dict[str, Any]) -> dict[str, Any]:
    """Flag → default of a command, where environment and learner are those `chosen`; `...` where it has none.

    Raises:
        UserError: an environment or learner that is not known.
    """
    return defaults(_groups(command, chosen))
