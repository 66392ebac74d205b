"""Scenes as pictures: an episode as a moving GIF, and as a strip of a few of its frames in an SVG."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from envs import Scene, Shape
from experiments.episode import Frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MOST_PANELS", "draw_animation", "draw_strip", "shown"]

MOST_PANELS = 8
"""Frames of a strip."""

DPI, COLOURS = 100, 128  # of the animation
SECONDS, FASTEST, SLOWEST, HOLD = 30.0, 0.1, 0.4, 2.0  # of the whole, of a frame and of the last one
WIDE, TALL, NARROW = 8.0, 5.0, 5.2  # a panel: greatest width and height of its scene, least width; inches
STRIP, SMALLEST = 16.0, 3.2  # greatest width of a strip and least of its panels, inches
LINE, MARGIN = 0.16, 0.12  # a line of a caption, inches
LETTER = 0.07  # width of a letter of a caption, inches


def draw_animation(path: Path, title: str, frames: Sequence[Frame]) -> None:
    """A GIF with an image a frame, which stops at the last one for a while and starts again.

    Args:
        path: of the GIF.
        title: of every image.
        frames: of one size.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    scene = frames[0].scene
    width, height = _size(scene, WIDE, TALL)
    width = max(width, NARROW)
    figure = Figure(dpi=DPI)
    canvas, images = FigureCanvasAgg(figure), []
    for frame in frames:
        figure.clear()
        _draw(figure, title, [frame], 1, width, height)
        canvas.draw()
        image = Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB")
        images.append(image.quantize(COLOURS, dither=Image.Dither.NONE))
    each = 1000 * min(SLOWEST, max(FASTEST, SECONDS / len(frames)))
    durations = [round(each)] * (len(images) - 1) + [round(1000 * HOLD)]
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)


def draw_strip(path: Path, title: str, frames: Sequence[Frame]) -> None:
    """An SVG with a few frames, evenly spaced, the first and the last among them.

    Args:
        path: of the SVG.
        title: of the figure.
        frames: of one size.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    chosen = [frames[index] for index in shown(len(frames))]
    width, height = _size(chosen[0].scene, 0.75 * WIDE, 0.6 * TALL)
    longest = max(len(line) for frame in chosen for line in frame.caption)
    width = max(width, SMALLEST, LETTER * longest)
    across = min(len(chosen), max(1, int(STRIP / width)))
    figure = Figure()
    _draw(figure, title, chosen, -(-len(chosen) // -(-len(chosen) // across)), width, height)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "episode"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def shown(count: int) -> list[int]:
    """Which of `count` frames are in a strip."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, MOST_PANELS)).tolist()})


def _size(scene: Scene, wide: float, tall: float) -> tuple[float, float]:
    """Inches of a scene in a box."""
    scale = min(wide / scene.width, tall / scene.height)
    return scale * scene.width, scale * scene.height


def _draw(figure: Figure, title: str, frames: Sequence[Frame], across: int, width: float, height: float) -> None:
    """Lay out panels of `width`, with scenes of `height`, `across` of them in a row, below a title; in inches."""
    down, text = -(-len(frames) // across), LINE * len(frames[0].caption)
    whole = across * width + (across + 1) * MARGIN
    about = frames[0].scene.about
    head = [line for part in (title, about) for line in textwrap.wrap(part, int(whole / LETTER))]
    top = LINE * len(head) + MARGIN
    panel = height + text + 2 * MARGIN
    figure.set_size_inches(whole, top + down * panel + MARGIN)
    total = figure.get_figheight()
    figure.text(MARGIN / whole, 1 - MARGIN / total, "\n".join(head), fontsize=9, va="top", linespacing=1.25)
    for place, frame in enumerate(frames):
        row, column = divmod(place, across)
        left, upper = MARGIN + column * (width + MARGIN), total - top - row * panel - MARGIN
        inner = height * frame.scene.width / frame.scene.height
        box = (left / whole, (upper - height) / total, inner / whole, height / total)
        axes = figure.add_axes(box, xlim=(0, frame.scene.width), ylim=(0, frame.scene.height))
        axes.set_axis_off()
        _draw_scene(axes, frame.scene, 72 * height / frame.scene.height)
        lower = (upper - height - 0.5 * MARGIN) / total
        figure.text(left / whole, lower, "\n".join(frame.caption), fontsize=9, va="top", linespacing=1.25)


def _draw_scene(axes: Axes, scene: Scene, points: float) -> None:
    """All shapes, with so many `points` to a unit of the scene."""
    for order, shape in enumerate(scene.shapes):
        if shape.kind != "text":
            axes.add_patch(_patch(shape, order))
        if shape.text:
            alone = shape.kind == "text"
            size = shape.height if alone else _letters(shape)
            place = shape.x - shape.width / 2 if alone else shape.x
            axes.text(place, shape.y, shape.text, fontsize=size * points, zorder=order, clip_on=True,
                      color=shape.colour if alone else _contrast(shape.colour), va="center_baseline",
                      ha="left" if alone else "center")  # fmt: skip


def _patch(shape: Shape, order: int) -> Any:
    from matplotlib.patches import Ellipse, Rectangle

    centre, degrees = (shape.x, shape.y), math.degrees(shape.angle)
    look = {"facecolor": shape.colour, "edgecolor": "none", "zorder": order}
    if shape.kind == "circle":
        return Ellipse(centre, shape.width, shape.height, angle=degrees, **look)
    corner = (shape.x - shape.width / 2, shape.y - shape.height / 2)
    return Rectangle(corner, shape.width, shape.height, angle=degrees, rotation_point="center", **look)


def _letters(shape: Shape) -> float:
    """Height of letters that fit into a shape."""
    return min(0.65 * min(shape.width, shape.height), 1.3 * shape.width / len(shape.text))


def _contrast(colour: str) -> str:
    """Black or white, whatever is read more easily on `colour`."""
    red, green, blue = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return "#000000" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "#FFFFFF"
