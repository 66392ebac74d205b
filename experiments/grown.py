"""The populations of a run of psro, whose mixtures play."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs import Environment
from experiments.config import UserError
from experiments.learned import Learned, restored
from experiments.psro_arguments import Growing, psro_arguments
from shaping import Learner
from shaping.mixture import Mixture, Population

__all__ = ["Grown", "load_grown"]


@dataclass(frozen=True)
class Grown(Learned):
    """Populations of `run.py psro`, whose mixtures play.

    Attributes:
        path: of the run directory.
        asked: its flags.
        arena: the environment.
        oracle: the learner whose policies they are.
        step: iterations made.
        populations: leaves `[S, N, K, ...]`, N = n, or 1 where all seats share one.
        profile: `[S, n, K]`, how likely each policy is.
    """

    path: Path
    asked: Growing
    arena: Environment
    oracle: Learner
    step: int
    populations: Any
    profile: np.ndarray

    @property
    def env(self) -> Environment:
        """The environment."""
        return self.arena

    @property
    def title(self) -> str:
        """Name of the environment."""
        return self.asked.title

    @property
    def names(self) -> list[str]:
        """The oracle, in every seat."""
        return [self.asked.own["oracle"]] * self.env.num_players

    @property
    def seeds(self) -> range:
        """Numbers of its seeds, S of them."""
        return range(self.asked.own["seed"], self.asked.own["seed"] + self.asked.own["seeds"])

    @property
    def batch(self) -> int:
        """Episodes against a profile, side by side."""
        return self.asked.oracle["episodes"]

    @property
    def components(self) -> dict[str, dict[str, Any]]:
        """Hyper-parameters of environment and oracle's learner."""
        return {"env": self.asked.env, self.asked.own["oracle"]: self.asked.learner}

    def kept(self, seat: int) -> tuple[Learner, Any]:
        """The mixture of the last iteration."""
        own = jax.tree.map(lambda leaf: leaf[:, min(seat, leaf.shape[1] - 1)], self.populations)
        weights = self.profile[:, seat] / self.profile[:, seat].sum(axis=1, keepdims=True)
        return Mixture(self.oracle), Population(own, jnp.asarray(weights, float))


def load_grown(path: Path, name: str) -> Grown:
    """The populations in `path`; messages start with `name`.

    Raises:
        UserError: those of the exact oracle, or no checkpoint that can be read.
    """
    from equilibria.learner_oracle import LearnerOracle
    from equilibria.psro import Progress
    from experiments.psro import build

    asked = psro_arguments(["--resume", str(path)])
    rule, env, capacity = build(asked)
    if not isinstance(rule.oracle, LearnerOracle):
        raise UserError(
            f"{name}: holds populations of strategies of a game in normal form (--oracle exact), which see nothing; "
            "expected those of a learner, such as --oracle ppo; summary.json has the mixtures"
        )
    count, n = asked.own["seeds"], env.num_players
    policy = jax.eval_shape(lambda: rule.oracle.policies(env, rule.oracle.init(env, jax.random.key(0))))
    room = (count, 1 if rule.symmetric else n, capacity)
    populations = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*room, *leaf.shape[1:]), leaf.dtype), policy)
    profile = jax.ShapeDtypeStruct((count, n, capacity), np.dtype(float))
    like: Any = Progress(populations, (), (), profile, (), ())  # pyright: ignore[reportArgumentType]
    step, found = restored(path, name, like)
    return Grown(path, asked, env, rule.oracle.learner, step, found.populations, found.profile)
