"""Populations, oracles, and the variants of PSRO, each of which must do what plain PSRO does not."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import equilibria
import shaping
from equilibria import entries
from equilibria.beliefs import Entropic
from equilibria.empirical import QUANTILES, EmpiricalGame
from equilibria.learner_oracle import LearnerOracle, _draw, _seats
from equilibria.oracles import BestResponse
from equilibria.psro import Psro, iterate, start, widen
from equilibria.reactive import reactive
from equilibria.risk import ConditionalValueAtRisk, MeanVariance, Neutral
from equilibria.solution import certified
from equilibria.targets import targets

SHAPLEY = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])[:, [1, 2, 0]]
BIASED = np.array([[0.0, -25, 50], [25, 0, -5], [-50, 5, 0]])


@pytest.fixture
def optimisers():
    """Optax mixes types and ranks, which a session may have told JAX to refuse."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def zero_sum(table):
    return equilibria.normal_form(np.stack([table, -np.asarray(table)]))


def random_zero_sum(seed, size):
    return zero_sum(np.random.default_rng(seed).normal(size=(size, size)))


def grow(psro, arena, iterations, seeds=(0,), capacity=None):
    progress = start(psro, arena, list(seeds), capacity or 1 + iterations * psro.responses)
    records = []
    for _ in range(iterations):
        progress, record = iterate(psro, arena, progress, list(seeds))
        records.append(record)
    return progress, records


def exact(solver="zero_sum", options=None, oracle=None, **fields):
    return Psro(oracle or BestResponse(), equilibria.make(solver, **(options or {})), **fields)


def test_moments_are_those_of_all_episodes_together():
    game = EmpiricalGame.empty(2, 3).replace(sizes=np.array([2, 3], np.int32))
    drawn = np.random.default_rng(0).normal(size=(2, 30, 2))
    for part in (drawn[:, :10], drawn[:, 10:]):
        game = game.add(np.array([[0, 0], [1, 2]]), part)
    for cell, seen in zip(((0, 0), (1, 2)), drawn, strict=True):
        own = (slice(None), *cell)
        np.testing.assert_allclose(game.mean[own], seen.mean(0))
        np.testing.assert_allclose(game.variance[own], seen.var(0, ddof=1))
        np.testing.assert_allclose(game.standard_error[own], seen.std(0, ddof=1) / np.sqrt(30))
        np.testing.assert_allclose(game.least[own], seen.min(0))
        parts = [np.quantile(part, QUANTILES, axis=0).T for part in (seen[:10], seen[10:])]
        np.testing.assert_allclose(game.quantiles[own], parts[0] / 3 + parts[1] * 2 / 3)
    assert game.count[1, 2] == 30
    assert game.count[1, 1] == 0
    assert np.isinf(game.standard_error[:, 1, 1]).all()


def test_an_episode_of_a_symmetric_game_counts_for_everybody():
    game = EmpiricalGame.empty(3, 2).replace(sizes=np.full(3, 2, np.int32))
    assert len(list(game.profiles(symmetric=True))) == 4
    game = game.add(np.array([[0, 0, 1]]), np.array([[[1.0, 2.0, 5.0]]]), symmetric=True)
    np.testing.assert_array_equal(game.mean[:, 0, 0, 1], [1.5, 1.5, 5])  # two of a kind get the same
    np.testing.assert_array_equal(game.mean[:, 1, 0, 0].max(), 5)
    assert game.mean[0, 1, 0, 0] == game.mean[1, 0, 1, 0] == game.mean[2, 0, 0, 1] == 5


def test_profiles_that_were_not_played_are_estimated():
    own, other = np.array([1.0, 3.0, 7.0]), np.array([0.0, 2.0, 4.0])
    game = EmpiricalGame.empty(2, 4).replace(sizes=np.full(2, 3, np.int32))
    cells = np.array([(a, b) for a in range(3) for b in range(3) if (a, b) != (2, 2)])
    returns = np.array([[[own[a] + other[b]] * 2] for a, b in cells])
    table = game.add(cells, returns).game()
    np.testing.assert_allclose(table.payoffs[0, 2, 2], 11.0, rtol=1e-5)
    far = EmpiricalGame.empty(2, 3).replace(sizes=np.full(2, 3, np.int32)).add(cells[:3], returns[:3] * 0 - 100)
    np.testing.assert_allclose(np.asarray(far.game().payoffs), -100, rtol=1e-5)  # no policy looks better unplayed
    assert table.sizes == (3, 3)


