"""A report from a whole capture: one pass over its frames, then one over its requests in order of arrival.

The facts it gives are what every face shows: the terminal, JSON, later the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tcpsight.findings import FindingTable
from tcpsight.model import IntervalKey, KeyedIntervalSeries
from tcpsight.model.count_scales import Dispersion
from tcpsight.model.grouping import Endpoint
from tcpsight.model.services import Service, ServiceSummary
from tcpsight.model.tunnels import TunnelSummary
from tcpsight.output.blocks import BlockWriter
from tcpsight.output.spill import SortedSpill
from tcpsight.stalling import Filters, SearchedServices, by_arrival, residents
from tcpsight.tables import Connections, Findings, KeyedIntervals, Requests, Unanswered, Unseen

if TYPE_CHECKING:
    from tcpsight.analysis import Run
    from tcpsight.pipeline import Batch
    from tcpsight.selection import Selection

BLOCK_ROWS = 65_536
MEMORY_ROWS = 1 << 20
"""So many requests are sorted in memory, 220 MB; more on disk, which costs more than all that is told of them."""

SERIES_COLUMNS = 52
"""Slices of the series at most, not counting those that are cut short: a line of a terminal less its labels."""


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
    dispersions : list of Dispersion or None
        How much counts vary at several scales; None where stalls were not looked for.
    """

    endpoint: Endpoint
    service: Service
    series: KeyedIntervals = field(default_factory=KeyedIntervals)
    dispersions: list[Dispersion] | None = None


@dataclass(slots=True)
class Omitted:
    """Services that a report leaves out, added up.

    Attributes
    ----------
    services : int
        How many, those beyond the ones that are told apart counted as one.
    requests, unanswered, in_flight_at_end, connections, failed_connections : int
        Their sums; a connection failed when it was refused or never established.
    """

    services: int = 0
    requests: int = 0
    unanswered: int = 0
    in_flight_at_end: int = 0
    connections: int = 0
    failed_connections: int = 0

    def add(self, service: Service) -> None:
        """Count one more."""
        self.services += 1
        self.requests += service.requests
        self.unanswered += service.unanswered
        self.in_flight_at_end += service.in_flight_at_end
        self.connections += service.connections
        self.failed_connections += service.failed_connections


@dataclass(slots=True)
class Report:
    """Everything a report says.

    Attributes
    ----------
    services : list of ServiceReport
        The largest, most requests first.
    omitted : Omitted
        What the services that are not in the list add up to.
    interval_ns : int
        Length of the slices of the series.
    unseen : Unseen
        What was not understood.
    outside : int
        How many requests, answered or not, no slice of the series has among its arrivals.
    tunnels : TunnelSummary
        Which connections, of all services, are inside tunnels.
    findings : Findings
        Conditions that have a name, the worst first.
    """

    run: Run
    services: list[ServiceReport]
    omitted: Omitted
    interval_ns: int
    unseen: Unseen
    outside: int
    tunnels: TunnelSummary
    findings: Findings


class ByArrival(Protocol):
    """Takes all requests in order of arrival, answered ones and those that never were."""

    def feed(self, requests: Requests) -> None:
        """Take the next ones: `Unanswered`, or `Requests` of which none arrived later than those that follow."""


Begin = Callable[[list[tuple[Endpoint, Service]], "Run"], ByArrival]
"""Makes one, told the services, largest first, and the run, which has ended."""


