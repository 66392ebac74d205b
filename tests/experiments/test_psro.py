"""`run.py psro` and `run.py league`: what is printed, written and drawn, resumption, and mistakes."""

import json

import numpy as np
import pytest
import safetensors.numpy
import yaml

import envs
import experiments.psro as driver
from experiments.cli import main

EXACT = ("--game", "biased_rock_paper_scissors", "--oracle", "exact", "--solver", "zero_sum", "--seeds", "2")
LEARNED = ("--env", "stag_hunt_grid", "--env.horizon=4", "--oracle", "ppo", "--oracle.updates=2", "--episodes=8")
LEARNED += ("--oracle.profiles=4", "--oracle.episodes=2", "--solver", "rae", "--risk", "0.1", "--tremble", "0.01")


@pytest.fixture(autouse=True)
def as_users_run_it(monkeypatch):
    import jax

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def run(capsys, *args):
    code = main([str(arg) for arg in args])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_double_oracle_on_the_command_line(capsys, tmp_path):
    out = tmp_path / "run"
    code, told, _ = run(capsys, "psro", *EXACT, "--iterations", 5, "--out", out)
    assert code == 0
    assert "gap is exact" in told
    assert "mixtures of seed 0 after 5 iterations: player 0:" in told
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(lines[-1]["nash_conv"], 0, atol=1e-6)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["status"] == "finished"
    np.testing.assert_allclose(np.sum(summary["profile"], axis=2), 1, atol=1e-6)
    for name in ("game", "mixtures", "risk", "curves"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["solver"] == "zero_sum"
    assert config["oracle.first"] == "random"


@pytest.mark.parametrize("flags", [EXACT, LEARNED])
def test_a_run_goes_on_bit_for_bit(capsys, tmp_path, monkeypatch, flags):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(capsys, "psro", *flags, "--iterations", 4, "--capacity", 5, "--out", whole)[0] == 0
    true = driver.iterate

    def fails(rule, arena, progress, seeds):
        if progress.iteration == 2:
            raise KeyboardInterrupt
        return true(rule, arena, progress, seeds)

    monkeypatch.setattr(driver, "iterate", fails)
    assert run(capsys, "psro", *flags, "--iterations", 4, "--capacity", 5, "--out", parts)[0] == 130
    monkeypatch.setattr(driver, "iterate", true)
    assert run(capsys, "psro", "--resume", parts)[0] == 0
    ends = [safetensors.numpy.load_file(path / "checkpoint" / "step_0000000004.safetensors") for path in (whole, parts)]
    for name, values in ends[0].items():
        np.testing.assert_array_equal(values, ends[1][name], err_msg=name)
    read = lambda path: [  # noqa: E731
        {name: value for name, value in json.loads(line).items() if name != "seconds"}
        for line in (path / "metrics.jsonl").read_text().splitlines()
    ]
    np.testing.assert_equal(read(whole), read(parts))
    code, told, _ = run(capsys, "psro", "--resume", parts)
    assert code == 0
    assert "is finished: iteration 4 of 4" in told
    assert run(capsys, "psro", "--resume", parts, "--iterations", 6)[0] == 0
    lines = (parts / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    if flags is LEARNED:
        assert json.loads(lines[-1])["sizes"] == [[7, 7]]


def test_repeated_games_have_exact_responses(capsys, tmp_path):
    flags = ("--env", "ipd2", "--solver", "rae", "--risk", "1", "--measure", "mean_variance", "--oracle.risk", "1")
    code, told, _ = run(capsys, "psro", *flags, "--iterations", 2, "--out", tmp_path / "run")
    assert code == 0
    assert "gap is an estimate" in told


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "expected one of --env, --game and --payoffs, found none"),
        (("--game", "chicken", "--env", "ipd"), "found --env, --game"),
        (("--game", "chickn"), "did you mean 'chicken'"),
        (("--game", "chicken", "--oracle", "pppo"), "did you mean 'ppo'"),
        (("--game", "chicken", "--oracle", "ppo"), "a learner plays environments"),
        (("--env", "ipd", "--players", "5"), "use an oracle that learns"),
        (("--env", "ipd", "--oracle", "lola"), "expected a learner that learns from its own experience"),
        (("--game", "chicken", "--solver", "zero_sum", "--iterations", "0"), "expected a whole number from 1"),
        (("--game", "chicken", "--tremble", "0.1"), "unknown flag --tremble"),
        (("--game", "chicken", "--solver", "rae", "--tremble", "0.2"), "expected a number from 0 to 0.0909"),
        (("--game", "chicken", "--measure", "cvr"), "did you mean 'cvar'"),
        (("--game", "chicken", "--measure", "cvar", "--oracle.risk", "1"), "unknown flag --oracle.risk"),
        (("--game", "chicken", "--measure", "mean_variance", "--oracle.risk=-1"), "risk = -1.0: expected"),
        (("--game", "matching_pennies", "--anytime", "True", "--symmetric", "True"), "and not symmetric"),
        (("--resume", "nowhere"), "holds no run"),
        (("ipd",), "did you mean --env ipd"),
    ],
)
def test_mistakes_of_psro(capsys, tmp_path, args, message):
    code, _, err = run(capsys, "psro", *args)
    assert code == 2
    assert message in err


