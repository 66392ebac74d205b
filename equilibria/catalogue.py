"""Named games, each with its source. Imports no JAX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["CATALOGUE", "Entry"]

STAG = (("stag", "hare"),) * 2
DILEMMA = (("cooperate", "defect"),) * 2
CORNERS = (("U", "D"), ("L", "R"))
SELTEN_CHMURA = "Selten and Chmura 2008, American Economic Review 98:938; corrected by Brunner, Camerer and Goeree 2011"


@dataclass(frozen=True)
class Entry:
    """A game as data.

    Attributes:
        about: one line.
        source: where it is from.
        payoffs: `[n, A1, ..., An]`.
        actions: names, one tuple a player.
    """

    about: str
    source: str
    payoffs: Any
    actions: tuple[tuple[str, ...], ...] = ()


def _symmetric(table: Any) -> np.ndarray:
    """Two players with the same payoffs, `table[own action][other's]`."""
    own = np.asarray(table, float)
    return np.stack([own, own.T])


def _opposed(table: Any) -> np.ndarray:
    """A zero-sum game."""
    own = np.asarray(table, float)
    return np.stack([own, -own])


def _stag_hunt(players: int) -> np.ndarray:
    """Hare pays 1, stag 3 if everybody hunts it and else nothing."""
    actions = np.indices((2,) * players)
    return np.where(actions == 1, 1.0, 3.0 * (actions.sum(axis=0) == 0))


def _jordan() -> np.ndarray:
    """Everybody wants to match the next, the last to differ from the first."""
    actions = np.indices((2, 2, 2))
    match = actions == np.roll(actions, -1, axis=0)
    match[2] = ~match[2]
    return 2.0 * match - 1.0


TWELVE = (
    ([[10, 0], [9, 10]], [[8, 18], [9, 8]]),
    ([[9, 0], [6, 8]], [[4, 13], [7, 5]]),
    ([[8, 0], [7, 10]], [[6, 14], [7, 4]]),
    ([[7, 0], [5, 9]], [[4, 11], [6, 2]]),
    ([[7, 0], [4, 8]], [[2, 9], [5, 1]]),
    ([[7, 1], [3, 8]], [[1, 7], [5, 0]]),
    ([[10, 4], [9, 14]], [[12, 22], [9, 8]]),
    ([[9, 3], [6, 11]], [[7, 16], [7, 5]]),
    ([[8, 3], [7, 13]], [[9, 17], [7, 4]]),
    ([[7, 2], [5, 11]], [[6, 13], [6, 2]]),
    ([[7, 2], [4, 10]], [[4, 11], [5, 1]]),
    ([[7, 3], [3, 10]], [[3, 9], [5, 0]]),
)

_GAMES: dict[str, Entry] = {
    "prisoners_dilemma": Entry(
        "Defecting always pays more, mutual co-operation more than mutual defection.",
        "Tucker 1950; payoffs of Axelrod 1984",
        _symmetric([[3, 0], [5, 1]]),
        DILEMMA,
    ),
    "stag_hunt": Entry(
        "The stag pays more, the hare is safer: payoff against risk dominance.",
        "Harsanyi and Selten 1988 (type); payoffs with threshold mixture 2/3",
        _symmetric([[10, 1], [8, 5]]),
        STAG,
    ),
    "trust_dilemma": Entry(
        "A stag hunt in which hunting alone hurts.",
        "Peysakhovich and Lerer 2018, arXiv 1709.02865 (type); payoffs of Gym-Stag-Hunt",
        _symmetric([[5, -5], [1, 1]]),
        STAG,
    ),
    "stag_hunt_3": Entry("Three hunters, all of whom it takes.", "Skyrms 2004 (type)", _stag_hunt(3), (STAG[0],) * 3),
    "chicken": Entry(
        "Daring pays if the other swerves; both daring is worst.",
        "Rapoport and Chammah 1966; payoffs of Aumann 1974",
        _symmetric([[6, 2], [7, 0]]),
        (("swerve", "dare"),) * 2,
    ),
    "battle_of_the_sexes": Entry(
        "Both prefer to meet, each elsewhere.",
        "Luce and Raiffa 1957",
        [[[3, 0], [0, 2]], [[2, 0], [0, 3]]],
        (("opera", "football"),) * 2,
    ),
    "coordination": Entry("Two ways to agree, one better.", "folklore", _symmetric([[2, 0], [0, 1]])),
    "matching_pennies": Entry(
        "One wants to match, the other to differ.",
        "von Neumann and Morgenstern 1944",
        _opposed([[1, -1], [-1, 1]]),
        (("heads", "tails"),) * 2,
    ),
    "asymmetric_matching_pennies": Entry(
        "Matching pennies with unequal prizes.",
        "Ochs 1995; McKelvey and Palfrey 1995, Games and Economic Behavior 10",
        [[[1.1141, 0], [0, 0.2785]], [[0, 1.1141], [1.1141, 0]]],
        CORNERS,
    ),
    "goeree_holt_palfrey_4": Entry(
        "A game whose human play is far from equilibrium.",
        "Goeree, Holt and Palfrey 2003, Games and Economic Behavior 45, game 4",
        [[[200, 160], [370, 10]], [[160, 10], [200, 370]]],
        CORNERS,
    ),
    "rock_paper_scissors": Entry(
        "Each beats one and loses to one.",
        "von Neumann and Morgenstern 1944",
        _opposed([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]),
        (("rock", "paper", "scissors"),) * 2,
    ),
    "biased_rock_paper_scissors": Entry(
        "Rock, paper, scissors with unequal prizes: (1, 10, 5) / 16.",
        "PSRO literature",
        _opposed([[0, -25, 50], [25, 0, -5], [-50, 5, 0]]),
        (("rock", "paper", "scissors"),) * 2,
    ),
    "shapley": Entry(
        "Fictitious play cycles for ever.",
        "Shapley 1964, Some Topics in Two-Person Games",
        np.stack([np.eye(3), np.roll(np.eye(3), 1, axis=1)]),
    ),
    "jordan": Entry(
        "Matching pennies of three players, in which no simple learning converges.",
        "Jordan 1993, Games and Economic Behavior 5",
        _jordan(),
        (("heads", "tails"),) * 3,
    ),
    "perfection": Entry(
        "Two equilibria, of which only one survives trembles.",
        "Selten 1975 (type)",
        _symmetric([[1, 0], [0, 0]]),
    ),
    "high_risk": Entry(
        "A gamble on the other's play against a safe option, and a zero-sum opponent to it.",
        "test vector of mean-variance best replies, arXiv 2205.15434 (type)",
        _opposed([[10, -50], [5, 5]]),
        (("gamble", "safe"), ("usual", "rare")),
    ),
}

CATALOGUE: dict[str, Entry] = _GAMES | {
    f"selten_chmura_{number + 1}": Entry(
        f"Experimental 2x2 game {number + 1} of 12, {'constant-sum' if number < 6 else 'not constant-sum'}.",
        SELTEN_CHMURA,
        list(tables),
        CORNERS,
    )
    for number, tables in enumerate(TWELVE)
}
"""Name → game."""
