"""A mirror of a run in Weights & Biases; the run directory stays the source of truth."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.config import UserError
from experiments.run_directory import RunDirectory

__all__ = ["Mirror", "Tracker", "add_pictures", "flat"]

MODES = ("disabled", "offline", "online")
QUANTILES = {"q10": 0.1, "median": 0.5, "q90": 0.9}
MOST_SEEDS, MOST_SEATS = 256, 16
"""Of more, only quantiles over the seeds, or one median, are mirrored: each number is a chart."""
FINISH_S = 120.0
"""How long the end of a run may wait for the network."""


@dataclass(frozen=True)
class Mirror:
    """Where in Weights & Biases a run is mirrored.

    Attributes:
        project: that of WANDB_PROJECT, or parley, if not given.
        entity: account or team; the account's own default if not given.
        group: name that several runs share.
        tags: words to find the run by, separated by commas.
    """

    project: str | None = None
    entity: str | None = None
    group: str | None = None
    tags: str | None = None


class Tracker:
    """Mirrors a run, or nothing when the mode is "disabled".

    `wandb.json` in the run directory holds the run's id there and the last step that was sent, so that a resumed run
    goes on in the same place and sends no line twice. A mirror that fails later than at the start is given up with a
    warning, and the run goes on.
    """

    def __init__(
        self,
        mode: str | None,
        directory: RunDirectory,
        config: dict[str, Any],
        console: Console,
        *,
        fresh: bool,
        mirror: Mirror | None = None,
    ):
        """Start or resume the mirror; sends what `metrics.jsonl` holds and the mirror does not.

        Args:
            mode: "disabled", "offline" or "online"; None to leave it to the environment.
            directory: of the run.
            config: the resolved flags.
            console: for a warning.
            fresh: whether nothing is in the directory yet but the config, so that it is removed on an error.
            mirror: where to.

        Raises:
            UserError: the mirror cannot be started.
        """
        self._run: Any = None
        self._console = console
        self._file = directory.path / "wandb.json"
        self._known = _read(self._file)
        self._sent = self._known.get("step", -1)
        self._failed = False
        mode = _mode(mode)
        if mode == "disabled":
            return
        try:
            self._run = _start(mode, directory, config, mirror or Mirror(), self._known)
        except UserError:
            if fresh:
                directory.discard()
            raise
        if mode == "online":  # what has arrived there counts
            self._sent = self._run.starting_step - 1
        self._known = {name: getattr(self._run, name) or None for name in ("id", "project", "entity")}
        self._try(lambda _: self._remember())
        for line in directory.read_metrics():
            self.log(line)

    def log(self, line: Mapping[str, Any]) -> None:
        """One line of `metrics.jsonl`; nothing if it has been sent."""
        step = line["step"]
        if step <= self._sent:
            return

        def send(run: Any) -> None:
            run.log(flat({name: value for name, value in line.items() if name != "step"}), step=step)
            self._sent = step
            self._remember()

        self._try(send)

    def show(self, *paths: Path) -> None:
        """Pictures (.png) and animations (.gif) that exist; other files are left out."""

        def send(run: Any) -> None:
            import wandb

            kinds: dict[str, Callable[[str], Any]] = {
                ".png": wandb.Image,
                ".gif": lambda path: wandb.Video(path, format="gif"),
            }
            shown = {
                f"pictures/{path.stem}": kinds[path.suffix](str(path))
                for path in paths
                if path.suffix in kinds and path.is_file()
            }
            if shown:
                run.log(shown, step=max(self._sent, run.step))

        self._try(send)

    def summarise(self, summary: Mapping[str, Any]) -> None:
        """The final numbers; a run whose "status" is "failed" has failed there, too."""
        self._failed = summary.get("status") == "failed"
        self._try(lambda run: run.summary.update(flat(summary)))

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self._try(lambda run: run.finish(exit_code=1 if error or self._failed else 0))

    def _try(self, send: Callable[[Any], object]) -> None:
        """Send something, as long as the mirror works; whatever goes wrong there, the run goes on."""
        if self._run is None:
            return
        try:
            send(self._run)
        except Exception as error:
            self._run = None
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self._console.print(f"warning: wandb failed, and the run goes on without: {reason}", soft_wrap=True)

    def _remember(self) -> None:
        temporary = self._file.with_name(f".{self._file.name}.partial")
        temporary.write_text(json.dumps(self._known | {"step": self._sent}) + "\n", encoding="utf-8")
        temporary.replace(self._file)


def add_pictures(
    mode: str | None,
    directory: RunDirectory,
    config: dict[str, Any],
    mirror: Mirror,
    paths: list[Path],
    console: Console,
) -> None:
    """Add pictures to the mirror of a run that is not going on; if that fails, a warning says why."""
    try:
        with directory.locked(), Tracker(mode, directory, config, console, fresh=False, mirror=mirror) as tracker:
            tracker.show(*paths)
    except UserError as error:
        console.print(f"warning: the pictures are in no mirror: {error}", soft_wrap=True)


def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under one name each, `outer/inner`, as wandb charts them.

    Arrays `[S]` become quantiles over the seeds and the value of every seed, arrays `[S, n]` the medians of the seats
    (under "learning", of the learners). What is not known, and other arrays, are left out.
    """
    found: dict[str, Any] = {}
    for name, value in data.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{key}/")
        elif isinstance(value, list) and any(isinstance(own, str) for own in value):
            found[key] = ",".join(map(str, value))
        elif isinstance(value, list):
            found |= _spread(key, value)
        elif value is not None:
            found[key] = value
    return found


