"""Leading the Pack: n-player opponent shaping, as published and corrected (arXiv 2312.12564)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import envs
import shaping
from envs import Environment
from experiments.evaluate import trials
from experiments.papers.leading_the_pack_page import MARGIN, NAIVE, TIT_FOR_TAT, margins, mode_of, overview
from experiments.papers.leading_the_pack_published import FIGURES, SHAPERS, SIMULATION
from experiments.papers.training import CONFIGS, trained
from experiments.reproduce import Experiment, Measured, Row, at_least, sampled, shown
from experiments.tables import QUANTILES
from experiments.trained import Trained
from shaping import Learner, Match
from shaping.evolution import Evolution
from shaping.strategies import Given

__all__ = ["SCALES", "experiments", "naive_learner", "overview"]

SCALES = ("smoke", "cpu", "full")
GAMES = {"ipd": "ipd", "snowdrift": "sd", "stag_hunt": "sh", "tragedy": "tc"}
PLAYERS = (3, 4, 5)
ENVIRONMENTS = 2
SETS = {"smoke": 2, "cpu": 8, "full": 16}
"""Sets of naive learners, each with its own seed, behind a number of the learner-only checks."""
MANY = {("naive", "stag_hunt"): 4}
"""How many times as many sets, where a few of them end in another equilibrium."""
EPISODES = {"smoke": 20, "cpu": 1000, "full": 1000}
END = 0.02  # share of a trial, its last, over which end values are means
FLOOR = 0.04  # of tolerances, beside four standard errors: what is read off published figures is ± 0.03

INTRODUCTION = """# Leading the Pack: published and measured

`python run.py reproduce leading_the_pack` computes every number on this page. Rewards are per step. "As published" has
the deviations of the authors' public code, which are switches of the learner `pax_ppo_gru`: with one shaper, the
co-players' experience holds the *next* observation (B1); with several, the *previous* reward (B2); the naive baseline
alone takes every inner episode of 100 steps for the end of the game (B3); a counter of 8 bits ends it in episodes 232,
488, 744 and 1000 (B4). "Corrected" has none of them.

Shapers are trained at a reduced effort (`--scale cpu`), said under each heading. With the authors' numbers
(`--scale full`) a generation of one shaper among three players is 2 x 10^8 environment steps, 550 s on two CPU cores
at the [measured speed](../benchmarks.md), and the whole table, 48 cells and 5 seeds, 3.4 x 10^13 steps in either mode,
22,000 hours; that is for accelerators, and none was at hand.
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


def _strategy(name: str, env: Environment) -> Learner:
    """A control by name, all of them of one class, so that they are compiled once."""
    kinds = 1 + 2 * env.num_players
    chances = {"uniform": 0.5, "always_defect": 0.0, "always_cooperate": 1.0}
    if name in chances:
        return Given(jnp.full(kinds, chances[name]))
    tit_for_tat: Any = shaping.make("tit_for_tat", variant="half" if name == "half_tit_for_tat" else "majority")
    return Given(jnp.asarray(tit_for_tat.response(env), jnp.float32))


def _trials(env: Environment, learners: Sequence[Learner], episodes: int, seeds: Sequence[int]) -> np.ndarray:
    """As of `trials`, of M episodes in two environments each."""
    return trials(Match.of(env, learners, batch=ENVIRONMENTS, episodes=episodes), seeds)


def _check(check: str, game: str, scale: str) -> Measured:
    """One check of the learners alone, in one game."""
    rows, ends = [], {}
    for players in PLAYERS:
        for published in (True, False):
            seats = _seats(check, game, players, published, scale)
            rows += list(_compared(check, game, players, published, scale, seats))
            ends.setdefault(str(players), {})[mode_of(published)] = _summary(seats, 0 if check == "naive" else 1)
    return Measured(rows, {"ends": ends})


def _summary(seats: np.ndarray, shapers: int) -> dict[str, list[float] | None]:
    """Quantiles over sets of mean rewards `[S, n]`: of the first seats, of the others, and of all."""
    sides = {"own": seats[:, :shapers], "naive": seats[:, shapers:], "welfare": seats}
    return {
        side: np.quantile(own.mean(axis=1), QUANTILES).round(4).tolist() if own.size else None
        for side, own in sides.items()
    }


