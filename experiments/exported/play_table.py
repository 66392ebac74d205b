"""Play the table beside this file, the same policy as that of play.py. It needs numpy, and nothing else.

python play_table.py 0 1 1      what is done after these observations; after each of them once if none is given
"""

import sys
from pathlib import Path

import numpy as np

with np.load(Path(__file__).resolve().parent / "policy.npz", allow_pickle=False) as file:
    PROBABILITIES, HISTORIES, ACTIONS = (file[name] for name in ("probabilities", "histories", "actions"))


def step(observation: int, rng: np.random.Generator) -> int:
    """The action after an observation."""
    return int(rng.choice(len(ACTIONS), p=PROBABILITIES[observation]))


def read(text: str) -> int:
    """An observation, by its number."""
    if not text.isdigit() or int(text) >= len(PROBABILITIES):
        sys.exit(f"error: observation {text}: expected a whole number from 0 to {len(PROBABILITIES) - 1}")
    return int(text)


def main() -> None:
    """Print what is done after each observation."""
    rng = np.random.default_rng()
    for observation in map(read, sys.argv[1:]) if sys.argv[1:] else range(len(PROBABILITIES)):
        action = step(observation, rng)
        shown = dict(zip(ACTIONS.tolist(), PROBABILITIES[observation].round(4).tolist(), strict=True))
        print(f"{observation} {HISTORIES[observation]} -> {action} {ACTIONS[action]}  {shown}")


if __name__ == "__main__":
    main()
