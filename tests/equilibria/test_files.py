"""Games from names, files, arrays and environments, and back."""

import numpy as np
import pytest

import envs
import equilibria
from equilibria.game import normal_form
from equilibria.properties import is_supermodular

GAMBIT = """NFG 1 R "a 2 x 3 game" { "Row \\"1\\"" "Column" }
{ { "up" "down" } { "left" "middle" "right" } }
"a comment"
1 10 2 20 3/2 30 4 40 5.5 50 -6 60
"""
OUTCOMES = """NFG 1 R "by outcomes" { "1" "2" } { 2 2 }
{ { "both" 3, 3 } { "" 0, 5 } { "" 5, 0 } { "none" 1/2, .5 } }
1 3 2 4
"""


def test_gambit_files_count_the_first_player_fastest(tmp_path):
    path = tmp_path / "game.nfg"
    path.write_text(GAMBIT)
    game = equilibria.load(path)
    assert game.sizes == (2, 3)
    assert game.name == "a 2 x 3 game"
    assert game.actions == (("up", "down"), ("left", "middle", "right"))
    np.testing.assert_array_equal(game.payoffs[0, :2], [[1, 1.5, 5.5], [2, 4, -6]])
    np.testing.assert_array_equal(game.payoffs[1, :2], [[10, 30, 50], [20, 40, 60]])


def test_gambit_files_with_outcomes(tmp_path):
    path = tmp_path / "game.nfg"
    path.write_text(OUTCOMES)
    game = equilibria.load(str(path))
    np.testing.assert_array_equal(game.payoffs[0], [[3, 0], [5, 0.5]])
    np.testing.assert_array_equal(game.payoffs[1], [[3, 5], [0, 0.5]])


@pytest.mark.parametrize("suffix", [".json", ".npz", ".nfg"])
def test_what_is_written_is_read(tmp_path, suffix):
    table = np.random.default_rng(0).normal(size=(3, 2, 3, 4))
    names = [["a", 'b "quoted"'], ["x", "y", "z"], ["1", "2", "3", "4"]]
    game = equilibria.normal_form(table, name="three", actions=names)
    equilibria.write(game, tmp_path / f"game{suffix}")
    again = equilibria.load(tmp_path / f"game{suffix}")
    np.testing.assert_array_equal(again.payoffs, game.payoffs)
    np.testing.assert_array_equal(again.mask, game.mask)
    if suffix != ".npz":
        assert again.actions == game.actions
        assert again.name == "three"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("game.nfg", "EFG 2 R", "starts with NFG 1 R"),
        ("game.nfg", 'NFG 1 R "x" { "1" "2" } { 2 2 } 1 2 3', "3 payoffs, expected 4 x 2"),
        ("game.nfg", 'NFG 1 R "x" { "1" "2"', "IndexError"),
        ("game.nfg", 'NFG 1 R "x" { "1" "2" } { 1 1 } 1 1/0', "ZeroDivisionError"),
        ("game.nfg", 'NFG 1 R "x" { "1" "2" } { 1 0 } 1 2', r"2 players with \[1, 0\] strategies"),
        (
            "game.nfg",
            'NFG 1 R "x" { "1" "2" } { 1 2 } { { "" 1 2 } } -1 1',
            "outcome -1: expected a number from 0 to 1",
        ),
        ("game.nfg", 'NFG 1 R "x" { "1" "2" } { 1 2 } { { "" 1 2 } } 1 2', "outcome 2: expected a number from 0 to 1"),
        ("game.nfg", 'NFG 1 R "x" { "1" "2" } { 1 2 } { { "" 1 2 } } 1', "1 numbers of outcomes, expected 2"),
        ("game.nfg", 'NFG 1 R "x" { "1" "2" } { 1 2 } { { "" 1 } } 1 1', "a name and 2 payoffs for each"),
        ("game.json", "{", "not valid JSON"),
        ("game.json", '{"payoff": []}', "unknown key 'payoff'"),
        ("game.json", "[[1, 2], [3, 4]]", "expected \\[n, A1, ..., An\\]"),
        ("game.npz", "no archive", "game.npz"),
    ],
)
def test_bad_files_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        equilibria.load(tmp_path / name)


