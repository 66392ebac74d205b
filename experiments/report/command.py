"""The command: look into every directory, and write the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from experiments.config import UserError
from experiments.report.blocks import Section
from experiments.report.comparison import compare
from experiments.report.learned import add_learned
from experiments.report.page import page
from experiments.report.populations import populations
from experiments.report.reproductions import reproduction
from experiments.report.tournaments import crossplay, league
from experiments.report.training import training
from experiments.report_arguments import Reporting
from experiments.run_directory import write_atomically

__all__ = ["report", "show"]

SHOW = {"train": training, "psro": populations, "league": league, "crossplay": crossplay, "reproduce": reproduction}


def report(asked: Reporting, command: str, console: Console) -> Path:
    """Write the page, print where it is and what could not be shown; returns the path.

    Raises:
        UserError: files that are damaged, or a page that cannot be written.
    """
    sections = []
    for path, kind in asked.directories.items():
        with console.status(f"looking into {path} ..."):
            sections.append(section := show(path, kind))
            if kind == "train" and asked.checkpoints:
                add_learned(section, path)
            elif kind == "train":
                section.missing.append("policies after every history and an episode (--checkpoints False)")
    if len({section.name for section in sections}) < len(sections):
        sections = [replace(section, name=section.path) for section in sections]
    text = page(sections, compare(sections) if len(sections) > 1 else [], command)
    try:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(asked.out, text.encode())
    except OSError as error:
        raise UserError(f"--out {asked.out}: cannot be written: {error.strerror or error}") from error
    for section in sections:
        if section.missing:
            console.print(f"{section.path}: not shown: {'; '.join(section.missing)}", soft_wrap=True)
    console.print(f"report: {asked.out}, {asked.out.stat().st_size / 1e6:.1f} MB", soft_wrap=True)
    return asked.out


def show(path: Path, kind: str) -> Section:
    """What is shown of the directory `path` with what `kind_of` says, from its files alone.

    Raises:
        UserError: damaged files.
    """
    try:
        return SHOW[kind](path)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise UserError(f"{path}: is damaged: expected what `run.py {kind}` writes ({error!r})") from error
