"""Shapers found by evolution: a network that plays whole trials, and a distribution over its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from envs import Environment
from envs.validation import require_choice, require_range
from shaping.distributions import sample_action
from shaping.learner import ENVIRONMENTS, Context, Learner, Replay, Trajectory
from shaping.networks import ActorCriticNetwork, NetworkLearner

__all__ = ["Evolution", "strategies"]


UNFIT = ("CMAAnchoredLES", "LM_MA_ES", "RandomSearch", "SV_CMA_ES", "SV_Open_ES")
"""Of evosax: their numbers cannot be traced, or they start from something else than a mean or a population."""


def strategies() -> tuple[str, ...]:
    """Names of what can evolve a shaper."""
    from evosax.algorithms import algorithms

    return tuple(name for name in algorithms if name not in UNFIT)


class Policy(NamedTuple):
    """Parameters of the network, and, a whole number, where its noise comes from if that is fixed."""

    params: Any
    noise: Float[Array, ...]


class Candidate(NamedTuple):
    """What plays, and how it was drawn."""

    policy: Policy
    drawn: UInt32[Array, "... 2"]


class EvolutionState(NamedTuple):
    """The state of the strategy, the best candidate of the last generation, flat, with its fitness, and fixed noise."""

    strategy: Any
    best: Float[Array, " D"]
    best_fitness: Float[Array, ""]
    noise: UInt32[Array, ""]


class Evolution(NetworkLearner):
    """A shaper whose parameters evolve: their fitness is the mean reward per step over a trial, undiscounted.

    Every generation is a trial: a population is drawn around the mean, all its members play against the same rivals, of
    which every member has copies of its own, and the mean moves towards what fared well. No learning happens inside a
    trial, but the memory of the network, if it has any, goes on from one inner episode to the next.

    Source: Khan et al. 2024, arXiv 2312.12568 (SHAPER); Salimans et al. 2017, arXiv 1703.03864 (OpenES); Balaguer et
    al. 2022 (Good Shepherd), arXiv 2202.10135.

    Attributes:
        network: what acts; its critics are idle.
        strategy: of evosax: Open_ES, or another by its name there, with its own rates and defaults; of the rates below
            others heed `sigma` alone, if they have one.
        population: candidates P a generation; an even number for mirrored noise.
        initial_mean: "zeros", so that the first generation is centred on uniform play, or a "network" drawn at random.
        sigma: initial standard deviation of the population.
        sigma_decay: factor of it a generation.
        sigma_floor: its least value.
        learning_rate: of Adam, which moves the mean.
        learning_rate_decay: factor of it a generation.
        learning_rate_floor: its least value.
        momentum: β₁ of Adam.
        fitness: what the strategy is told: rewards "centred" on their mean, "standardized", or "ranks".
        weight_decay: penalty on squared parameters, in units of fitness.
        plays: what is deployed: the "mean", or the "best" sample of the last generation.
        noise: of actions: "fresh" in every trial, or "fixed", for each member of each shaper the same in all trials.
        pairing: of several shapers' members: "shuffled", or by "index", so that mirrored ones meet mirrored ones.
    """

    network: ActorCriticNetwork  # pyright: ignore[reportIncompatibleVariableOverride]
    strategy: str = struct.field(default="Open_ES", pytree_node=False)
    population: int = struct.field(default=32, pytree_node=False)  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]
    initial_mean: Literal["zeros", "network"] = struct.field(default="zeros", pytree_node=False)
    sigma: float = 0.04
    sigma_decay: float = 0.999
    sigma_floor: float = 0.01
    learning_rate: float = 0.1
    learning_rate_decay: float = 0.9999
    learning_rate_floor: float = 0.001
    momentum: float = 0.99
    fitness: Literal["centred", "standardized", "ranks"] = struct.field(default="centred", pytree_node=False)
    weight_decay: float = 0.0
    plays: Literal["mean", "best"] = struct.field(default="mean", pytree_node=False)
    noise: Literal["fresh", "fixed"] = struct.field(default="fresh", pytree_node=False)
    pairing: Literal["shuffled", "index"] = struct.field(default="shuffled", pytree_node=False)

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        require_range("population", self.population, 2, whole=True)
        for name in ("sigma", "sigma_floor", "learning_rate"):
            require_range(name, getattr(self, name), 1e-8)
        for name in ("sigma_decay", "learning_rate_decay", "momentum"):
            require_range(name, getattr(self, name), 0.0, 1.0)
        for name in ("learning_rate_floor", "weight_decay"):
            require_range(name, getattr(self, name), 0.0)
        require_choice("initial_mean", self.initial_mean, ("zeros", "network"))
        require_choice("fitness", self.fitness, ("centred", "standardized", "ranks"))
        require_choice("plays", self.plays, ("mean", "best"))
        require_choice("noise", self.noise, ("fresh", "fixed"))
        require_choice("pairing", self.pairing, ("shuffled", "index"))

    @property
    def span(self) -> Literal["episode", "trial"]:
        """Whole trials."""
        return "trial"

    def check(self, env: Environment, batch: int = 1) -> None:
        """Raise unless the network fits `env` and the strategy exists."""
        self.network.check(env)
        require_choice("strategy", self.strategy, strategies())
        if self.strategy == "Open_ES" and self.population % 2:
            raise ValueError(f"population = {self.population}: expected an even number for mirrored noise")

    def init(self, env: Environment, key: Key[Array, ""]) -> EvolutionState:
        """A fresh distribution around the initial mean; consumes `key`."""
        mean_key, init_key, draw_key, noise_key = jax.random.split(key, 4)
        strategy, options = self._strategy(env)
        mean = self._template(env)
        if self.initial_mean == "network":
            mean = self.network.init(env, mean_key)
        with _lenient():
            if hasattr(strategy, "get_mean"):
                state = strategy.init(init_key, mean, options)
            else:  # a population of solutions, not a distribution
                flat = ravel_pytree(mean)[0]
                drawn = flat + self.sigma * jax.random.normal(draw_key, (self.population, flat.size))
                everyone = jax.vmap(ravel_pytree(mean)[1])(drawn)
                state = strategy.init(init_key, everyone, jnp.full(self.population, jnp.inf), options)
        known = jax.tree.map(lambda leaf: jnp.nan_to_num(jnp.asarray(leaf, jnp.asarray(leaf).dtype)), state)
        return EvolutionState(known, ravel_pytree(mean)[0], jnp.zeros((), jnp.float32), jax.random.bits(noise_key))

    def policy(self, state: Candidate) -> Policy:
        """What plays."""
        return state.policy

    def memory(self, env: Environment, policy: Policy) -> Any:
        """That of the network, and how many steps were played."""
        return self.network.memory(policy.params), jnp.zeros((), jnp.int32)

    def carry(self, env: Environment, policy: Policy, memory: Any) -> Any:
        """As the network does."""
        return self.network.carry(policy.params, memory[0]), memory[1]

    def act(
        self, env: Environment, policy: Policy, memory: Any, obs: Any, legal: Any, key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """Sample an action; consumes `key`."""
        inner, steps = memory
        if self.noise == "fixed":
            number = policy.noise.astype(jnp.uint32)
            own = jax.random.fold_in(jax.random.key(number), jax.lax.axis_index(ENVIRONMENTS))
            key = jax.random.fold_in(own, steps)
        output, inner = self.network.step(env, policy.params, self.network.mix(policy.params, inner), obs, legal)
        return sample_action(env, output.action, key)[0], (inner, steps + 1), ()

    def action_probabilities(
        self, env: Environment, policy: Policy, memory: Any, obs: Any, legal: Bool[Array, " A"]
    ) -> Float[Array, " A"]:
        """Those of the network."""
        return super().action_probabilities(env, policy.params, memory[0], obs, legal)

    def replay(self, env: Environment, policy: Policy, trajectory: Trajectory) -> Replay:
        """To its rivals it stands still, as it does in a trial."""
        return Learner.replay(self, env, policy, trajectory)

    def update(self, state: Candidate, context: Context, key: Key[Array, ""]) -> tuple[Candidate, Float[Array, ""]]:
        """Nothing changes; the mean reward per step."""
        assert context.trajectory is not None, "it samples"
        return state, context.trajectory.reward.sum() / context.trajectory.valid.sum()

    def begin(self, env: Environment, state: EvolutionState, key: Key[Array, ""]) -> Candidate:
        """What is deployed."""
        strategy, _ = self._strategy(env)
        unflat = ravel_pytree(self._template(env))[1]
        best = self.plays == "best" or not hasattr(strategy, "get_mean")
        policy = Policy(unflat(state.best if best else state.strategy.mean), _whole(state.noise))
        return Candidate(policy, jnp.zeros(2, jnp.uint32))

    def candidates(self, env: Environment, state: EvolutionState, key: Key[Array, ""]) -> Candidate:
        """A population, leaves `[P, ...]`; consumes `key`."""
        everyone, order, _ = self._ask(env, state, key)
        everyone = jax.tree.map(lambda leaf: leaf[order], everyone)
        drawn = jnp.broadcast_to(jax.random.key_data(key), (self.population, 2))
        return Candidate(Policy(everyone, _whole(state.noise + jnp.arange(self.population, dtype=jnp.uint32))), drawn)

    def learn(
        self,
        env: Environment,
        state: EvolutionState,
        tried: Candidate,
        told: Float[Array, "P R M"],
        key: Key[Array, ""],
    ) -> tuple[EvolutionState, dict[str, Any]]:
        """Tell the strategy how candidates fared; consumes `key`."""
        strategy, options = self._strategy(env)
        fitness = told.mean((1, 2))
        everyone, order, asked = self._ask(env, state, jax.random.wrap_key_data(tried.drawn[0]))
        in_order = jnp.zeros_like(fitness).at[order].set(fitness)
        with _lenient():
            after, _ = strategy.tell(key, everyone, -in_order, asked, options)
        place = jnp.argmax(fitness)
        best = jax.vmap(lambda own: ravel_pytree(own)[0])(tried.policy.params)[place]
        spread = {"fitness": fitness.mean(), "fitness_best": fitness[place], "fitness_std": fitness.std()}
        return EvolutionState(after, best, fitness[place], state.noise), spread

    def _ask(self, env: Environment, state: EvolutionState, key: Key[Array, ""]) -> tuple[Any, Int[Array, " P"], Any]:
        """The population of a generation, the order in which it plays, and what the strategy notes of it."""
        ask_key, order_key = jax.random.split(key)
        strategy, options = self._strategy(env)
        with _lenient():
            everyone, asked = strategy.ask(ask_key, state.strategy, options)
        shuffled = jax.random.permutation(order_key, self.population)
        return everyone, shuffled if self.pairing == "shuffled" else jnp.arange(self.population), asked

    def _template(self, env: Environment) -> Any:
        """Zeros in the shape of the parameters."""
        shapes = jax.eval_shape(lambda: self.network.init(env, jax.random.key(0)))
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def _strategy(self, env: Environment) -> tuple[Any, Any]:
        """The strategy of evosax, and its options."""
        from evosax.algorithms import algorithms

        made: dict[str, Any] = {"fitness_shaping_fn": partial(_shaped, self.fitness, self.weight_decay)}
        if self.strategy == "Open_ES":
            made["optimizer"] = optax.adam(self._rate, b1=self.momentum)
            made["std_schedule"] = lambda count: jnp.maximum(self.sigma * self.sigma_decay**count, self.sigma_floor)
        strategy = algorithms[self.strategy](self.population, self._template(env), **made)
        options = strategy.default_params
        return strategy, options.replace(std_init=self.sigma) if hasattr(options, "std_init") else options

    def _rate(self, count: Any) -> Array:
        return jnp.maximum(self.learning_rate * self.learning_rate_decay**count, self.learning_rate_floor)


def _whole(number: UInt32[Array, ...]) -> Float[Array, ...]:
    """A number that a float holds exactly."""
    return (number % 2**24).astype(jnp.float32)


@contextmanager
def _lenient() -> Iterator[None]:
    """Evosax mixes types and ranks, which a session may have told JAX to refuse."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def _shaped(
    how: str, weight_decay: Any, population: Any, fitness: Float[Array, " P"], state: Any, options: Any
) -> Float[Array, " P"]:
    """Costs as the strategy is told them."""
    cost = fitness + weight_decay * (population**2).mean(axis=-1)
    if how == "ranks":
        return jnp.argsort(jnp.argsort(cost)) / (cost.size - 1) - 0.5
    centred = cost - cost.mean()
    return centred / (cost.std() + 1e-8) if how == "standardized" else centred
