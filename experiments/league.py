"""`run.py league`: the game whose strategies are learning algorithms, its solutions, and ratings of the entrants."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, combinations_with_replacement, product
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import equilibria
from envs import Environment, MatrixGame, SymmetricGame
from equilibria import Solution
from equilibria.empirical import EmpiricalGame
from equilibria.properties import is_symmetric
from equilibria.ratings import Matches, bradley_terry, cyclic_share, elo, intervals, nash_averaging, swiss_pairs
from experiments.config import FaultError, UserError, build_environment, build_learners
from experiments.figures import crossplay_matrix
from experiments.league_arguments import SAMPLED, Contest, to_flags
from experiments.league_report import summary
from experiments.run_directory import RunDirectory, write_json
from experiments.sides import Side
from experiments.tracking import Mirror, Tracker
from shaping import Match
from shaping.wrappers import tabled

__all__ = ["league"]

SPANS = ("whole", "final")
EQUAL = 1e-6
"""Rewards per step that differ by less are a draw."""


def league(asked: Contest, command: str, console: Console) -> int:
    """Play, solve, rate, print and write; goes on where it was stopped. Returns the exit code.

    Raises:
        UserError: a mistake in what was asked for, before anything is compiled.
        FaultError: numbers that are not finite.
    """
    began = time.perf_counter()
    env = build_environment(asked.run)
    n, count = env.num_players, len(asked.entrants)
    if n < 2:
        raise UserError(f"{asked.run.env} has 1 player: expected an environment with 2 or more")
    if asked.swiss and n != 2:
        raise UserError(f"--matchmaking swiss: is for games of 2 players, and {asked.run.env} has {n}")
    asked = _as_played(asked, env, console)
    symmetric = _exchangeable(env)
    for entrant in asked.entrants:  # mistakes first
        _side(asked, env, [entrant] * n)
    try:
        solver = equilibria.make(asked.solver, **asked.options)
        solver.check(equilibria.normal_form(np.zeros((n, *(count,) * n))))
    except ValueError as error:
        raise UserError(str(error)) from error
    if asked.resume:
        directory = RunDirectory(Path(asked.resume))
    else:
        directory = RunDirectory.create(asked.run.out, f"league-{asked.run.env}-{count}", to_flags(asked))
    mirror = Mirror(**asked.run.components["wandb"])
    with (
        directory.locked(),
        Tracker(
            asked.run.wandb, directory, to_flags(asked), console, fresh=asked.resume is None, mirror=mirror
        ) as tracker,
    ):
        if asked.swiss:
            played = _swiss(asked, env, symmetric, directory.path, tracker, console)
        else:
            played = _round_robin(asked, env, symmetric, directory.path, tracker, console)
        try:
            result = _judged(asked, played, symmetric, n)
        except ValueError as error:
            raise UserError(f"{error}; what was played is in {directory.path}") from error
        about = {"command": command, "env": asked.run.env, "sentence": _sentence(asked, result)}
        write_json(directory.path / "league.json", about | result)
        final = summary(command, asked.run.env, result, time.perf_counter() - began)
        directory.write_summary(final)
        tracker.summarise(final)
        _print(asked, result, console)
        console.print(about["sentence"], soft_wrap=True)
        if "matrix" in result:
            _draw(directory.path / "league.png", asked, played)
            tracker.show(directory.path / "league.png")
    console.print(f"directory: {directory.path}", soft_wrap=True)
    return 0


def _as_played(asked: Contest, env: Environment, console: Console) -> Contest:
    """By exact values, if all entrants have them; else with learners that sample for those that climb exact values."""
    built = build_learners(asked.run, env, asked.entrants)
    if not any(learner.tables for learner in built):
        return asked
    without = [name for name, own in zip(asked.entrants, built, strict=True) if tabled(env, own) is None]
    if not without:
        return replace(asked, exact=True)
    names = tuple(SAMPLED.get(name, name) for name in asked.entrants)
    told = [f"{old} as {new}" for old, new in zip(asked.entrants, names, strict=True) if old != new]
    if told:
        console.print(f"{without[0]} has no exact values: {' and '.join(told)}", soft_wrap=True)
    if len(set(names)) != len(names):
        raise UserError(f"--learners {','.join(asked.entrants)}: {', '.join(told)}; expected each entrant once")
    return replace(asked, entrants=names)


def _exchangeable(env: Environment) -> bool:
    """Whether the seats are known to be alike, from the payoffs."""
    if isinstance(env, SymmetricGame):
        return True
    return isinstance(env, MatrixGame) and is_symmetric(equilibria.load(env))


Played = dict[tuple[int, ...], dict[str, np.ndarray]]
"""Profile of entrants → span → rewards per step `[S, n]`."""


def _round_robin(
    asked: Contest, env: Environment, symmetric: bool, folder: Path, tracker: Tracker, console: Console
) -> Played:
    n, count = env.num_players, len(asked.entrants)
    profiles = list(combinations_with_replacement(range(count), n) if symmetric else product(range(count), repeat=n))
    found: Played = {}
    for place, profile in enumerate(profiles):
        found[profile] = _played(asked, env, profile, folder, f"{place + 1} of {len(profiles)}", console)
        _log(tracker, asked, found)
    return found


def _swiss(
    asked: Contest, env: Environment, symmetric: bool, folder: Path, tracker: Tracker, console: Console
) -> Played:
    """Rounds in which neighbours in the ratings meet, those who have not met before others; once, or in both seats."""
    count = len(asked.entrants)
    rounds = asked.rounds or min(count - 1 + count % 2, math.ceil(math.log2(count)) + 2)
    found: Played = {}
    met = np.zeros((count, count))
    for number in range(rounds):
        wins = _matches(found, count, asked.payoff).wins(count) if found else np.zeros((count, count))
        for i, j in swiss_pairs(bradley_terry(wins), met):
            met[i, j] += 1
            met[j, i] += 1
            for profile in ((i, j),) if symmetric else ((i, j), (j, i)):
                if profile not in found:
                    text = f"round {number + 1} of {rounds}"
                    found[profile] = _played(asked, env, profile, folder, text, console)
                    _log(tracker, asked, found)
    return found


def _log(tracker: Tracker, asked: Contest, found: Played) -> None:
    """The last match, whose number is its step."""
    profile, rewards = list(found.items())[-1]
    reward = rewards[asked.payoff]
    match = {"entrants": [asked.entrants[k] for k in profile], "welfare": reward.mean(axis=1).tolist()}
    tracker.log({"step": len(found), "match": match | {"reward_per_step": reward.tolist()}})


def _played(
    asked: Contest, env: Environment, profile: tuple[int, ...], folder: Path, text: str, console: Console
) -> dict[str, np.ndarray]:
    """Rewards of one profile, `[S, n]` a span; read, if it has been played."""
    names = [asked.entrants[k] for k in profile]
    path = folder / "matches" / f"{'-'.join(map(str, profile))}.json"
    if path.is_file():
        if (known := _read(path, (asked.run.seeds, len(names)))) is not None:
            return known
        console.print(f"warning: {path} is damaged; it is played again", soft_wrap=True)
    side = _side(asked, env, names)
    with console.status(f"{text}: {', '.join(names)} ..."):
        side.start()
        seen = []
        for start, stop in _spans(asked.run.steps, asked.looks):
            side.run_until(start, stop)
            if side.fault:
                raise FaultError(f"{', '.join(names)}: {side.fault}")
            seen.append(np.asarray(side.outcome.reward_per_step, np.float64))
    found = {"whole": np.mean(seen, axis=0), "final": seen[-1]}
    path.parent.mkdir(exist_ok=True)
    write_json(path, {"entrants": names, **{span: rewards.tolist() for span, rewards in found.items()}})
    middle = " ".join(f"{own:.3g}" for own in found[asked.payoff].mean(axis=0))
    console.print(f"{text}: {', '.join(names)}: {middle}", soft_wrap=True)
    return found


def _read(path: Path, shape: tuple[int, int]) -> dict[str, np.ndarray] | None:
    """Rewards of a profile that was played, `[S, n]` a span; None if the file is damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = {span: np.array(data[span], float) for span in SPANS}
    except (ValueError, KeyError, TypeError):
        return None
    return found if all(own.shape == shape and np.isfinite(own).all() for own in found.values()) else None


