"""Oracles: populations and a distribution over what the others play → a best response, if need be a risk-averse one."""

from __future__ import annotations

from functools import reduce
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from envs.validation import require_choice, require_range
from equilibria.game import NormalForm
from equilibria.numerics import linear_solve
from equilibria.responses import Perceived, perceive
from equilibria.risk import Neutral, Risk
from equilibria.solver import require_numbers

__all__ = ["BestResponse", "Oracle", "Target", "check_measure"]

Target = Float[Array, "N K O"]
"""For each of the first N players how likely the own policy is k and the others' profile o, O = K^(n - 1)."""


WIDTHS = (0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5)
"""Of smoothed kinks, one after the other, as shares of the largest difference of payoffs."""


class Oracle(struct.PyTreeNode):
    """Responds to populations; its fields are its parameters.

    Everything is written for one seed and pure. Policies are PyTrees; those of all players have leaves `[n, ...]`,
    populations `[n, K, ...]`, zeros where there is no policy yet. Profiles of the others are in the order of
    `NormalForm.others`: players i + 1, ..., n - 1, 0, ..., i - 1, the last one's number fastest.
    """

    exact: ClassVar[bool] = False
    """Whether its responses are best ones, and what policies earn is known without sampling."""

    def check(self, arena: Any) -> None:
        """Raise a `ValueError` in the user's words unless it can play `arena`."""

    def init(self, arena: Any, key: Key[Array, ""]) -> Any:
        """States before the first response, leaves `[n, ...]`; consumes `key`."""
        raise NotImplementedError

    def policies(self, arena: Any, states: Any) -> Any:
        """What states play, leaves `[n, ...]`."""
        raise NotImplementedError

    def respond(
        self, arena: Any, states: Any, populations: Any, target: Target, sizes: Int[Array, " n"], key: Key[Array, ""]
    ) -> tuple[Any, dict[str, Float[Array, " N"]]]:
        """Responses of the first players, as many as there are targets, as states, and metrics; consumes `key`."""
        raise NotImplementedError

    def play(self, arena: Any, policies: Any, episodes: int, key: Key[Array, ""]) -> Float[Array, "E n"]:
        """Returns of episodes that `policies` play with each other; consumes `key`."""
        raise NotImplementedError


def check_measure(measure: Risk, players: int) -> None:
    """Raise a `ValueError` that names the field unless the numbers of `measure` are in range, one or one a player."""
    for name, (low, high) in measure.ranges.items():
        if hasattr(measure, name):
            require_numbers(name, getattr(measure, name), low, high, players)


