"""Policy-space response oracles: populations that grow by responses to a solution of the game between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from envs.validation import require_choice, require_range
from equilibria.empirical import EmpiricalGame
from equilibria.front import solve
from equilibria.game import NormalForm, normal_form
from equilibria.oracles import Oracle
from equilibria.properties import is_symmetric, zero_sum
from equilibria.risk import Neutral
from equilibria.solution import Solution, certified
from equilibria.solver import Solver
from equilibria.solvers.zero_sum import maximin

__all__ = ["Progress", "Psro", "Record", "iterate", "start", "widen"]

CELLS = (2, 8, 32)
"""How many profiles a call of the program that plays them may have: the least that is enough."""
EPISODES = 4096
"""By which it is checked whether an environment is symmetric."""
SURE = 6.0
"""Standard errors by which seats must differ for a game not to be symmetric."""


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
        nash_conv: `[S]`, of the new mixtures, exact; NaN where that is not known.
        episodes: `[S]`, played so far for the entries of the game.
    """

    sizes: np.ndarray
    value: np.ndarray
    variance: np.ndarray
    regret: np.ndarray
    converged: np.ndarray
    gap: np.ndarray
    nash_conv: np.ndarray
    episodes: np.ndarray


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
    return _solved(psro, arena, _fill(psro, arena, _grown(psro, empty, new, None), keys, seeds), None)[0]


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
    targets, active = zip(*(_targets(psro, progress, seed) for seed in range(count)), strict=True)
    sizes = progress.games.sizes
    states, _ = _respond(psro.oracle, arena, progress.states, progress.populations, np.stack(targets), sizes, keys)
    policies = jax.tree.map(np.asarray, _policies(psro.oracle, arena, states))  # [S, R, N, ...]
    grown = _grown(psro, progress._replace(states=states), policies, np.stack(active))
    if psro.symmetric and progress.iteration == 0 and not isinstance(arena, NormalForm):
        _check_symmetry(psro, arena, grown, keys)
    filled = _fill(psro, arena, grown, keys, seeds)
    return _solved(psro, arena, filled._replace(iteration=progress.iteration + 1), progress)


