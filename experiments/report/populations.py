"""A run of psro: the game between populations, mixtures, and mean against risk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments import checkpoint
from experiments.config import UserError
from experiments.curves import POINTS
from experiments.psro_pictures import means, risks
from experiments.report.blocks import Chart, Control, Line, Metric, Section, Table, number
from experiments.report.charts import Bars, bars, curves, escaped, heat_height, heat_map, rounded, spread
from experiments.report.configuration import configure
from experiments.report.files import made, read_json, thinned
from experiments.run_directory import RunDirectory

__all__ = ["populations"]

MOST_SEEDS, MOST_MOMENTS = 16, 60
"""Of which games are shown, and of the slider over iterations."""

WORDS = {
    "gain": "gain of the responses",
    "gap": "gain by the new policies (gap)",
    "nash_conv": "NashConv",
    "value": "value of the mixtures",
    "variance": "variance that the others cause",
    "sizes": "policies",
    "episodes": "episodes played",
    "regret": "regret of the solver",
}


def populations(path: Path) -> Section:
    """What is shown of the psro run in `path`.

    Raises:
        UserError: damaged files.
    """
    section, run = Section(path.resolve().name, str(path), "populations (psro)", unit="iteration"), RunDirectory(path)
    summary = read_json(run.summary) if run.summary.is_file() else {}
    configure(section, "psro", path, summary.get("command"))
    section.status, section.sentence = summary.get("status", "running, or killed"), summary.get("sentence", "")
    config, first = section.config, int(section.config.get("seed", 0))
    game = next((config[key] for key in ("env", "game", "payoffs") if key in config), "?")
    section.facts = {"game": game} | {key: config[key] for key in ("oracle", "measure", "solver") if key in config}
    section.made = made(summary)
    lines = list(run.read_metrics(POINTS))
    section.missing += thinned(run, lines)
    if lines:
        section.facts |= {"seeds": str(len(lines[-1]["gap"]))}
        section.results, section.metrics = _results(lines[-1], summary), _metrics(lines, first)
        section.blocks += [_final(lines[-1]), curves("Growth", section.unit, section.metrics, seeds_shown=True)]
    else:
        section.missing.append("curves (there are no metrics)")
    try:
        arrays = checkpoint.read_latest(run.checkpoints)
        known = [line for line in lines if "profile" in line]
        known = known or [{"step": int(arrays[".iteration"]), "profile": arrays[".profile"].tolist()}]
        section.blocks += [_game(arrays, first), _mixtures(known, first), _risk(arrays, first)]
    except (UserError, KeyError) as error:
        section.missing.append(f"the game between populations ({error})")
    return section


def _results(line: dict[str, Any], summary: dict[str, Any]) -> dict[str, str]:
    found = {"iterations": str(line["step"])}
    for key, words in {"gap": "median gap", "nash_conv": "median NashConv"}.items():
        values = np.array(line[key], float)
        found |= {words: number(float(np.nanmedian(values)))} if np.isfinite(values).any() else {}
    return found | ({"seconds": f"{summary['wall_s']:.1f}"} if "wall_s" in summary else {})


def _metrics(lines: list[dict[str, Any]], seed: int) -> list[Metric]:
    """Of every player where there are several; without what is nowhere known."""
    steps, found = np.array([line["step"] for line in lines]), []
    for name, words in ((name, words) for name, words in WORDS.items() if name in lines[0]):
        values = np.array([line[name] for line in lines], float)
        if not np.isfinite(values).any():
            continue
        series = {"all players": values} if values.ndim == 2 else {
            f"player {player}": values[..., player] for player in range(values.shape[2])
        }  # fmt: skip
        found += [Metric(words, who, [Line("populations", 0, steps, own, seed)]) for who, own in series.items()]
    return found


def _final(line: dict[str, Any]) -> Table:
    """Medians over the seeds."""
    sizes, value, variance = (np.median(np.array(line[name], float), axis=0) for name in ("sizes", "value", "variance"))
    rows = [
        [f"player {player}", number(sizes[player]), number(value[player]), number(float(np.sqrt(variance[player])))]
        for player in range(len(value))
    ]
    headings = ["", "policies", "value of the mixtures", "standard deviation by the others"]
    return Table("Final numbers", headings, rows, "Medians over the seeds.")


def _controls(arrays: dict[str, np.ndarray], first: int) -> list[Control]:
    """Which seed, and which player."""
    seeds, players, _ = arrays[".profile"].shape
    return [
        Control("seed", [str(first + seed) for seed in range(min(seeds, MOST_SEEDS))]),
        Control("return of", [f"player {player}" for player in range(players)]),
    ]


def _game(arrays: dict[str, np.ndarray], first: int) -> Chart:
    """What every policy of a player earns against every one of the next."""
    mean, profile, sizes = (arrays[name] for name in (".games.mean", ".profile", ".games.sizes"))
    seed_control, player_control = _controls(arrays, first)
    players, views = len(player_control.options), {}
    for seed in range(len(seed_control.options)):
        for player in range(players):
            both = player, (player + 1) % players
            names = [[str(k) for k in range(sizes[seed, own])] for own in both]
            axes = f"policy of player {both[0]}", f"policy of player {both[1]}"
            table = means(mean[seed], profile[seed], sizes[seed], player)
            views[f"{seed},{player}"] = heat_map(table, names[0], names[1], axes)
    about = "Mean return of every pair of policies" + ("; all others play their mixtures." if players > 2 else ".")
    height = heat_height(int(sizes.max()))
    return Chart("The game between populations", about, views, [seed_control, player_control], height)


def _mixtures(lines: list[dict[str, Any]], first: int) -> Chart:
    """How likely each policy is in the solution, with a slider over iterations."""
    kept, views = spread(len(lines), MOST_MOMENTS), {}
    seeds, count = min(len(lines[-1]["profile"]), MOST_SEEDS), len(lines[-1]["profile"][0][0])
    names = [str(k) for k in range(count)]
    for seed in range(seeds):
        for moment, line in enumerate(kept):
            shares = [np.array(own, float)[:count] for own in lines[line]["profile"][seed]]
            groups = [
                Bars(f"player {player}", np.pad(own, (0, count - len(own)))[None]) for player, own in enumerate(shares)
            ]
            views[f"{seed},{moment}"] = bars(names, groups, "share of the mixture")
    moments = [f"iteration {lines[line]['step']}" for line in kept]
    controls = [
        Control("seed", [str(first + seed) for seed in range(seeds)]),
        Control("iteration", moments, slider=True, start=len(moments) - 1),
    ]
    about = "How likely each policy is in the solution; policies in the order in which they were found."
    return Chart("Mixtures", about, views, controls, height=320)


def _risk(arrays: dict[str, np.ndarray], first: int) -> Chart:
    """Mean and standard deviation of every policy against the others' mixtures."""
    mean, profile, sizes = (arrays[name] for name in (".games.mean", ".profile", ".games.sizes"))
    controls = _controls(arrays, first)
    views = {
        f"{seed},{player}": _plane(*risks(mean[seed], profile[seed], sizes[seed], player), profile[seed, player])
        for seed in range(len(controls[0].options))
        for player in range(len(controls[1].options))
    }
    about = (
        "Return of every policy against the others' mixtures, and the standard deviation that these cause; size: share "
        "of the own mixture, which is the star."
    )
    return Chart("Mean against risk", about, views, controls)


def _plane(mean: np.ndarray, deviation: np.ndarray, mixture: np.ndarray) -> dict[str, Any]:
    """Policies, and as the last point the mixture, by standard deviation and mean."""
    own = mixture[: len(mean) - 1]
    sizes = (9 + 22 * np.sqrt(own)).tolist()
    told = [f"policy {k}, {share:.1%} of the mixture" for k, share in enumerate(own)] + ["mixture"]
    marker = {"color": ["--series-0"] * len(own) + ["--series-1"], "opacity": 0.8, "size": [*sizes, 16],
              "symbol": ["circle"] * len(own) + ["star"]}  # fmt: skip
    trace = {"type": "scatter", "mode": "markers", "x": rounded(deviation), "y": rounded(mean), "marker": marker,
             "text": list(map(escaped, told)), "cliponaxis": False,
             "hovertemplate": "%{text}<br>mean %{y:.4g}, standard deviation %{x:.4g}<extra></extra>"}  # fmt: skip
    axes = {"xaxis": {"title": {"text": "standard deviation that the others cause"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": "mean return"}}, "showlegend": False}  # fmt: skip
    return {"data": [trace], "layout": axes}
