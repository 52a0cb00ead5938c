"""The rate of a token bucket that dropped: which one explains the losses best, and which others would do as well.

The goodput between losses is the rate only of a bucket that never runs over. So rates are tried, each with the size
that it needs for what passed before the first loss: a bucket that was full then. Following it, there should be less
than a segment of tokens at each loss, and a segment at each pass; what is too many or missing is its misfit, in
segments. The rate with the least is told (of those that are about as good, that which is nearest to the goodput), and
all that are nearly as good, in bounds: where each repair is followed by a pause that fills the bucket, a faster and
smaller bucket drops the same as a slower and larger one, and the headers cannot tell which it was.

Thresholds were set on runs of the laboratory that the tables in the documentation do not use.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tcpsight.network._misfit import misfits
from tcpsight.network.bucket_fit import initial_tokens_by_rate, rate_within_round_trips
from tcpsight.network.exchanges import Exchange, Numbers
from tcpsight.network.queueing import LEAST_BURST_SEGMENTS

SLOWEST, FASTEST = 0.6, 8.0
"""Rates are tried from so many times the goodput between the first and the last loss to so many times that, or times
the goodput between losses that are near each other."""
STEP, FINE_STEP, MOST_STEPS = 0.01, 0.0005, 700
"""How far apart, by their logarithm, in all and near the best one; and how many at most, so that none above 658 times
the goodput between the first and the last loss is tried."""
MORE_MISFIT, MORE_MISFIT_FRACTION = 4.0, 0.2
"""A rate is possible if its misfit is larger than the least by so many segments and this share of it at most."""
MARGIN = 0.02
"""Bounds are so much wider, by their logarithm."""
DOUBT = 2.0
"""So many segments of misfit less a rate must have to be preferred to the goodput, for each factor e between them."""


class Rate(NamedTuple):
    """The rate of a bucket in bit/s, and between which bounds it lies."""

    best: float
    low: float
    high: float


def bucket_rate(x: Exchange, goodput: float, round_trip_s: float) -> Rate:
    """Find the rate at which the bucket fills that dropped what was lost.

    Parameters
    ----------
    x : Exchange
        With losses.
    goodput : float
        Between the first and the last of them, in bit/s, above 0.
    round_trip_s : float
        Median round trip.
    """
    fastest = FASTEST * max(goodput, rate_within_round_trips(x, round_trip_s))
    count = min(MOST_STEPS, round(np.log(fastest / (SLOWEST * goodput)) / STEP))
    rates = goodput * SLOWEST * np.exp(STEP * np.arange(count + 1))
    misfit = _misfits(x, rates)
    least = misfit.min()
    if not np.isfinite(least):
        return Rate(goodput, goodput, goodput)
    doubted = misfit + DOUBT * np.abs(np.log(rates / goodput))
    near = rates[int(doubted.argmin())] * np.exp(np.arange(-STEP, STEP + FINE_STEP, FINE_STEP))
    possible = rates[misfit <= least + MORE_MISFIT + MORE_MISFIT_FRACTION * least]
    finer = _misfits(x, near)
    best = float(np.median(near[finer <= finer.min()]))
    return Rate(best, min(best, float(possible[0]) * np.exp(-MARGIN)), max(best, float(possible[-1]) * np.exp(MARGIN)))


def _misfits(x: Exchange, rates: Numbers) -> Numbers:
    """Give the misfit of each rate with the bucket that it needs; infinite where that would be too small for one."""
    first = int(np.argmax(x.is_lost))
    segment = max(1.0, float(np.median(x.payload)))
    held = initial_tokens_by_rate(x, first, rates)
    # What was lost first found less than a segment left: half of one is the best guess.
    buckets = np.column_stack([rates / 8e9, held + segment / 2, np.full(len(rates), segment)])
    misfit = np.empty(len(rates))
    # Where in a run of losses something passed is not known without SACK; nor, behind the loss, when they were sent.
    fills_in_runs = not x.has_sack or x.is_lost_before
    misfits(x.rows[first:].view(np.uint8), buckets, fills_in_runs, misfit)
    return np.where(held >= LEAST_BURST_SEGMENTS * segment, misfit, np.inf)
