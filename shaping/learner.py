"""The Learner contract: who sits in a seat, and everything it may look at."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from flax import struct
from jaxtyping import Array, Bool, Int, Key

from envs import Environment

__all__ = ["Context", "Learner", "Trajectory"]


class Trajectory(NamedTuple):
    """What one seat, or each seat `[..., n, ...]`, saw and did in a batch of episodes, leaves `[T, B, ...]`.

    Attributes:
        obs: observation *before* acting.
        action: taken on that observation.
        reward: paid for that action.
        terminated: `[T, B]`, the game ended with this step.
        aux: what `act` returned beside the action.
        last_obs: observation after the last step, leaves `[B, ...]`.
    """

    obs: Any
    action: Any
    reward: Any
    terminated: Any
    aux: Any
    last_obs: Any


class Context(NamedTuple):
    """Everything a learner may look at in an update.

    Attributes:
        env: the environment.
        seat: int32 scalar, the own seat; traced, because equal seats share one `vmap`.
        trajectory: the own seat's part of the episodes, leaves `[T, B, ...]`; None if no seat samples.
        policies: the policies of all seats, leaves `[n, ...]`; for white-box learners only.
    """

    env: Environment
    seat: Int[Array, ""]
    trajectory: Trajectory | None
    policies: Any


class Learner(struct.PyTreeNode):
    """A way to play and to learn: pure functions for one seat. Fields are hyper-parameters.

    Attributes of the class say what a learner needs, so that a match can be refused before anything is compiled.
    """

    samples: ClassVar[bool] = True
    """Whether `update` reads a trajectory; a match in which nobody does plays no episodes."""
    white_box: ClassVar[bool] = False
    """Whether `update` reads the policies of the other seats."""

    def check(self, env: Environment) -> None:
        """Raise a `ValueError` in the user's words if this learner cannot play `env`; called before tracing."""

    def init(self, key: Key[Array, ""], env: Environment) -> Any:
        """A fresh state; consumes `key`."""
        raise NotImplementedError

    def policy(self, state: Any) -> Any:
        """The part of the state that acts; for memory-one tables the logits `[O, A - 1]` of `shaping.objectives`.

        None, the default, if it is nothing that others could read.
        """
        return None

    def memory(self, state: Any) -> Any:
        """Fresh recurrent memory at the start of an episode; none by default."""
        return ()

    def act(
        self, state: Any, memory: Any, obs: Any, legal: Bool[Array, " A"], key: Key[Array, ""]
    ) -> tuple[Any, Any, Any]:
        """Action, memory, and what to remember of the decision, for one observation; consumes `key`."""
        raise NotImplementedError

    def update(self, state: Any, context: Context, key: Key[Array, ""]) -> tuple[Any, dict[str, Any]]:
        """Learn from one update's worth of experience; returns the state and scalar metrics; consumes `key`."""
        raise NotImplementedError
