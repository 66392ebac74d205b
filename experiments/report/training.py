"""A training run: its numbers, its curves, and its policies over training, from what it has logged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import tables
from experiments.curves import POINTS
from experiments.report.blocks import Chart, Control, Line, Metric, Section, Table, number
from experiments.report.charts import Bars, bars, curves, quantiles, spread
from experiments.report.configuration import configure
from experiments.report.evaluations import evaluation
from experiments.report.files import made, read_json, thinned
from experiments.report.logged import Logged, groups, over_seats, read
from experiments.run_directory import RunDirectory

__all__ = ["training"]

MOST_MOMENTS = 60
"""Of the slider over training."""

WORDS = {"cooperation": "co-operation", "reward_per_step": "reward per step"}


def training(path: Path) -> Section:
    """What is shown of the training run in `path`, from what it has logged.

    Raises:
        UserError: damaged files.
    """
    section, run = Section(path.resolve().name, str(path), "training run"), RunDirectory(path)
    summary = read_json(run.summary) if run.summary.is_file() else {}
    configure(section, "train", path, summary.get("command"))
    section.status = summary.get("status", "running, or killed")
    lines = list(run.read_metrics(POINTS))
    if not lines:
        section.missing.append("anything that is logged (there are no metrics)")
        return section
    section.missing += thinned(run, lines)
    matches, first = read(section.config, summary, lines), int(section.config.get("seed", 0))
    section.sentence = summary.get("sentence") or _sentence(matches)
    section.facts = _facts(section.config, matches[0], first)
    section.made = made(summary)
    section.results = _results(summary, matches[0])
    marks = {name: value for name, value in summary.get("baselines", {}).items() if not isinstance(value, dict)}
    section.metrics = _metrics(matches, first, marks)
    section.blocks = [_final(matches), curves("Learning", section.unit, section.metrics, seeds_shown=True)]
    if "first" in matches[0].statistics:
        section.blocks.append(_policies(matches, first))
    else:
        section.missing.append(f"policies over training ({section.facts['environment']} logs none after histories)")
    section.blocks += evaluation(path)
    return section


def _sentence(matches: Sequence[Logged]) -> str:
    """For runs that have not written one."""
    told = [f"{own.label}: median welfare {_median(own.whole['welfare'][-1]):.3g}" for own in reversed(matches)]
    return f"{'; '.join(told)} after {matches[0].steps[-1]} steps."


def _median(values: np.ndarray) -> float:
    """Over the seeds that did not fail; NaN without any."""
    return float(tables.quantiles(values)[tables.QUANTILES.index(0.5)])


def _facts(config: dict[str, str], match: Logged, first: int) -> dict[str, str]:
    count = match.whole["welfare"].shape[1]
    facts = {"environment": config.get("env", "?"), "players": str(len(match.names)), "learners": match.label}
    return facts | {"seeds": f"{count}, from {first} on" if count > 1 else str(first)}


def _results(summary: dict[str, Any], match: Logged) -> dict[str, str]:
    found = {"training steps": f"{match.steps[-1]:,}"}
    for name, values in match.whole.items():
        found[f"median {WORDS.get(name, name)}"] = number(_median(values[-1]))
    for words, key in {"seconds": "wall_s", "of them compiling": "compile_s"}.items():
        found |= {words: f"{summary[key]:.1f}"} if key in summary else {}
    if isinstance(faults := summary.get("faults"), list) and faults:
        found["seeds that failed"] = "; ".join(map(_fault, faults))
    return found


def _fault(fault: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in fault.items()) if isinstance(fault, dict) else str(fault)


def _metrics(matches: Sequence[Logged], seed: int, marks: dict[str, float]) -> list[Metric]:
    """Everything that is logged: of the match, of each seat, and of the learners."""
    found: list[Metric] = []

    def add(name: str, who: str, series: Sequence[np.ndarray | None]) -> None:
        lines = [
            Line(own.label, place, own.steps, values, seed)
            for place, (own, values) in enumerate(zip(matches, series, strict=True))
            if values is not None
        ]
        found.append(Metric(WORDS.get(name, name), who, lines, marks if name == "welfare" else {}))

    whole = range(len(matches[0].names))
    alike = groups(matches[0])
    for name in matches[0].whole:
        add(name, "all seats", [own.whole.get(name) for own in matches])
    for name in matches[0].seats:
        add(name, "mean over the seats", [over_seats(own.seats[name], whole) for own in matches])
        for who, seats in alike.items() if len(alike) > 1 else ():
            add(name, who, [over_seats(own.seats[name], seats) for own in matches])
    for name in dict.fromkeys(name for own in matches for name in own.learning):
        add(name, "as the learner reports", [own.learning.get(name) for own in matches])
    return found


def _final(matches: Sequence[Logged]) -> Table:
    """Quantiles over the seeds at the last logged step."""
    statistics = matches[0].statistics
    headings = ["", "reward 10 %", "reward 50 %", "reward 90 %", *statistics]
    rows = []
    for match in matches:
        for who, seats in groups(match).items():
            label = who if match is matches[0] else f"{who} (baseline)"
            reward = quantiles(over_seats(match.seats["reward_per_step"][-1:], seats))
            rates = [quantiles(over_seats(match.seats[name][-1:], seats)).middle for name in statistics]
            cells = (reward.low, reward.middle, reward.high, *rates)
            rows.append([label, *(f"{own.item():z.2f}".replace("nan", "-") for own in cells)])
    about = "Reward per step: 10 %, 50 % and 90 % quantile over the seeds."
    return Table("Final numbers", headings, rows, about + (" Others: median." if statistics else ""))


def _policies(matches: Sequence[Logged], seed: int) -> Chart:
    """What is done after each kind of history, with a slider over training."""
    rate, *kinds = matches[0].statistics
    kept, views = spread(len(matches[0].steps), MOST_MOMENTS), {}
    for choice, match in enumerate(matches):
        every = np.stack([match.seats[name] for name in kinds], axis=-2)  # [L, S, H, n]
        alike = groups(match)
        for moment, line in enumerate(kept):
            shown = [Bars(who, over_seats(every[line], seats)) for who, seats in alike.items()]
            views[f"{choice},{moment}"] = bars(kinds, shown, f"probability of {rate}", seed=seed)
    moments = [f"step {matches[0].steps[line]}" for line in kept]
    controls = [
        Control("learners", [own.label for own in matches]),
        Control("training", moments, slider=True, start=len(moments) - 1),
    ]
    about = (
        f"Probability of {rate} on the first step, and after each kind of last step: letter, own action; number, how "
        "many others acted otherwise. Bars: median over the seeds; points: every seed, from left to right."
    )
    return Chart("Policies over training", about, views, controls)
