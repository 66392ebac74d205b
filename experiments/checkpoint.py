"""Checkpoints: the arrays of a PyTree under their paths, in the safetensors format (no code is ever loaded).

Each file carries the SHA-256 of what it holds, so that one that was cut short or changed is not taken for sound. That
tells damage, not forgery; but a forged file holds wrong numbers at worst.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from experiments.config import UserError
from experiments.run_directory import write_atomically
from experiments.tables import versions

__all__ = ["BEST", "KEEP", "Best", "DamagedError", "latest_step", "read_latest", "restore", "restore_latest", "save"]

SCHEMA = "3"
PADDED = ("1", "2")  # schemas of files that hold more seeds than a run has, up to the width of a tile
UNSIGNED = "1"  # the schema of files that have no hash yet
KEEP = 2  # the newest may be damaged
BEST = "best.safetensors"
ABOUT = "parley"
"""The entry of a file's metadata that says, as JSON, what it is: schema, step, versions, hash."""


class DamagedError(UserError):
    """A checkpoint file that cannot be read."""


def save(directory: Path, step: int, tree: Any, keep: int = KEEP) -> Path:
    """Write `tree` as the checkpoint of `step`, atomically.

    Drops all but the last few, `keep` of them, and those of later steps, which were refused when the run went on.
    """
    path = directory / f"step_{step:010d}.safetensors"
    write_atomically(path, _encoded(tree, step=step))
    older = [own for own in _all(directory) if own.name < path.name]
    for old in _all(directory):
        if old != path and old not in older[len(older) + 1 - keep :]:
            old.unlink(missing_ok=True)
    return path


def latest_step(directory: Path) -> int | None:
    """The step of the newest sound checkpoint, or None."""
    return next((int(about["step"]) for about, _ in _sound(directory)), None)


def read_latest(directory: Path) -> dict[str, np.ndarray]:
    """Path in the PyTree → array of the newest sound checkpoint, whatever its structure.

    Raises:
        UserError: there is none.
    """
    for _, arrays in _sound(directory):
        return arrays
    raise UserError(f"{directory}: holds no checkpoint that can be read")


def restore_latest(directory: Path, like: Any) -> tuple[int, Any, list[str]]:
    """Step and tree of the newest sound checkpoint, as of `restore`; 0 and None without one.

    Returns also what was wrong with newer ones.
    """
    unread = []
    for path in reversed(_all(directory)):
        try:
            return *restore(path, like), unread
        except DamagedError as error:
            unread.append(str(error))
    return 0, None, unread


def restore(path: Path, like: Any) -> tuple[int, Any]:
    """Step and tree of a checkpoint, in the structure of `like`.

    What files of an older schema do not know has the value that it has in `like`.

    Args:
        path: of the file.
        like: shapes and types of the leaves; the file may hold others beside them.

    Raises:
        DamagedError: a file that cannot be read, or whose contents have changed.
        UserError: one of another structure; the message names the first path that differs.
    """
    about, arrays = _read(path)
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    restored = []
    for leaf_path, leaf in leaves:
        name = jax.tree_util.keystr(leaf_path)
        known = about["schema"] != UNSIGNED or isinstance(leaf, jax.ShapeDtypeStruct)
        found = arrays.get(name, None if known else np.asarray(leaf))
        if about["schema"] in PADDED and found is not None and found.ndim and leaf.shape:
            found = found[: leaf.shape[0]]
        if found is None or found.shape != leaf.shape or found.dtype != leaf.dtype:
            have = "nothing" if found is None else f"{found.dtype}{list(found.shape)}"
            raise UserError(f"checkpoint {path}: {name} is {have}, expected {leaf.dtype}{list(leaf.shape)}")
        restored.append(found)
    return int(about["step"]), structure.unflatten(restored)


class Best:
    """Where learners did best so far; the states of then are written when a run checkpoints anyway.

    Attributes:
        path: of the file.
        welfare: of those states; minus infinity without any.
    """

    def __init__(self, directory: Path):
        self.path, self.welfare = directory / BEST, -math.inf
        self._step: int | None = None
        with suppress(DamagedError):  # the next ones take its place
            self.welfare = _read(self.path)[0]["welfare"] if self.path.exists() else -math.inf

    def offer(self, step: int, welfare: float) -> bool:
        """Whether `step` is better than all before, and its states are to be kept until they are written."""
        if not welfare > self.welfare:
            return False
        self.welfare, self._step = welfare, step
        return True

    def write(self, states: Callable[[], Any]) -> None:
        """Write, atomically, the `states` of the best step, unless they have been."""
        if self._step is not None:
            write_atomically(self.path, _encoded(states(), step=self._step, welfare=self.welfare))
            self._step = None


def _encoded(tree: Any, **about: Any) -> bytes:
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    arrays = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    about |= {"schema": SCHEMA, "versions": _versions()}
    text = json.dumps(about | {"sha256": _digest(arrays, about)}, sort_keys=True)
    return safetensors.numpy.save(arrays, {ABOUT: text})  # one entry: they are written in no order


_versions = functools.cache(versions)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What is said of a file, and its arrays, as they were written."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
        about = json.loads(metadata[ABOUT]) if ABOUT in metadata else metadata
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise DamagedError(f"checkpoint {path}: cannot be read: {error}") from error
    schema = about.get("schema")
    if schema != UNSIGNED and about.pop("sha256", None) != _digest(arrays, about):
        raise DamagedError(f"checkpoint {path}: is damaged: its contents are not those of its hash")
    if schema not in (*PADDED, SCHEMA):
        raise UserError(f"checkpoint {path}: schema {schema}, expected {SCHEMA}: written by another version")
    return about, arrays


def _digest(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> str:
    """SHA-256 of names, types, shapes and bytes of `arrays`, and of what is said of them."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _sound(directory: Path) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """What `_read` returns of all sound checkpoints, the newest first."""
    for path in reversed(_all(directory)):
        with suppress(DamagedError):
            yield _read(path)


def _all(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("step_*.safetensors") if path.stem[5:].isdigit())
