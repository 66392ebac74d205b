"""Leading the Pack: n-player opponent shaping, as published and corrected (arXiv 2312.12564)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import envs
import shaping
from envs import Environment
from experiments.evaluate import trials
from experiments.papers.training import CONFIGS, trained
from experiments.reproduce import Experiment, Row, at_least, sampled, shown
from experiments.trained import Trained
from shaping import Learner, Match
from shaping.evolution import Evolution

__all__ = ["SCALES", "experiments", "naive_learner"]

SCALES = ("smoke", "cpu", "full")
GAMES = {"ipd": "ipd", "snowdrift": "sd", "stag_hunt": "sh", "tragedy": "tc"}
PLAYERS = (3, 4, 5)
ENVIRONMENTS = 2
SETS = {"smoke": 2, "cpu": 8, "full": 16}
"""Sets of naive learners, each with its own seed, behind a number of the learner-only checks."""
EPISODES = {"smoke": 20, "cpu": 1000, "full": 1000}
END = 0.02  # share of a trial, its last, over which end values are means
FLOOR = 0.04  # of tolerances, beside four standard errors: what is read off published figures is ± 0.03

INTRODUCTION = """# Leading the Pack: published and measured

`python run.py reproduce leading_the_pack` computes every number on this page. Rewards are per step. "As published" has
the deviations of the authors' public code, which are switches of the learner `pax_ppo_gru`: with one shaper, the
co-players' experience holds the *next* observation (B1); with several, the *previous* reward (B2); the naive baseline
alone takes every inner episode of 100 steps for the end of the game (B3); a counter of 8 bits ends it in episodes 232,
488, 744 and 1000 (B4). "Corrected" has none of them.
"""


def naive_learner(published: bool = False, shapers: int = 1, **fields: Any) -> Learner:
    """A co-player as published among `shapers`, or corrected; without any shaper the naive baseline, which ends."""
    switches: dict[str, Any] = {}
    if published:
        switches = {
            "obs_in_buffer": "next" if shapers == 1 else "current",
            "reward_in_buffer": "previous" if shapers > 1 else "current",
            "episode_terminal": shapers == 0,
            "outer_counter_wrap": shapers > 0,
        }
    return shaping.make("pax_ppo_gru", environments=ENVIRONMENTS, **(switches | fields))


CONTROLS: dict[str, tuple[str, dict[str, Any]]] = {
    "uniform": ("uniform", {}),
    "always_defect": ("always_defect", {}),
    "tit_for_tat": ("tit_for_tat", {}),
    "half_tit_for_tat": ("tit_for_tat", {"variant": "half"}),
}
"""Who sits in seat 0 of a check, among naive learners."""

PUBLISHED: dict[tuple[str, str, int], tuple[float, float]] = {
    ("uniform", "ipd", 3): (0.83, 2.08),
    ("uniform", "snowdrift", 3): (1.6, 1.9),
    ("uniform", "stag_hunt", 3): (0.3, 0.6),
    ("uniform", "tragedy", 3): (0.7, 0.9),
    ("naive", "ipd", 4): (2.38, 2.38),
    ("naive", "ipd", 5): (3.6, 3.6),
    ("naive", "snowdrift", 3): (1.84, 1.84),
    ("naive", "snowdrift", 4): (2.75, 2.75),
    ("naive", "snowdrift", 5): (3.76, 3.76),
    ("naive", "stag_hunt", 3): (0.09, 0.09),
    ("naive", "stag_hunt", 4): (0.0, 0.0),
    ("naive", "stag_hunt", 5): (0.0, 0.0),
    ("naive", "tragedy", 3): (0.69, 0.69),
    ("naive", "tragedy", 4): (0.0, 0.0),
    ("naive", "tragedy", 5): (0.0, 0.0),
}
"""Of the authors' figures: seat 0 and the mean of the naive learners."""

