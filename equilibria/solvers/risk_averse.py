"""Equilibria of players who weigh what the others may do: any measure of risk, any number of players, trembles."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Key

from equilibria.game import NormalForm
from equilibria.numerics import linear_solve, project
from equilibria.path import follow, start
from equilibria.responses import Perceived, perceive
from equilibria.risk import PerPlayer, Risk
from equilibria.solution import Solution, certified
from equilibria.solver import Solver, require_numbers

__all__ = ["RiskAverse", "settle"]

POLISHES = 16


class RiskAverse(Solver):
    """An equilibrium in which everybody maximises a measure of risk, given the others' mixed strategies.

    With the mean for a measure it is a Nash equilibrium, with trembles a perfect one of the perturbed game.

    Attributes:
        measure: what players maximise.
        tremble: ε in [0, 1 / A], one number or one a player.
        trembles: what they are: a "constraint", every own action has a probability of ε or more; or a "mistake",
            everybody takes the others to act at random with a probability of ε.
        method: "path", along logit equilibria and then by Newton's method; or "fictitious_play", best replies to
            the average of all earlier ones.
        temperature: of fictitious play: above 0 it is stochastic, a nat of entropy is worth so much of the largest
            difference of payoffs at first, and less with the square root of steps.
        tolerance: of regret, as a share of the largest difference of payoffs.
        steps: at most, of the path or of fictitious play.
    """

    measure: Risk
    tremble: PerPlayer = 0.0
    trembles: Literal["constraint", "mistake"] = struct.field(default="constraint", pytree_node=False)
    method: Literal["path", "fictitious_play"] = struct.field(default="path", pytree_node=False)
    temperature: float = 0.0
    tolerance: float = 1e-8
    steps: int = struct.field(default=2000, pytree_node=False)

    retries: ClassVar[int] = 8

    def check(self, game: NormalForm) -> None:
        """Raise unless parameters are in range, trembles leave room, and risk is one number or one a player.

        Raises:
            ValueError: names the field, its value and what was expected.
        """
        super().check(game)
        if getattr(self.measure, "variance", "others") == "total":
            warnings.warn("variance = 'total' is not concave in the own play: equilibria need not exist", stacklevel=3)
        most = 1.0 / max(game.sizes) if self.trembles == "constraint" else 1.0
        require_numbers("temperature", self.temperature, 0.0, 1e6, 0)
        require_numbers("tremble", self.tremble, 0.0, most, game.num_players)

    def means(self, everything: bool = False) -> str:
        """By its method, or by that of `every`."""
        if everything:
            return "bisection from a grid"
        return "the logit path, then Newton's method" if self.method == "path" else "fictitious play"

    def reason(self, game: NormalForm, found: Solution | None) -> str:
        """That there need not be any, or that the path led nowhere."""
        if getattr(self.measure, "variance", "others") == "total":
            return "with variance = 'total' there need not be any"
        return super().reason(game, found) or ("the path led to none" if found and self.method == "path" else "")

    def solve(self, game: NormalForm, key: Key[Array, ""] | None = None) -> Solution:
        """One equilibrium: that to which the path from uniform play leads, or from a random start."""
        seen = perceive(game, self.measure, self.tremble, self.trembles)
        prior = game.uniform()
        if key is not None:
            drawn = jax.random.exponential(key, prior.shape, prior.dtype) ** 3 + 1e-6
            prior = jnp.where(game.mask, drawn, 0.0)
            prior = prior / prior.sum(axis=1, keepdims=True)
        tolerance = jnp.asarray(self.tolerance, prior.dtype) * game.scales()
        if self.method == "path":
            profile, bound, steps = _along(seen, prior, tolerance, self.steps)
        else:
            profile, bound, steps = _fictitious(seen, prior, tolerance, self.temperature, self.steps)
        regret = bound if self.measure.kinked else seen.regret(profile, 0.1 * tolerance)
        return certified(game, profile, regret, self.tolerance, steps)

    def every(self, game: NormalForm) -> list[Solution]:
        """All equilibria of a game of two players with two actions each, from a fine grid.

        Raises:
            ValueError: the game is larger, or utilities are not concave, so that slopes certify nothing.
        """
        if getattr(self.measure, "variance", "others") == "total":
            raise ValueError("all=True with variance = 'total': utilities are not concave; ask for restarts=K instead")
        if game.sizes != (2, 2):
            raise ValueError(f"all=True of a game with {game.sizes} actions: expected (2, 2), or restarts=K instead")
        seen = perceive(game, self.measure, self.tremble, self.trembles)
        tolerance = self.tolerance * game.scales().min()
        profiles, bounds = jax.jit(_squares)(seen, jnp.asarray(tolerance))
        kept = [k for k, bound in enumerate(np.asarray(bounds)) if bound <= tolerance]
        return [certified(game, profiles[k], jnp.full(2, bounds[k]), self.tolerance, 1) for k in kept]


STAGES = (1e2, 1e4, 1e6, 1e8)
"""How far the path is followed before Newton's method takes over, if need be again, in units of 1 / payoffs."""
WIDTH = 0.05
"""Of smoothed kinks, at first, in units of the largest difference of payoffs."""
NARROWINGS = 200


