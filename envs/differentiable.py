"""Differentiable games: everybody chooses a vector once, and a differentiable function says what it is worth to each.

`differentiable_game` makes one of a function; the well-known ones are at the end of the module.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from envs.environment import Environment, StepCount, TimeStep
from envs.registry import did_you_mean
from envs.validation import require_range

__all__ = [
    "DifferentiableGame",
    "balduzzi",
    "differentiable_game",
    "from_python",
    "hamiltonian",
    "logistic",
    "market",
    "tandem",
    "zero_sum",
]

MAX_PLAYERS, MAX_DIM, MIN_BOUND, MAX_BOUND = 64, 4096, 1e-3, 1e6


class DifferentiableGame(Environment):
    """A one-shot game in which player i chooses a vector θ_i and is paid V_i(θ_1, ..., θ_n).

    Exact objectives take the parameters of a learner to be its θ_i, anywhere in space. Play draws actions from a box.

    Observation: always 0.
    Action: `[d]`, the vector θ_i, clipped to [-`bound`, `bound`].
    Reward: `function(θ, **constants)[i]`.
    Termination: after the only step.
    Source: Balduzzi et al. 2018, "The mechanics of n-player differentiable games", arXiv 1802.05642.

    Attributes:
        function: θ `[n, d]` → values `[n]`, differentiable; further arguments are `constants`.
        constants: of the function, by name.
        players: number of players n.
        dim: length d of each player's vector.
        bound: half the side of the box that actions are drawn from.
    """

    function: Callable[..., Float[Array, " n"]] = struct.field(pytree_node=False)
    constants: dict[str, Any] = struct.field(default_factory=dict)
    players: int = struct.field(default=2, pytree_node=False)
    dim: int = struct.field(default=1, pytree_node=False)
    bound: float = 10.0

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check ranges, and that the function takes `[n, d]` to `[n]`.

        Raises:
            ValueError: a field out of range, or values of another shape.
        """
        require_range("players", self.players, 1, MAX_PLAYERS, whole=True)
        require_range("dim", self.dim, 1, MAX_DIM, whole=True)
        require_range("bound", self.bound, MIN_BOUND, MAX_BOUND)
        for key, value in self.constants.items():
            if isinstance(value, str | bool | None):
                raise ValueError(f"constant {key} = {value!r}: expected a number, which may be traced")
        if all(isinstance(leaf, int | float) for leaf in jax.tree.leaves(self.constants)):
            shape = jax.ShapeDtypeStruct((self.players, self.dim), float)
            found = jax.eval_shape(lambda params, own: self.function(params, **own), shape, self.constants)
            if getattr(found, "shape", None) != (self.players,):
                name, seen = getattr(self.function, "__name__", self.function), getattr(found, "shape", found)
                raise ValueError(f"{name}: values of shape {seen}: expected [n] = ({self.players},)")

    @property
    def num_players(self) -> int:
        """Number of players n."""
        return self.players

    @property
    def action_dim(self) -> int:
        """Length d of a vector."""
        return self.dim

    @property
    def action_range(self) -> tuple[float, float]:
        """The side of the box."""
        return -self.bound, self.bound

    @property
    def num_observations(self) -> int:
        """1: there is nothing to see."""
        return 1

    @property
    def obs_shape(self) -> tuple[int, ...]:
        """`()`: an observation is one integer."""
        return ()

    @property
    def horizon(self) -> int:
        """1: the game is one-shot."""
        return 1

    def values(self, params: Float[Array, "n d"]) -> Float[Array, " n"]:
        """What the vectors `params` are worth to each player."""
        return self.function(params, **self.constants)

    def reset(self, key: Key[Array, ""]) -> tuple[StepCount, Int[Array, " n"]]:
        """Nothing to see; `key` is not used."""
        return StepCount(jnp.zeros((), jnp.int32)), jnp.zeros(self.players, jnp.int32)

    def step(self, state: StepCount, actions: Float[Array, "n d"], key: Key[Array, ""]) -> tuple[StepCount, TimeStep]:
        """Pay for the vectors `actions`; `key` is not used."""
        reward = self.values(jnp.clip(actions, -self.bound, self.bound))
        obs, ended = jnp.zeros(self.players, jnp.int32), jnp.ones((), bool)
        return StepCount(state.step + 1), TimeStep(obs, reward, ended, ~ended, {})

    def statistics(self, obs: Any, action: Any, info: dict[str, Any], valid: Any) -> dict[str, Float[Array, " n"]]:
        """Mean vector."""
        return self.named(jnp.clip(action, -self.bound, self.bound).mean(axis=(0, 1)))

    def named(self, params: Float[Array, "n d"]) -> dict[str, Float[Array, " n"]]:
        """The entries of `statistics` for the vectors `params`."""
        return dict(zip(self.statistic_names, params.T, strict=False))

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """x, or x1, x2, ... up to the first four numbers of the vector."""
        return ("x",) if self.dim == 1 else tuple(f"x{index + 1}" for index in range(min(self.dim, 4)))

    @property
    def legend(self) -> str:
        """What x is."""
        return "x: the number chosen." if self.dim == 1 else f"x1 ...: of the {self.dim} numbers chosen."


