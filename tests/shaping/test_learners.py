"""Every registered learner, in every kind of environment it fits: the contract, and what a learner may look at."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import shaping
from shaping import Frozen, Match
from shaping.match import update as update_all

ENVIRONMENTS = {
    "ipd": {"players": 3, "horizon": 4},
    "rock_paper_scissors": {"horizon": 4},
    "coin_game": {"horizon": 4},
    "cournot": {"horizon": 4},
    "tandem": {},
    "counts": {"players": 3, "horizon": 4, "observe": "counts"},  # of the prisoner's dilemma
}
SHAPERS = {name for name in shaping.names() if shaping.make(name).span == "trial"}  # see test_trials.py
EXACT = {name for name in shaping.names() if getattr(shaping.make(name), "tables", False)} - SHAPERS
STRATEGIES = {
    "always_cooperate", "always_defect", "random", "uniform", "tit_for_tat", "generous_tit_for_tat", "grim",
    "win_stay_lose_shift", "zd_extortionate", "zd_generous", "zd_equaliser",
}  # fmt: skip
SAMPLED = [name for name in shaping.names() if name not in EXACT | STRATEGIES | SHAPERS]
NEEDS_DILEMMA = STRATEGIES - {"uniform"}
REFUSED = {
    "ipd": set(),
    "rock_paper_scissors": NEEDS_DILEMMA,
    "coin_game": EXACT
    | {"q_learning", "tabular", "pax_ppo_gru", "mfos_exact"}
    | NEEDS_DILEMMA - {"always_cooperate", "always_defect", "random"},
    "cournot": EXACT
    | {"q_learning", "tabular", "loqa", "pax_ppo_gru", "mfos", "mfos_ppo", "mfos_exact"}
    | NEEDS_DILEMMA,
    "tandem": {"q_learning", "loqa", "mfos", "mfos_ppo", "mfos_exact"} | NEEDS_DILEMMA,
    "counts": (EXACT | {"mfos_exact"}) - {"naive", "lookahead", "lola", "symlola", "optimistic"},
}
FIELDS = {
    "pola_dice": {"proximal_steps": 1},
    ("pola_dice", "cournot"): {"lookahead_rate": 1e-6, "proximal_rate": 1e-3},  # profits are in the thousands
    ("lola_dice", "cournot"): {"lookahead_rate": 1e-6},
    "cola": {"fitting_steps": 2},
    **{
        name: {"fitting_steps": 2, "fitting_horizon": 3, "fitting_batch": 2}
        for name in ("maml", "meta_pg", "meta_mapg")
    },
    "pax_ppo_gru": {"epochs": 1, "minibatches": 1},
    "meva": {"fitting_rounds": 1, "fitting_batch": 2, "width": 8, "quantiles": 4},
    ("pola_dice", "tandem"): {"lookahead_rate": 1e-3, "proximal_rate": 1e-2},  # sums of actions up to 10 are squared
    ("consensus", "tandem"): {"learning_rate": 0.05},  # with 0.1 every other step is back at the start
}


def standard(function):
    """optax multiplies a rate with a count, and flax normalises layers by vectors, which strict promotion refuses."""
    return jax.numpy_rank_promotion("allow")(jax.numpy_dtype_promotion("standard")(function))


def environment(game):
    return envs.make("ipd" if game == "counts" else game, **ENVIRONMENTS[game])


def seated(game, names, batch=4, **options):
    env = environment(game)
    names = [names] * env.num_players if isinstance(names, str) else names
    fields = {name: FIELDS.get(name, {}) | FIELDS.get((name, game), {}) for name in names}
    return Match.of(env, [shaping.make(name, **fields[name]) for name in names], batch=batch, **options)


@standard
def trained(match, steps=2, seed=0):
    chex.clear_trace_counter()
    key = jax.random.key(seed)
    states = jax.jit(shaping.init)(match, key)
    step = jax.jit(chex.assert_max_traces(shaping.step, n=2))  # once for the shapes of `eval_shape` below, if at all
    after = states
    for index in range(steps):
        after, metrics = step(match, after, key, jnp.int32(index))
    return states, after, metrics


@pytest.mark.parametrize("game", ENVIRONMENTS)
def test_every_learner_fits_or_says_why_not(game):
    env = environment(game)
    refused = {}
    for name in shaping.names():
        try:
            shaping.make(name, **FIELDS.get(name, {})).check(env, 4)
        except ValueError as error:
            refused[name] = str(error)
    if game in ("ipd", "counts"):
        refused.pop("zd_equaliser", None)  # whether there is one depends on the number of players
    assert set(refused) == REFUSED[game]
    assert all(len(message) > 30 for message in refused.values())


WITH_VALUES = ("ipd", "tandem", "counts")
QUICK = {("coin_game", "ppo"), ("rock_paper_scissors", "loqa")} | {
    ("ipd", name) for name in SAMPLED if name not in ("pola_dice", "pax_ppo_gru")
}
FITTING = [
    pytest.param(game, name, marks=() if (game, name) in QUICK else pytest.mark.slow)
    for game in ENVIRONMENTS
    for name in SAMPLED
    if name not in REFUSED[game]
]
FITTING += [
    pytest.param(game, name, marks=pytest.mark.slow) for game in WITH_VALUES for name in sorted(EXACT - REFUSED[game])
]


@pytest.mark.parametrize(("game", "name"), FITTING)
def test_every_learner_trains_through_the_same_loop(game, name):
    before, after, metrics = trained(seated(game, name))
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
    chex.assert_tree_all_finite((after, metrics))
    policies = [shaping.make(name).policy(states[0]) for states in (before, after)]
    moved = [float(jnp.abs(x - y).max()) for x, y in zip(*map(jax.tree.leaves, policies), strict=True)]
    assert max(moved) > 1e-5, "nothing was learned"


@pytest.mark.slow
def test_the_match_of_the_readme_takes_any_mixture():
    env = envs.make("ipd", players=5, horizon=4)
    names = ["ppo_gru", "tit_for_tat", "reinforce", "lola_dice", "q_learning"]
    match = Match.of(env, [shaping.make(name) for name in names], batch=4)
    _, after, metrics = trained(match)
    chex.assert_tree_all_finite((after, metrics))
    assert [set(own) for own in metrics][1] == set()
    acting = shaping.policies(match, after)
    outcome = jax.jit(shaping.outcome)(match, acting, jax.random.key(3))
    rate = float(outcome.statistics["C"].mean())
    np.testing.assert_allclose(outcome.reward_per_step.mean(), 1 + 7 * rate, rtol=1e-5)  # each C gives 2 to 4 others


BLIND = [name for name in SAMPLED if shaping.make(name).sees != "policies" and name != "pax_ppo_gru"]


@pytest.mark.parametrize("name", BLIND)
def test_a_learner_looks_at_nothing_but_what_it_may(name):
    """Poison all that belongs to the others but, for learners that see them, actions and rewards."""
    match = seated("ipd", [name, "reinforce", "tabular"])
    states = shaping.init(match, jax.random.key(0))
    trajectories, _ = jax.jit(shaping.episode)(match, shaping.policies(match, states), jax.random.key(1))
    kept = (
        ("action", "reward", "valid", "terminated") if match.learners[0].sees == "rewards" else ("valid", "terminated")
    )

    def poison(leaf):
        return jnp.full_like(leaf, jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.floating) else jnp.full_like(leaf, 7)

    poisoned = [trajectories[0]]
    for trajectory in trajectories[1:]:
        bad = jax.tree.map(poison, trajectory)
        poisoned.append(bad._replace(**{field: getattr(trajectory, field) for field in kept}))
    bad_states = (states[0], *jax.tree.map(poison, states[1:]))
    update = standard(
        jax.jit(lambda states, trajectories: update_all(match, states, trajectories, jax.random.key(2))[0][0])
    )
    clean = update(states, trajectories)
    chex.assert_trees_all_equal(update(bad_states, tuple(poisoned)), clean)
    chex.assert_tree_all_finite(clean)


@pytest.mark.parametrize(
    "names",
    [
        ("q_learning", "tabular", "q_learning"),
        pytest.param(("tabular", "ppo_gru", "tabular"), marks=pytest.mark.slow),
    ],
)
def test_grouped_equals_ungrouped(names):
    """Bit for bit at the start and in play, which have no sums over a batch; updates to the rounding of such sums."""
    grouped = seated("ipd", names)
    alone = [Match.of(grouped.env, [shaping.make(name)] * 3, batch=4).learners[0] for name in names]
    first = tuple(jax.tree.map(lambda leaf: leaf[:1], own) for own in alone)
    apart = Match(grouped.env, first, ((0,), (1,), (2,)), (False,) * 3, batch=4)
    (start, after), (start_apart, after_apart) = (trained(match)[:2] for match in (grouped, apart))
    join = lambda states: (jax.tree.map(lambda a, b: jnp.concatenate([a, b]), states[0], states[2]), states[1])  # noqa: E731
    chex.assert_trees_all_equal(start, join(start_apart))
    chex.assert_trees_all_close(after, join(after_apart), rtol=1e-5, atol=1e-7)
    played = []
    for match, states in ((grouped, start), (apart, start_apart)):
        groups, _ = jax.jit(shaping.episode)(match, shaping.policies(match, states), jax.random.key(1))
        played.append(match.by_seat([(group.action, group.reward) for group in groups], axis=2))
    chex.assert_trees_all_equal(*played)


def test_seats_that_share_learn_from_the_experience_of_all():
    """One gradient step on pooled episodes is the mean of the steps on each seat's own."""
    fields = {"optimizer": "sgd", "learning_rate": 0.1, "normalize": False, "max_grad_norm": 1e9}
    env = envs.make("ipd", players=3, horizon=4)
    learners = [shaping.make("tabular", **fields)] * 3
    shared, apart = (Match.of(env, learners, batch=4, share=share) for share in (True, False))
    states = shaping.init(shared, jax.random.key(0))
    assert states[0].params["actor"]["kernel"].shape[0] == 1
    same = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * 3), states)
    key = jax.random.key(5)
    pooled = standard(jax.jit(shaping.step))(shared, states, key, jnp.int32(0))[0]
    each = standard(jax.jit(shaping.step))(apart, same, key, jnp.int32(0))[0]
    mean = jax.tree.map(lambda leaf: leaf.mean(axis=0, keepdims=True), each[0].params)
    chex.assert_trees_all_close(pooled[0].params, mean, atol=1e-6)
    assert shaping.policies(shared, states)[0]["actor"]["kernel"].shape[0] == 3


