"""Flags ⇄ YAML ⇄ fields: one schema, the user's words, and what wandb's agent writes."""

import importlib
import inspect
import random
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import envs
import shaping
from envs.registry import Parameter, read_parameters
from experiments.cli import main
from experiments.config import Run, UserError, build_environment, build_learners, parse, seat_names, to_flags
from experiments.flags import Group, parse_flags
from experiments.forms import as_flags
from experiments.psro_arguments import psro_arguments
from experiments.psro_arguments import to_flags as psro_flags
from experiments.sweep_file import read_sweep

ROOT = Path(__file__).parents[2]


def resolved(*args):
    return parse(args)[0]


def test_defaults_are_those_of_the_dataclasses():
    run = resolved("--players", "4")
    assert (run.env, run.players, run.learners, run.baseline, run.seeds) == ("ipd", 4, "lola", "auto", 16)
    for name in ("lola", "naive"):
        learner = shaping.make(name)
        parts = (learner, learner.objective, learner.direction, learner.network)
        have = {f.name: getattr(part, f.name) for part in parts for f in fields(part)}
        for field, value in run.components[name].items():
            assert have[field] == value


@pytest.mark.parametrize("registry", [envs.REGISTRY, shaping.REGISTRY], ids=["environments", "learners"])
def test_every_parameter_has_help_and_a_type(registry):
    for name in registry.names():
        for parameter in registry.parameters(name).values():
            assert parameter.help, f"{name}: {parameter.name} has no line in its docstring"
            assert parameter.annotation


@pytest.mark.parametrize("registry", [envs.REGISTRY, shaping.REGISTRY], ids=["environments", "learners"])
def test_what_is_read_from_the_sources_is_what_python_sees(registry):
    """The source files are parsed, not imported; both must agree on every name and default."""
    for source in {source for recipe in registry._recipes.values() for source in recipe.sources.values()}:
        module, attribute = source.split(":")
        seen = inspect.signature(getattr(importlib.import_module(module), attribute)).parameters
        defaults = {
            name: ... if p.default is p.empty or str(p.default) == "<factory>" else p.default
            for name, p in seen.items()
        }
        assert {p.name: p.default for p in read_parameters(source)} == {
            name: default for name, default in defaults.items() if name not in ("parent", "name")
        }


@pytest.mark.parametrize(
    "args",
    [
        ("--players", "3", "--lola.lookahead_rate", "0.5", "--env.horizon", "7"),
        ("--players=3", "--lola.lookahead_rate=0.5", "--env.horizon=7"),
        ("--players=3", "--lola.lookahead-rate=0.5", "--env.horizon=7"),
    ],
)
def test_flags_with_a_space_or_an_equals_sign(args):
    run = resolved(*args)
    assert (run.players, run.components["lola"]["lookahead_rate"], run.components["env"]["horizon"]) == (3, 0.5, 7)


@pytest.mark.parametrize(("text", "value"), [("True", True), ("true", True), ("False", False), ("false", False)])
@pytest.mark.parametrize("form", ["--part.flag={}", "--part.flag {}"])
def test_booleans_as_wandb_writes_them(form, text, value):
    groups = {"part": Group("", {"flag": Parameter("flag", "bool", not value, "")})}
    assert parse_flags(groups, form.format(text).split(), "run.py", "") == {"part": {"flag": value}}


def test_a_boolean_that_is_none_is_refused(capsys):
    groups = {"part": Group("", {"flag": Parameter("flag", "bool", True, "")})}
    with pytest.raises(SystemExit, match="2"):
        parse_flags(groups, ["--part.flag=maybe"], "run.py", "")
    assert "expected True or False" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_preset_builds_and_holds_only_differences(path):
    run = resolved("--config", str(path))
    env = build_environment(run)
    build_learners(run, env, seat_names(run.learners, env.num_players))
    default = to_flags(resolved("--env", run.env, "--learners", run.learners, "--baseline", run.baseline))
    text = yaml.safe_load(path.read_text())
    changed = {flag for flag, value in to_flags(run).items() if default.get(flag) != value}
    flat = {
        f"{k}.{inner}" if isinstance(v, dict) else k
        for k, v in text.items()
        for inner in (v if isinstance(v, dict) else [0])
    }
    assert flat - {"env", "learners"} <= changed