def _seats(check: str, game: str, players: int, published: bool, scale: str) -> np.ndarray:
    """Mean rewards `[S, n]` at the end of trials, or, of uniform play, in all of them."""
    env, naive, episodes = envs.make(game, players=players), check == "naive", EPISODES[scale]
    if naive:
        learners = [naive_learner(published, 0)] * players
        episodes *= 2 if published else 1
    else:
        learners = [_strategy(check, env)] + [naive_learner(published)] * (players - 1)
    rewards = _trials(env, learners, episodes, range(_sets(check, game, scale)))
    return rewards.mean(axis=1) if check == "uniform" else _last(rewards)


def _sets(check: str, game: str, scale: str) -> int:
    return SETS[scale] * MANY.get((check, game), 1)


def _last(rewards: np.ndarray) -> np.ndarray:
    """Means `[S, n]` over the end of trials, of rewards `[S, M, n]`."""
    return rewards[:, -max(1, int(END * rewards.shape[1])) :].mean(axis=1)


def _compared(check: str, game: str, players: int, published: bool, scale: str, seats: np.ndarray) -> Iterator[Row]:
    naive, mode = check == "naive", mode_of(published)
    values = {"everybody": seats.mean(1)} if naive else {check: seats[:, 0], "naive": seats[:, 1:].mean(1)}
    for place, (who, samples) in enumerate(values.items()):
        what = f"{GAMES[game]}, {players} players, {mode}: {who}"
        known = SIMULATION.get((check, game, players, published))
        seen = FIGURES.get((check, game, players)) if published else None
        if scale == "smoke" or not (known or seen):
            yield shown(what, samples.mean(), seen[place] if seen else None)
            continue
        if seen:
            row = sampled(f"{what} (figure)", seen[place], samples, FLOOR + (0.06 if check == "uniform" else 0.0))
            yield row
        if known:
            yield sampled(f"{what} (simulation)", known[place], samples, FLOOR)


CONTROLS = {name: name for name in ("always_defect", "always_cooperate", "uniform")} | {TIT_FOR_TAT: "tit_for_tat"}
"""Who sits where shapers do, beside the naive learner itself."""
BLOCKS = 100  # of a trial, in curves

CELLS: dict[str, dict[tuple[str, int, int], int | None]] = {
    "smoke": {("ipd", 3, 1): None, ("tragedy", 3, 2): None},
    "cpu": {
        ("ipd", 3, 1): 600,
        ("ipd", 3, 2): 300,
        ("tragedy", 3, 1): 200,
        ("stag_hunt", 3, 1): 200,
        ("snowdrift", 3, 1): 100,
        ("ipd", 4, 2): 200,
        ("ipd", 5, 2): 150,
        ("tragedy", 3, 2): 100,
        ("stag_hunt", 4, 2): 80,
    },
    "full": {(game, n, s): None for game in GAMES for n in PLAYERS for s in range(1, n + 1)},
}
"""Games, players and shapers that are trained at each effort, and for how many generations if not as configured."""


def cell(game: str, players: int, shapers: int, scale: str, directory: Path) -> Measured:
    """Shapers, trained as published and corrected, and controls in their seats, among naive learners."""
    ends: dict[str, dict[str, Any]] = {}
    curves = {}
    for published in (True, False):
        mode, found = mode_of(published), {}
        steps = CELLS[scale][game, players, shapers]
        run = trained(_configs(game, players, shapers, scale, published), directory / mode.replace(" ", "-"), steps)
        for who, plays in (("shaper", "mean"), ("best sample", "best")):
            seats = [_playing(run, seat, plays) for seat in range(shapers)]
            together = [[own.replace(choice=np.int32(seed)) for own in seats] for seed in range(run.run.seeds)]
            found[who] = _played(game, players, together, published, scale)
        env = envs.make(game, players=players)
        controls = {who: _strategy(name, env) for who, name in CONTROLS.items()}
        controls[NAIVE] = naive_learner(published, shapers)
        for who, learner in controls.items():
            found[who] = _played(game, players, [[learner] * shapers], published, scale)
        for who, rewards in found.items():
            ends.setdefault(who, {})[mode] = _summary(_last(rewards), shapers)
        curves[mode] = _curves(found["shaper"])
    known = SHAPERS.get((game, players, shapers))
    rows = [row for who in ends for row in _rows(who, ends[who], known if who == "shaper" else None)]
    data = {"game": game, "players": players, "shapers": shapers, "ends": ends, "curves": curves}
    return Measured(rows + _verdicts(game, players, shapers, ends, scale), data)


