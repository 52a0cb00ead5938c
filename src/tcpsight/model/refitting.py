"""The law through thousands of resamples of the same points, all at once.

Theory of operation
-------------------
All resamples share points and weights, so that the sum of squares of any of them is a quadratic form of what the law
says at each level, x: with the weighted shares A it is ‖w y − A x‖² = xᵀ G x − 2 gᵀ x + constant, where G = Aᵀ A and
g = Aᵀ w y. The coefficients move x; Levenberg and Marquardt's method is applied to every resample in the same array
operations, from the fit of the original points, which is near.

A resample whose σ or κ becomes negative is fitted again with σ, κ, or both at 0; of those within the constraint the
nearest to the points is taken (an active set of two, tried out).

What it cannot see: a second minimum far from the start. `scalability.fit` looks from several starts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tcpsight.model.scalability import Floats, LawFit, Points

Integers = np.ndarray[Any, np.dtype[np.int64]]

MOST_STEPS = 40
ENOUGH = 1e-8
"""Relative improvement below which a resample has arrived."""

AT_ONCE = 512
"""Resamples that are fitted in the same array operations: as many as fit the caches with all that is made of them."""

DENSE = 0.1
"""Share of numbers that are not zero from which a product of all takes less than one of these."""

ACTIVE = (np.array([True, False, True]), np.array([False, True, True]), np.array([False, False, True]))
"""Which of σ, κ and λ are free once the constraint holds one of them, or both."""


class Refitting:
    """Fit the law to many throughputs measured at the same concurrency.

    Parameters
    ----------
    points : Points
        Where.
    weights : ndarray of float64, shape (k,)
        Of each point.
    fitted : LawFit
        The law through the points, from which to start.
    """

    def __init__(self, points: Points, weights: Floats, fitted: LawFit) -> None:
        self._weights = weights
        self._start = np.array([fitted.free[0], fitted.free[1], 1.0])
        self._one = fitted.free[2]
        self._told = fitted.told
        self._shares: Any = None
        if points.shares is None:
            self._levels = points.concurrency
            self._squares = weights**2
        else:
            self._levels = points.levels if points.levels is not None else points.concurrency
            self._shares = points.shares.multiply(weights[:, np.newaxis]).tocsr()
            self._squares = (self._shares.T @ self._shares).toarray()

    def __call__(self, throughput_per_s: Floats) -> tuple[Floats, Floats]:
        """Fit each row; give σ, κ and λ of each, within the constraint and without it.

        Parameters
        ----------
        throughput_per_s : ndarray of float64, shape (resamples, k)
            What was measured instead.

        Returns
        -------
        tuple of ndarray of float64, shape (resamples, 3)
        """
        return self._refitted(self._pulls(throughput_per_s))

    def flipped(
        self, center: Floats, errors: Floats, blocks: Integers, signs: Callable[[int], Floats], count: int
    ) -> tuple[Floats, Floats]:
        """Fit what is predicted and its errors, whose signs are drawn block by block; as `__call__` gives it.

        Parameters
        ----------
        center, errors : ndarray of float64, shape (k,)
            Throughput, and what is added to it or taken from it.
        blocks : ndarray of int64, shape (k,)
            Which block each is of, from 0 on.
        signs : callable
            Draws signs of all blocks, so many times: shape (times, blocks).
        count : int
            How many times in all.
        """
        from scipy import sparse

        # What pulls at the law is linear in the errors: those of a block are added up once, and not in each resample.
        k = len(errors)
        shares = sparse.eye_array(k, format="csr") if self._shares is None else self._shares
        pull = self._weights * errors / self._one * (self._weights if self._shares is None else 1.0)
        of_blocks = (sparse.csr_array((pull, (blocks, np.arange(k)))) @ shares).T.tocsr()
        if of_blocks.nnz > DENSE * of_blocks.shape[0] * of_blocks.shape[1]:
            of_blocks = of_blocks.toarray()
        at_center = self._pulls(center[np.newaxis])
        parts = [
            self._refitted(at_center + (of_blocks @ signs(min(AT_ONCE, count - begin)).T).T)
            for begin in range(0, count, AT_ONCE)
        ]
        found, freely = (np.concatenate(part) for part in zip(*parts, strict=True))
        return found, freely

    def _pulls(self, throughput_per_s: Floats) -> Floats:
        weighted = throughput_per_s * self._weights / self._one
        pulls: Floats = weighted * self._weights if self._shares is None else (self._shares.T @ weighted.T).T
        return pulls

    def _refitted(self, pulls: Floats) -> tuple[Floats, Floats]:
        with np.errstate(all="ignore"):  # where σ or κ is negative the law has poles; steps there are refused
            parts = [self._fitted(pulls[begin : begin + AT_ONCE]) for begin in range(0, len(pulls), AT_ONCE)]
        found, freely = (np.concatenate(part) for part in zip(*parts, strict=True))
        return found * [1, 1, self._one], freely * [1, 1, self._one]

    def _fitted(self, pulls: Floats) -> tuple[Floats, Floats]:
        found, cost = self._descend(pulls, self._told)
        freely = found.copy()
        outside = np.flatnonzero((found[:, :2] < 0).any(axis=1))
        cost[outside] = np.inf
        for free in ACTIVE:
            tried, tried_cost = self._descend(pulls[outside], free & self._told)
            better = (tried[:, :2] >= 0).all(axis=1) & (tried_cost < cost[outside])
            found[outside[better]], cost[outside[better]] = tried[better], tried_cost[better]
        return found, freely

    def _descend(self, pulls: Floats, free: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[Floats, Floats]:
        """Minimize over the free coefficients, the others at 0; give all three, and what is left."""
        start = self._start if (free == self._told).all() else np.maximum(self._start, 0.0)
        values = np.tile(np.where(free, start, 0.0), (len(pulls), 1))
        at = self._law(values)
        squared = self._squared(at)
        cost = _cost(at, squared, pulls)
        damping = np.full(len(pulls), 1e-3)
        moving = np.arange(len(pulls))
        for _ in range(MOST_STEPS):
            if len(moving) == 0:
                break
            rest = pulls[moving] - squared[moving]
            tried = values[moving] + self._step(values[moving], at[moving], rest, damping[moving], free)
            tried_at = self._law(tried)
            tried_squared = self._squared(tried_at)
            tried_cost = _cost(tried_at, tried_squared, pulls[moving])
            gain = cost[moving] - tried_cost
            is_better = gain >= 0
            accepted = moving[is_better]
            values[accepted], cost[accepted] = tried[is_better], tried_cost[is_better]
            at[accepted], squared[accepted] = tried_at[is_better], tried_squared[is_better]
            damping[moving] = np.where(is_better, damping[moving] / 10, damping[moving] * 10)
            arrived = (is_better & (gain <= ENOUGH * np.abs(cost[moving]))) | (damping[moving] > 1e12)
            moving = moving[~arrived]
        return values, cost

    def _law(self, values: Floats) -> Floats:
        """Give throughput at each level as a multiple of the start's λ; NaN where a pole makes nonsense of it."""
        n = self._levels
        sigma, kappa, one = values[:, 0:1], values[:, 1:2], values[:, 2:3]
        denominator = 1 + sigma * (n - 1) + kappa * n * (n - 1)
        at: Floats = np.where((denominator > 0) & (one > 0), one * n / denominator, np.nan)
        return at

    def _squared(self, at: Floats) -> Floats:
        product: Floats = at * self._squares if self._squares.ndim == 1 else at @ self._squares
        return product

    def _step(self, values: Floats, at: Floats, rest: Floats, damping: Floats, free: Any) -> Floats:
        n = self._levels
        relative = at / values[:, 2:3] / n  # 1 / denominator
        rates = np.stack([-at * (n - 1) * relative, -at * n * (n - 1) * relative, at / values[:, 2:3]], axis=1)[:, free]
        # As one large product: many small ones take several times as long.
        squared = self._squared(rates.reshape(-1, len(n))).reshape(rates.shape)
        curvature = squared @ rates.transpose(0, 2, 1)
        slope = (rates @ rest[:, :, np.newaxis])[:, :, 0]
        diagonal = np.einsum("bii->bi", curvature)
        scales = np.sqrt(np.maximum(diagonal, 1e-300))
        normal = curvature / scales[:, :, np.newaxis] / scales[:, np.newaxis, :]
        normal += (damping[:, np.newaxis, np.newaxis] + 1e-12) * np.eye(normal.shape[1])
        moved = np.zeros_like(values)
        moved[:, free] = np.linalg.solve(normal, (slope / scales)[:, :, np.newaxis])[:, :, 0] / scales
        return moved


def _cost(at: Floats, squared: Floats, pulls: Floats) -> Floats:
    cost: Floats = (at * (squared - 2 * pulls)).sum(axis=1)
    return np.where(np.isfinite(cost), cost, np.inf)
