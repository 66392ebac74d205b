"""Seeds side by side, in tiles of fixed width, spread over the devices of all processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.config import UserError
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
        count: seeds asked for, of each run.
        width: seeds computed side by side; part of what makes numbers repeatable.
        population: candidates of each seed, over which devices that no tile is left for are spread.
        runs: whose seeds follow each other in the arrays; no tile holds seeds of two.
        wide: whether all tiles of a device are computed side by side, which may change rounding.
    """

    count: int
    width: int
    population: int = 1
    runs: int = 1
    wide: bool = False

    @classmethod
    def of(cls, count: int, match: Match | None = None, runs: int = 1, wide: bool = False) -> Tiles:
        """For `match`: the width depends on nothing but the backend, and whether shapers make each seed wide enough."""
        few = 1 if match and any(match.shapers) else 4
        width = few if jax.default_backend() == "cpu" else 16 * few
        return cls(count, width, match.population if match else 1, runs, wide)

    @property
    def each(self) -> int:
        """Number of a run's seeds up to a multiple of the width, whatever the devices."""
        return -(-self.count // self.width) * self.width

    @property
    def padded(self) -> int:
        """That of all runs."""
        return self.runs * self.each

    @property
    def spread(self) -> int:
        """Number of seeds that arrays on the devices hold: equally many tiles on each device of the mesh."""
        part = self.width * self._grid[0]
        return -(-self.padded // part) * part

    @property
    def _asked(self) -> np.ndarray:
        """`[spread]`, for each row of the arrays on the devices which of the seeds asked for it is, or repeats."""
        run, seed = np.divmod(np.arange(self.spread), self.each)
        return run % self.runs * self.count + seed % self.count

    @property
    def mesh(self) -> jax.sharding.Mesh:
        """Devices for the seeds, and for each of them others for parts of the population.

        Raises:
            UserError: not work enough for all processes.
        """
        seeds, parts = self._grid
        local, own = jax.local_device_count(), seeds * parts // jax.process_count()
        devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
        chosen = [device for place, device in enumerate(devices) if place % local < own]
        names, auto = ("seeds", POPULATION), jax.sharding.AxisType.Auto
        return jax.make_mesh((seeds, parts), names, axis_types=(auto, auto), devices=chosen)

    @property
    def _grid(self) -> tuple[int, int]:
        """The shape of the mesh that takes least time: next, splits populations least, and has fewest devices.

        Every process has an equal part of it.
        """
        processes, devices, tiles = jax.process_count(), jax.device_count(), self.padded // self.width
        most = tiles if tiles < processes else -(-tiles // processes) * processes
        grids = [
            (-(-tiles // seeds) / parts, parts, seeds)
            for seeds in range(1, min(most, devices) + 1)
            for parts in range(1, devices // seeds + 1)
            if self.population % parts == 0 and seeds * parts % processes == 0
        ]
        if not grids:
            enough = self.width * (processes - 1) + 1
            raise UserError(
                f"--distributed: {self.count} seeds, {self.width} side by side, leave some of {processes} processes "
                f"without work; expected --seeds {enough} or more, or fewer processes"
            )
        _, parts, seeds = min(grids)
        return seeds, parts

    def place(self, tree: Any) -> Any:
        """Leaves `[runs * count, ...]`, the same in all processes, spread over the devices."""
        sharding = jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec("seeds"))

        def put(leaf: Any) -> jax.Array:
            leaf = leaf[self._asked]
            if jax.process_count() == 1:
                return jax.device_put(leaf, sharding)
            return jax.make_array_from_callback(leaf.shape, sharding, leaf.__getitem__)

        return jax.tree.map(put, tree)

    def collect(self, tree: Any) -> Any:
        """Leaves `[spread, ...]` of all devices as NumPy, `[runs * count, ...]`; all processes must call this."""
        if jax.process_count() > 1:
            everywhere = jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec())
            tree = jax.jit(_same, out_shardings=everywhere)(tree)
        kept = np.arange(self.padded).reshape(self.runs, self.each)[:, : self.count].ravel()
        return jax.tree.map(lambda leaf: np.asarray(leaf)[kept], tree)

    def map(self, function: Callable[..., Any], arguments: int) -> Callable[..., Any]:
        """Map `function(*of_its_run, *common, *of_one_seed)` over seeds.

        Returns:
            A function of `common`, a tuple; of a tuple of `arguments` PyTrees with leaves `[spread, ...]`; and of a
            tuple of PyTrees with leaves `[runs, ...]`, none by default.
        """

        def on_device(common: tuple[Any, ...], seeds: tuple[Any, ...], of_runs: tuple[Any, ...]) -> Any:
            assert len(seeds) == arguments
            width, each = self.width, self.each // self.width
            tiles = jax.tree.map(lambda leaf: leaf.reshape(len(leaf) // width, width, *leaf.shape[1:]), seeds)
            here = len(jax.tree.leaves(tiles)[0])
            numbers = jax.lax.axis_index("seeds") * here + np.arange(here, dtype=np.int32)

            def one_tile(number: Any, tile: tuple[Any, ...]) -> Any:
                own = jax.tree.map(lambda leaf: leaf[number // each % self.runs], of_runs)
                return jax.vmap(lambda *seed: function(*own, *common, *seed))(*tile)

            if self.wide:
                results = jax.vmap(one_tile)(numbers, tiles)
            else:
                results = jax.lax.map(lambda one: one_tile(*one), (numbers, tiles))
            return jax.tree.map(lambda leaf: leaf.reshape(len(leaf) * width, *leaf.shape[2:]), results)

        spec = jax.sharding.PartitionSpec
        specs = (spec(), (spec("seeds"),) * arguments, spec())
        mapped = jax.shard_map(
            on_device, mesh=self.mesh, in_specs=specs, out_specs=spec("seeds"), axis_names={"seeds"}, check_vma=False
        )

        def run(common: tuple[Any, ...], seeds: tuple[Any, ...], of_runs: tuple[Any, ...] = ()) -> Any:
            return mapped(common, seeds, of_runs)

        return run

    def program(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A program that maps `function(*common, *of_one_seed)` over seeds; compiled when first called.

        Returns:
            A function of `common`, a tuple, and of a tuple of PyTrees with leaves `[count, ...]`; its results are
            NumPy, leaves `[count, ...]`.
        """
        program = jax.jit(lambda common, seeds: self.map(function, len(seeds))(common, seeds))

        def run(common: tuple[Any, ...], seeds: tuple[Any, ...]) -> Any:
            return self.collect(program(common, self.place(seeds)))

        return run


def _same(tree: Any) -> Any:
    return tree
