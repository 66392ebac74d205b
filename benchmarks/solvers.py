"""Speed of solvers beside nashpy, pygambit, OpenSpiel and HiGHS: `python benchmarks/solvers.py`.

Needs the extra `peers`. Ours and the peers' runs of a case are interleaved in one process and reported as medians, so
that other load on the machine hits all alike. Ours are `equilibria.solve` and `solve_batch`, checks of the game and
certificates included; their first call, which compiles, is timed apart. Peers that solve one game at a time are timed
on some games of a batch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

from experiments.cli import avoid_crashing_kernels

avoid_crashing_kernels()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

import equilibria  # noqa: E402
from equilibria import NormalForm  # noqa: E402

jax.config.update("jax_enable_x64", True)

FEW = 20
"""Games of a batch that a peer solves."""


@dataclass(frozen=True)
class Case:
    """What is timed.

    Attributes:
        name: of the case.
        ours: solves `games` games, and returns the largest regret as a share of the largest difference of payoffs.
        games: that `ours` solves in a call.
        peers: name → a function that solves one game, the number of the call given.
    """

    name: str
    ours: Callable[[], float]
    games: int = 1
    peers: dict[str, Callable[[int], Any]] | None = None


def batch(seed: int, games: int, *sizes: int) -> NormalForm:
    """Random games with independent normal payoffs."""
    drawn = np.random.default_rng(seed).normal(size=(games, len(sizes), *sizes))
    return NormalForm(jnp.asarray(drawn), jnp.ones((games, len(sizes), max(sizes)), bool))


def one(games: NormalForm, place: int = 0) -> NormalForm:
    """A game of a batch."""
    return jax.tree.map(lambda leaf: leaf[place], games)


def timed(solver: Any, games: NormalForm) -> Callable[[], float]:
    """Solve a game, or a batch, as users do."""
    many = games.mask.ndim == 3
    scale = np.asarray(jax.vmap(lambda own: own.scale())(games) if many else games.scale())
    solve = equilibria.solve_batch if many else equilibria.solve

    def run() -> float:
        found = solve(games, solver)
        assert found.converged.all(), found.message
        return float((found.regret.max(axis=-1) / scale).max())

    return run


def zero_sum(size: int, seed: int) -> NormalForm:
    """A zero-sum game."""
    table = np.random.default_rng(seed).normal(size=(size, size))
    return equilibria.normal_form(np.stack([table, -table]))


def cases() -> list[Case]:
    """All of them."""
    import nashpy
    import pygambit
    import pyspiel
    from open_spiel.python.algorithms import lp_solver

    found = []
    for size in (100, 300):
        game = zero_sum(size, size)
        tables = [np.asarray(own).tolist() for own in game.payoffs]
        spiel = pyspiel.create_matrix_game(*tables)
        for name in ("zero_sum", "lemke_howson"):
            peers = {"OpenSpiel (LP)": lambda _, spiel=spiel: lp_solver.solve_zero_sum_matrix_game(spiel)}
            ours = timed(equilibria.make(name), game)
            found.append(Case(f"zero-sum {size} x {size}, {name}", ours, 1, peers))
    games = batch(1, 10_000, 5, 5)
    few = [np.asarray(one(games, k).payoffs) for k in range(FEW)]
    peers = {"nashpy (Lemke-Howson)": lambda k: _nashpy(nashpy, few[k % FEW])}
    ours = timed(equilibria.make("lemke_howson"), games)
    found.append(Case("10,000 games 5 x 5, lemke_howson", ours, 10_000, peers))
    games = batch(2, 10_000, 10, 10)
    gambits = [_gambit(pygambit, one(games, k)) for k in range(FEW)]
    peers = {"pygambit (lcp)": lambda k: pygambit.nash.lcp_solve(gambits[k % FEW], rational=False, stop_after=1)}
    found.append(
        Case("10,000 games 10 x 10, lemke_howson", timed(equilibria.make("lemke_howson"), games), 10_000, peers)
    )
    for sizes in ((10, 10), (10, 10, 10)):
        game = one(batch(3, 1, *sizes))
        gambit = _gambit(pygambit, game)
        peers = {"pygambit (logit)": lambda _, gambit=gambit: pygambit.nash.logit_solve(gambit)}
        what = " x ".join(map(str, sizes))
        found.append(Case(f"logit path {what}, nash", timed(equilibria.make("nash"), game), 1, peers))
    rae = equilibria.make("rae", risk=0.3, tremble=0.001)
    for games, sizes in ((10_000, (4, 4)), (1, (100, 100)), (1, (30, 30, 30))):
        drawn = batch(4, games, *sizes)
        what = " x ".join(map(str, sizes))
        name = f"{games:,} games {what}, rae" if games > 1 else f"{what}, rae"
        found.append(Case(name, timed(rae, drawn if games > 1 else one(drawn)), games))
    return found


def _gambit(pygambit: Any, game: NormalForm) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "game.nfg"
        equilibria.write(game, path)
        return pygambit.read_nfg(str(path))


def _nashpy(nashpy: Any, tables: np.ndarray) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nashpy.Game(*tables).lemke_howson(initial_dropped_label=0)


def main() -> None:
    """Measure and print a Markdown table; `--json FILE` keeps the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json")
    parser.add_argument("--only", default="", help="only cases whose names contain this")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    title = f"{platform.machine()}, {os.cpu_count()} cores, jax {jax.__version__}, double precision"
    print(f"{title}; load average before {load:.2f}; medians of {args.repeats} interleaved runs\n")
    print("| case | ours, s | regret | first call, s | peer | its s a game | times as fast |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for case in (own for own in cases() if args.only in own.name):
        start = time.perf_counter()
        regret = case.ours()
        first, ours, theirs = time.perf_counter() - start, [], {name: [] for name in case.peers or {}}
        for repeat in range(args.repeats):
            start = time.perf_counter()
            regret = max(regret, case.ours())
            ours.append(time.perf_counter() - start)
            for name, solve in (case.peers or {}).items():
                calls = FEW if case.games > 1 else 1
                start = time.perf_counter()
                for k in range(calls):
                    solve(repeat * calls + k)
                theirs[name].append((time.perf_counter() - start) / calls)
        median = float(np.median(ours))
        peers = {name: float(np.median(seconds)) for name, seconds in theirs.items()} or {"": float("nan")}
        for name, seconds in peers.items():
            ratio = seconds * case.games / median
            row = {"case": case.name, "seconds": median, "regret": regret, "first_s": first}
            rows.append(row | {"peer": name, "peer_seconds": seconds, "ratio": ratio})
            cells = (case.name, f"{median:.4g}", f"{regret:.1e}", f"{first:.1f}", name)
            print(f"| {' | '.join(cells)} | {f'{seconds:.4g}' if name else ''} | {f'{ratio:.3g}' if name else ''} |")
    if args.json:
        Path(args.json).write_text(json.dumps({"machine": title, "load": load, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
