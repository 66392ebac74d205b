"""Policy-space response oracles: populations that grow by responses to a solution of the game between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from equilibria.empirical import EmpiricalGame
from equilibria.entries import check_symmetry, fill, wide
from equilibria.front import solve
from equilibria.game import NormalForm
from equilibria.growth import Progress, Psro, Record
from equilibria.oracles import Oracle
from equilibria.solution import Solution, certified
from equilibria.solvers.zero_sum import maximin
from equilibria.targets import targets

__all__ = ["Progress", "Psro", "Record", "iterate", "start", "widen"]


def start(psro: Psro, arena: Any, seeds: Sequence[int], capacity: int) -> Progress:
    """Populations of one policy each, and what they earn.

    Args:
        psro: how they grow.
        arena: an environment, or a game in normal form.
        seeds: one a run; a run depends on nothing else.
        capacity: policies K that a player may have.

    Raises:
        ValueError: as of `Psro.check`.
    """
    psro.check(arena, capacity)
    with jax.enable_x64(psro.oracle.exact or jnp.result_type(float) == jnp.float64):
        return _start(psro, _precise(psro, arena), seeds, capacity)


def _start(psro: Psro, arena: Any, seeds: Sequence[int], capacity: int) -> Progress:
    n, count = arena.num_players, len(seeds)
    keys = jax.vmap(lambda seed: jax.random.key(seed))(np.asarray(seeds, np.uint32))
    own = 1 if psro.symmetric else n
    first = _first(psro.oracle, arena, keys, psro.responses)
    policies = jax.tree.map(lambda leaf: leaf[:, 0, :own], _policies(psro.oracle, arena, first))
    room = lambda leaf: np.zeros((count, own, capacity, *leaf.shape[2:]), leaf.dtype)  # noqa: E731
    populations = jax.tree.map(room, policies)
    game = EmpiricalGame.empty(n, capacity)
    games = jax.tree.map(lambda leaf: np.stack([leaf] * count), game)
    cells = (capacity,) * n
    empty = Progress(populations, first, games, np.zeros((count, n, capacity)), np.zeros((count, *cells)), 0)
    new = jax.tree.map(lambda leaf: np.asarray(leaf)[:, None], policies)  # [S, 1, N, ...]
    return _solved(psro, arena, fill(psro, arena, _grown(psro, empty, new, None), keys, seeds), None)[0]


def widen(progress: Progress, capacity: int) -> Progress:
    """With room for `capacity` policies a player."""
    n, more = progress.profile.shape[1], capacity - progress.profile.shape[2]

    def pad(leaf: Any, axes: Sequence[int]) -> np.ndarray:
        return np.pad(leaf, [(0, more if axis in axes else 0) for axis in range(np.ndim(leaf))])

    cells = range(1, n + 1)
    games = progress.games
    fields = {name: pad(getattr(games, name), range(2, n + 2)) for name in ("mean", "squares", "quantiles", "least")}
    return progress._replace(
        populations=jax.tree.map(lambda leaf: pad(leaf, (2,)), progress.populations),
        games=games.replace(count=pad(games.count, cells), **fields),
        profile=pad(progress.profile, (2,)),
        joint=pad(progress.joint, cells),
    )


def iterate(psro: Psro, arena: Any, progress: Progress, seeds: Sequence[int]) -> tuple[Progress, Record]:
    """One iteration: respond, play the new profiles, solve.

    A run that finds nothing new stays as it is.
    """
    with jax.enable_x64(psro.oracle.exact or jnp.result_type(float) == jnp.float64):
        return _iterate(psro, _precise(psro, arena), progress, seeds)


def _precise(psro: Psro, arena: Any) -> Any:
    """Games in double precision, where everything is exact."""
    if not psro.oracle.exact:
        return arena
    return arena.replace(payoffs=jnp.asarray(np.asarray(arena.payoffs, np.float64)), name="", actions=())


def _iterate(psro: Psro, arena: Any, progress: Progress, seeds: Sequence[int]) -> tuple[Progress, Record]:
    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), progress.iteration + 1))(
        np.asarray(seeds, np.uint32)
    )
    count = len(progress.profile)
    wanted, active = zip(*(targets(psro, progress, seed) for seed in range(count)), strict=True)
    sizes = progress.games.sizes
    states, told = _respond(psro.oracle, arena, progress.states, progress.populations, np.stack(wanted), sizes, keys)
    gain = np.asarray(told["gain"]).max(axis=1).sum(axis=1) if "gain" in told else np.full(count, np.nan)
    policies = jax.tree.map(np.asarray, _policies(psro.oracle, arena, states))  # [S, R, N, ...]
    grown = _grown(psro, progress._replace(states=states), policies, np.stack(active))
    if psro.symmetric and progress.iteration == 0 and not isinstance(arena, NormalForm):
        check_symmetry(psro, arena, grown, keys)
    filled = fill(psro, arena, grown, keys, seeds)
    found, record = _solved(psro, arena, filled._replace(iteration=progress.iteration + 1), progress)
    return found, record._replace(gain=gain)


def _grown(psro: Psro, progress: Progress, new: Any, active: np.ndarray | None) -> Progress:
    """With policies `new`, leaves `[S, R, N, ...]`, in populations that have room and, if exact, not yet have them."""
    populations = jax.tree.map(np.copy, progress.populations)
    leaves, fresh = jax.tree.leaves(populations), [np.asarray(leaf) for leaf in jax.tree.leaves(new)]
    sizes = progress.games.sizes.copy()
    capacity = progress.profile.shape[2]
    for seed in range(len(sizes)):
        for number in range(fresh[0].shape[1]):
            for seat in range(fresh[0].shape[2]):
                player = 0 if psro.symmetric else seat
                size = sizes[seed, player]
                known = psro.oracle.exact and any(
                    all(
                        np.abs(a[seed, player, k] - b[seed, number, seat]).max() < 1e-9
                        for a, b in zip(leaves, fresh, strict=True)
                    )
                    for k in range(size)
                )
                if size >= capacity or known or (active is not None and not active[seed, number, seat]):
                    continue
                for leaf, own in zip(leaves, fresh, strict=True):
                    leaf[seed, player, size] = own[seed, number, seat]
                sizes[seed, player] += 1
        if psro.symmetric:
            sizes[seed] = sizes[seed, 0]
    return progress._replace(populations=populations, games=progress.games.replace(sizes=sizes))


def _solved(psro: Psro, arena: Any, progress: Progress, last: Progress | None) -> tuple[Progress, Record]:
    """With a solution of the game between populations, and what it is worth."""
    profiles, joints, rows = [], [], []
    for seed in range(len(progress.profile)):
        game = jax.tree.map(lambda leaf, s=seed: leaf[s], progress.games)
        table = game.game(psro.noise)
        found = _solution(psro, arena, game, jax.tree.map(lambda leaf, s=seed: leaf[s], progress.populations))
        most = found.profile.shape[1]
        profile = np.zeros(progress.profile.shape[1:])
        profile[:, :most] = found.profile
        joint = np.zeros(progress.joint.shape[1:])
        joint[(slice(0, most),) * len(profile)] = (
            reduce(np.multiply.outer, found.profile) if found.joint is None else found.joint
        )
        profiles.append(profile)
        joints.append(joint)
        if psro.noise:
            with jax.enable_x64(True):
                plain = certified(game.game(), jnp.asarray(profile), 0.0 * game.game().uniform()[:, 0], 1.0, 0)
            found = found.replace(value=np.asarray(plain.value), variance=np.asarray(plain.variance))
        gap = np.nan
        if last is not None:
            with jax.enable_x64(True):
                gap = float(_gap(table, jnp.asarray(last.joint[seed]), psro.response == "correlated"))
        rows.append(
            (
                game.sizes,
                found.value,
                found.variance,
                np.max(found.regret),
                bool(found.converged),
                gap,
                np.nan,
                _nash_conv(psro, arena, progress, profile, seed),
                game.count.sum(),
            )
        )
    record = Record(*(np.array(column) for column in zip(*rows, strict=True)))
    return progress._replace(profile=np.stack(profiles), joint=np.stack(joints)), record


@partial(jax.jit, static_argnums=2)
def _gap(table: NormalForm, joint: Any, correlated: bool) -> Float[Array, ""]:
    """What players gain in sum by the best deviation from `joint`."""
    gaps = table.correlated_regret(joint) if correlated else table.coarse_regret(joint)
    return jnp.maximum(gaps, 0.0).sum()


def _solution(psro: Psro, arena: Any, game: EmpiricalGame, populations: Any) -> Solution:
    """Of the game between populations."""
    if psro.anytime:
        return _anytime(arena, game, populations)
    most = min(max(8, 1 << int(game.sizes.max() - 1).bit_length()), game.capacity)  # few sizes, few compilations
    return solve(game.room(most).game(psro.noise), psro.solver)


def _anytime(arena: NormalForm, game: EmpiricalGame, populations: Any) -> Solution:
    """Each mixture does best against the worst strategy of the whole game."""
    payoffs = np.asarray(arena.payoffs, np.float64)
    own = np.zeros((2, game.capacity))
    for player, table in enumerate((payoffs[0], payoffs[1].T)):
        size = int(game.sizes[player])
        there = np.asarray(arena.mask)[1 - player]
        own[player, :size] = maximin(populations[player][:size] @ table[:, there])[0]
    with jax.enable_x64(True):
        table = game.game()
        found = certified(table, jnp.asarray(own), table.regret(jnp.asarray(own)), 1.0, 1)
    return jax.tree.map(np.asarray, found)


def _nash_conv(psro: Psro, arena: Any, progress: Progress, profile: np.ndarray, seed: int) -> float:
    """Of mixtures in a game in normal form; NaN elsewhere."""
    if not isinstance(arena, NormalForm):
        return float("nan")
    population = np.asarray(progress.populations[seed], np.float64)
    plays = np.einsum("nk,nka->na", profile, np.broadcast_to(population, (len(profile), *population.shape[1:])))
    with jax.enable_x64(True):
        return float(jax.jit(NormalForm.nash_conv)(arena, jnp.asarray(plays)))


@partial(jax.jit, static_argnums=3)
def _first(oracle: Oracle, arena: Any, keys: Any, responses: int) -> Any:
    """States of the oracle, leaves `[S, R, n, ...]`."""
    made = lambda key, r: oracle.init(arena, jax.random.fold_in(key, 2**22 + r))  # noqa: E731
    return jax.vmap(jax.vmap(made, (None, 0)), (0, None))(keys, jnp.arange(responses))


@jax.jit
def _policies(oracle: Oracle, arena: Any, states: Any) -> Any:
    """Of states with leaves `[S, R, N, ...]`."""
    return jax.vmap(jax.vmap(lambda own: oracle.policies(arena, own)))(states)


@jax.jit
def _respond(
    oracle: Oracle, arena: Any, states: Any, populations: Any, wanted: Float[Array, "S R N K O"], sizes: Any, keys: Any
) -> Any:
    """Responses of all seeds, all of an iteration side by side, and what oracles tell of them, `[S, R, N]`."""

    def one(states: Any, populations: Any, wanted: Any, sizes: Any, key: Any) -> Any:
        everyone = wide(arena, populations)
        own = lambda state, target, r: oracle.respond(  # noqa: E731
            arena, state, everyone, target, sizes, jax.random.fold_in(key, r)
        )
        return jax.vmap(own)(states, wanted, jnp.arange(len(wanted)))

    wanted = wanted.astype(jnp.result_type(float))
    return jax.vmap(one)(states, populations, wanted, sizes, keys)
