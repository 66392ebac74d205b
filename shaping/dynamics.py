"""Directions of differentiable games in which the rule of one player is a formula of everybody's gradients.

Notation as in `shaping.directions`: V_i is the value of player i, u = (∂_i V_i)_i everybody's own gradients, stacked,
and J the Jacobian of u in all parameters. Papers descend losses L = -V, so that their ξ, H and g are -u, -J and minus
the direction here.
Everything is a product with J or its transpose, never a dense J, except in `LocalSymplecticSurgery`, which inverts it.
On a sampled objective the gradients that make up a direction come from different episodes; not so the inner products
that only decide a sign or a weight, and what `LocalSymplecticSurgery` squares.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key

from envs.validation import require_range
from shaping.directions import Direction, Lola, Params, Value, own_gradients, put_seat, take_seat
from shaping.discounting import gauss_jordan

__all__ = [
    "AlternatingGradient",
    "CompetitiveGradient",
    "Consensus",
    "Extragradient",
    "HigherOrderLola",
    "LevelK",
    "LocalSymplecticSurgery",
    "StableOpponentShaping",
    "SymplecticAdjustment",
]


class JointDirection(Direction):
    """A direction that is computed for all players at once.

    Under a `vmap` over seats whatever does not depend on the seat, or on a rate of its own, is computed once for all.
    """

    def joint(self, value: Value, params: Params, key: Key[Array, ""]) -> Params:
        """Everybody's directions, leaves `[n, ...]`; consumes `key`."""
        raise NotImplementedError

    def __call__(self, value: Value, params: Params, seat: Int[Array, ""], key: Key[Array, ""]) -> Params:
        """That of `seat`."""
        return take_seat(self.joint(value, params, key), seat)


class Extragradient(JointDirection):
    """Extragradient: the own gradient where everybody will be after a naive step, u(θ + α u(θ)).

    Source: Korpelevich 1976, "The extragradient method for finding saddle points"; as in arXiv 1811.08469's code.

    Attributes:
        lookahead_rate: α, on values in the units of the objective.
    """

    lookahead_rate: float = 1.0

    def __post_init__(self) -> None:
        """Check the range."""
        require_range("lookahead_rate", self.lookahead_rate, 0.0)

    def joint(self, value: Value, params: Params, key: Key[Array, ""]) -> Params:
        """u(θ + α u(θ))."""
        here, there = jax.random.split(key)
        return own_gradients(value, _add(params, self.lookahead_rate, own_gradients(value, params, here)), there)


class AlternatingGradient(JointDirection):
    """Players in turn: player i follows its own gradient where players 0 ... i - 1 have already moved, at rate α.

    Source: alternating gradient descent, e.g. Letcher 2021, arXiv 2005.12649.

    Attributes:
        lookahead_rate: α, the step of those before, on values in the units of the objective.
    """

    lookahead_rate: float = 1.0

    def __post_init__(self) -> None:
        """Check the range."""
        require_range("lookahead_rate", self.lookahead_rate, 0.0)

    def joint(self, value: Value, params: Params, key: Key[Array, ""]) -> Params:
        """One gradient after the other."""
        n = _players(params)

        def move(carry: tuple[Params, Params], turn: Any) -> tuple[tuple[Params, Params], None]:
            moved, found = carry
            seat, key = turn
            gradients = own_gradients(value, moved, key)
            return (
                put_seat(moved, seat, _add(moved, self.lookahead_rate, gradients)),
                put_seat(found, seat, gradients),
            ), None

        turns = jnp.arange(n), jax.random.split(key, n)
        return jax.lax.scan(move, (params, jax.tree.map(jnp.zeros_like, params)), turns)[0][1]


