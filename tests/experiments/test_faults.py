"""What goes wrong outside the program: numbers, disks, directories, files. Nothing that was written is lost."""

import errno
import io
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from experiments import checkpoint, train
from experiments.cli import main
from experiments.config import UserError
from experiments.curves import POINTS
from experiments.run_directory import RunDirectory
from experiments.trained import frozen, load

ROOT = Path(__file__).parents[2]
GAME = '''"""Of the first some seeds fail, in the second all do worse and worse."""
import jax.numpy as jnp

from envs import differentiable_game


@differentiable_game(players=2, dim=1)
def quartic(params):
    """Too long a step from too far away goes further away."""
    return -params[:, 0] ** 4


@differentiable_game(players=2, dim=1)
def dilemma(params):
    """What each gains costs the other more."""
    x, y = params[:, 0]
    return jnp.stack([x - 2 * y, y - 2 * x])
'''
QUARTIC = ["--env=function", "--learners=naive", "--naive.learning_rate=0.2", "--log_every=2"]
LINE = '{"step": %d, "learners": {"welfare": [1.0, 2.0], "reward_per_step": [[1.0, 1.0], [2.0, 2.0]]}}\n'


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def quartic(tmp_path_factory):
    """A run of whose seeds 0 to 3 the first fails, and what it said."""
    folder = tmp_path_factory.mktemp("quartic")
    (folder / "game.py").write_text(GAME)
    flags = [*QUARTIC, f"--env.source={folder / 'game.py'}:quartic"]
    assert main([*flags, "--seeds=4", "--steps=8", f"--out={folder / 'run'}"]) == 1
    return flags, folder / "run"


def test_one_seed_fails_and_the_others_go_on(quartic, tmp_path, capsys):
    flags, folder = quartic
    (fault,) = summary(folder)["faults"]
    assert (fault["side"], fault["seed"], fault["array"]) == ("naive*2", 0, "reward_per_step")
    assert summary(folder)["status"] == "finished"
    assert [line["step"] for line in lines(folder)] == [0, 2, 4, 6, 8]
    for line in lines(folder):
        values = line["learners"]
        failed = line["step"] >= fault["step"]
        assert (values["welfare"][0] is None) == failed
        assert (values["reward_per_step"][0] == [None, None]) == failed
        assert (values["statistics"]["x"][0] == [None, None]) == failed
        assert None not in values["welfare"][1:]
    assert main([*flags, "--seeds=3", "--seed=1", "--steps=8", f"--out={tmp_path / 'sound'}"]) == 0
    assert "error" not in capsys.readouterr().err
    alone, among = ([line["learners"]["welfare"] for line in lines(path)] for path in (tmp_path / "sound", folder))
    assert alone == [welfare[1:] for welfare in among]


def test_a_seed_that_failed_is_told_and_the_run_goes_on_bit_for_bit(quartic, tmp_path, capsys):
    flags, folder = quartic
    out = tmp_path / "run"
    assert main([*flags, "--seeds=4", "--steps=6", f"--out={out}"]) == 1
    told = capsys.readouterr()
    text = "naive*2: step 4, seed 0: reward_per_step is not finite"
    assert f"warning: {text}; the other seeds go on" in " ".join(told.out.split())
    assert f"error: {text}; the other seeds are sound" in told.err
    assert "naive: median welfare -0.00" in told.out  # of the others
    assert main([f"--resume={out}", "--steps=8"]) == 1
    for name in ("metrics.jsonl", "checkpoint/step_0000000008.safetensors"):
        assert (out / name).read_bytes() == (folder / name).read_bytes()
    assert summary(out)["faults"] == summary(folder)["faults"]
    assert main([f"--resume={out}"]) == 0  # is finished, and says so


def test_a_seed_that_failed_keeps_its_last_sound_states(quartic):
    trained = load(quartic[1])
    assert [(fault.step, fault.seed) for fault in trained.faults] == [(4, 0)]
    assert all(np.isfinite(leaf).all() for leaf in map(np.asarray, trained.states[0]))


