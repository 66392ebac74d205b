"""Pictures of a trained run: what is drawn, as numbers, and how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from envs.scene import PALETTE
from experiments.figures import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Field", "Policy", "Rewards", "draw_field", "draw_policies", "draw_rewards", "until_out"]

GREY = "0.55"
START: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "markersize": 4.5}
SIDES = {"learners": "o", "baseline": "s"}
"""Matches of a run, what matters most first, and how they mark an end."""
DPI, WIDEST = 200, 13.0
MOST_TICKS = 45
"""At most about so many histories of a panel are labelled."""


@dataclass(frozen=True)
class Policy:
    """What one policy does after each history.

    Attributes:
        title: who plays it.
        about: how to read the labels of the histories.
        histories: labels, H of them.
        actions: names of the K actions whose probabilities are drawn.
        probabilities: `[S, H, K]` for S seeds.
    """

    title: str
    about: str
    histories: tuple[str, ...]
    actions: tuple[str, ...]
    probabilities: np.ndarray


@dataclass(frozen=True)
class Rewards:
    """Learning in the plane of two rewards.

    Attributes:
        paths: key of a match → rewards per step at each of L logged steps, `[L, S, 2]` for S seeds.
        labels: the same keys → who plays.
        axes: what the two rewards are.
        hull: vertices of the feasible rewards in order, `[V, 2]`; one or two where they are a point or a line, none
            where they have no bounds.
        about: what is shown, in a line.
        marks: label → the rewards of a joint action.
    """

    paths: Mapping[str, np.ndarray]
    labels: Mapping[str, str]
    axes: tuple[str, str]
    hull: np.ndarray
    about: str
    marks: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Field:
    """The own gradients of a game of two parameters, and where rules of learning go in it.

    Attributes:
        points: of a grid, `[G, G, 2]`.
        arrows: own gradients there, `[G, G, 2]`.
        paths: label of a rule → parameters from each of K starting points over T steps, `[K, T + 1, 2]`.
        starts: labels of the starting points, K of them.
        axes: what the two parameters are.
        low: lower corner of the box that is shown, `[2]`.
        high: upper corner, `[2]`.
        about: what is shown, in a line.
    """

    points: np.ndarray
    arrows: np.ndarray
    paths: Mapping[str, np.ndarray]
    starts: tuple[str, ...]
    axes: tuple[str, str]
    low: np.ndarray
    high: np.ndarray
    about: str


def draw_policies(path: Path, title: str, policies: Sequence[Policy]) -> None:
    """A panel a policy, in it a bar an action and history: median over the seeds, every seed a point.

    Args:
        path: of the PNG.
        title: of the figure.
        policies: one a panel.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    bars = max(len(policy.histories) * len(policy.actions) for policy in policies)
    longest = max(len(label) for policy in policies for label in policy.histories)
    width = min(WIDEST, 1.3 + 0.27 * bars)
    down, across = _grid(len(policies), max(1, int(WIDEST / width)))
    width = max(6.0 / across, width)
    figure = Figure(figsize=(across * width + 0.4, down * (2.1 + 0.06 * longest) + 1.0), layout="constrained")
    panels = figure.subplots(down, across, sharey=True, squeeze=False)
    alike = len({policy.actions for policy in policies}) == 1
    for place, (panel, policy) in enumerate(zip(panels.flat, policies, strict=False)):
        _policy_bars(panel, policy, (width - 0.9) / len(policy.histories))
        if place % across == 0 or not alike:
            panel.set_ylabel(f"probability of {policy.actions[0]}" if len(policy.actions) == 1 else "probability")
            panel.tick_params(labelleft=True)
    _hide(panels.flat, len(policies))
    names, seeds = max((policy.actions for policy in policies), key=len), len(policies[0].probabilities)
    labels = names if len(names) > 1 else ["median over the seeds" if seeds > 1 else "the one seed"]
    shown: list[Any] = [Patch(color=_light(PALETTE[k % len(PALETTE)]), label=label) for k, label in enumerate(labels)]
    if seeds > 1:
        text = "every seed, from left to right" if len(names) == 1 else "every seed, from left to right; bars: median"
        shown.append(Line2D([], [], color="black", marker="o", markersize=3, linestyle="", label=text))
    figure.legend(handles=shown, loc="outside lower center", ncols=min(len(shown), 6), frameon=False, fontsize=9)
    _save(figure, path, title, policies[0].about)


