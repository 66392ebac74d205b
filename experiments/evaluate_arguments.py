"""What `run.py evaluate` is asked for. Imports no numerics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from envs.registry import Parameter
from experiments.commands import one_directory, run_in, training_flags
from experiments.config import Command, Run, UserError, resolve

__all__ = ["BEST_RESPONSE", "NAIVE", "Evaluation", "evaluate_arguments"]

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


def evaluate_arguments(args: Sequence[str]) -> Evaluation:
    """The run directory, and what to play there.

    Raises:
        UserError: a mistake in the arguments.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    found, flags = one_directory("evaluate", args, "runs/ipd-2-lolax2-1")
    trained, environment = run_in(Path(found[0]), found[0]) if found else (Run(), {})
    own = training_flags(batch=trained.batch, steps=100, seeds=trained.seeds, seed=trained.seed + trained.seeds)
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
