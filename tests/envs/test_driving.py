"""Rules of the road: motion, crashes, rewards, starts, seats and observations, against a slow reference."""

import itertools
import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import Driving
from envs.driving import SLOW, DrivingState, Motion
from envs.scene import PALETTE
from envs.vehicles import LENGTH, WIDTH, bicycle, following, overlap

LEFT, IDLE, RIGHT, FASTER, SLOWER = range(5)
KEY = jax.random.key(0)
STAY, OVERTAKE = 0, 1


@cache
def compiled(env: Driving):
    return jax.jit(env.reset), jax.jit(env.step)


def start(env: Driving, seed: int = 0) -> DrivingState:
    return compiled(env)[0](jax.random.key(seed))[0]


def place(state: DrivingState, **values) -> DrivingState:
    """`state` with other entries of its motion."""
    motion = state.motion._replace(**{name: jnp.array(value, jnp.float32) for name, value in values.items()})
    return state._replace(motion=motion)


def play(env: Driving, state: DrivingState, actions: list):
    return compiled(env)[1](state, jnp.array(actions, jnp.int32), KEY)


@partial(jax.jit, static_argnums=(0, 1, 2))
def episodes(env: Driving, policies: tuple[int, ...], batch: int):
    """Rewards, crashes, overtakes and speeds, `[batch, T, n]`, zero after the end, where i plays `policies[i]`."""

    def one(key):
        def step(carry, _):
            state, obs, goes_on = carry
            choices = jax.vmap(env.dilemma)(obs)
            state, timestep = env.step(state, choices[jnp.arange(env.players), jnp.array(policies)], key)
            seen = (timestep.reward, *(timestep.info[name] for name in ("crashed", "overtakes", "speed")))
            seen = jax.tree.map(lambda x: x * goes_on.astype(jnp.float32), seen)
            return (state, timestep.obs, goes_on & ~timestep.terminated), seen

        return jax.lax.scan(step, (*env.reset(key), jnp.ones((), bool)), None, length=env.horizon)[1]

    return jax.vmap(one)(jax.random.split(jax.random.key(1), batch))


