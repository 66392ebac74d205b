"""Games: n-player simultaneous-move environments in pure JAX.

`make(name, **fields)` builds one, `names()` lists them, `check_env(env)` is the conformance test that a user's own
environment can pass. Importing this package loads no numerics; the first attribute that needs JAX does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from envs.registry import Recipe, Registry

if TYPE_CHECKING:
    from envs.check import check_env
    from envs.coin_game import CoinGame
    from envs.cournot import Cournot
    from envs.environment import Environment, TimeStep
    from envs.matrix_game import MatrixGame

__all__ = ["REGISTRY", "CoinGame", "Cournot", "Environment", "MatrixGame", "TimeStep", "check_env", "make", "names"]


def _matrix_game(function: str, **preset: Any) -> Recipe:
    return Recipe("envs.matrix_game:MatrixGame", spread=f"envs.payoffs:{function}", preset=preset)


REGISTRY = Registry(
    "environment",
    {
        "ipd": _matrix_game("prisoners_dilemma"),
        "snowdrift": _matrix_game("snowdrift"),
        "stag_hunt": _matrix_game("stag_hunt"),
        "tragedy": _matrix_game("tragedy"),
        "ipd2": _matrix_game("prisoners_dilemma_2"),
        "matching_pennies": _matrix_game("matching_pennies"),
        "chicken": _matrix_game("chicken", horizon=1),
        "bach_or_stravinsky": _matrix_game("bach_or_stravinsky"),
        "rock_paper_scissors": _matrix_game("rock_paper_scissors"),
        "public_goods": _matrix_game("public_goods"),
        "ultimatum": _matrix_game("ultimatum", horizon=1),
        "matrix": _matrix_game("from_file"),
        "coin_game": Recipe("envs.coin_game:CoinGame"),
        "cournot": Recipe("envs.cournot:Cournot"),
    },
)


def make(name: str, **fields: Any) -> Environment:
    """Build the environment `name`; `fields` are its hyper-parameters.

    Raises:
        ValueError: unknown name or field, or a value out of range; the message says what was expected.
    """
    return REGISTRY.make(name, **fields)


def names() -> list[str]:
    """Names of all registered environments."""
    return REGISTRY.names()


_LAZY = {
    "CoinGame": "envs.coin_game",
    "Cournot": "envs.cournot",
    "Environment": "envs.environment",
    "MatrixGame": "envs.matrix_game",
    "TimeStep": "envs.environment",
    "check_env": "envs.check",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'envs' has no attribute {name!r}")
