"""What the persistent cache of compiled programs did, as JAX tells it."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import jax

__all__ = ["Programs"]

ASKED, FOUND, KEPT = (
    f"/jax/compilation_cache/{event}" for event in ("compile_requests_use_cache", "cache_hits", "cache_misses")
)


class Programs:
    """The programs that this process has compiled, or found compiled, since this object was made."""

    def __init__(self):
        self._before = _events().copy()

    def told(self) -> str:
        """Such as ` (from the cache in ~/.cache/parley/compiled, 120 MB)`; nothing if the cache was of no use."""
        seen = _events() - self._before
        folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
        if not folder or not (seen[FOUND] or seen[KEPT]):
            return ""
        verb = "from the cache in" if seen[FOUND] == seen[ASKED] else "kept in"
        size = _size(folder) / 1e6
        return f" ({verb} {_short(Path(folder))}, {size:.{0 if size >= 10 else 1}f} MB)"


@cache
def _events() -> Counter[str]:
    """How often which event has happened, from the first call on."""
    counter: Counter[str] = Counter()

    def count(event: str, **_: Any) -> None:
        counter[event] += 1

    jax.monitoring.register_event_listener(count)
    return counter


def _short(path: Path) -> Path:
    home = Path.home()
    return Path("~") / path.relative_to(home) if path.is_relative_to(home) else path


def _size(folder: str) -> int:
    """Bytes of all files; those that another process removes meanwhile are left out."""
    size = 0
    with os.scandir(folder) as files:
        for file in files:
            try:
                size += file.stat().st_size
            except OSError:
                continue
    return size