def test_learners_that_differ_do_not_share():
    env = envs.make("ipd", players=3, horizon=4)
    learners = [shaping.make("tabular", learning_rate=rate) for rate in (0.1, 0.1, 0.2)]
    match = Match.of(env, learners, batch=4, share=True)
    assert match.seats == ((0, 1), (2,))
    assert match.shared == (True, False)


def test_seats_start_and_play_apart():
    match = seated("ipd", "ppo_gru", batch=256)
    states = jax.jit(shaping.init)(match, jax.random.key(0))
    kernel = np.asarray(states[0].params["gates_in"]["kernel"])
    assert (kernel[0] != kernel[1]).any()
    (seats,), _ = jax.jit(shaping.episode)(match, shaping.policies(match, states), jax.random.key(1))
    flat = np.asarray(seats.action, float).transpose(0, 2, 1).reshape(12, 256)
    assert np.abs(np.corrcoef(flat) - np.eye(12)).max() < 0.3


class TestFrozen:
    def frozen(self, choice=-1):
        match = seated("ipd", "tabular")
        learner = shaping.make("tabular")
        params = shaping.policies(match, shaping.init(match, jax.random.key(0)))[0]
        rows = jnp.array([[30.0, -30.0], [-30.0, 30.0], [0.0, 0.0]])[:, None]  # always C, never C, both alike
        params["actor"]["kernel"] = jnp.broadcast_to(rows, params["actor"]["kernel"].shape)
        return match.env, Frozen.of(learner, params, choice)

    def test_plays_the_policy_of_its_choice(self):
        for choice, rate in ((0, 0.0), (1, 1.0)):
            env, player = self.frozen(choice)
            match = Match.of(env, [player, player, shaping.make("tit_for_tat")], batch=8)
            states = shaping.init(match, jax.random.key(0))
            (seats, _), _ = shaping.episode(match, shaping.policies(match, states), jax.random.key(1))
            assert float(seats.action.mean()) == rate

    def test_draws_a_training_seed_and_learns_nothing(self):
        env, player = self.frozen()
        drawn = {float(player.init(env, jax.random.key(seed))["actor"]["kernel"][0, 0]) for seed in range(40)}
        assert drawn == {-30.0, 30.0, 0.0}
        match = Match.of(env, [player] * 3, batch=8)
        before, after, _ = trained(match)
        chex.assert_trees_all_equal(before, after)
        assert not match.samples


