"""Boards of cells, numbered row * width + column: uniform draws from a random word, free cells, boards as text."""

from __future__ import annotations

from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt32

__all__ = ["ABSENT", "board_text", "draw", "free_cell"]

ABSENT = -1  # the cell of what is not on the board


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