def _spans(steps: int, looks: int) -> Iterator[tuple[int, int]]:
    ends = np.linspace(0, steps, looks + 1).round().astype(int)
    yield from zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)


def _side(asked: Contest, env: Environment, names: Sequence[str]) -> Side:
    """The match of these entrants.

    Raises:
        UserError: they cannot play it, or not with each other.
    """
    run = asked.run
    learners = build_learners(run, env, list(names))
    if asked.exact:
        learners = [tabled(env, own) or own for own in learners]
    shapes = any(learner.span == "trial" for learner in learners)
    try:
        match = Match.of(
            env,
            learners,
            batch=run.batch,
            episodes=run.episodes,
            rivals=run.rivals if shapes else 1,
            rival_start=run.rival_start,
        )
    except ValueError as error:
        raise UserError(f"{', '.join(names)}: {error}") from error
    return Side(list(names), env, match, range(run.seed, run.seed + run.seeds))


def _matches(played: Played, count: int, span: str) -> Matches:
    """Every seed in which two entrants sit in a game; each pair of seats, draws where they earned the same."""
    first, second, score, seed = [], [], [], []
    for profile, rewards in sorted(played.items()):
        for a, b in combinations(range(len(profile)), 2):
            if profile[a] == profile[b]:
                continue
            apart = rewards[span][:, a] - rewards[span][:, b]
            first += [profile[a]] * len(apart)
            second += [profile[b]] * len(apart)
            score += np.where(np.abs(apart) <= EQUAL, 0.5, (apart > 0).astype(float)).tolist()
            seed += range(len(apart))
    return Matches(np.array(first, int), np.array(second, int), np.array(score, float), np.array(seed, int))


