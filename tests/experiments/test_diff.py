"""`run.py diff`: what it compares, what it leaves out, and what it says of mistakes."""

import json

import pytest
import yaml

from experiments.cli import main
from experiments.config import parse, to_flags


def run_directory(base, name, args, **summary):
    """As a run leaves it behind, without a run."""
    path = base / name
    path.mkdir()
    (path / "config.yaml").write_text(yaml.safe_dump(to_flags(parse(args)[0])))
    (path / "summary.json").write_text(json.dumps({"device": "cpu", "versions": {"jax": "0.10.2"}} | summary))
    return path


@pytest.fixture
def runs(tmp_path):
    one = {"welfare": [1.0, 5.0, 6.0], "reward_per_step": [[1.0, 2.0], [3.0, 4.0]], "wall_s": 3.5}
    other = {"welfare": [1.0, 5.5, 6.0], "reward_per_step": [[1.0, 2.0], [3.0, 8.0]], "wall_s": 4.0}
    versions = {"versions": {"jax": "0.11.0"}, "statistics": {"C": [[0.5, 0.5]]}}
    return [
        run_directory(tmp_path, "a", ["--players", "3"], **one),
        run_directory(tmp_path, "b", ["--players", "3", "--lola.terms", "shaping", "--seeds=4"], **other, **versions),
    ]


def told(capsys, *args):
    code = main(["diff", *map(str, args)])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_flags_conditions_and_numbers_that_differ(capsys, runs):
    code, out, _ = told(capsys, *runs, "--json")
    assert code == 0
    assert json.loads(out) == {
        "runs": [str(path) for path in runs],
        "flags": {"seeds": [16, 4], "lola.terms": ["both", "shaping"]},
        "conditions": {"wall_s": [3.5, 4.0], "version of jax": ["0.10.2", "0.11.0"]},
        "numbers": {"welfare": [5.0, 5.5], "reward_per_step/seat_1": [3.0, 5.0]},
    }
    _, out, _ = told(capsys, *runs)
    for row in (["seeds", "16", "4"], ["wall_s", "3.5", "4"], ["welfare", "5", "5.5"]):
        assert row in [line.split() for line in out.splitlines()]


def test_equal_runs_differ_in_nothing(capsys, runs):
    _, out, _ = told(capsys, runs[0], runs[0], runs[0])
    assert out.split("\n")[:3] == ["flags: no difference", "conditions: no difference", "numbers: no difference"]


def test_defaults_that_a_file_leaves_out_are_filled_in(capsys, runs, tmp_path):
    (tmp_path / "file.yaml").write_text("players: 3\nseed: 2\n")
    _, out, _ = told(capsys, "--json=true", tmp_path / "file.yaml", runs[0])
    assert json.loads(out)["flags"] == {"seed": [2, 0]}
    assert json.loads(out)["numbers"] == {}
    _, out, _ = told(capsys, tmp_path / "file.yaml", runs[0])
    assert "conditions" not in out


def test_runs_of_other_commands(capsys, runs, tmp_path):
    files = {"psro": "game: chicken\noracle: exact\n", "league": "matchmaking: swiss\nlearners: lola,naive\n"}
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    _, out, _ = told(capsys, runs[0], *(tmp_path / f"{name}.yaml" for name in files), "--json")
    flags = json.loads(out)["flags"]
    assert flags["command"] == ["train", "psro", "league"]
    assert flags["solver"] == [None, "nash", "nash"]
    assert flags["oracle.first"] == [None, "random", None]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["a"], "diff takes two or more run directories or files, found 1"),
        (["a", "nowhere"], "diff nowhere: holds no run; expected a directory with a config.yaml, or a YAML file"),
        (["a", "b", "--jsn"], "unknown flag --jsn: did you mean 'json'?"),
        (["a", "bad.yaml"], "diff bad.yaml: unknown key 'plyers' in bad.yaml: did you mean 'players'?"),
        (["a", "text.yaml"], "text.yaml: not valid YAML"),
        (["a", "damaged"], "diff damaged/summary.json: not valid JSON"),
    ],
)
def test_mistakes(capsys, runs, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("plyers: 3\n")
    (tmp_path / "text.yaml").write_text("a: b: c")
    damaged = run_directory(tmp_path, "damaged", [])
    (damaged / "summary.json").write_text("{")
    code, _, err = told(capsys, *args)
    assert code == 2
    assert message in err
