"""Driving: n cars on a two-way road, each behind slow traffic that only the oncoming lane leads around."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from envs.environment import Environment, TimeStep
from envs.road import Car, road_scene
from envs.scene import PALETTE, Scene
from envs.validation import require_range
from envs.vehicles import LANE, LENGTH, bicycle, following, overlap

__all__ = ["Driving", "DrivingState"]

LANE_LEFT, IDLE, LANE_RIGHT, FASTER, SLOWER = range(5)
GEARS = 3  # target speeds
IN_LANE = LANE / 2 + 1.0  # a car is ahead in a lane whose middle is no farther from its centre, metres
DISTANCE = 200.0  # the unit of distance in observations, metres
MAX_PLAYERS, MAX_SPEED, MAX_DISTANCE, MAX_PENALTY = 6, 40.0, 1e4, 1e6
SLOW = "#D9D9D9"  # colour


class Motion(NamedTuple):
    """Where cars are and how they move, each seen in its own direction of travel; the n learned cars come first.

    Attributes:
        position: `[2 n]`, centre along the road, from the middle of the road, metres.
        speed: `[2 n]`, m/s.
        lateral: `[n]`, centre left of the middle of the own lane, metres; 4 is the oncoming lane. Slow cars are at 0.
        heading: `[n]`, left of the direction of the road, radians.
    """

    position: Float[Array, " cars"]
    speed: Float[Array, " cars"]
    lateral: Float[Array, " n"]
    heading: Float[Array, " n"]


class DrivingState(NamedTuple):
    """State of the road.

    Attributes:
        step: int32 scalar, decisions taken.
        motion: of all cars.
        lane: int32 `[n]`, the lane that is steered for, 0 the own and 1 the oncoming one.
        gear: int32 `[n]`, index of the target speed.
        passed: bool `[n]`, whether the own slow car was overtaken.
    """

    step: Int[Array, ""]
    motion: Motion
    lane: Int[Array, " n"]
    gear: Int[Array, " n"]
    passed: Bool[Array, " n"]


class Driving(Environment):
    """Cars that meet head-on are stuck behind slow ones: who overtakes is fast, unless somebody comes the other way.

    A straight road has one lane of 4 m in each direction; an own lane is on the right. Players 0, ..., ceil(n/2) - 1
    drive one way and the others the other way, the first of each in front; directly ahead of every player is a slow
    car of its own. Cars are 5 m long and 2 m wide. Everybody decides once a second; each decision is followed by
    `substeps` steps of control and motion.
    Learned cars are kinematic bicycles (`envs.vehicles.bicycle`), steered for the middle of a lane and driven at a
    target speed, which they approach with a time constant of 0.6 s. They do not brake by themselves.
    Slow cars keep their lane and never go back; their acceleration is that of the Intelligent Driver Model
    (`envs.vehicles.following`) at the free speed `slow_speed` behind the most pressing car, slow or learned, of either
    direction, that is ahead within `sight` and whose centre is at most 3 m beside the middle of their lane.
    Start: everybody at `slow_speed` in the own lane. Uniform, independent: the distance of the two slow cars that
    lead, from `nearest_oncoming` to `farthest_oncoming`; of each learned car to its slow car, from `nearest_leader`
    to `farthest_leader`. A slow car that is not the first starts `spacing` behind the learned car ahead.

    Observation: float32 `[5 + 5 (2 n - 1)]`, the same from both directions. Own speed / `top_speed`; lateral / 4 m (0
    own lane, 1 oncoming); heading, radians; lane that is steered for, 0 or 1; target speed / `top_speed`. Then of
    each other car, five numbers: how far ahead / 200 m; how far left / 4 m; its speed in one's own direction less the
    own / `top_speed`; 1 if oncoming, else 0; 1 if learned, else 0. Order: the own slow car; learned car and slow car
    of each other player of the own direction; of each of the other direction.
    Action: int32, 0 steer for the oncoming lane, 1 none, 2 steer for the own lane, 3 the next higher and 4 the next
    lower target speed of `slow_speed`, the mean, `top_speed`. Beyond the ends nothing changes. `dilemma`: to
    co-operate is to stay behind (1); to defect is to overtake at once.
    Reward: (v - `unpaid_speed`) / (`top_speed` - `unpaid_speed`) within [0, 1], v the mean speed along the road over
    the step, or over what a crash leaves of it; less `crash_penalty` for a learned car whose oriented box overlaps
    that of another car.
    Termination: with the first crash, for all, where it happened; truncated after `horizon` steps. Nobody can leave
    the road: there are two lanes to steer for.
    Info: `crashed`, 0 or 1; `speed`, the v of the reward, m/s; `overtakes`, 1 in the step after which the centre is
    for the first time at least 5 m ahead of that of the own slow car, in whatever lane.
    Ours: a re-creation, since of the published setting only the subject is known. Constants are those of `two-way-v0`
    of highway-env, github.com/Farama-Foundation/HighwayEnv; several learned cars, the starts, the reward, and slow
    cars that see no farther than `sight`, are our own.
    Source: driving of arXiv 2205.15434.

    Attributes:
        players: number of learned cars n, and of slow ones.
        crash_penalty: taken from the reward of a learned car that crashes.
        slow_speed: free speed of slow cars, and lowest target speed, m/s.
        top_speed: highest target speed, m/s.
        unpaid_speed: speed up to which the reward is 0, m/s.
        nearest_oncoming: least distance of the two slow cars that lead, at the start, metres.
        farthest_oncoming: greatest distance of these, metres.
        nearest_leader: least distance of a learned car to its slow car, at the start, metres.
        farthest_leader: greatest distance of these, metres.
        spacing: distance of a slow car to the learned car ahead, at the start, metres.
        sight: distance up to which slow cars see what is ahead, metres.
        substeps: steps of control and motion a second.
        horizon: decisions T of an episode, one a second.
    """

    players: int = struct.field(default=2, pytree_node=False)
    crash_penalty: float = 20.0
    slow_speed: float = 20.0
    top_speed: float = 30.0
    unpaid_speed: float = 10.0
    nearest_oncoming: float = 300.0
    farthest_oncoming: float = 360.0
    nearest_leader: float = 20.0
    farthest_leader: float = 40.0
    spacing: float = 100.0
    sight: float = 60.0
    substeps: int = struct.field(default=15, pytree_node=False)
    horizon: int = struct.field(default=20, pytree_node=False)  # pyright: ignore

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a field out of range, or one of two that must differ.
        """
        require_range("players", self.players, 2, MAX_PLAYERS, whole=True)
        require_range("crash_penalty", self.crash_penalty, 0.0, MAX_PENALTY, hint="it is subtracted")
        for name in ("slow_speed", "top_speed"):
            require_range(name, getattr(self, name), 1.0, MAX_SPEED)
        require_range("unpaid_speed", self.unpaid_speed, 0.0, MAX_SPEED)
        for name in ("nearest_oncoming", "farthest_oncoming", "nearest_leader", "farthest_leader", "spacing"):
            require_range(name, getattr(self, name), 2 * LENGTH, MAX_DISTANCE)
        require_range("sight", self.sight, 0.0, MAX_DISTANCE)
        require_range("substeps", self.substeps, 10, 100, whole=True, hint="with fewer, cars jump through each other")
        require_range("horizon", self.horizon, 1, whole=True)
        self._require_order("slow_speed", "top_speed", equal=False)
        self._require_order("unpaid_speed", "top_speed", equal=False)
        self._require_order("nearest_oncoming", "farthest_oncoming", equal=True)
        self._require_order("nearest_leader", "farthest_leader", equal=True)

    @property
    def num_players(self) -> int:
        """Number of learned cars n."""
        return self.players

    @property
    def num_actions(self) -> int:
        """5: left, none, right, faster, slower."""
        return 5

    @property
    def num_observations(self) -> None:
        """None: observations are arrays."""

    @property
    def obs_shape(self) -> tuple[int]:
        """`(5 + 5 (2 n - 1),)`: oneself and the other cars."""
        return (10 * self.players,)

    @property
    def directions(self) -> np.ndarray:
        """`[2 n]`, 1.0 for cars of the first direction and -1.0 for those of the second; learned cars come first."""
        return np.tile(np.where(np.arange(self.players) < (self.players + 1) // 2, 1.0, -1.0), 2).astype(np.float32)

    def reset(self, key: Key[Array, ""]) -> tuple[DrivingState, Float[Array, "n d"]]:
        """Place the cars; consumes `key`."""
        n = self.players
        draws = jax.random.uniform(key, (n + 1,))
        oncoming = self.nearest_oncoming + (self.farthest_oncoming - self.nearest_oncoming) * draws[n]
        behind = self.nearest_leader + (self.farthest_leader - self.nearest_leader) * draws[:n]
        same = self.directions[:n, None] == self.directions[None, :n]
        before = (same & np.tri(n, k=-1, dtype=bool)).astype(np.float32)  # who is ahead, in the own direction
        slow = -oncoming / 2 - before @ (behind + self.spacing)
        speed = jnp.full(2 * n, self.slow_speed, jnp.float32)
        motion = Motion(jnp.concatenate([slow - behind, slow]), speed, jnp.zeros(n), jnp.zeros(n))
        zeros = jnp.zeros(n, jnp.int32)
        state = DrivingState(jnp.zeros((), jnp.int32), motion, zeros, zeros, jnp.zeros(n, bool))
        return state, self._observe(state)

    def step(
        self, state: DrivingState, actions: Int[Array, " n"], key: Key[Array, ""]
    ) -> tuple[DrivingState, TimeStep]:
        """Drive for a second by `actions` `[n]`; `key` is not used."""
        n, start = self.players, state.motion.position
        lane = jnp.where(actions == LANE_LEFT, 1, jnp.where(actions == LANE_RIGHT, 0, state.lane))
        change = (actions == FASTER).astype(jnp.int32) - (actions == SLOWER).astype(jnp.int32)
        gear = jnp.clip(state.gear + change, 0, GEARS - 1)
        target = self._target_speed(gear)

        def substep(carry: tuple[Motion, Any, Any], _: None) -> tuple[tuple[Motion, Any, Any], None]:
            motion, crashed, moves = carry
            goes_on = ~crashed.any()
            moved = self._move(motion, lane, target)
            motion = jax.tree.map(lambda new, old: jnp.where(goes_on, new, old), moved, motion)
            return (motion, self._crashed(motion), moves + goes_on.astype(jnp.float32)), None

        carry = (state.motion, jnp.zeros(n, bool), jnp.zeros(()))
        (motion, crashed, moves), _ = jax.lax.scan(substep, carry, None, length=self.substeps)
        speed = (motion.position - start)[:n] * self.substeps / moves
        ahead = motion.position[:n] - motion.position[n:] >= LENGTH
        info = {"crashed": crashed, "speed": speed, "overtakes": ahead & ~state.passed}
        reward = self.speed_term(speed) - self.crash_penalty * crashed.astype(jnp.float32)
        state = DrivingState(state.step + 1, motion, lane, gear, state.passed | ahead)
        terminated = crashed.any()
        truncated = (state.step >= self.horizon) & ~terminated
        info = {name: value.astype(jnp.float32) for name, value in info.items()}
        return state, TimeStep(self._observe(state), reward, terminated, truncated, info)

    def speed_term(self, speed: Float[Array, " ..."] | float) -> Float[Array, " ..."]:
        """What a step at the mean `speed`, m/s, pays without a crash, from 0 to 1."""
        return jnp.clip((speed - self.unpaid_speed) / (self.top_speed - self.unpaid_speed), 0.0, 1.0)

    def dilemma(self, obs: Float[Array, " d"]) -> Int[Array, " 2"]:
        """Stay behind, and the next action of one who overtakes at once, of who sees `obs`."""
        lane, target, leader = obs[3] > 0.5, obs[4], obs[5] * DISTANCE
        wanted = leader > -LENGTH - 1.0  # the oncoming lane, until there is room ahead of the slow car
        steer = jnp.where(wanted, LANE_LEFT, LANE_RIGHT)
        overtake = jnp.where(lane != wanted, steer, jnp.where(target < 0.999, FASTER, IDLE))
        return jnp.stack([jnp.full_like(overtake, IDLE), overtake]).astype(jnp.int32)

    def statistics(self, obs: Any, action: Any, info: dict[str, Any], valid: Any) -> dict[str, Float[Array, " n"]]:
        """Crashes and overtakes per episode, mean speed in m/s."""
        valid = jnp.asarray(valid, jnp.float32)
        crashes, speed, overtakes = (
            jnp.einsum("tb,tbn->n", valid, info[name]) for name in ("crashed", "speed", "overtakes")
        )
        episodes, steps = valid[0].sum(), valid.sum()
        values = (crashes / episodes, overtakes / episodes, speed / steps)  # NaN without any
        return dict(zip(self.statistic_names, values, strict=True))

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """Crashes, overtakes, speed."""
        return ("crash rate", "overtakes", "speed")

    @property
    def legend(self) -> str:
        """How to read the rates."""
        return (
            "crash rate: share of the episodes that end in the own crash; overtakes: of the own slow car, per "
            "episode; speed in m/s."
        )

    def marks(self) -> dict[str, float]:
        """Reward of everybody behind the slow cars, and of driving at the top speed from the first moment."""
        return {"stay behind": float(self.speed_term(self.slow_speed)), "top speed": 1.0}

    def render(self, state: DrivingState) -> str:
        """The road as text, 10 m a character; above, the lane of the second direction, which drives left.

        Learned cars are A, B, ..., their slow cars a, b, ...; where several share a character it is `*`. In the middle,
        marked by a bar where it is free, is the middle of the road.
        """
        n, signs = self.players, self.directions
        motion = jax.tree.map(np.asarray, state.motion)
        columns = np.round(signs * motion.position / 10).astype(int)
        half = int(np.abs(columns).max())
        oncoming = np.concatenate([motion.lateral, np.zeros(n)]) > LANE / 2
        lanes = [["."] * half + ["|"] + ["."] * half for _ in range(2)]
        for car, column in enumerate((columns + half).tolist()):
            lane = lanes[int(oncoming[car] != (signs[car] > 0))]
            lane[column] = "*" if lane[column] not in ".|" else chr(ord("A" if car < n else "a") + car % n)
        return "\n".join(f"{arrow} {''.join(lane)}" for arrow, lane in zip("<>", lanes, strict=True))

    def draw(self, state: DrivingState) -> Scene:
        """The road from above, the first direction driving right; a window follows each learned car."""
        n, motion = self.players, jax.tree.map(np.asarray, state.motion)
        lateral, heading = (np.concatenate([own, np.zeros(n)]) for own in (motion.lateral, motion.heading))
        cars = []
        for car, sign in enumerate(self.directions.tolist()):
            x, y = sign * float(motion.position[car]), sign * (float(lateral[car]) - LANE / 2)
            angle = float(heading[car]) + (0.0 if sign > 0 else math.pi)
            colour, label = (PALETTE[car], f"car {car}: {motion.speed[car]:.0f} m/s") if car < n else (SLOW, "")
            cars.append(Car(x, y, angle, colour, str(car % n), label))
        about = "coloured: learned cars; grey: the slow car of each"
        return road_scene(cars, self._reach, about)

    @property
    def _reach(self) -> float:
        """How far from the middle of the road a car can be, metres."""
        a_side = (self.players + 1) // 2
        start = self.farthest_oncoming / 2 + a_side * self.farthest_leader + (a_side - 1) * self.spacing
        end = self.horizon * self.top_speed - self.nearest_oncoming / 2
        return float(max(start, end))

    def _target_speed(self, gear: Int[Array, " n"]) -> Float[Array, " n"]:
        return self.slow_speed + (self.top_speed - self.slow_speed) * (gear.astype(jnp.float32) / (GEARS - 1))

    def _move(self, motion: Motion, lane: Int[Array, " n"], target: Float[Array, " n"]) -> Motion:
        """The cars one `substeps`-th of a second later."""
        n, seconds = self.players, 1.0 / self.substeps
        position, speed = motion.position, motion.speed
        along, lateral, heading, driven = bicycle(
            motion.lateral, motion.heading, speed[:n], LANE * lane.astype(jnp.float32), target, seconds
        )
        gap, left, other_speed = self._seen_from(motion, n)
        seen = (gap > 0.0) & (gap <= self.sight) & (jnp.abs(left) <= IN_LANE)
        slow = speed[n:]
        braked = slow + following(slow, self.slow_speed, gap, other_speed, seen) * seconds
        return Motion(
            position + jnp.concatenate([along, slow * seconds]),
            jnp.concatenate([driven, jnp.maximum(braked, 0.0)]),
            lateral,
            heading,
        )

    def _crashed(self, motion: Motion) -> Bool[Array, " n"]:
        n = self.players
        along, left, _ = self._seen_from(motion, 0)
        heading = jnp.concatenate([motion.heading, jnp.zeros(n)])
        return (overlap(along, left, motion.heading, heading) & ~np.eye(n, 2 * n, dtype=bool)).any(axis=1)

    def _seen_from(self, motion: Motion, first: int) -> tuple[Float[Array, "n cars"], ...]:
        """How far ahead and left of the n cars from `first` on all cars are, and their speeds in that direction."""
        n, signs = self.players, self.directions
        own = slice(first, first + n)
        same = jnp.asarray(signs[own, None] * signs[None, :])  # 1 or -1
        lateral = jnp.concatenate([motion.lateral, jnp.zeros(n)])
        ahead = same * motion.position[None, :] - motion.position[own, None]
        left = same * lateral[None, :] + (LANE / 2) * (1.0 - same) - lateral[own, None]
        return ahead, left, same * motion.speed[None, :]

    def _observe(self, state: DrivingState) -> Float[Array, "n d"]:
        n, motion, signs = self.players, state.motion, self.directions
        ahead, left, speed = self._seen_from(motion, 0)
        own_speed = motion.speed[:n] / self.top_speed
        lane, target = state.lane.astype(jnp.float32), self._target_speed(state.gear) / self.top_speed
        own = jnp.stack([own_speed, motion.lateral / LANE, motion.heading, lane, target], axis=1)
        oncoming = (signs[:n, None] != signs[None, :]).astype(np.float32)
        learned = np.broadcast_to(np.arange(2 * n) < n, (n, 2 * n)).astype(np.float32)
        numbers = (ahead / DISTANCE, left / LANE, speed / self.top_speed - own_speed[:, None], oncoming, learned)
        others = jnp.stack([jnp.asarray(number) for number in numbers], axis=2)
        others = jnp.take_along_axis(others, self._order()[:, :, None], axis=1)
        return jnp.concatenate([own, others.reshape(n, -1)], axis=1)

    def _order(self) -> np.ndarray:
        """`[n, 2 n - 1]`, the other cars in the order in which each learned car sees them."""
        n, signs, rows = self.players, self.directions, []
        for i in range(n):
            others = sorted((j for j in range(n) if j != i), key=lambda j: (signs[j] != signs[i], j))
            rows.append([n + i] + [car for j in others for car in (j, n + j)])
        return np.array(rows)

    def _require_order(self, low: str, high: str, *, equal: bool) -> None:
        least, most = getattr(self, low), getattr(self, high)
        if not isinstance(least, Real) or not isinstance(most, Real):
            return  # traced, or an array
        if least > most or (least == most and not equal):
            expected = "at least" if equal else "more than"
            raise ValueError(f"{high} = {most!r}: expected {expected} {low} = {least!r}")
