"""Managing risk in multi-agent systems (arXiv 2205.15434): what its claims come to on re-created environments."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from experiments.papers.risk_averse_driving import CRASH, DRIVING, STAY, drive, held_out
from experiments.papers.risk_averse_matrix import MATRIX, matrix, matrix_lines
from experiments.papers.risk_averse_methods import EPISODES, TREMBLE, Effort, slug
from experiments.papers.risk_averse_page import claims, draw_frontier, frontier_lines
from experiments.papers.risk_averse_trust import trust
from experiments.reproduce import Experiment

__all__ = ["SCALES", "experiments", "overview"]

SCALES = ("smoke", "cpu", "full")

INTRODUCTION = """# Risk-averse populations: the claims, measured

`python run.py reproduce risk_averse_psro` computes every number here; one CPU core takes 65 minutes. The paper's
own environments, payoffs and tables are not public, so environments are re-created from what is said of them (see
[conventions](../conventions.md)), and nothing here has a published number to meet, but for the claim of seven times
fewer crashes. γ has the unit 1 / return; with "others" the variance is that which the others' policies cause, with
"episodes" that of all returns, chance included. ε is the least probability of a policy where RAE is solved; mixtures
are deployed without it. "Worst third" and "worst tenth" are what the oracle maximises instead: the mean of that share
of its episodes.
"""


EFFORTS = {
    "smoke": Effort(2, 1, 2, 16, 4, (0.5,)),
    "cpu": Effort(5, 5, 300, 400, 125, (0.5, 1.0, 5.0)),
    "full": Effort(20, 15, 1000, 2000, 500, (0.5, 1.0, 2.0, 5.0)),
}


def experiments(scale: str) -> list[Experiment]:
    """All of them, at the effort of `scale`."""
    effort = EFFORTS[scale]
    found = [
        Experiment(
            f"matrix_{name}",
            f"Matrix games: {name}",
            f"γ is the number in the name over the largest difference of payoffs; everyone plays every action with"
            f" {TREMBLE} at least. Self-play is regret matching from {4 * effort.seeds} random starts, each by itself."
            " Everyone: all concepts equally often. Means over players.",
            1,
            partial(matrix, name, effort),
        )
        for name in MATRIX
    ]
    grown_text = (
        f"{effort.iterations} iterations, responses by PPO of {effort.updates} updates of 128 episodes, entries of"
        f" {effort.entries} episodes, ε = {TREMBLE}. Means over {effort.seeds} seeds, 95 % intervals."
    )
    found += [
        Experiment(
            f"trust_{penalty:g}",
            f"Trust dilemma: a mauling costs {penalty:g}",
            f"`stag_hunt_grid` of 30 steps; {grown_text}",
            effort.seeds,
            partial(trust, penalty, effort),
            resumes=True,
        )
        for penalty in effort.penalties
    ]
    evaluated = f" Evaluated in {effort.draws * EPISODES} episodes a seed."
    found += [
        Experiment(
            f"driving_{slug(name)}",
            f"Driving: {name}",
            f"`driving`, two cars, a crash costs {CRASH:g}; {grown_text}{evaluated}",
            effort.seeds,
            partial(drive, name, effort),
            resumes=True,
        )
        for name in DRIVING
    ]
    text = (
        "Each in seat 0, its populations with those that all methods, the own one too, have grown from another seed;"
        f" {grown_text} Evaluated in {effort.draws * EPISODES} episodes a seed with each method. Seconds are those of"
        " the evaluation."
    )
    found.append(
        Experiment(
            "driving_held_out", "Driving: held-out populations", text, effort.seeds, partial(held_out, effort), True
        )
    )
    return found


def overview(results: dict[str, dict[str, Any]], folder: Path) -> list[str]:
    """Lines of Markdown; draws the frontier of driving into `folder`."""
    own = {data["method"]: data["own"] for data in results.values() if "method" in data}
    out = results.get("driving_held_out", {}).get("held_out", {})
    lines = claims(results, own, out)
    if STAY in out:  # which meets its like alone
        own, out = own | {STAY: out[STAY]}, {name: side for name, side in out.items() if name != STAY}
    lines += matrix_lines([data for data in results.values() if "concepts" in data]) + frontier_lines(own, out)
    if len(own) > 2:
        file = "risk_averse_psro.png"
        draw_frontier(folder / file, own, out)
        lines += ["", f"![Crashes against mean return]({file})"]
    return lines
