"""The Learner contract: who sits in a seat, and everything it may look at."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from envs import Environment

__all__ = ["ENVIRONMENTS", "Context", "Learner", "Record", "Replay", "Trajectory"]

ENVIRONMENTS = "environments"
"""Name of the axis of the B environments of an update, within `act`: for what is done across them (`jax.lax.pmean`)."""


class Trajectory(NamedTuple):
    """What one seat, or each seat `[..., seats, ...]`, saw and did in a batch of episodes, leaves `[T, B, ...]`.

    Attributes:
        obs: observation *before* acting.
        legal: `[T, B, A]`, which actions were allowed then.
        action: taken on that observation.
        reward: paid for that action; 0 after the end of the episode.
        valid: `[T, B]`, 1 until the episode has ended, 0 for steps after it; the same for every seat.
        terminated: `[T, B]`, the game ended with this step; the same for every seat.
        aux: what `act` returned beside the action.
        last_obs: observation after the last step, leaves `[B, ...]`.
        last_memory: memory after the last step, leaves `[B, ...]`.
    """

    obs: Any
    legal: Any
    action: Any
    reward: Any
    valid: Any
    terminated: Any
    aux: Any
    last_obs: Any
    last_memory: Any


class Record(NamedTuple):
    """What everybody did and was paid, seen from one seat: players in the order i, i + 1, ..., n - 1, 0, ..., i - 1.

    Attributes:
        action: `[T, B, n, ...]`.
        reward: `[T, B, n]`.
    """

    action: Any
    reward: Float[Array, "T B n"]


class Replay(NamedTuple):
    """A trajectory seen again by a policy, which need not be the one that played it.

    Attributes:
        log_prob: `[T, B]`, of the actions taken.
        value: `[T + 1, B]`, of the observations, the last one included.
        action: parameters of the distributions over actions, leaves `[T, B, ...]`; () if nobody can differentiate it.
    """

    log_prob: Float[Array, "T B"]
    value: Float[Array, "T1 B"]
    action: Any


class Context(NamedTuple):
    """Everything a learner may look at in an update; None what it may not.

    Attributes:
        env: the environment.
        seat: int32 scalar, the own seat; traced, because equal seats share one `vmap`.
        trajectory: the own seat's part of the episodes, leaves `[T, B, ...]`; None if no seat samples.
        record: actions and rewards of all seats, for learners that see "rewards".
        match: everybody's rules, for learners that see "policies".
        policies: of all seats, one PyTree a form of policy with leaves `[n, ...]` (see `match.joint`), likewise.
        form: the number of the own policy's form among them.
        group: the number of the own group of the match, likewise.
        inner: of a trial, steps T of an inner episode and environments B that shared rivals; its trajectory is of all
            inner episodes, one after the other, and of all sets of rivals, those of one set side by side.
    """

    env: Environment
    seat: Int[Array, ""]
    trajectory: Trajectory | None
    record: Record | None
    match: Any
    policies: tuple[Any, ...] | None
    form: int | None
    group: int | None = None
    inner: tuple[int, int] | None = None


class Learner(struct.PyTreeNode):
    """A way to play and to learn: pure functions for one seat. Fields are hyper-parameters.

    Attributes and properties of the class say what a learner needs, so that a match can be refused before anything is
    compiled. A fixed strategy is a learner whose `update` does nothing.

    A *shaper* is a learner whose `span` is "trial". Its state lives from trial to trial; in a trial it plays from what
    `begin` makes of it, and what `update` returns after every inner episode, beside that inner state, is collected for
    `learn`, once a trial. All others are its *rivals*; they learn inside the trial, by `update`.
    """

    sees: ClassVar[Literal["own", "rewards", "policies"]] = "own"
    """What `update` reads: the own trajectory, also what the others did and were paid, or also their policies."""

    @property
    def span(self) -> Literal["episode", "trial"]:
        """What it learns from: inner episodes, or whole trials among rivals that learn."""
        return "episode"

    @property
    def population(self) -> int:
        """How many candidates P a shaper tries in a trial, side by side."""
        return 1

    @property
    def samples(self) -> bool:
        """Whether `update` reads a trajectory; a match in which nobody does plays no episodes."""
        return True

    @property
    def tables(self) -> bool:
        """Whether the policy is a memory-one table of logits `[O, A - 1]`, and `update` needs all of them to be."""
        return False

    @property
    def learns(self) -> bool:
        """Whether `update` ever changes anything; by default, if the class has one of its own."""
        return type(self).update is not Learner.update

    @property
    def prepares(self) -> bool:
        """Whether `init` takes long, because something is learned before play."""
        return False

    def check(self, env: Environment, batch: int = 1) -> None:
        """Raise a `ValueError` in the user's words if this learner cannot play `env`; called before tracing."""

    def check_match(self, match: Any) -> None:
        """Raise a `ValueError` in the user's words if this learner cannot play among the others of `match`."""

    def init(self, env: Environment, key: Key[Array, ""]) -> Any:
        """A fresh state; consumes `key`. Nothing by default."""
        return ()

    def policy(self, state: Any) -> Any:
        """The part of the state that acts, arrays of floats; all of it by default."""
        return state

    def memory(self, env: Environment, policy: Any) -> Any:
        """Fresh recurrent memory at the start of an episode; none by default."""
        return ()

    def carry(self, env: Environment, policy: Any, memory: Any) -> Any:
        """Memory at the start of the next inner episode of a trial, from that at the end of the last; fresh by default.

        Args:
            env: the environment.
            policy: as it is after the update between the two.
            memory: after the last step.
        """
        return self.memory(env, policy)

    def act(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"], key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """Action, memory, and what to remember of the decision, for one observation; consumes `key`."""
        raise NotImplementedError

    def action_probabilities(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"]
    ) -> Float[Array, " A"]:
        """With which probability `act` takes each action on the same observation; `[0]` for continuous actions."""
        raise NotImplementedError(f"{type(self).__name__} does not tell the probabilities of its actions")

    def replay(self, env: Environment, policy: Any, trajectory: Trajectory) -> Replay:
        """Log-probabilities of the actions of an own `trajectory`, differentiable in `policy`, and values.

        By default both are 0: a policy in which nobody else can differentiate, and which they take to stand still.
        """
        steps, batch = trajectory.reward.shape
        return Replay(jnp.zeros((steps, batch)), jnp.zeros((steps + 1, batch)), ())

    def update(self, state: Any, context: Context, key: Key[Array, ""]) -> tuple[Any, Any]:
        """Learn from one update's worth of experience; returns the state and scalar metrics; consumes `key`.

        A shaper returns what `learn` is to be told instead of metrics. By default nothing is learned.
        """
        return state, {}

    def begin(self, env: Environment, state: Any, key: Key[Array, ""]) -> Any:
        """The inner state with which a shaper starts a trial it does not learn from; its state by default."""
        return state

    def candidates(self, env: Environment, state: Any, key: Key[Array, ""]) -> Any:
        """The inner states that a shaper tries in a trial to learn from it, leaves `[P, ...]`; consumes `key`.

        By default one: that of `begin`.
        """
        return jax.tree.map(lambda leaf: leaf[None], self.begin(env, state, key))

    def enter(self, env: Environment, state: Any, key: Key[Array, ""]) -> Any:
        """The inner state of a shaper as it meets one set of rivals, which it does not share with other sets.

        By default as `begin` or `candidates` made it; consumes `key`.
        """
        return state

    def learn(
        self, env: Environment, state: Any, tried: Any, told: Any, key: Key[Array, ""]
    ) -> tuple[Any, dict[str, Any]]:
        """Learn, as a shaper, from a trial; returns the state and scalar metrics; consumes `key`.

        Args:
            env: the environment.
            state: of the shaper.
            tried: the candidates, leaves `[P, ...]`.
            told: what `update` returned after every inner episode, leaves `[P, R, M, ...]`, against R sets of rivals.
            key: of randomness.
        """
        return state, {}