STRATEGIES = ("--learners", "tit_for_tat,always_defect,always_cooperate", "--seeds", 3, "--steps", 2, "--looks", 2)


def test_a_league_of_strategies(capsys, tmp_path):
    out = tmp_path / "league"
    code, told, _ = run(capsys, "league", "--env", "ipd2", *STRATEGIES, "--batch", 4, "--out", out)
    assert code == 0
    assert "A player who goes by nash deploys tit_for_tat" in told
    result = json.loads((out / "league.json").read_text())
    mean = np.array(result["matrix"])
    np.testing.assert_allclose(mean[:, 1, 1], -2, atol=1e-6)  # all D
    np.testing.assert_allclose(mean[:, 1, 2], [0, -3], atol=1e-6)  # all D against all C
    np.testing.assert_allclose(mean[0], mean[1].T, atol=1e-6)  # symmetric
    assert result["bradley_terry"][1] == max(result["bradley_terry"])
    assert result["solution"]["profile"][0][1] < 1e-6  # nobody deploys it
    assert result["solution"]["profile"][0][0] > 0.5
    assert (out / "league.png").read_bytes().startswith(b"\x89PNG")
    played = sorted((out / "matches").iterdir())
    assert len(played) == 6
    before = {path: path.stat().st_mtime_ns for path in played}
    for solver in (("rae", "--risk", "0.5"), ("nash",)):
        code, told, _ = run(capsys, "league", "--resume", out, "--solver", *solver)
        assert code == 0
        assert f"by {solver[0]} deploys" in told
    code, _, err = run(capsys, "league", "--resume", out, "--solver", "zero_sum")
    assert code == 2
    assert "payoffs sum to between" in err
    assert {path: path.stat().st_mtime_ns for path in played} == before  # nothing was played again
    whole = played[1].read_bytes()
    played[1].write_bytes(whole[:-9])
    code, told, _ = run(capsys, "league", "--resume", out)
    assert code == 0
    assert f"{played[1]} is damaged; it is played again" in told
    assert played[1].read_bytes() == whole


def test_a_cycle_is_no_ranking(capsys, tmp_path):
    out, names = tmp_path / "league", ("tit_for_tat", "always_defect", "always_cooperate")
    flags = ("--learners", ",".join(names), "--seeds", 4, "--steps", 1, "--looks", 1, "--batch", 2)
    assert run(capsys, "league", "--env", "ipd2", *flags, "--out", out)[0] == 0
    for path in (out / "matches").iterdir():  # as if each had beaten the next in every seed
        one, two = map(int, path.stem.split("-"))
        reward = ((one - two + 1) % 3 - 1.0) * np.array([-1.0, 1.0])
        rewards = np.tile(reward, (4, 1)).tolist()
        path.write_text(json.dumps({"entrants": [names[one], names[two]], "whole": rewards, "final": rewards}))
    code, told, _ = run(capsys, "league", "--resume", out, "--solver", "nash")
    result = json.loads((out / "league.json").read_text())
    assert code == 0
    assert "100% of the differences in reward are cyclic" in told
    np.testing.assert_allclose(result["bradley_terry"], 1500.0, atol=1e-6)
    np.testing.assert_allclose(result["nash_averaging"], 1 / 3, atol=1e-6)
    np.testing.assert_allclose(result["solution"]["profile"], 1 / 3, atol=1e-4)
    np.testing.assert_allclose(result["alpha_rank"], 1 / 3, atol=1e-4)


