"""What happened at each service: requests, response times, connections, clients, the slowest and the unanswered.

Theory of operation
-------------------
Rows are grouped by server address and port, block by block, and added to one `Service` each. Everything kept is a
sum, a distribution that merges, or a list of fixed length, so memory follows the number of services and clients, of
which a fixed number are told apart: the first to occur. The others are added up in `ServiceSummary.others`. Who waited
when the capture ended is known to be unanswered, or not, at the end only (`ServiceSummary.finish`).

What it cannot see: which of several services behind one address and port (virtual hosts, a proxy) a request was for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tcpsight.model.distribution import Distribution
from tcpsight.model.grouping import Endpoint, EndpointGroups, by_endpoint, endpoint_groups
from tcpsight.model.in_flight import OpenRequests, in_flight
from tcpsight.model.turns import Turns
from tcpsight.tables import STATES, TIME_PARTS, VANTAGES, Connections, Requests, Unanswered

Instants = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

MOST_SERVICES = 10_000
"""How many services are told apart."""

MOST_CLIENTS = 10_000
"""How many clients are told apart, per service."""

SLOWEST = 10
"""How many of the slowest and of the longest unanswered requests are kept, per service."""

SUMMED = (
    "client_bytes",
    "server_bytes",
    "client_segments",
    "server_segments",
    "client_retransmissions",
    "server_retransmissions",
    "client_gap_bytes",
    "server_gap_bytes",
    "unsolicited_bytes",
    "is_farewell",
    "duplicates",
    "ignored_resets",
)
"""Columns of Connections that are added up; unknown ones (−1) count as nothing."""


FAILED_STATES = ("unanswered", "handshaking", "refused")
"""States of connections over which nothing could be asked."""


class Part(Protocol):
    """A part of the time of a capture."""

    def of_time(self, first_ns: Instants, last_ns: Instants) -> Mask:
        """Tell which spans overlap it."""

    def of_whole(self, first_ns: Instants, last_ns: Instants) -> Mask:
        """Tell which spans lie wholly in it."""


@dataclass(slots=True)
class Client:
    """What one client did at one service.

    Attributes
    ----------
    requests, unanswered, connections : int
        How many.
    response_time_sum_ns, response_time_max_ns : int
        Over its answered requests; −1 as the maximum where there is none.
    """

    requests: int = 0
    unanswered: int = 0
    connections: int = 0
    response_time_sum_ns: int = 0
    response_time_max_ns: int = -1


@dataclass(slots=True)
class Service:
    """Everything kept about one service.

    Attributes
    ----------
    response_times, connect_times, server_handshake_rtts, client_handshake_rtts : Distribution
        Of answered requests, of completed handshakes.
    request_bytes, response_bytes : int
        Sums over requests.
    unanswered, in_flight_at_end : int
        How many were never answered; how many were merely in flight when the capture ended.
    own_turns : Turns
        How its sides take turns, in the requests that are counted.
    usual_turns : Turns or None
        The same of all requests, where only a part of them is counted.
    states : ndarray of int64, shape (states,)
        Connections by end state, in the order of `STATES`.
    stateless_connections : int
        Connections whose state is unknown; they are in no number of `states`.
    retried_connections : int
        Connections whose SYN had to be repeated.
    whole_connections, unsolicited_bytes : int
        Connections whose SYN was captured; what their servers sent before any request. Of others nobody knows.
    joined_connections : int
        Connections with sequence numbers and without a SYN: they began before the capture.
    unsequenced_connections : int
        Connections without sequence numbers, whose retransmissions and gaps are unknown.
    tunnelled_connections : int
        Connections inside a tunnel over IP.
    reaching_connections : int
        Connections that began before the part of the time that is wanted, or ended after it.
    vantages : ndarray of int64, shape (vantages,)
        Connections by where they were captured, in the order of `VANTAGES`.
    totals : dict of str to int
        Sums of Connections columns.
    clients : dict of (bytes, int) to Client
        By address and IP version; under the key None those beyond `MOST_CLIENTS`.
    slowest : Requests
        Longest response time first.
    waiting, waiting_at_end : Unanswered
        Never answered, longest wait first; the same of those whose connection was open when the capture ended, which
        `ServiceSummary.finish` puts among the others.
    """

    response_times: Distribution = field(default_factory=Distribution)
    connect_times: Distribution = field(default_factory=Distribution)
    server_handshake_rtts: Distribution = field(default_factory=Distribution)
    client_handshake_rtts: Distribution = field(default_factory=Distribution)
    request_bytes: int = 0
    response_bytes: int = 0
    own_turns: Turns = field(default_factory=Turns)
    usual_turns: Turns | None = None
    unanswered: int = 0
    in_flight_at_end: int = 0
    states: np.ndarray[Any, np.dtype[np.int64]] = field(default_factory=lambda: np.zeros(len(STATES), np.int64))
    stateless_connections: int = 0
    retried_connections: int = 0
    whole_connections: int = 0
    unsolicited_bytes: int = 0
    joined_connections: int = 0
    unsequenced_connections: int = 0
    tunnelled_connections: int = 0
    reaching_connections: int = 0
    vantages: np.ndarray[Any, np.dtype[np.int64]] = field(default_factory=lambda: np.zeros(len(VANTAGES), np.int64))
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SUMMED, 0))
    times_ns: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TIME_PARTS, 0))
    clients: dict[tuple[bytes, int] | None, Client] = field(default_factory=dict)
    slowest: Requests = field(default_factory=Requests)
    waiting: Unanswered = field(default_factory=Unanswered)
    waiting_at_end: Unanswered = field(default_factory=Unanswered)
    open_requests: OpenRequests = field(default_factory=OpenRequests)

    @property
    def overlapped(self) -> int:
        """Requests that were sent while a response was going on."""
        return self.own_turns.overlapped

    @property
    def turns(self) -> Turns:
        """Whether its sides take turns, told by all of its requests that are known."""
        return self.own_turns if self.usual_turns is None else self.usual_turns

    @property
    def requests(self) -> int:
        """Answered requests."""
        return self.response_times.count

    @property
    def failed_connections(self) -> int:
        """Connections that were refused or never established."""
        return sum(int(self.states[STATES.index(name)]) for name in FAILED_STATES)

    @property
    def connections(self) -> int:
        """Connections, however they ended."""
        return int(self.states.sum()) + self.stateless_connections


class ServiceSummary:
    """Summarise tables by service.

    Feed blocks of any size in any order, then `finish`; how rows are cut never changes the result.

    Parameters
    ----------
    most_services : int
        How many services are told apart.
    part : Part, optional
        The part of the time that is wanted: set-up is of connections that began in it.

    Attributes
    ----------
    services : dict of Endpoint to Service
        In order of appearance.
    others : Service
        Those beyond `most_services`, added up.
    other_services_seen : bool
        Whether there were any.
    """

    def __init__(self, *, most_services: int = MOST_SERVICES, part: Part | None = None) -> None:
        self._part = part
        self.services: dict[Endpoint, Service] = {}
        self.others = Service()
        self.other_services_seen = False
        self._most = most_services
        self._usual_turns: dict[Endpoint, Turns] = {}

    def feed_requests(self, requests: Requests) -> None:
        """Take answered requests."""
        for service, rows in self._grouped(requests):
            service.response_times.add(rows.response_time_ns)
            service.request_bytes += int(rows.request_bytes.sum())
            service.response_bytes += int(rows.response_bytes.sum())
            service.own_turns.add(rows)
            service.slowest = Requests(_longest(service.slowest.rows, rows.rows, _duration(rows.rows)))
            _add_response_times(service, rows)

    def feed_usual(self, requests: Requests) -> None:
        """Take all answered requests, where only some are wanted: by these it is told whether sides take turns."""
        for endpoint, rows in by_endpoint(requests, "server_address", "server_port"):
            turns = self._usual_turns.get(endpoint)
            if turns is None and len(self._usual_turns) < self._most:
                turns = self._usual_turns[endpoint] = Turns()
            if turns is not None:
                turns.add(rows)

    def feed_unanswered(self, unanswered: Unanswered) -> None:
        """Take requests without an answer."""
        for service, rows in self._grouped(unanswered):
            is_open = rows.is_open != 0
            given_up, waiting = rows[~is_open], rows[is_open]
            if len(given_up):
                service.unanswered += len(given_up)
                service.waiting = _longest_waits(service.waiting, given_up)
                _add_counts(service, given_up, "unanswered")
            if len(waiting):
                _clients(service, waiting)
                service.waiting_at_end = _longest_waits(service.waiting_at_end, waiting)
                service.open_requests.add(waiting)

    def feed_connections(self, connections: Connections) -> None:
        """Take connections that ended."""
        for service, rows in self._grouped(connections):
            states = np.bincount(rows.state, minlength=len(STATES))
            service.states += states[: len(STATES)]
            service.stateless_connections += int(states[len(STATES) :].sum())
            is_whole = rows.connect_attempts > 0
            service.whole_connections += int(is_whole.sum())
            service.unsolicited_bytes += _sum(np.maximum(rows.unsolicited_bytes[is_whole], 0))
            service.joined_connections += int(((rows.connect_attempts == 0) & (rows.is_sequenced != 0)).sum())
            service.unsequenced_connections += int((rows.is_sequenced == 0).sum())
            service.tunnelled_connections += int((rows.encapsulation != 0).sum())
            service.vantages += np.bincount(rows.vantage, minlength=len(VANTAGES))
            for name in SUMMED:
                values = rows.rows[name]
                service.totals[name] += int(values[values > 0].sum(dtype=np.int64))
            accounted = rows.rows[rows.unknown_ns >= 0]
            for part in TIME_PARTS:
                service.times_ns[part] += _sum(np.maximum(accounted[f"{part}_ns"], 0))
            _add_counts(service, rows, "connections")
            self._feed_set_up(service, rows)

    def _feed_set_up(self, service: Service, rows: Connections) -> None:
        """Count how connections were set up: in the part in which they began."""
        if self._part is not None:
            is_whole = self._part.of_whole(rows.start_ns, rows.end_ns)
            service.reaching_connections += len(rows) - int(is_whole.sum())
            rows = rows[self._part.of_time(rows.start_ns, rows.start_ns)]
        service.retried_connections += int((rows.connect_attempts > 1).sum())
        service.connect_times.add(rows.connect_ns)
        service.server_handshake_rtts.add(rows.server_handshake_rtt_ns)
        service.client_handshake_rtts.add(rows.client_handshake_rtt_ns)

    def know(self, connections: Connections) -> None:
        """Tell services apart that connections are of, and count nothing."""
        for _ in self._grouped(connections):
            pass

    def finish(self) -> None:
        """Tell who was in flight when the capture ended from who was never answered: everything has been fed."""
        for endpoint, known in self.services.items():
            known.usual_turns = self._usual_turns.get(endpoint)
        for service in (*self.services.values(), self.others):
            longest_ns = service.response_times.max
            count, unanswered = service.open_requests.split(longest_ns)
            service.in_flight_at_end += count
            service.unanswered += len(unanswered)
            if len(unanswered):
                _add_counts(service, unanswered, "unanswered")
            rows = service.waiting_at_end
            service.waiting = _longest_waits(service.waiting, rows[~in_flight(rows, longest_ns)])
            service.waiting_at_end = Unanswered()

    def largest(self, n: int) -> list[tuple[Endpoint, Service]]:
        """Give the `n` services with the most requests, then the most connections; equal ones by endpoint."""
        return sorted(
            self.services.items(),
            key=lambda item: (
                -(item[1].requests + item[1].unanswered + item[1].in_flight_at_end),
                -item[1].connections,
                item[0],
            ),
        )[:n]

    def _grouped(self, table: Any) -> Iterator[tuple[Service, Any]]:
        """Give each service its rows, in order of appearance."""
        for (address, port, version), rows in by_endpoint(table, "server_address", "server_port"):
            yield self._service((address, port, version)), rows

    def _service(self, endpoint: Endpoint) -> Service:
        service = self.services.get(endpoint)
        if service is None:
            if len(self.services) >= self._most:
                self.other_services_seen = True
                return self.others
            service = self.services[endpoint] = Service()
        return service


def _sum(values: Any) -> int:
    """Add up durations; what would not fit in 64 bits loses its last digits only."""
    total = float(values.sum(dtype=np.float64))
    return int(values.sum(dtype=np.int64)) if total < 2**62 else int(total)


def _clients(service: Service, table: Any) -> tuple[list[Client], EndpointGroups]:
    """Give the clients of a service that have rows, and which."""
    groups = endpoint_groups(table, "client_address", None)
    clients = []
    for address, _, version in groups.endpoints:
        key: tuple[bytes, int] | None = (address, version)
        if key not in service.clients and len(service.clients) >= MOST_CLIENTS:
            key = None
        clients.append(service.clients.setdefault(key, Client()))
    return clients, groups


def _add_response_times(service: Service, requests: Requests) -> None:
    """Tell each client of a service about its requests."""
    clients, groups = _clients(service, requests)
    times_ns = requests.response_time_ns[groups.order]
    sums_ns = np.add.reduceat(times_ns, groups.starts)
    rough_ns = np.add.reduceat(times_ns.astype(np.float64), groups.starts)
    # What would not fit in 64 bits loses its last digits only.
    exact_ns = [e if r < 2**62 else int(r) for e, r in zip(sums_ns.tolist(), rough_ns.tolist(), strict=True)]
    columns = groups.counts, np.array(exact_ns, object), np.maximum.reduceat(times_ns, groups.starts)
    for client, count, sum_ns, max_ns in zip(clients, *(column.tolist() for column in columns), strict=True):
        client.requests += count
        client.response_time_sum_ns += sum_ns
        client.response_time_max_ns = max(client.response_time_max_ns, max_ns)


def _add_counts(service: Service, table: Any, name: str) -> None:
    """Add to an attribute of each client of a service how many rows it has."""
    clients, groups = _clients(service, table)
    for client, count in zip(clients, groups.counts.tolist(), strict=True):
        setattr(client, name, getattr(client, name) + count)


def _longest(kept: Any, rows: Any, durations_ns: Any) -> Any:
    """Merge the longest of `rows` into those kept, longest first; equal ones in order of arrival."""
    if len(rows) > SLOWEST:
        if len(kept) == SLOWEST:
            # Nearly always nothing in the block is slow enough.
            least = _duration(kept[-1:])[0]
            rows, durations_ns = rows[durations_ns >= least], durations_ns[durations_ns >= least]
        if len(rows) > SLOWEST:
            cut = np.partition(durations_ns, len(rows) - SLOWEST)[len(rows) - SLOWEST]
            rows = rows[durations_ns >= cut]
    merged = np.concatenate([kept, rows]) if len(kept) else rows
    order = np.lexsort((merged["request_index"], merged["connection_id"], merged["arrival_ns"], -_duration(merged)))
    return merged[order[:SLOWEST]].copy()


def _longest_waits(kept: Unanswered, rows: Unanswered) -> Unanswered:
    """Merge requests into those kept that waited longest."""
    return Unanswered(_longest(kept.rows, rows.rows, _duration(rows.rows))) if len(rows) else kept


def _duration(rows: Any) -> Any:
    end = "end_ns" if "end_ns" in rows.dtype.names else "completion_ns"
    return rows[end] - rows["arrival_ns"]