def _curves(rewards: np.ndarray) -> list[list[float]]:
    """Means over sets and over blocks of episodes, `[blocks, n]`."""
    mean = rewards.mean(axis=0)
    return [part.mean(axis=0).round(3).tolist() for part in np.array_split(mean, min(BLOCKS, len(mean)))]


def _configs(game: str, players: int, shapers: int, scale: str, published: bool) -> list[Path]:
    names = [f"{GAMES[game]}{players}_{shapers}"]
    names += [f"as_published_{'one' if shapers == 1 else 'several'}"] if published else []
    names += [scale] if scale != "full" else []
    return [CONFIGS / "leading_the_pack" / f"{name}.yaml" for name in names]


def _playing(run: Trained, seat: int, plays: str) -> Any:
    """The shaper of `seat` as it learned in every seed, its mean or the best sample of its last generation."""
    as_learned = run.match.learners
    chosen = tuple(own.replace(plays=plays) if isinstance(own, Evolution) else own for own in as_learned)
    frozen: Any = replace(run, match=run.match.replace(learners=chosen)).learner(seat)
    return frozen.replace(learner=frozen.learner.replace(plays="mean"))  # what it plays is chosen: one program for both


def _played(game: str, players: int, sides: Sequence[Sequence[Learner]], published: bool, scale: str) -> np.ndarray:
    """Rewards per step `[S, M, n]` in trials of full length.

    Each of the `sides` is who sits in the first seats: shapers that were trained together stay together.
    """
    env, found = envs.make(game, players=players), []
    share = max(1, SETS[scale] // len(sides))
    for number, own in enumerate(sides):
        learners = [*own, *[naive_learner(published, len(own))] * (players - len(own))]
        found.append(_trials(env, learners, EPISODES[scale], range(number * share, (number + 1) * share)))
    return np.concatenate(found)


def _rows(
    who: str, modes: dict[str, Any], known: tuple[tuple[float, ...], tuple[float, ...], float] | None
) -> list[Row]:
    """Seats of one side, the other's, and welfare, as published / corrected: medians and quantiles over sets."""
    found = []
    for place, (side, label) in enumerate((("own", "own seats"), ("naive", "naive"), ("welfare", "welfare"))):
        texts = [_quantiles(modes[mode][side]) for mode in map(mode_of, (True, False))]
        published = float(np.mean(known[place])) if known and np.size(known[place]) else None
        found.append(shown(f"{who}: {label}", " / ".join(texts), published))
    return found


def _quantiles(found: list[float] | None) -> str:
    return f"{found[1]:.2f} ({found[0]:.2f}, {found[2]:.2f})" if found else "-"


def _verdicts(game: str, players: int, shapers: int, ends: dict[str, dict[str, Any]], scale: str) -> list[Row]:
    """Whether the shapers beat always defecting and majority tit-for-tat, and what their rivals are left."""
    rows = []
    for mode in map(mode_of, (True, False)):
        for control, margin in margins(ends, mode).items():
            word = "beats" if margin > MARGIN else "is no better than"
            rows.append(shown(f"{mode}: {word} {control}", f"{margin:+.2f}"))
    if (game, players, shapers) == ("ipd", 3, 1) and scale != "smoke":
        end = ends["shaper"]["as published"]
        rows.append(at_least("as published: the shaper really shapes", 4.86, end["own"][1], 4.5))
        rows.append(at_least("as published: naive learners", 2.24, end["naive"][1], 2.0))
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
            sets = _sets(check, game, scale)
            text = (
                f"{setting} of {EPISODES[scale]} inner episodes of 100 steps, two environments; {sets} sets of"
                " learners. Tolerance 0.04 and four standard errors. References: the authors' public figures (figure),"
                " or an independent simulation (simulation)."
            )
            run = partial(_check, check, game, scale)
            found.append(Experiment(f"{check}_{game}", f"{title}: {game}", text, sets, run))
    for (game, players, shapers), steps in CELLS[scale].items():
        budget = {
            "smoke": "2 generations of 2 candidates",
            "cpu": f"2 seeds, {steps} generations of 64, trials of 100 episodes against one set of faster learners",
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
