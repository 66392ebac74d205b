"""The learner of differentiable opponent shaping: a network, an objective, a direction and an optimiser."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Bool, Key

from envs import Environment, SymmetricGame
from envs.validation import require_choice, require_range
from shaping.directions import Direction, FittedDirection
from shaping.distributions import sample_action
from shaping.learner import Context
from shaping.networks import Network, NetworkLearner
from shaping.objectives import Exact, Objective

__all__ = ["GradientLearner"]

OPTIMIZERS = {
    "sgd": optax.sgd,
    "adam": optax.adam,
    "adamw": optax.adamw,
    "optimistic": optax.optimistic_gradient_descent,
}


class GradientState(NamedTuple):
    """Parameters, the state of their optimiser, and what the direction learned before play."""

    params: Any
    optimizer: Any
    learned: Any


class GradientLearner(NetworkLearner):
    """Climb an objective in a direction: θ_i ← θ_i + step along `direction(objective.value, θ, i)`.

    Any direction on any objective with any optimiser. A critic of the network, if it has one, learns the discounted
    return of the own episodes with the same optimiser; an objective that samples uses it as a baseline.

    Attributes:
        objective: what is climbed.
        direction: how.
        network: what acts, and holds the parameters θ_i.
        learning_rate: step size of the optimiser, on values in the units of the objective.
        optimizer: of optax.
        value_coefficient: weight of the critic's loss beside the values.
    """

    objective: Objective
    direction: Direction
    network: Network
    learning_rate: float = 1.0
    optimizer: Literal["sgd", "adam", "adamw", "optimistic"] = struct.field(default="sgd", pytree_node=False)
    value_coefficient: float = 1.0

    sees: ClassVar[Literal["own", "rewards", "policies"]] = "policies"

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        require_range("learning_rate", self.learning_rate, 0.0)
        require_choice("optimizer", self.optimizer, tuple(OPTIMIZERS))

    @property
    def samples(self) -> bool:
        """Whether the objective does."""
        return self.objective.samples

    @property
    def tables(self) -> bool:
        """Whether the objective is that of memory-one tables."""
        return self.objective.tables

    def check(self, env: Environment, batch: int = 1) -> None:
        """Raise unless objective and network are defined on `env`."""
        self.objective.check(env)
        self.network.check(env)
        if isinstance(self.direction, FittedDirection) and not isinstance(self.objective, Exact):
            raise ValueError(
                f"direction = {type(self.direction).__name__} learns from exact values before play: expected "
                f"objective = Exact, not {type(self.objective).__name__}"
            )
        if self.tables and isinstance(env, SymmetricGame) and not self.direction.grouped:
            name = type(self.direction).__name__
            raise ValueError(
                f"{name} is not defined where players are counted: expected observe = 'joint', or try lola"
            )

    def check_match(self, match: Any) -> None:
        """Raise unless the objective is defined among the players of `match`."""
        self.objective.check_match(match)

    @property
    def prepares(self) -> bool:
        """Whether the direction is learned before play."""
        return isinstance(self.direction, FittedDirection)

    def init(self, env: Environment, key: Key[Array, ""]) -> GradientState:
        """Fresh parameters and a fresh optimiser; consumes `key`."""
        params, learned = self.network.init(env, key), ()
        if isinstance(self.direction, FittedDirection):
            assert isinstance(self.objective, Exact), "checked"
            value = partial(_value, self.objective, env)
            alike = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (env.num_players, *leaf.shape)), (params,))
            learned = self.direction.fit(value, alike, jax.random.fold_in(key, 1))
            (params,) = self.direction.start((params,), learned)
        return GradientState(params, self._optimizer().init(params), learned)

    def act(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"], key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """Sample an action; consumes `key`."""
        output, memory = self.network.step(env, policy, memory, obs, legal)
        return sample_action(env, output.action, key)[0], memory, ()

    def critic_scale(self, env: Environment) -> float | Array:
        """That of the objective."""
        return self.objective.critic_scale(env)

    def update(
        self, state: GradientState, context: Context, key: Key[Array, ""]
    ) -> tuple[GradientState, dict[str, Any]]:
        """One step of the optimiser along the direction."""
        assert context.policies is not None, "a learner that sees policies is shown them"
        assert context.group is not None, "and its place"
        problem = self.objective.problem(context.match, context.policies, context.seat, context.group)
        learned = (state.learned,) if isinstance(self.direction, FittedDirection) else ()
        ascent = self.direction(*problem, key, *learned)[context.form]
        descent, metrics = jax.tree.map(jnp.negative, ascent), {}
        trajectory = context.trajectory
        if trajectory is not None:

            def critic_loss(params: Any) -> Array:
                return self.objective.critic_loss(context.env, self.replay(context.env, params, trajectory), trajectory)

            error, gradient = jax.value_and_grad(critic_loss)(state.params)
            descent = jax.tree.map(lambda d, g: d + self.value_coefficient * g, descent, gradient)
            metrics["value_error"] = error
        step, optimizer = self._optimizer().update(descent, state.optimizer, state.params)
        return GradientState(optax.apply_updates(state.params, step), optimizer, state.learned), metrics

    def _optimizer(self) -> optax.GradientTransformation:
        return OPTIMIZERS[self.optimizer](self.learning_rate)


def _value(objective: Exact, env: Environment, params: Any, key: Key[Array, ""]) -> Array:
    return objective.value(env, params[0])
