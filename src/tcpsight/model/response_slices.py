"""Response times in order of arrival, cut into slices of equally many requests: what tells how sure a quantile is.

Theory of operation
-------------------
All response times are counted in logarithmic cells, every power of two divided into 4096, and of each cell the mean
and the variance of what is in it are kept. A cell stands for a run of values about its mean, as wide as values of that
variance are that are spread evenly, and at least a tick of the clock: the longest power of ten, from a nanosecond to a
second, of which every arrival and every completion is a multiple. (Response times alone do not tell it: equal ones are
multiples of themselves.) So the distribution function rises evenly within a run, is level between runs,
and its inverse (`ResponseSlices.quantiles_ns`) is the nearest-rank quantile to within half a run: ties by a clock that
ticks slowly do not make it jump, and between two heaps of response times that are far apart it takes no value that
nobody measured. Both ends of a response time are rounded to the tick, so any of them, and so any quantile, may be up to
a tick shorter or longer than recorded (`ResponseSlices.known_within_ns`).

How many lie below a quantile is counted by slice (`ResponseSlices.influence`). That takes knowing about where it is
before, which the sums over the capture tell within a percent: of each quantile there are counts below a window around
it, and of the cells in the window.

What it cannot see: the order of requests within a slice, and ticks of a clock that are no power of ten (64 a second).
"""

from __future__ import annotations

from typing import Any

import numpy as np

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

PARTS = 64
"""Buckets of each power of two, for who wants few."""
BUCKETS = 64 * PARTS

FINE_PARTS = 4096
"""Cells of each power of two: a heap of response times in one is as good as exact."""
CELLS = 64 * FINE_PARTS

WINDOW = 0.02
"""By which share a quantile may lie beside where it was said to be: more than twice what is true."""

TICKS_NS = tuple(10**power for power in range(9, -1, -1))
"""Of clocks: the longest of which every instant is a multiple."""

MOST_SLICES = 256
LEAST_SLICES = 10
LEAST_IN_SLICE = 10
"""Fewer requests than this in a slice, and fewer such slices, tell no variation."""

LEAST_REQUESTS = LEAST_SLICES * LEAST_IN_SLICE