def differentiable_game(players: int = 2, dim: int = 1, bound: float = 10.0) -> Callable[..., DifferentiableGame]:
    """Make a game of the function below it, which takes θ `[n, d]` to values `[n]`.

    Arguments of the function after the first, which need defaults, become the `constants` of the game:

        @differentiable_game(players=2)
        def saddle(params, coupling=1.0):
            x, y = params[:, 0]
            return jnp.stack([x * y, -x * y]) * coupling

    Args:
        players: number of players n.
        dim: length d of each player's vector.
        bound: half the side of the box that actions are drawn from, where learners play.

    Raises:
        ValueError: a field out of range, or a function that does not return `[n]`.
    """
    if callable(players):
        raise ValueError("differentiable_game: expected parentheses, such as @differentiable_game(players=2)")

    def decorate(function: Callable[..., Any]) -> DifferentiableGame:
        extra = list(inspect.signature(function).parameters.values())[1:]
        missing = [parameter.name for parameter in extra if parameter.default is parameter.empty]
        if missing:
            raise ValueError(f"{function.__name__}: argument {missing[0]!r} has no default: expected one, such as 1.0")
        constants = {parameter.name: parameter.default for parameter in extra}
        return DifferentiableGame(function, constants, players, dim, bound)

    return decorate


Fields = dict[str, Any]


def from_python(source: str | Path) -> Fields:
    """A game of one's own, decorated with `envs.differentiable_game` in a Python file.

    Source: the file given; it is run.

    Args:
        source: the file and the name in it, such as `games.py:saddle`.
    """
    file, _, name = str(source).rpartition(":")
    if not file or not Path(file).is_file():
        raise ValueError(f"source = {str(source)!r}: expected a Python file and a name in it, such as games.py:saddle")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"source = {str(source)!r}: {file} cannot be loaded: expected a Python file, .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a file of somebody's own may raise
        raise ValueError(
            f"source = {str(source)!r}: {type(error).__name__}: {error}; expected a file that runs"
        ) from error
    games = {key: value for key, value in vars(module).items() if isinstance(value, DifferentiableGame)}
    if name not in games:
        known = did_you_mean(name, games) if games else "; nothing in it is decorated with envs.differentiable_game"
        raise ValueError(f"source = {str(source)!r}: {file} has no game {name!r}{known}")
    game = games[name]
    return {field: getattr(game, field) for field in ("function", "constants", "players", "dim", "bound")}


def tandem(players: int = 2, quartic: bool = False) -> Fields:
    """Tandem: everybody is lifted by the own push, and pays for the square of the sum of all.

    V_i = 2 θ_i - s² with s = Σ_j θ_j; the variant pays s⁴. All points with s = 1 are equilibria. LOLA overshoots them.
    Source: Letcher et al. 2019, arXiv 1811.08469.

    Args:
        players: number of players.
        quartic: whether to pay s⁴.
    """
    return {"function": _quartic_tandem if quartic else _tandem, "players": players}


