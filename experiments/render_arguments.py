"""What `run.py render` is asked for. Imports no numerics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import shaping
from envs.registry import Parameter, did_you_mean
from experiments.commands import flag_values, one_directory, run_in
from experiments.config import TRAIN, UserError

__all__ = ["Rendering", "render_arguments"]

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


def render_arguments(args: Sequence[str]) -> Rendering:
    """The run directory and what to draw of it.

    Raises:
        UserError: a mistake in the arguments.
        SystemExit: `--help` (0), or a flag whose value is not of its type (2).
    """
    found, flags = one_directory("render", args, "runs/tandem-2-lolax2-1")
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
    run, _ = run_in(path, found[0])
    first, last = run.seed, run.seed + run.seeds - 1
    seed = first if values["training_seed"] is None else values["training_seed"]
    if not first <= seed <= last:
        raise UserError(f"--training_seed {seed}: expected one of the run's seeds, {first} to {last}")
    out = Path(values["out"] or path)
    return Rendering(path, out, rules, values["steps"], values["box"], values["episode_seed"], seed, values["wandb"])
