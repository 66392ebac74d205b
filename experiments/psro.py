"""`run.py psro`: grow populations, with a run directory, checkpoints after every iteration, a table and figures."""

from __future__ import annotations

import re
import shlex
import time
from collections import deque
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

import envs
import equilibria
import shaping
from envs.registry import did_you_mean
from equilibria.learner_oracle import LearnerOracle
from equilibria.oracles import BestResponse, Oracle
from equilibria.psro import Progress, Psro, Record, iterate, start, widen
from equilibria.reactive import reactive
from experiments import checkpoint
from experiments.clock import Clock, signals
from experiments.config import FaultError, UserError
from experiments.curves import POINTS
from experiments.given import read_yaml
from experiments.psro_arguments import EXACT, Growing, to_flags
from experiments.psro_pictures import draw
from experiments.run_directory import RunDirectory
from experiments.tables import versions
from experiments.tracking import Mirror, Tracker

__all__ = ["build", "psro"]


def psro(asked: Growing, command: str, console: Console) -> int:
    """Grow populations, from the start or from where a run was stopped. Returns the exit code.

    Raises:
        UserError: a mistake in what was asked for, before anything is compiled.
        FaultError: returns that are not finite.
    """
    rule, arena, capacity = build(asked)
    own, clock = asked.own, Clock()
    room = 1 + own["iterations"] * rule.responses * (arena.num_players if rule.symmetric else 1)
    seeds = list(range(own["seed"], own["seed"] + own["seeds"]))
    if asked.resume is None:
        slug = re.sub(r"[^\w-]+", "-", f"psro-{asked.title}-{own['oracle']}-{own['solver']}")
        directory = RunDirectory.create(own["out"], slug, to_flags(asked) | {"capacity": capacity})
    else:
        directory = RunDirectory(Path(asked.resume))
        if _is_finished(asked, directory, console):
            return 0
        capacity = _room(directory) or capacity
    line: dict[str, Any] = {}
    flags, mirror = to_flags(asked) | {"capacity": capacity}, Mirror(**asked.mirror)
    with (
        directory.locked(),
        signals(clock, console),
        Tracker(own["wandb"], directory, flags, console, fresh=asked.resume is None, mirror=mirror) as tracker,
    ):
        with console.status("compiling, and playing the first profiles ..."):
            progress = _first(rule, arena, seeds, capacity)
        if asked.resume is not None:
            progress = _restored(directory, progress, console)
            extended = own["iterations"] > int(read_yaml(str(directory.config))["iterations"])
            if extended and room > capacity:
                rule.check(arena, capacity := room)
                progress = widen(progress, capacity)
                checkpoint.save(directory.checkpoints, progress.iteration, _saved(progress), keep=1)  # others have less
            line = _last_line(directory)
            directory.write_config(to_flags(asked) | {"capacity": capacity})
        console.print(_introduction(asked, rule, arena), soft_wrap=True)
        console.print(HEADER, soft_wrap=True)
        while clock.signal is None and not _ended(asked, progress.iteration, line):
            began = time.perf_counter()
            try:
                progress, record = iterate(rule, arena, progress, seeds)
            except FloatingPointError as error:
                raise FaultError(f"{directory.path}: {error}; what was written until then is there") from error
            except ValueError as error:
                raise UserError(f"{error}; what was written until then is in {directory.path}") from error
            seconds = time.perf_counter() - began
            line = {"step": progress.iteration, **_line(record, progress), "seconds": round(seconds, 3)}
            directory.append_metrics(line)
            directory.settle_metrics()
            tracker.log(line)
            checkpoint.save(directory.checkpoints, progress.iteration, _saved(progress))
            last = progress.iteration == own["iterations"]  # which needs no room for more
            console.print(_row(progress.iteration, record, seconds, capacity + last), soft_wrap=True)
        ended = _ended(asked, progress.iteration, line)
        draw(directory.path, asked.title, progress, list(directory.read_metrics(POINTS)))
        tracker.show(*sorted(directory.path.glob("*.png")))
        final = _summary(asked, progress, command, clock, line, ended)
        tracker.summarise(final)
        directory.write_summary(final)
    console.print(_sentence(asked, progress), soft_wrap=True)
    console.print(f"run directory: {directory.path}", soft_wrap=True)
    if clock.signal and not ended:
        resume = f"python run.py psro --resume {shlex.quote(str(directory.path))}"
        console.print(f"stopped at iteration {progress.iteration} of {own['iterations']}; to go on: {resume}")
        return 128 + clock.signal
    return 0


