"""Connections in buckets: how many there are, and what they are like.

Theory of operation
-------------------
Connections come sorted by what buckets are made by, so that one bucket is open at a time and memory does not follow
their number. Edges are known before the first row (linear, logarithmic), or follow from ranks (quantiles): there a
bucket begins at the first value whose rank passes its share, and equal values stay together. Percentiles within a
bucket are those of `Distribution`: exact up to 100,000 connections, within 1 % beyond.

What it cannot see: connections whose value is unknown; they are a row of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.model.distribution import Distribution, steps_beyond
from tcpsight.tables import STATES, Buckets, Column, RatedConnections, column

if TYPE_CHECKING:
    from tcpsight.tables import Connections

Int64s = np.ndarray[Any, np.dtype[np.int64]]

MEASURES = {
    "duration": "duration_ns",
    "connect": "connect_ns",
    "client_bytes": "client_bytes",
    "server_bytes": "server_bytes",
    "throughput": "throughput_bits_per_s",
    "requests": "requests",
    "attempts": "connect_attempts",
}
"""What buckets can be made by, and the column that holds it."""

_RESETS = [STATES.index(state) for state in ("refused", "client_reset", "server_reset")]
_MEANS = ("client_bytes", "server_bytes", "requests")
_PERCENTILES = ("duration_ns", "connect_ns", "throughput_bits_per_s")


def measure(by: str) -> Column:
    """Give the column that buckets are made by."""
    return next(c for c in RatedConnections.columns if c.name == MEASURES[by])


def bucket_table(by: str) -> type[Buckets]:
    """Give the table of buckets whose bounds have the unit of what they are made by."""
    bounds = {
        c.name: column("int64", measure(by).unit, c.meaning, null=-1)
        for c in Buckets.columns
        if c.name in ("low", "high")
    }
    return type("Buckets", (Buckets,), {"__slots__": (), "__doc__": Buckets.__doc__, **bounds})


def rated(connections: Connections) -> RatedConnections:
    """Add the throughput: stream bits of both directions over the duration, in bit/s, rounded down."""
    table = RatedConnections.allocate(len(connections))
    for c in type(connections).columns:
        table.rows[c.name] = connections.rows[c.name]
    client, server, duration = table.client_bytes, table.server_bytes, table.duration_ns
    is_known = (client >= 0) & (server >= 0) & (duration > 0)
    bits = 8e9 * (client.astype(np.float64) + server)
    rates = np.floor(bits / np.where(is_known, duration, 1))
    table.throughput_bits_per_s[:] = np.where(is_known, np.minimum(rates, 2.0**62), -1).astype(np.int64)
    return table


def linear_edges(width: int, count: int) -> Int64s:
    """Give the edges of `count` buckets of one width from 0; behind the last begins one without an end."""
    return np.arange(count + 1, dtype=np.int64) * width


def logarithmic_edges(least: int, most: int) -> Int64s:
    """Give 0, 1, 2, 5, 10 … as far as they enclose the values from `least` to `most`."""
    # No duration is as long as what the last step would have to reach.
    edges = np.array([step for step in steps_beyond(most) if step < 2**63], np.int64)
    first: Int64s = edges[max(int(np.searchsorted(edges, least, side="right")) - 1, 0) :]
    return first


def nice_width(most: int, count: int) -> int:
    """Give the least of 1, 2, 5, 10 … of which `count` buckets from 0 hold the value `most`."""
    return next(step for step in steps_beyond(most + 1)[1:] if step * count > most)


class Cut:
    """Tells the bucket of each value.

    Parameters
    ----------
    edges : array of int64, optional
        Where buckets begin; None for quantiles.
    has_end : bool
        Whether the last edge is only an end, or the begin of a bucket without one.
    count : int
        For quantiles: how many buckets.
    total : int
        For quantiles: how many values there will be.
    """

    def __init__(self, edges: Int64s | None, *, has_end: bool = True, count: int = 0, total: int = 0) -> None:
        self.edges = edges
        self.has_end = has_end
        self._count = count
        self._total = total
        self._seen = 0
        self._last: tuple[int, int] | None = None  # the last value and the rank of the first that equals it

    @property
    def count(self) -> int:
        """How many buckets there are, empty ones included."""
        return self._count if self.edges is None else len(self.edges) - self.has_end

    def buckets(self, values: Int64s) -> Int64s:
        """Give the bucket of each of the next values, shape (n,); they come in ascending order."""
        if self.edges is not None:
            found: Int64s = np.searchsorted(self.edges, values, side="right") - 1
            return found
        firsts = np.searchsorted(values, values, side="left") + self._seen
        if self._last is not None:
            firsts = np.where(values == self._last[0], self._last[1], firsts)
        self._seen += len(values)
        if len(values):
            self._last = (int(values[-1]), int(firsts[-1]))
        shares: Int64s = firsts * self._count // self._total
        return shares


class BucketSeries:
    """Sum connections up, bucket by bucket.

    Parameters
    ----------
    by : str
        One of `MEASURES`.
    cut : Cut
        Where buckets begin.
    total : int
        How many connections there will be, those of unknown value included.
    """

    def __init__(self, by: str, cut: Cut, total: int) -> None:
        self._column = measure(by).name
        self._table = bucket_table(by)
        self._cut = cut
        self._total = total
        self._done = 0
        self._open: _Bucket | None = None
        self._next = 0

    def feed(self, connections: RatedConnections) -> Iterator[Buckets]:
        """Take the next connections, in ascending order of the value, unknown ones last; give finished buckets."""
        values = connections.rows[self._column]
        known = int(np.count_nonzero(values >= 0))
        places = np.full(len(values), -1, np.int64)
        places[:known] = self._cut.buckets(values[:known])
        starts = [0, *(np.flatnonzero(np.diff(places)) + 1).tolist()]
        for begin, end in zip(starts, [*starts[1:], len(values)], strict=True):
            if end > begin:
                yield from self._part(int(places[begin]), connections[begin:end])

    def finish(self) -> Iterator[Buckets]:
        """Give the last bucket, and the empty ones behind it."""
        last = self._open
        if last is not None:
            yield self._row(last, last.most + 1 if last.place >= 0 else -1)
        if last is None or last.place >= 0:
            yield from self._empty(self._count_of_edges())

    def _part(self, place: int, connections: RatedConnections) -> Iterator[Buckets]:
        least = int(connections.rows[self._column][0])
        if self._open is not None and self._open.place != place:
            last, self._open = self._open, None
            yield self._row(last, least if place >= 0 else last.most + 1)
        if self._open is None:
            yield from self._empty(place if place >= 0 else self._count_of_edges())
            self._open = _Bucket(place, least)
            self._next = place + 1
        self._open.add(connections, self._column)

    def _count_of_edges(self) -> int:
        edges = self._cut.edges
        return 0 if edges is None else len(edges) - self._cut.has_end

    def _empty(self, end: int) -> Iterator[Buckets]:
        """Give the empty buckets before number `end`; quantiles have none."""
        if self._cut.edges is not None:
            for place in range(self._next, end):
                yield self._row(_Bucket(place, -1), -1)
            self._next = max(self._next, end)

    def _row(self, bucket: _Bucket, high: int) -> Buckets:
        row = self._table.allocate(1)
        self._done += bucket.connections
        row.bucket[:] = bucket.place
        row.low[:], row.high[:] = self._bounds(bucket, high)
        row.connections[:] = bucket.connections
        row.connections_fraction[:] = bucket.connections / self._total if self._total else np.nan
        row.cumulative_fraction[:] = self._done / self._total if self._total else np.nan
        bucket.describe(row)
        return row

    def _bounds(self, bucket: _Bucket, high: int) -> tuple[int, int]:
        edges = self._cut.edges
        if bucket.place < 0:
            return -1, -1
        if edges is None:
            return bucket.least, high
        has_end = bucket.place + 1 < len(edges)
        return int(edges[bucket.place]), int(edges[bucket.place + 1]) if has_end else -1


class _Bucket:
    """What is known of the connections of one bucket."""

    def __init__(self, place: int, least: int) -> None:
        self.place = place
        self.least = self.most = least
        self.connections = 0
        self._repeated_syns = self._resets = 0
        self._sums = dict.fromkeys(_MEANS, (0, 0))
        self._distributions = {name: Distribution() for name in _PERCENTILES}

    def add(self, connections: RatedConnections, column: str) -> None:
        rows = connections.rows
        self.most = int(rows[column][-1])
        self.connections += len(rows)
        self._repeated_syns += int(np.maximum(rows["connect_attempts"] - 1, 0).sum())
        self._resets += int(np.isin(rows["state"], _RESETS).sum())
        for name, (count, total) in self._sums.items():
            known = rows[name][rows[name] >= 0]
            self._sums[name] = count + len(known), total + int(known.sum())
        for name, distribution in self._distributions.items():
            distribution.add(rows[name])

    def describe(self, row: Buckets) -> None:
        row.repeated_syns[:], row.resets[:] = self._repeated_syns, self._resets
        for name, (count, total) in self._sums.items():
            row.rows[f"{name}_mean"] = total / count if count else np.nan
        for name, distribution in self._distributions.items():
            stem, unit = ("throughput", "bits_per_s") if name.startswith("throughput") else (name[:-3], "ns")
            for percent in (50, 95):
                row.rows[f"{stem}_p{percent}_{unit}"] = distribution.quantile(percent / 100)