def test_noise_within_profiles_costs():
    game = EmpiricalGame.empty(1, 1).replace(sizes=np.ones(1, np.int32))
    game = game.add(np.array([[0]]), np.array([[[1.0], [3.0]]]))
    np.testing.assert_allclose(game.game(0.5).payoffs, [[2.0 - 0.5 * 2.0]])


def test_variances_of_the_published_example():
    """arXiv 2205.15434, both readings: the strategic variance, and with what varies within profiles the total one."""
    mean, within = np.array([[10.0, -50], [5, 5]]), np.array([[4.0, 1], [1, 1]])
    game = EmpiricalGame.empty(2, 2).replace(sizes=np.full(2, 2, np.int32))
    cells = np.array([(a, b) for a in range(2) for b in range(2)])
    spread = np.array([-1.0, 1.0])[None] * np.sqrt(within.ravel() / 2)[:, None]  # two episodes with that variance
    game = game.add(cells, np.stack([mean.ravel()[:, None] + spread] * 2, axis=2))
    x, y = np.array([0.5, 0.5]), np.array([0.95, 0.05])
    with jax.enable_x64(True):
        profile = jnp.asarray(np.stack([x, y]))
        plain, costly = game.game(), game.game(noise=1.0)
        found = certified(plain, profile, plain.regret(profile), 1.0, 0)
        both = MeanVariance(1.0, variance="total")
        outcomes, chance = jnp.asarray(mean.ravel()), jnp.asarray(np.outer(x, y).ravel())
        total = float(outcomes @ chance - both.of(outcomes, chance)) + x @ within @ y
        np.testing.assert_allclose(plain.payoffs[0] @ y, [7, 5])
        np.testing.assert_allclose(found.variance[0], 42.75)
        np.testing.assert_allclose((plain.payoffs - costly.payoffs)[0] @ y, [3.85, 1.0])
    np.testing.assert_allclose(total, 88.925)


@pytest.mark.parametrize(("risk", "expected"), [(0.0, 1.0), (0.01, 0.584795), (0.05, 0.116959)])
def test_exact_responses_are_those_of_the_quadratic_program(risk, expected):
    table = np.array([[10.0, -50], [5, 5]])
    reply = _reply(BestResponse(MeanVariance(risk)), table)
    np.testing.assert_allclose(reply[0], expected, atol=1e-5)


def test_exact_responses_to_other_measures():
    table = np.array([[10.0, -50], [5, 5]])
    np.testing.assert_allclose(_reply(BestResponse(ConditionalValueAtRisk(0.2)), table), [0, 1], atol=1e-6)
    np.testing.assert_allclose(_reply(BestResponse(ConditionalValueAtRisk(1.0)), table), [1, 0], atol=1e-6)
    tau = 0.02
    x = np.linspace(0, 1, 100_001)
    z = np.stack([10 * x + 5 * (1 - x), -50 * x + 5 * (1 - x)])
    best = x[np.argmax(-np.log(np.array([0.95, 0.05]) @ np.exp(-tau * z)) / tau)]
    np.testing.assert_allclose(_reply(BestResponse(Entropic(tau)), table)[0], best, atol=1e-4)


def _reply(oracle, table):
    """What the first player replies to the second's first column with .95, and the second with .05."""
    with jax.enable_x64(True):
        arena = equilibria.normal_form(np.stack([table, table.T]))
        pure = jnp.broadcast_to(jnp.eye(2), (2, 2, 2))
        target = jnp.zeros((2, 2, 2)).at[:, 0].set(jnp.array([0.95, 0.05]))
        reply, _ = oracle.respond(arena, pure[:, 0], pure, target, jnp.array([2, 2]), jax.random.key(0))
        return np.asarray(reply[0])


