"""`run.py export`: a policy as files that need neither this project nor the device it was trained on."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from envs import MatrixGame, SymmetricGame
from experiments.config import FaultError, UserError
from experiments.export_arguments import Exporting
from experiments.learned import Learned
from experiments.policy import Policy
from experiments.render import histories
from experiments.run_directory import new_directory, write_atomically, write_json
from experiments.tables import versions
from experiments.trained import load

__all__ = ["PLATFORMS", "export", "program", "table"]

PLATFORMS = ("cpu", "cuda", "tpu")
MOST_CHECKED, TOLERANCE, MOST_OTHERS = 256, 1e-5, 0.01
"""Observations on which the program is compared with the policy, how far numbers and how many actions may differ."""
SCRIPTS = Path(__file__).parent / "exported"


def export(asked: Exporting, command: str, console: Console) -> Path:
    """Write the policy of a seat into a new directory, and say what is there; returns the directory.

    Raises:
        UserError: no run, seat or seed, nothing that acts on observations alone, or nowhere to write.
        FaultError: what would be written does something else than the policy.
    """
    learned = load(asked.directory, str(asked.directory))
    policy = learned.policy(asked.seat, asked.training_seed)
    seed = learned.seeds.start if asked.training_seed is None else asked.training_seed
    directory = new_directory(asked.out or str(asked.directory / f"policy-seat{asked.seat}-seed{seed}"), "")
    try:
        with console.status(f"compiling for {', '.join(PLATFORMS)} ..."):
            batch = learned.batch if policy.looks_across else None
            files = _files(policy, batch)
            largest = _check(policy, files["policy.bin"], batch)
        about = _about(learned, policy) | {"training_seed": seed, "largest_difference": largest, "command": command}
        about |= {"batch": batch, "platforms": PLATFORMS, "versions": versions()}
        about["sha256"] = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        files["README.md"] = _readme(about, inspect.getdoc(type(policy.env)) or "").encode()
        for name, content in files.items():
            write_atomically(directory / name, content)
        write_json(directory / "policy.json", about)
    except BaseException as error:
        with contextlib.suppress(OSError):  # it is not empty
            directory.rmdir()
        if isinstance(error, OSError):
            raise UserError(f"{directory}: cannot be written: {error.strerror or error}") from error
        raise
    console.print(f"{_title(about)}: {', '.join(sorted([*files, 'policy.json']))}", soft_wrap=True)
    console.print(f"it does what was trained, probabilities within {largest:.1g}", soft_wrap=True)
    console.print(f"written: {directory}; to play it: python {directory / 'play.py'}", soft_wrap=True)
    return directory


def _files(policy: Policy, batch: int | None) -> dict[str, bytes]:
    """What is written of a policy, but for what is said of it."""
    files = {"policy.bin": bytes(program(policy, batch).serialize()), "play.py": (SCRIPTS / "play.py").read_bytes()}
    if policy.learner.span == "trial":
        files["carry.bin"] = bytes(_carry(policy).serialize())
    if (known := table(policy)) is not None:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **known)
        files |= {"policy.npz": buffer.getvalue(), "play_table.py": (SCRIPTS / "play_table.py").read_bytes()}
    return files


def program(policy: Policy, batch: int | None = None) -> jax.export.Exported:
    """(observation `[b, ...]`, memory, key data uint32 `[b, 2]`) → (action, probabilities, memory).

    Memory is a tuple of arrays `[b, ...]`; b is `batch`, or any number if None, which no policy may look across.
    """
    structure = jax.tree.structure(policy.init())

    def step(observation: Any, memory: tuple[Any, ...], bits: Any) -> tuple[Any, Any, tuple[Any, ...]]:
        before, keys = structure.unflatten(memory), jax.random.wrap_key_data(bits, impl="threefry2x32")
        probabilities = policy.probabilities(observation, before)
        action, after = policy.act(observation, before, keys)
        return action, probabilities, tuple(jax.tree.leaves(after))

    seen, (b,) = policy.observed, jax.export.symbolic_shape("b") if batch is None else (batch,)
    observation = jax.ShapeDtypeStruct((b, *seen.shape), seen.dtype)
    bits = jax.ShapeDtypeStruct((b, 2), np.uint32)
    return jax.export.export(jax.jit(step), platforms=PLATFORMS)(observation, _memory(policy, b), bits)


def table(policy: Policy) -> dict[str, np.ndarray] | None:
    """Probabilities `[O, A]` after each observation, what these are called, and the actions; None where it is no table.

    That is where it has a memory, or observations are not those of a matrix game.
    """
    env, leaves = policy.env, jax.tree.leaves(policy.init())
    if leaves or not isinstance(env, MatrixGame | SymmetricGame):
        return None
    seen = jnp.arange(env.num_observations, dtype=jnp.int32)
    every = np.asarray(jax.jit(policy.probabilities)(seen, policy.init()), float)
    names = np.full(env.num_observations, "", object)
    for name, rows in histories(env, policy.seat, most=env.num_observations).items():
        names[rows] = name
    return {
        "probabilities": every / every.sum(axis=1, keepdims=True),
        "histories": names.astype(str),
        "actions": np.array(_actions(policy)),
    }


def _carry(policy: Policy) -> jax.export.Exported:
    """Memory at the end of an inner episode → memory at the start of the next."""
    structure = jax.tree.structure(policy.init())

    def carry(memory: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(jax.tree.leaves(policy.carry(structure.unflatten(memory))))

    (b,) = jax.export.symbolic_shape("b")
    return jax.export.export(jax.jit(carry), platforms=PLATFORMS)(_memory(policy, b))


def _memory(policy: Policy, batch: Any) -> tuple[Any, ...]:
    """Shapes of the memory of `batch` environments."""
    leaves = jax.tree.leaves(policy.init())
    return tuple(jax.ShapeDtypeStruct((batch, *leaf.shape), leaf.dtype) for leaf in leaves)


def _check(policy: Policy, content: bytes, batch: int | None) -> float:
    """How far probabilities of the serialised program are from those of `policy`, at most, over three steps.

    Raises:
        FaultError: too far, or other actions, but for those that hang on the last digit.
    """
    env, values = policy.env, policy.env.num_observations
    count = batch or min(values or MOST_CHECKED, MOST_CHECKED)
    seen = jnp.arange(count) % (values or count)
    if not values:
        seen = jax.vmap(lambda key: env.reset(key)[1][policy.seat])(jax.random.split(jax.random.key(0), count))
    seen = seen.astype(policy.observed.dtype)
    live = jax.jit(lambda *own: (policy.probabilities(*own[:2]), *policy(*own)))
    call = jax.jit(jax.export.deserialize(bytearray(content)).call)
    memory, largest = policy.init((count,)), 0.0
    left = tuple(jax.tree.leaves(memory))
    for key in jax.random.split(jax.random.key(1), 3):
        expected, action, memory = live(seen, memory, key)
        found, probabilities, left = call(seen, left, jax.random.key_data(jax.random.split(key, count)))
        largest = max(largest, float(jnp.abs(expected - probabilities).max(initial=0.0)))
        others = np.mean(~np.isclose(action, found, rtol=TOLERANCE, atol=TOLERANCE))
        if not (largest <= TOLERANCE and others <= MOST_OTHERS):
            raise FaultError(
                f"the program differs from the policy: probabilities by {largest:.2g}, {others:.0%} of the actions"
            )
    return largest


def _actions(policy: Policy) -> list[str]:
    """Names of the actions, or their numbers."""
    env = policy.env
    own = env.actions[policy.seat] if isinstance(env, MatrixGame) else ()
    names = ["C", "D"] if isinstance(env, SymmetricGame) else list(own)
    return names + [str(number) for number in range(len(names), env.num_actions)]


def _about(learned: Learned, policy: Policy) -> dict[str, Any]:
    """What the policy is, but for its place."""
    env, seen = policy.env, policy.observed
    paths = jax.tree_util.tree_leaves_with_path(policy.init())
    action: dict[str, Any] = {"shape": [], "dtype": "int32", "names": _actions(policy)}
    if not env.num_actions:
        action = {"shape": [env.action_dim], "dtype": "float32", "range": list(map(float, env.action_range))}
    name = learned.names[policy.seat]
    return {
        "format": "parley policy",
        "schema": 1,
        "env": learned.title,
        "env_parameters": learned.components["env"],
        "env_version": env.version,
        "players": env.num_players,
        "seat": policy.seat,
        "horizon": env.horizon,
        "learner": name,
        "learner_parameters": learned.components.get(name, {}),
        "trained_steps": learned.step,
        "observation": {"shape": list(seen.shape), "dtype": str(seen.dtype), "values": env.num_observations},
        "action": action,
        "probabilities": {"shape": [env.num_actions], "dtype": "float32"},
        "memory": [
            {"name": jax.tree_util.keystr(path), "shape": list(leaf.shape), "dtype": str(leaf.dtype)}
            | {"initial": _initial(np.asarray(leaf))}
            for path, leaf in paths
        ],
        "key": {"shape": [2], "dtype": "uint32"},
    }


def _initial(leaf: np.ndarray) -> Any:
    """An array as a list, or as one number where all of it is the same."""
    return leaf.flat[0].item() if leaf.size and (leaf == leaf.flat[0]).all() else leaf.tolist()


def _title(about: dict[str, Any]) -> str:
    where = f"seat {about['seat']} of {about['players']} in {about['env']}"
    return f"{about['learner']}, {where}, training seed {about['training_seed']}, {about['trained_steps']} steps"


def _readme(about: dict[str, Any], environment: str) -> str:
    """How to play it, and what it sees."""
    carry = "\n`carry.bin`, memory → memory, goes between the inner episodes of a trial; a new trial starts afresh.\n"
    number = f"{about['batch']}, across which it looks" if about["batch"] else "any number"
    tabular = "\n`python play_table.py` plays `policy.npz`, the same as a table, with NumPy alone.\n"
    return f"""# {_title(about)}

`python play.py` plays `policy.bin` with `pip install jax flatbuffers`; no other package, and no GPU, is needed.

`policy.bin` is a function (observation `[b, ...]`, memory, key `[b, 2]`) → (action, probabilities, memory) for b
environments side by side, b = {number}. The key is 64 random bits an environment, uint32: `jax.random.key_data` of a
key each, or numbers of any generator. Memory is a tuple of arrays, fresh (`start` of `play.py`) when an episode begins.
Shapes, types and hyper-parameters are in `policy.json`. It was written by jax {about["versions"]["jax"]}; later
versions read it for at least half a year.
{carry if "carry.bin" in about["sha256"] else ""}{tabular if "policy.npz" in about["sha256"] else ""}
## The environment

{environment}
"""