REFERENCE: dict[tuple[str, str, int, bool], tuple[float, float]] = {
    ("uniform", "ipd", 3, True): (0.804, 2.07),
    ("uniform", "ipd", 3, False): (0.733, 2.06),
    ("uniform", "snowdrift", 3, True): (1.602, 1.90),
    ("uniform", "snowdrift", 3, False): (1.567, 1.885),
    ("uniform", "stag_hunt", 3, True): (0.232, 0.55),
    ("uniform", "stag_hunt", 3, False): (-0.961, 0.15),
    ("uniform", "tragedy", 3, True): (0.601, 0.84),
    ("uniform", "tragedy", 3, False): (-0.063, 0.575),
    ("always_defect", "stag_hunt", 3, True): (0.07, -0.32),
    ("always_defect", "stag_hunt", 3, False): (0.0, 0.0),
    ("always_defect", "stag_hunt", 4, True): (0.30, -0.28),
    ("always_defect", "stag_hunt", 4, False): (0.0, 0.0),
    ("always_defect", "tragedy", 3, False): (0.0, 0.0),
    ("always_defect", "tragedy", 5, True): (0.04, -0.36),
    ("always_defect", "tragedy", 5, False): (0.0, 0.0),
    ("always_defect", "snowdrift", 3, False): (3.0, 2.0),
    ("tit_for_tat", "ipd", 3, True): (2.10, 3.145),
    ("tit_for_tat", "ipd", 4, True): (3.25, 3.19),
    ("tit_for_tat", "ipd", 4, False): (3.31, 3.265),
    ("half_tit_for_tat", "ipd", 5, True): (1.0, 1.03),
    ("half_tit_for_tat", "ipd", 5, False): (1.0, 1.02),
    ("naive", "ipd", 3, True): (1.27, 1.27),
    ("naive", "ipd", 4, True): (2.67, 2.67),
    ("naive", "ipd", 5, True): (3.73, 3.73),
    ("naive", "snowdrift", 3, True): (1.91, 1.91),
    ("naive", "snowdrift", 4, True): (2.81, 2.81),
    ("naive", "snowdrift", 5, True): (3.80, 3.80),
    ("naive", "stag_hunt", 3, True): (0.17, 0.17),
    ("naive", "tragedy", 3, True): (0.35, 0.35),
    ("naive", "tragedy", 5, True): (0.0, 0.0),
    ("naive", "ipd", 3, False): (1.0, 1.0),
    ("naive", "ipd", 4, False): (1.0, 1.0),
    ("naive", "ipd", 5, False): (1.0, 1.0),
    ("naive", "snowdrift", 3, False): (2.32, 2.32),
    ("naive", "snowdrift", 4, False): (2.31, 2.31),
    ("naive", "stag_hunt", 4, False): (0.0, 0.0),
    ("naive", "stag_hunt", 5, False): (0.0, 0.0),
    ("naive", "tragedy", 3, False): (1.52, 1.52),
    ("naive", "tragedy", 4, False): (0.0, 0.0),
}
"""Of an independent simulation of the same setting with 10 sets of learners: as published (True) or corrected."""


def _trials(env: Environment, learners: Sequence[Learner], episodes: int, seeds: Sequence[int]) -> np.ndarray:
    """As of `trials`, of M episodes in two environments each."""
    return trials(Match.of(env, learners, batch=ENVIRONMENTS, episodes=episodes), seeds)


def _check(check: str, game: str, scale: str) -> list[Row]:
    """The rows of one check of the learners alone, in one game."""
    rows = []
    for players in PLAYERS:
        for published in (True, False):
            rows += list(_compared(check, game, players, published, scale))
    return rows


def _compared(check: str, game: str, players: int, published: bool, scale: str) -> Iterator[Row]:
    env, naive, episodes = envs.make(game, players=players), check == "naive", EPISODES[scale]
    if naive:
        learners = [naive_learner(published, 0)] * players
        episodes *= 2 if published else 1
    else:
        name, fields = CONTROLS[check]
        learners = [shaping.make(name, **fields)] + [naive_learner(published)] * (players - 1)
    rewards = _trials(env, learners, episodes, range(SETS[scale]))
    span = rewards if check == "uniform" else rewards[:, -max(1, int(END * episodes)) :]
    seats = span.mean(axis=1)
    values = {"everybody": seats.mean(1)} if naive else {check: seats[:, 0], "naive": seats[:, 1:].mean(1)}
    mode = "as published" if published else "corrected"
    for place, (who, samples) in enumerate(values.items()):
        what = f"{GAMES[game]}, {players} players, {mode}: {who}"
        known = REFERENCE.get((check, game, players, published))
        seen = PUBLISHED.get((check, game, players)) if published else None
        if scale == "smoke" or not (known or seen):
            yield shown(what, samples.mean(), seen[place] if seen else None)
            continue
        if seen:
            row = sampled(f"{what} (figure)", seen[place], samples, FLOOR + (0.06 if check == "uniform" else 0.0))
            yield row
        if known:
            yield sampled(f"{what} (simulation)", known[place], samples, FLOOR)


