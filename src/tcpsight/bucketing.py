"""Buckets from a whole capture: its connections are collected, sorted (on disk if there are many), and cut then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from tcpsight.capture.tags import TagSurvey
from tcpsight.errors import UsageError
from tcpsight.facts import isolating_filter
from tcpsight.model.buckets import (
    MEASURES,
    BucketSeries,
    Cut,
    bucket_table,
    linear_edges,
    logarithmic_edges,
    measure,
    nice_width,
    rated,
)
from tcpsight.output.spill import SortedSpill
from tcpsight.tables import BucketConnections, Buckets, RatedConnections

if TYPE_CHECKING:
    from tcpsight.tables import Connections
    from tcpsight.where import Where

Scale = Literal["logarithmic", "linear", "quantile"]

MOST_BUCKETS = 100_000
LINEAR_BUCKETS = 20
QUANTILES = 10
ATTEMPTS = 1000
"""More SYNs than this are one bucket."""

WIDEST = 2**62


class BucketCollection:
    """Collect connections until the capture has ended, then give buckets, or the connections in them; once.

    Parameters
    ----------
    by : str
        ``duration``, ``connect``, ``client_bytes``, ``server_bytes``, ``throughput``, ``requests`` or ``attempts``.
    scale : {"logarithmic", "linear", "quantile"}, optional
        Edges at 1, 2, 5, 10 …; of one width; or with equal numbers of connections. By default linear where a width is
        given and for attempts, else logarithmic.
    width : int, optional
        Width of linear buckets; by default the least of 1, 2, 5, 10 … with which all values have a bucket.
    count : int, optional
        How many linear buckets, 20 by default, and one more without an end; how many quantiles, 10 by default.
    where : Where, optional
        Only these connections; a condition on `RatedConnections`.

    Attributes
    ----------
    given, total : int
        How many connections came, and for how many of them the condition holds.
    tags : TagSurvey
        What the capture has in front of IP, for the filters; set it before `connections`.

    Raises
    ------
    UsageError
        If these do not go together.
    """

    def __init__(
        self,
        by: str = "duration",
        *,
        scale: Scale | None = None,
        width: int | None = None,
        count: int | None = None,
        where: Where | None = None,
    ) -> None:
        if by not in MEASURES:
            raise UsageError(f"no buckets by {by!r}; there are {', '.join(MEASURES)}")
        self._by = by
        self._scale = scale or ("linear" if width is not None or by == "attempts" else "logarithmic")
        self._width = width
        self._count = count
        self._where = where
        self._check()
        self._column = measure(by).name
        self._spill = SortedSpill(RatedConnections, (self._column,))
        self.given = self.total = 0
        self.tags = TagSurvey()
        self._known = 0
        self._least, self._most = -1, -1

    def _check(self) -> None:
        for number in (self._width, self._count):
            if number is not None and not hasattr(number, "__index__"):
                raise UsageError(f"{number!r} is no number of buckets, and no width of them: give an integer")
        if self._scale not in ("logarithmic", "linear", "quantile"):
            raise UsageError(f"no scale {self._scale!r}; there are logarithmic, linear, quantile")
        if self._width is not None and self._scale != "linear":
            instead = "give a count, or linear buckets" if self._scale == "quantile" else "choose linear buckets"
            raise UsageError(f"a width is for linear buckets, {self._scale} ones have none: {instead}")
        if self._width is not None and self._width < 1:
            raise UsageError(f"a width of {self._width} makes no {self._scale} buckets")
        if self._width is not None and self._width * (self._count or LINEAR_BUCKETS) > WIDEST:
            raise UsageError(f"buckets of {self._width} reach beyond all numbers")
        if self._count is not None and (self._scale == "logarithmic" or not 1 <= self._count <= MOST_BUCKETS):
            raise UsageError(f"{self._count} is no number of {self._scale} buckets")

    @property
    def table_type(self) -> type[Buckets]:
        """The table that `rows` gives."""
        return bucket_table(self._by)

    def feed(self, connections: Connections) -> None:
        """Take connections that became final."""
        if len(connections) == 0:
            return
        table = rated(connections)
        self.given += len(table)
        if self._where is not None:
            table = self._where.apply(table)
        values = table.rows[self._column]
        known = values[values >= 0]
        self.total += len(values)
        if len(known):
            least, most = int(known.min()), int(known.max())
            self._least = least if self._known == 0 else min(self._least, least)
            self._most = max(self._most, most)
            self._known += len(known)
        self._spill.add(table)

    def rows(self) -> Iterator[Buckets]:
        """Give the buckets, in order, and last the connections whose value is unknown; none without connections."""
        if self.total == 0:
            return
        series = BucketSeries(self._by, self._cut(), self.total)
        for table in self._spill.sorted():
            yield from series.feed(table)
        yield from series.finish()

    def connections(self, bucket: int | None = None) -> Iterator[BucketConnections]:
        """Give the connections of one bucket, −1 for those of unknown value, or of all buckets, by value."""
        cut = self._cut()
        if bucket is not None and bucket >= cut.count and self.total:
            last = f"buckets are 0 to {cut.count - 1}" if self._known else "no connection has a known value"
            raise UsageError(f"there is no bucket {bucket}: {last}; write unknown for those of unknown value")
        for table in self._spill.sorted():
            values = table.rows[self._column]
            known = int(np.count_nonzero(values >= 0))
            places = np.full(len(values), -1, np.int64)
            places[:known] = cut.buckets(values[:known])
            wanted = np.ones(len(values), np.bool_) if bucket is None else places == bucket
            if wanted.any():
                yield _with_filters(table[wanted], places[wanted], self.tags)

    def _cut(self) -> Cut:
        if self._scale == "quantile":
            return Cut(None, count=self._count or QUANTILES, total=self._known)
        if self._scale == "logarithmic":
            return Cut(logarithmic_edges(max(self._least, 0), max(self._most, 0)))
        count = self._count or LINEAR_BUCKETS
        if self._width is None and self._by == "attempts":
            return Cut(linear_edges(1, min(self._count or max(self._most, 0) + 1, ATTEMPTS)), has_end=False)
        width = self._width or nice_width(max(self._most, 0), count)
        return Cut(linear_edges(width, count), has_end=False)


def _with_filters(
    connections: RatedConnections, places: np.ndarray[tuple[int], np.dtype[np.int64]], tags: TagSurvey
) -> BucketConnections:
    table = BucketConnections.allocate(len(connections))
    for c in type(connections).columns:
        table.rows[c.name] = connections.rows[c.name]
    table.bucket[:] = places
    for i, row in enumerate(table.rows):
        ends = [
            (row[f"{side}_address"].tobytes(), int(row[f"{side}_port"]), int(row["ip_version"]))
            for side in ("client", "server")
        ]
        text = isolating_filter(ends[0], ends[1], tags, is_tunnelled=row["encapsulation"] != 0)
        table.capture_filter[i] = text.encode()
    return table
