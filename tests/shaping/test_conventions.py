"""The order, view, start and sign of logits, against the published conventions, and the round trip."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from shaping import CONVENTIONS, Convention, Exact


def labels(players, own_first=True):
    """Ours: START, then joint actions as letters from the own seat."""
    letters = np.indices((2,) * players).reshape(players, -1).T
    return ["start", *("".join("CD"[a] for a in row) for row in letters)]


# What stands at each place of player 1's and player 2's table, named by (own, other) as ours.
PUBLISHED = {
    "mfos": (["start", "CC", "CD", "DC", "DD"], ["start", "CC", "CD", "DC", "DD"]),
    "sos": (["start", "CC", "CD", "DC", "DD"], ["start", "CC", "DC", "CD", "DD"]),
    "lola": (["CC", "CD", "DC", "DD", "start"], ["CC", "DC", "CD", "DD", "start"]),
    "lola_dice": (["start", "DD", "DC", "CD", "CC"], ["start", "DD", "DC", "CD", "CC"]),
    "meva": (["start", "DD", "DC", "CD", "CC"], ["start", "DD", "DC", "CD", "CC"]),
    "pola": (["DD", "DC", "CD", "CC", "start"], ["DD", "CD", "DC", "CC", "start"]),
    "pax": (["CC", "CD", "DC", "DD", "start"], ["CC", "CD", "DC", "DD", "start"]),
    "coala": (["start", "CC", "CD", "DC", "DD"], ["start", "CC", "DC", "CD", "DD"]),
    "in_context": (["start", "CC", "CD", "DC", "DD"], ["start", "CC", "CD", "DC", "DD"]),
    "parley": (["start", "CC", "CD", "DC", "DD"], ["start", "CC", "CD", "DC", "DD"]),
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_two_player_order_is_the_published_one(name):
    sign = -1 if name == "lola_dice" else 1  # stores the logit of defecting
    ours = jnp.arange(1.0, 6.0)[None, :, None] + jnp.array([0.0, 10.0])[:, None, None]
    theirs = CONVENTIONS[name].from_ours(ours)
    for player, order in enumerate(PUBLISHED[name]):
        expected = [sign * (1 + 10 * player + labels(2).index(label)) for label in order]
        assert theirs[player].tolist() == expected


@pytest.mark.parametrize("players", [2, 3, 4])
@pytest.mark.parametrize("name", CONVENTIONS)
def test_round_trip(name, players):
    tables = jax.random.normal(jax.random.key(0), (players, 2**players + 1, 1))
    convention = CONVENTIONS[name]
    np.testing.assert_array_equal(convention.to_ours(convention.from_ours(tables)), tables)


def test_absolute_view_with_three_players():
    """Player 2 (index 1) sees (own, player 3, player 1); absolute tables are ordered (player 1, 2, 3)."""
    theirs = jnp.broadcast_to(jnp.arange(9.0), (3, 9))  # START, CCC, CCD, CDC, CDD, DCC, DCD, DDC, DDD
    ours = Convention(view="absolute").to_ours(theirs)[1, :, 0]
    own_c_third_c_first_d = 1 + 0b001
    assert ours[own_c_third_c_first_d] == 1 + 0b100


def test_values_agree_across_conventions():
    """A strategy means the same in any convention: tit-for-tat against all-D earns -2.04 and -1.92 a step."""
    env = envs.make("ipd2")
    tit_for_tat, all_d = [200.0, 200.0, -200.0, 200.0, -200.0], [-200.0] * 5
    ours = jnp.array([tit_for_tat, all_d])[..., None]
    for convention in CONVENTIONS.values():
        value = Exact(units="per_step").value(env, convention.to_ours(convention.from_ours(ours)))
        np.testing.assert_allclose(value, [-2.04, -1.92], rtol=1e-4)
    written = jnp.array([[-200.0, 200.0, -200.0, 200.0, 200.0], [-200.0] * 5])  # POLA: DD, DC, CD, CC, start
    value = Exact(units="per_step").value(env, CONVENTIONS["pola"].to_ours(written))
    np.testing.assert_allclose(value, [-2.04, -1.92], rtol=1e-4)


def test_bad_shapes_and_choices_are_named():
    with pytest.raises(ValueError, match="expected \\[n, 2\\^n \\+ 1\\]"):
        CONVENTIONS["pax"].to_ours(jnp.zeros((2, 4)))
    with pytest.raises(ValueError, match="view = 'own'"):
        Convention(view="own")