PUBLISHED_SHAPERS: dict[tuple[str, int, int], tuple[tuple[float, ...], tuple[float, ...], float]] = {
    ("ipd", 3, 1): ((4.86,), (2.24, 2.24), 3.11),
    ("ipd", 3, 2): ((2.96, 3.23), (0.24,), 2.14),
    ("ipd", 4, 1): ((3.56,), (3.78, 3.64, 4.09), 3.77),
    ("ipd", 4, 2): ((5.12, 5.20), (3.15, 3.15), 4.16),
    ("ipd", 5, 1): ((4.62,), (4.69, 4.80, 4.80, 4.74), 4.73),
    ("ipd", 5, 2): ((7.34, 6.80), (4.35, 4.36, 4.36), 5.44),
    ("snowdrift", 3, 1): ((2.99,), (2.19, 1.79), 2.33),
    ("snowdrift", 3, 2): ((3.0, 3.0), (1.0,), 2.33),
    ("snowdrift", 4, 1): ((2.85,), (1.90, 2.25, 2.27), 2.32),
    ("snowdrift", 4, 2): ((3.99, 3.99), (2.80, 2.19), 3.24),
    ("snowdrift", 4, 3): ((4.0, 4.0, 4.0), (1.0,), 3.25),
    ("snowdrift", 5, 1): ((3.51,), (2.78, 2.81, 2.81, 2.83), 2.95),
    ("snowdrift", 5, 2): ((3.33, 3.33), (2.32, 2.49, 2.50), 2.80),
    ("stag_hunt", 3, 1): ((3.92,), (1.04, 1.06), 2.01),
    ("stag_hunt", 3, 2): ((4.0, 1.0), (1.0,), 2.0),
    ("stag_hunt", 4, 1): ((0.31,), (-0.28, -0.28, -0.28), -0.13),
    ("stag_hunt", 4, 2): ((0.0, 0.0), (0.0, 0.0), 0.0),
    ("stag_hunt", 4, 3): ((0.0, 0.0, 0.0), (0.0,), 0.0),
    ("stag_hunt", 5, 1): ((0.03,), (-0.36,) * 4, -0.28),
    ("stag_hunt", 5, 2): ((0.0,) * 2, (0.0,) * 3, 0.0),
    ("stag_hunt", 5, 3): ((0.0,) * 3, (0.0,) * 2, 0.0),
    ("stag_hunt", 5, 4): ((0.0,) * 4, (0.0,), 0.0),
    ("tragedy", 3, 1): ((4.98,), (1.99, 1.99), 2.99),
    ("tragedy", 3, 2): ((5.0, 2.0), (2.0,), 3.0),
    ("tragedy", 4, 1): ((0.01,), (-0.36,) * 3, -0.27),
    ("tragedy", 4, 2): ((0.0,) * 2, (0.0,) * 2, 0.0),
    ("tragedy", 4, 3): ((0.0,) * 3, (0.0,), 0.0),
    ("tragedy", 5, 2): ((0.0,) * 2, (0.0,) * 3, 0.0),
    ("tragedy", 5, 3): ((0.0,) * 3, (0.0,) * 2, 0.0),
    ("tragedy", 5, 4): ((0.0,) * 4, (0.0,), 0.0),
}
"""Of the authors' figures, at the end of a trial: each shaper, each naive learner, and welfare."""

SEATED = {
    "always_defect": "always_defect",
    "always_cooperate": "always_cooperate",
    "uniform": "uniform",
    "majority tit-for-tat": "tit_for_tat",
}
"""Controls that sit where shapers do."""

