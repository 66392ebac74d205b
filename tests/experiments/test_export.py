"""Policies on their own: as functions, as players, and as files that play without this project."""

import hashlib
import json
import re
import runpy
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import experiments
import experiments.export as module
import shaping
from equilibria.psro import Progress
from experiments import Grown, Policy, Trained, UserError, checkpoint, cli, psro
from experiments.advance import sound
from experiments.config import parse, to_flags
from experiments.export import program, table
from experiments.psro_arguments import psro_arguments
from experiments.run_directory import RunDirectory
from experiments.sides import build_sides

ROOT = Path(__file__).parents[2]
SMALL = ["--env=ipd", "--env.horizon=4", "--seeds=2", "--batch=4", "--baseline=none"]
RUNS = {
    "exact": ["--env=ipd2", "--learners=lola,naive", "--seeds=2", "--baseline=none"],
    "mixed": [*SMALL, "--players=4", "--learners=ppo_gru,grim,tit_for_tat,q_learning", "--seed=7"],
    "shaper": [*SMALL, "--players=2", "--learners=mfos,reinforce", "--mfos.memory_size=3", "--episodes=2"],
    "averaging": [
        *SMALL, "--players=2", "--learners=shaper,reinforce", "--shaper.memory_size=3", "--shaper.averaging=average",
        "--episodes=2",
    ],
    "meta": ["--env=ipd2", "--learners=mfos_exact,naive", "--mfos_exact.width=2", "--episodes=2", "--seeds=1"],
}  # fmt: skip
PSRO = ["--env=stag_hunt_grid", "--env.horizon=3", "--oracle=ppo", "--ppo.width=4", "--solver=uniform", "--seed=3"]


def main(args):
    """optax multiplies a rate with a count, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return cli.main(args)


def moved(seed, tree):
    """As if something had been learned."""
    rng = np.random.default_rng(seed)
    move = lambda leaf: leaf + rng.normal(size=leaf.shape).astype(leaf.dtype)  # noqa: E731
    return jax.tree.map(lambda leaf: move(leaf) if leaf.dtype == np.float32 else leaf, tree)


@jax.numpy_dtype_promotion("standard")
@jax.numpy_rank_promotion("allow")
def write_run(path, flags):
    """A run directory with a checkpoint, without the time that training takes to compile."""
    run, _ = parse(flags)
    directory = RunDirectory.create(str(path), "", to_flags(run))
    side = build_sides(run)["learners"]
    numbers = jnp.array(side.seeds)
    states = jax.jit(jax.vmap(lambda seed: shaping.init(side.match, jax.random.key(seed))))(numbers)
    marks = {"learners": sound(states, run.seeds)}
    checkpoint.save(directory.checkpoints, 2, {"learners": moved(0, states), "faults": marks})


def write_populations(path):
    """The same of psro: three policies a seat, the last of them without weight."""
    asked = psro_arguments(PSRO)
    directory = RunDirectory.create(str(path), "", psro.to_flags(asked) | {"capacity": 3})
    rule, env, _ = psro.build(asked)
    policies = rule.oracle.policies(env, rule.oracle.init(env, jax.random.key(0)))
    populations = moved(1, jax.tree.map(lambda leaf: jnp.stack([leaf] * 3, axis=1)[None], policies))
    profile = np.array([[[0.25, 0.75, 0.0], [0.5, 0.5, 0.0]]])
    checkpoint.save(directory.checkpoints, 2, Progress(populations, (), (), profile, (), ()))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A directory a kind of run, made when it is first asked for."""
    root, made = tmp_path_factory.mktemp("runs"), {}

    def run(name):
        if name not in made:
            made[name] = root / name
            write_populations(made[name]) if name == "psro" else write_run(made[name], RUNS[name])
        return made[name]

    return run


@pytest.fixture(scope="module")
def trained(runs):
    """What a kind of run has learned."""
    return cache(lambda name: experiments.load(runs(name)))


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    """Directory of an export; (run, seat) → path."""
    root, made = tmp_path_factory.mktemp("exported"), {}

    def export(run, seat=0, seed=None):
        if (run, seat) not in made:
            made[run, seat] = root / f"{run}-{seat}"
            args = ["export", str(runs(run)), f"--seat={seat}", f"--out={made[run, seat]}"]
            assert main([*args, *([] if seed is None else [f"--training_seed={seed}"])]) == 0
        return made[run, seat]

    return export


