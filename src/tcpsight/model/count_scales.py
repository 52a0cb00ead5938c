"""Arrivals, completions and residents of a service by slices of time, at all scales at once.

Theory of operation
-------------------
Slices begin at the first arrival, a microsecond long at first. When the requests reach beyond `SLICES` of them, slices
are joined two by two, so that there are always between half as many and so many, however long the capture. All that is
kept of a slice is a sum: arrivals, completions, and how long after its beginning they came, from which the time that
residents spent in it follows. Sums are integers, so how requests are cut never changes them. Longer scales are slices
added up, each twice as long as the one before.

What it cannot see: requests that were never answered. What happens within a slice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tcpsight.tables import Requests

SLICES = 1 << 14
"""Slices at most; half a megabyte for each service."""

FIRST_NS = 1_000

LEAST_WINDOWS = 32
"""A variance of fewer windows is off by a quarter and more."""

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

_ARRIVALS, _COMPLETIONS, _ARRIVED_AFTER, _COMPLETED_AFTER = range(4)


class Scale(NamedTuple):
    """One scale: slices of one length, none cut short, shape (slices,).

    Attributes
    ----------
    length_ns : int
        How long each is.
    arrivals, completions : ndarray
        How many in each.
    concurrency : ndarray
        Requests resident, on average over the slice.
    """

    length_ns: int
    arrivals: Integers
    completions: Integers
    concurrency: Floats


class Dispersion(NamedTuple):
    """Index of dispersion for counts at one scale, variance by mean; None where nothing came.

    Attributes
    ----------
    length_ns : int
        How long windows are.
    windows : int
        How many there are.
    arrivals, completions : float or None
        Of how many arrived in each, and of how many were answered.
    """

    length_ns: int
    windows: int
    arrivals: float | None
    completions: float | None


_EXACT = 2**53
"""Below it sums of whole numbers are exact as floats, too, of which NumPy adds up many by places many times as fast."""


class CountScales:
    """Count the requests of one service by slices.

    Feed answered requests in order of arrival. How they are cut never changes the result.

    Attributes
    ----------
    origin_ns : int
        The first arrival.
    length_ns : int
        How long slices are, the shortest.
    """

    def __init__(self) -> None:
        self.origin_ns = 0
        self.length_ns = FIRST_NS
        self._sums: Integers | None = None
        self._last = 0

    def add(self, requests: Requests) -> None:
        """Take answered requests."""
        if not len(requests):
            return
        if self._sums is None:
            self._sums = np.zeros((4, SLICES), np.int64)
            self.origin_ns = int(requests.arrival_ns[0])
        # Unsigned differences hold whatever instants do.
        origin = np.int64(self.origin_ns).view(np.uint64)
        ends = np.maximum(requests.completion_ns, requests.arrival_ns)
        offsets = [np.ascontiguousarray(each).view(np.uint64) - origin for each in (requests.arrival_ns, ends)]
        self._last = max(self._last, int(offsets[1].max()))
        while self._last // self.length_ns >= SLICES:
            self._join()
        for row, after in enumerate(offsets):
            slices = (after // np.uint64(self.length_ns)).astype(np.int64)
            self._sums[row] += np.bincount(slices, minlength=SLICES)
            rests = after - slices.astype(np.uint64) * np.uint64(self.length_ns)
            if len(rests) * self.length_ns < _EXACT:
                self._sums[row + 2] += np.bincount(slices, rests, SLICES).astype(np.int64)
            else:
                np.add.at(self._sums[row + 2], slices, rests.astype(np.int64))

    def _join(self) -> None:
        sums = self._sums
        assert sums is not None
        # What the second of two slices has came after the first, too.
        sums[2:, 1::2] += sums[:2, 1::2] * self.length_ns
        sums[:, : SLICES // 2] = sums[:, ::2] + sums[:, 1::2]
        sums[:, SLICES // 2 :] = 0
        self.length_ns *= 2

    def scales(self) -> list[Scale]:
        """Give the scales that have `LEAST_WINDOWS` slices or more, the shortest first."""
        if self._sums is None:
            return []
        whole = self._last // self.length_ns
        arrivals, completions, arrived_after, completed_after = self._sums[:, :whole]
        before = np.cumsum(arrivals - completions) - (arrivals - completions)
        resident = (before + arrivals - completions) * self.length_ns - arrived_after + completed_after
        columns = np.stack([arrivals, completions, resident]).astype(np.float64)
        found, length_ns = [], self.length_ns
        while columns.shape[1] >= LEAST_WINDOWS:
            came, left = columns[:2].astype(np.int64)
            found.append(Scale(length_ns, came, left, np.maximum(columns[2], 0.0) / length_ns))
            columns = columns[:, : columns.shape[1] // 2 * 2]
            columns = columns[:, ::2] + columns[:, 1::2]
            length_ns *= 2
        return found

    def dispersions(self) -> list[Dispersion]:
        """Give the index of dispersion for counts at each scale, the shortest first.

        Notes
        -----
        Cox and Lewis, *The Statistical Analysis of Series of Events*, 1966; Gusella, IEEE JSAC 9(2), 1991.
        """
        return [
            Dispersion(each.length_ns, len(each.arrivals), _index(each.arrivals), _index(each.completions))
            for each in self.scales()
        ]


def _index(counts: Integers) -> float | None:
    mean = float(counts.mean())
    return float(counts.var(ddof=1)) / mean if mean > 0 else None
