"""Any learner as an oracle: it learns against policies drawn from the others' populations, averse to risk or not."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from envs import Environment
from envs.validation import require_choice, require_range
from equilibria.oracles import Oracle, Target, check_measure
from equilibria.risk import MeanVariance, Neutral, Risk
from shaping import Context, Learner, Match, Trajectory, episode
from shaping.match import SEAT_AXES

__all__ = ["LearnerOracle"]


class LearnerOracle(Oracle):
    """Learns a response: before every update profiles of the others are drawn, each plays some episodes.

    A measure of risk ρ is maximised by weights: episodes against profile j count ∂ρ / ∂z_j / p_j times, where z_j is
    the running mean return against j, and p_j its probability. For E - γ Var that is 1 - 2 γ (z_j - Σ p z), the
    gradient of the mean less γ times the variance that the *others* cause. If all episodes vary, each is worth its
    influence on the measure, spread evenly over its steps: with d = return - mean, d - γ d².

    Learners that normalise advantages in small minibatches, or clip gradients, make too little of what is rare and bad:
    `normalize=False` and a large `max_grad_norm` do not.

    Source: weights: Slumbers et al. 2023, arXiv 2205.15434 (reconstructed); uncertain "steps": Zhang, Liu and Whiteson
    2020 (MVPI), arXiv 2004.10888.

    Attributes:
        learner: who learns; one that learns from episodes, or a shaper, to which opponents stand still.
        measure: what is maximised.
        uncertain: what varies: which "profiles" the others play; the returns of all "episodes", chance included; or
            rewards of single "steps", for a mean-variance measure: r becomes r - γ r² + 2 γ r mean(r).
        updates: a response.
        profiles: of the others P, drawn before every update.
        episodes: against each profile, a learner's batch is P times as many.
        start: of a response: where the "last" ended, or "fresh".
        memory: share of the newest mean in running means, in (0, 1].
    """

    learner: Learner
    measure: Risk = Neutral()
    uncertain: Literal["profiles", "episodes", "steps"] = struct.field(default="profiles", pytree_node=False)
    updates: int = struct.field(default=200, pytree_node=False)
    profiles: int = struct.field(default=16, pytree_node=False)
    episodes: int = struct.field(default=4, pytree_node=False)
    start: Literal["last", "fresh"] = struct.field(default="last", pytree_node=False)
    memory: float = 0.1

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        require_choice("uncertain", self.uncertain, ("profiles", "episodes", "steps"))
        require_choice("start", self.start, ("last", "fresh"))
        for name in ("updates", "profiles", "episodes"):
            require_range(name, getattr(self, name), 1, whole=True)
        require_range("memory", self.memory, 1e-6, 1.0)
        if getattr(self.measure, "variance", "others") == "total":
            raise ValueError(
                "variance = 'total' of a learner: expected 'others', with uncertain = 'episodes' for chance"
            )
        if self.uncertain == "steps" and not isinstance(self.measure, MeanVariance | Neutral):
            raise ValueError(
                f"uncertain = 'steps' with {type(self.measure).__name__}: expected the mean-variance measure, or"
                " 'profiles' or 'episodes'"
            )

    def check(self, arena: Any) -> None:
        """Raise unless `arena` is an environment that the learner can play from its own experience."""
        if not isinstance(arena, Environment):
            raise ValueError(f"a learner plays environments, found {type(arena).__name__}; expected oracle = 'exact'")
        if arena.num_players < 2:
            raise ValueError(f"{type(arena).__name__} has one player: expected 2 or more")
        if not self.learner.samples or self.learner.sees != "own":
            raise ValueError(
                f"{type(self.learner).__name__} as an oracle: expected a learner that learns from its own experience,"
                " such as ppo, ppo_gru, q_learning or shaper"
            )
        check_measure(self.measure, arena.num_players)
        self._match(arena)

    def init(self, arena: Environment, key: Key[Array, ""]) -> Any:
        """Fresh states of the learner; consumes `key`."""
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(arena.num_players))
        return jax.vmap(lambda own: self.learner.init(arena, own))(keys)

    def policies(self, arena: Environment, states: Any) -> Any:
        """What states play; of a shaper what it deploys."""
        return jax.vmap(lambda state: self._policy(arena, state))(states)

    def respond(
        self, arena: Environment, states: Any, populations: Any, target: Target, sizes: Int[Array, " n"], key: Any
    ) -> tuple[Any, dict[str, Float[Array, " N"]]]:
        """States after so many updates; `gain` is not known, `return` the running mean against the target."""
        n, asked = arena.num_players, len(target)
        match = self._match(arena)
        fresh = self.init(arena, jax.random.fold_in(key, n)) if self.start == "fresh" else states
        fresh = jax.tree.map(lambda leaf: leaf[:asked], fresh)
        chance = target.sum(axis=1)

        def of(seat: Int[Array, ""], state: Any, chance: Float[Array, " O"], measure: Risk) -> Any:
            own = self.replace(measure=measure)
            own_key = jax.random.fold_in(key, seat)
            nothing = jnp.zeros_like(chance)

            def update(carry: Any, number: Int[Array, ""]) -> tuple[Any, None]:
                state, means, seen = carry
                draw_key, play_key, learn_key = jax.random.split(jax.random.fold_in(own_key, number), 3)
                drawn = _draw(draw_key, chance, self.profiles)
                choices = jax.vmap(lambda profile: _seats(profile, seat, n, populations))(drawn)
                keys = jax.random.split(play_key, self.profiles)
                meet = lambda policy: self._meet(match, seat, policy, populations, choices, keys)  # noqa: E731
                learn = own._learn_episode if self.learner.span == "episode" else own._learn_trial
                weigh = lambda returns: own._weights(returns, drawn, means, seen, chance)  # noqa: E731
                state, returns = learn(arena, seat, state, meet, weigh, learn_key)
                return (state, *self._remembered(returns.mean(axis=1), drawn, means, seen)), None

            carry = state, nothing, nothing
            (state, means, seen), _ = jax.lax.scan(update, carry, jnp.arange(self.updates))
            known = jnp.where(seen > 0, chance, 0.0)
            return state, (known @ means) / jnp.maximum(known.sum(), 1e-12)

        each = jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.asarray(leaf, chance.dtype), (asked,)), self.measure)
        states, means = jax.vmap(of)(jnp.arange(asked), fresh, chance, each)
        return states, {"return": means}

    def play(self, arena: Environment, policies: Any, episodes: int, key: Key[Array, ""]) -> Float[Array, "E n"]:
        """Returns, sums of rewards, of sampled episodes; consumes `key`."""
        return self.watch(arena, policies, episodes, key)[0]

    def watch(
        self, arena: Environment, policies: Any, episodes: int, key: Key[Array, ""]
    ) -> tuple[Float[Array, "E n"], dict[str, Float[Array, "E n"]]]:
        """Returns, and sums over steps of what the transitions showed, `TimeStep.info`; consumes `key`."""
        match = self._match(arena).replace(batch=episodes)
        trajectories, info = episode(match, (policies,), key)
        valid = trajectories[0].valid[..., None]
        seen = {name: (jnp.where(valid > 0, own, 0.0)).sum(axis=0) for name, own in info.items()}
        return trajectories[0].reward.sum(axis=0), seen

    def _match(self, arena: Environment) -> Match:
        """The learner in every seat."""
        batch = self.profiles * self.episodes if self.learner.span == "episode" else self.episodes
        return Match.of(arena, [self.learner] * arena.num_players, batch=batch).replace(batch=self.episodes)

    def _policy(self, arena: Environment, state: Any) -> Any:
        key = jax.random.key(0)
        inner = self.learner.begin(arena, state, key) if self.learner.span == "trial" else state
        return self.learner.policy(inner)

    def _meet(self, match: Match, seat: Any, policy: Any, populations: Any, choices: Any, keys: Any) -> Trajectory:
        """The own part of episodes against chosen profiles, leaves `[P, T, b, ...]`."""

        def one(choice: Int[Array, " n"], key: Key[Array, ""]) -> Trajectory:
            place = lambda everyone, own: everyone[jnp.arange(len(choice)), choice].at[seat].set(own)  # noqa: E731
            trajectories, _ = episode(match, (jax.tree.map(place, populations, policy),), key)
            found = {
                name: jax.tree.map(lambda leaf, axis=axis: jnp.take(leaf, seat, axis), getattr(trajectories[0], name))
                if (axis := getattr(SEAT_AXES, name)) is not None
                else getattr(trajectories[0], name)
                for name in Trajectory._fields
            }
            return Trajectory(**found)

        return jax.vmap(one)(choices, keys)

    def _learn_episode(
        self, arena: Environment, seat: Any, state: Any, meet: Any, weigh: Any, key: Key[Array, ""]
    ) -> tuple[Any, Float[Array, "P b"]]:
        """One update from all episodes together; and their returns."""
        met = meet(self.learner.policy(state))
        returns = met.reward.sum(axis=1)
        met = met._replace(reward=self._rewards(met, weigh(returns)))
        steps = {
            name: jax.tree.map(lambda leaf: _merge(leaf, 2), getattr(met, name))
            for name in Trajectory._fields
            if not name.startswith("last")
        }
        ends = {
            name: jax.tree.map(lambda leaf: _merge(leaf, 1), getattr(met, name)) for name in ("last_obs", "last_memory")
        }
        context = Context(arena, seat, Trajectory(**steps, **ends), None, None, None, None)
        return self.learner.update(state, context, key)[0], returns

    def _learn_trial(
        self, arena: Environment, seat: Any, state: Any, meet: Any, weigh: Any, key: Key[Array, ""]
    ) -> tuple[Any, Float[Array, "P b"]]:
        """One generation: every candidate meets the same profiles; and the returns, means over candidates."""
        try_key, enter_key, learn_key = jax.random.split(key, 3)
        tried = self.learner.candidates(arena, state, try_key)

        def one(candidate: Any) -> Trajectory:
            return meet(self.learner.policy(self.learner.enter(arena, candidate, enter_key)))

        met = jax.vmap(one)(tried)  # [C, P, T, b]
        returns = met.reward.sum(axis=2)
        weights = weigh(returns.mean(axis=0))
        met = met._replace(reward=jax.vmap(lambda own: self._rewards(own, weights))(met))

        def tell(candidate: Any, trajectory: Trajectory) -> Any:
            inner = self.learner.enter(arena, candidate, enter_key)
            context = Context(arena, seat, trajectory, None, None, None, None)
            return self.learner.update(inner, context, learn_key)[1]

        told = jax.vmap(jax.vmap(tell, (None, 0)))(tried, met)
        told = jax.tree.map(lambda leaf: leaf[:, :, None], told)
        return self.learner.learn(arena, state, tried, told, learn_key)[0], returns.mean(axis=0)

    def _rewards(self, met: Trajectory, weights: Float[Array, "P b"]) -> Float[Array, "P T b"]:
        """As risk weighs them: `weights` of `_weights`, or, if episodes vary, what each episode is to be worth."""
        reward = met.reward
        if isinstance(self.measure, Neutral):
            return reward
        if self.uncertain == "profiles":
            return reward * weights[:, None]
        valid = jnp.broadcast_to(met.valid, reward.shape)
        if self.uncertain == "episodes":
            lacking = (weights - reward.sum(axis=1)) / jnp.maximum(valid.sum(axis=1), 1.0)
            return reward + valid * lacking[:, None]
        risk = getattr(self.measure, "risk")  # noqa: B009  only of mean-variance, which `__post_init__` sees to
        mean = reward.sum() / jnp.maximum(valid.sum(), 1.0)
        return reward - risk * reward**2 + 2 * risk * reward * mean

    def _weights(self, returns: Any, drawn: Any, means: Any, seen: Any, chance: Any) -> Float[Array, "P b"]:
        """How much each episode counts; if episodes vary, what it is worth: its influence on the measure."""
        if isinstance(self.measure, Neutral) or self.uncertain == "steps":
            return jnp.ones_like(returns)
        value = lambda seen, chance: self.measure.of(seen, chance)  # noqa: E731
        if self.uncertain == "episodes":
            flat = returns.ravel()
            influence = jax.grad(value, argnums=1)(flat, jnp.full_like(flat, 1.0 / flat.size))
            return (influence - influence.mean() + flat.mean()).reshape(returns.shape)
        means, seen = self._remembered(returns.mean(axis=1), drawn, means, seen)
        known = jnp.where(seen > 0, chance, 0.0)
        known = known / jnp.maximum(known.sum(), 1e-12)
        slopes = jax.grad(value)(jnp.where(seen > 0, means, known @ means), known)
        weights = jnp.where(known > 0, slopes / jnp.maximum(known, 1e-12), 1.0)
        return jnp.broadcast_to(weights[drawn][:, None], returns.shape)

    def _remembered(self, returns: Any, drawn: Any, means: Any, seen: Any) -> tuple[Array, Array]:
        """Running means of returns against each profile, and how often it was met."""
        times = jnp.zeros_like(means).at[drawn].add(1.0)
        now = jnp.zeros_like(means).at[drawn].add(returns) / jnp.maximum(times, 1.0)
        share = jnp.where(seen > 0, self.memory, 1.0)
        return jnp.where(times > 0, means + share * (now - means), means), seen + times


def _draw(key: Key[Array, ""], chance: Float[Array, " O"], count: int) -> Int[Array, " P"]:
    """Numbers of profiles, each as often as its probability says, but for rounding; consumes `key`.

    Evenly spaced on the cumulative distribution, so that rare profiles are not in some batches and missing in others:
    learners that normalise advantages or clip gradients batch by batch would make less of them.
    """
    places = (jnp.arange(count, dtype=chance.dtype) + jax.random.uniform(key, dtype=chance.dtype)) / count
    return jnp.searchsorted(jnp.cumsum(chance) / chance.sum(), places, side="right").clip(0, chance.size - 1)


def _merge(leaf: Array, axis: int) -> Array:
    """`[P, ..., b, ...]` → `[..., P b, ...]`, where the axis of b is number `axis`."""
    moved = jnp.moveaxis(leaf, 0, axis - 1)
    return moved.reshape(*moved.shape[: axis - 1], -1, *moved.shape[axis + 1 :])


def _seats(profile: Int[Array, ""], seat: Int[Array, ""], players: int, populations: Any) -> Int[Array, " n"]:
    """The policies of profile number `profile` of the others, by seat; 0 in the own."""
    size = jax.tree.leaves(populations)[0].shape[1]
    digits = jnp.stack(jnp.unravel_index(profile, (size,) * (players - 1)))
    return (
        jnp.zeros(players, jnp.int32).at[(seat + 1 + jnp.arange(players - 1)) % players].set(digits.astype(jnp.int32))
    )
