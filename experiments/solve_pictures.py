"""Pictures of games and their solutions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import equilibria
from equilibria import NormalForm, Solution
from equilibria.responses import perceive
from equilibria.risk import Neutral
from experiments.config import UserError

__all__ = ["draw_frontier", "draw_game"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe-Ito
GRID = 401


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
        risk.annotate(f"player {player}", (stds[-1, player], means[-1, player]), xytext=(6, -4 - 10 * (player % 2)),
                      textcoords="offset points", color=colour)  # fmt: skip
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


def draw_game(
    path: Path, title: str, game: NormalForm, found: Sequence[tuple[str, Solution]], options: dict[str, Any]
) -> None:
    """Best replies of a game of two players with two actions, or play on the simplex with three.

    Args:
        path: of the PNG.
        title: of the figure.
        game: the game.
        found: (name of the solver, solution).
        options: of the first solver; best replies are in its utility.

    Raises:
        UserError: the game is of another size.
    """
    if game.sizes == (2, 2):
        _replies(path, title, game, found, options)
    elif game.num_actions == 3 and set(game.sizes) == {3}:
        _simplex(path, title, game, found)
    else:
        raise UserError(
            f"--plot: the game has {' x '.join(map(str, game.sizes))} actions; expected 2 x 2, or three for everybody"
        )


def _replies(path: Path, title: str, game: NormalForm, found: Any, options: dict[str, Any]) -> None:
    from matplotlib.figure import Figure

    solver = equilibria.make(found[0][0], **options) if found else None
    measure = getattr(solver, "measure", Neutral())
    tremble, trembles = getattr(solver, "tremble", 0.0), getattr(solver, "trembles", "constraint")
    shares = np.linspace(0.0, 1.0, GRID)
    with jax.enable_x64(True):
        table = equilibria.normal_form(np.asarray(game.payoffs, np.float64))
        seen = perceive(table, measure, np.asarray(tremble, float), trembles)
        both = np.stack([np.stack([shares, 1 - shares], axis=1)] * 2, axis=1)
        respond = jax.jit(jax.vmap(lambda own: seen.respond(own, 1e-6 * table.scale(), 400)[0]))
        replies = np.asarray(respond(jnp.asarray(both)))
    names = game.actions or (("0", "1"),) * 2
    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(replies[:, 0, 0], shares, color=COLOURS[0], linewidth=2, label="best reply of player 0")
    axes.plot(shares, replies[:, 1, 0], color=COLOURS[1], linewidth=2, linestyle="--", label="best reply of player 1")
    for place, (name, own) in enumerate(found):
        axes.scatter(*own.profile[:, 0], s=90, facecolor="none", edgecolor="black", zorder=4)
        axes.annotate(name if place < 6 else "", own.profile[:, 0], xytext=(7, 7), textcoords="offset points")
    axes.set_xlabel(f"player 0: probability of {names[0][0]}")
    axes.set_ylabel(f"player 1: probability of {names[1][0]}")
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(-0.04, 1.04)
    axes.set_aspect("equal")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False)
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def _simplex(path: Path, title: str, game: NormalForm, found: Any, starts: int = 12, steps: int = 4000) -> None:
    """Replicator dynamics from random starts, and the solutions, a triangle a player."""
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

        paths = np.asarray(jax.jit(jax.vmap(run))(first))[:, ::10]
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]])
    figure = Figure(figsize=(4.6 * game.num_players, 4.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, game.num_players))
    for player, axes in enumerate(panels):
        axes.plot(*np.vstack([corners, corners[:1]]).T, color="black", linewidth=0.8)
        for own in paths[:, :, player] @ corners:
            axes.plot(*own.T, color=COLOURS[player % len(COLOURS)], linewidth=0.8, alpha=0.7)
            axes.scatter(*own[0], s=8, color=COLOURS[player % len(COLOURS)])
        for name, own in found:
            point = own.profile[player] @ corners
            axes.scatter(*point, s=90, facecolor="none", edgecolor="black", zorder=4)
            axes.annotate(name, point, xytext=(7, 7), textcoords="offset points")
        for place, corner in enumerate(corners):
            label = game.actions[player][place] if game.actions else str(place)
            axes.annotate(label, corner, xytext=(0, -14 if place < 2 else 6), textcoords="offset points", ha="center")
        axes.set_title(f"player {player}", loc="left")
        axes.set_aspect("equal")
        axes.set_axis_off()
    figure.suptitle(f"{title}: replicator dynamics from random starts", x=0.01, ha="left")
    figure.savefig(path, dpi=150)
