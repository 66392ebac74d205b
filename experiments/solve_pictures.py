"""Pictures of games and their solutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import equilibria
from equilibria import NormalForm, Solution
from equilibria.front import build
from equilibria.responses import perceive
from equilibria.risk import Neutral
from equilibria.solvers.quantal import LogitQuantal, RiskAverseQuantal
from equilibria.solvers.risk_averse import RiskAverse
from experiments.config import UserError

__all__ = ["check_drawable", "draw_frontier", "draw_game"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe-Ito
GRID = 401
AHEAD = 40
"""Steps after which a trajectory has its arrow."""


def draw_frontier(
    path: Path, title: str, names: Sequence[Sequence[str]], key: str, values: np.ndarray, found: Sequence[Solution]
) -> None:
    """What everybody plays, and mean against standard deviation, over a range of one option.

    Args:
        path: of the PNG.
        title: of the figure.
        names: of all actions, one list a player.
        key: of the option.
        values: of the option.
        found: a solution for each.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    play, risk = figure.subplots(1, 2)
    profiles = np.stack([own.profile for own in found])
    means, stds = np.stack([own.value for own in found]), np.sqrt(np.stack([own.variance for own in found]).clip(0))
    styles = ("-", "--", ":", "-.")
    for player, actions in enumerate(names):
        colour = COLOURS[player % len(COLOURS)]
        shown = actions[: 1 if len(actions) == 2 else 4]
        for place, action in enumerate(shown):
            label = f"player {player}: {action}"
            style = styles[place] if len(shown) > 1 else styles[player % 4]
            play.plot(values, profiles[:, player, place], color=colour, linestyle=style, label=label)
        risk.plot(stds[:, player], means[:, player], color=colour, linewidth=0.8, alpha=0.6)
        size = 40 if player % 2 == 0 else 14  # so that equal players do not hide each other
        points = risk.scatter(stds[:, player], means[:, player], c=values, s=size, cmap="viridis", zorder=3)
        risk.annotate(f"player {player}", (stds[-1, player], means[-1, player]), xytext=(8, 6 - 20 * (player % 2)),
                      textcoords="offset points", color=colour, zorder=5, path_effects=_halo())  # fmt: skip
        if player == 0:
            figure.colorbar(points, ax=risk, label=key)
    play.set_xlabel(key)
    play.set_ylabel("probability")
    play.set_ylim(-0.03, 1.03)
    play.legend(frameon=False)
    risk.set_xlabel("standard deviation that the others cause")
    risk.set_ylabel("mean payoff")
    for axes in (play, risk):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left")
    figure.savefig(path, dpi=150)


def check_drawable(game: NormalForm) -> None:
    """Raise unless `draw_game` can draw a game of this size.

    Raises:
        UserError: it cannot.
    """
    if not np.asarray(game.mask).all() or (game.sizes != (2, 2) and game.num_actions != 3):
        sizes = " x ".join(map(str, game.sizes))
        raise UserError(f"--plot: the game has {sizes} actions; expected 2 x 2, or three for everybody")


def draw_game(
    path: Path,
    title: str,
    game: NormalForm,
    found: Sequence[tuple[str, Solution]],
    solvers: Mapping[str, dict[str, Any]],
) -> None:
    """Replies in a game of two players with two actions, or play on the simplex with three.

    Args:
        path: of the PNG.
        title: of the figure.
        game: the game.
        found: (name of the solver, solution).
        solvers: names and options of all solvers; replies are those of each in its own utility.

    Raises:
        UserError: the game is of another size.
    """
    check_drawable(game)
    draw = _replies if game.sizes == (2, 2) else _simplex
    draw(path, title, game, found, solvers)