class LevelK(JointDirection):
    """k-level policy gradients: the own gradient against the others' next step, which assumes mine, and so on.

    θ_i^(k) = θ_i + α ∂_i V_i(θ_i, θ_-i^(k-1)) with θ^(0) = θ; the direction is (θ_i^(k) - θ_i) / α. Nothing is
    differentiated through the others' steps. k = 1 is naive learning, k = 2 first-order LookAhead.

    Source: Reddi et al. 2025, arXiv 2509.12117.

    Attributes:
        lookahead_rate: α, on values in the units of the objective.
        level: k.
    """

    lookahead_rate: float = 1.0
    level: int = struct.field(default=2, pytree_node=False)

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("lookahead_rate", self.lookahead_rate, 0.0)
        require_range("level", self.level, 1, whole=True, hint="1 is naive learning")

    def joint(self, value: Value, params: Params, key: Key[Array, ""]) -> Params:
        """∂_i V_i(θ_i, θ_-i^(k-1)) of all i."""
        keys = jax.random.split(key, self.level)

        def think(others: Params, key: Key[Array, ""]) -> tuple[Params, None]:
            return _add(params, self.lookahead_rate, _against(value, params, others, key)), None

        others, _ = jax.lax.scan(think, params, keys[1:])
        return _against(value, params, others, keys[0])


class HigherOrderLola(JointDirection):
    """Higher-order LOLA: everybody shapes learners that shape learners, m deep.

    h_i^0 = ∂_i V_i and h_i^m = ∂_i [V_i(θ_i, θ_-i + α h_-i^(m-1)(θ))], the total derivative; m = 1 is exact LOLA. Time
    and memory grow with (2 n)^m.

    Source: Foerster et al. 2018, arXiv 1709.04326; Willi et al. 2022, arXiv 2203.04098.

    Attributes:
        lookahead_rate: α, on values in the units of the objective.
        order: m.
    """

    lookahead_rate: float = 1.0
    order: int = struct.field(default=2, pytree_node=False)

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("lookahead_rate", self.lookahead_rate, 0.0)
        require_range("order", self.order, 0, 6, whole=True, hint="1 is exact LOLA, time grows with (2 n)^order")

    def joint(self, value: Value, params: Params, key: Key[Array, ""]) -> Params:
        """h^m of all players."""
        return self.of_order(value, params, key, self.order)

    def of_order(self, value: Value, params: Params, key: Key[Array, ""], order: int) -> Params:
        """h^m for m = `order`, whatever the field says; consumes `key`."""
        if order == 0:
            return own_gradients(value, params, key)
        step_key, value_key = jax.random.split(key)

        def expected(joint: Params, seat: Int[Array, ""]) -> Float[Array, ""]:
            moved = _add(joint, self.lookahead_rate, self.of_order(value, joint, step_key, order - 1))
            return take_seat(value(put_seat(moved, seat, joint), value_key), seat)

        every = jax.vmap(lambda seat: take_seat(jax.grad(expected)(params, seat), seat))
        return every(jnp.arange(_players(params)))


class StableOpponentShaping(JointDirection):
    """Stable opponent shaping: LookAhead, and as much of LOLA's shaping term as does not endanger convergence.

    With l the LookAhead direction and s the shaping term of all players, the direction is l + p s, with one p for all:
    p = min(p₁, p₂), p₁ = 1 if ⟨s, l⟩ ≥ 0, else min(1, -a ‖l‖² / ⟨s, l⟩); p₂ = ‖u‖² if ‖u‖ < b, else 1.

    Source: Letcher et al. 2019, arXiv 1811.08469.

    Attributes:
        lookahead_rate: α, on values in the units of the objective.
        alignment: a, from 0 to 1: how far shaping may go against l.
        radius: b, of the own gradients, below which shaping fades out.
    """

    lookahead_rate: float = 1.0
    alignment: float = 0.5
    radius: float = 0.1

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("lookahead_rate", self.lookahead_rate, 0.0)
        require_range("alignment", self.alignment, 0.0, 1.0)
        require_range("radius", self.radius, 0.0)

    def joint(self, value: Value, params: Params, key: Key[Array, ""]) -> Params:
        """The directions l + p s."""
        naive_key, ahead_key, shaping_key = jax.random.split(key, 3)
        naive = own_gradients(value, params, naive_key)
        seats = jnp.arange(_players(params))
        look, shape = (Lola(1.0, expansion="taylor", terms=terms) for terms in ("lookahead", "shaping"))

        def term(rule: Lola, key: Key[Array, ""]) -> Params:  # linear in the rate, so without it, once for all seats
            return _add(jax.vmap(lambda seat: rule(value, params, seat, key))(seats), -1.0, naive)

        ahead = _add(naive, self.lookahead_rate, term(look, ahead_key))
        shaping = jax.tree.map(lambda leaf: self.lookahead_rate * leaf, term(shape, shaping_key))
        agreement, length = _dot(shaping, ahead), _dot(ahead, ahead)
        damped = -self.alignment * length / jnp.where(agreement < 0, agreement, -1.0)
        first = jnp.where(agreement >= 0, 1.0, jnp.minimum(1.0, damped))
        slope = _dot(naive, naive)
        second = jnp.where(slope < jnp.asarray(self.radius) ** 2, slope, 1.0)
        return _add(ahead, jnp.minimum(first, second), shaping)