PAPERS = ROOT / "configs" / "papers" / "leading_the_pack"


def test_every_cell_of_leading_the_pack_has_the_numbers_of_its_code():
    cells = sorted(path for path in PAPERS.glob("*_[1-5].yaml"))
    assert len(cells) == 4 * (3 + 4 + 5)
    for path in cells:
        run = resolved("--config", str(path))
        players, shapers = int(path.stem[-3]), int(path.stem[-1])
        seats = seat_names(run.learners, players)
        assert seats == ["shaper"] * shapers + ["pax_ppo_gru"] * (players - shapers)
        assert run.players == players
        assert (run.episodes, run.rivals, run.batch, run.seeds) == (1000, 10, 2, 5)
        own = run.components["shaper"]
        assert own["population"] == (100 if shapers > 1 or run.env == "ipd" else 50)
        assert own["learning_rate"] == (0.01 if shapers > 1 else 0.1)


@pytest.mark.parametrize("path", sorted(set(PAPERS.glob("*.yaml")) - set(PAPERS.glob("*_[1-5].yaml"))), ids=str)
def test_overlays_change_what_they_name(path):
    cell = "ipd3_2" if "several" in path.stem else "ipd3_1"
    below, over = (
        to_flags(resolved("--config", str(PAPERS / f"{cell}.yaml"), *more)) for more in ([], ["--config", str(path)])
    )
    named = {
        f"{k}.{inner}" if isinstance(v, dict) else k
        for k, v in yaml.safe_load(path.read_text()).items()
        for inner in (v if isinstance(v, dict) else [0])
    }
    assert {flag for flag in below if below[flag] != over[flag]} <= named <= set(over)


def test_the_configurations_of_shaper_lie_on_top_of_each_other():
    from experiments.papers import shaper

    for game in shaper.GAMES:
        for scale in shaper.SCALES:
            runs = {}
            for variant in shaper.VARIANTS:
                files = shaper._configs(game, variant, scale)
                runs[variant] = resolved(*(arg for file in files for arg in ("--config", str(file)))).components[
                    "shaper"
                ]
            assert [run["averaging"] for run in runs.values()] == ["none", "average", "attention", "none"]
            assert [run["memory_size"] for run in runs.values()] == [16, 16, 16, 0]
            assert len({run["population"] for run in runs.values()}) == 1


def test_runs_with_a_shaper_have_other_defaults():
    shaping = resolved("--learners", "shaper*2,naive*8", "--players", "10")
    assert (shaping.seeds, shaping.batch, shaping.episodes) == (2, 2, 50)
    assert shaping.learners == "shaper*2,reinforce*8"
    assert resolved("--learners", "mfos_exact,naive", "--env", "ipd2").learners == "mfos_exact,naive"
    assert resolved("--learners", "shaper,ppo", "--env", "ipd2", "--seeds", "3").seeds == 3
    assert resolved("--learners", "ppo").episodes == 1
    assert resolved("--learners", "checkpoint:naive/naive#0,naive").learners == "checkpoint:naive/naive#0,naive"


FORMS = ("args", "args_no_equals", "args_no_boolean_flags", "args_no_hyphens", "args_json", "args_json_file",
         "args_append_hydra", "args_override_hydra")  # fmt: skip


@pytest.fixture(scope="module")
def write_command(tmp_path_factory):
    """What wandb's agent would run: (the command of a sweep, parameter → value) → the words after `run.py`."""
    wandb_agent = pytest.importorskip("wandb.wandb_agent")
    folder, started = tmp_path_factory.mktemp("agent"), []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_DIR", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_SWEEP_ID"):
            patch.setenv(name, str(folder) if name == "WANDB_DIR" else "x")
        process = SimpleNamespace()
        patch.setattr(wandb_agent, "AgentProcess", lambda command, **_: started.append(command) or process)
        agent = wandb_agent.Agent(None, None)

        def write(words, values):
            agent._sweep_command = list(words)
            agent._command_run(
                {"run_id": "x", "program": "run.py", "args": {k: {"value": v} for k, v in values.items()}}
            )
            return started[-1][started[-1].index("run.py") + 1 :]

        yield write


