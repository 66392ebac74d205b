"""The page of Leading the Pack: all cells in one table, its claims, and figures, from what experiments have kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.papers.leading_the_pack_published import SHAPERS

__all__ = ["MARGIN", "NAIVE", "TIT_FOR_TAT", "margins", "mode_of", "overview"]

NAIVE = "naive, same boot-strapping"
"""The control that is one more naive learner in the seats of shapers."""
TIT_FOR_TAT = "majority tit-for-tat"
MARGIN = 0.05
"""By which a shaper has to beat a control."""
MODES = ("as published", "corrected")
SIDES = ("own", "naive", "welfare")
COLOURS = {"shaper": "#0072B2", "naive": "#D55E00", "always_defect": "#999999", "published": "black"}

Cell = dict[str, Any]


def mode_of(published: bool) -> str:
    """With the deviations of the published code, or without."""
    return MODES[0] if published else MODES[1]


def margins(ends: dict[str, dict[str, Any]], mode: str) -> dict[str, float]:
    """What shapers get more than the controls to beat, medians."""
    own = {who: ends[who][mode]["own"][1] for who in ends}
    return {control: own["shaper"] - own[control] for control in ("always_defect", TIT_FOR_TAT)}


def overview(results: dict[str, dict[str, Any]], folder: Path) -> list[str]:
    """Lines of Markdown; draws figures into `folder`."""
    cells = [data for data in results.values() if "curves" in data]
    if not cells:
        return []
    lines = ["## All cells", "", HEADING, "|---|---|---|---|---|---|---|---|"]
    lines += [_line(cell) for cell in cells]
    lines += ["", NOTE, "", "## The claims of the abstract", ""]
    for claim, findings in _claims(cells):
        lines += [f"* {claim}", *(f"    * {finding}" for finding in findings)]
    lines += ["", "## Figures", ""]
    for name, caption, draw in (
        ("trials", "Reward of every seat over the inner episodes of a trial", _draw_trials),
        ("welfare", "Welfare over the number of players, and over the number of shapers", _draw_welfare),
    ):
        file = f"leading_the_pack_{name}.png"
        draw(cells, folder / file)
        lines.append(f"![{caption}]({file})")
    return lines


HEADING = (
    "| game, players, shapers | published S / N / W | as published S / N / W | corrected S / N / W "
    "| naive W | all-D S / N / W | beats all-D | beats tit-for-tat |"
)
NOTE = (
    "S, N, W: rewards per step of shapers, of naive learners, and of all, at the end of trials; medians over sets of "
    "learners, quantiles below. Naive W: with a naive learner in the seats of shapers too, with the same "
    "boot-strapping. All-D: always defecting in these seats. Pairs are as published / corrected, as is what shapers "
    "get more than all-D and than majority tit-for-tat in their seats."
)


def _line(cell: Cell) -> str:
    ends, known = cell["ends"], SHAPERS.get((cell["game"], cell["players"], cell["shapers"]))
    published = " / ".join(f"{np.mean(own):.2f}" if np.size(own) else "-" for own in known) if known else "-"
    ours = [_medians(ends["shaper"][mode]) for mode in MODES]
    naive = " / ".join(f"{ends[NAIVE][mode]['welfare'][1]:.2f}" for mode in MODES)
    defect = "; ".join(_medians(ends["always_defect"][mode]) for mode in MODES)
    verdicts = [" / ".join(_verdict(margins(ends, mode)[who]) for mode in MODES)
                for who in ("always_defect", TIT_FOR_TAT)]  # fmt: skip
    return f"| {_name(cell)} | {' | '.join([published, *ours, naive, defect, *verdicts])} |"


def _name(cell: Cell) -> str:
    return f"{cell['game']}, {cell['players']}, {cell['shapers']}"


def _medians(sides: dict[str, list[float] | None]) -> str:
    return " / ".join(f"{own[1]:.2f}" if (own := sides[side]) else "-" for side in SIDES)


def _verdict(margin: float) -> str:
    return f"{'yes' if margin > MARGIN else 'no'} ({margin:+.2f})"


def _claims(cells: list[Cell]) -> Iterator[tuple[str, list[str]]]:
    """Each claim of the abstract, and what the cells say of it, as published and corrected."""
    several = [cell for cell in cells if cell["players"] > 2]
    yield (
        "(a) Shaping extends to several co-players and several shapers.",
        [f"{mode}: shapers beat all-D and majority tit-for-tat in {_names(several, _shapes, mode)}" for mode in MODES],
    )
    games = sorted({cell["game"] for cell in cells})
    players = sorted({cell["players"] for cell in cells})
    yield (
        "(b) Four environments, 3 to 5 players.",
        [f"trained here: {len(cells)} cells of {', '.join(games)}; {players[0]} to {players[-1]} players"],
    )
    yield (
        "(c) Shaping reaches better welfare than naive learning.",
        [
            f"{mode}: more welfare than naive learners with the same boot-strapping in {_names(cells, _better, mode)}"
            for mode in MODES
        ],
    )
    yield (
        "(d) With many co-players its relative performance drops.",
        list(_trends(cells)) or ["no game was trained with the same number of shapers and several numbers of players"],
    )
    majority = [cell for cell in cells if cell["shapers"] > 1 and cell["game"] in ("stag_hunt", "tragedy")]
    yield (
        "(e) With more than one shaper, in games that need a majority of co-operators, welfare is poor.",
        [
            f"{_name(cell)}, {mode}: welfare {cell['ends']['shaper'][mode]['welfare'][1]:.2f}, naive "
            f"{cell['ends'][NAIVE][mode]['welfare'][1]:.2f}"
            for cell in majority
            for mode in MODES
        ]
        or ["no such cell was trained"],
    )


def _shapes(cell: Cell, mode: str) -> bool:
    return min(margins(cell["ends"], mode).values()) > MARGIN


def _better(cell: Cell, mode: str) -> bool:
    ends = cell["ends"]
    return ends["shaper"][mode]["welfare"][1] > ends[NAIVE][mode]["welfare"][1] + MARGIN


def _names(cells: list[Cell], holds: Any, mode: str) -> str:
    """Which cells it holds in, and in which it does not."""
    yes = [_name(cell) for cell in cells if holds(cell, mode)]
    no = [_name(cell) for cell in cells if not holds(cell, mode)]
    return f"{len(yes)} of {len(cells)} cells: {'; '.join(yes) or 'none'}" + (
        f" (not in {'; '.join(no)})" if no else ""
    )


def _trends(cells: list[Cell]) -> Iterator[str]:
    """Welfare and gain over all-D, over n, for each game and number of shapers with more than one n."""
    for game, shapers in dict.fromkeys((cell["game"], cell["shapers"]) for cell in cells):
        own = [cell for cell in cells if (cell["game"], cell["shapers"]) == (game, shapers)]
        if len(own) < 2:
            continue
        for mode in MODES:
            found = []
            for cell in sorted(own, key=lambda cell: cell["players"]):
                ends = cell["ends"]
                gain = margins(ends, mode)["always_defect"]
                more = ends["shaper"][mode]["welfare"][1] - ends[NAIVE][mode]["welfare"][1]
                found.append(f"n = {cell['players']}: {gain:+.2f} over all-D, welfare {more:+.2f} over naive")
            yield f"{game}, {shapers} shaper{'s' if shapers > 1 else ''}, {mode}: {'; '.join(found)}"


def _draw_trials(cells: list[Cell], path: Path) -> None:
    """A panel a cell: shapers and naive learners, as published solid, corrected dashed; published ends as marks."""
    from matplotlib.figure import Figure

    across = min(3, len(cells))
    down = -(-len(cells) // across)
    figure = Figure(figsize=(3.6 * across, 2.7 * down + 0.8), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)
    for panel, cell in zip(panels.flat, cells, strict=False):
        shapers = cell["shapers"]
        for mode, style in zip(MODES, ("-", (0, (3, 1))), strict=True):
            curves = np.array(cell["curves"][mode])
            share = (np.arange(len(curves)) + 0.5) / len(curves)
            for seat, curve in enumerate(curves.T):
                who = "shaper" if seat < shapers else "naive"
                label = f"{who}, {mode}" if seat in (0, shapers) else None
                panel.plot(share, curve, color=COLOURS[who], linestyle=style, linewidth=1.3, label=label)
        known = SHAPERS.get((cell["game"], cell["players"], shapers))
        for side, who in zip(known[:2] if known else (), ("shaper", "naive"), strict=False):
            panel.plot([1.02] * len(side), side, "<", color=COLOURS[who], markersize=5, clip_on=False)
        plural = "s" if shapers > 1 else ""
        panel.set_title(f"{cell['game']}, n = {cell['players']}, {shapers} shaper{plural}", loc="left", fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_xlim(0, 1.02)
    for panel in list(panels.flat)[len(cells) :]:
        panel.set_visible(False)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    figure.supxlabel("share of the inner episodes of a trial; triangles: published ends", fontsize=9)
    figure.supylabel("reward per step", fontsize=9)
    figure.savefig(path, dpi=130)


def _draw_welfare(cells: list[Cell], path: Path) -> None:
    """Welfare at the end of trials, as a share of the best: over n at one number of shapers, and over that at one n."""
    from matplotlib.figure import Figure

    series = [*_series(cells, "shapers", "players"), *_series(cells, "players", "shapers")]
    if not series:
        series = [(_name(cells[0]), "players", cells[:1])]
    across = min(3, len(series))
    down = -(-len(series) // across)
    figure = Figure(figsize=(3.6 * across, 2.9 * down + 0.8), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)
    for panel, (title, over, own) in zip(panels.flat, series, strict=False):
        places = [cell[over] for cell in own]
        for who, colour in (("shaper", "shaper"), (NAIVE, "naive"), ("always_defect", "always_defect")):
            for mode, style in zip(MODES, ("-", (0, (3, 1))), strict=True):
                low, middle, high = np.array([cell["ends"][who][mode]["welfare"] for cell in own]).T
                panel.errorbar(places, middle, (middle - low, high - middle), color=COLOURS[colour], linestyle=style,
                               marker="o", markersize=4, capsize=3, linewidth=1.3, label=f"{who}, {mode}")  # fmt: skip
        known = [SHAPERS.get((cell["game"], cell["players"], cell["shapers"])) for cell in own]
        seen = [(place, found[2]) for place, found in zip(places, known, strict=True) if found]
        panel.plot(*zip(*seen, strict=True), "x", color="black", label="shaper, published") if seen else None
        panel.set_title(title, loc="left", fontsize=9)
        panel.set_xticks(places)
        panel.set_xlabel(f"number of {over}", fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in list(panels.flat)[len(series) :]:
        panel.set_visible(False)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    figure.supylabel("welfare, reward per step; bars: 10 %, 90 %", fontsize=9)
    figure.savefig(path, dpi=130)


def _series(cells: list[Cell], fixed: str, over: str) -> Iterator[tuple[str, str, list[Cell]]]:
    """Title, what varies, and the cells, of every game and value of `fixed` with several cells."""
    for game, value in dict.fromkeys((cell["game"], cell[fixed]) for cell in cells):
        own = [cell for cell in cells if (cell["game"], cell[fixed]) == (game, value)]
        if len(own) > 1:
            noun = fixed if value != 1 else fixed.rstrip("s")
            yield f"{game}, {value} {noun}", over, sorted(own, key=lambda cell: cell[over])
