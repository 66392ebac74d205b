"""A game as risk-averse players see it: utilities, their slopes, and what a better reply would gain."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from equilibria.game import NormalForm
from equilibria.numerics import centred, project
from equilibria.risk import Neutral, Risk

__all__ = ["Perceived", "perceive"]


class Perceived(struct.PyTreeNode):
    """A game, what its players make of uncertain payoffs, and how they tremble.

    `perceive` builds one.

    Attributes:
        game: the game.
        risk: the measure, its parameters `[n]`.
        outcomes: `[n, A, O]`, of the game.
        least: `[n]`, the least probability of every own action.
        mistake: `[n]`, the probability with which the others take a player to act at random instead.
    """

    game: NormalForm
    risk: Risk
    outcomes: Float[Array, "n A O"]
    least: Float[Array, " n"]
    mistake: Float[Array, " n"]

    @property
    def mask(self) -> Bool[Array, "n A"]:
        """Which actions exist."""
        return self.game.mask

    @property
    def free(self) -> Float[Array, " n"]:
        """What is left of the probability when every action has its least."""
        return 1.0 - self.least * self.mask.sum(axis=1, dtype=self.least.dtype)

    def others(self, profile: Float[Array, "n A"]) -> Float[Array, "n O"]:
        """How likely each player takes the joint actions of the others to be."""
        share = self.mistake[:, None]
        return self.game.others((1 - share) * profile + share * self.game.uniform())

    def utility(self, profile: Float[Array, "n A"], smoothing: Any = 0.0) -> Float[Array, " n"]:
        """What each player maximises."""
        return self._utility(profile, self.others(profile), smoothing)

    def utility_at(self, own: Float[Array, "n A"], chance: Float[Array, "n O"]) -> Float[Array, " n"]:
        """The same, of strategies `own` while the others are taken to do `chance`."""
        return self._utility(own, chance, 0.0)

    def _utility(self, own: Array, chance: Array, smoothing: Any) -> Array:
        of = lambda risk, *seen: risk.utility(*seen, smoothing)  # noqa: E731
        return jax.vmap(of)(self.risk, own, self.outcomes, chance)

    def slope(self, profile: Float[Array, "n A"], smoothing: Any = 0.0) -> Float[Array, "n A"]:
        """The gradient of each player's utility in the own strategy; 0 where there is no action."""
        return self.slope_at(profile, self.others(profile), smoothing)

    def slope_at(
        self, own: Float[Array, "n A"], chance: Float[Array, "n O"], smoothing: Any = 0.0
    ) -> Float[Array, "n A"]:
        """The same, of strategies `own` while the others are taken to do `chance`."""
        found = jax.grad(lambda own: self._utility(own, chance, smoothing).sum())(own)
        return jnp.where(self.mask, found, 0.0)

    def ahead(self, profile: Float[Array, "n A"], slope: Float[Array, "n A"]) -> Float[Array, " n"]:
        """The most that could be gained along the own slope: an upper bound of regret where utilities are concave."""
        best = jnp.where(self.mask, slope, -jnp.inf).max(axis=1)
        return jnp.maximum(self.least * slope.sum(axis=1) + self.free * best - (profile * slope).sum(axis=1), 0.0)

    def gap(self, profile: Float[Array, "n A"], smoothing: Any = 0.0) -> Float[Array, " n"]:
        """`ahead` at the slope of `profile`; 0 at an equilibrium."""
        return self.ahead(profile, self.slope(profile, smoothing))

    def within(self, profile: Float[Array, "n A"], smoothing: Any) -> Float[Array, " n"]:
        """An upper bound of regret from the slopes of the smooth stand-in."""
        return self.gap(profile, smoothing) + self.risk.error(smoothing, self.outcomes.shape[2])

    def respond(
        self, profile: Float[Array, "n A"], tolerance: Any, steps: int = 2000
    ) -> tuple[Float[Array, "n A"], Float[Array, " n"]]:
        """Everybody's best reply to `profile`, and upper bounds of what is left to gain after it.

        By accelerated projected gradients (Beck and Teboulle 2009) with restarts and steps that adapt, for each player
        alone, from the own strategy, or the one next to it that trembles allow.

        Args:
            profile: `[n, A]`.
            tolerance: of the bounds, in units of payoffs, one number or `[n]`.
            steps: at most.
        """
        return self.respond_to(profile, self.others(profile), tolerance, steps)

    def respond_to(
        self,
        profile: Float[Array, "n A"],
        chance: Float[Array, "n O"],
        tolerance: Any,
        steps: int = 2000,
        smoothing: Any = 0.0,
    ) -> tuple[Float[Array, "n A"], Float[Array, " n"]]:
        """The same, from the strategies of `profile`, while the others are taken to do `chance`."""
        value = lambda own: self._utility(own, chance, smoothing)  # noqa: E731
        slope = lambda own: centred(self.slope_at(own, chance, smoothing), self.mask)  # noqa: E731

        def better(carry: Any) -> Any:
            own, ahead, momentum, rate, _, step = carry
            there, up = value(ahead), slope(ahead)
            after = project(ahead + rate[:, None] * up, self.mask, self.least)
            moved = after - ahead
            model = there + (up * moved).sum(axis=1) - (moved**2).sum(axis=1) / (2 * rate)
            slack = 8 * jnp.finfo(there.dtype).eps * (self.game.scale() + jnp.abs(there))
            good = value(after) >= model - slack
            faster = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
            back = ((after - ahead) * (after - own)).sum(axis=1) < 0  # O'Donoghue and Candès 2015
            faster = jnp.where(back, 1.0, faster)
            weight = jnp.where(back, 0.0, (momentum - 1) / faster)[:, None]
            further = after + weight * (after - own)
            keep = good[:, None]
            own, ahead = jnp.where(keep, after, own), jnp.where(keep, further, ahead)
            momentum = jnp.where(good, faster, momentum)
            rate = jnp.where(good, rate * 1.1, rate / 2)
            return own, ahead, momentum, rate, self.ahead(own, slope(own)), step + 1

        one, inside = jnp.ones_like(self.least), project(profile, self.mask, self.least)
        start = inside, inside, one, one / self.game.scale(), self.ahead(inside, slope(inside)), 0
        found = jax.lax.while_loop(lambda c: (c[4] > tolerance).any() & (c[5] < steps), better, start)
        return found[0], found[4]

    def respond_softly(
        self, profile: Float[Array, "n A"], temperature: Float[Array, ""] | Float[Array, "n 1"], steps: int = 100
    ) -> Float[Array, "n A"]:
        """Everybody's best reply to `profile` when entropy is worth `temperature`, in units of payoffs, a nat.

        By mirror ascent from uniform play, with steps that keep half of its logits at first and fewer if utilities
        bend more than that.
        """
        chance = self.others(profile)
        floor = jnp.finfo(profile.dtype).tiny
        free, least = self.free[:, None], self.least[:, None]
        played = lambda soft: jnp.where(self.mask, least + free * soft, 0.0)  # noqa: E731

        def ascend(carry: Any) -> Any:
            soft, kept, change, step = carry
            slope = free * self.slope_at(played(soft), chance) / temperature
            logits = kept * jnp.log(jnp.maximum(soft, floor)) + (1 - kept) * slope
            after = jax.nn.softmax(jnp.where(self.mask, logits, -jnp.inf), axis=1)
            now = jnp.abs(after - soft).max(axis=1, keepdims=True)
            kept = jnp.where(now > 0.9 * change, 1 - (1 - kept) * 0.7, kept)
            return after, kept, now, step + 1

        one = jnp.ones_like(free)
        start = self.game.uniform(), 0.5 * one, jnp.inf * one, 0
        found = jax.lax.while_loop(lambda c: (c[2].max() > 1e-6) & (c[3] < steps), ascend, start)
        return played(found[0])

    def regret(self, profile: Float[Array, "n A"], tolerance: Any) -> Float[Array, " n"]:
        """What each player would gain by the best reply, in the own utility; too high by at most the tolerance.

        Where utilities are not concave (total variance), the gain by the best pure reply, if that is more.
        """
        reply, left = self.respond(profile, tolerance)
        chance = self.others(profile)
        here = self._utility(profile, chance, 0.0)
        gain = jnp.minimum(self._utility(reply, chance, 0.0) - here + left, self.gap(profile))
        pures = jnp.eye(self.mask.shape[1], dtype=profile.dtype)[:, None, :]
        corners = jnp.where(self.mask, self.least[:, None], 0.0)[None] + self.free[None, :, None] * pures
        pure = jax.vmap(lambda own: self._utility(own, chance, 0.0), out_axes=1)(corners)
        pure = jnp.where(self.mask, pure, -jnp.inf).max(axis=1) - here
        return jnp.maximum(jnp.maximum(gain, pure), 0.0)


def perceive(game: NormalForm, risk: Risk, tremble: Any = 0.0, trembles: str = "constraint") -> Perceived:
    """`game` as players with `risk` see it.

    Args:
        game: the game.
        risk: a measure; numbers, or `[n]`.
        tremble: ε, one number or `[n]`.
        trembles: as "constraint" every own action has a probability of ε or more; as "mistake" everybody takes the
            others to act at random with a probability of ε.
    """
    n, dtype = game.num_players, game.dtype
    each = lambda leaf: jnp.broadcast_to(jnp.asarray(leaf, dtype), (n,))  # noqa: E731
    tremble = each(tremble)
    still = jnp.zeros_like(tremble)
    least, mistake = (tremble, still) if trembles == "constraint" else (still, tremble)
    outcomes = game.outcomes()
    if isinstance(risk, Neutral):  # to whom only differences matter, of which large payoffs have fewer digits
        outcomes = outcomes - outcomes.mean(axis=(1, 2), keepdims=True)
    return Perceived(game, jax.tree.map(each, risk), outcomes, least, mistake)
