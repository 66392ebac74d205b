"""Entries of the game between populations: profiles are played, those that are new, until they are sure enough."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from equilibria.empirical import EmpiricalGame
from equilibria.growth import Progress, Psro
from equilibria.oracles import Oracle

__all__ = ["check_symmetry", "fill", "wide"]

CELLS = (2, 8, 32)
"""How many profiles a call of the program that plays them may have: the least that is enough."""
SIDE_BY_SIDE = 2**23
"""Steps of an environment that such a call keeps in memory, about; fewer profiles are played if they have more."""
STEPS = 2**20
"""Of a profile, at a time; more episodes are played one portion after the other."""
EPISODES = 4096
"""By which it is checked whether an environment is symmetric."""
SURE = 6.0
"""Standard errors by which seats must differ for a game not to be symmetric."""


def fill(psro: Psro, arena: Any, progress: Progress, keys: Any, seeds: Sequence[int]) -> Progress:
    """With entries for new profiles, played until they are as sure as wanted."""
    games = [jax.tree.map(lambda leaf, s=s: leaf[s], progress.games) for s in range(len(seeds))]
    todo = [_missing(psro, game, seed, progress.iteration) for seed, game in zip(seeds, games, strict=True)]
    part = 2**20
    while longest := max(map(len, todo)):
        cells = _cells(psro, arena, longest, len(seeds))
        for place in range(0, longest, cells):
            wanted = [own[place : place + cells] for own in todo]
            rows = np.zeros((len(games), cells, arena.num_players), np.int32)
            for number, own in enumerate(wanted):
                rows[number, : len(own)] = own
            own_keys = _each(keys, part, np.arange(place, place + cells))
            found = _play(psro.oracle, arena, progress.populations, rows, own_keys, psro.episodes)
            returns = np.asarray(found, np.float64)
            if not np.isfinite(returns).all():
                raise FloatingPointError("returns that are not finite: expected policies and rewards to be finite")
            for number, own in enumerate(wanted):
                if len(own):
                    games[number] = games[number].add(own, returns[number, : len(own)], psro.symmetric)
        todo = [_unsure(psro, game, own) for game, own in zip(games, todo, strict=True)]
        part += 1
    return progress._replace(games=jax.tree.map(lambda *leaves: np.stack(leaves), *games))


def _cells(psro: Psro, arena: Any, longest: int, seeds: int) -> int:
    """How many profiles of each seed are played side by side: enough for the `longest` list, or as memory allows."""
    steps = 1 if psro.oracle.exact else min(psro.episodes * arena.horizon, STEPS)
    allowed = [size for size in CELLS if size * seeds * steps <= SIDE_BY_SIDE] or CELLS[:1]
    return next((size for size in allowed if size >= longest), allowed[-1])


def _unsure(psro: Psro, game: EmpiricalGame, profiles: np.ndarray) -> np.ndarray:
    """Which of `profiles` are to be played on."""
    error, most = psro.standard_error, 64 * psro.episodes
    if psro.oracle.exact or error is None:
        return profiles[:0]
    sure = [
        game.standard_error[(slice(None), *own)].max() <= error or game.count[tuple(own)] >= most for own in profiles
    ]
    return profiles[~np.array(sure, bool)]


def _missing(psro: Psro, game: EmpiricalGame, seed: int, iteration: int) -> np.ndarray:
    """Profiles without an entry, `[B, n]`: all of them, or as many as are to be played, drawn at random."""
    played = game.played
    cells = [cell for cell in game.profiles(psro.symmetric) if not played[cell]]
    if len(cells) > psro.profiles:
        drawn = np.random.default_rng((seed, iteration)).choice(len(cells), psro.profiles, replace=False)
        cells = [cells[k] for k in sorted(drawn)]
    return np.array(cells, np.int32).reshape(-1, game.num_players)


def check_symmetry(psro: Psro, arena: Any, progress: Progress, keys: Any) -> None:
    """Raise unless two policies earn the same when they change seats, as far as 4096 episodes tell."""
    n = arena.num_players
    profiles = np.zeros((len(progress.profile), n, n), np.int32)
    for seat in range(n):
        profiles[:, seat, seat] = 1
    own_keys = _each(keys, 2**21, np.arange(n))
    returns = np.asarray(_play(psro.oracle, arena, progress.populations, profiles, own_keys, EPISODES), np.float64)
    odd = np.stack([returns[:, seat, :, seat] for seat in range(n)], axis=1)  # of the one who differs, [S, n, E]
    others = np.stack([np.delete(returns[:, seat], seat, axis=2).mean(axis=2) for seat in range(n)], axis=1)
    for what in (odd, others):
        mean, error = what.mean(axis=2), what.std(axis=2) / np.sqrt(what.shape[2])
        apart = np.abs(mean - mean[:, :1])
        if (apart > SURE * np.sqrt(error**2 + error[:, :1] ** 2) + 1e-6 * (1 + np.abs(mean))).any():
            raise ValueError(
                f"symmetric: the same policies earn {np.round(mean[0], 3).tolist()} when they change seats;"
                " expected a symmetric game, or symmetric = False"
            )


def wide(arena: Any, populations: Any) -> Any:
    """Populations of one seed with leaves `[n, K, ...]`."""
    n = arena.num_players
    return jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (n, *leaf.shape[1:])), populations)


@jax.jit
def _each(keys: Any, part: Any, places: Any) -> Any:
    """A key for each place in a list of profiles, `[S, B]`, whatever the lists of other seeds."""
    own = jax.vmap(jax.random.fold_in, (0, None))(keys, part)
    return jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(own, places)


@partial(jax.jit, static_argnums=5)
def _play(
    oracle: Oracle, arena: Any, populations: Any, profiles: Any, keys: Any, episodes: int
) -> Float[Array, "S B E n"]:
    """Returns of profiles `[S, B, n]`, each with one of the `keys` `[S, B]`."""

    def one(populations: Any, profiles: Any, keys: Any) -> Any:
        everyone = wide(arena, populations)

        def cell(profile: Any, key: Any) -> Any:
            chosen = jax.tree.map(lambda leaf: leaf[jnp.arange(arena.num_players), profile], everyone)
            if oracle.exact or episodes * arena.horizon <= STEPS:
                return oracle.play(arena, chosen, episodes, key)
            portions = -(-episodes * arena.horizon // STEPS)
            each = -(-episodes // portions)
            part = lambda number: oracle.play(arena, chosen, each, jax.random.fold_in(key, number))  # noqa: E731
            return jax.lax.map(part, jnp.arange(portions)).reshape(portions * each, -1)[:episodes]

        return jax.vmap(cell)(profiles, keys)

    return jax.vmap(one)(populations, profiles, keys)
