"""Runs that are killed at any moment, and go on as if nothing had been: the same arrays and the same lines."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

import experiments.psro as growing
from experiments import checkpoint, train, work
from experiments.cli import main
from experiments.config import Training, parse
from experiments.papers import differentiable
from experiments.psro_arguments import psro_arguments
from experiments.reproduce import Experiment, near
from experiments.sides import Side, build_sides

ROOT = Path(__file__).parents[2]
FLAGS = ["--env", "ipd2", "--baseline", "none", "--seeds", "2", "--steps", "3", "--log_every", "2"]


class Killed(BaseException):
    """As SIGKILL: nothing that a program does about exceptions must help it."""


class FileSystem:
    """Counts what is done to files below a directory; dies before one of the operations, or half-way through it.

    Once dead it refuses everything, so that no `except` and no `finally` tidies up what a killed process would leave.
    """

    def __init__(self, monkeypatch, folder, deadly=None, half=False):
        self.folder, self.deadly, self.half = str(folder), deadly, half
        self.done, self.dead = [], False
        true_open = io.open

        def opened(file, mode="r", *args, **kwargs):
            if "b" not in mode or mode == "rb" or not self.below(file):
                return true_open(file, mode, *args, **kwargs)
            return self.do(f"open {mode}", lambda: Raw(self, file, mode))

        monkeypatch.setattr(io, "open", opened)
        for name in ("replace", "unlink", "mkdir"):
            true = getattr(os, name)
            monkeypatch.setattr(os, name, lambda path, *a, name=name, true=true, **k: (
                self.do(name, lambda: true(path, *a, **k)) if self.below(path) else true(path, *a, **k)))  # fmt: skip
        true_sync = os.fsync
        monkeypatch.setattr(os, "fsync", lambda number: self.do("fsync", lambda: true_sync(number)))

    def below(self, path):
        return str(path).startswith(self.folder)

    def do(self, what, act, half=None):
        self.done.append(what)
        if self.dead or len(self.done) == self.deadly:
            if not self.dead and self.half and half:
                half()
            self.dead = True
            raise Killed(what)
        return act()


class Raw(io.FileIO):
    """A file without a buffer, whose contents survive a kill up to the byte that was written last."""

    def __init__(self, system, path, mode):
        super().__init__(path, mode)
        self.system = system

    def write(self, data):
        write = super().write
        return self.system.do("write", lambda: write(data), lambda: write(data[: len(data) // 2]))

    def truncate(self, size=None):
        cut = super().truncate
        return self.system.do("truncate", lambda: cut(size))


@pytest.fixture(scope="module")
def compiled():
    """The run, and the one program of all of them."""
    run = parse(FLAGS).run
    sides = build_sides(run)
    start = {}
    for name, side in sides.items():
        side.start()
        start[name] = (side.states, side.marks)
    return run, sides, start


@pytest.fixture
def go(compiled, monkeypatch):
    """Train in a directory, a step at a time with a checkpoint after each; returns what was done to files."""
    run, sides, start = compiled
    places = {id(side): start[name] for name, side in sides.items()}
    monkeypatch.setattr(work, "build_sides", lambda _: sides)
    monkeypatch.setattr(Side, "start", lambda side: side.place(*places[id(side)]))
    monkeypatch.setattr(work, "welfare_curves", lambda path, *_: path.write_bytes(b"a picture"))
    monkeypatch.setattr(train, "CHUNK_S", 0.0)
    monkeypatch.setattr(train, "CHECKPOINT_EVERY_S", -1.0)

    def once(folder):
        resume = str(folder) if (folder / "config.yaml").exists() else None
        asked = Training(replace(run, out=None if resume else str(folder)), resume)
        return train.train(asked, "command", Console(quiet=True))

    return killable(monkeypatch, once)


def killable(monkeypatch, once):
    """`once(folder)` that dies at an operation; returns what was done to files, and the exit code or None."""

    def go(folder, deadly=None, half=False):
        with monkeypatch.context() as patch:
            system = FileSystem(patch, folder, deadly, half)
            try:
                return system.done, once(folder)
            except Killed:
                return system.done, None

    return go


def survives(go, folder, kept, part=0, parts=1, prepare=lambda folder: None):
    """Kill `go` before and within every operation on files, or a part of them, and then once more as it goes on.

    Returns how often.
    """
    prepare(folder / "whole")
    done, code = go(folder / "whole")
    assert code == 0
    kills = 0
    for deadly in range(1 + part, len(done) + 1, parts):
        for half in (False, True)[: 1 + (done[deadly - 1] == "write")]:
            killed = folder / f"{deadly}{half}"
            prepare(killed)
            assert go(killed, deadly, half)[1] is None
            again = go(killed, 1 + deadly % 12, half)[1]  # if it has so much to do
            kills += 1 + (again is None)
            assert again in (None, 0)
            assert go(killed)[1] == 0
            assert kept(killed) == kept(folder / "whole"), f"killed at operation {deadly}, {done[deadly - 1]}"
            assert not list(killed.glob("**/.*.partial"))
    return kills


def of_training(folder):
    """What a run must leave behind, byte for byte."""
    files = [folder / "metrics.jsonl", folder / "checkpoint" / checkpoint.BEST]
    return {path.name: path.read_bytes() for path in [*files, sorted(folder.glob("checkpoint/step*"))[-1]]}


def of_growing(folder):
    return {**of_checkpoint(folder), "metrics": without(folder / "metrics.jsonl", "seconds")}


def of_checkpoint(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("checkpoint/step*"))[-1:]}


def of_matches(folder):
    files = {path.name: path.read_bytes() for path in folder.glob("matches/*.json")}
    return files | {"league": json.loads((folder / "league.json").read_text()) | {"command": ""}}


def without(path, name):
    return [{k: v for k, v in json.loads(line).items() if k != name} for line in path.read_text().splitlines()]


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 6))])
def test_training_goes_on_from_wherever_it_was_killed(go, tmp_path, part, record_property):
    done = go(tmp_path / "first")[0]
    assert {"open wb", "open ab", "write", "fsync", "replace", "unlink", "mkdir"} <= set(done)
    kills = survives(go, tmp_path, of_training, part, 6)
    record_property("kills", kills)
    assert kills >= 20


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--capacity=2"], None], ids=["whole", "full", "extended"])
def test_populations_go_on_from_wherever_they_were_killed(tmp_path, monkeypatch, record_property, more):
    """From the start; with room for fewer policies than there are iterations; and from where they were extended."""
    flags = ["--game=rock_paper_scissors", "--oracle=exact", "--solver=zero_sum", "--iterations=2", *(more or [])]
    monkeypatch.setattr(growing, "draw", lambda *_: None)

    def grow(args):
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return growing.psro(psro_arguments(args), "command", Console(quiet=True))

    def once(folder):
        known = (folder / "config.yaml").exists()
        extended = ["--iterations=4"] if more is None else []
        return grow([f"--resume={folder}", *extended] if known else [*flags, f"--out={folder}"])

    def prepare(folder):
        if more is None:
            shutil.copytree(tmp_path / "short", folder)

    if more is None:
        assert grow([*flags, f"--out={tmp_path / 'short'}"]) == 0
    kills = survives(killable(monkeypatch, once), tmp_path, of_growing, prepare=prepare)
    record_property("kills", kills)
    assert kills > 40


def test_reproductions_go_on_from_wherever_they_were_killed(tmp_path, monkeypatch):
    run = []
    experiments = [
        Experiment(name, name, "Setting.", 1, lambda name=name: run.append(name) or [near(name, 1.0, 1.0, 0.1)])
        for name in ("first", "second")
    ]
    monkeypatch.setattr(differentiable, "EXPERIMENTS", experiments)
    go = killable(monkeypatch, lambda folder: main(["reproduce", "differentiable", "--out", str(folder)]))

    def rows(folder):
        return [json.loads((folder / f"{name}.json").read_text())["rows"] for name in ("first", "second")]

    done = go(tmp_path / "whole")[0]
    for deadly in range(1, len(done) + 1):
        for half in (False, True)[: 1 + (done[deadly - 1] == "write")]:
            run.clear()
            killed = tmp_path / f"{deadly}{half}"
            assert go(killed, deadly, half)[1] is None
            whole = [path.stem for path in killed.glob("[!.]*.json")]
            before = len(run)
            assert go(killed)[1] == 0
            assert rows(killed) == rows(tmp_path / "whole")
            assert not set(run[before:]) & set(whole)  # what was written is not done again


DRIVER = """import sys
from experiments import train
from experiments.cli import main
train.CHUNK_S, train.CHECKPOINT_EVERY_S = 0.0, -1.0
sys.exit(main(sys.argv[1:]))"""
"""Every step with a checkpoint, so that most kills meet one."""

SHAPER = ["--players=3", "--learners=shaper,reinforce*2", "--shaper.population=8", "--seeds=2", "--episodes=2"]
SHAPER += ["--env.horizon=4", "--batch=2", "--log_every=3", "--steps=150"]
LOLA = ["--env=ipd2", "--seeds=4", "--log_every=3", "--steps=600"]
PSRO = ["psro", "--game=biased_rock_paper_scissors", "--oracle=exact", "--solver=zero_sum", "--iterations=60"]
LEAGUE = ["league", "--env=ipd2", "--learners=naive,tit_for_tat,always_defect", "--seeds=2", "--steps=4", "--looks=2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "kept", "kills"),
    [(LOLA, of_training, 8), (SHAPER, of_training, 4), (PSRO, of_growing, 4), (LEAGUE, of_matches, 4)],
    ids=["train", "shaper", "psro", "league"],
)
def test_a_process_killed_at_random_goes_on(tmp_path, flags, kept, kills, record_property):
    """By SIGKILL, half of the times after it has begun to work, half of the times at any time."""
    chance, whole, parts = np.random.default_rng(0), tmp_path / "whole", tmp_path / "parts"
    command = [flags[0]] * (not flags[0].startswith("-"))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JAX_NUMPY")}

    def started(folder):
        known = (folder / "config.yaml").exists()
        args = [*command, f"--resume={folder}"] if known else [*flags, f"--out={folder}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([sys.executable, "-c", DRIVER, *args], cwd=ROOT, env=environment, text=True, **pipes)

    start = time.monotonic()
    process = started(whole)
    told, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    least = time.monotonic() - start
    killed = 0
    while killed < kills:
        process, before = started(parts), newest(parts)
        while killed % 2 and newest(parts) == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 1.5 if killed % 2 else least / 2))
        process.send_signal(signal.SIGKILL)
        told, errors = process.communicate()
        if process.returncode == -signal.SIGKILL:
            killed += 1
        else:  # it was faster: from the start
            assert process.returncode == 0, errors
            assert kept(parts) == kept(whole)
            shutil.rmtree(parts)
    process = started(parts)
    told, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    assert kept(parts) == kept(whole)
    record_property("kills", kills)
    record_property("whole_s", round(least, 1))
    told, errors = started(parts).communicate(timeout=300)
    assert command == ["league"] or "is finished" in told


def newest(folder):
    """When the last file of a run was written."""
    return max((path.stat().st_mtime_ns for path in folder.glob("*/[!.]*")), default=0)
