"""Risk of solution concepts in matrix games, with their like and with everyone."""

from __future__ import annotations

from functools import reduce
from typing import Any

import jax
import numpy as np

import equilibria
from equilibria import NormalForm
from experiments.papers.risk_averse_methods import TREMBLE, Effort
from experiments.reproduce import Measured, Row, shown

__all__ = ["BEST", "MATRIX", "matrix", "matrix_lines"]

MATRIX = ("stag_hunt", "trust_dilemma", "high_risk", "selten_chmura_7", "chicken")
CONCEPTS: dict[str, tuple[str, dict[str, Any]]] = {
    "Nash": ("nash", {}),
    "quantal response": ("qre", {}),
    "trembling hand": ("trembling_hand", {}),
    "maximin": ("security", {}),
}
AVERSE = {f"{name} {gamma:g}": (solver, gamma) for name, solver in {"risk-averse quantal": "rqe", "RAE": "rae"}.items()
          for gamma in (1.0, 5.0, 20.0)}  # fmt: skip
BEST = "Nash, highest sum"
"""Where equilibria differ in it."""
LEVEL = 0.05
MOMENTS = ("mean", "deviation", "worst 5 %")


def matrix(name: str, effort: Effort) -> Measured:
    """Risk of solution concepts, with their like and with everyone, in one game; all of them tremble."""
    game = equilibria.load(name)
    plays = {label: [_trembling(own) for own in found] for label, found in _profiles(game, name, effort).items()}
    everyone = [(1 / len(found), profile) for found in plays.values() for profile in found]
    rows: list[Row] = []
    data: dict[str, dict[str, list[float]]] = {}
    for label, runs in plays.items():
        data[label] = {
            "own": np.mean([_moments(game, own, [(1.0, own)]) for own in runs], axis=0).tolist(),
            "everyone": np.mean([_moments(game, own, everyone) for own in runs], axis=0).tolist(),
        }
        for whom, words in (("own", "its like"), ("everyone", "everyone")):
            text = f"{label}, with {words}: {' / '.join(MOMENTS)}"
            rows.append(shown(text, " / ".join(f"{x:.3g}" for x in data[label][whom])))
    return Measured(rows, {"game": name, "concepts": data})


def _profiles(game: NormalForm, name: str, effort: Effort) -> dict[str, list[np.ndarray]]:
    """Of every concept, `[n, A]`; several of self-play."""
    solve = lambda solver, **options: np.asarray(  # noqa: E731
        equilibria.solve(name, solver, **options).profile, np.float64
    )
    found = {label: [solve(solver, **options)] for label, (solver, options) in CONCEPTS.items()}
    everything = equilibria.solve(name, "nash", all=True)
    sums = [float(np.sum(own.value)) for own in everything]
    if np.ptp(sums) > 1e-6 * float(game.scale()):
        found[BEST] = [np.asarray(everything[int(np.argmax(sums))].profile, np.float64)]
    for label, (solver, gamma) in AVERSE.items():
        options = {"tremble": TREMBLE} if solver == "rae" else {}
        found[label] = [solve(solver, risk=gamma / float(game.scale()), **options)]
    found["self-play"] = [
        solve("regret_matching", key=jax.random.key(seed), steps=3200) for seed in range(4 * effort.seeds)
    ]
    return found


def _trembling(profile: np.ndarray) -> np.ndarray:
    """With as much uniform play mixed in as leaves no action less than ε."""
    count = profile.shape[1]
    least = profile.min(axis=1, keepdims=True)
    share = np.clip((TREMBLE - least) / (1 / count - least + 1e-12), 0.0, 1.0)
    return (1 - share) * profile + share / count


def _moments(game: NormalForm, own: np.ndarray, others: list[tuple[float, np.ndarray]]) -> list[float]:
    """Of payoffs, all chance included, against `others` by weight: `MOMENTS`, means over players."""
    found = []
    for player, payoffs in enumerate(np.asarray(game.payoffs, np.float64)):
        chance = np.zeros_like(payoffs)
        for weight, other in others:
            profile = [own[i] if i == player else other[i] for i in range(len(own))]
            chance += weight * reduce(np.multiply.outer, profile)
        order = np.argsort(payoffs, axis=None)
        outcomes, chance = payoffs.ravel()[order], chance.ravel()[order] / chance.sum()
        mean = float(chance @ outcomes)
        below = np.minimum(np.cumsum(chance), LEVEL)
        found.append((mean, np.sqrt(chance @ (outcomes - mean) ** 2), np.diff(below, prepend=0.0) @ outcomes / LEVEL))
    return np.mean(found, axis=0).tolist()


def matrix_lines(results: list[dict[str, Any]]) -> list[str]:
    """Lines of Markdown: all games side by side."""
    if not results:
        return []
    text = f"{' / '.join(MOMENTS)} of payoffs, each concept met equally often, the own one included."
    lines = ["## Matrix games: everyone against everyone", "", text.capitalize(), ""]
    lines += [f"| concept | {' | '.join(own['game'] for own in results)} |", f"|---|{'---:|' * len(results)}"]
    for label in dict.fromkeys(label for own in results for label in own["concepts"]):
        found = (own["concepts"].get(label, {}).get("everyone", []) for own in results)
        cells = (" / ".join(f"{x:.3g}" for x in moments) or "-" for moments in found)
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return [*lines, ""]
