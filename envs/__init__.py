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
    from envs.differentiable import DifferentiableGame, differentiable_game
    from envs.driving import Driving
    from envs.environment import Environment, TimeStep
    from envs.matrix_game import MatrixGame
    from envs.scene import Scene, Shape
    from envs.stag_hunt_grid import StagHuntGrid
    from envs.symmetric_game import SymmetricGame

__all__ = [
    "REGISTRY",
    "CoinGame",
    "Cournot",
    "DifferentiableGame",
    "Driving",
    "Environment",
    "MatrixGame",
    "Scene",
    "Shape",
    "StagHuntGrid",
    "SymmetricGame",
    "TimeStep",
    "check_env",
    "differentiable_game",
    "make",
    "names",
]


def _dilemma(function: str) -> Recipe:
    return Recipe("envs.payoffs:dilemma", spread=f"envs.payoffs:{function}")


def _differentiable(function: str, **fixed: Any) -> Recipe:
    fixed = {"dim": 1, "players": 2} | fixed
    return Recipe("envs.differentiable:DifferentiableGame", spread=f"envs.differentiable:{function}", fixed=fixed)


def _matrix_game(function: str, **preset: Any) -> Recipe:
    return Recipe("envs.matrix_game:MatrixGame", spread=f"envs.payoffs:{function}", preset=preset)


REGISTRY = Registry(
    "environment",
    {
        "ipd": _dilemma("prisoners_dilemma"),
        "snowdrift": _dilemma("snowdrift"),
        "stag_hunt": _dilemma("stag_hunt"),
        "tragedy": _dilemma("tragedy"),
        "ipd2": _matrix_game("prisoners_dilemma_2"),
        "matching_pennies": _matrix_game("matching_pennies"),
        "chicken": _matrix_game("chicken", horizon=1),
        "bach_or_stravinsky": _matrix_game("bach_or_stravinsky"),
        "rock_paper_scissors": _matrix_game("rock_paper_scissors"),
        "public_goods": _dilemma("public_goods"),
        "ultimatum": _matrix_game("ultimatum", horizon=1),
        "matrix": _matrix_game("from_file"),
        "coin_game": Recipe("envs.coin_game:CoinGame"),
        "stag_hunt_grid": Recipe("envs.stag_hunt_grid:StagHuntGrid"),
        "monster_hunt": Recipe(
            "envs.stag_hunt_grid:StagHuntGrid",
            about=(
                "Stag hunt on a grid by the rules of Monster-Hunt: everything starts anywhere, the monster runs away.",
                "arXiv 2103.04564; rules of github.com/staghuntrpg/RPG, signs of its README",
            ),
            preset={"rules": "monster_hunt", "run_away": True, "maul_penalty": 2.0, "plant_reward": 2.0},
        ),
        "cournot": Recipe("envs.cournot:Cournot"),
        "driving": Recipe("envs.driving:Driving"),
        "tandem": Recipe(
            "envs.differentiable:DifferentiableGame", spread="envs.differentiable:tandem", fixed={"dim": 1}
        ),
        "hamiltonian": _differentiable("hamiltonian"),
        "balduzzi": _differentiable("balduzzi"),
        "market": _differentiable("market"),
        "zero_sum": _differentiable("zero_sum"),
        "logistic": _differentiable("logistic"),
        "function": _differentiable("from_python", bound=10.0),
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
    "DifferentiableGame": "envs.differentiable",
    "Driving": "envs.driving",
    "Environment": "envs.environment",
    "MatrixGame": "envs.matrix_game",
    "Scene": "envs.scene",
    "Shape": "envs.scene",
    "StagHuntGrid": "envs.stag_hunt_grid",
    "SymmetricGame": "envs.symmetric_game",
    "TimeStep": "envs.environment",
    "check_env": "envs.check",
    "differentiable_game": "envs.differentiable",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'envs' has no attribute {name!r}")
