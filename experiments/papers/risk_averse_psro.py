"""Managing risk in multi-agent systems (arXiv 2205.15434): what its claims come to on re-created environments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import envs
import equilibria
import shaping
from envs import Environment
from equilibria.learner_oracle import LearnerOracle
from equilibria.psro import Progress, Psro, iterate, start
from equilibria.risk import MeanVariance, Neutral
from experiments import checkpoint
from experiments.papers.risk_averse_psro_page import draw_frontier, frontier_lines
from experiments.reproduce import Experiment, Measured, Row, shown
from shaping import Match

__all__ = ["SCALES", "experiments", "overview"]

SCALES = ("smoke", "cpu", "full")

INTRODUCTION = """# Risk-averse populations: the claims, measured

`python run.py reproduce risk_averse_psro` computes every number on this page. The paper's own environments, payoffs and
tables are not public, so environments are re-created from what is said of them (see [conventions](../conventions.md)),
and nothing here has a published number to meet, but for the claim of seven times fewer crashes. γ has the unit 1 /
return; with "others" the variance is that which the others' policies cause, with "episodes" that of all returns, chance
included.
"""


@dataclass(frozen=True)
class Effort:
    """What is spent.

    Attributes:
        seeds: independent runs.
        iterations: of PSRO.
        updates: a response.
        entries: episodes of an entry of the empirical game.
        draws: of profiles of an evaluation; each plays 8 episodes.
        penalties: of mauling, in the stag hunt.
    """

    seeds: int
    iterations: int
    updates: int
    entries: int
    draws: int
    penalties: tuple[float, ...]


EFFORTS = {
    "smoke": Effort(2, 1, 2, 16, 4, (0.5,)),
    "cpu": Effort(5, 5, 200, 400, 125, (0.5, 5.0)),
    "full": Effort(20, 15, 1000, 2000, 500, (0.5, 1.0, 2.0, 5.0)),
}
TREMBLE = 0.02
EPISODES = 8


@dataclass(frozen=True)
class Method:
    """A way to grow populations.

    Attributes:
        solver: name.
        options: of the solver.
        gamma: of the oracle; 0 for one that is neutral to risk.
        uncertain: what varies, for the oracle; "episodes" lets the variance within an entry count for the solver too.
        self_play: how much of the target is the newest policy.
        newest: whether the newest policy is deployed, not a mixture.
    """

    solver: str
    options: dict[str, Any]
    gamma: float = 0.0
    uncertain: Literal["profiles", "episodes"] = "profiles"
    self_play: float = 0.0
    newest: bool = False


def averse(
    gamma: float, uncertain: Literal["profiles", "episodes"] = "profiles", solver: bool = True, oracle: bool = True
) -> Method:
    """Risk-averse PSRO, or one half of it."""
    options = {"risk": gamma, "tremble": TREMBLE} if solver else {}
    return Method("rae" if solver else "nash", options, gamma if oracle else 0.0, uncertain)


BASELINES = {
    "self-play": Method("uniform", {}, self_play=1.0, newest=True),
    "PSRO (uniform)": Method("uniform", {}),
    "PSRO (Nash)": Method("nash", {}),
    "PSRO (projected replicator)": Method("projected_replicator", {}),
    "PSRO (quantal response)": Method("qre", {}),
    "PSRO (trembling hand)": Method("trembling_hand", {}),
    "PSRO (maximin)": Method("security", {}),
}
DRIVING = BASELINES | {
    "RAE 0.01, others": averse(0.01),
    "RAE 0.1, others": averse(0.1),
    "RAE 0.01, episodes": averse(0.01, "episodes"),
    "RAE 0.03, episodes": averse(0.03, "episodes"),
    "RAE 0.1, episodes": averse(0.1, "episodes"),
    "averse solver, neutral oracle, 0.03": averse(0.03, "episodes", oracle=False),
    "neutral solver, averse oracle, 0.03": averse(0.03, "episodes", solver=False),
}
STAY = "stays behind (control)"


def slug(name: str) -> str:
    """Of a method, for files and the command line."""
    return "".join(own if own.isalnum() or own == "." else "_" for own in name.lower()).replace("__", "_").strip("_")


def rule(method: Method, effort: Effort) -> Psro:
    """As PSRO."""
    learner = shaping.make("ppo", learning_rate=0.005, entropy=0.1, minibatches=2, normalize=False, max_grad_norm=1e6)
    measure = MeanVariance(method.gamma) if method.gamma else Neutral()
    oracle = LearnerOracle(
        learner,
        measure,
        method.uncertain,
        updates=effort.updates,
        profiles=16,
        episodes=EPISODES,
        start="last" if method.newest else "fresh",
    )
    noise = method.options.get("risk", 0.0) if method.uncertain == "episodes" else 0.0
    solver = equilibria.make(method.solver, **method.options)
    return Psro(oracle, solver, self_play=method.self_play, episodes=effort.entries, noise=noise)


def grown(env: Environment, method: Method, effort: Effort, directory: Path) -> tuple[Psro, Progress]:
    """Populations of all seeds; goes on in `directory` where it was stopped."""
    psro, seeds = rule(method, effort), list(range(effort.seeds))
    progress = start(psro, env, seeds, 1 + effort.iterations)
    _, found, _ = checkpoint.restore_latest(directory, jax.tree.map(np.asarray, progress))
    if found is not None:
        progress = found._replace(iteration=int(found.iteration))
    while progress.iteration < effort.iterations:
        progress, _ = iterate(psro, env, progress, seeds)
        directory.mkdir(parents=True, exist_ok=True)
        checkpoint.save(directory, progress.iteration, jax.tree.map(np.asarray, progress))
    return psro, progress


def deployed(method: Method, progress: Progress) -> np.ndarray:
    """Mixtures `[S, n, K]`."""
    if not method.newest:
        return progress.profile
    newest = progress.games.sizes - 1
    return np.eye(progress.profile.shape[2])[newest]


@partial(jax.jit, static_argnums=(3,))
def _watch(psro: Psro, env: Environment, policies: Any, episodes: int, keys: Array) -> Any:
    """Returns `[S, P, E, n]` and what was seen, of policies with leaves `[S, P, n, ...]`."""
    one = lambda own, key: psro.oracle.watch(env, own, episodes, key)  # noqa: E731  # type: ignore[attr-defined]
    return jax.vmap(jax.vmap(one))(policies, keys)


def met(
    psro: Psro, env: Environment, row: tuple[Any, np.ndarray], column: tuple[Any, np.ndarray], effort: Effort
) -> dict[str, np.ndarray]:
    """Episodes of policies drawn from `row`, in seat 0, with those drawn from `column`, in all others.

    Args:
        psro: for its oracle.
        env: the game.
        row: populations, leaves `[S, n, K, ...]`, and mixtures, `[S, n, K]`.
        column: likewise.
        effort: draws.

    Returns:
        "return" and what the environment shows, of seat 0, `[S, P E]`.
    """
    n, seeds = env.num_players, len(row[1])
    rng = np.random.default_rng(0)
    chosen = np.stack(
        [
            np.stack(
                [
                    rng.choice(own.shape[2], effort.draws, p=own[seed, seat] / own[seed, seat].sum())
                    for seed in range(seeds)
                ]
            )
            for seat, own in ((seat, (row if seat == 0 else column)[1]) for seat in range(n))
        ],
        axis=2,
    )  # [S, P, n]

    def pick(own: np.ndarray, other: np.ndarray) -> np.ndarray:
        parts = [(own if seat == 0 else other)[np.arange(seeds)[:, None], seat, chosen[..., seat]] for seat in range(n)]
        return np.stack(parts, axis=2)

    policies = jax.tree.map(pick, row[0], column[0])
    keys = jax.random.split(jax.random.key(1), (seeds, effort.draws))
    returns, seen = _watch(psro, env, policies, EPISODES, keys)
    found = {"return": returns} | seen
    return {name: np.asarray(own)[..., 0].reshape(seeds, -1) for name, own in found.items()}


def _interval(values: np.ndarray) -> str:
    """Mean over seeds with a 95 % interval of a t distribution."""
    from scipy.stats import t

    if len(values) < 2:
        return f"{values.mean():.3g}"
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3g} ± {half:.2g}"


def _tail(values: np.ndarray, level: float = 0.05) -> np.ndarray:
    """Means `[S]` of the worst share of `values` `[S, E]`."""
    worst = np.sort(values, axis=1)[:, : max(1, int(level * values.shape[1]))]
    return worst.mean(axis=1)


# driving


def _road() -> Environment:
    return envs.make("driving")


def drive(name: str, effort: Effort, directory: Path) -> Measured:
    """One method on the road, among its own populations."""
    env, method = _road(), DRIVING[name]
    psro, progress = grown(env, method, effort, directory)
    side = progress.populations, deployed(method, progress)
    found = met(psro, env, side, side, effort)
    return Measured(_road_rows("own populations", found), {"method": name, "own": _road_data(found)})


def _road_data(found: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Of each seed."""
    returns = found["return"]
    return {
        "crashes": (1000 * (found["crashed"] > 0).mean(axis=1)).tolist(),
        "return": returns.mean(axis=1).tolist(),
        "deviation": returns.std(axis=1).tolist(),
        "tail": _tail(returns).tolist(),
        "overtakes": found["overtakes"].mean(axis=1).tolist(),
    }