def _judged(asked: Contest, played: Played, symmetric: bool, players: int) -> dict[str, Any]:
    """Everything that is said of the entrants."""
    count = len(asked.entrants)
    matches = _matches(played, count, asked.payoff)
    rating = bradley_terry(matches.wins(count))
    low, high = intervals(matches, count) if len(matches.score) else (rating, rating)
    advantage, met = _advantage(played, count, asked.payoff)
    result: dict[str, Any] = {
        "entrants": list(asked.entrants),
        "payoff": asked.payoff,
        "seeds": asked.run.seeds,
        "profiles": len(played),
        "bradley_terry": rating.tolist(),
        "interval": np.stack([low, high], axis=1).tolist(),
        "elo": elo(matches, count).tolist(),
        "cyclic_share": cyclic_share(advantage, met),
    }
    if (met + np.eye(count) > 0).all():
        mixture, over = nash_averaging(advantage)
        result |= {"nash_averaging": mixture.tolist(), "over_nash_average": over.tolist()}
    everything = count**players if not symmetric else math.comb(count + players - 1, players)
    if asked.swiss:
        pairs = count * (count - 1) // (2 if symmetric else 1)  # nobody has to meet herself for ratings
        return result | {"matches": len(played), "saved": 1 - len(played) / pairs, "of": pairs}
    assert len(played) == everything
    game = _game(played, count, players, asked.payoff, symmetric)
    solution = equilibria.solve(game.game(), asked.solver, **asked.options)
    rank = equilibria.solve(game.game(), "alpha_rank")
    return result | {
        "matrix": game.mean.tolist(),
        "standard_error": game.standard_error.tolist(),
        "variance_over_seeds": game.variance.tolist(),
        "alpha_rank": np.asarray(rank.profile).mean(axis=0).tolist()
        if symmetric
        else np.asarray(rank.profile).tolist(),
        "solution": _solution(solution),
    }


def _solution(found: Solution) -> dict[str, Any]:
    names = ("profile", "value", "variance", "cvar", "worst", "regret", "payoff_regret", "converged")
    told = {name: np.asarray(getattr(found, name)).tolist() for name in names}
    return {"solver": found.solver, "options": dict(found.options), **told, "message": found.message}


def _game(played: Played, count: int, players: int, span: str, symmetric: bool) -> EmpiricalGame:
    """Seeds are episodes."""
    game = EmpiricalGame.empty(players, count).replace(sizes=np.full(players, count, np.int32))
    profiles = np.array(list(played))
    return game.add(profiles, np.stack([played[tuple(own)][span] for own in profiles.tolist()]), symmetric)