def test_preferred_is_what_wins_most_often():
    table = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, -9.0], [0.5, 0.5, 0.5]])
    with jax.enable_x64(True):
        arena = equilibria.normal_form(np.stack([table, table.T]))
        everything = jnp.broadcast_to(jnp.eye(3), (2, 3, 3))
        target = jnp.zeros((2, 3, 3)).at[:, 2].set(jnp.array([0.4, 0.4, 0.2]))  # the own policy is action 2
        sizes = jnp.array([3, 3])
        plain, _ = BestResponse().respond(arena, everything[:, 0], everything, target, sizes, jax.random.key(0))
        wants = BestResponse(wants="preference")
        preferred, _ = wants.respond(arena, everything[:, 0], everything, target, sizes, jax.random.key(0))
    assert np.argmax(plain[0]) == 2
    assert np.argmax(preferred[0]) == 1


@pytest.mark.parametrize("arena", [zero_sum(BIASED / 50), random_zero_sum(0, 8), random_zero_sum(1, 8)])
def test_double_oracle_solves_zero_sum_games(arena):
    for solver in ("zero_sum", "nash"):
        progress, records = grow(exact(solver), arena, 12)
        assert records[-1].nash_conv[0] < 0.01
        assert records[-1].gap[0] < 0.01
        value = equilibria.solve(arena, "zero_sum").value[0]
        np.testing.assert_allclose(records[-1].value[0, 0], value, atol=1e-6)
        assert progress.games.sizes.max() <= max(arena.sizes)  # nothing twice


def kuhn_poker():
    """Kuhn's poker with three cards in normal form, from its rules: 27 and 64 pure strategies, stakes of 1 and 2."""
    first = list(itertools.product(("bet", "fold", "call"), repeat=3))  # a card each; after a check and a bet
    second = list(itertools.product(itertools.product((False, True), repeat=2), repeat=3))  # (calls a bet, bets)
    table = np.zeros((len(first), len(second)))
    for (a, one), (b, two) in itertools.product(enumerate(first), enumerate(second)):
        for mine, yours in itertools.permutations(range(3), 2):
            calls, bets = two[yours]
            showdown = 1.0 if mine > yours else -1.0
            if one[mine] == "bet":
                table[a, b] += 2 * showdown if calls else 1.0
            elif not bets:
                table[a, b] += showdown
            else:
                table[a, b] += 2 * showdown if one[mine] == "call" else -1.0
    return zero_sum(table / 6)


def test_the_value_of_kuhn_poker():
    progress, records = grow(exact(), kuhn_poker(), 12, seeds=(0, 1))
    assert (records[-1].nash_conv < 0.01).all()
    np.testing.assert_allclose(records[-1].value[:, 0], -1 / 18, atol=0.005)  # Kuhn 1950
    assert progress.games.sizes.max() < 27  # few of the strategies


def test_bounds_are_exact_where_responses_are_best():
    arena = random_zero_sum(2, 8)
    _, records = grow(exact(), arena, 6)
    for before, after in itertools.pairwise(records):
        np.testing.assert_allclose(after.gap, before.nash_conv, atol=1e-9)


def test_responses_gain_in_the_measure_of_the_oracle():
    _, records = grow(exact(), random_zero_sum(2, 8), 6)
    for record in records:
        np.testing.assert_allclose(record.gain, record.gap, atol=1e-9)
    arena = equilibria.load("selten_chmura_7")
    averse = BestResponse(MeanVariance(0.5), first="uniform")
    _, records = grow(exact("rae", {"risk": 0.5}, averse), arena, 4)
    gains = [float(record.gain[0]) for record in records]
    assert gains[0] > 0.1
    assert gains[-1] < 1e-4  # nobody who is as averse gains more, though
    assert records[-1].nash_conv[0] > 0.1  # one who is neutral does


def test_no_more_episodes_are_played_at_a_time_than_memory_allows(monkeypatch):
    env = envs.make("ipd2", horizon=4)
    oracle = LearnerOracle(shaping.make("reinforce"), updates=1)
    psro = Psro(oracle, equilibria.make("uniform"), episodes=100)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        whole = start(psro, env, [0, 1], 2)
        monkeypatch.setattr(entries, "STEPS", 80)
        monkeypatch.setattr(entries, "SIDE_BY_SIDE", 160)
        parts = start(psro.replace(episodes=101), env, [0, 1], 2)
    assert parts.games.count[:, 0, 0].tolist() == [101, 101]
    assert whole.games.count[:, 0, 0].tolist() == [100, 100]
    error = np.hypot(*(own.standard_error[:, :, 0, 0].max() for own in (whole.games, parts.games)))
    np.testing.assert_allclose(parts.games.mean[:, :, 0, 0], whole.games.mean[:, :, 0, 0], atol=5 * error)
    assert parts.games.squares[:, :, 0, 0].min() > 0  # portions do not repeat each other


