"""What `run.py evaluate` has measured of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.report.blocks import Table, number
from experiments.report.files import read_json

__all__ = ["evaluation"]

HEADINGS = ("", "measured", "reward 10 %", "reward 50 %", "reward 90 %", "others 50 %", "gain 50 %")


def evaluation(path: Path) -> list[Table]:
    """The table of the evaluation in `path`, none if there is none.

    Raises:
        UserError: a damaged file.
    """
    file = path / "evaluation.json"
    if not file.is_file():
        return []
    data = read_json(file)
    rows = [_row(row["who"], "in the seats of shapers", row) for row in data.get("controls", [])]
    rows += [_row(_focal(row), f"against {row['against']}", row) for row in data.get("panel", [])]
    for row in data.get("best_responses", []):
        rows.append(_row(row["best_response"], f"instead of {_focal(row)}", row))
    about = (
        f"{data['pairing']}; {data['measured']}. Gain: by a fresh learner over the policy trained there, a lower bound "
        "of exploitability."
    )
    return [Table("Evaluation on new seeds", HEADINGS, rows, about, texts=2)] if rows else []


def _focal(row: dict[str, Any]) -> str:
    return f"seat {row['seat']}: {row['focal']}"


def _row(who: str, what: str, row: dict[str, Any]) -> list[str]:
    seen = row.get("quantiles", {})
    cells = [*(("reward", quantile) for quantile in ("q10", "q50", "q90")), ("others", "q50"), ("gain", "q50")]
    return [who, what, *(number(seen.get(name, {}).get(quantile)) for name, quantile in cells)]
