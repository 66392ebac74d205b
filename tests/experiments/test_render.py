"""What is drawn of a run: the numbers behind the pictures, and clear words where there is nothing to draw."""

import json
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

import envs
import shaping
from experiments.cli import main
from experiments.config import UserError, parse
from experiments.pictures import Policy, Rewards, draw_policies, draw_rewards, until_out
from experiments.render import feasible, field, histories, hull, naive_field, policies, rewards, trajectories
from experiments.render_arguments import render_arguments
from experiments.sides import build_sides
from experiments.trained import Trained, load
from shaping import Match

ROOT = Path(__file__).parents[2]
SEEDS, RATE = 3, 0.1


def train(out, *args):
    assert main([*args, "--seeds", str(SEEDS), "--log_every", "2", "--out", str(out)]) == 0
    return out


def last(run):
    """The last line of metrics."""
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def ipd2(runs):
    return train(runs / "ipd2", "--env", "ipd2", "--env.horizon", "3", "--learners", "lola", "--steps", "5")


@pytest.fixture(scope="module")
def tandem(runs):
    rates = ["--lola.learning_rate", str(RATE), "--lola.lookahead_rate", str(RATE), "--seed", "4"]
    return train(runs / "tandem", "--env", "tandem", "--learners", "lola", *rates, "--baseline", "none", "--steps", "6")


@pytest.fixture
def shared(tmp_path):
    """A run at its start."""
    game = ["--env", "ipd", "--players", "5", "--env.observe", "counts", "--share", "True", "--learners", "naive*5"]
    run, _ = parse([*game, "--seeds", str(SEEDS)])
    match = build_sides(run)["learners"].match
    states = jax.vmap(lambda seed: shaping.init(match, jax.random.key(seed)))(np.arange(SEEDS, dtype=np.uint32))
    return Trained(tmp_path, run, match, 0, states)


@pytest.fixture(scope="module")
def fixed(runs):
    """Nobody is on the exact objective."""
    game = ["--players", "3", "--env.horizon", "12"]
    return train(runs / "fixed", *game, "--learners", "tit_for_tat,random*2", "--steps", "1")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: figures.append(self) or save(self, *a, **k))
    return figures


def test_policies_are_those_of_the_last_checkpoint_in_the_order_of_observations(ipd2):
    found = policies(load(ipd2))
    assert [policy.title for policy in found] == ["seat 0: lola", "seat 1: lola"]
    for seat, policy in enumerate(found):
        assert policy.histories == ("START", "CC", "CD", "DC", "DD")
        assert policy.actions == ("C",)
        reported = last(ipd2)["learners"]["statistics"]
        seen = np.array([reported[name] for name in ("first", "C0", "C1", "D0", "D1")])[:, :, seat]
        np.testing.assert_allclose(policy.probabilities[..., 0], seen.T, atol=1e-6)


def test_bars_are_medians_and_points_are_seeds(tmp_path, drawn):
    values = np.random.default_rng(0).uniform(size=(4, 3, 2))
    path = tmp_path / "policies.png"
    draw_policies(path, "a game", [Policy("seat 0: lola", "about", ("START", "aa", "ab"), ("rock", "paper"), values)])
    assert path.stat().st_size > 0
    panel = drawn[0].axes[0]
    heights = np.reshape([bar.get_height() for bar in panel.patches], (2, 3))
    np.testing.assert_allclose(heights, np.median(values, axis=0).T)
    points = np.stack([line.get_ydata() for line in panel.lines])
    np.testing.assert_allclose(points, values.transpose(2, 1, 0).reshape(6, 4))
    assert [label.get_text() for label in panel.get_xticklabels()] == ["START", "aa", "ab"]
    assert drawn[0].get_suptitle() == "a game\nabout"


def test_seats_that_share_a_policy_are_one_panel(shared):
    (policy,) = policies(shared)
    assert policy.title == "seats 0-4, one policy: naive"
    assert policy.histories == ("START", *(f"C{k}" for k in range(5)), *(f"D{k}" for k in range(5)))
    tables = shared.states[0].params[:, 0, :, 0]
    np.testing.assert_allclose(policy.probabilities[..., 0], jax.nn.sigmoid(tables), rtol=1e-6)
    assert field(shared, ["naive"], 5) == "for two players of one parameter each, here 11 parameters of 5 players"
    assert rewards(shared) == "no metrics"