def test_unknown_games_are_suggested():
    with pytest.raises(ValueError, match="did you mean 'stag_hunt'"):
        equilibria.load("stag_hnt")
    with pytest.raises(ValueError, match=r"game in 'nowhere/game.json': No such file"):
        equilibria.load("nowhere/game.json")
    with pytest.raises(ValueError, match="one shape"):
        equilibria.load(([[1, 2]], [[1], [2]]))
    with pytest.raises(ValueError, match="a list of 2 games: expected one; solve_batch solves many"):
        equilibria.load(["chicken", "stag_hunt"])


def test_digits_are_kept_whatever_precision_jax_has(tmp_path):
    path = tmp_path / "big.json"
    path.write_text(str((np.array([[[3.1, 0], [5, 1]], [[3.1, 5], [0, 1]]]) + 1e9).tolist()))
    game = equilibria.load(path)
    assert game.payoffs.dtype == np.float64
    assert game.payoffs[0, 0, 0] == 1e9 + 3.1
    np.testing.assert_array_equal(equilibria.solve(game, "pure").profile, [[0, 1]] * 2)
    assert game.regret(game.uniform()).dtype == game.dtype == np.float32  # what JAX computes
    assert equilibria.make("pure").solve(equilibria.load("chicken")).profile.dtype == np.float32


@pytest.mark.parametrize("name", ["ipd", "stag_hunt", "rock_paper_scissors", "ultimatum"])
def test_an_environment_is_the_game_of_one_step(name):
    env = envs.make(name)
    game = equilibria.load(env)
    matrix = envs.make("ipd", players=env.num_players) if name == "ipd" else env
    joint = np.argmax(np.asarray(game.payoffs).sum(axis=0))
    actions = np.unravel_index(joint, game.payoffs.shape[1:])
    assert game.num_players == env.num_players
    assert all(game.mask[player, own] for player, own in enumerate(actions))
    if hasattr(matrix, "actions") and np.ndim(matrix.payoffs) == env.num_players + 1:
        np.testing.assert_allclose(game.payoffs, matrix.payoffs, rtol=1e-6)


class TensorGame:
    """As OpenSpiel's."""

    def shape(self):
        return [2, 3]

    def player_utility(self, player, actions):
        return 100 * player + 10 * actions[0] + actions[1]


class MatrixGame:
    """As OpenSpiel's."""

    def num_rows(self):
        return 2

    def num_cols(self):
        return 3

    def row_utility(self, row, column):
        return 10 * row + column

    def col_utility(self, row, column):
        return -row - column


def test_games_of_openspiel_are_read():
    tensor, matrix = equilibria.load(TensorGame()), equilibria.load(MatrixGame())
    np.testing.assert_array_equal(
        tensor.payoffs[:, :2], [[[0, 1, 2], [10, 11, 12]], [[100, 101, 102], [110, 111, 112]]]
    )
    np.testing.assert_array_equal(matrix.payoffs[0, :2], [[0, 1, 2], [10, 11, 12]])
    np.testing.assert_array_equal(matrix.payoffs[1, :2], [[0, -1, -2], [-1, -2, -3]])


def test_every_named_game_is_a_game_with_a_source():
    for name, entry in equilibria.CATALOGUE.items():
        game = equilibria.load(name)
        assert entry.source
        assert entry.about.endswith(".")
        assert game.name == name
        assert np.isfinite(np.asarray(game.payoffs)).all()


def test_games_of_environments_have_no_more_digits_than_rewards(tmp_path):
    rng = np.random.default_rng(0)
    own, others = rng.integers(0, 100, (2, 2, 3)) / 10
    table = np.stack([own[0][:, None] + others[0][None], own[1][None] + others[1][:, None]])
    np.savez(tmp_path / "game.npz", payoffs=table)
    assert is_supermodular(normal_form(table))
    assert is_supermodular(equilibria.load(envs.make("matrix", payoffs=str(tmp_path / "game.npz"))))
