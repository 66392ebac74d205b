"""Match: who sits where; the episode that all play, and the update that all make. Trials are in `shaping.trials`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Int, Key

from envs import Environment
from envs.validation import require_choice, require_range
from shaping.learner import ENVIRONMENTS, Context, Learner, Record, Trajectory
from shaping.wrappers import tabled

__all__ = [
    "SEAT_AXES",
    "Match",
    "States",
    "act_together",
    "begin",
    "episode",
    "fresh_rivals",
    "heads_of",
    "init",
    "joint",
    "memories_of",
    "of_shaper",
    "policies",
    "split",
    "update",
]

States = tuple[Any, ...]
INIT = np.uint32(2**32 - 1)  # folded into a seed's key for the initial states; no training step has this number


class Match(struct.PyTreeNode):
    """Learners in the seats of an environment. Seats with learners of one form share one `vmap`.

    Of one form are learners of the same class whose static fields agree; their floats may differ. The states of a match
    are a tuple with one entry a group, leaves `[seats of the group, ...]`, or `[1, ...]` where the seats share one.

    Attributes:
        env: the environment, of n players.
        learners: one a group, the leaves stacked, `[seats of the group, ...]`.
        seats: the seats of each group; together each of 0 ... n - 1 once.
        shared: for each group whether its seats are played by one learner, with the experience of all of them.
        batch: environments B played side by side for one update.
        episodes: inner episodes M of a trial; everybody updates after each, and shapers learn after the last.
        rivals: sets R of rivals, each learning by itself, that shapers meet in a trial.
        rival_start: of a trial, among shapers: "cold" with fresh rivals, "warm" where the last trial left them.
    """

    env: Environment
    learners: tuple[Learner, ...]
    seats: tuple[tuple[int, ...], ...] = struct.field(pytree_node=False)
    shared: tuple[bool, ...] = struct.field(pytree_node=False)
    batch: int = struct.field(default=1, pytree_node=False)
    episodes: int = struct.field(default=1, pytree_node=False)
    rivals: int = struct.field(default=1, pytree_node=False)
    rival_start: Literal["cold", "warm"] = struct.field(default="cold", pytree_node=False)

    @classmethod
    def of(
        cls,
        env: Environment,
        learners: Sequence[Learner],
        *,
        batch: int = 1,
        episodes: int = 1,
        share: bool = False,
        rivals: int = 1,
        rival_start: Literal["cold", "warm"] = "cold",
    ) -> Match:
        """Seat one learner a player; with `share`, one learner for all seats with equal hyper-parameters.

        Raises:
            ValueError: not one learner a player, or one that cannot play here.
        """
        if len(learners) != env.num_players:
            raise ValueError(f"{len(learners)} learners for {env.num_players} players: expected one a player")
        require_range("batch", batch, 1, whole=True)
        require_range("episodes", episodes, 1, whole=True)
        require_range("rivals", rivals, 1, whole=True)
        require_choice("rival_start", rival_start, ("cold", "warm"))
        for learner in learners:
            learner.check(env, batch)
        if any(learner.tables for learner in learners):
            learners = [tabled(env, learner) or learner for learner in learners]
        groups: dict[Any, list[int]] = {}
        for seat, learner in enumerate(learners):
            groups.setdefault(_form(learner, share), []).append(seat)
        seats = tuple(map(tuple, groups.values()))
        stacked = tuple(jax.tree.map(_stack, *(learners[seat] for seat in group)) for group in seats)
        shared = tuple(share and len(group) > 1 for group in seats)
        match = cls(env, stacked, seats, shared, batch, episodes, rivals, rival_start)
        match._check_policies()
        match._check_shapers()
        return match

    @property
    def samples(self) -> bool:
        """Whether any learner reads a trajectory; if not, no episode is played."""
        return any(learner.samples for learner in self.learners)

    def _check_policies(self) -> None:
        """Raise if a learner would not understand the policies of the other seats."""
        readers = [learner for learner in self.learners if learner.tables]
        if readers and not all(learner.tables for learner in self.learners):
            others = sorted({type(learner).__name__ for learner in self.learners if not learner.tables})
            raise ValueError(
                f"{type(readers[0]).__name__} on the exact objective reads the memory-one table of every seat, "
                f"and {', '.join(others)} has none: expected learners on the exact objective in every seat, or, in "
                "games seen by joint actions, strategies without memory; or one that samples, such as lola_dice"
            )
        for learner in self.learners:
            learner.check_match(self)

    def _check_shapers(self) -> None:
        """Raise if shapers try populations of different sizes, or if there are rivals but no shaper."""
        sizes = sorted({learner.population for learner in self.learners if learner.population > 1})
        if len(sizes) > 1:
            raise ValueError(f"shapers with populations of {' and '.join(map(str, sizes))}: expected one size for all")
        if self.rivals > 1 and not any(self.shapers):
            raise ValueError(
                f"rivals = {self.rivals} without a shaper: expected 1, or a learner that learns from trials in a seat, "
                "such as shaper"
            )

        slow = [type(rival).__name__ for rival in self.learners if rival.prepares and rival.span == "episode"]
        if slow and any(self.shapers) and self.rival_start == "cold":
            raise ValueError(
                f"rival_start = 'cold' with a {slow[0]} that learns before play, for every trial anew: expected 'warm'"
            )

    @property
    def shapers(self) -> tuple[bool, ...]:
        """For each group whether it learns from trials."""
        return tuple(learner.span == "trial" for learner in self.learners)

    @property
    def population(self) -> int:
        """Candidates P that shapers try in a trial, member by member against each other."""
        return max(learner.population for learner in self.learners)

    @property
    def forms(self) -> tuple[int, ...]:
        """For each group the number of its form of policy; see `joint`."""
        acting = jax.eval_shape(lambda key: policies(self, begin(self, init(self, key), key)), jax.random.key(0))
        keys = [str(jax.tree.map(lambda leaf: (leaf.shape[1:], leaf.dtype), policy)) for policy in acting]
        return tuple(list(dict.fromkeys(keys)).index(key) for key in keys)

    @property
    def still(self) -> np.ndarray:
        """`[n]`, which seats never learn."""
        still = np.zeros(self.env.num_players, bool)
        for learner, seats in zip(self.learners, self.seats, strict=True):
            still[list(seats)] = not learner.learns
        return still

    def by_seat(self, groups: Sequence[Any], axis: int = 0) -> Any:
        """One PyTree with leaves `[..., n, ...]` at `axis` from one a group with leaves `[..., seats, ...]`."""
        order = np.argsort([seat for group in self.seats for seat in group])
        joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis), *groups)
        return jax.tree.map(lambda leaf: jnp.take(leaf, order, axis), joined)


def _form(learner: Learner, share: bool) -> Any:
    """What learners of one group have in common: the structure, and the shapes, or with `share` all of them."""
    leaves, structure = jax.tree.flatten(learner)
    if share:
        return structure, tuple(np.asarray(leaf).tobytes() for leaf in leaves)
    return structure, tuple(np.shape(leaf) for leaf in leaves)


def _stack(*leaves: Any) -> Array:
    return jnp.stack([jnp.asarray(leaf, float) if isinstance(leaf, int) else jnp.asarray(leaf) for leaf in leaves])


def init(match: Match, key: Key[Array, ""]) -> States:
    """Fresh states of all learners. A seat's state depends on `key` and the seat; `step` may have the same key.

    Among shapers, rivals that start cold have no state, (), and others one a member of the population and set, leaves
    `[P, R, seats, ...]`.
    """
    key = jax.random.fold_in(key, INIT)
    states = _fresh(match, key)
    if not any(match.shapers):
        return states
    wide = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (match.population, *leaf.shape)), fresh_rivals(match, key))
    warm = match.rival_start == "warm"
    return tuple(
        own if shapes else rival if warm else () for own, rival, shapes in zip(states, wide, match.shapers, strict=True)
    )


def begin(match: Match, states: States, key: Key[Array, ""]) -> States:
    """Inner states with which a trial starts, as a tuple like that of `init` without shapers; consumes `key`.

    Shapers as they are, not as they explore, and one set of rivals: fresh, or the first of those that start warm. The
    `states` themselves where there is no shaper.
    """
    if not any(match.shapers):
        return states
    found = []
    for group, fresh in enumerate(_fresh(match, key)):
        if match.shapers[group]:
            own = of_shaper(match, group, "begin", key, states[group])
            found.append(of_shaper(match, group, "enter", key, own))
        else:
            warm = match.rival_start == "warm"
            found.append(jax.tree.map(lambda leaf: leaf[0, 0], states[group]) if warm else fresh)
    return tuple(found)


def _fresh(match: Match, key: Key[Array, ""]) -> States:
    """Fresh states of all groups, leaves `[seats of the group, ...]`."""

    def start(learner: Learner, seat: Int[Array, ""]) -> Any:
        return learner.init(match.env, jax.random.fold_in(key, seat))

    return tuple(
        jax.vmap(start)(*heads_of(shared, learner, jnp.array(seats)))
        for learner, seats, shared in zip(match.learners, match.seats, match.shared, strict=True)
    )


def fresh_rivals(match: Match, key: Key[Array, ""]) -> States:
    """Fresh states of rivals, leaves `[R, seats, ...]`, () for shapers."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(match.rivals))
    states = jax.vmap(lambda own: _fresh(match, own))(keys)
    return tuple(() if shapes else own for own, shapes in zip(states, match.shapers, strict=True))


