"""What populations that grow are made of: the rule of growth, where a run stands, and what an iteration showed."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from flax import struct

from envs.validation import require_choice, require_range
from equilibria.empirical import EmpiricalGame
from equilibria.game import NormalForm, normal_form
from equilibria.oracles import Oracle
from equilibria.properties import is_symmetric, zero_sum
from equilibria.risk import Neutral
from equilibria.solver import Solver

__all__ = ["Progress", "Psro", "Record"]


class Psro(struct.PyTreeNode):
    """How populations grow: an oracle, a solver of the game between them, and to what of its solution they respond.

    Any oracle goes with any solver and any measures of risk of the two. Double oracle, fictitious self-play, projected
    replicator dynamics, rectified and α-PSRO, JPSRO and anytime PSRO are combinations.

    Source: Lanctot et al. 2017, arXiv 1711.00832; rectified: Balduzzi et al. 2019, arXiv 1901.08106; coarse and
    correlated: Marris et al. 2021, arXiv 2106.09435; anytime: McAleer et al. 2022, arXiv 2201.07700; self-play: McAleer
    et al. 2022, arXiv 2207.06541.

    Attributes:
        oracle: what responds.
        solver: of the game between populations.
        response: to what: the others' mixtures, taken as "independent"; the joint distribution, "coarse"; what the
            others do when one's own policy is recommended, one response for each of the most likely, "correlated"; or
            "rectified", mixtures of those against whom one's own policy does at least as well as on average.
        responses: policies a player and iteration, learned side by side; of a best response there is but one to a
            mixture.
        self_play: how much of what is responded to is the others' newest policies, in [0, 1].
        anytime: mixtures are those that do best against the worst *strategy* of the whole game, not policy of the
            population; of zero-sum games in normal form.
        symmetric: one population for all seats; it is checked that the game is symmetric.
        episodes: of a profile, at a time.
        standard_error: of mean returns; profiles play on until they have it, at most 64 times; None: once.
        profiles: new ones that are played in an iteration, at most; others are estimated.
        noise: what the variance of returns within a profile costs, beside what the solver makes of the others' play.
    """

    oracle: Oracle
    solver: Solver
    response: Literal["independent", "coarse", "correlated", "rectified"] = struct.field(
        default="independent", pytree_node=False
    )
    responses: int = struct.field(default=1, pytree_node=False)
    self_play: float = struct.field(default=0.0, pytree_node=False)
    anytime: bool = struct.field(default=False, pytree_node=False)
    symmetric: bool = struct.field(default=False, pytree_node=False)
    episodes: int = struct.field(default=256, pytree_node=False)
    standard_error: float | None = struct.field(default=None, pytree_node=False)
    profiles: int = struct.field(default=4096, pytree_node=False)
    noise: float = struct.field(default=0.0, pytree_node=False)

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        require_choice("response", self.response, ("independent", "coarse", "correlated", "rectified"))
        for name in ("responses", "episodes", "profiles"):
            require_range(name, getattr(self, name), 1, whole=True)
        require_range("self_play", self.self_play, 0.0, 1.0)
        require_range("noise", self.noise, 0.0)
        if self.standard_error is not None:
            require_range("standard_error", self.standard_error, 1e-12)

    @property
    def tells_all(self) -> bool:
        """Whether gaps are NashConv, or that of a correlated solution, as long as populations are not full."""
        best = self.oracle.exact and isinstance(getattr(self.oracle, "measure", None), Neutral)
        best &= getattr(self.oracle, "wants", "") == "payoff" and not getattr(self.oracle, "diversity", 0.0)
        return best and self.response in ("independent", "coarse") and not (self.self_play or self.noise)

    def check(self, arena: Any, capacity: int) -> None:
        """Raise a `ValueError` in the user's words unless all of it fits `arena` and populations of `capacity`."""
        self.oracle.check(arena)
        n = arena.num_players
        if self.anytime and (self.symmetric or not (self.oracle.exact and n == 2 and zero_sum(arena))):
            raise ValueError(
                "anytime: expected a zero-sum game of 2 players in normal form, the exact oracle, and not symmetric"
            )
        if self.responses > 1 and self.oracle.exact and self.response in ("independent", "coarse"):
            raise ValueError(
                f"responses: the exact oracle has one best response to one mixture, found {self.responses};"
                " expected 1, or response = 'rectified' or 'correlated'"
            )
        if self.symmetric and isinstance(arena, NormalForm) and not is_symmetric(arena):
            raise ValueError("symmetric: the payoffs are not; expected a symmetric game, or symmetric = False")
        if n * capacity**n > 2**26:
            raise ValueError(f"{n} populations of {capacity}: {n * capacity**n:.2g} entries, expected up to {2**26}")
        self.solver.check(normal_form(np.zeros((n, *(capacity,) * n))))


class Progress(NamedTuple):
    """Where a run of S seeds has come to; all of it is NumPy arrays, or on the device.

    Attributes:
        populations: leaves `[S, N, K, ...]`, N = n, or 1 where all seats share one.
        states: of the oracle, leaves `[S, R, n, ...]` for R responses an iteration.
        games: leaves `[S, ...]`.
        profile: `[S, n, K]`, mixtures over populations.
        joint: `[S, K, ..., K]`, distribution over profiles.
        iteration: how many were made.
    """

    populations: Any
    states: Any
    games: EmpiricalGame
    profile: np.ndarray
    joint: np.ndarray
    iteration: int


class Record(NamedTuple):
    """What an iteration showed, of each seed.

    Attributes:
        sizes: `[S, n]`, of populations.
        value: `[S, n]`, of the mixtures, mean returns.
        variance: `[S, n]`, that the others' mixtures cause.
        regret: `[S]`, of the solver, in its own utility, the largest.
        converged: `[S]`, whether the solver did.
        gap: `[S]`, what players gain, in sum, by the best of their policies, the new ones included, over the last
            solution, as far as the game between populations tells; see `Psro.tells_all`.
        gain: `[S]`, what the responses are worth above the last mixtures, in sum, in the measure of risk of the oracle;
            of exact best responses nobody can gain more; NaN where the oracle does not tell.
        nash_conv: `[S]`, of the new mixtures, exact; NaN where that is not known.
        episodes: `[S]`, played so far for the entries of the game.
    """

    sizes: np.ndarray
    value: np.ndarray
    variance: np.ndarray
    regret: np.ndarray
    converged: np.ndarray
    gap: np.ndarray
    gain: np.ndarray
    nash_conv: np.ndarray
    episodes: np.ndarray
