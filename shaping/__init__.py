"""Learners, the match that seats them, and the directions and objectives of opponent shaping.

`make(name, **fields)` builds a learner, `names()` lists them. Importing this package loads no numerics; the first
attribute that needs JAX does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from envs.registry import Recipe, Registry

if TYPE_CHECKING:
    from shaping.conventions import CONVENTIONS, Convention
    from shaping.directions import Direction, Lola, Naive
    from shaping.gradient import GradientLearner
    from shaping.learner import Context, Learner, Trajectory
    from shaping.match import Match, episode, init, policies, step, trial
    from shaping.objectives import Exact, Outcome, outcome

__all__ = [
    "CONVENTIONS",
    "REGISTRY",
    "Context",
    "Convention",
    "Direction",
    "Exact",
    "GradientLearner",
    "Learner",
    "Lola",
    "Match",
    "Naive",
    "Outcome",
    "Trajectory",
    "episode",
    "init",
    "make",
    "names",
    "outcome",
    "policies",
    "step",
    "trial",
]


def _gradient_learner(
    direction: str,
    about: tuple[str, str] | None = None,
    preset: dict[str, Any] | None = None,
    fixed: dict[str, Any] | None = None,
) -> Recipe:
    direction = f"shaping.directions:{direction}"
    return Recipe(
        "shaping.gradient:GradientLearner",
        components={"objective": "shaping.objectives:Exact", "direction": direction},
        described_by=direction,
        about=about,
        preset=preset or {},
        fixed=fixed or {},
    )


REGISTRY = Registry(
    "learner",
    {
        "naive": _gradient_learner("Naive"),
        "lookahead": _gradient_learner(
            "Lola",
            about=(
                "LookAhead: best reply to the others' expected next step, without trying to change it.",
                "Zhang and Lesser 2010; Letcher et al. 2019, arXiv 1811.08469",
            ),
            preset={"expansion": "taylor"},
            fixed={"terms": "lookahead"},
        ),
        "lola": _gradient_learner("Lola"),
    },
)


def make(name: str, **fields: Any) -> Learner:
    """Build the learner `name`; `fields` are its hyper-parameters, those of its components included.

    Raises:
        ValueError: unknown name or field, or a value out of range; the message says what was expected.
    """
    return REGISTRY.make(name, **fields)


def names() -> list[str]:
    """Names of all registered learners."""
    return REGISTRY.names()


_LAZY = {
    "shaping.conventions": ("CONVENTIONS", "Convention"),
    "shaping.directions": ("Direction", "Lola", "Naive"),
    "shaping.gradient": ("GradientLearner",),
    "shaping.learner": ("Context", "Learner", "Trajectory"),
    "shaping.match": ("Match", "episode", "init", "policies", "step", "trial"),
    "shaping.objectives": ("Exact", "Outcome", "outcome"),
}


def __getattr__(name: str) -> Any:
    for module, attributes in _LAZY.items():
        if name in attributes:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'shaping' has no attribute {name!r}")
