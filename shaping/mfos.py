"""Model-free opponent shaping in exact games: a policy over policies, learned from how rivals learn."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from envs import Environment, MatrixGame
from envs.validation import require_choice, require_range
from shaping.directions import own_gradients
from shaping.distributions import probabilities, sample_action
from shaping.learner import Context, Learner
from shaping.networks import LogitTable
from shaping.objectives import Exact

__all__ = ["Mfos"]


class State(NamedTuple):
    """The meta-policy, its optimiser, and how many trials it has learned from."""

    params: Any
    optimizer: Any
    trials: Int[Array, ""]


class Inner(NamedTuple):
    """In a trial: the meta-policy, the own table, and how many trials came before, -1 where it is deployed."""

    params: Any
    table: Float[Array, "O L"]
    trials: Int[Array, ""]


class Step(NamedTuple):
    """A step of the meta-game: what was seen, chosen, and paid *before* the choice took effect."""

    obs: Float[Array, "... D"]
    action: Float[Array, "... d"]
    log_prob: Float[Array, ...]
    reward: Float[Array, ...]
    chose: Bool[Array, ...]


class Mfos(Learner):
    """M-FOS: after every inner episode a meta-policy chooses the own memory-one table, from the tables of everybody.

    The meta-state is σ(logits) of all tables, the own first; the meta-action is the own next table, Gaussian; the
    meta-reward is the exact value per step. The first table of a trial is normal, and its value counts for nothing, so
    that a trial of M inner episodes has M - 1 meta-steps. One trial against R sets of rivals is an update, by PPO on
    discounted sums normalised over all of it, or, "genetic", by keeping the best of a population of perturbed
    meta-policies that play their means, if it beats the unperturbed one in the same trial.

    Among several of them `naive_share` of the trials are played by one alone, each in turn, while the others learn
    naively; the share shrinks to 0: self-play with annealing. Which trials those are depends on their number alone, so
    that all seats, and seeds, agree; once deployed, all choose.

    Source: Lu et al. 2022 (M-FOS), arXiv 2205.01447, and its public code; for any number of players.

    Attributes:
        network: the table, and the standard deviation of its first logits.
        outer: what improves the meta-policy: "ppo" or "genetic".
        width: hidden units of actor and critic, one layer of tanh each.
        learning_rate: of Adam.
        discount: of meta-rewards.
        epochs: gradient steps a trial.
        clip: ε of the ratio.
        value_coefficient: weight of the critic's loss.
        entropy: weight of the entropy.
        population: candidates of the genetic outer loop, the last of them unperturbed.
        noise: standard deviation of their perturbations.
        naive_share: share of trials against naive learners, at first.
        naive_decay: what it loses a trial.
        naive_rate: step size of naive learning meanwhile, on discounted sums.
    """

    network: LogitTable
    outer: Literal["ppo", "genetic"] = struct.field(default="ppo", pytree_node=False)
    width: int = struct.field(default=256, pytree_node=False)
    learning_rate: float = 0.002
    discount: float = 0.99
    epochs: int = struct.field(default=4, pytree_node=False)
    clip: float = 0.2
    value_coefficient: float = 0.5
    entropy: float = 0.01
    population: int = struct.field(default=1, pytree_node=False)  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]
    noise: float = 2.0
    naive_share: float = struct.field(default=0.0, pytree_node=False)
    naive_decay: float = 0.0015
    naive_rate: float = 1.0

    sees: ClassVar[Literal["own", "rewards", "policies"]] = "policies"

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        require_choice("outer", self.outer, ("ppo", "genetic"))
        for name in ("width", "epochs", "population"):
            require_range(name, getattr(self, name), 1, whole=True)
        for name in ("learning_rate", "clip", "value_coefficient", "entropy", "noise", "naive_decay", "naive_rate"):
            require_range(name, getattr(self, name), 0.0)
        for name in ("discount", "naive_share"):
            require_range(name, getattr(self, name), 0.0, 1.0)
        if self.outer == "ppo" and self.population != 1:
            raise ValueError(f"population = {self.population} with outer = 'ppo': expected 1, or outer = 'genetic'")

    @property
    def span(self) -> Literal["episode", "trial"]:
        """Whole trials."""
        return "trial"

    @property
    def samples(self) -> bool:
        """No: values are exact."""
        return False

    @property
    def tables(self) -> bool:
        """Yes."""
        return True

    def check(self, env: Environment, batch: int = 1) -> None:
        """Raise unless `env` has an exact value of tables."""
        self.network.check(env)
        if not isinstance(env, MatrixGame):
            raise ValueError(f"Mfos on {type(env).__name__}: expected a matrix game whose joint actions are observed")
        Exact().check(env)

    def check_match(self, match: Any) -> None:
        """Raise unless a trial has a meta-step."""
        if match.episodes < 2:
            raise ValueError(
                f"episodes = {match.episodes}: expected 2 or more, the first of a trial counts for nothing"
            )

    def init(self, env: Environment, key: Key[Array, ""]) -> State:
        """A fresh meta-policy; consumes `key`."""
        table = self._table(env)
        seen, chosen = env.num_players * table.size, table.size
        keys = jax.random.split(key, 4)
        params = {
            "actor": [_dense(keys[0], seen, self.width), _dense(keys[1], self.width, 2 * chosen)],
            "critic": [_dense(keys[2], seen, self.width), _dense(keys[3], self.width, 1)],
        }
        return State(params, self._optimizer().init(params), jnp.zeros((), jnp.int32))

    def begin(self, env: Environment, state: State, key: Key[Array, ""]) -> Inner:
        """The meta-policy."""
        table = self._table(env)
        return Inner(state.params, jnp.zeros(table.shape, table.dtype), jnp.full_like(state.trials, -1))

    def candidates(self, env: Environment, state: State, key: Key[Array, ""]) -> Inner:
        """Perturbed meta-policies, the last one unperturbed; consumes `key`."""
        alone = self.begin(env, state, key)._replace(trials=state.trials)
        everyone = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], self.population, axis=0), alone)
        if self.population == 1:
            return everyone
        noise = optax.tree.random_like(key, everyone.params)
        moved = jax.tree.map(lambda leaf, own: leaf.at[:-1].add(self.noise * own[:-1]), everyone.params, noise)
        return everyone._replace(params=moved)

    def enter(self, env: Environment, state: Inner, key: Key[Array, ""]) -> Inner:
        """With a first table of its own against every set of rivals; consumes `key`."""
        return state._replace(table=self.network.init(env, key))

    def policy(self, state: Inner) -> Float[Array, "O L"]:
        """The table."""
        return state.table

    def act(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"], key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """Sample an action; consumes `key`."""
        output, _ = self.network.step(env, policy, (), obs, legal)
        return sample_action(env, output.action, key)[0], memory, ()

    def action_probabilities(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"]
    ) -> Float[Array, " A"]:
        """Those of the table."""
        return probabilities(self.network.step(env, policy, (), obs, legal)[0].action)

    def update(self, state: Inner, context: Context, key: Key[Array, ""]) -> tuple[Inner, Step]:
        """Choose the next table, or learn naively; consumes `key`."""
        assert context.policies is not None, "it sees policies"
        assert context.form is not None, "and its form"
        env, tables = context.env, context.policies[context.form]
        assert isinstance(env, MatrixGame), "checked"
        value = Exact().value(env, tables)
        reward = value[context.seat] * ((1 - env.discount) if env.horizon > 1 else 1.0)
        obs = jnp.roll(jax.nn.sigmoid(tables), -context.seat, axis=0).ravel()
        mean, deviation = _actor(state.params, obs)
        drawn = mean if self.outer == "genetic" else mean + deviation * jax.random.normal(key, mean.shape)
        chose = self._chooses(state.trials, context)
        table = drawn.reshape(state.table.shape)
        if self.naive_share:
            slope = own_gradients(lambda params, _: Exact().value(env, params[0]), (tables,), key)[0]
            naive = state.table + self.naive_rate * slope[context.seat]
            table = jnp.where(chose, table, naive)
        return state._replace(table=table), Step(obs, drawn, _log_prob(mean, deviation, drawn), reward, chose)

    def learn(
        self, env: Environment, state: State, tried: Inner, told: Step, key: Key[Array, ""]
    ) -> tuple[State, dict[str, Any]]:
        """A few gradient steps of PPO, or the best candidate; `told` is `[P, R, M, ...]`."""
        reward, chose = told.reward[:, :, 1:], told.chose[0, 0, 0]
        metrics = {"fitness": reward[-1].mean()}
        if self.outer == "genetic":
            fitness = reward.mean((1, 2))
            best = jnp.argmax(jnp.where(fitness > fitness[-1], fitness, -jnp.inf).at[-1].set(fitness[-1]))
            params, optimizer = jax.tree.map(lambda leaf: leaf[best], tried.params), state.optimizer
            metrics["fitness_best"] = fitness[best]
        else:
            flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (told, reward))
            params, optimizer = self._descend(state, *flat)
        params, optimizer = jax.tree.map(
            lambda new, old: jnp.where(chose, new, old), (params, optimizer), (state.params, state.optimizer)
        )
        return State(params, optimizer, state.trials + 1), metrics

    def _descend(self, state: State, told: Step, reward: Float[Array, "R M1"]) -> tuple[Any, Any]:
        def back(later: Array, now: Array) -> tuple[Array, Array]:
            return (total := now + self.discount * later), total

        returns = jax.lax.scan(back, jnp.zeros(reward.shape[0]), reward.T, reverse=True)[1].T
        returns = (returns - returns.mean()) / (returns.std() + 1e-5)
        flat = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])  # noqa: E731
        obs, action, old = (flat(leaf[:, :-1]) for leaf in (told.obs, told.action, told.log_prob))
        returns = returns.ravel()

        def loss(params: Any) -> Array:
            mean, deviation = _actor(params, obs)
            value = _layers(params["critic"], obs)[..., 0]
            advantage = returns - jax.lax.stop_gradient(value)
            ratio = jnp.exp(_log_prob(mean, deviation, action) - old)
            surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - self.clip, 1 + self.clip) * advantage)
            spread = (jnp.log(deviation) + 0.5 * jnp.log(2 * jnp.pi * jnp.e)).sum(-1)
            error = self.value_coefficient * (value - returns) ** 2
            return (error - surrogate - self.entropy * spread).mean()

        def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
            params, optimizer = carry
            change, optimizer = self._optimizer().update(jax.grad(loss)(params), optimizer, params)
            return (optax.apply_updates(params, change), optimizer), None

        return jax.lax.scan(step, (state.params, state.optimizer), None, self.epochs)[0]

    def _chooses(self, trials: Int[Array, ""], context: Context) -> Bool[Array, ""]:
        """Whether this seat plays its meta-policy in a trial; a function of its number, so that all seats agree."""
        share = self.naive_share - self.naive_decay * trials.astype(jnp.float32)
        key = jax.random.fold_in(jax.random.key(0), trials)
        alone = jax.random.uniform(key) < share
        return ~alone | (trials < 0) | (trials % context.env.num_players == context.seat)

    def _table(self, env: Environment) -> Any:
        return jax.eval_shape(lambda: self.network.init(env, jax.random.key(0)))

    def _optimizer(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)


def _dense(key: Key[Array, ""], inputs: int, outputs: int) -> tuple[Array, Array]:
    """Weights and biases, uniform within 1 / √inputs of 0."""
    weight, bias = jax.random.split(key)
    bound = inputs**-0.5
    return (
        jax.random.uniform(weight, (inputs, outputs), minval=-bound, maxval=bound),
        jax.random.uniform(bias, (outputs,), minval=-bound, maxval=bound),
    )


def _layers(layers: Any, x: Array) -> Array:
    (first, bias), (second, offset) = layers
    one = jnp.ones((*x.shape[:-1], 1))  # as one product: sums over many rows, the gradient of a bias, are slow on CPUs
    hidden = jnp.tanh(jnp.concatenate([x, one], axis=-1) @ jnp.concatenate([first, bias[None]]))
    return hidden @ second + offset.reshape((1,) * (x.ndim - 1) + offset.shape)


def _actor(params: Any, obs: Array) -> tuple[Array, Array]:
    """Means and standard deviations of the next logits."""
    mean, variance = jnp.split(_layers(params["actor"], obs), 2, axis=-1)
    return mean, jnp.sqrt(jax.nn.softplus(variance))


def _log_prob(mean: Array, deviation: Array, drawn: Array) -> Array:
    return jax.scipy.stats.norm.logpdf(drawn, mean, deviation).sum(-1)
