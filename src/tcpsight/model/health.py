"""How connections and the network of each service were, in counts whose variation in time is known.

Theory of operation
-------------------
Beside the sums of `tcpsight.model.services`: requests answered and not, and connections by how they ended, counted by
slices of time; retransmissions by connection; round trips of connections. From them come shares that can be compared
between captures (`tcpsight.model.shares`).

Of a part of a capture, segments are counted one by one as they come (`SentWithin`): the row of a connection that lives
across the cut is of its whole life, and would tell the same on both sides. Of its round trips there is no more than
that row, so they are left out there.

Memory: at most 7 KB for each service, and its round trips, of which there are two for each connection.

What it cannot see: more than the first `MOST_SERVICES` services that occur.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tcpsight.model.distribution import Distribution
from tcpsight.model.grouping import Endpoint, by_endpoint
from tcpsight.model.in_flight import OpenRequests
from tcpsight.model.services import FAILED_STATES, MOST_SERVICES
from tcpsight.model.shares import Clusters, SlicedCounts
from tcpsight.tables import KINDS, STATES, Connections, Network, Requests, Segments, Unanswered

CONNECTION_KINDS = ("connections", "failed", "refused", "no_answer", "reset")
REQUEST_KINDS = ("requests", "unanswered")

Integers = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

_RETRANSMISSION, _DUPLICATE = KINDS.index("retransmission"), KINDS.index("duplicate")
_FAILED = [STATES.index(name) for name in FAILED_STATES]
_RESET = [STATES.index(name) for name in ("client_reset", "server_reset")]


@dataclass(slots=True)
class Health:
    """What is known of one service.

    Attributes
    ----------
    requests : SlicedCounts
        `REQUEST_KINDS` by arrival; the first counts all.
    connections : SlicedCounts
        `CONNECTION_KINDS` by start: all, those that came to nothing, of these the refused and those without an answer
        to their SYN, and those ended by a RST.
    retransmissions : Clusters
        Segments sent again of all segments; a cluster is a direction of a connection.
    round_trips : tuple of Distribution
        The median round trip of each connection's data from the client, and from the server.
    open_requests : OpenRequests
        Those whose connection was open when the capture ended, until `HealthSummary.finish`.
    """

    requests: SlicedCounts = field(default_factory=lambda: SlicedCounts(len(REQUEST_KINDS)))
    connections: SlicedCounts = field(default_factory=lambda: SlicedCounts(len(CONNECTION_KINDS)))
    retransmissions: Clusters = field(default_factory=Clusters)
    round_trips: tuple[Distribution, Distribution] = field(default_factory=lambda: (Distribution(), Distribution()))
    open_requests: OpenRequests = field(default_factory=OpenRequests)

    def add_unanswered(self, unanswered: Unanswered) -> None:
        """Count requests that were never answered."""
        self.requests.add(unanswered.arrival_ns, np.ones((len(unanswered), len(REQUEST_KINDS)), np.int64))


class SentWithin:
    """Count segments, and those sent again, by direction of a connection; those of ended connections are given up."""

    def __init__(self) -> None:
        self._counts: dict[int, list[int]] = {}

    def feed(self, segments: Segments) -> None:
        """Take the segments of the part of the capture; the same segment captured twice counts once."""
        own = segments[segments.kind != _DUPLICATE]
        keys, which = np.unique(own.connection_id * 2 + own.direction, return_inverse=True)
        again = np.bincount(which[own.kind == _RETRANSMISSION], minlength=len(keys))
        for key, *counts in zip(keys.tolist(), again.tolist(), np.bincount(which).tolist(), strict=True):
            held = self._counts.setdefault(key, [0, 0])
            held[0] += counts[0]
            held[1] += counts[1]

    def take(self, rows: Network) -> tuple[Integers, Integers]:
        """Give how many segments of connections that ended were sent again, and how many there were, shape (n,)."""
        keys = (rows.connection_id * 2 + rows.direction).tolist()
        counts = np.array([self._counts.pop(key, (0, 0)) for key in keys], np.int64).reshape(-1, 2)
        return counts[:, 0], counts[:, 1]


class HealthSummary:
    """Collect the health of services; how rows are cut never changes the result.

    Parameters
    ----------
    is_whole : callable, optional
        Of a part of a capture: tells which spans of first and last instants lie wholly in it.
        Segments must be fed then.

    Attributes
    ----------
    services : dict of Endpoint to Health
        In order of appearance.
    """

    def __init__(self, is_whole: Callable[[Integers, Integers], Mask] | None = None) -> None:
        self.services: dict[Endpoint, Health] = {}
        self._is_whole = is_whole
        self._sent = SentWithin()

    def of(self, endpoint: Endpoint) -> Health:
        """Give what is known of a service; nothing, if nothing is."""
        return self.services.get(endpoint) or Health()

    def feed_requests(self, requests: Requests) -> None:
        """Take answered requests."""
        for endpoint, rows in by_endpoint(requests, "server_address", "server_port"):
            counts = np.zeros((len(rows), len(REQUEST_KINDS)), np.int64)
            counts[:, 0] = 1
            self._service(endpoint).requests.add(rows.arrival_ns, counts)

    def feed_unanswered(self, unanswered: Unanswered) -> None:
        """Take requests without an answer."""
        for endpoint, rows in by_endpoint(unanswered, "server_address", "server_port"):
            health, is_open = self._service(endpoint), rows.is_open != 0
            health.add_unanswered(rows[~is_open])
            if is_open.any():
                health.open_requests.add(rows[is_open])

    def finish(self, longest_ns: Callable[[Endpoint], int]) -> None:
        """Leave out who was in flight when the capture ended; told the longest response time of each service, or −1."""
        for endpoint, health in self.services.items():
            _, unanswered = health.open_requests.split(longest_ns(endpoint))
            health.add_unanswered(unanswered)

    def feed_connections(self, connections: Connections) -> None:
        """Take connections that ended."""
        for endpoint, rows in by_endpoint(connections, "server_address", "server_port"):
            counts = np.zeros((len(rows), len(CONNECTION_KINDS)), np.int64)
            counts[:, 0] = 1
            counts[:, 1] = np.isin(rows.state, _FAILED)
            counts[:, 2] = rows.state == STATES.index("refused")
            counts[:, 3] = rows.state == STATES.index("unanswered")
            counts[:, 4] = np.isin(rows.state, _RESET)
            self._service(endpoint).connections.add(rows.start_ns, counts)

    def feed_segments(self, segments: Segments) -> None:
        """Take segments of the part of the capture, before the rows of their connections."""
        self._sent.feed(segments)

    def feed_network(self, network: Network) -> None:
        """Take what the network did to directions of connections."""
        for endpoint, rows in by_endpoint(network, "server_address", "server_port"):
            health = self._service(endpoint)
            is_known = rows.retransmissions >= 0
            again, segments, is_told = rows.retransmissions, rows.segments, np.ones(len(rows), np.bool_)
            if self._is_whole is not None:
                again, segments = self._sent.take(rows)
                is_told = self._is_whole(rows.start_ns, rows.end_ns)
            health.retransmissions.add(again[is_known], segments[is_known])
            for direction in (0, 1):
                health.round_trips[direction].add(rows.rtt_p50_ns[is_told & (rows.direction == direction)])

    def _service(self, endpoint: Endpoint) -> Health:
        found = self.services.get(endpoint)
        if found is None:
            found = Health()
            if len(self.services) < MOST_SERVICES:
                self.services[endpoint] = found
        return found
