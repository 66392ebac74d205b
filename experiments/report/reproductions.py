"""A reproduction: published numbers beside ours."""

from __future__ import annotations

from pathlib import Path

from experiments.report.blocks import Section, Table
from experiments.report.configuration import safe_command
from experiments.report.files import made, read_json
from experiments.report_arguments import is_result
from experiments.reproduce import HEADINGS, cells, read_result

__all__ = ["reproduction"]


def reproduction(path: Path) -> Section:
    """What is shown of the reproduction in `path`.

    Raises:
        UserError: damaged files.
    """
    section = Section(path.resolve().name, str(path), "reproduction")
    verdicts: list[bool | None] = []
    seconds, commands = 0.0, dict[str, None]()
    for file in sorted(path.glob("*.json")):
        if not is_result(file):
            section.missing.append(f"{file.name} (no result of an experiment)")
            continue
        result, raw = read_result(file), read_json(file)
        own = [row["passed"] for row in result["rows"]]
        verdicts, seconds, section.made = verdicts + own, seconds + result["seconds"], made(raw)
        commands |= {safe_command(raw["command"]): None} if "command" in raw else {}
        about = f"{result['setting']} {result['seeds']} seeds, {result['seconds']:.0f} s."
        missed = frozenset(place for place, passed in enumerate(own) if passed is False)
        rows = [list(cells(row)) for row in result["rows"]]
        section.blocks.append(Table(raw.get("title", file.stem), HEADINGS, rows, about, marked=missed))
    compared = [passed for passed in verdicts if passed is not None]
    section.sentence = f"{sum(compared)} of {len(compared)} numbers within tolerance."
    section.results = {"experiments": str(len(section.blocks)), "numbers": str(len(verdicts))}
    section.results["seconds"] = f"{seconds:,.0f}"
    section.command = "\n".join(commands)
    if not commands:
        section.missing.append("the command (it was not recorded)")
    runs = sorted(str(own.parent) for own in path.glob("**/config.yaml"))
    if runs:
        several = f"{len(runs)} runs behind the numbers, such as {runs[0]}" if len(runs) > 1 else f"the run {runs[0]}"
        section.missing.append(f"{several} (which can be given to `report`)")
    return section
