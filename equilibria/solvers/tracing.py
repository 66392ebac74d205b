"""The tracing procedure, and risk dominance by it."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Key

from equilibria.game import NormalForm
from equilibria.numerics import centred
from equilibria.path import follow, start
from equilibria.properties import risk_dominant
from equilibria.responses import perceive
from equilibria.risk import Neutral
from equilibria.solution import Solution, certified
from equilibria.solver import Solver
from equilibria.solvers.pure import Pure
from equilibria.solvers.risk_averse import settle

__all__ = ["RiskDominant", "Tracing", "trace"]


class Tracing(Solver):
    """The equilibrium that players come to who at first expect a prior, and then more and more what all would do.

    The procedure is followed in its logit form at a high precision, which is single-valued in almost every game; then
    the trembles are taken out.

    Source: Harsanyi 1975; Harsanyi and Selten 1988; logit form: McKelvey and Palfrey 1998.

    Attributes:
        precision: λ of responses on the way, in units of 1 over the largest difference of payoffs.
        tolerance: of regret, as a share of the largest difference of payoffs.
        steps: at most.
    """

    precision: float = 200.0
    tolerance: float = 1e-8
    steps: int = struct.field(default=4000, pytree_node=False)

    how: ClassVar[str] = "the logit form of tracing"

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """From the prior of uniform play, or from a random one; consumes `key`."""
        prior = game.uniform()
        if key is not None:
            drawn = jnp.where(game.mask, jax.random.exponential(key, prior.shape, prior.dtype), 0.0)
            prior = drawn / drawn.sum(axis=1, keepdims=True)
        profile, steps = trace(game, prior, self.precision, self.steps)
        return certified(game, profile, game.regret(profile), self.tolerance, steps)


def trace(
    game: NormalForm, prior: Float[Array, "n A"], precision: Any = 200.0, steps: int = 4000
) -> tuple[Float[Array, "n A"], Array]:
    """Where tracing leads from `prior`, and after how many steps."""
    seen, scale, uniform = perceive(game, Neutral()), game.scale(), game.uniform()
    rate = jnp.asarray(precision, prior.dtype) / scale
    before = seen.slope(prior)
    push = lambda play, t: rate * ((1 - t) * before + t * seen.slope(play))  # noqa: E731
    point = start(uniform, game.mask, 0.01)._replace(logits=centred(rate * before, game.mask))
    point = follow(push, uniform, game.mask, point, 1.0, steps=steps)
    profile, _ = settle(seen, point.play(game.mask))
    return profile, point.steps


class RiskDominant(Solver):
    """The strict pure equilibrium that risk-dominates every other.

    With two players, two actions and two such equilibria that with the larger product of what is lost by deviating;
    else the one to which tracing leads from the bicentric prior of every pair with another. If none dominates all
    others, it has not converged, and the profile is one that most lose to.

    Source: Harsanyi and Selten 1988, A General Theory of Equilibrium Selection in Games.

    Attributes:
        tolerance: of regret, as a share of the largest difference of payoffs.
    """

    tolerance: float = 1e-8

    how: ClassVar[str] = "products of losses, or tracing"
    starts_anywhere: ClassVar[bool] = False
    on_host: ClassVar[bool] = True

    def reason(self, game: NormalForm, found: Solution | None) -> str:
        """That there is nothing to choose from, or that nothing wins."""
        strict = sum(_is_strict(game, own.profile) for own in Pure().every(game))
        if strict == 0:
            return "no strict pure equilibrium exists"
        tie = strict == 2 and game.sizes == (2, 2)
        return "the two strict equilibria tie" if tie else f"none of {strict} strict equilibria dominates all others"

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """The equilibrium; `key` is not used."""
        strict = [np.asarray(own.profile) for own in Pure().every(game) if _is_strict(game, own.profile)]
        simple = risk_dominant(game)
        if simple is not None:
            best, all_of_them = np.eye(game.num_actions)[list(simple)], True
        elif not strict:
            best, all_of_them = np.asarray(game.uniform()), False
        elif len(strict) == 2 and game.sizes == (2, 2):  # they tie
            best, all_of_them = strict[0], False
        else:
            wins = np.zeros(len(strict), int)
            for one in range(len(strict)):
                for two in range(one):
                    winner = _dominates(game, strict[one], strict[two])
                    wins[one if winner == 1 else two] += winner != 0
            best, all_of_them = strict[int(np.argmax(wins))], bool(wins.max() == len(strict) - 1)
        profile = jnp.asarray(best, game.dtype)
        found = certified(game, profile, game.regret(profile), self.tolerance, max(len(strict), 1))
        return found.replace(converged=found.converged & all_of_them)


def _is_strict(game: NormalForm, profile: Array) -> bool:
    """Whether everybody would lose by any deviation from the pure `profile`."""
    values = np.asarray(game.action_values(profile))
    here = (np.asarray(profile) * values).sum(axis=1, keepdims=True)
    others = np.asarray(game.mask) & (np.asarray(profile) < 0.5)
    return bool((np.where(others, values - here, -np.inf) < -1e-9 * float(game.scale())).all())


def _dominates(game: NormalForm, one: np.ndarray, two: np.ndarray, points: int = 513) -> int:
    """1 if `one` risk-dominates `two`, 2 the reverse, 0 if tracing leads to neither."""
    shares = jnp.linspace(0.0, 1.0, points)[:, None, None]
    mixed = shares * jnp.asarray(one)[None] + (1 - shares) * jnp.asarray(two)[None]
    values = jax.vmap(game.action_values)(mixed)
    replies = jnp.argmax(jnp.where(game.mask[None], values, -jnp.inf), axis=2)
    prior = jax.nn.one_hot(replies, game.num_actions, dtype=game.dtype).mean(axis=0)
    end = np.asarray(jax.jit(trace)(game, prior)[0])
    off = [np.abs(end - own).max() for own in (one, two)]
    return 0 if min(off) > 1e-3 else 1 + int(off[1] < off[0])