def build(asked: Growing) -> tuple[Psro, Any, int]:
    """The rule of growth, the game, and how many policies a player may have.

    Raises:
        UserError: a value that something refuses, or parts that do not fit.
    """
    own = asked.own
    try:
        arena = _arena(asked)
        measure = equilibria.MEASURES.parameters(own["measure"])
        risk = equilibria.MEASURES.make(own["measure"], **{k: _numbers(asked.oracle[k]) for k in measure})
        fields = {name: value for name, value in asked.oracle.items() if name not in measure}
        oracle: Oracle = (
            BestResponse(risk, **fields)
            if own["oracle"] == EXACT
            else LearnerOracle(shaping.make(own["oracle"], **asked.learner), risk, **fields)
        )
        solver = equilibria.make(own["solver"], **{name: _numbers(value) for name, value in asked.solver.items()})
        rule = Psro(oracle, solver, **asked.psro)
        every = arena.num_players if rule.symmetric else 1
        capacity = own["capacity"] or 1 + own["iterations"] * rule.responses * every
        rule.check(arena, capacity)
    except ValueError as error:
        raise UserError(str(error)) from error
    return rule, arena, capacity


def _numbers(value: Any) -> Any:
    """Lists of numbers, one a player, as arrays."""
    return np.asarray(value, np.float32) if isinstance(value, list) else value


def _arena(asked: Growing) -> Any:
    own = asked.own
    if own["env"] is None:
        game = own["game"] or own["payoffs"]
        if own["game"] and own["game"] not in equilibria.CATALOGUE:
            raise UserError(f"--game {game}: unknown{did_you_mean(game, equilibria.CATALOGUE)}")
        return equilibria.load(game)
    values = dict(asked.env)
    if own["players"] is not None and "players" in envs.REGISTRY.parameters(own["env"]):
        values["players"] = own["players"]
    env = envs.make(own["env"], **values)
    if own["players"] not in (None, env.num_players):
        raise UserError(f"--players {own['players']}: {own['env']} has {env.num_players} players")
    return reactive(env) if own["oracle"] == EXACT else env


def _first(rule: Psro, arena: Any, seeds: list[int], capacity: int) -> Progress:
    try:
        return start(rule, arena, seeds, capacity)
    except FloatingPointError as error:
        raise FaultError(str(error)) from error
    except ValueError as error:
        raise UserError(str(error)) from error


def _saved(progress: Progress) -> Any:
    """As arrays."""
    return jax.tree.map(np.asarray, progress)


def _restored(directory: RunDirectory, like: Progress, console: Console) -> Progress:
    """Where the run in `directory` was, or its start; metrics after it are dropped."""
    step, found, unread = checkpoint.restore_latest(directory.checkpoints, _saved(like))
    for message in unread:
        console.print(f"warning: {message}; trying an older one", soft_wrap=True)
    directory.truncate_metrics(step)
    if found is None:
        console.print(f"{directory.path} has no checkpoint: starting from iteration 0", soft_wrap=True)
        return like
    return found._replace(iteration=int(found.iteration))


def _line(record: Record, progress: Progress) -> dict[str, Any]:
    """An iteration, values of every seed, and the mixtures `[S][n][K]`."""
    mixtures = progress.profile[:, :, : record.sizes.max()].round(6)
    return {name: np.asarray(value).tolist() for name, value in record._asdict().items()} | {
        "profile": mixtures.tolist()
    }


HEADER = "iteration  policies               value    sd by others       gap      gain  NashConv   episodes       s"


