"""Games in normal form, and solvers that weigh what the others may do.

`solve(game, "rae", risk=0.1, tremble=0.05)` solves a game, `names()` lists solvers, `load(...)` takes a game from
a name, a file, arrays or an environment. Importing this package loads no numerics; the first attribute that needs JAX
does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from envs.registry import Recipe, Registry

if TYPE_CHECKING:
    from equilibria.catalogue import CATALOGUE
    from equilibria.families import FAMILIES, random_games
    from equilibria.files import load, write
    from equilibria.front import distinct, solve, solve_batch
    from equilibria.game import NormalForm, normal_form
    from equilibria.properties import price_of_anarchy, welfare
    from equilibria.solution import Solution
    from equilibria.solver import Solver
    from equilibria.solvers.quantal import Fit, fit

__all__ = [
    "CATALOGUE",
    "FAMILIES",
    "MEASURES",
    "REGISTRY",
    "Fit",
    "NormalForm",
    "Solution",
    "Solver",
    "distinct",
    "fit",
    "load",
    "make",
    "names",
    "normal_form",
    "price_of_anarchy",
    "random_games",
    "solve",
    "solve_batch",
    "welfare",
    "write",
]


def _risk_averse(measure: str, **recipe: Any) -> Recipe:
    parts = {"measure": f"equilibria.{measure if ':' in measure else f'risk:{measure}'}"}
    described = {"described_by": parts["measure"]} if "about" not in recipe else {}
    return Recipe("equilibria.solvers.risk_averse:RiskAverse", components=parts, **described, **recipe)


def _solver(module: str, name: str, **recipe: Any) -> Recipe:
    return Recipe(f"equilibria.solvers.{module}:{name}", **recipe)


EXACT = {"tremble": 0.0, "trembles": "constraint", "method": "path", "temperature": 0.0}
NASH = (
    "Nash equilibrium, at the end of the logit path; any number of players.",
    "McKelvey and Palfrey 1995; Turocy 2005, Games and Economic Behavior 51",
)
RAE = (
    "Risk-averse equilibrium: mean less γ times the variance that the others cause; trembles.",
    "Slumbers et al. 2023, arXiv 2205.15434 (reconstructed)",
)

REGISTRY = Registry(
    "solver",
    {
        "uniform": _solver("uniform", "Uniform"),
        "nash": _risk_averse("Neutral", about=NASH, fixed=EXACT),
        "annealed": _solver("annealed", "Annealed"),
        "pure": _solver("pure", "Pure"),
        "support_enumeration": _solver("support_enumeration", "SupportEnumeration", tags=("2 players",)),
        "lemke_howson": _solver("lemke_howson", "LemkeHowson", tags=("2 players",)),
        "zero_sum": _solver("zero_sum", "ZeroSum", tags=("2 players",)),
        "fictitious_play": _risk_averse(
            "Neutral",
            about=("Best replies to the average of all earlier ones.", "Brown 1951; Robinson 1951"),
            preset={"tolerance": 1e-2, "steps": 20000},
            fixed={"method": "fictitious_play"},
        ),
        "regret_matching": _solver("regret_matching", "RegretMatching", fixed={"plus": False}),
        "regret_matching_plus": _solver(
            "regret_matching", "RegretMatching", preset={"average": "linear"}, fixed={"plus": True}
        ),
        "multiplicative_weights": _solver("multiplicative_weights", "MultiplicativeWeights"),
        "extragradient": _solver("extragradient", "Extragradient"),
        "replicator": _solver("replicator", "Replicator", fixed={"least": 0.0, "euler": False}),
        "projected_replicator": _solver(
            "replicator",
            "Replicator",
            about=(
                "Projected replicator dynamics: every action keeps a least probability.",
                "Lanctot et al. 2017, arXiv 1711.00832",
            ),
            preset={"least": 1e-8, "euler": True, "rate": 1e-2},
        ),
        "correlated": _solver("correlated", "Correlated", fixed={"coarse": False}),
        "coarse_correlated": _solver(
            "correlated",
            "Correlated",
            about=(
                "A coarse correlated equilibrium: nobody gains by one action in place of all.",
                "Moulin and Vial 1978",
            ),
            fixed={"coarse": True},
        ),
        "qre": _solver("quantal", "LogitQuantal"),
        "trembling_hand": _solver("trembling_hand", "TremblingHand"),
        "alpha_rank": _solver("alpha_rank", "AlphaRank"),
        "security": _solver("security", "Security"),
        "stackelberg": _solver("stackelberg", "Stackelberg", tags=("2 players",)),
        "risk_dominant": _solver("tracing", "RiskDominant"),
        "tracing": _solver("tracing", "Tracing"),
        "rae": _risk_averse("MeanVariance", about=RAE),
        "rqe": Recipe(
            "equilibria.solvers.quantal:RiskAverseQuantal",
            components={"measure": "equilibria.beliefs:Entropic"},
            preset={"risk": 1.0},
        ),
        "rqe_reverse": Recipe(
            "equilibria.solvers.quantal:RiskAverseQuantal",
            components={"measure": "equilibria.beliefs:ReverseEntropic"},
            about=("`rqe` with the reverse relative entropy as penalty.", "Mazumdar et al. 2024, arXiv 2406.14156"),
        ),
        "rqe_total_variation": Recipe(
            "equilibria.solvers.quantal:RiskAverseQuantal",
            components={"measure": "equilibria.beliefs:TotalVariation"},
            about=("`rqe` with total variation as penalty.", "Mazumdar et al. 2024, arXiv 2406.14156"),
        ),
        "entropic": _risk_averse("beliefs:Entropic"),
        "cvar": _risk_averse("ConditionalValueAtRisk"),
        "semideviation": _risk_averse("Semideviation"),
        "lower_partial_moment": _risk_averse("LowerPartialMoment"),
        "worst_case": _risk_averse("beliefs:WorstCase"),
        "strategically_robust": _risk_averse("beliefs:Robust"),
    },
)

MEASURES = Registry(
    "measure",
    {
        "neutral": Recipe("equilibria.risk:Neutral"),
        "mean_variance": Recipe("equilibria.risk:MeanVariance", fixed={"variance": "others"}),
        "cvar": Recipe("equilibria.risk:ConditionalValueAtRisk"),
        "entropic": Recipe("equilibria.beliefs:Entropic"),
        "semideviation": Recipe("equilibria.risk:Semideviation"),
        "lower_partial_moment": Recipe("equilibria.risk:LowerPartialMoment"),
        "worst_case": Recipe("equilibria.beliefs:WorstCase"),
    },
)
"""What an oracle maximises."""


def names() -> list[str]:
    """All solvers."""
    return REGISTRY.names()


def make(name: str, **options: Any) -> Any:
    """The solver `name` with `options` for its parameters.

    Raises:
        ValueError: unknown name or option, or a value that it refuses; the message suggests the nearest.
    """
    return REGISTRY.make(name, **options)


_LAZY = {
    "CATALOGUE": "catalogue",
    "FAMILIES": "families",
    "random_games": "families",
    "load": "files",
    "write": "files",
    "distinct": "front",
    "solve": "front",
    "solve_batch": "front",
    "NormalForm": "game",
    "normal_form": "game",
    "price_of_anarchy": "properties",
    "welfare": "properties",
    "Solution": "solution",
    "Solver": "solver",
    "Fit": "solvers.quantal",
    "fit": "solvers.quantal",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