def _along(seen: Perceived, prior: Array, tolerance: Array, steps: int) -> tuple[Array, Array, Array]:
    """By the path, to a tolerance `[n]`; a profile, an upper bound of regret, and steps.

    Where the measure has kinks the path is that of a smooth stand-in, which then sharpens.
    """
    scale, scales, mask = seen.game.scale(), seen.game.scales(), seen.mask
    free = seen.free[:, None]
    trembling = lambda play: jnp.where(mask, seen.least[:, None] + free * play, 0.0)  # noqa: E731
    width = WIDTH * scale if seen.risk.kinked else jnp.zeros_like(scale)
    push = lambda play, t: t * free * seen.slope(trembling(play), width) / scale  # noqa: E731
    stages = jnp.asarray(STAGES, prior.dtype)

    def stage(carry: Any) -> Any:
        point, best, gap, number = carry
        point = follow(push, prior, mask, point, stages[number], steps=steps)
        profile, left = settle(seen, trembling(point.play(mask)), width)
        better = left < gap
        return point, jnp.where(better, profile, best), jnp.minimum(gap, left), number + 1

    def unfinished(carry: Any) -> Array:
        point, _, gap, number = carry
        return (gap > 0.5 * tolerance.min()) & (number < len(STAGES)) & ~point.lost & (point.steps < steps)

    first = trembling(prior)
    carry = start(prior, mask), first, seen.gap(first, width).max(), jnp.zeros((), jnp.int32)
    point, profile, *_ = jax.lax.while_loop(unfinished, stage, carry)
    if not seen.risk.kinked:
        return profile, seen.gap(profile), point.steps

    def sharpen(carry: Any) -> Any:
        here, best, bound, width, factor, number = carry
        there, left = settle(seen, here, width * factor)
        good = left < 0.1 * width * factor
        now = seen.within(there, width * factor)
        better = (now / scales).max() < (bound / scales).max()
        factor, width = jnp.where(good, factor**1.5, factor**0.5), jnp.where(good, width * factor, width)
        best, bound = jnp.where(better, there, best), jnp.where(better, now, bound)
        return jnp.where(good, there, here), best, bound, width, jnp.maximum(factor, 0.1), number + 1

    def blunt(carry: Any) -> Array:
        *_, bound, _, factor, number = carry
        return (bound > 0.5 * tolerance).any() & (number < NARROWINGS) & (factor < 0.999)

    carry = profile, profile, seen.within(profile, width), width, jnp.full_like(scale, 0.5), jnp.zeros((), jnp.int32)
    _, profile, bound, *_ = jax.lax.while_loop(blunt, sharpen, carry)
    return profile, bound, point.steps


def settle(seen: Perceived, profile: Float[Array, "n A"], smoothing: Any = 0.0) -> tuple[Float[Array, "n A"], Array]:
    """The equilibrium next to `profile`, by Newton's method on profile = projection(profile + slope); and its gap.

    The gap is the largest of `Perceived.gap`; the best profile on the way is kept.
    """
    scale, mask = seen.game.scale(), seen.mask
    small = jnp.asarray(1e-12 if profile.dtype == jnp.float64 else 1e-6, profile.dtype)
    gap = lambda profile: seen.gap(profile, smoothing).max()  # noqa: E731

    def off(flat: Array) -> Array:
        here = flat.reshape(profile.shape)
        return (here - project(here + seen.slope(here, smoothing) / scale, mask, seen.least)).ravel()

    def polish(carry: Any) -> Any:
        here, best, left, step = carry
        right = -off(here.ravel())
        moved = here + linear_solve(jax.jacfwd(off)(here.ravel()), right).reshape(here.shape)
        moved = project(jnp.where(jnp.isfinite(moved), moved, best), mask, seen.least)
        now = gap(moved)
        return moved, jnp.where(now <= left, moved, best), jnp.minimum(now, left), step + 1

    here = project(profile, mask, seen.least)
    unsettled = lambda c: (c[3] < 1) | ((c[2] > small * scale) & (c[3] < POLISHES))  # noqa: E731
    found = jax.lax.while_loop(unsettled, polish, (here, here, gap(here), 0))
    return found[1], found[2]


GRID = 2049


