"""Cournot competition: n firms choose quantities, and the total decides the price."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from envs.environment import Environment, TimeStep
from envs.validation import require_range

__all__ = ["Cournot", "CournotState"]

MAX_PLAYERS, MIN_AMOUNT, MAX_AMOUNT = 64, 1e-6, 1e6


class CournotState(NamedTuple):
    """State of a Cournot game.

    Attributes:
        step: int32 scalar, steps taken.
        quantities: `[n]`, what each firm sold last.
    """

    step: Int[Array, ""]
    quantities: Float[Array, " n"]


class Cournot(Environment):
    """Firms sell a good at the price p = a - b Σq, so whoever sells more lowers the price of all.

    Observation: floats `[n + 1]`: the last quantities / `capacity`, one's own first, then those of i + 1, ..., n - 1,
    0, ..., i - 1, and the last price / `intercept`. At the start quantities drawn uniformly from [0, `capacity`], and
    their price.
    Action: `[1]`, the quantity q, clipped to [0, `capacity`].
    Reward: profit (p - `marginal_cost`) q. The price may be negative.
    Termination: with `horizon` 1 after the only step; otherwise never, and truncated after `horizon` steps.
    Source: Cournot 1838, "Recherches sur les principes mathématiques de la théorie des richesses"; constants of Pax,
    github.com/ucl-dark/pax.

    Attributes:
        players: number of firms n.
        intercept: a, the price when nobody sells.
        slope: b, by how much a unit sold lowers the price.
        marginal_cost: cost of a unit.
        capacity: greatest quantity a firm can sell.
        horizon: steps T of an episode; 1 is the one-shot game.
    """

    players: int = struct.field(default=2, pytree_node=False)
    intercept: float = 100.0
    slope: float = 1.0
    marginal_cost: float = 10.0
    capacity: float = 100.0
    horizon: int = struct.field(default=1, pytree_node=False)  # pyright: ignore

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a field out of range.
        """
        require_range("players", self.players, 1, MAX_PLAYERS, whole=True)
        for name in ("intercept", "slope", "capacity"):
            require_range(name, getattr(self, name), MIN_AMOUNT, MAX_AMOUNT)
        require_range("marginal_cost", self.marginal_cost, 0.0, MAX_AMOUNT)
        require_range("horizon", self.horizon, 1, whole=True, hint="1 is the one-shot game")

    @property
    def num_players(self) -> int:
        """Number of firms n."""
        return self.players

    @property
    def action_dim(self) -> int:
        """1: the quantity."""
        return 1

    @property
    def action_range(self) -> tuple[float, float]:
        """From 0 to `capacity`."""
        return 0.0, self.capacity

    @property
    def num_observations(self) -> None:
        """None: observations are arrays."""

    @property
    def obs_shape(self) -> tuple[int]:
        """`(n + 1,)`: quantities and price."""
        return (self.players + 1,)

    def reset(self, key: Key[Array, ""]) -> tuple[CournotState, Float[Array, "n d"]]:
        """Draw the quantities that are seen first; consumes `key`."""
        quantities = jax.random.uniform(key, (self.players,)) * self.capacity
        state = CournotState(jnp.zeros((), jnp.int32), quantities)
        return state, self._observe(quantities)

    def step(
        self, state: CournotState, actions: Float[Array, "n 1"], key: Key[Array, ""]
    ) -> tuple[CournotState, TimeStep]:
        """Sell the quantities `actions` `[n, 1]`; `key` is not used."""
        quantities = jnp.clip(actions[:, 0], 0.0, self.capacity)
        reward = self.profit(quantities)
        state = CournotState(state.step + 1, quantities)
        over, one_shot = state.step >= self.horizon, self.horizon == 1
        return state, TimeStep(self._observe(quantities), reward, over & one_shot, over & (not one_shot), {})

    def price(self, quantities: Float[Array, " n"]) -> Float[Array, ""]:
        """Price a - b Σq of a unit."""
        return self.intercept - self.slope * quantities.sum()

    def profit(self, quantities: Float[Array, " n"]) -> Float[Array, " n"]:
        """Profit (p - `marginal_cost`) q of each firm."""
        return (self.price(quantities) - self.marginal_cost) * quantities

    def nash(self) -> Float[Array, ""]:
        """Quantity (a - `marginal_cost`) / ((n + 1) b) of each firm in the Nash equilibrium; at most `capacity`."""
        return self._share(self.players + 1)

    def collusion(self) -> Float[Array, ""]:
        """Quantity (a - `marginal_cost`) / (2 n b) of each firm when joint profit is greatest; at most `capacity`."""
        return self._share(2 * self.players)

    def statistics(self, obs: Any, action: Any, info: dict[str, Any], valid: Any) -> dict[str, Float[Array, " n"]]:
        """Mean quantity per step."""
        quantities = jnp.clip(action[..., 0], 0.0, self.capacity)
        valid = jnp.asarray(valid, quantities.dtype)
        steps = valid.sum()
        mean = jnp.einsum("tb,tbn->n", valid, quantities) / jnp.where(steps > 0, steps, 1.0)
        return {"quantity": jnp.where(steps > 0, mean, jnp.nan)}

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """The quantity."""
        return ("quantity",)

    @property
    def legend(self) -> str:
        """Which quantities to compare with."""
        return f"quantity: mean per step, {self.nash():.4g} at Nash and {self.collusion():.4g} in collusion."

    def marks(self) -> dict[str, float]:
        """Profit of each firm in the joint optimum, and in the Nash equilibrium."""
        quantities = {"collusion": self.collusion(), "Nash": self.nash()}
        return {name: float(self.profit(jnp.full(self.players, each))[0]) for name, each in quantities.items()}

    def _share(self, parts: int) -> Float[Array, ""]:
        return jnp.clip((self.intercept - self.marginal_cost) / (parts * jnp.asarray(self.slope)), 0.0, self.capacity)

    def _observe(self, quantities: Float[Array, " n"]) -> Float[Array, "n d"]:
        price = self.price(quantities) / self.intercept
        own_first = jnp.stack([jnp.roll(quantities, -i) for i in range(self.players)]) / self.capacity
        return jnp.concatenate([own_first, jnp.full((self.players, 1), price)], axis=1)
