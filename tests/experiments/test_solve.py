"""`run.py solve`: what is printed, written and drawn, and mistakes in the user's words."""

import csv
import json
import re

import numpy as np
import pytest

import equilibria
from experiments.cli import main
from experiments.solve_pictures import draw_game


def run(capsys, *args):
    code = main(["solve", *args])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_table_and_a_sentence(capsys):
    code, out, _ = run(capsys, "--game", "stag_hunt", "--solver", "rae", "--risk", "0.1", "--tremble=0.05")
    assert code == 0
    assert "hare 0.95" in out
    assert "nearly (hare, hare): the" in out.replace("\n", " ")
    assert "risk-dominant equilibrium of 2 pure ones" in out.replace("\n", " ")
    _, out, _ = run(capsys, "--game", "stag_hunt", "--solver", "pure")
    assert "(stag, stag): the payoff-dominant" in out.replace("\n", " ")


def test_one_json_object_is_all_there_is(capsys):
    code, out, err = run(
        capsys, "--game", "selten_chmura_7", "--solver", "rae", "--risk=0.1", "--tremble=0.001", "--json"
    )
    told = json.loads(out)
    assert code == 0
    assert not err
    keys = {"game", "solver", "options", "method", "profile", "value", "welfare", "variance", "regret", "converged"}
    assert keys | {"steps", "message", "share_of_starts"} <= set(told)
    assert told["options"] == {
        "method": "path",
        "risk": 0.1,
        "steps": 2000,
        "temperature": 0.0,
        "tolerance": 1e-8,
        "tremble": 0.001,
        "trembles": "constraint",
        "variance": "others",
    }
    assert told["method"] == "the logit path, then Newton's method"
    assert told["share_of_starts"] is None
    assert told["welfare"] == pytest.approx(sum(told["value"]))
    np.testing.assert_allclose([own[0] for own in told["profile"]], (0.269662, 0.860168), atol=6e-7)
    found = equilibria.solve("selten_chmura_7", "rae", risk=0.1, tremble=0.001)
    np.testing.assert_array_equal(told["profile"], found.profile)


def test_solvers_side_by_side_take_the_options_they_know(capsys):
    _, out, _ = run(capsys, "--game", "chicken", "--compare", "pure,security,correlated", "--objective=rawls", "--json")
    told = json.loads(out)
    assert [own["solver"] for own in told] == ["pure", "security", "correlated"]
    assert [own["options"].get("objective") for own in told] == [None, None, "rawls"]
    assert "joint" in told[2]


def test_all_and_one_number_a_player(capsys):
    _, out, _ = run(capsys, "--game=chicken", "--solver=pure", "--all", "--json")
    assert len(json.loads(out)) == 2
    _, out, _ = run(capsys, "--game=selten_chmura_7", "--solver=rae", "--risk", "0", "0.1", "--tremble=.001", "--json")
    assert json.loads(out)["options"]["risk"] == [0.0, 0.1]