def test_the_best_policies_can_be_named(quartic, tmp_path):
    source = f"--env.source={quartic[1].parent / 'game.py'}:dilemma"
    assert main([*QUARTIC, source, "--seeds=2", "--steps=4", f"--out={tmp_path / 'run'}"]) == 0
    best, last = (load(tmp_path / "run", best=which) for which in (True, False))
    assert (best.step, last.step) == (0, 4)
    for name, trained in (("@best#1", best), ("#1", last)):
        named = frozen(f"checkpoint:{tmp_path / 'run'}{name}", trained.match.env, 0)
        np.testing.assert_array_equal(named.policies, trained.states[0].params[:, 1])
    (tmp_path / "run" / "checkpoint" / checkpoint.BEST).unlink()
    with pytest.raises(UserError, match=r"best\.safetensors: cannot be read"):
        frozen(f"checkpoint:{tmp_path / 'run'}@best", best.match.env, 0)


def test_a_run_of_which_all_seeds_fail_stops_and_names_the_first(quartic, tmp_path, capsys):
    out = tmp_path / "run"
    flags = [*quartic[0], "--seeds=3", "--seed=40", "--steps=6", "--naive.learning_rate=1e38"]
    assert main([*flags, f"--out={out}"]) == 1
    error = capsys.readouterr().err
    assert "naive*2: step 1, seed 42: states[0].params is not finite" in error
    assert str(out) in error
    assert summary(out)["status"] == "failed"
    assert [(fault["step"], fault["seed"]) for fault in summary(out)["faults"]] == [(1, 42), (2, 40), (2, 41)]
    assert [line["step"] for line in lines(out)] == [0, 2]
    assert lines(out)[1]["learners"]["welfare"] == [None] * 3
    (path,) = (out / "checkpoint").glob("step*")
    assert all(np.isfinite(array).all() for array in safetensors.numpy.load_file(path).values())
    assert main([f"--resume={out}"]) == 1
    assert "states[0].params is not finite" in capsys.readouterr().err


class FullDisk:
    """Lets so many bytes be written below a folder, and no more."""

    def __init__(self, monkeypatch, folder, room):
        disk, true = self, io.open
        disk.room = room

        class File(io.FileIO):
            def write(self, data):
                if len(data) > disk.room:
                    super().write(data[: disk.room])
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                disk.room -= len(data)
                return super().write(data)

        def opened(file, mode="r", *args, **kwargs):
            ours = mode in ("wb", "ab") and str(file).startswith(str(folder))
            return File(file, mode) if ours else true(file, mode, *args, **kwargs)

        monkeypatch.setattr(io, "open", opened)


