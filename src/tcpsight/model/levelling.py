"""A curve that levels off and never falls, to be set against the law's peak: what nothing shows is not told.

Theory of operation
-------------------
The law with κ > 0 always falls somewhere. Points that rise and then stay level are bent towards it by a κ of their own,
which invents a peak and, beyond it, a fall. So the same points are fitted by a curve between the two asymptotes that
every closed system has (Denning and Buzen, ACM Computing Surveys 10, 1978: X ≤ λN and X ≤ C), with the sharpness p of
its bend:

    X(N) = λN / (1 + (λN / C)^p)^(1/p)                          λ > 0, C > 0, p ≥ 1

With p = 1 it is Amdahl's, with p → ∞ a queue before equal servers. It has as many coefficients as the law, so that the
misfits themselves are compared (Akaike's criterion would add the same to both).

Slices of a fixed number of clients who pause lie on a line of their own, N + XZ = C (the response time law): where more
requests happen to be there, fewer complete. That is no fall, and the law's fall fits it. So slices that follow each
other are put together, `BLOCKS` blocks or fewer, and of these those far beyond the peak must have clearly less
throughput than those near it; which curve fits better decides nothing there.

What it cannot see: a fall that begins where the points end. Of a peak beyond all points it says nothing.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from tcpsight.model.queueing import misfit
from tcpsight.model.resampling import student
from tcpsight.model.scalability import Floats, Points, scipy_optimize

BLOCKS = 64
LEAST_IN_BLOCK = 2
"""So many slices are a block at least."""

NEARBY, AWAY = 1.6, 1.15
"""Blocks are near a peak from 1/1.6 to 1.15 times its concurrency, and far beyond it above that."""

LEAST_LEVELS = 2
"""So many blocks on either side."""

ONE_SIDED_CHANCE = 0.05
"""A slope that chance would make so often is no clear fall."""

LEAST_FOR_SLOPE = 3
"""So many points have a slope with an error."""

_STARTS = (0.1, 1.0, 10.0)
"""Of p - 1, whose best is not alone: a sharp bend may hide behind a soft one."""

_LOWEST, _HIGHEST = (-60.0, -60.0, -7.0), (60.0, 60.0, 5.0)
"""Of the logarithms of λ, C and p - 1."""


def throughput_at(n: Floats, one: float, ceiling: float, sharpness: float) -> Floats:
    """Give the curve, without overflow: λN of the softest of minima."""
    with np.errstate(divide="ignore"):
        ratio = np.log(one * n / ceiling)
    rates: Floats = one * n * np.exp(-np.logaddexp(0.0, sharpness * ratio) / sharpness)
    return rates


def least_misfit(points: Points) -> float:
    """Give how near such a curve comes to points, as `queueing.misfit` measures it.

    Parameters
    ----------
    points : Points
        The points that count, one with throughput at least.

    Raises
    ------
    UsageError
        SciPy is not installed.
    """
    optimize = scipy_optimize()
    busy = points.concurrency > 0
    first = float((points.throughput_per_s[busy] / points.concurrency[busy]).max())
    highest = float(points.throughput_per_s.max())
    weights = points.weights(points.throughput_per_s)

    def predicted(values: Floats) -> Floats:
        one, ceiling, bend = np.exp(values)
        return points.averaged(partial(throughput_at, one=one, ceiling=ceiling, sharpness=1 + bend))

    def residuals(values: Floats) -> Floats:
        return (predicted(values) - points.throughput_per_s) * weights / highest

    found: list[Any] = []
    for bend in _STARTS:
        begin = np.log([first, highest, bend])
        found.append(optimize.least_squares(residuals, begin, bounds=(_LOWEST, _HIGHEST)).x)
    return min(misfit(points, predicted(values)) for values in found)


def only_levels_off(points: Points, predicted_per_s: Floats, peak: float) -> bool:
    """Tell whether throughput does not fall beyond a peak where the law says that it does.

    Parameters
    ----------
    points : Points
        The points that count.
    predicted_per_s : ndarray of float64, shape (k,)
        What the law predicts of them.
    peak : float
        The concurrency beyond which it falls.

    Returns
    -------
    bool
        True if there are points beyond the peak, their throughput does not clearly fall, and a curve that never falls
        comes as near to all points as the law does.
    """
    if points.is_series:
        return _only_levels_off_by_blocks(points, peak)
    beyond = points.concurrency > peak
    if not beyond.any():
        return False
    if _falls(points, beyond):
        return False
    return least_misfit(points) <= misfit(points, predicted_per_s)


def around(points: Points, peak: float) -> tuple[float, float] | None:
    """Give the mean throughput near a peak and far beyond it; None where there is none of either."""
    near, far = _near_and_far(points.concurrency, points.throughput_per_s, peak)
    return (float(near.mean()), float(far.mean())) if len(near) and len(far) else None


def _near_and_far(n: Floats, x: Floats, peak: float) -> tuple[Floats, Floats]:
    """Give the throughput near a peak, and that far beyond it."""
    return x[(n > peak / NEARBY) & (n <= peak * AWAY)], x[n > peak * AWAY]


def _only_levels_off_by_blocks(points: Points, peak: float) -> bool:
    """Tell it of slices: at one load the fall fits better whatever the service does, so misfits decide nothing."""
    k = len(points)
    edges = np.linspace(0, k, max(min(BLOCKS, k // LEAST_IN_BLOCK), 1) + 1).round().astype(np.int64)
    each = (points.concurrency, points.throughput_per_s)
    n, x = (np.add.reduceat(values, edges[:-1]) / np.diff(edges) for values in each)
    return bool((n > peak).any()) and not _is_lower(n, x, peak)


def _is_lower(n: Floats, x: Floats, peak: float) -> bool:
    """Tell whether throughput far beyond a peak is clearly below that near it, by the means of blocks (Welch 1947)."""
    near, far = _near_and_far(n, x, peak)
    if min(len(near), len(far)) < LEAST_LEVELS:
        return False
    errors = near.var(ddof=1) / len(near), far.var(ddof=1) / len(far)
    both = sum(errors)
    if both <= 0:
        return bool(far.mean() < near.mean())
    freedom = both**2 / (errors[0] ** 2 / (len(near) - 1) + errors[1] ** 2 / (len(far) - 1))
    return bool(near.mean() - far.mean() > student(1 - ONE_SIDED_CHANCE, freedom) * math.sqrt(both))


def _falls(points: Points, beyond: Any) -> bool:
    """Tell whether throughput clearly falls with concurrency there; of one or two points, is below all others' best."""
    n, x = points.concurrency[beyond], points.throughput_per_s[beyond]
    k = len(n)
    away = n - n.mean()
    width = float(away @ away)
    if k < LEAST_FOR_SLOPE or width <= 0:
        return bool(x.max() < points.throughput_per_s[~beyond].max(initial=0.0))
    slope = float(away @ x) / width
    rest = x - x.mean() - slope * away
    error = math.sqrt(float(rest @ rest) / (k - 2) / width)
    return slope < -student(1 - ONE_SIDED_CHANCE, k - 2) * error