@pytest.mark.parametrize(("solver", "response"), [("coarse_correlated", "coarse"), ("correlated", "correlated")])
def test_joint_policies_are_correlated_equilibria(solver, response):
    drawn = np.stack([SHAPLEY, SHAPLEY.T])  # which has no pure equilibrium, and whose only other one is uniform
    arena = equilibria.normal_form(drawn)
    fields = {"response": response, "responses": 6 if response == "correlated" else 1}
    progress, _ = grow(exact(solver, **fields), arena, 8, capacity=6)
    joint = np.einsum("kl,ka,lb->ab", progress.joint[0], progress.populations[0, 0], progress.populations[0, 1])
    with jax.enable_x64(True):
        whole = equilibria.normal_form(drawn)
        gains = whole.correlated_regret if response == "correlated" else whole.coarse_regret
        assert float(gains(jnp.asarray(joint)).max()) < 1e-6
    assert np.abs(joint - np.outer(joint.sum(1), joint.sum(0))).max() > 0.05  # not independent
    assert (joint * drawn).sum() > 2 / 3 + 0.1  # and worth more than independent play


def test_anytime_minds_unequal_numbers_of_actions():
    arena = zero_sum([[3.0, 1], [1, 3], [1.9, 1.8]])
    assert grow(exact(anytime=True), arena, 6)[1][-1].nash_conv[0] < 1e-6


def test_gaps_say_whether_they_are_all():
    assert exact().tells_all
    for other in ({"self_play": 0.5}, {"noise": 0.1}, {"response": "rectified"}):
        assert not exact(**other).tells_all
    assert not exact(oracle=BestResponse(diversity=1.0)).tells_all
    assert not exact(oracle=BestResponse(MeanVariance(0.1))).tells_all


def test_populations_can_be_given_room():
    arena = random_zero_sum(2, 8)
    whole, _ = grow(exact(), arena, 6, capacity=9)
    progress, _ = grow(exact(), arena, 3, capacity=4)
    progress = widen(progress, 9)
    for _ in range(3):
        progress, record = iterate(exact(), arena, progress, [0])
    np.testing.assert_array_equal(progress.populations, whole.populations)
    np.testing.assert_allclose(progress.games.mean, whole.games.mean)
    np.testing.assert_allclose(progress.profile, whole.profile, atol=1e-9)
    assert record.sizes.max() > 4


def test_symmetric_games_with_asymmetric_solutions():
    drawn = np.random.default_rng(2).normal(size=(5, 5))
    arena = equilibria.normal_form(np.stack([drawn, drawn.T]))
    _, records = grow(exact("lemke_howson", symmetric=True), arena, 8, capacity=17)
    assert records[-1].nash_conv[0] < 1e-6


def test_anytime_never_gets_worse_and_plain_does():
    arena = random_zero_sum(3, 12)
    anytime = np.array([record.nash_conv[0] for record in grow(exact(anytime=True), arena, 12)[1]])
    plain = np.array([record.nash_conv[0] for record in grow(exact(), arena, 12)[1]])
    assert (np.diff(anytime) <= 1e-9).all()
    assert (np.diff(plain) > 1e-3).any()
    assert anytime[-1] < 0.01