def test_histories_of_three_are_in_the_order_of_observations_and_of_many_are_kinds():
    three = histories(envs.make("ipd", players=3), 1)
    assert list(three) == ["START", "CCC", "CCD", "CDC", "CDD", "DCC", "DCD", "DDC", "DDD"]
    assert list(three.values()) == [[o] for o in range(9)]
    six = histories(envs.make("ipd", players=6), 0)
    assert list(six) == ["START", *(f"{own}{k}" for own in "CD" for k in range(6))]
    game = envs.make("ipd", players=6)
    for kind, observations in enumerate(six.values()):
        assert (game.history_kinds()[observations] == kind).all()
    assert sorted(o for kind in six.values() for o in kind) == list(range(game.num_observations))


def test_histories_have_names_that_tell_actions_and_views_apart(tmp_path):
    assert list(histories(envs.make("chicken", horizon=9), 0))[1:] == ["sw/sw", "sw/st", "st/sw", "st/st"]
    assert list(histories(envs.make("chicken"), 0)) == ["START"]
    second = list(histories(envs.make("ultimatum", horizon=9), 1))
    assert second[1:] == ["accept/fair", "accept/unfair", "reject/fair", "reject/unfair"]
    (tmp_path / "game.json").write_text(json.dumps(np.zeros((2, 2, 3)).tolist()))  # the third action of seat 0 is none
    unequal = histories(envs.make("matrix", payoffs=str(tmp_path / "game.json")), 0)
    assert unequal == {"START": [0], "0/0": [1], "0/1": [2], "0/2": [3], "1/0": [4], "1/1": [5], "1/2": [6]}


def test_rewards_are_those_of_the_metrics_on_the_hull_of_the_joint_actions(ipd2):
    found = rewards(load(ipd2))
    assert found.labels == {"learners": "lola*2", "baseline": "naive*2"}
    for key in found.labels:
        lines = [json.loads(line) for line in (ipd2 / "metrics.jsonl").read_text().splitlines()]
        np.testing.assert_array_equal(found.paths[key], [line[key]["reward_per_step"] for line in lines])
    assert found.paths["learners"].shape == (4, SEEDS, 2)  # steps 0, 2, 4 and 5
    assert {tuple(vertex) for vertex in found.hull} == {(-1, -1), (-3, 0), (0, -3), (-2, -2)}
    assert found.marks == {"CC": (-1, -1), "CD": (-3, 0), "DC": (0, -3), "DD": (-2, -2)}


def test_of_more_than_two_players_the_others_are_averaged(fixed):
    found = rewards(load(fixed))
    assert found.axes == ("seat 0 (tit_for_tat)", "mean of seats 1 to 2")
    first, *others = np.moveaxis(last(fixed)["learners"]["reward_per_step"], 1, 0)
    np.testing.assert_allclose(found.paths["learners"][-1], np.stack([first, np.mean(others, axis=0)], axis=1))
    assert found.marks == {"all C": (4, 4), "C, others D": (0, 3), "D, others C": (5, 2), "all D": (1, 1)}


@pytest.mark.parametrize("game", ["ipd", "snowdrift", "stag_hunt", "tragedy", "public_goods"])
def test_counts_and_joint_actions_have_one_hull(game):
    joint, counts = (feasible(envs.make(game, players=4, observe=observe)) for observe in ("joint", "counts"))
    assert len(counts) == 8
    np.testing.assert_allclose(np.unique(joint, axis=0), np.unique(counts, axis=0))


@pytest.mark.parametrize(
    ("points", "vertices"),
    [
        ([[0, 0], [0, 0]], [[0, 0]]),
        ([[1, -1], [-1, 1], [-1, 1], [0, 0]], [[-1, 1], [1, -1]]),
        ([[0.1 * k, 0.3 * k] for k in range(9)], [[0, 0], [0.8, 2.4]]),
        ([[0, 0], [1, 0], [0, 1], [0.2, 0.2]], [[0, 0], [0, 1], [1, 0]]),
    ],
)
def test_hulls_may_be_points_and_lines(points, vertices):
    found = hull(np.array(points, float))
    np.testing.assert_allclose(found[np.lexsort(found.T[::-1])], vertices, atol=1e-12)


def test_masked_actions_pay_nobody_and_other_games_have_no_hull(tmp_path):
    (tmp_path / "game.json").write_text(json.dumps((np.zeros((2, 2, 3)) + 5).tolist()))
    np.testing.assert_array_equal(hull(feasible(envs.make("matrix", payoffs=str(tmp_path / "game.json")))), [[5, 5]])
    assert feasible(envs.make("tandem")).shape == (0, 2)


