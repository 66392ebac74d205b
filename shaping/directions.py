"""Directions: how a player moves its parameters when it knows the value function of the joint parameters.

A direction maps `(value, params, seat, key)` to the ascent direction of the player in that seat:

    value(params, key) -> [n]    value of every player, exact or estimated; `key` feeds an estimate
    params                       PyTree with leaves `[n, ...]`, all players' parameters
    seat                         int32 scalar, may be traced, so that equal seats share one `vmap`
    direction(...) -> PyTree     leaves `[...]`, for that seat alone; to be *added* to the parameters

Values are maximised. In the formulas V_i is the value of player i, θ_i its parameters, α the look-ahead rate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from envs.validation import require_choice, require_range

__all__ = [
    "Direction",
    "FittedDirection",
    "Lola",
    "Naive",
    "Params",
    "Pola",
    "Value",
    "others_learn",
    "own_gradients",
    "put_seat",
    "take_seat",
]

Params = Any
Value = Callable[[Params, Key[Array, ""]], Float[Array, " n"]]


class Direction(struct.PyTreeNode):
    """Protocol of a direction; its fields are hyper-parameters."""

    grouped: ClassVar[bool] = False
    """Whether it is that of a single player when the others come in groups; see `shaping.counts`."""

    def __call__(self, value: Value, params: Params, seat: Int[Array, ""], key: Key[Array, ""]) -> Params:
        """The ascent direction of the player in `seat`; consumes `key`."""
        raise NotImplementedError


class FittedDirection(Direction):
    """A direction that learns something about the game before it is followed; from exact values only."""

    def fit(self, value: Value, params: Params, key: Key[Array, ""]) -> Any:
        """What it learns, a PyTree, from the values of a game whose joint parameters look like `params`; uses `key`."""
        raise NotImplementedError

    def start(self, own: Params, learned: Any) -> Params:
        """Where a player begins that would by itself begin at `own`, leaves `[...]`."""
        return own

    def __call__(
        self, value: Value, params: Params, seat: Int[Array, ""], key: Key[Array, ""], learned: Any = None
    ) -> Params:
        """The ascent direction of the player in `seat`; consumes `key`."""
        raise NotImplementedError


class Naive(Direction):
    """Naive learning: follow the own gradient as if the others stood still, ∂_i V_i(θ).

    Source: simultaneous gradient ascent, e.g. Letcher et al. 2019, arXiv 1811.08469.
    """

    grouped: ClassVar[bool] = True

    def __call__(self, value: Value, params: Params, seat: Int[Array, ""], key: Key[Array, ""]) -> Params:
        """∂_i V_i(θ)."""
        return take_seat(jax.grad(lambda joint: take_seat(value(joint, key), seat))(params), seat)


class Lola(Direction):
    """Learning with opponent-learning awareness, for any number of players: the others will learn, too.

    All other players j ≠ i are expected to take k simultaneous naive steps of rate α while θ_i stands still. With
    Δ_j(θ) their displacement (α ∂_j V_j for k = 1), the direction is the gradient in θ_i of

    * expansion "exact": V_i(θ_i, θ_-i + Δ_-i(θ));
    * expansion "taylor": V_i(θ) + Σ_{j≠i} ⟨∂_j V_i(θ), Δ_j(θ)⟩.

    It depends on θ_i in two ways: "lookahead", directly, with Δ held fixed; and "shaping", through Δ, with the rest
    held fixed. `terms` chooses what is differentiated: "both" is LOLA; "lookahead" is LookAhead (Zhang and Lesser
    2010); "shaping" with the Taylor expansion is the first-order term of the LOLA paper.

    Source: Foerster et al. 2018, arXiv 1709.04326 ("shaping", "taylor"); Letcher et al. 2019, arXiv 1811.08469 ("both",
    "taylor"); Willi et al. 2022, arXiv 2203.04098 ("exact").

    Attributes:
        lookahead_rate: α, step size that the others are expected to use, on values in the units of the objective.
        lookahead_steps: k, how many steps they are expected to take.
        expansion: of the own value in the others' steps: none, or to first order ("taylor").
        terms: what is differentiated; "shaping" alone needs the Taylor expansion.
        symmetric: whether the own step is expected, too, as if j = i were among the others.
        shaping_weight: p, weight of this direction; 1 - p is that of the naive one. With many look-ahead steps every
            player tries to extort, and less than 1 keeps them from it (Meulemans et al. 2025, arXiv 2410.18636).
    """

    grouped: ClassVar[bool] = True

    lookahead_rate: float = 1.0
    lookahead_steps: int = struct.field(default=1, pytree_node=False)
    expansion: Literal["exact", "taylor"] = struct.field(default="exact", pytree_node=False)
    terms: Literal["both", "lookahead", "shaping"] = struct.field(default="both", pytree_node=False)
    symmetric: bool = struct.field(default=False, pytree_node=False)
    shaping_weight: float = 1.0

    def __post_init__(self) -> None:
        """Check ranges and combinations."""
        require_range("lookahead_rate", self.lookahead_rate, 0.0)
        require_range("lookahead_steps", self.lookahead_steps, 1, whole=True, hint="0 steps are naive learning")
        require_choice("expansion", self.expansion, ("exact", "taylor"))
        require_choice("terms", self.terms, ("both", "lookahead", "shaping"))
        require_range("shaping_weight", self.shaping_weight, 0.0, 1.0)
        if (self.expansion, self.terms) == ("exact", "shaping"):
            raise ValueError("terms = 'shaping' with expansion = 'exact' is not defined: expected expansion = 'taylor'")
        if self.symmetric and self.terms != "both":
            raise ValueError(f"symmetric = True with terms = {self.terms!r} is not defined: expected terms = 'both'")

    def __call__(self, value: Value, params: Params, seat: Int[Array, ""], key: Key[Array, ""]) -> Params:
        """The gradient in θ_i of the expected value after the others' steps.

        Taken in all of θ, of which the part of `seat` is kept: under a `vmap` over seats the naive gradients at θ are
        then the same for all of them, and computed once.
        """
        step_key, value_key = jax.random.split(key)
        lookahead, shaping = self.terms == "lookahead", self.terms == "shaping"

        def own_value(joint: Params) -> Float[Array, ""]:
            return take_seat(value(joint, value_key), seat)

        def expected(joint: Params) -> Float[Array, ""]:
            before = jax.lax.stop_gradient(joint) if lookahead else joint
            still = None if self.symmetric else seat
            after = others_learn(value, before, still, step_key, self.lookahead_rate, self.lookahead_steps)
            if self.expansion == "exact":
                return own_value(put_seat(after, seat, joint) if lookahead else after)
            displacement = jax.tree.map(jnp.subtract, after, before)
            base = jax.lax.stop_gradient(joint) if shaping else joint
            now, gain = jax.jvp(own_value, (base,), (displacement,))
            return gain + (own_value(joint) if shaping else now)

        mixed = not (isinstance(self.shaping_weight, int | float) and self.shaping_weight == 1)

        def surrogate(joint: Params) -> Float[Array, ""]:
            if not mixed:
                return expected(joint)
            return self.shaping_weight * expected(joint) + (1 - self.shaping_weight) * own_value(joint)

        return take_seat(jax.grad(surrogate)(params), seat)


class Pola(Direction):
    """Proximal LOLA: shape by a best reply nearby in the space of policies, not by one step in that of parameters.

    The direction is θ_i' - θ_i, where θ_i' comes from `proximal_steps` of gradient ascent, from θ_i, on

        V_i(θ_i', θ_-i + Δ_-i(θ_i')) - β_out D(π(θ_i) ‖ π(θ_i'))

    and Δ_j from k steps of rate α, from θ_j, on V_j - β_in D(π(θ_j) ‖ π(θ_j + Δ_j)), while θ_i' stands still. The total
    gradient is taken. β_in = 0 is outer POLA; β_out = 0, one proximal step and no Adam are LOLA. D is the divergence of
    the objective, averaged over all observations or over the visited steps.

    Departures: the paper takes steps until the divergence settles, we take a fixed number; all n - 1 others respond;
    the divergence is in the direction of its code, that of its formulas is the reverse, and in exact games its code
    sums over observations, so that its penalty is 1 / observations of ours.
    Source: Zhao et al. 2022, arXiv 2210.10125.

    Attributes:
        lookahead_rate: α, step size of the others.
        lookahead_steps: k, how many steps they are expected to take.
        inner_penalty: β_in.
        proximal_rate: step size of the own ascent.
        proximal_steps: number of its steps.
        outer_penalty: β_out.
        adam: whether the own ascent is Adam, or plain.
    """

    lookahead_rate: float = 1.0
    lookahead_steps: int = struct.field(default=1, pytree_node=False)
    inner_penalty: float = 0.0
    proximal_rate: float = 0.1
    proximal_steps: int = struct.field(default=20, pytree_node=False)
    outer_penalty: float = 1.5
    adam: bool = struct.field(default=False, pytree_node=False)

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("lookahead_rate", "inner_penalty", "proximal_rate", "outer_penalty"):
            require_range(name, getattr(self, name), 0.0)
        for name in ("lookahead_steps", "proximal_steps"):
            require_range(name, getattr(self, name), 1, whole=True)

    def __call__(self, value: Value, params: Params, seat: Int[Array, ""], key: Key[Array, ""]) -> Params:
        """θ_i' - θ_i."""
        optimizer = (optax.adam if self.adam else optax.sgd)(self.proximal_rate)

        def loss(joint: Params, key: Key[Array, ""]) -> Float[Array, ""]:
            inner_key, outer_key = jax.random.split(key)
            gain = lambda p, k: _penalised(value, p, params, self.inner_penalty, k)  # noqa: E731
            after = others_learn(gain, joint, seat, inner_key, self.lookahead_rate, self.lookahead_steps)
            return -take_seat(_penalised(value, after, params, self.outer_penalty, outer_key), seat)

        def ascend(carry: tuple[Params, Any], key: Key[Array, ""]) -> tuple[tuple[Params, Any], None]:
            joint, state = carry
            step, state = optimizer.update(jax.grad(loss)(joint, key), state)
            return (put_seat(joint, seat, optax.apply_updates(joint, step)), state), None

        keys = jax.random.split(key, self.proximal_steps)
        (joint, _), _ = jax.lax.scan(ascend, (params, optimizer.init(params)), keys)
        return jax.tree.map(jnp.subtract, take_seat(joint, seat), take_seat(params, seat))


def _penalised(value: Any, params: Params, reference: Params, penalty: Any, key: Key[Array, ""]) -> Float[Array, " n"]:
    values, divergences = value.with_divergence(params, reference, key)
    return values - penalty * divergences


def others_learn(
    value: Value, params: Params, seat: Int[Array, ""] | None, key: Key[Array, ""], rate: float | Array, steps: int
) -> Params:
    """Joint parameters after everybody, but `seat` if there is one, took simultaneous naive steps.

    Memory grows with `params`, not with the work of a step, which is done again for the derivatives.
    """

    def learn(joint: Params, step_key: Key[Array, ""]) -> tuple[Params, None]:
        moved = jax.tree.map(lambda p, g: p + rate * g, joint, own_gradients(value, joint, step_key))
        return moved if seat is None else put_seat(moved, seat, joint), None

    if steps == 1:
        return learn(params, key)[0]
    return jax.lax.scan(jax.checkpoint(learn), params, jax.random.split(key, steps))[0]


def own_gradients(value: Value, params: Params, key: Key[Array, ""]) -> Params:
    """∂_j V_j of every player j, leaves `[n, ...]`: one reverse pass a player, or as the value function has it."""
    special = getattr(value, "own_gradients", None)
    if special is not None:
        return special(params, key)
    jacobian = jax.jacrev(value)(params, key)
    return jax.tree.map(lambda j: jnp.einsum("jj...->j...", j), jacobian)


def take_seat(tree: Params, seat: Int[Array, ""]) -> Params:
    """The part of `seat` of leaves `[n, ...]`."""
    return jax.tree.map(lambda leaf: jnp.where(_is_seat(leaf, seat), leaf, 0).sum(axis=0), tree)


def put_seat(tree: Params, seat: Int[Array, ""], source: Params) -> Params:
    """`tree` with the part of `seat` taken from `source`."""
    return jax.tree.map(lambda leaf, new: jnp.where(_is_seat(leaf, seat), new, leaf), tree, source)


def _is_seat(leaf: Float[Array, "n ..."], seat: Int[Array, ""]) -> Bool[Array, "n ..."]:
    """A mask instead of an index: gathers and scatters are slow under `vmap`."""
    return (jnp.arange(leaf.shape[0]) == seat).reshape(-1, *(1,) * (leaf.ndim - 1))
