"""Whether any token bucket explains the losses, where the goodput between losses does not tell its rate.

The detector of the paper (`token_bucket`) takes the goodput between losses for the rate and lets the bucket grow
without limit. Both fail where the bucket is small for the round trip: while the sender recovers, the bucket runs over,
and the goodput is well below the rate. Here the bucket has a size, and every loss shows that it is empty, so that
errors do not add up: with the right rate and size there are few tokens at the next loss and enough at each pass
between. What sets that apart from mere chance is the order: how likely there are fewer tokens at a loss than at a pass
(the area under the ROC curve), one half for losses that do not depend on the bucket.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tcpsight.network import _policing
from tcpsight.network.exchanges import Exchange, Numbers

FASTER = (1.06, 1.13, 1.2, 1.3, 1.45, 1.6, 1.8, 2.1, 2.5, 3.0, 4.0, 5.5, 8.0)
"""If the goodput between losses does not explain them, rates are tried that are so many times that."""
SIZES = 2.0 ** np.arange(2, 10.5, 0.5)
"""Sizes that are tried, in segments: from 6 KB to 1 MB."""
MOST_GROWTH = 1.5
LOSS_LIMIT = 3.0
PASS_LIMIT = -2.0
"""Segments: a loss may have so many tokens, a pass so few. A loss shows the fill to within one."""
TIMING_ROUND_TRIPS = 0.1
"""Where the bucket is, times differ from those here: so much of a round trip of tokens more is allowed."""
LEAST_ORDER = 0.7
MOST_OUTSIDE = 0.1
"""What a bucket must explain to be believed: set on simulated paths; losses by chance give an order of ½ ± 0.1."""


@dataclass(frozen=True)
class Fit:
    """A bucket and how well it explains.

    Attributes
    ----------
    rate, size : float
        By which it explains, in bit/s and bytes. How fast it really fills, `bucket_rate` tells.
    losses_outside, passes_outside : float
        Shares of losses with too many tokens, and of passes with too few.
    order : float
        Chance that a loss has fewer tokens than a pass: ½ if they do not depend on the bucket, 1 at best.
    """

    rate: float
    size: float
    losses_outside: float
    passes_outside: float
    order: float

    @property
    def merit(self) -> float:
        """What is to be highest."""
        return self.order - self.losses_outside - self.passes_outside

    @property
    def is_convincing(self) -> bool:
        """Whether losses depend on it."""
        return self.order >= LEAST_ORDER and max(self.losses_outside, self.passes_outside) <= MOST_OUTSIDE


def fit(x: Exchange, goodput: float, round_trip_s: float) -> Fit:
    """Find the bucket that explains best which segments were lost.

    Parameters
    ----------
    x : Exchange
        With losses.
    goodput : float
        Between the first and the last of them, in bit/s.
    round_trip_s : float
        Median round trip.
    """
    rows = x.rows[int(np.argmax(x.is_lost)) :].view(np.uint8)
    segment = max(1.0, float(np.median(x.payload)))

    # Where in a run of losses something passed is not known without SACK; nor, behind the loss, when they were sent.
    is_exact = float(x.has_sack and not x.is_lost_before)

    def explain(rate: float, size: float) -> Fit:
        slack = TIMING_ROUND_TRIPS * round_trip_s * rate / 8
        limits = LOSS_LIMIT * segment + slack, PASS_LIMIT * segment - slack
        return Fit(rate, size, *_policing.explain(rows, np.array([rate / 8e9, size, *limits, segment, is_exact])))

    near = rate_within_round_trips(x, round_trip_s)
    likely = [rate for rate in (goodput, near) if rate > 0]
    first = int(np.argmax(x.is_lost))

    def sizes(rate: float) -> list[float]:
        # What is full before the exchange holds no more later than it did then.
        most = max(float(segment * SIZES[0]), MOST_GROWTH * initial_tokens(x, first, rate))
        return [size for size in segment * SIZES if size <= most]

    tried = max((explain(rate, size) for rate in likely for size in sizes(rate)), key=lambda one: one.merit)
    if tried.is_convincing:
        return tried
    faster = [goodput * times for times in FASTER]
    return max((explain(rate, size) for rate in faster for size in sizes(rate)), key=lambda one: one.merit)


def rate_within_round_trips(x: Exchange, round_trip_s: float) -> float:
    """Give the goodput between losses that are less than a round trip apart, in bit/s: no bucket runs over there."""
    lost_at = np.flatnonzero(x.is_lost)
    passed = np.where(x.is_lost, 0, x.payload).cumsum()
    apart_s, between = np.diff(x.time_s[lost_at]), np.diff(passed[lost_at])
    is_near = apart_s <= round_trip_s
    seconds = float(apart_s[is_near].sum())
    return float(between[is_near].sum()) * 8 / seconds if seconds > 0 else 0.0


def initial_tokens(x: Exchange, first: int, rate: float) -> float:
    """Give the most tokens that the bucket must have held before the first loss, to pass what it passed, in bytes."""
    passed, seconds = _before(x, first)
    return float((passed - rate / 8 * seconds).max())


def initial_tokens_by_rate(x: Exchange, first: int, rates: Numbers) -> Numbers:
    """Give `initial_tokens` of each of several rates, which rise, in about the time that a few take, shape (m,).

    What is needed from each instant on falls by the rate along a line, the steeper the earlier the instant. So the
    higher the rate, the later the instant from which most is needed: that of the middle rate divides both the rates and
    the instants, and each half again.
    """
    passed, seconds = _before(x, first)
    if (np.diff(seconds) > 0).any():
        # The clock was set back a little.
        order = np.argsort(-seconds, kind="stable")
        passed, seconds = passed[order], seconds[order]
    most = np.empty(len(rates))
    left = [(0, len(rates), 0, first)]
    while left:
        low, high, begin, end = left.pop()
        if low < high:
            middle = (low + high) // 2
            need = passed[begin : end + 1] - rates[middle] / 8 * seconds[begin : end + 1]
            at = int(need.argmax())
            most[middle] = need[at]
            left += [(low, middle, begin, begin + at), (middle + 1, high, begin + at, end)]
    return most


def _before(x: Exchange, first: int) -> tuple[Numbers, Numbers]:
    """Give the bytes that passed from each up to the first loss, and the seconds up to it, shape (first + 1,)."""
    spent = x.payload[: first + 1].cumsum() - x.payload[: first + 1]
    return spent[first] - spent, x.time_s[first] - x.time_s[: first + 1]
