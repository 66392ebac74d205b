"""What commands other than train are asked for: positional arguments and flags. Imports no numerics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import shaping
from envs.registry import Parameter, did_you_mean
from experiments.config import TRAIN, Command, Run, UserError, parse, resolve
from experiments.flags import Group, parse_flags
from experiments.given import read_yaml
from experiments.run_directory import require_training

__all__ = [
    "BEST_RESPONSE",
    "NAIVE",
    "Entry",
    "Evaluation",
    "Pairing",
    "Rendering",
    "Reproduction",
    "asks_for_help",
    "crossplay_arguments",
    "evaluate_arguments",
    "flag_values",
    "render_arguments",
    "reproduce_arguments",
    "split_arguments",
]

NAIVE, BEST_RESPONSE = "reinforce", "ppo"
"""Who of the standard panel learns: beside the focal player, and instead of it."""

EVALUATE = f"""Replay a trained run on new seeds, and measure it against a standard panel.

DIR is a run directory. Every seat plays what it has learned there and learns no more: evaluation seed s plays the
policies of training seed s mod S, counted from the first, in all seats. The panel: each learner of the run, in its
first seat, meets always_cooperate, always_defect, tit_for_tat and fresh naive learners ({NAIVE}) in all other seats;
and a fresh {BEST_RESPONSE} learner takes its place among the trained others. What that gains over it bounds its
exploitability from below, no more: a better response may exist. Prints tables and writes evaluation.json into DIR.

Shapers play trials, among rivals that learn anew, and so do, instead of a response, controls in their seats, on which
a shaper has to improve: always_defect, always_cooperate, uniform, tit_for_tat, and one more rival. --hardstop and
--blindsight change the trials."""

CROSSPLAY = """Play everyone against everyone, also against itself: training seed against training seed.

An ENTRY is a run directory (DIR, or DIR#seat for another seat than 0) or the name of a learner; an existing directory
wins over a name. Entries come before the flags. The row's player sits in seat 0, the column's in all others. An entry
from a run has one policy for each of its seeds; a fixed strategy counts as one; a learner that learns is trained in
place, for --steps steps against the other, once for each pair of seeds. The environment is that of the first run
directory, or --env where all entries are names. Writes crossplay.csv, crossplay.json and two figures into a new
directory.

Example: python run.py crossplay runs/ipd-2-lolax2-1 runs/ipd-2-ppox2-1#1 tit_for_tat"""

RENDER = """Draw a trained run: pictures in its directory, or in --out.

DIR is a run directory. policies.png: what each policy does after every history, for learners on the exact objective.
rewards.png: learning in the plane of the rewards of seat 0 and of the others, against the convex hull of what pure
joint actions pay. field.png, for games of two parameters: the field of everybody's own gradients, and the trajectories
of the run's learners and of other rules, with the same step sizes, from where the run's first seeds start.
episode.gif: an episode of what one training seed has learned, in matrix games the actions, up to step 500; episode.svg:
some of its frames. What cannot be drawn of a run is left out, and said.

Example: python run.py render runs/tandem-2-lolax2-1 --rules naive,sos"""

RENDER_FLAGS = (
    Parameter("out", "str | None", None, "directory to write to; the run directory if not given."),
    Parameter(
        "rules",
        "str",
        "naive,lookahead,lola,sos,cgd,extragradient,consensus",
        "learners on the exact objective whose trajectories are drawn into a field beside the run's own.",
    ),
    Parameter("steps", "int", 200, "length of those trajectories."),
    Parameter(
        "box", "float | None", None, "show parameters from -box to box; where most trajectories go if not given."
    ),
    Parameter("episode_seed", "int", 0, "seed of the episode that is shown."),
    Parameter("training_seed", "int | None", None, "seed of the run whose policies play it; the first if not given."),
    replace(
        TRAIN.flags["wandb"],
        help="add the pictures to the mirror of the run in Weights & Biases; if not given, as the run is mirrored.",
    ),
)
MOST_STEPS, LARGEST_BOX, LAST_SEED = 10**5, 1e6, 2**30


@dataclass(frozen=True)
class Rendering:
    """What is to be drawn.

    Attributes:
        directory: of the run.
        out: directory to write to.
        rules: names of learners whose trajectories are drawn into a field.
        steps: length of those trajectories.
        box: half the side of the box that is shown, around 0; None to leave it to the trajectories.
        episode_seed: of the episode that is shown.
        training_seed: number of the seed of the run whose policies play it.
        wandb: mode of the mirror that the pictures are added to; None for that of the run.
    """

    directory: Path
    out: Path
    rules: tuple[str, ...]
    steps: int
    box: float | None
    episode_seed: int
    training_seed: int
    wandb: str | None = None


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
    Parameter("fresh", "bool", False, "whether to run again what has been done."),
)


