"""What is drawn and reported: the numbers of the run, and nothing hidden."""

import numpy as np
from matplotlib.figure import Figure

from experiments.curve_figure import welfare_curves


def line(step, welfare):
    reward = [[value, value] for value in welfare]
    return {"step": step, "learners": {"welfare": welfare, "cooperation": [0.5] * 3, "reward_per_step": reward}}


LINES = [line(0, [1.0, 2.0, 3.0]), line(10, [1.0, 4.0, 6.0])]


def drawn(tmp_path, monkeypatch, lines, marks):
    axes = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: axes.append(self.axes[0]) or save(self, *a, **k))
    welfare_curves(tmp_path / "curves.png", "ipd, 2 players", lines, {"learners": "lola*2"}, marks)
    return axes[0]


def test_every_seed_the_quantiles_and_the_marks_are_drawn(tmp_path, monkeypatch):
    axes = drawn(tmp_path, monkeypatch, LINES, {"all C": 6.0, "all D": 1.0})
    curves = [list(curve.get_ydata()) for curve in axes.lines if list(curve.get_xdata()) == [0, 10]]
    assert curves == [[1.0, 1.0], [2.0, 4.0], [3.0, 6.0], [2.0, 4.0]]  # the seeds, and their median
    (band,) = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.round(6).tolist()}
    low, high = np.quantile([[1, 2, 3], [1, 4, 6]], [0.1, 0.9], axis=1).round(6)
    assert {(0, low[0]), (10, low[1]), (0, high[0]), (10, high[1])} <= corners
    heights = [curve.get_ydata()[0] for curve in axes.lines[len(curves) :]]
    assert heights == [6.0, 1.0]
    assert {"all C", "all D", "lola*2"} < {text.get_text() for text in axes.texts}
    assert axes.get_title(loc="left") == "ipd, 2 players"


def test_one_step_and_equal_marks_can_be_seen(tmp_path, monkeypatch):
    axes = drawn(tmp_path, monkeypatch, LINES[:1], {"best": 0.0, "worst": 0.0})
    assert [curve.get_marker() for curve in axes.lines[:4]] == ["o"] * 4
    assert "best, worst" in [text.get_text() for text in axes.texts]