def _road_rows(whom: str, found: dict[str, np.ndarray]) -> list[Row]:
    data = {name: np.array(values) for name, values in _road_data(found).items()}
    words = {
        "crashes": "crashes per 1000 episodes",
        "return": "mean return",
        "deviation": "standard deviation of returns",
        "tail": "mean of the worst 5 % of returns",
        "overtakes": "overtakes an episode",
    }
    return [shown(f"{whom}: {text}", _interval(data[name])) for name, text in words.items()]


def held_out(effort: Effort, directory: Path) -> Measured:
    """Every method against the populations of all others, and a car that never overtakes."""
    env, sides, last = _road(), {}, None
    for name, method in DRIVING.items():
        psro, progress = grown(env, method, effort, directory.parent / f"driving_{slug(name)}")
        sides[name] = progress.populations, deployed(method, progress)
        last = psro
    assert last is not None, "there are methods"
    rows, data = [], {}
    for name, side in sides.items():
        parts = [met(last, env, side, other, effort) for who, other in sides.items() if who != name]
        found = {key: np.concatenate([part[key] for part in parts], axis=1) for key in parts[0]}
        worst = max(float((part["crashed"] > 0).mean()) for part in parts)
        data[name] = _road_data(found) | {"worst": [1000 * worst]}
        rows.append(shown(f"{name}: crashes per 1000 episodes", _interval(np.array(data[name]["crashes"]))))
        rows.append(shown(f"{name}: mean return", _interval(np.array(data[name]["return"]))))
    control = _control(env, effort)
    data[STAY] = control
    rows.append(shown(f"{STAY}, with its like: mean return", _interval(np.array(control["return"]))))
    return Measured(rows + _verdict(data), {"held_out": data})


