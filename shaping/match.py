"""Match: who sits where, and the one training loop: step → trial → episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Int, Key

from envs import Environment
from envs.validation import require_range
from shaping.learner import Context, Learner, Trajectory

__all__ = ["Match", "episode", "init", "policies", "step", "trial"]

States = tuple[Any, ...]
INIT = np.uint32(2**32 - 1)  # folded into a seed's key for the initial states; no training step has this number


class Match(struct.PyTreeNode):
    """Learners in the seats of an environment. Seats with learners of one form share one `vmap`.

    Of one form are learners of the same class whose static fields agree; their floats may differ. The states of a match
    are a tuple with one entry a group, leaves `[seats of the group, ...]`.

    Attributes:
        env: the environment, of n players.
        learners: one a group, the leaves stacked, `[seats of the group, ...]`.
        seats: the seats of each group; together each of 0 ... n - 1 once.
        batch: environments B played side by side for one update.
        episodes: inner episodes M of a trial; everybody updates after each.
    """

    env: Environment
    learners: tuple[Learner, ...]
    seats: tuple[tuple[int, ...], ...] = struct.field(pytree_node=False)
    batch: int = struct.field(default=1, pytree_node=False)
    episodes: int = struct.field(default=1, pytree_node=False)

    @classmethod
    def of(cls, env: Environment, learners: Sequence[Learner], *, batch: int = 1, episodes: int = 1) -> Match:
        """Seat one learner a player.

        Raises:
            ValueError: not one learner a player, or one that cannot play here.
        """
        if len(learners) != env.num_players:
            raise ValueError(f"{len(learners)} learners for {env.num_players} players: expected one a player")
        require_range("batch", batch, 1, whole=True)
        require_range("episodes", episodes, 1, whole=True)
        groups: dict[Any, list[int]] = {}
        for seat, learner in enumerate(learners):
            learner.check(env)
            groups.setdefault(jax.tree.structure(learner), []).append(seat)
        stack = lambda *leaves: jnp.stack([jnp.asarray(leaf, float) for leaf in leaves])  # noqa: E731
        stacked = [jax.tree.map(stack, *(learners[seat] for seat in seats)) for seats in groups.values()]
        match = cls(env, tuple(stacked), tuple(map(tuple, groups.values())), batch, episodes)
        match._check_policies()
        return match

    @property
    def samples(self) -> bool:
        """Whether any learner reads a trajectory; if not, no episode is played."""
        return any(learner.samples for learner in self.learners)

    def _check_policies(self) -> None:
        """Raise if a white-box learner would not understand the policy of another seat."""
        readers = [type(learner).__name__ for learner in self.learners if learner.white_box]
        if readers and jax.eval_shape(lambda key: policies(self, init(self, key)), jax.random.key(0)) is None:
            others = {type(learner).__name__ for learner in self.learners}
            raise ValueError(
                f"{readers[0]} reads the policies of all seats, which here are not of one form "
                f"({', '.join(sorted(others))}): expected learners with memory-one tables in every seat"
            )

    def by_seat(self, groups: Sequence[Any], axis: int = 0) -> Any:
        """One PyTree with leaves `[..., n, ...]` at `axis` from one a group with leaves `[..., seats, ...]`."""
        order = np.argsort([seat for group in self.seats for seat in group])
        joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis), *groups)
        return jax.tree.map(lambda leaf: jnp.take(leaf, order, axis), joined)


def init(match: Match, key: Key[Array, ""]) -> States:
    """Fresh states of all learners. A seat's state depends on `key` and the seat; `step` may have the same key."""
    key = jax.random.fold_in(key, INIT)
    return tuple(
        jax.vmap(lambda learner, seat: learner.init(jax.random.fold_in(key, seat), match.env))(
            learner, jnp.array(seats)
        )
        for learner, seats in zip(match.learners, match.seats, strict=True)
    )


def policies(match: Match, states: States) -> Any:
    """Policies of all seats, leaves `[n, ...]`; None if they are not all of one form."""
    groups = zip(match.learners, states, strict=True)
    found = [jax.vmap(type(learner).policy)(learner, state) for learner, state in groups]
    forms = {str(jax.tree.map(lambda leaf: (leaf.shape[1:], leaf.dtype), policy)) for policy in found}
    return match.by_seat(found) if len(forms) == 1 else None


def step(match: Match, states: States, key: Key[Array, ""], index: Int[Array, ""]) -> tuple[States, Any]:
    """Training step number `index` of the seed with `key`: one trial. Randomness is a function of the two."""
    return trial(match, states, jax.random.fold_in(key, index))


