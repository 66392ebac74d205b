"""The mirror in Weights & Biases: what it holds, that it goes on where it was, and that no run depends on it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from experiments.cli import main
from experiments.config import UserError
from experiments.psro_arguments import psro_arguments
from experiments.run_directory import RunDirectory
from experiments.tracking import MOST_SEATS, MOST_SEEDS, Mirror, Tracker, add_pictures, flat

SMALL = ["--env", "ipd2", "--baseline", "none", "--seeds", "2", "--steps", "4", "--log_every", "2"]
SECRETS = {
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "HF_TOKEN": "hf_not_to_be_seen_anywhere",
    "AWS_SECRET_ACCESS_KEY": "aws/not/to/be/seen/anywhere",
    "DATABASE_PASSWORD": "password_not_to_be_seen",
}


class FakeRun:
    """What of a run of wandb is used."""

    def __init__(self, settings, starting_step=0):
        self.settings, self.starting_step, self.step = settings, starting_step, starting_step
        self.id, self.project, self.entity = settings.get("id") or "new", settings.get("project") or "agent's", ""
        self.logged, self.summary, self.exit_code = [], {}, None

    def log(self, values, step):
        self.logged.append((step, values))
        self.step = step

    def finish(self, exit_code):
        self.exit_code = exit_code

    def steps(self):
        return [step for step, values in self.logged if not any(name.startswith("pictures/") for name in values)]

    def pictures(self):
        return {name: value for _, values in self.logged for name, value in values.items() if "pictures/" in name}


class FakeWandb:
    """In place of the module."""

    class Error(Exception):
        """As the module's."""

    def __init__(self):
        self.runs, self.starting_step = [], 0

    def init(self, **settings):
        self.runs.append(FakeRun(settings, self.starting_step))
        return self.runs[-1]

    Image = staticmethod(lambda path: ("image", path))
    Video = staticmethod(lambda path, **kind: ("video", path, kind["format"]))