def _policy_bars(panel: Axes, policy: Policy, room: float) -> None:
    """The bars and points of one policy, with `room` inches for a history."""
    seeds, count, actions = policy.probabilities.shape
    places, width = np.arange(count), 0.8 / actions
    spread = width * np.linspace(-0.35, 0.35, seeds)[:, None] if seeds > 1 else 0.0
    for k in range(actions):
        middle, values = places + (k - (actions - 1) / 2) * width, policy.probabilities[:, :, k]
        panel.bar(middle, np.median(values, axis=0), width * 0.95, color=_light(PALETTE[k % len(PALETTE)]), zorder=2)
        if seeds > 1:
            panel.plot(middle + spread, values, "o", color="black", markersize=2.4, alpha=0.7, markeredgewidth=0,
                       clip_on=False, zorder=3)  # fmt: skip
    labels = policy.histories[:: -(-count // MOST_TICKS)]
    crowded = any(0.045 * len(left + right) > room for left, right in pairwise(labels))
    panel.set_xticks(places[:: -(-count // MOST_TICKS)], labels, fontsize=8, rotation=90 if crowded else 0)
    panel.tick_params(axis="x", length=0)
    panel.set_xlim(*((-0.6, count - 0.4) if count > 1 else (-1.2, 1.2)))
    panel.set_ylim(0, 1)
    panel.set_yticks([0, 0.5, 1])
    panel.grid(axis="y", linewidth=0.4, alpha=0.5)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_title(policy.title, loc="left", fontsize=10)


def draw_rewards(path: Path, title: str, rewards: Rewards) -> None:
    """Every seed a thin line from a hollow to a filled mark, on the hull of what is feasible.

    Args:
        path: of the PNG.
        title: of the figure.
        rewards: what is drawn.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    low, high = _limits(rewards)
    width, height = high - low
    alike = 1 / 3 < height / width < 3
    figure = Figure(figsize=(6.4, 2.0 + 5.6 * min(height / width if alike else 0.8, 1.2)), layout="compressed")
    axes = figure.add_subplot(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal" if alike else "auto")
    _draw_plane(axes, rewards)
    axes.set_xlabel(f"reward per step, {rewards.axes[0]}")
    axes.set_ylabel(f"reward per step, {rewards.axes[1]}")
    _mark(axes, rewards)
    _zoom(axes, rewards)
    shown = []
    for key in (key for key in SIDES if key in rewards.paths):
        count = rewards.paths[key].shape[1]
        text = f"{rewards.labels[key]}: {f'{count} seeds' if count > 1 else '1 seed'}, end filled"
        shown.append(Line2D([], [], color=COLOURS[key], marker=SIDES[key], label=text))
    shown.append(Line2D([], [], **START, markeredgecolor="black", linestyle="", label="start"))
    if len(rewards.hull):
        shown.append(Line2D([], [], color=GREY, linewidth=1.5, label="feasible: hull of the pure joint actions"))
    figure.legend(handles=shown, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    _save(figure, path, title, rewards.about)


def _limits(rewards: Rewards) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the plane, with room for labels."""
    every = np.concatenate([rewards.hull, *(paths.reshape(-1, 2) for paths in rewards.paths.values())])
    finite = every[np.isfinite(every).all(axis=1)]
    every = finite if len(finite) else np.zeros((1, 2))
    low, high = every.min(axis=0), every.max(axis=0)
    span = np.maximum(high - low, 1e-3 * np.maximum(1.0, np.abs(high)))
    margin = span * (0.06 + 0.018 * max(map(len, rewards.marks), default=0), 0.09)
    return low - margin, high + margin


def _draw_plane(axes: Axes, rewards: Rewards) -> None:
    """The hull and the trajectories."""
    hull = rewards.hull
    if len(hull):
        edge = {"edgecolor": GREY, "linewidth": 1.2} if len(hull) > 2 else {"edgecolor": "0.8", "linewidth": 7}
        axes.fill(*hull.T, facecolor="0.94", zorder=1, joinstyle="round", capstyle="round", **edge)
    for key in reversed([key for key in SIDES if key in rewards.paths]):
        paths, colour = rewards.paths[key], COLOURS[key]
        axes.plot(paths[:, :, 0], paths[:, :, 1], color=colour, linewidth=0.8, alpha=0.75, zorder=2)
        axes.plot(*paths[0].T, "o", markerfacecolor="white", markeredgecolor="black", markersize=4, zorder=3)
        axes.plot(*paths[-1].T, SIDES[key], color=colour, markersize=6, markeredgecolor="white", markeredgewidth=0.6,
                  zorder=4)  # fmt: skip
    axes.grid(linewidth=0.4, alpha=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _mark(axes: Axes, rewards: Rewards) -> None:
    """Labels of the joint actions in view, outwards from the middle; one label for those that nearly coincide."""
    if not rewards.marks:
        return
    low, high = np.transpose([axes.get_xlim(), axes.get_ylim()])
    middle = rewards.hull.mean(axis=0)
    together: list[tuple[np.ndarray, list[str]]] = []
    for label, point in rewards.marks.items():
        place = np.asarray(point)
        if not ((low <= place) & (place <= high)).all():
            continue
        axes.plot(*place, "o", color=GREY, markersize=3.5, zorder=1)
        near = (words for other, words in together if (np.abs(other - place) < 0.04 * (high - low)).all())
        words = next(near, None)
        if words is None:
            together.append((place, [label]))
        else:
            words.append(label)
    for place, words in together:
        across, up = np.sign(np.round((place - middle) / (high - low), 6)).astype(int)
        axes.annotate("\n".join(words), tuple(place), (7 * across, 5 * up), textcoords="offset points", fontsize=9,
                      ha=("center", "left", "right")[across], va=("center", "bottom", "top")[up], color="0.3",
                      linespacing=1.0)  # fmt: skip


def _zoom(axes: Axes, rewards: Rewards) -> None:
    """Another view, in a corner without data, of where all end, if that is small but no point."""
    low, high = np.transpose([axes.get_xlim(), axes.get_ylim()])
    ends = np.concatenate([paths[-1] for paths in rewards.paths.values()])
    size = np.ptp(ends, axis=0).max() / (high - low).min()
    if not 0.003 < size < 0.06:
        return
    every = np.concatenate([rewards.hull, *(paths.reshape(-1, 2) for paths in rewards.paths.values())])
    between = (every + np.roll(every, 1, axis=0)) / 2
    seen = (np.concatenate([every, between]) - low) / (high - low)
    for corner in ((0.06, 0.56), (0.56, 0.06), (0.06, 0.06), (0.56, 0.56)):
        if not ((seen > np.subtract(corner, 0.06)) & (seen < np.add(corner, 0.44))).all(axis=1).any():
            view = axes.inset_axes((*corner, 0.38, 0.38))
            _draw_plane(view, rewards)
            centre, half = (ends.min(axis=0) + ends.max(axis=0)) / 2, 0.9 * np.ptp(ends, axis=0).max()
            view.set_xlim(centre[0] - half, centre[0] + half)
            view.set_ylim(centre[1] - half, centre[1] + half)
            view.tick_params(labelsize=7)
            view.spines[:].set_visible(True)
            _mark(view, rewards)
            axes.indicate_inset_zoom(view, edgecolor="black")
            return


def draw_field(path: Path, title: str, shown: Field) -> None:
    """A panel a rule: the field of the own gradients, and the rule's trajectories until they leave the box.

    Args:
        path: of the PNG.
        title: of the figure.
        shown: what is drawn.
    """
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    count = len(shown.paths)
    down, across = _grid(count, 4)
    figure = Figure(figsize=(max(7.5, 2.7 * across + 1.6), 2.85 * down + 1.6), layout="compressed")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    length = _length(shown.arrows)
    top = max(length.max(), 1e-30)
    greys = LinearSegmentedColormap.from_list("greys", ["0.85", "0.2"])
    arrows = [
        _draw_rule(panel, label, paths, shown, greys, LogNorm(top / 100, top))
        for panel, (label, paths) in zip(panels.flat, shown.paths.items(), strict=False)
    ]
    _hide(panels.flat, count)
    for place, panel in enumerate(list(panels.flat)[:count]):
        if place % across == 0:
            panel.set_ylabel(shown.axes[1], fontsize=9)
        if place + across >= count:
            panel.set_xlabel(shown.axes[0], fontsize=9)
            panel.tick_params(labelbottom=True)
    figure.colorbar(arrows[0], ax=panels, label="length of the own gradients", extend="min", extendfrac=0.02, aspect=35,
                    pad=0.02)  # fmt: skip
    handles = [Line2D([], [], color=c, marker="o", label=text) for c, text in zip(PALETTE, shown.starts, strict=False)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    _save(figure, path, title, shown.about)


def _draw_rule(panel: Axes, label: str, paths: np.ndarray, shown: Field, greys: Any, norm: Any) -> Any:
    """The field and one rule's trajectories; returns the arrows."""
    length = _length(shown.arrows)
    unit = np.where(length[..., None] > 0, shown.arrows / np.maximum(length, 1e-300)[..., None], 0.0)
    arrows = panel.quiver(*np.moveaxis(shown.points, -1, 0), *np.moveaxis(unit, -1, 0), length, cmap=greys, norm=norm,
                          pivot="mid", angles="xy", width=0.006, headwidth=4.5, headlength=4.5, headaxislength=4,
                          scale=21, zorder=1)  # fmt: skip
    for colour, whole in zip(PALETTE, paths, strict=False):
        seen = until_out(whole, shown.low, shown.high)
        panel.plot(*seen.T, color=colour, linewidth=1.6, zorder=3)
        panel.plot(*whole[0], **START, markeredgecolor=colour, zorder=4)
        if len(seen) == len(whole):
            panel.plot(*whole[-1], "o", color=colour, markersize=5.5, markeredgecolor="white", markeredgewidth=0.6,
                       zorder=5)  # fmt: skip
    panel.set_xlim(shown.low[0], shown.high[0])
    panel.set_ylim(shown.low[1], shown.high[1])
    panel.set_aspect("equal")
    panel.locator_params(nbins=5)
    panel.tick_params(labelsize=8)
    panel.set_title(label, loc="left", fontsize=10)
    return arrows


def until_out(path: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The points of `path` `[T, 2]` up to the first outside of the box, that one included if it is finite."""
    out = np.flatnonzero(~np.isfinite(path).all(axis=1) | ((path < low) | (path > high)).any(axis=1))
    seen = path[: out[0] + 1] if len(out) else path
    return seen[np.isfinite(seen).all(axis=1)]


def _length(arrows: np.ndarray) -> np.ndarray:
    """Lengths of `arrows` `[..., 2]`, 0 of those that are not finite."""
    length = np.linalg.norm(arrows.astype(float), axis=-1)
    return np.where(np.isfinite(length), length, 0.0)


def _grid(count: int, most: int) -> tuple[int, int]:
    """Rows and columns for `count` panels, at most `most` in a row and rows as even as can be."""
    down = -(-count // most)
    return down, -(-count // down)


def _hide(panels: Iterable[Axes], count: int) -> None:
    """All but the first `count` of `panels`."""
    for panel in list(panels)[count:]:
        panel.set_visible(False)


def _light(colour: str) -> tuple[float, float, float]:
    """A colour half way to white."""
    from matplotlib.colors import to_rgb

    red, green, blue = (0.55 * part + 0.45 for part in to_rgb(colour))
    return red, green, blue


def _save(figure: Any, path: Path, title: str, about: str) -> None:
    """Write the figure under its title and, in a second line, what it shows."""
    figure.suptitle(f"{title}\n{about}", fontsize=11, x=0.01, ha="left", linespacing=1.3)
    figure.savefig(path, dpi=DPI)
