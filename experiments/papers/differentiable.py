"""Differentiable opponent shaping: what its papers and their public code report, and what we get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import envs
import shaping
from envs import Environment
from experiments.reproduce import Experiment, Row, at_least, factor, near, shown
from shaping import Exact, GradientLearner, Learner, Lola, Match, Naive, Pola
from shaping.cola import Cola, inconsistency
from shaping.dynamics import HigherOrderLola
from shaping.maml import Maml
from shaping.meta_value import MetaValue
from shaping.networks import LogitTable

MEVA_ROUNDS = 300
MAML_STARTS = {"ipd2": 10, "chicken": 40}
BATCH = 32  # seeds side by side: wider programs are no faster on a CPU, and some crash there (jaxlib 0.10)

INTRODUCTION = """# Differentiable opponent shaping: published and measured

`python run.py reproduce differentiable` computes every number on this page and compares it with what papers, or runs
of their public code, report. Exact values throughout; a reward is per step, a loss minus that. What "published" stands
for is said under each heading. Rows without a tolerance are for information.
"""


def play(
    env: Environment, learners: Sequence[Learner], steps: int, seeds: int, prepare: Callable[..., Any] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Tables after `steps` steps, and rewards per step after every one, the start first.

    Args:
        env: the game.
        learners: one a seat, on the exact objective.
        steps: T.
        seeds: S.
        prepare: (match, initial states, key) → states to begin with.

    Returns:
        `[S, n, O, L]` and `[S, T + 1, n]`.
    """
    match = Match.of(env, learners)
    value = Exact("per_step") if env.horizon > 1 else Exact()

    def run(seed: Any) -> Any:
        key = jax.random.key(seed)
        states = shaping.init(match, key)
        states = prepare(match, states, key) if prepare else states
        tables = lambda states: shaping.joint(match, shaping.policies(match, states))[0]  # noqa: E731

        def step(states: Any, index: Any) -> tuple[Any, Any]:
            states = shaping.step(match, states, key, index)[0]
            return states, value.value(env, tables(states))

        first = value.value(env, tables(states))
        states, rewards = jax.lax.scan(step, states, jnp.arange(steps))
        return tables(states), jnp.concatenate([first[None], rewards])

    with jax.numpy_dtype_promotion("standard"):
        found = jax.jit(lambda seeds: jax.lax.map(run, seeds, batch_size=BATCH))(jnp.arange(seeds))
    return jax.tree.map(np.asarray, found)


def pair(name: str, count: int = 2, **fields: Any) -> list[Learner]:
    """The same learner in every seat."""
    return [shaping.make(name, **fields)] * count


def exact(direction: Any, rate: float = 1.0, std: float = 1.0) -> GradientLearner:
    """A learner that follows `direction` on exact values."""
    return GradientLearner(LogitTable(std), Exact(), direction, rate)


def of_rate(rate: float, consensus: float = 1.0) -> dict[str, dict[str, Any]]:
    """The rules of the notebook of arXiv 1811.08469, all rates equal."""
    ahead = {"learning_rate": rate, "lookahead_rate": rate}
    return {
        "naive": {"learning_rate": rate},
        "extragradient": ahead,
        "cgd": ahead,
        "sga": {"learning_rate": rate},
        "lookahead": ahead,
        "lss": {"learning_rate": rate},
        "consensus": {"learning_rate": rate, "consensus": consensus},
        "lola": ahead | {"expansion": "taylor"},
        "sos": ahead,
    }


def tandem() -> list[Row]:
    """End states of the tandem game: mean losses of both players."""
    published = {
        "sos": (0.026, -0.026), "lola": (0.441, 0.446), "lookahead": (0.003,), "naive": (-0.001,), "cgd": (0.008,),
        "extragradient": (-0.007,), "sga": (0.011,), "lss": (0.012,), "consensus": (2.006, 1.997),
    }  # fmt: skip
    rows = []
    for name, fields in of_rate(0.1).items():
        _, rewards = play(envs.make("tandem"), pair(name, initial_std=0.1, **fields), 29, 100)
        losses = -rewards[:, -1].mean(axis=0)
        for seat, number in enumerate(published[name]):
            rows.append(near(f"{name}, loss {seat + 1}", number, losses[seat], 0.04))
        if name == "lola":
            rows.append(near("lola, mean of both losses (closed form 4/9)", 4 / 9, losses.mean(), 0.001))
    return rows