class BestResponse(Oracle):
    """The exact best response in a game in normal form; policies are mixed strategies `[A]`.

    Without risk aversion it is pure. With a measure of risk it may mix: uncertain is which policies the others play.

    Source: McMahan, Gordon and Blum 2003 (double oracle); preference: Muller et al. 2020, arXiv 1909.12823; diversity:
    Perez-Nieves et al. 2021, arXiv 2103.07927.

    Attributes:
        measure: what players maximise.
        wants: "payoff"; or "preference": to do better than the own policy of the profile as often as possible.
        diversity: what one unit of the expected cardinality of the population is worth, as a share of the largest
            difference of payoffs; with it responses are pure.
        first: strategies before the first response: "uniform", or pure ones at "random".
    """

    measure: Risk = Neutral()
    wants: Literal["payoff", "preference"] = struct.field(default="payoff", pytree_node=False)
    diversity: float = 0.0
    first: Literal["uniform", "random"] = struct.field(default="random", pytree_node=False)

    exact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        require_choice("wants", self.wants, ("payoff", "preference"))
        require_choice("first", self.first, ("uniform", "random"))
        require_range("diversity", self.diversity, 0.0)

    def check(self, arena: Any) -> None:
        """Raise unless `arena` is a game in normal form."""
        if not isinstance(arena, NormalForm):
            raise ValueError(
                f"the exact oracle plays games in normal form, found {type(arena).__name__};"
                " expected a matrix game, or an oracle that learns, such as ppo"
            )
        check_measure(self.measure, arena.num_players)

    def init(self, arena: NormalForm, key: Key[Array, ""]) -> Float[Array, "n A"]:
        """Uniform or random strategies; consumes `key`."""
        if self.first == "uniform":
            return arena.uniform()
        drawn = jax.random.uniform(key, arena.mask.shape)
        best = jnp.argmax(jnp.where(arena.mask, drawn, -1.0), axis=1)
        return jax.nn.one_hot(best, arena.num_actions, dtype=arena.dtype)

    def policies(self, arena: NormalForm, states: Float[Array, "N A"]) -> Float[Array, "N A"]:
        """The strategies."""
        return states

    def respond(
        self,
        arena: NormalForm,
        states: Float[Array, "N A"],
        populations: Float[Array, "n K A"],
        target: Target,
        sizes: Int[Array, " n"],
        key: Key[Array, ""],
    ) -> tuple[Float[Array, "N A"], dict[str, Float[Array, " N"]]]:
        """The best strategies; `gain` is what they earn above the target's own policies, in the measure of risk."""
        asked, n = len(target), arena.num_players
        target = jnp.concatenate([target, jnp.broadcast_to(target[:1], (n - asked, *target.shape[1:]))])
        seen = self._seen(arena, populations, sizes)
        chance = target.sum(axis=1)
        eye = jnp.eye(arena.num_actions, dtype=seen.outcomes.dtype)
        if self.wants == "preference":
            own = jnp.einsum("ika,iao->iko", populations, seen.outcomes)
            slack = 1e-9 * arena.scale()
            better = seen.outcomes[:, None] > own[:, :, None] + slack  # [n, K, A, O]
            scores = jnp.einsum("ikao,iko->ia", better.astype(own.dtype), target)
        else:
            every = jax.vmap(lambda row: seen.utility_at(jnp.tile(row[None], (n, 1)), chance), out_axes=1)
            scores = every(eye)
        apart = jnp.where(self._exists(sizes, populations)[:, :, None], jnp.moveaxis(seen.outcomes, 2, 1), 0.0)
        spread = jax.vmap(_cardinality)(populations, apart, self._rows(sizes, populations))
        scores = scores + self.diversity * arena.scale() * spread
        taken = jnp.abs(populations[:, :, None] - eye[None, None]).max(axis=3) < 1e-9  # [n, K, A]
        scores = jnp.where(taken.any(axis=1), scores - 1e-9 * arena.scale(), scores)  # of equals one that is new
        pure = eye[jnp.argmax(jnp.where(arena.mask, scores, -jnp.inf), axis=1)]
        reply = pure
        plain = not isinstance(self.measure, Neutral) and self.wants == "payoff"
        if plain:
            mixed = pure
            for width in WIDTHS if self.measure.kinked else (0.0,):
                smoothing = width * arena.scale() if width else 0.0
                mixed, _ = seen.respond_to(mixed, chance, 1e-9 * arena.scale(), smoothing=smoothing)
                better = seen.utility_at(mixed, chance) > seen.utility_at(reply, chance) + 1e-9 * arena.scale()
                reply = jnp.where((better & (self.diversity == 0))[:, None], mixed, reply)
        now = jnp.einsum("ika,ik->ia", populations, target.sum(axis=2))
        gain = seen.utility_at(reply, chance) - seen.utility_at(now, chance)
        return reply[:asked], {"gain": gain[:asked]}

    def play(
        self, arena: NormalForm, policies: Float[Array, "n A"], episodes: int, key: Key[Array, ""]
    ) -> Float[Array, "1 n"]:
        """Expected payoffs, once."""
        return arena.value(policies)[None]

    def _seen(self, arena: NormalForm, populations: Any, sizes: Any) -> Perceived:
        """The game whose outcomes are the others' profiles of policies; absent ones look like the first."""
        n = arena.num_players
        tables = []
        for player in range(n):
            rest = [(player + k) % n for k in range(1, n)]
            mixed = reduce(_pairs, (populations[j] for j in rest), jnp.ones((1, 1), populations.dtype))
            tables.append(mixed @ arena.outcomes()[player].T)
        table = jnp.stack(tables)  # [n, O, A]
        table = jnp.where(self._exists(sizes, populations)[:, :, None], table, table[:, :1])
        return perceive(arena, self.measure).replace(outcomes=jnp.moveaxis(table, 2, 1))

    def _exists(self, sizes: Int[Array, " n"], populations: Any) -> Bool[Array, "n O"]:
        """Which profiles of the others there are."""
        rows, n = self._rows(sizes, populations), len(sizes)
        pair = lambda a, b: (a[:, None] & b[None]).ravel()  # noqa: E731
        return jnp.stack([reduce(pair, (rows[(i + k) % n] for k in range(1, n)), jnp.ones(1, bool)) for i in range(n)])

    def _rows(self, sizes: Int[Array, " n"], populations: Any) -> Bool[Array, "n K"]:
        """Which policies exist."""
        return jnp.arange(populations.shape[1], dtype=jnp.int32)[None] < sizes[:, None].astype(jnp.int32)


def _pairs(one: Array, two: Array) -> Array:
    """Rows `[O, X]` and `[K, A]` → products of all pairs, `[O K, X A]`."""
    return jnp.einsum("ox,ka->okxa", one, two).reshape(one.shape[0] * two.shape[0], -1)


def _cardinality(
    population: Float[Array, "K A"], outcomes: Float[Array, "O A"], rows: Bool[Array, " K"]
) -> Float[Array, " A"]:
    """By how much each pure strategy raises the expected cardinality tr(I - (L + I)⁻¹) of a population, L = M Mᵀ.

    M has what each policy earns against each profile of the others, of length 1 at most.
    """
    kept = jnp.where(rows[:, None], population @ outcomes.T, 0.0)
    unit = jnp.maximum(jnp.sqrt((outcomes**2).sum(axis=0)).max(), jnp.finfo(outcomes.dtype).tiny)
    kept, new = kept / unit, outcomes.T / unit  # [K, O], [A, O]
    size = len(kept)
    kernel = kept @ kept.T + jnp.eye(size, dtype=kept.dtype)
    cross = new @ kept.T  # [A, K]
    solved = jax.vmap(linear_solve, (None, 0))(kernel, cross)  # [A, K]
    left = (new**2).sum(axis=1) + 1.0 - (cross * solved).sum(axis=1)
    return 1.0 - (1.0 + (solved**2).sum(axis=1)) / left
