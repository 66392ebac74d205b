"""The page: one HTML file with everything in it, which is allowed to run two scripts and to load nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.report.blocks import Chart, Section, Table
from experiments.report.configuration import safe_command
from experiments.report_arguments import GENERATOR
from experiments.run_directory import finite

__all__ = ["page"]

FOLDER = Path(__file__).parent


def page(sections: Sequence[Section], compared: Sequence[Chart | Table], command: str) -> str:
    """The HTML of a report.

    The policy of the page allows scripts by their hashes, so that none but ours would run even if text that should be
    escaped were not, and no address but data within the file.

    Args:
        sections: of the directories.
        compared: shown above them.
        command: that made the report.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    charts: list[Chart] = []

    def place(chart: Chart) -> int:
        """The number of a chart, under which its script finds it."""
        charts.append(chart)
        return len(charts) - 1

    scripts = [_plain(get_plotlyjs()), _plain((FOLDER / "page.js").read_text(encoding="utf-8"))]
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()}'" for own in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = _plain((FOLDER / "page.css").read_text(encoding="utf-8"))
    body = environment.get_template("page.html").render(
        generator=GENERATOR, policy=policy, style=style, scripts=scripts, sections=sections, compared=compared,
        place=place, data=lambda: _json([_drawn(chart) for chart in charts]), command=safe_command(command),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )  # fmt: skip
    return body + "\n"


def _plain(text: str) -> str:
    """Without carriage returns, which browsers drop before they compute hashes."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _drawn(chart: Chart) -> dict[str, Any]:
    """What the script of the page needs of a chart; arrays that traces have in common are there once."""
    shared: dict[str, int] = {}

    def trace(own: Mapping[str, Any]) -> dict[str, Any]:
        arrays = {name: json.dumps(own[name]) for name in ("x", "text", "hovertext") if isinstance(own.get(name), list)}
        return {**own, **{name: f"@{shared.setdefault(array, len(shared))}" for name, array in arrays.items()}}

    views = {key: {**view, "data": [trace(own) for own in view["data"]]} for key, view in chart.views.items()}
    labels = [list(control.options) if control.slider else None for control in chart.controls]
    return {"views": views, "shared": [json.loads(array) for array in shared], "labels": labels, "height": chart.height}


def _json(data: Any) -> str:
    """JSON that may stand between the tags of a script."""
    text = json.dumps(finite(data), separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
