"""Shapers on the command line: trained, stopped, resumed, replayed and played against others."""

import json

import jax
import numpy as np
import pytest

from experiments import cli
from experiments.checkpoint import latest_step
from experiments.trained import load


def main(args):
    """optax multiplies a rate with a count, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return cli.main(args)


SMALL = [
    "--players=3", "--env.horizon=5", "--learners=shaper,reinforce*2", "--shaper.population=4",
    "--shaper.memory_size=3", "--episodes=3", "--seeds=2", "--log_every=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "shaper"
    assert main([*SMALL, "--steps=3", f"--out={path}"]) == 0
    return path


@pytest.mark.slow
def test_a_run_shows_trials_and_resumes_bit_for_bit(run, tmp_path):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3]
    assert np.shape(lines[-1]["learners"]["reward_per_step"]) == (2, 3)
    assert set(lines[-1]["learners"]["learning"]["shaper"]) == {"fitness", "fitness_best", "fitness_std"}
    half = tmp_path / "half"
    assert main([*SMALL, "--steps=1", f"--out={half}"]) == 0
    assert main(["--resume", str(half), "--steps=3"]) == 0
    assert latest_step(half / "checkpoint") == 3
    again = [json.loads(line) for line in (half / "metrics.jsonl").read_text().splitlines()]
    assert again == lines


@pytest.mark.slow
def test_what_was_learned_plays_trials_among_fresh_rivals(run, tmp_path, capsys):
    trained = load(run)
    assert (trained.learner(0).span, trained.learner(1).span) == ("trial", "episode")
    assert main(["evaluate", str(run), "--steps=1"]) == 0
    result = json.loads((run / "evaluation.json").read_text())
    assert result["measured"] == "means over trials of 3 inner episodes against 32 sets of fresh rivals, undiscounted"
    assert all("quantiles" in row for row in result["panel"] + result["controls"])
    assert {row["focal"] for row in result["panel"]} == {"shaper"}
    assert "best_responses" not in result
    who = [row["who"] for row in result["controls"]]
    assert who == ["shaper", "always_defect", "always_cooperate", "uniform", "tit_for_tat", "reinforce"]
    table = capsys.readouterr().out
    assert "Controls in the seats of shapers" in table
    assert main(["evaluate", str(run), "--hardstop=1", "--blindsight=1", "--panel=False"]) == 0
    measured = json.loads((run / "evaluation.json").read_text())["measured"]
    assert measured.endswith("rivals learn in the first 1 only; shapers do not see 1 of 2 environments")
    out = tmp_path / "cross"
    capsys.readouterr()
    assert main(["crossplay", str(run), "always_defect", "reinforce", "--seeds=2", f"--out={out}", "--steps=1"]) == 0
    assert "with a shaper, trials of 3 inner episodes" in " ".join(capsys.readouterr().out.split())
    learners = f"--learners=checkpoint:{run}#0,reinforce*2"
    assert main([*SMALL[:2], learners, "--episodes=3", "--steps=1", "--seeds=2", f"--out={tmp_path / 'frozen'}"]) == 0


def test_mistakes_about_trials_exit_with_2(tmp_path, capsys):
    for args, message in (
        (["--learners=ppo", "--rivals=2"], "rivals = 2 without a shaper"),
        (["--learners=shaper,naive*2", "--players=3", "--shaper.strategy=OpenES"], "strategy = 'OpenES'"),
        (["--learners=shaper,naive*2", "--players=3", "--shaper.population=5"], "expected an even number"),
        (["--learners=mfos_exact,naive", "--env=ipd2", "--episodes=1"], "episodes = 1"),
        (["--learners=mfos_exact,maml", "--env=ipd2"], "learns before play"),
        (["--learners=shaper,naive", "--env=ipd2", "--naive.learning_rate=1"], "naive is reinforce"),
    ):
        assert main([*args, f"--out={tmp_path / 'run'}"]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
