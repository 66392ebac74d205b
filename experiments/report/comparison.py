"""Several directories: common curves, and a table of what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from experiments.report.blocks import Chart, Metric, Section, Table
from experiments.report.charts import curves

__all__ = ["compare"]

ABSENT = "-"


def compare(sections: Sequence[Section]) -> list[Chart | Table]:
    """What is shown above `sections`, of which there are two or more."""
    found: list[Chart | Table] = [_results(sections), _differences(sections)]
    metrics = _common(sections)
    if metrics:
        units = " or ".join(dict.fromkeys(section.unit for section in sections if section.metrics))
        found.append(curves("Learning, compared", units, metrics, seeds_shown=False))
    return found


def _results(sections: Sequence[Section]) -> Table:
    """How far each went, and what came out."""
    told = [{"status": section.status or "-"} | section.results for section in sections]
    return _table("Results", "", sections, _rows(told))


def _common(sections: Sequence[Section]) -> list[Metric]:
    """Metrics of two or more sections, the learners' line of each under the name of its directory."""
    found: dict[tuple[str, str], Metric] = {}
    for place, section in enumerate(sections):
        for metric in section.metrics:
            key = metric.name, metric.who
            line = replace(metric.lines[0], label=section.name, place=place)
            known = found.get(key, Metric(*key, []))
            marks = metric.marks if not known.lines or known.marks == metric.marks else {}
            found[key] = Metric(*key, [*known.lines, line], marks)
    return [metric for metric in found.values() if len(metric.lines) > 1]


def _differences(sections: Sequence[Section]) -> Table:
    """Flags, kinds, devices and versions that are not the same in all sections that have them."""
    chosen = {flag for section in sections for flag in section.differing}
    told = [{"what": section.kind} | section.config | section.made for section in sections]
    rows = []
    for row in _rows(told):
        kinds = {section.kind for section, own in zip(sections, told, strict=True) if row[0] in own}
        values = {cell for cell, section in zip(row[1:], sections, strict=True) if section.kind in kinds}
        if len(values - {ABSENT}) > 1 or (row[0] in chosen and len(values) > 1):
            rows.append(row)
    about = "Flags, devices and versions." if rows else "Nothing: flags, devices and versions are the same."
    return _table("What differs", about, sections, rows)


def _rows(told: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """A row a name, a dash where it is missing."""
    names = dict.fromkeys(name for own in told for name in own)
    return [[name, *(own.get(name, ABSENT) for own in told)] for name in names]


def _table(title: str, about: str, sections: Sequence[Section], rows: list[list[str]]) -> Table:
    headings = ["", *(section.name for section in sections)]
    return Table(title, headings, rows, about, texts=len(headings))
