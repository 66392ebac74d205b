"""Several processes that train one run: the first leads, the others do on their devices what it does on its own.

Process 0 alone has a run directory, decides and prints. Before it uses the devices it says so; the others listen, and
call the same programs, each on its part of the arrays. So nothing that only one process knows, such as how fast the
last chunk was, can lead them apart.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils
from rich.console import Console

from experiments.config import FaultError, UserError
from experiments.hosts_arguments import Meeting
from experiments.sides import Side
from experiments.tables import versions

if TYPE_CHECKING:
    from experiments.clock import Clock

__all__ = ["Hosts", "LostError", "agree", "joined"]

JOIN_S = 300  # for all processes to be started
HEARTBEAT_S = 30  # after which a process that says nothing counts as dead


class LostError(FaultError):
    """A process of this run has ended, or cannot be reached any more."""


@contextmanager
def joined(meeting: Meeting, console: Console) -> Iterator[None]:
    """Within it this process is one of those that meet.

    Raises:
        UserError: they do not find each other.
    """
    _meet(meeting, console)
    here, all_devices = jax.local_device_count(), jax.device_count()
    console.print(f"process {jax.process_index()} of {jax.process_count()}: {here} of {all_devices} devices")
    try:
        yield
    except LostError as error:
        sys.stderr.write(f"error: {error}\n")
        _leave(1)
    except SystemExit as error:
        _leave(error.code if isinstance(error.code, int) else 1)
    except Exception as error:
        if jax.process_index() == 0 or isinstance(error, UserError):
            raise  # and all know it
        traceback.print_exc()
        _leave(1)


def _meet(meeting: Meeting, console: Console) -> None:
    """Wait until all processes are there."""
    where = meeting.coordinator or "the address that the cluster gives"
    console.print(f"--distributed: waiting for all processes at {where}, up to {JOIN_S} s ...", soft_wrap=True)
    watch = threading.Timer(JOIN_S, _give_up, [where])  # JAX itself would crash
    watch.daemon = True
    watch.start()
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)  # JAX would not hear it
    try:
        if meeting.coordinator:
            _check_address(*meeting.coordinator.rsplit(":", 1), serve=meeting.process == 0)
        jax.distributed.initialize(
            *meeting,
            # a cluster would leave this process one device of its host
            cluster_detection_method="deactivate" if meeting.coordinator else None,
            initialization_timeout=2 * JOIN_S,
            heartbeat_timeout_seconds=HEARTBEAT_S,
            shutdown_timeout_seconds=HEARTBEAT_S,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"--distributed: {where}: {_first_line(error)}; expected the address of process 0 with a free port, or "
            "auto where a cluster such as SLURM says it"
        ) from error
    finally:
        watch.cancel()
        signal.signal(signal.SIGINT, handler)


def _check_address(host: str, port: str, serve: bool) -> None:
    """Raise an `OSError` for an unknown host, or a port at which this process cannot `serve`; JAX would crash."""
    socket.getaddrinfo(host.strip("[]"), port)
    if serve:
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        socket.create_server(("", int(port)), family=family, dualstack_ipv6=dual).close()


def _give_up(where: str) -> None:
    sys.stderr.write(f"error: --distributed: not all processes came to {where} within {JOIN_S} s\n")
    _leave(1)


def _leave(code: int) -> NoReturn:
    """End this process at once; an orderly end would wait for the others in vain, and then crash."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def agree(flags: Mapping[str, Any], sides: Mapping[str, Side]) -> None:
    """Check that all processes have the same number and kind of devices, versions, `flags`, and files that these name.

    Raises:
        UserError: in all of them, where they differ.
    """
    if jax.process_count() == 1:
        return
    counts = np.bincount([device.process_index for device in jax.devices()])
    if counts.min() != counts.max():
        raise UserError(f"--distributed: the processes have {counts.tolist()} devices; expected equal numbers")
    own = {f"--{flag}": str(value) for flag, value in flags.items()} | versions()
    own["the kind of device"] = jax.devices()[0].device_kind
    numbers = [np.asarray(leaf).tobytes() for side in sides.values() for leaf in jax.tree.leaves(side.match)]
    own["the check sum of what the files of flags hold"] = str(zlib.crc32(b"".join(numbers)))
    first, *others = map(json.loads, _exchange(json.dumps(own)))
    for process, other in enumerate(others, 1):
        for name in [*first, *other]:
            if first.get(name) != other.get(name):
                raise UserError(
                    f"--distributed: {name} is {other.get(name)} in process {process} and {first.get(name)} in "
                    "process 0; expected the same in all"
                )


