"""Sweeps: the files, the distributions, what an agent writes, and runs without a server."""

import csv
import io
import json
import math
import os
import random
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import yaml
from rich.console import Console

from experiments import sweep as module
from experiments.cli import main
from experiments.clock import Clock, signals
from experiments.config import UserError
from experiments.distributions import KINDS, read_distribution
from experiments.launchers import Done, Processes, make_launcher
from experiments.run_directory import RunDirectory
from experiments.search import RANDOM_FIRST, Point, propose
from experiments.sides import Side
from experiments.sweep_arguments import sweep_arguments
from experiments.sweep_file import read_sweep
from experiments.sweep_job import STARTED, Job, run_job
from experiments.sweep_pictures import Axis
from experiments.sweep_record import Record

ROOT = Path(__file__).parents[2]
SMALL = {"env": "ipd2", "baseline": "none", "seeds": 2, "steps": 3, "log_every": 1}


def file(path, parameters, method="grid", metric="learners/welfare/median", **more):
    constants = {name: {"value": value} for name, value in SMALL.items()}
    data = {"program": "run.py", "method": method, "parameters": constants | parameters} | more
    data["metric"] = metric if isinstance(metric, dict) else {"name": metric, "goal": "maximize"}
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return str(path)


def lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def results(folder):
    return list(csv.DictReader(io.StringIO((folder / "results.csv").read_text())))


RATES = {"lola.lookahead_rate": {"values": [0.5, 1.0]}, "lola.learning_rate": {"values": [1.0, 1e38]}}


