"""Checkpoints: the arrays of a PyTree under their paths, in the safetensors format (no code is ever loaded)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from experiments.config import UserError
from experiments.run_directory import write_atomically
from experiments.tables import versions

__all__ = ["DamagedError", "latest_step", "read_latest", "restore", "restore_latest", "save"]

SCHEMA = "1"
KEEP = 2  # the newest may be damaged


class DamagedError(UserError):
    """A checkpoint file that cannot be read."""


def save(directory: Path, step: int, tree: Any) -> Path:
    """Write `tree` as the checkpoint of `step`, atomically, and drop all but the last few."""
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    arrays = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    metadata = {"schema": SCHEMA, "step": str(step), **{f"version.{name}": text for name, text in versions().items()}}
    path = directory / f"step_{step:010d}.safetensors"
    write_atomically(path, safetensors.numpy.save(arrays, metadata))
    for old in _all(directory)[:-KEEP]:
        old.unlink(missing_ok=True)
    return path


def latest_step(directory: Path) -> int | None:
    """The step of the newest checkpoint, sound or not, or None."""
    return next((int(path.stem.removeprefix("step_")) for path in reversed(_all(directory))), None)


def restore_latest(directory: Path, like: Any, padded: bool = False) -> tuple[int, Any, list[str]]:
    """Step and tree of the newest checkpoint that can be read, as of `restore`; 0 and None without one.

    Returns also what was wrong with newer ones.
    """
    unread = []
    for path in reversed(_all(directory)):
        try:
            return *restore(path, like, padded), unread
        except DamagedError as error:
            unread.append(str(error))
    return 0, None, unread


def restore(path: Path, like: Any, padded: bool = False) -> tuple[int, Any]:
    """Step and tree of a checkpoint, in the structure of `like`.

    Args:
        path: of the file.
        like: shapes and types of the leaves; the file may hold others beside them.
        padded: whether it may have more along axis 0, such as seeds up to the width of a tile; they are left out.

    Raises:
        DamagedError: a file that cannot be read.
        UserError: one of another structure; the message names the first path that differs.
    """
    step, arrays = _read(path)
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    for leaf_path, leaf in leaves:
        name = jax.tree_util.keystr(leaf_path)
        found = arrays.get(name)
        if padded and found is not None and found.ndim:
            found = arrays[name] = found[: leaf.shape[0]]
        if found is None or found.shape != leaf.shape or found.dtype != leaf.dtype:
            have = "nothing" if found is None else f"{found.dtype}{list(found.shape)}"
            raise UserError(f"checkpoint {path}: {name} is {have}, expected {leaf.dtype}{list(leaf.shape)}")
    return step, structure.unflatten([arrays[jax.tree_util.keystr(p)] for p, _ in leaves])


def read_latest(directory: Path) -> dict[str, np.ndarray]:
    """Path in the PyTree → array of the newest checkpoint that can be read, whatever its structure.

    Raises:
        UserError: there is none.
    """
    for path in reversed(_all(directory)):
        try:
            return _read(path)[1]
        except DamagedError:
            continue
    raise UserError(f"{directory}: holds no checkpoint that can be read")


def _read(path: Path) -> tuple[int, dict[str, np.ndarray]]:
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
    except (OSError, safetensors.SafetensorError) as error:
        raise DamagedError(f"checkpoint {path}: cannot be read: {error}") from error
    if metadata.get("schema") != SCHEMA:
        raise UserError(f"checkpoint {path}: schema {metadata.get('schema')}, expected {SCHEMA}")
    return int(metadata["step"]), arrays


def _all(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("step_*.safetensors") if path.stem[5:].isdigit())
