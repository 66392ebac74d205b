"""The command line: choose a command, report mistakes in the user's words."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console

from envs.registry import Registry, did_you_mean
from experiments.config import FaultError, UserError, parse
from experiments.crossplay_arguments import crossplay_arguments
from experiments.diff_arguments import diff_arguments
from experiments.dry import is_dry, resolved
from experiments.evaluate_arguments import evaluate_arguments
from experiments.export_arguments import export_arguments
from experiments.forms import as_flags
from experiments.hosts_arguments import meeting_argument
from experiments.league_arguments import league_arguments
from experiments.plot_arguments import plot_arguments
from experiments.psro_arguments import psro_arguments
from experiments.render_arguments import render_arguments
from experiments.report_arguments import report_arguments
from experiments.reproduce_arguments import reproduce_arguments
from experiments.solve_arguments import solve_arguments
from experiments.sweep_arguments import sweep_arguments

__all__ = ["main", "prepare_jax"]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line `args` (those of the process by default); returns the exit code."""
    args = list(sys.argv[1:] if args is None else args)
    if args == ["--version"]:
        print(f"parley {importlib.metadata.version('parley')}")
        return 0
    named = args and not args[0].startswith(("-", "+", "{")) and "=" not in args[0]
    command = args.pop(0) if named else "train"
    try:
        if command not in (*ARGUMENTS, "list"):
            raise UserError(f"unknown command {command!r}{did_you_mean(command, [*ARGUMENTS, 'list'])}")
        return _list(args) if command == "list" else _run(command, args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except FaultError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader has gone, e.g. `python run.py list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _run(command: str, args: list[str]) -> int:
    """Check the arguments, and only then import JAX and the module of the command's name."""
    args = as_flags(args) if command in FLAGS_ONLY else args
    written = _written(args if command == "train" else [command, *args])
    args, meeting = meeting_argument(args)
    if meeting and command != "train":
        raise UserError(f"--distributed: {command} is done by one process; expected it with training only")
    asked = ARGUMENTS[command](args)
    if is_dry(command, args):
        print(resolved(command, asked, args))
        return 0
    prepare_jax()
    main = getattr(importlib.import_module(f"experiments.{command}"), command)
    console = Console(highlight=False, markup=False)
    with importlib.import_module("experiments.hosts").joined(meeting, console) if meeting else nullcontext():
        code = main(asked, written, console)
    return code if isinstance(code, int) else 0


def _list(args: list[str]) -> int:
    import envs
    import equilibria
    import shaping

    if args:
        raise UserError(f"list takes no arguments, found {args[0]!r}")
    kinds = {
        "environments (--env)": envs.REGISTRY,
        "learners (--learners)": shaping.REGISTRY,
        "solvers (solve --solver)": equilibria.REGISTRY,
        "measures of risk (psro --measure)": equilibria.MEASURES,
    }
    for title, registry in kinds.items():
        _print_registry(title, registry)
    _print_names("games (solve --game)", {name: own.about for name, own in equilibria.CATALOGUE.items()})
    return 0


def _written(args: Sequence[str]) -> str:
    return shlex.join(["python", "run.py", *args])


def _print_registry(title: str, registry: Registry) -> None:
    described = {name: registry.describe(name) for name in registry.names()}
    _print_names(title, {name: f"{line}\n[dim]{source}[/dim]" for name, (line, source) in described.items()})


def _print_names(title: str, lines: Mapping[str, str]) -> None:
    """Each name with what is said of it."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    for name, line in lines.items():
        table.add_row(name, line)
    console = Console(highlight=False)
    console.print(table)
    console.print()


def avoid_crashing_kernels() -> None:
    """Keep jaxlib 0.10 from its YNN kernels, which crash the process on matrix products of high rank.

    Before JAX starts: no kernel is of the only type that is left. Other flags of the user stay.
    """
    flag, flags = "--xla_cpu_experimental_ynn_fusion_type", os.environ.get("XLA_FLAGS", "")
    if importlib.metadata.version("jaxlib").startswith("0.10.") and flag not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {flag}=individual_convolution".strip()


def prepare_jax() -> None:
    """No crashes, no second compilation, and every core a device.

    Compiled programs outlive the process, in a place of ours or in that of JAX_COMPILATION_CACHE_DIR.

    Only ours is bounded: JAX refuses to bound a directory whose entries were written without a bound.
    """
    avoid_crashing_kernels()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(base / "parley" / "compiled")
        os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(2**30)
    os.environ.setdefault("JAX_CPU_COLLECTIVES_IMPLEMENTATION", "gloo")  # between processes
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    flags, threads = os.environ.get("XLA_FLAGS", ""), "--xla_cpu_multi_thread_eigen"
    if "--xla_force_host_platform_device_count" not in flags:
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(_cores()))  # seeds are spread over devices
    if threads not in flags:  # which would get in each other's way in small products
        os.environ["XLA_FLAGS"] = f"{flags} {threads}=false".strip()


def _cores() -> int:
    """Those that this process may use, where the system says it: on a cluster not all that there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


ARGUMENTS: dict[str, Callable[[list[str]], Any]] = {
    "train": parse,
    "solve": solve_arguments,
    "psro": psro_arguments,
    "league": league_arguments,
    "evaluate": evaluate_arguments,
    "crossplay": crossplay_arguments,
    "render": render_arguments,
    "export": export_arguments,
    "plot": plot_arguments,
    "report": report_arguments,
    "reproduce": reproduce_arguments,
    "diff": diff_arguments,
    "sweep": sweep_arguments,
}
"""What each command makes of its arguments, without JAX; the function `experiments.NAME.NAME` does it."""
FLAGS_ONLY = ("train", "solve", "psro", "league")
"""Commands that are given nothing but flags, and so understand all forms of them."""