UNDERSTAND = {
    "train": lambda args: to_flags(resolved(*args)),
    "psro": lambda args: psro_flags(psro_arguments(args)),
}


def as_the_server_sends(parameters, flat, prefix=""):
    """Values of flags as the values of `parameters`, nested ones as mappings."""
    sent = {}
    for name, own in parameters.items():
        flag = prefix if name == "name" and prefix else f"{prefix}.{name}".lstrip(".")
        below = own.get("parameters")
        sent[name] = as_the_server_sends(below, flat, flag) if below else flat.get(flag, own.get("value"))
    return sent


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", sorted((ROOT / "configs/sweeps").glob("*.yaml")), ids=lambda path: path.name)
def test_sweeps_are_accepted_as_the_agent_writes_them(path, form, write_command):
    """Written by its own code, booleans, lists and nested parameters among them, for some runs of every sweep."""
    data, sweep = yaml.safe_load(path.read_text()), read_sweep(str(path))
    assert sweep.run_cap is not None or sweep.method == "grid"
    draw = random.Random(0)  # noqa: S311
    for _ in range(3):
        values = {name: own.at(own.draw(draw)) for name, own in sweep.parameters.items()}
        macro = ["--config", "${args_json_file}"] if form == "args_json_file" else ["${" + form + "}"]
        place, sent = data["command"].index("${args}"), as_the_server_sends(data["parameters"], values)
        written = write_command([*data["command"][:place], *macro], sent)
        name, *args = sweep.args(values, "online")
        if name != "train":
            assert written.pop(0) == name
        if form == "args_no_boolean_flags":
            args = [arg for arg in args if not arg.endswith("=False")]
            assert any("=" not in arg for arg in written) == any(value is True for value in sent.values())
        assert UNDERSTAND[name](as_flags(written)) == UNDERSTAND[name](args)


@pytest.mark.parametrize(
    ("args", "flags"),
    [
        (["--lola={'terms': 'both', 'x': None}", "--share"], ["--lola.terms=both", "--share"]),
        (["--lola", "{'terms': 'both'}", "--share=True"], ["--lola.terms=both", "--share=True"]),
        (["--learners=['lola', 'naive']"], ["--learners=lola,naive"]),
        (["--env.payoffs", "a=b.json"], ["--env.payoffs", "a=b.json"]),
        (['{"env": {"name": "ipd2", "discount": 1e-05}}'], ["--env=ipd2", "--env.discount=1e-05"]),
        (["env=ipd2", "+players=2", "++share=True"], ["--env=ipd2", "--players=2", "--share=True"]),
        (["--env.payoffs=[draft].json"], ["--env.payoffs=[draft].json"]),
    ],
)  # fmt: skip
def test_other_forms_are_flags(args, flags):
    assert as_flags(args) == flags


def test_a_mapping_that_is_no_json_is_refused():
    with pytest.raises(UserError, match="is no JSON"):
        as_flags(["{env: ipd}"])


def test_yaml_nested_dotted_and_listed_keys_mean_the_flags(tmp_path):
    forms = {
        "dotted": "env: ipd2\nenv.discount: 0.9\nlearners: lola,naive\nlola.lookahead_rate: 2\n",
        "nested": "env: {name: ipd2, discount: 0.9}\nlearners: [lola, naive]\nlola: {lookahead_rate: 2.0}\n",
    }
    runs = []
    for name, text in forms.items():
        (tmp_path / f"{name}.yaml").write_text(text)
        runs.append(resolved("--config", str(tmp_path / f"{name}.yaml")))
    assert runs[0] == runs[1]
    assert runs[0].components["env"]["discount"] == 0.9
    over = resolved("--config", str(tmp_path / "dotted.yaml"), "--env.discount", "0.5")
    assert over.components["env"]["discount"] == 0.5


