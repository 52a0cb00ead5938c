"""How many requests took how long, by slices of time that lengthen as the time to be drawn does.

Theory of operation
-------------------
Who draws a picture while rows stream by knows neither when they will end nor how many come. So requests are counted in
slices of time, at first a microsecond long, that are joined two by two whenever there are more than `MOST_SLICES`
between the first and the last; and, over all time, in buckets that divide a power of two into 64. As long as there are
few requests they are kept as they are, too. No request is left out of either, however slow.

What it cannot see: within a slice and a bucket, when requests were and how long they took, once there are many.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tcpsight.model.density import BUCKET_EDGES_NS
from tcpsight.model.distribution import Distribution
from tcpsight.model.response_slices import BUCKETS, PARTS, buckets_of

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

MOST_SLICES = 800
FEW = 20_000
"""So many are kept one by one: more points on paper hide each other."""
SHORTEST_NS = 1_000


class GrowingDensity:
    """Count requests by time and by response time, and by response time alone.

    Attributes
    ----------
    total : int
        How many requests.
    interval_ns : int
        How long a slice is by now.
    by_time : ndarray of int64, shape (BUCKETS,)
        Requests by response time over all slices; bucket 0 holds what took no time, too.
    """

    def __init__(self) -> None:
        self.total = 0
        self.interval_ns = SHORTEST_NS
        self.by_time: Integers = np.zeros(BUCKETS, np.int64)
        self._slices: dict[int, Integers] = {}
        self._kept: list[Integers] = []
        self._span = (0, 0)
        self._times = Distribution()

    def feed(self, instants_ns: Integers, response_times_ns: Integers) -> None:
        """Take requests, in any order: when each is counted, and how long it took; unknown ones (−1) are left out."""
        is_known = response_times_ns >= 0
        instants_ns, times_ns = instants_ns[is_known], response_times_ns[is_known]
        if len(times_ns) == 0:
            return
        self.total += len(times_ns)
        self._times.add(times_ns)
        self.by_time += np.bincount(buckets_of(np.maximum(times_ns, 1).astype(np.float64)), minlength=BUCKETS)
        self._kept = [*self._kept, np.stack([instants_ns, times_ns])] if self.total <= FEW else []
        first_ns, last_ns = int(instants_ns.min()), int(instants_ns.max())
        self._span = (
            (min(self._span[0], first_ns), max(self._span[1], last_ns)) if self._slices else (first_ns, last_ns)
        )
        while self._span[1] // self.interval_ns - self._span[0] // self.interval_ns >= MOST_SLICES:
            self._double()
        buckets = np.searchsorted(BUCKET_EDGES_NS, times_ns, side="right") - 1
        places = instants_ns // self.interval_ns
        for place in np.unique(places).tolist():
            counts = np.bincount(buckets[places == place], minlength=len(BUCKET_EDGES_NS))
            self._slices[place] = self._slices[place] + counts if place in self._slices else counts

    def points(self) -> tuple[Integers, Integers] | None:
        """Give instants and response times of all requests, shape (n,) each; None where there are too many."""
        if self.total > FEW:
            return None
        joined = np.concatenate([np.zeros((2, 0), np.int64), *self._kept], axis=1)
        return joined[0], joined[1]

    def cells(self) -> tuple[int, Integers]:
        """Give where the first slice begins, and counts, shape (slices, buckets of `BUCKET_EDGES_NS`)."""
        if not self._slices:
            return 0, np.zeros((0, len(BUCKET_EDGES_NS)), np.int64)
        first = min(self._slices)
        counts = np.zeros((max(self._slices) - first + 1, len(BUCKET_EDGES_NS)), np.int64)
        for place, row in self._slices.items():
            counts[place - first] = row
        return first * self.interval_ns, counts

    def distribution(self) -> tuple[Floats, Floats]:
        """Give response times, ascending, and the share of requests that took no longer, within 2 % of the time."""
        held = np.flatnonzero(self.by_time)
        octave, part = np.divmod(held, PARTS)
        upper = np.ldexp(1 + (part + 1) / PARTS, octave)
        return upper, np.cumsum(self.by_time[held]) / max(self.total, 1)

    def quantile(self, p: float) -> int:
        """Give the quantile of response time that every other command tells: exact while there are few; −1 of none."""
        return self._times.quantile(p)

    def _double(self) -> None:
        joined: dict[int, Integers] = {}
        for place, row in self._slices.items():
            joined[place >> 1] = joined[place >> 1] + row if place >> 1 in joined else row
        self._slices = joined
        self.interval_ns *= 2
