"""Who hunts and who forages, by what a mauling costs and by the aversion to risk."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

import envs
import equilibria
import shaping
from envs import Environment
from experiments.papers.risk_averse_methods import (
    BASELINES,
    TREMBLE,
    Effort,
    averse,
    deployed,
    grown,
    interval,
    met,
    slug,
)
from experiments.reproduce import Measured, shown
from shaping import Match

__all__ = ["threshold", "trust"]


def _grid(penalty: float) -> Environment:
    return envs.make("stag_hunt_grid", maul_penalty=penalty, horizon=30)


def threshold(env: Environment, draws: int = 2000) -> tuple[np.ndarray, float]:
    """The game of hunting and foraging by script, `[2, 2, 2]`, and the γ above which hunting is no equilibrium."""
    table = np.zeros((2, 2, 2))
    scripts = [shaping.make(name) for name in ("always_cooperate", "always_defect")]
    for i, j in np.ndindex(2, 2):
        match = Match.of(env, [scripts[i], scripts[j]], batch=draws)
        states = shaping.init(match, jax.random.key(0))
        trajectories, _ = shaping.episode(match, shaping.policies(match, states), jax.random.key(1))
        for seat in range(2):
            own = next(t for t, seats in zip(trajectories, match.seats, strict=True) if seat in seats)
            place = next(seats.index(seat) for seats in match.seats if seat in seats)
            table[seat, i, j] = float(own.reward.sum(axis=0)[:, place].mean())

    def hunts(gamma: float) -> bool:
        found = equilibria.solve(table, "rae", all=True, risk=gamma, tremble=TREMBLE)
        return any(own.profile[:, 0].min() > 1 - 1.5 * TREMBLE for own in found)

    low, high = 0.0, 1e-4
    if not hunts(low):
        return table, 0.0
    while hunts(high) and high < 1e4:
        high *= 2
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if hunts(middle) else (low, middle)
    return table, low


def trust(penalty: float, effort: Effort, directory: Path) -> Measured:
    """Who hunts and who forages, by method, below and above the γ of theory."""
    env = _grid(penalty)
    table, gamma = threshold(env)
    rows = [
        shown(
            "by script: hunt with a hunter, with a forager; forage with a hunter, with a forager",
            " / ".join(f"{own:.3g}" for own in table[0].ravel()),
        ),
        shown(f"by script: γ above which hunting is no risk-averse equilibrium (ε = {TREMBLE})", f"{gamma:.3g}"),
    ]
    names = ("self-play", "PSRO (uniform)", "PSRO (Nash)")
    methods = {name: BASELINES[name] for name in names}
    methods |= {"RAE, a third of that γ": averse(gamma / 3), "RAE, three times that γ": averse(3 * gamma)}
    shares = {}
    for name, method in methods.items():
        psro, progress = grown(env, method, effort, directory / slug(name))
        side = progress.populations, deployed(method, progress)
        found = met(psro, env, side, side, effort)
        hunted, foraged = found["hunted"].mean(axis=1), found["foraged"].mean(axis=1)
        share = hunted / np.maximum(hunted + foraged, 1e-9)
        shares[name] = share.tolist()
        rows.append(shown(f"{name}: share of stags", interval(share)))
        rows.append(shown(f"{name}: mean return", interval(found["return"].mean(axis=1))))
        rows.append(shown(f"{name}: maulings an episode", interval(found["mauled"].mean(axis=1))))
    return Measured(rows, {"penalty": penalty, "gamma": gamma, "shares": shares})
