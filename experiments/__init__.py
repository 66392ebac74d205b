"""Experiments: from a command line to a run directory that can be read, compared, resumed and used.

`load(DIR)` is what a run has learned; `load(DIR).policy(seat)` acts. Importing this package loads no numerics.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.config import UserError
    from experiments.grown import Grown
    from experiments.policy import Policy
    from experiments.trained import Trained, load

__all__ = ["Grown", "Policy", "Trained", "UserError", "load"]

_LAZY = {
    "experiments.config": ("UserError",),
    "experiments.policy": ("Policy",),
    "experiments.grown": ("Grown",),
    "experiments.trained": ("Trained", "load"),
}


def __getattr__(name: str) -> Any:
    for module, attributes in _LAZY.items():
        if name in attributes:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'experiments' has no attribute {name!r}")