class Reference:
    """The class docstring in global coordinates, car by car: x along the road, y to the left of the first direction."""

    def __init__(self, env: Driving, state: DrivingState):
        n, self.env = env.players, env
        self.sign = [1 if i < (n + 1) // 2 else -1 for i in range(n)] * 2
        motion = jax.tree.map(np.asarray, state.motion)
        self.x = [sign * float(s) for sign, s in zip(self.sign, motion.position, strict=True)]
        self.y = [sign * (float(left) - 2) for sign, left in zip(self.sign, [*motion.lateral, *[0] * n], strict=True)]
        self.course = [0.0 if sign > 0 else math.pi for sign in self.sign]
        self.course = [c + float(h) for c, h in zip(self.course, [*motion.heading, *[0] * n], strict=True)]
        self.v = [float(v) for v in motion.speed]
        self.lane, self.gear = [0] * n, [0] * n

    def step(self, actions):
        n, env = self.env.players, self.env
        for i, action in enumerate(actions):
            self.lane[i] = {LEFT: 1, RIGHT: 0}.get(action, self.lane[i])
            self.gear[i] = min(max(self.gear[i] + {FASTER: 1, SLOWER: -1}.get(action, 0), 0), 2)
        before, moves = list(self.x), 0
        while moves < env.substeps and not (moves and any(self.crashed())):
            brakes = [self.brake(i) for i in range(n, 2 * n)]
            for i in range(n):
                self.drive(i)
            for i, brake in zip(range(n, 2 * n), brakes, strict=True):
                self.x[i] += self.sign[i] * self.v[i] / env.substeps
                self.v[i] = max(self.v[i] + brake / env.substeps, 0.0)
            moves += 1
        return [self.sign[i] * (self.x[i] - before[i]) * env.substeps / moves for i in range(n)]

    def drive(self, i):
        """Published: angles of slip and wheels, steered for the lane."""
        v, sign, target = self.v[i], self.sign[i], np.linspace(self.env.slow_speed, self.env.top_speed, 3)[self.gear[i]]
        error = sign * self.y[i] - (-2 if self.lane[i] == 0 else 2)
        heading = self.course[i] - (0 if sign > 0 else math.pi)
        course = np.clip(math.asin(np.clip(-error / 0.6 / v, -1, 1)), -math.pi / 4, math.pi / 4)
        slip = math.asin(np.clip(2.5 / v * (course - heading) / 0.2, -1, 1))
        wheels = np.clip(math.atan(2 * math.tan(slip)), -math.pi / 3, math.pi / 3)
        slip = math.atan(math.tan(wheels) / 2)
        self.x[i] += v * math.cos(self.course[i] + slip) / self.env.substeps
        self.y[i] += v * math.sin(self.course[i] + slip) / self.env.substeps
        self.course[i] += v * math.sin(slip) / 2.5 / self.env.substeps
        self.v[i] += (target - v) / 0.6 / self.env.substeps

    def brake(self, i):
        sign, v, ratio = self.sign[i], self.v[i], 0.0
        for j in range(len(self.x)):
            gap = sign * (self.x[j] - self.x[i])
            if 0 < gap <= self.env.sight and abs(self.y[j] - self.y[i]) <= 3:
                closing = v - sign * self.sign[j] * self.v[j]
                ratio = max(ratio, (10 + 1.5 * v + v * closing / (2 * math.sqrt(15))) / gap)
        return float(np.clip(6 * (1 - (v / self.env.slow_speed) ** 4 - ratio**2), -6, 6))

    def crashed(self):
        boxes = [corners(x, y, c) for x, y, c in zip(self.x, self.y, self.course, strict=True)]
        n = self.env.players
        return [any(boxes_meet(boxes[i], boxes[j]) for j in range(2 * n) if j != i) for i in range(n)]


def corners(x, y, course):
    along, across = np.array([math.cos(course), math.sin(course)]), np.array([-math.sin(course), math.cos(course)])
    return np.array([[x, y] + a * 2.5 * along + b * across for a, b in itertools.product((-1, 1), repeat=2)])


def boxes_meet(one, other):
    """No edge of either separates the corners of the two."""
    for box in (one, other):
        for axis in (box[1] - box[0], box[2] - box[0]):
            p, q = one @ axis, other @ axis
            if p.max() <= q.min() or q.max() <= p.min():
                return False
    return True


@pytest.mark.parametrize("players", [2, 3, 4])
def test_conforms(players):
    envs.check_env(Driving(players=players, horizon=6), steps=2)


@pytest.mark.parametrize(("players", "seed"), [(2, 0), (2, 1), (3, 2), (3, 3)])
def test_steps_are_those_of_a_slow_reference(players, seed):
    env = Driving(players=players, nearest_oncoming=60.0, farthest_oncoming=200.0, nearest_leader=12.0)
    state, rng = start(env, seed), np.random.default_rng(seed)
    slow = Reference(env, state)
    for _ in range(env.horizon):
        actions = rng.integers(0, 5, players).tolist()
        state, timestep = play(env, state, actions)
        speed = slow.step(actions)
        crashed = [float(c) for c in slow.crashed()]
        sign = np.array(slow.sign)
        assert timestep.info["crashed"].tolist() == crashed
        np.testing.assert_allclose(timestep.info["speed"], speed, rtol=1e-4)
        np.testing.assert_allclose(state.motion.position, sign * slow.x, atol=1e-2)
        np.testing.assert_allclose(state.motion.speed, slow.v, atol=1e-3)
        np.testing.assert_allclose(state.motion.lateral, (sign * slow.y)[:players] + 2, atol=1e-3)
        np.testing.assert_allclose(
            timestep.reward, np.clip((np.array(speed) - 10) / 20, 0, 1) - 20.0 * np.array(crashed), atol=1e-4
        )
        assert bool(timestep.terminated) == any(crashed)
        if any(crashed):
            return
    assert bool(timestep.truncated)


def test_bicycle():
    rng = np.random.default_rng(0)
    lateral, heading, speed = rng.uniform(-1, 6, 50), rng.uniform(-1.0, 1.0, 50), rng.uniform(1, 40, 50)
    lane, target = rng.integers(0, 2, 50), rng.choice([20.0, 30.0], 50)
    args = [jnp.array(a, jnp.float32) for a in (lateral, heading, speed, 4.0 * lane, target)]
    along, *after = bicycle(*args, 0.1)
    course = np.clip(np.arcsin(np.clip((4 * lane - lateral) / 0.6 / speed, -1, 1)), -np.pi / 4, np.pi / 4)
    slip = np.arcsin(np.clip(2.5 / speed * (course - heading) / 0.2, -1, 1))
    wheels = np.arctan(2 * np.tan(slip))
    assert (np.abs(wheels) > np.pi / 3).any()  # limits are met
    assert (np.abs(course) == np.pi / 4).any()
    slip = np.arctan(np.tan(np.clip(wheels, -np.pi / 3, np.pi / 3)) / 2)
    np.testing.assert_allclose(along, speed * np.cos(heading + slip) * 0.1, atol=1e-4)
    expected = [
        lateral + speed * np.sin(heading + slip) * 0.1,
        heading + speed * np.sin(slip) / 2.5 * 0.1,
        speed + (target - speed) / 0.6 * 0.1,
    ]
    for found, number in zip(after, expected, strict=True):
        np.testing.assert_allclose(found, number, atol=1e-4)


def test_following():
    """Free at the free speed, 40 m / sqrt(1 - (18 / 20)^4) m behind an equal at 18 m/s, and within ±6 m/s²."""
    gap = 37.0 / math.sqrt(1 - 0.9**4)
    speed = jnp.array([20.0, 18.0, 18.0, 0.0, 20.0, 20.0])
    gaps = jnp.array([[5.0], [gap], [2 * gap], [100.0], [5.0], [10.0]])
    others = jnp.array([[0.0], [18.0], [18.0], [0.0], [0.0], [60.0]])
    seen = jnp.array([[False], [True], [True], [False], [True], [True]])
    found = following(speed, 20.0, gaps, others, seen)
    np.testing.assert_allclose(found, [0.0, 0.0, 6 * 0.75 * (1 - 0.9**4), 6.0, -6.0, 0.0], atol=1e-4)
    both = following(
        jnp.array([18.0]), 20.0, jnp.array([[50.0, gap]]), jnp.array([[30.0, 18.0]]), jnp.ones((1, 2), bool)
    )
    np.testing.assert_allclose(both, 0.0, atol=1e-4)  # the one that asks for most braking, not the nearest


def test_overlap():
    rng = np.random.default_rng(0)
    place, turn = rng.uniform(-6, 6, (2, 400)), rng.uniform(-0.8, 0.8, (2, 400))
    args = place[0][:, None], place[1][:, None], turn[0], np.zeros(1)
    found = overlap(*(jnp.array(a, jnp.float32) for a in args))[:, 0]
    expected = [boxes_meet(corners(0, 0, t), corners(x, y, 0)) for x, y, t in zip(*place, turn[0], strict=True)]
    assert 50 < sum(expected) < 350
    assert found.tolist() == expected
    turned = [boxes_meet(corners(0, 0, a), corners(x, y, b)) for x, y, a, b in zip(*place, *turn, strict=True)]
    args = [jnp.array(a, jnp.float32) for a in (place[0], place[1], turn[0], turn[1])]
    found = jax.vmap(lambda x, y, a, b: overlap(x[None, None], y[None, None], a[None], b[None])[0, 0])(*args)
    assert found.tolist() == turned


@pytest.mark.parametrize("players", [2, 3, 4])
def test_who_stays_behind_never_crashes_and_earns_the_speed_of_the_slow(players):
    env = Driving(players=players)
    reward, crashed, overtakes, speed = episodes(env, (STAY,) * players, 500)
    assert not crashed.any()
    assert not overtakes.any()
    np.testing.assert_allclose(speed, 20.0, rtol=1e-4)
    np.testing.assert_allclose(reward, 0.5, atol=1e-4)
    assert env.marks() == pytest.approx({"stay behind": 0.5, "top speed": 1.0})


def test_overtaking_pays_alone_and_is_dangerous_together():
    env = Driving()
    alone, together = (episodes(env, policies, 500) for policies in ((OVERTAKE, STAY), (OVERTAKE, OVERTAKE)))
    reward, crashed, overtakes, _ = (x.sum(axis=1) for x in alone)  # over the episode
    assert crashed[:, 0].mean() < 0.15
    assert crashed[:, 1].mean() < 0.02  # who stays is safe
    assert overtakes[:, 0].mean() > 0.9
    assert overtakes.max() == 1.0  # once
    assert reward[:, 0].mean() > 15.0 > 11.0 > reward[:, 1].mean()
    reward, crashed, _, _ = (x.sum(axis=1) for x in together)
    assert 0.35 < crashed.max(axis=1).mean() < 0.65
    assert (reward.mean(axis=0) < 6.0).all()  # less than behind the slow cars
    assert (reward[crashed > 0] < 0).all()


@pytest.mark.parametrize("penalty", [0.0, 20.0, 50.0])
def test_a_crash_costs_its_penalty_and_ends_the_episode_where_it_happens(penalty):
    env = Driving(crash_penalty=penalty, players=3)
    road = place(start(env), position=[-100.0, -300.0, 50.0, 0.0, -200.0, 400.0], lateral=[4.0, 0.0, 0.0])
    _, timestep = play(env, road, [IDLE, IDLE, IDLE])
    assert not timestep.terminated  # A at -100 and C at -50 would meet in the lane of C, but A steers back in time
    state = road._replace(lane=jnp.array([1, 0, 0], jnp.int32))
    state, timestep = play(env, state, [IDLE, IDLE, IDLE])
    assert timestep.info["crashed"].tolist() == [0.0, 0.0, 0.0]  # 10 m are left
    assert timestep.reward.tolist() == pytest.approx([0.5] * 3, abs=1e-4)
    state, timestep = play(env, state, [IDLE, IDLE, IDLE])
    assert timestep.info["crashed"].tolist() == [1.0, 0.0, 1.0]
    assert timestep.reward.tolist() == pytest.approx([0.5 - penalty, 0.5, 0.5 - penalty], abs=1e-4)
    assert timestep.terminated
    assert not timestep.truncated
    gap = -(state.motion.position[0] + state.motion.position[2])
    assert 5.0 - 40 / 15 <= gap < 5.0
    np.testing.assert_allclose(timestep.info["speed"], 20.0, rtol=1e-5)


def test_a_car_that_hits_a_slow_one_pays_alone():
    env = Driving()
    state = place(start(env), position=[-206.0, -250.0, -200.0, -200.0])
    _, timestep = play(env, state._replace(gear=jnp.array([2, 0], jnp.int32)), [IDLE, IDLE])
    assert timestep.info["crashed"].tolist() == [1.0, 0.0]
    assert timestep.reward[0] < -19.0
    assert timestep.reward[1] == pytest.approx(0.5, abs=1e-4)
    assert timestep.terminated


def test_signs():
    """Faster pays, as much as the formula says, and slower costs; no reward is negative without a crash."""
    env = Driving()
    state = start(env)
    state, timestep = play(env, state, [FASTER, SLOWER])
    assert timestep.reward[0] > 0.5 + 1e-3
    assert timestep.reward[1] == pytest.approx(0.5, abs=1e-5)  # there is nothing slower
    state, timestep = play(env, state, [IDLE, IDLE])
    np.testing.assert_allclose(timestep.reward, [0.73, 0.5], atol=0.01)  # 25 m/s, almost
    assert [float(env.speed_term(v)) for v in (0.0, 10.0, 15.0, 20.0, 30.0, 40.0)] == [0, 0, 0.25, 0.5, 1, 1]


def test_lanes_and_target_speeds_have_ends():
    env = Driving(nearest_leader=500.0, farthest_leader=500.0, nearest_oncoming=5000.0, farthest_oncoming=5000.0)
    state = start(env)
    for actions in ([LEFT, RIGHT], [LEFT, RIGHT], [FASTER, SLOWER], [FASTER, SLOWER], [FASTER, SLOWER]):
        state, _ = play(env, state, actions)
    for _ in range(3):
        state, timestep = play(env, state, [IDLE, IDLE])
    np.testing.assert_allclose(state.motion.lateral, [4.0, 0.0], atol=0.05)
    np.testing.assert_allclose(state.motion.speed[:2], [30.0, 20.0], atol=0.1)
    np.testing.assert_allclose(timestep.reward, [1.0, 0.5], atol=0.01)
    state, _ = play(env, state, [RIGHT, LEFT])
    for _ in range(3):
        state, _ = play(env, state, [SLOWER, FASTER])
    np.testing.assert_allclose(state.motion.lateral, [0.0, 4.0], atol=0.05)
    np.testing.assert_allclose(state.motion.speed[:2], [20.0, 30.0], atol=2.0)


@pytest.mark.parametrize("players", [2, 4])
def test_directions_can_be_exchanged(players):
    env, rng = Driving(players=players, nearest_oncoming=100.0, farthest_oncoming=150.0), np.random.default_rng(0)
    order = np.roll(np.arange(players), players // 2)
    cars = np.concatenate([order, players + order])
    state = start(env)
    motion = Motion(*(x[cars if len(x) > players else order] for x in state.motion))
    mirrored = state._replace(motion=motion)
    for _ in range(6):
        actions = rng.integers(0, 5, players)
        state, one = play(env, state, actions.tolist())
        mirrored, other = play(env, mirrored, actions[order].tolist())
        seen = ((t.obs, t.reward, t.info) for t in (one, other))
        for a, b in zip(*map(jax.tree.leaves, seen), strict=True):
            np.testing.assert_allclose(a[order], b, atol=1e-5)


def test_starts():
    env = Driving(players=4)
    position = np.asarray(jax.vmap(lambda key: env.reset(key)[0].motion.position)(jax.random.split(KEY, 2000)))
    slow = position[:, 4:]
    behind = slow - position[:, :4]
    oncoming = -(slow[:, 0] + slow[:, 2])  # between the two that lead
    for drawn, low, high in ((behind, 20, 40), (oncoming, 300, 360)):
        assert low <= drawn.min() < low + 0.02 * (high - low)
        assert high >= drawn.max() > high - 0.02 * (high - low)
        assert abs(drawn.mean() - (low + high) / 2) < 0.02 * (high - low)
    np.testing.assert_allclose(position[:, [0, 2]] - slow[:, [1, 3]], 100.0, atol=1e-3)
    np.testing.assert_allclose(slow[:, 0], slow[:, 2], atol=1e-3)


def test_observation():
    env = Driving(players=3)
    state = place(
        start(env),
        position=[-100.0, -180.0, -150.0, -60.0, -140.0, -120.0],
        speed=[25.0, 21.0, 30.0, 20.0, 19.0, 18.0],
        lateral=[1.0, 0.5, 4.0],
        heading=[0.1, 0.0, -0.2],
    )
    state = state._replace(lane=jnp.array([1, 0, 0], jnp.int32), gear=jnp.array([1, 0, 2], jnp.int32))
    obs = np.asarray(env._observe(state))
    first = [
        [25 / 30, 0.25, 0.1, 1, 25 / 30],
        [40 / 200, -0.25, -5 / 30, 0, 0],  # the own slow car
        [-80 / 200, -0.5 / 4, -4 / 30, 0, 1],
        [-40 / 200, -0.25, -6 / 30, 0, 0],
        [250 / 200, -1 / 4, -55 / 30, 1, 1],  # oncoming, in the lane of the first
        [220 / 200, 3 / 4, -43 / 30, 1, 0],
    ]
    np.testing.assert_allclose(obs[0], np.ravel(first), atol=1e-5)
    third = [
        [1.0, 1.0, -0.2, 0, 1.0],
        [30 / 200, -1.0, -12 / 30, 0, 0],
        [250 / 200, (4 - 1 - 4) / 4, -55 / 30, 1, 1],
        [210 / 200, 0.0, -50 / 30, 1, 0],
        [330 / 200, -0.5 / 4, -51 / 30, 1, 1],
        [290 / 200, 0.0, -49 / 30, 1, 0],
    ]
    np.testing.assert_allclose(obs[2], np.ravel(third), atol=1e-5)
    assert env.obs_shape == (obs.shape[1],)


def test_slow_cars_brake_for_what_they_see_in_their_lane():
    env = Driving()

    def speeds(position, lateral):
        state = place(start(env), position=position, lateral=lateral)
        state = state._replace(lane=jnp.array([int(y > 0) for y in lateral], jnp.int32))
        return play(env, state, [IDLE, IDLE])[0].motion.speed[2:].tolist()

    far = [-400.0, -400.0, 0.0, -200.0]
    assert speeds(far, [0.0, 0.0]) == pytest.approx([20.0, 20.0])
    assert speeds([30.0, *far[1:]], [0.0, 0.0])[0] < 19.0  # one's own direction
    assert speeds([30.0, *far[1:]], [4.0, 0.0])[0] == pytest.approx(20.0)  # but not in the other lane
    assert speeds([100.0, *far[1:]], [0.0, 0.0])[0] == pytest.approx(20.0)  # nor out of sight
    assert speeds([-400.0, -50.0, *far[2:]], [0.0, 4.0])[0] < 15.0  # oncoming


def test_jit_changes_nothing():
    env = Driving(players=3)
    state = start(env)
    actions = jnp.array([LEFT, FASTER, IDLE], jnp.int32)
    for one, other in zip(
        *(jax.tree.leaves(f(state, actions, KEY)) for f in (env.step, compiled(env)[1])), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_numbers_can_be_swept():
    state = place(start(Driving()), position=[-204.0, -250.0, -200.0, -200.0])

    def reward(penalty, top):
        env = Driving(crash_penalty=penalty, top_speed=top)
        return env.step(state, jnp.array([IDLE, IDLE], jnp.int32), KEY)[1].reward

    found = jax.vmap(reward)(jnp.array([10.0, 50.0]), jnp.array([30.0, 35.0]))
    np.testing.assert_allclose(found, [[-9.5, 0.5], [-49.6, 0.4]], atol=1e-4)
    assert jax.grad(lambda penalty: reward(penalty, 30.0)[0])(20.0) == -1.0


def test_statistics():
    env = Driving()
    info = {
        "crashed": jnp.array([[[0.0, 0.0], [1.0, 0.0]], [[1.0, 1.0], [9.0, 9.0]]]),
        "overtakes": jnp.array([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [9.0, 9.0]]]),
        "speed": jnp.array([[[20.0, 20.0], [22.0, 20.0]], [[30.0, 26.0], [99.0, 99.0]]]),
    }
    valid = jnp.array([[1.0, 1.0], [1.0, 0.0]])  # the second episode ends after a step
    found = env.statistics(None, None, info, valid)
    assert tuple(found) == env.statistic_names
    expected = {"crash rate": [1.0, 0.5], "overtakes": [1.0, 0.0], "speed": [24.0, 22.0]}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value)
    assert all(np.isnan(value).all() for value in env.statistics(None, None, info, 0 * valid).values())


def bodies(scene):
    """Cars drawn to scale, in the order of the picture."""
    return [s for s in scene.shapes if (s.width, s.height) == (LENGTH, WIDTH)]


def test_draw_shows_cars_around_each_learned_car():
    position, lateral = [-100.0, -60.0, -70.0, -30.0], [4.0, 0.0]
    state = place(start(Driving()), position=position, lateral=lateral, heading=[0.1, 0.0])
    scene = Driving().draw(state)
    seen = [(s.text, s.colour, s.x) for s in bodies(scene)]
    assert seen == [  # each window starts 25 m behind its car, which drives right, or 75 m ahead of it
        ("0", SLOW, 55.0),
        ("0", PALETTE[0], 25.0),
        ("1", SLOW, 45.0),
        ("1", PALETTE[1], 75.0),
    ]
    mine, other = bodies(scene)[1], bodies(scene)[3]
    assert mine.y - bodies(scene)[0].y == 4.0  # in the oncoming lane, the upper one
    np.testing.assert_allclose([mine.angle, other.angle], [0.1, np.pi], rtol=1e-6)
    assert [s.text for s in scene.shapes if s.kind == "text"] == ["the road, 900 m", "car 0: 20 m/s", "car 1: 20 m/s"]


def test_draw_shows_all_cars_from_far():
    scene = Driving().draw(place(start(Driving()), position=[-90.0, -45.0, 0.0, 90.0]))
    dots = {(s.text, round(s.x, 6)) for s in scene.shapes if s.kind == "circle"}
    assert dots == {("0", 40.0), ("1", 55.0), ("", 50.0), ("", 40.0)}
    heights = {s.text: s.y for s in scene.shapes if s.kind == "circle" and s.text}
    assert heights["0"] < heights["1"]  # they drive on the right


def test_cars_that_are_not_in_view_are_left_out():
    state = place(start(Driving()), position=[-100.0, -60.0, 200.0, -30.0])
    assert [s.text for s in bodies(Driving().draw(state))] == ["0", "1", "1"]


def test_render():
    state = place(start(Driving()), position=[-100.0, -60.0, -70.0, -30.0], lateral=[4.0, 0.0])
    assert Driving().render(state) == "< A.........|..b..B....\n> ...a......|.........."


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"players": 1}, "players = 1: expected a whole number from 2 to 6"),
        ({"crash_penalty": -20.0}, r"crash_penalty = -20.0: expected from 0 to 1e\+06 \(it is subtracted"),
        ({"top_speed": 50.0}, "top_speed = 50.0: expected from 1 to 40"),
        ({"top_speed": 20.0}, "top_speed = 20.0: expected more than slow_speed = 20.0"),
        ({"unpaid_speed": 30}, "top_speed = 30.0: expected more than unpaid_speed = 30"),
        ({"nearest_oncoming": 500.0}, "farthest_oncoming = 360.0: expected at least nearest_oncoming = 500.0"),
        ({"nearest_leader": 5.0}, "nearest_leader = 5.0: expected from 10 to 10000"),
        ({"sight": None}, "sight = None: expected a number"),
        ({"substeps": 5}, r"substeps = 5: expected a whole number from 10 to 100 \(with fewer"),
        ({"horizon": 0}, "horizon = 0: expected a whole number of at least 1"),
        ({"lanes": 3}, "no parameter 'lanes'"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        envs.make("driving", **fields)