def _control(env: Environment, effort: Effort) -> dict[str, list[float]]:
    """A car that never overtakes, with its like."""
    stay = shaping.make("always_cooperate")
    match = Match.of(env, [stay] * env.num_players, batch=effort.draws * EPISODES)
    states = shaping.init(match, jax.random.key(0))
    trajectories, info = shaping.episode(match, shaping.policies(match, states), jax.random.key(1))
    returns = np.asarray(trajectories[0].reward.sum(axis=0))[None, :, 0]
    seen = {name: np.asarray(own.sum(axis=0))[None, :, 0] for name, own in info.items()}
    return _road_data({"return": returns} | seen)


COMPARABLE = 0.05
"""Mean returns are comparable up to this share of what a car gets that never overtakes."""


def _verdict(data: dict[str, dict[str, list[float]]]) -> list[Row]:
    """How many times fewer crashes than the best baseline, of which the mean return is comparable."""
    mean = {name: {key: float(np.mean(values)) for key, values in own.items()} for name, own in data.items()}
    best = min((mean[name]["crashes"], name) for name in BASELINES)
    rows = [shown("fewest crashes among baselines", f"{best[0]:.3g} ({best[1]}, return {mean[best[1]]['return']:.3g})")]
    for name in DRIVING:
        if name in BASELINES:
            continue
        slack = COMPARABLE * abs(mean[STAY]["return"])
        rivals = [other for other in BASELINES if mean[other]["return"] <= mean[name]["return"] + slack]
        if not rivals:
            rows.append(shown(f"{name}: baselines of comparable return", "none: all earn more"))
            continue
        fewest = min(rivals, key=lambda other: mean[other]["crashes"])
        here, there = mean[name]["crashes"], mean[fewest]["crashes"]
        times = f"{there / here:.3g}" if here > 0 else f"all of {there:.3g}"
        rows.append(shown(f"{name}: times fewer crashes than {fewest}, at comparable return", times, "7"))
    return rows


