"""`solve`: from whatever a game is given as to solutions with certificates, in double precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from equilibria import REGISTRY, make
from equilibria.files import load
from equilibria.game import NormalForm
from equilibria.numerics import in_lanes
from equilibria.properties import is_symmetric
from equilibria.solution import Solution
from equilibria.solver import Solver

__all__ = ["build", "distinct", "label", "solve", "solve_batch"]

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
        key: of a random start, instead of the solver's own; without it a solver that can starts anew where its own
            start led nowhere.
        restarts: start so many times at random, and return the distinct solutions.
        all: enumerate, where the solver can, and return all solutions.
        symmetric: a promise that the game is symmetric, which is checked; solutions that are not are left out.
        options: of the solver, such as `risk=0.1`; one number, or a list of one a player.

    Returns:
        A solution with NumPy leaves; with `all` or `restarts` a list of them, with the latter `share` says how many of
        the random starts led there.

    Raises:
        ValueError: what is wrong with the game, the solver's name, its options, or their combination.
    """
    with jax.enable_x64(True):
        own, described = _built(solver, options)
        table = _double(_single(game))
        own.check(table)
        _check_starts(own, str(described["solver"]), restarts, all)
        if symmetric and not is_symmetric(table):
            raise ValueError(
                "symmetric=True: the payoffs are not symmetric; expected a game that is, or symmetric=False"
            )
        dress = lambda found, **more: jax.tree.map(np.asarray, found).replace(**described | more)  # noqa: E731
        if all:
            found = [dress(one, method=own.means(everything=True)) for one in own.every(_plain(table))]
            return [one.replace(share=1.0) for one in distinct([one for one in found if not symmetric or _same(one)])]
        if restarts:
            keys = jax.random.split(jax.random.key(0) if key is None else key, restarts)
            found = [dress(one) for one in _many(own, table, keys)]
            return distinct([one for one in found if not symmetric or _same(one)], restarts)
        single, tried = dress(_one(own, table, key)), 0
        if key is None and own.retries and not single.converged:
            again = _many(own, table, jax.random.split(jax.random.key(0), own.retries))
            by, tried = f"{own.means()} from a random start", own.retries
            single = min([single, *(dress(one, method=by) for one in again)], key=_worth)
        if not single.converged:
            more = f"{tried} random starts led to none either" if tried else ""
            single = single.replace(reason="; ".join(filter(None, [own.reason(_plain(table), single), more])))
    if symmetric and not _same(single):
        raise ValueError("symmetric=True: the solution found is not symmetric; ask for restarts=K")
    return single


def solve_batch(
    games: NormalForm | Sequence[Any],
    solver: str | Solver = "nash",
    *,
    key: Key[Array, ""] | None = None,
    **options: Any,
) -> Solution:
    """Solve many games of one shape, a few side by side.

    Args:
        games: games, each as `load` takes it, or one whose leaves have a leading axis B.
        solver: a name (`equilibria.names()`), or a solver.
        key: of random starts, one a game, instead of the solver's own.
        options: of the solver, such as `risk=0.1`; one number, or a list of one a player.

    Returns:
        A solution with NumPy leaves that have a leading axis B.

    Raises:
        ValueError: as `solve`, with the number of the game; or shapes differ.
    """
    with jax.enable_x64(True):
        own, described = _built(solver, options)
        tables = _stacked(games)
        count = len(tables.mask)
        one = lambda k: jax.tree.map(lambda leaf: leaf[k], tables)  # noqa: E731
        unlike = range(count) if own.checks_payoffs else np.unique(tables.mask, axis=0, return_index=True)[1]
        for k in sorted(unlike):
            try:
                own.check(one(k))
            except ValueError as error:
                raise ValueError(f"game {k}: {error}") from None
        keys = None if key is None else jax.random.split(key, count)
        if own.on_host:
            found = [own.solve(_double(one(k)), None if keys is None else keys[k]) for k in range(count)]
            return jax.tree.map(lambda *leaves: np.stack(leaves), *found).replace(**described)
        found = jax.tree.map(np.array, _each(own, tables, keys))
        for attempt in range(own.retries if key is None else 0):
            (failed,) = np.nonzero(~found.converged)
            if not len(failed):
                break
            rows = np.resize(failed, 1 << (len(failed) - 1).bit_length())  # few shapes, few compilations
            keys = jax.random.split(jax.random.key(attempt), len(rows))
            again = _each(own, jax.tree.map(lambda leaf, rows=rows: leaf[rows], tables), keys)
            better = np.asarray(again.converged)
            for old, new in zip(jax.tree.leaves(found), jax.tree.leaves(again), strict=True):
                old[rows[better]] = np.asarray(new)[better]
        return found.replace(**described)