ERRORS = [
    ("ppo_gru", {"minibatches": 3}, "ipd", r"minibatches = 3: expected a divisor of the 4 episodes of an update"),
    ("ppo", {"minibatches": 7}, "ipd", r"minibatches = 7: expected a divisor of the 16 steps .*--batch 4 x horizon 4"),
    ("ppo", {"torso": "cnn"}, "ipd", r"torso = 'cnn' needs boards \[H, W, C\]"),
    ("ppo", {"torso": "table"}, "coin_game", "torso = 'table' needs discrete observations"),
    ("q_learning", {}, "cournot", "needs discrete observations and actions, Cournot has others: try ppo"),
    ("loqa", {}, "cournot", "need discrete actions, those of Cournot are continuous"),
    ("lola", {}, "coin_game", "the exact objective is for matrix games, not for CoinGame"),
    ("tit_for_tat", {}, "coin_game", "plays matrix games with 2 actions a player"),
    ("always_cooperate", {}, "cournot", "does not say which action co-operates"),
]


@pytest.mark.parametrize(("name", "fields", "game", "message"), ERRORS)
def test_a_learner_that_does_not_fit_is_refused_before_compiling(name, fields, game, message):
    env = environment(game)
    with pytest.raises(ValueError, match=message):
        Match.of(env, [shaping.make(name, **fields)] * env.num_players, batch=4)


