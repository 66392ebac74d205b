"""Cross-plays and leagues: who earns what with whom, and whom to deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments.report.blocks import Chart, Control, Section, Table, number
from experiments.report.charts import Bars, bars, heat_height, heat_map
from experiments.report.configuration import configure, safe_command, safe_flags
from experiments.report.files import made, read_json

__all__ = ["crossplay", "league"]

MOST_PAIRS = 60_000
"""Of seeds, in heat maps of single pairs of entries."""

SHOWN = {
    "mean": "mean",
    "q50": "median",
    "q05": "5 % quantile",
    "q95": "95 % quantile",
    "column_mean": "mean reward of the column",
    "cooperation": "co-operation of the row",
}
AXES = ("row: in seat 0", "column: in all other seats")


def crossplay(path: Path) -> Section:
    """What is shown of the cross-play in `path`.

    Raises:
        UserError: a damaged file.
    """
    data = read_json(path / "crossplay.json")
    section = Section(path.resolve().name, str(path), "cross-play", "finished", data.get("summary", ""))
    section.config = safe_flags({f"env.{name}": value for name, value in data["env_parameters"].items()})
    section.command = safe_command(data.get("command", ""))
    labels = [entry["label"] for entry in data["entries"]]
    section.facts = {"environment": str(data["env"]), "players": str(data["players"]), "entries": str(len(labels))}
    section.facts["measured"], section.made = str(data["measured"]), made(data)
    section.blocks.append(_entries(data["entries"]))
    cells = {(pair["row"], pair["column"]): pair for pair in data["pairs"]}
    views, options = {}, []
    for name, words in SHOWN.items():
        values = np.array([[cells[row, column][name] for column in labels] for row in labels], float)
        if np.isfinite(values).any():
            hover = [[_told(cells[row, column]) for column in labels] for row in labels]
            views[str(len(options))] = heat_map(values, labels, labels, AXES, hover)
            options.append(words)
    about = "Reward per step, over all pairs of seeds of the two entries."
    section.blocks.append(
        Chart("Everyone against everyone", about, views, [Control("shown", options)], heat_height(len(labels)))
    )
    if sum(pair["pairs"] for pair in data["pairs"]) > MOST_PAIRS:
        section.missing.append(f"single seeds against each other (more than {MOST_PAIRS:,} pairs)")
    else:
        section.blocks += _seeds(data["entries"], labels, cells)
    return section


def _entries(entries: list[dict[str, Any]]) -> Table:
    rows = []
    for entry in entries:
        where = safe_flags({"run": entry["run"]})["run"] + f", seat {entry['seat']}" if "run" in entry else "a learner"
        how = "trained in place" if entry["trained_in_place"] else f"{entry.get('steps', '-')} training steps"
        rows.append([entry["label"], where, how if "run" in entry or entry["trained_in_place"] else "fixed strategy",
                     str(len(entry["seeds"]))])  # fmt: skip
    return Table("Entries", ["", "from", "trained", "seeds"], rows, texts=3)


def _told(pair: dict[str, Any]) -> str:
    return f"95 % interval of the mean {number(pair['ci_low'])} to {number(pair['ci_high'])}, pairs: {pair['pairs']}"


def _seeds(entries: list[dict[str, Any]], labels: list[str], cells: dict[tuple[str, str], Any]) -> list[Chart]:
    """Training seed against training seed, for every pair of entries; nothing where each has one seed."""
    if all(len(entry["seeds"]) == 1 for entry in entries):
        return []
    views = {}
    for i, row in enumerate(entries):
        for j, column in enumerate(entries):
            values = np.array(cells[row["label"], column["label"]]["reward_per_step"], float)[..., 0]
            names = [[str(seed) for seed in entry["seeds"]] for entry in (row, column)]
            axes = f"seed of {row['label']}", f"seed of {column['label']}"
            views[f"{i},{j}"] = heat_map(values, names[0], names[1], axes)
    most = max(len(entry["seeds"]) for entry in entries)
    about = "Reward per step of the row in every pair of seeds. Pairs that learned together are on the diagonal."
    return [
        Chart("Seed against seed", about, views, [Control("row", labels), Control("column", labels)], heat_height(most))
    ]


def league(path: Path) -> Section:
    """What is shown of the league in `path`.

    Raises:
        UserError: damaged files.
    """
    file, played = path / "league.json", len(list((path / "matches").glob("*.json")))
    data = read_json(file) if file.is_file() else {}
    section = Section(
        path.resolve().name, str(path), "league of learners", "finished" if data else "running, or killed"
    )
    configure(section, "league", path, data.get("command"))
    config = section.config
    section.facts = {"environment": config.get("env", "?")}
    section.results = {"profiles played": str(played)}
    section.facts |= {
        name: config[name] for name in ("seeds", "steps", "solver", "payoff", "matchmaking") if name in config
    }
    if not data:
        section.missing.append(f"ratings and solutions (there is no {file.name} yet)")
        return section
    section.sentence = data.get("sentence") or f"{data['cyclic_share']:.0%} of the differences in reward are cyclic."
    section.blocks.append(_ratings(data))
    if "matrix" in data:
        section.blocks += [_payoffs(data), _deployed(data)]
    else:
        section.missing.append("the game between entrants (Swiss rounds play some of the pairs only)")
    return section


def _ratings(data: dict[str, Any]) -> Table:
    """The best first."""
    rows = []
    for place in np.argsort(-np.array(data["bradley_terry"], float), kind="stable").tolist():
        low, high = data["interval"][place]
        cells = [data["entrants"][place], f"{data['bradley_terry'][place]:.0f}", f"{low:.0f} to {high:.0f}"]
        rows.append([*cells, f"{data['elo'][place]:.0f}"])
    about = f"{data['cyclic_share']:.0%} of the differences in reward are cyclic: no ratings explain them."
    return Table("Ratings", ["", "Bradley-Terry", "95 % interval", "Elo"], rows, about)


def _payoffs(data: dict[str, Any]) -> Chart:
    """What each entrant earns in a seat while all others are another."""
    mean, error, names = np.array(data["matrix"], float), np.array(data["standard_error"], float), data["entrants"]
    count, players = len(names), len(mean)
    views = {}
    for player in range(players):
        index = np.indices((count, count))
        place = tuple(index[0] if seat == player else index[1] for seat in range(players))
        told = [[f"standard error {number(value)}" for value in row] for row in error[player][place]]
        axes = f"row: in seat {player}", "column: in all other seats"
        views[str(player)] = heat_map(mean[player][place], names, names, axes, told)
    control = Control("reward of", [f"seat {player}" for player in range(players)])
    about = f"Reward per step of the row, mean over the seeds ({data['payoff']})."
    return Chart("The game between learners", about, views, [control], heat_height(count))


def _deployed(data: dict[str, Any]) -> Chart:
    """How much of each entrant is in the solution, and in what others make of the game."""
    solved = data["solution"]
    groups = [Bars(f"{solved['solver']}, player {player}", np.array([own], float))
              for player, own in enumerate(solved["profile"])]  # fmt: skip
    ranks = np.array(data["alpha_rank"], float)
    groups.append(Bars("alpha-rank", (ranks.mean(axis=0) if ranks.ndim == 2 else ranks)[None]))
    if "nash_averaging" in data:
        groups.append(Bars("Nash averaging", np.array([data["nash_averaging"]], float)))
    view = bars(data["entrants"], groups, "share")
    about = f"Shares of the entrants in the solution ({solved['message']}), and in two rankings."
    return Chart("Whom to deploy", about, {"": view}, height=340)
