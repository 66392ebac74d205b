"""Pictures of a trained run: its policies, its learning in the plane of rewards, the field of a game, an episode."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from rich.console import Console

import shaping
from envs import DifferentiableGame, Environment, MatrixGame, SymmetricGame
from experiments.config import UserError, to_flags
from experiments.curves import POINTS
from experiments.episode import Frame, frames, play_trained
from experiments.episode_pictures import draw_animation, draw_strip
from experiments.pictures import Field, Policy, Rewards, draw_field, draw_policies, draw_rewards
from experiments.render_arguments import Rendering
from experiments.run_directory import RunDirectory
from experiments.sides import build_sides
from experiments.tables import learner_label
from experiments.tracking import Mirror, add_pictures
from experiments.trained import Trained, load_run
from shaping import Frozen, GradientLearner, Match
from shaping.directions import own_gradients
from shaping.objectives import action_probabilities

__all__ = [
    "episode",
    "feasible",
    "field",
    "histories",
    "hull",
    "naive_field",
    "policies",
    "render",
    "rewards",
    "trajectories",
]

MOST_HISTORIES, MOST_MARKS = 33, 9
"""With more histories kinds of history are drawn; with more joint actions none is marked."""

STARTS, GRID = 4, 15
"""Starting points of the trajectories in a field, and arrows along a side."""

SIDE, FAR = 2.0, 100.0
"""Half the side of the smallest box of a field, and what is too far to be shown unasked."""

CARRIED = ("learning_rate", "lookahead_rate", "units")
"""Hyper-parameters of the run's learners that other rules take over."""


def render(asked: Rendering, command: str, console: Console) -> list[Path]:
    """Draw what can be drawn of a run, print where it is and what could not be; returns the paths.

    Raises:
        UserError: a mistake in what was asked for, before anything is compiled.
    """
    trained = load_run(asked.directory, str(asked.directory))
    for name in asked.rules:
        if not shaping.make(name).tables:
            raise UserError(f"--rules: {name} has no exact objective; expected rules that do, such as naive,lola")
    run, drawn, missing = trained.run, [], dict[str, list[str]]()
    title = f"{run.env}: {learner_label(trained.names)}, {run.seed_count}, {trained.step} training steps"
    whose = f"; of seed {asked.training_seed}, episode {asked.episode_seed}"
    played = cache(lambda: episode(trained, asked.training_seed, asked.episode_seed))
    drawings: dict[str, tuple[Callable[[], Any], Callable[..., None]]] = {
        "policies.png": (lambda: policies(trained), draw_policies),
        "rewards.png": (lambda: rewards(trained), draw_rewards),
        "field.png": (lambda: field(trained, asked.rules, asked.steps, asked.box), draw_field),
        "episode.gif": (played, lambda path, title, found: draw_animation(path, title + whose, found)),
        "episode.svg": (played, lambda path, title, found: draw_strip(path, title + whose, found)),
    }
    try:
        asked.out.mkdir(parents=True, exist_ok=True)
        for file, (compute, draw) in drawings.items():
            with console.status(f"drawing {file} ..."):
                found = compute()
                if isinstance(found, str):
                    missing.setdefault(found, []).append(file)
                    continue
                draw(asked.out / file, title, found)
            drawn.append(asked.out / file)
            console.print(f"written: {drawn[-1]}", soft_wrap=True)
    except OSError as error:
        raise UserError(f"{asked.out}: cannot be written: {error.strerror or error}") from error
    if missing:
        reasons = [f"{', '.join(files)} ({why})" for why, files in missing.items()]
        console.print(f"not drawn: {'; '.join(reasons)}", soft_wrap=True)
    directory = RunDirectory(trained.path)
    mode = asked.wandb or (run.wandb if (trained.path / "wandb.json").exists() else "disabled")
    if mode != "disabled":
        add_pictures(mode, directory, to_flags(run), Mirror(**run.components["wandb"]), drawn, console)
    return drawn