def matching_pennies() -> list[Row]:
    """One-shot matching pennies: distance from the equilibrium."""
    published = {
        "sos": 0.014, "lola": 0.019, "lookahead": 0.021, "extragradient": 0.017, "cgd": 0.034, "sga": 0.047,
        "consensus": 0.171, "lss": 0.216, "naive": 0.361,
    }  # fmt: skip
    rows, ends = [], {}
    for name, fields in of_rate(1.0).items():
        tables, _ = play(envs.make("matching_pennies", horizon=1), pair(name, **fields), 100, 2000)
        distance = np.abs(np.asarray(jax.nn.sigmoid(tables)) - 0.5).mean(axis=(1, 2, 3))
        ends[name] = float(distance.mean())
        low, high = np.quantile(distance.reshape(-1, 20).mean(axis=1), (0.005, 0.995))  # what 20 runs may show
        low, high = min(low, ends[name] / 1.5), max(high, ends[name] * 1.5)
        passed = bool(low <= published[name] <= high)
        words = f"published in [{low:.3f}, {high:.3f}]"
        rows.append(Row(f"{name}, mean of abs(p - 1/2)", published[name], ends[name], words, passed))
    others = max(ends[name] for name in published if name not in ("consensus", "lss", "naive"))
    ordered = others < ends["consensus"] < ends["lss"] < ends["naive"]
    rows.append(Row("the others < consensus < lss < naive", "yes", "yes" if ordered else "no", "order", ordered))
    return rows


def prisoners_dilemma() -> list[Row]:
    """End states of the iterated prisoner's dilemma, 100 steps of rate 1 from N(0, 1)."""
    published = {
        "naive": (1.999, 0.0), "extragradient": (1.999, 0.0), "cgd": (1.979, 0.096), "sga": (1.940, 0.253),
        "lookahead": (1.920, 0.269), "lss": (1.746, 0.546), "consensus": (1.688, 0.284), "lola": (1.062, 0.214),
        "sos": (1.055, 0.202),
    }  # fmt: skip
    rows, seeds = [], 400
    for name, fields in of_rate(1.0).items():
        _, rewards = play(envs.make("ipd2"), pair(name, **fields), 100, seeds)
        losses = -rewards[:, -1].mean(axis=1)
        mean, std = published[name]
        error = 3 * float(np.hypot(std / 5, losses.std() / seeds**0.5))
        rows.append(
            near(f"{name}, loss (std {losses.std():.3f}, published {std:.3f})", mean, losses.mean(), max(error, 0.005))
        )
    return rows


def consistency() -> list[Row]:
    """Mean squared inconsistency of LOLA, its higher orders and COLA in the tandem game."""
    table = {  # rate: LOLA, HOLA2, HOLA6: published, exact; COLA published
        1.0: ((128.0, 128.0), (512.0, 512.0), (131072.0, 131072.0), 4.84e-14),
        0.5: ((12.81, 40 / 3), (14.05, 40 / 3), (12.35, 40 / 3), 2.62e-14),
        0.3: ((2.61, 2.541), (2.05, 2.090), (0.66, 0.5915), 4.09e-14),
        0.1: ((0.08, 0.07875), (9.13e-3, 9.170e-3), (1.62e-6, 1.783e-6), 6.55e-14),
        0.01: ((1.41e-5, 1.395e-5), (2.10e-8, 2.015e-8), (3.69e-14, 1.1e-19), 8.58e-14),
    }
    rows = []
    nodes, weights = np.polynomial.legendre.leggauss(3)  # exact for the quadratic integrand
    with jax.enable_x64(True):
        env = envs.make("tandem")
        points = jnp.array([[[[x]], [[y]]] for x in nodes for y in nodes])
        mass = np.outer(weights, weights).ravel() / 4
        value = partial(_value, env)
        for rate, (*orders, cola) in table.items():
            for order, (published, closed) in zip((1, 2, 6), orders, strict=True):
                found = float(mass @ _order(value, points, rate, order)[0])
                what = f"HOLA{order}, rate {rate:g}" if order > 1 else f"LOLA, rate {rate:g}"
                if order == 6 and rate == 0.01:
                    rows.append(factor(f"{what} (published: rounding of float32)", closed, found, 1.1))
                    continue
                rows.append(factor(f"{what}, published", published, found, 1.15))
                rows.append(factor(f"{what}, closed form", closed, found, 1.002))
            rule = Cola(rate, 1.0, 8, 1, "relu", 60000, 8, 0.1, 500)
            learned = jax.jit(lambda key, rule=rule: rule.fit(value, (points[0],), key))(jax.random.key(0))
            every = partial(rule.every, learned)
            found = mass @ jax.vmap(lambda p, e=every, r=rate: inconsistency(r, value, (p,), e))(points)
            most = 1e-7 if rate > 0.01 else 1e-9
            rows.append(Row(f"COLA, rate {rate:g}", cola, float(found), f"≤ {most:g}", bool(found <= most)))
    return rows


