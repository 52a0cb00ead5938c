"""What was counted at each service since a watch began: for those who add up by themselves, as monitoring does.

Theory of operation
-------------------
Counts of requests are added as requests are answered or end. Counts of connections are the sum over those that ended,
kept, and those that are open, looked at anew each time; so that a connection that stays open for weeks is counted with
what it did so far. Rows belong to the service's place in `ServicePlaces`; when a place changes hands, what its former
service had is added to the others, whose counts never fall either.

Response times are counted in histogram buckets whose bounds are fixed, 1-2.5-5 steps from 10 µs to 100 s: bounds that
moved could not be added up over time or over machines.

What it cannot see: open connections of services that have no rows of their own, which count when they end; what a clock
step or the limit on open connections took from a connection that was given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.tables import RESPONSE_TIME_BOUNDS_NS, STATES, Connections, Requests, ServiceTotals, Unanswered

if TYPE_CHECKING:
    from tcpsight.model.grouping import Endpoint
    from tcpsight.model.service_places import Codes, ServicePlaces

_BOUNDS = np.array(RESPONSE_TIME_BOUNDS_NS, np.int64)

_FROM_CONNECTIONS = (
    "client_bytes",
    "server_bytes",
    "client_segments",
    "server_segments",
    "client_retransmissions",
    "server_retransmissions",
)

_STATES = {
    "unanswered_connections": "unanswered",
    "refused_connections": "refused",
    "client_resets": "client_reset",
    "server_resets": "server_reset",
}

_OPEN_STATES = [STATES.index(name) for name in ("handshaking", "open", "half_closed")]

_SUMS = (
    "requests",
    "late",
    "response_time_sum_ns",
    "unanswered",
    "connections",
    "gap_bytes",
    *_FROM_CONNECTIONS,
    *_STATES,
)

Counts = dict[str, np.ndarray[Any, np.dtype[np.int64]]]


class LiveTotals:
    """Add up what each service did.

    Parameters
    ----------
    places : ServicePlaces
        Which services have rows of their own.

    Attributes
    ----------
    histogram : ndarray of int64, shape (places + 1, bounds + 1)
        Response times by service and bucket of `RESPONSE_TIME_BOUNDS_NS`; the last row is that of the others.
    """

    def __init__(self, places: ServicePlaces) -> None:
        self._places = places
        self._owners: list[Endpoint] = []
        self._sums: Counts = {name: np.zeros(1, np.int64) for name in _SUMS}
        self.histogram = np.zeros((1, len(RESPONSE_TIME_BOUNDS_NS) + 1), np.int64)
        self._shown: Counts = {}

    def take(self, answered: Requests, unanswered: Unanswered, open_since_ns: int) -> None:
        """Count requests that were answered, and those that lost their connection.

        Those that arrived before `open_since_ns`, where the oldest slice begins that was not given, are late.
        """
        self._follow_places()
        if len(answered):
            codes = self._places.codes(answered)
            self._add("requests", codes)
            self._add("late", codes, answered.arrival_ns < open_since_ns)
            self._add("response_time_sum_ns", codes, answered.response_time_ns)
            buckets = np.searchsorted(_BOUNDS, answered.response_time_ns)
            flat = codes.astype(np.int64) * self.histogram.shape[1] + buckets
            self.histogram += np.bincount(flat, minlength=self.histogram.size).reshape(self.histogram.shape)
        if len(unanswered):
            self._add("unanswered", self._places.codes(unanswered))

    def end(self, connections: Connections) -> None:
        """Count connections that ended."""
        if len(connections):
            self._follow_places()
            for name, counts in self._of_connections(connections).items():
                self._sums[name] += counts

    def table(self, open_connections: Connections, waiting: Unanswered) -> ServiceTotals:
        """Give what was counted so far; a row for each place, then one for the others."""
        self._follow_places()
        n = len(self._places) + 1
        table = ServiceTotals.allocate(n)
        for place, (address, port, version) in enumerate(self._places.endpoints):
            table.rows["server_address"][place] = np.frombuffer(address, np.uint8)
            table.rows["server_port"][place] = port
            table.rows["ip_version"][place] = version
        table.rows["server_port"][n - 1] = -1
        table.rows["is_other"][n - 1] = True
        # An open connection of a service that has no row may find one yet, and counts when it ends otherwise.
        more = self._of_connections(open_connections)
        for counts in more.values():
            counts[-1] = 0
        for name in _SUMS:
            counts = self._sums[name] + more.get(name, 0)
            table.rows[name] = self._never_falling(name, counts)
        table.rows["waiting"] = np.bincount(self._places.codes(waiting), minlength=n)
        is_open = np.isin(open_connections.state, _OPEN_STATES)
        table.rows["open_connections"] = np.bincount(self._places.codes(open_connections)[is_open], minlength=n)
        return table

    # -------------------------------------------------------------------------------------------------- parts

    def _add(self, name: str, codes: Codes, weights: Any = None) -> None:
        sums = self._sums[name]
        if weights is None:
            sums += np.bincount(codes, minlength=len(sums))
        else:
            np.add.at(sums, codes, weights)

    def _of_connections(self, connections: Connections) -> Counts:
        """Add up what connections tell, by place."""
        n = len(self._places) + 1
        counts: Counts = {"connections": np.zeros(n, np.int64)}
        codes = self._places.codes(connections)
        counts["connections"] += np.bincount(codes, minlength=n)
        columns = {name: connections.rows[name] for name in _FROM_CONNECTIONS}
        # Unknown is −1, and adds nothing.
        columns["gap_bytes"] = np.maximum(connections.client_gap_bytes, 0) + np.maximum(connections.server_gap_bytes, 0)
        for name, state in _STATES.items():
            columns[name] = connections.state == STATES.index(state)
        for name, values in columns.items():
            counts[name] = np.zeros(n, np.int64)
            np.add.at(counts[name], codes, np.maximum(values, 0))
        return counts

    def _never_falling(self, name: str, counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Keep a count where it was if an open connection is seen in another light than before."""
        before = self._shown.get(name)
        if before is not None:
            counts[: len(before) - 1] = np.maximum(counts[: len(before) - 1], before[:-1])
            counts[-1] = max(counts[-1], before[-1])
        self._shown[name] = counts
        return counts

    def _follow_places(self) -> None:
        """Make room for services that are new, and move what one had that lost its place to the others."""
        endpoints = self._places.endpoints
        added = len(endpoints) - len(self._owners)
        lost = [i for i, owner in enumerate(self._owners) if owner != endpoints[i]]
        if not added and not lost:
            return
        for counts in (*self._sums.values(), *self._shown.values(), self.histogram):
            for place in lost:
                counts[-1] += counts[place]
                counts[place] = 0
        if added:
            self._sums = {name: _widened(counts, added) for name, counts in self._sums.items()}
            self._shown = {name: _widened(counts, added) for name, counts in self._shown.items()}
            self.histogram = _widened(self.histogram, added)
        self._owners = list(endpoints)


def _widened(counts: np.ndarray[Any, Any], added: int) -> np.ndarray[Any, Any]:
    """Put rows of zeros in front of the last one."""
    zeros = np.zeros((added, *counts.shape[1:]), counts.dtype)
    return np.concatenate([counts[:-1], zeros, counts[-1:]])