def policies(trained: Trained) -> list[Policy] | str:
    """The memory-one tables of a run, one of seats that share theirs; or why there are none."""
    match = trained.match
    if not isinstance(match.env, MatrixGame | SymmetricGame):
        return f"{trained.run.env} has no memory-one policies over a few actions"
    played: list[tuple[int, ...]] = []
    for learner, seats, shared in zip(match.learners, match.seats, match.shared, strict=True):
        if learner.tables:
            played += [seats] if shared else [(seat,) for seat in seats]
    if played and any(match.shapers):
        return "tables are chosen, or learned, anew in every trial"
    return [_policy(trained, seats) for seats in sorted(played)] or "no learner is on the exact objective"


def _policy(trained: Trained, seats: tuple[int, ...]) -> Policy:
    """What is played in `seats`."""
    env, seat, learner = trained.match.env, seats[0], trained.learner(seats[0])
    assert isinstance(env, MatrixGame | SymmetricGame), "see `policies`"
    assert isinstance(learner, Frozen), "a table was learned"
    seen, legal = histories(env, seat), env.legal(None)[seat]
    every = jax.vmap(lambda table: action_probabilities(table[None], legal[None])[0])(learner.policies)  # [S, O, A]
    probabilities = np.stack([np.asarray(every)[:, kind].mean(axis=1) for kind in seen.values()], axis=1)
    own = _actions(env)[seat]
    shown = own if len(own) > 2 else own[:1]
    who = f"seat {seat}" if len(seats) == 1 else f"seats {_ranges(seats)}, one policy"
    title = f"{who}: {trained.names[seat]}"
    return Policy(title, _about(env), tuple(seen), shown, probabilities[..., : len(shown)])


def histories(env: MatrixGame | SymmetricGame, seat: int, most: int = MOST_HISTORIES) -> dict[str, list[int]]:
    """Label of each history in the view of `seat` → the one observation behind it, in the order of observations.

    In matrix games with more than `most` of them, kinds of history → all observations behind each.
    """
    n, found = env.num_players, {"START": [0]}
    if env.horizon == 1:
        return found
    if isinstance(env, SymmetricGame):
        return found | {f"{own}{k}": [1 + a * n + k] for a, own in enumerate("CD") for k in range(n)}
    names = [_short(env)[(seat + place) % n] for place in range(n)]
    every, joint = env.num_observations <= most, _joint_label(env)
    for index, actions in enumerate(itertools.product(range(env.num_actions), repeat=n)):
        if all(action < len(own) for action, own in zip(actions, names, strict=True)):
            words = [own[action] for action, own in zip(actions, names, strict=True)]
            label = joint(words) if every else joint([words[0], str(sum(a != 0 for a in actions[1:]))])
            found.setdefault(label, []).append(1 + index)
    return found


def _about(env: MatrixGame | SymmetricGame) -> str:
    """How to read the labels of histories."""
    if env.horizon == 1:
        return "one-shot game"
    if isinstance(env, MatrixGame) and env.num_observations <= MOST_HISTORIES:
        last = "the other's" if env.num_players == 2 else "those of the next seats in turn"
        return f"after each history: own last action, then {last}"
    if set(_actions(env)) == {("C", "D")}:
        return "after each kind of history: own last action, number of others who defected"
    return f"after each kind of history: own last action, number of others who did not play {_actions(env)[0][0]}"


def rewards(trained: Trained) -> Rewards | str:
    """Rewards per step over training, in the plane of seat 0 and the others; or why there is no such plane."""
    env, names = trained.match.env, trained.names
    if env.num_players < 2:
        return "one player"
    lines = list(RunDirectory(trained.path).read_metrics(POINTS))
    if not lines:
        return "no metrics"
    labels = {key: side.label for key, side in build_sides(trained.run).items() if key in lines[0]}
    paths = {key: _plane(np.array([line[key]["reward_per_step"] for line in lines], float), axis=-1) for key in labels}
    other = f"seat 1 ({names[1]})" if env.num_players == 2 else f"mean of seats 1 to {env.num_players - 1}"
    axes = f"seat 0 ({names[0]})", other
    every = f"{trained.run.log_every} steps" if trained.run.log_every > 1 else "step"
    about = f"learning in the plane of rewards, logged every {every}"
    return Rewards(paths, labels, axes, hull(feasible(env)), about, _marks(env))


