"""Figures of populations: the game between them, mixtures over iterations, and mean against risk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from equilibria.psro import Progress
from experiments.bands import band
from experiments.curve_figure import add_curves, said
from experiments.curves import Curve, Table

__all__ = ["draw", "means", "risks"]

POLICY, MIXTURE = "#0072B2", "#D55E00"


def draw(folder: Path, title: str, progress: Progress, lines: list[dict[str, Any]]) -> None:
    """Draw `game.png`, `mixtures.png` and `risk.png`, of the first seed, and `curves.png`, of all.

    Args:
        folder: to draw into.
        title: of the game.
        progress: where the run has come to.
        lines: of `metrics.jsonl`.
    """
    curves, count = title, len(progress.profile)
    title += f", the first of {count} seeds" if count > 1 else ""
    _game(folder / "game.png", title, progress)
    if lines:
        _mixtures(folder / "mixtures.png", title, lines)
    _risk(folder / "risk.png", title, progress)
    if lines:
        _curves(folder / "curves.png", curves, lines)


def means(mean: np.ndarray, profile: np.ndarray, sizes: np.ndarray, player: int) -> np.ndarray:
    """What policies of `player` earn against those of the next, `[size, size]`, while others play their mixtures.

    Args:
        mean: `[n, K, ..., K]`, of returns.
        profile: `[n, K]`, mixtures.
        sizes: `[n]`, of the populations.
        player: number of the player.
    """
    order = _turned(len(sizes), player)
    table = mean[player].transpose(order)
    for other in reversed(order[2:]):
        table = table @ profile[other]
    return table[tuple(slice(sizes[own]) for own in order[:2])]


def risks(mean: np.ndarray, profile: np.ndarray, sizes: np.ndarray, player: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, as the others' mixtures cause it, of what policies of `player` earn, `[size + 1]`.

    The last is its own mixture. Arguments as of `means`.
    """
    order, chance = _turned(len(sizes), player), np.ones(1)
    for other in order[1:]:
        chance = np.multiply.outer(chance, profile[other]).ravel()
    table = mean[player].transpose(order).reshape(mean.shape[1], -1)
    table = np.concatenate([table[: sizes[player]], profile[player][None] @ table])
    middle = table @ chance
    return middle, np.sqrt(np.maximum((table - middle[:, None]) ** 2 @ chance, 0.0))


def _turned(count: int, player: int) -> list[int]:
    """The players, `player` first and the others as they follow."""
    return [(player + k) % count for k in range(count)]


def _game(path: Path, title: str, progress: Progress) -> None:
    """What policies of player 0 earn against those of player 1, while all others play their mixtures."""
    from matplotlib.figure import Figure

    sizes = progress.games.sizes[0]
    shown = means(progress.games.mean[0], progress.profile[0], sizes, 0)
    figure = Figure(figsize=(1.6 + 0.42 * max(8, sizes[1]), 1.4 + 0.36 * max(6, sizes[0])), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shown, cmap="cividis", aspect="auto")
    if shown.size <= 400:
        for (row, column), value in np.ndenumerate(shown):
            bright = np.dot(image.to_rgba(value)[:3], (0.2126, 0.7152, 0.0722)) > 0.5
            axes.text(column, row, f"{value:.3g}", ha="center", va="center", fontsize=7, color="k" if bright else "w")
    axes.set_xticks(range(sizes[1]))
    axes.set_yticks(range(sizes[0]))
    axes.set_xlabel("policy of player 1" + (", all others at their mixtures" if len(sizes) > 2 else ""))
    axes.set_ylabel("policy of player 0")
    axes.set_title(f"{title}: mean return of player 0", loc="left", fontsize=11)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, fraction=0.04, label="mean return").outline.set_visible(False)
    figure.savefig(path, dpi=130)


