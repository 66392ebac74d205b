"""What a game is like: dominance, symmetry, potentials, welfare. For games that are no tracers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linprog

from equilibria.files import load
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
    "welfare",
    "zero_sum",
]

ALIKE = 1e-6
"""Payoffs that differ by less are the same, as if computed in single precision; a share of the largest difference."""
CLOSE = 1e-9
"""Differences that are less are none; likewise."""


def _tables(game: NormalForm) -> np.ndarray:
    return np.asarray(game.payoffs, np.float64)


def _slack(game: NormalForm, share: float) -> np.ndarray:
    """`[n]`, a share of the largest difference of each player's payoffs, and what rounding may add to it."""
    held = _tables(game)[:, np.asarray(game.legal())]
    exact = np.asarray(game.payoffs).dtype
    rounding = 4 * float(np.finfo(exact if exact.kind == "f" else float).eps) * float(np.abs(held).max())
    return share * np.ptp(held, axis=1) + rounding


def constant_sum(game: NormalForm) -> bool:
    """Whether all payoffs sum to the same for every joint action."""
    total = _tables(game).sum(axis=0)[np.asarray(game.legal())]
    return bool(np.ptp(total) <= _slack(game, ALIKE).sum())


def zero_sum(game: NormalForm) -> bool:
    """Whether all payoffs sum to 0 for every joint action."""
    total = _tables(game).sum(axis=0)[np.asarray(game.legal())]
    return bool(np.abs(total).max() <= _slack(game, ALIKE).sum())


def is_symmetric(game: NormalForm) -> bool:
    """Whether payoffs do not depend on who is who: for any exchange of two players, theirs are exchanged with them."""
    n, tables, mask = game.num_players, _tables(game), np.asarray(game.mask)
    if not (mask == mask[0]).all():
        return False
    slack = _slack(game, ALIKE).max()
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
    with jax.enable_x64(True):
        mask, outcomes = np.asarray(game.mask), np.asarray(game.outcomes(), np.float64)
    found = np.zeros_like(mask)
    slacks = _slack(game, CLOSE)
    for player, action in np.argwhere(mask):
        slack = float(slacks[player])
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
    size = max(float(np.abs(gains).max()), 1e-300)
    scaled = np.where(np.abs(gains) > slack, gains, 0.0) / size
    if weakly:
        program: dict[str, Any] = {"c": -scaled.sum(axis=1), "A_ub": -scaled.T, "b_ub": np.zeros(columns)}
        ones, bounds = np.ones((1, rows)), [(0, None)] * rows
    else:
        program = {"c": np.append(np.zeros(rows), -1.0)}
        program |= {"A_ub": np.column_stack([-scaled.T, np.ones(columns)]), "b_ub": np.zeros(columns)}
        ones, bounds = np.append(np.ones(rows), 0.0)[None], [(0, None)] * rows + [(None, None)]
    found = linprog(**program, A_eq=ones, b_eq=[1.0], bounds=bounds, method="highs")
    return bool(found.status == 0 and -found.fun > max(slack / size, CLOSE))


def eliminate(game: NormalForm, mixed: bool = True, weakly: bool = False) -> NormalForm:
    """The game that remains when dominated actions are removed until there are none; they are masked, not cut out.

    With `weakly` the result depends on the order; all that are dominated go at once.
    """
    while (gone := dominated(game, mixed, weakly)).any():
        keep = np.asarray(game.mask) & ~gone
        keep = np.where(keep.any(axis=1, keepdims=True), keep, np.asarray(game.mask))
        game = normal_form(_tables(game), keep, game.name).replace(actions=game.actions)
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
    legal, slack = np.asarray(game.legal()), n * _slack(game, ALIKE)
    for player in range(n):
        off = (tables[player] - found) * legal
        base = np.take(off, [first[player]], axis=player)
        if np.abs((off - base) * legal).max() > slack[player]:
            return None
    return np.where(legal, found, 0.0)


def is_supermodular(game: NormalForm) -> bool:
    """Whether, with actions ordered as they are, a higher action pays more the higher the others' actions are."""
    tables, mask = _tables(game), np.asarray(game.mask)
    for player, own in enumerate(mask):
        tables = np.take(tables, np.flatnonzero(own), axis=1 + player)
    slack = _slack(game, CLOSE)
    for player in range(game.num_players):
        for other in range(game.num_players):
            if other != player:
                cross = np.diff(np.diff(tables[player], axis=player), axis=other)
                if cross.size and cross.min() < -slack[player]:
                    return False
    return True


def welfare(game: Any, profile: Any) -> float:
    """The sum of everybody's expected payoffs, in double precision.

    Args:
        game: as `load` takes it.
        profile: `[n, A]`, mixed strategies, such as those of a solution.

    Raises:
        ValueError: `profile` has another shape.
    """
    with jax.enable_x64(True):
        table = load(game)
        play = jnp.asarray(np.asarray(profile, np.float64))
        if play.shape != table.mask.shape:
            raise ValueError(f"profile of shape {play.shape}: expected [n, A] = {table.mask.shape}")
        return float(table.welfare(play))


def price_of_anarchy(game: Any) -> float:
    """The best welfare over that of the worst pure equilibrium; NaN without one, or where welfare is not positive.

    Args:
        game: as `load` takes it.
    """
    return _price(game, np.min)


def price_of_stability(game: Any) -> float:
    """The best welfare over that of the best pure equilibrium; NaN as for `price_of_anarchy`."""
    return _price(game, np.max)


def _price(game: Any, which: Any) -> float:
    game = load(game)
    welfare, legal = _tables(game).sum(axis=0), np.asarray(game.legal())
    with jax.enable_x64(True):
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
    there = [np.flatnonzero(own) for own in np.asarray(game.mask)]
    tables, slack = _tables(game)[:, there[0]][:, :, there[1]], _slack(game, CLOSE)
    strict, unsure = {}, {}
    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        losses = np.array([tables[0, a, b] - tables[0, 1 - a, b], tables[1, a, b] - tables[1, a, 1 - b]])
        if (losses > slack).all():
            strict[a, b], unsure[a, b] = losses[0] * losses[1], losses[0] * slack[1] + losses[1] * slack[0]
    if len(strict) != 2:
        return None
    (one, own), (two, its) = strict.items()
    if abs(own - its) <= max(unsure.values()):
        return None
    return tuple(int(own[action]) for own, action in zip(there, one if own > its else two, strict=True))
