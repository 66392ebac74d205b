"""To what of a solution populations respond."""

from __future__ import annotations

from functools import reduce

import jax
import numpy as np

from equilibria.growth import Progress, Psro

__all__ = ["targets"]


def targets(psro: Psro, progress: Progress, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What players respond to, `[R, n, K, O]`, and whether there is such a response, `[R, n]`."""
    game = jax.tree.map(lambda leaf: leaf[seed], progress.games)
    profile, joint = progress.profile[seed], progress.joint[seed]
    n, size = profile.shape
    if psro.response in ("independent", "rectified"):
        joint = reduce(np.multiply.outer, profile)
    if psro.self_play:
        newest = np.zeros_like(joint)
        newest[tuple(game.sizes - 1)] = 1.0
        joint = (1 - psro.self_play) * joint + psro.self_play * newest
    found, active, first = [], [], joint
    for player in range(n):
        order = [(player + k) % n for k in range(n)]
        turned = joint.transpose(order).reshape(size, -1)  # [K, O]
        rows = [turned] * psro.responses
        if psro.response in ("correlated", "rectified"):
            weights = turned.sum(axis=1)
            likely = [k for k in np.argsort(-weights, kind="stable") if weights[k] > 1e-9][: psro.responses]
            rows = [np.where(np.arange(size)[:, None] == k, turned, 0.0) / weights[k] for k in likely]
            if psro.response == "rectified":
                payoffs = np.asarray(game.game(psro.noise).payoffs)[player].transpose(order).reshape(size, -1)
                value = (turned * payoffs).sum()
                rows = [_rectified(row, payoffs, value) for row in rows]
        first = turned if player == 0 else first
        alike = psro.symmetric and player > 0 and np.abs(turned - first).max() < 1e-6
        active.append([not alike] * len(rows) + [False] * (psro.responses - len(rows)))
        found.append(rows + [turned] * (psro.responses - len(rows)))
    return np.array(found).swapaxes(0, 1), np.array(active).T


def _rectified(row: np.ndarray, payoffs: np.ndarray, value: float) -> np.ndarray:
    """What is left of a distribution `[K, O]` where payoffs are at least the value."""
    slack = 1e-9 * (np.abs(payoffs).max() + 1.0)
    kept = np.where(payoffs >= value - slack, row, 0.0)
    return kept / kept.sum() if kept.sum() > 0 else row