@pytest.mark.parametrize("hull", [[], [[0, 0]], [[-1, 1], [1, -1]], [[0, 0], [100, 100], [101, 99]]])
def test_every_hull_and_values_that_are_not_finite_can_be_drawn(tmp_path, drawn, hull):
    path = np.array([[[0.0, 0.0], [50.0, 50.0]], [[1.0, 1.0], [np.nan, np.inf]], [[100.0, 100.0], [101.0, 99.0]]])
    shown = Rewards({"learners": path}, {"learners": "lola*2"}, ("x", "y"), np.reshape(hull, (-1, 2)), "", {})
    draw_rewards(tmp_path / "rewards.png", "", shown)
    axes = drawn[0].axes[0]
    np.testing.assert_array_equal([line.get_xdata() for line in axes.lines[:2]], [[0, 1, 100], [50, np.nan, 101]])
    assert len(axes.child_axes) == 1  # where all end, seen closer


@pytest.mark.parametrize(
    ("game", "gradient"),
    [
        ("tandem", lambda x, y: (2 - 2 * (x + y), 2 - 2 * (x + y))),
        ("hamiltonian", lambda x, y: (-y, x)),
        ("chicken", lambda x, y: (_chicken(x, y), _chicken(y, x))),
    ],
)
def test_arrows_are_own_gradients(game, gradient):
    match = Match.of(envs.make(game), [shaping.make("naive")] * 2)
    points = np.array([[0.5, -1.0], [2.0, 0.25], [-1.5, 1.0]])
    np.testing.assert_allclose(naive_field(match, points), [gradient(*point) for point in points], rtol=1e-5)


def _chicken(own, other):
    """Payoffs [[0, -1], [1, -100]], by own and other's action; both from logits of the first."""
    p, q = 1 / (1 + np.exp(-own)), 1 / (1 + np.exp(-other))
    return p * (1 - p) * (-(1 - q) - (q - 100 * (1 - q)))


