"""Objectives: joint parameters → value of every player. A sampled one is in `shaping.dice`.

Exact ones live here, for players who use memory-one tables: the repeated matrix game in closed form and, for horizon 1,
the one-shot game; symmetric games of many players are in `shaping.counts`; and in differentiable games the table is the
player's vector itself. A table `[n, O, A - 1]` holds, for each player and observation, the logits of actions
0 ... A - 2; that of the last action is 0. For two actions its only entry is the logit of action 0.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Key

from envs import DifferentiableGame, Environment, MatrixGame, SymmetricGame
from envs.validation import require_choice
from shaping.counts import append, groups_of
from shaping.discounting import discounted_sum
from shaping.distributions import ILLEGAL_LOGIT, action_logits
from shaping.learner import Replay, Trajectory
from shaping.match import Match

__all__ = [
    "Exact",
    "ExactOutcome",
    "Objective",
    "action_probabilities",
    "exact_outcome",
    "joint_probabilities",
]

MAX_JOINT_ACTIONS, MAX_COUNTS = 256, 1024


class Objective(struct.PyTreeNode):
    """Protocol of an objective: the values that directions differentiate, to any order; fields are hyper-parameters."""

    samples: ClassVar[bool] = False
    """Whether it plays episodes, and the learner that climbs it needs some."""
    tables: ClassVar[bool] = False
    """Whether it is defined for memory-one tables `[O, A - 1]` in every seat only."""

    def check(self, env: Environment) -> None:
        """Raise unless `env` has this objective."""

    def check_match(self, match: Match) -> None:
        """Raise unless the players of `match` have this objective; by default, if some share their parameters."""
        if any(match.shared):
            raise ValueError(
                f"share: {type(self).__name__} is a function of the policies of all seats: expected one learner a seat"
            )

    def problem(self, match: Match, policies: Any, seat: Any, group: int) -> tuple[Any, Any, Any]:
        """What a direction of the player in `seat`, of group number `group`, is given: value, parameters and seat."""
        return Bound(self, match), policies, seat

    def __call__(self, match: Match, params: tuple[Any, ...], key: Key[Array, ""]) -> Float[Array, " n"]:
        """Values `[n]` of the joint `params`, as of `shaping.match.joint`; an estimate consumes `key`."""
        raise NotImplementedError

    def with_divergence(
        self, match: Match, params: tuple[Any, ...], reference: tuple[Any, ...], key: Key[Array, ""]
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """Values, and KL(policy of `reference` ‖ policy of `params`) of each player, a mean over situations."""
        raise NotImplementedError

    def critic_scale(self, env: Environment) -> float | Array:
        """What takes values to the scale on which a network's critic, if there is one, learns them."""
        return 1.0

    def critic_loss(self, env: Environment, replay: Replay, trajectory: Trajectory) -> Float[Array, ""]:
        """What the own critic should reduce on own episodes; 0 by default."""
        return jnp.zeros(())


class Bound(NamedTuple):
    """An objective of the players of a match: the value function that a direction sees."""

    objective: Objective
    match: Any

    def __call__(self, params: Any, key: Key[Array, ""]) -> Any:
        """Values `[n]`."""
        return self.objective(self.match, params, key)

    def with_divergence(self, params: Any, reference: Any, key: Key[Array, ""]) -> Any:
        """Values `[n]` and divergences `[n]` from the policies of `reference`."""
        return self.objective.with_divergence(self.match, params, reference, key)


