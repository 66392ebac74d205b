"""Cars: steering and speed control of a kinematic bicycle, the Intelligent Driver Model, and boxes that overlap.

Constants are those of highway-env, github.com/Farama-Foundation/HighwayEnv.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

__all__ = ["LANE", "LENGTH", "WIDTH", "bicycle", "following", "overlap"]

LENGTH, WIDTH, LANE = 5.0, 2.0, 4.0  # of a car and of a lane, metres
SPEED_GAIN, HEADING_GAIN, LATERAL_GAIN = 1 / 0.6, 1 / 0.2, 1 / 0.6  # 1/s
MAX_COURSE, MAX_STEERING = math.pi / 4, math.pi / 3  # against the road, of the front wheels; radians
SLIP = math.sin(math.atan(math.tan(MAX_STEERING) / 2))  # greatest sine of the slip angle
MAX_ACCELERATION, COMFORT, BRAKING = 6.0, 3.0, 5.0  # m/s²
STANDSTILL, HEADWAY = 10.0, 1.5  # metres between centres, seconds


def bicycle(
    lateral: Float[Array, " n"],
    heading: Float[Array, " n"],
    speed: Float[Array, " n"],
    wanted_lateral: Float[Array, " n"],
    wanted_speed: Float[Array, " n"],
    seconds: float,
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, " n"], Float[Array, " n"]]:
    """Move bicycles on a straight road for `seconds`, controlled towards a lateral place and a speed.

    Course c = arcsin(-lateral error / 0.6 s / v), within ±pi/4; slip b with sin b = 2.5 m / v * (c - heading) / 0.2 s,
    tan b half the tangent of the angle of the front wheels, that within ±pi/3. The place moves by v (cos, sin)(heading
    + b), the heading by v sin b / 2.5 m and the speed by (target - v) / 0.6 s, all with the old values.

    Args:
        lateral: centre, left of an origin, metres.
        heading: left of the direction of the road, radians.
        speed: positive, m/s.
        wanted_lateral: metres.
        wanted_speed: m/s.
        seconds: length of the step.

    Returns:
        Distance along the road, new lateral place, heading and speed.
    """
    course = jnp.clip((wanted_lateral - lateral) * LATERAL_GAIN / speed, -math.sin(MAX_COURSE), math.sin(MAX_COURSE))
    turning = HEADING_GAIN * (jnp.arcsin(course) - heading)
    sin_slip = jnp.clip(LENGTH / 2 * turning / speed, -SLIP, SLIP)
    cos_slip = jnp.sqrt(1.0 - sin_slip**2)
    sin, cos = jnp.sin(heading), jnp.cos(heading)
    along = speed * (cos * cos_slip - sin * sin_slip) * seconds
    sideways = speed * (sin * cos_slip + cos * sin_slip) * seconds
    heading = heading + speed * sin_slip / (LENGTH / 2) * seconds
    return along, lateral + sideways, heading, speed + SPEED_GAIN * (wanted_speed - speed) * seconds


def following(
    speed: Float[Array, " n"],
    free_speed: Float[Array, ""] | float,
    gap: Float[Array, "n m"],
    other_speed: Float[Array, "n m"],
    seen: Bool[Array, "n m"],
) -> Float[Array, " n"]:
    """Acceleration of the Intelligent Driver Model, m/s², within ±6.

    6 (1 - (v / v0)^4 - (d / gap)^2), d = 10 m + 1.5 s v + v (v - v') / (2 sqrt(3 * 5) m/s²), at least 0.

    Args:
        speed: v, m/s.
        free_speed: v0, m/s.
        gap: to the centres of m cars, metres.
        other_speed: v' of these in the own direction, m/s.
        seen: which of these count; the one that asks for most braking does. Others may have any gap.
    """
    closing = speed[:, None] - other_speed
    wanted = STANDSTILL + HEADWAY * speed[:, None] + speed[:, None] * closing / (2 * math.sqrt(COMFORT * BRAKING))
    ratio = jnp.where(seen, jnp.maximum(wanted, 0.0) / jnp.where(seen, gap, 1.0), 0.0).max(axis=1)
    free = jnp.square(jnp.square(speed / free_speed))
    return jnp.clip(MAX_ACCELERATION * (1.0 - free - jnp.square(ratio)), -MAX_ACCELERATION, MAX_ACCELERATION)


def overlap(
    along: Float[Array, "n m"],
    sideways: Float[Array, "n m"],
    heading: Float[Array, " n"],
    other_heading: Float[Array, " m"],
) -> Bool[Array, "n m"]:
    """Whether the boxes of cars, turned by their headings, overlap: no axis of either separates them.

    Args:
        along: from the centre of the one to that of the other, metres.
        sideways: likewise.
        heading: of the one, radians.
        other_heading: of the other in the same frame, up to half turns.
    """
    sin, cos = jnp.sin(heading)[:, None], jnp.cos(heading)[:, None]
    other_sin, other_cos = jnp.sin(other_heading)[None, :], jnp.cos(other_heading)[None, :]
    cos_between = jnp.abs(cos * other_cos + sin * other_sin)
    sin_between = jnp.abs(sin * other_cos - cos * other_sin)
    long = LENGTH / 2 * (1.0 + cos_between) + WIDTH / 2 * sin_between
    short = WIDTH / 2 * (1.0 + cos_between) + LENGTH / 2 * sin_between
    fore = (jnp.abs(along * cos + sideways * sin) < long) & (jnp.abs(along * other_cos + sideways * other_sin) < long)
    left = (jnp.abs(sideways * cos - along * sin) < short) & (jnp.abs(sideways * other_cos - along * other_sin) < short)
    return fore & left
