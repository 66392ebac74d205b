"""What a game is like: dominance, symmetry, potentials, welfare. For games that are no tracers."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linprog

from equilibria.game import NormalForm, normal_form
from equilibria.solvers.pure import pure_equilibria

__all__ = [
    "constant_sum",
    "dominated",
    "eliminate",
    "is_supermodular",
    "is_symmetric",
    "potential",
    "price_of_anarchy",
    "price_of_stability",
    "risk_dominant",
    "zero_sum",
]

CLOSE = 1e-9  # as a share of the largest payoff


def _tables(game: NormalForm) -> np.ndarray:
    return np.asarray(game.payoffs, np.float64)


def _slack(game: NormalForm) -> float:
    return CLOSE * max(float(np.abs(_tables(game)).max()), 1e-300)


def constant_sum(game: NormalForm) -> bool:
    """Whether all payoffs sum to the same for every joint action."""
    total = _tables(game).sum(axis=0)[np.asarray(game.legal())]
    return bool(np.ptp(total) <= _slack(game) * game.num_players)


def zero_sum(game: NormalForm) -> bool:
    """Whether all payoffs sum to 0 for every joint action."""
    total = _tables(game).sum(axis=0)[np.asarray(game.legal())]
    return bool(np.abs(total).max() <= _slack(game) * game.num_players)


def is_symmetric(game: NormalForm) -> bool:
    """Whether payoffs do not depend on who is who: for any exchange of two players, theirs are exchanged with them."""
    n, tables, mask = game.num_players, _tables(game), np.asarray(game.mask)
    if not (mask == mask[0]).all():
        return False
    slack = _slack(game)
    for player in range(n - 1):
        order = list(range(n))
        order[player], order[player + 1] = player + 1, player
        swapped = tables[order].transpose([0, *(1 + k for k in order)])
        if np.abs(swapped - tables).max() > slack:
            return False
    return True


def dominated(game: NormalForm, mixed: bool = True, weakly: bool = False) -> np.ndarray:
    """Which actions `[n, A]` are dominated.

    Args:
        game: the game.
        mixed: by mixed strategies (a linear program each), or by other pure actions alone.
        weakly: never worse and somewhere better suffices.
    """
    mask, outcomes = np.asarray(game.mask), np.asarray(game.outcomes(), np.float64)
    found = np.zeros_like(mask)
    slack = _slack(game)
    for player, action in np.argwhere(mask):
        rest = [k for k in np.flatnonzero(mask[player]) if k != action]
        if not rest:
            continue
        gains = outcomes[player][rest] - outcomes[player][action]
        some = (gains >= -slack).all(axis=1) & (gains > slack).any(axis=1) if weakly else (gains > slack).all(axis=1)
        found[player, action] = some.any() or (mixed and _beaten(gains, weakly, slack))
    return found


def _beaten(gains: np.ndarray, weakly: bool, slack: float) -> bool:
    """Whether a mixture of the rows of `gains` is above 0 everywhere; weakly: nowhere below, somewhere above."""
    rows, columns = gains.shape
    scaled = gains / max(float(np.abs(gains).max()), 1e-300)
    if weakly:
        program: dict[str, Any] = {"c": -scaled.sum(axis=1), "A_ub": -scaled.T, "b_ub": np.zeros(columns)}
        ones, bounds = np.ones((1, rows)), [(0, None)] * rows
    else:
        program = {"c": np.append(np.zeros(rows), -1.0)}
        program |= {"A_ub": np.column_stack([-scaled.T, np.ones(columns)]), "b_ub": np.zeros(columns)}
        ones, bounds = np.append(np.ones(rows), 0.0)[None], [(0, None)] * rows + [(None, None)]
    found = linprog(**program, A_eq=ones, b_eq=[1.0], bounds=bounds, method="highs")
    return bool(found.status == 0 and -found.fun > 1e-9)


def eliminate(game: NormalForm, mixed: bool = True, weakly: bool = False) -> NormalForm:
    """The game that remains when dominated actions are removed until there are none; they are masked, not cut out.

    With `weakly` the result depends on the order; all that are dominated go at once.
    """
    while (gone := dominated(game, mixed, weakly)).any():
        keep = np.asarray(game.mask) & ~gone
        keep = np.where(keep.any(axis=1, keepdims=True), keep, np.asarray(game.mask))
        game = normal_form(_tables(game), keep, game.name, dtype=game.payoffs.dtype).replace(actions=game.actions)
    return game


def potential(game: NormalForm) -> np.ndarray | None:
    """The exact potential `[A, ..., A]` of the game, 0 at the first joint action, or None if there is none.

    Source: Monderer and Shapley 1996, Games and Economic Behavior 14.
    """
    n, tables, mask = game.num_players, _tables(game), np.asarray(game.mask)
    first = [int(np.argmax(own)) for own in mask]
    found = np.zeros(tables.shape[1:])
    for player in range(n):  # move the players one after another from the first joint action
        at = tables[player]
        for later in range(player + 1, n):
            at = np.take(at, [first[later]], axis=later)
        found = found + at - np.take(at, [first[player]], axis=player)
    legal, slack = np.asarray(game.legal()), _slack(game) * n
    for player in range(n):
        off = (tables[player] - found) * legal
        base = np.take(off, [first[player]], axis=player)
        if np.abs((off - base) * legal).max() > 4 * slack:
            return None
    return np.where(legal, found, 0.0)


def is_supermodular(game: NormalForm) -> bool:
    """Whether, with actions ordered as they are, a higher action pays more the higher the others' actions are."""
    tables, mask = _tables(game), np.asarray(game.mask)
    for player, own in enumerate(mask):
        tables = np.take(tables, np.flatnonzero(own), axis=1 + player)
    slack = _slack(game)
    for player in range(game.num_players):
        for other in range(game.num_players):
            if other != player:
                cross = np.diff(np.diff(tables[player], axis=player), axis=other)
                if cross.size and cross.min() < -slack:
                    return False
    return True


def price_of_anarchy(game: NormalForm) -> float:
    """The best welfare over that of the worst pure equilibrium; NaN without one, or where welfare is not positive."""
    return _price(game, np.min)


def price_of_stability(game: NormalForm) -> float:
    """The best welfare over that of the best pure equilibrium; NaN as for `price_of_anarchy`."""
    return _price(game, np.max)


def _price(game: NormalForm, which: Any) -> float:
    welfare, legal = _tables(game).sum(axis=0), np.asarray(game.legal())
    found = np.asarray(pure_equilibria(game))
    if not found.any() or which(welfare[found]) <= 0:
        return float("nan")
    return float(welfare[legal].max() / which(welfare[found]))


def risk_dominant(game: NormalForm) -> tuple[int, ...] | None:
    """The risk-dominant pure equilibrium of a game of two players with two actions and two strict equilibria.

    That with the larger product of what players lose by deviating alone from it; None if they tie, or if the game is of
    another kind.

    Source: Harsanyi and Selten 1988, A General Theory of Equilibrium Selection in Games.
    """
    if game.sizes != (2, 2):
        return None
    tables = _tables(game)
    strict = {}
    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        losses = tables[0, a, b] - tables[0, 1 - a, b], tables[1, a, b] - tables[1, a, 1 - b]
        if min(losses) > _slack(game):
            strict[a, b] = losses[0] * losses[1]
    if len(strict) != 2:
        return None
    (one, own), (two, its) = strict.items()
    if abs(own - its) <= CLOSE * max(own, its):
        return None
    return one if own > its else two