@dataclass(frozen=True)
class Evaluation:
    """What is to be evaluated.

    Attributes:
        directory: of the run.
        run: environment, new seeds, and the panel's learners.
        panel: whether to play against the standard panel, and controls.
        hardstop: inner episodes after which the rivals of shapers learn no more; None if they go on.
        blindsight: environments of a trial whose observations shapers do not see.
    """

    directory: Path
    run: Run
    panel: bool = True
    hardstop: int | None = None
    blindsight: int = 0


@dataclass(frozen=True)
class Entry:
    """Who takes part in a cross-play.

    Attributes:
        text: as written on the command line.
        label: in tables, files and figures; no two entries have the same.
        name: of the learner; None for a trained policy.
        path: directory of the run; None for a learner's name.
        seat: of that run.
    """

    text: str
    label: str
    name: str | None = None
    path: Path | None = None
    seat: int = 0


def evaluate_arguments(args: Sequence[str]) -> Evaluation:
    """The run directory, and what to play there.

    Raises:
        UserError: a mistake in the arguments.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    found, flags = split_arguments(args)
    if len(found) != 1 and not asks_for_help(flags):
        what = " ".join(found) or "none"
        raise UserError(
            f"evaluate takes one run directory, found {what}; expected such as: evaluate runs/ipd-2-lolax2-1"
        )
    trained, environment = _config(Path(found[0]), found[0]) if found else (Run(), {})
    own = _flags(batch=trained.batch, steps=100, seeds=trained.seeds, seed=trained.seed + trained.seeds)
    own["steps"] = replace(own["steps"], help="training steps of the fresh learners.")
    own["seeds"] = replace(own["seeds"], help="how many new seeds; by default as many as the run has.")
    own["seed"] = replace(own["seed"], help="the first new seed; by default the one after the last of the run.")
    own["panel"] = Parameter("panel", "bool", True, "whether to play against the standard panel, and controls.")
    own["hardstop"] = Parameter(
        "hardstop", "int | None", None, "inner episodes after which the rivals of shapers learn no more."
    )
    own["blindsight"] = Parameter("blindsight", "int", 0, "environments of a trial that shapers do not see.")
    fixed = {"env": trained.env, "players": trained.players}
    command = Command("python run.py evaluate DIR", EVALUATE, own, fixed, (NAIVE, BEST_RESPONSE))
    run, rest = resolve(command, flags, environment, f"{found[0]}/config.yaml" if found else "")
    if rest["hardstop"] is not None and rest["hardstop"] < 0:
        raise UserError(f"--hardstop {rest['hardstop']}: expected 0 or more inner episodes")
    if not 0 <= rest["blindsight"] <= run.batch:
        raise UserError(f"--blindsight {rest['blindsight']}: expected 0 to {run.batch} of the environments (--batch)")
    return Evaluation(Path(found[0]), run, **{name: rest[name] for name in ("panel", "hardstop", "blindsight")})


class Pairing(NamedTuple):
    """What is to be played.

    Attributes:
        entries: who takes part.
        run: environment, seeds, and hyper-parameters of learners given by name.
    """

    entries: list[Entry]
    run: Run


def crossplay_arguments(args: Sequence[str]) -> Pairing:
    """The entries, and what they play (environment, seeds, hyper-parameters of learners given by name).

    Raises:
        UserError: a mistake in the arguments.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    found, flags = split_arguments(args)
    if not found and not asks_for_help(flags):
        raise UserError(
            "crossplay takes entries, run directories or learners; expected such as: "
            "crossplay runs/ipd-2-lolax2-1 runs/ipd-2-ppox2-1#1 tit_for_tat"
        )
    entries = _labelled([_entry(text) for text in found])
    own = _flags(env=Run.env, players=None, seeds=4, seed=Run.seed, steps=100, batch=Run.batch, episodes=Run.episodes)
    own["out"] = replace(TRAIN.flags["out"], help="directory to write to; a new one below runs/ if not given.")
    own["steps"] = replace(own["steps"], help="training steps of learners given by name.")
    own["seeds"] = replace(own["seeds"], help="how many seeds of each learner given by name.")
    fixed, environment, file = {}, {}, ""
    first = next((entry for entry in entries if entry.path), None)
    if first is not None and first.path is not None:
        trained, environment = _config(first.path, first.text)
        fixed, file = {"env": trained.env, "players": trained.players}, f"{first.path}/config.yaml"
        own |= _flags(batch=trained.batch, episodes=trained.episodes)
        for flag in fixed:
            del own[flag]
            if any(arg.split("=")[0] == f"--{flag}" for arg in flags):
                raise UserError(
                    f"--{flag} with a run directory: all play the {trained.env} of {first.text}; "
                    "expected its parameters, such as --env.horizon, or entries that are names"
                )
    names = tuple(entry.name for entry in entries if entry.name)
    command = Command("python run.py crossplay ENTRY [ENTRY ...]", CROSSPLAY, own, fixed, names)
    return Pairing(entries, resolve(command, flags, environment, file)[0])


