"""α-rank: how often a population dwells at each joint action when better replies invade."""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Key
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from equilibria.game import NormalForm
from equilibria.solution import Solution, certified
from equilibria.solver import Solver

__all__ = ["AlphaRank"]


class AlphaRank(Solver):
    """The stationary distribution of the Markov chain of α-rank, over joint actions.

    One player after another, chosen at random, tries another action, and keeps it with the probability with which one
    mutant takes over a population of m: (1 - e^(-αd)) / (1 - e^(-αmd)) for a gain d, 1/m for none. In the limit of a
    large α only gains are kept, and ties with probability 1/2 (arXiv 1909.12823); `noise` makes its chain one class.

    It has no regret to speak of: what is reported is that of a coarse correlated equilibrium, and it has converged if
    the distribution is stationary.

    Source: Omidshafiei et al. 2019, arXiv 1903.01373.

    Attributes:
        intensity: α, in units of 1 over the largest difference of payoffs; None for the limit of many.
        population: m.
        noise: ε of the limit.
        tolerance: of the distribution.
    """

    intensity: float | None = struct.field(default=None, pytree_node=False)
    population: int = struct.field(default=50, pytree_node=False)
    noise: float = 1e-10
    tolerance: float = 1e-9

    how: ClassVar[str] = "elimination of states"
    starts_anywhere: ClassVar[bool] = False
    on_host: ClassVar[bool] = True

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """The distribution; `key` is not used."""
        legal = np.asarray(game.legal()).ravel()
        chain = self._chain(game)[legal][:, legal]
        joint = np.zeros(legal.shape)
        joint[legal] = found = _stationary(np.asarray(chain.todense()))
        error = float(np.abs(found @ chain - found).max())
        table = jnp.asarray(joint.reshape(game.payoffs.shape[1:]), game.dtype)
        solution = certified(game, game.marginals(table), jnp.maximum(game.coarse_regret(table), 0.0), 1.0, 1, table)
        return solution.replace(converged=jnp.asarray(error <= self.tolerance))

    def _chain(self, game: NormalForm) -> csr_matrix:
        """Probabilities of going from a joint action to another."""
        n, mask = game.num_players, np.asarray(game.mask)
        tables = np.asarray(game.payoffs, np.float64) / float(game.scale())
        shape = tables.shape[1:]
        number = np.arange(tables[0].size).reshape(shape)
        trials = sum(int(own.sum()) - 1 for own in mask)
        start, end, chance = [], [], []
        for player in range(n):
            for action in np.flatnonzero(mask[player]):
                target = np.broadcast_to(np.take(number, [action], axis=player), shape)
                gain = np.take(tables[player], [action], axis=player) - tables[player]
                away = (number != target).ravel()
                start.append(number.ravel()[away])
                end.append(target.ravel()[away])
                chance.append(self._kept(gain.ravel()[away]) / max(trials, 1))
        size = number.size
        moves = csr_matrix((np.concatenate(chance), (np.concatenate(start), np.concatenate(end))), (size, size))
        stay = 1.0 - np.asarray(moves.sum(axis=1)).ravel()
        return csr_matrix(moves + csr_matrix((stay, (np.arange(size), np.arange(size))), (size, size)))

    def _kept(self, gain: np.ndarray) -> np.ndarray:
        """The probability that a mutant with this `gain` takes over."""
        tie = np.abs(gain) <= 1e-12
        if self.intensity is None:
            return np.where(tie, 0.5, np.where(gain > 0, 1.0 - self.noise, self.noise))
        exponent = np.where(tie, 1.0, self.intensity * gain)
        up = np.abs(exponent)
        # for losses both numerator and denominator are large: divide them by e^(αm|d|)
        lost = np.exp(-(self.population - 1) * up) * -np.expm1(-up) / -np.expm1(-self.population * up)
        won = -np.expm1(-up) / -np.expm1(-self.population * up)
        return np.where(tie, 1.0 / self.population, np.where(exponent > 0, won, lost))


def _stationary(chain: np.ndarray) -> np.ndarray:
    """The stationary distribution `[O]` of a chain `[O, O]`, by elimination of states, which subtracts nothing.

    Source: Grassmann, Taksar and Heyman 1985. States that the chain leaves for good are given 0.
    """
    count, label = connected_components(csr_matrix(chain > 0), directed=True, connection="strong")
    found = np.zeros(len(chain))
    closed = [k for k in range(count) if not (chain[label == k][:, label != k] > 0).any()]
    for k in closed:  # each that cannot be left, with equal weight
        members = np.flatnonzero(label == k)
        found[members] = _of_class(chain[np.ix_(members, members)]) / len(closed)
    return found


def _of_class(chain: np.ndarray) -> Any:
    table = chain.copy()
    size = len(table)
    for last in range(size - 1, 0, -1):
        table[:last, last] /= table[last, :last].sum()
        table[:last, :last] += np.outer(table[:last, last], table[last, :last])
    weights = np.ones(size)
    for state in range(1, size):
        weights[state] = weights[:state] @ table[:state, state]
        weights[: state + 1] /= weights[: state + 1].max()
    return weights / weights.sum()