def test_a_swiss_league_plays_less(capsys, tmp_path):
    names = "tit_for_tat,always_defect,always_cooperate,grim,win_stay_lose_shift,generous_tit_for_tat"
    flags = ("--env", "ipd2", "--learners", names, "--steps", 1, "--looks", 1, "--seeds", 2, "--batch", 2)
    code, told, _ = run(capsys, "league", *flags, "--matchmaking", "swiss", "--rounds", 2, "--out", tmp_path / "l")
    assert code == 0
    result = json.loads((tmp_path / "l" / "league.json").read_text())
    assert result["matches"] == 6  # three pairs, two rounds; seats are alike
    assert "6 of 15 matches were played, 60% saved" in told


def test_learners_learn_in_a_league(capsys, tmp_path):
    flags = ("--env", "ipd2", "--learners", "naive,lola", "--steps", 4, "--looks", 2, "--seeds", 2)
    code, _, _ = run(capsys, "league", *flags, "--payoff", "final", "--out", tmp_path / "l")
    assert code == 0
    data = json.loads((tmp_path / "l" / "matches" / "0-1.json").read_text())
    assert data["entrants"] == ["naive", "lola"]
    assert np.shape(data["whole"]) == (2, 2)
    assert data["whole"] != data["final"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--learners", "naive"), "expected two or more entrants, each once"),
        (("--learners", "naive,naive"), "each once"),
        (("--learners", "naive,lolla"), "did you mean 'lola'"),
        (("--solver", "nassh"), "did you mean 'nash'"),
        (("--env", "ipd", "--players", "3", "--matchmaking", "swiss"), "is for games of 2 players"),
        (("--looks", "900"), "expected a whole number from 1 to the 200 steps"),
        (("--resume", "nowhere"), "holds no run"),
        (("--learners", "naive,reinforce,tit_for_tat"), "expected each entrant once"),
    ],
)
def test_mistakes_of_leagues(capsys, args, message):
    code, _, err = run(capsys, "league", *args)
    assert code == 2
    assert message in err


def test_runs_of_other_commands_are_not_resumed(capsys, tmp_path):
    for command, flags in {"psro": "oracle: exact", "league": "looks: 3", "": "env: ipd"}.items():
        folder = tmp_path / (command or "train")
        folder.mkdir()
        (folder / "config.yaml").write_text(flags)
    for command in ("psro", "league"):
        code, _, err = run(capsys, command, "--resume", tmp_path / "train")
        assert code == 2
        assert f"holds a run of train; to go on with it: python run.py --resume {tmp_path / 'train'}" in err
    code, _, err = run(capsys, "--resume", tmp_path / "psro")
    assert code == 2
    assert f"holds a run of psro; to go on with it: python run.py psro --resume {tmp_path / 'psro'}" in err


def test_leagues_play_by_exact_values_where_all_have_them(capsys, tmp_path):
    names, out = "naive,tit_for_tat,always_defect", str(tmp_path / "out")
    code, told, _ = run(capsys, "league", "--env", "ipd2", "--learners", names, *STRATEGIES[2:], "--out", out)
    assert code == 0
    assert "reinforce" not in told
    first = json.loads((tmp_path / "out" / "matches" / "1-2.json").read_text())["final"]
    discount = envs.make("ipd2").discount
    np.testing.assert_allclose(first, [[-2 - (1 - discount), -2 + 2 * (1 - discount)]] * 3, rtol=1e-5)
