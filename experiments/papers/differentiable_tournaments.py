"""Tournaments of learners some of which learn before play: M-FOS's tables and meta-value learning's."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np

import envs
from experiments.papers.differentiable_play import (
    drawn_of,
    exact,
    fitted,
    play,
    seat_fitted,
)
from experiments.reproduce import Row, near
from shaping import Lola, Naive
from shaping.maml import Maml
from shaping.meta_value import MetaValue

__all__ = ["MEVA_ROUNDS", "meta_game_cells", "meta_value"]

MEVA_ROUNDS = 300
MAML_STARTS = {"ipd2": 10, "chicken": 40}


def meta_game_cells() -> list[Row]:
    """Naive, LOLA, static and M-MAML cells of the tables of M-FOS: means over 100 updates."""
    published = {  # of the first against the second, and of the second against the first
        "ipd2": {
            ("static", "static"): (-1.495, -1.495),
            ("static", "naive"): (-2.45, -0.99),
            ("static", "lola"): (-1.738, -1.362),
            ("static", "maml"): (-2.245, -1.118),
            ("naive", "naive"): (-1.983, -1.983),
            ("naive", "lola"): (-1.525, -1.302),
            ("naive", "maml"): (-1.275, -1.253),
            ("lola", "lola"): (-1.096, -1.096),
            ("lola", "maml"): (-1.042, -1.151),
            ("maml", "maml"): (-1.174, -1.174),
        },
        "chicken": {
            ("static", "static"): (-25.1, -25.1),
            ("static", "naive"): (0.49, -0.515),
            ("static", "lola"): (-48.6, -47.8),
            ("static", "maml"): (0.33, -0.66),
            ("naive", "naive"): (-0.002, -0.002),
            ("naive", "lola"): (-0.98, 0.95),
            ("naive", "maml"): (-0.265, 0.27),
            ("lola", "lola"): (-86.97, -86.97),
            ("lola", "maml"): (0.400, -0.42),
            ("maml", "maml"): (-0.150, -0.150),
        },
    }
    rows = []
    for game, cells in published.items():
        env = envs.make(game)
        learners = {
            "static": exact(Naive(), 0.0),
            "naive": exact(Naive()),
            "lola": exact(Lola(expansion="taylor")),
            "maml": exact(Maml(fitting_steps=0)),
        }
        count = MAML_STARTS[game]
        learned = {"maml": fitted(env, Maml(), count)}
        start_of = np.array([drawn_of(jax.random.key(seed), count) for seed in range(2048)])
        for names, numbers in cells.items():
            prepare = partial(seat_fitted, learned, {"maml": Maml()}, names)
            _, rewards = play(env, [learners[n] for n in names], 100, 2048, prepare)
            means = rewards[:, 1:].mean(axis=1)  # [S, n]
            spread = np.std([means[start_of == start].mean(axis=0) for start in range(count)], axis=0, ddof=1)
            for seat in (0, 1) if names[0] != names[1] else (0,):
                tolerance = _tolerance(game, numbers[seat])
                if "maml" in names:  # published for ten starts
                    tolerance = max(0.05, tolerance, 3 * float(spread[seat]) * (1 / count + 1 / 10) ** 0.5)
                what = f"{game}: {names[seat]} against {names[1 - seat]}"
                rows.append(near(what, numbers[seat], means[:, seat].mean(), tolerance))
    return rows


def _tolerance(game: str, published: float) -> float:
    if game == "chicken":
        return max(0.1, 0.1 * abs(published) if published < -20 else 0.0)
    return 0.02


def meta_value() -> list[Row]:
    """The tournament of meta-value learning in the prisoner's dilemma: rewards after 300 steps."""
    published = {
        ("naive", "naive"): (-1.988, None), ("naive", "lola"): (-1.377, -1.357), ("naive", "maml"): (-1.524, -1.398),
        ("lola", "lola"): (-1.041, None), ("lola", "maml"): (-0.974, -1.290), ("maml", "maml"): (-1.224, None),
        ("meva", "naive"): (-0.551, -1.999), ("meva", "lola"): (-1.145, -1.032), ("meva", "maml"): (-0.534, -1.993),
        ("meva", "meva"): (-1.052, None),
    }  # fmt: skip
    errors = {  # published standard errors of the first of the two
        ("naive", "naive"): 0.003,
        ("naive", "lola"): 0.015,
        ("naive", "maml"): 0.017,
        ("lola", "lola"): 0.005,
        ("meva", "naive"): 0.002,
        ("meva", "lola"): 0.003,
        ("meva", "maml"): 0.002,
        ("meva", "meva"): 0.003,
    }
    env, rows = envs.make("ipd2"), []
    maml = Maml(learn_rate=True, fitting_horizon=300, fitting_steps=300, fitting_rate=0.1)
    starts = fitted(env, maml, 4)
    critics = {}
    for rival in ("self", "naive", "lola"):
        rule = MetaValue(rivals=rival, equivariant=rival == "self", fitting_rounds=MEVA_ROUNDS)
        critics[rival] = rule, fitted(env, rule, 1, seed=1)
    for names, numbers in published.items():
        met = {"meva": "self", "lola": "lola"}.get(names[1], "naive")  # the critic trained against naive meets maml
        rules = {
            "naive": Naive(),
            "lola": Lola(expansion="taylor", terms="shaping"),
            "maml": maml.replace(fitting_steps=0),
            "meva": critics[met][0].replace(fitting_rounds=0),
        }
        learned = {"maml": starts, "meva": critics[met][1]}
        prepare = partial(seat_fitted, learned, rules, names)
        _, rewards = play(env, [exact(rules[name]) for name in names], 300, 1024, prepare)
        last = rewards[:, -1]
        for seat, number in enumerate(numbers):
            if number is None:
                continue
            own = last[:, seat] if names[0] != names[1] else last.mean(axis=1)
            error = 3 * float(np.hypot(errors.get(names, 0.0), own.std() / 1024**0.5))
            known = seat == 0 and names in errors  # of the other cells no error is published
            tolerance = max(error, 0.02) if known else 0.05
            rows.append(near(f"{names[seat]} against {names[1 - seat]}", number, own.mean(), tolerance))
    return rows