def _row(iteration: int, record: Record, seconds: float, capacity: int) -> str:
    """Medians over seeds."""
    middle = lambda values: np.median(values, axis=0)  # noqa: E731
    sizes = "/".join(str(int(size)) for size in dict.fromkeys(middle(record.sizes)))
    value = " ".join(map(_number, middle(record.value)[:3]))
    risk = " ".join(map(_number, np.sqrt(middle(record.variance))[:3]))
    gap, gain, exact = (_number(float(middle(own))) for own in (record.gap, record.gain, record.nash_conv))
    row = f"{iteration:>9}  {sizes:>8}  {value:>18}  {risk:>14}  {gap:>8}  {gain:>8}  {exact:>8}  "
    row += f"{int(middle(record.episodes)):>9}  {seconds:>6.2f}"
    failed = int((~record.converged).sum())
    row += f"  ({failed} of {len(record.converged)} solutions did not converge)" if failed else ""
    full = int((record.sizes.max(axis=1) >= capacity).sum())
    return row + (f"  ({full} of {len(record.sizes)} full)" if full else "")


def _number(value: float) -> str:
    """Three digits; a dash for what is not known; what is nothing but rounding as 0."""
    return "-" if np.isnan(value) else f"{0.0 if abs(value) < 1e-9 else value:.3g}"


def _introduction(asked: Growing, rule: Psro, arena: Any) -> str:
    kind = type(arena).__name__
    own = asked.own
    seeds = f"{own['seeds']} seeds" if own["seeds"] > 1 else "1 seed"
    measured = own["measure"]
    text = f"{asked.title} ({kind}), {arena.num_players} players, {seeds}: oracle {own['oracle']} ({measured})"
    text += f", solver {own['solver']}; medians over seeds"
    if rule.tells_all:
        return text + "; gap is exact, as long as populations have room"
    return text + "; gap is an estimate of what the new policies gain, and others may gain more"


def _sentence(asked: Growing, progress: Progress) -> str:
    """What the mixtures of the first seed are."""
    words = []
    for player, own in enumerate(progress.profile[0]):
        likely = [k for k in np.argsort(-own, kind="stable") if own[k] > 0.005][:4]
        words.append(f"player {player}: " + ", ".join(f"policy {k} {own[k]:.0%}" for k in likely))
        if player == 3:
            break
    return f"mixtures of seed {asked.own['seed']} after {progress.iteration} iterations: " + "; ".join(words) + "."


def _ended(asked: Growing, iteration: int, line: dict[str, Any]) -> bool:
    """Whether there are as many iterations as asked for, or the last, with metrics `line`, gained too little."""
    until = asked.own["until"]
    return iteration >= asked.own["iterations"] or bool(line and until is not None and max(line["gain"]) <= until)


def _is_finished(asked: Growing, directory: RunDirectory, console: Console) -> bool:
    """Whether there is nothing left to do; the summary is what a run writes last."""
    done, summary = checkpoint.latest_step(directory.checkpoints), directory.read_summary()
    if done is None or (summary.get("status"), summary.get("iterations")) != ("finished", done):
        return False
    if not _ended(asked, done, _last_line(directory)):
        return False
    text = f"{directory.path} is finished: iteration {done} of {asked.own['iterations']}"
    console.print(f"{text}; --iterations N extends it", soft_wrap=True)
    return True


def _last_line(directory: RunDirectory) -> dict[str, Any]:
    return next(iter(deque(directory.read_metrics(), maxlen=1)), {})


def _room(directory: RunDirectory) -> int | None:
    """How many policies a player may have in the newest checkpoint.

    More than the config says, where the run was stopped as it was being extended.
    """
    if checkpoint.latest_step(directory.checkpoints) is None:
        return None
    return checkpoint.read_latest(directory.checkpoints)[".profile"].shape[2]


def _summary(
    asked: Growing, progress: Progress, command: str, clock: Clock, line: dict[str, Any], ended: bool
) -> dict[str, Any]:
    return {
        "command": command,
        "status": "finished" if ended else "interrupted",
        "sentence": _sentence(asked, progress),
        "game": asked.title,
        "iterations": progress.iteration,
        "seeds": asked.own["seeds"],
        "seed": asked.own["seed"],
        **{name: value for name, value in line.items() if name != "step"},
        "wall_s": round(clock.wall_s, 3),
        "device": jax.devices()[0].device_kind,
        "versions": versions(),
    }