class Exact(Objective):
    """The exact value of memory-one tables in an iterated or one-shot game of a few actions, or of vectors.

    Repeated game, discount γ = `env.discount`: V_i = Σ_t γ^t E[r_i] = p0ᵀ (I - γP)⁻¹ R_i, where p0 is the
    distribution of the first joint action, P the chain over joint actions and R_i their rewards; the horizon plays no
    role. One-shot game: V_i = p0ᵀ R_i. Symmetric games (`envs.SymmetricGame`): the same, by counts (`shaping.counts`),
    where seats that share a table are one group, and each follows the direction of one member that changes alone.
    Differentiable games: V_i(θ) as it is.
    Source: Foerster et al. 2018 (LOLA), arXiv 1709.04326; Lu et al. 2022 (M-FOS), arXiv 2205.01447.

    Attributes:
        units: of the values: discounted sums, or "per_step", (1 - discount) times the sums. The same step size goes
            1 / (1 - discount) times further on sums.
    """

    tables: ClassVar[bool] = True

    units: Literal["sum", "per_step"] = struct.field(default="sum", pytree_node=False)

    def __post_init__(self) -> None:
        """Check the units."""
        require_choice("units", self.units, ("sum", "per_step"))

    def check(self, env: Environment) -> None:
        """Raise unless `env` has an exact value.

        Raises:
            ValueError: a game without a closed form, or one with too many joint actions.
        """
        if isinstance(env, DifferentiableGame | SymmetricGame):
            return
        if not isinstance(env, MatrixGame):
            raise ValueError(
                f"the exact objective is for matrix games, not for {type(env).__name__}: try a learner that samples, "
                "such as ppo or lola_dice"
            )
        if env.num_actions < 2:
            raise ValueError("every player has one action, nothing can be learned: expected at least 2 actions")
        if env.num_joint_actions > MAX_JOINT_ACTIONS:
            fit = int(math.log(MAX_JOINT_ACTIONS, env.num_actions) + 1e-9)
            raise ValueError(
                f"{env.num_players} players with {env.num_actions} actions have {env.num_joint_actions} joint actions, "
                f"the exact objective takes {MAX_JOINT_ACTIONS}: expected at most {fit} players"
            )

    def check_match(self, match: Match) -> None:
        """Raise if there are too many counts in a symmetric game, or seats share a table elsewhere."""
        if not isinstance(match.env, SymmetricGame):
            super().check_match(match)
            return
        sizes = groups_of(match)[0].sizes
        if (states := math.prod(size + 1 for size in sizes)) > MAX_COUNTS:
            shown = ", ".join([*map(str, sizes[:6]), *(["..."] if len(sizes) > 6 else [])])
            raise ValueError(
                f"{len(sizes)} groups of {shown} players have {states} counts, the exact "
                f"objective takes {MAX_COUNTS}: expected fewer groups, such as equal learners with --share True"
            )

    def problem(self, match: Match, policies: Any, seat: Any, group: int) -> tuple[Any, Any, Any]:
        """In a symmetric game: of the groups, the player split off its own."""
        if not isinstance(match.env, SymmetricGame):
            return super().problem(match, policies, seat, group)
        groups, place = groups_of(match, self._scale(match.env))
        heads = np.array([np.flatnonzero(place == number)[0] for number in range(len(groups.sizes))])
        params = jax.tree.map(lambda leaf: leaf[heads], policies)
        if not match.shared[group]:
            return groups, params, jnp.asarray(place)[seat]
        own = int(place[match.seats[group][0]])
        return groups.split(own), append(params, jax.tree.map(lambda leaf: leaf[own], params)), jnp.asarray(len(heads))

    def __call__(self, match: Match, params: tuple[Any, ...], key: Key[Array, ""]) -> Float[Array, " n"]:
        """Values `[n]` of the tables of all seats; exact, so `key` is not used. Those that never learn stand still."""
        if isinstance(match.env, SymmetricGame):
            groups, params, _ = self.problem(match.replace(shared=(False,) * len(match.seats)), params, 0, 0)
            return groups(params, key)
        (tables,) = params
        if match.still.any():
            tables = jnp.where(match.still[:, None, None], jax.lax.stop_gradient(tables), tables)
        return self.value(match.env, tables)

    def with_divergence(
        self, match: Match, params: tuple[Any, ...], reference: tuple[Any, ...], key: Key[Array, ""]
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """Values, and the mean divergence over all observations; of vectors, half the squared distance."""
        if isinstance(match.env, DifferentiableGame):
            return self(match, params, key), 0.5 * ((params[0] - reference[0]) ** 2).sum(axis=(1, 2))
        logits = jax.vmap(action_logits)
        new, old = (jax.nn.log_softmax(logits(tables[0], match.env.legal(None))) for tables in (params, reference))
        return self(match, params, key), (jnp.exp(old) * (old - new)).sum(axis=-1).mean(axis=-1)

    def value(self, env: Environment, tables: Float[Array, "n O L"]) -> Float[Array, " n"]:
        """Values `[n]` of the joint `tables`, in `units`."""
        if isinstance(env, DifferentiableGame):
            return env.values(tables[:, 0])
        assert isinstance(env, MatrixGame), "`check` lets no other game through"
        start, chain = joint_probabilities(env, tables)
        rewards = _rewards(env)
        if env.horizon == 1:
            return start @ rewards
        return self._scale(env) * (start @ discounted_sum(chain, rewards, env.discount))

    def _scale(self, env: MatrixGame | SymmetricGame) -> Any:
        """From discounted sums to `units`."""
        return 1 - env.discount if self.units == "per_step" and env.horizon > 1 else 1.0


class ExactOutcome(NamedTuple):
    """What memory-one tables do, exactly.

    Attributes:
        reward_per_step: `[n]`, (1 - γ) Σ_t γ^t E[r_i], or E[r_i] of the one-shot game.
        action_rates: `[n, A]`, share of steps, discounted in the same way, on which a player takes each action.
        response: `[n, 1 + A n, A]`, probability of each action after each kind of history: START, then
            (own action a, k of the others took another action than 0) at index 1 + a n + k. A mean over the
            histories of a kind, those with masked actions included. One row in the one-shot game.
    """

    reward_per_step: Float[Array, " n"]
    action_rates: Float[Array, "n A"]
    response: Float[Array, "n H A"]


def exact_outcome(env: MatrixGame, tables: Float[Array, "n O L"]) -> ExactOutcome:
    """The exact outcome of `tables` `[n, O, A - 1]` in `env`."""
    n, actions = env.num_players, env.num_actions
    probabilities = action_probabilities(tables, env.legal())
    start, chain = joint_probabilities(env, tables)
    taken = jax.nn.one_hot(jnp.indices((actions,) * n).reshape(n, -1), actions, axis=1)  # [n, A, S]
    features = jnp.concatenate([_rewards(env), taken.reshape(n * actions, -1).T], axis=1)
    if env.horizon == 1:
        per_step = start @ features
    else:
        per_step = (1 - env.discount) * (start @ discounted_sum(chain, features, env.discount))
    kinds = jax.nn.one_hot(env.history_kinds(), env.histories).T  # [H, O]
    response = jnp.einsum("ho,noa->nha", kinds / kinds.sum(axis=1, keepdims=True), probabilities)
    return ExactOutcome(per_step[:n], per_step[n:].reshape(n, actions), response)


def action_probabilities(tables: Float[Array, "n O L"], legal: Bool[Array, "n A"]) -> Float[Array, "n O A"]:
    """Probability of each action after each observation, `[n, O, A]`, from tables `[n, O, A - 1]`."""
    if tables.shape[-1] == 1:  # the softmax of (x, 0), with cheaper derivatives of any order
        first = jax.nn.sigmoid(jnp.where(legal[:, None, 1:], tables, -ILLEGAL_LOGIT))
        return jnp.concatenate([first, 1 - first], axis=-1)
    return jax.nn.softmax(jax.vmap(action_logits)(tables, legal), axis=-1)


def joint_probabilities(
    env: MatrixGame, tables: Float[Array, "n O L"]
) -> tuple[Float[Array, " S"], Float[Array, "R S"]]:
    """Distribution of the first joint action `[S]` and the chain `[S, S]` from each to the next, S = A^n.

    In the one-shot game nothing comes next and the chain is `[0, S]`.
    """
    n, actions, size = env.num_players, env.num_actions, env.num_joint_actions
    probabilities = action_probabilities(tables, env.legal())
    joint = jnp.ones((probabilities.shape[1], 1), probabilities.dtype)
    for player in range(n):
        start, after = probabilities[player, :1], probabilities[player, 1:]
        if env.horizon > 1:  # own view → absolute: the axis of player j stands at (j - player) mod n
            axes = [(other - player) % n for other in range(n)]
            after = after.reshape((actions,) * (n + 1)).transpose([*axes, n]).reshape(size, actions)
        own = jnp.concatenate([start, after])
        joint = (joint[:, :, None] * own[:, None, :]).reshape(own.shape[0], -1)
    return joint[0], joint[1:]


def _rewards(env: MatrixGame) -> Float[Array, "S n"]:
    return jnp.asarray(env.payoffs).reshape(env.num_players, -1).T
