"""Checkpoints: what is saved is restored bit for bit, and what does not fit is named."""

import json
import os
import pickle
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from experiments import checkpoint
from experiments.config import UserError
from experiments.run_directory import write_atomically

NAME = "step_{:010d}.safetensors"


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


def test_the_same_states_are_the_same_file(tmp_path):
    paths = [checkpoint.save(tmp_path / name, 12, tree()) for name in ("a", "b") if (tmp_path / name).mkdir() is None]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_last_few_are_kept(tmp_path):
    for step in (5, 10, 100):
        checkpoint.save(tmp_path, step, tree())
    assert [path.name for path in sorted(tmp_path.iterdir())] == [NAME.format(10), NAME.format(100)]
    assert checkpoint.latest_step(tmp_path) == 100
    checkpoint.save(tmp_path, 20, tree(), keep=3)  # from 10, as 100 was refused
    checkpoint.save(tmp_path, 30, tree(), keep=3)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [NAME.format(step) for step in (10, 20, 30)]
    checkpoint.save(tmp_path, 40, tree(), keep=1)
    assert [path.name for path in tmp_path.iterdir()] == [NAME.format(40)]
    assert checkpoint.latest_step(tmp_path / "nowhere") is None
    assert checkpoint.restore_latest(tmp_path / "nowhere", tree()) == (0, None, [])


def test_the_best_is_kept_beside_them(tmp_path):
    best = checkpoint.Best(tmp_path)
    assert [best.offer(step, welfare) for step, welfare in enumerate((1.0, np.nan, 3.0, 2.0))] == [
        True,
        False,
        True,
        False,
    ]
    assert not best.path.exists()
    best.write(lambda: {"a": jnp.float32(5)})
    assert checkpoint.restore(best.path, {"a": jnp.float32(0)}) == (2, {"a": 5.0})
    assert checkpoint.latest_step(tmp_path) is None  # is not where a run goes on
    again = checkpoint.Best(tmp_path)
    assert again.welfare == 3.0
    assert not again.offer(9, 3.0)
    again.write(lambda: {"a": jnp.float32(7)})
    assert checkpoint.restore(best.path, {"a": jnp.float32(0)}) == (2, {"a": 5.0})
    best.path.write_bytes(best.path.read_bytes()[:-1])
    assert checkpoint.Best(tmp_path).welfare == -np.inf


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


def damages(data, every):
    """Each byte of a file in turn with one bit changed, and the file cut short there."""
    bits = np.random.default_rng(0).integers(8, size=len(data))
    for place in range(0, len(data), every):
        changed = bytearray(data)
        changed[place] ^= 1 << int(bits[place])
        yield bytes(changed)
        yield data[:place]


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_every_damaged_file_is_refused(tmp_path, every):
    path = checkpoint.save(tmp_path, 1, tree())
    for data in damages(path.read_bytes(), every):
        path.write_bytes(data)
        with pytest.raises(checkpoint.DamagedError, match=r"cannot be read|contents are not those of its hash"):
            checkpoint.restore(path, tree())


def test_a_file_that_is_no_checkpoint_is_refused_and_runs_nothing(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / NAME.format(3)
    for data in (pickle.dumps(Trap()), b"", safetensors.numpy.save({"a": np.zeros(2)})):
        path.write_bytes(data)
        with pytest.raises(checkpoint.DamagedError):
            checkpoint.restore(path, tree())
    np.savez(path.with_suffix(".npz"), np.array(Trap(), object), allow_pickle=True)
    path.with_suffix(".npz").replace(path)
    with pytest.raises(checkpoint.DamagedError):
        checkpoint.restore(path, tree())
    assert not (tmp_path / "sprung").exists()


def of_schema(schema, arrays):
    about = {"schema": schema, "step": 5}
    text = json.dumps(about | {"sha256": checkpoint._digest(arrays, about)})
    return safetensors.numpy.save(arrays, {checkpoint.ABOUT: text})


def test_another_schema_is_named(tmp_path):
    path = tmp_path / NAME.format(5)
    path.write_bytes(of_schema("4", {"['a']": np.zeros(2)}))
    with pytest.raises(UserError, match="schema 4, expected 3: written by another version"):
        checkpoint.restore(path, {"a": np.zeros(2)})


def test_the_first_schema_is_still_read(tmp_path):
    """It had no hash, and nothing of faults."""
    path = tmp_path / NAME.format(5)
    path.write_bytes(safetensors.numpy.save({"['a']": np.ones(2)}, {"schema": "1", "step": "5"}))
    step, found = checkpoint.restore(path, {"a": np.zeros(2), "faults": np.full(3, -1)})
    assert step == checkpoint.latest_step(tmp_path) == 5
    np.testing.assert_array_equal(found["a"], [1, 1])
    np.testing.assert_array_equal(found["faults"], [-1, -1, -1])
    with pytest.raises(UserError, match=r"\['b'\] is nothing"):
        checkpoint.restore(path, {"b": jax.ShapeDtypeStruct((2,), float)})


def test_the_second_schema_is_still_read(tmp_path):
    """It held seeds beyond those asked for."""
    path = tmp_path / NAME.format(5)
    path.write_bytes(of_schema("2", {"['a']": np.arange(4.0)}))
    np.testing.assert_array_equal(checkpoint.restore(path, {"a": np.zeros(3)})[1]["a"], [0, 1, 2])
    path.write_bytes(of_schema("3", {"['a']": np.arange(4.0)}))
    with pytest.raises(UserError, match=r"\['a'\] is float64\[4\], expected float64\[3\]"):
        checkpoint.restore(path, {"a": np.zeros(3)})


def test_an_older_one_takes_the_place_of_a_damaged_one(tmp_path):
    checkpoint.save(tmp_path, 3, tree())
    path = checkpoint.save(tmp_path, 6, tree())
    path.write_bytes(path.read_bytes()[:-9])
    step, restored, unread = checkpoint.restore_latest(tmp_path, tree())
    assert step == 3
    assert restored["a"][0].count == 7
    assert len(unread) == 1
    assert path.name in unread[0]
