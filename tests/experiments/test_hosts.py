"""Several processes train one run: the numbers of one process, one run directory, and an end that all know of."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from experiments.cli import main
from experiments.config import UserError
from experiments.hosts_arguments import Meeting, meeting_argument
from experiments.tiles import Tiles

ROOT = Path(__file__).parents[2]
RUN = ["--env", "chicken", "--seeds", "9", "--steps", "4", "--log_every", "2", "--baseline", "none"]
ENDLESS = [*RUN, "--steps", "100000000", "--log_every", "20"]
SHAPER = ["--players=3", "--env.horizon=5", "--episodes=2", "--seeds=1", "--steps=3", "--log_every=3"]
SHAPER += ["--learners=shaper,reinforce*2", "--shaper.population=8"]
FAST_CHECKPOINTS = "from experiments import train; train.CHECKPOINT_EVERY_S = 0.0; "
LOST_S = 60  # silence counts as death after 30; the rest is a margin


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def start(*commands, devices=1, prepare="", cluster=()):
    """Processes that meet on this machine, one for each command line; `prepare` is run in them before."""
    code = f"import sys; from experiments.cli import main; {prepare}sys.exit(main(sys.argv[1:]))"
    rest = {key: value for key, value in os.environ.items() if not key.startswith(("XLA_FLAGS", "JAX_NUMPY"))}
    address = f"127.0.0.1:{free_port()}"
    found = []
    for number, args in enumerate(commands):
        own = {"JAX_NUM_CPU_DEVICES": str(devices)} | (cluster[number] if cluster else {})
        meeting = "auto" if cluster else f"{address},{len(commands)},{number}"
        found.append(
            subprocess.Popen(
                [sys.executable, "-c", code, "--distributed", meeting, *args],
                cwd=ROOT,
                env=rest | own,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return found


def end(processes, timeout=300):
    """Exit code, output and errors of each."""
    try:
        found = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *text) for process, text in zip(processes, found, strict=True)]


def together(*commands, **options):
    """Run processes that are expected to finish well; returns what each printed."""
    found = end(start(*commands, **options))
    assert [code for code, _, _ in found] == [0] * len(commands), found
    return [text for _, text, _ in found]


def wait_for_lines(out, count, processes):
    deadline = time.monotonic() + 200
    while not (out / "metrics.jsonl").exists() or len((out / "metrics.jsonl").read_text().splitlines()) < count:
        assert all(process.poll() is None for process in processes), end(processes)
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lines(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def arrays(out):
    newest = max((out / "checkpoint").glob("step_*.safetensors"))
    return {name: array.tobytes() for name, array in safetensors.numpy.load_file(newest).items()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """In a process of its own too: in this one the compiler has its flags since another test."""
    out = tmp_path_factory.mktemp("runs") / "alone"
    together([*RUN, f"--out={out}"])
    return out


def test_two_processes_train_what_one_does(alone, tmp_path):
    """Bit for bit; and the first alone prints and writes."""
    first, second = together([*RUN, f"--out={tmp_path / 'both'}"], [*RUN, f"--out={tmp_path / 'none'}"])
    assert lines(tmp_path / "both") == lines(alone)
    assert arrays(tmp_path / "both") == arrays(alone)
    assert "compiled lola*2 on chicken" in first
    assert "chicken" not in second
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_runs_go_on_with_any_number_of_processes(alone, tmp_path):
    out = tmp_path / "run"
    together(*[[*RUN, "--steps=1", f"--out={out}"]] * 2, devices=2)
    together(["--resume", str(out), "--steps=2"])
    together(*[["--resume", str(out), "--steps=3"]] * 3)
    together(["--resume", str(out), "--steps=4"])
    assert arrays(out) == arrays(alone)
    whole = {line["step"]: line for line in lines(alone)}
    assert all(line == whole[line["step"]] for line in lines(out) if line["step"] in whole)


@pytest.mark.slow
def test_a_cluster_says_where_the_processes_meet(alone, tmp_path):
    """With the variables of SLURM."""
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    step["JAX_COORDINATOR_PORT"] = str(free_port())
    cluster = [step | {"SLURM_PROCID": number, "SLURM_LOCALID": number} for number in "01"]
    together(*[[*RUN, f"--out={tmp_path / 'run'}"]] * 2, cluster=cluster)
    assert lines(tmp_path / "run") == lines(alone)


@pytest.mark.slow
def test_a_population_is_spread_over_processes(tmp_path):
    """The numbers of one device, but for rounding."""
    alone = tmp_path / "alone"
    together([*SHAPER, f"--out={alone}"])
    together(*[[*SHAPER, f"--out={tmp_path / 'both'}"]] * 2, devices=2)
    found = [lines(out)[-1]["learners"]["reward_per_step"] for out in (alone, tmp_path / "both")]
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_signal_to_any_process_stops_all(tmp_path, number):
    out = tmp_path / "run"
    processes = start(*[[*ENDLESS, f"--out={out}"]] * 2)
    wait_for_lines(out, 3, processes)
    processes[number].send_signal(signal.SIGTERM)
    found = end(processes)
    assert [code for code, _, _ in found] == [143, 143], found
    assert "SIGTERM: stopping" in found[number][1]
    assert f"python run.py --resume {out}" in found[0][1]
    assert json.loads((out / "summary.json").read_text())["status"] == "interrupted"


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_the_death_of_one_process_ends_the_other_and_the_run_can_go_on(tmp_path, number):
    out = tmp_path / "run"
    processes = start(*[[*ENDLESS, f"--out={out}"]] * 2, prepare=FAST_CHECKPOINTS)
    wait_for_lines(out, 4, processes)
    processes[number].kill()
    died = time.monotonic()
    code, _, errors = end(processes)[1 - number]
    assert time.monotonic() - died < LOST_S
    assert code not in (0, None)
    assert "if another one ended, its output says why" in errors or "another task died" in errors
    assert number == 0 or f"python run.py --resume {out}" in errors
    step = int(max((out / "checkpoint").glob("step_*")).stem.removeprefix("step_"))
    together(["--resume", str(out), f"--steps={step + 20}"])
    together([*RUN, f"--steps={step + 20}", "--log_every=20", f"--out={tmp_path / 'whole'}"])
    assert arrays(out) == arrays(tmp_path / "whole")
    assert lines(out)[-1] == lines(tmp_path / "whole")[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "devices", "message"),
    [
        ([], ["--seeds=10"], 1, "--seeds is 10 in process 1 and 9 in process 0"),
        (["--seeds=4"], ["--seeds=4"], 2, "leave some of 2 processes without work; expected --seeds 5 or more"),
        (["--out=/proc/none/run"], ["--out=/proc/none/run"], 1, "cannot be written"),
    ],
)
def test_mistakes_end_all_processes(tmp_path, first, second, devices, message):
    command = [*RUN, f"--out={tmp_path / 'run'}"]
    found = end(start([*command, *first], [*command, *second], devices=devices))
    assert [code for code, _, _ in found] == [2, 2], found
    assert message in found[0][2]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("meeting", "code", "message"),
    [
        ("127.0.0.1:PORT,2,0", 1, "not all processes came to 127.0.0.1:PORT within 3 s"),
        ("127.0.0.1:PORT,2,1", 1, "not all processes came to 127.0.0.1:PORT within 3 s"),
        ("no.such.host.invalid:PORT,2,1", 2, "--distributed: no.such.host.invalid:PORT"),
        ("auto", 2, "expected the address of process 0"),
    ],
)
def test_processes_that_do_not_meet_say_so(meeting, code, message):
    port = str(free_port())
    prepare = "from experiments import hosts; hosts.JOIN_S = 3; "
    command = f"import sys; from experiments.cli import main; {prepare}sys.exit(main(sys.argv[1:]))"
    args = [sys.executable, "-c", command, *RUN, "--distributed", meeting.replace("PORT", port)]
    found = subprocess.run(args, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert found.returncode == code, found
    assert message.replace("PORT", port) in found.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--distributed", "ten"], "--distributed ten: not understood; expected auto"),
        (["--distributed", "a:70000,2,0"], "no port 70000"),
        (["--distributed=a:7000,2,2"], "no process 2 among 2, which are counted from 0"),
        (["psro", "--distributed"], "--distributed: psro is done by one process"),
        (["league", "--distributed", "a:7000,2,0"], "--distributed: league is done by one process"),
        (["evaluate", "runs/some", "--distributed=auto"], "--distributed: evaluate is done by one process"),
    ],
)
def test_mistakes_are_told_before_anything_starts(args, message, capsys):
    assert main(args) == 2
    assert message in capsys.readouterr().err


def test_the_argument_says_where_to_meet():
    assert meeting_argument(["--seeds", "3"]) == (["--seeds", "3"], None)
    assert meeting_argument(["--distributed", "--seeds", "3"]) == (["--seeds", "3"], Meeting())
    assert meeting_argument(["--seeds", "3", "--distributed=[::1]:70,3,2"])[1] == Meeting("[::1]:70", 3, 2)


@pytest.mark.parametrize(
    ("tiles", "population", "devices", "processes", "grid"),
    [
        (1, 1, 4, 1, (1, 1)),
        (3, 1, 2, 1, (2, 1)),  # two tiles on one device, one and a copy on the other
        (5, 1, 4, 1, (3, 1)),  # a fourth would save no time
        (4, 1, 4, 2, (4, 1)),
        (3, 1, 8, 2, (4, 1)),
        (1, 8, 4, 1, (1, 4)),
        (1, 6, 4, 2, (1, 2)),  # one device of each process
        (2, 8, 8, 2, (2, 4)),
        (5, 8, 4, 1, (1, 4)),  # 5 / 4 of the time of a tile; spread over seeds it would be 2
    ],
)
def test_the_mesh_takes_least_time_and_all_processes(monkeypatch, tiles, population, devices, processes, grid):
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    found = Tiles(4 * tiles - 1, 4, population)
    assert found._grid == grid
    assert found.padded == 4 * tiles
    assert found.spread >= found.padded
    assert found.spread % (4 * grid[0]) == 0


def test_too_little_work_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match="3 seeds, 4 side by side, leave some of 2 processes without work"):
        _ = Tiles(3, 4)._grid
    assert Tiles(5, 4)._grid == (2, 1)
