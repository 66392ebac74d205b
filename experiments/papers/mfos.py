"""Model-free opponent shaping (arXiv 2205.01447): its tables, the row of M-FOS itself included."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

import envs
import shaping
from envs import Environment
from experiments.papers.differentiable_play import exact, fitted
from experiments.reproduce import Experiment, Row, at_least, near, shown
from experiments.tiles import Tiles
from shaping import Learner, Lola, Match, Naive
from shaping.maml import Maml
from shaping.wrappers import Prepared

__all__ = ["SCALES", "experiments", "train"]

SCALES = ("smoke", "cpu", "full")
GAMES = {"ipd2": "prisoner's dilemma", "chicken": "chicken", "matching_pennies": "matching pennies"}
META_STEPS = 100
MAML_STARTS = 10

INTRODUCTION = """# M-FOS: published and measured

`python run.py reproduce mfos` trains M-FOS in the exact meta-game against each kind of learner, and plays 100
meta-steps with what it has learned. A cell holds the mean reward per step of the player of the row. The cells of
learners that are not M-FOS are on the [page of differentiable rules](differentiable.md). Rewards are medians over
seeds. Against naive learners in the prisoner's dilemma M-FOS waits near -0.9 until it finds extortion, for 100 to more
than 600 meta-episodes: seeds differ, and so do those of the public code.
"""


@dataclass(frozen=True)
class Effort:
    """What is spent on a cell.

    Attributes:
        batch: sets of rivals R of a trial.
        trials: meta-episodes.
        seeds: independent runs.
        evaluated: sets of rivals of the evaluation, for each seed.
        maml_steps: steps in which the start of M-MAML is learned.
    """

    batch: int
    trials: int
    seeds: int
    evaluated: int
    maml_steps: int


EFFORTS = {
    "smoke": Effort(8, 2, 2, 16, 2),
    "cpu": Effort(256, 600, 2, 1024, 1000),
    "full": Effort(4096, 1024, 8, 4096, 1000),
}

MANY = {("ipd2", "naive"): 3}
"""How many times as many seeds, where a plateau holds some of them for hundreds of meta-episodes."""

PUBLISHED: dict[tuple[str, str], tuple[float | None, float | None]] = {
    ("ipd2", "naive"): (-0.51, -2.14),
    ("ipd2", "lola"): (-0.73, -2.09),
    ("ipd2", "maml"): (-0.83, None),
    ("ipd2", "self-play"): (-1.01, -1.01),
}
"""Of M-FOS and of its opponent, as the paper is quoted."""


def opponent(name: str, env: Environment, effort: Effort) -> Learner:
    """Who M-FOS learns to shape."""
    if name == "maml":
        maml = Maml(fitting_steps=effort.maml_steps)
        learned = fitted(env, maml, MAML_STARTS)
        learner = exact(Maml(fitting_steps=0))
        keys = jax.random.split(jax.random.key(0), MAML_STARTS)
        states = jax.vmap(lambda key: learner.init(env, key))(keys)
        (params,) = jax.vmap(lambda own: maml.start((states.params[0],), own))(learned)
        return Prepared(learner, states._replace(params=params, learned=learned))
    rules = {"static": exact(Naive(), 0.0), "naive": exact(Naive()), "lola": exact(Lola(expansion="taylor"))}
    return rules[name]


def train(match: Match, trials: int, evaluated: int, key: Key[Array, ""]) -> tuple[Array, Array]:
    """Train shapers for a number of trials; then one more, from which nobody learns.

    Returns:
        The fitness of the first shaper in each trial, `[trials]`; and mean rewards per step `[R, n]` over the inner
        episodes but the first, whose tables nobody chose.
    """

    def step(states: Any, index: Any) -> tuple[Any, Array]:
        states, metrics = shaping.step(match, states, key, index)
        return states, metrics[0]["fitness"][0]

    states, fitness = jax.lax.scan(step, shaping.init(match, key), jnp.arange(trials))
    keys = jax.random.split(jax.random.fold_in(key, trials), evaluated)
    seen = jax.lax.map(lambda own: shaping.trial_outcome(match, states, own).reward_per_step, keys, batch_size=256)
    return fitness, seen[:, 1:].mean(axis=1)


def cell(game: str, name: str, scale: str) -> list[Row]:
    """M-FOS against one kind of opponent in one game."""
    effort, env = EFFORTS[scale], envs.make(game)
    trials, fields = effort.trials, {}
    if name == "self-play":
        trials, fields = 2 * trials, {"naive_share": 1.0, "naive_decay": 1.0 / (1.3 * trials)}
    own = shaping.make("mfos_exact", **fields)
    rival = own if name == "self-play" else opponent(name, env, effort)
    match = Match.of(env, [own, rival], episodes=META_STEPS + 1, rivals=effort.batch)
    seeds = _seeds(game, name, effort)
    program = Tiles.of(seeds, match).program(partial(_trained, trials=trials, evaluated=effort.evaluated))
    _, rewards = program((match,), (np.arange(seeds),))
    ends = rewards.mean(axis=1)
    middle = np.median(ends, axis=0)
    rows = [shown(f"{game}, seed {seed}: M-FOS ({name})", f"{a:.3f} ({b:.3f})") for seed, (a, b) in enumerate(ends)]
    published = PUBLISHED.get((game, name), (None, None))
    rows += [
        shown(f"{game}: M-FOS against {name}", middle[0], published[0]),
        shown(f"{game}: {name} against M-FOS", middle[1], published[1]),
    ]
    if scale == "smoke":
        return rows
    if (game, name) == ("ipd2", "naive"):
        rows += [at_least("median seed of M-FOS", -0.455, middle[0], -0.50)]
        rows += [at_least("median seed: minus the reward of naive", 2.21, -middle[1], 2.1)]
        rows += [shown("seeds of M-FOS that reach -0.50", f"{(ends[:, 0] >= -0.5).sum()} of {seeds}")]
    if (game, name) == ("ipd2", "lola"):
        rows += [near("M-FOS against lola, measured by others", -1.032, middle[0], 0.05)]
        rows += [near("lola against M-FOS, measured by others", -1.025, middle[1], 0.05)]
    if (game, name) == ("ipd2", "self-play"):
        rows += [near("M-FOS in self-play", -1.01, middle.mean(), 0.05)]
    if (game, name) == ("chicken", "naive"):
        rows += [at_least("worst seed of M-FOS", 0.968, ends[:, 0].min(), 0.95)]
    return rows


def _seeds(game: str, name: str, effort: Effort) -> int:
    return effort.seeds * MANY.get((game, name), 1)


def _trained(match: Match, seed: Any, *, trials: int, evaluated: int) -> tuple[Array, Array]:
    return train(match, trials, evaluated, jax.random.key(seed))


def experiments(scale: str) -> list[Experiment]:
    """One a cell."""
    effort = EFFORTS[scale]
    text = (
        f"{effort.trials} meta-episodes (self-play: twice as many) of {META_STEPS} meta-steps against {effort.batch}"
        f" opponents side by side (published: 1024, 4096), {effort.evaluated} evaluated a seed. Published: Lu et al."
        " 2022, as quoted by others, without tolerance; runs of its code and of a port of it at batch 256."
    )
    return [
        Experiment(
            f"{game}_{name}",
            f"{title}: against {name}",
            text,
            _seeds(game, name, effort),
            partial(cell, game, name, scale),
        )
        for game, title in GAMES.items()
        for name in ("static", "naive", "lola", "maml", "self-play")
    ]
