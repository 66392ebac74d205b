"""Shape and dtype checks on every call, strict promotion, and a compilation cache that outlives the session."""

import gc
import os
import sys
import tempfile
import types
from pathlib import Path

# Before JAX is imported: small programs are dominated by compilation.
ROOT = Path(os.environ.get("XDG_CACHE_HOME") or Path(tempfile.gettempdir()) / "parley-tests") / "parley"
CACHE = ROOT / f"tests-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"  # JAX writes entries that others may half read
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # a quarter faster; `.ci/run` also tests without
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault("JAX_NUMPY_DTYPE_PROMOTION", "strict")

from experiments.cli import avoid_crashing_kernels  # noqa: E402

avoid_crashing_kernels()

import jax  # noqa: E402
import pytest  # noqa: E402
from beartype import BeartypeConf, FrozenDict, beartype  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

checker = types.ModuleType("parley_typechecker")  # the hook takes the checker by its name
overrides = FrozenDict({float: float | int | jax.Array})  # a float may be an int, or traced
check = beartype(conf=BeartypeConf(hint_overrides=overrides))
# Not the fields of dataclasses: as PyTrees they may hold shardings, axes and shapes instead of arrays.
checker.check = lambda function: function if function.__name__ == "__init__" else check(function)
sys.modules[checker.__name__] = checker
install_import_hook(["envs", "shaping", "equilibria"], "parley_typechecker.check")
gc.set_threshold(200_000, 100, 1000)  # tracing makes millions of objects that live on


SLOW = frozenset((Path(__file__).parent / "slow.txt").read_text(encoding="utf-8").splitlines())
"""Tests that take more than three seconds of a processor with an empty cache of programs, beside those marked so."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark them slow."""
    for item in items:
        if item.nodeid in SLOW:
            item.add_marker("slow")


MAPS = 30_000
"""Of memory, of which Linux gives a process 65,530; every compiled program takes some."""


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Drop compiled programs between files where there are very many."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MAPS:
        jax.clear_caches()
        gc.collect()
