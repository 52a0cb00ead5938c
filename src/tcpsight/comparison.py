"""Two captures of the same services at different times, collected and set against each other.

Theory of operation
-------------------
Each capture is run through once. Sums, findings and the health of services are kept as they come; requests are sorted
by arrival, on disk beyond 64 MiB of them. When both are known, services are paired: by address and port, then those
that are left by a port that only one on either side has. The requests of each pair are then cut into slices of equally
many (`tcpsight.model.response_slices`), and swept into slices of time of one length (`tcpsight.model.occupancy`).

Memory: 10 MB for each service and capture that is compared, and what the sums take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.errors import UsageError
from tcpsight.findings import CaptureFindings
from tcpsight.model.equal_load import EqualLoad, Series, compare_at_equal_load
from tcpsight.model.grouping import Endpoint, by_endpoint
from tcpsight.model.health import Health, HealthSummary
from tcpsight.model.occupancy import Occupancy, OccupancySweep, TooManySlicesError
from tcpsight.model.response_slices import ResponseSlices
from tcpsight.model.services import Service, ServiceSummary
from tcpsight.model.verdicts import DECISIVE_QUANTILES
from tcpsight.output.addresses import endpoint_text
from tcpsight.output.blocks import BlockWriter
from tcpsight.output.spill import SortedSpill
from tcpsight.scalability import slice_length
from tcpsight.tables import Connections, Findings, Network, Requests, Unanswered

if TYPE_CHECKING:
    from tcpsight.analysis import Run
    from tcpsight.connections import Server
    from tcpsight.pipeline import Batch
    from tcpsight.selection import Selection

BLOCK_ROWS = 65_536
MOST_SERVICES = 10
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

MOST_EDGE = 0.1
"""Of the time of the capture, at each end: what began before it or ends after it is missing there."""


@dataclass(slots=True)
class ServiceSide:
    """One service in one capture.

    Attributes
    ----------
    endpoint : Endpoint
        Which.
    service, health : Service, Health
        Sums over the whole capture.
    slices : ResponseSlices
        Its response times in order of arrival.
    occupancy : Occupancy or None
        What it held, by slices of time; None where these would be too many.
    """

    endpoint: Endpoint
    service: Service
    health: Health
    slices: ResponseSlices
    occupancy: Occupancy | None = None


@dataclass(slots=True)
class ServicePair:
    """One service in both captures.

    Attributes
    ----------
    before, after : ServiceSide
        What was of it.
    interval_ns : int
        How long the slices of time are.
    """

    before: ServiceSide
    after: ServiceSide
    interval_ns: int

    @property
    def sides(self) -> tuple[ServiceSide, ServiceSide]:
        """Both."""
        return self.before, self.after


@dataclass(slots=True)
class Comparison:
    """Two captures, compared.

    Attributes
    ----------
    before, after : CollectedCapture
        The captures.
    pairs : list of ServicePair
        The largest services that both have.
    omitted : int
        How many smaller ones both have.
    only : tuple of list of Endpoint
        The services that only one capture has, largest first.
    quantiles : ndarray of float64, shape (quantiles,)
        Which quantiles of response time are compared.
    """

    before: CollectedCapture
    after: CollectedCapture
    pairs: list[ServicePair] = field(default_factory=list)
    omitted: int = 0
    only: tuple[list[Endpoint], list[Endpoint]] = ([], [])
    quantiles: Any = ()

    def at_equal_load(self, pair: ServicePair) -> EqualLoad:
        """Compare throughput at equal concurrency."""
        both = []
        for side, capture in zip(pair.sides, (self.before, self.after), strict=True):
            if side.occupancy is None:
                return EqualLoad(refusal="too many intervals with requests in them")
            both.append(_series(side, side.occupancy, capture.span))
        return compare_at_equal_load(*both)


class CollectedCapture:
    """Collect one capture, batch by batch, of a run that carries `Findings`; of a part of one, segments too.

    Parameters
    ----------
    selection : Selection
        What of the capture is wanted.
    """

    def __init__(self, selection: Selection) -> None:
        self.summary = ServiceSummary()
        self.health = HealthSummary(selection.of_whole if selection.is_part else None)
        self._selection, self._is_part = selection, selection.is_part
        self.findings = Findings()
        self.span = (0, 0)
        self._findings = CaptureFindings(selection)
        self._by_arrival = SortedSpill(Requests, ("arrival_ns",))
        self._usual = BlockWriter(Requests, BLOCK_ROWS, self.summary.feed_usual)
        self._writers: tuple[BlockWriter[Any], ...] = (
            BlockWriter(Requests, BLOCK_ROWS, self._feed_requests),
            BlockWriter(Unanswered, BLOCK_ROWS, self._feed_unanswered),
            BlockWriter(Connections, BLOCK_ROWS, self._feed_connections),
            BlockWriter(Network, BLOCK_ROWS, self.health.feed_network),
        )

    def feed(self, batch: Batch) -> None:
        """Take what became final."""
        if self._is_part:
            self.health.feed_segments(batch.segments)
        tables = (batch.requests, batch.unanswered, batch.connections, batch.network)
        for writer, table in zip(self._writers, tables, strict=True):
            writer.write(table)
        self._findings.add(batch)
        self._by_arrival.add(batch.residents)
        if self._is_part:
            self._usual.write(batch.served)

    def finish(self, run: Run) -> CollectedCapture:
        """Take the end of the capture; everything is known then."""
        self.run = run
        for writer in (*self._writers, self._usual):
            writer.flush()
        self.summary.finish()
        self.health.finish(self._longest_ns)
        self.findings = self._findings.table(run)
        self.span = run.pipeline.span or (0, 0)
        return self

    def sweep(self, targets: list[ServiceSide], intervals_ns: list[int]) -> None:
        """Cut the requests of services into slices; once."""
        sweeps = [OccupancySweep(interval_ns, *self.span) for interval_ns in intervals_ns]
        wanted = {side.endpoint: (side, sweep) for side, sweep in zip(targets, sweeps, strict=True)}
        selection = self.run.pipeline.options.selection
        refused: set[Endpoint] = set()
        for requests in self._by_arrival.sorted():
            for endpoint, rows in by_endpoint(requests, "server_address", "server_port"):
                if endpoint not in wanted:
                    continue
                side, sweep = wanted[endpoint]
                arrival_ns, completion_ns = rows.arrival_ns, rows.completion_ns
                is_own = selection.of_time(arrival_ns, arrival_ns)
                side.slices.feed(arrival_ns[is_own], completion_ns[is_own])
                try:
                    if endpoint not in refused:
                        sweep.feed(arrival_ns, completion_ns)
                except TooManySlicesError:
                    refused.add(endpoint)
        for endpoint, (side, sweep) in wanted.items():
            if endpoint not in refused:
                side.occupancy = _finished(sweep)

    def _longest_ns(self, endpoint: Endpoint) -> int:
        service = self.summary.services.get(endpoint)
        return service.response_times.max if service is not None else -1

    def _feed_requests(self, requests: Requests) -> None:
        self.summary.feed_requests(requests)
        self.health.feed_requests(requests)

    def _feed_unanswered(self, unanswered: Unanswered) -> None:
        self.summary.feed_unanswered(unanswered)
        self.health.feed_unanswered(unanswered)

    def _feed_connections(self, connections: Connections) -> None:
        if self._is_part:
            # How a connection was set up, and what became of it, is of the part in which it began, and counts once.
            self.summary.know(connections)
            connections = connections[self._selection.of_time(connections.start_ns, connections.start_ns)]
        self.summary.feed_connections(connections)
        self.health.feed_connections(connections)


def compared(
    before: CollectedCapture,
    after: CollectedCapture,
    *,
    most_services: int = MOST_SERVICES,
    quantiles: Sequence[float] = QUANTILES,
    same: Sequence[tuple[Server, Server]] = (),
) -> Comparison:
    """Pair the services of two captures, and cut their requests into slices.

    Parameters
    ----------
    before, after : CollectedCapture
        Both have ended.
    most_services : int
        How many services are compared.
    quantiles : sequence of float
        Which quantiles of response time to tell, beside those that decide.
    same : sequence of (Server, Server)
        Services that moved: what each was before, and after. An address, or a port, that one lacks is any.

    Raises
    ------
    UsageError
        Of `same`, one is no service there, or several are.
    """
    both = (before, after)
    asked = np.array(sorted({*quantiles, *DECISIVE_QUANTILES}))
    moved = [(_one_of(before, ours, "before"), _one_of(after, theirs, "after")) for ours, theirs in same]
    for side, when in enumerate(("before", "after")):
        if len({pair[side] for pair in moved}) < len(moved):
            raise UsageError(f"--same: a service of the capture {when} was named twice")
    ours, theirs = (
        [endpoint for endpoint in each.summary.services if endpoint not in {pair[side] for pair in moved}]
        for side, each in enumerate(both)
    )
    endpoints = [*moved, *paired_endpoints(ours, theirs)]
    sizes = {pair: _size(before, pair[0]) + _size(after, pair[1]) for pair in endpoints}
    endpoints.sort(key=lambda pair: (-sizes[pair], pair))
    pairs = [_pair(both, pair, asked) for pair in endpoints[:most_services]]
    for capture, sides in zip(both, zip(*(pair.sides for pair in pairs), strict=True), strict=False):
        capture.sweep(list(sides), [pair.interval_ns for pair in pairs])
    only = []
    for number, capture in enumerate(both):
        known = {pair[number] for pair in endpoints}
        ranked = capture.summary.largest(len(capture.summary.services))
        only.append([endpoint for endpoint, _ in ranked if endpoint not in known])
    return Comparison(before, after, pairs, len(endpoints) - len(pairs), (only[0], only[1]), asked)


def _one_of(capture: CollectedCapture, server: Server, when: str) -> Endpoint:
    """Give the service that is meant."""
    address, port, _ = server
    found = [
        each
        for each in capture.summary.services
        if (address is None or each[0] == address) and (not port or each[1] == port)
    ]
    if len(found) == 1:
        return found[0]
    asked = endpoint_text(address, port or None, server[2]) if address is not None else f":{port}"
    known = ", ".join(endpoint_text(*each) for each in (found or list(capture.summary.services))[:5])
    why = f"{len(found)} services are that" if found else "no service is that"
    raise UsageError(f"--same: {why} in the capture {when}: {asked}; there is {known}")


def paired_endpoints(before: list[Endpoint], after: list[Endpoint]) -> Iterator[tuple[Endpoint, Endpoint]]:
    """Tell which services are the same: equal ones, then those of a port that one on each side has that is left."""
    same = set(before) & set(after)
    yield from ((endpoint, endpoint) for endpoint in before if endpoint in same)
    ports: dict[int, tuple[list[Endpoint], list[Endpoint]]] = {}
    for number, endpoints in enumerate((before, after)):
        for endpoint in endpoints:
            if endpoint not in same:
                ports.setdefault(endpoint[1], ([], []))[number].append(endpoint)
    yield from ((ours[0], theirs[0]) for ours, theirs in ports.values() if len(ours) == len(theirs) == 1)


def _size(capture: CollectedCapture, endpoint: Endpoint) -> int:
    service = capture.summary.services[endpoint]
    return service.requests + service.unanswered + service.in_flight_at_end + service.connections


def _pair(
    both: tuple[CollectedCapture, CollectedCapture], endpoints: tuple[Endpoint, Endpoint], quantiles: Any
) -> ServicePair:
    sides, lengths = [], [1000]
    for capture, endpoint in zip(both, endpoints, strict=True):
        service = capture.summary.services[endpoint]
        about_ns = [service.response_times.quantile(p) for p in quantiles.tolist()]
        slices = ResponseSlices(service.requests, about_ns)
        sides.append(ServiceSide(endpoint, service, capture.health.of(endpoint), slices))
        if service.requests:
            first_ns, last_ns = capture.span
            median_ns = service.response_times.quantile(0.5)
            passed_ns = capture.run.pipeline.elapsed_ns
            lengths.append(slice_length(service.requests, median_ns, last_ns - first_ns, passed_ns)[0])
    return ServicePair(sides[0], sides[1], max(lengths))


def _finished(sweep: OccupancySweep) -> Occupancy | None:
    try:
        return sweep.finish()
    except TooManySlicesError:
        return None


def _series(side: ServiceSide, occupancy: Occupancy, span: tuple[int, int]) -> Series:
    """Give the busy slices that lie wholly inside the capture."""
    first_ns, last_ns = span
    edge_ns = min(max(side.service.response_times.quantile(0.99), 0), int((last_ns - first_ns) * MOST_EDGE))
    weighted_ns = occupancy.weighted_ns
    inside = (occupancy.start_ns >= first_ns + edge_ns) & (weighted_ns > 0)
    inside &= occupancy.start_ns + occupancy.interval_ns <= last_ns - edge_ns
    per_s = occupancy.interval_ns / 1e9
    return Series(
        weighted_ns[inside] / occupancy.interval_ns, occupancy.completions[inside] / per_s, side.slices.tick_ns
    )