def test_combinations_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="Grim has none: expected learners on the exact objective in every seat"):
        seated("ipd", ["lola", "lola", "grim"])
    with pytest.raises(ValueError, match="share: Dice is a function of the policies of all seats"):
        seated("ipd", "lola_dice", share=True)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("ppo", {"clip": -1.0}, "clip = -1.0"),
        ("ppo", {"epochs": 0}, "epochs = 0"),
        ("ppo", {"optimizer": "adma"}, "did you mean 'adam'"),
        ("ppo_gru", {"gradient": "onestep"}, "did you mean 'one_step'"),
        ("ppo", {"discount": 1.5}, "discount = 1.5: expected from 0 to 1"),
        ("loqa", {"temperature": 0.0}, "temperature = 0"),
        ("advantage_alignment", {"rule": "papers"}, "did you mean 'paper'"),
        ("q_learning", {"exploration": 2.0}, "exploration = 2"),
        ("lola_dice", {"loading": 2.0}, "loading = 2"),
        ("pola_dice", {"proximal_steps": 0}, "proximal_steps = 0"),
        ("ppo", {"width": 0}, "width = 0"),
    ],
)
def test_fields_out_of_range_are_named(name, fields, message):
    with pytest.raises(ValueError, match=message):
        shaping.make(name, **fields)
