"""Differentiable opponent shaping: what its papers and their public code report, and what we get."""

from __future__ import annotations

from experiments.papers.differentiable_consistency import consistency, prisoners_consistency
from experiments.papers.differentiable_ends import (
    lola_2018,
    many_look_aheads,
    many_players,
    matching_pennies,
    pola,
    prisoners_dilemma,
    tandem,
)
from experiments.papers.differentiable_tournaments import MEVA_ROUNDS, meta_game_cells, meta_value
from experiments.reproduce import Experiment

__all__ = ["EXPERIMENTS", "SCALES", "experiments"]

INTRODUCTION = """# Differentiable opponent shaping: published and measured

`python run.py reproduce differentiable` computes every number on this page and compares it with what papers, or runs
of their public code, report. Exact values throughout; a reward is per step, a loss minus that. What "published" stands
for is said under each heading. Rows without a tolerance are for information.
"""

NOTEBOOK = "Published: measured with the notebook of Letcher et al. 2019, arXiv 1811.08469"

EXPERIMENTS = [
    Experiment(
        "tandem",
        "Tandem game: end states",
        f"29 steps of rate 0.1 from N(0, 0.1), the loss before the 30th. {NOTEBOOK}, 100 runs.",
        100,
        tandem,
    ),
    Experiment(
        "matching_pennies",
        "One-shot matching pennies: end states",
        f"100 steps of rate 1 from N(0, 1). {NOTEBOOK}, 20 runs; a few far from the equilibrium make the mean,"
        " so the tolerance is what 20 of our runs may show (99 %), at least a factor of 1.5.",
        2000,
        matching_pennies,
    ),
    Experiment(
        "prisoners_dilemma",
        "Iterated prisoner's dilemma: end states",
        f"100 steps of rate 1 on discounted sums from N(0, 1), discount 0.96. {NOTEBOOK}, 25 runs; tolerance: "
        "three standard errors of both.",
        400,
        prisoners_dilemma,
    ),
    Experiment(
        "consistency",
        "Tandem game: how far directions are from consistent",
        "Mean over U[-1, 1]² of the squared difference from the reply to itself as a look-ahead, by "
        "quadrature. Published: Willi et al. 2022, arXiv 2203.04098, table 1, by sampling; closed form: a "
        "recursion for linear directions. COLA: 60,000 steps of training (published: 120,000), one network, "
        "in double precision.",
        1,
        consistency,
    ),
    Experiment(
        "prisoners_consistency",
        "Iterated prisoner's dilemma: how far directions are from consistent",
        "Mean over 2000 points of U[-7, 7]. COLA: 20,000 steps of training, three layers of 16 tanh units. "
        "Published: arXiv 2203.04098, table 3a, which does not say how values are scaled.",
        1,
        prisoners_consistency,
    ),
    Experiment(
        "lola_2018",
        "LOLA, tables 3 and 4",
        "First-order LOLA, exact gradients, 200 steps of rate 1 from N(0, 1), discount 0.96 (0.9 in matching "
        "pennies). Published: Foerster et al. 2018, arXiv 1709.04326, 50 runs. The paper does not say what it"
        " counts as tit-for-tat; we use the only classifier that was published as code, that of POLA.",
        500,
        lola_2018,
    ),
    Experiment(
        "meta_game_cells",
        "M-FOS, tables of the prisoner's dilemma and of chicken: learners that are not M-FOS",
        "Mean reward after each of 100 updates of rate 1 from N(0, 1); LOLA to first order in both terms. M-MAML:"
        " starts trained 1000 x 100 steps; 40 in chicken, 10 in the prisoner's dilemma, against 10 published, and the"
        " tolerance is at least three standard errors over the starts. (The code trains them with a rate of their own,"
        " which it drops; ours then gets near 0.)"
        " Published: measured with the code of Lu et al. 2022, arXiv 2205.01447.",
        2048,
        meta_game_cells,
    ),
    Experiment(
        "pola",
        "POLA: tit-for-tat found",
        "Two-player public goods, logits from N(0, 0.1). LOLA: rates 3 and 25, 30 steps. Outer POLA: "
        "look-ahead 5 (4, 2.5), 200 proximal steps of rate 0.3, penalty 0.1 of the sum over observations, 2 "
        "updates. Published: runs of the code of Zhao et al. 2022, arXiv 2210.10125; its LOLA divides by "
        "probabilities that round to 0.",
        20,
        pola,
    ),
    Experiment(
        "many_look_aheads",
        "LOLA with many look-ahead steps",
        "Prisoner's dilemma (1, -1, 2, 0), discount 0.95, AdamW 0.005, 3000 steps, look-ahead rate 5 (10 for "
        "one step) on values per step: on sums, which the paper has, we see no co-operation with these rates."
        " Mixed play should be better by 0.05 at least. Published in words: Meulemans et al. 2025, arXiv "
        "2410.18636.",
        64,
        many_look_aheads,
    ),
    Experiment(
        "meta_value",
        "Meta-value learning: tournament in the prisoner's dilemma",
        f"Reward after 300 steps of rate 1; LOLA is first-order. One critic a kind of rival, {MEVA_ROUNDS} "
        "rounds of training (published: ten, 1001 rounds); four M-MAML starts, 300 updates (1000). Published:"
        " Cooijmans et al. 2023, arXiv 2307.08863.",
        1024,
        meta_value,
    ),
    Experiment(
        "many_players",
        "LOLA among many players",
        "The prisoner's dilemma of Leading the Pack with up to 200 players who count (`--env.observe counts`), rates 1,"
        " equal learners with shared parameters. Share of the way from all D to all C, mean of the seats. Nothing was"
        " published beyond 5 players; docs/benchmarks.md has the cost of an update.",
        16,
        many_players,
    ),
]

SCALES = ("cpu",)


def experiments(scale: str) -> list[Experiment]:
    """All of them."""
    return EXPERIMENTS
