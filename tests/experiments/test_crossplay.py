"""Cross-play: known rewards, pairs that are single matches, intervals that cover, files that agree, figures to read."""

import contextlib
import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from rich.console import Console

import envs
import shaping
from experiments import crossplay as module
from experiments.advance import advance
from experiments.cli import main
from experiments.config import UserError, build_environment
from experiments.crossplay import forms, players
from experiments.crossplay_arguments import crossplay_arguments
from experiments.crossplay_report import COLUMNS, Cell, bootstrap_interval, sentence
from experiments.figures import crossplay_distributions, crossplay_matrix
from experiments.trained import load
from shaping import Frozen, Match, exact_outcome

pytestmark = pytest.mark.slow  # dozens of programs to compile

ROOT = Path(__file__).parents[2]
HORIZON = 10
SHORT = ["--env.horizon", str(HORIZON)]
TRAINED = ["reinforce", "always_cooperate", "--steps", "50", "--batch", "8", "--seeds", "2", *SHORT]
STRATEGIES = ["always_cooperate", "always_defect", "tit_for_tat"]


def train(out, *args):
    small = ["--players", "2", "--seeds", "3", "--steps", "4", "--baseline", "none", *SHORT]
    assert main([*small, *args, "--out", str(out)]) == 0
    return out


def crossplay(out, *args):
    assert main(["crossplay", *map(str, args), "--out", str(out)]) == 0
    return json.loads((out / "crossplay.json").read_text())


def by_name(result):
    return {(pair["row"], pair["column"]): pair for pair in result["pairs"]}


def lines(out):
    with (out / "crossplay.csv").open() as file:
        return list(csv.DictReader(file))


def built(*args):
    """The players and games of a command line."""
    entries, run = crossplay_arguments([*map(str, args)])
    env = build_environment(run)
    found = players(entries, run, env)
    return found, list(module._games(forms(found), run, env)), run


