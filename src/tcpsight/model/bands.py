"""Response times that come back: requests that again and again take the same long time.

Theory of operation
-------------------
In a plot of response times they are a horizontal band. What waits for a timer (a delayed acknowledgment, a lock wait
timeout, a poll, a retry) takes as long each time, while what works or queues varies. Response times are counted in 32
bins per doubling. A band is a run of at most `MOST_BINS` bins, at four median response times or more, each of which
has `LEAST_RATIO` times as many requests as the bins on its fuller side, more than chance lets happen once in a
million bins (Chernoff's bound of the Poisson distribution), in five stretches of 256 requests or more: what was
released together once takes the same time, too, and is a stall.

What it cannot see: which timer. Bands wider than 14 %; below four medians; timers on top of varying work.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tcpsight.model.ordering import distinct
from tcpsight.tables import Requests

BINS_PER_DOUBLING = 32
BIN_COUNT = 63 * BINS_PER_DOUBLING
MOST_BINS = 6
"""0.2 of a doubling: 14 %."""

FIRST_BIN = 2 * BINS_PER_DOUBLING
"""Above the median's: four times as long."""

NEAR, FAR = 4, 16
"""Which bins, on either side, are the background."""

LEAST_RATIO = 8.0
LEAST_BACKGROUND = 0.5
STRETCH = 256
LEAST_STRETCHES = 5
ALARM = -float(np.log(1e-6))

Counts = np.ndarray[Any, np.dtype[np.int64]]


class Band(NamedTuple):
    """Requests that take the same time.

    Attributes
    ----------
    low_ns, high_ns : int
        Their response times.
    requests : int
        How many.
    expected : float
        How many there would be if it were as next to it.
    stretches : int
        In how many stretches of 256 requests some were.
    surprise : float
        −log of the chance.
    connection_id : int
        Of the first of them.
    first_ns, last_ns : int
        When the first arrived, and the last.
    """

    low_ns: int
    high_ns: int
    requests: int
    expected: float
    stretches: int
    surprise: float
    connection_id: int
    first_ns: int
    last_ns: int


class BandSearch:
    """Count the response times of one service, then give the bands.

    Feed requests in order of arrival. How they are cut never changes what is found.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(BIN_COUNT, np.int64)
        self._stretches = np.zeros(BIN_COUNT, np.int64)
        self._is_seen = np.zeros(BIN_COUNT, np.bool_)
        self._last_stretch = -1
        self._examples = np.full(BIN_COUNT, -1, np.int64)
        self._first_ns = np.zeros(BIN_COUNT, np.int64)
        self._last_ns = np.zeros(BIN_COUNT, np.int64)
        self._taken = 0

    def add(self, requests: Requests) -> None:
        """Take answered requests."""
        bins = _bins(requests.response_time_ns)
        if not len(bins):
            return
        self._count_stretches(bins)
        self._taken += len(bins)
        # Of several assignments to a place the last counts: the first row of each bin, then its last.
        first = np.zeros(BIN_COUNT, np.int64)
        first[bins[::-1]] = np.arange(len(bins))[::-1]
        counts = np.bincount(bins, minlength=BIN_COUNT)
        is_new = (counts > 0) & (self._counts == 0)
        self._examples[is_new] = requests.connection_id[first[is_new]]
        self._first_ns[is_new] = requests.arrival_ns[first[is_new]]
        self._last_ns[bins] = requests.arrival_ns
        self._counts += counts

    def _count_stretches(self, bins: Counts) -> None:
        """Count, for each bin, in how many stretches it was; one may have begun with the rows before."""
        stretches = (self._taken + np.arange(len(bins))) // STRETCH
        pairs = distinct(stretches * BIN_COUNT + bins)
        stretch, which = pairs // BIN_COUNT, pairs % BIN_COUNT
        is_counted = (stretch == self._last_stretch) & self._is_seen[which]
        self._stretches += np.bincount(which[~is_counted], minlength=BIN_COUNT)
        if stretch[-1] != self._last_stretch:
            self._is_seen[:] = False
            self._last_stretch = int(stretch[-1])
        self._is_seen[which[stretch == self._last_stretch]] = True

    def found(self) -> list[Band]:
        """Give the bands, shortest first."""
        if not self._taken:
            return []
        median = int(np.searchsorted(np.cumsum(self._counts), (self._taken + 1) // 2))
        background = np.maximum(_background(self._counts), LEAST_BACKGROUND)
        counts = np.maximum(self._counts, 1).astype(np.float64)
        surprise = counts * np.log(counts / background) - (counts - background)
        is_high = (
            (surprise >= ALARM) & (counts >= LEAST_RATIO * background) & (np.arange(BIN_COUNT) >= median + FIRST_BIN)
        )
        high = np.flatnonzero(is_high)
        runs = np.split(high, np.flatnonzero(np.diff(high) > 1) + 1)
        return [self._band(run, background, surprise) for run in runs if self._is_band(run)]

    def _is_band(self, run: Counts) -> bool:
        return 0 < len(run) <= MOST_BINS and int(self._stretches[run].max()) >= LEAST_STRETCHES

    def _band(self, run: Counts, background: Any, surprise: Any) -> Band:
        most = run[np.argmax(self._counts[run])]
        return Band(
            _bound(int(run[0])),
            _bound(int(run[-1]) + 1),
            int(self._counts[run].sum()),
            float(background[run].sum()),
            int(self._stretches[run].max()),
            float(surprise[run].max()),
            int(self._examples[most]),
            int(self._first_ns[run].min()),
            int(self._last_ns[run].max()),
        )


def _bins(times_ns: Any) -> Counts:
    logs = np.log2(np.maximum(times_ns, 1).astype(np.float64))
    bins: Counts = np.minimum((BINS_PER_DOUBLING * logs).astype(np.int64), BIN_COUNT - 1)
    return bins


def _bound(number: int) -> int:
    return round(2 ** (number / BINS_PER_DOUBLING))


def _background(counts: Counts) -> Any:
    """Give the mean count of the bins on the fuller side of each, without those next to it."""
    sums = np.concatenate([np.zeros(FAR + 1), np.cumsum(counts), np.full(FAR, counts.sum())])
    at = np.arange(len(counts)) + FAR
    left = sums[at - NEAR + 1] - sums[at - FAR]
    right = sums[at + FAR + 1] - sums[at + NEAR]
    return np.maximum(left, right) / (FAR - NEAR + 1)
