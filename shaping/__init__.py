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
    from shaping.dice import Dice
    from shaping.directions import Direction, Lola, Naive, Pola
    from shaping.evaluation import Outcome, outcome, trial_outcome
    from shaping.frozen import Frozen
    from shaping.gradient import GradientLearner
    from shaping.learner import Context, Learner, Trajectory
    from shaping.match import Match, begin, episode, init, joint, policies, split
    from shaping.objectives import Exact, ExactOutcome, exact_outcome
    from shaping.trials import inner_episodes, step, trial

__all__ = [
    "CONVENTIONS",
    "REGISTRY",
    "Context",
    "Convention",
    "Dice",
    "Direction",
    "Exact",
    "ExactOutcome",
    "Frozen",
    "GradientLearner",
    "Learner",
    "Lola",
    "Match",
    "Naive",
    "Outcome",
    "Pola",
    "Trajectory",
    "begin",
    "episode",
    "exact_outcome",
    "init",
    "inner_episodes",
    "joint",
    "make",
    "names",
    "outcome",
    "policies",
    "split",
    "step",
    "trial",
    "trial_outcome",
]


def _gradient_learner(
    direction: str,
    objective: str = "objectives:Exact",
    network: str = "networks:LogitTable",
    **recipe: Any,
) -> Recipe:
    direction = f"shaping.{direction}"
    parts = {"objective": f"shaping.{objective}", "direction": direction, "network": f"shaping.{network}"}
    return Recipe("shaping.gradient:GradientLearner", components=parts, **{"described_by": direction, **recipe})


def _actor_critic(
    line: str,
    source: str,
    estimator: str = "Gae",
    wrapper: str | None = None,
    span: str = "episode",
    network: str = "networks:ActorCriticNetwork",
    **preset: Any,
) -> Recipe:
    factory = "shaping.actor_critic:ActorCritic"
    parts = {"network": f"shaping.{network}", "estimator": f"shaping.advantages:{estimator}"}
    if wrapper:
        parts = {"learner": factory} | {f"learner.{name}": source for name, source in parts.items()}
        factory = f"shaping.{wrapper}"
    tags = ("shaper",) if span == "trial" else ()
    return Recipe(factory, components=parts, about=(line, source), preset=preset, fixed={"span": span}, tags=tags)


def _evolution(line: str, source: str, network: str = "networks:ActorCriticNetwork", **recipe: Any) -> Recipe:
    parts = {"network": f"shaping.{network}"}
    return Recipe("shaping.evolution:Evolution", components=parts, about=(line, source), tags=("shaper",), **recipe)


def _strategy(name: str, about: tuple[str, str] | None = None, **recipe: Any) -> Recipe:
    module = "zero_determinant" if name == "ZeroDeterminant" else "strategies"
    return Recipe(f"shaping.{module}:{name}", about=about, **recipe)


DICE = {"gae_lambda": 0.95, "loading": 0.95}  # a little bias for much less variance
PPO = {"epochs": 4, "minibatches": 4, "clip": 0.2}
ZERO_DETERMINANT = "Press and Dyson 2012, PNAS 109:10409; Hilbe, Wu, Traulsen and Nowak 2014, PNAS 111:16425"

