"""A report from a whole capture: one pass over its frames, then one over its requests in order of arrival.

The facts it gives are what every face shows: the terminal, JSON, later the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tcpsight.model import IntervalKey, KeyedIntervalSeries
from tcpsight.model.auto_interval import step_at_least
from tcpsight.model.services import Endpoint, Service, ServiceSummary
from tcpsight.output.blocks import BlockWriter
from tcpsight.output.spill import SortedSpill
from tcpsight.tables import Connections, KeyedIntervals, Requests, Unanswered, Unseen

if TYPE_CHECKING:
    from tcpsight.analysis import Run

BLOCK_ROWS = 65_536
SERIES_COLUMNS = 60
"""Slices of the series at most: a terminal's width. A multiple of nothing, a matter of looks."""


@dataclass(slots=True)
class ServiceReport:
    """One service, and how it went over time.

    Attributes
    ----------
    endpoint : Endpoint
        Address, port and IP version.
    service : Service
        Sums and distributions over the whole capture.
    series : KeyedIntervals
        At most about `SERIES_COLUMNS` slices.
    """

    endpoint: Endpoint
    service: Service
    series: KeyedIntervals = field(default_factory=KeyedIntervals)


@dataclass(slots=True)
class Report:
    """Everything a report says.

    Attributes
    ----------
    services : list of ServiceReport
        The largest, most requests first.
    omitted_services : int
        How many more there were.
    interval_ns : int
        Length of the slices of the series.
    unseen : Unseen
        What was not understood.
    first_ns, last_ns : int or None
        First and last segment; None if there was none.
    """

    run: Run
    services: list[ServiceReport]
    omitted_services: int
    interval_ns: int
    unseen: Unseen
    first_ns: int | None
    last_ns: int | None


class ReportCollection:
    """Collect what a report needs, batch by batch.

    Parameters
    ----------
    most_services : int
        How many services the report tells of.
    """

    def __init__(self, most_services: int = 10) -> None:
        self.summary = ServiceSummary()
        self._most_services = most_services
        self._by_arrival = SortedSpill(Requests, ("arrival_ns",))
        self._waiting_by_arrival = SortedSpill(Unanswered, ("arrival_ns",))
        self._requests = BlockWriter(Requests, BLOCK_ROWS, self._take_requests)
        self._unanswered = BlockWriter(Unanswered, BLOCK_ROWS, self._take_unanswered)
        self._connections = BlockWriter(Connections, BLOCK_ROWS, self.summary.feed_connections)

    def _take_requests(self, requests: Requests) -> None:
        self.summary.feed_requests(requests)
        self._by_arrival.add(requests)

    def _take_unanswered(self, unanswered: Unanswered) -> None:
        self.summary.feed_unanswered(unanswered)
        self._waiting_by_arrival.add(unanswered)

    def feed(self, requests: Requests, unanswered: Unanswered, connections: Connections) -> None:
        """Take what became final."""
        self._requests.write(requests)
        self._unanswered.write(unanswered)
        self._connections.write(connections)

    def report(self, run: Run) -> Report:
        """Give the facts, when the run has ended."""
        for blocks in (self._requests, self._unanswered, self._connections):
            blocks.flush()
        first_ns, last_ns = run.pipeline.first_ns, run.pipeline.last_ns
        services = [ServiceReport(endpoint, each) for endpoint, each in self.summary.largest(self._most_services)]
        interval_ns = 1
        if first_ns is not None and last_ns is not None:
            interval_ns = step_at_least(max(1, (last_ns - first_ns) // SERIES_COLUMNS))
            self._add_series(services, interval_ns, first_ns, last_ns)
        omitted = len(self.summary.services) - len(services)
        return Report(run, services, omitted, interval_ns, run.pipeline.unseen.table(), first_ns, last_ns)

    def _add_series(self, services: list[ServiceReport], interval_ns: int, first_ns: int, last_ns: int) -> None:
        keys = [IntervalKey(each.endpoint[0], each.endpoint[1]) for each in services]
        series = KeyedIntervalSeries("service", keys, interval_ns, first_ns=first_ns, last_ns=last_ns)
        rows = KeyedIntervals.concatenate([block.copy() for block in self._blocks(series)])
        for i, each in enumerate(services):
            each.series = rows[i :: len(keys) + 1]

    def _blocks(self, series: KeyedIntervalSeries) -> Iterator[KeyedIntervals]:
        for unanswered in self._waiting_by_arrival.sorted():
            yield from series.blocks(Requests(), unanswered)  # type: ignore[misc]
        for requests in self._by_arrival.sorted():
            yield from series.blocks(requests)  # type: ignore[misc]
        yield from series.last_blocks()  # type: ignore[misc]