class Consensus(JointDirection):
    """Consensus optimisation: also make everybody's gradients small, u - γ Jᵀ u.

    Source: Mescheder, Nowozin and Geiger 2017, arXiv 1705.10461.

    Attributes:
        consensus: γ, weight of the descent on ‖u‖² / 2.
    """

    consensus: float = 1.0

    def __post_init__(self) -> None:
        """Check the range."""
        require_range("consensus", self.consensus, 0.0)

    def joint(self, value: Value, params: Params, key: Key[Array, ""]) -> Params:
        """The directions u - γ Jᵀ u."""
        own_key, slope_key = jax.random.split(key)
        gradients = own_gradients(value, params, own_key)
        return _add(gradients, -1.0 * self.consensus, _transposed(value, params, slope_key)(gradients))


class SymplecticAdjustment(JointDirection):
    """Symplectic gradient adjustment: u - λ Aᵀ u, A the antisymmetric part of J, towards stable fixed points.

    Here Aᵀ u = (Jᵀ u - J u) / 2, and with D parameters λ = `adjustment` sign(-⟨u, Jᵀ u⟩ ⟨Aᵀ u, Jᵀ u⟩ / D + 1 / 10).

    Source: Balduzzi et al. 2018, arXiv 1802.05642.

    Attributes:
        adjustment: size of λ.
    """

    adjustment: float = 1.0

    def __post_init__(self) -> None:
        """Check the range."""
        require_range("adjustment", self.adjustment, 0.0)

    def joint(self, value: Value, params: Params, key: Key[Array, ""]) -> Params:
        """The directions u - λ Aᵀ u."""
        own_key, slope_key = jax.random.split(key)
        gradients = own_gradients(value, params, own_key)
        back = _transposed(value, params, slope_key)(gradients)
        forth = jax.jvp(lambda p: own_gradients(value, p, slope_key), (params,), (gradients,))[1]
        twist = jax.tree.map(lambda b, f: (b - f) / 2, back, forth)
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        sign = jnp.sign(-_dot(gradients, back) * _dot(twist, back) / size + 0.1)
        return _add(gradients, -self.adjustment * sign, twist)


class CompetitiveGradient(JointDirection):
    """Competitive gradient descent: the Nash equilibrium of the game's bilinear approximation with a cost on steps.

    The direction d solves (I - α J_o) d = u, J_o being J without the derivatives of ∂_i V_i in θ_i itself: by products
    with J_o and its transpose only, biconjugate gradients first and, for what these leave, if anything, conjugate
    gradients on the normal equations, which always end.

    Source: Schäfer and Anandkumar 2019, arXiv 1905.12103.

    Attributes:
        lookahead_rate: α, the step size that the approximation is made for, on values in the units of the objective.
        iterations: most conjugate-gradient iterations; as many as there are parameters are exact.
    """

    lookahead_rate: float = 1.0
    iterations: int = struct.field(default=50, pytree_node=False)

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("lookahead_rate", self.lookahead_rate, 0.0)
        require_range("iterations", self.iterations, 1, whole=True)

    def joint(self, value: Value, params: Params, key: Key[Array, ""]) -> Params:
        """The solution d."""
        own_key, slope_key = jax.random.split(key)
        gradients = own_gradients(value, params, own_key)
        _, forth = jax.linearize(lambda others: _against(value, params, others, slope_key), params)
        back = jax.linear_transpose(forth, params)
        apply = lambda v: _add(v, -1.0 * self.lookahead_rate, forth(v))  # noqa: E731
        transpose = lambda v: _add(v, -1.0 * self.lookahead_rate, back(v)[0])  # noqa: E731
        normal = lambda v: transpose(apply(v))  # noqa: E731
        tolerance = float(jnp.finfo(jax.tree.leaves(params)[0].dtype).eps) ** 0.75  # of the length of the right side
        solvers = jax.scipy.sparse.linalg
        guess = solvers.bicgstab(apply, gradients, x0=gradients, tol=tolerance, maxiter=self.iterations)[0]
        sound = jnp.isfinite(_dot(guess, guess))
        guess = jax.tree.map(lambda g, u: jnp.where(sound, g, u), guess, gradients)
        return solvers.cg(normal, transpose(gradients), x0=guess, tol=tolerance, maxiter=self.iterations)[0]


