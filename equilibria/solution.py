"""What a solver found, with its certificate."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from equilibria.game import NormalForm
from equilibria.risk import ConditionalValueAtRisk

__all__ = ["TAIL", "Solution", "certified"]

TAIL = 0.1
"""The worst share of which `Solution.cvar` is the mean."""


class Solution(struct.PyTreeNode):
    """A profile, what it is worth, how risky it is, and how far it is from what was asked for.

    Everything but the profile is computed from the game, not by the solver. Batches have leading axes.

    Attributes:
        profile: `[n, A]`, mixed strategies; of a correlated solution its marginals.
        value: `[n]`, expected payoffs.
        variance: `[n]`, of payoffs expected over the own play, over the others' (independent) play.
        cvar: `[n]`, their mean in the worst tenth of what the others do.
        worst: `[n]`, their least for any joint action of the others.
        regret: `[n]`, what a player would gain by deviating, in the utility of the solver; an upper bound.
        payoff_regret: `[n]`, the same in expected payoff; 0 at a Nash equilibrium.
        converged: whether `regret` is within the solver's tolerance, or what else it promises holds.
        steps: of the solver.
        share: of random starts that led here; 1 without.
        joint: `[A, ..., A]`, the distribution over joint actions of a correlated solution; else None.
        solver: its name.
        options: all of its parameters, those left at their defaults too, as (name, value).
        method: by what it was found.
        reason: why it has not converged, where more than regret tells; else "".
    """

    profile: Float[Array, "... n A"]
    value: Float[Array, "... n"]
    variance: Float[Array, "... n"]
    cvar: Float[Array, "... n"]
    worst: Float[Array, "... n"]
    regret: Float[Array, "... n"]
    payoff_regret: Float[Array, "... n"]
    converged: Bool[Array, ...]
    steps: Int[Array, ...]
    share: Any = 1.0
    joint: Any = None
    solver: str = struct.field(default="", pytree_node=False)
    options: tuple[tuple[str, Any], ...] = struct.field(default=(), pytree_node=False)
    method: str = struct.field(default="", pytree_node=False)
    reason: str = struct.field(default="", pytree_node=False)

    @property
    def welfare(self) -> Any:
        """The sum of everybody's expected payoffs."""
        return self.value.sum(axis=-1)

    @property
    def message(self) -> str:
        """One sentence: whether it converged, by what, or why not, to what regret, after how many steps."""
        regret, steps = float(np.max(np.asarray(self.regret))), int(np.max(np.asarray(self.steps)))
        if bool(np.all(np.asarray(self.converged))):
            verb = f"converged by {self.method}" if self.method else "converged"
        else:
            verb = f"did NOT converge ({self.reason})" if self.reason else "did NOT converge"
        return f"{self.solver or 'solver'} {verb}: regret {regret:.2g} after {steps} step{'s' if steps != 1 else ''}"


@jax.jit
def certified(
    game: NormalForm, profile: Float[Array, "n A"], regret: Any, tolerance: Any, steps: Any, joint: Any = None
) -> Solution:
    """The solution `profile` of `game`, of which a solver says how much can be gained by deviating.

    Args:
        game: the game.
        profile: `[n, A]`; with `joint` its marginals.
        regret: `[n]`, in the utility of the solver.
        tolerance: of `regret`, as a share of the largest difference of the own payoffs.
        steps: taken.
        joint: distribution over joint actions `[A, ..., A]` of a correlated solution.
    """
    seen, chance = game.prospects(profile)
    mean = (seen * chance).sum(axis=1)
    tail = ConditionalValueAtRisk(TAIL)
    correlated = joint is not None
    return Solution(
        profile=profile,
        value=game.joint_value(joint) if correlated else mean,
        variance=(chance * (seen - mean[:, None]) ** 2).sum(axis=1),
        cvar=jnp.stack([tail.of(own, how) for own, how in zip(seen, chance, strict=True)]),
        worst=seen.min(axis=1),
        regret=regret,
        payoff_regret=game.coarse_regret(joint) if correlated else game.regret(profile),
        converged=jnp.isfinite(profile).all() & (regret <= tolerance * game.scales()).all(),
        steps=jnp.asarray(steps, jnp.int32),
        joint=joint,
    )
