"""A queue before m equal servers, M/M/m, through the same points, to be compared with the law.

Theory of operation
-------------------
With n requests present such a queue completes min(n, m) / S a second, S being the service time (Kleinrock, *Queueing
Systems* I, 1975, §3.5): a straight line up to m, and level from there. For each m the best S follows in closed form; m
is tried from 1 to the highest concurrency. The fits are compared on the same points by Akaike's criterion, corrected
for few points (Hurvich and Tsai, Biometrika 76, 1989). Of points whose completions were counted it is that of Poisson
counts with the overdispersion of the law's fit (QAICc, Burnham and Anderson 2002, §2.5), otherwise that of normal
errors:

    QAICc = D / c + 2 p + 2 p (p + 1) / (k - p - 1)            AICc = k ln(Σ r² / k) + 2 p + 2 p (p + 1) / (k - p - 1)

D is the deviance, c that of the law over its degrees of freedom (at least 1), and p counts coefficients and the
variance. A difference below 2 says nothing; so it is told.

What it cannot see: servers that are not equal, and queues that are refused. Errors that are related in time make every
criterion too sure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tcpsight.model.scalability import Floats, Points

MOST_SERVERS = 1024
TELLS = 2.0
"""Differences of the criterion below this say nothing (Burnham and Anderson 2002, §2.6)."""


@dataclass(frozen=True, slots=True)
class Queue:
    """The best queue.

    Attributes
    ----------
    servers : int
        m.
    service_time_s : float
        S.
    is_identified : bool
        Whether there were points on both sides of m, with more than m requests in the mean of one at least: else m, or
        S, could be another.
    misfit : float
        Deviance of counts, or sum of squares.
    """

    servers: int
    service_time_s: float
    is_identified: bool
    misfit: float


def rate_of(n: Floats, servers: int) -> Floats:
    """Give how many servers work with n requests present."""
    working: Floats = np.minimum(n, servers)
    return working


def misfit(points: Points, predicted_per_s: Floats) -> float:
    """Give how far a prediction is from points: the deviance of counts, or the sum of squares."""
    if points.lengths_s is None:
        return float(np.sum((points.throughput_per_s - predicted_per_s) ** 2))
    counts = points.throughput_per_s * points.lengths_s
    expected = np.maximum(predicted_per_s * points.lengths_s, 1e-9)
    logs = np.log(np.maximum(counts, 1e-300) / expected)
    return 2 * float(np.sum(np.where(counts > 0, counts * logs, 0.0) - (counts - expected)))


def fit_queue(points: Points) -> Queue | None:
    """Fit it; None where nothing was completed.

    Parameters
    ----------
    points : Points
        The points that count.
    """
    highest = float(points.levels[-1]) if points.levels is not None else float(points.concurrency.max())
    low, often = points.reach
    often = min(often, float(points.concurrency.max()))  # a queue that stood for an instant of a slice tells little
    throughput, lengths = points.throughput_per_s, points.lengths_s
    best: Queue | None = None
    for servers in _candidates(int(min(max(math.ceil(highest), 1), MOST_SERVERS))):
        working = points.averaged(partial(rate_of, servers=servers))
        by = working if lengths is None else lengths  # least squares, or the likelihood of counts
        rate = float(by @ throughput) / max(float(by @ working), 1e-300)
        left = misfit(points, rate * working)
        if rate > 0 and (best is None or left < best.misfit):
            best = Queue(servers, 1 / rate, low <= servers < often, left)
    return best


def criteria(points: Points, of_law: float, of_queue: float) -> tuple[float, float]:
    """Give AICc, or QAICc, of law and queue by their misfits; NaN where there are too few points for it."""
    k, found = len(points), []
    spread = max(of_law / max(k - 3, 1), 1.0)
    for left, coefficients in ((of_law, 3), (of_queue, 2)):
        p = coefficients + 1
        if k - p - 1 <= 0:
            found.append(float("nan"))
            continue
        fitness = k * math.log(max(left, 1e-300) / k) if points.lengths_s is None else left / spread
        found.append(fitness + 2 * p + 2 * p * (p + 1) / (k - p - 1))
    return found[0], found[1]


def better(of_law: float, of_queue: float) -> str | None:
    """Name the better model, ``usl`` or ``mmm``; None where the criterion does not tell."""
    difference: Any = of_queue - of_law
    if not abs(difference) >= TELLS:
        return None
    return "usl" if difference > 0 else "mmm"


def _candidates(most: int) -> list[int]:
    """Give numbers of servers: each up to 64, then in steps of two percent."""
    found = list(range(1, min(most, 64) + 1))
    while found[-1] < most:
        found.append(min(max(found[-1] + 1, round(found[-1] * 1.02)), most))
    return found
