"""Payoffs as data: functions from a game's constants to the payoffs and action names of a `MatrixGame`.

Payoffs are arrays `[n, A, ..., A]` of reward per step. The n-player dilemmas pay by the own action and by c, the
number of co-operators; action 0 co-operates: they are tables `[2, n]`, which `dilemma` turns into a game. Constants may
be traced, so that payoffs can be swept and differentiated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from envs.validation import require_choice, require_range

if TYPE_CHECKING:
    from envs.matrix_game import MatrixGame
    from envs.symmetric_game import SymmetricGame

__all__ = [
    "bach_or_stravinsky",
    "chicken",
    "dilemma",
    "from_file",
    "matching_pennies",
    "prisoners_dilemma",
    "prisoners_dilemma_2",
    "public_goods",
    "rock_paper_scissors",
    "snowdrift",
    "stag_hunt",
    "tragedy",
    "ultimatum",
]

MAX_PLAYERS, MAX_COUNTED_PLAYERS = 16, 1000
DILEMMA = ("C", "D")

Payoffs = dict[str, Any]


def dilemma(
    payoffs: Any, discount: float = 0.96, horizon: int = 100, observe: Literal["joint", "counts"] = "joint"
) -> MatrixGame | SymmetricGame:
    """The game of C or D that pays by the own action and by how many others defect.

    Args:
        payoffs: `[2, n]`, reward for the own action (0 is C) when k others defect.
        discount: continuation probability of the repeated game, in [0, 1); what exact objectives discount with.
        horizon: steps T of a sampled episode; 1 is the one-shot game. Exact objectives of a repeated game
            are those of the infinitely repeated one.
        observe: what everyone sees of the last step: the "joint" action, up to 16 players, or "counts", the own
            action and the number of others who defected.

    Raises:
        ValueError: a field out of range, or too many players for joint actions.
    """
    from envs.matrix_game import MatrixGame
    from envs.symmetric_game import SymmetricGame

    require_choice("observe", observe, ("joint", "counts"))
    if observe == "counts":
        return SymmetricGame(payoffs, discount, horizon)
    players = payoffs.shape[-1]
    require_range("players", players, 2, MAX_PLAYERS, whole=True, hint="more with observe = 'counts'")
    defects = np.indices((2,) * players)
    return MatrixGame(payoffs[defects, defects.sum(axis=0) - defects], (DILEMMA,) * players, discount, horizon)


def prisoners_dilemma(players: int = 2, gift: float = 2.0, temptation: float = 1.0) -> Payoffs:
    """Iterated prisoner's dilemma: each co-operator gives to all others, defecting pays a little more.

    A co-operator earns gift (c - 1), a defector gift c + temptation.
    Source: Souly et al. 2023, arXiv 2312.12564, code.

    Args:
        players: number of players.
        gift: what one co-operator gives to each other player.
        temptation: what a player gains by defecting, whatever the others do.
    """
    return _dilemma(players, lambda c: gift * (c - 1), lambda c: gift * c + temptation)


def snowdrift(players: int = 2, benefit: float | None = None, cost: float | None = None) -> Payoffs:
    """Snowdrift: one co-operator suffices for all, co-operators share the cost.

    With at least one co-operator a co-operator earns benefit - cost / c, a defector benefit; else all earn 0.
    Source: Souly et al. 2023, arXiv 2312.12564, code.

    Args:
        players: number of players.
        benefit: of a cleared road, for everyone; n by default.
        cost: of clearing it, shared by the co-operators; n - 1 by default.
    """
    gain = players if benefit is None else benefit
    price = players - 1 if cost is None else cost
    return _dilemma(players, lambda c: gain - price / np.maximum(c, 1), lambda c: gain * np.sign(c))


def stag_hunt(players: int = 2, multiplier: float = 2.0, cost: float = 3.0, threshold: int | None = None) -> Payoffs:
    """Stag hunt: a public good that needs a majority of co-operators, who pay for it.

    With c >= threshold everyone earns c multiplier cost / n; a co-operator always pays cost.
    Source: Souly et al. 2023, arXiv 2312.12564, code.

    Args:
        players: number of players.
        multiplier: of the sum of the costs paid.
        cost: what a co-operator pays.
        threshold: co-operators needed; half of the players, rounded up, and at least 2 by default.
    """
    needed = _threshold(players, max(2, math.ceil(players / 2)) if threshold is None else threshold)
    good = lambda c: c * (multiplier * cost / players) * np.where(c >= needed, 1.0, 0.0)  # noqa: E731
    return _dilemma(players, lambda c: good(c) - cost, good)


def tragedy(players: int = 2, benefit: float = 5.0, cost: float = 3.0, threshold: int | None = None) -> Payoffs:
    """Tragedy of the commons: the resource survives fewer than `threshold` defectors.

    While it survives everyone earns benefit, otherwise 0; a co-operator always pays cost.
    Source: Souly et al. 2023, arXiv 2312.12564, code.

    Args:
        players: number of players.
        benefit: of the resource.
        cost: of using it with care.
        threshold: number of defectors that destroys it; half of the players, rounded up, by default.
    """
    ruin = _threshold(players, math.ceil(players / 2) if threshold is None else threshold)
    good = lambda c: benefit * np.where(players - c < ruin, 1.0, 0.0)  # noqa: E731
    return _dilemma(players, lambda c: good(c) - cost, good)


def prisoners_dilemma_2(
    reward: float = -1.0, sucker: float = -3.0, temptation: float = 0.0, punishment: float = -2.0
) -> Payoffs:
    """The 2-player iterated prisoner's dilemma of the opponent-shaping papers.

    Source: Foerster et al. 2018 (LOLA), arXiv 1709.04326.

    Args:
        reward: of mutual co-operation.
        sucker: of co-operating against a defector.
        temptation: of defecting against a co-operator.
        punishment: of mutual defection.
    """
    return _symmetric([[reward, sucker], [temptation, punishment]], DILEMMA)


def matching_pennies(players: int = 2, stake: float = 1.0) -> Payoffs:
    """Matching pennies: everyone wants to match the next player, the last to differ from the first.

    For 2 players the usual game, the first player matching; for 3 that of Jordan. All play 1/2 at equilibrium.
    Source: Jordan 1993, "Three problems in learning mixed-strategy Nash equilibria", Games and Economic Behavior 5.

    Args:
        players: number of players.
        stake: won or lost; negative exchanges the roles.
    """
    actions = _joint_actions(players)
    match = (actions == np.roll(actions, -1, axis=0)) * 2.0 - 1.0
    match[-1] *= -1
    return {"payoffs": match * stake, "actions": (("heads", "tails"),) * players}


def chicken(crash: float = 100.0) -> Payoffs:
    """Chicken: swerving costs a little, a crash very much. One-shot unless `horizon` says otherwise.

    Source: Lu et al. 2022 (M-FOS), arXiv 2205.01447.

    Args:
        crash: what each loses when both go straight.
    """
    return _symmetric([[0.0, -1.0], [1.0, -crash]], ("swerve", "straight"))


def bach_or_stravinsky(favourite: float = 2.0, other: float = 1.0) -> Payoffs:
    """Bach or Stravinsky: both prefer to go together, each to another concert.

    Source: Osborne and Rubinstein 1994, "A Course in Game Theory", example 15.3.

    Args:
        favourite: of going together to the own favourite.
        other: of going together to the other's.
    """
    first = _table([[favourite, 0.0], [0.0, other]])
    second = _table([[other, 0.0], [0.0, favourite]])
    return {"payoffs": _stack([first, second]), "actions": (("Bach", "Stravinsky"),) * 2}


def rock_paper_scissors(stake: float = 1.0) -> Payoffs:
    """Rock, paper, scissors: zero-sum, three actions, all played 1/3 at equilibrium.

    Source: von Neumann and Morgenstern 1944, "Theory of Games and Economic Behavior".

    Args:
        stake: won or lost.
    """
    own, other = np.indices((3, 3))
    win = np.select([(own - other) % 3 == 1, (other - own) % 3 == 1], [1.0, -1.0], 0.0)
    return {"payoffs": np.stack([win, -win]) * stake, "actions": (("rock", "paper", "scissors"),) * 2}


def public_goods(players: int = 2, factor: float | None = None) -> Payoffs:
    """Linear public goods game: contributions are multiplied and shared by everyone.

    A player earns factor / n per contributor, less 1 for the own contribution.
    Source: Zhao et al. 2022 (POLA), arXiv 2210.10125, code.

    Args:
        players: number of players.
        factor: of the contributions; 1.33 for two players and 0.6 n for more by default.
    """
    gain = (1.33 if players == 2 else 0.6 * players) if factor is None else factor
    return _dilemma(players, lambda c: c * (gain / players) - 1, lambda c: c * (gain / players))


def ultimatum(pot: float = 10.0, unfair: float = 8.0) -> Payoffs:
    """Ultimatum game: a fair offer is accepted, an unfair one may be refused. One-shot unless `horizon` says so.

    Source: Willi et al. 2022 (COLA), arXiv 2203.04098.

    Args:
        pot: what is divided; a fair offer is half of it.
        unfair: what the proposer keeps of it in an unfair offer.
    """
    half = pot / 2
    proposer, responder = _table([[half, half], [unfair, 0.0]]), _table([[half, half], [pot - unfair, 0.0]])
    return {"payoffs": _stack([proposer, responder]), "actions": (("fair", "unfair"), ("accept", "reject"))}


def from_file(payoffs: str | Path) -> Payoffs:
    """A normal form of your own, from a .json or .npz file.

    The array is `[n, A1, ..., An]`; unequal numbers of actions are padded and masked. A .json file holds nested
    lists, or an object with `payoffs` and optionally `actions` (names, one list a player); a .npz file holds
    an array `payoffs`.
    Source: the file.

    Args:
        payoffs: path of the file.

    Raises:
        ValueError: no such file, not of that form, or not finite.
    """
    path = Path(payoffs)
    try:
        table, names = _read(path)
    except Exception as error:  # whatever json, zipfile and NumPy raise on what they cannot read
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"payoffs = {str(payoffs)!r}: expected a readable .json or .npz file ({reason})") from error
    counts = table.shape[1:]
    if table.ndim < 2 or table.shape[0] != len(counts) or 0 in counts:
        raise ValueError(f"payoffs in {payoffs}: shape {table.shape}, expected [n, A1, ..., An] for n players")
    actions = tuple(tuple(map(str, own)) for own in names or [range(k) for k in counts])
    if tuple(map(len, actions)) != counts or not all(name.isprintable() and name for own in actions for name in own):
        raise ValueError(f"actions in {payoffs}: expected {counts} printable names, found {names}")
    padding = [(0, 0), *((0, max(counts) - k) for k in counts)]
    return {"payoffs": np.pad(table, padding), "actions": actions}


def _read(path: Path) -> tuple[np.ndarray, Any]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays["payoffs"], float), None
    if path.suffix != ".json":
        raise ValueError(f"the suffix is {path.suffix!r}")
    data = json.loads(path.read_text(encoding="utf-8"))
    data = data if isinstance(data, dict) else {"payoffs": data}
    if unknown := set(data) - {"payoffs", "actions"}:
        raise ValueError(f"unknown key {sorted(unknown)[0]!r}; known: payoffs, actions")
    names = data.get("actions")
    if names is not None and not all(isinstance(own, list) for own in names):
        raise ValueError("actions: expected one list of names a player")
    return np.asarray(data["payoffs"], float), names


def _joint_actions(players: int) -> np.ndarray:
    """`[n, 2, ..., 2]`: the action of each player in each joint action."""
    require_range("players", players, 2, MAX_PLAYERS, whole=True)
    return np.indices((2,) * players)


def _threshold(players: int, threshold: int) -> int:
    require_range("threshold", threshold, 1, players, whole=True, hint="at most all players")
    return threshold


def _dilemma(players: int, cooperate: Callable[[Any], Any], defect: Callable[[Any], Any]) -> Payoffs:
    """Payoffs by the own action and by the others who defect, from functions of the number of all co-operators."""
    require_range("players", players, 2, MAX_COUNTED_PLAYERS, whole=True)
    others = np.arange(players) * 1.0
    with np.errstate(all="ignore"):  # the game refuses what is not finite
        return {"payoffs": _stack([cooperate(players - others), defect(players - 1 - others)])}


def _symmetric(table: list[list[Any]], names: tuple[str, str]) -> Payoffs:
    """Payoffs of both from the table [own action][other's action]."""
    own = _table(table)
    return {"payoffs": _stack([own, own.T]), "actions": (names,) * 2}


def _table(rows: list[list[Any]]) -> Any:
    return _stack([_stack(row) for row in rows])


def _stack(parts: list[Any]) -> Any:
    """NumPy for numbers, so that nothing is compiled to build a game; JAX as soon as a constant is traced."""
    if all(isinstance(part, float | int | np.ndarray) for part in parts):
        return np.stack([np.asarray(part, float) for part in parts])
    import jax.numpy as jnp

    return jnp.stack([jnp.asarray(part, float) for part in parts])
