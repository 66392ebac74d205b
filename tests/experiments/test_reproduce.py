"""The command that sets our numbers beside published ones."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import equilibria
import shaping
from experiments import reproduce
from experiments.cli import main
from experiments.papers import (
    differentiable,
    leading_the_pack,
    many_players,
    mfos,
    risk_averse_driving,
    risk_averse_matrix,
    risk_averse_methods,
    risk_averse_psro,
    shaper,
)
from experiments.papers.leading_the_pack_published import SHAPERS
from experiments.reproduce import Experiment, Row, at_least, factor, near, shown
from shaping.distributions import probabilities


@pytest.fixture
def two(monkeypatch):
    """Two experiments that take no time, and how often each was run."""
    calls = []

    def first():
        calls.append("first")
        return [near("a", 1.0, 1.05, 0.1), near("b", 1.0, 1.2, 0.1)]

    def second():
        calls.append("second")
        return [shown("c", 3.0), factor("d", 2.0, 2.2, 1.5)]

    experiments = [Experiment("first", "The first", "Setting.", 3, first), Experiment("second", "2", "S.", 1, second)]
    monkeypatch.setattr(differentiable, "EXPERIMENTS", experiments)
    return calls


def test_every_number_is_printed_with_its_verdict(two, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["reproduce", "differentiable", "--out", str(out), "--report", str(tmp_path / "docs" / "r.md")]) == 1
    text = capsys.readouterr().out
    assert "2 of 3 numbers within tolerance" in text
    report = (tmp_path / "docs" / "r.md").read_text()
    assert "| a | 1 | 1.05 | ± 0.1 | pass |" in report
    assert "| b | 1 | 1.2 | ± 0.1 | MISS |" in report
    assert "| c |  | 3 |  |  |" in report
    assert "3 seeds, 0 s" in report


def test_what_is_done_is_not_done_again(two, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["reproduce", "differentiable", "--only", "second", "--out", out]) == 0
    assert two == ["second"]
    main(["reproduce", "differentiable", "--out", out])
    assert two == ["second", "first"]
    main(["reproduce", "differentiable", "--only", "first", "--out", out, "--fresh=True"])
    assert two == ["second", "first", "first"]


def test_what_was_begun_goes_on_unless_it_was_something_else(tmp_path, monkeypatch):
    out, report = tmp_path / "out", tmp_path / "r.md"

    def run(folder):
        begun = (folder / "begun").is_file()
        (folder / "begun").write_text("")
        return [shown("went on", "yes" if begun else "no")]

    def told(setting, *args):
        monkeypatch.setattr(differentiable, "EXPERIMENTS", [Experiment("long", "L", setting, 1, run, resumes=True)])
        assert main(["reproduce", "differentiable", "--out", str(out), "--report", str(report), *args]) == 0
        return report.read_text()

    first = told("Setting.")
    assert "| went on |  | no |" in first
    assert "since it was resumed" not in first
    (out / "long.json").unlink()  # as if it had been stopped
    again = told("Setting.")
    assert "| went on |  | yes |" in again
    assert "s since it was resumed." in again
    assert "| went on |  | no |" in told("Another setting.")
    assert "| went on |  | no |" in told("Another setting.", "--fresh=True")
    assert sorted(path.name for path in out.iterdir()) == ["long", "long-1", "long-2", "long.json"]
    assert (out / "long-1" / "setting.txt").read_text() == "Setting."
    command = json.loads((out / "long.json").read_text())["command"]
    assert command == "python run.py reproduce differentiable --scale cpu --only long"  # no path of this machine


def test_a_stopped_reproduction_keeps_what_it_has(two, tmp_path, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    stopped = Experiment("second", "2", "S.", 1, stop)
    monkeypatch.setattr(differentiable, "EXPERIMENTS", [differentiable.EXPERIMENTS[0], stopped])
    assert main(["reproduce", "differentiable", "--out", str(tmp_path)]) == 130
    assert len(json.loads((tmp_path / "first.json").read_text())["rows"]) == 2
    assert not (tmp_path / "second.json").exists()


def test_mistakes_are_named(two, tmp_path, capsys):
    for args, message in (
        (["differentiabel"], "did you mean 'differentiable'"),
        ([], "reproduce takes one name"),
        (["differentiable", "--only", "frist"], "did you mean 'first'"),
        (["differentiable", "--onyl", "first"], "did you mean 'only'"),
    ):
        assert main(["reproduce", *args, "--out", str(tmp_path)] if args else ["reproduce"]) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "first.json").write_text("{")
    assert main(["reproduce", "differentiable", "--out", str(tmp_path)]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_tolerances_decide():
    assert at_least("x", "y", 0.8, 0.75).passed
    assert not at_least("x", "y", 0.7, 0.75).passed
    assert factor("x", 128.0, 120.0, 1.15).passed
    assert not factor("x", 128.0, 100.0, 1.15).passed
    assert shown("x", 1.0) == Row("x", None, 1.0, "", None)
    assert [reproduce._number(x, "") for x in (1.7834e-06, 131072.0, 20.0, 0.44444, None)] == [
        "1.783e-06", "131072", "20", "0.4444", ""
    ]  # fmt: skip
    assert [reproduce._number(x, "± 6e-07") for x in (0.098123, 0.0, -174.764532)] == ["0.098123", "0", "-174.764532"]


def test_experiments_have_distinct_names_and_settings():
    names = [experiment.name for experiment in differentiable.EXPERIMENTS]
    assert len(set(names)) == len(names) >= 5
    assert all(len(experiment.setting) > 40 for experiment in differentiable.EXPERIMENTS)


@pytest.mark.slow
def test_the_learner_of_a_row_is_the_one_it_names():
    """The cheapest real experiment: the closed form of LOLA's end state in the tandem game."""
    rows = {row.what: row for row in differentiable.tandem()}
    assert all(row.passed for row in rows.values()), [row for row in rows.values() if not row.passed]


