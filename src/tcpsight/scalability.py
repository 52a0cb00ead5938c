"""The scalability of services: from a capture or a table to points, and from points to facts as plain values.

Theory of operation
-------------------
Requests are collected by service and sorted by arrival (on disk beyond a million). When the capture has ended, each
service gets slices of a length that suits it (`slice_length`), and its requests are swept into them once more
(`tcpsight.model.occupancy`). What is left out, counted, is what does not tell how throughput depends on load:

* *edges*: slices that the capture cuts short, or that lie within the 99th-percentile response time of its beginning or
  end: requests that began before it, and those that ended after it, are missing there;
* *idle* slices, in which nobody was there (they are not even kept);
* *warm-up*: first slices below the law (`tcpsight.model.residual_checks.warm_up`);
* *outliers* (`tcpsight.model.scalability`).

Slices with residents but without a completion stay: nobody was served, and that is a throughput.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.errors import UsageError
from tcpsight.model import scalability
from tcpsight.model.auto_interval import duration_text
from tcpsight.model.grouping import Endpoint
from tcpsight.model.identifying import Reason
from tcpsight.model.occupancy import Occupancy, OccupancySweep
from tcpsight.model.scalability import Points
from tcpsight.model.services import Service, ServiceSummary
from tcpsight.output.blocks import BlockWriter
from tcpsight.output.spill import SortedSpill
from tcpsight.scalability_facts import Facts, Left, facts_of, refused
from tcpsight.tables import Requests, Unanswered

if TYPE_CHECKING:
    from tcpsight.analysis import Run
    from tcpsight.pipeline import Batch
    from tcpsight.point_tables import PointTable

BLOCK_ROWS = 65_536
MOST_SERVICES = 10

WANTED_COMPLETIONS = 50
"""Completions of a mean slice: below ten, what happens by chance in it decides which levels it had."""
LEAST_COMPLETIONS = 10
RESPONSE_TIMES = 10
"""Median response times in a slice, so that requests that run across its edge are few."""
WANTED_SLICES = 60
LIKELY_SLICES = 50_000
"""No more are chosen: `tcpsight.model.occupancy` refuses twice as many, and they tell a curve no more."""

MOST_EDGE = 0.1
"""Of the time of the capture, at each end."""

LONGEST_NS = 2**60
"""Of a slice: clocks may leap by centuries, and ends of slices must not overflow."""

MOST_LOADS, HIGHEST_LOAD = 100, 1e9
"""Of the concurrencies that somebody wants forecast."""

FINE_LEVELS = 64
"""Up to so many residents each level is told apart; beyond, those within two percent are one."""


def slice_length(requests: int, median_ns: int, span_ns: int, passed_ns: int) -> tuple[int, str]:
    """Choose how long slices are; give it, and why.

    Parameters
    ----------
    requests : int
        How many completed.
    median_ns : int
        Their median response time.
    span_ns : int
        Length of the capture.
    passed_ns : int
        How long it took: less than its length where the clock was set forward.
    """
    per_request = max(passed_ns // max(requests, 1), 1)
    by_count, by_time = WANTED_COMPLETIONS * per_request, RESPONSE_TIMES * median_ns
    length, reason = by_count, f"holds {WANTED_COMPLETIONS} completions in the mean"
    if by_time > by_count:
        length, reason = by_time, f"is {RESPONSE_TIMES} times the median response time of {duration_text(median_ns)}"
    if passed_ns // length < WANTED_SLICES:
        shorter = max(passed_ns // WANTED_SLICES, LEAST_COMPLETIONS * per_request, 3 * median_ns)
        if shorter < length:
            length, reason = shorter, "is short, as the capture is, so that there are points to fit"
    if span_ns // length > LIKELY_SLICES:
        length, reason = span_ns // LIKELY_SLICES, "is as short as so many requests allow"
    length = min(_two_digits(max(length, 1000)), LONGEST_NS)
    return length, f"{duration_text(length)}, which {reason}"


def _two_digits(length_ns: int) -> int:
    """Round up to two digits."""
    power: int = 10 ** max(len(str(length_ns)) - 2, 0)
    return -(-length_ns // power) * power


@dataclass(slots=True)
class _Target:
    """A service on its way to points."""

    endpoint: Endpoint
    service: Service
    interval_ns: int
    reason: str | None
    sweep: OccupancySweep


class ScalabilityCollection:
    """Collect the requests of a capture, then tell how each of its largest services scales.

    Parameters
    ----------
    interval_ns : int, optional
        Length of a slice; None chooses one for each service.
    most_services : int
        How many.
    seed : int
        Of the resampling.
    at : sequence of float
        Concurrencies that forecasts shall have.
    """

    def __init__(
        self,
        interval_ns: int | None = None,
        *,
        most_services: int = MOST_SERVICES,
        seed: int | None = None,
        at: Sequence[float] = (),
    ) -> None:
        self._interval_ns = interval_ns
        self._most_services = most_services
        self._seed, self._at = seed, at
        self._summary = ServiceSummary()
        self._by_arrival = SortedSpill(Requests, ("arrival_ns",))
        self._requests = BlockWriter(Requests, BLOCK_ROWS, self._summary.feed_requests)
        self._unanswered = BlockWriter(Unanswered, BLOCK_ROWS, self._summary.feed_unanswered)

    def feed(self, batch: Batch) -> None:
        """Take what became final."""
        self._requests.write(batch.requests)
        self._unanswered.write(batch.unanswered)
        self._by_arrival.add(batch.residents)

    def facts(self, run: Run) -> Facts:
        """Give the answer, when the run has ended: that of the largest service, and under `services` of each."""
        self._requests.flush()
        self._unanswered.flush()
        self._summary.finish()
        span = run.pipeline.span
        services = []
        if span is not None:
            largest = self._summary.largest(self._most_services)
            passed_ns = run.pipeline.elapsed_ns
            sweeps = ScalabilitySweeps(largest, span, passed_ns, self._interval_ns, seed=self._seed, at=self._at)
            for requests in self._by_arrival.sorted() if len(sweeps) else ():
                sweeps.feed(requests)
            services = sweeps.facts()
        told = (
            services[0] if services else refused(_no_points(), Left(), Reason("no_requests", "no request was answered"))
        )
        files = [each.path for each in run.capture.files]
        omitted = max(sum(1 for each in self._summary.services.values() if each.requests) - len(services), 0)
        return told | {"source": files, "services": services, "omitted_services": omitted}


class ScalabilitySweeps:
    """Sweep requests in order of arrival into the slices of their services; then fit each service.

    Parameters
    ----------
    services : sequence of (Endpoint, Service)
        Those without a request are left out.
    span : tuple of int
        First and last instant of the capture, in ns since the epoch.
    passed_ns : int
        How long it took, whatever its clock says.
    interval_ns : int, optional
        Length of a slice; None chooses one for each service.
    seed : int, optional
        Of the resampling.
    at : sequence of float
        Concurrencies that forecasts shall have.
    """

    def __init__(
        self,
        services: Sequence[tuple[Endpoint, Service]],
        span: tuple[int, int],
        passed_ns: int,
        interval_ns: int | None = None,
        *,
        seed: int | None = None,
        at: Sequence[float] = (),
    ) -> None:
        self._span = span
        self._seed, self._at = seed, at
        asked = [(endpoint, each) for endpoint, each in services if each.requests]
        self._targets = [_target(endpoint, each, span, passed_ns, interval_ns) for endpoint, each in asked]

    def __len__(self) -> int:
        return len(self._targets)

    def feed(self, requests: Requests) -> None:
        """Take the next requests, in order of arrival."""
        for target in self._targets:
            own = _is_of(requests, target.endpoint)
            target.sweep.feed(requests.arrival_ns[own], requests.completion_ns[own])

    def facts(self) -> list[Facts]:
        """Fit; give the facts of each service, in order."""
        return [self._service(target, *self._span) for target in self._targets]

    def _service(self, target: _Target, first_ns: int, last_ns: int) -> Facts:
        occupancy = target.sweep.finish()
        edge_ns = min(target.service.response_times.quantile(0.99), int((last_ns - first_ns) * MOST_EDGE))
        inside = occupancy.start_ns >= first_ns + edge_ns
        inside &= occupancy.start_ns + occupancy.interval_ns <= last_ns - edge_ns
        busy = occupancy.weighted_ns > 0
        points = _points(occupancy).where(inside & busy)
        left = Left(
            edges=int((~inside & busy).sum()),
            without_completion=int((inside & busy & (occupancy.completions == 0)).sum()),
            start_ns=occupancy.start_ns[inside & busy],
            littles_law=_littles_law(occupancy, inside & busy),
        )
        service = target.service
        # Without turns nobody knows when a request ends, nor how many there are at once.
        if why := service.turns.reason:
            told = refused(_no_points(), Left(), Reason("no_turns", why))
        else:
            told = facts_of(points, left, seed=self._seed, at=self._at)
        return told | {
            "server_address": _address(target.endpoint),
            "server_port": target.endpoint[1],
            "requests": service.requests,
            "unanswered": service.unanswered,
            "in_flight_at_end": service.in_flight_at_end,
            "overlapped": service.overlapped,
            "interval_ns": target.interval_ns,
            "interval_reason": target.reason,
        }


def _target(
    endpoint: Endpoint, service: Service, span: tuple[int, int], passed_ns: int, interval_ns: int | None
) -> _Target:
    length, reason = interval_ns, None
    if length is None:
        median_ns = service.response_times.quantile(0.5)
        length, reason = slice_length(service.requests, median_ns, span[1] - span[0], passed_ns)
    return _Target(endpoint, service, length, reason, OccupancySweep(length, *span))


def facts_of_table(table: PointTable, *, seed: int | None = None, at: Sequence[float] = ()) -> Facts:
    """Give the facts of a table of points.

    Parameters
    ----------
    table : PointTable
        The points.
    seed : int, optional
        Of the resampling.
    at : sequence of float
        Concurrencies that the forecast shall have.
    """
    n, x = np.array(table.concurrency, np.float64), np.array(table.throughput_per_s, np.float64)
    points, left = Points(n, x), Left(edges=table.partial, idle=table.idle)
    if table.start_ns and len(n):
        order = np.argsort(table.start_ns, kind="stable")
        points = Points(n[order], x[order], np.array(table.lengths_s)[order], is_series=True)
        left = replace(left, start_ns=np.array(table.start_ns, np.int64)[order])
    left = replace(left, without_completion=int((x == 0).sum()))
    return facts_of(points, left, seed=seed, at=at) | {"source": [table.name], "services": []}


def _no_points() -> Points:
    return Points(np.zeros(0), np.zeros(0), is_series=True)


def _points(occupancy: Occupancy) -> Points:
    """Make a point of every slice."""
    try:
        from scipy import sparse
    except ImportError:
        raise UsageError(scalability.NEEDS_SCIPY) from None

    interval_ns = occupancy.interval_ns
    levels, which = _grouped(occupancy.cell_level, occupancy.cell_ns)
    shape = (len(occupancy.start_ns), len(levels))
    shares = sparse.csr_array((occupancy.cell_ns / interval_ns, (occupancy.cell_slice, which)), shape=shape)
    return Points(
        occupancy.weighted_ns / interval_ns,
        occupancy.completions / (interval_ns / 1e9),
        np.full(len(occupancy.start_ns), interval_ns / 1e9),
        levels,
        shares,
        is_series=True,
    )


def _grouped(level: Any, ns: Any) -> tuple[Any, Any]:
    """Give the levels that are told apart, and which of them each cell belongs to: high ones that are near are one."""
    fine = level <= FINE_LEVELS
    code = np.where(fine, level, FINE_LEVELS + 1 + np.log(np.maximum(level, FINE_LEVELS) / FINE_LEVELS) // 0.02)
    _, which = np.unique(code, return_inverse=True)
    time = np.bincount(which, ns)
    return np.bincount(which, ns * level.astype(np.float64)) / np.maximum(time, 1), which


def _littles_law(occupancy: Occupancy, inside: Any) -> Facts | None:
    """Compare, slice by slice and over all, concurrency with throughput times response time."""
    weighted, response_times = occupancy.weighted_ns[inside], occupancy.response_time_sum_ns[inside]
    arrivals, completions = occupancy.arrivals[inside], occupancy.completions[inside]
    both = (arrivals > 0) & (completions > 0)
    if not both.any():
        return None
    product = completions[both] * response_times[both] / arrivals[both]
    ratio = product / weighted[both]
    total = completions.sum() * (response_times.sum() / arrivals.sum())
    return {
        "intervals": int(both.sum()),
        "ratio_p50": float(np.median(ratio)),
        "ratio_p05": float(np.quantile(ratio, 0.05)),
        "ratio_p95": float(np.quantile(ratio, 0.95)),
        "ratio_total": float(total / weighted.sum()),
    }


def _is_of(requests: Requests, endpoint: Endpoint) -> Any:
    """Give the numbers of the requests of a service."""
    address, port, version = endpoint
    like = np.flatnonzero((requests.server_port == port) & (requests.ip_version == version))
    halves = np.ascontiguousarray(requests.server_address[like]).view(np.uint64)
    upper, lower = np.frombuffer(address, np.uint64)
    return like[(halves[:, 0] == upper) & (halves[:, 1] == lower)]


def _address(endpoint: Endpoint) -> str:
    address, _, version = endpoint
    return str(ipaddress.ip_address(address[12:] if version == 4 else address))


def parse_columns(text: str | None) -> Sequence[str] | None:
    """Read ``N,X``: the columns of a table that hold concurrency and throughput.

    Raises
    ------
    UsageError
        They are not two.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise UsageError(f"{text!r} are no two columns; write concurrency,throughput by name, or by number as 1,2")
    return names


def parse_loads(text: str | None) -> tuple[float, ...]:
    """Read ``N,N…``: the concurrencies to forecast.

    Raises
    ------
    UsageError
        One is no number from 1 to a thousand million, or there are more than a hundred.
    """
    if text is None:
        return ()
    words = [word.strip() for word in text.split(",")]
    try:
        loads = tuple(map(float, words))
    except ValueError:
        loads = ()
    if not loads or len(loads) > MOST_LOADS or not all(1 <= each <= HIGHEST_LOAD for each in loads):
        raise UsageError(f"{text[:40]!r} are no concurrencies; write numbers from 1 up, as 50 or 50,100,200")
    return loads
