"""Shaping as the number of players grows, and against other rivals than those of training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import shaping
from experiments.evaluate import trials
from experiments.papers.training import CONFIGS, trained
from experiments.reproduce import Experiment, Measured, shown
from experiments.tables import QUANTILES
from experiments.trained import Trained
from shaping import Learner, Match

__all__ = ["SCALES", "experiments", "overview"]

SCALES = ("smoke", "cpu", "full")
PLAYERS = {"smoke": (2, 3), "cpu": tuple(range(2, 11)), "full": tuple(range(2, 11))}
SETS = {"smoke": 2, "cpu": 16, "full": 32}
RIVALS = {"naive": "tabular", "ppo": "ppo_gru", "lola": "lola_dice", "shapers": "shaper"}
"""Of a shaper among three players."""
CONTROLS = ("always_defect", "always_cooperate", "uniform", "tit_for_tat")
BASELINE = "naive"
END = 0.1  # share of a trial, its last, over which end values are means
COLOURS = {"shaper": "#0072B2", "always_defect": "#999999", "tit_for_tat": "#009E73", BASELINE: "#D55E00"}

INTRODUCTION = """# Shaping among many players, and rivals unlike those of training

`python run.py reproduce many_players` computes every number on this page. The game is the n-player prisoner's dilemma
in which everybody counts defectors: all C pays 2 (n - 1) a step, all D pays 1, and whoever defects gets 1 more than who
co-operates. One shaper, evolved, sits among learners with a memory-one table; trials of 50 episodes of 100 steps.
"""


def strength(players: int, scale: str, directory: Path) -> Measured:
    """One shaper among n - 1 naive learners, and controls in its seat."""
    run = _trained(directory, scale, players=players, learners=f"shaper,tabular*{players - 1}")
    rival, found, rows = run.learner(1), {"shaper": run.learner(0)}, []
    found |= {name: shaping.make(name) for name in CONTROLS} | {BASELINE: rival}
    ends = {}
    for who, learner in found.items():
        rewards = _met(run, [learner] + [rival] * (players - 1), scale)
        ends[who] = {}
        for span, part in (("trial", rewards), ("end", rewards[:, -max(1, int(END * rewards.shape[1])) :])):
            ends[who][span] = _sides(part.mean(axis=1))
            own, others, welfare = (_text(ends[who][span][side]) for side in ("own", "others", "welfare"))
            what = "whole trial" if span == "trial" else "its end"
            rows.append(shown(f"{who}, {what}: own / others / welfare", f"{own} / {others} / {welfare}"))
    return Measured(rows, {"players": players, "ends": ends})


def transfer(kind: str, scale: str, directory: Path) -> Measured:
    """A shaper trained against one kind of rival, among three players, evaluated against all kinds."""
    runs = {name: _against(name, scale, directory.parent / f"transfer_{name}") for name in RIVALS}
    own, ends, rows = runs[kind].learner(0), {}, []
    for name, learner in RIVALS.items():
        others = [runs[name].learner(1), runs[name].learner(2)]
        found = _sides(_met(runs[name], [own, *others], scale).mean(axis=1))
        ends[name] = found
        label = "shapers trained together" if learner == "shaper" else learner
        rows.append(shown(f"against {label}: own / others", f"{_text(found['own'])} / {_text(found['others'])}"))
    return Measured(rows, {"kind": kind, "against": ends})


def _against(kind: str, scale: str, directory: Path) -> Trained:
    learners = "shaper*3" if kind == "shapers" else f"shaper,{RIVALS[kind]}*2"
    return _trained(directory, scale, players=3, learners=learners)


def _trained(directory: Path, scale: str, **flags: Any) -> Trained:
    names = ["cpu"] if scale == "cpu" else ["cpu", scale]
    return trained([CONFIGS / "many_players" / f"{name}.yaml" for name in names], directory / "run", **flags)


def _met(run: Trained, learners: Sequence[Learner], scale: str) -> np.ndarray:
    """Rewards per step `[S, M, n]` in trials as long as those of training."""
    match = Match.of(run.match.env, learners, batch=run.match.batch, episodes=run.match.episodes)
    return trials(match, range(SETS[scale]))


def _sides(seats: np.ndarray) -> dict[str, list[float]]:
    """Quantiles over sets of the reward in seat 0, of the mean of the others, and of welfare, of `[S, n]`."""
    sides = {"own": seats[:, 0], "others": seats[:, 1:].mean(axis=1), "welfare": seats.mean(axis=1)}
    return {side: np.quantile(values, QUANTILES).round(4).tolist() for side, values in sides.items()}


def _text(quantiles: list[float]) -> str:
    return f"{quantiles[1]:.2f} ({quantiles[0]:.2f}, {quantiles[2]:.2f})"


def overview(results: dict[str, dict[str, Any]], folder: Path) -> list[str]:
    """Lines of Markdown; draws a figure into `folder`."""
    lines: list[str] = []
    found = sorted((data for data in results.values() if "players" in data), key=lambda data: data["players"])
    if found:
        lines += ["## Strength over the number of players", "", "Medians over whole trials.", ""]
        lines += ["| n | shaper | gain over all-D | over tit-for-tat | others | welfare | naive welfare |"]
        lines += ["|---:|---:|---:|---:|---:|---:|---:|"]
        lines += [_line(data) for data in found]
        file = "many_players.png"
        _draw(found, folder / file)
        lines += ["", f"![Strength of shaping over the number of players]({file})"]
    others = [data for data in results.values() if "kind" in data]
    if others:
        lines += ["", "## Rivals unlike those of training", ""]
        lines += ["Three players; reward of the shaper / of its rivals, medians over whole trials.", ""]
        lines += ["| trained against | " + " | ".join(f"meets {name}" for name in RIVALS) + " |"]
        lines += ["|---" * (1 + len(RIVALS)) + "|"]
        for data in others:
            cells = [f"{end['own'][1]:.2f} / {end['others'][1]:.2f}" for end in data["against"].values()]
            lines.append(f"| {data['kind']} | {' | '.join(cells)} |")
    return lines


def _line(data: dict[str, Any]) -> str:
    trial = {who: end["trial"] for who, end in data["ends"].items()}
    own = {who: sides["own"][1] for who, sides in trial.items()}
    shaper = trial["shaper"]
    cells = [own["shaper"], own["shaper"] - own["always_defect"], own["shaper"] - own["tit_for_tat"]]
    cells += [shaper["others"][1], shaper["welfare"][1], trial[BASELINE]["welfare"][1]]
    return f"| {data['players']} | {' | '.join(f'{cell:.2f}' for cell in cells)} |"


def _draw(found: list[dict[str, Any]], path: Path) -> None:
    """Own reward, others' reward and welfare over n, each as a share of the way from all D to all C."""
    from matplotlib.figure import Figure

    players = np.array([data["players"] for data in found])
    best = 2.0 * (players - 1)
    figure = Figure(figsize=(10.5, 3.8), layout="constrained")
    titles = {"own": "in the shaper's seat", "others": "of the others", "welfare": "of all: welfare"}
    panels = figure.subplots(1, 3, sharey=True)
    for panel, (side, title) in zip(panels, titles.items(), strict=True):
        for who, colour in COLOURS.items():
            rewards = np.array([data["ends"][who]["trial"][side] for data in found]).T
            low, middle, high = (rewards - 1) / (best - 1)
            panel.errorbar(players, middle, (middle - low, high - middle), color=colour, marker="o", markersize=4,
                           capsize=3, linewidth=1.4, label=f"{who} in seat 0")  # fmt: skip
        panel.axhline(0, color="black", linewidth=0.8, linestyle=":")
        panel.axhline(1, color="black", linewidth=0.8, linestyle=":")
        panel.set_title(f"reward {title}", loc="left", fontsize=10)
        panel.set_xlabel("number of players")
        panel.set_xticks(players)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("0: all defect, 1: all co-operate")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(path, dpi=130)


def experiments(scale: str) -> list[Experiment]:
    """All of them, at the effort of `scale`."""
    budget = {
        "smoke": "2 generations of 2 candidates",
        "cpu": "100 generations of 64 candidates against 2 sets of rivals, 2 seeds",
        "full": "1000 generations of 256 candidates against 10 sets of rivals in trials of 100 episodes, 10 seeds",
    }[scale]
    text = (
        f"Trained with {budget} (configs/papers/many_players); evaluated in {SETS[scale]} trials among fresh rivals:"
        " medians (10 %, 90 % quantile)."
    )
    return [
        Experiment(
            f"strength_{n}", f"One shaper among {n} players", text, SETS[scale], partial(strength, n, scale), True
        )
        for n in PLAYERS[scale]
    ] + [
        Experiment(
            f"transfer_{kind}", f"Trained against {kind}", text, SETS[scale], partial(transfer, kind, scale), True
        )
        for kind in RIVALS
    ]
