"""The command line as a user meets it: run directory, output, errors, signals, resume."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml
from rich.console import Console

import envs
from experiments import checkpoint, train
from experiments.cli import main
from experiments.compiled import Programs
from experiments.run_directory import RunDirectory
from experiments.sides import Side
from experiments.tables import print_table, sentence, table
from experiments.tiles import Tiles
from shaping import Outcome

ROOT = Path(__file__).parents[2]
SMALL = ["--env", "ipd", "--players", "2", "--seeds", "3", "--steps", "6", "--log_every", "2"]


def command(*args, cwd=ROOT, **options):
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *args], cwd=cwd, capture_output=True, text=True, check=False, **options
    )


def lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def final(directory):
    summary = json.loads((directory / "summary.json").read_text())
    return {key: summary[key] for key in ("steps", "reward_per_step", "welfare", "statistics", "baselines")}


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "small"
    assert main([*SMALL, "--out", str(out)]) == 0
    return out


def test_the_run_directory_holds_what_it_promises(small_run):
    summary = json.loads((small_run / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert (summary["env"], summary["players"], summary["learners"]) == ("ipd", 2, ["lola", "lola"])
    assert (summary["seeds"], summary["seed"], summary["steps"]) == (3, 0, 6)
    assert 0 < summary["compile_s"] < summary["wall_s"]
    assert summary["steps_per_s"] > 0
    assert np.shape(summary["reward_per_step"]) == (3, 2)
    assert np.shape(summary["welfare"]) == np.shape(summary["cooperation"]) == (3,)
    np.testing.assert_allclose(np.mean(summary["reward_per_step"], axis=1), summary["welfare"], rtol=1e-6)
    assert summary["baselines"]["all C"] == 2.0
    assert summary["baselines"]["all D"] == 1.0
    assert np.shape(summary["baselines"]["naive*2"]["welfare"]) == (3,)
    assert summary["command"].startswith("python run.py --env ipd")
    assert {"wall_s", "compile_s", "steps_per_s", "versions"} <= summary.keys()
    assert summary["versions"]["jax"]
    assert [line["step"] for line in lines(small_run)] == [0, 2, 4, 6]
    assert lines(small_run)[-1]["learners"]["welfare"] == summary["welfare"]
    assert (small_run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((small_run / "checkpoint").glob("*.safetensors"))
    assert yaml.safe_load((small_run / "config.yaml").read_text())["lola.lookahead_rate"] == 1.0


def test_the_config_of_a_run_repeats_it(small_run, tmp_path):
    assert main(["--config", str(small_run / "config.yaml"), "--out", str(tmp_path / "again")]) == 0
    assert final(tmp_path / "again") == final(small_run)


def test_one_seed_of_many_is_the_single_run(small_run, tmp_path):
    args = [*SMALL, "--seeds", "1", "--seed", "2", "--out", str(tmp_path / "single")]
    assert main(args) == 0
    assert final(tmp_path / "single")["welfare"][0] == final(small_run)["welfare"][2]


def on_devices(count):
    """An environment in which JAX has so many devices; a command run in this process may have set another number."""
    rest = {key: value for key, value in os.environ.items() if key != "JAX_NUM_CPU_DEVICES"}
    return rest | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}


@pytest.mark.slow
def test_a_population_does_not_depend_on_the_devices_it_is_spread_over(tmp_path):
    """But for rounding."""
    trial = ["--players=3", "--env.horizon=5", "--episodes=2", "--seeds=1", "--steps=3", "--log_every=3"]
    found = []
    for devices in (1, 4):
        out = tmp_path / str(devices)
        learners = ["--learners=shaper,reinforce*2", "--shaper.population=8"]
        lenient = {key: value for key, value in on_devices(devices).items() if not key.startswith("JAX_NUMPY")}
        result = command(*trial, *learners, f"--out={out}", env=lenient, timeout=300)
        assert result.returncode == 0, result.stderr
        found.append(final(out)["reward_per_step"])
    np.testing.assert_allclose(*found, rtol=1e-5)


LONG = ["--players", "3", "--baseline", "none", "--steps", "200", "--log_every", "200"]
"""Learning amplifies rounding until a seed ends in another basin."""


def test_no_seed_depends_on_the_others(tmp_path):
    """Exactly, and for long."""
    welfare = {}
    for name, args in {"many": ["--seeds", "9"], "few": ["--seeds", "2", "--seed", "5"]}.items():
        assert main([*LONG, *args, "--out", str(tmp_path / name)]) == 0
        welfare[name] = final(tmp_path / name)["welfare"]
    assert welfare["few"] == welfare["many"][5:7]


@pytest.mark.slow
def test_no_seed_depends_on_the_devices(tmp_path):
    """Exactly, and for long."""
    welfare = []
    for devices in (1, 2, 4):
        args = ["--seeds=9", f"--out={tmp_path / str(devices)}"]
        result = command(*LONG, *args, env=on_devices(devices), timeout=180)
        assert result.returncode == 0, result.stderr
        welfare.append(final(tmp_path / str(devices))["welfare"])
    assert welfare[0] == welfare[1] == welfare[2]


def test_logging_more_often_changes_nothing(small_run, tmp_path):
    assert main([*SMALL, "--log_every", "1", "--out", str(tmp_path / "often")]) == 0
    assert final(tmp_path / "often") == final(small_run)
    assert len(lines(tmp_path / "often")) == 7


def test_output_says_what_happened(tmp_path, capsys):
    assert main(["--env", "ipd", "--players", "3", "--steps", "40", "--out", str(tmp_path / "run")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(r"compiled lola\*3 on ipd, 3 players, 16 seeds: [\d.]+ s", text)
    assert "steps/s" in text
    assert re.search(r"naive defects in 1[3-6] of 16 seeds: median welfare 1", text)
    assert re.search(r"lola cooperates in \d+ of 16 seeds: median welfare (3\.[5-9]\d*|4) of 4, \d+ above 3.4", text)
    assert "Welfare of all C 4, all D 1" in text
    for seat in range(3):
        assert f"{seat} lola" in text
    assert str(tmp_path / "run") in text


@pytest.mark.parametrize(
    "args",
    [
        ["--env", "rock_paper_scissors", "--learners", "lola,naive"],
        ["--env", "chicken", "--baseline", "none"],
        ["--env", "matrix", "--env.payoffs", str(ROOT / "examples/stag_hunt.json")],
        ["--env", "ultimatum", "--learners", "lookahead"],
        ["--env", "matching_pennies", "--players", "3", "--learners", "naive"],
    ],
)
def test_other_games_and_seats(tmp_path, args, capsys):
    assert main([*args, "--seeds", "2", "--steps", "4", "--out", str(tmp_path / "run")]) == 0
    assert np.isfinite(final(tmp_path / "run")["welfare"]).all()
    assert "seat" in capsys.readouterr().out


def test_a_run_is_never_overwritten(small_run, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in small_run.rglob("*")}
    assert main([*SMALL, "--out", str(small_run)]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in small_run.rglob("*")} == before
    (tmp_path / "notes.txt").write_text("mine")
    assert main([*SMALL, "--out", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.slow
def test_without_out_runs_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main([*SMALL, "--steps", "1"]) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["ipd-2-lolax2-1", "ipd-2-lolax2-2"]


def test_resume_continues_bit_for_bit(small_run, tmp_path):
    out = tmp_path / "run"
    assert main([*SMALL, "--steps", "3", "--out", str(out)]) == 0
    assert main(["--resume", str(out), "--steps", "6"]) == 0
    assert final(out) == final(small_run)
    assert (out / "metrics.jsonl").read_bytes() == (small_run / "metrics.jsonl").read_bytes()
    name = "checkpoint/step_0000000006.safetensors"
    assert (out / name).read_bytes() == (small_run / name).read_bytes()


def test_a_run_goes_on_where_tiles_are_wider(small_run, tmp_path, monkeypatch):
    """As they are on another kind of device."""
    out = tmp_path / "run"
    assert main([*SMALL, "--steps", "3", "--out", str(out)]) == 0
    tiles = Tiles.of
    monkeypatch.setattr(Tiles, "of", lambda *args: replace(tiles(*args), width=2 * tiles(*args).width))
    assert main(["--resume", str(out), "--steps", "6"]) == 0
    one, other = (checkpoint.read_latest(run / "checkpoint") for run in (out, small_run))
    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], rtol=1e-4, atol=1e-6)


def test_resume_of_a_finished_run_says_so(small_run, capsys):
    assert main(["--resume", str(small_run)]) == 0
    assert "is finished: step 6 of 6" in " ".join(capsys.readouterr().out.split())
    assert main(["--resume", str(small_run), "--seeds", "4"]) == 2
    assert "a run continues as it was" in capsys.readouterr().err
    before = (small_run / "config.yaml").read_text()
    assert main(["--resume", str(small_run), "--steps", "3"]) == 2
    assert "is at step 6; expected more than that" in capsys.readouterr().err
    assert (small_run / "config.yaml").read_text() == before


@pytest.mark.slow
def test_resume_of_a_run_killed_before_its_first_checkpoint_starts_over(small_run, tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*SMALL, "--out", str(out)]) == 0
    for path in (out / "checkpoint").iterdir():
        path.unlink()
    assert main(["--resume", str(out)]) == 0
    assert "no checkpoint: starting from step 0" in " ".join(capsys.readouterr().out.split())
    assert final(out) == final(small_run)
    assert [line["step"] for line in lines(out)] == [0, 2, 4, 6]


def test_a_signal_before_the_first_step_leaves_a_run_that_goes_on(small_run, tmp_path, monkeypatch):
    out, start = tmp_path / "run", Side.start

    def interrupted(side):
        start(side)
        os.kill(os.getpid(), signal.SIGTERM)
        monkeypatch.setattr(Side, "start", start)

    monkeypatch.setattr(Side, "start", interrupted)
    assert main([*SMALL, "--out", str(out)]) == 143
    assert [line["step"] for line in lines(out)] == [0]
    assert main(["--resume", str(out)]) == 0
    assert [line["step"] for line in lines(out)] == [0, 2, 4, 6]
    assert final(out) == final(small_run)


def test_a_second_signal_stops_at_once(tmp_path, monkeypatch):
    def twice(side):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Side, "start", twice)
    with pytest.raises(SystemExit, match="143"):
        main([*SMALL, "--out", str(tmp_path / "run")])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_checkpoints_are_written_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "CHECKPOINT_EVERY_S", 0.0)
    saved = []
    save = checkpoint.save
    monkeypatch.setattr(
        checkpoint, "save", lambda directory, step, tree, keep: saved.append(step) or save(directory, step, tree, keep)
    )
    assert main([*SMALL, "--keep", "3", "--out", str(tmp_path / "run")]) == 0
    assert saved[0] <= 2
    assert saved[-1] == 6
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoint").iterdir())
    assert kept == ["best.safetensors", *(f"step_{step:010d}.safetensors" for step in sorted(set(saved))[-3:])]


@pytest.mark.slow
def test_resume_drops_metrics_after_the_checkpoint_and_a_torn_line(tmp_path):
    out = tmp_path / "run"
    assert main([*SMALL, "--steps", "4", "--out", str(out)]) == 0
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "learners": {}}\n{"step": 6, "lear')
    assert main(["--resume", str(out), "--steps", "6"]) == 0
    assert [line["step"] for line in lines(out)] == [0, 2, 4, 6]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--learners", "lolla"], "error: unknown learner 'lolla': did you mean 'lola'?"),
        (["lst"], "error: unknown command 'lst': did you mean 'list'?"),
        (["list", "envs"], "error: list takes no arguments"),
        (["--out", "/proc/none/run"], "cannot be written"),
        (["--learners", "lola*3"], "3 seats for 2 players"),
        (["--learners", "lola*99999999999"], "99999999999 seats for 2 players"),
        (["--baseline", "lola*3"], "--baseline lola*3: 3 seats for 2 players"),
        (["--resume", ""], "--resume : holds no run"),
    ],
)
def test_mistakes_exit_with_2(args, message, capsys):
    assert main(args) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("args", [["--lola.terms", "bth"], ["--seeds", "many"], ["--env", "matrix"], ["--wandb", "on"]])
def test_values_of_the_wrong_type_exit_with_2(args, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(args)
    assert args[-1].removeprefix("--") in capsys.readouterr().err or args == ["--env", "matrix"]


@pytest.mark.parametrize("args", [["--help"], ["list"], ["--version"]])
def test_help_and_list_are_instant_and_import_no_numerics(args):
    """Measured with a generous bound: the target is a second, an import of JAX alone takes about that."""
    code = (
        "import sys; from experiments.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "sys.exit(str({'jax', 'wandb'} & set(sys.modules)) if {'jax', 'wandb'} & set(sys.modules) else 0)"
    )
    start = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code, *args], cwd=ROOT, capture_output=True, text=True, check=False)
    assert time.perf_counter() - start < 5
    assert result.returncode == 0, result.stderr
    expected = {
        "--help": ("--lola.lookahead_rate", "--env.horizon", "--players", "JAX_COMPILATION_CACHE_DIR"),
        "list": ("ipd", "lola", "arXiv"),
        "--version": ("parley",),
    }
    for word in expected[args[0]]:
        assert word in result.stdout


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_signals_finish_the_chunk_and_the_run_can_go_on(tmp_path, number, code):
    out = tmp_path / "run"
    args = ["--players", "2", "--seeds", "2", "--steps", "100000000", "--log_every", "500", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *args],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (out / "metrics.jsonl").exists() or len((out / "metrics.jsonl").read_text().splitlines()) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    text, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert f"python run.py --resume {out}" in text
    summary = json.loads((out / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert summary["steps"] == lines(out)[-1]["step"]
    resumed = main(["--resume", str(out), "--steps", str(summary["steps"] + 10)])
    assert resumed == 0
    assert lines(out)[-1]["step"] == summary["steps"] + 10


def test_two_processes_do_not_share_a_run(small_run, capsys):
    with RunDirectory(small_run).locked():
        assert main(["--resume", str(small_run), "--steps", "60"]) == 2
    assert "another process is working in it" in capsys.readouterr().err


@pytest.mark.slow
def test_a_damaged_line_of_metrics_is_named(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*SMALL, "--steps", "2", "--out", str(out)]) == 0
    (out / "metrics.jsonl").write_text("nonsense\n")
    assert main(["--resume", str(out), "--steps", "4"]) == 2
    assert "line 1 is damaged" in capsys.readouterr().err


@pytest.mark.slow
def test_names_and_paths_are_not_markup(tmp_path, capsys):
    game = {"payoffs": [[[1, 2], [3, 4]], [[1, 2], [3, 4]]], "actions": [["[red]x[/red]", "[/b]"]] * 2}
    path, out = tmp_path / "game.json", tmp_path / "[bold] run"
    path.write_text(json.dumps(game))
    assert main(["--env", "matrix", "--env.payoffs", str(path), "--seeds", "1", "--steps", "1", "--out", str(out)]) == 0
    text = "".join(capsys.readouterr().out.split())
    assert "rateof[red]x[/red]" in text
    assert "".join(str(out).split()) in text


@pytest.mark.parametrize(("players", "kinds"), [(2, 5), (6, 13)])
def test_no_number_of_the_table_is_cut(players, kinds, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    env = envs.make("ipd", players=players)
    shape = (3, players)
    statistics = dict.fromkeys(env.statistic_names, np.full(shape, 0.25)) | {"C": np.full(shape, 0.5)}
    assert len(statistics) == kinds + 1
    outcome = Outcome(np.full(shape, 12.34) + np.arange(players), statistics)  # equal seats would share a row
    shown = table(env, "title", ["lookahead"] * players, outcome)
    console = Console(file=io.StringIO(), markup=False)
    print_table(console, shown)
    text = console.file.getvalue()
    assert "…" not in text
    assert text.count(".25") == 3 * players * kinds
    assert all(text.count(f"{12.34 + seat:.2f}") == 3 for seat in range(players))


def test_actions_of_different_names_are_not_confused():
    env = envs.make("ultimatum")
    outcome = Outcome(np.ones((2, 2)), {"a": np.full((2, 2), 0.5), "first": np.full((2, 2), np.nan)})
    assert sentence(env, ["lola", "lola"], outcome) == "lola: median welfare 1 of 5, 0 above 4"
    caption = table(env, "title", ["lola", "lola"], outcome).caption
    assert caption.startswith("a: rate of fair/accept")
    assert "(median reward: lola 1, naive 1)" in sentence(env, ["lola", "naive"], outcome)


def test_a_reader_that_leaves_is_no_error(tmp_path):
    shell = f"{shlex.quote(sys.executable)} run.py list | head -1"
    result = subprocess.run(["bash", "-c", shell], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr


def test_wandb_online_without_an_account_is_a_clear_error(tmp_path):
    out = tmp_path / "run"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")} | {"HOME": str(tmp_path)}
    environment |= {"WANDB_SILENT": "true", "NETRC": str(tmp_path / "none")}
    result = command(
        *SMALL, "--wandb=online", "--out", str(out), env=environment, timeout=180, stdin=subprocess.DEVNULL
    )
    assert result.returncode == 2, result.stderr
    assert "error: --wandb online:" in result.stderr
    assert not out.exists()


@pytest.mark.slow
def test_seeds_are_spread_over_the_devices():
    code = (
        "from experiments.config import parse; from experiments.sides import build_sides; import sys\n"
        "side = build_sides(parse(['--seeds', '9', '--players', '2'])[0])['learners']; side.start()\n"
        "sys.exit(0 if len(side.states[0].params.sharding.device_set) == 3 else 1)"
    )
    environment = on_devices(3)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


@pytest.mark.slow
def test_programs_are_cached_between_processes(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {"XDG_CACHE_HOME": str(tmp_path)}
    found = []
    for name in ("first", "second"):
        result = command(*SMALL, "--out", str(tmp_path / name), env=environment, timeout=180)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        told = "from the cache in" if found else "kept in"
        assert re.search(rf"compiled lola.* s \({told} .*parley/compiled, [\d.]+ MB\)", result.stdout)
        found.append(sorted(path.name for path in (tmp_path / "parley" / "compiled").glob("*-cache")))
    assert any("jit_run" in file for file in found[0])
    assert found[0] == found[1], "the second process compiled again"


def test_what_the_cache_of_programs_did_is_told(tmp_path, monkeypatch):
    (tmp_path / "program").write_bytes(bytes(12_000_000))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path.parent))

    def told(*events):
        programs = Programs()
        for event in events:
            jax.monitoring.record_event(f"/jax/compilation_cache/{event}")
        return programs.told()

    asked, place = "compile_requests_use_cache", f"~/{tmp_path.name}, 12 MB"
    assert told(asked, "cache_hits", asked, "cache_hits") == f" (from the cache in {place})"
    assert told(asked, "cache_hits", asked, "cache_misses") == f" (kept in {place})"
    assert told(asked) == told() == ""  # too small to be kept, or nothing to be compiled


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"parley \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_crashing_kernels_are_avoided_beside_other_flags(monkeypatch):
    from experiments.cli import avoid_crashing_kernels

    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.10.2")
    chosen = "--xla_cpu_experimental_ynn_fusion_type=dot"
    for given in ("", "--xla_force_host_platform_device_count=3", chosen):
        monkeypatch.setenv("XLA_FLAGS", given)
        avoid_crashing_kernels()
        avoid_crashing_kernels()
        assert os.environ["XLA_FLAGS"].startswith(given)
        assert os.environ["XLA_FLAGS"].count("ynn_fusion_type") == 1
    assert os.environ["XLA_FLAGS"] == chosen
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.11.2")
    monkeypatch.setenv("XLA_FLAGS", "")
    avoid_crashing_kernels()
    assert os.environ["XLA_FLAGS"] == ""


def test_readme_commands_parse():
    """Every `python run.py` line of the README is accepted up to building what it names."""
    from experiments.config import build_environment, build_learners, parse, seat_names

    text = (ROOT / "README.md").read_text()
    found = re.findall(r"^python run\.py (--(?!help|resume).*?)(?:\s+#.*)?$", text, re.M)
    assert len(found) >= 4
    for line in found:
        run, _ = parse(shlex.split(line))
        env = build_environment(run)
        names = seat_names(run.learners, env.num_players)
        if not any(name.startswith("checkpoint:") for name in names):  # of a run that the reader has made
            build_learners(run, env, names)


def test_the_python_example_of_the_readme_runs(capsys):
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert example
    exec(compile(example[1].replace("range(200)", "range(2)"), "README.md", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.startswith("[")