def of_shaper(match: Match, group: int, method: str, key: Key[Array, ""], state: Any, out_axes: int = 0) -> Any:
    """`learner.method(env, state, key)` of a group, vmapped over its learners, a key for each."""
    learner, seats = heads_of(match.shared[group], match.learners[group], jnp.array(match.seats[group]))

    def one(learner: Learner, state: Any, seat: Int[Array, ""]) -> Any:
        return getattr(learner, method)(match.env, state, jax.random.fold_in(key, seat))

    return jax.vmap(one, out_axes=out_axes)(learner, state, seats)


def heads_of(shared: bool, *trees: Any) -> Any:
    """Of leaves `[seats, ...]` the first alone, `[1, ...]`, where one learner plays all seats."""
    return jax.tree.map(lambda leaf: leaf[:1], trees) if shared else trees


def policies(match: Match, states: States) -> tuple[Any, ...]:
    """What acts in each group, leaves `[seats of the group, ...]`."""
    found = []
    for seats, policy in zip(match.seats, _map_groups(match, "policy", states), strict=True):
        repeat = lambda leaf, seats=seats: jnp.broadcast_to(leaf, (len(seats), *leaf.shape[1:]))  # noqa: E731
        found.append(jax.tree.map(repeat, policy))
    return tuple(found)