def _plane(reward: np.ndarray, axis: int) -> np.ndarray:
    """Reward of player 0 and mean of all others, `[..., 2]`, from rewards with all players along `axis`."""
    first, others = np.split(np.moveaxis(reward, axis, -1), [1], axis=-1)
    return np.concatenate([first, others.mean(axis=-1, keepdims=True)], axis=-1)


def feasible(env: Environment) -> np.ndarray:
    """What seat 0 and, on average, the others are paid for each pure joint action, `[J, 2]`; none in other games.

    In a symmetric game one for each own action and number of other defectors, own action 0 first.
    """
    if isinstance(env, MatrixGame):
        legal = tuple(slice(len(own)) for own in env.actions)
        return _plane(np.asarray(env.payoffs, float)[(slice(None), *legal)].reshape(env.num_players, -1), axis=0)
    if isinstance(env, SymmetricGame) and env.num_players > 1:
        payoffs, n = np.asarray(env.payoffs, float), env.num_players
        own, others = np.indices((2, n))  # k of the n - 1 others defect; each of them sees own + k, less itself
        for_c, for_d = payoffs[0, np.minimum(own + others, n - 1)], payoffs[1, np.maximum(own + others - 1, 0)]
        mean = ((n - 1 - others) * for_c + others * for_d) / (n - 1)
        return np.stack([payoffs, mean], axis=-1).reshape(-1, 2)
    return np.zeros((0, 2))


def hull(points: Float[np.ndarray, "J 2"]) -> Float[np.ndarray, "V 2"]:
    """Vertices of the convex hull of `points` in order; its two ends, or its one point, if it has no area."""
    from scipy.spatial import ConvexHull

    points = np.unique(points, axis=0)
    if len(points) < 3:
        return points
    centred = points - points.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    if sizes[1] <= 1e-9 * sizes[0]:
        along = centred @ directions[0]
        return points[[along.argmin(), along.argmax()]]
    return points[ConvexHull(points).vertices]


def _marks(env: Environment) -> dict[str, tuple[float, float]]:
    """Labels of joint actions, all of a few or those at the ends of a dilemma → what they pay in the plane."""
    if not isinstance(env, MatrixGame | SymmetricGame):
        return {}
    points, n = feasible(env), env.num_players
    if set(_actions(env)) == {("C", "D")} and n > 2:
        count = len(points) // 2  # of the joint actions of the others, all C first and all D last
        labels = {0: "all C", count - 1: "C, others D", count: "D, others C", 2 * count - 1: "all D"}
    elif n == 2 and len(points) <= MOST_MARKS:
        label = _joint_label(env)
        labels = dict(enumerate(label(words) for words in itertools.product(*_short(env))))
    else:
        return {}
    return {label: (float(points[index, 0]), float(points[index, 1])) for index, label in labels.items()}


