"""Correlated and coarse correlated equilibria, by linear and convex programs over joint actions."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Key
from scipy.optimize import linprog, minimize
from scipy.sparse import csr_matrix, vstack

from equilibria.game import NormalForm
from equilibria.solution import Solution, certified
from equilibria.solver import Solver

__all__ = ["Correlated", "most_entropy"]


class Correlated(Solver):
    """A correlated equilibrium: nobody gains by answering a recommended action with another.

    Or a coarse one: nobody gains by one action in place of all that may be recommended.

    Source: Aumann 1974; Moulin and Vial 1978; selections: Ortiz, Schapire and Kakade 2007 (entropy), Marris et al.
    2021, arXiv 2106.09435 (Gini).

    Attributes:
        coarse: whether a coarse one is enough.
        objective: which one: most "welfare", most for the worst off ("rawls"), most "entropy", most "gini" impurity
            1 - Σ p², or the "first" that the linear program finds.
        tolerance: of the regret of the best deviation, as a share of the largest difference of payoffs.
    """

    coarse: bool = struct.field(default=False, pytree_node=False)
    objective: Literal["welfare", "rawls", "entropy", "gini", "first"] = struct.field(
        default="welfare", pytree_node=False
    )
    tolerance: float = 1e-6

    starts_anywhere: ClassVar[bool] = False
    on_host: ClassVar[bool] = True

    def means(self, everything: bool = False) -> str:
        """By a linear program, or by the dual of another convex one."""
        return "L-BFGS-B on the dual" if self.objective in ("entropy", "gini") else "a linear program (HiGHS)"

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """The chosen equilibrium; `key` is not used."""
        legal = np.asarray(game.legal()).ravel()
        gains = self._gains(game)[:, legal]
        payoffs = np.asarray(game.payoffs, np.float64).reshape(game.num_players, -1)[:, legal]
        payoffs = payoffs / float(game.scale())
        found = _smooth(gains, self.objective) if self.objective in ("entropy", "gini") else None
        if found is None:
            found = _linear(gains, payoffs, self.objective)
        joint = np.zeros(legal.shape)
        joint[legal] = np.maximum(found, 0.0) / np.maximum(found, 0.0).sum()
        table = jnp.asarray(joint.reshape(game.payoffs.shape[1:]), game.dtype)
        regret = game.coarse_regret(table) if self.coarse else game.correlated_regret(table)
        return certified(game, game.marginals(table), jnp.maximum(regret, 0.0), self.tolerance, 1, table)

    def _gains(self, game: NormalForm) -> csr_matrix:
        """`[constraints, joint actions]`: what each deviation gains where; all are to be 0 or less on average."""
        n, mask = game.num_players, np.asarray(game.mask)
        tables = np.asarray(game.payoffs, np.float64) / float(game.scale())
        rows = []
        for player in range(n):
            own = np.flatnonzero(mask[player])
            if len(own) == 1:
                continue
            for other in own:
                moved = np.take(tables[player], [other], axis=player) - tables[player]
                if self.coarse:
                    rows.append(csr_matrix(moved.reshape(1, -1)))
                    continue
                for told in own[own != other]:
                    only = np.zeros_like(moved)
                    place = (slice(None),) * player + (told,)
                    only[place] = moved[place]
                    rows.append(csr_matrix(only.reshape(1, -1)))
        return csr_matrix(vstack(rows)) if rows else csr_matrix((0, tables[0].size))


def _linear(gains: csr_matrix, payoffs: np.ndarray, objective: str) -> np.ndarray:
    """By HiGHS."""
    constraints, size = _shape(gains)
    if objective == "rawls":  # one variable more: what the worst off gets
        short = np.column_stack([-payoffs, np.ones(len(payoffs))])
        upper = vstack(
            [csr_matrix((gains.data, gains.indices, gains.indptr), (constraints, size + 1)), csr_matrix(short)]
        )
        cost, low = np.append(np.zeros(size), -1.0), [(0, None)] * size + [(None, None)]
        equal = np.append(np.ones(size), 0.0)[None]
    else:
        upper, low, equal = gains, [(0, None)] * size, np.ones((1, size))
        cost = -payoffs.sum(axis=0) if objective == "welfare" else np.zeros(size)
    right = np.zeros(_shape(upper)[0])
    found = linprog(cost, A_ub=upper, b_ub=right, A_eq=equal, b_eq=[1.0], bounds=low, method="highs")
    if found.status != 0:
        raise RuntimeError(f"linear program: {found.message}")
    return found.x[:size]


def _smooth(gains: csr_matrix, objective: str) -> np.ndarray:
    """Of most entropy, or least Σ p², by the dual: prices λ ≥ 0 of the constraints, for L-BFGS-B."""
    constraints, size = _shape(gains)
    if constraints == 0:
        return np.full(size, 1.0 / size)

    def entropy(prices: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        logits = -(prices @ gains)
        top = logits.max()
        weights = np.exp(logits - top)
        play = weights / weights.sum()
        return float(np.log(weights.sum()) + top), -(gains @ play), play

    def gini(prices: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        play = _nearest(-(prices @ gains))
        value = -0.5 * (play**2).sum() - prices @ (gains @ play)
        return float(value), -(gains @ play), play

    dual = entropy if objective == "entropy" else gini
    options = {"maxiter": 20_000, "maxfun": 100_000, "ftol": 1e-16, "gtol": 1e-9, "maxcor": 50}
    bounds = [(0, None)] * constraints
    best = minimize(
        lambda own: dual(own)[:2], np.zeros(constraints), jac=True, bounds=bounds, method="L-BFGS-B", options=options
    )
    return dual(best.x)[2]


def most_entropy(table: np.ndarray) -> np.ndarray:
    """The distribution p `[K]` of most entropy with `table @ p <= 0`, where `table` is `[C, K]` and there is one."""
    return _smooth(csr_matrix(table), "entropy")


def _shape(matrix: Any) -> tuple[int, int]:
    return matrix.shape


def _nearest(point: np.ndarray) -> np.ndarray:
    """The distribution next to `point`."""
    ordered = -np.sort(-point)
    levels = (np.cumsum(ordered) - 1.0) / np.arange(1, len(point) + 1)
    return np.maximum(point - levels[np.flatnonzero(ordered > levels)[-1]], 0.0)