def _map_groups(match: Match, method: str, *trees: States) -> tuple[Any, ...]:
    """`learner.method(...)` of every group, vmapped over its learners."""
    found = []
    for learner, seats, shared, *tree in zip(match.learners, match.seats, match.shared, *trees, strict=True):
        (own,) = heads_of(shared, learner)
        size = 1 if shared else len(seats)
        found.append(jax.vmap(getattr(type(learner), method), axis_size=size)(own, *tree))
    return tuple(found)


def joint(match: Match, acting: Sequence[Any]) -> tuple[Any, ...]:
    """Policies of all seats as one PyTree a form with leaves `[n, ...]`; rows of seats of another form are 0.

    Groups whose policies agree in structure and shape are of one form. So every seat has its row, whatever it plays,
    and a direction need not know who plays what.
    """
    found = []
    forms = match.forms
    for form in range(max(forms) + 1):
        members = [group for group, own in enumerate(forms) if own == form]
        rows = np.concatenate([match.seats[group] for group in members])
        stacked = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *(acting[group] for group in members))
        place = np.full(match.env.num_players, len(rows))
        place[rows] = np.arange(len(rows))
        pad = lambda leaf, place=place: jnp.concatenate([leaf, jnp.zeros_like(leaf[:1])])[place]  # noqa: E731
        found.append(jax.tree.map(pad, stacked))
    return tuple(found)


