"""How many requests took how long, slice by slice, and which were the slowest of each: what plots are drawn from.

Theory of operation
-------------------
A plot of ten million requests shows no more than it has points on the screen. So requests are counted in cells of time
and response time: slices of one length, and buckets that divide every power of two into `PER_OCTAVE`. A bucket is 9 %
wide, less than anybody tells apart on a logarithmic axis. The requests that a plot is looked at for are few, so of each
slice the slowest are kept as they are (`SlowestRequests`): an outlier is always a point of its own, however many others
there are.

What it cannot see: when within a slice a request came, and how long within a bucket it took, unless it is among those
that are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.model import _density
from tcpsight.model.ordering import stable_order
from tcpsight.tables import Requests, rows_at

Integers = np.ndarray[Any, np.dtype[np.int64]]

PER_OCTAVE = 8
"""Buckets of response time between a number and its double."""

_OCTAVES = 63
BUCKET_EDGES_NS: Integers = np.array(
    [0, *(int(np.ceil(2.0 ** (i / PER_OCTAVE))) for i in range(_OCTAVES * PER_OCTAVE))], np.int64
)
"""Where buckets begin, shape (505,): bucket i holds [edge i, edge i + 1); among the first some are empty."""

_POOL_ROWS = 200_000

_TIME_BITS = 45
"""Response times of up to nine hours."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Slices of one length over a span, aligned to the epoch, as those of intervals are.

    Attributes
    ----------
    interval_ns : int
        Length of a slice.
    first_ns, last_ns : int
        The span.
    """

    interval_ns: int
    first_ns: int
    last_ns: int

    @property
    def origin_ns(self) -> int:
        """Where the first slice would begin, were it whole."""
        return self.first_ns // self.interval_ns * self.interval_ns

    @property
    def slices(self) -> int:
        """How many; what happens at the very end belongs to the last."""
        return max(self.last_ns - 1 - self.origin_ns, 0) // self.interval_ns + 1

    def places(self, instants_ns: Integers) -> Integers:
        """Give the slice of each instant, −1 outside of the span, shape (n,)."""
        grid = [self.origin_ns, self.interval_ns, self.slices, self.first_ns, self.last_ns]
        places = np.empty(len(instants_ns), np.int64)
        _density.places_of(instants_ns, np.array(grid, np.int64), places)
        return places


@dataclass(frozen=True, slots=True)
class Cells:
    """Which cells hold requests, by time and then by response time.

    Attributes
    ----------
    slice, bucket, count : ndarray of int64, shape (cells,)
        Index of the slice, index into `BUCKET_EDGES_NS`, how many requests.
    """

    slice: Integers
    bucket: Integers
    count: Integers


def buckets_of(response_times_ns: Integers) -> Integers:
    """Give the bucket of each response time, an index into `BUCKET_EDGES_NS`; −1 of unknown ones, shape (n,)."""
    buckets = np.empty(len(response_times_ns), np.int64)
    _density.buckets_of(response_times_ns, BUCKET_EDGES_NS, buckets)
    return buckets


class ResponseTimeDensity:
    """Count requests by slice and by bucket of response time, for several services at once.

    Parameters
    ----------
    grid : Grid
        The slices.
    series : int
        How many services.

    Attributes
    ----------
    outside : int
        How many requests lay outside of the span.
    """

    def __init__(self, grid: Grid, series: int) -> None:
        self.outside = 0
        self._grid = grid
        self._counts = np.zeros((series, grid.slices, len(BUCKET_EDGES_NS)), np.int32)

    def feed(self, series: Integers, instants_ns: Integers, buckets: Integers) -> None:
        """Count requests, in any order.

        Parameters
        ----------
        series : ndarray of int, shape (n,)
            The service of each; negative: none of them, left out.
        instants_ns : ndarray of int64, shape (n,)
            When it is counted: its arrival, or its completion.
        buckets : ndarray of int, shape (n,)
            Which bucket its response time lies in, as `buckets_of` gives them; −1: unknown, left out.
        """
        self.outside += _density.count(series, self._grid.places(instants_ns), buckets, self._counts)

    def cells(self, series: int) -> Cells:
        """Give the cells of one service that hold something."""
        places, buckets = np.nonzero(self._counts[series])
        return Cells(places, buckets, self._counts[series][places, buckets].astype(np.int64))


class SlowestRequests:
    """Keep the slowest requests of each slice, for several services at once.

    Parameters
    ----------
    grid : Grid
        The slices.
    most : int
        How many of each slice and service are kept; of equal ones the first.
    """

    def __init__(self, grid: Grid, most: int) -> None:
        self._grid = grid
        self._most = most
        self._rows: list[np.ndarray[Any, Any]] = []
        self._keys: list[Integers] = []
        self._times: list[Integers] = []
        self._pooled = 0

    def feed(self, series: Integers, instants_ns: Integers, times_ns: Integers, requests: Requests) -> None:
        """Take requests, in any order: the service, instant and time of each, and its row, which is copied.

        Parameters
        ----------
        series, instants_ns, times_ns : ndarray of int, shape (n,)
            As of `ResponseTimeDensity.feed`.
        requests : Requests
            The rows.
        """
        places = self._grid.places(instants_ns)
        wanted = np.flatnonzero((places >= 0) & (series >= 0))
        keys = series[wanted].astype(np.int64) * self._grid.slices + places[wanted]
        chosen, _ = _ranked(keys, times_ns[wanted], self._most)
        self._rows.append(rows_at(requests.rows, wanted[chosen]))
        self._keys.append(keys[chosen])
        self._times.append(np.ascontiguousarray(times_ns[wanted[chosen]]))
        self._pooled += len(chosen)
        if self._pooled > _POOL_ROWS:
            self._settle()
            # What is kept anyway must not be looked at with every block.
            self._pooled = 0

    def best(self, budget: int) -> tuple[Integers, Requests]:
        """Give the service and row of at most so many requests.

        A quarter are the slowest of each service, which often end together; then the slowest of every slice, the
        second, ….

        Parameters
        ----------
        budget : int
            How many.

        Returns
        -------
        tuple of ndarray, Requests
            In order of service, slice and falling time.
        """
        ranks = self._settle()
        order, overall = _ranked(self._keys[0] // self._grid.slices, self._times[0], len(ranks))
        ranks[order[np.argsort(overall, kind="stable")[: budget // 4]]] = -1
        chosen = np.sort(np.argsort(ranks, kind="stable")[:budget])
        return self._keys[0][chosen] // self._grid.slices, Requests(self._rows[0][chosen])

    def _settle(self) -> Integers:
        """Forget what is not among the slowest; give the rank of each that is left in its slice."""
        rows = np.concatenate(self._rows) if self._rows else np.zeros(0, Requests.dtype)
        empty: Integers = np.zeros(0, np.int64)
        keys, times = np.concatenate([*self._keys, empty]), np.concatenate([*self._times, empty])
        chosen, ranks = _ranked(keys, times, self._most)
        self._rows, self._keys, self._times = [rows[chosen]], [keys[chosen]], [times[chosen]]
        return ranks


def _ranked(keys: Integers, times: Integers, most: int) -> tuple[Integers, Integers]:
    """Choose the largest of each key; give them in order of key and falling time, and their ranks."""
    order = _by_key_and_falling_time(keys, times)
    keys = keys[order]
    is_first = np.ones(len(keys), np.bool_)
    is_first[1:] = keys[1:] != keys[:-1]
    firsts = np.flatnonzero(is_first)
    ranks = np.arange(len(keys)) - np.repeat(firsts, np.diff(np.append(firsts, len(keys))))
    kept = ranks < most
    return order[kept], ranks[kept]


def _by_key_and_falling_time(keys: Integers, times: Integers) -> Integers:
    """Give the order of rows; of equal ones as they are."""
    most = int(times.max(initial=0))
    if most >> _TIME_BITS or times.min(initial=0) < 0 or int(keys.max(initial=0)) >> (62 - _TIME_BITS):
        return np.lexsort((-times, keys))
    # Both as one number.
    return stable_order((keys << _TIME_BITS) + (most - times))
