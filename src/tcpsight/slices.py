"""Intervals from a whole capture: two passes over its requests, one over its frames.

Requests become final out of order and the automatic interval needs all response times, so requests are
collected first, sorted by arrival (spilling to disk beyond a million), and swept then.

A part of the capture is cut into slices with everybody who was there: a request that arrived before it, and waits
still, is a resident from its first instant, or a stall would look like an idle server. The automatic interval is
chosen from those that arrived in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tcpsight.model import (
    ChosenInterval,
    Distribution,
    IntervalSeries,
    KeyCounter,
    KeyedIntervalSeries,
    choose_interval,
)
from tcpsight.model.auto_interval import MAX_STALL_NS
from tcpsight.output.spill import SortedSpill
from tcpsight.tables import Intervals, KeyedIntervals, Requests, Unanswered

if TYPE_CHECKING:
    from tcpsight.model.keys import By
    from tcpsight.pipeline import Batch


class IntervalCollection:
    """Collect requests until the capture has ended, then give the series.

    Parameters
    ----------
    interval_ns : int, optional
        Length of a slice; None chooses one from the response times.
    max_stall_ns : int
        The longest slice that is chosen.
    by : {"service", "server", "client"}, optional
        One series for each of the 20 largest, and one for the others.

    Attributes
    ----------
    chosen : ChosenInterval or None
        How long the slices are, and why; None until `rows` has begun, or where the caller set it.
    outside : int
        How many requests, answered or not, no slice has among its arrivals; known when `rows` has ended.
    """

    def __init__(
        self, interval_ns: int | None = None, *, max_stall_ns: int = MAX_STALL_NS, by: By | None = None
    ) -> None:
        self.chosen: ChosenInterval | None = None
        self.outside = 0
        self._interval_ns = interval_ns
        self._max_stall_ns = max_stall_ns
        self._by = by
        self._counter = KeyCounter(by) if by else None
        self._response_times = Distribution()
        self._requests = SortedSpill(Requests, ("arrival_ns",))
        self._unanswered = SortedSpill(Unanswered, ("arrival_ns",))

    @property
    def table_type(self) -> type[Intervals]:
        """The table that `rows` gives."""
        return KeyedIntervals if self._by else Intervals

    def feed(self, batch: Batch) -> None:
        """Take what became final."""
        if len(batch.requests):
            self._response_times.add(batch.requests.response_time_ns)
        if len(batch.residents):
            self._requests.add(batch.residents)
            if self._counter is not None:
                self._counter.feed(batch.residents)
        if len(batch.waiting):
            self._unanswered.add(batch.waiting)

    def rows(self, span: tuple[int, int] | None) -> Iterator[Intervals]:
        """Give the series over `span`, which is the pipeline's, block by block; none where that is None."""
        if span is None:
            return
        series = self._series(*span)
        for unanswered in self._unanswered.sorted():
            yield from series.blocks(Requests(), unanswered)
        for requests in self._requests.sorted():
            yield from series.blocks(requests)
        yield from series.last_blocks()
        self.outside = series.outside

    def _series(self, first_ns: int, last_ns: int) -> IntervalSeries | KeyedIntervalSeries:
        interval_ns = self._interval_ns
        if interval_ns is None:
            p99 = self._response_times.quantile(0.99) if self._response_times.count else -1
            self.chosen = choose_interval(p99, max_stall_ns=self._max_stall_ns)
            interval_ns = self.chosen.interval_ns
        if self._by is None or self._counter is None:
            return IntervalSeries(interval_ns, first_ns=first_ns, last_ns=last_ns)
        keys = self._counter.largest()
        return KeyedIntervalSeries(self._by, keys, interval_ns, first_ns=first_ns, last_ns=last_ns)
