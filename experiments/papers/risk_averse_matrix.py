"""Risk of solution concepts in matrix games, among themselves and against each other's play."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import equilibria
from experiments.papers.risk_averse_methods import TREMBLE, Effort
from experiments.reproduce import Measured, shown

__all__ = ["MATRIX", "matrix"]

MATRIX = ("stag_hunt", "trust_dilemma", "high_risk", "selten_chmura_7", "chicken")
CONCEPTS: dict[str, tuple[str, dict[str, Any]]] = {
    "Nash": ("nash", {}),
    "quantal response": ("qre", {}),
    "trembling hand": ("trembling_hand", {}),
    "risk-averse quantal": ("rqe", {}),
    "maximin": ("security", {}),
    "RAE": ("rae", {"tremble": TREMBLE}),
}


def matrix(name: str, effort: Effort) -> Measured:
    """Risk of solution concepts among themselves, and against each other's play, in one game."""
    game = equilibria.load(name)
    scale = float(game.scale())
    profiles = {}
    for label, (solver, options) in CONCEPTS.items():
        chosen: dict[str, Any] = options | ({"risk": 5.0 / scale} if solver in ("rae", "rqe") else {})
        profiles[label] = [np.asarray(equilibria.solve(name, solver, **chosen).profile, np.float64)]
    profiles["self-play"] = [
        np.asarray(equilibria.solve(name, "regret_matching", key=jax.random.key(seed), steps=3200).profile, np.float64)
        for seed in range(4 * effort.seeds)
    ]
    rows, data = [], {}
    for label, runs in profiles.items():
        others = [profile for who, found in profiles.items() if who != label for profile in found]
        among = np.mean([_moments(game, own, [own]) for own in runs], axis=0).tolist()
        out = np.mean([_moments(game, own, others) for own in runs], axis=0).tolist()
        data[label] = {"own": among, "held_out": out}
        rows.append(shown(f"{label}, with its like: mean / deviation / worst", " / ".join(f"{x:.3g}" for x in among)))
        rows.append(shown(f"{label}, with the others: mean / deviation / worst", " / ".join(f"{x:.3g}" for x in out)))
    least = min(data, key=lambda label: data[label]["held_out"][1])
    rows.append(shown("least deviation with the others", least))
    return Measured(rows, {"game": name, "concepts": data})


def _moments(game: Any, own: np.ndarray, others: list[np.ndarray]) -> list[float]:
    """Mean and deviation of payoffs, all chance included, and the least that may happen; means over players."""
    found = []
    for player in range(game.num_players):
        means, squares, worst = [], [], []
        for other in others:
            profile = np.array(other)
            profile[player] = own[player]
            joint = np.asarray(game.joint(jnp.asarray(profile, jnp.float32)))
            payoffs = np.asarray(game.payoffs[player])
            means.append((joint * payoffs).sum())
            squares.append((joint * payoffs**2).sum())
            worst.append(payoffs[joint > 1e-6].min())
        mean = float(np.mean(means))
        found.append((mean, float(np.sqrt(max(np.mean(squares) - mean**2, 0.0))), float(min(worst))))
    return np.mean(found, axis=0).tolist()