def split(match: Match, params: Sequence[Any]) -> tuple[Any, ...]:
    """The inverse of `joint`: policies a group, as `episode` takes them."""
    return tuple(_of(seats, params[form], axis=0) for seats, form in zip(match.seats, match.forms, strict=True))


def memories_of(match: Match, acting: Sequence[Any]) -> tuple[Any, ...]:
    """Fresh memories a group, leaves `[B, seats, ...]`."""
    fresh = [
        jax.vmap(type(learner).memory, (0, None, 0), axis_size=len(seats))(learner, match.env, policy)
        for learner, seats, policy in zip(match.learners, match.seats, acting, strict=True)
    ]
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (match.batch, *leaf.shape)), tuple(fresh))


def episode(
    match: Match, acting: tuple[Any, ...], key: Key[Array, ""], memories: tuple[Any, ...] | None = None
) -> tuple[tuple[Trajectory, ...], Any]:
    """Play B episodes of T steps side by side with the policies `acting`, as of `policies`; consumes `key`.

    Memories are fresh unless given, a group each, leaves `[B, seats, ...]`.

    Random numbers are drawn for the whole episode at once, a key of its own for each seat, environment and step.

    Returns:
        A trajectory a group, leaves `[T, B, seats, ...]`, without the axis of seats in `valid` and `terminated`; and
        what the transitions showed in `TimeStep.info`, leaves `[T, B, n]`.
    """
    env, batch = match.env, match.batch
    reset_key, env_key, act_key = jax.random.split(key, 3)
    env_state, obs = jax.vmap(env.reset)(jax.random.split(reset_key, batch))
    first = memories_of(match, acting) if memories is None else memories
    seat_keys = jax.vmap(jax.random.fold_in, (None, 0))(act_key, jnp.arange(env.num_players))
    act_keys = jax.vmap(lambda own: jax.random.split(own, (env.horizon, batch)), out_axes=2)(seat_keys)

    def play(carry: Any, keys: Any) -> tuple[Any, Any]:
        env_state, obs, memories, valid = carry
        act_keys, env_keys = keys
        legal = jax.vmap(env.legal)(env_state)
        actions, memories, aux = act_together(match, acting, memories, obs, legal, act_keys)
        env_state, after = jax.vmap(env.step)(env_state, actions, env_keys)
        reward = after.reward * valid[:, None]
        seen = (obs, legal, actions, reward, valid, after.terminated, aux, after.info)
        return (env_state, after.obs, memories, jnp.where(after.terminated, 0.0, valid)), seen

    carry = (env_state, obs, first, jnp.ones(batch))
    keys = (act_keys, jax.random.split(env_key, (env.horizon, batch)))
    (_, last, ends, _), seen = jax.lax.scan(play, carry, keys)
    obs, legal, actions, rewards, valid, terminated, aux, info = seen
    trajectories = []
    for seats, own, memory in zip(match.seats, aux, ends, strict=True):
        seen, allowed, taken, paid = _of(seats, (obs, legal, actions, rewards), axis=2)
        end = _of(seats, last, axis=1), memory
        trajectories.append(Trajectory(seen, allowed, taken, paid, valid, terminated, own, *end))
    return tuple(trajectories), info


def _of(seats: tuple[int, ...], tree: Any, axis: int) -> Any:
    """The part of `seats` of a PyTree with leaves `[..., n, ...]` at `axis`."""
    return jax.tree.map(lambda leaf: jnp.take(leaf, np.array(seats), axis), tree)


