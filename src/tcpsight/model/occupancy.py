"""How long a service held each number of requests, slice by slice.

Theory of operation
-------------------
The mean number of residents of a slice hides what a curve through such means suffers from: a slice with one resident
half of the time and nine the other half has the mean five, but not the throughput of five. So each slice keeps how long
each number of residents lasted; what a law says of the slice is then its mean over these levels, weighted by time.

Arrivals and completions are swept in order of time. Between two of them the number of residents does not change;
such a stretch is cut at the edges of slices and added to its (slice, level). Stretches without residents are not kept,
so that memory follows the slices in which something happened.

What it cannot see: requests that arrived before the capture, or that are never answered: both are missing in every
level until they end. Whoever fits leaves out the edges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.errors import TcpsightError
from tcpsight.model.ordering import stable_order

Integers = np.ndarray[Any, np.dtype[np.int64]]

MOST_SLICES = 100_000
"""More slices with residents than this are refused: longer ones tell a curve as much."""

MOST_PENDING = 1 << 17
"""Sums that wait to be added to those before, which costs as much as there are of these."""

DENSE = 4
"""Where keys are no more than so many times as many as columns, each has a place of its own."""


class TooManySlicesError(TcpsightError):
    """The slices are too short for the capture."""


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What happened in the slices in which requests were resident, or arrived or completed.

    Attributes
    ----------
    interval_ns : int
        Length of a slice.
    start_ns : ndarray of int64, shape (slices,)
        Where each begins.
    arrivals, completions : ndarray of int64, shape (slices,)
        How many.
    response_time_sum_ns : ndarray of int64, shape (slices,)
        Of the requests that arrived in it.
    cell_slice, cell_level, cell_ns : ndarray of int64, shape (cells,)
        How long a slice (an index into the others) had a number of residents, 1 or more.
    """

    interval_ns: int
    start_ns: Integers
    arrivals: Integers
    completions: Integers
    response_time_sum_ns: Integers
    cell_slice: Integers
    cell_level: Integers
    cell_ns: Integers

    @property
    def weighted_ns(self) -> Integers:
        """Residence inside each slice, summed over requests."""
        sums: Integers = np.zeros(len(self.start_ns), np.int64)
        np.add.at(sums, self.cell_slice, self.cell_ns * self.cell_level)
        return sums