def _squares(seen: Perceived, tolerance: Array) -> tuple[Float[Array, "K 2 2"], Float[Array, " K"]]:
    """Candidates for the equilibria of a 2 x 2 game, and upper bounds of their regrets.

    Replies are roots of slopes, by bisection. The grid is of what the second player does; between two points of it at
    which her reply to his reply is on different sides lies an equilibrium, where he may be indifferent.
    """
    width = 1e-2 * tolerance if seen.risk.kinked else jnp.zeros_like(tolerance)
    low, high = seen.least, 1.0 - seen.least
    profile = lambda p, q: jnp.stack([jnp.stack([p, 1 - p]), jnp.stack([q, 1 - q])])  # noqa: E731

    def better(player: int, p: Array, q: Array) -> Array:
        """How much more the first action of `player` pays at the margin."""
        slope = seen.slope(profile(p, q), width)[player]
        return slope[0] - slope[1]

    def root(rising: Any, least: Array, most: Array) -> Array:
        """Where a falling function of one number changes its sign."""

        def halve(bounds: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
            middle = (bounds[0] + bounds[1]) / 2
            up = rising(middle) > 0
            return (jnp.where(up, middle, bounds[0]), jnp.where(up, bounds[1], middle)), None

        (found, over), _ = jax.lax.scan(halve, (least, most), None, 56)
        return jnp.where(rising(least) <= 0, least, jnp.where(rising(most) >= 0, most, (found + over) / 2))

    his = lambda q: root(lambda p: better(0, p, q), low[0], high[0])  # noqa: E731
    hers = lambda p: root(lambda q: better(1, p, q), low[1], high[1])  # noqa: E731
    ahead = lambda q: hers(his(q)) - q  # noqa: E731
    shares = jnp.linspace(0.0, 1.0, GRID, dtype=low.dtype)
    ends = jnp.geomspace(1e-9, 1e-4, 11, dtype=low.dtype)  # equilibria may be next to the corners
    shares = jnp.concatenate([shares[:1], ends, shares[1:-1], 1 - ends[::-1], shares[-1:]])
    grid = low[1] + (high[1] - low[1]) * shares
    sides = jnp.sign(jax.vmap(ahead)(grid))
    turn = jnp.flatnonzero(sides[1:] * sides[:-1] < 0, size=16, fill_value=-1)
    still = jnp.flatnonzero(sides == 0, size=16, fill_value=-1)

    def between(place: Array) -> Array:
        here, there = grid[place], grid[place + 1]
        side = jnp.sign(ahead(here))
        return root(lambda q: side * ahead(q), here, there)

    inner = jax.vmap(between)(jnp.maximum(turn, 0))
    inner = jnp.where(turn >= 0, inner, jnp.nan)
    exact = jnp.where(still >= 0, grid[jnp.maximum(still, 0)], jnp.nan)
    columns = jnp.concatenate([grid[:1], grid[-1:], inner, exact])
    replies = jax.vmap(his)(columns)
    mixing = jax.vmap(lambda q: root(lambda p: better(1, p, q) * _tilt(seen, q), low[0], high[0]))(columns)
    rows = jnp.concatenate([replies, mixing])
    found = jax.vmap(profile)(rows, jnp.concatenate([columns, columns]))
    if not seen.risk.kinked:
        found = jnp.concatenate([found, jax.vmap(lambda own: settle(seen, own)[0])(found)])
    bounds = jax.vmap(lambda own: seen.within(own, width).max())(found)
    return found, jnp.where(jnp.isfinite(bounds), bounds, jnp.inf)


def _tilt(seen: Perceived, q: Array) -> Array:
    """1 if the second player's advantage falls with the first's play, -1 if it rises."""
    at = lambda p: seen.slope(jnp.stack([jnp.stack([p, 1 - p]), jnp.stack([q, 1 - q])]))[1]  # noqa: E731
    change = at(1.0 - seen.least[0]) - at(seen.least[0])
    return jnp.sign(change[1] - change[0])


def _fictitious(
    seen: Perceived, prior: Array, tolerance: Array, temperature: Any, steps: int
) -> tuple[Array, Array, Array]:
    """By fictitious play; as `_along`."""
    warmth = jnp.asarray(temperature, prior.dtype) * seen.game.scale()

    def play(carry: Any) -> Any:
        belief, _, step = carry
        least = jnp.finfo(prior.dtype).eps * seen.game.scale()
        softly = lambda: seen.respond_softly(belief, jnp.maximum(warmth / jnp.sqrt(step + 1.0), least))  # noqa: E731
        reply = jax.lax.cond(warmth > 0, softly, lambda: seen.respond(belief, 1e-3 * tolerance, 200)[0])
        belief = belief + (reply - belief) / (step + 2.0)
        return belief, seen.gap(belief), step + 1

    start = project(prior, seen.mask, seen.least)
    belief, bound, count = jax.lax.while_loop(
        lambda c: (c[1] > tolerance).any() & (c[2] < steps), play, (start, seen.gap(start), 0)
    )
    return belief, bound, count