def _advantage(played: Played, count: int, span: str) -> tuple[np.ndarray, np.ndarray]:
    """What each entrant earned more than each other where they met, `[K, K]`, antisymmetric, and how often they did."""
    total, times = np.zeros((count, count)), np.zeros((count, count))
    for profile, rewards in played.items():
        mean = rewards[span].mean(axis=0)
        for a, b in combinations(range(len(profile)), 2):
            i, j = profile[a], profile[b]
            if i != j:
                total[i, j] += mean[a] - mean[b]
                total[j, i] += mean[b] - mean[a]
                times[i, j] += 1
                times[j, i] += 1
    return total / np.maximum(times, 1), times


def _print(asked: Contest, result: dict[str, Any], console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, title=f"{asked.run.env}: {asked.payoff} reward")
    table.title_justify = "left"
    table.add_column("entrant")
    solved = result.get("solution")
    headings = ["Bradley-Terry", "95 %", "Elo"] + (["Nash averaging"] if "nash_averaging" in result else [])
    headings += [f"{solved['solver']}, player {k}" for k in range(len(solved["profile"]))][:4] if solved else []
    headings += ["alpha-rank"] if solved else []
    for heading in headings:
        table.add_column(heading, justify="right")
    ranks = np.asarray(result["alpha_rank"]) if solved else None
    if ranks is not None and ranks.ndim == 2:
        ranks = ranks.mean(axis=0)
    for place in np.argsort(-np.array(result["bradley_terry"]), kind="stable"):
        low, high = result["interval"][place]
        cells = [asked.entrants[place], f"{result['bradley_terry'][place]:.0f}", f"{low:.0f} to {high:.0f}"]
        cells += [f"{result['elo'][place]:.0f}"]
        cells += [f"{result['nash_averaging'][place]:.2f}"] if "nash_averaging" in result else []
        if solved and ranks is not None:
            cells += [f"{own[place]:.2f}" for own in solved["profile"][:4]] + [f"{ranks[place]:.2f}"]
        table.add_row(*cells)
    console.width = max(console.width, 100)
    console.print("", table)


def _sentence(asked: Contest, result: dict[str, Any]) -> str:
    """How much ratings can tell, and whom to deploy."""
    text = f"{result['cyclic_share']:.0%} of the differences in reward are cyclic: no ratings explain them."
    if "solution" in result:
        return text + _deployed(asked.entrants, result["solution"])
    return f"{text} {result['matches']} of {result['of']} matches were played, {result['saved']:.0%} saved."


def _deployed(entrants: Sequence[str], solved: dict[str, Any]) -> str:
    """What players deploy who go by a solution, those who do the same together."""
    said: dict[str, list[int]] = {}
    for player, (profile, value) in enumerate(zip(solved["profile"], solved["value"], strict=True)):
        best = int(np.argmax(profile))
        said.setdefault(f"{entrants[best]} ({profile[best]:.0%}), worth {value:.3g} a step", []).append(player)
    if len(said) == 1:
        return f" A player who goes by {solved['solver']} deploys {next(iter(said))}; {solved['message']}."
    each = "; ".join(f"player {' and '.join(map(str, players))} {what}" for what, players in said.items())
    return f" Players who go by {solved['solver']} deploy: {each}; {solved['message']}."


def _draw(path: Path, asked: Contest, played: Played) -> None:
    """What the row earns in seat 0 with the column in all others."""
    count = len(asked.entrants)
    players = len(next(iter(played)))
    mean, low, high = (np.zeros((count, count)) for _ in range(3))
    for i, j in product(range(count), repeat=2):
        profile = (i, *(j,) * (players - 1))
        if profile in played:
            seen = played[profile][asked.payoff][:, 0]
        else:
            key = tuple(sorted(profile))
            seen = played[key][asked.payoff][:, key.index(i) if i != j else 0]
        mean[i, j] = seen.mean()
        spread = 1.96 * seen.std(ddof=1) / math.sqrt(len(seen)) if len(seen) > 1 else 0.0
        low[i, j], high[i, j] = mean[i, j] - spread, mean[i, j] + spread
    title = f"{asked.run.env}, {players} players, {asked.payoff} reward"
    crossplay_matrix(path, title, list(asked.entrants), mean, low, high)
