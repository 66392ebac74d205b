"""Play the policy beside this file. It needs jax and flatbuffers (pip install jax flatbuffers), and nothing else.

    python play.py 0 1 1        an episode in which these are observed, as JSON, e.g. 3 or [0.1,0.2]; else random ones

In a program of your own: `from play import start, step`, and `memory = start(batch)` whenever episodes begin.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np

HERE = Path(__file__).resolve().parent
ABOUT = json.loads((HERE / "policy.json").read_text(encoding="utf-8"))
CALL = jax.jit(jax.export.deserialize(bytearray((HERE / "policy.bin").read_bytes())).call)


def start(batch: int) -> tuple[np.ndarray, ...]:
    """Memory of `batch` environments before the first step, empty where there is none."""
    fresh = [(np.asarray(own["initial"], own["dtype"]), own["shape"]) for own in ABOUT["memory"]]
    return tuple(np.broadcast_to(initial, (batch, *shape)) for initial, shape in fresh)


def step(observation: Any, memory: Any, key: Any) -> Any:
    """Actions, their probabilities, and memory, of observations `[b, ...]` and 64 random bits each, uint32 `[b, 2]`."""
    return CALL(np.asarray(observation, ABOUT["observation"]["dtype"]), memory, key)


def read(text: str) -> Any:
    """An observation, from JSON."""
    seen, observation = ABOUT["observation"], None
    try:
        observation = json.loads(text)
        fits = np.shape(observation) == tuple(seen["shape"])
        good = fits and (not seen["values"] or observation in range(seen["values"]))
    except ValueError:
        good = False
    if not good:
        what = f"a whole number from 0 to {seen['values'] - 1}" if seen["values"] else f"JSON of shape {seen['shape']}"
        sys.exit(f"error: observation {text}: expected {what}")
    return observation


def main() -> None:
    """Print what is done after each observation of an episode."""
    rng, seen = np.random.default_rng(), ABOUT["observation"]
    draw = lambda: rng.integers(seen["values"]) if seen["values"] else rng.random(seen["shape"])  # noqa: E731
    batch = ABOUT["batch"] or 1  # any number, unless it looks across environments
    memory = start(batch)
    for observation in map(read, sys.argv[1:]) if sys.argv[1:] else (draw() for _ in range(5)):
        bits = rng.integers(2**32, size=(batch, 2), dtype=np.uint32)
        action, probabilities, memory = step([observation] * batch, memory, bits)
        print(f"{observation} -> {np.asarray(action)[0]}  probabilities {np.asarray(probabilities)[0].round(4)}")


if __name__ == "__main__":
    main()
