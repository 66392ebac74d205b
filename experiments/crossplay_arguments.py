"""What `run.py crossplay` is asked for. Imports no numerics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import shaping
from envs.registry import did_you_mean
from experiments.commands import asks_for_help, run_in, split_arguments, training_flags
from experiments.config import TRAIN, Command, Run, UserError, resolve

__all__ = ["Entry", "Pairing", "crossplay_arguments"]

CROSSPLAY = """Play everyone against everyone, also against itself: training seed against training seed.

An ENTRY is a run directory (DIR, or DIR#seat for another seat than 0) or the name of a learner; an existing directory
wins over a name. Entries come before the flags. The row's player sits in seat 0, the column's in all others. An entry
from a run has one policy for each of its seeds; a fixed strategy counts as one; a learner that learns is trained in
place, for --steps steps against the other, once for each pair of seeds. The environment is that of the first run
directory, or --env where all entries are names. Writes crossplay.csv, crossplay.json and two figures into a new
directory.

Example: python run.py crossplay runs/ipd-2-lolax2-1 runs/ipd-2-ppox2-1#1 tit_for_tat"""


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
    own = training_flags(
        env=Run.env, players=None, seeds=4, seed=Run.seed, steps=100, batch=Run.batch, episodes=Run.episodes
    )
    own["out"] = replace(TRAIN.flags["out"], help="directory to write to; a new one below runs/ if not given.")
    own["steps"] = replace(own["steps"], help="training steps of learners given by name.")
    own["seeds"] = replace(own["seeds"], help="how many seeds of each learner given by name.")
    fixed, environment, file = {}, {}, ""
    first = next((entry for entry in entries if entry.path), None)
    if first is not None and first.path is not None:
        trained, environment = run_in(first.path, first.text)
        fixed, file = {"env": trained.env, "players": trained.players}, f"{first.path}/config.yaml"
        own |= training_flags(batch=trained.batch, episodes=trained.episodes)
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