def test_a_sweep_is_written_and_drawn(capsys, tmp_path):
    args = ("--game", "selten_chmura_7", "--solver", "rae", "--tremble", "0.001", "--sweep", "risk=0.01:1:5")
    code, out, _ = run(capsys, *args, "--out", str(tmp_path / "frontier"))
    assert code == 0
    assert "5 solutions of selten_chmura_7, 0 not converged" in out
    with (tmp_path / "frontier" / "frontier.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    np.testing.assert_allclose(float(rows[0]["p0"]), 0.098123, atol=6e-7)
    np.testing.assert_allclose(float(rows[-1]["p0"]), 0.990675, atol=6e-7)
    assert (tmp_path / "frontier" / "frontier.png").stat().st_size > 10_000


@pytest.mark.parametrize("game", ["chicken", "rock_paper_scissors"])
def test_a_game_is_drawn(capsys, tmp_path, game):
    run(capsys, "--game", game, "--solver", "lemke_howson", "--plot", "--out", str(tmp_path / "new"))
    assert (tmp_path / "new" / "game.png").stat().st_size > 10_000
    code, _, err = run(capsys, "--game", game, "--solver", "pure", "--plot", "--out", str(tmp_path / "new"))
    assert code == 2  # what is there stays
    assert "is not empty" in err


def test_replies_are_those_of_each_solver(monkeypatch, tmp_path):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    game = equilibria.load("stag_hunt")
    solvers = {"pure": {}, "rae": {"risk": 0.1, "tremble": 0.1}, "zero_sum": {}, "qre": {"precision": 0.5}}
    found = [("pure", equilibria.solve(game, "pure"))]
    draw_game(tmp_path / "game.png", "stag_hunt", game, found, solvers)
    lines = {line.get_label(): line for line in drawn[0].axes[0].lines}
    assert set(lines) == {f"{name}: reply of player {k}" for name in ("rae", "pure, zero_sum", "qre") for k in (0, 1)}
    replies, _ = lines["rae: reply of player 0"].get_data()
    assert replies.min() >= 0.1 - 1e-9  # trembles hold everywhere
    assert replies.max() <= 0.9 + 1e-9
    shares, softly = lines["qre: reply of player 1"].get_data()
    gain = 0.5 * (shares * 10 + (1 - shares) * 1 - shares * 8 - (1 - shares) * 5)
    np.testing.assert_allclose(softly, 1 / (1 + np.exp(-gain)), atol=1e-5)


def test_games_from_files_and_environments(capsys, tmp_path):
    equilibria.write(equilibria.load("battle_of_the_sexes"), tmp_path / "game.nfg")
    _, out, _ = run(capsys, "--payoffs", str(tmp_path / "game.nfg"), "--solver=pure", "--all", "--json")
    assert [own["value"] for own in json.loads(out)] == [[3, 2], [2, 3]]
    _, out, _ = run(capsys, "--env", "ipd", "--players", "3", "--solver=pure", "--json")
    told = json.loads(out)
    assert told["game"] == "ipd-3"
    assert told["profile"] == [[0, 1]] * 3


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "expected one of --game, --payoffs and --env, found none"),
        (["stag_hunt"], "did you mean --game stag_hunt?"),
        (["--game=stag_hnt"], "unknown game 'stag_hnt': did you mean 'stag_hunt'?"),
        (["--game=chicken", "--env=ipd"], "found --game, --env"),
        (["--game=chicken", "--players=3"], "--players: is for --env"),
        (["--game=chicken", "--solver=rea"], "unknown solver 'rea'"),
        (["--game=chicken", "--solver=rae", "--compare=nash"], "--solver and --compare"),
        (["--game=chicken", "--solver=rae", "--rsk=1"], "unknown flag --rsk: did you mean 'risk'?"),
        (["--game=chicken", "--solver=nash", "--risk=1"], "--risk: is a flag of rae, rqe"),
        (["--payoffs=README.md"], "game file 'README.md': expected one of .json, .npz, .nfg"),
        (["--game=chicken", "--solver=rae", "--risk=-1"], "risk = -1.0: expected a number of at least 0"),
        (["--game=chicken", "--solver=rae", "--tremble=.6"], "tremble = 0.6: expected a number from 0 to 0.5"),
        (["--game=chicken", "--solver=rae", "--sweep=risk"], "expected NAME=FROM:TO:POINTS"),
        (["--game=chicken", "--solver=rae", "--sweep=rsk=0:1:5"], "has no number 'rsk': did you mean 'risk'?"),
        (["--game=chicken", "--solver=rae", "--sweep=risk=0:1:1"], "expected 2 to 10000 points"),
        (["--game=chicken", "--solver=rae", "--sweep=tremble=0:1:3"], "tremble = 1.0"),
        (["--game=jordan", "--solver=lemke_howson"], "is for 2 players, and the game has 3"),
        (["--game=chicken", "--solver=zero_sum"], "expected a constant"),
        (["--payoffs=none.json"], "game in 'none.json': No such file or directory"),
        (["--game=chicken", "--restarts=-1"], "--restarts -1"),
        (["--game=chicken", "--restarts=2", "--all"], "--restarts and --all: expected one of them"),
        (["--game=chicken", "--solver=qre", "--restarts=2"], "qre always starts the same"),
        (["--game=chicken", "--solver=rae", "--sweep=risk=0:1:5", "--restarts=2"], "--restarts and --sweep"),
        (["--game=chicken", "--solver=rae", "--sweep=risk=0:1:5", "--symmetric"], "--symmetric and --sweep"),
        (["--game=chicken", "--solver=rae", "--sweep=risk=0:1:5", "--plot"], "--plot and --sweep"),
        (["--game=chicken", "--plot", f"--out={__file__}"], "test_solve.py is a file; expected a new directory"),
        (["--game=chicken", "--plot", f"--out={__file__}/new"], "test_solve.py is a file; expected a new directory"),
        (["--game=chicken", "--out=new"], "expected --plot or --sweep, which write files"),
        (["--game=jordan", "--solver=pure", "--plot"], "expected 2 x 2"),
        (["--env=ipd", "--players=99"], "99"),
    ],
)
def test_mistakes_are_named(capsys, args, message):
    code, _, err = run(capsys, *args)
    assert code == 2
    assert message in err