class LocalSymplecticSurgery(JointDirection):
    """Local symplectic surgery: (u + Jᵀ J⁻¹ u) / 2, which stays away from fixed points that are no equilibria.

    Where J is singular, J⁻¹ is (Jᵀ J + r I)⁻¹ Jᵀ. The only rule with a dense J: D columns of D parameters, and D³ work.

    Source: Mazumdar, Jordan and Sastry 2019, arXiv 1901.00838; regularised as in arXiv 1811.08469's code.

    Attributes:
        regularization: r.
    """

    regularization: float = 0.1

    def __post_init__(self) -> None:
        """Check the range."""
        require_range("regularization", self.regularization, 0.0)

    def joint(self, value: Value, params: Params, key: Key[Array, ""]) -> Params:
        """(u + Jᵀ J⁻¹ u) / 2."""
        own_key, slope_key = jax.random.split(key)
        point, unravel = ravel_pytree(params)
        gradient = lambda p, key: ravel_pytree(own_gradients(value, unravel(p), key))[0]  # noqa: E731
        here, slope = gradient(point, own_key), jax.jacfwd(gradient)(point, slope_key)
        square, right = slope.T @ slope, (slope.T @ here)[:, None]
        exact, pivots = gauss_jordan(square, right)
        exact += gauss_jordan(square, slope.T @ (here[:, None] - slope @ exact))[0]  # what squaring has lost
        regular = gauss_jordan(square + self.regularization * jnp.eye(len(point), dtype=square.dtype), right)[0]
        threshold = len(point) * jnp.finfo(square.dtype).eps * jnp.abs(pivots).max()
        regular_enough = jnp.isfinite(exact).all() & (jnp.abs(pivots).min() > threshold)
        inverse = jnp.where(regular_enough, exact, regular)[:, 0]
        return unravel((here + slope.T @ inverse) / 2)


def _players(params: Params) -> int:
    return jax.tree.leaves(params)[0].shape[0]


def _add(params: Params, weight: Any, change: Params) -> Params:
    return jax.tree.map(lambda p, c: p + weight * c, params, change)


def _dot(left: Params, right: Params) -> Float[Array, ""]:
    """Inner product; by products of vectors, as wide reductions have crashed the process (jaxlib 0.10 on CPUs)."""
    parts = [jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)]
    return functools.reduce(operator.add, parts)


def _against(value: Value, params: Params, others: Params, key: Key[Array, ""]) -> Params:
    """∂_i V_i(θ_i, others_-i) of every player i, leaves `[n, ...]`."""

    def one(seat: Int[Array, ""]) -> Params:
        own_value = lambda joint: take_seat(value(joint, key), seat)  # noqa: E731
        return take_seat(jax.grad(own_value)(put_seat(others, seat, params)), seat)

    return jax.vmap(one)(jnp.arange(_players(params)))


def _transposed(value: Value, params: Params, key: Key[Array, ""]) -> Callable[[Params], Params]:
    """The map v ↦ Jᵀ v."""
    back = jax.vjp(lambda p: own_gradients(value, p, key), params)[1]
    return lambda v: back(v)[0]
