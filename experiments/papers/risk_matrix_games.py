"""Risk-averse and neighbouring equilibria of matrix games, published and computed (arXiv 2205.15434 and others)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import equilibria
from equilibria.responses import perceive
from equilibria.risk import MeanVariance
from experiments.reproduce import Experiment, Row, at_least, near, shown

__all__ = ["SCALES", "experiments"]

SCALES = ("cpu",)

INTRODUCTION = """# Risk in matrix games: published and computed

`python run.py reproduce risk_matrix_games` computes every number on this page, in under a minute. A risk-averse
equilibrium (`rae`) maximises the mean less γ times the variance that the *others'* play causes, with every action
played with a probability of ε or more (arXiv 2205.15434, reconstructed: the paper's own tables could not be compared).
Its reference values were computed independently of this code, by closed forms and by enumeration; those of quantal
response and of human play are published where said so. Probabilities are those of the first actions.
"""

DIGITS = 6e-7
"""Tolerance of what is printed with six digits."""


def _first(game: Any, solver: str, **options: Any) -> np.ndarray:
    """First actions' probabilities at the solution, checked to be one."""
    found = equilibria.solve(game, solver, **options)
    if not found.converged:
        raise RuntimeError(f"{game}, {solver} {options}: {found.message}")
    return found.profile[:, 0]


def _both(what: str, published: Any, ours: Any, tolerance: float) -> Iterator[Row]:
    for player, (one, other) in enumerate(zip(published, ours, strict=True)):
        yield near(f"{what}: player {player}", one, float(other), tolerance)


def zero_sum() -> Iterator[Row]:
    """A and B: in constant-sum games the Nash equilibrium, without variance."""
    cases = {
        "matching_pennies": (0.5, 0.5),
        "rock_paper_scissors": (1 / 3, 1 / 3),
        "biased_rock_paper_scissors": (1 / 16, 1 / 16),
        **{f"selten_chmura_{k + 1}": np.array(MIXED[k]) / 11 for k in range(6)},
    }
    for game, play in cases.items():
        for risk in (0.01, 0.1, 1.0):
            found = equilibria.solve(game, "rae", risk=risk)
            what = f"{game}, γ = {risk:g}"
            yield from _both(what, play, found.profile[:, 0], DIGITS)
            yield near(f"{what}: largest variance", 0.0, float(found.variance.max()), 1e-9)
            yield near(f"{what}: NashConv", 0.0, float(found.payoff_regret.sum()), 1e-9)
    for game, values in (("selten_chmura_1", (9.0909, 8.9091)), ("selten_chmura_6", (4.8182, 3.1818))):
        yield from _both(f"{game}: value", values, equilibria.solve(game, "rae").value, 6e-5)


C1 = {
    "selten_chmura_7": ((0.098123, 0.902170), (0.269662, 0.860168), (0.855960, 0.990675)),
    "selten_chmura_8": ((0.19151, 0.71549), (0.343762, 0.673695), (0.58370, 0.92482)),
    "selten_chmura_9": ((0.28518, 0.90413), (0.43373, 0.88386), (0.84166, 0.98778)),
}


def other_games() -> Iterator[Row]:
    """C: games that are not constant-sum, ε = 0.001; with moments, which are not monotone in γ."""
    for game, plays in C1.items():
        for risk, play in zip((0.01, 0.1, 1.0), plays, strict=True):
            digits = DIGITS if game == "selten_chmura_7" or (risk == 0.1 and game == "selten_chmura_8") else 6e-6
            yield from _both(f"{game}, γ = {risk:g}", play, _first(game, "rae", risk=risk, tremble=1e-3), digits)
    moments = {
        0.0: ((9.454545, 9.272727), (1.322314, 1.322314)),
        0.1: ((9.554041, 10.083933), (0.497477, 4.056029)),
        1.0: ((9.814784, 11.646356), (0.180119, 1.186814)),
    }
    for risk, (means, variances) in moments.items():
        found = equilibria.solve("selten_chmura_7", "rae", risk=risk, tremble=1e-3 if risk else 0.0)
        yield from _both(f"selten_chmura_7, γ = {risk:g}: mean", means, found.value, DIGITS)
        yield from _both(f"selten_chmura_7, γ = {risk:g}: variance", variances, found.variance, DIGITS)


HUNTS = {
    "stag_hunt": {0.05: 0.793748, 0.1: 0.861553, 0.2: 0.919320, 0.3: 0.943534},
    "trust_dilemma": {0.05: 0.742039, 0.1: 0.832322, 0.2: 0.906730, 0.3: 0.936076},
}
THRESHOLDS = {
    "stag_hunt": {0.1: 0.154321, 0.05: 0.342811, 0.01: 1.826618},
    "trust_dilemma": {0.1: 0.185185, 0.05: 0.387812, 0.01: 1.989593},
}


def stag_hunts() -> Iterator[Row]:
    """D: all equilibria of two stag hunts, and the γ at which hunting the stag ceases to be one."""
    for game, interiors in HUNTS.items():
        for risk, mixed in interiors.items():
            found = equilibria.solve(game, "rae", risk=risk, tremble=0.05, all=True)
            plays = sorted(float(own.profile[0, 0]) for own in found)
            yield near(f"{game}, ε = 0.05, γ = {risk:g}: number of equilibria", 3, len(plays), 0)
            for one, other in zip((0.05, mixed, 0.95), plays, strict=True):
                yield near(f"{game}, ε = 0.05, γ = {risk:g}: P(stag)", one, other, DIGITS)
    with jax.enable_x64(True):
        for game, thresholds in THRESHOLDS.items():
            for tremble, published in thresholds.items():
                yield near(f"{game}, ε = {tremble:g}: γ*", published, _threshold(game, tremble), DIGITS)


def _threshold(game: str, tremble: float) -> float:
    """The largest γ at which nobody gains by leaving the stag."""
    table, hunt = equilibria.load(game), jnp.array([[1 - tremble, tremble]] * 2)
    gap = jax.jit(lambda risk: perceive(table, MeanVariance(risk), tremble).gap(hunt).max())
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if float(gap(middle)) < 1e-13 else (low, middle)
    return low


ENTROPIC = {
    0.002: ((0.091574, 0.908429), (0.091576, 0.908427)),
    0.02: ((0.097871, 0.902394), (0.098123, 0.902170)),
    0.1: ((0.134054, 0.875451), (0.146021, 0.870945)),
    1.0: ((0.686268, 0.992244), (0.730750, 0.977093)),
}


def entropic() -> Iterator[Row]:
    """E: entropic risk τ, and mean and variance with γ = τ / 2, which come together as τ² (ε = 0.001)."""
    game, apart = "selten_chmura_7", {}
    for risk, (one, other) in ENTROPIC.items():
        plays = _first(game, "entropic", risk=risk, tremble=1e-3), _first(game, "rae", risk=risk / 2, tremble=1e-3)
        yield from _both(f"{game}, entropic, τ = {risk:g}", one, plays[0], DIGITS)
        yield from _both(f"{game}, rae, γ = {risk / 2:g}", other, plays[1], DIGITS)
        apart[risk] = float(np.abs(plays[0] - plays[1]).max())
    order = np.log(apart[0.02] / apart[0.002]) / np.log(10)
    yield near("order of their distance in τ", 2.0, float(order), 0.1)


def replies() -> Iterator[Row]:
    """F and G: a best reply in closed form; and Shapley's game, which risk aversion calms."""
    with jax.enable_x64(True):
        gamble = equilibria.normal_form([[[10, -50], [5, 5]], [[0, 0], [0, 0]]])
        others = jnp.array([[0.5, 0.5], [0.95, 0.05]])
        for risk, published in ((0.01, 0.584795), (0.05, 0.116959), (0.005, 1.0)):
            reply, _ = perceive(gamble, MeanVariance(risk)).respond(others, 1e-10)
            yield near(f"gamble against 5 % of ruin, γ = {risk:g}", published, float(reply[0, 0]), DIGITS)
        yield near("its variance at (0.5, 0.5)", 42.75, float(gamble.variance(others)[0]), 1e-9)
        shapley, key = equilibria.load("shapley"), jax.random.key(1)
        play = jax.jit(lambda own: own.solve(shapley, key))
        published = {0.1: 0.24, 0.5: 0.14, 1.0: 3e-3, 2.0: 1.5e-6, 5.0: 5e-8}
        for risk, gap in published.items():
            solver = equilibria.make("rae", risk=risk, method="fictitious_play", steps=5000, tolerance=1e-9)
            off = float(play(solver).regret.sum())
            what = f"Shapley's game, γ = {risk:g}: gap after 5000 steps of fictitious play"
            if risk < 1:
                yield at_least(f"{what}: it cycles", gap, off, 0.05)
            else:
                yield at_least(f"{what}: minus its logarithm", float(-np.log10(gap)), -np.log10(off + 1e-12), 1.5)


MIXED = ((1, 10), (2, 8), (3, 10), (4, 9), (4, 8), (5, 7), (1, 10), (2, 8))
QUANTAL = (
    (0.042, 0.638),
    (0.154, 0.580),
    (0.168, 0.770),
    (0.276, 0.734),
    (0.307, 0.657),
    (0.417, 0.607),
    (0.042, 0.638),
    (0.154, 0.580),
)
HUMANS = (
    (0.079, 0.690),
    (0.217, 0.527),
    (0.163, 0.793),
    (0.286, 0.736),
    (0.327, 0.664),
    (0.445, 0.596),
    (0.141, 0.564),
    (0.250, 0.586),
)


def selten_chmura() -> Iterator[Row]:
    """P1 and P2: Nash and logit equilibria of experimental games, and how far people are from them."""
    for k in range(8):
        game = f"selten_chmura_{k + 1}"
        nash = equilibria.solve(game, "support_enumeration", all=True)
        yield near(f"{game}: number of Nash equilibria", 1, len(nash), 0)
        yield from _both(f"{game}: Nash", np.array(MIXED[k]) / 11, nash[0].profile[:, 0], 1e-9)
        yield from _both(f"{game}: logit, λ = 1.05", QUANTAL[k], _first(game, "qre", precision=1.05), 1e-3)
    yield near("mean squared distance of Nash from people", 0.035132, _distance(np.array(MIXED) / 11), 1e-6)
    logit = [_first(f"selten_chmura_{k + 1}", "qre", precision=0.9659) for k in range(8)]
    yield near("mean squared distance of logit, λ = 0.9659, from people", 0.004543, _distance(np.array(logit)), 1e-6)
    yield from _both("goeree_holt_palfrey_4: Nash", (0.5312, 0.4688), _first("goeree_holt_palfrey_4", "nash"), 6e-5)


def _distance(plays: np.ndarray) -> float:
    return float(np.square(plays - np.array(HUMANS)).sum(axis=1).mean())


RQE = (
    ((0.21, 0.555), (0.1, 100), (0.08040, 0.68988), (0.081049, 0.692011)),
    ((0.68, 10), (0.08, 2), (0.21423, 0.52451), (0.214234, 0.524509)),
    ((0.216, 0.837), (0.1, 56), (0.16290, 0.79290), (0.163606, 0.793574)),
    ((0.35, 1.64), (0.1, 30), (0.28709, 0.73619), (0.288058, 0.736607)),
    ((0.38, 2.7), (0.1, 10), (0.32783, 0.66474), (0.328234, 0.664830)),
    ((0.92, 3.8), (0.1, 6), (0.45801, 0.60991), (0.459606, 0.610483)),
    ((0.49, 1.88), (0.1, 11), (0.14151, 0.56415), (0.141954, 0.565353)),
    ((0.36, 2.8), (0.1, 10), (0.24923, 0.58604), (0.249887, 0.586607)),
)


def risk_averse_quantal() -> Iterator[Row]:
    """P3: exact fixed points, the output of the authors' code, which had not quite converged, and people."""
    for k, (temperature, risk, authors, exact) in enumerate(RQE):
        game = f"selten_chmura_{k + 1}"
        play = _first(game, "rqe", temperature=temperature, risk=risk, barrier="log")
        yield from _both(f"{game}: exact", exact, play, 1e-6)
        yield from _both(f"{game}: authors", authors, play, 5e-3)
        yield from _both(f"{game}: people", HUMANS[k], play, 0.02)


def logit() -> Iterator[Row]:
    """P4 and P5: the logit path of asymmetric matching pennies, its fit to data, and projected replicator dynamics."""
    game = "asymmetric_matching_pennies"
    for precision, play in ((1, (0.586784, 0.451807)), (2, (0.617522, 0.371982)), (3, (0.616897, 0.314016))):
        yield from _both(f"logit, λ = {precision}", play, _first(game, "qre", precision=precision), DIGITS)
    with jax.enable_x64(True):
        seen = 128 * np.array([[0.527, 1 - 0.527], [0.366, 1 - 0.366]])
        best = equilibria.fit(equilibria.load(game), seen)
    yield near("most likely λ", 1.845610, best.precision, 1e-5)
    yield from _both("profile there", (0.615651, 0.383291), best.profile[:, 0], 2e-6)
    yield near("log-likelihood", -174.764532, best.log_likelihood, DIGITS)
    options = {"least": 1e-8, "rate": 4e-3, "steps": 50_000, "tolerance": 0.0, "average": "last"}
    found = equilibria.solve([[[2, 1, 0], [0, -1, -2]]] * 2, "projected_replicator", **options)
    yield at_least("projected replicator dynamics: first action", "> 0.999", float(found.profile[0, 0]), 0.999)
    yield shown("projected replicator dynamics: NashConv", float(found.payoff_regret.sum()))


CASES: dict[str, tuple[str, Callable[[], Iterator[Row]]]] = {
    "constant_sum": ("Constant-sum games", zero_sum),
    "other_games": ("Games that are not constant-sum", other_games),
    "stag_hunts": ("Stag hunts", stag_hunts),
    "entropic": ("Entropic risk", entropic),
    "replies": ("Best replies and fictitious play", replies),
    "selten_chmura": ("Experimental games", selten_chmura),
    "risk_averse_quantal": ("Risk-averse quantal response", risk_averse_quantal),
    "logit": ("Logit paths and replicator dynamics", logit),
}


def experiments(scale: str) -> list[Experiment]:
    """One a group of games."""
    return [
        Experiment(name, title, f"{(rows.__doc__ or '').strip()}", 1, lambda rows=rows: list(rows()))
        for name, (title, rows) in CASES.items()
    ]
