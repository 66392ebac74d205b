"""Nash equilibria by descent on how far everybody is from a softened best reply, while the softening anneals."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Key

from equilibria.game import NormalForm
from equilibria.responses import perceive
from equilibria.risk import Neutral
from equilibria.solution import Solution, certified
from equilibria.solver import Solver
from equilibria.solvers.risk_averse import settle

__all__ = ["Annealed"]


class Annealed(Solver):
    """Minimises the sum of deviation incentives of a game with entropy, whose temperature falls in stages.

    Any number of players. The exploitability of the softened game is smooth and 0 at its logit equilibria alone; each
    stage starts from the last one's end. A last step takes the entropy out, by Newton's method.

    Source: the idea of Gemp et al. 2022 (ADIDAS), arXiv 2106.01285: average deviation incentive descent with annealing;
    here with exact gradients instead of sampled ones, and Shannon entropy.

    Attributes:
        temperature: at first, in units of the largest difference of payoffs.
        cooling: factor of it from one stage to the next.
        stages: how many.
        learning_rate: of Adam, on logits.
        steps: of each stage.
        tolerance: of regret, as a share of the largest difference of payoffs.
    """

    temperature: float = 1.0
    cooling: float = 0.6
    stages: int = struct.field(default=16, pytree_node=False)
    learning_rate: float = 0.1
    steps: int = struct.field(default=200, pytree_node=False)
    tolerance: float = 1e-6

    how: ClassVar[str] = "annealed descent, then Newton's method"

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """From uniform play, or from random logits; consumes `key`."""
        mask, dtype = game.mask, game.dtype
        unit = game.replace(payoffs=game.payoffs / game.scale())
        seen = perceive(unit, Neutral())
        logits = jnp.zeros(mask.shape, dtype) if key is None else jax.random.normal(key, mask.shape, dtype)
        optimizer = optax.adam(self.learning_rate)
        play = lambda logits: jax.nn.softmax(jnp.where(mask, logits, -jnp.inf), axis=1)  # noqa: E731

        def incentive(logits: Array, temperature: Array) -> Array:
            """Σ over players of max u + τ H less u + τ H, which is τ KL(play | softmax(values / τ))."""
            values = jnp.where(mask, seen.slope(play(logits)) / temperature, -jnp.inf)
            own = jax.nn.log_softmax(jnp.where(mask, logits, -jnp.inf), axis=1)
            gap = jnp.where(mask, own - jax.nn.log_softmax(values, axis=1), 0.0)
            return temperature * (play(logits) * gap).sum()

        def stage(carry: Any, number: Array) -> tuple[Any, None]:
            logits, best, least = carry
            temperature = self.temperature * self.cooling**number

            def descend(inner: Any, _: None) -> tuple[Any, None]:
                logits, moments = inner
                with jax.numpy_dtype_promotion("standard"):  # counts become floats in there
                    change, moments = optimizer.update(jax.grad(incentive)(logits, temperature), moments, logits)
                return (optax.apply_updates(logits, change), moments), None

            (logits, _), _ = jax.lax.scan(descend, (logits, optimizer.init(logits)), None, self.steps)
            profile, left = settle(seen, play(logits))
            better = left < least
            return (logits, jnp.where(better, profile, best), jnp.minimum(left, least)), None

        start = play(logits)
        carry = logits, start, unit.regret(start).max()
        (_, profile, _), _ = jax.lax.scan(stage, carry, jnp.arange(self.stages, dtype=dtype))
        count = self.stages * self.steps
        return certified(game, profile, game.regret(profile), self.tolerance, count)
