"""Where learners end that differentiate: notebooks and tables of published papers, and many players."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import envs
import shaping
from experiments.papers.differentiable_play import (
    exact,
    pair,
    play,
    tit_for_tat,
)
from experiments.reproduce import Row, at_least, near, shown
from shaping import Exact, GradientLearner, Lola, Match, Naive, Pola
from shaping.networks import LogitTable

__all__ = [
    "lola_2018",
    "many_look_aheads",
    "many_players",
    "matching_pennies",
    "of_rate",
    "pola",
    "prisoners_dilemma",
    "tandem",
]


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