@pytest.fixture(scope="module")
def rates(tmp_path_factory):
    """Four runs, two of which fail, in one program; and what the sweep said."""
    folder, said = tmp_path_factory.mktemp("sweep"), io.StringIO()
    with redirect_stdout(said):
        assert main(["sweep", file(folder / "rates.yaml", RATES), "--out", str(folder / "out")]) == 1
    return folder / "out", said.getvalue()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The first of these runs, alone."""
    out = tmp_path_factory.mktemp("alone") / "run"
    args = [f"--{name}={value}" for name, value in SMALL.items()]
    assert main([*args, "--lola.lookahead_rate=1.0", "--lola.learning_rate=1.0", "--out", str(out)]) == 0
    return out


def test_runs_of_a_program_are_those_alone_bit_for_bit(rates, alone):
    """On as many devices; else to rounding."""
    folder, _ = rates
    together = (folder / "output" / "000-003.txt").read_text()
    assert "4 runs" in together
    assert together.count("compiled lola") == 1
    run = folder / "runs" / "002"
    assert lines(run) == lines(alone)
    assert {path.name for path in run.iterdir()} - {".lock"} == {path.name for path in alone.iterdir()} - {".lock"}
    configs = [yaml.safe_load((own / "config.yaml").read_text()) for own in (run, alone)]
    assert configs[0] == configs[1] | {"wandb": "disabled"}
    mine, theirs = (json.loads((own / "summary.json").read_text()) for own in (run, alone))
    timed = ("command", "wall_s", "compile_s", "steps_per_s")
    assert {k: v for k, v in mine.items() if k not in timed} == {k: v for k, v in theirs.items() if k not in timed}
    assert lines(folder / "runs" / "000")[-1] != lines(run)[-1]


def test_failed_runs_are_told_and_stop_no_others(rates):
    folder, said = rates
    rows = results(folder)
    assert [row["status"] for row in rows] == ["finished", "failed", "finished", "failed"]
    assert rows[1]["reason"].startswith("lola*2, step 1, seed 0: states[0].params is not finite")
    assert "2 of 4 runs failed" in said
    assert "run 1 failed: lola*2, step 1" in said
    assert [line["step"] for line in lines(folder / "runs" / "001")] == [0, 1]
    assert json.loads((folder / "runs" / "001" / "summary.json").read_text())["status"] == "failed"


def test_the_best_is_told_with_its_command(rates):
    folder, said = rates
    finished = [row for row in results(folder) if row["status"] == "finished"]
    best = max(finished, key=lambda row: float(row["learners/welfare/median"]))
    assert f"best: run {best['run']}," in said
    (command,) = [line for line in said.splitlines() if line.startswith("python run.py --")]
    assert f"--lola.lookahead_rate={best['lola.lookahead_rate']}" in command
    assert "wandb" not in command
    welfare = lines(folder / "runs" / f"{int(best['run']):03}")[-1]["learners"]["welfare"]
    assert float(best["learners/welfare/median"]) == np.median(welfare)
    assert (folder / "parallel_coordinates.png").stat().st_size > 10_000


def test_what_is_done_is_not_run_again(rates, monkeypatch, capsys):
    folder, _ = rates
    monkeypatch.setattr(Side, "start", lambda *_: pytest.fail("compiled"))
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*")}
    assert main(["sweep", "--resume", str(folder)]) == 1
    assert main(["sweep", str(folder.parent / "rates.yaml"), "--out", str(folder)]) == 1
    assert {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*")} == before
    other = file(folder.parent / "other.yaml", {"lola.lookahead_rate": {"values": [0.5]}})
    assert main(["sweep", other, "--out", str(folder)]) == 2
    assert "holds another sweep" in capsys.readouterr().err


def test_a_stopped_sweep_goes_on_from_its_checkpoints(tmp_path, monkeypatch, alone):
    """Two runs in one program, stopped after the first of three steps."""
    parameters = {"lola.lookahead_rate": {"values": [0.5, 1.0]}, "lola.learning_rate": {"value": 1.0}}
    path, out = file(tmp_path / "s.yaml", parameters), tmp_path / "out"
    advance = Side.run_until

    def interrupted(program, start, stop, look=True):
        advance(program, start, stop, look)
        if stop == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Side, "run_until", interrupted)
    assert main(["sweep", path, "--out", str(out)]) in (130, 143)
    monkeypatch.setattr(Side, "run_until", advance)
    assert [row["status"] for row in results(out)] == ["proposed"] * 2
    assert [lines(out / "runs" / run)[-1]["step"] for run in ("000", "001")] == [1, 1]
    with (out / "sweep.jsonl").open("a") as file_:
        file_.write('{"run": 1, "val')  # a torn line
    assert main(["sweep", "--resume", str(out)]) == 0
    assert [row["status"] for row in results(out)] == ["finished"] * 2
    assert lines(out / "runs" / "001") == lines(alone)
    assert "no checkpoint" not in (out / "output" / "000-001.txt").read_text()


@pytest.mark.slow
def test_wide_runs_agree_to_rounding(tmp_path, rates):
    path = file(tmp_path / "s.yaml", RATES | {"lola.learning_rate": {"value": 1.0}})
    assert main(["sweep", path, "--out", str(tmp_path / "out"), "--wide", "--together", "2"]) == 0
    for mine, theirs in ((0, 0), (1, 2)):
        pair = [
            lines(own / "runs" / f"{k:03}")[-1]["learners"] for own, k in ((tmp_path / "out", mine), (rates[0], theirs))
        ]
        np.testing.assert_allclose(pair[0]["reward_per_step"], pair[1]["reward_per_step"], rtol=1e-5)


class Pretence:
    """A launcher whose runs earn their rate; jobs with one of the rates in `lost` leave nothing."""

    width = 1

    def __init__(self, *lost):
        self.lost, self.jobs = lost, []

    def submit(self, job):
        rates = [float(arg.split("=")[1]) for args in job.args for arg in args if "lookahead_rate" in arg]
        self.jobs.append(rates)
        for directory, rate in zip(job.directories, rates, strict=True):
            if not set(rates) & set(self.lost):
                directory.mkdir(parents=True)
                told = {"welfare": [rate, rate, 0.0], "reward_per_step": [[rate, rate]] * 3}
                (directory / "metrics.jsonl").write_text(json.dumps({"step": 3, "learners": told}) + "\n")
                (directory / "summary.json").write_text(json.dumps({"status": "finished", "wall_s": 1.0}))
        return Done()


def pretended(tmp_path, monkeypatch, launcher, *args, rates=(1.0, 2.0, 3.0, 4.0), metric="learners/welfare/median"):
    monkeypatch.setattr(module, "make_launcher", lambda *_: launcher)
    path = file(tmp_path / "s.yaml", {"lola.lookahead_rate": {"values": list(rates)}}, metric=metric)
    return main(["sweep", path, "--out", str(tmp_path / "out"), *args])


def test_a_program_that_is_lost_is_run_again_one_by_one(tmp_path, monkeypatch):
    launcher = Pretence(2.0)
    assert pretended(tmp_path, monkeypatch, launcher) == 1
    assert launcher.jobs == [[1.0, 2.0, 3.0, 4.0], [1.0], [2.0], [3.0], [4.0]]
    rows = results(tmp_path / "out")
    assert [row["status"] for row in rows] == ["finished", "failed", "finished", "finished"]
    assert rows[1]["reason"] == "the worker ended without a word"
    again = Pretence()
    assert pretended(tmp_path, monkeypatch, again) == 1
    assert again.jobs == []
    assert pretended(tmp_path, monkeypatch, again, "--retry") == 0
    assert again.jobs == [[2.0]]


def test_the_target_ends_a_sweep(tmp_path, monkeypatch, capsys):
    launcher = Pretence()
    metric = {"name": "learners/welfare/median", "goal": "maximize", "target": 2.0}
    assert pretended(tmp_path, monkeypatch, launcher, "--together", "1", metric=metric) == 0
    assert launcher.jobs == [[1.0], [2.0]]
    assert "best: run 1, learners/welfare/median 2" in capsys.readouterr().out


def test_less_may_be_better_and_count_is_the_most(tmp_path, monkeypatch, capsys):
    launcher = Pretence()
    metric = {"name": "learners/reward_per_step/seat_1"}
    assert pretended(tmp_path, monkeypatch, launcher, "--count", "3", rates=(2.0, 1.0, 3.0, 0.5), metric=metric) == 0
    assert "best: run 1, learners/reward_per_step/seat_1 1:" in capsys.readouterr().out
    assert main(["sweep", "--resume", str(tmp_path / "out"), "--count", "9"]) == 0
    assert launcher.jobs == [[2.0, 1.0, 3.0], [0.5]]
    assert "best: run 3," in capsys.readouterr().out
    assert main(["sweep", "--resume", str(tmp_path / "out"), "--count", "2"]) == 0
    assert "not done" not in capsys.readouterr().out


def test_a_metric_that_no_run_has_is_named_and_can_be_mended(tmp_path, monkeypatch, capsys):
    assert pretended(tmp_path, monkeypatch, Pretence(), metric="learners/welfare/medium") == 2
    assert "did you mean 'learners/welfare/median'?" in capsys.readouterr().err
    launcher = Pretence()
    assert pretended(tmp_path, monkeypatch, launcher) == 0
    assert launcher.jobs == []
    assert results(tmp_path / "out")[3]["learners/welfare/median"] == "4.0"


def test_a_run_without_a_number_has_no_metric_and_stops_no_others(tmp_path):
    asked = sweep_arguments(
        [file(tmp_path / "s.yaml", RATES, metric="learners/welfare/seed_1"), "--out", str(tmp_path / "o")]
    )
    record, run = Record.opened(asked), RunDirectory(tmp_path / "o" / "runs" / "000")
    run.path.mkdir(parents=True)
    for welfare, expected in (([1.0, 2.0], 2.0), ([1.0, None], None)):
        run.metrics.write_text(json.dumps({"step": 3, "learners": {"welfare": welfare}}) + "\n")
        assert record.metric(run) == expected
    run.metrics.write_text(json.dumps({"step": 3, "learners": {"welfare": [None]}}) + "\n")
    with pytest.raises(UserError, match=r"seed_1': .* has none: did you mean 'learners/welfare"):
        record.metric(run)


def test_a_signal_within_a_run_stops_what_is_around_it(capsys):
    """Also one that comes when the run has nothing left to do, or before it listens."""
    outer, inner, later = Clock(), Clock(), Clock()
    console = Console()
    console.file = console.file
    with signals(outer, console):
        with redirect_stdout(io.StringIO()), signals(inner, Console()):
            signal.raise_signal(signal.SIGINT)
        assert outer.signal == inner.signal == signal.SIGINT
        with signals(later, Console()):
            assert later.signal == signal.SIGINT
            with pytest.raises(SystemExit):
                signal.raise_signal(signal.SIGINT)
    assert "SIGINT: stopping after this chunk" in capsys.readouterr().out


@pytest.mark.parametrize("code", [0, 2, 255, -1])
def test_a_worker_ends_as_it_is_told(tmp_path, monkeypatch, code):
    """By the parser of flags it fails; submitit ends it to queue it again."""

    def main(_):
        raise SystemExit(code)

    monkeypatch.setattr("experiments.cli.main", main)
    job = Job((0,), (tmp_path / "run",), (("train",),), tmp_path / "out.txt", wide=False)
    if code in (0, 2):
        run_job(job)
    else:
        with pytest.raises(SystemExit):
            run_job(job)


@pytest.mark.parametrize(
    ("text", "law"),
    [
        ({"distribution": "uniform", "min": -1, "max": 3}, scipy.stats.uniform(-1, 4)),
        ({"min": 0.0, "max": 1}, scipy.stats.uniform(0, 1)),
        ({"distribution": "normal", "mu": 2, "sigma": 0.5}, scipy.stats.norm(2, 0.5)),
        ({"distribution": "normal"}, scipy.stats.norm(0, 1)),
        ({"distribution": "log_normal", "mu": 1.0}, scipy.stats.lognorm(1.0, scale=math.e)),
        ({"distribution": "log_uniform", "min": -2, "max": 1}, scipy.stats.loguniform(math.exp(-2), math.e)),
        ({"distribution": "log_uniform_values", "min": 0.01, "max": 10}, scipy.stats.loguniform(0.01, 10)),
        ({"distribution": "inv_log_uniform", "min": -1, "max": 2}, scipy.stats.loguniform(math.exp(-2), math.e)),
        ({"distribution": "inv_log_uniform_values", "min": 0.01, "max": 10}, scipy.stats.loguniform(0.01, 10)),
        ({"distribution": "beta", "a": 2, "b": 5}, scipy.stats.beta(2, 5)),
    ],
    ids=lambda own: own.get("distribution", "") if isinstance(own, dict) else "",
)
def test_distributions_are_those_of_their_names(text, law):
    own = read_distribution(text)
    for place in (0.001, 0.3, 0.5, 0.99):
        assert own.at(place) == pytest.approx(float(law.ppf(place)))
    assert math.isfinite(own.at(0.0))
    assert math.isfinite(own.at(1.0))
    if f"q_{own.kind}" in KINDS:
        steps = read_distribution(text | {"distribution": f"q_{own.kind}", "q": 0.25})
        assert steps.at(0.3) == pytest.approx(round(float(law.ppf(0.3)) / 0.25) * 0.25)
        whole = read_distribution(text | {"distribution": f"q_{own.kind}"}).at(0.7)
        assert (whole, type(whole)) == (round(float(law.ppf(0.7))), int)


def test_choices_and_whole_numbers():
    draws = random.Random(0)  # noqa: S311
    die = read_distribution({"min": 1, "max": 6})
    assert die.kind == "int_uniform"
    seen = [die.at(die.draw(draws)) for _ in range(6000)]
    assert all(abs(seen.count(face) - 1000) < 150 for face in range(1, 7))
    below = read_distribution({"min": -3, "max": 2})
    seen = [below.at(below.draw(draws)) for _ in range(6000)]
    assert all(abs(seen.count(face) - 1000) < 150 for face in range(-3, 3))
    coin = read_distribution({"values": ["a", [1, 2]], "probabilities": [0.9, 0.1]})
    seen = [str(coin.at(coin.draw(draws))) for _ in range(2000)]
    assert abs(seen.count("a") - 1800) < 80
    assert read_distribution({"distribution": "constant", "value": None}).grid() == [None]
    assert read_distribution({"distribution": "q_uniform", "min": 0.1, "max": 0.5, "q": 0.1}).grid() == pytest.approx(
        [0.1, 0.2, 0.3, 0.4, 0.5]
    )
    assert coin.grid() is None


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ({"distribution": "unifrom", "min": 0, "max": 1}, "unknown: did you mean 'uniform'?"),
        ({"distribution": "uniform", "min": 0}, "max is missing"),
        ({"distribution": "uniform", "min": 0, "max": 1, "q": 2}, "q: is no key of uniform"),
        ({"distribution": "normal", "sigma": 0}, "sigma = 0: expected a number above 0"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "min = 0: expected a number above 0"),
        ({"distribution": "log_uniform", "min": 0.001, "max": 1000}, "are exponents"),
        ({"distribution": "int_uniform", "min": 0.5, "max": 2}, "min = 0.5: expected a whole number"),
        ({"min": 2, "max": 1}, "min = 2: expected less than max = 1"),
        ({"min": "1e-4", "max": 1}, "YAML takes 1e-4 for text"),
        ({"values": []}, "values = []: expected a list"),
        ({"values": [1, 2], "probabilities": [0.5]}, "1 of them for 2 values"),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "that sum to 1"),
        ({"mu": 1}, "expected value, values, min and max, a distribution"),
        (3, "expected a mapping, such as {value: 3}"),
    ],
)
def test_mistakes_in_distributions_name_their_key(tmp_path, parameter, message):
    path = file(tmp_path / "bad.yaml", {"lola": {"parameters": {"lookahead_rate": parameter}}}, method="random")
    with pytest.raises(UserError) as error:
        read_sweep(path)
    assert "parameters: lola.lookahead_rate: " in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"method": "gird"}, "method = 'gird': expected one of grid, random, bayes"),
        ({"early_terminate": {"type": "hyperband"}}, "early_terminate: runs go to their last step"),
        ({"paramters": {}}, "unknown key 'paramters': did you mean 'parameters'?"),
        ({"program": "train.py"}, "program = 'train.py': expected run.py"),
        ({"run_cap": 0}, "run_cap = 0: expected a whole number"),
        ({"metric": {"name": "gap", "goal": "max"}}, "goal = 'max': expected minimize or maximize"),
        ({"method": "bayes", "metric": None}, "metric: is missing"),
        ({"parameters": {"out": {"value": "here"}}}, "out: every run has a directory of its own"),
        ({"parameters": {"seeds": {"min": 1.0, "max": 2.0}}}, "seeds: uniform has no grid"),
        ({"parameters": {}}, "expected a mapping of flags to values"),
        ({"command": ["python", "${program}", "solve", "${args}"]}, "solve has no metrics of runs"),
        ({"command": ["python", "run.py", "${args}"]}, "${program} is missing"),
    ],
)
def test_mistakes_in_files(tmp_path, more, message):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({"method": "grid", "parameters": {"seeds": {"values": [1, 2]}}} | more))
    with pytest.raises(UserError) as error:
        read_sweep(str(path))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (["${env}", "python", "${program}", "${args}"], ("train",)),
        (["python", "${program}", "psro", "--seeds=${envvar:PARLEY_SEEDS}", "${args}"], ("psro", "--seeds=3")),
        (["python", "${program}", "--config", "a.yaml", "${args_no_hyphens}"], ("train", "--config", "a.yaml")),
        (["python", "${program}", "--share", "--config", "${args_json_file}"], ("train", "--share")),
    ],
)
def test_commands_of_files_keep_their_own_flags(tmp_path, command, kept, monkeypatch):
    monkeypatch.setenv("PARLEY_SEEDS", "3")
    sweep = read_sweep(file(tmp_path / "s.yaml", {"players": {"value": None}}, command=command))
    assert sweep.command == kept
    args = sweep.args({"env": "ipd2", "lola": {"terms": "both"}, "players": None, "learners": ["a", "b"]}, "offline")
    assert args == [*kept, "--env=ipd2", "--lola.terms=both", "--learners=a,b", "--wandb=offline"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "sweep takes one file, or --resume DIR, found none"),
        (["nowhere.yaml"], "sweep nowhere.yaml: No such file"),
        (["configs/sweeps/lola_ipd.yaml", "--worker", "2"], "unknown flag --worker: did you mean 'workers'?"),
        (["configs/sweeps/lola_ipd.yaml", "--workers", "0"], "--workers 0: expected a whole number from 1"),
        (["configs/sweeps/lola_ipd.yaml", "--count", "0"], "--count 0: expected"),
        (["--resume", "tests"], "--resume tests: holds no sweep"),
        (["configs/sweeps/lola_ipd.yaml", "--cluster", "a=1", "--out", "OUT"], "is for --launcher submitit"),
    ],
)
def test_mistakes_on_the_command_line(args, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["sweep", *(str(tmp_path / "out") if arg == "OUT" else arg for arg in args)]) == 2
    assert message in capsys.readouterr().err


def test_flags_that_no_run_has_are_refused_before_any_runs(tmp_path, capsys):
    path = file(tmp_path / "s.yaml", {"lola.lookahed_rate": {"values": [0.5, 1.0]}})
    assert main(["sweep", path, "--out", str(tmp_path / "out")]) == 2
    assert "did you mean 'lola.lookahead_rate'?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()  # so that the command can be given again
    path = file(tmp_path / "r.yaml", {"lola.lookahead_rate": {"min": 0.5, "max": 1.0}}, method="random")
    assert main(["sweep", path]) == 2
    assert "method random has no end; expected --count" in capsys.readouterr().err


def searched(tmp_path, method, worth, total, generation=4, seed=0):
    """The points of a search in which `worth` is what runs are worth; None for a failure."""
    parameters = {"lola.lookahead_rate": {"distribution": "log_uniform_values", "min": 0.01, "max": 100.0},
                  "lola.expansion": {"values": ["exact", "taylor"]}, "batch": {"min": 1, "max": 9}}  # fmt: skip
    path = file(tmp_path / "s.yaml", parameters, method=method)
    asked = sweep_arguments([path, f"--count={total}", f"--generation={generation}", f"--seed={seed}"])
    points: list[Point] = []
    while new := propose(asked, points):
        for point in new:
            point.metric = worth(point.values)
            point.status = "finished" if point.metric is not None else "failed"
        points += [Point(**json.loads(json.dumps(point.__dict__))) for point in new]  # as the record keeps them
    return points


def hill(values):
    distance = math.log(values["lola.lookahead_rate"] / 3.0) ** 2 + (values["batch"] - 4) ** 2 / 10
    return None if values["lola.lookahead_rate"] > 50 else -distance - (values["lola.expansion"] == "exact")


def test_random_draws_depend_on_seed_and_number_alone(tmp_path):
    many, few = searched(tmp_path, "random", hill, 20), searched(tmp_path, "random", hill, 5)
    assert [point.values for point in few] == [point.values for point in many[:5]]
    assert few[0].values != searched(tmp_path, "random", hill, 1, seed=1)[0].values


def test_bayes_finds_more_than_chance_and_repeats_itself(tmp_path):
    pytest.importorskip("optuna")
    found = searched(tmp_path, "bayes", hill, 50)
    again = searched(tmp_path, "bayes", hill, 50)
    assert [point.values for point in found] == [point.values for point in again]
    chance = searched(tmp_path, "random", hill, 50)
    assert [point.values for point in found[:RANDOM_FIRST]] == [point.values for point in chance[:RANDOM_FIRST]]
    worth = [[own.metric for own in points[30:] if own.metric is not None] for points in (found, chance)]
    assert np.median(worth[0]) > np.median(worth[1]) + 1
    assert len({point.run for point in found}) == 50


@pytest.mark.parametrize(("engine", "name"), [("bayes", "optuna"), ("submitit", "submitit"), ("ray", "ray")])
def test_engines_that_are_missing_say_what_to_install(engine, name, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, name, None)
    method, launcher = ("bayes", "local") if engine == "bayes" else ("random", engine)
    path = file(tmp_path / "s.yaml", {"lola.lookahead_rate": {"min": 0.5, "max": 1.0}}, method=method)
    assert main(["sweep", path, "--count", "3", "--launcher", launcher, "--out", str(tmp_path / "out")]) == 2
    assert f"{engine} needs {name}, which is not installed: pip install 'parley[" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_cluster_option_that_is_none_is_refused(tmp_path):
    pytest.importorskip("submitit")
    with pytest.raises(UserError, match="NAME=VALUE by commas"):
        make_launcher("submitit", 1, "gpu", tmp_path)
    with pytest.raises(UserError, match=r"--launcher submitit: .*warp"):
        make_launcher("submitit", 1, "cluster=local,warp=9", tmp_path)


def test_an_axis_is_logarithmic_over_orders_of_magnitude_and_even_for_choices():
    rates = Axis("rate", [0.01, 0.1, 1.0])
    assert rates.logarithmic
    assert rates.height(0.1) == pytest.approx(0.5)
    assert [label for _, label in rates.ticks()] == ["0.01", "0.1", "1"]
    names = Axis("name", ["b", "a", True])
    assert [names.height(value) for value in ("a", "b")] == [0.5, 1.0]
    few = Axis("few", [1, 2, 4])
    assert not few.logarithmic
    assert few.height(2) == pytest.approx(1 / 3)
    assert Axis("one", [7, 7]).height(7) == 0.5


def test_shapes_group_runs_that_differ_in_numbers_only(tmp_path):
    parameters = {
        "lola.lookahead_rate": {"values": [0.5, 1.0, 2.0]},
        "lola.expansion": {"values": ["exact", "taylor"]},
        "env.discount": {"values": [0.9, 0.96]},
    }
    asked = sweep_arguments([file(tmp_path / "s.yaml", parameters), "--together", "4", "--out", str(tmp_path / "out")])
    record = Record.opened(asked)
    todo = record.todo()
    assert len(todo) == 12
    for workers, sizes in ((1, [4, 2, 4, 2]), (3, [2] * 6)):
        launcher = make_launcher("local", workers, None, tmp_path)
        jobs = module._jobs(record, todo, launcher)
        assert [len(job.numbers) for job in jobs] == sizes
        for job in jobs:
            assert len({arg for args in job.args for arg in args if arg.startswith("--lola.expansion")}) == 1


@pytest.mark.slow
def test_processes_run_what_one_would(tmp_path, rates):
    path, out = file(tmp_path / "s.yaml", RATES | {"lola.learning_rate": {"value": 1.0}}), tmp_path / "out"
    assert main(["sweep", path, "--workers", "2", "--out", str(out)]) == 0
    for mine, theirs in ((0, 0), (1, 2)):
        pair = [lines(own / "runs" / f"{k:03}") for own, k in ((out, mine), (rates[0], theirs))]
        for own, other in zip(*pair, strict=True):
            np.testing.assert_allclose(own["learners"]["welfare"], other["learners"]["welfare"], rtol=1e-5)


@pytest.mark.slow
def test_a_process_that_is_killed_fails_alone(tmp_path, monkeypatch):
    submit = Processes.submit

    def killed(launcher, job):
        handle = submit(launcher, job)
        if job.numbers == (0,):
            handle.process.kill()
        return handle

    monkeypatch.setattr(Processes, "submit", killed)
    path, out = file(tmp_path / "s.yaml", {"lola.lookahead_rate": {"values": [0.5, 1.0]}}), tmp_path / "out"
    assert main(["sweep", path, "--workers", "2", "--together", "1", "--out", str(out)]) == 1
    assert [row["status"] for row in results(out)] == ["failed", "finished"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [("submitit", "cluster=local,timeout_min=5"), ("ray", None)])
def test_launchers_run_sweeps(tmp_path, name, options):
    """As a command: they fork, which JAX, once it has begun, warns of."""
    pytest.importorskip(name)
    path, out = file(tmp_path / "s.yaml", {"lola.lookahead_rate": {"values": [0.5, 1.0]}}), tmp_path / "out"
    cluster = ["--cluster", options] if options else []
    command = [sys.executable, "run.py", "sweep", path, "--launcher", name, *cluster, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in results(out)] == ["finished"] * 2


@pytest.mark.slow
def test_runs_that_are_trained_together_are_mirrored_each_for_itself(tmp_path):
    path, out = file(tmp_path / "s.yaml", {"lola.lookahead_rate": {"values": [0.5, 1.0]}}), tmp_path / "out"
    places = {f"WANDB_{name}_DIR": str(tmp_path) for name in ("CONFIG", "CACHE")} | {"WANDB_SILENT": "true"}
    command = [sys.executable, "run.py", "sweep", path, "--wandb", "offline", "--out", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | places, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    for name, rate in (("000", b"0.5"), ("001", b"1.0")):
        (log,) = (out / "runs" / name / "wandb").glob("offline-run-*/run-*.wandb")
        data = log.read_bytes()
        assert b"learners/welfare/median" in data
        assert data.count(b"lola.lookahead_rate") >= 1
        assert rate in data


@pytest.mark.slow
def test_populations_are_swept(tmp_path):
    data = yaml.safe_load((ROOT / "configs/sweeps/psro_risk.yaml").read_text())
    data["parameters"] |= {"iterations": {"value": 2}, "risk": {"values": [0.0, 0.5]}, "oracle.risk": {"value": 0.1}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(data))
    assert main(["sweep", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out")]) == 0
    rows = results(tmp_path / "out")
    assert [row["status"] for row in rows] == ["finished"] * 2
    last = lines(tmp_path / "out" / "runs" / "001")[-1]
    assert float(rows[1]["nash_conv/median"]) == pytest.approx(np.median(last["nash_conv"]))


def test_a_worker_that_leaves_nothing_is_a_failure(tmp_path):
    asked = sweep_arguments(
        [file(tmp_path / "s.yaml", {"lola.lookahead_rate": {"values": [0.5]}}), "--out", str(tmp_path / "o")]
    )
    record = Record.opened(asked)
    (point,) = record.todo()
    assert record.judge(point, tmp_path / "none.txt") is None
    assert (point.status, point.reason) == ("failed", "the worker ended without a word")
    (tmp_path / "some.txt").write_text("compiling\nerror: out of room\nbye\n")
    record.judge(point, tmp_path / "some.txt")
    assert point.reason == "out of room"
    with (tmp_path / "some.txt").open("a") as file_:
        file_.write(f"{STARTED}\nkilled\n")
    record.judge(point, tmp_path / "some.txt")
    assert point.reason == "killed"
