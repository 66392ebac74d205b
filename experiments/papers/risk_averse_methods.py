"""Ways to grow populations, averse to risk or not, and what they do when they meet each other."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array

import equilibria
import shaping
from envs import Environment
from equilibria.learner_oracle import LearnerOracle
from equilibria.psro import Progress, Psro, iterate, start
from equilibria.risk import MeanVariance, Neutral, Risk
from experiments import checkpoint

__all__ = [
    "BASELINES",
    "EPISODES",
    "TREMBLE",
    "Effort",
    "Method",
    "averse",
    "deployed",
    "grown",
    "interval",
    "met",
    "sharpened",
    "slug",
    "tail",
]

TREMBLE = 0.02
EPISODES = 8


@dataclass(frozen=True)
class Effort:
    """What is spent.

    Attributes:
        seeds: independent runs.
        iterations: of PSRO.
        updates: a response.
        entries: episodes of an entry of the empirical game.
        draws: of profiles of an evaluation; each plays 8 episodes.
        penalties: of mauling, in the stag hunt.
    """

    seeds: int
    iterations: int
    updates: int
    entries: int
    draws: int
    penalties: tuple[float, ...]


@dataclass(frozen=True)
class Method:
    """A way to grow populations.

    Attributes:
        solver: name.
        options: of the solver.
        measure: what the oracle maximises.
        uncertain: what varies, for the oracle; "episodes" lets the variance within an entry count for the solver too.
        self_play: how much of the target is the newest policy.
        newest: whether the newest policy is deployed, not a mixture.
    """

    solver: str
    options: dict[str, Any]
    measure: Risk = field(default_factory=Neutral)
    uncertain: Literal["profiles", "episodes"] = "profiles"
    self_play: float = 0.0
    newest: bool = False


def averse(
    gamma: float, uncertain: Literal["profiles", "episodes"] = "profiles", solver: bool = True, oracle: bool = True
) -> Method:
    """Risk-averse PSRO, or one half of it."""
    options = {"risk": gamma, "tremble": TREMBLE} if solver else {}
    return Method("rae" if solver else "nash", options, MeanVariance(gamma) if oracle else Neutral(), uncertain)


BASELINES = {
    "self-play": Method("uniform", {}, self_play=1.0, newest=True),
    "PSRO (uniform)": Method("uniform", {}),
    "PSRO (Nash)": Method("nash", {}),
    "PSRO (projected replicator)": Method("projected_replicator", {}),
    "PSRO (quantal response)": Method("qre", {}),
    "PSRO (trembling hand)": Method("trembling_hand", {}),
    "PSRO (maximin)": Method("security", {}),
}


def slug(name: str) -> str:
    """Of a method, for files and the command line."""
    return re.sub(r"[^a-z0-9.]+", "_", name.lower()).strip("_")


def rule(method: Method, effort: Effort) -> Psro:
    """As PSRO."""
    learner = shaping.make("ppo", learning_rate=0.005, entropy=0.1, minibatches=2, normalize=False, max_grad_norm=1e6)
    oracle = LearnerOracle(
        learner,
        method.measure,
        method.uncertain,
        updates=effort.updates,
        profiles=16,
        episodes=EPISODES,
        start="last" if method.newest else "fresh",
    )
    noise = method.options.get("risk", 0.0) if method.uncertain == "episodes" else 0.0
    solver = equilibria.make(method.solver, **method.options)
    return Psro(oracle, solver, self_play=method.self_play, episodes=effort.entries, noise=noise)


def grown(env: Environment, method: Method, effort: Effort, directory: Path) -> tuple[Psro, Progress]:
    """Populations of all seeds; goes on in `directory` where it was stopped."""
    psro, seeds = rule(method, effort), list(range(effort.seeds))
    progress = start(psro, env, seeds, 1 + effort.iterations)
    _, found, _ = checkpoint.restore_latest(directory, jax.tree.map(np.asarray, progress))
    if found is not None:
        progress = found._replace(iteration=int(found.iteration))
    while progress.iteration < effort.iterations:
        progress, _ = iterate(psro, env, progress, seeds)
        directory.mkdir(parents=True, exist_ok=True)
        checkpoint.save(directory, progress.iteration, jax.tree.map(np.asarray, progress))
    return psro, progress


def deployed(method: Method, progress: Progress) -> np.ndarray:
    """Mixtures `[S, n, K]` as intended: without trembles, since not all methods have any."""
    if method.newest:
        return np.eye(progress.profile.shape[2])[progress.games.sizes - 1]
    intended = np.maximum(progress.profile - method.options.get("tremble", 0.0), 0.0)
    return intended / intended.sum(axis=2, keepdims=True)


def sharpened(policies: Any, temperature: float) -> Any:
    """Actor-critics that draw actions at `temperature`, and so hardly explore when it is low."""
    return policies | {"actor": jax.tree.map(lambda leaf: leaf / temperature, policies["actor"])}


@partial(jax.jit, static_argnums=(3,))
def _watch(psro: Psro, env: Environment, policies: Any, episodes: int, keys: Array) -> Any:
    """Returns `[S, P, E, n]` and what was seen, of policies with leaves `[S, P, n, ...]`."""
    one = lambda own, key: psro.oracle.watch(env, own, episodes, key)  # noqa: E731  # type: ignore[attr-defined]
    return jax.vmap(jax.vmap(one))(policies, keys)


def met(
    psro: Psro, env: Environment, row: tuple[Any, np.ndarray], column: tuple[Any, np.ndarray], effort: Effort
) -> dict[str, np.ndarray]:
    """Episodes of policies drawn from `row`, in seat 0, with those drawn from `column`, in all others.

    Args:
        psro: for its oracle.
        env: the game.
        row: populations, leaves `[S, n, K, ...]`, and mixtures, `[S, n, K]`.
        column: likewise.
        effort: draws.

    Returns:
        "return" and what the environment shows, of seat 0, `[S, P E]`.
    """
    n, seeds = env.num_players, len(row[1])
    rng = np.random.default_rng(0)
    chosen = np.stack(
        [
            np.stack(
                [
                    rng.choice(own.shape[2], effort.draws, p=own[seed, seat] / own[seed, seat].sum())
                    for seed in range(seeds)
                ]
            )
            for seat, own in ((seat, (row if seat == 0 else column)[1]) for seat in range(n))
        ],
        axis=2,
    )  # [S, P, n]

    def pick(own: np.ndarray, other: np.ndarray) -> np.ndarray:
        parts = [(own if seat == 0 else other)[np.arange(seeds)[:, None], seat, chosen[..., seat]] for seat in range(n)]
        return np.stack(parts, axis=2)

    policies = jax.tree.map(pick, row[0], column[0])
    keys = jax.random.split(jax.random.key(1), (seeds, effort.draws))
    returns, seen = _watch(psro, env, policies, EPISODES, keys)
    found = {"return": returns} | seen
    return {name: np.asarray(own)[..., 0].reshape(seeds, -1) for name, own in found.items()}


def interval(values: np.ndarray) -> str:
    """Mean over seeds with a 95 % interval of a t distribution."""
    from scipy.stats import t

    if len(values) < 2:
        return f"{values.mean():.3g}"
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3g} ± {half:.2g}"


def tail(values: np.ndarray, level: float = 0.05) -> np.ndarray:
    """Means `[S]` of the worst share of `values` `[S, E]`."""
    worst = np.sort(values, axis=1)[:, : max(1, int(level * values.shape[1]))]
    return worst.mean(axis=1)
