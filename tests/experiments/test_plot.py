"""Curves of runs: the numbers drawn are those of the metrics, what is pooled belongs together, nothing is lost."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from scipy.stats import binom, norm

from experiments.bands import band, smoothed
from experiments.cli import main
from experiments.curve_figure import spread
from experiments.run_directory import RunDirectory

ROOT = Path(__file__).parents[2]


def write(path, welfare, at=None, **flags):
    """A run directory with this welfare `[L, S]`, logged at these steps."""
    path.mkdir(parents=True)
    welfare = np.asarray(welfare, float)
    own = {"env": "ipd", "learners": "ppo", "baseline": "none", "seeds": welfare.shape[1], "seed": 0, "episodes": 5}
    own |= {"steps": 10 * (len(welfare) - 1), "log_every": 10, "ppo.learning_rate": 0.1}
    (path / "config.yaml").write_text(yaml.safe_dump(own | flags))
    for step, seeds in zip(at or range(0, 10 * len(welfare), 10), welfare.tolist(), strict=True):
        metrics = {"welfare": seeds, "reward_per_step": [[value, 1 - value] for value in seeds]}
        RunDirectory(path).append_metrics({"step": step, "learners": metrics})
    return path


def plot(*args):
    return main(["plot", *map(str, args)])


def table(file):
    with file.open() as lines:
        return list(csv.DictReader(lines))


def column(rows, name):
    return [float(row[name] or "nan") for row in rows]


@pytest.fixture
def figures(monkeypatch):
    """What is saved."""
    seen = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: seen.append(self) or save(self, *a, **k))
    return seen


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "trained"
    sizes = ["--seeds", "3", "--seed", "4", "--steps", "3", "--log_every", "1"]
    assert main(["--env", "ipd2", "--learners", "lola,naive", *sizes, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "grown"
    game = ["--game", "rock_paper_scissors", "--solver", "zero_sum", "--iterations", "2", "--seeds", "2"]
    assert main(["psro", *game, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize(
    ("metric", "name"),
    [("welfare", "welfare"), ("reward_per_step[1]", "reward_per_step"), ("C0", "statistics.C0"), ("first[0]", "first")],
)
@pytest.mark.parametrize("side", ["learners", "baseline"])
def test_a_table_holds_what_the_run_has_logged(trained, tmp_path, metric, name, side):
    file = tmp_path / "curve.csv"
    assert plot(trained, "--metric", metric, "--side", side, "--out", file) == 0
    rows = table(file)
    logged = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    last = name.rpartition(".")[2]
    own = np.array([(line[side] | line[side]["statistics"])[last] for line in logged], float)
    seeds = own if own.ndim == 2 else own[:, :, int(metric[-2])] if "[" in metric else own.mean(axis=2)
    assert column(rows, "step") == [0, 1, 2, 3]
    for place in range(3):
        np.testing.assert_allclose(column(rows, f"seed_{place + 4}"), seeds[:, place])
    expected = np.quantile(seeds, [0.1, 0.5, 0.9], axis=1)
    np.testing.assert_allclose([column(rows, name) for name in ("low", "median", "high")], expected)
    assert {row["seeds"] for row in rows} == {"3"}
    assert {row["metric"] for row in rows} == {
        metric.replace("C0", "statistics.C0").replace("first", "statistics.first")
    }
    assert {row["run"] for row in rows} == {"lola,naive" if side == "learners" else "naive (baseline)"}


def test_every_seat_and_both_sides_are_curves(trained, tmp_path, figures):
    out = tmp_path / "a.csv", tmp_path / "a.svg"
    assert plot(trained, "--metric", "reward_per_step[*]", "--side", "both", "--out", ",".join(map(str, out))) == 0
    names = list(dict.fromkeys(row["run"] for row in table(out[0])))
    assert names == ["lola, seat 0", "naive, seat 1", "naive (baseline), seat 0", "naive (baseline), seat 1"]
    assert len(figures) == 1
    root = ElementTree.parse(out[1]).getroot()  # noqa: S314  our own file
    assert root.tag.endswith("svg")


def test_what_is_drawn_is_what_the_table_says(trained, tmp_path, figures):
    out = tmp_path / "a.png", tmp_path / "a.csv"
    assert plot(trained, "--lines", "True", "--out", ",".join(map(str, out))) == 0
    rows, (axes,) = table(out[1]), figures[0].axes
    curves = [curve.get_ydata() for curve in axes.lines if len(curve.get_xdata()) == 4]
    expected = [column(rows, name) for name in ("seed_4", "seed_5", "seed_6", "median")]
    np.testing.assert_allclose(curves, expected)
    corners = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == (min(column(rows, "low")), max(column(rows, "high")))
    texts = {text.get_text() for text in axes.texts}
    assert {"all C", "all D", "lola,naive", "median of 3 seeds; band: 10 % to 90 % quantile; thin: every seed"} <= texts
    assert axes.get_title(loc="left") == "ipd2, 2 players"


def test_populations_have_curves(grown, tmp_path, figures):
    logged = [json.loads(line) for line in (grown / "metrics.jsonl").read_text().splitlines()]
    for metric, name in (("value[1]", "value"), ("gap", "gap"), ("nash_conv", "nash_conv")):
        assert plot(grown, "--metric", metric, "--x", "episodes", "--out", tmp_path / "a.csv") == 0
        rows = table(tmp_path / "a.csv")
        seeds = [[own[1] if "[" in metric else own for own in line[name]] for line in logged]
        np.testing.assert_allclose([column(rows, "seed_0"), column(rows, "seed_1")], np.transpose(seeds))
        assert column(rows, "episodes") == [np.median(line["episodes"]) for line in logged]
    assert plot(grown) == 0
    assert (grown / "plot-gap.png").is_file()
    assert figures[0].axes[0].get_xlabel() == "iteration"


def test_runs_that_differ_only_in_seeds_are_pooled(tmp_path, capsys):
    random = np.random.default_rng(0)
    first, second, other, longer = (random.normal(size=(length, 3)) for length in (4, 4, 4, 6))
    second[:, 0] = first[:, 2]  # seed 2 once more
    one = write(tmp_path / "one", first)
    two = write(tmp_path / "two", second, seed=2, log_every=5)
    three = write(tmp_path / "three", other, seed=5, **{"ppo.learning_rate": 0.2})
    four = write(tmp_path / "four", longer, seed=5, at=[0, 5, 10, 20, 30, 40])
    (four / "config.yaml").write_text((one / "config.yaml").read_text().replace("seed: 0", "seed: 5"))
    file = tmp_path / "a.csv"
    assert plot(one, three, two, four, "--group", "True", "--x", "episodes", "--out", file) == 0
    by_rate = {rate: [row for row in table(file) if rate in row["run"]] for rate in ("rate 0.1", "rate 0.2")}
    pooled, alone = by_rate.values()
    assert column(pooled, "episodes") == [0, 50, 100, 150]
    seen = np.stack([column(pooled, f"seed_{seed}") for seed in range(8)], axis=1)
    expected = np.concatenate([first, second[:, 1:], longer[[0, 2, 3, 4]]], axis=1)
    np.testing.assert_allclose(seen, expected)
    np.testing.assert_allclose(column(pooled, "median"), np.median(expected, axis=1))
    assert {row["seeds"] for row in pooled} == {"8"}
    assert [row["seed_0"] for row in alone] == [""] * 4
    assert {row["run"] for row in alone} == {"learning rate 0.2 (n = 3)"}
    assert "4 runs" not in (told := capsys.readouterr().out)
    assert "3 runs, 8 seeds, steps 0 to 30 that all have logged; seeds that several have count once: 1" in told


def test_names_are_what_runs_differ_in(tmp_path, figures):
    values = np.zeros((2, 1))
    runs = {
        "a/x": write(tmp_path / "a" / "x", values),
        "b/x": write(tmp_path / "b" / "x", values, seed=3),
        "c/x": write(tmp_path / "c" / "x", values, seed=3, steps=99),
        "d": write(tmp_path / "d", values, learners="lola", **{"lola.expansion": "taylor"}),
    }

    def names(*chosen):
        assert plot(*(runs[name] for name in chosen), "--out", tmp_path / "a.csv") == 0
        return list(dict.fromkeys(row["run"] for row in table(tmp_path / "a.csv")))

    assert names("a/x", "d") == ["ppo", "lola"]
    assert names("a/x", "b/x") == ["seed 0", "seed 3"]
    assert names("b/x", "c/x") == ["steps 10", "steps 99"]
    (runs["c/x"] / "config.yaml").write_text((runs["b/x"] / "config.yaml").read_text())
    assert names("b/x", "c/x") == ["b/x", "c/x"]
    assert plot(runs["a/x"], runs["b/x"], "--labels", "one, two", "--out", tmp_path / "a.png") == 0
    assert {"one", "two"} < {text.get_text() for text in figures[0].axes[0].texts}
    assert figures[0].axes[0].get_title(loc="left") == "ipd, 2 players, ppo"


def test_bootstrap_intervals_are_those_of_resampled_seeds():
    values = np.random.default_rng(1).normal(size=(3, 401))
    values[2, 201:] = np.nan
    seen = band(values, "mean", "bootstrap", 0.9)
    spreads = [values[line, :count].std() / np.sqrt(count) for line, count in enumerate((401, 401, 201))]
    np.testing.assert_allclose(seen.middle, np.nanmean(values, axis=1))
    np.testing.assert_allclose((seen.high - seen.low) / (2 * norm.ppf(0.95)), spreads, rtol=0.06)
    assert seen.seeds.tolist() == [401, 401, 201]
    values = np.arange(21.0)[None] ** 2
    seen = band(values, "median", "bootstrap", 0.8)
    at_most = binom.sf(10, 21, np.arange(1, 22) / 21)  # chance that the median of a resample is at most each value
    expected = values[0, [np.searchsorted(at_most, tail) for tail in (0.1, 0.9)]]
    assert (seen.low[0], seen.high[0]) == tuple(expected)


def test_seeds_without_a_value_are_left_out():
    values = np.array([[1.0, 2.0, np.nan], [np.nan] * 3])
    for average in ("median", "mean"):
        for interval in ("quantiles", "bootstrap", "none"):
            seen = band(values, average, interval, 0.8)
            np.testing.assert_equal(seen.middle, [1.5, np.nan])
            assert seen.seeds.tolist() == [2, 0]
            assert np.isnan([seen.low[1], seen.high[1]]).all()
            assert np.isnan(seen.low[0]) == (interval == "none")


def test_smoothing_is_a_mean_over_windows_and_the_figure_says_so(tmp_path, figures):
    x = np.array([0.0, 1.0, 2.0, 10.0])
    values = np.array([[0.0, 5.0], [3.0, np.nan], [6.0, 7.0], [9.0, 8.0]])
    np.testing.assert_allclose(smoothed(x, values, 2), [[1.5, 5], [3, 6], [4.5, 7], [9, 8]])
    np.testing.assert_allclose(smoothed(x, values[:, :1], 0.5), values[:, :1])
    run = write(tmp_path / "run", values[:, [0, 0]])
    out = tmp_path / "a.png", tmp_path / "a.csv"
    assert plot(run, "--smooth", "20", "--out", ",".join(map(str, out))) == 0
    assert column(table(out[1]), "median") == [1.5, 3, 6, 7.5]
    assert "smoothed over windows of 20 on the x-axis" in figures[0].axes[0].get_ylabel().replace("\n", " ")
    assert table(out[1])[0]["metric"] == "welfare smoothed over 20"


def test_long_runs_are_thinned_to_steps_that_others_keep(tmp_path, capsys):
    steps = {"long": [*range(0, 60_000, 10)], "short": [*range(0, 35_000, 10)]}
    steps["short"].insert(7, 65)  # where it was interrupted
    for name, own in steps.items():
        values = np.array(own)[:, None] / 7 + (0.5 if name == "short" else 0)
        write(tmp_path / name, values, own, seed=len(own))
    kept = {name: [line["step"] for line in RunDirectory(tmp_path / name).read_metrics(500)] for name in steps}
    for name, own in kept.items():
        assert 250 <= len(own) <= 502
        assert (own[0], own[-1]) == (steps[name][0], steps[name][-1])
        assert set(np.diff(own[:-1]).tolist()) == {160 if name == "long" else 80}
    assert {step for step in kept["long"] if step < 35_000} < set(kept["short"])
    assert [line["step"] for line in RunDirectory(tmp_path / "short").read_metrics()] == steps["short"]
    assert [line["step"] for line in RunDirectory(tmp_path / "short").read_metrics(10**6)] == steps["short"]
    file = tmp_path / "a.csv"
    assert plot(tmp_path / "long", "--out", file) == 0
    rows = table(file)
    np.testing.assert_allclose(column(rows, "median"), np.array(column(rows, "step")) / 7)
    assert "of 6,000 logged steps about 2,000 at most, evenly spread, are drawn" in capsys.readouterr().out


def test_names_stand_at_ends_or_in_a_legend(tmp_path, figures):
    few = [write(tmp_path / f"{k}", np.full((3, 2), k / 100), seed=2 * k) for k in range(5)]
    many = [write(tmp_path / f"{k}", np.full((3, 2), k / 100), seed=2 * k) for k in range(5, 9)]
    early = write(tmp_path / "early", np.zeros((2, 2)), learners="naive", at=[0, 1])
    for runs, direct in ((few, True), ([*few, *many], False), ([early, few[0]], False)):
        assert plot(*runs, "--out", tmp_path / "a.png") == 0
        figure = figures.pop()
        assert len(figure.legends) == (not direct)
        styles = {(line.get_color(), str(line.get_linestyle())) for line in figure.axes[0].lines}
        assert len(styles) == len(runs)
        if direct:
            boxes = sorted(text.get_window_extent().y0 for text in figure.axes[0].texts if "seed " in text.get_text())
            assert len(boxes) == 5
            assert min(np.diff(boxes)) > figure.axes[0].texts[0].get_window_extent().height


@given(st.lists(st.floats(-100, 300), min_size=1, max_size=8), st.floats(1, 20))
def test_names_are_moved_apart_and_no_further(wanted, gap):
    places = spread(np.array(wanted), gap, 0.0, 200.0)
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(places[order]) >= gap - 1e-6).all()
    assert places.min() >= -1e-6
    assert places.max() <= 200 + 1e-6
    inside = np.clip(wanted, 0, 200)
    if (np.diff(np.sort(inside)) >= gap).all():
        np.testing.assert_allclose(places, inside)


def test_a_file_for_print_has_its_fonts_and_its_size(tmp_path):
    run = write(tmp_path / "run", np.random.default_rng(0).normal(size=(5, 4)))
    files = [tmp_path / f"new/{name}" for name in ("a.pdf", "a.svg", "a.png", "a.csv")]
    for _ in range(2):  # which replaces its own
        size = ("--width", "3.25", "--height", "2")
        assert plot(run, *size, "--lines", "True", "--out", ",".join(map(str, files))) == 0
        contents = [file.read_bytes() for file in files]
    assert contents == [file.read_bytes() for file in files]
    assert b"/CIDFontType2" in contents[0]  # TrueType, embedded
    assert b"/FontFile2" in contents[0]
    assert b"/Type3" not in contents[0]
    assert b"/MediaBox [ 0 0 234 144 ]" in contents[0]
    assert int.from_bytes(contents[2][16:20]) == 975  # pixels


def test_nothing_else_is_overwritten(trained, tmp_path, capsys):
    before = (trained / "curves.png").read_bytes()
    foreign = tmp_path / "a.csv"
    foreign.write_text("run,metric\n")
    for file in (trained / "curves.png", foreign):
        assert plot(trained, "--out", f"{tmp_path / 'new.png'},{file}") == 2
        assert f"--out {file}: is there, and not drawn by plot" in capsys.readouterr().err
    assert not (tmp_path / "new.png").exists()
    assert foreign.read_text() == "run,metric\n"
    for _ in range(2):
        assert plot(trained, "--metric", "reward_per_step[*]") == 0
    assert (trained / "plot-reward_per_step-all.png").is_file()
    assert (trained / "curves.png").read_bytes() == before


def test_logarithmic_axes_say_what_they_cannot_show(tmp_path, capsys, figures):
    run = write(tmp_path / "run", [[1.0, 1.0], [0.0, -1.0], [0.1, 0.1], [0.0, 0.0]])
    out = tmp_path / "a.png", tmp_path / "a.csv"
    assert plot(run, "--log", "xy", "--out", ",".join(map(str, out))) == 0
    assert "ppo: 2 of 3 points are 0 or less" in capsys.readouterr().out
    assert column(table(out[1]), "step") == [10, 20, 30]
    (axes,) = figures[0].axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert plot(write(tmp_path / "none", -np.ones((2, 1))), "--log", "y", "--out", out[0]) == 2
    assert "nowhere above 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "expected such as: plot runs/ipd-2-lolax2-1"),
        (("--metric", "welfare", "RUN"), "directories, before the flags"),
        (("nowhere",), "nowhere: holds no run"),
        (("RUN", "RUN/"), "given twice"),
        (("RUN", "--metrc", "welfare"), "did you mean 'metric'"),
        (("RUN", "--metric", "welfar"), "did you mean 'welfare'? It has welfare, reward_per_step[0..1]"),
        (("RUN", "--metric", "entropy"), "no such metric; it has welfare, reward_per_step[0..1]"),
        (("RUN", "--metric", "reward_per_step[2]"), "expected reward_per_step[0] to reward_per_step[1]"),
        (("RUN", "--metric", "welfare[1]"), "has 1 of them; expected welfare"),
        (("RUN", "--side", "baseline"), "has no baseline; expected --side learners"),
        (("RUN", "--labels", "a,b"), "2 for 1 curves; expected one for each of 'ppo'"),
        (("RUN", "--level", "1"), "expected a number between 0 and 1"),
        (("RUN", "--smooth", "0"), "expected a width above 0"),
        (("RUN", "--smooth", "nan"), "expected a width above 0"),
        (("RUN", "--width", "100"), "--width 100: expected 2.5 to 50 inches"),
        (("RUN", "--height", "nan"), "--height nan: expected 1 to 50 inches"),
        (("RUN", "--height", "1", "--width", "2.5", "--title", "a " * 99, "--out", "RUN/a.png"), "have no room for"),
        (("RUN", "--out", "a.jpg"), "expected files ending in .pdf, .png, .svg or .csv"),
        (("RUN", "--out", "a.png,"), "expected files ending in"),
        (("RUN", "--out", "RUN/config.yaml/a.png"), "cannot be"),
        (("EMPTY",), "EMPTY: has no metrics yet"),
        (("DAMAGED",), "DAMAGED/metrics.jsonl: line 2 is damaged"),
        (("RAGGED",), "RAGGED: step 10 of metrics.jsonl is damaged: expected welfare of every seed"),
    ],
)
def test_mistakes_are_told(tmp_path, capsys, args, message):
    names = ("RUN", "EMPTY", "DAMAGED", "RAGGED")
    for name in names:
        write(tmp_path / name, np.ones((3, 2)))
    (tmp_path / "EMPTY" / "metrics.jsonl").write_text('{"step": 0, "learn')
    ragged = '10, "learners": {"welfare": [1.0'
    changes = {"DAMAGED": ('{"step": 10', '{"stp": 10'), "RAGGED": (f"{ragged}, ", ragged.removesuffix("1.0"))}
    for name, (old, new) in changes.items():
        file = tmp_path / name / "metrics.jsonl"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
    places = {name: f"{tmp_path}/{name}" for name in names}
    own = [re.sub("|".join(names), lambda found: places[found[0]], arg) for arg in args]
    assert plot(*own) == 2
    assert message in capsys.readouterr().err.replace(f"{tmp_path}/", "")


def test_two_metrics_of_one_last_name_are_told_apart(tmp_path, capsys):
    run = write(tmp_path / "run", np.ones((1, 2)))
    line = {"welfare": [1.0, 1.0], "reward_per_step": [[1.0, 1.0]] * 2}
    line["learning"] = {"a": {"entropy": [[1.0], [2.0]]}, "b": {"entropy": [[3.0], [None]]}}
    (run / "metrics.jsonl").write_text(json.dumps({"step": 0, "learners": line}) + "\n")
    assert plot(run, "--metric", "entropy") == 2
    assert "expected one of learning.a.entropy, learning.b.entropy" in capsys.readouterr().err
    assert plot(run, "--metric", "b.entropy", "--out", tmp_path / "a.csv") == 0
    assert column(table(tmp_path / "a.csv"), "median") == [3.0]
    assert "at 1 of 1 steps some seeds have no value" in capsys.readouterr().out


def test_drawing_needs_no_numerics(tmp_path):
    run = write(tmp_path / "run", np.ones((3, 2)))
    code = "import sys; from experiments.cli import main; assert main(['plot', *sys.argv[1:]]) == 0; "
    code += "assert not {'jax', 'wandb'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, run, "--out", tmp_path / "a.pdf"], cwd=ROOT, check=False)
    assert done.returncode == 0
    code = "import sys; from experiments.cli import main\ntry: main(['plot', '--help'])\nfinally: "
    code += "assert not {'jax', 'matplotlib'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0
    assert "--metric" in done.stdout