@pytest.fixture
def wandb(monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


@pytest.fixture
def directory(tmp_path):
    return RunDirectory(tmp_path)


def line(step):
    reward = [[1.0, 2.0], [3.0, 4.0], [5.0, 12.0]]
    return {"step": step, "learners": {"welfare": [1.0, 4.0, 6.0], "reward_per_step": reward}}


def tracker(directory, mode="offline", **options):
    return Tracker(mode, directory, {"steps": 3}, Console(), **{"fresh": False} | options)


def records(path):
    """What the program of wandb itself reads in a directory that a run has left behind, by kind."""
    arguments = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60)
    found = {}
    for text in result.stdout.splitlines():
        record = json.loads(text)
        found.setdefault(record["type"], []).append(record[record["type"]])
    return found


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A run that was mirrored offline, stopped, and resumed, with keys in the environment."""
    base = tmp_path_factory.mktemp("mirror")
    out = base / "run"
    kept = {"WANDB_SILENT": "true", "WANDB_CONFIG_DIR": str(base), "WANDB_CACHE_DIR": str(base)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (SECRETS | kept).items():
            patch.setenv(name, value)
        flags = ["--wandb", "offline", "--wandb.project", "games", "--wandb.group", "pairs", "--wandb.tags", "a, b"]
        assert main([*SMALL, *flags, "--out", str(out)]) == 0
        assert main(["--resume", str(out), "--steps", "8"]) == 0
    return out


def test_wandb_itself_reads_config_metrics_summary_and_figure(offline):
    found = records(sorted((offline / "wandb").glob("offline-run-*"))[0])
    (run,) = found["run"]
    assert (run["project"], run["run_group"], run["tags"]) == ("games", "pairs", ["a", "b"])
    assert run["config"]["update"]["lola.lookahead_rate"] == 1.0
    metrics = [json.loads(text) for text in (offline / "metrics.jsonl").read_text().splitlines()]
    assert [own["item"]["_step"] for own in found["history"]] == [0, 2, 4]
    for own, written in zip(found["history"], metrics, strict=False):
        welfare = written["learners"]["welfare"]
        np.testing.assert_allclose(own["item"]["learners/welfare/median"], np.median(welfare), rtol=1e-6)
        np.testing.assert_allclose(own["item"]["learners/welfare/seed_1"], welfare[1], rtol=1e-6)
    assert found["history"][-1]["item"]["pictures/curves._type"] == "image-file"
    summary = {name: value for own in found["summary"] for name, value in own["update"].items()}
    assert (summary["status"], summary["steps"]) == ("finished", 4)
    assert summary["versions/jax"]


def test_a_resumed_run_goes_on_in_the_same_mirror_and_sends_nothing_twice(offline):
    first, second = map(records, sorted((offline / "wandb").glob("offline-run-*")))
    assert first["run"][0]["run_id"] == second["run"][0]["run_id"]
    assert second["run"][0]["resume"]
    assert [own["item"]["_step"] for own in [*first["history"], *second["history"]]] == [0, 2, 4, 6, 8]
    assert json.loads((offline / "wandb.json").read_text())["step"] == 8


def test_no_key_of_the_environment_is_written(offline):
    files = [path for path in offline.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    for path in files:
        data = path.read_bytes()
        assert not [name for name, secret in SECRETS.items() if secret.encode() in data], path


def test_a_killed_run_sends_only_what_is_missing(wandb, directory):
    for step in (0, 10, 20):
        directory.append_metrics(line(step))
    (directory.path / "wandb.json").write_text('{"id": "abc", "project": "games", "entity": "me", "step": 10}')
    with tracker(directory) as mirror:
        for step in (10, 20, 30):  # from a checkpoint of step 0
            mirror.log(line(step))
    (run,) = wandb.runs
    assert {name: run.settings[name] for name in ("id", "resume", "project", "entity")} == {
        "id": "abc", "resume": "allow", "project": "games", "entity": "me"
    }  # fmt: skip
    assert run.steps() == [20, 30]
    assert run.exit_code == 0


def test_online_what_has_arrived_counts(wandb, directory):
    for step in (0, 10, 20):
        directory.append_metrics(line(step))
    (directory.path / "wandb.json").write_text('{"id": "abc", "step": 20}')
    wandb.starting_step = 11
    tracker(directory, "online").log(line(30))
    assert wandb.runs[0].steps() == [20, 30]


def test_a_mirror_that_comes_later_is_complete(wandb, directory):
    tracker(directory, "disabled").log(line(0))
    assert not wandb.runs
    for step in (0, 10):
        directory.append_metrics(line(step))
    tracker(directory)
    assert wandb.runs[0].steps() == [0, 10]
    assert wandb.runs[0].settings["id"] is None


def test_a_failure_is_told_once_and_the_run_goes_on(wandb, tmp_path, monkeypatch, capsys):
    def fail(run, values, step):
        raise ConnectionResetError("Connection lost")

    monkeypatch.setattr(FakeRun, "log", fail)
    assert main([*SMALL, "--wandb", "offline", "--out", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert told.count("warning: wandb failed, and the run goes on without: ConnectionResetError: Connection lost") == 1
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3
    assert json.loads((tmp_path / "run" / "wandb.json").read_text())["step"] == -1


def test_a_mirror_that_cannot_be_started_leaves_nothing_behind(wandb, tmp_path, monkeypatch):
    def fail(**_):
        raise wandb.Error("no\naccount")

    monkeypatch.setattr(wandb, "init", fail)
    directory = RunDirectory(tmp_path / "run")
    directory.path.mkdir()
    with pytest.raises(UserError, match=r"--wandb online: no account; log in with `wandb login`"):
        tracker(directory, "online", fresh=True)
    assert not directory.path.exists()


@pytest.mark.parametrize(
    ("asked", "environment", "mode"),
    [
        (None, {}, None),
        (None, {"WANDB_MODE": "online"}, None),
        (None, {"WANDB_SWEEP_ID": "s"}, "online"),
        (None, {"WANDB_SWEEP_ID": "s", "WANDB_MODE": "offline"}, "offline"),
        ("offline", {"WANDB_SWEEP_ID": "s"}, "offline"),
        ("disabled", {"WANDB_SWEEP_ID": "s"}, None),
    ],
)
def test_only_a_sweep_is_mirrored_unasked(wandb, directory, monkeypatch, asked, environment, mode):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tracker(directory, asked)
    assert [run.settings["mode"] for run in wandb.runs] == ([mode] if mode else [])


def test_the_agent_of_a_sweep_says_which_run_it_is_and_where(wandb, directory, monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    tracker(directory, mirror=Mirror(project="games", entity="me", tags="a"))
    assert not {"id", "project", "entity", "resume"} & wandb.runs[0].settings.keys()
    assert wandb.runs[0].settings["tags"] == ["a"]


def test_a_mode_that_is_none_is_refused(wandb, directory, monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    monkeypatch.setenv("WANDB_MODE", "shared")
    with pytest.raises(UserError, match="WANDB_MODE shared: expected one of disabled, offline, online"):
        tracker(directory, None)


@pytest.mark.parametrize(
    ("given", "environment", "project"),
    [(None, {}, "parley"), (None, {"WANDB_PROJECT": "theirs"}, "theirs"), ("games", {"WANDB_PROJECT": "t"}, "games")],
)
def test_the_project(wandb, directory, monkeypatch, given, environment, project):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tracker(directory, mirror=Mirror(project=given))
    assert wandb.runs[0].settings["project"] == project


def test_a_run_that_failed_has_failed_there_too(wandb, directory):
    with tracker(directory) as mirror:
        mirror.summarise({"status": "failed"})
    with pytest.raises(ZeroDivisionError), tracker(directory):
        raise ZeroDivisionError
    assert [run.exit_code for run in wandb.runs] == [1, 1]


def test_names_and_numbers():
    reward = line(0)["learners"]["reward_per_step"]
    told = flat({"learners": {"welfare": [1.0, None, 4.0, 6.0], "reward_per_step": reward}, "none": None, "n": 3})
    assert told["learners/welfare/median"] == 4.0
    assert told["learners/welfare/q10"] == pytest.approx(np.quantile([1, 4, 6], 0.1))
    assert (told["learners/welfare/seed_3"], "learners/welfare/seed_1" in told) == (6.0, False)
    assert (told["learners/reward_per_step/seat_0"], told["learners/reward_per_step/seat_1"]) == (3.0, 4.0)
    assert told["n"] == 3
    assert "none" not in told
    learning = {"learners": {"learning": {"lola": {"loss": reward}, "ppo": {"loss": [[1.0], [3.0]]}}}}
    names = ("lola/loss/learner_0", "lola/loss/learner_1", "ppo/loss")
    assert set(flat(learning)) == {f"learners/learning/{name}" for name in names}
    assert flat({"learners": ["lola", "naive"], "ragged": [[1.0], [1.0, 2.0]], "cube": [[[1.0]]]}) == {
        "learners": "lola,naive"
    }


def test_many_seeds_and_seats_are_not_as_many_charts():
    seeds = flat({"welfare": np.arange(MOST_SEEDS + 1.0).tolist()})
    assert set(seeds) == {"welfare/q10", "welfare/median", "welfare/q90"}
    assert flat({"reward": np.ones((2, MOST_SEATS + 1)).tolist()}) == {"reward": 1.0}


def test_populations_are_mirrored(wandb, tmp_path):
    import jax

    flags = ["--game", "rock_paper_scissors", "--solver", "zero_sum", "--iterations", "1", "--wandb", "offline"]
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        assert main(["psro", *flags, "--wandb.group", "games", "--out", str(tmp_path / "run")]) == 0
    (run,) = wandb.runs
    assert (run.steps(), run.settings["group"]) == ([1], "games")
    assert {"gap/median", "value/seat_1"} <= set(run.logged[0][1])
    assert {"pictures/game", "pictures/curves"} <= set(run.pictures())
    assert run.summary["iterations"] == 1
    resumed = psro_arguments(["--resume", str(tmp_path / "run"), "--iterations", "2", "--wandb", "online"])
    assert (resumed.own["wandb"], resumed.mirror["group"]) == ("online", "games")


def test_leagues_are_mirrored(wandb, tmp_path):
    out = tmp_path / "run"
    flags = ["--env", "ipd2", "--learners", "always_defect,always_cooperate", "--seeds", "2", "--steps", "1"]
    assert main(["league", *flags, "--looks", "1", "--wandb", "offline", "--out", str(out)]) == 0
    (run,) = wandb.runs
    assert run.steps() == [1, 2, 3]
    matches = {values["match/entrants"]: values for _, values in run.logged if "match/entrants" in values}
    reward = matches["always_defect,always_cooperate"]
    np.testing.assert_allclose([reward[f"match/reward_per_step/seat_{seat}"] for seat in (0, 1)], [0, -3], atol=1e-4)
    assert run.summary["profile/seat_0/always_defect"] == pytest.approx(1)
    assert set(run.pictures()) == {"pictures/league"}
    assert json.loads((out / "summary.json").read_text())["versions"]["jax"]


def test_pictures_are_added_to_the_mirror_of_a_run_that_has_ended(wandb, directory, capsys):
    for step in (0, 10):
        directory.append_metrics(line(step))
    (directory.path / "wandb.json").write_text('{"id": "abc", "step": 10}')
    names = ("policies.png", "episode.gif", "episode.svg", "missing.png")
    for name in names[:3]:
        (directory.path / name).write_bytes(b"")
    paths = [directory.path / name for name in names]
    add_pictures("offline", directory, {}, Mirror(), paths, Console(width=200))
    (run,) = wandb.runs
    assert (run.settings["id"], run.steps()) == ("abc", [])
    assert run.pictures() == {
        "pictures/policies": ("image", str(paths[0])),
        "pictures/episode": ("video", str(paths[1]), "gif"),
    }
    assert not capsys.readouterr().out
    with directory.locked():
        add_pictures("offline", directory, {}, Mirror(), paths, Console(width=200))
    assert "warning: the pictures are in no mirror" in capsys.readouterr().out
    assert len(wandb.runs) == 1


@pytest.mark.slow
def test_render_adds_pictures_where_the_run_is_mirrored(wandb, tmp_path):
    out = tmp_path / "run"
    assert main([*SMALL, "--wandb", "offline", "--out", str(out)]) == 0
    assert main(["render", str(out), "--steps", "1"]) == 0
    first, second = wandb.runs
    assert set(first.pictures()) == {"pictures/curves"}
    assert second.settings["id"] == first.id
    assert {"pictures/episode", "pictures/policies"} <= set(second.pictures())
    assert main(["render", str(out), "--steps", "1", "--wandb", "disabled"]) == 0
    assert len(wandb.runs) == 2
