"""A trained run on new seeds: what its policies do, against a standard panel, and what a best response gains."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int
from rich import box
from rich.console import Console
from rich.table import Table

import shaping
from envs import Environment
from experiments.advance import EVALUATION_EPISODES
from experiments.config import FaultError, Run, UserError, build_environment, seat_names
from experiments.evaluate_arguments import BEST_RESPONSE, NAIVE, Evaluation
from experiments.run_directory import write_json
from experiments.sides import Side
from experiments.tables import QUANTILES, print_table, sentence, table, versions
from experiments.tiles import Tiles
from experiments.trained import Trained, load_run
from shaping import Frozen, Learner, Match
from shaping.wrappers import Blind, Stopped

__all__ = ["CONTROLS", "FILE", "PANEL", "Replay", "evaluate", "trials"]

FILE = "evaluation.json"
PANEL = ("always_cooperate", "always_defect", "tit_for_tat", NAIVE)
"""Who meets a focal player, in all other seats; the last one learns."""
CONTROLS = ("always_defect", "always_cooperate", "uniform", "tit_for_tat")
"""Who sits where shapers do, among rivals that learn; and one more rival."""


def trials(match: Match, seeds: Sequence[int]) -> np.ndarray:
    """Rewards per step `[S, M, n]` in every inner episode of a trial for each seed, from which no shaper learns."""
    return _trials(Tiles.of(len(seeds)))((match,), (np.array(seeds),))


@cache
def _trials(tiles: Tiles) -> Any:
    return tiles.program(_trial)


def _trial(match: Match, seed: Int[Array, ""]) -> Array:
    start, play = jax.random.split(jax.random.key(seed))
    return shaping.trial_outcome(match, shaping.init(match, start), play).reward_per_step


@dataclass(frozen=True)
class Replay:
    """A trained run in its environment, or in one with other parameters, on new seeds.

    Attributes:
        trained: the run.
        env: the environment.
        run: new seeds and steps, and the hyper-parameters of the panel's learners.
        names: of the run's learners, one a seat.
        players: their policies, that learn no more; rivals of shapers as they are.
        note: on how they differ from what was trained.
    """

    trained: Trained
    env: Environment
    run: Run
    names: list[str]
    players: list[Learner]
    note: str = ""

    @classmethod
    def of(cls, asked: Evaluation) -> Replay:
        """What a run has learned, in the environment and on the terms that are asked for.

        Raises:
            UserError: no run, or policies that cannot play there.
        """
        name = str(asked.directory)
        trained, env = load_run(asked.directory, name), build_environment(asked.run)
        trained.check(name, env)
        names = seat_names(trained.run.learners, env.num_players)
        players, note = [trained.learner(seat) for seat in range(env.num_players)], ""
        for flag in ("hardstop", "blindsight"):
            if getattr(asked, flag) and not any(trained.match.shapers):
                raise UserError(f"--{flag} without a shaper: expected a run in which one learned, such as of shaper")
        if asked.hardstop is not None:
            players = [own if own.span == "trial" else Stopped(own, asked.hardstop) for own in players]
            note += f"; rivals learn in the first {asked.hardstop} only"
        if asked.blindsight:
            blind = lambda own: own.replace(learner=Blind(own.learner, asked.blindsight))  # noqa: E731
            players = [blind(own) if isinstance(own, Frozen) else own for own in players]
            note += f"; shapers do not see {asked.blindsight} of {asked.run.batch} environments"
        return cls(trained, env, asked.run, names, players, note)

    @property
    def focal(self) -> dict[int, str]:
        """The first seat of each distinct learner, and its name; of shapers alone if there are any."""
        shapes = any(player.span == "trial" for player in self.players)
        trained = [n for n, own in zip(self.names, self.players, strict=True) if own.span == "trial" or not shapes]
        return {self.names.index(name): name for name in dict.fromkeys(trained)}

    @property
    def pairing(self) -> str:
        """Which policies a seed plays, in words."""
        first, count = self.trained.run.seed, self.trained.run.seeds
        shift = f"(s - {first})" if first else "s"
        base = f"{first} + " if first else ""
        return f"evaluation seed s plays, in every seat, what training seed {base}{shift} mod {count} has learned"

    def trials(self, players: Sequence[Learner]) -> tuple[int, int]:
        """Inner episodes of a training step and sets of rivals: those of trials where a shaper plays, else 1 and 1."""
        if not any(player.span == "trial" for player in players):
            return 1, 1
        return self.trained.run.episodes, max(1, EVALUATION_EPISODES // self.run.batch)

    @property
    def measured(self) -> str:
        """What rewards are means over, in words."""
        episodes, sets = self.trials(self.players)
        if episodes * sets == 1:
            return f"means over {EVALUATION_EPISODES} episodes, undiscounted"
        what = f"means over trials of {episodes} inner episodes against {sets} sets of fresh rivals, undiscounted"
        return what + self.note

    def describe(self) -> dict[str, Any]:
        """What is played, for `evaluation.json`."""
        return {
            "run": str(self.trained.path.resolve()),
            "trained_steps": self.trained.step,
            "env": self.run.env,
            "env_parameters": self.run.components["env"],
            "learners": self.names,
            "seeds": self.run.seeds,
            "seed": self.run.seed,
            "pairing": self.pairing,
            "measured": self.measured,
            "panel_steps": self.run.steps,
        }

    def against(self, others: Iterable[int], name: str, steps: int) -> Side:
        """Play with a fresh learner `name` in the seats `others`, for `steps` training steps.

        Raises:
            ValueError: the environment refuses it.
            FaultError: numbers that are not finite.
        """
        fresh = shaping.make(name, **self.run.components.get(name, {}))
        others = set(others)
        return self.play(
            [name if seat in others else own for seat, own in enumerate(self.names)],
            [fresh if seat in others else own for seat, own in enumerate(self.players)],
            steps,
        )

    def play(self, names: list[str], players: Sequence[Learner], steps: int = 0) -> Side:
        """Seat `players`, train those that learn for `steps`, and look at the outcome; raises as `against`."""
        episodes, rivals = self.trials(players)
        match = Match.of(self.env, players, batch=self.run.batch, episodes=episodes, rivals=rivals)
        side = Side(names, self.env, match, range(self.run.seed, self.run.seed + self.run.seeds))
        side.start()
        side.place(self._replayed(side))
        side.run_until(0, steps)
        if side.fault:
            raise FaultError(f"{side.label}: {side.fault}")
        if not np.isfinite(side.outcome.reward_per_step).all():  # without a step no fault is found
            raise FaultError(f"{side.label}: reward_per_step is not finite")
        return side

    def _replayed(self, side: Side) -> tuple[Any, ...]:
        """The states of `side`, those of trained policies as `pairing` says; leaves `[S, seats, ...]`."""
        seeds = np.array(side.seeds) - self.trained.run.seed
        return tuple(
            jax.tree.map(lambda leaf: np.moveaxis(np.asarray(leaf), 0, 1)[seeds % leaf.shape[1]], learner.policies)
            if isinstance(learner, Frozen)
            else state
            for learner, state in zip(side.match.learners, side.collect(side.states), strict=True)
        )


def evaluate(asked: Evaluation, command: str, console: Console) -> dict[str, Any]:
    """Replay a run, print what it does, and write `evaluation.json` into its directory; returns its contents.

    Raises:
        UserError: a mistake in what was asked for, before anything is compiled.
        FaultError: numbers that are not finite.
    """
    directory, run = asked.directory, asked.run
    for name in (NAIVE, BEST_RESPONSE) if asked.panel else ():
        _check_fields(run, name)
    replay = Replay.of(asked)
    for fault in replay.trained.faults:
        console.print(f"warning: {directory}: {fault}; that seed plays what it had learned before", soft_wrap=True)
    with console.status(f"replaying {directory} ..."):
        side = replay.play(replay.names, replay.players)
    title = f"{side.label} on {run.env}, trained for {replay.trained.step} steps, {run.seed_count} from {run.seed} on"
    print_table(console, table(side.env, title, side.names, side.outcome))
    console.print(f"{sentence(side.env, side.names, side.outcome)}.", soft_wrap=True)
    console.print(f"{replay.pairing}; {replay.measured}", soft_wrap=True)
    result = replay.describe() | {"command": command, "replay": side.metrics()}
    if asked.panel and any(replay.trained.match.shapers):
        result["controls"] = _controls(replay, side, console)
        print_table(console, _controls_table(replay, result["controls"]))
    if asked.panel:
        result["panel"] = [_meet(replay, seat, name, console) for seat in replay.focal for name in PANEL]
        print_table(console, _panel_table(replay, result["panel"]))
    if asked.panel and not any(replay.trained.match.shapers):
        result["best_responses"] = [_best_response(replay, side, seat, console) for seat in replay.focal]
        print_table(console, _best_response_table(replay, result["best_responses"]))
    try:
        write_json(directory / FILE, result | {"versions": versions()})
    except OSError as error:
        raise UserError(f"{directory / FILE}: cannot be written: {error.strerror or error}") from error
    console.print(f"written: {directory / FILE}", soft_wrap=True)
    return result


def _check_fields(run: Run, name: str) -> None:
    try:
        shaping.make(name, **run.components[name])
    except ValueError as error:
        raise UserError(f"learner {name}: {error}") from error


def _controls(replay: Replay, side: Side, console: Console) -> list[dict[str, Any]]:
    """What the shapers got, and what others get in their seats: quantiles over seeds, or over sets of rivals."""
    own = [seat for seat, player in enumerate(replay.players) if player.span == "trial"]
    others = [seat for seat in range(replay.env.num_players) if seat not in own]
    controls: dict[str, Learner] = {name: shaping.make(name) for name in CONTROLS}
    if others:
        controls[replay.names[others[0]]] = replay.players[others[0]]
    rows = [_control(replay.names[own[0]], side.outcome.reward_per_step, own, others)]
    episodes, sets = replay.trials(replay.players)
    seeds = range(replay.run.seed, replay.run.seed + sets)
    for name, learner in controls.items():
        players = [learner if seat in own else player for seat, player in enumerate(replay.players)]
        try:
            match = Match.of(replay.env, players, batch=replay.run.batch, episodes=episodes)
        except ValueError as error:
            rows.append({"who": name, "not_defined": str(error)})
            continue
        with console.status(f"{name} in the seats of shapers ..."):
            rows.append(_control(name, trials(match, seeds).mean(axis=1), own, others))
    return rows


def _control(who: str, rewards: np.ndarray, own: list[int], others: list[int]) -> dict[str, Any]:
    seen = {"reward": rewards[:, own].mean(axis=1), "welfare": rewards.mean(axis=1)}
    return {"who": who} | _summarised(seen | ({"others": rewards[:, others].mean(axis=1)} if others else {}))


def _controls_table(replay: Replay, rows: list[dict[str, Any]]) -> Table:
    title = "Controls in the seats of shapers"
    headings = [*(f"reward {quantile:.0%}" for quantile in QUANTILES), "others 50%", "welfare 50%"]
    shown = _table(title, f"{replay.measured}.", "who", headings)
    for row in rows:
        quantiles = row.get("quantiles")
        seen = [*quantiles["reward"].values()] if quantiles else []
        seen += [quantiles.get(name, {}).get("q50", np.nan) for name in ("others", "welfare")] if quantiles else []
        _add(shown, {"seat": "", "focal": "", **row}, row["who"], seen)
    return shown


def _meet(replay: Replay, seat: int, name: str, console: Console) -> dict[str, Any]:
    """The focal player of `seat` against `name` in all other seats: per seed, and quantiles over them."""
    env = replay.env
    others = [other for other in range(env.num_players) if other != seat]
    head = {"seat": seat, "focal": replay.names[seat], "against": name}
    try:
        with console.status(f"{head['focal']} in seat {seat} against {name} ..."):
            side = replay.against(others, name, replay.run.steps)
    except ValueError as error:
        return head | {"not_defined": str(error)}
    reward = side.outcome.reward_per_step
    seen = {"reward": reward[:, seat], "others": reward[:, others].mean(axis=1)}
    if env.cooperation is not None:
        rates = side.outcome.statistics[env.cooperation]
        seen |= {"cooperation": rates[:, seat], "others_cooperation": rates[:, others].mean(axis=1)}
    return head | _summarised(seen)


def _best_response(replay: Replay, trained: Side, seat: int, console: Console) -> dict[str, Any]:
    """What a fresh learner in `seat` among the trained others gains over the policy trained there, at least 0."""
    head = {"seat": seat, "focal": replay.names[seat], "best_response": BEST_RESPONSE}
    try:
        with console.status(f"training {BEST_RESPONSE} in seat {seat} ..."):
            side = replay.against([seat], BEST_RESPONSE, replay.run.steps)
    except ValueError as error:
        return head | {"not_defined": str(error)}
    reward, own = side.outcome.reward_per_step[:, seat], trained.outcome.reward_per_step[:, seat]
    return head | _summarised({"reward": reward, "trained": own, "gain": np.maximum(reward - own, 0.0)})


def _summarised(seen: dict[str, np.ndarray]) -> dict[str, Any]:
    """Name → values per seed `[S]`, and their quantiles, None where a seed has none."""
    quantiles = {name: np.quantile(values, QUANTILES).tolist() for name, values in seen.items()}
    labels = [f"q{quantile * 100:.0f}" for quantile in QUANTILES]
    return {
        "quantiles": {name: dict(zip(labels, values, strict=True)) for name, values in quantiles.items()},
        "per_seed": {name: values.tolist() for name, values in seen.items()},
    }


def _panel_table(replay: Replay, rows: list[dict[str, Any]]) -> Table:
    """A row a focal player and member of the panel."""
    measured = ["cooperation", "others_cooperation"] if replay.env.cooperation is not None else []
    headings = [*(f"reward {quantile:.0%}" for quantile in QUANTILES), "others 50%"]
    headings += [f"{who}{replay.env.cooperation} 50%" for who in ("", "others ")] if measured else []
    learned = f"{NAIVE} learns for {replay.run.steps} steps, alone in each of the seats"
    if any(replay.trained.match.shapers):
        learned = f"{NAIVE}, alone in each of the seats, learns inside the trials of a shaper"
    shown = _table("The standard panel", f"In all other seats than the focal player's; {learned}.", "against", headings)
    for row in rows:
        cells = []
        if "quantiles" in row:
            quantiles = row["quantiles"]
            cells = [*quantiles["reward"].values(), *(quantiles[name]["q50"] for name in ["others", *measured])]
        _add(shown, row, row["against"], cells, last=row["against"] == PANEL[-1])
    return shown


def _best_response_table(replay: Replay, rows: list[dict[str, Any]]) -> Table:
    """A row a focal seat."""
    caption = (
        f"What {BEST_RESPONSE}, trained for {replay.run.steps} steps in that seat, gets more than the policy trained "
        f"there, no less than 0: a better response may exist. Up to sampling: {replay.measured}."
    )
    headings = ["trained 50%", "response 50%", *(f"gain {quantile:.0%}" for quantile in QUANTILES)]
    shown = _table("Exploitability, lower bound", caption, "best response", headings)
    for row in rows:
        cells = []
        if "quantiles" in row:
            quantiles = row["quantiles"]
            cells = [quantiles["trained"]["q50"], quantiles["reward"]["q50"], *quantiles["gain"].values()]
        _add(shown, row, row["best_response"], cells)
    return shown


def _table(title: str, caption: str, who: str, headings: list[str]) -> Table:
    shown = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.title_justify = shown.caption_justify = "left"
    for heading in ("seat", who):
        shown.add_column(heading, no_wrap=True)
    for heading in headings:
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("")
    return shown


def _add(shown: Table, row: dict[str, Any], who: str, cells: list[float], *, last: bool = False) -> None:
    """A row of numbers, or of dashes and the reason why there are none."""
    numbers = [f"{cell:.2f}" for cell in cells] or ["-"] * (len(shown.columns) - 3)
    why = f"not defined here: {row['not_defined'].split(': try ')[0]}" if "not_defined" in row else ""
    short = textwrap.shorten(why, 90, placeholder=" …")
    shown.add_row(f"{row['seat']} {row['focal']}", who, *numbers, short, end_section=last)
