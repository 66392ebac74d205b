"""Every command on the games that are not matrix games: trained, resumed, replayed, played against each other."""

import json

import jax
import pytest

from experiments.cli import main

GAMES = {
    "tandem": ["--env", "tandem", "--learners", "sos", "--sos.learning_rate", ".1", "--sos.lookahead_rate", ".1"],
    "counts": [
        "--env.observe", "counts", "--env.horizon", "5", "--players", "5", "--learners", "lola,naive*4", "--share=True",
    ],
    "function": ["--env", "function", "--env.source", "examples/games.py:saddle", "--learners", "naive"],
    "maml": ["--env", "ipd2", "--learners", "maml,naive", "--maml.fitting_steps", "1", "--maml.fitting_horizon", "2"],
}  # fmt: skip


@pytest.mark.parametrize("game", [pytest.param(g, marks=() if g == "tandem" else pytest.mark.slow) for g in GAMES])
@jax.numpy_dtype_promotion("standard")  # optax multiplies a rate with a count
def test_commands_go_on_from_each_other(game, tmp_path, monkeypatch, capsys):
    run, whole = str(tmp_path / "run"), str(tmp_path / "whole")
    common = [*GAMES[game], "--seeds", "2", "--baseline", "none", "--log_every", "2"]
    assert main([*common, "--steps", "2", "--out", run]) == 0
    assert main([*common, "--steps", "4", "--out", whole]) == 0
    monkeypatch.chdir(tmp_path)  # a run means the same from anywhere
    assert main(["--resume", run, "--steps", "4"]) == 0
    at_end = [json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1]) for name in ("run", "whole")]
    assert at_end[0] == at_end[1]
    assert main(["evaluate", run, "--panel=False"]) == 0
    assert main(["crossplay", run, whole, "--seeds", "2", "--out", str(tmp_path / "crossplay")]) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_a_policy_of_joint_actions_does_not_play_where_players_are_counted(tmp_path, capsys):
    """Both have nine observations."""
    run = str(tmp_path / "run")
    assert main(["--env", "ipd", "--players", "3", "--seeds", "1", "--steps", "1", "--out", run]) == 0
    args = ["--env.observe", "counts", "--players", "4", "--learners", f"checkpoint:{run}#0,tit_for_tat*3"]
    assert main([*args, "--seeds", "1", "--steps", "1", "--out", str(tmp_path / "other")]) == 2
    assert "learned to play ipd with" in capsys.readouterr().err


def test_a_game_that_does_not_run_is_named(tmp_path, capsys):
    file = tmp_path / "broken.py"
    file.write_text("import nothing_of_this_name\n")
    assert main(["--env", "function", "--env.source", f"{file}:game"]) == 2
    error = capsys.readouterr().err
    assert "broken.py" in error
    assert "ModuleNotFoundError" in error
