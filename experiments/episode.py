"""One episode of what a run has learned, step by step: what it looks like, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

import shaping
from envs import Environment, Scene, Shape
from envs.scene import PALETTE
from experiments.trained import Trained
from shaping import Match
from shaping.match import act_together, memories_of

__all__ = ["MOST_STEPS", "Frame", "Played", "action_scene", "frames", "play", "play_trained"]

MOST_STEPS = 500
"""An episode is shown up to this step."""

MOST_ROWS, COLUMNS = 8, 20
"""Players and steps of the picture of an iterated game."""


@dataclass(frozen=True)
class Frame:
    """A moment of an episode.

    Attributes:
        scene: what it looks like.
        caption: lines below it: the step, then a line a player.
    """

    scene: Scene
    caption: tuple[str, ...]


@dataclass(frozen=True)
class Played:
    """An episode of T steps on the host, NumPy leaves.

    Attributes:
        states: of the environment, leaves `[T + 1, ...]`.
        actions: `[T, n]` or `[T, n, d]`.
        rewards: `[T, n]`.
        info: of the transitions, name → `[T, n]`.
        ended: whether the game ended by its own rules.
    """

    states: Any
    actions: np.ndarray
    rewards: np.ndarray
    info: dict[str, np.ndarray]
    ended: bool


def play_trained(trained: Trained, training_seed: int, episode_seed: int) -> Played:
    """An episode of what training seed number `training_seed` has learned, `MOST_STEPS` steps at most.

    Rivals of shapers play as they do when a trial begins.
    """
    match, place = trained.match, training_seed - trained.run.seed
    begin_key, play_key = jax.random.split(jax.random.key(episode_seed))
    own = jax.tree.map(lambda leaf: jnp.asarray(leaf[place]), trained.states)
    acting = shaping.policies(match, shaping.begin(match, own, begin_key))
    steps = min(match.env.horizon, MOST_STEPS)
    states, actions, rewards, info, terminated = jax.tree.map(
        np.asarray, jax.jit(play, static_argnames="steps")(match, acting, play_key, steps=steps)
    )
    ended = bool(terminated.any())
    length = int(terminated.argmax()) + 1 if ended else steps
    states = jax.tree.map(lambda leaf: leaf[: length + 1], states)
    seen = {name: values[:length] for name, values in info.items()}
    return Played(states, actions[:length], rewards[:length], seen, ended)


def play(match: Match, acting: tuple[Any, ...], key: Key[Array, ""], steps: int) -> tuple[Any, ...]:
    """The first of the B episodes that `shaping.episode` plays with the same `acting` and `key`, and its states.

    Goes on after an early end. The other episodes are played beside it, for learners that look across them.

    Returns:
        States of the environment, leaves `[steps + 1, ...]`; actions `[steps, n, ...]`, rewards `[steps, n]`, info,
        leaves `[steps, n]`, and whether each step ended the game `[steps]`.
    """
    env, batch = match.env, match.batch
    reset_key, env_key, act_key = jax.random.split(key, 3)
    state, obs = jax.vmap(env.reset)(jax.random.split(reset_key, batch))
    seat_keys = jax.vmap(jax.random.fold_in, (None, 0))(act_key, jnp.arange(env.num_players))
    act_keys = jax.vmap(lambda own: jax.random.split(own, (env.horizon, batch)), out_axes=2)(seat_keys)
    env_keys = jax.random.split(env_key, (env.horizon, batch))

    def advance(carry: Any, keys: Any) -> tuple[Any, Any]:
        state, obs, memories = carry
        actions, memories, _ = act_together(match, acting, memories, obs, jax.vmap(env.legal)(state), keys[0])
        state, after = jax.vmap(env.step)(state, actions, keys[1])
        seen = (state, actions, after.reward, after.info, after.terminated)
        return (state, after.obs, memories), jax.tree.map(lambda leaf: leaf[0], seen)

    carry = (state, obs, memories_of(match, acting))
    _, (states, *seen) = jax.lax.scan(advance, carry, (act_keys[:steps], env_keys[:steps]))
    first = jax.tree.map(lambda one, later: jnp.concatenate([one[:1], later]), state, states)
    return (first, *seen)


def frames(
    env: Environment, played: Played, names: Sequence[str], actions: Sequence[Sequence[str]] | None = None
) -> list[Frame] | str:
    """A frame for the start of an episode and for each of its steps; or why there are none.

    Args:
        env: the environment, which draws its states.
        played: the episode.
        names: of the learners, one a seat.
        actions: names of the actions of each player, for games whose states show nothing; their actions are drawn.
    """
    states = [jax.tree.map(lambda leaf, t=t: leaf[t], played.states) for t in range(len(played.rewards) + 1)]
    scenes = [env.draw(state) for state in states]
    if actions is not None and env.num_players > MOST_ROWS:
        return f"actions are drawn of up to {MOST_ROWS} players, here {env.num_players}"
    if actions is not None:
        scenes = [action_scene(played.actions[:t], actions) for t in range(len(states))]
    found = [Frame(scene, _caption(env, played, names, t)) for t, scene in enumerate(scenes) if scene is not None]
    return found or "its states cannot be drawn"


def action_scene(played: np.ndarray, names: Sequence[Sequence[str]]) -> Scene:
    """The last actions of all players, `COLUMNS` of them at most, the newest on the right.

    Args:
        played: actions so far, `[t, n]`.
        names: of the actions of each player.
    """
    n, shapes = len(names), []
    for seat in range(n):
        y = n - seat - 0.5
        shapes.append(Shape("text", 1.0, y, 2.0, 0.4, "#222222", text=f"seat {seat}"))
        for column, action in enumerate(played[-COLUMNS:, seat].tolist()):
            colour = PALETTE[action % len(PALETTE)]
            shapes.append(Shape("rectangle", column + 2.5, y, 0.9, 0.9, colour, text=names[seat][int(action)]))
    return Scene(COLUMNS + 2.0, float(n), tuple(shapes), "actions of each seat, the last on the right")


def _caption(env: Environment, played: Played, names: Sequence[str], step: int) -> tuple[str, ...]:
    """The step, and what each player was paid so far and did in it."""
    last = step == len(played.rewards)
    head = f"step {step} of {env.horizon}" + (", the end" if last and played.ended else "")
    totals = played.rewards[:step].sum(axis=0)
    lines = [f"seat {seat} ({name}): {totals[seat]:.4g} so far" for seat, name in enumerate(names)]
    if step:
        lines = [f"{line}{_happened(played, step - 1, seat)}" for seat, line in enumerate(lines)]
    return head, *lines


def _happened(played: Played, step: int, seat: int) -> str:
    """What a step paid a player, and whatever else the environment tells of it that is not 0."""
    told = {name.replace("_", " "): values[step, seat] for name, values in played.info.items()}
    words = [name if value == 1 else f"{name} {value:.3g}" for name, value in told.items() if value != 0]
    return ", ".join([f", {played.rewards[step, seat]:+.3g} in this step", *words])