def observations(policy):
    values, shape = policy.env.num_observations, policy.observed.shape
    if values:
        return np.arange(values, dtype=np.int32)
    return np.random.default_rng(0).integers(2, size=(6, *shape)).astype(policy.observed.dtype)


STEPS = 3
ALONE = """
import runpy, sys
import numpy as np

for path in sys.argv[1:]:
    play, asked = runpy.run_path(path + "/play.py"), np.load(path + "/asked.npz")
    actions, probabilities, memory = [], [], play["start"](len(asked["observations"]))
    for bits in asked["bits"]:
        action, probability, memory = play["step"](asked["observations"], memory, bits)
        actions.append(action)
        probabilities.append(probability)
    one = play["step"](asked["observations"][:1], play["start"](1), asked["bits"][0][:1])
    np.savez(path + "/played.npz", actions=actions, probabilities=probabilities, one=one[1])
ours = {"envs", "shaping", "equilibria", "experiments", "flax", "optax"} & set(sys.modules)
sys.exit(f"imported: {ours}" if ours else 0)
"""


def test_what_is_exported_plays_as_the_policy_without_the_project(trained, exported, tmp_path):
    """In a process of its own that cannot know the project, on every observation, over several steps."""
    cases = [("exact", 0, 1), ("mixed", 0, 8), ("shaper", 0, 1)]
    policies = [trained(run).policy(seat, seed) for run, seat, seed in cases]
    paths = [exported(*case) for case in cases]
    keys = jax.random.split(jax.random.key(3), STEPS)
    for path, policy in zip(paths, policies, strict=True):
        seen = observations(policy)
        bits = [np.asarray(jax.random.key_data(jax.random.split(key, len(seen)))) for key in keys]
        np.savez(path / "asked.npz", observations=seen, bits=bits)
    subprocess.run([sys.executable, "-I", "-c", ALONE, *map(str, paths)], check=True, cwd=tmp_path)
    for path, policy in zip(paths, policies, strict=True):
        with np.load(path / "played.npz") as file:
            played = dict(file)
        seen, act, tell = observations(policy), jax.jit(policy), jax.jit(policy.probabilities)
        memory = policy.init((len(seen),))
        np.testing.assert_allclose(played["one"][0], tell(seen, memory)[0], atol=1e-6)
        for step, key in enumerate(keys):
            np.testing.assert_allclose(played["probabilities"][step], tell(seen, memory), atol=1e-6)
            action, memory = act(seen, memory, key)
            np.testing.assert_array_equal(played["actions"][step], action)


