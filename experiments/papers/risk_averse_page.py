"""What the numbers say of the claims of arXiv 2205.15434, and the frontier of drivers as a table and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments.papers.risk_averse_driving import STAY, TEMPERATURE, Sides, fewer
from experiments.papers.risk_averse_matrix import BEST
from experiments.papers.risk_averse_methods import BASELINES, interval

__all__ = ["claims", "draw_frontier", "frontier_lines"]

BASELINE, AVERSE = "#777777", "#D55E00"


def claims(results: dict[str, dict[str, Any]], own: Sides, out: Sides) -> list[str]:
    """Lines of Markdown: what the numbers say of each claim."""
    lines = []
    if games := [data for data in results.values() if "concepts" in data]:
        lines.append(f"1. Claimed: *averse play varies less in games with outcomes of high risk.* {_varies(games)}")
    if dilemmas := [data for data in results.values() if "shares" in data]:
        text = " ".join(_hunts(data) for data in dilemmas)
        lines.append(f"2. Claimed: *in a dilemma of trust averse populations turn to what is safe.* {text}")
    if STAY in out:
        lines.append("3. Claimed: *averse drivers crash 7 times less than the best baseline, for as much return.*")
        for whom, side in {"among their own populations": own, "with held-out ones": out}.items():
            if set(BASELINES) <= set(side):
                lines += _crashes(whom, side, out[STAY])
    return ["## The claims", "", *lines, ""] if lines else []


def _varies(games: list[dict[str, Any]]) -> str:
    said = []
    for data in games:
        deviation = {who: found["everyone"][1] for who, found in data["concepts"].items()}
        averse = min(value for who, value in deviation.items() if who.startswith("RAE"))
        others = {who: value for who, value in deviation.items() if not who.startswith(("RAE", "risk-averse"))}
        least = min(others, key=lambda who: others[who])
        nash = ", ".join(f"{deviation[who]:.3g}" for who in ("Nash", BEST) if who in deviation)
        said.append(f"{data['game']} {averse:.3g} (Nash {nash}; least of others {others[least]:.3g}, {least})")
    text = "Deviation of payoffs when everyone meets everyone, RAE of the best γ (Nash, and that of the highest sum"
    return f"{text} where there are several; who deviates least without aversion): {'; '.join(said)}."


def _hunts(data: dict[str, Any]) -> str:
    share = {who: float(np.mean(values)) for who, values in data["shares"].items()}
    said = ", ".join(f"{who} {value:.2g}" for who, value in share.items())
    text = f"A mauling costs {data['penalty']:g}; by script, hunting is no equilibrium above γ = {data['gamma']:.2g}."
    return f"{text} Share of stags in what was caught or gathered: {said}."


def _crashes(whom: str, side: Sides, control: dict[str, list[float]]) -> list[str]:
    """Of every averse method, with intervals over seeds, and whether its mean is a seventh of the baseline's."""
    crashes = {name: interval(np.array(data["crashes"])) for name, data in side.items()}
    lines = [f"    * {whom}, crashes per 1000 episodes against the best baseline that earns no less:"]
    for name, rival, here, there in fewer(side, control):
        fulfilled = "yes" if 0 < there >= 7 * here else "no"
        text = f"against {crashes[rival]} ({rival}): {fulfilled}" if rival else "(every baseline earns less)"
        lines.append(f"        * {name}: {crashes[name]} {text}")
    return lines


def frontier_lines(own: Sides, out: Sides) -> list[str]:
    """Lines of Markdown: crashes, returns and tails of every method."""
    if not own:
        return []
    text = "Crashes per 1000 episodes, the rest an episode; among the own populations / with held-out ones."
    text += f" Means over seeds. Policies explore as they learned to; at temperature {TEMPERATURE:g} they hardly do."
    lines = ["## Driving: crashes against mean return", "", text, ""]
    lines += [f"| method | crashes | at temperature {TEMPERATURE:g} | mean return | worst 5 % | overtakes |"]
    lines += ["|---|---:|---:|---:|---:|---:|"]
    for name in [*own, *(name for name in out if name not in own)]:
        cells = []
        for key in ("crashes", "sharp", "return", "tail", "overtakes"):
            both = [f"{np.mean(side[name][key]):.3g}" if name in side else "-" for side in (own, out)]
            cells.append(" / ".join(both))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def draw_frontier(path: Path, own: Sides, out: Sides) -> None:
    """Crashes per 1000 episodes over mean return: a numbered point a method, bars the deviation over seeds."""
    from matplotlib.figure import Figure

    panels = {"among the own populations": own} | ({"with held-out populations": out} if out else {})
    figure = Figure(figsize=(5.0 * len(panels) + 2.6, 4.6), layout="constrained")
    handles = {}
    for panel, (title, side) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for number, name in enumerate(dict.fromkeys([*own, *out]), 1):
            if name not in side:
                continue
            crashes, returns = np.array(side[name]["crashes"]), np.array(side[name]["return"])
            colour = BASELINE if name in BASELINES else "black" if name == STAY else AVERSE
            point = returns.mean(), crashes.mean()
            panel.errorbar(*point, crashes.std(), returns.std(), color=colour, elinewidth=0.6, alpha=0.5)
            handles[f"{number}  {name}"] = panel.plot(
                *point, "o", color=colour, markersize=11, markeredgecolor="white", clip_on=False
            )[0]
            panel.annotate(str(number), point, ha="center", va="center", fontsize=6.5, color="white")
        panel.set_title(title, loc="left", fontsize=10)
        panel.set_xlabel("mean return")
        panel.set_ylabel("crashes per 1000 episodes")
        panel.set_yscale("symlog", linthresh=1.0)
        panel.set_ylim(bottom=0)
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=7, frameon=False)
    figure.savefig(path, dpi=130)