CELLS: dict[str, dict[tuple[str, int, int], int | None]] = {
    "smoke": {("ipd", 3, 1): None, ("tragedy", 3, 2): None},
    "cpu": {
        ("ipd", 3, 1): 1000,
        ("ipd", 3, 2): 400,
        ("tragedy", 3, 1): 300,
        ("stag_hunt", 3, 1): 300,
        ("snowdrift", 3, 1): 100,
        ("ipd", 4, 2): 300,
        ("ipd", 5, 2): 200,
    },
    "full": {(game, n, s): None for game in GAMES for n in PLAYERS for s in range(1, n + 1)},
}
"""Games, players and shapers that are trained at each effort, and for how many generations if not as configured."""


def cell(game: str, players: int, shapers: int, scale: str, directory: Path) -> list[Row]:
    """Shapers, trained as published and corrected, and controls in their seats, among naive learners."""
    rows: list[Row] = []
    known = PUBLISHED_SHAPERS.get((game, players, shapers))
    ends: dict[tuple[str, bool], np.ndarray] = {}
    for published in (True, False):
        mode = "as published" if published else "corrected"
        steps = CELLS[scale][game, players, shapers]
        run = trained(_configs(game, players, shapers, scale, published), directory / mode.replace(" ", "-"), steps)
        for plays in ("mean", "best"):
            seats = [_playing(run, seat, plays) for seat in range(shapers)]
            together = [[own.replace(choice=np.int32(seed)) for own in seats] for seed in range(run.run.seeds)]
            ends["shaper" if plays == "mean" else "best sample", published] = _end(
                game, players, together, published, scale, directory / f"{mode.replace(' ', '-')}-{plays}.npz"
            )
        controls = {name: shaping.make(learner) for name, learner in SEATED.items()}
        controls["naive, same boot-strapping"] = naive_learner(published, shapers)
        for name, learner in controls.items():
            ends[name, published] = _end(game, players, [[learner] * shapers], published, scale)
    for who in dict.fromkeys(who for who, _ in ends):
        both = [ends.get((who, published)) for published in (True, False)]
        rows += _rows(who, both, shapers, known if who == "shaper" else None)
    return rows + _verdicts(game, players, shapers, ends, scale)


def _configs(game: str, players: int, shapers: int, scale: str, published: bool) -> list[Path]:
    names = [f"{GAMES[game]}{players}_{shapers}"]
    names += [f"as_published_{'one' if shapers == 1 else 'several'}"] if published else []
    names += [scale] if scale != "full" else []
    return [CONFIGS / "leading_the_pack" / f"{name}.yaml" for name in names]


def _playing(run: Trained, seat: int, plays: str) -> Any:
    """The shaper of `seat` as it learned in every seed, its mean or the best sample of its last generation."""
    learners = tuple(
        learner.replace(plays=plays) if isinstance(learner, Evolution) else learner for learner in run.match.learners
    )
    return replace(run, match=run.match.replace(learners=learners)).learner(seat)