def test_a_run_on_a_full_disk_says_so_and_goes_on_when_there_is_room(quartic, tmp_path, monkeypatch, capsys):
    flags, _ = quartic
    args = [*flags, "--seeds=2", "--seed=1", "--steps=12"]
    assert main([*args, f"--out={tmp_path / 'whole'}"]) == 0
    monkeypatch.setattr(train, "CHUNK_S", 0.0)
    monkeypatch.setattr(train, "CHECKPOINT_EVERY_S", -1.0)
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        FullDisk(patch, out, 12_000)
        assert main([*args, f"--out={out}"]) == 1
    error = capsys.readouterr().err
    assert "No space left on device; what was written until then stays, and --resume goes on from there" in error
    assert str(out) in error
    done = checkpoint.latest_step(out / "checkpoint")
    assert done is not None
    assert 0 < done < 12
    assert not list(out.glob("**/.*.partial"))  # makes room
    assert load(out).step == done
    assert next(RunDirectory(out).read_metrics())["step"] == 0
    assert main([f"--resume={out}"]) == 0
    for name in ("metrics.jsonl", "checkpoint/step_0000000012.safetensors", "checkpoint/best.safetensors"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_errors_of_the_kernel_name_the_file(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.metrics.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*metrics.jsonl'"):
        directory.append_metrics({"step": 0})


@pytest.fixture
def mounted(tmp_path):
    """Mounts `tmpfs` of a size, read-only or not, where that is allowed."""
    places = []

    def mount(size, options=""):
        place = tmp_path / f"mount{len(places)}"
        place.mkdir()
        args = ["mount", "-t", "tmpfs", "-o", f"size={size}{options}", "tmpfs", str(place)]
        if subprocess.run(args, capture_output=True, check=False).returncode:
            pytest.skip("may not mount")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.slow
def test_a_disk_that_is_really_full(quartic, tmp_path, mounted, monkeypatch, capsys):
    flags, _ = quartic
    monkeypatch.setattr(train, "CHUNK_S", 0.0)
    monkeypatch.setattr(train, "CHECKPOINT_EVERY_S", -1.0)
    args = [*flags, "--seeds=2", "--seed=1", "--steps=400", "--log_every=1"]
    assert main([*args, f"--out={tmp_path / 'whole'}"]) == 0
    place = mounted("48k")
    out = place / "run"
    assert main([*args, f"--out={out}"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    done = checkpoint.latest_step(out / "checkpoint")
    assert done
    subprocess.run(["mount", "-o", "remount,size=4m", str(place)], check=True)
    assert main([f"--resume={out}"]) == 0
    for name in ("metrics.jsonl", "checkpoint/step_0000000400.safetensors", "checkpoint/best.safetensors"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_a_disk_that_is_read_only(quartic, mounted, capsys):
    place = mounted("4m")
    shutil.copytree(quartic[1], place / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    assert main([f"--resume={place / 'run'}", "--steps=20"]) == 2
    assert f"{place / 'run'}: cannot be written: Read-only file system" in capsys.readouterr().err
    assert main([*quartic[0], f"--out={place / 'new'}"]) == 2
    assert "cannot be written: Read-only file system" in capsys.readouterr().err
    subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_directory_that_is_read_only(quartic, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(quartic[1], out)
    out.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert main([f"--resume={out}", "--steps=20"]) == 2
    assert "cannot be written: Permission denied" in capsys.readouterr().err


def test_a_directory_that_vanishes(quartic, tmp_path, monkeypatch, capsys):
    out, append = tmp_path / "run", RunDirectory.append_metrics

    def vanishing(directory, line):
        if line["step"] == 4:
            shutil.rmtree(out)
        append(directory, line)

    monkeypatch.setattr(RunDirectory, "append_metrics", vanishing)
    assert main([*quartic[0], "--seeds=1", "--seed=1", "--steps=6", f"--out={out}"]) == 1
    assert f"error: {out / 'metrics.jsonl'}: No such file or directory" in capsys.readouterr().err
    assert not out.exists()


def test_what_a_process_left_that_was_killed_before_its_run_is_no_run(tmp_path):
    out = tmp_path / "run"
    (out / "checkpoint").mkdir(parents=True)
    (out / ".lock").touch()
    (out / ".config.yaml.partial").write_text("env: i")
    directory = RunDirectory.create(str(out), "name", {"env": "ipd"})
    assert directory.config.read_text() == "env: ipd\n"
    assert not (out / ".config.yaml.partial").exists()
    with pytest.raises(UserError, match="already holds a run"):
        RunDirectory.create(str(out), "name", {"env": "ipd"})


def metrics(folder, text):
    (folder / "metrics.jsonl").write_text(text)
    return RunDirectory(folder)


@pytest.mark.parametrize("tail", ["", '{"step": 8, "lear', '{"step": 9, "learners": {}}\n{"step"', "{"])
def test_lines_after_a_step_are_dropped_in_place(tmp_path, tail):
    directory = metrics(tmp_path, "".join(LINE % step for step in (0, 2, 4, 6, 7)) + tail)
    inode = directory.metrics.stat().st_ino
    assert directory.truncate_metrics(7)
    assert [line["step"] for line in directory.read_metrics()] == [0, 2, 4, 6, 7]
    assert not directory.truncate_metrics(7, lambda step: step % 2 == 0)  # where it was interrupted
    assert directory.metrics.read_text() == "".join(LINE % step for step in (0, 2, 4, 6))
    assert not directory.truncate_metrics(5)
    assert directory.truncate_metrics(4)
    assert directory.metrics.read_text() == "".join(LINE % step for step in (0, 2, 4))
    assert directory.metrics.stat().st_ino == inode
    directory.truncate_metrics(-1)
    assert directory.metrics.read_text() == ""
    assert not RunDirectory(tmp_path / "nowhere").truncate_metrics(3)


def test_a_damaged_line_is_named_and_nothing_is_dropped(tmp_path):
    text = LINE % 0 + "nonsense\n" + LINE % 2
    directory = metrics(tmp_path, text)
    with pytest.raises(UserError, match=r"metrics.jsonl: line 2 is damaged"):
        directory.truncate_metrics(2)
    assert directory.metrics.read_text() == text


@pytest.mark.parametrize("count", [10**5, pytest.param(10**6, marks=pytest.mark.slow)])
def test_very_many_lines_take_no_memory(tmp_path, count):
    with (tmp_path / "metrics.jsonl").open("w") as file:
        file.writelines(LINE % step for step in range(count))
    directory = RunDirectory(tmp_path)
    size = directory.metrics.stat().st_size
    tracemalloc.start()
    assert directory.truncate_metrics(count - 2)
    assert tracemalloc.get_traced_memory()[1] < 2**18
    assert size - directory.metrics.stat().st_size == len(LINE % (count - 1))
    shown = [line["step"] for line in directory.read_metrics(POINTS)]  # as a figure does
    assert tracemalloc.get_traced_memory()[1] < 2**18 + 40 * count  # where each line is
    tracemalloc.stop()
    assert POINTS / 2 <= len(shown) <= POINTS + 2
    assert (shown[0], shown[-1]) == (0, count - 2)


SECRETS = {"WANDB_API_KEY": "5eca" * 10, "AWS_SECRET_ACCESS_KEY": "only-for-me", "GITHUB_TOKEN": "ghp_onlyforme"}


def leaks(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [(path.name, name) for path in files for name, key in SECRETS.items() if key.encode() in path.read_bytes()]


def test_no_key_is_written(quartic, tmp_path, monkeypatch, capsys):
    for name, key in SECRETS.items():
        monkeypatch.setenv(name, key)
    args = [*quartic[0], "--seeds=1", "--seed=1", "--steps=2"]
    assert main([*args, f"--out={tmp_path / 'run'}"]) == 0
    assert leaks(tmp_path) == []
    assert not any(key in "".join(capsys.readouterr()) for key in SECRETS.values())
    assert summary(tmp_path / "run")["command"] == shlex.join(["python", "run.py", *args, f"--out={tmp_path / 'run'}"])
    (tmp_path / "run" / "leak").write_text(f"key: {SECRETS['WANDB_API_KEY']}")
    assert leaks(tmp_path) == [("leak", "WANDB_API_KEY")]  # the search finds what there is


@pytest.mark.slow
def test_no_key_is_written_by_wandb(quartic, tmp_path):
    args = [*quartic[0], "--seeds=1", "--seed=1", "--steps=2", "--wandb=offline", f"--out={tmp_path / 'run'}"]
    places = {f"WANDB_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "CACHE", "DATA")}
    result = subprocess.run(
        [sys.executable, "run.py", *args], cwd=ROOT, env=os.environ | SECRETS | places, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "run").glob("wandb/offline-run-*/run-*.wandb"))
    assert leaks(tmp_path) == []
    assert not any(key.encode() in result.stdout + result.stderr for key in SECRETS.values())