def act_together(match: Match, acting: Any, memories: Any, obs: Any, legal: Any, keys: Any) -> Any:
    """Everybody acts once: actions `[B, n, ...]`, and memories and aux a group, leaves `[B, seats, ...]`.

    Observations `obs` and `legal` are `[B, n, ...]`, `keys` `[B, n]`, one for each seat and environment.
    """
    actions, remembered, aux = [], [], []
    for learner, seats, policy, memory in zip(match.learners, match.seats, acting, memories, strict=True):
        seen, allowed, own = _of(seats, (obs, legal, keys), axis=1)
        act = lambda learner, *a: learner.act(match.env, *a)  # noqa: E731
        one = jax.vmap(act, in_axes=(None, None, 0, 0, 0, 0), axis_name=ENVIRONMENTS)
        every = jax.vmap(one, in_axes=(0, 0, 1, 1, 1, 1), out_axes=1)
        results = every(learner, policy, memory, seen, allowed, own)
        for kept, result in zip((actions, remembered, aux), results, strict=True):
            kept.append(result)
    return match.by_seat(actions, axis=1), tuple(remembered), tuple(aux)


SEAT_AXES = Trajectory(2, 2, 2, 2, None, None, 2, 1, 1)


def update(match: Match, states: States, trajectories: Any, key: Key[Array, ""]) -> tuple[States, Any]:
    """Everybody learns at once, from the same old policies."""
    acting = policies(match, states)
    white_box = any(learner.sees == "policies" for learner in match.learners)
    params, forms = (joint(match, acting), match.forms) if white_box else (None, ())
    updated, metrics = [], []
    for group, (learner, seats, state) in enumerate(zip(match.learners, match.seats, states, strict=True)):
        trajectory = trajectories[group]
        record = _record(match, trajectories, seats) if learner.sees != "own" and match.samples else None

        def update(
            learner: Learner, state: Any, seat: Any, trajectory: Any, record: Any, group: int = group
        ) -> tuple[Any, Any]:
            context = Context(match.env, seat, trajectory, record, None, None, None)
            if learner.sees == "policies":
                context = context._replace(match=match, policies=params, form=forms[group], group=group)
            return learner.update(state, context, jax.random.fold_in(key, seat))

        trajectory_axes = None if trajectory is None else SEAT_AXES
        if match.shared[group]:
            trajectory, record = _pool(trajectory), None if record is None else _pool(record)
        heads = heads_of(match.shared[group], learner, jnp.array(seats))
        axes = (0, 0, 0, trajectory_axes, None if record is None else 2)
        state, info = jax.vmap(update, axes)(heads[0], state, heads[1], trajectory, record)
        updated.append(state)
        metrics.append(info)
    return tuple(updated), tuple(metrics)


def _record(match: Match, trajectories: Sequence[Trajectory], seats: tuple[int, ...]) -> Record:
    """The record of each of `seats`, leaves `[T, B, seats, n, ...]`."""
    n = match.env.num_players
    order = np.array([[(seat + k) % n for k in range(n)] for seat in seats])
    public = [Record(own.action, own.reward) for own in trajectories]
    return jax.tree.map(lambda leaf: jnp.take(leaf, order, axis=2), match.by_seat(public, axis=2))


def _pool(tree: Any) -> Any:
    """Leaves of one learner in several seats, `[T, B, seats, ...]` → `[T, seats B, 1, ...]`."""

    def last(leaf: Array) -> Array:
        moved = jnp.moveaxis(leaf, 1, 0)
        return moved.reshape(-1, 1, *moved.shape[2:])

    def pool(leaf: Array) -> Array:
        moved = jnp.moveaxis(leaf, 2, 1)
        return moved.reshape(moved.shape[0], -1, 1, *moved.shape[3:])

    if not isinstance(tree, Trajectory):
        return jax.tree.map(pool, tree)
    seats = tree.reward.shape[2]
    played = jax.tree.map(pool, tree._replace(valid=None, terminated=None, last_obs=None, last_memory=None))
    tiled = {name: jnp.tile(getattr(tree, name), (1, seats)) for name in ("valid", "terminated")}
    end = jax.tree.map(last, {"last_obs": tree.last_obs, "last_memory": tree.last_memory})
    return played._replace(**tiled, **end)
