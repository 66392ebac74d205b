"""Seconds per iteration of PSRO, ours and OpenSpiel's: `python benchmarks/psro.py`.

Ours: a repeated matrix game of 10 steps, responses by PPO on a table (50 updates of 64 episodes a player), 1000
episodes an entry, at populations of 5, 20 and 50; and exact responses in the game of its 32 deterministic memory-one
strategies. OpenSpiel (extra `peers`): psro_v2 on Kuhn poker with exact responses, 1000 episodes an entry, as its
example runs it. Both are of a few moves an episode; games differ, so read ratios as orders of magnitude. First
iterations, which compile, are left out; one process, runs one after the other, other load noted.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

from experiments.cli import avoid_crashing_kernels

avoid_crashing_kernels()

import jax  # noqa: E402

import envs  # noqa: E402
import equilibria  # noqa: E402
import shaping  # noqa: E402
from equilibria.learner_oracle import LearnerOracle  # noqa: E402
from equilibria.oracles import BestResponse  # noqa: E402
from equilibria.psro import Psro, iterate, start  # noqa: E402
from equilibria.reactive import reactive  # noqa: E402

SOLVERS = {"Nash": ("nash", {}), "PRD": ("projected_replicator", {}), "JPSRO (CCE)": ("coarse_correlated", {})}


def ours(arena: Any, oracle: Any, solver: str, options: dict[str, Any], size: int, repeats: int) -> float:
    """Median seconds of iterations from populations of `size - repeats` to `size`."""
    response = "coarse" if solver == "coarse_correlated" else "independent"
    psro = Psro(oracle, equilibria.make(solver, **options), response=response, episodes=1000)
    progress = start(psro, arena, [0], size + 1)
    seconds = []
    while progress.games.sizes.max() < size:
        before = progress.games.sizes.max()
        began = time.perf_counter()
        progress, _ = iterate(psro, arena, progress, [0])
        seconds.append(time.perf_counter() - began)
        if progress.games.sizes.max() == before:
            break
    return float(np.median(seconds[-repeats:]))


def openspiel(method: str, size: int, repeats: int) -> float:
    """Likewise, of psro_v2 on Kuhn poker."""
    import pyspiel
    from open_spiel.python.algorithms.psro_v2 import best_response_oracle, psro_v2

    game = pyspiel.load_game("kuhn_poker")
    solver = psro_v2.PSROSolver(
        game,
        best_response_oracle.BestResponseOracle(game=game, policy=None),
        sims_per_entry=1000,
        rectifier="",
        training_strategy_selector="probabilistic",
        meta_strategy_method=method,
        prd_iterations=50_000,
        prd_gamma=1e-10,
        sample_from_marginals=True,
        symmetric_game=False,
    )
    seconds = []
    for _ in range(size - 1):
        began = time.perf_counter()
        solver.iteration()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[-repeats:]))


def main() -> None:
    """Measure and print a Markdown table; `--json FILE` keeps the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", default="5,20,50")
    parser.add_argument("--json")
    parser.add_argument("--peers", default="5,20", help="populations at which OpenSpiel is timed")
    args = parser.parse_args()
    game = envs.make("ipd2", horizon=10)
    learner = shaping.make("ppo", torso="table", minibatches=1)
    learns = LearnerOracle(learner, updates=50, profiles=16, episodes=4)
    title = f"{os.cpu_count()} cores, jax {jax.__version__}, load average before {os.getloadavg()[0]:.2f}"
    print(f"{title}\n\n| case | population | s an iteration |\n|---|---:|---:|")
    rows: list[dict[str, Any]] = []

    def timed(case: str, size: int, measure: Callable[[], float]) -> None:
        rows.append({"case": case, "size": size, "seconds": measure()})
        print(f"| {case} | {size} | {rows[-1]['seconds']:.4g} |", flush=True)

    for size in map(int, args.sizes.split(",")):
        for label, (solver, options) in SOLVERS.items():
            measure = lambda s=solver, o=options, k=size: ours(game, learns, s, o, k, args.repeats)  # noqa: E731
            timed(f"ours, {label}, PPO responses", size, measure)
    table = reactive(game)
    for label, (solver, options) in SOLVERS.items():
        measure = lambda s=solver, o=options: ours(table, BestResponse(), s, o, 5, args.repeats)  # noqa: E731
        timed(f"ours, {label}, exact responses", 5, measure)
    for players in (2, 3, 4):
        many = envs.make("ipd", players=players, horizon=10)
        measure = lambda env=many: ours(env, learns, "uniform", {}, 5, args.repeats)  # noqa: E731
        timed(f"ours, uniform, {players} players", 5, measure)
    for size in map(int, args.peers.split(",")) if args.peers else ():
        for method in ("nash", "prd"):
            timed(f"OpenSpiel psro_v2, {method}", size, lambda m=method, k=size: openspiel(m, k, args.repeats))
    if args.json:
        Path(args.json).write_text(json.dumps({"machine": title, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
