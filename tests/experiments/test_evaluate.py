"""Replaying a trained run: known rewards, the right policies on the right seeds, a panel, and what a response gains."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import envs
from experiments import evaluate as module
from experiments.cli import main
from experiments.evaluate import FILE, PANEL, Replay
from experiments.evaluate_arguments import evaluate_arguments
from experiments.trained import load

pytestmark = pytest.mark.slow  # dozens of programs to compile

ROOT = Path(__file__).parents[2]
HORIZON = 10
SEEDS = 3


def train(out, learners, *args):
    flags = ["--env.horizon", str(HORIZON), "--seeds", str(SEEDS), "--baseline", "none", "--batch", "8"]
    assert main(["--players", "2", *flags, "--learners", learners, "--steps", "3", *args, "--out", str(out)]) == 0
    return out


def evaluated(run, *args):
    """`evaluation.json`, and what was printed."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), jax.numpy_dtype_promotion("standard"):  # optax multiplies a rate and a count
        assert main(["evaluate", str(run), *args]) == 0
    return json.loads((run / FILE).read_text()), text.getvalue()


@pytest.fixture(scope="module")
def defectors(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "defectors", "always_defect")


@pytest.fixture(scope="module")
def cooperators(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "cooperators", "always_cooperate")


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "learned", "lola,naive", "--seed", "5")


@pytest.fixture(scope="module")
def exploited(cooperators):
    """The evaluation of co-operators, with learners that soon defect."""
    return evaluated(cooperators, "--steps", "50", "--ppo.learning_rate", "0.1", "--reinforce.learning_rate", "0.1")


def test_a_replay_of_defectors_gets_what_is_known(defectors):
    result, text = evaluated(defectors, "--panel", "False")
    assert result["replay"]["reward_per_step"] == [[1, 1]] * SEEDS
    assert result["replay"]["cooperation"] == [0] * SEEDS
    assert (result["seeds"], result["seed"], result["trained_steps"]) == (SEEDS, SEEDS, 3)
    assert "panel" not in result
    assert "always_defect*2 on ipd, trained for 3 steps, 3 seeds from 3 on" in " ".join(text.split())
    assert "always_defect defects in 3 of 3 seeds: median welfare 1 of 2, 0 above 1.8." in text
    assert "Exploitability" not in text


@pytest.mark.parametrize(
    ("member", "reward", "others"),
    [
        ("always_cooperate", 2, 2),
        ("always_defect", 0, 3),
        ("tit_for_tat", 2, 2),
        ("reinforce", pytest.approx(0, abs=0.3), pytest.approx(3, abs=0.15)),
    ],
)
def test_the_panel_meets_the_focal_player(exploited, member, reward, others):
    (row,) = [row for row in exploited[0]["panel"] if row["against"] == member]
    assert (row["seat"], row["focal"]) == (0, "always_cooperate")
    assert row["per_seed"]["reward"] == [reward] * SEEDS
    assert row["per_seed"]["others"] == [others] * SEEDS
    assert row["per_seed"]["cooperation"] == [1] * SEEDS
    assert row["quantiles"]["reward"]["q50"] == np.median(row["per_seed"]["reward"])
    assert f"0 always_cooperate  {member} " in exploited[1]


def test_a_best_response_to_cooperators_learns_to_defect(exploited):
    result, text = exploited
    (row,) = result["best_responses"]
    assert row["per_seed"]["trained"] == [2] * SEEDS
    assert row["per_seed"]["gain"] == [pytest.approx(1, abs=0.15)] * SEEDS
    assert list(row["quantiles"]["gain"]) == ["q10", "q50", "q90"]
    assert "Exploitability, lower bound" in text
    assert "a better response may exist" in " ".join(text.split())


def test_a_gain_is_never_negative_though_the_response_has_not_learned(cooperators):
    """Were the trained policy paid more than anybody can be."""
    asked = evaluate_arguments([str(cooperators), "--steps", "1"])
    replay = Replay.of(asked)
    with jax.numpy_dtype_promotion("standard"):
        trained = replay.play(replay.names, replay.players)
        trained.outcome = trained.outcome._replace(reward_per_step=np.full((SEEDS, 2), 9.0))
        row = module._best_response(replay, trained, 1, module.Console(quiet=True))
    assert row["per_seed"]["gain"] == [0] * SEEDS
    assert row["seat"] == 1


@pytest.mark.parametrize("args", [[], ["--seed", "5"], ["--seed", "7", "--seeds", "5"]])
def test_every_seat_of_a_seed_plays_the_policies_of_one_training_seed(learned, args):
    """That of the same number, where there is one."""
    asked = evaluate_arguments([str(learned), *args])
    replay, states = Replay.of(asked), load(learned).states
    side = replay.play(replay.names, replay.players)
    seeds = range(asked.run.seed, asked.run.seed + asked.run.seeds)
    assert (len(seeds), seeds[0]) == (5 if len(args) > 2 else 3, 5 + 3 if not args else int(args[1]))
    for group in range(2):
        expected = np.asarray(states[group].params)[[(seed - 5) % SEEDS for seed in seeds]]
        np.testing.assert_array_equal(np.asarray(side.states[group])[: len(seeds)], expected)
    assert replay.pairing.endswith("what training seed 5 + (s - 5) mod 3 has learned")


def test_a_replay_of_a_seed_does_not_depend_on_the_others(learned):
    many = evaluated(learned, "--panel", "False", "--seeds", "4")[0]
    one = evaluated(learned, "--panel", "False", "--seeds", "1", "--seed", str(many["seed"] + 2))[0]
    assert one["replay"]["reward_per_step"][0] == many["replay"]["reward_per_step"][2]
    assert len({tuple(rewards) for rewards in many["replay"]["reward_per_step"]}) == 4