def _targets(psro: Psro, progress: Progress, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What players respond to, `[R, n, K, O]`, and whether there is such a response, `[R, n]`."""
    game = jax.tree.map(lambda leaf: leaf[seed], progress.games)
    profile, joint = progress.profile[seed], progress.joint[seed]
    n, size = profile.shape
    if psro.response in ("independent", "rectified"):
        joint = reduce(np.multiply.outer, profile)
    if psro.self_play:
        newest = np.zeros_like(joint)
        newest[tuple(game.sizes - 1)] = 1.0
        joint = (1 - psro.self_play) * joint + psro.self_play * newest
    found, active, first = [], [], joint
    for player in range(n):
        order = [(player + k) % n for k in range(n)]
        turned = joint.transpose(order).reshape(size, -1)  # [K, O]
        rows = [turned] * psro.responses
        if psro.response in ("correlated", "rectified"):
            weights = turned.sum(axis=1)
            likely = [k for k in np.argsort(-weights, kind="stable") if weights[k] > 1e-9][: psro.responses]
            rows = [np.where(np.arange(size)[:, None] == k, turned, 0.0) / weights[k] for k in likely]
            if psro.response == "rectified":
                payoffs = np.asarray(game.game(psro.noise).payoffs)[player].transpose(order).reshape(size, -1)
                value = (turned * payoffs).sum()
                rows = [_rectified(row, payoffs, value) for row in rows]
        first = turned if player == 0 else first
        alike = psro.symmetric and player > 0 and np.abs(turned - first).max() < 1e-6
        active.append([not alike] * len(rows) + [False] * (psro.responses - len(rows)))
        found.append(rows + [turned] * (psro.responses - len(rows)))
    return np.array(found).swapaxes(0, 1), np.array(active).T


def _rectified(row: np.ndarray, payoffs: np.ndarray, value: float) -> np.ndarray:
    """What is left of a distribution `[K, O]` where payoffs are at least the value."""
    slack = 1e-9 * (np.abs(payoffs).max() + 1.0)
    kept = np.where(payoffs >= value - slack, row, 0.0)
    return kept / kept.sum() if kept.sum() > 0 else row


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


def _fill(psro: Psro, arena: Any, progress: Progress, keys: Any, seeds: Sequence[int]) -> Progress:
    """With entries for new profiles, played until they are as sure as wanted."""
    games = [jax.tree.map(lambda leaf, s=s: leaf[s], progress.games) for s in range(len(progress.profile))]
    exact = psro.oracle.exact
    todo = [_missing(psro, game, seed, progress.iteration) for seed, game in zip(seeds, games, strict=True)]
    part = 2**20
    while any(map(len, todo)):
        longest = max(map(len, todo))
        cells = next((size for size in CELLS if size >= longest), CELLS[-1])
        for place in range(0, longest, cells):
            wanted = [own[place : place + cells] for own in todo]
            rows = np.zeros((len(games), cells, games[0].num_players), np.int32)
            for number, own in enumerate(wanted):
                rows[number, : len(own)] = own if len(own) else 0
            own_keys = _each(keys, part, np.arange(place, place + cells))
            found = _play(psro.oracle, arena, progress.populations, rows, own_keys, psro.episodes)
            returns = np.asarray(found, np.float64)
            if not np.isfinite(returns).all():
                raise FloatingPointError("returns that are not finite: expected policies and rewards to be finite")
            for number, own in enumerate(wanted):
                if len(own):
                    games[number] = games[number].add(own, returns[number, : len(own)], psro.symmetric)
        if exact or psro.standard_error is None:
            break
        part += 1
        error = psro.standard_error
        unsure = lambda game, own, error=error: [  # noqa: E731
            cell
            for cell in own
            if game.standard_error[(slice(None), *cell)].max() > error and game.count[tuple(cell)] < 64 * psro.episodes
        ]
        todo = [
            np.array(unsure(game, own), np.int32).reshape(-1, game.num_players)
            for game, own in zip(games, todo, strict=True)
        ]
    return progress._replace(games=jax.tree.map(lambda *leaves: np.stack(leaves), *games))


def _missing(psro: Psro, game: EmpiricalGame, seed: int, iteration: int) -> np.ndarray:
    """Profiles without an entry, `[B, n]`: all of them, or as many as are to be played, drawn at random."""
    played = game.played
    cells = [cell for cell in game.profiles(psro.symmetric) if not played[cell]]
    if len(cells) > psro.profiles:
        drawn = np.random.default_rng((seed, iteration)).choice(len(cells), psro.profiles, replace=False)
        cells = [cells[k] for k in sorted(drawn)]
    return np.array(cells, np.int32).reshape(-1, game.num_players)


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


def _check_symmetry(psro: Psro, arena: Any, progress: Progress, keys: Any) -> None:
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


def _wide(arena: Any, populations: Any) -> Any:
    """Populations of one seed with leaves `[n, K, ...]`."""
    n = arena.num_players
    return jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (n, *leaf.shape[1:])), populations)


@jax.jit
def _each(keys: Any, part: Any, places: Any) -> Any:
    """A key for each place in a list of profiles, `[S, B]`, whatever the lists of other seeds."""
    own = jax.vmap(jax.random.fold_in, (0, None))(keys, part)
    return jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(own, places)


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
    oracle: Oracle, arena: Any, states: Any, populations: Any, targets: Float[Array, "S R N K O"], sizes: Any, keys: Any
) -> Any:
    """Responses of all seeds, all of an iteration side by side."""

    def one(states: Any, populations: Any, targets: Any, sizes: Any, key: Any) -> Any:
        wide = _wide(arena, populations)
        own = lambda state, target, r: oracle.respond(  # noqa: E731
            arena, state, wide, target, sizes, jax.random.fold_in(key, r)
        )
        return jax.vmap(own)(states, targets, jnp.arange(len(targets)))

    targets = targets.astype(jnp.result_type(float))
    return jax.vmap(one)(states, populations, targets, sizes, keys)


@partial(jax.jit, static_argnums=5)
def _play(
    oracle: Oracle, arena: Any, populations: Any, profiles: Any, keys: Any, episodes: int
) -> Float[Array, "S B E n"]:
    """Returns of profiles `[S, B, n]`, each with one of the `keys` `[S, B]`."""

    def one(populations: Any, profiles: Any, keys: Any) -> Any:
        wide = _wide(arena, populations)

        def cell(profile: Any, key: Any) -> Any:
            chosen = jax.tree.map(lambda leaf: leaf[jnp.arange(arena.num_players), profile], wide)
            return oracle.play(arena, chosen, episodes, key)

        return jax.vmap(cell)(profiles, keys)

    return jax.vmap(one)(populations, profiles, keys)