def field(trained: Trained, rules: Sequence[str], steps: int, box: float | None = None) -> Field | str:
    """The field of own gradients and the trajectories of the run's learners and of `rules`; or why there is none.

    Every rule starts where the run's learners start in its first seeds, and has their learning rate and look-ahead
    rate; where they have none, it looks ahead at their learning rate. One that sits in the run is as it is there.

    Args:
        trained: the run.
        rules: names of learners on the exact objective.
        steps: of the trajectories.
        box: half the side of the box around 0 that is shown; one around most trajectories if None.

    Raises:
        UserError: a rule that is not defined in this game.
    """
    match, run, names = trained.match, trained.run, trained.names
    if not all(learner.tables for learner in match.learners):
        return "not all learners are on the exact objective"
    if any(match.shapers):
        return "shapers have no field"
    if (count := _parameters(match), match.env.num_players) != (2, 2):
        return f"for two players of one parameter each, here {count} parameters of {match.env.num_players} players"
    matches = {f"{learner_label(names)} (this run)": match}
    matches |= {rule: _rule(trained, rule) for rule in dict.fromkeys(rules) if set(names) != {rule}}
    seeds = np.arange(run.seed, run.seed + STARTS, dtype=np.uint32)
    paths = {label: trajectories(own, seeds, steps) for label, own in matches.items()}
    low, high = _box(np.concatenate(list(paths.values())), box)
    sides = [np.linspace(*ends, GRID + 2)[1:-1] for ends in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*sides), axis=-1)
    arrows = naive_field(match, points.reshape(-1, 2)).reshape(points.shape)
    about = f"arrows: own gradients; lines: {steps} steps from where seeds start (hollow) to the end (filled)"
    starts = tuple(f"seed {seed}" for seed in seeds)
    return Field(points, arrows, paths, starts, _axes(match.env), low, high, about)


def _rule(trained: Trained, rule: str) -> Match:
    """`rule` in all seats, with the step sizes of the run's learners there."""
    components, known = trained.run.components, shaping.REGISTRY.parameters(rule)
    names, learners = trained.names, []
    for name in names:
        own = components[name]
        start = {key: own[key] for key in ("initial_std",) if key in own}
        values = {key: own[key] for key in CARRIED if key in own}
        values.setdefault("lookahead_rate", own.get("learning_rate", 1.0))
        values = (components[rule] if rule in names else values) | start
        learners.append(shaping.make(rule, **{key: value for key, value in values.items() if key in known}))
    try:
        return Match.of(trained.match.env, learners)
    except ValueError as error:
        raise UserError(f"--rules: {rule}: {error}") from error


def trajectories(match: Match, seeds: np.ndarray, steps: int) -> np.ndarray:
    """Parameters of both players from the start of each of `seeds` on, `[K, steps + 1, 2]`."""

    def one(seed: Int[Array, ""]) -> Float[Array, "T1 2"]:
        key = jax.random.key(seed)

        def advance(states: Any, index: Int[Array, ""]) -> tuple[Any, Any]:
            states, _ = shaping.step(match, states, key, index)
            return states, _joint(match, states)

        states = shaping.init(match, key)
        _, later = jax.lax.scan(advance, states, jnp.arange(steps))
        return jnp.concatenate([_joint(match, states)[None], later])

    return np.asarray(jax.jit(jax.vmap(one))(seeds))


def naive_field(match: Match, points: Float[np.ndarray, "P 2"]) -> Float[np.ndarray, "P 2"]:
    """The own gradients of both players, on the objective of the first, at each of `points`."""
    learner = match.learners[0]
    assert isinstance(learner, GradientLearner), "it is on the exact objective"
    shape = jax.eval_shape(_tables, match, jnp.uint32(0)).shape

    def one(point: Float[Array, " 2"]) -> Float[Array, " 2"]:
        value, params, _ = learner.objective.problem(match, (point.reshape(shape),), 0, 0)
        return own_gradients(value, params, jax.random.key(0))[0].reshape(2)

    return np.asarray(jax.jit(jax.vmap(one))(jnp.asarray(points, float)))


def episode(trained: Trained, training_seed: int, episode_seed: int) -> list[Frame] | str:
    """The frames of an episode of what a training seed has learned; or why there are none.

    Args:
        trained: the run.
        training_seed: the number of one of its seeds.
        episode_seed: of the starts, the actions and the game's own draws.
    """
    env = trained.match.env
    game = isinstance(env, MatrixGame | SymmetricGame)
    start, _ = env.reset(jax.random.key(episode_seed))
    if not game and env.draw(start) is None:
        return f"states of {trained.run.env} cannot be drawn"
    played = play_trained(trained, training_seed, episode_seed)
    return frames(env, played, trained.names, _short(env) if game else None)


