"""Iterated symmetric games of two actions in which everyone sees how many did what, not who."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, Key

from envs.environment import Environment, StepCount, TimeStep
from envs.matrix_game import MAX_PAYOFF
from envs.validation import require_range

__all__ = ["SymmetricGame"]

SHOWN = 5  # kinds of history an own action, in statistics


class SymmetricGame(Environment):
    """A symmetric n-player game of C or D, played `horizon` times; everyone sees the own action and counts the others'.

    Nothing in it grows faster than n, so that hundreds can play.

    Observation: one int32 a player, in `[0, 2 n]`: 0 is START, before the first move; 1 + a n + k after the own action
    a (0 is C, 1 is D) when k of the others defected. In the one-shot game (`horizon` 1) always 0.
    Action: int32, 0 is C and 1 is D.
    Reward: `payoffs[a, k]`, paid on every step, in the units of the payoffs.
    Termination: the one-shot game ends after its step; the iterated one never, it is truncated after `horizon` steps.
    Source: memory-one strategies of n-player dilemmas, e.g. Hilbe, Wu, Traulsen and Nowak 2014, PNAS 111:16425.

    Attributes:
        payoffs: `[2, n]`, reward for the own action when k others defect.
        discount: continuation probability of the repeated game, in [0, 1); what exact objectives discount with.
        horizon: steps T of a sampled episode; 1 is the one-shot game. Exact objectives of a repeated game
            are those of the infinitely repeated one.
    """

    payoffs: Float[Array | np.ndarray, "2 n"]
    discount: float = 0.96
    horizon: int = struct.field(default=100, pytree_node=False)  # pyright: ignore

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check shapes and ranges.

        Raises:
            ValueError: payoffs that are no `[2, n]` array, or a field out of range.
        """
        require_range("horizon", self.horizon, 1, whole=True, hint="1 is the one-shot game")
        require_range("discount", self.discount, 0.0, 1.0 - 1e-5, hint="0 only looks at the first step")
        if isinstance(self.payoffs, np.ndarray | jax.Array) and (self.payoffs.ndim < 2 or self.payoffs.shape[-2] != 2):
            raise ValueError(f"payoffs of shape {self.payoffs.shape}: expected [2, n], by own action and by defectors")
        if isinstance(self.payoffs, np.ndarray) and not (np.abs(self.payoffs) <= MAX_PAYOFF).all():
            raise ValueError(f"payoffs: expected finite numbers up to {MAX_PAYOFF:g}, found larger ones or NaN")

    @property
    def num_players(self) -> int:
        """Number of players n."""
        return self.payoffs.shape[-1]

    @property
    def num_actions(self) -> int:
        """2."""
        return 2

    @property
    def num_observations(self) -> int:
        """2 n + 1 with START first; 1 in the one-shot game."""
        return 1 if self.horizon == 1 else 2 * self.num_players + 1

    @property
    def obs_shape(self) -> tuple[int, ...]:
        """`()`: an observation is one integer."""
        return ()

    def reset(self, key: Key[Array, ""]) -> tuple[StepCount, Int[Array, " n"]]:
        """Everyone observes START; `key` is not used."""
        return StepCount(jnp.zeros((), jnp.int32)), jnp.zeros(self.num_players, jnp.int32)

    def step(self, state: StepCount, actions: Int[Array, " n"], key: Key[Array, ""]) -> tuple[StepCount, TimeStep]:
        """Pay and count the joint action `actions` `[n]`; `key` is not used."""
        others = actions.sum() - actions
        time = state.step + 1
        obs = jnp.zeros_like(actions) if self.horizon == 1 else 1 + actions * self.num_players + others
        ended, one_shot = time >= self.horizon, jnp.asarray(self.horizon == 1)
        reward = jnp.asarray(self.payoffs, float)[actions, others]
        return StepCount(time), TimeStep(obs, reward, ended & one_shot, ended & ~one_shot, {})

    def dilemma(self, obs: Any) -> Int[Array, " 2"]:
        """Actions 0 and 1."""
        return jnp.array([0, 1], jnp.int32)

    def statistics(self, obs: Any, action: Any, info: dict[str, Any], valid: Any) -> dict[str, Float[Array, " n"]]:
        """Rate of C, and its frequency after some kinds of history; NaN after histories that did not occur."""
        first = jnp.where(action == 0, valid[:, :, None], 0.0)
        visits = [jnp.where(obs == shown, valid[:, :, None], 0.0).sum(axis=(0, 1)) for shown in self._shown()]
        chosen = [jnp.where(obs == shown, first, 0.0).sum(axis=(0, 1)) for shown in self._shown()]
        pairs = zip(visits, chosen, strict=True)
        frequency = [jnp.where(seen > 0, c / jnp.where(seen > 0, seen, 1.0), jnp.nan) for seen, c in pairs]
        return dict(zip(self.statistic_names, [first.sum(axis=(0, 1)) / valid.sum(), *frequency], strict=True))

    def named(self, rate: Float[Array, " n"], response: Float[Array, "n O"]) -> dict[str, Float[Array, " n"]]:
        """The entries of `statistics` from the rate of C and its probability after each observation."""
        return dict(zip(self.statistic_names, [rate, *(response[:, shown] for shown in self._shown())], strict=True))

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """C, "first" for START, and own action and number of others who defected, such as C2."""
        kinds = [f"{own}{k}" for own in "CD" for k in self._counts()] if self.horizon > 1 else []
        return ("C", "first", *kinds)

    @property
    def cooperation(self) -> str:
        """The rate of C."""
        return "C"

    @property
    def legend(self) -> str:
        """Which action is counted, and how to read the kinds of history."""
        after = "" if self.horizon == 1 else " and after some kinds of last step (C1: own C, 1 other D)"
        return f"C: rate of C; then its probability on the first step{after}."

    def marks(self) -> dict[str, float]:
        """Welfare when all co-operate, and when all defect."""
        payoffs = np.asarray(self.payoffs, float)
        return {"all C": float(payoffs[0, 0]), "all D": float(payoffs[1, -1])}

    def _shown(self) -> list[int]:
        """Observations that statistics show."""
        later = [1 + a * self.num_players + k for a in (0, 1) for k in self._counts()]
        return [0, *(later if self.horizon > 1 else [])]

    def _counts(self) -> list[int]:
        """Numbers of defectors whose histories are shown: all of them, or some evenly spread."""
        shown = np.linspace(0, self.num_players - 1, min(self.num_players, SHOWN))
        return sorted(set(np.round(shown).astype(int).tolist()))
