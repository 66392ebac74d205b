"""A mirror of the metrics in Weights & Biases; `metrics.jsonl` stays the source of truth."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from experiments.config import UserError
from experiments.run_directory import RunDirectory

__all__ = ["Tracker"]


class Tracker:
    """Sends each line of metrics to wandb, or nowhere when `mode` is "disabled"."""

    def __init__(
        self,
        mode: Literal["disabled", "offline", "online"],
        directory: RunDirectory,
        config: dict[str, Any],
        *,
        fresh: bool,
    ):
        self._run: Any = None
        if mode == "disabled":
            return
        import wandb

        try:
            self._run = wandb.init(
                project="parley", mode=mode, dir=str(directory.path), name=directory.path.name, config=config
            )
        except wandb.Error as error:
            if fresh:
                directory.discard()
            reason = " ".join(str(error).split())
            raise UserError(f"--wandb {mode}: {reason}; log in with `wandb login`, or use --wandb offline") from error

    def log(self, line: dict[str, Any]) -> None:
        """One line of `metrics.jsonl`: quantiles over the seeds, and the values of every seed."""
        if self._run is None:
            return
        flat: dict[str, float] = {}
        for side, metrics in line.items():
            if side == "step":
                continue
            for metric in [name for name in ("welfare", "cooperation") if name in metrics]:
                values = np.asarray(metrics[metric], float)
                for name, quantile in (("q10", 0.1), ("median", 0.5), ("q90", 0.9)):
                    flat[f"{side}/{metric}/{name}"] = float(np.quantile(values, quantile))
                flat |= {f"{side}/{metric}/seed_{seed}": float(value) for seed, value in enumerate(values)}
            for seat, value in enumerate(np.median(metrics["reward_per_step"], axis=0)):
                flat[f"{side}/reward_per_step/seat_{seat}"] = float(value)
        self._run.log(flat, step=line["step"])

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._run is not None:
            self._run.finish()