@pytest.fixture
def adam():
    """For learners that use it: optax multiplies a rate with a count."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def lola(tmp_path_factory):
    return train(tmp_path_factory.mktemp("a") / "lola")


@pytest.fixture(scope="module")
def faster(tmp_path_factory):
    """Of the same form, but with other floats among the hyper-parameters."""
    return train(tmp_path_factory.mktemp("b") / "lola", "--lola.learning_rate", "3", "--seed", "7", "--seeds", "2")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return train(tmp_path_factory.mktemp("three") / "run", "--players", "3", "--steps", "1")


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    out, text = tmp_path_factory.mktemp("fixed") / "out", io.StringIO()
    with contextlib.redirect_stdout(text):
        return out, crossplay(out, *STRATEGIES, *SHORT), text.getvalue()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, lola, faster):
    out = tmp_path_factory.mktemp("mixed") / "out"
    return out, crossplay(out, lola, f"{lola}#1", faster, "tit_for_tat", *SHORT)


@pytest.mark.parametrize(
    ("row", "column", "first", "others"),
    [
        ("always_cooperate", "always_cooperate", 2, 2),
        ("always_cooperate", "always_defect", 0, 3),
        ("always_defect", "always_cooperate", 3, 0),
        ("always_defect", "always_defect", 1, 1),
        ("tit_for_tat", "always_cooperate", 2, 2),
        ("tit_for_tat", "always_defect", (HORIZON - 1) / HORIZON, (3 + HORIZON - 1) / HORIZON),
        ("always_defect", "tit_for_tat", (3 + HORIZON - 1) / HORIZON, (HORIZON - 1) / HORIZON),
        ("tit_for_tat", "tit_for_tat", 2, 2),
    ],
)
def test_strategies_get_what_is_known(fixed, row, column, first, others):
    pair = by_name(fixed[1])[row, column]
    assert pair["pairs"] == 1
    for name in ("mean", "ci_low", "ci_high", "q05", "q50", "q95"):
        assert pair[name] == pytest.approx(first, rel=1e-6)
    assert pair["column_mean"] == pytest.approx(others, rel=1e-6)
    rate = {"always_cooperate": 1, "always_defect": 0}.get(row, 1 / HORIZON if column == "always_defect" else 1)
    assert pair["cooperation"] == pytest.approx(rate)
    same = (pytest.approx(first), None) if row == column else (None, None)
    assert (pair["same_seed_mean"], pair["different_seed_mean"]) == same


def test_the_row_sits_in_seat_0_and_the_column_in_all_others(tmp_path):
    names = STRATEGIES[:2]
    found = by_name(crossplay(tmp_path / "out", *names, "--players", "3", *SHORT))
    payoffs = np.asarray(envs.make("ipd", players=3).payoffs)
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            assert found[row, column]["mean"] == payoffs[0, i, j, j]
            assert found[row, column]["column_mean"] == payoffs[1:, i, j, j].mean()


def test_every_pair_is_the_single_match_of_its_two_policies(lola, faster):
    found, games, run = built(lola, f"{faster}#1", *SHORT)
    assert len(games) == 1
    (row, column), env = found, games[0][2].env
    cells = module.play(games, found, run, Console(quiet=True))
    there = {player.label: load(path) for player, path in zip(found, (lola, faster), strict=True)}
    assert cells[0][1].reward.shape == (3, 2, 2)
    single = jax.jit(lambda match, key: advance(match, 0, 0, True, shaping.init(match, key), key)[1].reward_per_step)
    for i, j in ((0, 0), (2, 1)):
        own = there[row.label].learner(0).replace(choice=jax.numpy.int32(i))
        other = there[column.label].learner(1).replace(choice=jax.numpy.int32(j))
        key = jax.random.key(0)
        for number in (0, i, 1, j):
            key = jax.random.fold_in(key, number)
        np.testing.assert_allclose(
            cells[0][1].reward[i, j], single(Match.of(env, [own, other], batch=run.batch), key), rtol=1e-6
        )


def test_entries_of_one_form_are_one_call(lola, faster, monkeypatch):
    """Though the floats among their hyper-parameters, and their numbers of policies, differ."""
    calls = []
    program = module.Tiles.program

    def counted(tiles, function):
        run = program(tiles, function)
        return lambda *args: calls.append(tiles.count) or run(*args)

    monkeypatch.setattr(module.Tiles, "program", counted)
    found, games, run = built(lola, f"{lola}#1", faster, f"{faster}#1", *SHORT)
    whole = module.play(games, found, run, Console(quiet=True))
    assert calls == [100]
    monkeypatch.setattr(module, "PAIRS_A_CALL", {False: 30})
    parts = module.play(games, found, run, Console(quiet=True))
    assert calls[1:] == [25] * 4
    for row, again in zip(whole, parts, strict=True):
        for cell, same in zip(row, again, strict=True):
            np.testing.assert_array_equal(cell.reward, same.reward)


def test_no_pair_depends_on_the_entries_after_it(mixed, lola, tmp_path):
    alone = by_name(crossplay(tmp_path / "out", lola, *SHORT))["lola", "lola"]
    assert alone["reward_per_step"] == by_name(mixed[1])["lola (1)", "lola (1)"]["reward_per_step"]


def test_csv_json_and_the_values_of_the_pairs_agree(mixed):
    out, result = mixed
    assert [line["row"] for line in lines(out)] == [pair["row"] for pair in result["pairs"]]
    for line, pair in zip(lines(out), result["pairs"], strict=True):
        assert tuple(line) == COLUMNS
        for name in COLUMNS[2:]:
            assert (float(line[name]) if line[name] else None) == pair[name]
        reward = np.array(pair["reward_per_step"])
        values, others = reward[..., 0], reward[..., 1:]
        assert (pair["pairs"], pair["mean"]) == (values.size, pytest.approx(values.mean()))
        assert pair["column_mean"] == pytest.approx(others.mean())
        assert pair["q25"] == pytest.approx(np.quantile(values, 0.25))
        assert pair["ci_low"] <= pair["mean"] <= pair["ci_high"]
        assert pair["cooperation"] == pytest.approx(np.mean(pair["cooperation_per_player"], axis=(0, 1))[0])


def test_pairs_of_equal_seeds_are_told_from_others(mixed):
    """Also of two seats of one run, who met in training; not of two runs."""
    found = by_name(mixed[1])
    for row, column in (("lola (1)", "lola (1)"), ("lola (1)", "lola#1"), ("lola (2)", "lola (2)")):
        values = np.array(found[row, column]["reward_per_step"])[..., 0]
        equal = np.eye(len(values), dtype=bool)
        assert found[row, column]["same_seed_mean"] == pytest.approx(values[equal].mean())
        assert found[row, column]["different_seed_mean"] == pytest.approx(values[~equal].mean())
    assert found["lola (1)", "lola (2)"]["same_seed_mean"] is None


def test_the_json_says_who_played_what(mixed, lola):
    result = mixed[1]
    assert result["command"].startswith("python run.py crossplay ")
    assert (result["env"], result["players"], result["steps"], result["seed"]) == ("ipd", 2, 0, 0)
    assert result["env_parameters"]["horizon"] == HORIZON
    assert result["measured"] == "64 episodes, undiscounted"
    assert result["versions"]["jax"]
    assert [entry["label"] for entry in result["entries"]] == ["lola (1)", "lola#1", "lola (2)", "tit_for_tat"]
    assert [entry["seeds"] for entry in result["entries"]] == [[0, 1, 2], [0, 1, 2], [7, 8], [0]]
    first = {"run": str(lola.resolve()), "seat": 0, "steps": 4, "env": "ipd", "trained_in_place": False}
    assert first.items() <= result["entries"][0].items()


def test_the_console_has_the_matrix_and_one_sentence(fixed):
    out, _, text = fixed
    assert "tit_for_tat: fixed strategy" in text
    assert "0.90 [0.90, 0.90]" in text
    best = "Best against all, itself included: always_defect with 1.73 per step. "
    assert best + "Best against itself: always_cooperate and tit_for_tat with 2 per step." in text
    assert f"written: {out}" in text


def test_learners_on_exact_values_meet_tables(tmp_path, lola):
    found = crossplay(tmp_path / "out", lola, "always_defect", "naive", "--steps=2", "--seeds=1")
    assert found["measured"] == "exact, discounted"
    assert by_name(found)["always_defect", "always_defect"]["mean"] == pytest.approx(1)
    policies, env = load(lola).states[0].params, envs.make("ipd", players=2)
    met = [exact_outcome(env, jnp.asarray(policies[:, 0])[np.array([i, j])]) for i in range(3) for j in range(3)]
    expected = np.mean([own.reward_per_step[0] for own in met])
    assert by_name(found)[Path(lola).name, Path(lola).name]["mean"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_a_learner_given_by_its_name_is_trained_against_each_other(tmp_path, capsys, adam):
    learned = crossplay(tmp_path / "out", *TRAINED, "--reinforce.learning_rate", "0.1")
    found = by_name(learned)
    assert [entry["seeds"] for entry in learned["entries"]] == [[0, 1], [0]]
    assert [entry["trained_in_place"] for entry in learned["entries"]] == [True, False]
    assert learned["steps"] == 50
    assert [pair["pairs"] for pair in learned["pairs"]] == [4, 2, 2, 1]
    assert found["reinforce", "always_cooperate"]["mean"] > 2.9
    assert found["always_cooperate", "reinforce"]["mean"] < 0.2
    assert found["reinforce", "reinforce"]["mean"] < 1.2
    assert found["reinforce", "reinforce"]["same_seed_mean"] is None
    assert "reinforce: trained in place, 2 seeds, 50 steps against each" in capsys.readouterr().out


def test_numbers_that_are_not_finite_name_the_pair(tmp_path, capsys, adam):
    assert main(["crossplay", *TRAINED, "--reinforce.learning_rate", "1e38", "--out", str(tmp_path / "out")]) == 1
    assert (
        "error: reinforce, seed 0, against reinforce, seed 0: what was learned is not finite" in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_rewards_that_are_not_finite_name_the_pair():
    found, _, _ = built("always_cooperate", "tit_for_tat")
    reward = np.array([[1.0, np.nan]])
    with pytest.raises(module.FaultError, match="always_cooperate, seed 0, against tit_for_tat, seed 0: reward_per_st"):
        module._cell((found[0], found[1]), reward, np.zeros((1, 0)), np.zeros(1, bool))


def test_learners_on_the_exact_objective_are_measured_exactly(tmp_path):
    result = crossplay(tmp_path / "out", "naive", "--steps", "200", "--seeds", "2")
    assert result["measured"] == "exact, discounted"
    assert result["pairs"][0]["mean"] == pytest.approx(1, abs=0.02)  # all D


def test_one_entry_plays_itself_in_another_environment(lola, tmp_path, capsys):
    crossplay(tmp_path / "out", lola, "--env.horizon", "5")
    text = " ".join(capsys.readouterr().out.split())
    assert "lola: 3 policies of" in text
    assert "seat 0, trained for 4 steps; learned on ipd with other parameters than here" in text
    assert len(lines(tmp_path / "out")) == 1


# --- intervals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "same"), [((1, 1), False), ((1, 1), True), ((3, 5), False), ((4, 4), True)])
def test_the_interval_of_equal_values_is_the_mean(shape, same):
    assert bootstrap_interval(np.full(shape, 1.5), same_seeds=same) == pytest.approx((1.5, 1.5))


@pytest.mark.parametrize("same", [False, True])
def test_the_interval_moves_with_the_units(same):
    values = np.random.default_rng(0).normal(size=(5, 5))
    low, high = bootstrap_interval(values, same_seeds=same)
    assert low < values.mean() < high
    assert bootstrap_interval(3 * values - 2, same_seeds=same) == pytest.approx((3 * low - 2, 3 * high - 2))


def test_the_interval_of_one_column_is_that_of_independent_seeds():
    values = np.random.default_rng(1).normal(size=(400, 1))
    low, high = bootstrap_interval(values)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


@pytest.mark.parametrize(
    ("same", "least"),
    [(False, 0.88), (True, 0.85)],
)
def test_the_interval_covers_the_mean_though_pairs_share_seeds(same, least):
    """Rewards that depend on both seeds; on the diagonal also on whether they are the same."""
    rng, hits, count = np.random.default_rng(2), 0, 200
    for _ in range(count):
        row = rng.normal(size=16)
        column = row if same else rng.normal(size=16)
        values = row[:, None] + column + 0.3 * rng.normal(size=(16, 16)) + same * 3 * np.eye(16)
        low, high = bootstrap_interval(values, same_seeds=same, resamples=400)
        hits += low <= same * 3 / 16 <= high
    assert least <= hits / count <= 0.99


def test_what_is_not_measured_is_left_out():
    reward = np.arange(8.0).reshape(2, 2, 2)
    line = Cell("a", "b", reward, None, False).statistics()
    assert (line["cooperation"], line["same_seed_mean"], line["mean"], line["column_mean"]) == (None, None, 3.0, 4.0)
    rates = np.full((2, 2, 2), np.nan)
    assert Cell("a", "b", reward, rates, False).statistics()["cooperation"] is None
    rates[0, 0, 0] = 0.25
    assert Cell("a", "b", reward, rates, False).statistics()["cooperation"] == 0.25


def test_the_sentence_names_all_that_are_best():
    text = sentence(["a", "b", "c"], np.array([[1.0, 5.0, 0.0], [2.0, 2.0, 2.0], [0.0, 0.0, 2.0]]))
    assert text.startswith("Best against all, itself included: a and b with 2 per step.")
    assert text.endswith("Best against itself: b and c with 2 per step.")


# --- figures -----------------------------------------------------------------------------------------------------


def labels(count):
    long = ["ipd-2-lolax2-1", "always_cooperate", "coin_game-2-advantage_alignmentx2-17#1"]
    return [f"{long[number % 3]} ({number})" for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 12])
@pytest.mark.parametrize("draw", ["matrix", "distributions"])
def test_figures_show_every_number_and_cut_no_label(tmp_path, monkeypatch, draw, count):
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: drawn.append(self) or save(self, *a, **k))
    values = np.random.default_rng(0).normal(-1000, 1, size=(count, count, 3, 4))
    mean, path = values.mean(axis=(2, 3)), tmp_path / "figure.png"
    if draw == "matrix":
        crossplay_matrix(path, "ipd, 2 players", labels(count), mean, mean - 0.1, mean + 0.1)
        written = {text.get_text() for text in drawn[0].axes[0].texts}
        assert {f"{value:.2f}" for value in mean.flat} <= written
        assert {f"[{value - 0.1:.2f}, {value + 0.1:.2f}]" for value in mean.flat} <= written
    else:
        crossplay_distributions(path, "ipd, 2 players", labels(count), list(values))
        points = [line.get_ydata() for line in drawn[0].axes[0].lines if line.get_marker() == "o"]
        np.testing.assert_array_equal(points, values[0].reshape(count, -1))
        assert [axes.get_title(loc="left") for axes in drawn[0].axes if axes.get_visible()] == [
            f"row: {label}" for label in labels(count)
        ]
    pixels = imread(path)
    assert pixels.shape[0] > 300
    assert pixels.shape[1] > 700
    assert pixels[..., :3].std() > 0.05
    figure, axes = drawn[0], drawn[0].axes[0]
    figure.set_dpi(150)  # as saved
    for text in axes.texts:  # the numbers, in their cells
        assert text.get_window_extent().width < axes.get_window_extent().width / count, text
    everything = figure.get_tightbbox()
    assert everything.x0 >= 0
    assert everything.y0 >= 0
    assert everything.x1 <= figure.get_figwidth()
    assert everything.y1 <= figure.get_figheight()


def test_the_directory_has_both_figures(mixed):
    for name in ("crossplay.png", "distributions.png"):
        assert imread(mixed[0] / name)[..., :3].std() > 0.05


# --- arguments ---------------------------------------------------------------------------------------------------


def test_equal_labels_are_numbered_and_a_directory_wins_over_a_name(tmp_path, lola, monkeypatch):
    for name in ("a/x", "b/x", "ppo"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").write_text((lola / "config.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    entries, run = crossplay_arguments(["a/x", "b/x", "b/x#1", "ppo", "reinforce", "--reinforce.learning_rate", "0.5"])
    assert [entry.label for entry in entries] == ["x (1)", "x (2)", "x#1", "ppo", "reinforce"]
    assert [entry.seat for entry in entries] == [0, 0, 1, 0, 0]
    assert [entry.name for entry in entries] == [None, None, None, None, "reinforce"]
    assert (run.env, run.players, run.components["env"]["horizon"]) == ("ipd", 2, HORIZON)
    assert run.components["reinforce"]["learning_rate"] == 0.5


def test_the_output_is_numbered_and_never_overwritten(tmp_path, monkeypatch, capsys, lola):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["crossplay", "always_cooperate", *SHORT]) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["crossplay-1", "crossplay-2"]
    for out, message in ((lola, "already holds a run"), (tmp_path / "runs", "is not empty")):
        assert main(["crossplay", "always_cooperate", "--out", str(out)]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "crossplay takes entries, run directories or learners; expected such as: crossplay runs/ipd"),
        (["--seeds", "3"], "crossplay takes entries"),
        (["pppo"], "unknown entry 'pppo', neither a run directory nor a learner: did you mean 'ppo'?"),
        (["nowhere/run"], "entry nowhere/run: no such directory"),
        (["tit_for_tat#1"], "entry tit_for_tat#1: no such directory"),
        (["{tmp}"], "holds no run; expected a directory with a config.yaml"),
        (["{lola}#2"], "lola#2: seat 2 of 2; expected #0 to #1"),
        (["{lola}", "--env", "ipd2"], "--env with a run directory: all play the ipd of"),
        (["{lola}", "--players=3"], "--players with a run directory"),
        (["{lola}", "--env.horizon", "1"], "learned to play ipd with"),
        (["{lola}", "{three}"], "run: learned to play ipd with"),
        (["{lola}", "{bare}"], "bare: holds no checkpoint"),
        (["ppo", "--sed", "1"], "unknown flag --sed: did you mean 'seed'?"),
        (["ppo", "--learners", "lola"], "unknown flag --learners"),
        (["ppo", "--lola.learning_rate", "1"], "--lola.learning_rate: no lola plays; expected it among those"),
        (["ppo", "--seeds", "0"], "--seeds 0: expected a whole number from 1"),
        (["ppo", "--ppo.clip", "-1"], "learner ppo: clip = -1.0: expected at least 0"),
        (["always_cooperate", "--env", "rock_paper_scissors"], "learner always_cooperate: MatrixGame with actions"),
        (["naive", "grim"], "naive against grim: GradientLearner on the exact objective reads"),
        (["{lola}", "--out", "/proc/none/out"], "cannot be written"),
    ],
)
def test_mistakes_exit_with_2_before_anything_is_compiled(args, message, lola, three, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.yaml").write_text((lola / "config.yaml").read_text())
    monkeypatch.setattr(module.Tiles, "program", lambda *_: pytest.fail("compiled"))
    places = {"tmp": tmp_path, "lola": lola, "three": three, "bare": tmp_path / "bare"}
    assert main(["crossplay", *(arg.format(**places) for arg in args)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_help_is_instant_and_explains(tmp_path):
    code = (
        "import sys; from experiments.cli import main\n"
        "try: main(['crossplay', 'ppo', '--help'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'jax', 'matplotlib'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for word in ("ENTRY", "DIR#seat", "--seeds", "--env.horizon", "--ppo.learning_rate", "crossplay.csv"):
        assert word in result.stdout
    with pytest.raises(SystemExit, match="0"):
        main(["crossplay", "--help"])


def test_frozen_players_of_a_run_keep_their_own_hyper_parameters(lola, faster):
    found, games, _ = built(lola, faster, *SHORT)
    members = games[0][0].members
    assert isinstance(members, Frozen)
    np.testing.assert_array_equal(members.learner.learning_rate, [1, 1, 1, 3, 3])
    for player, path, start in zip(found, (lola, faster), (0, 3), strict=True):
        tables = load(path).learner(0).policies
        np.testing.assert_array_equal(members.policies[start : start + len(tables), 0], tables)
        assert player.seeds == list(range(load(path).run.seed, load(path).run.seed + len(tables)))


def test_an_unknown_flag_is_a_user_error_and_not_a_crash():
    with pytest.raises(UserError, match="unknown flag --steps2"):
        crossplay_arguments(["ppo", "--steps2", "4"])
