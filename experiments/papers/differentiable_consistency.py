"""How far directions are from being replies to themselves (arXiv 2203.04098)."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import envs
from experiments.papers.differentiable_play import (
    exact_value,
)
from experiments.reproduce import Row, factor, shown
from shaping.cola import Cola, inconsistency
from shaping.dynamics import HigherOrderLola

__all__ = ["consistency", "prisoners_consistency"]


def consistency() -> list[Row]:
    """Mean squared inconsistency of LOLA, its higher orders and COLA in the tandem game."""
    table = {  # rate: LOLA, HOLA2, HOLA6: published, exact; COLA published
        1.0: ((128.0, 128.0), (512.0, 512.0), (131072.0, 131072.0), 4.84e-14),
        0.5: ((12.81, 40 / 3), (14.05, 40 / 3), (12.35, 40 / 3), 2.62e-14),
        0.3: ((2.61, 2.541), (2.05, 2.090), (0.66, 0.5915), 4.09e-14),
        0.1: ((0.08, 0.07875), (9.13e-3, 9.170e-3), (1.62e-6, 1.783e-6), 6.55e-14),
        0.01: ((1.41e-5, 1.395e-5), (2.10e-8, 2.015e-8), (3.69e-14, 1.1e-19), 8.58e-14),
    }
    rows = []
    nodes, weights = np.polynomial.legendre.leggauss(3)  # exact for the quadratic integrand
    with jax.enable_x64(True):
        env = envs.make("tandem")
        points = jnp.array([[[[x]], [[y]]] for x in nodes for y in nodes])
        mass = np.outer(weights, weights).ravel() / 4
        value = partial(exact_value, env)
        for rate, (*orders, cola) in table.items():
            for order, (published, closed) in zip((1, 2, 6), orders, strict=True):
                found = float(mass @ _order(value, points, rate, order)[0])
                what = f"HOLA{order}, rate {rate:g}" if order > 1 else f"LOLA, rate {rate:g}"
                if order == 6 and rate == 0.01:
                    rows.append(factor(f"{what} (published: rounding of float32)", closed, found, 1.1))
                    continue
                rows.append(factor(f"{what}, published", published, found, 1.15))
                rows.append(factor(f"{what}, closed form", closed, found, 1.002))
            rule = Cola(rate, 1.0, 8, 1, "relu", 60000, 8, 0.1, 500)
            learned = jax.jit(lambda key, rule=rule: rule.fit(value, (points[0],), key))(jax.random.key(0))
            every = partial(rule.every, learned)
            found = mass @ jax.vmap(lambda p, e=every, r=rate: inconsistency(r, value, (p,), e))(points)
            most = 1e-7 if rate > 0.01 else 1e-9
            rows.append(Row(f"COLA, rate {rate:g}", cola, float(found), f"≤ {most:g}", bool(found <= most)))
    return rows


def prisoners_consistency() -> list[Row]:
    """Mean squared inconsistency in the iterated prisoner's dilemma, table 3a of COLA."""
    published = {1.0: (39.56, 21.16, 0.65), 0.03: (1.72e-3, 4.72e-6, 0.33)}
    cosines = {(1.0, 1): 0.77, (1.0, 2): 0.70, (0.03, 1): 0.96, (0.03, 2): 0.98}
    env, rows = envs.make("ipd2"), []
    value = partial(exact_value, env)
    points = jax.random.uniform(jax.random.key(1), (2000, 2, 5, 1), minval=-7.0, maxval=7.0)
    for rate, (lola, second, cola) in published.items():
        rule = Cola(rate, fitting_steps=20000)
        learned = jax.jit(lambda key, rule=rule: rule.fit(value, (points[0],), key))(jax.random.key(0))
        every = partial(rule.every, learned)
        spread = jax.lax.map(lambda p, e=every, r=rate: inconsistency(r, value, (p,), e), points, batch_size=50)
        said = jax.vmap(lambda p, e=every: e((p,))[0])(points)
        for order, number in ((1, lola), (2, second)):
            inconsistent, direction = _order(value, points, rate, order)
            name = "LOLA" if order == 1 else f"HOLA{order}"
            rows.append(shown(f"{name}, rate {rate:g}", inconsistent.mean(), number))
            rows.append(
                shown(f"cosine of COLA and {name}, rate {rate:g}", _cosine(said, direction), cosines[rate, order])
            )
        rows.append(shown(f"COLA, rate {rate:g}", float(spread.mean()), cola))
    return rows


def _order(value: Any, points: Any, rate: float, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance of higher-order LOLA from the next order, and itself, at each of `points` `[K, n, O, L]`."""

    def at(params: Any) -> Any:
        of_order = partial(HigherOrderLola(rate).of_order, value, (params,), jax.random.key(0))
        (low,), (high,) = of_order(order), of_order(order + 1)
        return ((low - high) ** 2).sum(), low

    return jax.tree.map(np.asarray, jax.jit(lambda points: jax.lax.map(at, points, batch_size=20))(points))


def _cosine(left: Any, right: Any) -> float:
    left, right = (np.asarray(side).reshape(len(side), -1) for side in (left, right))
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(((left * right).sum(axis=1) / lengths).mean())
