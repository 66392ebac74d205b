"""What is said of all seeds at once: their average, a band around it, and smoothed values."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

__all__ = ["Band", "band", "mean", "smoothed"]

RESAMPLES = 2000


@dataclass(frozen=True)
class Band:
    """What is said of all seeds, at each of the L lines.

    Attributes:
        middle: their median or mean, `[L]`; NaN without any.
        low: lower end of the band.
        high: upper end.
        seeds: how many seeds have a value, `[L]`.
    """

    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: np.ndarray


def smoothed(x: np.ndarray, values: np.ndarray, width: float) -> np.ndarray:
    """Each column of `values` `[L, S]`, averaged over windows of `width`, centred on each `x`, cut at the ends."""
    starts = np.searchsorted(x, x - width / 2, side="left")
    stops = np.searchsorted(x, x + width / 2, side="right")
    return np.stack([mean(values[start:stop], axis=0) for start, stop in zip(starts, stops, strict=True)])


def band(values: np.ndarray, average: str, interval: str, level: float) -> Band:
    """What is said of `values` `[L, S]`, at each line for itself; seeds without a value are left out.

    Args:
        values: of the seeds.
        average: "median" or "mean".
        interval: "quantiles" of the seeds; "bootstrap", a percentile interval of their average by resampling seeds;
            or "none".
        level: what lies between the ends.
    """
    tails = ((1 - level) / 2, (1 + level) / 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a line without any value
        middle = np.nanmedian(values, axis=1) if average == "median" else mean(values, axis=1)
        if interval == "bootstrap":
            low, high = _bootstrap(values, average, tails)
        elif interval == "quantiles":
            low, high = np.nanquantile(values, tails, axis=1)
        else:
            low, high = np.full((2, len(values)), np.nan)
    return Band(middle, low, high, np.isfinite(values).sum(axis=1))


def _bootstrap(values: np.ndarray, average: str, tails: tuple[float, float]) -> np.ndarray:
    """Quantiles of the average of resampled seeds, `[2, L]`.

    Of a resample only ranks matter to its median, so that all lines with as many seeds share the resamples.
    """
    ordered, known = np.sort(values, axis=1), np.isfinite(values).sum(axis=1)  # NaN come last
    ends, random = np.full((2, len(values)), np.nan), np.random.default_rng(0)
    for count in np.unique(known[known > 0]).tolist():
        seen = ordered[known == count, :count]
        if average == "median":
            ranks = np.sort(random.integers(count, size=(RESAMPLES, count)), axis=1)
            drawn = (seen[:, ranks[:, (count - 1) // 2]] + seen[:, ranks[:, count // 2]]) / 2
        else:
            drawn = seen @ (random.multinomial(count, np.full(count, 1 / count), RESAMPLES) / count).T
        ends[:, known == count] = np.quantile(drawn, tails, axis=1)
    return ends


def mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean along `axis` of what is not NaN; NaN without any."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
