"""A user's own payoffs, from .json and .npz, and what is said of bad files."""

import json

import numpy as np
import pytest

import envs


def test_npz_and_json_agree(tmp_path):
    table = np.random.default_rng(0).normal(size=(3, 2, 2, 2))
    np.savez(tmp_path / "game.npz", payoffs=table)
    (tmp_path / "game.json").write_text(json.dumps(table.tolist()))
    for suffix in ("npz", "json"):
        env = envs.make("matrix", payoffs=str(tmp_path / f"game.{suffix}"))
        np.testing.assert_allclose(env.payoffs, table)


def test_unequal_action_counts_are_padded_and_masked(tmp_path):
    path = tmp_path / "game.json"
    path.write_text(json.dumps({"payoffs": np.arange(12.0).reshape(2, 2, 3).tolist()}))
    env = envs.make("matrix", payoffs=str(path))
    assert env.num_actions == 3
    assert env.legal().tolist() == [[True, True, False], [True, True, True]]
    np.testing.assert_allclose(env.payoffs[:, :2], np.arange(12.0).reshape(2, 2, 3))
    envs.check_env(env.replace(horizon=20))


GAME = '"payoffs": [[[1, 2], [3, 4]], [[1, 2], [3, 4]]]'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.json", None, "expected a readable"),
        ("game.txt", "[]", "suffix"),
        ("bad.json", "{", "expected a readable"),
        ("ragged.json", "[[[1, 2], [3]]]", "expected a readable"),
        ("empty.json", "{}", "expected a readable"),
        ("shape.json", "[[1, 2], [3, 4]]", "expected \\[n, A1, ..., An\\]"),
        ("inf.json", "[[[1, 2], [3, Infinity]], [[1, 2], [3, 4]]]", "expected finite numbers"),
        ("names.json", f'{{{GAME}, "actions": [["a"], ["b"]]}}', "names"),
        (
            "one.json",
            f'{{{GAME}, "actions": [["", "b"], ["c", "d"]]}}',
            "printable",
        ),
        ("typo.json", f'{{{GAME}, "action": []}}', "unknown key 'action'"),
        (
            "flat.json",
            f'{{{GAME}, "actions": ["ab", "cd"]}}',
            "one list of names",
        ),
        ("huge.json", "[[[1, 2], [3, 1e300]], [[1, 2], [3, 4]]]", "up to 1e\\+30"),
        ("deep.json", "[" * 100_000, "expected a readable"),
        ("bad.npz", "PK", "expected a readable"),
        ("words.json", '[[["a", 2], [3, 4]], [[1, 2], [3, 4]]]', "expected a readable"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message):
        envs.make("matrix", payoffs=str(path))


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "evil.npz", payoffs=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="expected a readable"):
        envs.make("matrix", payoffs=str(tmp_path / "evil.npz"))