def test_the_field_has_the_trajectories_of_the_run_first_and_of_rules_with_its_step_sizes(tandem):
    trained = load(tandem)
    found = field(trained, ["naive", "lola", "consensus"], 6)
    assert list(found.paths) == ["lola*2 (this run)", "naive", "consensus"]
    own = found.paths["lola*2 (this run)"]
    assert own.shape == (4, 7, 2)
    reached = np.array(last(tandem)["learners"]["statistics"]["x"])  # of the run itself
    np.testing.assert_allclose(own[:SEEDS, -1], reached, atol=1e-5)
    for path in found.paths.values():
        np.testing.assert_array_equal(path[:, 0], own[:, 0])
    steps = np.diff(found.paths["naive"], axis=1)
    expected = RATE * (2 - 2 * found.paths["naive"][:, :-1].sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(steps, np.broadcast_to(expected, steps.shape), atol=1e-5)
    x, y = found.points[..., 0], found.points[..., 1]
    np.testing.assert_allclose(found.arrows, np.stack([2 - 2 * (x + y)] * 2, axis=-1), atol=1e-5)
    assert (found.low < found.points.min(axis=(0, 1))).all()
    assert (found.high > found.points.max(axis=(0, 1))).all()
    assert (own.max(axis=(0, 1)) <= found.high).all()
    assert found.starts == ("seed 4", "seed 5", "seed 6", "seed 7")


def test_trajectories_that_diverge_are_cut_and_do_not_decide_the_box(tandem):
    match = Match.of(envs.make("tandem"), [shaping.make("naive", learning_rate=3.0)] * 2)
    wild = trajectories(match, np.arange(2, dtype=np.uint32), 100)
    assert not np.isfinite(wild).all()
    low, high = np.full(2, -9.0), np.full(2, 9.0)
    seen = until_out(wild[0], low, high)
    assert np.isfinite(seen).all()
    assert 1 < len(seen) < 10
    assert ((seen[:-1] >= low) & (seen[:-1] <= high)).all()
    np.testing.assert_array_equal(until_out(np.array([[0.0, 0], [np.inf, 0], [1, 1]]), low, high), [[0, 0]])
    calm = np.array([[0.0, 0], [1, 1]])
    np.testing.assert_array_equal(until_out(calm, low, high), calm)
    found = field(load(tandem), ["consensus"], 3, box=0.5)
    np.testing.assert_array_equal([found.low, found.high], [[-0.5, -0.5], [0.5, 0.5]])


def test_a_run_is_drawn_into_its_directory_and_says_what_is_not(tandem, capsys, drawn):
    assert main(["render", str(tandem), "--rules", "naive, sos", "--steps", "3"]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("written")] == [
        f"written: {tandem / 'rewards.png'}",
        f"written: {tandem / 'field.png'}",
    ]
    assert "not drawn: policies.png (tandem has no memory-one policies over a few actions); episode.gif, " in out
    assert "; episode.gif, episode.svg (states of tandem cannot be drawn)\n" in out
    assert drawn[0].get_suptitle().startswith("tandem: lola*2, 3 seeds, 6 training steps\n")
    panels = [axes for axes in drawn[1].axes if axes.get_title(loc="left")]
    assert [panel.get_title(loc="left") for panel in panels] == ["lola*2 (this run)", "naive", "sos"]
    assert panels[0].get_xlabel() == "x of seat 0"


def test_of_a_run_that_samples_rewards_are_drawn(fixed, tmp_path, capsys):
    out = tmp_path / "new" / "pictures"
    assert main(["render", str(fixed), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["episode.gif", "episode.svg", "rewards.png"]
    assert "not drawn: policies.png (no learner is on the exact objective); field.png (not all" in (
        capsys.readouterr().out
    )
    assert not (fixed / "rewards.png").exists()


def test_an_iterated_game_has_policies_and_no_field(ipd2, tmp_path, capsys):
    assert main(["render", str(ipd2), "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "episode.gif",
        "episode.svg",
        "policies.png",
        "rewards.png",
    ]
    assert (
        "not drawn: field.png (for two players of one parameter each, here 10 parameters of 2 players)"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "render takes one run directory, found none"),
        (["a", "b"], "render takes one run directory, found a b"),
        (["nowhere"], "nowhere: holds no run; expected a directory with a config.yaml"),
        (["RUN", "--rules", "naive,lolo"], "--rules: unknown rule 'lolo': did you mean 'lola'?"),
        (["RUN", "--rules", "ppo"], "--rules: ppo has no exact objective"),
        (["RUN", "--rulse", "naive"], "unknown flag --rulse: did you mean 'rules'?"),
        (["RUN", "--steps", "0"], "--steps 0: expected a whole number from 1"),
        (["RUN", "--box", "-1"], "--box -1: expected a number above 0"),
        (["RUN", "--episode_seed", "-1"], "--episode_seed -1: expected a whole number from 0 to"),
        (["RUN", "--training_seed", "3"], "--training_seed 3: expected one of the run's seeds, 4 to 6"),
        (["RUN", "--training_seed", "7"], "--training_seed 7: expected one of the run's seeds, 4 to 6"),
        (["RUN", "--out", "RUN/config.yaml/x"], "cannot be written: "),
    ],
)
def test_mistakes_exit_with_2(tandem, args, message, capsys):
    assert main(["render", *(arg.replace("RUN", str(tandem)) for arg in args)]) == 2
    assert message in capsys.readouterr().err


def test_a_run_without_a_checkpoint_is_named(tandem, tmp_path, capsys):
    (tmp_path / "config.yaml").write_text((tandem / "config.yaml").read_text())
    assert main(["render", str(tmp_path)]) == 2
    assert f"{tmp_path}: holds no checkpoint" in capsys.readouterr().err


def test_help_is_instant_and_imports_no_numerics():
    code = "import sys; from experiments.cli import main\ntry: main(['render', '--help'])\nfinally: "
    code += "print({'jax', 'matplotlib', 'scipy'} & set(sys.modules))"
    start = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert time.perf_counter() - start < 5
    assert result.returncode == 0, result.stderr
    assert "set()" in result.stdout
    assert all(
        flag in result.stdout for flag in ("--out", "--rules", "--steps", "--box", "--episode_seed", "--training_seed")
    )


def test_arguments(tandem):
    asked = render_arguments([str(tandem), "--rules=sos", "--steps", "7"])
    assert (asked.directory, asked.out, asked.rules, asked.steps, asked.box) == (tandem, tandem, ("sos",), 7, None)
    assert (asked.episode_seed, asked.training_seed) == (0, 4)
    with pytest.raises(UserError, match="unknown rule"):
        render_arguments([str(tandem), "--rules", "naive,,sos"])