class ReportCollection:
    """Collect what a report needs, batch by batch, of a run that carries `Findings`.

    Parameters
    ----------
    most_services : int
        How many services the report tells of.
    selection : Selection, optional
        What of the capture is wanted.
    begin : callable, optional
        Makes one more that takes the requests in order of arrival, when the services are known; not called without a
        segment.
    """

    def __init__(self, most_services: int = 10, selection: Selection | None = None, begin: Begin | None = None) -> None:
        self._part = selection if selection is not None and selection.is_part else None
        self.summary = ServiceSummary(part=self._part)
        self._tunnels = TunnelSummary()
        self._findings = FindingTable(self._part)
        self._filters = Filters()
        self._searched = SearchedServices()
        self._most_services = most_services
        self._begin = begin
        self._by_arrival = SortedSpill(Requests, ("arrival_ns",), memory_rows=MEMORY_ROWS)
        self._waiting_by_arrival = SortedSpill(Unanswered, ("arrival_ns",))
        self._requests = BlockWriter(Requests, BLOCK_ROWS, self.summary.feed_requests)
        self._usual = BlockWriter(Requests, BLOCK_ROWS, self.summary.feed_usual)
        self._unanswered = BlockWriter(Unanswered, BLOCK_ROWS, self.summary.feed_unanswered)
        self._connections = BlockWriter(Connections, BLOCK_ROWS, self._feed_connections)

    def feed(self, batch: Batch) -> None:
        """Take what became final: sums are over what arrived, the series over what was there."""
        self._requests.write(batch.requests)
        self._unanswered.write(batch.unanswered)
        self._connections.write(batch.connections)
        self._findings.add(batch)
        self._filters.add(batch.connections)
        self._searched.add(batch)
        self._by_arrival.add(batch.served)
        if self._part is not None:
            self._usual.write(batch.served)
        self._waiting_by_arrival.add(batch.unserved)

    def _feed_connections(self, connections: Connections) -> None:
        self.summary.feed_connections(connections)
        self._tunnels.feed(connections)

    def report(self, run: Run) -> Report:
        """Give the facts, when the run has ended."""
        for blocks in (self._requests, self._usual, self._unanswered, self._connections):
            blocks.flush()
        self.summary.finish()
        ranked = self.summary.largest(len(self.summary.services))
        services = [ServiceReport(endpoint, each) for endpoint, each in ranked[: self._most_services]]
        omitted = Omitted()
        for _, service in ranked[self._most_services :]:
            omitted.add(service)
        if self.summary.other_services_seen:
            omitted.add(self.summary.others)
        pipeline = run.pipeline
        stalls = self._searched.search(self._part, pipeline.silences, pipeline.clock_leaps)
        interval_ns, outside = 1, 0
        span = run.pipeline.span
        if span is not None:
            interval_ns = series_interval_ns(span[1] - span[0])
            takers: list[ByArrival] = []
            if self._begin is not None:
                takers.append(self._begin([(each.endpoint, each.service) for each in services], run))
            outside = self._add_series(services, (stalls, *takers), interval_ns, span)
        for each in services:
            counts = stalls.counts_of(each.endpoint[:2])
            each.dispersions = counts.dispersions() if counts is not None else None
        end_ns = run.pipeline.last_ns
        filter_of = self._filters.of(run.tags)
        found = self._findings.table(
            stalls.findings(end_ns, filter_of) if end_ns is not None else (),
            stepped_back_ns=pipeline.clock_steps.back_ns,
        )
        unseen = run.pipeline.unseen.table()
        return Report(run, services, omitted, interval_ns, unseen, outside, self._tunnels, found)

    def _add_series(
        self, services: list[ServiceReport], takers: Sequence[ByArrival], interval_ns: int, span: tuple[int, int]
    ) -> int:
        """Give every service its series, and the takers the requests; tell how many arrived in no slice."""
        keys = [IntervalKey(each.endpoint[0], each.endpoint[1]) for each in services]
        series = KeyedIntervalSeries("service", keys, interval_ns, first_ns=span[0], last_ns=span[1])
        rows = KeyedIntervals.concatenate([block.copy() for block in self._blocks(series, takers)])
        for i, each in enumerate(services):
            each.series = rows[i :: len(keys) + 1]
        return series.outside

    def _blocks(self, series: KeyedIntervalSeries, takers: Sequence[ByArrival]) -> Iterator[KeyedIntervals]:
        stalls, *others = takers
        for rows in by_arrival(self._by_arrival, self._waiting_by_arrival):
            # What is usual is told by all requests; everything else is of those that were there in the part asked for.
            stalls.feed(rows)
            own = rows if self._part is None else residents(rows, self._part)
            for taker in others:
                taker.feed(own)
            if isinstance(own, Unanswered):
                yield from series.blocks(Requests(), own)
            else:
                yield from series.blocks(own)
        yield from series.last_blocks()


def series_interval_ns(duration_ns: int, most: int = SERIES_COLUMNS) -> int:
    """Give the shortest slice with one digit, or 2.5 of a power of ten, of which `most` are long enough."""
    power = 10
    while True:
        for tenths in (10, 20, 25, 30, 40, 50, 60, 80):
            step_ns = tenths * power // 10
            if step_ns * most >= duration_ns:
                return step_ns
        power *= 10