# the trust dilemma


def _grid(penalty: float) -> Environment:
    return envs.make("stag_hunt_grid", maul_penalty=penalty, horizon=30)


def threshold(env: Environment, draws: int = 2000) -> tuple[np.ndarray, float]:
    """The game of hunting and foraging by script, `[2, 2, 2]`, and the γ above which hunting is no equilibrium."""
    table = np.zeros((2, 2, 2))
    scripts = [shaping.make(name) for name in ("always_cooperate", "always_defect")]
    for i, j in np.ndindex(2, 2):
        match = Match.of(env, [scripts[i], scripts[j]], batch=draws)
        states = shaping.init(match, jax.random.key(0))
        trajectories, _ = shaping.episode(match, shaping.policies(match, states), jax.random.key(1))
        for seat in range(2):
            own = next(t for t, seats in zip(trajectories, match.seats, strict=True) if seat in seats)
            place = next(seats.index(seat) for seats in match.seats if seat in seats)
            table[seat, i, j] = float(own.reward.sum(axis=0)[:, place].mean())

    def hunts(gamma: float) -> bool:
        found = equilibria.solve(table, "rae", all=True, risk=gamma, tremble=TREMBLE)
        return any(own.profile[:, 0].min() > 1 - 1.5 * TREMBLE for own in found)

    low, high = 0.0, 1e-4
    if not hunts(low):
        return table, 0.0
    while hunts(high) and high < 1e4:
        high *= 2
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if hunts(middle) else (low, middle)
    return table, low


def trust(penalty: float, effort: Effort, directory: Path) -> Measured:
    """Who hunts and who forages, by method, below and above the γ of theory."""
    env = _grid(penalty)
    table, gamma = threshold(env)
    rows = [
        shown(
            "by script: hunt with a hunter, with a forager; forage with a hunter, with a forager",
            " / ".join(f"{own:.3g}" for own in table[0].ravel()),
        ),
        shown(f"by script: γ above which hunting is no risk-averse equilibrium (ε = {TREMBLE})", f"{gamma:.3g}"),
    ]
    names = ("self-play", "PSRO (uniform)", "PSRO (Nash)")
    methods = {name: BASELINES[name] for name in names}
    methods |= {"RAE, a third of that γ": averse(gamma / 3), "RAE, three times that γ": averse(3 * gamma)}
    shares = {}
    for name, method in methods.items():
        psro, progress = grown(env, method, effort, directory / slug(name))
        side = progress.populations, deployed(method, progress)
        found = met(psro, env, side, side, effort)
        hunted, foraged = found["hunted"].mean(axis=1), found["foraged"].mean(axis=1)
        share = hunted / np.maximum(hunted + foraged, 1e-9)
        shares[name] = share.tolist()
        rows.append(shown(f"{name}: share of stags", _interval(share)))
        rows.append(shown(f"{name}: mean return", _interval(found["return"].mean(axis=1))))
        rows.append(shown(f"{name}: maulings an episode", _interval(found["mauled"].mean(axis=1))))
    return Measured(rows, {"penalty": penalty, "gamma": gamma, "shares": shares})


# matrix games

MATRIX = ("stag_hunt", "trust_dilemma", "high_risk", "selten_chmura_7", "chicken")
CONCEPTS: dict[str, tuple[str, dict[str, Any]]] = {
    "Nash": ("nash", {}),
    "quantal response": ("qre", {}),
    "trembling hand": ("trembling_hand", {}),
    "risk-averse quantal": ("rqe", {}),
    "maximin": ("security", {}),
    "RAE": ("rae", {"tremble": TREMBLE}),
}


