"""How other code bases order the logits of a memory-one strategy in a two-action game, and how to convert.

Ours: START first; then the joint actions as binary numbers, action 0 (co-operate) as digit 0, the own action the most
significant, followed by players i + 1, ..., n - 1, 0, ..., i - 1; each entry the logit of action 0. For n = 2: START,
CC, CD, DC, DD with the own move first, exactly M-FOS's order.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from envs.validation import require_choice

__all__ = ["CONVENTIONS", "Convention"]


@dataclass(frozen=True)
class Convention:
    """An order and meaning of the 2^n + 1 logits of each player.

    Attributes:
        start: where the logit of the first move stands, "first" or "last".
        order: which all-equal joint action comes first, "C" (CC...C up to DD...D) or "D" (the reverse).
        view: "relative", each player's own action the most significant, the others rotated after it; or "absolute",
            player 0's action the most significant in everybody's table.
        probability_of: the action whose logit is stored, "C" or "D".
    """

    start: str = "first"
    order: str = "C"
    view: str = "relative"
    probability_of: str = "C"

    def __post_init__(self) -> None:
        """Check the choices."""
        require_choice("start", self.start, ("first", "last"))
        require_choice("order", self.order, ("C", "D"))
        require_choice("view", self.view, ("relative", "absolute"))
        require_choice("probability_of", self.probability_of, ("C", "D"))

    def to_ours(self, logits: Float[Array, "n O"]) -> Float[Array, "n O 1"]:
        """Tables `[n, 2^n + 1, 1]` in our convention from `logits` `[n, 2^n + 1]` in this one."""
        sign = 1.0 if self.probability_of == "C" else -1.0
        return sign * jnp.take_along_axis(jnp.asarray(logits), self._places(logits.shape), axis=1)[..., None]

    def from_ours(self, tables: Float[Array, "n O 1"]) -> Float[Array, "n O"]:
        """`[n, 2^n + 1]` in this convention from tables in ours; the inverse of `to_ours`."""
        sign = 1.0 if self.probability_of == "C" else -1.0
        places = np.argsort(self._places(tables.shape[:2]), axis=1)
        return sign * jnp.take_along_axis(jnp.asarray(tables)[..., 0], places, axis=1)

    def _places(self, shape: tuple[int, ...]) -> np.ndarray:
        """`[n, 2^n + 1]`: where each of our entries stands in this convention."""
        n, size = shape[0], 2 ** shape[0]
        if shape[1] != size + 1:
            raise ValueError(f"logits of shape {shape}: expected [n, 2^n + 1] = [{n}, {size + 1}]")
        own_views = np.indices((2,) * n).reshape(n, -1)  # digits of our entries, [n, S]
        if self.order == "D":
            own_views = 1 - own_views
        weights = 2 ** np.arange(n)[::-1]
        shift = 0 if self.start == "last" else 1
        rows = []
        for player in range(n):
            digits = np.roll(own_views, player, axis=0) if self.view == "absolute" else own_views
            rows.append(np.concatenate([[size if self.start == "last" else 0], shift + weights @ digits]))
        return np.stack(rows)


CONVENTIONS = {
    "parley": Convention(),
    "mfos": Convention(),  # luchris429/model-free-opponent-shaping, ipd_batched
    "sos": Convention(view="absolute"),  # aletcher/stable-opponent-shaping; also COLA and multiagentgames
    "lola": Convention(start="last", view="absolute"),  # alshedivat/lola, exact
    "lola_dice": Convention(order="D", probability_of="D"),  # alexis-jacq/LOLA_DiCE, ipd_exact
    "meva": Convention(order="D"),  # MetaValueLearning
    "pola": Convention(start="last", order="D", view="absolute"),  # Silent-Zebra/POLA, exact, any n
    "pax": Convention(start="last"),  # ucl-dark/pax, infinite matrix game and n-player tensor games
    "coala": Convention(view="absolute"),  # COALA-PG, analytic
    "in_context": Convention(),  # Weis et al. 2026, arXiv 2602.16301
}