def _replies(path: Path, title: str, game: NormalForm, found: Any, solvers: Mapping[str, dict[str, Any]]) -> None:
    from matplotlib.figure import Figure

    shares, drawn = np.linspace(0.0, 1.0, GRID), {}
    for name, options in solvers.items():  # one curve where several solvers have the same
        replies = _curves(game, build(name, options), shares)
        same = next((own for own, other in drawn.items() if np.abs(other - replies).max() < 1e-6), ())
        drawn.pop(same, None)
        drawn[*same, name] = replies
    names = game.actions or (("0", "1"),) * 2
    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    axes = figure.add_subplot()
    for place, (own, replies) in enumerate(drawn.items()):
        told = f"{', '.join(own)}: " if len(solvers) > 1 else ""
        colours = [COLOURS[place % len(COLOURS)]] * 2 if len(drawn) > 1 else COLOURS
        axes.plot(replies[:, 0, 0], shares, color=colours[0], linewidth=2, label=f"{told}reply of player 0")
        axes.plot(shares, replies[:, 1, 0], color=colours[1], linewidth=2, linestyle="--",
                  label=f"{told}reply of player 1")  # fmt: skip
    _mark(axes, [(name, own.profile[:, 0]) for name, own in found])
    axes.set_xlabel(f"player 0: probability of {names[0][0]}")
    axes.set_ylabel(f"player 1: probability of {names[1][0]}")
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(-0.04, 1.04)
    axes.set_aspect("equal")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False, ncols=min(len(drawn), 2))
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def _curves(game: NormalForm, solver: Any, shares: np.ndarray) -> np.ndarray:
    """What each player replies `[K, n, A]`, in the solver's utility, where everybody plays the first action so often.

    Logit responses of quantal solvers, but for a logarithmic barrier, without which best replies are drawn.
    """
    measure, tremble, trembles, temperature = getattr(solver, "measure", Neutral()), 0.0, "constraint", 0.0
    if isinstance(solver, RiskAverse):
        tremble, trembles = solver.tremble, solver.trembles
    elif isinstance(solver, LogitQuantal):
        temperature = 1.0 / np.maximum(np.asarray(solver.precision, float), 1e-9)
    elif isinstance(solver, RiskAverseQuantal) and solver.barrier == "entropy":
        temperature = np.asarray(solver.temperature, float)
    with jax.enable_x64(True):
        table = equilibria.normal_form(np.asarray(game.payoffs, np.float64))
        seen = perceive(table, measure, np.asarray(tremble, float), trembles)
        both = np.stack([np.stack([shares, 1 - shares], axis=1)] * 2, axis=1)
        warmth = jnp.broadcast_to(jnp.asarray(temperature), (2,))[:, None]
        reply = lambda own: (  # noqa: E731
            seen.respond_softly(own, warmth) if np.any(temperature) else seen.respond(own, 1e-6 * table.scale(), 400)[0]
        )
        return np.asarray(jax.jit(jax.vmap(reply))(jnp.asarray(both)))


def _halo() -> list[Any]:
    """White around letters, so that they can be read on lines."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=3, foreground="white")]


def _mark(axes: Any, points: Sequence[tuple[str, np.ndarray]]) -> None:
    """Circles, each with the names of all solvers that are there."""
    there: dict[tuple[float, ...], list[tuple[str, np.ndarray]]] = {}
    for name, point in points:
        there.setdefault(tuple(np.round(point, 2)), []).append((name, point))
    for place, own in enumerate(there.values()):
        names, (x, y) = dict.fromkeys(name for name, _ in own), own[0][1]
        left = x > 0.6  # so that names stay inside, and those of neighbours apart
        axes.scatter(x, y, s=90, facecolor="none", edgecolor="black", zorder=4)
        axes.annotate(", ".join(names), (x, y), xytext=(-7 if left else 7, -15 if place % 2 else 7), zorder=5,
                      textcoords="offset points", horizontalalignment="right" if left else "left",
                      path_effects=_halo())  # fmt: skip


def _simplex(
    path: Path, title: str, game: NormalForm, found: Any, solvers: Any, starts: int = 6, steps: int = 800
) -> None:
    """Replicator dynamics from a few random starts, and the solutions, a triangle a player."""
    from matplotlib.figure import Figure

    with jax.enable_x64(True):
        table = equilibria.normal_form(np.asarray(game.payoffs, np.float64))
        table = table.replace(payoffs=table.payoffs / table.scale())
        rule = equilibria.make("replicator", rate=0.05)
        drawn = jax.random.exponential(jax.random.key(0), (starts, *table.mask.shape), jnp.float64)
        first = drawn / drawn.sum(axis=2, keepdims=True)

        def run(profile: Any) -> Any:
            move = lambda own, _: ((after := rule.move(table, own, jnp.zeros(()))), after)  # noqa: E731
            return jax.lax.scan(move, profile, None, steps)[1]

        paths = np.asarray(jax.jit(jax.vmap(run))(first))
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]])
    figure = Figure(figsize=(4.6 * game.num_players, 4.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, game.num_players))
    for player, axes in enumerate(panels):
        colour = COLOURS[player % len(COLOURS)]
        axes.plot(*np.vstack([corners, corners[:1]]).T, color="black", linewidth=0.8)
        for own in paths[:, :, player] @ corners:
            axes.plot(*own.T, color=colour, linewidth=0.9, alpha=0.6)
            axes.scatter(*own[0], s=14, color=colour)
            axes.annotate("", own[AHEAD + 5], own[AHEAD], arrowprops={"arrowstyle": "->", "color": colour})
        _mark(axes, [(name, own.profile[player] @ corners) for name, own in found])
        for place, corner in enumerate(corners):
            label = game.actions[player][place] if game.actions else str(place)
            axes.annotate(label, corner, xytext=(0, -14 if place < 2 else 6), textcoords="offset points", ha="center")
        axes.set_title(f"player {player}", loc="left")
        axes.set_aspect("equal")
        axes.set_axis_off()
    figure.suptitle(f"{title}: replicator dynamics from random starts", x=0.01, ha="left")
    figure.savefig(path, dpi=150)
