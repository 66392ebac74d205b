"""The learner of differentiable opponent shaping: a table, an objective, a direction and an optimiser."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from envs import Environment
from envs.validation import require_choice, require_range
from shaping.directions import Direction
from shaping.learner import Context, Learner
from shaping.objectives import Exact, action_logits

__all__ = ["GradientLearner", "GradientState"]

OPTIMIZERS = {"sgd": optax.sgd, "adam": optax.adam}


class GradientState(NamedTuple):
    """Logits `[O, A - 1]` of a memory-one strategy, and the state of the optimiser."""

    table: Float[Array, "O L"]
    optimizer: Any


class GradientLearner(Learner):
    """Climb an objective in a direction: θ_i ← θ_i + step along `direction(objective.value, θ, i)`.

    Any direction on any objective with any optimiser. The policy is a memory-one table, softmax over the actions.

    Attributes:
        objective: what is climbed.
        direction: how.
        learning_rate: step size of the optimiser, on values in the units of the objective.
        optimizer: of optax.
        initial_std: standard deviation of the initial logits, normal with mean 0.
    """

    objective: Exact
    direction: Direction
    learning_rate: float = 1.0
    optimizer: Literal["sgd", "adam"] = struct.field(default="sgd", pytree_node=False)
    initial_std: float = 1.0

    samples: ClassVar[bool] = False
    white_box: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        require_range("learning_rate", self.learning_rate, 0.0)
        require_range("initial_std", self.initial_std, 0.0)
        require_choice("optimizer", self.optimizer, tuple(OPTIMIZERS))

    def check(self, env: Environment) -> None:
        """Raise unless the objective is defined on `env`."""
        self.objective.check(env)

    def init(self, key: Key[Array, ""], env: Environment) -> GradientState:
        """Normal logits and a fresh optimiser; consumes `key`."""
        assert env.num_observations is not None, "`check` lets only matrix games through"
        table = self.initial_std * jax.random.normal(key, (env.num_observations, env.num_actions - 1))
        return GradientState(table, self._optimizer().init(table))

    def policy(self, state: GradientState) -> Float[Array, "O L"]:
        """The logits."""
        return state.table

    def act(
        self, state: GradientState, memory: Any, obs: Int[Array, ""], legal: Bool[Array, " A"], key: Key[Array, ""]
    ) -> tuple[Int[Array, ""], Any, Any]:
        """Sample an action from the table; consumes `key`."""
        action = jax.random.categorical(key, action_logits(state.table[obs], legal))
        return action.astype(jnp.int32), memory, ()

    def update(
        self, state: GradientState, context: Context, key: Key[Array, ""]
    ) -> tuple[GradientState, dict[str, Any]]:
        """One step of the optimiser along the direction."""
        value = lambda tables, k: self.objective.value(context.env, tables, k)  # noqa: E731
        ascent = self.direction(value, context.policies, context.seat, key)
        step: Any
        step, optimizer = self._optimizer().update(jax.tree.map(jnp.negative, ascent), state.optimizer, state.table)
        return GradientState(state.table + step, optimizer), {}

    def _optimizer(self) -> optax.GradientTransformation:
        return OPTIMIZERS[self.optimizer](self.learning_rate)
