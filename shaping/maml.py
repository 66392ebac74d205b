"""Meta-learned starts: begin naive learning where it will lead far, against naive learners."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int, Key

from envs.validation import require_choice, require_range
from shaping.directions import FittedDirection, Naive, Params, Value, own_gradients, put_seat

__all__ = ["Maml"]


class Maml(FittedDirection):
    """Multi-agent MAML: naive learning from a start that was itself learned against naive learners.

    Before play the start, and with `learn_rate` the own step size, climb the mean of the own values before each of
    `fitting_horizon` steps of naive learning of all, the others from normal parameters; all of it is differentiated.
    It is the start of the first player, so the game should treat all seats alike.

    Source: M-MAML of Lu et al. 2022 (M-FOS), arXiv 2205.01447; with the rate as in Cooijmans et al. 2023, 2307.08863;
    the exact form of Meta-MAPG, Kim et al. 2021, arXiv 2011.00382, and, through the own steps alone, of Meta-PG,
    Al-Shedivat et al. 2018, arXiv 1710.03641.

    Attributes:
        rate: step size of everybody while the start is learned, on values in the units of the objective.
        learn_rate: whether the own step size is learned, too.
        first_ratio: own step size over `rate` before anything is learned.
        fitting_steps: steps of Adam.
        fitting_horizon: steps of naive learning in each.
        fitting_batch: others drawn for each.
        fitting_rate: rate of Adam.
        fitting_clip: norm to which the gradient of each lifetime is clipped. Without it, a few in which learning is
            chaotic, with gradients a thousand times those of the others, hide all the rest.
        start_std: standard deviation of the others' parameters, and of the first start.
        through: whose steps are differentiated: those of "all", or only the "own", the others' taken as given.
    """

    rate: float = 1.0
    learn_rate: bool = struct.field(default=False, pytree_node=False)
    first_ratio: float = 1.0
    fitting_steps: int = struct.field(default=1000, pytree_node=False)
    fitting_horizon: int = struct.field(default=100, pytree_node=False)
    fitting_batch: int = struct.field(default=64, pytree_node=False)
    fitting_rate: float = 0.01
    fitting_clip: float = 1.0
    start_std: float = 1.0
    through: Literal["all", "own"] = struct.field(default="all", pytree_node=False)

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("rate", "first_ratio", "fitting_rate", "start_std"):
            require_range(name, getattr(self, name), 0.0)
        for name in ("fitting_horizon", "fitting_batch"):
            require_range(name, getattr(self, name), 1, whole=True)
        require_choice("through", self.through, ("all", "own"))
        require_range("fitting_clip", self.fitting_clip, 1e-8)
        require_range("fitting_steps", self.fitting_steps, 0, whole=True)

    def fit(self, value: Value, params: Params, key: Key[Array, ""]) -> Any:
        """The start, leaves `[...]`, for the first seat, and the own rate over `rate`; consumes `key`."""
        own_key, draw_key = jax.random.split(key)
        optimizer = optax.adam(self.fitting_rate)
        own = jax.tree.map(lambda leaf: leaf[0], self._draw(params, own_key))
        first = jnp.int32(0)

        def lifetime(learned: tuple[Any, Any], others: Params) -> Float[Array, ""]:
            own, ratio = learned
            joint = put_seat(others, first, jax.tree.map(lambda leaf: leaf[None], own))

            def learn(joint: Params, _: None) -> tuple[Params, Array]:
                ascent = own_gradients(value, joint, key)
                if self.through == "own":
                    given = jax.lax.stop_gradient(ascent)
                    ascent = put_seat(given, first, jax.tree.map(lambda leaf: leaf[:1], ascent))
                steps = put_seat(ascent, first, jax.tree.map(lambda leaf: ratio * leaf, ascent))
                return jax.tree.map(lambda p, a: p + self.rate * a, joint, steps), value(joint, key)[0]

            return jax.lax.scan(jax.checkpoint(learn), joint, None, self.fitting_horizon)[1].mean()

        def descent(learned: tuple[Any, Any], key: Key[Array, ""]) -> tuple[Any, Any]:
            """That of one lifetime; none where it overflows."""
            slope = jax.grad(lambda learned: -lifetime(learned, self._draw(params, key)))(learned)
            slope = slope if self.learn_rate else (slope[0], jnp.zeros_like(slope[1]))
            norm = optax.tree.norm(slope)
            scale = jnp.minimum(1.0, self.fitting_clip / jnp.maximum(norm, 1e-30))
            return jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(norm), scale * leaf, 0.0), slope)

        def improve(carry: tuple[Any, Any], index: Int[Array, ""]) -> tuple[tuple[Any, Any], None]:
            learned, state = carry
            keys = jax.random.split(jax.random.fold_in(draw_key, index), self.fitting_batch)
            slope = jax.tree.map(lambda leaf: leaf.mean(axis=0), jax.vmap(partial(descent, learned))(keys))
            step, state = optimizer.update(slope, state)
            return (optax.apply_updates(learned, step), state), None

        learned = own, jnp.asarray(self.first_ratio, float)
        return jax.lax.scan(improve, (learned, optimizer.init(learned)), jnp.arange(self.fitting_steps))[0][0]

    def start(self, own: Params, learned: Any) -> Params:
        """What was learned."""
        return learned[0]

    def __call__(
        self, value: Value, params: Params, seat: Int[Array, ""], key: Key[Array, ""], learned: Any = None
    ) -> Params:
        """The own gradient, scaled."""
        return jax.tree.map(lambda leaf: learned[1] * leaf, Naive()(value, params, seat, key))

    def _draw(self, params: Params, key: Key[Array, ""]) -> Params:
        return optax.tree.scale(self.start_std, optax.tree.random_like(key, params))