def _end(
    game: str, players: int, sides: Sequence[Sequence[Learner]], published: bool, scale: str, file: Path | None = None
) -> np.ndarray:
    """Rewards per step `[S, n]` at the end of trials of full length; `file` takes the whole curves.

    Each of the `sides` is who sits in the first seats: shapers that were trained together stay together.
    """
    episodes, env, found = EPISODES[scale], envs.make(game, players=players), []
    share = max(1, SETS[scale] // len(sides))
    for number, own in enumerate(sides):
        learners = [*own, *[naive_learner(published, len(own))] * (players - len(own))]
        found.append(_trials(env, learners, episodes, range(number * share, (number + 1) * share)))
    rewards = np.concatenate(found)
    if file:
        np.savez_compressed(file, rewards=rewards.astype(np.float32))
    return rewards[:, -max(1, int(END * episodes)) :].mean(axis=1)


def _rows(
    who: str,
    both: Sequence[np.ndarray | None],
    shapers: int,
    known: tuple[tuple[float, ...], tuple[float, ...], float] | None,
) -> list[Row]:
    """Seats of one side, the other's, and welfare, as published / corrected: medians and quantiles over sets."""
    sides: dict[str, Any] = {"own seats": np.s_[:, :shapers], "naive": np.s_[:, shapers:], "welfare": np.s_[:]}
    found = []
    for place, (side, seats) in enumerate(sides.items()):
        texts = [_quantiles(end[seats]) if end is not None and end[seats].size else "-" for end in both]
        published = float(np.mean(known[place])) if known and np.size(known[place]) else None
        found.append(shown(f"{who}: {side}", " / ".join(texts), published))
    return found


def _quantiles(seats: np.ndarray) -> str:
    low, middle, high = np.quantile(seats.mean(axis=1), (0.1, 0.5, 0.9))
    return f"{middle:.2f} ({low:.2f}, {high:.2f})"


def _verdicts(game: str, players: int, shapers: int, ends: dict[tuple[str, bool], np.ndarray], scale: str) -> list[Row]:
    """Whether the shapers beat always defecting and majority tit-for-tat, and what their rivals are left."""
    rows = []
    for published in (True, False):
        mode = "as published" if published else "corrected"
        gain = {who: end[:, :shapers].mean() for (who, how), end in ends.items() if how == published}
        for control in ("always_defect", "majority tit-for-tat"):
            margin = gain["shaper"] - gain[control]
            word = "beats" if margin > 0.05 else "is no better than"
            rows.append(shown(f"{mode}: {word} {control}", f"{margin:+.2f}"))
    if (game, players, shapers) == ("ipd", 3, 1) and scale != "smoke":
        end = ends["shaper", True]
        rows.append(at_least("as published: the shaper really shapes", 4.86, float(np.median(end[:, 0])), 4.5))
        rows.append(at_least("as published: naive learners", 2.24, float(np.median(end[:, 1:].mean(axis=1))), 2.0))
    return rows


TITLES = {
    "uniform": ("Generation 0: uniform play among naive learners", "Means over whole trials"),
    "always_defect": ("The control that always defects", "Means over the last 2 % of trials"),
    "tit_for_tat": (
        "The control of majority tit-for-tat",
        "It defects if more than half of the others did. Means over the last 2 % of trials",
    ),
    "half_tit_for_tat": (
        "Tit-for-tat with a threshold one lower",
        "It defects if at least half of the others did. Means over the last 2 % of trials",
    ),
    "naive": (
        "Naive learners alone",
        "As published, every episode ends the game and there are twice as many. Means over the last 2 %",
    ),
}


def experiments(scale: str) -> list[Experiment]:
    """All of them, at the effort of `scale`."""
    found = []
    for check, (title, setting) in TITLES.items():
        for game in ("ipd",) if check == "half_tit_for_tat" else GAMES:
            text = (
                f"{setting} of {EPISODES[scale]} inner episodes of 100 steps, two environments; {SETS[scale]} sets of"
                " learners. Tolerance 0.04 and four standard errors. References: the authors' public figures (figure),"
                " or an independent simulation (simulation)."
            )
            run = partial(_check, check, game, scale)
            found.append(Experiment(f"{check}_{game}", f"{title}: {game}", text, SETS[scale], run))
    for (game, players, shapers), steps in CELLS[scale].items():
        budget = {
            "smoke": "2 generations of 2 candidates",
            "cpu": f"2 seeds, {steps} generations of 64, trials of 50 episodes against one set of faster learners",
            "full": "the authors' numbers of candidates, rivals, episodes and generations, 5 seeds",
        }[scale]
        text = (
            f"Trained with {budget} (configs/papers/leading_the_pack); evaluated among learners as published, at full"
            f" length, {EPISODES[scale]} episodes, {SETS[scale]} sets of them. As published / corrected: medians (10 %,"
            " 90 % quantile) of the last 2 %, mean over seats. Published: the authors' figures, last generations, 3 to"
            " 6 seeds."
        )
        title = f"{game}, {players} players, {shapers} shaper{'s' if shapers > 1 else ''}"
        run = partial(cell, game, players, shapers, scale)
        found.append(Experiment(f"{GAMES[game]}{players}_{shapers}", title, text, SETS[scale], run, resumes=True))
    return found