def test_the_resolved_config_repeats_the_run(tmp_path):
    run = resolved("--players", "3", "--learners", "lola,naive*2", "--lola.expansion=taylor", "--seeds", "2")
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(to_flags(run)))
    assert resolved("--config", str(path)) == run


def test_later_files_win(tmp_path):
    for name, players in (("a", 3), ("b", 4)):
        (tmp_path / f"{name}.yaml").write_text(f"players: {players}\n")
    run = resolved("--config", str(tmp_path / "a.yaml"), "--config", str(tmp_path / "b.yaml"))
    assert run.players == 4


@pytest.mark.parametrize(
    ("learners", "seats"),
    [("lola", ["lola"] * 3), ("lola,naive*2", ["lola", "naive", "naive"]), ("lola*3", ["lola"] * 3)],
)
def test_seats(learners, seats):
    assert seat_names(learners, 3) == seats


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--learners", "lolla"], "unknown learner 'lolla': did you mean 'lola'?"),
        (["--env", "ipdd"], "unknown environment 'ipdd': did you mean 'ipd'?"),
        (["--baseline", "naiv"], "unknown learner 'naiv': did you mean 'naive'?"),
        (["--env", "zzz"], "unknown environment 'zzz'; known: bach_or_stravinsky"),
        (["--player", "4"], "unknown flag --player: did you mean 'players'?"),
        (["--lola.lookahed_rate=1"], "unknown flag --lola.lookahed_rate: did you mean 'lola.lookahead_rate'?"),
        (["--learners=naive", "--lola.lookahead_rate=1"], "no lola plays; expected it among --learners"),
        (["--config", "configs/sweeps/lola_ipd.yaml"], "is the file of a sweep; expected: python run.py sweep"),
        (["--seeds", "0"], "--seeds 0: expected a whole number from 1"),
        (["--steps", "0"], "--steps 0: expected a whole number from 1"),
        (["--learners", "lola,naive*x"], "'naive*x' is no seat"),
        (["--learners", "lola*0"], "'lola*0' is no seat"),
        (["--learners", ""], "'' is no seat"),
        (["--config", "nowhere.yaml"], "--config nowhere.yaml: No such file"),
        (["--resume", "nowhere"], "--resume nowhere: holds no run"),
    ],
)
def test_mistakes_on_the_command_line(args, message):
    with pytest.raises(UserError) as error:
        parse(args)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plyers: 4\n", "unknown key 'plyers'"),
        ("plyers: 4\n", "did you mean 'players'?"),
        ("lola: {lookahed_rate: 1}\n", "did you mean 'lola.lookahead_rate'?"),
        ("out: somewhere\n", "unknown key 'out'"),
        ("players: [4\n", "not valid YAML"),
        ("- players\n", "expected a mapping"),
        ("a: &a [1]\nb: *a\n", "aliases are not supported"),
        ("[" * 5000, "not valid YAML"),
        ("steps: 2001-99-99\n", "not valid YAML"),
        (f"steps: {'9' * 5000}\n", "not valid YAML"),
        ("steps: 1\n" * 30_000, "has more than 262,144 bytes"),
        ("!!python/object/apply:os.system ['echo hi']\n", "not valid YAML"),
    ],
)
def test_mistakes_in_a_file(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        parse(["--config", str(path)])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--learners", "lola,naive*2", "--players", "4"], "3 seats for 4 players"),
        (["--learners", "lola,naive", "--env", "ipd2", "--players", "3"], "ipd2 has 2 players"),
        (["--players", "1"], "players = 1: expected a whole number from 2"),
        (["--players", "9"], "learner lola: 9 players with 2 actions"),
        (["--env.discount", "1.5"], "environment ipd: discount = 1.5: expected from 0"),
        (["--lola.lookahead_rate", "-1"], "learner lola: lookahead_rate = -1.0: expected at least 0"),
        (["--lola.terms", "shaping"], "learner lola: terms = 'shaping' with expansion = 'exact'"),
        (["--env", "matrix", "--env.payoffs", "nowhere.json"], "nowhere.json': expected a readable"),
    ],
)
def test_mistakes_in_values(args, message):
    run = resolved(*args)

    def build():
        env = build_environment(run)
        build_learners(run, env, seat_names(run.learners, env.num_players))

    with pytest.raises(UserError) as error:
        build()
    assert message in str(error.value)