def _stacked(games: NormalForm | Sequence[Any]) -> NormalForm:
    """Games with a leading axis, as NumPy arrays."""
    if isinstance(games, NormalForm):
        if games.mask.ndim != 3:
            raise ValueError(f"games with a mask of shape {games.mask.shape}: expected a leading axis, [B, n, A]")
        loaded = _plain(games)
        return loaded.replace(payoffs=np.asarray(loaded.payoffs, np.float64), mask=np.asarray(loaded.mask))
    many = [_plain(load(game)) for game in games]
    if not many:
        raise ValueError("games: none; expected one or more")
    for k, game in enumerate(many):
        if game.payoffs.shape != many[0].payoffs.shape:
            raise ValueError(f"game {k} has payoffs {game.payoffs.shape}: expected {many[0].payoffs.shape}, as game 0")
    payoffs, masks = ([np.asarray(getattr(game, name)) for game in many] for name in ("payoffs", "mask"))
    return many[0].replace(payoffs=np.stack(payoffs).astype(np.float64), mask=np.stack(masks))


def _built(solver: str | Solver, options: dict[str, Any]) -> tuple[Solver, dict[str, Any]]:
    """The solver, and what its solutions say of it."""
    if not isinstance(solver, str) and options:
        raise ValueError(f"options {sorted(options)}: expected none beside a solver that is built already")
    if not isinstance(solver, str):
        return solver, label(solver)
    built = build(solver, options)
    return built, label(built, solver)


def build(solver: str, options: Mapping[str, Any]) -> Solver:
    """The solver of that name; lists of numbers among its options are one a player."""
    return make(solver, **{name: _number(value) for name, value in options.items()})


def label(solver: Solver, name: str = "") -> dict[str, Any]:
    """What the solutions of `solver` say of it: its name, all of its options, by what it solves.

    Args:
        solver: the solver.
        name: by which it was made; its options make it again. Without, they are all of its fields.
    """
    parts: list[Any] = [solver, *filter(None, [getattr(solver, "measure", None)])]
    values = {own.name: getattr(part, own.name) for part in parts for own in fields(part) if own.name != "measure"}
    options = tuple((key, _told(values[key])) for key in sorted(REGISTRY.parameters(name) if name else values))
    return {"solver": name or type(solver).__name__, "options": options, "method": solver.means()}


def _told(value: Any) -> Any:
    """Numbers of arrays as Python's, those of many in a tuple."""
    if value is None or isinstance(value, str):
        return value
    plain = np.asarray(value).tolist()
    return tuple(plain) if isinstance(plain, list) else plain


def _check_starts(solver: Solver, name: str, restarts: int, everything: bool) -> None:
    """Raise unless random starts are possible where they are asked for."""
    if restarts < 0:
        raise ValueError(f"restarts = {restarts}: expected 0 or more")
    if restarts and everything:
        raise ValueError(f"restarts = {restarts} and all=True: expected one of them")
    if restarts and not solver.starts_anywhere:
        raise ValueError(f"restarts = {restarts}: {name} always starts the same; expected 0, or another solver")


def _single(game: Any) -> NormalForm:
    """One game.

    Raises:
        ValueError: it is none, or many.
    """
    if isinstance(game, NormalForm) and np.ndim(game.mask) != 2:
        raise ValueError(f"a batch of {len(game.mask)} games: expected one; solve_batch solves many")
    return load(game)


def distinct(found: list[Solution], starts: int | None = None) -> list[Solution]:
    """One of each kind, those to which most starts led first; converged ones before others.

    Args:
        found: solutions.
        starts: of how many `share` is one; as many as there are solutions, if not given.
    """
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
    return [one.replace(share=len(kind) / (starts or len(found))) for one, kind in zip(best, kinds, strict=True)]


def _worth(one: Solution) -> tuple[bool, float]:
    """Less is better."""
    regret = float(np.max(one.regret))
    return not bool(one.converged), regret if np.isfinite(regret) else np.inf


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
_restarted = jax.jit(lambda solver, game, keys: in_lanes(lambda key: solver.solve(game, key), keys))
_each = jax.jit(lambda solver, games, keys: in_lanes(lambda own: solver.solve(*own), (games, keys)))


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
    found = _restarted(solver, plain, keys)
    return [jax.tree.map(lambda leaf, k=k: leaf[k], found) for k in range(len(keys))]
