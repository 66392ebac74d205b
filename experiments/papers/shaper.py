"""SHAPER: memory, and averaging over environments, of shapers by evolution (arXiv 2312.12568)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import shaping
from experiments.evaluate import trials
from experiments.papers.training import CONFIGS, trained
from experiments.reproduce import Experiment, Measured, shown
from experiments.tables import QUANTILES
from shaping import Match

__all__ = ["SCALES", "experiments", "overview"]

SCALES = ("smoke", "cpu", "full")
GAMES = {"ipd_tabular": "prisoner's dilemma", "imp_tabular": "matching pennies", "coin_game": "Coin Game"}
VARIANTS = {
    "none": "memory, no averaging",
    "average": "memory, averaged over environments",
    "attention": "memory, attention over environments",
    "memoryless": "no memory",
}
EVALUATED = {"smoke": 2, "cpu": 16, "full": 32}
END = 0.1  # share of a trial, its last, over which end values are means

INTRODUCTION = """# SHAPER: memory and averaging

`python run.py reproduce shaper` trains shapers by evolution against learners, each with one of four ways to remember,
and evaluates them against fresh learners. Rewards are per step. The published results are figures of which no numbers
are at hand, so nothing here has a tolerance; what is compared is what the paper claims: that a memory that outlives
inner episodes shapes, that averaging it over the environments in which a rival learns helps in some games, and that a
policy without memory does less.
"""


def cell(game: str, variant: str, scale: str, directory: Path) -> Measured:
    """One shaper in one game, evaluated among fresh rivals; controls in its seat beside the first variant."""
    run = trained(_configs(game, variant, scale), directory / "run")
    match = run.match
    shaper, rival = run.learner(0), run.learner(1)
    rows, ends = [], {}
    seated: dict[str, Any] = {VARIANTS[variant]: shaper}
    if variant == "none":
        seated |= {name: shaping.make(name) for name in ("always_defect", "always_cooperate", "uniform")}
        seated["one more rival"] = rival
        if game != "coin_game":
            seated["tit_for_tat"] = shaping.make("tit_for_tat")
    for who, learner in seated.items():
        try:
            met = Match.of(match.env, [learner, rival], batch=match.batch, episodes=match.episodes)
        except ValueError:  # no such strategy in this game
            continue
        rewards = trials(met, range(EVALUATED[scale]))
        ends[who] = {}
        for span, part in (("trial", rewards), ("end", rewards[:, -max(1, int(END * match.episodes)) :])):
            quantiles = np.quantile(part.mean(axis=1), QUANTILES, axis=0)  # [3, n]
            ends[who][span] = quantiles.round(4).T.tolist()
            text = " and ".join(f"{middle:.2f} ({low:.2f}, {high:.2f})" for low, middle, high in quantiles.T)
            rows.append(shown(f"{who}: {'whole trial' if span == 'trial' else 'its end'}", text))
    return Measured(rows, {"game": game, "ends": ends})


def _configs(game: str, variant: str, scale: str) -> list[Path]:
    kind = "coin_game" if game == "coin_game" else "tabular"
    names = [game, *([variant] if variant != "none" else []), *([f"{scale}_{kind}"] if scale != "full" else [])]
    return [CONFIGS / "shaper" / f"{name}.yaml" for name in names]


def overview(results: dict[str, dict[str, Any]], _: Path) -> list[str]:
    """Lines of Markdown: who gets what over whole trials."""
    lines = ["## All of them", "", "Rewards of the shaper or control / of its rival, medians over whole trials."]
    for game, title in GAMES.items():
        found: dict[str, Any] = {}
        for data in results.values():
            if data.get("game") == game:
                found |= {who: end["trial"] for who, end in data["ends"].items()}
        if found:
            lines += ["", f"| {title} | own | rival |", "|---|---:|---:|"]
            lines += [f"| {who} | {own[1]:.2f} | {rival[1]:.2f} |" for who, (own, rival) in found.items()]
    return lines


def experiments(scale: str) -> list[Experiment]:
    """All of them, at the effort of `scale`."""
    budget = {
        "smoke": "2 generations of 2 candidates",
        "cpu": "200 generations of 64 candidates against 2 sets of rivals (Coin Game: 150 of 32 in 10 environments and"
        " trials of 100 episodes), 2 seeds",
        "full": "the authors' numbers, 2 seeds",
    }[scale]
    text = (
        f"Trained with {budget} (configs/papers/shaper). Evaluated in {EVALUATED[scale]} trials among fresh rivals:"
        f" medians (10 %, 90 % quantile) of the rewards in seat 0 and seat 1; the end is the last {END:.0%}."
    )
    return [
        Experiment(
            f"{game}_{variant}", f"{title}: {what}", text, EVALUATED[scale], partial(cell, game, variant, scale), True
        )
        for game, title in GAMES.items()
        for variant, what in VARIANTS.items()
    ]