class Hosts:
    """The sides of a run on the devices of all processes.

    The first process calls what it needs, within `run`; in the others `run` does the same, and nothing else is called.

    Raises:
        UserError: not work enough for all processes.
    """

    def __init__(self, sides: dict[str, Side], clock: Clock):
        for side in sides.values():
            side.check()
        self.sides = sides
        self._clock = clock
        self._best: dict[str, Any] = {}

    @property
    def shapes(self) -> dict[str, Any]:
        """Of what `states` returns and `place` takes; marks as they are as long as everything is finite."""
        shapes = {name: side.shapes for name, side in self.sides.items()}
        return shapes | {"faults": {name: side.sound for name, side in self.sides.items()}}

    def run(self, lead: Callable[[], int]) -> int:
        """In the first process `lead()`; in the others whatever it asks of the devices. Returns the exit code."""
        if jax.process_index():
            return self._follow()
        try:
            code = lead()
        except LostError:
            raise
        except BaseException as error:
            with suppress(LostError):
                self._say("end", 2 if isinstance(error, UserError) else 1)
            raise
        self._say("end", code)
        return code

    def start(self, name: str) -> None:
        """Compile the program of a side, and initialise its learners."""
        self._say("start", name)
        self._start(name)

    def run_until(self, start: int, stop: int, look: bool = True) -> None:
        """Steps `start` ... `stop - 1` of all sides; see `Side.run_until`."""
        self._say("run_until", start, stop, look)
        self._run_until(start, stop, look)

    def keep(self) -> None:
        """Keep the present states as the best, instead of those kept before."""
        self._say("keep")
        self._keep()

    def states(self, best: bool = False) -> dict[str, Any]:
        """The states of all sides, the present ones or the best, and their marks as "faults"; NumPy `[S, ...]`."""
        self._say("states", best)
        return self._states(best)

    def place(self, states: dict[str, Any]) -> None:
        """Take over `states`, leaves `[S, ...]`."""
        self._say("place")
        self._place(states)

    def _start(self, name: str) -> None:
        with _together():
            self.sides[name].start()

    def _run_until(self, start: int, stop: int, look: bool) -> None:
        with _together():
            for side in self.sides.values():
                side.run_until(start, stop, look)

    def _keep(self) -> None:
        self._best = self._present

    def _states(self, best: bool) -> dict[str, Any]:
        held = self._best if best else self._present
        with _together():
            found = {name: self.sides[name].collect(own) for name, own in held.items()}
        states, marks = ({name: own[place] for name, own in found.items()} for place in (0, 1))
        return states | {"faults": marks}

    @property
    def _present(self) -> dict[str, Any]:
        return {name: (side.states, side.marks) for name, side in self.sides.items()}

    def _place(self, states: dict[str, Any] | None = None) -> None:
        """Take over `states`, which the first process alone has."""
        if jax.process_count() > 1:
            states = _broadcast(states, self.shapes)
        assert states is not None
        for name, side in self.sides.items():
            side.place(states[name], states["faults"][name])

    def _follow(self) -> int:
        """Do what the first process says, until the end."""
        while True:
            order, *arguments = self._say()
            if order == "end":
                return arguments[0]
            getattr(self, f"_{order}")(*arguments)

    def _say(self, *order: Any) -> list[Any]:
        """Tell the other processes what is next, or hear it; and from all whether a signal came."""
        if jax.process_count() == 1:
            return list(order)
        told = [json.loads(text) for text in _exchange(json.dumps([order, self._clock.signal]))]
        self._clock.others = self._clock.others or next((signal for _, signal in told if signal), None)
        return told[0][0]


def _exchange(text: str) -> list[str]:
    """The texts of all processes, which must all call this."""
    data = np.frombuffer(text.encode(), np.uint8)
    with _together():
        sizes = multihost_utils.process_allgather(np.int32(len(data)))
        buffer = np.zeros(1024 * -(-sizes.max() // 1024), np.uint8)  # few lengths: each is a program
        buffer[: len(data)] = data
        rows = multihost_utils.process_allgather(buffer)
    return [row[:size].tobytes().decode() for row, size in zip(rows, sizes, strict=True)]


def _broadcast(tree: Any, shapes: Any) -> Any:
    """The tree of the first process, NumPy leaves of the `shapes`, in all; as bytes, so that every bit arrives."""
    leaves, structure = jax.tree.flatten(shapes)
    sizes = [int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves]
    sent = np.zeros(sum(sizes), np.uint8)
    if tree is not None:
        sent[:] = np.frombuffer(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)), np.uint8)
    with _together():
        found = np.asarray(multihost_utils.broadcast_one_to_all(sent))
    parts = np.split(found, np.cumsum(sizes)[:-1])
    return structure.unflatten(
        [part.view(leaf.dtype).reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    )


@contextmanager
def _together() -> Iterator[None]:
    """Within it the processes wait for each other; what the devices report then is told in the user's words."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        reported = isinstance(error, jax.errors.JaxRuntimeError) or re.match(r"[A-Z_]+: ", str(error))
        if jax.process_count() == 1 or not reported:
            raise
        who = f"process {jax.process_index()} of {jax.process_count()}"
        raise LostError(
            f"{who} cannot go on with the others: {_first_line(error)}; if another one ended, its output says why"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