def _parameters(match: Match) -> int:
    """Numbers that are learned, those of a shared policy counted once."""
    acting = jax.eval_shape(lambda: shaping.policies(match, shaping.init(match, jax.random.key(0))))
    copies = [len(seats) if shared else 1 for seats, shared in zip(match.seats, match.shared, strict=True)]
    leaves = map(jax.tree.leaves, acting)
    return sum(leaf.size // count for own, count in zip(leaves, copies, strict=True) for leaf in own)


def _tables(match: Match, seed: Int[Array, ""]) -> Float[Array, "n O L"]:
    """Initial parameters of all players."""
    return shaping.joint(match, shaping.policies(match, shaping.init(match, jax.random.key(seed))))[0]


def _joint(match: Match, states: Any) -> Float[Array, " 2"]:
    return shaping.joint(match, shaping.policies(match, states))[0].reshape(2)


def _box(paths: Float[np.ndarray, "K T1 2"], half: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a square: around 0, or around the starts and those trajectories that do not go too far.

    That is not much farther than three quarters of them do on each side, and not very far.
    """
    if half is not None:
        return np.full(2, -half), np.full(2, half)
    starts, reach = paths[:, 0], np.where(np.isfinite(paths), paths, np.inf)
    lows, highs = reach.min(axis=1), reach.max(axis=1)
    low = np.minimum(starts.min(axis=0), np.quantile(lows, 0.25, axis=0, method="higher"))
    high = np.maximum(starts.max(axis=0), np.quantile(highs, 0.75, axis=0, method="lower"))
    if not (high - low < FAR).all():
        low, high = starts.min(axis=0), starts.max(axis=0)
    side = (high - low).max()
    near = ((lows > low - side / 2) & (highs < high + side / 2)).all(axis=1)
    low, high = np.minimum(low, lows[near].min(axis=0, initial=0)), np.maximum(high, highs[near].max(axis=0, initial=0))
    margin = 0.05 * (high - low)
    low, high = np.minimum(low - margin, -SIDE), np.maximum(high + margin, SIDE)
    middle, side = (low + high) / 2, (high - low).max()
    return middle - side / 2, middle + side / 2


def _axes(env: Environment) -> tuple[str, str]:
    if isinstance(env, DifferentiableGame):
        return "x of seat 0", "x of seat 1"
    first, second = (own[0] for own in _actions(env))
    return f"seat 0: logit of {first}", f"seat 1: logit of {second}"


def _actions(env: Environment) -> tuple[tuple[str, ...], ...]:
    """Names of the actions of each player."""
    return env.actions if isinstance(env, MatrixGame) else (("C", "D"),) * env.num_players


def _short(env: Environment) -> tuple[tuple[str, ...], ...]:
    """The same where they differ between players; else as many first letters as tell them apart."""
    names = _actions(env)
    if len(set(names)) > 1:
        return names
    lengths = range(1, 1 + max(map(len, names[0])))
    cuts = ([name[:length] for name in names[0]] for length in lengths)
    return (tuple(next((cut for cut in cuts if len(set(cut)) == len(cut)), names[0])),) * len(names)


def _joint_label(env: Environment) -> Callable[[Sequence[str]], str]:
    """How to join short names of actions into one label."""
    letters = all(len(name) == 1 and not name.isdigit() for own in _short(env) for name in own)
    return ("" if letters else "/").join


def _ranges(seats: Sequence[int]) -> str:
    """Such as `0-3`, or `0, 2, 3` where one is left out."""
    whole = seats == tuple(range(seats[0], seats[-1] + 1))
    return f"{seats[0]}-{seats[-1]}" if whole else ", ".join(map(str, seats))
