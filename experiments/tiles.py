"""Seeds side by side, in tiles of fixed width, spread over devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from shaping import Match
from shaping.trials import POPULATION

__all__ = ["Tiles"]


@dataclass(frozen=True)
class Tiles:
    """How a number of seeds is computed.

    Learning amplifies rounding until seeds end in other basins, and rounding depends on the width of a batch. In tiles
    of fixed width no seed depends on how many others run beside it, nor on the number of devices; only candidates of a
    population that are spread over devices change rounding.

    Attributes:
        count: seeds asked for.
        width: seeds computed side by side; part of what makes numbers repeatable.
        population: candidates of each seed, over which devices that no tile is left for are spread.
    """

    count: int
    width: int
    population: int = 1

    @classmethod
    def of(cls, count: int, match: Match | None = None) -> Tiles:
        """For `match`: the width depends on nothing but the backend, and whether shapers make each seed wide enough."""
        wide = 1 if match and any(match.shapers) else 4
        width = wide if jax.default_backend() == "cpu" else 16 * wide
        return cls(count, width, match.population if match else 1)

    @property
    def padded(self) -> int:
        """Number of seeds that the arrays hold: up to a multiple of the width."""
        return -(-self.count // self.width) * self.width

    @property
    def mesh(self) -> jax.sharding.Mesh:
        """As many local devices as divide the tiles, and for each of them as many others as divide the population."""
        devices, auto = jax.local_devices(), jax.sharding.AxisType.Auto
        seeds = _most(len(devices), self.padded // self.width)
        each = _most(len(devices) // seeds, self.population)
        names = ("seeds", POPULATION)
        return jax.make_mesh((seeds, each), names, axis_types=(auto, auto), devices=devices[: seeds * each])

    def place(self, tree: Any) -> Any:
        """Leaves `[padded, ...]`, spread over the devices."""
        return jax.device_put(tree, jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec("seeds")))

    def map(self, function: Callable[..., Any], arguments: int) -> Callable[..., Any]:
        """Map `function(*common, *of_one_seed)` over seeds.

        Returns:
            A function of `common`, a tuple, and of a tuple of `arguments` PyTrees with leaves `[padded, ...]`.
        """

        def run(common: tuple[Any, ...], seeds: tuple[Any, ...]) -> Any:
            assert len(seeds) == arguments
            width = self.width
            tiles = jax.tree.map(lambda leaf: leaf.reshape(len(leaf) // width, width, *leaf.shape[1:]), seeds)
            one_tile = jax.vmap(lambda *own: function(*common, *own))
            results = jax.lax.map(lambda tile: one_tile(*tile), tiles)
            return jax.tree.map(lambda leaf: leaf.reshape(len(leaf) * width, *leaf.shape[2:]), results)

        spec = jax.sharding.PartitionSpec
        specs = (spec(), (spec("seeds"),) * arguments)
        return jax.shard_map(
            run, mesh=self.mesh, in_specs=specs, out_specs=spec("seeds"), axis_names={"seeds"}, check_vma=False
        )

    def program(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A program that maps `function(*common, *of_one_seed)` over seeds; compiled when first called.

        Returns:
            A function of `common`, a tuple, and of a tuple of PyTrees with leaves `[count, ...]`; its results are
            NumPy, leaves `[count, ...]`.
        """
        rows = np.arange(self.padded) % self.count
        program = jax.jit(lambda common, seeds: self.map(function, len(seeds))(common, seeds))

        def run(common: tuple[Any, ...], seeds: tuple[Any, ...]) -> Any:
            padded = self.place(jax.tree.map(lambda leaf: leaf[rows], seeds))
            return jax.tree.map(lambda leaf: np.asarray(leaf)[: self.count], program(common, padded))

        return run


def _most(devices: int, parts: int) -> int:
    """The largest number of devices that divides the parts."""
    return next(count for count in range(devices, 0, -1) if parts % count == 0)