def test_what_does_not_converge_says_so(capsys):
    code, out, _ = run(capsys, "--game", "matching_pennies", "--solver", "pure")
    assert code == 1
    assert "did NOT converge (no pure equilibrium exists)" in out.replace("\n", " ")
    code, out, _ = run(capsys, "--game", "matching_pennies", "--solver", "pure", "--all")
    assert code == 1
    assert out == "no solution: no pure equilibrium exists\n"


def test_ties_are_not_dominant(capsys, tmp_path):
    (tmp_path / "game.json").write_text(json.dumps([[[1, 0], [0, 1]]] * 2))
    _, out, _ = run(capsys, "--payoffs", str(tmp_path / "game.json"), "--solver", "pure", "--all")
    assert " ".join(out.split()).count("one of 2 pure equilibria.") == 2


def test_sweeps_take_one_number_a_player(capsys, tmp_path):
    args = ("--game=chicken", "--solver=rae", "--risk=0.1,0.2", "--sweep=tremble=0:0.1:3", f"--out={tmp_path / 'out'}")
    code, out, _ = run(capsys, *args, "--json")
    assert code == 0
    assert [dict(own["options"])["risk"] for own in json.loads(out)] == [[0.1, 0.2]] * 3


def test_games_are_listed(capsys):
    assert main(["list"]) == 0
    _, _, games = capsys.readouterr().out.partition("games (solve --game)")
    assert [line.split()[0] for line in games.splitlines() if line[:1].strip()] == list(equilibria.CATALOGUE)


def test_restarts_are_counted(capsys):
    args = ("--game=stag_hunt", "--solver=lemke_howson", "--restarts=4")
    _, out, _ = run(capsys, *args, "--json")
    told = json.loads(out)
    assert sum(own["share_of_starts"] for own in told) == 1
    _, out, _ = run(capsys, *args)
    led = [int(own) for own in re.findall(r"(\d) of 4 random starts led here", " ".join(out.split()))]
    assert led == [4 * own["share_of_starts"] for own in told]
    _, out, _ = run(capsys, "--game=stag_hunt", "--solver=lemke_howson", "--all")
    assert "starts" not in out


def test_payoffs_keep_their_digits(capsys, tmp_path):
    path = tmp_path / "big.json"
    path.write_text(json.dumps((np.array([[[3, 0], [5, 1]], [[3, 5], [0, 1]]]) + 1e9).tolist()))
    _, out, _ = run(capsys, "--payoffs", str(path), "--solver", "pure", "--all", "--json")
    (only,) = json.loads(out)
    np.testing.assert_array_equal(only["profile"], [[0, 1], [0, 1]])


def test_one_number_a_player_by_commas(capsys):
    _, out, _ = run(capsys, "--game=chicken", "--solver=rae", "--risk=0.1,0.5", "--json")
    assert json.loads(out)["options"]["risk"] == [0.1, 0.5]
