"""`run.py report`: the numbers of the run on the page, nothing secret, nothing that runs but its own scripts."""

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import safetensors.numpy
import yaml
from rich.console import Console

from experiments.cli import main
from experiments.crossplay_report import Cell, write
from experiments.report.blocks import Chart, Line, Metric, Table, number
from experiments.report.charts import Bars, bars, curves, heat_map, spread
from experiments.report.command import show
from experiments.report.comparison import compare
from experiments.report.configuration import HIDDEN, safe_command, safe_flags
from experiments.report.page import page
from experiments.report_arguments import kind_of

NASTY = "<script>window.ran = true<"
QUICK = ("--checkpoints", "False")
SEEDS, STEPS = 3, 4


@pytest.fixture(autouse=True, scope="module")
def as_users_run_it():
    import jax

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "trained"
    flags = ("--players", "3", "--learners", "lola,naive*2", "--env.horizon", "3", "--log_every", "1")
    assert main([*flags, "--steps", str(STEPS), "--seeds", str(SEEDS), "--seed", "5", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "grown"
    flags = ("--game", "biased_rock_paper_scissors", "--oracle", "exact", "--solver", "zero_sum", "--seeds", "2")
    assert main(["psro", *flags, "--iterations", "3", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    """A cross-play of an entry with two seeds and one with one, as it is written."""
    out, labels, random = tmp_path_factory.mktemp("crossed"), ("a", NASTY), np.random.default_rng(0)
    shapes = {(row, column): (2 - i, 2 - j) for i, row in enumerate(labels) for j, column in enumerate(labels)}
    cells = {
        pair: Cell(*pair, random.normal(size=(*shape, 2)), None, pair[0] == pair[1]) for pair, shape in shapes.items()
    }
    entries = [
        {"label": "a", "entry": "a", "seeds": [0, 1], "trained_in_place": False, "run": "x/a", "seat": 0, "steps": 9},
        {"label": NASTY, "entry": NASTY, "seeds": [0], "trained_in_place": False},
    ]
    about = {"command": f"python run.py crossplay a '{NASTY}'", "env": "ipd2", "env_parameters": {"horizon": 3}}
    about |= {"seed": 0, "players": 2, "measured": "exact", "entries": entries}
    write(out, [[cells[row, column] for column in labels] for row in labels], about, Console(quiet=True))
    return out


def report(capsys, *args):
    code = main(["report", *map(str, args)])
    told = capsys.readouterr()
    return code, told.out, told.err


def logged(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def chart(section, title):
    return next(block for block in section.blocks if isinstance(block, Chart) and block.title == title)


def table(section, title):
    return next(block for block in section.blocks if isinstance(block, Table) and block.title == title)


class Page(HTMLParser):
    """Tags with their attributes, the text of scripts, and all other text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.words, self._inside = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        else:
            self.words.append(data)


def test_a_run_is_summed_up(trained):
    section, summary = show(trained, "train"), json.loads((trained / "summary.json").read_text())
    assert section.sentence == summary["sentence"]
    assert section.sentence.startswith("naive ")
    assert section.status == "finished"
    assert section.results["training steps"] == str(STEPS)
    assert section.results["median welfare"] == number(float(np.median(summary["welfare"])))
    assert f"jax {summary['versions']['jax']}" in section.made["versions"]
    assert section.facts["seeds"] == f"{SEEDS}, from 5 on"
    assert set(section.differing) == {"players", "learners", "seeds", "seed", "steps", "log_every", "env.horizon"}
    assert len(section.config) > 25
    assert section.command == summary["command"]
    rows = {row[0]: row[1:] for row in table(section, "Final numbers").rows}
    assert set(rows) >= {"seat 0: lola", "seat 1: naive", "seat 0: naive (baseline)"}
    reward = np.array(summary["reward_per_step"])[:, 0]
    assert rows["seat 0: lola"][:3] == [f"{value:.2f}" for value in np.quantile(reward, [0.1, 0.5, 0.9])]


def test_a_run_that_was_resumed_is_repeated_by_its_flags(trained, tmp_path):
    summary = json.loads((trained / "summary.json").read_text())
    for name in ("config.yaml", "metrics.jsonl"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    (tmp_path / "summary.json").write_text(json.dumps(summary | {"command": "python run.py --resume x --steps 4"}))
    words = show(tmp_path, "train").command.split()
    assert words[:2] == ["python", "run.py"]
    assert {"--players=3", "--seed=5", "--env.horizon=3", f"--steps={STEPS}"} <= set(words)


def test_curves_are_the_metrics(trained):
    learning = chart(show(trained, "train"), "Learning")
    lines = logged(trained)
    control = learning.controls[0]
    assert {"welfare", "co-operation", "reward per step", "C", "first", "D2"} <= set(control.groups)
    place = next(k for k, pair in enumerate(zip(control.groups, control.options, strict=True))
                 if pair == ("reward per step", "seat 0: lola"))  # fmt: skip
    for index, values in (
        (0, np.array([line["learners"]["welfare"] for line in lines])),
        (place, np.array([line["learners"]["reward_per_step"] for line in lines])[..., 0]),
    ):
        data = learning.views[str(index)]["data"]
        own = [trace for trace in data if trace["legendgroup"].startswith("0 ")]
        assert [trace["x"] for trace in own] == [list(range(STEPS + 1))] * (SEEDS + 3)
        low, high, *seeds, middle = (np.array(trace["y"]) for trace in own)
        np.testing.assert_allclose(np.stack(seeds, axis=1), values, rtol=1e-4)
        np.testing.assert_allclose([low, middle, high], np.quantile(values, [0.1, 0.5, 0.9], axis=1), rtol=1e-4)
        assert [trace["showlegend"] for trace in own[2 : 2 + SEEDS]] == [True, False, False]
        assert own[2]["text"] == "lola,naive*2, seed 5"
    marks = learning.views["0"]["layout"]["annotations"]
    assert [mark["text"] for mark in marks] == ["all D", "all C"]
    assert "all C" not in json.dumps(learning.views[str(place)])


def test_the_slider_moves_over_every_logged_step(trained):
    policies = chart(show(trained, "train"), "Policies over training")
    learners, slider = policies.controls
    assert slider.slider
    assert list(slider.options) == [f"step {step}" for step in range(STEPS + 1)]
    assert learners.options == ["lola,naive*2", "naive*3 (baseline)"]
    for choice, key in enumerate(("learners", "baseline")):
        for moment, line in enumerate(logged(trained)):
            view = policies.views[f"{choice},{moment}"]
            statistics = line[key]["statistics"]
            kinds = ["first", "C0", "C1", "C2", "D0", "D1", "D2"]
            assert view["layout"]["xaxis"]["ticktext"] == kinds
            for seat, bar in enumerate(trace for trace in view["data"] if trace["type"] == "bar"):
                values = np.array([statistics[kind] for kind in kinds], float)[:, :, seat]
                np.testing.assert_allclose(bar["y"], np.median(values, axis=1), rtol=1e-4)
            points = [trace for trace in view["data"] if trace["type"] == "scatter"]
            np.testing.assert_allclose(
                np.reshape(points[0]["y"], (SEEDS, -1)),
                np.array([statistics[kind] for kind in kinds], float)[:, :, 0].T,
                rtol=1e-4,
            )


def test_what_was_learned_and_an_episode_are_shown_and_nothing_else_is_written(capsys, trained, tmp_path):
    before = sorted(trained.rglob("*"))
    code, told, _ = report(capsys, trained, "--out", tmp_path / "new" / "r.html")
    assert code == 0
    assert sorted(trained.rglob("*")) == before
    text = (tmp_path / "new" / "r.html").read_text()
    assert "not shown" not in told
    assert f"{(tmp_path / 'new' / 'r.html').stat().st_size / 1e6:.1f} MB" in told
    found = re.search(r'src="data:image/gif;base64,([^"]+)"', text)
    assert base64.b64decode(found[1]).startswith(b"GIF89a")
    assert "Policies after every history" in text
    data = next(own for own in json.loads(Page(text).scripts[0]) if "CCD" in json.dumps(own))
    ticks = data["views"]["0"]["layout"]["xaxis"]["ticktext"]
    assert ticks[:3] == ["START", "CCC", "CCD"]
    last = logged(trained)[-1]["learners"]["statistics"]
    bar = data["views"]["0"]["data"][0]
    np.testing.assert_allclose(bar["y"][:2], [np.median(np.array(last[k])[:, 0]) for k in ("first", "C0")], rtol=1e-3)


def test_an_episode_that_is_there_is_taken(capsys, trained, tmp_path):
    for name in ("config.yaml", "metrics.jsonl"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    (tmp_path / "episode.gif").write_bytes(b"GIF89a, of a sort")
    code, told, _ = report(capsys, tmp_path)
    assert code == 0
    assert "policies after every history" in told
    assert "holds no checkpoint" in told
    assert base64.b64encode(b"GIF89a, of a sort").decode() in (tmp_path / "report.html").read_text()
    assert show(tmp_path, "train").status == "running, or killed"


def test_an_evaluation_is_shown(trained, tmp_path):
    for name in ("config.yaml", "metrics.jsonl"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    seen = {"reward": {"q10": 1.0, "q50": 2.0, "q90": 3.0}, "others": {"q50": 4.0}}
    rows = [{"seat": 0, "focal": "lola", "against": "grim", "quantiles": seen}]
    rows += [{"seat": 0, "focal": "lola", "against": "x", "not_defined": "for two players"}]
    best = [{"seat": 0, "focal": "lola", "best_response": "ppo", "quantiles": {"gain": {"q50": 0.5}}}]
    data = {"pairing": "in pairs", "measured": "exact", "panel": rows, "best_responses": best}
    (tmp_path / "evaluation.json").write_text(json.dumps(data))
    shown = table(show(tmp_path, "train"), "Evaluation on new seeds")
    assert shown.rows == [
        ["seat 0: lola", "against grim", "1", "2", "3", "4", "-"],
        ["seat 0: lola", "against x", "-", "-", "-", "-", "-"],
        ["ppo", "instead of seat 0: lola", "-", "-", "-", "-", "0.5"],
    ]


def test_that_steps_are_left_out_is_said(trained, monkeypatch):
    monkeypatch.setattr("experiments.report.training.POINTS", 3)
    section = show(trained, "train")
    assert f"2 of {STEPS + 1} logged steps" in section.missing
    assert chart(section, "Learning").views["0"]["data"][-1]["x"] == [0, 2, 4]


def test_populations(grown):
    section = show(grown, "psro")
    summary = json.loads((grown / "summary.json").read_text())
    assert section.sentence == summary["sentence"]
    assert section.sentence.startswith("mixtures of seed 0 after 3 iterations")
    assert set(section.differing) >= {"game", "solver", "seeds", "iterations"}
    arrays = safetensors.numpy.load_file(sorted((grown / "checkpoint").iterdir())[-1])
    game = chart(section, "The game between populations")
    for seed in range(2):
        rows, columns = arrays[".games.sizes"][seed]
        mean = arrays[".games.mean"][seed]
        for player, table in enumerate((mean[0], mean[1].T)):
            shown = game.views[f"{seed},{player}"]["data"][0]["z"]
            expected = table[: (rows, columns)[player], : (columns, rows)[player]]
            np.testing.assert_allclose(np.array(shown, float), expected, atol=1e-5)
        for moment, line in enumerate(logged(grown)):
            shown = chart(section, "Mixtures").views[f"{seed},{moment}"]["data"]
            shares, expected = np.array([bar["y"] for bar in shown]), np.array(line["profile"][seed])
            np.testing.assert_allclose(shares[:, : expected.shape[1]], expected, atol=1e-4)
            assert not shares[:, expected.shape[1] :].any()
        np.testing.assert_allclose(shares, arrays[".profile"][seed, :, : shares.shape[1]], atol=1e-4)
    growth = chart(section, "Growth")
    gap = growth.views[str(growth.controls[0].groups.index("gain by the new policies (gap)"))]["data"][-1]
    np.testing.assert_allclose(gap["y"], [np.median(line["gap"]) for line in logged(grown)], rtol=1e-4)
    star = chart(section, "Mean against risk").views["0,0"]["data"][0]
    np.testing.assert_allclose(star["y"][-1], summary["value"][0][0], atol=1e-4)
    np.testing.assert_allclose(star["x"][-1] ** 2, summary["variance"][0][0], atol=1e-4)


def test_populations_without_a_checkpoint_say_so(grown, tmp_path):
    for name in ("config.yaml", "metrics.jsonl"):
        (tmp_path / name).write_bytes((grown / name).read_bytes())
    section = show(tmp_path, "psro")
    assert "holds no checkpoint" in section.missing[0]
    assert chart(section, "Growth")


@pytest.mark.slow  # two matches, a solution and rankings to compile
def test_a_league(tmp_path):
    flags = ("--env", "ipd2", "--learners", "tit_for_tat,always_defect", "--seeds", "2", "--steps", "1", "--looks", "1")
    assert main(["league", *flags, "--batch", "2", "--env.horizon", "4", "--out", str(tmp_path / "l")]) == 0
    section, result = show(tmp_path / "l", "league"), json.loads((tmp_path / "l" / "league.json").read_text())
    assert section.sentence == result["sentence"]
    assert "deploys" in section.sentence
    assert set(section.differing) == {"learners", "seeds", "steps", "looks", "batch", "env.horizon"}
    game = chart(section, "The game between learners")
    np.testing.assert_allclose(np.array(game.views["0"]["data"][0]["z"], float), result["matrix"][0], rtol=1e-4)
    np.testing.assert_allclose(
        np.array(game.views["1"]["data"][0]["z"], float), np.transpose(result["matrix"][1]), rtol=1e-4
    )
    shares = [trace["y"] for trace in chart(section, "Whom to deploy").views[""]["data"]]
    np.testing.assert_allclose(shares[:2], result["solution"]["profile"], atol=1e-4)
    assert [row[0] for row in table(section, "Ratings").rows] == ["always_defect", "tit_for_tat"]
    (tmp_path / "l" / "league.json").unlink()
    assert "there is no league.json yet" in show(tmp_path / "l", "league").missing[0]


def test_a_crossplay(crossed):
    section, data = show(crossed, "crossplay"), json.loads((crossed / "crossplay.json").read_text())
    assert section.sentence == data["summary"]
    everyone = chart(section, "Everyone against everyone")
    assert list(everyone.controls[0].options) == [
        "mean",
        "median",
        "5 % quantile",
        "95 % quantile",
        "mean reward of the column",
    ]
    means = np.reshape([pair["mean"] for pair in data["pairs"]], (2, 2))
    np.testing.assert_allclose(np.array(everyone.views["0"]["data"][0]["z"], float), means, rtol=1e-4)
    seeds = chart(section, "Seed against seed").views["0,1"]["data"][0]["z"]
    np.testing.assert_allclose(seeds, np.array(data["pairs"][1]["reward_per_step"])[..., 0], rtol=1e-4)
    assert html.escape(NASTY) in everyone.views["0"]["layout"]["xaxis"]["ticktext"]


ROWS = [
    {"what": "a number", "published": 1.0, "ours": 1.01, "tolerance": "± 0.1", "passed": True},
    {"what": "another", "published": 1.0, "ours": 2.0, "tolerance": "± 0.1", "passed": False},
    {"what": "a third", "published": None, "ours": 2.0, "tolerance": "", "passed": None},
]


def test_a_reproduction(tmp_path):
    result = {
        "title": "A title",
        "setting": "How.",
        "command": "python run.py reproduce x",
        "seeds": 3,
        "seconds": 12.0,
    }
    (tmp_path / "one.json").write_text(json.dumps(result | {"versions": {"jax": "9"}, "rows": ROWS}))
    (tmp_path / "other.json").write_text("{}")
    section = show(tmp_path, kind_of(tmp_path))
    assert section.sentence == "1 of 2 numbers within tolerance."
    assert section.command == "python run.py reproduce x"
    assert section.results == {"experiments": "1", "numbers": "3", "seconds": "12"}
    shown = table(section, "A title")
    assert shown.marked == {1}
    assert [row[-1] for row in shown.rows] == ["pass", "MISS", ""]
    assert "other.json" in section.missing[0]


def test_directories_are_compared(trained, tmp_path, capsys):
    twin = tmp_path / "trained"
    twin.mkdir()
    for name in ("metrics.jsonl", "summary.json"):
        (twin / name).write_bytes((trained / name).read_bytes())
    config = yaml.safe_load((trained / "config.yaml").read_text())
    (twin / "config.yaml").write_text(yaml.safe_dump(config | {"lola.learning_rate": 0.25}))
    sections = [show(trained, "train"), show(twin, "train")]
    results, differs, learning = compare(sections)
    assert [row for row in differs.rows if row[0] == "lola.learning_rate"] == [["lola.learning_rate", "1.0", "0.25"]]
    assert [row[0] for row in differs.rows] == ["lola.learning_rate"]
    assert ["status", "finished", "finished"] in results.rows
    data = learning.views["0"]["data"]
    assert len({trace["line"]["color"] for trace in data}) == 2
    thin = [trace for trace in data if "every seed" in trace.get("name", "")]
    assert {trace["visible"] for trace in thin} == {"legendonly"}
    code, _, _ = report(capsys, trained, twin, *QUICK, "--out", tmp_path / "r.html")
    assert code == 0
    words = "".join(Page((tmp_path / "r.html").read_text()).words)
    assert "Compared" in words
    assert str(twin) in words  # the names are alike


def test_everything_is_escaped(trained, crossed, tmp_path, capsys):
    path = tmp_path / f"{NASTY}b>"
    path.mkdir()
    config = yaml.safe_load((trained / "config.yaml").read_text())
    (path / "config.yaml").write_text(yaml.safe_dump(config | {"env.note": f"{NASTY}/script>"}))
    (path / "metrics.jsonl").write_bytes((trained / "metrics.jsonl").read_bytes())
    summary = json.loads((trained / "summary.json").read_text())
    nasty = {
        "sentence": f"{NASTY}/script>",
        "status": '"><img src=x onerror=alert(1)>',
        "faults": [NASTY, {"seed": NASTY}],
    }
    nasty["baselines"] = summary["baselines"] | {f"{NASTY}/script>": 2.0}
    (path / "summary.json").write_text(json.dumps(summary | nasty))
    code, _, _ = report(capsys, path, crossed, *QUICK, "--out", tmp_path / "r.html")
    assert code == 0
    text = (tmp_path / "r.html").read_text()
    assert "<script>window" not in text
    page = Page(text)
    assert len(page.scripts) == 3
    assert not [attributes for tag, attributes in page.tags if tag == "img"]
    assert not [attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)]
    words = " ".join(page.words)
    assert f"{NASTY}/script>" in words
    charts = json.loads(page.scripts[0])
    shown = json.dumps(charts)
    assert "&lt;script&gt;window" in shown  # for Plotly, which reads tags
    assert "<script" not in shown


def test_secrets_are_left_out(trained, tmp_path, capsys):
    path = tmp_path / "run"
    path.mkdir()
    config = yaml.safe_load((trained / "config.yaml").read_text())
    secrets = {"env.api_key": "hunter1", "wandb_token": "hunter2", "a": {"Password": "hunter3"}}
    secrets |= {"env.source": "https://me:hunter4@example.org/x"}
    (path / "config.yaml").write_text(yaml.safe_dump(config | secrets))
    (path / "metrics.jsonl").write_bytes((trained / "metrics.jsonl").read_bytes())
    command = "WANDB_API_KEY=hunter5 python run.py --x.api-key hunter6 --token='hunter7 hunter8' --seeds 2"
    summary = json.loads((trained / "summary.json").read_text())
    (path / "summary.json").write_text(json.dumps(summary | {"command": command}))
    assert report(capsys, path)[0] == 0
    text = (path / "report.html").read_text()
    assert "hunter" not in text
    assert {"env.api_key", "wandb_token", "a.Password"} <= set(show(path, "train").config)
    assert "--seeds 2" in text
    assert HIDDEN in text


def test_secrets_by_name():
    assert safe_flags({"api_key": 1, "env.horizon": 3}) == {"api_key": HIDDEN, "env.horizon": "3"}
    assert safe_command("python run.py --seeds 3 'a b'") == "python run.py --seeds 3 'a b'"
    assert "x" not in safe_command("run --password x --secret=x")
    assert safe_command("run --password 'x") == HIDDEN


def test_the_page_allows_its_scripts_and_nothing_else(trained, tmp_path, capsys):
    report(capsys, trained, *QUICK, "--out", tmp_path / "r.html")
    page = Page((tmp_path / "r.html").read_text())
    policy = next(own["content"] for tag, own in page.tags if own.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert set(rules) == {"default-src", "script-src", "style-src", "img-src", "base-uri", "form-action"}
    assert rules["img-src"] == "data: blob:"
    data, *scripts = page.scripts
    assert json.loads(data)
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()}'" for own in scripts}
    assert set(rules["script-src"].split()) == hashes
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "form", "base")
        assert not {"src", "href", "action"} & set(attributes) or attributes.get("href", "").startswith("#"), tag


def test_plotly_knows_every_word_of_the_charts(trained, grown, crossed):
    go = pytest.importorskip("plotly.graph_objects")

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(own) for key, own in value.items()}
        if isinstance(value, list):
            return [plain(own) for own in value]
        return "#123456" if isinstance(value, str) and value.startswith("--") else value

    for section in (show(trained, "train"), show(grown, "psro"), show(crossed, "crossplay")):
        for own in (block for block in section.blocks if isinstance(block, Chart)):
            for key in dict.fromkeys([next(iter(own.views)), list(own.views)[-1]]):
                view = plain(own.views[key])
                go.Figure(data=view["data"], layout=view["layout"])  # raises on what it does not know
            choices = [range(len(control.options)) for control in own.controls]
            assert len(own.views) == np.prod([len(own) for own in choices], dtype=int)


def test_views_without_values_and_of_many_numbers():
    steps, values = np.arange(10_000), np.full((10_000, 50), np.nan)
    values[:, 1] = steps
    shown = curves("t", "step", [Metric("m", "all", [Line("l", 0, steps, values)])], seeds_shown=True)
    own = shown.views["0"]["data"]
    assert len(own) == 3 + 32
    assert (own[0]["x"][0], own[0]["x"][-1]) == (0, 9999)
    assert sum(len(trace["y"]) for trace in own) <= 250_000
    assert set(own[2]["y"]) == {None}
    assert own[-1]["y"][-1] == 9999
    assert "evenly spaced" in shown.about
    assert "first 32" in shown.about
    empty = bars(["a"], [Bars("g", np.full((2, 1), np.nan))], "q")["data"]
    assert empty[0]["y"] == [None]
    large = heat_map(np.zeros((30, 30)), ["r"] * 30, ["c"] * 30, ("rows", "columns"))
    assert "text" not in large["data"][0]
    assert spread(3, 10).tolist() == [0, 1, 2]


def test_a_report_is_written_anew_but_over_nothing_else(trained, tmp_path, capsys):
    out = tmp_path / "r.html"
    for _ in range(2):
        assert report(capsys, trained, *QUICK, "--out", out)[0] == 0
    out.write_text("notes")
    code, _, err = report(capsys, trained, *QUICK, "--out", out)
    assert code == 2
    assert "already holds something else" in err
    assert out.read_text() == "notes"


def test_a_run_without_metrics_is_shown(trained, tmp_path, capsys):
    (tmp_path / "config.yaml").write_bytes((trained / "config.yaml").read_bytes())
    code, told, _ = report(capsys, tmp_path, *QUICK)
    assert code == 0
    assert "there are no metrics" in told


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("metrics.jsonl", "no json\n", "line 1 is damaged"),
        ("metrics.jsonl", '{"step": 0}\n', "is damaged: expected what `run.py train` writes"),
        ("summary.json", "[", "is damaged"),
        ("summary.json", "[]", "expected a mapping"),
    ],
)
def test_damaged_files_are_told(trained, tmp_path, capsys, file, text, message):
    for name in ("config.yaml", "metrics.jsonl", "summary.json"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    (tmp_path / file).write_text(text)
    code, _, err = report(capsys, tmp_path, *QUICK)
    assert code == 2
    assert message in err
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "report takes directories, found none"),
        (("nowhere",), "nowhere: no such directory"),
        (("{empty}",), "holds nothing that can be shown"),
        (("{parent}",), "such as {trained}"),
        (("{trained}", "{trained}"), "expected each directory once"),
        (("{trained}", "--outt", "x"), "did you mean 'out'"),
        (("{trained}", "--out", "{empty}"), "already holds something else"),
        (("{trained}", "--out", "{empty}/x.pdf"), "expected a name that ends in .html"),
        (("{trained}", *QUICK, "--out", "{trained}/config.yaml/x.html"), "cannot be written"),
    ],
)
def test_mistakes(trained, tmp_path, capsys, args, message):
    names = {"trained": trained, "parent": trained.parent, "empty": tmp_path}
    code, _, err = report(capsys, *(arg.format(**names) for arg in args))
    assert code == 2
    assert message.format(**names) in err


def test_help_tells_the_flags(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["report", "--help"])
    told = capsys.readouterr().out
    assert "--checkpoints" in told
    assert "opens offline" in told


def test_secrets_of_the_own_command_are_left_out(trained):
    text = page([show(trained, "train")], [], "python run.py report x --token y")
    assert "--token y" not in text
