"""Fixed strategies: learners that learn nothing.

In matrix games with two actions, 0 (co-operate) and 1 (defect), a memory-one strategy is its `response`: the
probability of co-operating after each kind of history, `[H]`, H = 1 + 2n: START, then (own action a, k of the others
defected) at index 1 + a n + k, the order of `MatrixGame.history_kinds`.
"""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from envs import Environment, MatrixGame, SymmetricGame
from envs.validation import require_choice, require_range
from shaping.learner import Learner

__all__ = ["Given", "Grim", "MemoryOne", "Random", "TitForTat", "Uniform", "WinStayLoseShift"]

VARIANTS = ("majority", "soft", "half", "harsh", "strict_stay", "strict_switch")
TOLERANCE = 1e-6  # relative to the largest payoff, within which payoffs are equal


class Uniform(Learner):
    """Every legal action with the same probability, continuous ones uniform in their range."""

    @property
    def samples(self) -> bool:
        """No."""
        return False

    def act(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"], key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """Draw an action; consumes `key`."""
        if not env.num_actions:
            low, high = env.action_range
            return jax.random.uniform(key, (env.action_dim,), minval=low, maxval=high), memory, ()
        return jax.random.categorical(key, jnp.where(legal, 0.0, -jnp.inf)).astype(jnp.int32), memory, ()

    def action_probabilities(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"]
    ) -> Float[Array, " A"]:
        """The same for all legal actions."""
        allowed = legal.astype(float)
        return allowed / allowed.sum()


class Random(Learner):
    """Co-operate with a fixed probability, whatever happened; in environments with a `dilemma`.

    Attributes:
        probability: of co-operating; 1 always co-operates, 0 always defects.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("probability", self.probability, 0.0, 1.0)

    @property
    def samples(self) -> bool:
        """No."""
        return False

    def check(self, env: Environment, batch: int = 1) -> None:
        """Raise unless `env` says which actions co-operate and defect."""
        own = lambda key: jax.tree.map(lambda leaf: leaf[0], env.reset(key)[1])  # noqa: E731
        if jax.eval_shape(lambda key: env.dilemma(own(key)), jax.random.key(0)) is None:
            raise ValueError(f"{game_name(env)} does not say which action co-operates: try the learner uniform instead")

    def act(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"], key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """Co-operate or defect; consumes `key`."""
        actions = env.dilemma(obs)
        assert actions is not None, "see `check`"
        return jnp.where(jax.random.bernoulli(key, self.probability), actions[0], actions[1]), memory, ()

    def action_probabilities(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"]
    ) -> Float[Array, " A"]:
        """The fixed one, and the rest."""
        actions = env.dilemma(obs)
        assert actions is not None, "see `check`"
        cooperation = jnp.asarray(self.probability, float)
        return jnp.zeros(env.num_actions).at[actions].set(jnp.stack([cooperation, 1 - cooperation]))


class MemoryOne(Learner):
    """Protocol of the memory-one strategies: what they do depends on the kind of history, through `response`."""

    @property
    def samples(self) -> bool:
        """No."""
        return False

    def check(self, env: Environment, batch: int = 1) -> None:
        """Raise unless `env` is a matrix game with two actions a player."""
        _check_two_actions(self, env)

    def response(self, env: Environment) -> Float[Array, " H"]:
        """Probability of co-operating after each kind of history."""
        raise NotImplementedError

    def act(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"], key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """Co-operate with the probability of `response`; consumes `key`."""
        return 1 - jax.random.bernoulli(key, self._cooperation(env, obs)).astype(jnp.int32), memory, ()

    def action_probabilities(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"]
    ) -> Float[Array, " A"]:
        """That of `response`, and the rest."""
        cooperation = self._cooperation(env, obs)
        return jnp.stack([cooperation, 1 - cooperation])

    def _cooperation(self, env: Environment, obs: Int[Array, ""]) -> Float[Array, ""]:
        own, others = _last_step(env, obs)
        kind = jnp.where(obs > 0, 1 + own * env.num_players + others, 0)
        response = self.response(env)
        return jnp.where(jnp.arange(response.shape[0]) == kind, response, 0.0).sum()


class Given(MemoryOne):
    """Co-operates with given probabilities: any memory-one strategy, and all of them one program.

    Attributes:
        probabilities: of co-operating after each kind of history.
    """

    probabilities: Float[Array, " H"]

    def response(self, env: Environment) -> Float[Array, " H"]:
        """The given ones."""
        return self.probabilities


class TitForTat(MemoryOne):
    """Tit-for-tat: co-operate first, then do what the others did; all variants are one for two players.

    Source: Axelrod and Hamilton 1981, "The evolution of cooperation", Science 211; for n players Souly et al. 2023,
    arXiv 2312.12564, code; generous: Nowak and Sigmund 1992, "Tit for tat in heterogeneous populations", Nature 355.

    Attributes:
        variant: "majority" (or "soft") defects if more than half of the others did, "half" if at least half did, and
            "harsh" if any did; the strict ones do what all others did, and where those disagree "strict_stay" repeats
            the own action and "strict_switch" changes it.
        forgiveness: probability of co-operating where tit-for-tat would defect.
    """

    variant: Literal["majority", "soft", "half", "harsh", "strict_stay", "strict_switch"] = struct.field(
        default="majority", pytree_node=False
    )
    forgiveness: float = 0.0

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        require_choice("variant", self.variant, VARIANTS)
        require_range("forgiveness", self.forgiveness, 0.0, 1.0)

    def response(self, env: Environment) -> Float[Array, " H"]:
        """1, and `forgiveness` instead of 0."""
        own, others = np.indices((2, env.num_players))
        agreed = (others == 0) | (others == env.num_players - 1)
        cooperates = {
            "harsh": others == 0,
            "half": 2 * others < env.num_players - 1,
            "strict_stay": np.where(agreed, others, own) == 0,
            "strict_switch": np.where(agreed, others, 1 - own) == 0,
        }.get(self.variant, 2 * others <= env.num_players - 1)
        return jnp.where(after(True, cooperates), 1.0, self.forgiveness)


class Grim(MemoryOne):
    """Co-operate until another player has defected once, then defect to the end of the episode.

    Source: Friedman 1971, "A non-cooperative equilibrium for supergames", Review of Economic Studies 38.
    """

    def response(self, env: Environment) -> Float[Array, " H"]:
        """As long as nobody else has defected; that of harsh tit-for-tat."""
        return TitForTat("harsh").response(env)

    def memory(self, env: Environment, policy: Any) -> Bool[Array, ""]:
        """Whether another player has defected."""
        return jnp.zeros((), bool)

    def act(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"], key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """Defect if anybody else has, now or before."""
        memory = memory | (super().act(env, policy, (), obs, legal, key)[0] == 1)
        return memory.astype(jnp.int32), memory, ()

    def action_probabilities(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"]
    ) -> Float[Array, " A"]:
        """All for one action."""
        return jnp.where(memory, jnp.array([0.0, 1.0]), super().action_probabilities(env, policy, (), obs, legal))


class WinStayLoseShift(MemoryOne):
    """Win-stay, lose-shift (Pavlov): repeat the own action if it paid at least the aspiration, else change it.

    Co-operates first. In the 2-player prisoner's dilemma it co-operates after CC and DD. The payoff is that of the last
    joint action, so no reward need be observed; every seat must be paid alike.
    Source: Nowak and Sigmund 1993, "A strategy of win-stay, lose-shift that outperforms tit-for-tat in the Prisoner's
    Dilemma game", Nature 364.

    Attributes:
        aspiration: reward per step that counts as a win; midway between that of all C and that of all D by default.
    """

    aspiration: float | None = None

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.aspiration is not None:
            require_range("aspiration", self.aspiration, -float("inf"))

    def check(self, env: Environment, batch: int = 1) -> None:
        """Raise unless `env` is a symmetric matrix game with two actions a player."""
        check_symmetric(self, env)

    def response(self, env: Environment) -> Float[Array, " H"]:
        """1 after a win with C or a loss with D, 0 otherwise."""
        own, _ = payoffs_by_role(env, jnp)
        aspiration = (own[0, 0] + own[1, -1]) / 2 if self.aspiration is None else self.aspiration
        cooperated = np.array([[True], [False]])
        return after(1.0, jnp.where((own >= aspiration) == cooperated, 1.0, 0.0))


def _last_step(env: Environment, obs: Int[Array, ""]) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """The own last action, and how many of the others defected; zeros at START."""
    joint = jnp.maximum(obs - 1, 0)
    if isinstance(env, SymmetricGame):
        return joint // env.num_players, joint % env.num_players
    own = joint >> (env.num_players - 1)
    return own, jax.lax.population_count(joint) - own


def after(start: Any, response: Any) -> Array:
    """A response `[H]` from what to do first and `[2, n]`, what to do after (own action, others that defected)."""
    return jnp.concatenate([jnp.full(1, start), jnp.ravel(response)])


def payoffs_by_role(env: Environment, module: Any) -> tuple[Any, Any]:
    """The own payoff and the mean of the others', `[2, n]` by own action and number of others that defected.

    Args:
        env: a symmetric matrix game with two actions.
        module: `jax.numpy`, so that payoffs may be traced, or `numpy`, for checks.
    """
    assert isinstance(env, MatrixGame | SymmetricGame), "see `check`"
    n = env.num_players
    action, k = np.indices((2, n))
    own = module.asarray(env.payoffs, float)
    if isinstance(env, MatrixGame):
        own = own.reshape(n, -1)[0][action * 2 ** (n - 1) + 2**k - 1]
    share, defectors = (k / max(n - 1, 1)).astype(own.dtype), action + k
    others = (1 - share) * own[0][np.minimum(defectors, n - 1)] + share * own[1][np.maximum(defectors - 1, 0)]
    return own, others


def _check_two_actions(strategy: Learner, env: Environment) -> None:
    if isinstance(env, SymmetricGame):
        return
    if not isinstance(env, MatrixGame) or {len(names) for names in env.actions} != {2}:
        what = f"{type(strategy).__name__} plays matrix games with 2 actions a player, not {game_name(env)}"
        raise ValueError(f"{what}: try the learner uniform instead")


def check_symmetric(strategy: Learner, env: Environment) -> None:
    """Raise unless `env` is a matrix game with two actions a player that pays all seats alike."""
    _check_two_actions(strategy, env)
    if isinstance(env, SymmetricGame):
        return
    assert isinstance(env, MatrixGame), "checked above"
    n = env.num_players
    payoffs, actions = np.asarray(env.payoffs, float).reshape(n, -1), np.indices((2,) * n).reshape(n, -1)
    expected = payoffs_by_role(env, np)[0][actions, actions.sum(axis=0) - actions]
    if n < 2 or not np.allclose(payoffs, expected, rtol=0, atol=TOLERANCE * np.abs(payoffs).max()):
        what = f"{type(strategy).__name__} needs two or more players, all paid alike, unlike in {game_name(env)}"
        raise ValueError(f"{what}: try tit_for_tat, which looks at actions only")


def game_name(env: Environment) -> str:
    """An environment in messages."""
    names = f" with actions {'/'.join(env.actions[0])}" if isinstance(env, MatrixGame) else ""
    return f"{type(env).__name__}{names} and {env.num_players} players"
