"""`run.py solve`: solutions as tables, sentences, JSON, CSV and pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import envs
import equilibria
from equilibria import NormalForm, Solution
from equilibria.front import build, label
from equilibria.numerics import in_lanes
from equilibria.properties import risk_dominant
from equilibria.solvers.pure import pure_equilibria
from experiments.config import UserError
from experiments.run_directory import finite, new_directory
from experiments.solve_arguments import Solving
from experiments.solve_pictures import check_drawable, draw_frontier, draw_game
from experiments.tables import print_table

__all__ = ["sentence", "solve", "swept"]

FLOOR = 5e-4
"""Probabilities below are not told."""
SHOWN = 8
"""Actions of a player in a table."""


def solve(asked: Solving, command: str, console: Console) -> int:
    """Solve, print and draw.

    Returns:
        0, or 1 if something did not converge.

    Raises:
        UserError: what is wrong with the game, an option, or the two together.
    """
    with jax.enable_x64(True):
        return _solve(asked, console)


def _solve(asked: Solving, console: Console) -> int:
    try:
        game = _game(asked)
        if asked.plot:
            check_drawable(game)
        if asked.sweep:
            return _sweep(asked, game, console)
        found = [(name, own) for name, options in asked.solvers for own in _solutions(asked, game, name, options)]
    except ValueError as error:
        raise UserError(str(error)) from error
    if asked.json:
        told = [_as_json(asked, own) for _, own in found]
        many = asked.everything or asked.restarts or len(asked.solvers) > 1
        print(json.dumps(finite(told if many else told[0])))  # noqa: T201  the result itself
    else:
        if found:
            print_table(console, _table(asked, game, [own for _, own in found]))
        for _, own in found:
            console.print(sentence(game, own, asked.restarts))
        if not found:
            console.print(_nothing(asked, game))
    if asked.plot:
        path = new_directory(asked.out, f"solve-{asked.title}") / "game.png"
        draw_game(path, asked.title, game, found, dict(asked.solvers))
        _say(asked, console, f"picture: {path}")
    return 0 if found and all(bool(own.converged) for _, own in found) else 1


def _nothing(asked: Solving, game: NormalForm) -> str:
    """That there is no solution, and why."""
    reasons = [build(name, options).reason(game, None) for name, options in asked.solvers]
    if asked.symmetric and not any(reasons):
        reasons = ["none found is symmetric"]
    return ": ".join(["no solution", *filter(None, dict.fromkeys(reasons))])


def _say(asked: Solving, console: Console, text: str) -> None:
    if not asked.json:
        console.print(text, soft_wrap=True)


def _game(asked: Solving) -> NormalForm:
    with jax.enable_x64(True):
        if asked.env is None:
            return equilibria.load(asked.game)
        fields = {"players": asked.players} if asked.players else {}
        return equilibria.load(envs.make(asked.env, **fields))


def _solutions(asked: Solving, game: NormalForm, name: str, options: dict[str, Any]) -> list[Solution]:
    found = equilibria.solve(
        game,
        name,
        key=jax.random.key(asked.seed) if asked.restarts else None,
        restarts=asked.restarts,
        all=asked.everything,
        symmetric=asked.symmetric,
        **options,
    )
    return found if isinstance(found, list) else [found]


def _as_json(asked: Solving, found: Solution) -> dict[str, Any]:
    told = {
        "game": asked.title,
        "solver": found.solver,
        "options": {name: list(own) if isinstance(own, tuple) else own for name, own in found.options},
        "method": found.method,
        "profile": found.profile.tolist(),
        "value": found.value.tolist(),
        "welfare": float(found.welfare),
        "variance": found.variance.tolist(),
        "cvar": found.cvar.tolist(),
        "worst": found.worst.tolist(),
        "regret": found.regret.tolist(),
        "payoff_regret": found.payoff_regret.tolist(),
        "share_of_starts": float(found.share) if asked.restarts else None,
        "converged": bool(found.converged),
        "steps": int(found.steps),
        "message": found.message,
    }
    return told if found.joint is None else told | {"joint": found.joint.tolist()}


def _labels(game: NormalForm) -> list[list[str]]:
    """Names of all actions that exist."""
    return [
        [game.actions[i][a] if game.actions else str(a) for a in np.flatnonzero(own)]
        for i, own in enumerate(np.asarray(game.mask))
    ]


def _table(asked: Solving, game: NormalForm, found: Sequence[Solution]) -> Table:
    """One row a solution and player."""
    several = len(asked.solvers) > 1
    name, options = asked.solvers[0]
    given = ", ".join(f"{key} {np.asarray(value).tolist()}" for key, value in options.items())
    solver = "" if several else f": {name}{f' ({given})' if given else ''}"
    table = Table(title=asked.title + solver, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    left = ("solver", "player", "plays")
    for name in (*left[not several :], "value", "std", "CVaR", "worst", "regret", "(payoff)"):
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    scale = float(np.abs(np.asarray(game.payoffs)).max())
    for number, own in enumerate(found):
        if number:
            table.add_section()
        for player, names in enumerate(_labels(game)):
            chances = own.profile[player][np.asarray(game.mask)[player]]
            likely = [f"{name} {chance:.4g}" for name, chance in zip(names, chances, strict=True) if chance > FLOOR]
            if len(likely) > SHOWN:
                likely = [*likely[:SHOWN], f"and {len(likely) - SHOWN} more"]
            numbers = (own.value, np.sqrt(np.maximum(own.variance, 0)), own.cvar, own.worst)
            row = [own.solver if player == 0 else ""] if several else []
            row += [str(player), "\n".join(likely)] + [_short(float(one[player]), scale) for one in numbers]
            row += [f"{float(one[player]):.0e}" if one[player] else "0" for one in (own.regret, own.payoff_regret)]
            table.add_row(*row)
    return table


def _short(number: float, scale: float) -> str:
    """Four digits; 0 for what is rounding."""
    return f"{0.0 if abs(number) < 1e-7 * scale else number:.4g}"


def sentence(game: NormalForm, found: Solution, starts: int = 0) -> str:
    """What kind of solution it is, and to how many of the random starts it was the end, in words."""
    text = found.message + "."
    if starts:
        text += f" {round(float(found.share) * starts)} of {starts} random starts led here."
    if found.joint is not None:
        return text
    likely = found.profile.argmax(axis=1)
    mostly = found.profile.max(axis=1) >= 0.9
    if not mostly.all():
        return f"{text} It is mixed."
    names = game.actions or tuple(tuple(map(str, range(game.num_actions))) for _ in likely)
    joint = tuple(int(own) for own in likely)
    pure = bool((found.profile.max(axis=1) > 1 - FLOOR).all())
    text += f" It is {'' if pure else 'nearly '}({', '.join(names[i][a] for i, a in enumerate(joint))})"
    settled = [tuple(own) for own in np.argwhere(np.asarray(pure_equilibria(game))).tolist()]
    return f"{text}: {_among(game, joint, settled)}." if len(settled) > 1 and joint in settled else f"{text}."


def _among(game: NormalForm, joint: tuple[int, ...], settled: Sequence[tuple[int, ...]]) -> str:
    """Which of several pure equilibria one is."""
    earned = {own: np.asarray(game.payoffs)[(slice(None), *own)] for own in settled}
    by_payoff = [own for own in settled if all((earned[own] >= other).all() for other in earned.values())]
    chosen = {
        "payoff-dominant": by_payoff if len(by_payoff) == 1 else [],
        "risk-dominant": [own for own in [risk_dominant(game)] if own],
    }
    kinds = [f"the {kind}" for kind, own in chosen.items() if joint in own]
    others = [kind for kind, own in chosen.items() if own and joint not in own]
    if kinds:
        return f"{' and '.join(kinds)} equilibrium of {len(settled)} pure ones"
    ending = f", and not the {' or '.join(others)} one" if others else ""
    return f"one of {len(settled)} pure equilibria{ending}"


def swept(game: NormalForm, name: str, options: dict[str, Any], key: str, values: np.ndarray) -> list[Solution]:
    """Solutions over a range of one option, side by side where the solver can."""
    each: list[dict[str, Any]] = [options | {key: float(value)} for value in values]
    for own in each:
        build(name, own).check(game)
    with jax.enable_x64(True):
        one = build(name, each[0])
        table = equilibria.normal_form(np.asarray(game.payoffs, np.float64), np.asarray(game.mask))
        if one.on_host:
            return [equilibria.solve(table, name, **own) for own in each]
        solve_at = lambda value: build(name, options | {key: value}).solve(table)  # noqa: E731
        found = jax.jit(partial(in_lanes, solve_at))(jnp.asarray(values, jnp.float64))
        return [
            jax.tree.map(lambda leaf, k=k: np.asarray(leaf[k]), found).replace(**label(build(name, own), name))
            if found.converged[k]
            else equilibria.solve(table, name, **own)  # which tries more
            for k, own in enumerate(each)
        ]


def _sweep(asked: Solving, game: NormalForm, console: Console) -> int:
    assert asked.sweep is not None, "checked"
    key, low, high, points = asked.sweep
    ((name, options),) = asked.solvers
    options = {option: value for option, value in options.items() if option != key}
    values = np.linspace(low, high, points)
    found = swept(game, name, options, key, values)
    out = new_directory(asked.out, f"solve-{asked.title}")
    _write_csv(out / "frontier.csv", game, key, values, found)
    draw_frontier(out / "frontier.png", f"{asked.title}: {name}", _labels(game), key, values, found)
    failed = sum(not bool(own.converged) for own in found)
    if asked.json:
        print(json.dumps(finite([_as_json(asked, own) for own in found])))  # noqa: T201  the result itself
    _say(asked, console, f"{points} solutions of {asked.title}, {failed} not converged")
    _say(asked, console, f"frontier: {out / 'frontier.csv'}, {out / 'frontier.png'}")
    return 1 if failed else 0


def _write_csv(path: Path, game: NormalForm, key: str, values: Any, found: Sequence[Solution]) -> None:
    """One row a value and player."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        actions = [f"p{a}" for a in range(game.num_actions)]
        writer.writerow([key, "player", "value", "variance", "cvar", "worst", "regret", "converged", *actions])
        for value, own in zip(values, found, strict=True):
            for player in range(game.num_players):
                numbers = [float(one[player]) for one in (own.value, own.variance, own.cvar, own.worst, own.regret)]
                play = [float(chance) for chance in own.profile[player]]
                writer.writerow([float(value), player, *numbers, bool(own.converged), *play])
