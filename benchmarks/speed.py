"""Speed of environments and learners: `python benchmarks/speed.py`.

All measurements are interleaved in one process, repeated, and reported as medians with the spread, so that other load
on the machine hits all of them alike. Reference figures are quoted, not run: Pax (ucl-dark/pax), JaxMARL and the
notebooks of stable opponent shaping and M-FOS in PyTorch, all on two idle CPU cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import envs
import shaping
from experiments.cli import avoid_crashing_kernels
from experiments.tiles import Tiles

PAX_STEPS = {256: {2: 18.3e6, 3: 10.4e6, 4: 10.1e6, 5: 11.0e6}, 65536: {2: 10.6e6, 3: 8.5e6, 4: 6.9e6, 5: 7.0e6}}
COIN_STEPS = {256: 1.22e6, 4096: 1.13e6, 65536: 1.11e6}  # the faster of Pax and JaxMARL
TRAINING_STEPS = {
    ("ppo_gru", 3): 99e3,
    ("ppo_gru", 4): 71e3,
    ("ppo_gru", 5): 47e3,
    ("tabular", 2): 437e3,
    ("ppo", 2): 196e3,
}  # of Pax, all seats alike
NOTEBOOK_UPDATES = {
    "naive": 1191.0,
    "lola": 500.0,
    "lookahead": 645.0,
    "sos": 417.0,
    "consensus": 509.0,
    "sga": 314.0,
    "extragradient": 630.0,
    "cgd": 227.0,
    "lss": 128.0,
}  # one 2-player seed
SHAPING_STEPS = {
    ("shaper", "tabular", 2): 482e3,
    ("mfos", "tabular", 2): 192e3,
    ("good_shepherd", "tabular", 2): 633e3,
    ("shaper", "pax_ppo_gru", 3): 79e3,
    ("shaper", "pax_ppo_gru", 4): 50e3,
    ("shaper", "pax_ppo_gru", 5): 28e3,
}  # of Pax: 2 environments x 100 steps x 100 inner episodes, 1 set of rivals, 32 candidates (n = 2) or 16
META_EPISODES = 535.0  # of the PyTorch code of M-FOS, 4096 side by side
PLAYERS, BATCHES = (2, 3, 4, 5), (256, 4096, 65536)


def actions_of(words: Any, shape: tuple[int, ...], actions: int) -> Any:
    """Independent uniform actions, 2 or 4 of them, as many from each random word as it has bits for."""
    width = actions.bit_length() - 1
    bits = (words[None] >> jnp.arange(0, 32, width, dtype=jnp.uint32)[:, None]) & (actions - 1)
    return bits.astype(jnp.int32).reshape(-1)[: int(np.prod(shape))].reshape(shape)


@partial(jax.jit, static_argnums=(2, 3, 4))
def play_randomly(env: Any, key: Any, batch: int, steps: int, unroll: int) -> Any:
    """`steps` steps of `batch` environments; rewards and observations are summed, so that nothing is optimised away."""
    reset_key, key, env_key = jax.random.split(key, 3)
    state, obs = jax.vmap(env.reset)(jax.random.split(reset_key, batch))
    per_word = 32 // (env.num_actions.bit_length() - 1)
    words = jax.random.bits(key, (steps, -(-batch * env.num_players // per_word)), jnp.uint32)  # the chunk's at once
    keys = jax.random.split(env_key, (steps, batch))  # not computed for games without randomness

    def step(carry: Any, drawn: Any) -> tuple[Any, None]:
        state, rewards, seen = carry
        words, keys = drawn
        actions = actions_of(words, (batch, env.num_players), env.num_actions)
        state, timestep = jax.vmap(env.step)(state, actions, keys)
        return (state, rewards + timestep.reward, seen + timestep.obs), None

    start = (state, jnp.zeros((batch, env.num_players)), jnp.zeros_like(obs))
    return jax.lax.scan(step, start, (words, keys), unroll=unroll)[0]


@partial(jax.jit, static_argnums=3)
def learn(match: Any, states: Any, keys: Any, steps: int) -> Any:
    """`steps` updates of all seats, for every seed."""

    def one(states: Any, key: Any) -> Any:
        return jax.lax.fori_loop(0, steps, lambda i, s: shaping.step(match, s, key, i)[0], states)

    return jax.vmap(one)(states, keys)


def environment_cases() -> dict[str, tuple[Callable[[], Any], float, float | None]]:
    """Name → (what to time, environment steps in it, reference steps a second)."""
    cases: dict[str, tuple[Callable[[], Any], float, float | None]] = {}
    for players in PLAYERS:
        for batch in BATCHES:
            env, steps = envs.make("ipd", players=players), max(100, 2**20 // batch)
            env = env.replace(horizon=steps)
            reference = PAX_STEPS.get(batch, {}).get(players)
            run = partial(play_randomly, env, jax.random.key(0), batch, steps, 2 if batch < 4096 else 1)
            cases[f"ipd n = {players}, batch {batch}"] = (run, batch * steps, reference)
    for batch in BATCHES:
        steps = max(50, 2**18 // batch)
        env = envs.make("coin_game", horizon=steps)
        run = partial(play_randomly, env, jax.random.key(0), batch, steps, 1)
        cases[f"coin_game n = 2, batch {batch}"] = (run, batch * steps, COIN_STEPS[batch])
    return cases


def training_cases() -> dict[str, tuple[Callable[[], Any], float, float | None]]:
    """Name → (what to time, environment steps in it, reference steps a second): 100 environments x 100 steps an update.

    The last four show how the cost grows with equal seats.
    """
    cases: dict[str, tuple[Callable[[], Any], float, float | None]] = {}
    settings = [(learner, players, "ipd", {}) for learner, players in TRAINING_STEPS]
    settings += [("ppo_gru", players, "ipd", {"gradient": "one_step"}) for players in (3, 4, 5)]  # as Pax has it
    settings += [("ppo", 2, "coin_game", {}), *(("ppo", players, "cournot", {}) for players in (2, 4, 8, 16))]
    for learner, players, game, fields in settings:
        env = envs.make(game, players=players, horizon=100)
        match = shaping.Match.of(env, [shaping.make(learner, **fields)] * players, batch=100)
        keys = jax.vmap(jax.random.key)(jnp.arange(1))
        states = jax.vmap(partial(shaping.init, match))(keys)
        run = partial(learn, match, states, keys, 2)
        reference = TRAINING_STEPS.get((learner, players)) if game == "ipd" else None
        how = "".join(f" ({value})" for value in fields.values())
        cases[f"{learner}{how} on {game} n = {players}, environment steps"] = (run, 2 * 100 * 100, reference)
    return cases


def learner_cases() -> dict[str, tuple[Callable[[], Any], float, float | None]]:
    """Name → (what to time, updates × seeds in it, reference updates a second), for every rule of the notebook."""
    settings = [(rule, 2, seeds) for rule in NOTEBOOK_UPDATES for seeds in (1, 1024)]
    settings += [(rule, players, 64) for rule in NOTEBOOK_UPDATES for players in (3, 4, 5)]
    cases: dict[str, tuple[Callable[[], Any], float, float | None]] = {}
    for learner, players, seeds in settings:
        env = envs.make("ipd", players=players)
        match = shaping.Match.of(env, [shaping.make(learner)] * players)
        keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
        states = jax.vmap(partial(shaping.init, match))(keys)
        steps = {2: 2000 if seeds == 1 else 50, 3: 20, 4: 4, 5: 1}[players]
        run = partial(learn, match, states, keys, steps)
        reference = NOTEBOOK_UPDATES[learner] if players == 2 else None
        cases[f"exact {learner} n = {players}, seeds {seeds}"] = (run, seeds * steps, reference)
    return cases


def counting_cases() -> dict[str, tuple[Callable[[], Any], float, float | None]]:
    """Name → (what to time, updates in it, None): LOLA among many players who count, one seed."""
    cases: dict[str, tuple[Callable[[], Any], float, float | None]] = {}
    for players in (10, 50, 100, 200):
        for learners in (["lola"] * players, ["lola"] + ["naive"] * (players - 1)):
            env = envs.make("ipd", players=players, observe="counts")
            match = shaping.Match.of(env, [shaping.make(name) for name in learners], share=True)
            keys = jax.vmap(jax.random.key)(jnp.arange(1))
            states = jax.vmap(partial(shaping.init, match))(keys)
            steps = max(1, 100 // players)
            who = "lola" if learners[-1] == "lola" else "one lola, else naive,"
            cases[f"exact {who} n = {players}, by counts"] = (partial(learn, match, states, keys, steps), steps, None)
    return cases


def shaping_cases() -> dict[str, tuple[Callable[[], Any], float, float | None]]:
    """Name → (what to time, environment steps or meta-episodes in it, reference): one generation, a seed a device."""
    cases: dict[str, tuple[Callable[[], Any], float, float | None]] = {}
    tabular = {"learning_rate": 1.0, "epochs": 2, "minibatches": 4, "clip": 0.2, "entropy": 0.02}
    for (name, rival, players), reference in SHAPING_STEPS.items():
        population = 32 if players == 2 else 16
        shaper = shaping.make(name, population=population)
        fields = tabular if rival == "tabular" else {"environments": 2}
        env = envs.make("ipd2") if players == 2 else envs.make("ipd", players=players)
        learners = [shaper] + [shaping.make(rival, **fields)] * (players - 1)
        match = shaping.Match.of(env, learners, batch=2, episodes=100)
        amount = population * 100 * 100 * 2 * jax.device_count()
        cases[f"{name} among {rival} n = {players}, environment steps"] = (generation(match), amount, reference)
    for rival in ("naive", "lola"):
        learners = [shaping.make("mfos_exact"), shaping.make(rival)]
        match = shaping.Match.of(envs.make("ipd2"), learners, episodes=101, rivals=256)
        run = generation(match)
        cases[f"mfos_exact against {rival}, meta-episodes"] = (run, 256 * jax.device_count(), META_EPISODES)
    return cases


def generation(match: Any) -> Callable[[], Any]:
    """One step of a match among shapers, for a seed on every device."""
    tiles = Tiles.of(jax.device_count(), match)
    one = lambda match, states, seed: shaping.step(match, states, jax.random.key(seed), jnp.int32(0))  # noqa: E731
    begin = tiles.program(lambda match, seed: shaping.init(match, jax.random.key(seed)))
    step, seeds = tiles.program(one), np.arange(jax.device_count())
    states: list[Any] = []

    def run() -> Any:
        if not states:
            states.append(begin((match,), (seeds,)))
        return step((match,), (states[0], seeds))

    return run


def measure(cases: dict[str, Any], repeats: int) -> list[dict[str, Any]]:
    """Time all cases, interleaved; the first call of each, with its compilation, is timed apart."""
    first, seconds = {}, {name: [] for name in cases}
    for repeat in range(repeats + 1):
        for name, (run, _, _) in cases.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            elapsed = time.perf_counter() - start
            seconds[name].append(elapsed) if repeat else first.setdefault(name, elapsed)
    rows = []
    for name, (_, amount, reference) in cases.items():
        median = float(np.median(seconds[name]))
        rate, spread = amount / median, (max(seconds[name]) - min(seconds[name])) / median
        row = {"case": name, "per_s": rate, "spread": spread, "reference": reference, "first_s": first[name]}
        rows.append(row | {"ratio": rate / reference if reference else None})
    return rows


def main() -> None:
    """Measure and print a Markdown table; `--json FILE` keeps the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json")
    parser.add_argument("--only", default="", help="only cases whose names contain this")
    parser.add_argument("--devices", type=int, default=1, help="CPU devices; shapers have a seed on each")
    args = parser.parse_args()
    avoid_crashing_kernels()
    if args.devices > 1:
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
        jax.config.update("jax_num_cpu_devices", args.devices)
    load, device = os.getloadavg()[0], jax.devices()[0].device_kind
    title = f"{device} ({platform.machine()}, {os.cpu_count()} cores), jax {jax.__version__}"
    print(f"{title}; load average before {load:.2f}; medians of {args.repeats} interleaved runs\n")
    kinds = [environment_cases, training_cases, learner_cases, counting_cases, shaping_cases]
    cases = {name: case for kind in kinds for name, case in kind().items() if args.only in name}
    rows = measure(cases, args.repeats)
    print("| case | per second | spread | reference | ratio | first call, s |\n|---|---|---|---|---|---|")
    for row in rows:
        reference, ratio = (f"{row['reference']:,.0f}", f"{row['ratio']:.1f}") if row["reference"] else ("", "")
        rate = f"{row['per_s']:,.0f}" if row["per_s"] >= 100 else f"{row['per_s']:.3g}"
        cells = (row["case"], rate, f"{row['spread']:.0%}", reference, ratio, f"{row['first_s']:.1f}")
        print(f"| {' | '.join(cells)} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\npeak memory of the process: {peak:.1f} GiB")
    if args.json:
        Path(args.json).write_text(json.dumps({"machine": title, "load": load, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
