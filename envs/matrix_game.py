"""One-shot and iterated n-player matrix games with memory-one observations."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from envs.environment import Environment, StepCount, TimeStep
from envs.validation import require_range

__all__ = ["MatrixGame"]

MAX_JOINT_ACTIONS = 2**20
MAX_PAYOFF = 1e30  # far enough from the largest float32 for sums and products


class MatrixGame(Environment):
    """An n-player normal form played `horizon` times; everyone sees the last joint action.

    Observation: one int32 a player, in `[0, A^n]`: 0 is START, before the first move; `1 + k` is the last joint
    action seen from the player's own seat, k = the number in base A with digits (own action, action of player
    i + 1, ..., n - 1, 0, ..., i - 1), own action the most significant. So for two actions 1 is "all played
    action 0", and for n = 2 the order is START, CC, CD, DC, DD with the own move first. In the one-shot game
    (`horizon` 1) the only observation is 0.
    Action: int32 in `[0, A)`; players with fewer actions have the rest masked by `legal`.
    Reward: `payoffs[i, a_1, ..., a_n]`, paid on every step, in the units of the payoffs.
    Termination: the one-shot game ends after its step; the iterated one never, it is truncated after `horizon` steps.
    Source: memory-one conventions of arXiv 2205.01447 (M-FOS) and arXiv 2312.12564, START moved to the front.

    Attributes:
        payoffs: `[n, A, ..., A]`, reward of each player for each joint action.
        actions: names of each player's actions, one tuple a player.
        discount: continuation probability of the repeated game, in [0, 1); what exact objectives discount with.
        horizon: steps T of a sampled episode; 1 is the one-shot game. Exact objectives of a repeated game
            are those of the infinitely repeated one.
    """

    payoffs: Float[Array | np.ndarray, "n ..."]
    actions: tuple[tuple[str, ...], ...] = struct.field(pytree_node=False)
    discount: float = 0.96
    horizon: int = struct.field(default=100, pytree_node=False)  # pyright: ignore

    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        """Check shapes and ranges.

        Raises:
            ValueError: payoffs that are no `[n, A, ..., A]` array, or a field out of range.
        """
        require_range("horizon", self.horizon, 1, whole=True, hint="1 is the one-shot game")
        require_range("discount", self.discount, 0.0, 1.0 - 1e-5, hint="0 only looks at the first step")
        if not self.actions or not all(self.actions):
            raise ValueError(f"actions = {self.actions}: expected the names of one or more actions for every player")
        require_range("number of joint actions", self.num_joint_actions, 1, MAX_JOINT_ACTIONS, hint="fewer players")
        if isinstance(self.payoffs, np.ndarray | jax.Array):  # else a PyTree of something else, such as shardings
            shape = (self.num_players, *(self.num_actions,) * self.num_players)
            if self.payoffs.shape[-len(shape) :] != shape:  # axes before it are those of a batch of games
                raise ValueError(f"payoffs of shape {self.payoffs.shape}: expected [n, A, ..., A] = {shape}")
        if isinstance(self.payoffs, np.ndarray) and not (np.abs(self.payoffs) <= MAX_PAYOFF).all():
            raise ValueError(f"payoffs: expected finite numbers up to {MAX_PAYOFF:g}, found larger ones or NaN")

    @property
    def num_players(self) -> int:
        """Number of players n."""
        return len(self.actions)

    @property
    def num_actions(self) -> int:
        """Number of actions A of the player who has most."""
        return max(map(len, self.actions))

    @property
    def num_joint_actions(self) -> int:
        """Number of joint actions A^n, those of masked actions included."""
        return self.num_actions**self.num_players

    @property
    def num_observations(self) -> int:
        """A^n + 1 with START first; 1 in the one-shot game."""
        return 1 if self.horizon == 1 else self.num_joint_actions + 1

    @property
    def obs_shape(self) -> tuple[int, ...]:
        """`()`: an observation is one integer."""
        return ()

    def reset(self, key: Key[Array, ""]) -> tuple[StepCount, Int[Array, " n"]]:
        """Everyone observes START; `key` is not used."""
        return StepCount(jnp.zeros((), jnp.int32)), jnp.zeros(self.num_players, jnp.int32)

    def step(self, state: StepCount, actions: Int[Array, " n"], key: Key[Array, ""]) -> tuple[StepCount, TimeStep]:
        """Pay and show the joint action `actions` `[n]`; `key` is not used."""
        joint = self.joint_index(actions)
        time = state.step + 1
        obs = jnp.zeros_like(actions) if self.horizon == 1 else 1 + self.views(joint, actions)
        reward = jnp.asarray(self.payoffs, float).reshape(self.num_players, -1)[:, joint]
        ended, one_shot = time >= self.horizon, jnp.asarray(self.horizon == 1)
        return StepCount(time), TimeStep(obs, reward, ended & one_shot, ended & ~one_shot, {})

    def legal(self, state: Any = None) -> Bool[Array, "n A"]:
        """Which actions each player has, `[n, A]`, the same in every state."""
        return jnp.asarray([[a < len(names) for a in range(self.num_actions)] for names in self.actions])

    def dilemma(self, obs: Any) -> Int[Array, " 2"] | None:
        """Actions 0 and 1 where every player has just these two; else None."""
        return jnp.array([0, 1], jnp.int32) if {len(names) for names in self.actions} == {2} else None

    def joint_index(self, actions: Int[Array, " n"]) -> Int[Array, ""]:
        """The joint action `[n]` as one number in base A, player 0 the most significant digit."""
        index = actions[0]
        for player in range(1, self.num_players):
            index = index * self.num_actions + actions[player]
        return index

    def views(self, joint: Int[Array, ""], actions: Int[Array, " n"]) -> Int[Array, " n"]:
        """The joint action in each player's own view, `[n]`: the digits of `joint`, rotated to start with the own."""
        wrap = self.num_joint_actions - 1
        views = [joint]
        for player in range(self.num_players - 1):  # drop the leading digit, append it at the end
            views.append(views[-1] * self.num_actions - actions[player] * wrap)
        return jnp.stack(views)

    @property
    def histories(self) -> int:
        """Number of kinds of history: START, and (own action a, k of the others took another action than 0)."""
        return 1 if self.horizon == 1 else 1 + self.num_actions * self.num_players

    def history_kinds(self) -> Int[np.ndarray, " O"]:
        """The kind of history behind each observation: 0 for START, 1 + a n + k for (a, k)."""
        if self.horizon == 1:
            return np.zeros(1, np.int32)
        digits = np.indices((self.num_actions,) * self.num_players).reshape(self.num_players, -1)
        kinds = 1 + digits[0] * self.num_players + (digits[1:] != 0).sum(axis=0)
        return np.concatenate([[0], kinds]).astype(np.int32)

    def statistics(self, obs: Any, action: Any, info: dict[str, Any], valid: Any) -> dict[str, Float[Array, " n"]]:
        """Rate of action 0, and its frequency after each kind of history; NaN after histories that did not occur."""
        first = jnp.where(action == 0, 1.0, 0.0)
        kind = jax.nn.one_hot(jnp.asarray(self.history_kinds())[obs], self.histories)  # [T, B, n, H]
        visits = jnp.einsum("tb,tbnh->nh", valid, kind)
        chosen = jnp.einsum("tb,tbn,tbnh->nh", valid, first, kind)
        frequency = jnp.where(visits > 0, chosen / jnp.where(visits > 0, visits, 1.0), jnp.nan)
        return self.named(chosen.sum(axis=1) / visits.sum(axis=1), frequency)

    def named(self, rate: Float[Array, " n"], response: Float[Array, "n H"]) -> dict[str, Float[Array, " n"]]:
        """The entries of `statistics` from the rate of action 0 and its probability after each kind of history."""
        return dict(zip(self.statistic_names, [rate, *response.T], strict=True))

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """Action 0, "first" for START, and own action and number of others who deviated, such as C2."""
        letters = self.letters()
        kinds = [f"{own}{k}" for own in letters for k in range(self.num_players)] if self.histories > 1 else []
        return (letters[0], "first", *kinds)

    @property
    def cooperation(self) -> str | None:
        """The rate of C in dilemmas, whose actions are C and D."""
        return "C" if set(self.actions) == {("C", "D")} else None

    @property
    def legend(self) -> str:
        """Which action is counted, and how to read the kinds of history."""
        letters, first = self.letters(), "/".join(dict.fromkeys(own[0] for own in self.actions))
        others = self.actions[0][1] if letters == list("CD") else f"not {first}"
        key = f"{letters[0]}1: own {first}, 1 other {others}"
        after = "" if self.histories == 1 else f" and after each kind of last step ({key})"
        return f"{letters[0]}: rate of {first}; then its probability on the first step{after}."

    def letters(self) -> list[str]:
        """One letter an action, or `a`, `b`, ... where the names differ between players or start alike."""
        letters = [name[0] for name in self.actions[0]]
        distinct = len(set(letters)) == self.num_actions and len(set(self.actions)) == 1 and not letters[0].isdigit()
        return letters if distinct else [chr(ord("a") + index) for index in range(self.num_actions)]

    def marks(self) -> dict[str, float]:
        """Welfare (mean reward per step over the players) of pure joint actions worth comparing with.

        "all C" and "all D" in a dilemma, whose actions are C and D; otherwise "best" and "worst" of all.
        """
        welfare = np.mean(np.asarray(self.payoffs, float), axis=0)[tuple(slice(len(own)) for own in self.actions)]
        if self.cooperation:
            return {"all C": float(welfare.flat[0]), "all D": float(welfare.flat[-1])}
        return {"best": float(welfare.max()), "worst": float(welfare.min())}