@pytest.mark.parametrize("module", [leading_the_pack, many_players, mfos, shaper], ids=lambda module: module.__name__)
def test_every_scale_names_its_experiments_and_efforts(module):
    for scale in module.SCALES:
        found = module.experiments(scale)
        names = [experiment.name for experiment in found]
        assert len(set(names)) == len(names) >= 5
        assert all(len(experiment.setting) > 40 for experiment in found)
    settings = [{experiment.setting for experiment in module.experiments(scale)} for scale in module.SCALES]
    assert not settings[0] & settings[1]  # what is done at one scale is not taken for another


def test_scales_and_patterns_choose(two, tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    assert main(["reproduce", "differentiable", "--only", "sec*", *out]) == 0
    assert two == ["second"]
    assert main(["reproduce", "differentiable", "--scale", "full", *out]) == 2
    assert "--scale full: differentiable has cpu" in capsys.readouterr().err
    assert main(["reproduce", "leading_the_pack", "--scale", "cpuu", *out]) == 2
    assert "smoke, cpu, full" in capsys.readouterr().err


def test_an_experiment_that_resumes_has_a_directory_of_its_own(monkeypatch, tmp_path):
    places = []

    def run(place):
        places.append(place)
        return [shown("a", 1.0)]

    monkeypatch.setattr(differentiable, "EXPERIMENTS", [Experiment("long", "L", "S.", 1, run, resumes=True)])
    assert main(["reproduce", "differentiable", "--out", str(tmp_path)]) == 0
    assert places == [tmp_path / "long"]


def test_a_sampled_number_has_a_tolerance_of_its_own_error():
    row = reproduce.sampled("x", 1.0, [0.9, 1.0, 1.1, 1.2], 0.01)
    error = np.std([0.9, 1.0, 1.1, 1.2], ddof=1) / 2
    assert row.ours == pytest.approx(1.05)
    assert row.tolerance == f"± {0.01 + 4 * error:.3g}"
    assert row.passed
    assert not reproduce.sampled("x", 2.0, [0.9, 1.0, 1.1, 1.2], 0.01).passed


def test_published_cells_have_a_number_a_seat_and_their_mean_as_welfare():
    for (game, players, shapers), (own, naive, welfare) in SHAPERS.items():
        assert (len(own), len(naive)) == (shapers, players - shapers), (game, players, shapers)
        assert np.mean(own + naive) == pytest.approx(welfare, abs=0.02), (game, players, shapers)


def sides(own, naive, welfare):
    """Quantiles around three medians."""
    return {
        side: [value - 0.1, value, value + 0.1]
        for side, value in zip(("own", "naive", "welfare"), (own, naive, welfare), strict=True)
    }


def cell(players, shapers, own, defect):
    """What a cell keeps: shapers that get `own` where always defecting gets `defect`, in both modes."""
    modes = ("as published", "corrected")
    who = {"shaper": own, "always_defect": defect, "majority tit-for-tat": 2.0, "naive, same boot-strapping": 1.0}
    ends = {name: dict.fromkeys(modes, sides(value, 1.5, value - 0.5)) for name, value in who.items()}
    curves = {mode: np.linspace(0, 1, 5 * players).reshape(5, players).tolist() for mode in modes}
    return {"game": "ipd", "players": players, "shapers": shapers, "ends": ends, "curves": curves}


def test_the_page_of_leading_the_pack_says_what_holds(tmp_path):
    cells = {"a": cell(3, 1, 4.5, 1.2), "b": cell(4, 1, 1.3, 1.3), "c": cell(3, 2, 1.9, 1.0), "check": {"ends": {}}}
    text = "\n".join(leading_the_pack.overview(cells, tmp_path))
    assert "| ipd, 3, 1 | 4.86 / 2.24 / 3.11 | 4.50 / 1.50 / 4.00 | 4.50 / 1.50 / 4.00 | 0.50 / 0.50 |" in text
    assert "| yes (+3.30) / yes (+3.30) | yes (+2.50) / yes (+2.50) |" in text
    assert "| no (+0.00) / no (+0.00) | no (-0.70) / no (-0.70) |" in text
    assert "beat all-D and majority tit-for-tat in 1 of 3 cells: ipd, 3, 1 (not in ipd, 4, 1; ipd, 3, 2)" in text
    assert "ipd, 1 shaper, corrected: n = 3: +3.30 over all-D" in text
    assert "no such cell was trained" in text
    for name in ("trials", "welfare"):
        assert (tmp_path / f"leading_the_pack_{name}.png").stat().st_size > 10_000
    assert leading_the_pack.overview({"check": {"ends": {}}}, tmp_path) == []


def test_the_pages_without_published_numbers_have_a_table(tmp_path):
    ends = {
        who: dict.fromkeys(("trial", "end"), sides(2.0, 1.5, 1.7))
        for who in ("shaper", "always_defect", "tit_for_tat", "naive")
    }
    for end in ends.values():
        end["trial"] = end["trial"] | {"others": end["trial"]["naive"]}
    results = {f"strength_{n}": {"players": n, "ends": ends} for n in (3, 2)}
    against = {name: {"own": [1, 2, 3], "others": [0, 1, 2]} for name in many_players.RIVALS}
    text = "\n".join(many_players.overview(results | {"transfer_ppo": {"kind": "ppo", "against": against}}, tmp_path))
    assert text.index("| 2 | 2.00 | 0.00 | 0.00 | 1.50 | 1.70 | 1.70 |") < text.index("| 3 | 2.00 |")
    assert "| ppo | 2.00 / 1.00 | 2.00 / 1.00 | 2.00 / 1.00 | 2.00 / 1.00 |" in text
    assert (tmp_path / "many_players.png").stat().st_size > 10_000
    found = {"ipd_tabular_none": {"game": "ipd_tabular", "ends": {"memory": {"trial": [[0, 1, 2], [3, 4, 5]]}}}}
    assert "| memory | 1.00 | 4.00 |" in "\n".join(shaper.overview(found, tmp_path))


def test_all_concepts_tremble_alike_and_moments_count_all_chance():
    """Stag against 2 % of hares: 10 or 1."""
    game = equilibria.load("stag_hunt")
    pure = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert risk_averse_matrix._trembling(pure) == pytest.approx(np.array([[0.98, 0.02], [0.02, 0.98]]))
    mixed = np.array([[0.5, 0.5], [0.02, 0.98]])
    assert risk_averse_matrix._trembling(mixed) == pytest.approx(mixed)
    stag, hare = np.array([[1.0, 0.0]] * 2), np.array([[0.0, 1.0]] * 2)
    found = risk_averse_matrix._moments(game, stag, [(0.98, stag), (0.02, hare)])
    assert found == pytest.approx([9.82, 9 * np.sqrt(0.98 * 0.02), (0.02 * 1 + 0.03 * 10) / 0.05])


def test_averse_play_deviates_less_where_nash_leaves_a_choice():
    """The first claim of arXiv 2205.15434, in two of the games where Nash equilibria mix."""
    for name in ("high_risk", "chicken"):
        concepts = risk_averse_matrix.matrix(name, risk_averse_psro.EFFORTS["smoke"]).data["concepts"]
        deviations = [concepts[who]["everyone"][1] for who in ("RAE 20", "RAE 5", "Nash")]
        assert deviations == sorted(deviations)
        assert deviations[0] < 0.85 * deviations[2]
    table = risk_averse_matrix.matrix_lines([{"game": name, "concepts": concepts}])
    assert f"| RAE 20 | {' / '.join(f'{x:.3g}' for x in concepts['RAE 20']['everyone'])} |" in table


def test_the_page_of_averse_populations_says_what_holds(tmp_path):
    """One averse method crashes ten times less than the best baseline that earns no less, one earns more than all."""
    side = lambda crashes, earned: {  # noqa: E731
        "crashes": [crashes], "return": [earned], "deviation": [1.0], "tail": [0.0], "overtakes": [1.0], "sharp": [0.5]
    }  # fmt: skip
    drivers = {name: side(50.0, 15.0) for name in risk_averse_driving.BASELINES}
    drivers |= {"self-play": side(10.0, 12.0), "PSRO (Nash)": side(30.0, 14.6)}
    drivers |= {"RAE 0.1, others": side(3.0, 15.0), "RAE 1, others": side(0.0, 20.0)}
    control = {risk_averse_driving.STAY: side(0.0, 10.0)}
    found = risk_averse_driving.fewer(drivers, control[risk_averse_driving.STAY])
    assert found[0] == ("RAE 0.1, others", "PSRO (Nash)", 3.0, 30.0)
    assert found[1][:2] == ("RAE 1, others", "")
    results = {f"driving_{name}": {"method": name, "own": own} for name, own in drivers.items()}
    results["driving_held_out"] = {"held_out": drivers | control}
    shares = {"PSRO (Nash)": [1.0, 0.9], "RAE, three times that γ": [0.0, 0.0]}
    results["trust_1"] = {"penalty": 1.0, "gamma": 0.25, "shares": shares}
    text = "\n".join(risk_averse_psro.overview(results, tmp_path))
    assert "        * RAE 0.1, others: 3 against 30 (PSRO (Nash)): yes" in text
    assert "        * RAE 1, others: 0 (every baseline earns less)" in text
    assert "above γ = 0.25. Share of stags in what was caught or gathered: PSRO (Nash) 0.95, RAE" in text
    assert "| stays behind (control) | 0 / - | 0.5 / - | 10 / - | 0 / - | 1 / - |" in text
    assert (tmp_path / "risk_averse_psro.png").stat().st_size > 10_000


def test_mixtures_are_deployed_without_trembles_and_self_play_with_its_newest():
    profile = np.array([[[0.02, 0.5, 0.48, 0.0]] * 2])
    games = SimpleNamespace(sizes=np.array([[3, 2]]))
    progress = SimpleNamespace(profile=profile, games=games)
    deploy = risk_averse_methods.deployed
    assert deploy(risk_averse_methods.averse(1.0), progress) == pytest.approx(
        np.array([[[0.0, 0.48, 0.46, 0.0]] * 2]) / 0.94
    )
    assert deploy(risk_averse_methods.BASELINES["PSRO (Nash)"], progress) == pytest.approx(profile)
    newest = deploy(risk_averse_methods.BASELINES["self-play"], progress)
    assert newest.tolist() == [[[0, 0, 1, 0], [0, 1, 0, 0]]]


def test_sharpened_policies_draw_what_is_likeliest():
    env = envs.make("stag_hunt_grid")
    learner = shaping.make("ppo")
    params = learner.policy(learner.init(env, jax.random.key(0)))
    params = params | {
        "actor": jax.tree.map(lambda leaf: leaf + 0.1 * jnp.broadcast_to(jnp.arange(5.0), leaf.shape), params["actor"])
    }
    obs, legal = jnp.ones(env.obs_shape), jnp.ones(env.num_actions, bool)

    def chances(policies):
        return probabilities(learner.network.step(env, policies, (), obs, legal)[0].action)

    plain, sharp = chances(params), chances(risk_averse_methods.sharpened(params, 0.1))
    assert np.asarray(sharp) == pytest.approx(np.asarray(plain**10 / (plain**10).sum()), rel=1e-3)
