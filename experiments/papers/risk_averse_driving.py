"""Crashes of risk-averse and other drivers, among their own and with held-out populations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

import envs
import shaping
from envs import Environment
from equilibria.risk import ConditionalValueAtRisk
from experiments.papers.risk_averse_methods import (
    BASELINES,
    EPISODES,
    Effort,
    averse,
    deployed,
    grown,
    interval,
    met,
    sharpened,
    slug,
    tail,
)
from experiments.reproduce import Measured, Row, shown
from shaping import Match

__all__ = ["CRASH", "DRIVING", "STAY", "TEMPERATURE", "Sides", "drive", "fewer", "held_out"]

DRIVING = BASELINES | {
    "RAE 0.1, others": averse(0.1),
    "RAE 1, others": averse(1.0),
    "RAE 0.1, episodes": averse(0.1, "episodes"),
    "RAE 0.3, episodes": averse(0.3, "episodes"),
    "RAE 1, episodes": averse(1.0, "episodes"),
    "averse solver, neutral oracle, 0.3": averse(0.3, "episodes", oracle=False),
    "neutral solver, averse oracle, 0.3": averse(0.3, "episodes", solver=False),
    "RAE 0.1, worst third": replace(averse(0.1, "episodes"), measure=ConditionalValueAtRisk(1 / 3)),
    "RAE 0.1, worst tenth": replace(averse(0.1, "episodes"), measure=ConditionalValueAtRisk(0.1)),
}
STAY = "stays behind (control)"
TEMPERATURE = 0.1
SHARP = f"crashes per 1000 episodes at temperature {TEMPERATURE:g}"
Sides = dict[str, dict[str, list[float]]]
CRASH = 5.0
"""What a crash costs, half of what staying behind earns. At 20, self-play never overtook in as many updates."""


def _road() -> Environment:
    return envs.make("driving", crash_penalty=CRASH)


def drive(name: str, effort: Effort, directory: Path) -> Measured:
    """One method on the road, among its own populations."""
    env, method = _road(), DRIVING[name]
    psro, progress = grown(env, method, effort, directory)
    side = progress.populations, deployed(method, progress)
    found, sharp = (met(psro, env, own, own, effort) for own in (side, _sharp(side)))
    data = _road_data(found) | {"sharp": _crash_rates(sharp)}
    rows = _road_rows("own populations", found)
    rows.append(shown(f"own populations: {SHARP}", interval(np.array(data["sharp"]))))
    return Measured(rows, {"method": name, "own": data})


def _sharp(side: Any) -> Any:
    return sharpened(side[0], TEMPERATURE), side[1]


def _crash_rates(found: dict[str, np.ndarray]) -> list[float]:
    return (1000 * (found["crashed"] > 0).mean(axis=1)).tolist()


def _road_data(found: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Of each seed."""
    returns = found["return"]
    return {
        "crashes": _crash_rates(found),
        "return": returns.mean(axis=1).tolist(),
        "deviation": returns.std(axis=1).tolist(),
        "tail": tail(returns).tolist(),
        "overtakes": found["overtakes"].mean(axis=1).tolist(),
    }


def _road_rows(whom: str, found: dict[str, np.ndarray]) -> list[Row]:
    data = {name: np.array(values) for name, values in _road_data(found).items()}
    words = {
        "crashes": "crashes per 1000 episodes",
        "return": "mean return",
        "deviation": "standard deviation of returns",
        "tail": "mean of the worst 5 % of returns",
        "overtakes": "overtakes an episode",
    }
    return [shown(f"{whom}: {text}", interval(data[name])) for name, text in words.items()]


def held_out(effort: Effort, directory: Path) -> Measured:
    """Every method with the populations of all methods, grown from another seed; and a car that never overtakes."""
    env, sides, last = _road(), {}, None
    for name, method in DRIVING.items():
        psro, progress = grown(env, method, effort, directory.parent / f"driving_{slug(name)}")
        sides[name] = progress.populations, deployed(method, progress)
        last = psro
    assert last is not None, "there are methods"
    rows, data = [], {}
    for name, side in sides.items():
        parts = [met(last, env, side, _of_other_seeds(other), effort) for other in sides.values()]
        sharp = [met(last, env, _sharp(side), _of_other_seeds(_sharp(other)), effort) for other in sides.values()]
        data[name] = _road_data(_together(parts)) | {"sharp": _crash_rates(_together(sharp))}
        worst = max(1000 * float((part["crashed"] > 0).mean()) for part in parts)
        rows.append(shown(f"{name}: crashes per 1000 episodes", interval(np.array(data[name]["crashes"]))))
        rows.append(shown(f"{name}: the same with the populations of the worst method", f"{worst:.3g}"))
        rows.append(shown(f"{name}: {SHARP}", interval(np.array(data[name]["sharp"]))))
        rows.append(shown(f"{name}: mean return", interval(np.array(data[name]["return"]))))
    control = _control(env, effort)
    data[STAY] = control
    rows.append(shown(f"{STAY}, with its like: mean return", interval(np.array(control["return"]))))
    return Measured(rows, {"held_out": data})


def _together(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([part[key] for part in parts], axis=1) for key in parts[0]}


def _of_other_seeds(side: Any) -> Any:
    """The populations and mixtures of the next seed, leaves `[S, ...]`."""
    return jax.tree.map(lambda leaf: np.roll(leaf, -1, axis=0), side)


def _control(env: Environment, effort: Effort) -> dict[str, list[float]]:
    """A car that never overtakes, with its like."""
    stay = shaping.make("always_cooperate")
    match = Match.of(env, [stay] * env.num_players, batch=effort.draws * EPISODES)
    states = shaping.init(match, jax.random.key(0))
    trajectories, info = shaping.episode(match, shaping.policies(match, states), jax.random.key(1))
    returns = np.asarray(trajectories[0].reward.sum(axis=0))[None, :, 0]
    seen = {name: np.asarray(own.sum(axis=0))[None, :, 0] for name, own in info.items()}
    found = {"return": returns} | seen
    return _road_data(found) | {"sharp": _crash_rates(found)}


COMPARABLE = 0.05
"""Mean returns are comparable up to this share of what a car earns that never overtakes."""


def fewer(data: Sides, control: dict[str, list[float]]) -> list[tuple[str, str, float, float]]:
    """Of every averse method the baseline that crashes least of those that earn as much or more, and crashes of both.

    Args:
        data: by method.
        control: of the car that stays behind; a baseline may earn `COMPARABLE` of its return less.

    Returns:
        Method, baseline ("" if all earn less), and their crashes per 1000 episodes.
    """
    mean = {name: {key: float(np.mean(values)) for key, values in own.items()} for name, own in data.items()}
    slack = COMPARABLE * abs(float(np.mean(control["return"])))
    found = []
    for name in (own for own in DRIVING if own not in BASELINES and own in data):
        rivals = [other for other in BASELINES if mean[other]["return"] >= mean[name]["return"] - slack]
        best = min(rivals, key=lambda other: mean[other]["crashes"], default="")
        found.append((name, best, mean[name]["crashes"], mean[best]["crashes"] if best else float("nan")))
    return found