def _order(value: Any, points: Any, rate: float, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance of higher-order LOLA from the next order, and itself, at each of `points` `[K, n, O, L]`."""

    def at(params: Any) -> Any:
        of_order = partial(HigherOrderLola(rate).of_order, value, (params,), jax.random.key(0))
        (low,), (high,) = of_order(order), of_order(order + 1)
        return ((low - high) ** 2).sum(), low

    return jax.tree.map(np.asarray, jax.jit(lambda points: jax.lax.map(at, points, batch_size=20))(points))


def _value(env: Environment, params: Any, key: Any) -> Any:
    return Exact().value(env, params[0])


def prisoners_consistency() -> list[Row]:
    """Mean squared inconsistency in the iterated prisoner's dilemma, table 3a of COLA."""
    published = {1.0: (39.56, 21.16, 0.65), 0.03: (1.72e-3, 4.72e-6, 0.33)}
    cosines = {(1.0, 1): 0.77, (1.0, 2): 0.70, (0.03, 1): 0.96, (0.03, 2): 0.98}
    env, rows = envs.make("ipd2"), []
    value = partial(_value, env)
    points = jax.random.uniform(jax.random.key(1), (2000, 2, 5, 1), minval=-7.0, maxval=7.0)
    for rate, (lola, second, cola) in published.items():
        rule = Cola(rate, fitting_steps=20000)
        learned = jax.jit(lambda key, rule=rule: rule.fit(value, (points[0],), key))(jax.random.key(0))
        every = partial(rule.every, learned)
        spread = jax.lax.map(lambda p, e=every, r=rate: inconsistency(r, value, (p,), e), points, batch_size=50)
        said = jax.vmap(lambda p, e=every: e((p,))[0])(points)
        for order, number in ((1, lola), (2, second)):
            inconsistent, direction = _order(value, points, rate, order)
            name = "LOLA" if order == 1 else f"HOLA{order}"
            rows.append(shown(f"{name}, rate {rate:g}", inconsistent.mean(), number))
            rows.append(
                shown(f"cosine of COLA and {name}, rate {rate:g}", _cosine(said, direction), cosines[rate, order])
            )
        rows.append(shown(f"COLA, rate {rate:g}", float(spread.mean()), cola))
    return rows


def _cosine(left: Any, right: Any) -> float:
    left, right = (np.asarray(side).reshape(len(side), -1) for side in (left, right))
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(((left * right).sum(axis=1) / lengths).mean())


def lola_2018() -> list[Row]:
    """Tables 3 and 4 of LOLA: exact gradients in the prisoner's dilemma and in matching pennies."""
    rows, game = [], envs.make("ipd2")
    first_order = Lola(expansion="taylor", terms="shaping")
    for name, rule, share, mean, std in (
        ("naive", Naive(), 20.8, -1.98, 0.14),
        ("lola", first_order, 81.0, -1.06, 0.19),
    ):
        tables, rewards = play(game, [exact(rule)] * 2, 200, 500)
        last = rewards[:, -1]
        found = tit_for_tat(tables, last, -2.0, -1.0).mean() * 100
        rows.append(near(f"{name} against itself, reward (published std {std})", mean, last.mean(), 0.1))
        rows.append(shown(f"{name}, share of tit-for-tat in %, by the classifier of POLA", found, share))
    pennies = envs.make("matching_pennies", discount=0.9)
    for name, rule, std in (("naive", Naive(), 0.37), ("lola", first_order, 0.02)):
        _, rewards = play(pennies, [exact(rule)] * 2, 200, 500)
        rows.append(
            near(f"{name} in matching pennies, reward (published std {std})", 0.0, rewards[:, -1, 0].mean(), 0.1)
        )
        rows.append(near(f"{name} in matching pennies, std", std, rewards[:, -1, 0].std(), 0.1))
    half = {
        name: exact(rule, 0.5) for name, rule in (("naive", Naive()), ("lola", first_order.replace(lookahead_rate=0.5)))
    }
    cells = {("naive", "naive"): (-1.99, -1.99), ("lola", "lola"): (-1.04, -1.04), ("naive", "lola"): (-1.54, -1.28)}
    for names, published in cells.items():
        _, rewards = play(game, [half[name] for name in names], 200, 500)
        for seat in (0, 1) if names[0] != names[1] else (0,):
            what = f"rate 0.5: {names[seat]} against {names[1 - seat]}"
            rows.append(near(what, published[seat], rewards[:, -1, seat].mean(), 0.1))
    return rows


def tit_for_tat(tables: np.ndarray, rewards: np.ndarray, least: float, best: float) -> np.ndarray:
    """By seed, whether the classifier of POLA's code calls both players tit-for-tat.

    Neither co-operates with .65 or more after mutual defection or after a defection of the other, and both get more
    than .8 of what co-operation adds to defection.
    """
    chance = 1 / (1 + np.exp(-tables[..., 0].astype(float)))  # START, CC, CD, DC, DD, own action first
    fair = rewards > least + 0.8 * (best - least)
    return np.all((chance[..., 2] < 0.65) & (chance[..., 4] < 0.65) & fair, axis=1)


def meta_game_cells() -> list[Row]:
    """Naive, LOLA, static and M-MAML cells of the tables of M-FOS: means over 100 updates."""
    published = {  # of the first against the second, and of the second against the first
        "ipd2": {
            ("static", "static"): (-1.495, -1.495),
            ("static", "naive"): (-2.45, -0.99),
            ("static", "lola"): (-1.738, -1.362),
            ("static", "maml"): (-2.245, -1.118),
            ("naive", "naive"): (-1.983, -1.983),
            ("naive", "lola"): (-1.525, -1.302),
            ("naive", "maml"): (-1.275, -1.253),
            ("lola", "lola"): (-1.096, -1.096),
            ("lola", "maml"): (-1.042, -1.151),
            ("maml", "maml"): (-1.174, -1.174),
        },
        "chicken": {
            ("static", "static"): (-25.1, -25.1),
            ("static", "naive"): (0.49, -0.515),
            ("static", "lola"): (-48.6, -47.8),
            ("static", "maml"): (0.33, -0.66),
            ("naive", "naive"): (-0.002, -0.002),
            ("naive", "lola"): (-0.98, 0.95),
            ("naive", "maml"): (-0.265, 0.27),
            ("lola", "lola"): (-86.97, -86.97),
            ("lola", "maml"): (0.400, -0.42),
            ("maml", "maml"): (-0.150, -0.150),
        },
    }
    rows = []
    for game, cells in published.items():
        env = envs.make(game)
        learners = {
            "static": exact(Naive(), 0.0),
            "naive": exact(Naive()),
            "lola": exact(Lola(expansion="taylor")),
            "maml": exact(Maml(fitting_steps=0)),
        }
        count = MAML_STARTS[game]
        learned = {"maml": fitted(env, Maml(), count)}
        start_of = np.array([drawn_of(jax.random.key(seed), count) for seed in range(2048)])
        for names, numbers in cells.items():
            prepare = partial(seat_fitted, learned, {"maml": Maml()}, names)
            _, rewards = play(env, [learners[n] for n in names], 100, 2048, prepare)
            means = rewards[:, 1:].mean(axis=1)  # [S, n]
            spread = np.std([means[start_of == start].mean(axis=0) for start in range(count)], axis=0, ddof=1)
            for seat in (0, 1) if names[0] != names[1] else (0,):
                tolerance = _tolerance(game, numbers[seat])
                if "maml" in names:  # published for ten starts
                    tolerance = max(0.05, tolerance, 3 * float(spread[seat]) * (1 / count + 1 / 10) ** 0.5)
                what = f"{game}: {names[seat]} against {names[1 - seat]}"
                rows.append(near(what, numbers[seat], means[:, seat].mean(), tolerance))
    return rows


def _tolerance(game: str, published: float) -> float:
    if game == "chicken":
        return max(0.1, 0.1 * abs(published) if published < -20 else 0.0)
    return 0.02


def fitted(env: Environment, rule: Any, count: int, seed: int = 0) -> Any:
    """What `rule` learns before play, `count` times, leaves `[count, ...]`."""
    learner = exact(rule)
    example = (jnp.stack([learner.network.init(env, jax.random.key(0))] * env.num_players),)
    keys = jax.random.split(jax.random.key(seed), count)
    with jax.numpy_dtype_promotion("standard"):
        return jax.jit(lambda keys: jax.lax.map(lambda key: rule.fit(partial(_value, env), example, key), keys))(keys)


def drawn_of(key: Any, count: int) -> Any:
    """Which of `count` trained learners plays under `key`."""
    return jax.random.bits(key) % count


def seat_fitted(
    learned: dict[str, Any], rules: dict[str, Any], names: Sequence[str], match: Match, states: Any, key: Any
) -> Any:
    """Give seats whose name has something `learned`, leaves `[K, ...]`, one of the K, the same in all seats."""
    changed = list(states)
    for group, seats in enumerate(match.seats):
        name = names[seats[0]]
        if name not in learned:
            continue
        drawn = jnp.full(len(seats), drawn_of(key, len(jax.tree.leaves(learned[name])[0])))
        own = jax.tree.map(lambda leaf, drawn=drawn: leaf[drawn], learned[name])
        (params,) = jax.vmap(rules[name].start)((states[group].params,), own)
        changed[group] = states[group]._replace(params=params, learned=own)
    return tuple(changed)


def pola() -> list[Row]:
    """How often POLA and LOLA find tit-for-tat, by the contribution factor."""
    rows, steps = [], {1.4: 4.0, 1.6: 2.5}
    for gain, published in {1.1: 20, 1.25: 20, 1.33: 20, 1.4: 20, 1.6: 1}.items():
        game = envs.make("public_goods", players=2, factor=gain)
        with jax.enable_x64(True):
            tables, rewards = play(game, [exact(Lola(3.0), 25.0, 0.1)] * 2, 30, 20)
        found = int(tit_for_tat(tables, rewards[:, -1], 0.0, gain - 1).sum())
        what = f"LOLA, factor {gain}: of 20 seeds (float64)"
        rows.append(near(what, published, found, 1) if gain <= 1.4 else shown(what, found, published))
        tables, rewards = play(game, [exact(Lola(3.0), 25.0, 0.1)] * 2, 30, 20)
        finite = bool(np.isfinite(tables).all())
        rows.append(Row(f"LOLA, factor {gain}: finite in float32", "16-20 seeds NaN" if gain > 1.3 else "yes",
                        "yes" if finite else "no", "yes", finite))  # fmt: skip
    for gain in (1.25, 1.33, 1.4, 1.6):
        game = envs.make("public_goods", players=2, factor=gain)
        rule = Pola(steps.get(gain, 5.0), 1, 0.0, 0.3, 200, 5 * 0.1)
        tables, rewards = play(game, [exact(rule, 1.0, 0.1)] * 2, 2, 20)
        found = int(tit_for_tat(tables, rewards[:, -1], 0.0, gain - 1).sum())
        what = f"outer POLA, factor {gain}: of 20 seeds"
        rows.append(near(what, 20, found, 1) if gain == 1.33 else shown(what, found))
    return rows


def many_look_aheads() -> list[Row]:
    """LOLA with many look-ahead steps extorts; mixed with the naive direction it co-operates."""
    game = envs.make("ipd2", reward=1.0, sucker=-1.0, temptation=2.0, punishment=0.0, discount=0.95)
    rows = []
    for count, weight in ((1, 1.0), (2, 1.0), (3, 0.75), (10, 0.6), (20, 0.4)):
        means = {}
        for p in dict.fromkeys((1.0, weight)):
            rule = Lola(10.0 if count == 1 else 5.0, count, shaping_weight=p)
            learner = GradientLearner(LogitTable(), Exact("per_step"), rule, 0.005, "adamw")
            _, rewards = play(game, [learner] * 2, 3000, 64)
            means[p] = float(rewards[:, -1].mean())
        what = f"{count} look-ahead step{'' if count == 1 else 's'}: mean reward, all C is 1"
        if weight == 1:
            rows.append(at_least(what, "co-operates", means[1.0], 0.75))
            continue
        rows.append(shown(what, means[1.0], "extorts"))
        least = means[1.0] + 0.05
        rows.append(
            at_least(f"{what}, mixed {weight:g} : {1 - weight:g} with naive", "co-operates", means[weight], least)
        )
    return rows


def meta_value() -> list[Row]:
    """The tournament of meta-value learning in the prisoner's dilemma: rewards after 300 steps."""
    published = {
        ("naive", "naive"): (-1.988, None), ("naive", "lola"): (-1.377, -1.357), ("naive", "maml"): (-1.524, -1.398),
        ("lola", "lola"): (-1.041, None), ("lola", "maml"): (-0.974, -1.290), ("maml", "maml"): (-1.224, None),
        ("meva", "naive"): (-0.551, -1.999), ("meva", "lola"): (-1.145, -1.032), ("meva", "maml"): (-0.534, -1.993),
        ("meva", "meva"): (-1.052, None),
    }  # fmt: skip
    errors = {  # published standard errors of the first of the two
        ("naive", "naive"): 0.003,
        ("naive", "lola"): 0.015,
        ("naive", "maml"): 0.017,
        ("lola", "lola"): 0.005,
        ("meva", "naive"): 0.002,
        ("meva", "lola"): 0.003,
        ("meva", "maml"): 0.002,
        ("meva", "meva"): 0.003,
    }
    env, rows = envs.make("ipd2"), []
    maml = Maml(learn_rate=True, fitting_horizon=300, fitting_steps=300, fitting_rate=0.1)
    starts = fitted(env, maml, 4)
    critics = {}
    for rival in ("self", "naive", "lola"):
        rule = MetaValue(rivals=rival, equivariant=rival == "self", fitting_rounds=MEVA_ROUNDS)
        critics[rival] = rule, fitted(env, rule, 1, seed=1)
    for names, numbers in published.items():
        met = {"meva": "self", "lola": "lola"}.get(names[1], "naive")  # the critic trained against naive meets maml
        rules = {
            "naive": Naive(),
            "lola": Lola(expansion="taylor", terms="shaping"),
            "maml": maml.replace(fitting_steps=0),
            "meva": critics[met][0].replace(fitting_rounds=0),
        }
        learned = {"maml": starts, "meva": critics[met][1]}
        prepare = partial(seat_fitted, learned, rules, names)
        _, rewards = play(env, [exact(rules[name]) for name in names], 300, 1024, prepare)
        last = rewards[:, -1]
        for seat, number in enumerate(numbers):
            if number is None:
                continue
            own = last[:, seat] if names[0] != names[1] else last.mean(axis=1)
            error = 3 * float(np.hypot(errors.get(names, 0.0), own.std() / 1024**0.5))
            known = seat == 0 and names in errors  # of the other cells no error is published
            tolerance = max(error, 0.02) if known else 0.05
            rows.append(near(f"{names[seat]} against {names[1 - seat]}", number, own.mean(), tolerance))
    return rows


def many_players() -> list[Row]:
    """Beyond the literature: LOLA among up to 200 players of the iterated prisoner's dilemma, by counts."""
    rows = []
    for players, steps, seeds in [(n, 200, 16) for n in (2, 3, 5, 10, 20)] + [(50, 400, 4), (200, 100, 1)]:
        env = envs.make("ipd", players=players, observe="counts")
        best = 2.0 * (players - 1)
        for label, names in (
            ("lola in all seats", ["lola"] * players),
            ("one lola, else naive", ["lola"] + ["naive"] * (players - 1)),
            ("naive in all seats", ["naive"] * players),
        ):
            match = Match.of(env, [shaping.make(name) for name in names], share=True)
            program = jax.jit(lambda keys, m=match, t=steps: jax.lax.map(partial(_train, m, t), keys))
            keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
            gain = (np.asarray(program(keys)).mean(axis=1) - 1) / (best - 1)
            above = int((gain > 0.5).sum())
            ours = f"median {np.median(gain):.2f}, above a half in {above} of {seeds}"
            rows.append(shown(f"n = {players}, {label}, {steps} steps, {seeds} seed{'' if seeds == 1 else 's'}", ours))
    return rows


def _train(match: Match, steps: int, key: Any) -> Any:
    """Reward per step `[n]` after `steps` steps."""
    states = jax.lax.fori_loop(
        0, steps, lambda index, states: shaping.step(match, states, key, index)[0], shaping.init(match, key)
    )
    return shaping.outcome(match, shaping.policies(match, states), key).reward_per_step


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
