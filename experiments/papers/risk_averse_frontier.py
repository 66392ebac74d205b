"""The frontier of risk-averse populations, as a table and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["draw_frontier", "frontier_lines"]

BASELINE, AVERSE = "#999999", "#D55E00"
Sides = dict[str, dict[str, Any]]


def frontier_lines(own: Sides, out: Sides) -> list[str]:
    """Lines of Markdown: crashes, returns and tails of every method."""
    if not own:
        return []
    lines = ["## Driving: crashes against mean return", ""]
    lines += ["Per 1000 episodes; among the own populations / with held-out ones. Means over seeds.", ""]
    lines += ["| method | crashes | mean return | worst 5 % | overtakes |", "|---|---:|---:|---:|---:|"]
    for name in [*own, *(name for name in out if name not in own)]:
        cells = []
        for key in ("crashes", "return", "tail", "overtakes"):
            both = [f"{np.mean(side[name][key]):.3g}" if name in side else "-" for side in (own, out)]
            cells.append(" / ".join(both))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def draw_frontier(path: Path, own: Sides, out: Sides, baselines: set[str]) -> None:
    """Crashes per 1000 episodes over mean return, one point a method, bars over seeds."""
    from matplotlib.figure import Figure

    panels = {"among the own populations": own} | ({"with held-out populations": out} if out else {})
    figure = Figure(figsize=(6.2 * len(panels), 4.6), layout="constrained")
    for panel, (title, side) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name, data in side.items():
            crashes, returns = np.array(data["crashes"]), np.array(data["return"])
            colour = BASELINE if name in baselines else AVERSE if name in own else "black"
            panel.errorbar(returns.mean(), crashes.mean(), crashes.std(), returns.std(), "o", color=colour,
                           markersize=5, elinewidth=0.7, capsize=0)  # fmt: skip
            panel.annotate(name, (returns.mean(), crashes.mean()), (5, 4), textcoords="offset points", fontsize=7)
        panel.set_title(title, loc="left", fontsize=10)
        panel.set_xlabel("mean return")
        panel.set_ylabel("crashes per 1000 episodes")
        panel.set_yscale("symlog", linthresh=1.0)
        panel.set_ylim(bottom=0)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
