"""An episode of a run: that it is the one that is played, where it stops, and that its pictures can be opened."""

from xml.etree import ElementTree

import jax
import numpy as np
import pytest
from PIL import Image

import envs
import shaping
from envs import Scene, Shape
from envs.scene import PALETTE
from experiments import episode as module
from experiments.cli import main
from experiments.config import parse
from experiments.episode import Frame, Played, action_scene, frames, play, play_trained
from experiments.episode_pictures import draw_animation, draw_strip, shown
from experiments.render import episode
from experiments.sides import build_sides
from experiments.trained import Trained

STAG = ["--env", "stag_hunt_grid", "--env.size", "3", "--env.horizon", "4", "--batch", "4"]
HUNTERS = [*STAG, "--learners", "reinforce,always_defect"]


def untrained(path, *args, seeds=2):
    """A run at its start."""
    run, _ = parse([*args, "--seeds", str(seeds), "--seed", "5", "--baseline", "none"])
    match = build_sides(run)["learners"].match
    states = jax.vmap(lambda seed: shaping.init(match, jax.random.key(seed)))(5 + np.arange(seeds, dtype=np.uint32))
    return Trained(path, run, match, 0, jax.tree.map(np.asarray, states))


def a_frame(step):
    shapes = (
        Shape("rectangle", 1.0, 0.5, 0.5, 0.2, "#FF0000", 0.3, "7"),
        Shape("circle", 0.1 * step, 0.5, 0.2, 0.2, "#00FF00"),
        Shape("text", 1.0, 0.9, 2.0, 0.1, "#000000", text="hello"),
    )
    return Frame(Scene(2.0, 1.0, shapes, "about"), (f"step {step}", "seat 0: 1 so far"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "stag"
    with jax.numpy_dtype_promotion("standard"):  # optax
        assert main([*HUNTERS, "--seeds", "2", "--steps", "1", "--out", str(out)]) == 0
    return out


def test_it_is_the_first_of_the_episodes_that_are_played_for_learning(tmp_path):
    match = untrained(tmp_path, *STAG, "--learners", "ppo_gru,reinforce").match
    key = jax.random.key(3)
    acting = shaping.policies(match, shaping.init(match, key))
    trajectories, info = jax.jit(shaping.episode)(match, acting, key)
    states, actions, rewards, told, _ = jax.jit(play, static_argnames="steps")(match, acting, key, steps=4)
    for seat, trajectory in zip((0, 1), trajectories, strict=True):
        np.testing.assert_array_equal(actions[:, seat], trajectory.action[:, 0, 0])
        np.testing.assert_array_equal(rewards[:, seat], trajectory.reward[:, 0, 0])
        observed = jax.vmap(match.env._observe)(states)[:, seat]
        np.testing.assert_array_equal(observed[:-1], trajectory.obs[:, 0, 0])
        np.testing.assert_array_equal(observed[-1], trajectory.last_obs[0, 0])
    np.testing.assert_array_equal(told["foraged"], info["foraged"][:, 0])


def test_the_training_seed_that_is_asked_for_plays(tmp_path):
    trained = untrained(tmp_path, *HUNTERS)
    swapped = Trained(tmp_path, trained.run, trained.match, 0, jax.tree.map(lambda leaf: leaf[::-1], trained.states))
    second, first = play_trained(trained, 6, 0), play_trained(swapped, 5, 0)
    np.testing.assert_array_equal(second.actions, first.actions)
    jax.tree.map(np.testing.assert_array_equal, second.states, first.states)
    other = play_trained(trained, 6, 1)
    assert not np.array_equal(other.states.plants, second.states.plants)


def test_the_end_of_the_game_is_the_end(tmp_path):
    near = ["--env.nearest_oncoming", "120", "--env.farthest_oncoming", "120"]  # whoever overtakes at once crashes
    trained = untrained(tmp_path, "--env", "driving", *near, "--learners", "always_defect*2", seeds=1)
    played = play_trained(trained, 5, 0)
    steps = len(played.rewards)
    assert played.ended
    assert steps < 20
    assert played.info["crashed"].any(axis=1).tolist() == [False] * (steps - 1) + [True]
    assert len(played.states.step) == len(played.actions) + 1 == steps + 1
    found = frames(trained.match.env, played, ["always_defect"] * 2)
    assert len(found) == steps + 1
    assert found[-1].caption[0] == f"step {steps} of 20, the end"
    assert any("in this step, crashed, speed" in line for line in found[-1].caption)


def test_long_episodes_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_STEPS", 2)
    found = episode(untrained(tmp_path, *HUNTERS), 5, 0)
    assert [frame.caption[0] for frame in found] == ["step 0 of 4", "step 1 of 4", "step 2 of 4"]


def test_shapers_play_against_fresh_rivals(tmp_path):
    args = ["--env", "ipd", "--players", "2", "--env.horizon", "3", "--learners", "shaper_ppo,reinforce"]
    found = episode(untrained(tmp_path, *args, "--batch", "2", "--episodes", "2", seeds=1), 5, 0)
    assert len(found) == 4
    assert found[0].caption[1:] == ("seat 0 (shaper_ppo): 0 so far", "seat 1 (reinforce): 0 so far")


def test_captions_count_rewards_and_tell_what_happened():
    env = envs.make("stag_hunt_grid", horizon=2)
    state, _ = env.reset(jax.random.key(0))
    states = jax.tree.map(lambda leaf: np.stack([leaf] * 3), state)
    rewards = np.array([[-1.0, 0.0], [5.0, 5.0]])
    info = {"hunted": np.array([[0.0, 0.0], [1.0, 1.0]]), "mauled": np.array([[1.0, 0.0], [0.0, 0.0]])}
    found = frames(env, Played(states, np.zeros((2, 2), int), rewards, info, False), ["ppo", "loqa"])
    assert [frame.caption for frame in found] == [
        ("step 0 of 2", "seat 0 (ppo): 0 so far", "seat 1 (loqa): 0 so far"),
        ("step 1 of 2", "seat 0 (ppo): -1 so far, -1 in this step, mauled", "seat 1 (loqa): 0 so far, +0 in this step"),
        (
            "step 2 of 2",
            "seat 0 (ppo): 4 so far, +5 in this step, hunted",
            "seat 1 (loqa): 5 so far, +5 in this step, hunted",
        ),
    ]


def test_actions_are_drawn_from_left_to_right():
    scene = action_scene(np.array([[0, 1], [1, 1]]), [("C", "D")] * 2)
    squares = [(s.text, s.x, s.y, s.colour) for s in scene.shapes if s.kind == "rectangle"]
    first, second = PALETTE[:2]
    assert squares == [
        ("C", 2.5, 1.5, first),
        ("D", 3.5, 1.5, second),
        ("D", 2.5, 0.5, second),
        ("D", 3.5, 0.5, second),
    ]
    last = action_scene(np.arange(60).reshape(30, 2) % 3, [("rock", "paper", "scissors")] * 2)
    assert (last.width, last.height) == (22, 2)
    seen = [s.text for s in last.shapes if s.y == 1.5 and s.kind == "rectangle"]
    assert seen == [("rock", "paper", "scissors")[2 * t % 3] for t in range(10, 30)]


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--env", "tandem", "--learners", "naive*2"], "states of tandem cannot be drawn"),
        (["--env", "cournot", "--learners", "reinforce*2"], "states of cournot cannot be drawn"),
        (
            ["--players", "9", "--env.observe", "counts", "--env.horizon", "2", "--learners", "always_defect*9"],
            "actions are drawn of up to 8 players, here 9",
        ),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path, args, why):
    assert episode(untrained(tmp_path, *args, seeds=1), 5, 0) == why


def test_a_run_is_played_into_its_directory(run, capsys):
    assert main(["render", str(run), "--training_seed", "1", "--episode_seed", "7"]) == 0
    out = capsys.readouterr().out
    assert f"written: {run / 'episode.gif'}\nwritten: {run / 'episode.svg'}\n" in out
    with Image.open(run / "episode.gif") as image:
        assert image.n_frames == 5
    text = "".join(ElementTree.parse(run / "episode.svg").getroot().itertext())  # noqa: S314  our own file
    assert "of seed 1, episode 7" in text
    assert [f"step {step} of 4" in text for step in range(6)] == [True] * 5 + [False]


def test_an_animation_has_an_image_a_frame_and_stops_at_the_last(tmp_path):
    path = tmp_path / "episode.gif"
    draw_animation(path, "a title", [a_frame(step) for step in range(5)])
    with Image.open(path) as image:
        assert image.n_frames == 5
        durations, reds = [], []
        for index in range(5):
            image.seek(index)
            durations.append(image.info["duration"])
            pixels = np.asarray(image.convert("RGB")).astype(int)
            reds.append(((pixels[..., 0] > 200) & (pixels[..., 1:] < 60).all(axis=-1)).mean())
    assert durations == [400] * 4 + [2000]
    assert min(reds) > 0.02


def test_a_strip_is_the_same_every_time_and_evenly_spaced(tmp_path):
    for name in ("a", "b"):
        draw_strip(tmp_path / name, "a title", [a_frame(step) for step in range(22)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    root = ElementTree.parse(tmp_path / "a").getroot()  # noqa: S314  our own file
    words = [text for text in root.itertext() if text.startswith("step ")]
    assert words == [f"step {step}" for step in range(0, 22, 3)]
    assert shown(1) == [0]
    assert shown(3) == [0, 1, 2]
    assert shown(100)[-1] == 99
    assert len(shown(100)) == 8


def test_shapes_are_drawn_where_they_are(tmp_path):
    shapes = (Shape("rectangle", 3.0, 0.5, 2.0, 1.0, "#FF0000"), Shape("circle", 0.5, 0.5, 1.0, 1.0, "#0000FF"))
    path = tmp_path / "episode.gif"
    draw_animation(path, "", [Frame(Scene(4.0, 1.0, shapes), ("step 0",))])
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    red = (pixels[..., 0] > 200) & (pixels[..., 2] < 60)
    blue = (pixels[..., 2] > 200) & (pixels[..., 0] < 60)
    width, height = 800, 200  # pixels of the scene
    np.testing.assert_allclose([red.sum(), blue.sum()], [width * height / 2, np.pi / 4 * height**2], rtol=0.02)
    assert np.where(blue)[1].max() < np.where(red)[1].min() - 190  # a unit apart
