"""`solve`: from whatever a game is given as to solutions with certificates, in double precision."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from equilibria import make
from equilibria.files import load
from equilibria.game import NormalForm
from equilibria.properties import is_symmetric
from equilibria.solution import Solution
from equilibria.solver import Solver

__all__ = ["distinct", "solve"]

APART = 1e-4
"""Profiles that differ by less in every probability are one solution."""


def solve(
    game: Any,
    solver: str | Solver = "nash",
    *,
    key: Key[Array, ""] | None = None,
    restarts: int = 0,
    all: bool = False,  # noqa: A002
    symmetric: bool = False,
    **options: Any,
) -> Any:
    """Solve a game.

    Args:
        game: as `load` takes it: a game, a name of the catalogue, a file, payoffs, or an environment.
        solver: a name (`equilibria.names()`), or a solver.
        key: of a random start, instead of the solver's own.
        restarts: start so many times at random, and return the distinct solutions.
        all: enumerate, where the solver can, and return all solutions.
        symmetric: a promise that the game is symmetric, which is checked; solutions that are not are left out.
        options: of the solver, such as `risk=0.1`; one number, or a list of one a player.

    Returns:
        A solution with NumPy leaves; with `restarts` or `all` a list of them, of which `share` says how many of the
        starts led there.

    Raises:
        ValueError: what is wrong with the game, the solver's name, its options, or their combination.
    """
    named = solver if isinstance(solver, str) else type(solver).__name__
    with jax.enable_x64(True):
        own = (
            make(solver, **{name: _number(value) for name, value in options.items()})
            if isinstance(solver, str)
            else solver
        )
        if not isinstance(solver, str) and options:
            raise ValueError(f"options {sorted(options)}: expected none beside a solver that is built already")
        table = _double(load(game))
        own.check(table)
        if symmetric and not is_symmetric(table):
            raise ValueError(
                "symmetric=True: the payoffs are not symmetric; expected a game that is, or symmetric=False"
            )
        if restarts < 0:
            raise ValueError(f"restarts = {restarts}: expected 0 or more")
        label = {"solver": named, "options": tuple(sorted(options.items(), key=lambda item: item[0]))}
        dress = lambda found: jax.tree.map(np.asarray, found).replace(**label)  # noqa: E731
        if all:
            found = [dress(one) for one in own.every(_plain(table))]
            return distinct([one for one in found if not symmetric or _same(one)])
        if restarts:
            keys = jax.random.split(jax.random.key(0) if key is None else key, restarts)
            found = [dress(one) for one in _many(own, table, keys)]
            return distinct([one for one in found if not symmetric or _same(one)])
        single = dress(_one(own, table, key))
    if symmetric and not _same(single):
        raise ValueError("symmetric=True: the solution found is not symmetric; ask for restarts=K")
    return single


def distinct(found: list[Solution]) -> list[Solution]:
    """One of each kind, those to which most starts led first; converged ones before others."""
    kinds: list[list[Solution]] = []
    for one in found:
        for kind in kinds:
            if bool(kind[0].converged) == bool(one.converged) and _close(kind[0], one):
                kind.append(one)
                break
        else:
            kinds.append([one])
    kinds.sort(key=lambda kind: (not bool(kind[0].converged), -len(kind)))
    best = [min(kind, key=lambda one: float(np.max(one.regret))) for kind in kinds]
    return [one.replace(share=len(kind) / len(found)) for one, kind in zip(best, kinds, strict=True)]


def _close(one: Solution, two: Solution) -> bool:
    if one.joint is not None and two.joint is not None:
        return float(np.abs(one.joint - two.joint).max()) < APART
    return float(np.abs(one.profile - two.profile).max()) < APART


def _same(found: Solution) -> bool:
    """Whether everybody plays the same."""
    return float(np.abs(found.profile - found.profile[:1]).max()) < APART


def _number(value: Any) -> Any:
    """Lists of numbers, one a player, as arrays."""
    return np.asarray(value, np.float64) if isinstance(value, list | tuple) else value


def _double(game: NormalForm) -> NormalForm:
    return game.replace(
        payoffs=jnp.asarray(np.asarray(game.payoffs, np.float64)), mask=jnp.asarray(np.asarray(game.mask))
    )


_compiled = jax.jit(lambda solver, game, key: solver.solve(game, key))
_side_by_side = jax.jit(jax.vmap(lambda solver, game, key: solver.solve(game, key), (None, None, 0)))


def _plain(game: NormalForm) -> NormalForm:
    """Without names, which are no reason to compile again."""
    return game.replace(name="", actions=())


def _one(solver: Solver, game: NormalForm, key: Any) -> Solution:
    plain = _plain(game)
    return solver.solve(plain, key) if solver.on_host else _compiled(solver, plain, key)


def _many(solver: Solver, game: NormalForm, keys: Any) -> list[Solution]:
    plain = _plain(game)
    if solver.on_host:
        return [solver.solve(plain, key) for key in keys]
    found = _side_by_side(solver, plain, keys)
    return [jax.tree.map(lambda leaf, k=k: leaf[k], found) for k in range(len(keys))]