def trial(match: Match, states: States, key: Key[Array, ""]) -> tuple[States, Any]:
    """M inner episodes, everybody updating after each; consumes `key`.

    Returns the states and the metrics of the last update, one dictionary a group with leaves `[seats]`.
    """

    def inner(states: States, index: Int[Array, ""]) -> tuple[States, Any]:
        play_key, update_key = jax.random.split(jax.random.fold_in(key, index))
        trajectories = episode(match, states, play_key) if match.samples else (None,) * len(states)
        return _update(match, states, trajectories, update_key)

    states, metrics = jax.lax.scan(inner, states, jnp.arange(match.episodes))
    return states, jax.tree.map(lambda leaf: leaf[-1], metrics)


def episode(match: Match, states: States, key: Key[Array, ""]) -> tuple[Trajectory, ...]:
    """Play B episodes of T steps side by side; consumes `key`.

    Returns a trajectory a group, leaves `[T, B, seats, ...]` (`terminated` is `[T, B]`).
    """
    env, batch = match.env, match.batch
    reset_key, play_key = jax.random.split(key)
    env_state, obs = jax.vmap(env.reset)(jax.random.split(reset_key, batch))
    memories = tuple(
        jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (batch, *leaf.shape)), jax.vmap(type(learner).memory)(learner, state)
        )
        for learner, state in zip(match.learners, states, strict=True)
    )

    def play(carry: Any, step_key: Key[Array, ""]) -> tuple[Any, Any]:
        env_state, obs, memories = carry
        act_key, env_key = jax.random.split(step_key)
        actions, memories, aux = _act(match, states, memories, obs, jax.vmap(env.legal)(env_state), act_key)
        env_state, after = jax.vmap(env.step)(env_state, actions, jax.random.split(env_key, batch))
        return (env_state, after.obs, memories), (obs, actions, after.reward, after.terminated, aux)

    carry = (env_state, obs, memories)
    (_, last, _), (obs, actions, rewards, terminated, aux) = jax.lax.scan(
        play, carry, jax.random.split(play_key, env.horizon)
    )

    played = [_of(seats, (obs, actions, rewards), axis=2) for seats in match.seats]
    return tuple(
        Trajectory(seen, acted, paid, terminated, own, _of(seats, last, axis=1))
        for seats, (seen, acted, paid), own in zip(match.seats, played, aux, strict=True)
    )


def _of(seats: tuple[int, ...], tree: Any, axis: int) -> Any:
    """The part of `seats` of a PyTree with leaves `[..., n, ...]` at `axis`."""
    return jax.tree.map(lambda leaf: jnp.take(leaf, np.array(seats), axis), tree)


def _act(match: Match, states: States, memories: Any, obs: Any, legal: Any, key: Key[Array, ""]) -> Any:
    """Actions `[B, n]`, and memories and aux a group, leaves `[B, seats, ...]`."""
    actions, remembered, aux = [], [], []
    for learner, seats, state, memory in zip(match.learners, match.seats, states, memories, strict=True):

        def act(learner: Learner, state: Any, memory: Any, obs: Any, legal: Any, seat: Any) -> Any:
            keys = jax.random.split(jax.random.fold_in(key, seat), match.batch)
            return jax.vmap(learner.act, in_axes=(None, 0, 0, 0, 0))(state, memory, obs, legal, keys)

        seen, allowed = _of(seats, (obs, legal), axis=1)
        in_axes = (0, 0, 1, 1, 1, 0)
        results = jax.vmap(act, in_axes, out_axes=1)(learner, state, memory, seen, allowed, jnp.array(seats))
        for kept, result in zip((actions, remembered, aux), results, strict=True):
            kept.append(result)
    return match.by_seat(actions, axis=1), tuple(remembered), tuple(aux)


def _update(match: Match, states: States, trajectories: Any, key: Key[Array, ""]) -> tuple[States, Any]:
    """Everybody learns at once, from the same old policies."""
    joint = policies(match, states) if any(learner.white_box for learner in match.learners) else None
    axes = Trajectory(obs=2, action=2, reward=2, terminated=None, aux=2, last_obs=1)
    updated, metrics = [], []
    for learner, seats, state, trajectory in zip(match.learners, match.seats, states, trajectories, strict=True):

        def update(learner: Learner, state: Any, seat: Any, trajectory: Any) -> Any:
            seen = Context(match.env, seat, trajectory, joint if learner.white_box else None)
            return learner.update(state, seen, jax.random.fold_in(key, seat))

        in_axes = (0, 0, 0, None if trajectory is None else axes)
        state, info = jax.vmap(update, in_axes)(learner, state, jnp.array(seats), trajectory)
        updated.append(state)
        metrics.append(info)
    return tuple(updated), tuple(metrics)
