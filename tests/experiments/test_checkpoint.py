"""Checkpoints: what is saved is restored bit for bit, and what does not fit is named."""

import os
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import checkpoint
from experiments.config import UserError
from experiments.run_directory import write_atomically


class State(NamedTuple):
    table: object
    count: object


def tree():
    return {"a": (State(jnp.arange(6.0).reshape(2, 3), jnp.int32(7)), ()), "b": [jnp.zeros(0), jnp.array(True)]}


def test_round_trip_is_bit_for_bit(tmp_path):
    path = checkpoint.save(tmp_path, 12, tree())
    step, restored = checkpoint.restore(path, tree())
    assert step == 12
    np.testing.assert_array_equal(restored["a"][0].table, tree()["a"][0].table)
    assert restored["a"][0].count == 7
    assert restored["b"][0].shape == (0,)
    assert restored["b"][1].dtype == bool


def test_the_last_few_are_kept(tmp_path):
    for step in (5, 10, 100, 20):
        checkpoint.save(tmp_path, step, tree())
    assert checkpoint.latest_step(tmp_path) == 100
    assert len(list(tmp_path.iterdir())) == checkpoint.KEEP
    assert checkpoint.latest_step(tmp_path / "nowhere") is None
    assert checkpoint.restore_latest(tmp_path / "nowhere", tree()) == (0, None, [])


def test_what_does_not_fit_is_named(tmp_path):
    path = checkpoint.save(tmp_path, 1, tree())
    with pytest.raises(UserError, match=r"\['c'\] is nothing, expected float32\[1\]"):
        checkpoint.restore(path, {**tree(), "c": jnp.zeros(1)})
    with pytest.raises(UserError, match=r"\['b'\]\[0\] is float32\[0\], expected float32\[4\]"):
        checkpoint.restore(path, {**tree(), "b": [jnp.zeros(4), jnp.array(True)]})


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    write_atomically(path, b"old")

    def crash(*_):
        raise OSError("no power")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, crash)
            with pytest.raises(OSError, match="no power"):
                write_atomically(path, b"new")
        assert path.read_bytes() == b"old"


def test_a_damaged_file_is_refused(tmp_path):
    path = checkpoint.save(tmp_path, 1, tree())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.restore(path, tree())


def test_an_older_one_takes_the_place_of_a_damaged_one(tmp_path):
    checkpoint.save(tmp_path, 3, tree())
    path = checkpoint.save(tmp_path, 6, tree())
    path.write_bytes(path.read_bytes()[:-9])
    step, restored, unread = checkpoint.restore_latest(tmp_path, tree())
    assert step == 3
    assert restored["a"][0].count == 7
    assert len(unread) == 1
    assert path.name in unread[0]