def test_rectified_responds_to_those_who_are_beaten():
    arena = zero_sum([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    psro = exact(response="rectified", responses=3)
    progress, records = grow(exact(), arena, 6, capacity=8)
    assert records[-1].nash_conv[0] < 1e-9  # all three are in the mixtures
    found, active = targets(psro, progress, 0)
    game = progress.games.mean[0, 0]
    plain, _ = targets(exact(responses=3), progress, 0)
    assert active[:, 0].sum() == 3
    for number in range(3):
        chance = found[number, 0].sum(axis=0)
        own = int(np.argmax(found[number, 0].sum(axis=1)))
        assert (game[own][chance > 0] >= -1e-9).all()
        assert not np.allclose(found[number, 0], plain[number, 0])


def test_self_play_adds_the_newest_to_the_target():
    arena = random_zero_sum(4, 6)
    progress, _ = grow(exact(), arena, 3, capacity=8)
    newest = tuple(progress.games.sizes[0] - 1)
    plain = targets(exact(), progress, 0)[0][0, 0]
    mixed = targets(exact(self_play=0.5), progress, 0)[0][0, 0]
    assert mixed[newest[0], newest[1]] >= 0.5
    np.testing.assert_allclose(mixed.sum(), 1.0)
    assert not np.allclose(plain, mixed)


def test_fictitious_self_play_and_projected_replicators_keep_everything():
    arena = random_zero_sum(6, 6)
    progress, _ = grow(exact("uniform"), arena, 4)
    size = progress.games.sizes[0, 0]
    np.testing.assert_allclose(progress.profile[0, 0, :size], 1 / size)
    progress, _ = grow(exact("projected_replicator", {"least": 0.02}), arena, 4)
    own = progress.profile[0, 0, : progress.games.sizes[0, 0]]
    plain = grow(exact(), arena, 4)[0].profile[0, 0]
    assert own.min() > 0.9 * 0.02
    assert plain[: len(own)].min() < 1e-9


def test_alpha_rank_with_preference_responses():
    arena = random_zero_sum(7, 6)
    oracle = BestResponse(wants="preference")
    progress, _ = grow(exact("alpha_rank", oracle=oracle, response="coarse"), arena, 10)
    plain, _ = grow(exact("alpha_rank", response="coarse"), arena, 10)
    found, other = (
        np.einsum("kl,ka,lb->ab", own.joint[0], own.populations[0, 0], own.populations[0, 1])
        for own in (progress, plain)
    )
    assert np.abs(found - other).max() > 1e-2
    payoffs = np.asarray(arena.payoffs)
    for player in range(2):  # no action outside the population is preferred more often than the best one inside
        table, joint = (payoffs[0], found) if player == 0 else (payoffs[1].T, found.T)
        scores = [(joint * (table[action][None] > table + 1e-9)).sum() for action in range(6)]
        inside = progress.populations[0, player].argmax(axis=1)[: progress.games.sizes[0, player]]
        assert max(scores) <= max(scores[action] for action in inside) + 1e-9


def cardinality(population, table):
    """Expected size of the determinantal point process of a population, directly."""
    kept = population @ table
    kept = kept / np.sqrt((table**2).sum(axis=1)).max()
    kernel = kept @ kept.T
    return np.trace(np.eye(len(kernel)) - np.linalg.inv(kernel + np.eye(len(kernel))))


def test_diversity_finds_responses_that_make_populations_larger():
    rng = np.random.default_rng(8)
    more = []
    for _ in range(8):
        table = rng.normal(size=(9, 9))
        arena = zero_sum(table)
        populations = jnp.asarray(np.eye(9)[[rng.permutation(9)[:3], rng.permutation(9)[:3]]])
        target = jnp.full((2, 3, 3), 1 / 9)
        sizes, key = jnp.full(2, 3, jnp.int32), jax.random.key(0)
        own, sides = np.asarray(populations), (table, -table.T)
        found = []
        for oracle in (BestResponse(), BestResponse(diversity=100.0)):
            replies, _ = oracle.respond(arena, populations[:, 0], populations, target, sizes, key)
            found.append(
                [cardinality(np.vstack([own[i], np.asarray(replies)[i]]), sides[i] @ own[1 - i].T) for i in range(2)]
            )
        for player, best in enumerate(found[1]):
            table_of = sides[player] @ own[1 - player].T
            every = [cardinality(np.vstack([own[player], pure]), table_of) for pure in np.eye(9)]
            np.testing.assert_allclose(best, max(every), rtol=1e-5)
            more.append(best - found[0][player])
    assert np.mean(np.array(more) > 1e-3) > 0.5


def test_several_responses_an_iteration():
    cycle = np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    counters = np.where(cycle >= 0, 0.9, -5.0)  # each does well where one of the cycle does not lose, and only there
    arena = zero_sum(np.block([[cycle, -counters.T], [counters, np.zeros((3, 3))]]))
    seeds = range(6)
    whole, records = grow(exact(), arena, 8, seeds, capacity=12)
    assert (records[-1].nash_conv < 1e-9).all()  # of the cycle alone
    sizes = whole.games.sizes.sum()
    single, _ = iterate(exact(response="rectified"), arena, whole, seeds)
    wide = whole._replace(states=np.repeat(whole.states, 3, axis=1))
    several, _ = iterate(exact(response="rectified", responses=3), arena, wide, seeds)
    assert 0 < single.games.sizes.sum() - sizes <= 2 * len(seeds)
    assert several.games.sizes.sum() > single.games.sizes.sum() + len(seeds)
    with pytest.raises(ValueError, match="one best response"):
        start(exact(responses=3), arena, [0], 8)


def test_symmetric_games_need_one_population():
    table = [[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]
    progress, records = grow(exact(symmetric=True), zero_sum(table), 4)
    assert progress.populations.shape[1] == 1
    np.testing.assert_allclose(progress.games.mean[0, 0], -progress.games.mean[0, 1])
    np.testing.assert_array_equal(progress.games.mean[0, 0], progress.games.mean[0, 1].T)
    assert records[-1].nash_conv[0] < 1e-6
    with pytest.raises(ValueError, match="symmetric: the payoffs are not"):
        start(exact(symmetric=True), random_zero_sum(0, 3), [0], 4)


@pytest.mark.usefixtures("optimisers")
def test_symmetry_of_an_environment_is_played_out():
    oracle = LearnerOracle(shaping.make("ppo"), updates=30)
    nash = equilibria.make("nash")
    psro = Psro(oracle, nash, symmetric=True, episodes=64)
    progress, _ = grow(psro, envs.make("chicken", horizon=4), 1)
    assert jax.tree.leaves(progress.populations)[0].shape[1] == 1
    with pytest.raises(ValueError, match="symmetric: the same policies earn"):
        grow(psro, envs.make("bach_or_stravinsky", horizon=4), 1)


def test_risk_of_oracle_and_solver_are_two_flags():
    arena = equilibria.load("selten_chmura_7")
    found, populations = {}, {}
    for solver in ("nash", "rae"):
        for measure in (Neutral(), MeanVariance(0.05)):
            options = {"risk": 0.05, "tremble": 0.02} if solver == "rae" else {}
            progress, _ = grow(exact(solver, options, BestResponse(measure, first="uniform")), arena, 4)
            plays = np.einsum("k,ka->a", progress.profile[0, 0], progress.populations[0, 0])
            found[solver, type(measure).__name__] = round(float(plays[0]), 4)
            populations[solver, type(measure).__name__] = progress.populations
    assert found["rae", "Neutral"] != found["rae", "MeanVariance"]
    assert found["rae", "Neutral"] != found["nash", "Neutral"]
    assert np.abs(populations["nash", "Neutral"] - populations["nash", "MeanVariance"]).max() > 0.05


def test_seeds_do_not_depend_on_each_other():
    arena = random_zero_sum(10, 8)
    both, _ = grow(exact(), arena, 4, seeds=(3, 5))
    alone, _ = grow(exact(), arena, 4, seeds=(5,))
    np.testing.assert_array_equal(both.populations[1], alone.populations[0])
    np.testing.assert_allclose(both.profile[1], alone.profile[0], atol=1e-9)
    assert np.abs(both.populations[0] - both.populations[1]).max() > 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"response": "corelated"}, "did you mean 'correlated'"),
        ({"self_play": 1.5}, "self_play = 1.5: expected"),
        ({"episodes": 0}, "episodes = 0: expected"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        exact(**fields)


def test_what_does_not_fit_is_refused():
    arena = random_zero_sum(0, 3)
    with pytest.raises(ValueError, match="expected a matrix game, or an oracle that learns"):
        start(exact(), envs.make("ipd2"), [0], 3)
    with pytest.raises(ValueError, match="a learner plays environments"):
        start(exact(oracle=LearnerOracle(shaping.make("ppo"))), arena, [0], 3)
    with pytest.raises(ValueError, match="expected a learner that learns from its own experience"):
        start(exact(oracle=LearnerOracle(shaping.make("lola"))), envs.make("ipd2"), [0], 3)
    with pytest.raises(ValueError, match="anytime: expected a zero-sum game"):
        start(exact(anytime=True), equilibria.load("stag_hunt"), [0], 3)
    with pytest.raises(ValueError, match=r"tremble.*expected a number from 0 to 0.25"):
        start(exact("rae", {"tremble": 0.3}), arena, [0], 4)
    with pytest.raises(ValueError, match="uncertain = 'steps' with ConditionalValueAtRisk"):
        LearnerOracle(shaping.make("ppo"), ConditionalValueAtRisk(0.1), uncertain="steps")


def test_reactive_strategies_of_a_repeated_game():
    game = reactive(envs.make("ipd2"))
    assert game.sizes == (32, 32)
    codes = {"all C": 0, "all D": 31}
    np.testing.assert_allclose(game.payoffs[:, codes["all C"], codes["all C"]], -1, atol=1e-6)
    np.testing.assert_allclose(game.payoffs[:, codes["all D"], codes["all C"]], [0, -3], atol=1e-6)
    assert bool(equilibria.properties.is_symmetric(game))
    with pytest.raises(ValueError, match="use an oracle that learns"):
        reactive(envs.make("ipd", players=4))
    one_shot = reactive(envs.make("chicken", horizon=1))
    assert one_shot.sizes == (2, 2)


def test_profiles_are_drawn_evenly():
    chance = jnp.array([0.05, 0.0, 0.7, 0.25])
    for seed in range(5):
        drawn = np.bincount(np.asarray(_draw(jax.random.key(seed), chance, 40)), minlength=4)
        np.testing.assert_allclose(drawn, 40 * np.asarray(chance), atol=1.0)
    assert drawn[1] == 0


def test_numbers_of_profiles_are_those_of_games():
    populations = {"weights": jnp.zeros((3, 4, 2))}
    game = equilibria.normal_form(np.zeros((3, 4, 4, 4)))
    for seat in range(3):
        for number in (0, 5, 14):
            seats = np.asarray(_seats(jnp.asarray(number), jnp.asarray(seat), 3, populations))
            profile = np.eye(4)[seats]
            others = np.asarray(game.others(jnp.asarray(profile)))[seat]
            assert others[number] == 1.0


def learned(measure, uncertain="profiles", updates=400, table=((10.0, -50), (5, 5))):
    """How likely a learner takes the first action against the columns (.95, .05) of the game above."""
    own = np.array(table)
    env = envs.make("matching_pennies", horizon=1).replace(payoffs=jnp.asarray(np.stack([own, own.T])))
    fields = {"normalize": False, "max_grad_norm": 1e6, "entropy": 0.0, "torso": "table", "learning_rate": 0.01}
    learner = shaping.make("ppo", epochs=1, minibatches=1, **fields)
    oracle = LearnerOracle(learner, measure, uncertain, updates=updates, profiles=64, episodes=4)
    oracle.check(env)
    states = oracle.init(env, jax.random.key(0))
    shapes = oracle.policies(env, states)
    actor = jnp.zeros((2, 2, 1, 2)).at[:, 0, :, 0].set(30.0).at[:, 1, :, 1].set(30.0)
    population = jax.tree.map(lambda leaf: jnp.zeros((2, 2, *leaf.shape[1:])), shapes)
    population = population | {"actor": {"kernel": actor}}
    target = jnp.zeros((2, 2, 2)).at[:, 0].set(jnp.array([0.95, 0.05]))
    states, _ = jax.jit(oracle.respond)(env, states, population, target, jnp.array([2, 2]), jax.random.key(1))
    logits = oracle.policies(env, states)["actor"]["kernel"][0, 0]
    return float(jax.nn.softmax(logits)[0])


@pytest.mark.usefixtures("optimisers")
def test_a_learner_averse_to_risk_finds_the_exact_response():
    assert learned(Neutral()) > 0.9
    np.testing.assert_allclose(learned(MeanVariance(0.01), updates=600), 0.585, atol=0.1)
    assert learned(ConditionalValueAtRisk(0.2)) < 0.1


@pytest.mark.usefixtures("optimisers")
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_what_varies_may_be_whole_episodes(shift):
    safe = np.array([[10.0, 10], [5, 5]]) + shift
    assert learned(MeanVariance(0.01), "episodes", table=safe) > 0.75
    assert learned(ConditionalValueAtRisk(0.5), "episodes", table=safe) > 0.75
    risky = np.array([[10.0, -50], [5, 5]]) + shift
    assert learned(MeanVariance(0.05), "episodes", table=risky) < 0.25


@pytest.mark.slow
@pytest.mark.parametrize(("measure", "expected"), [(MeanVariance(0.05), 0.117), (Entropic(0.02), 0.455)])
@pytest.mark.usefixtures("optimisers")
def test_other_measures_too(measure, expected):
    np.testing.assert_allclose(learned(measure, updates=2000), expected, atol=0.08)


@pytest.mark.parametrize("name", ["ppo_gru", "q_learning", "good_shepherd", "shaper_ppo"])
@pytest.mark.usefixtures("optimisers")
def test_any_learner_from_its_own_experience_is_an_oracle(name):
    fields = {"population": 4} if name == "good_shepherd" else {}
    oracle = LearnerOracle(shaping.make(name, **fields), updates=2, profiles=4, episodes=2)
    psro = Psro(oracle, equilibria.make("uniform"), episodes=8)
    progress, records = grow(psro, envs.make("ipd", players=3, horizon=4), 2)
    assert progress.games.sizes.tolist() == [[3, 3, 3]]
    assert np.isfinite(records[-1].value).all()
    leaf = jax.tree.leaves(progress.populations)[0]
    assert leaf.shape[:3] == (1, 3, 3)


@pytest.mark.usefixtures("optimisers")
def test_profiles_play_on_until_they_are_sure():
    oracle = LearnerOracle(shaping.make("ppo"), updates=1, profiles=2, episodes=2)
    psro = Psro(oracle, equilibria.make("uniform"), episodes=16, standard_error=0.05)
    progress, _ = grow(psro, envs.make("chicken", horizon=1), 1)
    game = jax.tree.map(lambda leaf: leaf[0], progress.games)
    assert game.standard_error.max() <= 0.05 or game.count.max() == 64 * 16
    assert game.count.min() > 16


@pytest.mark.usefixtures("optimisers")
def test_what_is_sampled_does_not_depend_on_other_seeds():
    oracle = LearnerOracle(shaping.make("ppo"), updates=1, profiles=2, episodes=2)
    psro = Psro(oracle, equilibria.make("uniform"), episodes=16, standard_error=0.1, profiles=2)
    env = envs.make("chicken", horizon=1)
    both, _ = grow(psro, env, 2, seeds=(3, 5))
    alone, _ = grow(psro, env, 2, seeds=(5,))
    np.testing.assert_array_equal(both.games.count[1], alone.games.count[0])
    np.testing.assert_allclose(both.games.mean[1], alone.games.mean[0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("optimisers")
@pytest.mark.parametrize("name", ["ipd2", "stag_hunt", "chicken", "matching_pennies"])
def test_learners_and_exact_oracles_agree(name):
    """The same rule of growth, with PPO and with exact responses, comes to the same value."""
    env = envs.make(name, horizon=1)
    if name == "stag_hunt":  # with hare dominant in risk, which is what uniform play leads to
        env = env.replace(payoffs=env.payoffs - 2.0 * (env.payoffs < 0))
    fields = {"normalize": False, "max_grad_norm": 1e6, "entropy": 0.0, "torso": "table", "learning_rate": 0.05}
    learner = shaping.make("ppo", epochs=1, minibatches=1, **fields)
    oracle = LearnerOracle(learner, updates=200, profiles=16, episodes=8, start="fresh")
    nash = equilibria.make("nash")
    sampled, told = grow(Psro(oracle, nash, episodes=4096), env, 4)
    whole, exactly = grow(Psro(BestResponse(first="uniform"), nash), equilibria.load(env), 4)
    assert exactly[-1].nash_conv[0] < 1e-6
    error = sampled.games.standard_error[:, 0][np.isfinite(sampled.games.standard_error[:, 0])].max()
    np.testing.assert_allclose(told[-1].value[0], exactly[-1].value[0], atol=5 * error + 0.1)
    assert told[-1].gap[0] < 0.1 + 5 * error
    assert whole.games.sizes.max() <= sampled.games.sizes.max()