def matrix(name: str, effort: Effort) -> Measured:
    """Risk of solution concepts among themselves, and against each other's play, in one game."""
    game = equilibria.load(name)
    scale = float(game.scale())
    profiles = {}
    for label, (solver, options) in CONCEPTS.items():
        chosen: dict[str, Any] = options | ({"risk": 5.0 / scale} if solver in ("rae", "rqe") else {})
        profiles[label] = [np.asarray(equilibria.solve(name, solver, **chosen).profile, np.float64)]
    profiles["self-play"] = [
        np.asarray(equilibria.solve(name, "regret_matching", key=jax.random.key(seed), steps=3200).profile, np.float64)
        for seed in range(4 * effort.seeds)
    ]
    rows, data = [], {}
    for label, runs in profiles.items():
        others = [profile for who, found in profiles.items() if who != label for profile in found]
        among = np.mean([_moments(game, own, [own]) for own in runs], axis=0).tolist()
        out = np.mean([_moments(game, own, others) for own in runs], axis=0).tolist()
        data[label] = {"own": among, "held_out": out}
        rows.append(shown(f"{label}, with its like: mean / deviation / worst", " / ".join(f"{x:.3g}" for x in among)))
        rows.append(shown(f"{label}, with the others: mean / deviation / worst", " / ".join(f"{x:.3g}" for x in out)))
    least = min(data, key=lambda label: data[label]["held_out"][1])
    rows.append(shown("least deviation with the others", least))
    return Measured(rows, {"game": name, "concepts": data})


def _moments(game: Any, own: np.ndarray, others: list[np.ndarray]) -> list[float]:
    """Mean and deviation of payoffs, all chance included, and the least that may happen; means over players."""
    found = []
    for player in range(game.num_players):
        means, squares, worst = [], [], []
        for other in others:
            profile = np.array(other)
            profile[player] = own[player]
            joint = np.asarray(game.joint(jnp.asarray(profile, jnp.float32)))
            payoffs = np.asarray(game.payoffs[player])
            means.append((joint * payoffs).sum())
            squares.append((joint * payoffs**2).sum())
            worst.append(payoffs[joint > 1e-6].min())
        mean = float(np.mean(means))
        found.append((mean, float(np.sqrt(max(np.mean(squares) - mean**2, 0.0))), float(min(worst))))
    return np.mean(found, axis=0).tolist()


def experiments(scale: str) -> list[Experiment]:
    """All of them, at the effort of `scale`."""
    effort = EFFORTS[scale]
    found = [
        Experiment(
            f"matrix_{name}",
            f"Matrix games: {name}",
            f"γ is 5 over the largest difference of payoffs, ε = {TREMBLE}; self-play is regret matching from"
            f" {4 * effort.seeds} random starts, each by itself. Means over players, and over the others' profiles.",
            1,
            partial(matrix, name, effort),
        )
        for name in MATRIX
    ]
    grown_text = (
        f"{effort.iterations} iterations, responses by PPO of {effort.updates} updates of 128 episodes, entries of"
        f" {effort.entries} episodes, ε = {TREMBLE}. Means over {effort.seeds} seeds, 95 % intervals."
    )
    found += [
        Experiment(
            f"trust_{penalty:g}",
            f"Trust dilemma: a mauling costs {penalty:g}",
            f"`stag_hunt_grid` of 30 steps; {grown_text}",
            effort.seeds,
            partial(trust, penalty, effort),
            resumes=True,
        )
        for penalty in effort.penalties
    ]
    evaluated = f" Evaluated in {effort.draws * EPISODES} episodes a seed."
    found += [
        Experiment(
            f"driving_{slug(name)}",
            f"Driving: {name}",
            f"`driving`, two cars, a crash costs 20; {grown_text}{evaluated}",
            effort.seeds,
            partial(drive, name, effort),
            resumes=True,
        )
        for name in DRIVING
    ]
    text = f"Each in seat 0, its populations of all seeds with those of every other method; {grown_text}{evaluated}"
    found.append(
        Experiment(
            "driving_held_out", "Driving: held-out populations", text, effort.seeds, partial(held_out, effort), True
        )
    )
    return found


def overview(results: dict[str, dict[str, Any]], folder: Path) -> list[str]:
    """Lines of Markdown; draws the frontier of driving into `folder`."""
    own = {data["method"]: data["own"] for data in results.values() if "method" in data}
    out = results.get("driving_held_out", {}).get("held_out", {})
    lines = frontier_lines(own, out)
    if len(own) > 2:
        file = "risk_averse_psro.png"
        draw_frontier(folder / file, own, out, set(BASELINES))
        lines += ["", f"![Crashes against mean return]({file})"]
    return lines
