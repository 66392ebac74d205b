"""What the numbers say of the claims of arXiv 2205.15434, and the frontier of drivers as a table and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments.papers.risk_averse_driving import STAY, Sides, fewer
from experiments.papers.risk_averse_methods import BASELINES

__all__ = ["claims", "draw_frontier", "frontier_lines"]

BASELINE, AVERSE = "#999999", "#D55E00"


def claims(results: dict[str, dict[str, Any]], own: Sides, out: Sides) -> list[str]:
    """Lines of Markdown: what the numbers say of each claim."""
    lines = []
    if games := [data for data in results.values() if "concepts" in data]:
        lines.append(f"1. **Averse play varies less in games with outcomes of high risk.** {_varies(games)}")
    if dilemmas := [data for data in results.values() if "shares" in data]:
        text = " ".join(_hunts(data) for data in dilemmas)
        lines.append(f"2. **In a dilemma of trust averse populations turn to what is safe.** {text}")
    if STAY in out:
        where = {"among their own populations": own, "with held-out ones": out}
        text = " ".join(_crashes(whom, side, out[STAY]) for whom, side in where.items() if set(BASELINES) <= set(side))
        lines.append(
            f"3. **Averse drivers crash at least 7 times less than the best baseline, for as much return.** {text}"
        )
    return ["## The claims", "", *lines, ""] if lines else []


def _varies(games: list[dict[str, Any]]) -> str:
    said = []
    for data in games:
        deviation = {who: found["everyone"][1] for who, found in data["concepts"].items()}
        averse = min(value for who, value in deviation.items() if who.startswith("RAE"))
        others = {who: value for who, value in deviation.items() if not who.startswith(("RAE", "risk-averse"))}
        least = min(others, key=lambda who: others[who])
        nash, best = (f"{deviation[who]:.3g}" for who in ("Nash", "Nash, highest sum"))
        said.append(f"{data['game']} {averse:.3g} (Nash {nash}, {best}; least of others {others[least]:.3g}, {least})")
    text = "Deviation of payoffs when everyone meets everyone, RAE of the best γ (Nash, Nash of the highest sum"
    return f"{text}; who deviates least without aversion): {'; '.join(said)}."


def _hunts(data: dict[str, Any]) -> str:
    share = {who: float(np.mean(values)) for who, values in data["shares"].items()}
    said = ", ".join(f"{who} {value:.2g}" for who, value in share.items())
    text = f"A mauling costs {data['penalty']:g}; by script, hunting is no equilibrium above γ = {data['gamma']:.2g}."
    return f"{text} Share of stags in what was caught or gathered: {said}."


def _crashes(whom: str, side: Sides, control: dict[str, list[float]]) -> str:
    said = [
        f"{name}: {here:.3g} crashes per 1000 episodes against {there:.3g} ({rival})"
        for name, rival, here, there in fewer(side, control)
        if rival
    ]
    return f"{whom.capitalize()}: {'; '.join(said) or 'every baseline earns more'}."


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