def test_each_distinct_learner_is_focal_in_its_first_seat(learned):
    asked = evaluate_arguments([str(learned)])
    replay = Replay.of(asked)
    assert asked.panel
    assert replay.focal == {0: "lola", 1: "naive"}
    side = replay.against([0], "always_defect", 1)
    assert side.names == ["always_defect", "naive"]
    assert side.outcome.statistics["C"][:, 0].tolist() == [0] * SEEDS
    assert (side.outcome.statistics["C"][:, 1] > 0).all()


def test_the_others_fill_all_seats_but_the_focal_one(tmp_path):
    run = train(tmp_path / "run", "always_defect", "--players", "3")
    asked = evaluate_arguments([str(run)])
    row = module._meet(Replay.of(asked), 0, "always_cooperate", module.Console(quiet=True))
    payoffs = np.asarray(envs.make("ipd", players=3).payoffs)
    assert row["per_seed"]["reward"] == [payoffs[0, 1, 0, 0]] * SEEDS
    assert row["per_seed"]["others"] == [payoffs[1:, 1, 0, 0].mean()] * SEEDS
    assert row["per_seed"]["others_cooperation"] == [1] * SEEDS


def test_members_that_the_environment_refuses_say_why(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PANEL", PANEL[:3])
    run = train(tmp_path / "run", "naive", "--env", "rock_paper_scissors")
    result, text = evaluated(run, "--batch", "3", "--env.horizon", "3")
    assert [row["against"] for row in result["panel"]] == ["always_cooperate", "always_defect", "tit_for_tat"]
    assert "does not say which action co-operates" in result["panel"][0]["not_defined"]
    assert "plays matrix games with 2 actions a player" in result["panel"][2]["not_defined"]
    assert "minibatches = 4: expected a divisor of the 9 steps" in result["best_responses"][0]["not_defined"]
    assert text.count("not defined here:") == 4
    assert "…" in text


def test_the_file_says_what_was_played(exploited, cooperators):
    result = exploited[0]
    assert result["command"].startswith(f"python run.py evaluate {cooperators} --steps 50")
    assert result["run"] == str(cooperators.resolve())
    assert (result["env"], result["learners"]) == ("ipd", ["always_cooperate"] * 2)
    assert (result["env_parameters"]["horizon"], result["panel_steps"]) == (HORIZON, 50)
    assert result["measured"] == "means over 64 episodes, undiscounted"
    assert result["pairing"] == "evaluation seed s plays, in every seat, what training seed s mod 3 has learned"
    assert result["versions"]["jax"]


def test_the_run_stays_as_it_was_and_the_last_evaluation_stays(learned):
    def contents():
        return {path: path.read_bytes() for path in learned.rglob("*") if path.is_file() and path.name != FILE}

    before = contents()
    for horizon in (4, 6):
        assert (
            evaluated(learned, "--panel=False", f"--env.horizon={horizon}")[0]["env_parameters"]["horizon"] == horizon
        )
    assert contents() == before


def test_numbers_that_are_not_finite_are_an_error(cooperators, capsys):
    args = ["--steps", "50", "--ppo.learning_rate", "1e38", "--reinforce.learning_rate", "1e38"]
    with jax.numpy_dtype_promotion("standard"):
        assert main(["evaluate", str(cooperators), *args]) == 1
    assert "error: always_cooperate,reinforce: step" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "evaluate takes one run directory, found none"),
        (["{run}", "{run}"], "evaluate takes one run directory, found "),
        (["nowhere"], "nowhere: holds no run; expected a directory with a config.yaml"),
        (["{bare}"], "bare: holds no checkpoint"),
        (["{run}", "--env.horizon", "1"], "learned to play ipd with"),
        (["{run}", "--env.horizon", "0"], "environment ipd: horizon = 0"),
        (["{run}", "--env", "ipd2"], "unknown flag --env"),
        (["{run}", "--learners", "lola"], "unknown flag --learners"),
        (["{run}", "--stepz", "3"], "unknown flag --stepz: did you mean 'steps'?"),
        (["{run}", "--seeds", "0"], "--seeds 0: expected a whole number from 1"),
        (["{run}", "--ppo.clip", "-1"], "learner ppo: clip = -1.0: expected at least 0"),
    ],
)
def test_mistakes_exit_with_2_before_anything_is_compiled(args, message, learned, tmp_path, capsys, monkeypatch):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.yaml").write_text((learned / "config.yaml").read_text())
    monkeypatch.setattr(module, "Side", lambda *_: pytest.fail("compiled"))
    places = {"run": learned, "bare": tmp_path / "bare"}
    assert main(["evaluate", *(arg.format(**places) for arg in args)]) == 2
    assert message in capsys.readouterr().err


def test_a_value_of_the_wrong_type_exits_with_2(learned, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", str(learned), "--panel", "maybe"])
    assert "panel" in capsys.readouterr().err


@pytest.mark.parametrize("directory", [[], ["run"]])
def test_help_is_instant_and_explains(learned, directory):
    code = (
        "import sys; from experiments.cli import main\n"
        "try: main(['evaluate', *sys.argv[1:], '--help'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'jax', 'matplotlib'} & set(sys.modules)"
    )
    args = [sys.executable, "-c", code, *[str(learned)][: len(directory)]]
    result = subprocess.run(args, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for word in ("DIR", "standard panel", "--seeds", "--panel", "--env.horizon", "--ppo.learning_rate", FILE):
        assert word in result.stdout
    assert f"default: {8 if directory else 16}" in " ".join(result.stdout.split())