def _spread(key: str, values: list[Any]) -> dict[str, float]:
    try:
        array = np.asarray(values, float)
    except (TypeError, ValueError):  # ragged, or of other things
        return {}
    found: dict[str, float] = {}
    if array.ndim == 1:
        seen = array[np.isfinite(array)]
        if len(seen):
            found |= {f"{key}/{name}": float(np.quantile(seen, part)) for name, part in QUANTILES.items()}
        if len(array) <= MOST_SEEDS:
            found |= {f"{key}/seed_{seed}": float(value) for seed, value in enumerate(array) if np.isfinite(value)}
    elif array.ndim == 2:
        seat = "learner" if "learning" in key.split("/") else "seat"
        columns = array.T if array.shape[1] <= MOST_SEATS else array.reshape(1, -1)
        for place, column in enumerate(columns):
            seen = column[np.isfinite(column)]
            if len(seen):
                found[f"{key}/{seat}_{place}" if len(columns) > 1 else key] = float(np.median(seen))
    return found


def _mode(asked: str | None) -> str:
    """What was asked for, or, of a run that an agent of a sweep has started, what the environment says."""
    if asked is not None or "WANDB_SWEEP_ID" not in os.environ:
        return asked or "disabled"
    mode = os.environ.get("WANDB_MODE", "online")
    if mode not in MODES:
        raise UserError(f"WANDB_MODE {mode}: expected one of {', '.join(MODES)}")
    return mode


def _start(mode: str, directory: RunDirectory, config: dict[str, Any], mirror: Mirror, known: dict[str, Any]) -> Any:
    """A run of wandb: the `known` one goes on; of a sweep, the agent says which and where."""
    import wandb

    place: dict[str, Any] = {}
    if "WANDB_SWEEP_ID" not in os.environ:
        place = {
            "project": mirror.project or known.get("project") or os.environ.get("WANDB_PROJECT") or "parley",
            "entity": mirror.entity or known.get("entity"),
            "id": known.get("id"),
            "resume": "allow" if "id" in known else None,
        }
    tags = [tag.strip() for tag in (mirror.tags or "").split(",") if tag.strip()]
    patience = {} if "WANDB_FINISH_TIMEOUT" in os.environ else {"finish_timeout": FINISH_S}
    try:
        return wandb.init(
            mode=mode,  # pyright: ignore[reportArgumentType]  one of MODES
            dir=str(directory.path),
            name=os.environ.get("WANDB_NAME") or directory.path.resolve().name,
            group=mirror.group,
            tags=tags or None,
            config=config,
            allow_val_change=True,  # a resumed run may have more steps
            reinit="create_new",  # beside those of other runs that are trained together
            settings=patience,
            **place,
        )
    except (wandb.Error, ValueError, OSError) as error:
        way_on = "; log in with `wandb login`, or use --wandb offline" if mode == "online" else ""
        raise UserError(f"--wandb {mode}: {' '.join(str(error).split())}{way_on}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
