"""Boards of cells, numbered row * width + column: uniform draws from a random word, free cells, boards to look at."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt32

from envs.scene import Scene, Shape

__all__ = ["ABSENT", "board_scene", "board_text", "draw", "free_cell"]

ABSENT = -1  # the cell of what is not on the board
FLOOR, LINE = "#F2F2F2", "#C8C8C8"


def draw(
    word: UInt32[Array, " ..."], count: int | Int[Array, " ..."]
) -> tuple[Int[Array, " ..."], UInt32[Array, " ..."]]:
    """A uniform draw from `count` < 2**16 values, and a word for the next draw, independent of it.

    The word is a fraction of 2**32: the draw is the whole part of `word * count / 2**32`, the new word the rest.
    """
    count = jnp.asarray(count).astype(jnp.uint32)
    high, low = word >> 16, word & 0xFFFF
    return ((high * count + (low * count >> 16)) >> 16).astype(jnp.int32), word * count


def free_cell(occupied: Int[Array, " m"], num_cells: int, word: UInt32[Array, ""]) -> Int[Array, ""]:
    """A cell drawn uniformly from those not `occupied`, where repetitions and `ABSENT` do not count."""
    m = len(occupied)
    again = ((occupied[:, None] == occupied[None, :]) & np.tri(m, k=-1, dtype=bool)).any(axis=1)
    occupied = jnp.where(again | (occupied == ABSENT), num_cells, occupied)
    rank, _ = draw(word, num_cells - (occupied < num_cells).sum().astype(jnp.int32))
    cell = rank
    for _ in range(m):  # cell = rank + how many occupied ones are up to it; far cheaper than a sum over the board
        cell = rank + (occupied <= cell).sum().astype(jnp.int32)
    return cell


def board_text(pieces: Iterable[tuple[str, int]], height: int, width: int) -> str:
    """The board with the letter of each piece in its cell; a dot is an empty cell."""
    cells = [""] * (height * width)
    for letter, cell in pieces:
        if cell != ABSENT:
            cells[cell] += letter
    size = max(map(len, cells))
    rows = np.array([(cell or ".").ljust(size) for cell in cells]).reshape(height, width)
    return "\n".join(" ".join(row).rstrip() for row in rows)


def board_scene(pieces: Iterable[tuple[Shape, int]], height: int, width: int, about: str) -> Scene:
    """The board, a cell 1 wide and high, with each piece in its cell; row 0 is on top.

    Pieces are given with their size where they are alone and are placed here; those that share a cell are smaller.
    """
    cells: dict[int, list[Shape]] = {}
    for piece, cell in pieces:
        if cell != ABSENT:
            cells.setdefault(cell, []).append(piece)
    shapes = [Shape("rectangle", width / 2, height / 2, width, height, FLOOR)]
    shapes += [Shape("rectangle", x, height / 2, 0.02, height, LINE) for x in range(width + 1)]
    shapes += [Shape("rectangle", width / 2, y, width, 0.02, LINE) for y in range(height + 1)]
    for cell, inside in cells.items():
        row, column = divmod(cell, width)
        side = math.ceil(math.sqrt(len(inside)))  # pieces in a row of the cell
        upper = (math.ceil(len(inside) / side) - 1) / 2  # rows of pieces above its middle
        for place, piece in enumerate(inside):
            x = column + (place % side + 0.5) / side
            y = height - row - 0.5 + (upper - place // side) / side
            shapes.append(replace(piece, x=x, y=y, width=piece.width / side, height=piece.height / side))
    return Scene(float(width), float(height), tuple(shapes), about)