def render_arguments(args: Sequence[str]) -> Rendering:
    """The run directory and what to draw of it.

    Raises:
        UserError: a mistake in the arguments.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    found, flags = split_arguments(args)
    if len(found) != 1 and not asks_for_help(flags):
        what = " ".join(found) or "none"
        raise UserError(
            f"render takes one run directory, found {what}; expected such as: render runs/tandem-2-lolax2-1"
        )
    values = flag_values(RENDER_FLAGS, flags, "python run.py render DIR", RENDER)
    path, rules = Path(found[0]), tuple(name.strip() for name in values["rules"].split(","))
    for name in rules:
        if name not in shaping.names():
            raise UserError(f"--rules: unknown rule {name!r}{did_you_mean(name, shaping.names())}")
    if not 1 <= values["steps"] <= MOST_STEPS:
        raise UserError(f"--steps {values['steps']}: expected a whole number from 1 to {MOST_STEPS}")
    if values["box"] is not None and not 0 < values["box"] <= LARGEST_BOX:
        raise UserError(f"--box {values['box']:g}: expected a number above 0, up to {LARGEST_BOX:g}")
    if not 0 <= values["episode_seed"] <= LAST_SEED:
        raise UserError(f"--episode_seed {values['episode_seed']}: expected a whole number from 0 to {LAST_SEED}")
    run, _ = _config(path, found[0])
    first, last = run.seed, run.seed + run.seeds - 1
    seed = first if values["training_seed"] is None else values["training_seed"]
    if not first <= seed <= last:
        raise UserError(f"--training_seed {seed}: expected one of the run's seeds, {first} to {last}")
    out = Path(values["out"] or path)
    return Rendering(path, out, rules, values["steps"], values["box"], values["episode_seed"], seed, values["wandb"])


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


def flag_values(known: Sequence[Parameter], flags: Sequence[str], prog: str, description: str) -> dict[str, Any]:
    """The values of flags that are those of no run.

    Raises:
        UserError: a flag that is not known.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    own = {parameter.name: parameter for parameter in known}
    for flag in (arg[2:].split("=")[0] for arg in flags if arg.startswith("--")):
        if flag not in (*own, "help"):
            raise UserError(f"unknown flag --{flag}{did_you_mean(flag, own)}")
    return parse_flags({"": Group("", own)}, flags, prog, description)[""]


def split_arguments(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Positional arguments, and the flags after them."""
    end = next((place for place, arg in enumerate(args) if arg.startswith("-")), len(args))
    return list(args[:end]), list(args[end:])


def asks_for_help(flags: Sequence[str]) -> bool:
    """Whether `--help` is among the flags."""
    return not {"-h", "--help"}.isdisjoint(flags)


def _flags(**defaults: object) -> dict[str, Parameter]:
    """Flags of training runs, with other defaults."""
    return {name: replace(TRAIN.flags[name], default=default) for name, default in defaults.items()}


def _config(path: Path, text: str) -> tuple[Run, dict[str, str]]:
    """The run in `path`, and the parameters of its environment as flags."""
    config = require_training(path, text)
    run, _ = parse(["--config", str(config)])
    return run, {key: value for key, value in read_yaml(str(config)).items() if key.startswith("env.")}


def _entry(text: str) -> Entry:
    """`DIR`, `DIR#seat` or a learner's name."""
    numbered = None if Path(text).is_dir() else re.fullmatch(r"(.+)#(\d+)", text)
    path = Path(numbered[1] if numbered else text)
    if text and path.is_dir():
        label = path.resolve().name + (f"#{numbered[2]}" if numbered else "")
        return Entry(text, label, None, path, int(numbered[2]) if numbered else 0)
    names = shaping.names()
    if text in names:
        return Entry(text, text, text)
    if "/" in text or "#" in text:
        raise UserError(f"entry {text}: no such directory; expected a run directory, DIR#seat, or a learner's name")
    raise UserError(
        f"unknown entry {text!r}, neither a run directory nor a learner{did_you_mean(text, shaping.names())}"
    )


def _labelled(entries: list[Entry]) -> list[Entry]:
    """The same entries, those with equal labels numbered."""
    labels = [entry.label for entry in entries]
    return [
        replace(entry, label=f"{entry.label} ({labels[:place].count(entry.label) + 1})")
        if labels.count(entry.label) > 1
        else entry
        for place, entry in enumerate(entries)
    ]