class OccupancySweep:
    """Sweep requests in order of arrival; then give the occupancy of every slice.

    Parameters
    ----------
    interval_ns : int
        Length of a slice; slices are aligned to the epoch.
    first_ns, last_ns : int
        Residence outside of this span does not count.
    """

    def __init__(self, interval_ns: int, first_ns: int, last_ns: int) -> None:
        self._interval_ns = interval_ns
        self._first_ns = first_ns
        self._last_ns = last_ns
        self._now_ns = first_ns
        self._residents = 0
        self._pending: Integers = np.zeros(0, np.int64)  # completions after now, in order
        self._cells = _Sums(keys=2, rows=3)  # slice, level, ns
        self._counts = _Sums(keys=1, rows=4)  # slice, arrivals, completions, sum of response times

    def feed(self, arrival_ns: Integers, completion_ns: Integers) -> None:
        """Take the next requests, in order of arrival through all calls; those that complete before the span, too."""
        if len(arrival_ns) == 0:
            return
        inside = (arrival_ns >= self._first_ns) & (arrival_ns <= self._last_ns)
        own = arrival_ns[inside]
        if len(own):
            self._count(own, 1, completion_ns[inside] - own)
        done = completion_ns[(completion_ns >= self._first_ns) & (completion_ns <= self._last_ns)]
        if len(done):
            self._count(done, 2)
        is_resident = (completion_ns > self._first_ns) & (arrival_ns < self._last_ns) & (completion_ns > arrival_ns)
        arrivals = np.maximum(arrival_ns[is_resident], self._first_ns)
        completions = np.minimum(completion_ns[is_resident], self._last_ns)
        self._pending = np.sort(np.concatenate([self._pending, completions]))
        if len(arrivals):
            self._sweep_to(int(arrivals[-1]), arrivals)

    def finish(self) -> Occupancy:
        """End the span; give all slices."""
        self._sweep_to(self._last_ns, np.zeros(0, np.int64))
        cells, counts = self._cells.summed(), self._counts.summed()
        slices = np.unique(np.concatenate([cells[0], counts[0]]))
        _refuse_too_many(len(slices), self._interval_ns)
        sums: Integers = np.zeros((3, len(slices)), np.int64)
        sums[:, np.searchsorted(slices, counts[0])] = counts[1:]
        cell_slice = np.searchsorted(slices, cells[0])
        starts = slices * self._interval_ns
        return Occupancy(self._interval_ns, starts, sums[0], sums[1], sums[2], cell_slice, cells[1], cells[2])

    def _count(self, at_ns: Integers, row: int, response_time_ns: Integers | None = None) -> None:
        counts = np.zeros((4, len(at_ns)), np.int64)
        counts[0] = at_ns // self._interval_ns
        counts[row] = 1
        if response_time_ns is not None:
            counts[3] = response_time_ns
        self._counts.add(counts)

    def _sweep_to(self, until_ns: int, arrivals: Integers) -> None:
        """Add up the stretches from now to `until_ns`."""
        passed = int(np.searchsorted(self._pending, until_ns, side="right"))
        leaving, self._pending = self._pending[:passed], self._pending[passed:]
        times = np.concatenate([[self._now_ns], leaving, arrivals, [until_ns]])
        changes = np.concatenate([[self._residents], np.full(passed, -1), np.ones(len(arrivals), np.int64), [0]])
        order = np.argsort(times, kind="stable")
        times, levels = times[order], np.cumsum(changes[order])
        self._now_ns, self._residents = until_ns, int(levels[-1])
        begin, end, level = times[:-1], times[1:], levels[:-1]
        counts = (end > begin) & (level > 0)
        self._add(begin[counts], end[counts], level[counts])

    def _add(self, begin: Integers, end: Integers, level: Integers) -> None:
        """Cut stretches at the edges of slices, and add them to their cells."""
        interval = self._interval_ns
        first, last = begin // interval, (end - 1) // interval
        pieces = last - first + 1
        _refuse_too_many(int(pieces.sum()) - len(pieces), interval)
        stretch = np.repeat(np.arange(len(begin)), pieces)
        number = np.arange(len(stretch)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        slices = first[stretch] + number
        ns = np.minimum(end[stretch], (slices + 1) * interval) - np.maximum(begin[stretch], slices * interval)
        self._cells.add(np.stack([slices, level[stretch], ns]))


class _Sums:
    """Columns of numbers, added up where their keys are equal, which are their first rows; memory follows the keys."""

    def __init__(self, keys: int, rows: int) -> None:
        self._keys = keys
        self._summed: Integers = np.zeros((rows, 0), np.int64)
        self._parts: list[Integers] = []
        self._pending = 0

    def add(self, columns: Integers) -> None:
        """Take more."""
        self._parts.append(_summed(columns, self._keys))
        self._pending += self._parts[-1].shape[1]
        if self._pending > MOST_PENDING + self._summed.shape[1]:
            self.summed()

    def summed(self) -> Integers:
        """Give the sums, in order of the keys."""
        self._summed = _summed(np.concatenate([self._summed, *self._parts], axis=1), self._keys)
        self._parts, self._pending = [], 0
        return self._summed


def _summed(joined: Integers, keys: int) -> Integers:
    """Add up columns whose first rows are equal; in the order of these."""
    count = joined.shape[1]
    if count == 0:
        return joined
    first, second = (int(row.min()) for row in joined[[0, keys - 1]])
    width = int(joined[1].max()) - second + 1 if keys == 2 else 1
    if (int(joined[0].max()) - first + 1) * width <= DENSE * count:
        places = joined[0] - first if keys == 1 else (joined[0] - first) * width + (joined[1] - second)
        return _placed(places, joined[keys:], lambda at: [first + at // width, second + at % width][:keys])
    joined = joined[:, stable_order(joined[0]) if keys == 1 else np.lexsort(joined[:keys][::-1])]
    is_first = np.concatenate([[True], (joined[:keys, 1:] != joined[:keys, :-1]).any(axis=0)])
    firsts = np.flatnonzero(is_first)
    return np.concatenate([joined[:keys, firsts], np.add.reduceat(joined[keys:], firsts, axis=1)])


def _placed(places: Integers, values: Integers, keys_of: Callable[[Integers], list[Integers]]) -> Integers:
    """Add up columns at places that lie close together: without sorting, which takes several times as long."""
    occupied = np.flatnonzero(np.bincount(places))
    sums = np.zeros((len(values), int(places.max()) + 1), np.int64)
    for row, own in zip(sums, values, strict=True):
        np.add.at(row, places, own)
    return np.concatenate([np.stack(keys_of(occupied)), sums[:, occupied]])


def _refuse_too_many(slices: int, interval_ns: int) -> None:
    if slices > MOST_SLICES:
        raise TooManySlicesError(
            f"slices of {interval_ns:,} ns are too short here: more than {MOST_SLICES:,} of them hold requests"
        )