REGISTRY = Registry(
    "learner",
    {
        "naive": _gradient_learner("directions:Naive"),
        "lookahead": _gradient_learner(
            "directions:Lola",
            about=(
                "LookAhead: best reply to the others' expected next step, without trying to change it.",
                "Zhang and Lesser 2010; Letcher et al. 2019, arXiv 1811.08469",
            ),
            preset={"expansion": "taylor"},
            fixed={"terms": "lookahead"},
        ),
        "lola": _gradient_learner("directions:Lola"),
        "symlola": _gradient_learner(
            "directions:Lola",
            about=(
                "Symmetric LOLA: the own step is expected, too.",
                "Mitra, multiagentgames, github.com/amartya-mitra",
            ),
            preset={"expansion": "taylor"},
            fixed={"symmetric": True},
        ),
        "hola": _gradient_learner("dynamics:HigherOrderLola"),
        "sos": _gradient_learner("dynamics:StableOpponentShaping"),
        "pola": _gradient_learner(
            "directions:Pola", preset={"initial_std": 0.1}, fixed={"learning_rate": 1.0, "optimizer": "sgd"}
        ),
        "level_k": _gradient_learner("dynamics:LevelK"),
        "extragradient": _gradient_learner("dynamics:Extragradient"),
        "optimistic": _gradient_learner(
            "directions:Naive",
            about=(
                "Optimistic gradient: twice the own gradient less that of the step before.",
                "Daskalakis, Ilyas, Syrgkanis and Zeng 2018, arXiv 1711.00141",
            ),
            fixed={"optimizer": "optimistic"},
        ),
        "alternating": _gradient_learner("dynamics:AlternatingGradient"),
        "consensus": _gradient_learner("dynamics:Consensus", preset={"learning_rate": 0.1}),
        "sga": _gradient_learner("dynamics:SymplecticAdjustment"),
        "cgd": _gradient_learner("dynamics:CompetitiveGradient"),
        "cola": _gradient_learner("cola:Cola"),
        "maml": _gradient_learner("maml:Maml", fixed={"initial_std": 1.0, "through": "all"}),
        "meta_mapg": _gradient_learner(
            "maml:Maml",
            about=(
                "Meta-MAPG on exact values: begin where naive learning leads far, through everybody's learning.",
                "Kim et al. 2021, arXiv 2011.00382",
            ),
            fixed={"initial_std": 1.0, "through": "all"},
        ),
        "meta_pg": _gradient_learner(
            "maml:Maml",
            about=(
                "Meta-PG on exact values: begin where naive learning leads far, the others' learning taken as given.",
                "Al-Shedivat et al. 2018, arXiv 1710.03641",
            ),
            fixed={"initial_std": 1.0, "through": "own"},
        ),
        "meva": _gradient_learner("meta_value:MetaValue"),
        "lss": _gradient_learner("dynamics:LocalSymplecticSurgery"),
        "lola_dice": _gradient_learner(
            "directions:Lola",
            "dice:Dice",
            "networks:ActorCriticNetwork",
            about=(
                "LOLA from sampled play: every look-ahead step plays fresh episodes, against any learner.",
                "Foerster et al. 2018, arXiv 1802.05098; Farquhar et al. 2019, arXiv 1909.10549",
            ),
            preset=DICE | {"learning_rate": 0.1, "lookahead_rate": 0.3, "optimizer": "adam"},
        ),
        "pola_dice": _gradient_learner(
            "directions:Pola",
            "dice:Dice",
            "networks:ActorCriticNetwork",
            preset=DICE,
            fixed={"learning_rate": 1.0, "optimizer": "sgd"},
        ),
        "reinforce": _actor_critic(
            "REINFORCE with a learned baseline: one gradient step on Monte-Carlo returns.",
            "Williams 1992, Machine Learning 8",
            gae_lambda=1.0,
        ),
        "tabular": _actor_critic(
            "Advantage actor-critic on a softmax table of one row an observation.",
            "Schulman et al. 2016, arXiv 1506.02438",
            torso="table",
        ),
        "ppo": _actor_critic(
            "Proximal policy optimisation without memory: a table, an MLP or a CNN, as observations demand.",
            "Schulman et al. 2017, arXiv 1707.06347",
            **PPO,
        ),
        "ppo_gru": _actor_critic(
            "Proximal policy optimisation with a gated recurrent memory, the gradient through time.",
            "Schulman et al. 2017, arXiv 1707.06347; co-players of arXiv 2312.12564",
            **PPO,
            memory_size=16,
        ),
        "pax_ppo_gru": _actor_critic(
            "PPO with the memory, the numbers and, by switches, the defects of the naive learners of arXiv 2312.12564.",
            "Souly et al. 2023, arXiv 2312.12564, code",
            wrapper="as_published:AsPublished",
            learning_rate=3e-4,
            epochs=4,
            minibatches=10,
            clip=0.2,
            entropy=0.1,
            memory_size=16,
            heads="constant",
            gradient="one_step",
            value_units="sum",
        ),
        "advantage_alignment": _actor_critic(
            "Advantage Alignment: reinforce what is good for those after whom one has done well.",
            "Duque et al. 2025, arXiv 2406.14662",
            "Alignment",
            **PPO,
        ),
        "loqa": _actor_critic(
            "Learning with opponent Q-learning awareness: the others are taken to act on their action values.",
            "Aghajohari et al. 2024, arXiv 2405.01035",
            "OpponentQ",
        ),
        "shaper": _evolution(
            "SHAPER: a gated recurrent policy whose memory outlives the inner episodes of a trial; by evolution.",
            "Khan et al. 2024, arXiv 2312.12568; Souly et al. 2023, arXiv 2312.12564",
            preset={"memory_size": 16},
        ),
        "shaper_ppo": _actor_critic(
            "SHAPER by proximal policy optimisation over the whole trial instead of evolution.",
            "Khan et al. 2024, arXiv 2312.12568; Schulman et al. 2017, arXiv 1707.06347",
            span="trial",
            epochs=4,
            clip=0.2,
            memory_size=16,
            discount=0.99,
            gradient="one_step",
        ),
        "mfos_ppo": _actor_critic(
            "M-FOS, gated, by proximal policy optimisation over the whole trial.",
            "Lu et al. 2022, arXiv 2205.01447",
            network="gated:GatedNetwork",
            span="trial",
            epochs=4,
            clip=0.2,
            discount=0.995,
            gradient="one_step",
        ),
        "coala_pg": _actor_critic(
            "COALA-PG: policy gradient that credits what is done with what rivals learn from it, in all environments.",
            "Meulemans et al. 2025, arXiv 2410.18636",
            "Coala",
            span="trial",
            epochs=4,
            minibatches=2,
            clip=0.2,
            memory_size=32,
            learning_rate=3e-4,
            max_grad_norm=1.0,
            gradient="one_step",
        ),
        "mfos_exact": Recipe(
            "shaping.mfos:Mfos", components={"network": "shaping.networks:LogitTable"}, tags=("shaper", "exact")
        ),
        "mfos": _evolution(
            "M-FOS: a policy that forgets between inner episodes, gated by a memory that does not; by evolution.",
            "Lu et al. 2022, arXiv 2205.01447; Khan et al. 2024, arXiv 2312.12568",
            "gated:GatedNetwork",
        ),
        "good_shepherd": _evolution(
            "Good Shepherd: a policy without memory that shapes those who learn beside it; by evolution.",
            "Balaguer et al. 2022, arXiv 2202.10135",
            preset={"torso": "mlp", "memory_size": 0},
        ),
        "q_learning": Recipe("shaping.q_learning:QLearning"),
        "always_cooperate": _strategy(
            "Random",
            ("Always co-operates, where the environment says which action that is.", "the unconditional strategy"),
            fixed={"probability": 1.0},
        ),
        "always_defect": _strategy(
            "Random",
            ("Always defects, where the environment says which action that is.", "the unconditional strategy"),
            fixed={"probability": 0.0},
        ),
        "random": _strategy("Random"),
        "uniform": _strategy("Uniform"),
        "tit_for_tat": _strategy("TitForTat"),
        "generous_tit_for_tat": _strategy(
            "TitForTat",
            (
                "Generous tit-for-tat: forgives a defection now and then.",
                'Nowak and Sigmund 1992, "Tit for tat in heterogeneous populations", Nature 355',
            ),
            preset={"forgiveness": 1 / 3},
        ),
        "grim": _strategy("Grim"),
        "win_stay_lose_shift": _strategy("WinStayLoseShift"),
        "zd_extortionate": _strategy(
            "ZeroDeterminant",
            (
                "Zero-determinant, extortionate: gains 1 / slope times as much over all D as the others do.",
                ZERO_DETERMINANT,
            ),
            fixed={"kind": "extortionate", "baseline": None},
        ),
        "zd_generous": _strategy(
            "ZeroDeterminant",
            (
                "Zero-determinant, generous: loses 1 / slope times as much from all C as the others do.",
                "Stewart and Plotkin 2013, PNAS 110:15348; Hilbe, Wu, Traulsen and Nowak 2014, PNAS 111:16425",
            ),
            fixed={"kind": "generous", "baseline": None},
        ),
        "zd_equaliser": _strategy(
            "ZeroDeterminant",
            ("Zero-determinant, equaliser: alone decides what the others get on average.", ZERO_DETERMINANT),
            fixed={"kind": "equaliser", "slope": 0.0},
        ),
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
    "shaping.dice": ("Dice",),
    "shaping.directions": ("Direction", "Lola", "Naive", "Pola"),
    "shaping.frozen": ("Frozen",),
    "shaping.gradient": ("GradientLearner",),
    "shaping.learner": ("Context", "Learner", "Trajectory"),
    "shaping.match": ("Match", "begin", "episode", "init", "joint", "policies", "split"),
    "shaping.trials": ("inner_episodes", "step", "trial"),
    "shaping.evaluation": ("Outcome", "outcome", "trial_outcome"),
    "shaping.objectives": ("Exact", "ExactOutcome", "exact_outcome"),
}


def __getattr__(name: str) -> Any:
    for module, attributes in _LAZY.items():
        if name in attributes:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'shaping' has no attribute {name!r}")