def test_the_table_is_that_of_the_run_and_needs_numpy_alone(trained, exported, tmp_path):
    path = exported("exact", 0, 1)
    logits = np.asarray(trained("exact").states[0].params)[1, 0]  # of seed 1, in seat 0
    with np.load(path / "policy.npz", allow_pickle=False) as found:
        assert found["histories"].tolist() == ["START", "CC", "CD", "DC", "DD"]
        assert found["actions"].tolist() == ["C", "D"]
        np.testing.assert_allclose(found["probabilities"][:, 0], 1 / (1 + np.exp(-logits[:, 0])), atol=1e-6)
        np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, atol=1e-12)
    code = f"import runpy, sys; runpy.run_path({str(path / 'play_table.py')!r}, run_name='__main__'); "
    code += "sys.exit('jax' in sys.modules)"
    shown = subprocess.run([sys.executable, "-I", "-c", code], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert [line.split(" -> ")[0] for line in shown.stdout.splitlines()] == [
        "0 START", "1 CC", "2 CD", "3 DC", "4 DD",
    ]  # fmt: skip


def test_what_is_written_says_what_it_is(exported):
    path = exported("exact", 0, 1)
    about = json.loads((path / "policy.json").read_text())
    assert about["batch"] is None
    assert (about["env"], about["players"], about["seat"], about["learner"]) == ("ipd2", 2, 0, "lola")
    assert (about["training_seed"], about["trained_steps"], about["memory"]) == (1, 2, [])
    assert about["learner_parameters"]["lookahead_rate"] == 1.0
    assert about["env_parameters"]["discount"] == 0.96
    assert about["observation"] == {"shape": [], "dtype": "int32", "values": 5}
    assert about["action"]["names"] == ["C", "D"]
    assert about["platforms"] == ["cpu", "cuda", "tpu"]
    assert about["largest_difference"] < 1e-6
    assert about["versions"]["jax"] == jax.__version__
    files = {"policy.bin", "policy.npz", "play.py", "play_table.py", "README.md"}
    assert set(about["sha256"]) == files - {"README.md"}
    for name, digest in about["sha256"].items():
        assert hashlib.sha256((path / name).read_bytes()).hexdigest() == digest
    assert "seat 0 of 2 in ipd2" in (path / "README.md").read_text()
    gated = json.loads((exported("shaper", 0, 1) / "policy.json").read_text())
    assert [own["shape"] for own in gated["memory"]] == [[3]] * 5 + [[]]
    assert [own["initial"] for own in gated["memory"]] == [0, 0, 0, 1, 1, 0]
    assert "carry.bin" in gated["sha256"]
    assert not (exported("shaper", 0, 1) / "policy.npz").exists()


def test_a_policy_is_one_function_for_one_environment_or_many(trained):
    assert isinstance(trained("mixed"), Trained)
    policy = trained("mixed").policy(0)
    assert isinstance(policy, Policy)
    tell = jax.jit(policy.probabilities)
    key, seen = jax.random.key(5), jnp.array([0, 3, 7], jnp.int32)
    actions, memory = jax.jit(policy)(seen, policy.init((3,)), key)
    keys = jax.random.split(key, 3)
    for act in (jax.jit(jax.vmap(policy)), jax.jit(policy.act)):
        found, after = act(seen, policy.init((3,)), keys)
        np.testing.assert_array_equal(found, actions)
        np.testing.assert_allclose(after, memory, atol=1e-6)
    alone = jax.jit(policy)
    for place in range(3):
        action, after = alone(int(seen[place]), policy.init(), keys[place])
        assert int(action) == int(actions[place])
        np.testing.assert_allclose(after, memory[place], atol=1e-6)
    assert np.abs(tell(seen, memory) - tell(seen, policy.init((3,)))).max() > 1e-6, "it remembers nothing"
    np.testing.assert_array_equal(policy.carry(memory), 0)
    only = jax.jit(policy.probabilities)(0, policy.init(), legal=np.array([False, True]))
    np.testing.assert_allclose(only, [0, 1], atol=1e-6)
    with pytest.raises(ValueError, match=r"observation of shape \(2, 2\): expected \(\)"):
        policy(jnp.zeros((2, 2), jnp.int32), policy.init((2,)), key)


def test_the_first_training_seed_plays_unless_another_is_asked_for(trained):
    tables = np.asarray(trained("exact").states[0].params)[:, 0]
    for asked, place in ((None, 0), (0, 0), (1, 1)):
        np.testing.assert_array_equal(trained("exact").policy(0, asked).params, tables[place])
    assert np.abs(tables[0] - tables[1]).max() > 0.1


@pytest.mark.parametrize(("seat", "kind"), [(1, "Grim"), (2, "TitForTat"), (3, "QLearning")])
def test_every_kind_of_learner_is_a_policy(trained, seat, kind):
    policy = trained("mixed").policy(seat, 8)
    assert type(policy.learner).__name__ == kind
    memory, key = policy.init(), jax.random.key(0)
    told = np.asarray(policy.probabilities(16, memory))  # all others have defected, and so had I
    if kind != "QLearning":
        np.testing.assert_allclose(told, [0, 1], atol=1e-6)
        action, memory = policy(16, memory, key)
        assert int(action) == 1
        action, _ = policy(1, memory, key)  # all have co-operated
        assert int(action) == (kind == "Grim")
    np.testing.assert_allclose(told.sum(), 1, atol=1e-6)
    assert (table(policy) is None) == (kind == "Grim")  # which remembers


def test_a_shaper_keeps_its_memory_between_inner_episodes(trained, exported):
    policy = trained("shaper").policy(0, 1)
    memory, act = policy.init((2,)), jax.jit(policy)
    for step in range(3):
        _, memory = act(jnp.array([0, 4], jnp.int32), memory, jax.random.key(step))
    carried = policy.carry(memory)
    np.testing.assert_array_equal(carried[0].gate, memory[0].next_gate)
    np.testing.assert_array_equal(carried[0].actor, 0)
    assert (np.asarray(carried[1]) == 3).all()
    call = jax.export.deserialize(bytearray((exported("shaper", 0, 1) / "carry.bin").read_bytes())).call
    for expected, found in zip(jax.tree.leaves(carried), call(tuple(jax.tree.leaves(memory))), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    one = jax.tree.map(lambda leaf: leaf[0], memory)
    np.testing.assert_array_equal(policy.carry(one)[0].gate, memory[0].next_gate[0])


def fresh(name, env, **fields):
    """A policy that has learned nothing."""
    learner = shaping.make(name, **fields)
    state = learner.init(env, jax.random.key(0))
    state = learner.begin(env, state, jax.random.key(1)) if learner.span == "trial" else state
    noise = lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(2), leaf.shape)  # noqa: E731
    return Policy(env, learner, jax.tree.map(noise, learner.policy(state)))


AVERAGED = {"memory_size": 3, "width": 4}
PROGRAMS = [
    ("ppo_gru", "cournot", {"horizon": 4}, {}),
    ("ppo", "coin_game", {"horizon": 4, "height": 6, "width": 6}, {"width": 2}),
    ("shaper", "ipd", {"players": 2}, AVERAGED | {"averaging": "average"}),
    ("shaper", "ipd", {"players": 2}, AVERAGED | {"averaging": "attention", "noise": "fixed"}),
    ("shaper_ppo", "ipd", {"players": 2}, AVERAGED),
    ("uniform", "tandem", {}, {}),
]
QUICK = [PROGRAMS[2]]
PROGRAMS = [pytest.param(*own, marks=() if own in QUICK else pytest.mark.slow) for own in PROGRAMS]


@pytest.mark.parametrize(("name", "game", "parameters", "fields"), PROGRAMS)
def test_programs_of_any_batch_do_what_policies_do(name, game, parameters, fields):
    """Continuous actions, boards, and memories that are averaged over the environments of a batch."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # of flax
        policy = fresh(name, envs.make(game, **parameters), **fields)
        assert policy.looks_across == ("averaging" in fields)
        act, tell = jax.jit(policy), jax.jit(policy.probabilities)
        for batch in (3,) if policy.looks_across else (1, 3):
            call = jax.jit(program(policy, batch if policy.looks_across else None).call)
            seen = jax.random.normal(jax.random.key(1), (batch, *policy.observed.shape))
            if policy.env.num_observations:
                seen = jnp.arange(batch) % policy.env.num_observations
            seen, memory = seen.astype(policy.observed.dtype), policy.init((batch,))
            for step in range(2):
                key = jax.random.key(step)
                bits = jax.random.key_data(jax.random.split(key, batch))
                found, told, left = call(seen, tuple(jax.tree.leaves(memory)), bits)
                np.testing.assert_allclose(told, tell(seen, memory), atol=1e-6)
                action, memory = act(seen, memory, key)
                np.testing.assert_allclose(found, action, rtol=1e-5)
                for one, other in zip(left, jax.tree.leaves(memory), strict=True):
                    np.testing.assert_allclose(one, other, atol=1e-5)
        if policy.looks_across:  # of nobody but the one that is alone
            alone = tell(seen[0], jax.tree.map(lambda leaf: leaf[0], memory))
            assert np.abs(alone - tell(seen, memory)[0]).max() > 1e-6


def test_actions_that_a_seat_has_not_are_never_exported():
    env = envs.MatrixGame(np.zeros((2, 3, 3)), (("a", "b", "c"), ("up", "down")), horizon=3)
    found = table(fresh("naive", env).replace(seat=1))
    assert found is not None
    assert (found["probabilities"][:, 2] == 0).all()
    assert found["actions"].tolist() == ["up", "down", "2"]
    assert found["histories"][:3].tolist() == ["START", "up/a", "up/b"]


def test_a_mixture_of_populations_plays(trained):
    grown = trained("psro")
    assert isinstance(grown, Grown)
    policy = grown.policy(1)
    kept = jax.tree.leaves(grown.populations)[0][0, 1]
    assert kept.shape[0] == 3
    np.testing.assert_array_equal(jax.tree.leaves(policy.params.policies)[0], kept)
    np.testing.assert_allclose(policy.params.weights, [0.5, 0.5, 0])
    seen, memory = observations(policy), policy.init((6,))
    _, memory = jax.jit(policy)(seen, memory, jax.random.key(0))
    assert set(np.asarray(memory.member).tolist()) == {0, 1}


@pytest.mark.slow
def test_what_psro_has_grown_plays(tmp_path):
    """Nothing is written by hand here."""
    grown = ["--oracle.updates=1", "--oracle.profiles=4", "--oracle.episodes=1", "--iterations=2", "--episodes=4"]
    assert main(["psro", *PSRO, *grown, f"--out={tmp_path / 'psro'}"]) == 0
    profile = json.loads((tmp_path / "psro" / "summary.json").read_text())["profile"]
    policy = experiments.load(tmp_path / "psro").policy(1)
    np.testing.assert_allclose(policy.params.weights, profile[0][1], atol=1e-5)
    assert main(["export", str(tmp_path / "psro"), f"--out={tmp_path / 'out'}"]) == 0
    learners = f"--learners=checkpoint:{tmp_path / 'psro'}#0,uniform"
    args = ["--env=stag_hunt_grid", "--env.horizon=3", learners, "--seeds=1", "--steps=1", "--batch=2"]
    assert main([*args, f"--out={tmp_path / 'run'}"]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert np.isfinite(metrics["learners"]["reward_per_step"]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "seat", "rivals"),
    [
        ("exact", 1, "reinforce"),
        ("mixed", 0, "tit_for_tat*3"),
        ("mixed", 1, "ppo*3"),
        ("mixed", 3, "ppo*3"),
        ("shaper", 0, "reinforce"),
        ("psro", 1, "ppo"),
    ],
)
def test_what_was_trained_sits_in_other_runs(runs, tmp_path, run, seat, rivals):
    trained = experiments.load(runs(run))
    args = [f"--env={trained.title}", f"--env.horizon={trained.env.horizon}", "--seeds=1", "--batch=4", "--episodes=2"]
    args += [f"--learners=checkpoint:{runs(run)}#{seat},{rivals}", "--steps=1", "--baseline=none"]
    args += [f"--players={trained.env.num_players}"] if trained.title == "ipd" else []
    assert main([*args, f"--out={tmp_path / 'run'}"]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert np.isfinite(metrics["learners"]["reward_per_step"]).all()
    seated, own = experiments.load(tmp_path / "run").policy(0), [trained.policy(seat, seed) for seed in trained.seeds]
    assert {type(policy.learner) for policy in own} == {type(seated.learner)}
    same = [
        all(np.array_equal(*pair) for pair in zip(*map(jax.tree.leaves, (seated.params, policy.params)), strict=True))
        for policy in own
    ]
    learned = bool(jax.tree.leaves(seated.params))
    assert sum(same) == (1 if learned else len(own)), "one training seed plays"


def test_mistakes_exit_with_2_and_write_nothing(runs, tmp_path, capsys):
    out = f"--out={tmp_path / 'out'}"
    (tmp_path / "league").mkdir()
    (tmp_path / "league" / "config.yaml").write_text("looks: 3\nlearners: naive\n")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.yaml").write_text((runs("exact") / "config.yaml").read_text())
    for args, message in (
        ([], "export takes one run directory, found none"),
        ([str(tmp_path / "nowhere")], "holds no run; expected a directory with a config.yaml"),
        ([str(tmp_path / "league")], "holds a league, whose entrants are not kept"),
        ([str(tmp_path / "new")], "holds no checkpoint; expected a run that has written one"),
        ([str(runs("exact")), "--seat=2"], "seat 2 of 2; expected #0 to #1"),
        ([str(runs("exact")), "--seat=-1"], "seat -1 of 2; expected #0 to #1"),
        ([str(runs("mixed")), "--training_seed=0"], "training seed 0; expected one of the run's seeds, 7 to 8"),
        ([str(runs("exact")), "--saet=1"], "unknown flag --saet: did you mean 'seat'?"),
        ([str(runs("shaper")), "--seat=1"], "reinforce in seat 1 starts anew in every trial"),
        ([str(runs("meta"))], "mfos_exact in seat 0 chooses its tables"),
    ):
        assert main(["export", *args, *([out] if args else [])]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
    for command in (["evaluate"], ["render"], ["crossplay"], ["crossplay", str(runs("exact"))]):
        assert main([*command, str(runs("psro"))]) == 2
        assert "holds a run of psro; expected one that trained learners" in capsys.readouterr().err


@pytest.mark.slow
def test_pictures_of_a_run_that_chooses_tables_say_what_is_missing(runs, tmp_path, capsys):
    assert main(["render", str(runs("meta")), f"--out={tmp_path}"]) == 0
    assert "anew in every trial" in " ".join(capsys.readouterr().out.split())


def test_help_imports_no_numerics():
    code = "import sys; from experiments.cli import main\ntry: main(['export', '--help'])\nfinally: "
    code += "assert not {'jax', 'flax'} & set(sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    for flag in ("--seat", "--training_seed", "--out"):
        assert flag in shown.stdout


def test_populations_of_strategies_have_no_policy(tmp_path):
    asked = psro_arguments(["--game=matching_pennies", "--oracle=exact", "--solver=uniform"])
    RunDirectory.create(str(tmp_path / "run"), "", psro.to_flags(asked) | {"capacity": 3})
    with pytest.raises(UserError, match="strategies of a game in normal form"):
        experiments.load(tmp_path / "run")


@pytest.mark.parametrize("script", ["play.py", "play_table.py"])
@pytest.mark.parametrize("observation", ["5", "-1", "x"])
def test_scripts_name_observations_that_are_none(exported, monkeypatch, script, observation):
    monkeypatch.setattr(sys, "argv", [script, "0", observation])
    with pytest.raises(SystemExit, match=f"observation {observation}: expected a whole number from 0 to 4"):
        runpy.run_path(str(exported("exact", 0, 1) / script), run_name="__main__")


def full_disk(*_):
    raise OSError(28, "No space left on device")


def test_an_export_is_never_overwritten_and_a_wrong_one_never_kept(runs, exported, tmp_path, capsys, monkeypatch):
    path = exported("exact", 0, 1)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    assert main(["export", str(runs("exact")), f"--out={path}"]) == 2
    assert "is not empty; expected a new directory" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    other = experiments.load(runs("exact")).policy(1)
    monkeypatch.setattr(module, "program", lambda policy, batch: program(other, batch))
    assert main(["export", str(runs("exact")), f"--out={tmp_path / 'new'}"]) == 1
    assert "the program differs from the policy" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    monkeypatch.undo()
    monkeypatch.setattr(module, "write_atomically", full_disk)
    assert main(["export", str(runs("exact")), f"--out={tmp_path / 'new'}"]) == 2
    assert "cannot be written: No space left on device" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_page_says_what_works(tmp_path, monkeypatch, capsys, whole):
    """Every command and every example of docs/using.md, in their order; the section on players takes long."""
    monkeypatch.chdir(tmp_path)
    text, names = (ROOT / "docs" / "using.md").read_text(), dict[str, Any]()
    if not whole:
        text = re.sub(r"## As a player\n.*?(?=## )", "", text, flags=re.S)
    for language, block in re.findall(r"```(bash|python)\n(.*?)```", text, re.S):
        if language == "python":
            exec(compile(block, "docs/using.md", "exec"), names)  # noqa: S102
            continue
        for line in block.splitlines():
            _, script, *args = shlex.split(line)
            if script == "run.py":
                assert main(args) == 0, line
            else:
                monkeypatch.setattr(sys, "argv", [script, *args])
                runpy.run_path(script, run_name="__main__")
    out = capsys.readouterr().out
    assert "written: runs/exported" in out
    shown = np.asarray(names["probabilities"], float)[:, 0].round(2).tolist()
    assert str(dict(zip(("START", "CC", "CD", "DC", "DD"), shown, strict=True))) in out