def _mixtures(path: Path, title: str, lines: list[dict[str, Any]]) -> None:
    """How likely each policy is after every iteration."""
    from matplotlib.figure import Figure

    last = np.array(lines[-1]["profile"][0])
    count, size = last.shape
    figure = Figure(figsize=(2.5 + 0.3 * max(12, len(lines)), 1.2 + count * (0.6 + 0.16 * size)), layout="constrained")
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    steps = [line["step"] for line in lines]
    for player, panel in enumerate(panels):
        shares = np.full((size, len(lines)), np.nan)
        for column, line in enumerate(lines):
            own = line["profile"][0][player][: line["sizes"][0][player]]
            shares[: len(own), column] = own
        panel.imshow(
            shares,
            cmap="Blues",
            vmin=0,
            vmax=1,
            aspect="auto",
            origin="lower",
            interpolation="nearest",
            extent=(steps[0] - 0.5, steps[-1] + 0.5, -0.5, size - 0.5),
        )
        panel.set_ylabel(f"policy of player {player}")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.yaxis.get_major_locator().set_params(integer=True)
        panel.set_facecolor("0.92")
        panel.spines[:].set_visible(False)
    figure.colorbar(panels[0].images[0], ax=panels, fraction=0.04, label="share of the mixture").outline.set_visible(
        False
    )
    panels[0].set_title(f"{title}: mixtures; grey: not yet found", loc="left", fontsize=11)
    panels[-1].set_xlabel("iteration")
    figure.savefig(path, dpi=130)


def _risk(path: Path, title: str, progress: Progress) -> None:
    """Mean of every policy against the others' mixtures, over the standard deviation that these cause."""
    from matplotlib.figure import Figure

    count = len(progress.profile[0])
    shown = min(count, 4)
    figure = Figure(figsize=(3.6 * shown, 3.4), layout="constrained")
    for player, panel in enumerate(figure.subplots(1, shown, squeeze=False)[0]):
        mean, spread = risks(progress.games.mean[0], progress.profile[0], progress.games.sizes[0], player)
        size = 18 + 200 * progress.profile[0, player, : len(mean) - 1]
        panel.scatter(spread[:-1], mean[:-1], s=size, color=POLICY, alpha=0.6, linewidths=0, label="policies")
        panel.plot(spread[-1], mean[-1], "*", color=MIXTURE, markersize=13, label="mixture")
        panel.set_title(f"player {player}", loc="left", fontsize=10)
        panel.set_xlabel("standard deviation that the others cause")
        panel.spines[["top", "right"]].set_visible(False)
        if player == 0:
            figure.suptitle(f"{title}: mean and risk", x=0.01, ha="left", fontsize=11)
            panel.set_ylabel("mean return")
            panel.legend(frameon=False, fontsize=8)
    figure.suptitle(f"{title}: mean against risk; size: share of the mixture", x=0.01, ha="left", fontsize=11)
    figure.savefig(path, dpi=130)


def _curves(path: Path, title: str, lines: list[dict[str, Any]]) -> None:
    """Gap and NashConv, and values, over iterations; every seed."""
    from matplotlib.figure import Figure

    steps = np.array([line["step"] for line in lines])
    read = lambda name: np.array([line[name] for line in lines], float)  # noqa: E731
    value = read("value")  # [iterations, S, n]
    seeds = tuple(range(value.shape[1]))
    gains = {"gain by the new policies": read("gap"), "NashConv": read("nash_conv")}
    players = {f"player {player}": value[:, :, player] for player in range(value.shape[2])}
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    names = ("sum over players", "value of the mixtures")
    curves: list[Curve] = []
    for panel, name, shown in zip(figure.subplots(1, 2), names, (gains, players), strict=True):
        known = {label: values for label, values in shown.items() if np.isfinite(values).any()}
        curves = [Curve(label, Table(steps, values, seeds), steps) for label, values in known.items()]
        add_curves(panel, curves, [band(own.table.values, "median", "none", 0.8) for own in curves], lines=True)
        panel.set_ylabel(name)
        panel.set_xlabel("iteration")
        panel.legend(frameon=False, fontsize=8)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{title}; {said(curves, 'median', 'none', 0.8, lines=True)}", x=0.01, ha="left", fontsize=11)
    figure.savefig(path, dpi=130)