class ResponseSlices:
    """Count response times by slice.

    Parameters
    ----------
    requests : int
        How many will be fed.
    around_ns : sequence of int
        About where the quantiles are whose `influence` is wanted.
    """

    def __init__(self, requests: int, around_ns: Any = ()) -> None:
        self.requests = requests
        self.slices = min(max(requests // LEAST_IN_SLICE, 1), MOST_SLICES)
        around = np.maximum(np.asarray(around_ns, np.float64), 1)
        self._begins = _cells_of(np.maximum(around * (1 - WINDOW), 1), FINE_PARTS)
        widths = _cells_of(around * (1 + WINDOW), FINE_PARTS) + 1 - self._begins
        self._below = np.zeros((len(around), self.slices), np.int64)
        self._within = [np.zeros((self.slices, int(width)), np.int32) for width in widths]
        self._counts = np.zeros(CELLS, np.int64)
        # Of the distances from where their cells begin: sums, and sums of squares.
        self._sums, self._squares = np.zeros(CELLS), np.zeros(CELLS)
        self._ticks_ns: tuple[int, ...] = TICKS_NS
        self._fed = 0

    def feed(self, arrival_ns: Integers, completion_ns: Integers) -> None:
        """Take when the next requests began and ended, in order of arrival through all calls; shape (n,) each."""
        response_time_ns = completion_ns - arrival_ns
        if len(response_time_ns) == 0:
            return
        rank = self._fed + np.arange(len(response_time_ns))
        self._fed += len(rank)
        in_slice = np.minimum(rank * self.slices // max(self.requests, 1), self.slices - 1)
        self._know_clock(arrival_ns)
        self._know_clock(completion_ns)
        values = response_time_ns.astype(np.float64)
        cells = _cells_of(np.maximum(values, 1), FINE_PARTS)
        self._add(cells, values - _begins_ns(cells))
        for number, begin in enumerate(self._begins.tolist()):
            self._below[number] += np.bincount(in_slice[cells < begin], minlength=self.slices)
            shape = self._within[number].shape
            held = (cells >= begin) & (cells < begin + shape[1])
            places = in_slice[held] * shape[1] + cells[held] - begin
            self._within[number] += np.bincount(places, minlength=shape[0] * shape[1]).reshape(shape).astype(np.int32)

    def _know_clock(self, instants_ns: Integers) -> None:
        """Leave out ticks that instants are no multiples of; each is a multiple of those after it."""
        while len(self._ticks_ns) > 1 and (instants_ns % self._ticks_ns[0]).any():
            self._ticks_ns = self._ticks_ns[1:]

    def _add(self, cells: Integers, distances_ns: Floats) -> None:
        held, which = np.unique(cells, return_inverse=True)
        self._counts[held] += np.bincount(which)
        self._sums[held] += np.bincount(which, distances_ns)
        self._squares[held] += np.bincount(which, distances_ns**2)

    @property
    def tick_ns(self) -> int:
        """What the clock seems to count in."""
        return self._ticks_ns[0]

    def quantiles_ns(self, p: Floats) -> Floats:
        """Give quantiles; NaN where there is no request.

        Parameters
        ----------
        p : ndarray of float64, shape (quantiles,)
            Which, 0 to 1.

        Returns
        -------
        ndarray of float64, shape (quantiles,)
            At least half a tick of the clock: a logarithm is taken.
        """
        if not self._fed:
            return np.full(len(p), np.nan)
        held, at, share = self._ranked(p)
        low, high = self._runs_ns(held[at])
        return np.maximum(low + share * (high - low), self.tick_ns / 2)

    def known_within_ns(self, p: Floats) -> tuple[Floats, Floats]:
        """Tell between what a quantile of the true times lies: (lowest, highest), 0 and more.

        Who is recorded to have taken n ticks took more than n − 1 and less than n + 1.
        """
        held, at, _ = self._ranked(p)
        low, high = self._runs_ns(held[at])
        return np.maximum(low - self.tick_ns / 2, 0), high + self.tick_ns / 2

    def _runs_ns(self, cells: Integers) -> tuple[Floats, Floats]:
        """Give between what values of cells are spread: (from, to)."""
        count = self._counts[cells]
        distance = self._sums[cells] / count
        variance = np.maximum(self._squares[cells] / count - distance**2, 0)
        # What is spread evenly over a width w has the variance w² / 12.
        half = np.maximum(np.sqrt(12 * variance), self.tick_ns) / 2
        middle = _begins_ns(cells) + distance
        return middle - half, middle + half

    def influence(self, number: int, p: float) -> Floats:
        """Give how many requests of each slice lie below a quantile, too many or too few.

        Parameters
        ----------
        number : int
            Which of those that were announced.
        p : float
            Which it is, 0 to 1.

        Returns
        -------
        ndarray of float64, shape (slices,)
            Their sum is 0.
        """
        held, at, share = self._ranked(np.array([p]))
        within = self._within[number]
        place = int(np.clip(held[at[0]] - self._begins[number], 0, within.shape[1] - 1))
        below = self._below[number] + within[:, :place].sum(axis=1) + share[0] * within[:, place]
        found: Floats = below - below.sum() * self._sizes() / self.requests
        return found

    def _ranked(self, p: Floats) -> tuple[Integers, Integers, Floats]:
        """Give the cells that hold something; in which of them each quantile is, and how far through it."""
        held = np.flatnonzero(self._counts)
        ends = np.cumsum(self._counts[held])
        wanted = np.clip(p, 0, 1) * ends[-1]
        # A hair less, so that a whole rank is the last of a cell and not the first of the next.
        at = np.minimum(np.searchsorted(ends, wanted * (1 - 1e-12)), len(held) - 1)
        count = self._counts[held][at]
        share: Floats = np.clip((wanted - (ends[at] - count)) / count, 0, 1)
        return held, at, share

    def _sizes(self) -> Integers:
        """Give how many requests there are in each slice."""
        edges = -(-np.arange(self.slices + 1) * self.requests // self.slices)
        return np.diff(edges)


def _cells_of(values: Floats, parts: int) -> Integers:
    """Tell the cell of each value, all 1 or more, shape (n,)."""
    mantissa, exponent = np.frexp(values)
    found: Integers = (exponent - 1).astype(np.int64) * parts + ((mantissa - 0.5) * 2 * parts).astype(np.int64)
    return np.minimum(found, 64 * parts - 1)


def _begins_ns(cells: Integers) -> Floats:
    """Tell where cells begin."""
    found: Floats = np.ldexp(1 + cells % FINE_PARTS / FINE_PARTS, (cells // FINE_PARTS).astype(np.int32))
    return found


def buckets_of(values: Floats) -> Integers:
    """Tell the bucket of each value, all 1 or more, shape (n,)."""
    return _cells_of(values, PARTS)