def _tandem(params: Float[Array, "n 1"]) -> Float[Array, " n"]:
    return 2 * params[:, 0] - params.sum() ** 2


def _quartic_tandem(params: Float[Array, "n 1"]) -> Float[Array, " n"]:
    return 2 * params[:, 0] - params.sum() ** 4


def hamiltonian() -> Fields:
    """The Hamiltonian game: purely rotational, V = (-x y, x y); naive learning circles away from the equilibrium 0.

    Source: Balduzzi et al. 2018, arXiv 1802.05642.
    """
    return {"function": _hamiltonian}


def _hamiltonian(params: Float[Array, "2 1"]) -> Float[Array, " 2"]:
    product = params[0, 0] * params[1, 0]
    return jnp.stack([-product, product])


def balduzzi(coupling: float = 10.0) -> Fields:
    """The Balduzzi game: weak attraction and strong rotation, V = (-x²/2 - c x y, -y²/2 + c x y).

    Source: Balduzzi et al. 2018, arXiv 1802.05642, as in Willi et al. 2022, arXiv 2203.04098.

    Args:
        coupling: c.
    """
    return {"function": _balduzzi, "constants": {"coupling": coupling}}


def _balduzzi(params: Float[Array, "2 1"], coupling: Any) -> Float[Array, " 2"]:
    x, y = params[0, 0], params[1, 0]
    return jnp.stack([-(x**2) / 2 - coupling * x * y, -(y**2) / 2 + coupling * x * y])


def market() -> Fields:
    """The market game, in which no reasonable learner converges: losses bounded below, no stable fixed point.

    Losses: (x y - x²/2 + x⁶/6 + g/4, -x y - y²/2 + y⁶/6 - g/4), with g = y⁴ / (1 + x²) - x⁴ / (1 + y²).
    Source: Letcher 2021, "On the impossibility of global convergence in multi-loss optimization", arXiv 2005.12649.
    """
    return {"function": _market}


def _market(params: Float[Array, "2 1"]) -> Float[Array, " 2"]:
    x, y = params[0, 0], params[1, 0]
    g = y**4 / (1 + x**2) - x**4 / (1 + y**2)
    return -jnp.stack([x * y - x**2 / 2 + x**6 / 6 + g / 4, -x * y - y**2 / 2 + y**6 / 6 - g / 4])


def zero_sum() -> Fields:
    """A zero-sum game without convergence: the loss of the first is x y - x²/2 + y²/2 + x⁴/4 - y⁴/4.

    Source: Letcher 2021, "On the impossibility of global convergence in multi-loss optimization", arXiv 2005.12649.
    """
    return {"function": _zero_sum}


def _zero_sum(params: Float[Array, "2 1"]) -> Float[Array, " 2"]:
    x, y = params[0, 0], params[1, 0]
    loss = x * y - x**2 / 2 + y**2 / 2 + x**4 / 4 - y**4 / 4
    return jnp.stack([-loss, loss])


def logistic() -> Fields:
    """The logistic game: two valleys for each, far apart, and a better joint one that shaping has to find.

    Values: -4 (σ(x) (1 - 2 σ(y)), σ(y) (1 - 2 σ(x))) - ((x y)² + (x² - y²)²) / 10000.
    Source: Cooijmans, Aghajohari and Courville 2023 (MeVa), arXiv 2307.08863.
    """
    return {"function": _logistic}


def _logistic(params: Float[Array, "2 1"]) -> Float[Array, " 2"]:
    x, y = params[0, 0], params[1, 0]
    p, q = jax.nn.sigmoid(x), jax.nn.sigmoid(y)
    return -(4 * jnp.stack([p * (1 - 2 * q), q * (1 - 2 * p)]) + ((x * y) ** 2 + (x**2 - y**2) ** 2) / 10000)
