"""Scenes: what a state looks like, as a few coloured shapes, for whoever draws them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["PALETTE", "Scene", "Shape"]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Colours of seats, in turn (Okabe-Ito): told apart by every eye and in print."""


@dataclass(frozen=True)
class Shape:
    """One thing in a scene.

    Attributes:
        kind: a "rectangle", a "circle" (an ellipse if `width` and `height` differ), or "text" alone.
        x: of the centre, from the left edge of the scene.
        y: of the centre, from the lower edge.
        width: of a rectangle or circle before it is turned; room for a text.
        height: likewise; of a text, that of its letters.
        colour: as `#rrggbb`.
        angle: by which it is turned around its centre, counter-clockwise, radians.
        text: in the middle of the shape, never turned.
    """

    kind: Literal["rectangle", "circle", "text"]
    x: float
    y: float
    width: float
    height: float
    colour: str
    angle: float = 0.0
    text: str = ""


@dataclass(frozen=True)
class Scene:
    """A state as a picture; lengths are in units of the game, such as cells or metres.

    Attributes:
        width: of the picture; what is beyond its edges is not seen.
        height: likewise.
        shapes: from the farthest to the nearest.
        about: what is what, in a line.
    """

    width: float
    height: float
    shapes: tuple[Shape, ...]
    about: str = ""
