"""What all run directories that hold a checkpoint have in common: seats whose policies can be played."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from envs import Environment
from experiments import checkpoint
from experiments.config import UserError
from experiments.policy import Policy
from shaping import Frozen, Learner

__all__ = ["Learned", "restored"]


class Learned:
    """A run that has a checkpoint, of whatever kind: a protocol.

    Attributes:
        path: of the run directory.
        step: training steps, or iterations, taken.
    """

    path: Path
    step: int

    @property
    def env(self) -> Environment:
        """The environment."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """Name of the environment."""
        raise NotImplementedError

    @property
    def names(self) -> list[str]:
        """Of the learners, one a seat."""
        raise NotImplementedError

    @property
    def seeds(self) -> range:
        """Numbers of its seeds, S of them."""
        raise NotImplementedError

    @property
    def batch(self) -> int:
        """Environments that were side by side."""
        raise NotImplementedError

    @property
    def components(self) -> dict[str, dict[str, Any]]:
        """Hyper-parameters of what it was made of: "env", or the name of a learner, → name → value."""
        raise NotImplementedError

    def kept(self, seat: int) -> tuple[Learner, Any]:
        """The learner of `seat`, and what is kept of it, as of `Frozen.policies`, leaves `[S, ...]`; None for nothing.

        Nothing is kept of the rivals of shapers.
        """
        raise NotImplementedError

    def learner(self, seat: int) -> Learner:
        """The policy of `seat` as a player that learns no more, one for each of the S seeds.

        A fixed strategy, which has learned nothing, as it is, and so are the rivals of shapers.
        """
        own, kept = self.kept(seat)
        return Frozen.of(own, kept) if jax.tree.leaves(kept) else own

    def policy(self, seat: int = 0, training_seed: int | None = None) -> Policy:
        """What training seed number `training_seed`, the first if None, has learned in `seat`.

        Raises:
            UserError: no such seat or seed, or one whose learner does not act on observations alone.
        """
        self._check_seat(str(self.path), seat)
        first, last = self.seeds.start, self.seeds.stop - 1
        seed = first if training_seed is None else training_seed
        if seed not in self.seeds:
            raise UserError(f"{self.path}: training seed {seed}; expected one of the run's seeds, {first} to {last}")
        own, kept = self.kept(seat)
        who = f"{self.path}: {self.names[seat]} in seat {seat}"
        if kept is None and jax.tree.leaves(jax.eval_shape(lambda: own.init(self.env, jax.random.key(0)))):
            raise UserError(
                f"{who} starts anew in every trial, and nothing is kept of it; expected the seat of a shaper"
            )
        if own.span == "trial" and own.sees == "policies":
            raise UserError(
                f"{who} chooses its tables, after every inner episode, from those of everybody, and has no policy of "
                "its own; expected another learner, such as shaper, or to play it by evaluate or crossplay"
            )
        state = jax.tree.map(lambda leaf: jnp.asarray(leaf[seed - first]), () if kept is None else kept)
        params = own.policy(state) if own.span == "trial" else state
        while isinstance(
            own, Frozen
        ):  # of a policy trained elsewhere: the others that it could have been do not matter
            own = own.learner
        return Policy(self.env, own, params, seat)

    def check(self, name: str, env: Environment, seat: int = 0) -> None:
        """Raise a `UserError` that starts with `name` unless `seat` exists and its policy can play `env`."""
        self._check_seat(name, seat)
        spaces = [
            (type(e).__name__, e.num_observations, e.obs_shape, e.num_actions, e.action_dim) for e in (self.env, env)
        ]
        if spaces[0] != spaces[1]:
            what = (
                f"(kind, number of observations, their shape, actions, action dimension) {spaces[0]}, here {spaces[1]}"
            )
            raise UserError(f"{name}: learned to play {self.title} with {what}; expected the same")

    def _check_seat(self, name: str, seat: int) -> None:
        n = self.env.num_players
        if not 0 <= seat < n:
            raise UserError(f"{name}: seat {seat} of {n}; expected #0 to #{n - 1}")


def restored(path: Path, name: str, like: Any, best: bool = False) -> tuple[int, Any]:
    """Step and tree of the newest sound checkpoint, or of the best, leaves `[S, ...]` as those of `like`."""
    if best:
        return checkpoint.restore(path / "checkpoint" / checkpoint.BEST, like)
    step, found, unread = checkpoint.restore_latest(path / "checkpoint", like)
    if found is None:
        why = f": {unread[0]}" if unread else "; expected a run that has written one"
        raise UserError(f"{name}: holds no checkpoint{why}")
    return step, found
