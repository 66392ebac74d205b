"""A report in a browser: charts are drawn and move, nothing is loaded, and no script runs but its own."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.console import Console

from experiments.cli import main
from experiments.crossplay_report import Cell, write

NASTY = "<script>window.ran = true</script><img src=x onerror='window.ran = true'>"
SHORT = "<img src onerror=ran=1>"
WIDE, PHONE = (1280, 900), (390, 844)


@pytest.fixture(autouse=True, scope="module")
def as_users_run_it():
    import jax

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory):
    """Where the pictures are kept: PARLEY_SCREENSHOTS, or a directory of the tests."""
    folder = Path(os.environ.get("PARLEY_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def written(browser, tmp_path_factory):
    """A report on a run, on the same run with something nasty in its files, and on a cross-play."""
    folder = tmp_path_factory.mktemp("report")
    run, twin, crossed = folder / "run", folder / "twin", folder / "crossed"
    flags = ("--players", "3", "--learners", "lola,naive*2", "--env.horizon", "3", "--log_every", "1", "--seeds", "4")
    assert main([*flags, "--steps", "5", "--out", str(run)]) == 0
    twin.mkdir()
    config, summary = yaml.safe_load((run / "config.yaml").read_text()), json.loads((run / "summary.json").read_text())
    (twin / "config.yaml").write_text(yaml.safe_dump(config | {"env.note": NASTY}))
    (twin / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes())
    nasty = {"sentence": NASTY, "baselines": summary["baselines"] | {NASTY: 2.0}}
    (twin / "summary.json").write_text(json.dumps(summary | nasty))
    crossed.mkdir()
    labels, random = ("run", SHORT), np.random.default_rng(0)
    cells = [[Cell(row, column, random.normal(size=(2, 2, 2)), None, False) for column in labels] for row in labels]
    entries = [{"label": label, "entry": label, "seeds": [0, 1], "trained_in_place": True} for label in labels]
    about = {"command": "python run.py crossplay", "env": "ipd2", "env_parameters": {}, "seed": 0, "players": 2}
    write(crossed, cells, about | {"measured": "exact", "entries": entries}, Console(quiet=True))
    out = folder / "report.html"
    assert main(["report", *map(str, (run, twin, crossed)), "--out", str(out)]) == 0
    return out


def settled(browser):
    assert browser.said == []
    assert {url.partition(":")[0] for url in browser.asked} <= {"file", "data"}
    assert len({url for url in browser.asked if url.startswith("file:")}) == 1
    assert browser.evaluate("window.ran === undefined")


@pytest.mark.parametrize(
    ("name", "size", "dark"), [("wide", WIDE, False), ("dark", WIDE, True), ("phone", PHONE, False)]
)
def test_a_report_is_drawn_and_loads_nothing(browser, written, screenshots, name, size, dark):
    browser.open(written, *size, dark=dark)
    drawn = browser.evaluate(
        "[...document.querySelectorAll('.plot')].map(plot => plot.querySelectorAll('path').length)"
    )
    assert len(drawn) == 8
    assert min(drawn) > 3
    assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")  # nothing sticks out
    back = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(18, 20, 23)") is dark
    picture = browser.screenshot(screenshots / f"report-{name}.png")
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 50_000
    settled(browser)


def test_the_slider_changes_the_picture(browser, written, screenshots):
    browser.open(written, *WIDE)
    browser.evaluate("window.slider = document.querySelector('input[type=range]'); undefined")
    shapes = "[...slider.closest('figure').querySelectorAll('.bars path')].map(bar => bar.getAttribute('d')).join()"
    bars = lambda: browser.evaluate(shapes)  # noqa: E731
    assert browser.evaluate("document.querySelector('output').textContent") == "step 5"
    before, picture = bars(), browser.screenshot(screenshots / "slider-end.png")
    browser.evaluate("slider.value = 0; slider.dispatchEvent(new Event('input'))")
    assert browser.evaluate("document.querySelector('output').textContent") == "step 0"
    assert bars() != before
    assert browser.screenshot(screenshots / "slider-start.png") != picture
    browser.evaluate("document.querySelector('.play').click()")
    browser.wait("document.querySelector('output').textContent === 'step 5'")
    assert bars() == before
    settled(browser)


def test_another_metric_and_the_legend_change_the_picture(browser, written):
    browser.open(written, *WIDE)
    browser.evaluate("window.figure = document.querySelector('#run-1 .chart'); undefined")
    title = "figure.querySelector('.ytitle').textContent"
    assert browser.evaluate(title) == "welfare"
    assert browser.evaluate("[...figure.querySelectorAll('optgroup')].map(own => own.label).includes('D2')")
    lines = "[...figure.querySelectorAll('.js-line')].filter(own => own.getAttribute('d')).length"
    before = browser.evaluate(lines)
    browser.click("[...figure.querySelectorAll('.traces')].find(own => own.textContent.includes('every seed'))")
    browser.wait(f"{lines} === {before - 4}")
    browser.evaluate(
        "figure.querySelector('select').value = 2; figure.querySelector('select').dispatchEvent(new Event('input'))"
    )
    assert browser.evaluate(title) == "reward per step"
    assert browser.evaluate(lines) == before - 4  # what the reader has hidden stays so
    settled(browser)


def test_no_button_sends_charts_anywhere(browser, written):
    browser.open(written, *WIDE)
    titles = set(browser.evaluate("[...document.querySelectorAll('.modebar-btn')].map(own => own.dataset.title)"))
    assert titles == {"Download plot as a PNG", "Zoom", "Pan", "Reset axes"}


def test_scripts_that_are_not_its_own_do_not_run(browser, written):
    browser.open(written, *WIDE)
    browser.evaluate(
        "const script = document.createElement('script'); script.textContent = 'window.ran = true';"
        "document.body.append(script)"
    )
    assert browser.evaluate("fetch('https://example.org/').then(() => 'loaded', () => 'refused')") == "refused"
    assert browser.evaluate("window.ran === undefined")
    told = [said for said in browser.said if "Content Security Policy" in said]
    assert len(told) == len(browser.said) >= 2
    browser.said.clear()
