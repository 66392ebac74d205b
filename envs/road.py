"""Pictures of a two-way road: all of it from far, and a window around each car that is looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from envs.scene import Scene, Shape
from envs.vehicles import LANE, LENGTH, WIDTH

__all__ = ["Car", "road_scene"]

AHEAD, BEHIND = 75.0, 25.0  # what is seen of the road around a car, metres
VIEW = AHEAD + BEHIND
LABEL, LETTERS = 3.0, 1.7  # height of a line of text and of its letters
VERGE, DASH, DASHES = 0.5, 4.0, 10.0  # beside the road; length and distance of dashes, metres
GRASS, ASPHALT, PAINT, INK, GLASS = "#DCE6D3", "#8A8A8A", "#FFFFFF", "#222222", "#33404D"


@dataclass(frozen=True)
class Car:
    """A car seen from above, in metres; the middle of the road is at (0, 0).

    Attributes:
        x: of its centre, to the right.
        y: of its centre, upwards.
        angle: where it heads, counter-clockwise from the right, radians.
        colour: of its body.
        text: on it.
        label: of the window that follows it; none if empty.
    """

    x: float
    y: float
    angle: float
    colour: str
    text: str
    label: str = ""


def road_scene(cars: Sequence[Car], reach: float, about: str) -> Scene:
    """The road from `-reach` to `reach` on top, lanes wider than they are; below, to scale, a window a labelled car.

    A window shows `AHEAD` metres of the road ahead of its car and `BEHIND` behind. Cars with a label are drawn last.
    """
    followed, strip = [car for car in cars if car.label], LABEL + 2 * (LANE + VERGE)
    height = LABEL + 2 * LANE + len(followed) * strip
    behind_first = sorted(cars, key=lambda car: bool(car.label))
    shapes = _overview(behind_first, reach, height - LABEL - LANE)
    for row, car in enumerate(followed):
        shapes += _window(behind_first, car, height - LABEL - 2 * LANE - (row + 1) * strip + LANE + VERGE)
    return Scene(VIEW, height, tuple(shapes), about)


def _overview(cars: Sequence[Car], reach: float, middle: float) -> list[Shape]:
    """All of the road around the height `middle`, a dot a car."""
    shapes = [
        _label(f"the road, {2 * reach:.0f} m", middle + LANE),
        Shape("rectangle", VIEW / 2, middle, VIEW, 2 * LANE, ASPHALT),
        Shape("rectangle", VIEW / 2, middle, VIEW, 0.15, PAINT),
    ]
    for car in cars:
        size = 0.8 * LANE if car.label else 0.35 * LANE
        x = VIEW / 2 * (1 + car.x / reach)
        shapes.append(Shape("circle", x, middle + car.y, size, size, car.colour, text=car.text if car.label else ""))
    return shapes


def _window(cars: Sequence[Car], followed: Car, middle: float) -> list[Shape]:
    """The road around one car, around the height `middle`."""
    left = followed.x - (BEHIND if math.cos(followed.angle) > 0 else AHEAD)
    shapes = [
        _label(followed.label, middle + LANE + VERGE),
        Shape("rectangle", VIEW / 2, middle, VIEW, 2 * (LANE + VERGE), GRASS),
        Shape("rectangle", VIEW / 2, middle, VIEW, 2 * LANE, ASPHALT),
    ]
    for dash in range(math.floor(left / DASHES), math.ceil((left + VIEW) / DASHES) + 1):
        shapes.append(Shape("rectangle", dash * DASHES - left, middle, DASH, 0.2, PAINT))
    for car in cars:
        x, y = car.x - left, middle + car.y
        if not -LENGTH < x < VIEW + LENGTH:
            continue
        front = LENGTH / 4
        glass = x + front * math.cos(car.angle), y + front * math.sin(car.angle)
        shapes.append(Shape("rectangle", x, y, LENGTH, WIDTH, car.colour, car.angle, car.text))
        shapes.append(Shape("rectangle", *glass, LENGTH / 8, 0.8 * WIDTH, GLASS, car.angle))
    return shapes


def _label(text: str, lower: float) -> Shape:
    """A line of text on the left, above the height `lower`."""
    return Shape("text", VIEW / 2, lower + LABEL / 2, VIEW, LETTERS, INK, text=text)