@pytest.mark.parametrize("args", [("--share", "--players", "3"), ("--players=3", "--share"), ("--share=True",)])
def test_a_boolean_alone_is_true(args):
    assert resolved(*args).share


def test_dry_says_where_every_value_comes_from(tmp_path, capsys):
    files = {
        "below": "players: 3\nlola: {lookahead_rate: 2}\nseeds: 5\n",
        "above": "seeds: 4\nlearners: [lola, naive*2]\n",
    }
    args = ["--steps=7"]
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
        args += ["--config", str(tmp_path / f"{name}.yaml")]
    assert main([*args, "--dry", "--out", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    found = dict(re.findall(r"^([\w.]+): .*?  # (.*)$", told, re.M))
    expected = {
        "steps": "command line",
        "players": f"{tmp_path}/below.yaml",
        "lola.lookahead_rate": f"{tmp_path}/below.yaml",
    }
    expected |= {"seeds": f"{tmp_path}/above.yaml", "learners": f"{tmp_path}/above.yaml", "env": "default"}
    assert {flag: found[flag] for flag in expected} == expected
    (tmp_path / "dry.yaml").write_text(told)
    assert resolved("--config", str(tmp_path / "dry.yaml")) == resolved(*args)


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["psro", "--game", "chicken", "--solver", "rae", "--risk", "0.1,0.2"], r"risk: \[0.1, 0.2\] +# command line"),
        (["league", "--learners", "lola,naive", "--wandb.group", "g"], r"wandb.group: g +# command line"),
    ],
)
def test_dry_of_other_commands_imports_no_numerics(args, line):
    code = (
        "import sys; from experiments.cli import main; code = main(sys.argv[1:])\n"
        "sys.exit(str({'jax', 'wandb'} & set(sys.modules)) if {'jax', 'wandb'} & set(sys.modules) else code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *args, "--dry"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert re.search(line, result.stdout)


def test_a_dry_run_is_checked(capsys):
    assert main(["--seeds", "0", "--dry"]) == 2
    assert "--seeds 0: expected a whole number from 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "text", "message"),
    [
        ("psro", "oracle: {frst: random}", "unknown key 'oracle.frst' in {}: did you mean 'oracle.first'?"),
        ("psro", "env: {name: ipd2, horizn: 5}", "unknown key 'env.horizn' in {}: did you mean 'env.horizon'?"),
        ("league", "tit_for_tat: {forgivness: 0.1}", "in {}: did you mean 'tit_for_tat.forgiveness'?"),
        (
            "train",
            "wandb: {name: offline, projct: p}",
            "unknown key 'wandb.projct' in {}: did you mean 'wandb.project'?",
        ),
    ],
)
def test_nested_keys_suggest(tmp_path, capsys, command, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert main([*([] if command == "train" else [command]), "--config", str(path), "--dry"]) == 2
    assert message.format(path) in capsys.readouterr().err


def test_where_a_run_is_mirrored_is_a_group_of_flags(tmp_path):
    path = tmp_path / "mirror.yaml"
    path.write_text("wandb: {name: offline, project: games, tags: [a, b]}\n")
    run = resolved("--config", str(path), "--wandb.project", "theirs")
    assert run.wandb == "offline"
    assert run.components["wandb"] == {"project": "theirs", "entity": None, "group": None, "tags": "a,b"}


def test_run_fields_are_flags():
    assert {f.name for f in fields(Run)} - {"components"} <= set(to_flags(resolved())) | {"players", "out", "wandb"}
