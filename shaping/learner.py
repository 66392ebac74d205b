"""The Learner contract: who sits in a seat, and everything it may look at."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from envs import Environment

__all__ = ["Context", "Learner", "Record", "Replay", "Trajectory"]


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
    """

    env: Environment
    seat: Int[Array, ""]
    trajectory: Trajectory | None
    record: Record | None
    match: Any
    policies: tuple[Any, ...] | None
    form: int | None
    group: int | None = None


class Learner(struct.PyTreeNode):
    """A way to play and to learn: pure functions for one seat. Fields are hyper-parameters.

    Attributes and properties of the class say what a learner needs, so that a match can be refused before anything is
    compiled. A fixed strategy is a learner whose `update` does nothing.
    """

    sees: ClassVar[Literal["own", "rewards", "policies"]] = "own"
    """What `update` reads: the own trajectory, also what the others did and were paid, or also their policies."""

    @property
    def samples(self) -> bool:
        """Whether `update` reads a trajectory; a match in which nobody does plays no episodes."""
        return True

    @property
    def tables(self) -> bool:
        """Whether the policy is a memory-one table of logits `[O, A - 1]`, and `update` needs all of them to be."""
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

    def act(
        self, env: Environment, policy: Any, memory: Any, obs: Any, legal: Bool[Array, " A"], key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """Action, memory, and what to remember of the decision, for one observation; consumes `key`."""
        raise NotImplementedError

    def replay(self, env: Environment, policy: Any, trajectory: Trajectory) -> Replay:
        """Log-probabilities of the actions of an own `trajectory`, differentiable in `policy`, and values.

        By default both are 0: a policy in which nobody else can differentiate, and which they take to stand still.
        """
        steps, batch = trajectory.reward.shape
        return Replay(jnp.zeros((steps, batch)), jnp.zeros((steps + 1, batch)), ())

    def update(self, state: Any, context: Context, key: Key[Array, ""]) -> tuple[Any, dict[str, Any]]:
        """Learn from one update's worth of experience; returns the state and scalar metrics; consumes `key`.

        By default nothing is learned.
        """
        return state, {}
