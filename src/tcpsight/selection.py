"""Which rows are wanted: services and a span of time, chosen after the rooms, whose state is built from everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.connections import Server
from tcpsight.requests import Paired
from tcpsight.tables import Boundaries, Connections, Headers, Policed, Requests, Sketches

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are wanted.

    Attributes
    ----------
    servers : tuple of Server
        Services to keep; empty: all.
    since_ns, until_ns : int or None
        Requests that arrive, connections that overlap, segments that lie in [since_ns, until_ns).
    """

    servers: tuple[Server, ...] = ()
    since_ns: int | None = None
    until_ns: int | None = None

    def of_services(self, rows: Requests | Connections | Policed | Boundaries | Sketches) -> Mask:
        """Tell which rows belong to the selected services, shape (n,)."""
        if not self.servers:
            return np.ones(len(rows), np.bool_)
        wanted = np.zeros(len(rows), np.bool_)
        for server in self.servers:
            mask = np.ones(len(rows), np.bool_)
            if server.port:
                mask &= rows.server_port == server.port
            if server.address is not None:
                address = np.frombuffer(server.address, np.uint8)
                mask &= (rows.server_address == address).all(axis=1) & (rows.ip_version == server.ip_version)
            wanted |= mask
        return wanted

    def of_arrivals(self, rows: Requests) -> Mask:
        """Tell which requests are wanted, shape (n,): those of the services that arrived in the wanted time."""
        return self.of_services(rows) & self.of_time(rows.arrival_ns, rows.arrival_ns)

    def of_residents(self, rows: Requests, last_ns: np.ndarray[Any, Any]) -> Mask:
        """Tell which requests of the services were there in the wanted time, shape (n,): from arrival to `last_ns`."""
        return self.of_services(rows) & self.of_time(rows.arrival_ns, np.maximum(rows.arrival_ns, last_ns))

    def of_time(self, first_ns: np.ndarray[Any, Any], last_ns: np.ndarray[Any, Any]) -> Mask:
        """Tell which spans [first_ns, last_ns] overlap the wanted time, shape (n,)."""
        wanted = np.ones(len(first_ns), np.bool_)
        if self.since_ns is not None:
            wanted &= last_ns >= self.since_ns
        if self.until_ns is not None:
            wanted &= first_ns < self.until_ns
        return wanted

    def span(self, first_ns: int, last_ns: int) -> tuple[int, int] | None:
        """Give the part of [first_ns, last_ns] that lies in the wanted time; None if no part does."""
        begin_ns = first_ns if self.since_ns is None else max(first_ns, self.since_ns)
        end_ns = last_ns if self.until_ns is None else min(last_ns, self.until_ns)
        return (begin_ns, end_ns) if begin_ns <= end_ns else None

    @property
    def is_part(self) -> bool:
        """Whether some of the time is left out."""
        return self.since_ns is not None or self.until_ns is not None

    def of_whole(self, first_ns: np.ndarray[Any, Any], last_ns: np.ndarray[Any, Any]) -> Mask:
        """Tell which spans [first_ns, last_ns] lie wholly in the wanted time, shape (n,)."""
        # One overlaps that ends late and begins early enough; one lies within that begins late and ends early enough.
        return self.of_time(last_ns, first_ns)

    @property
    def is_everything(self) -> bool:
        """Whether no row is left out."""
        return not self.servers and self.since_ns is None and self.until_ns is None


def of_ports(headers: Headers, ports: tuple[int, ...]) -> Mask:
    """Tell which segments come from or go to one of the ports, shape (n,)."""
    is_wanted = np.zeros(1 << 16, np.bool_)
    is_wanted[list(ports)] = True
    wanted: Mask = is_wanted[headers.source_port] | is_wanted[headers.destination_port]
    return wanted


def without(paired: Paired, kinds: tuple[str, ...]) -> Paired:
    """Leave out requests that are marked as one of these kinds."""
    requests, unanswered = paired.requests, paired.unanswered
    for kind in kinds:
        requests = requests[requests.rows[f"is_{kind}"] == 0]
        unanswered = unanswered[unanswered.rows[f"is_{kind}"] == 0]
    return paired._replace(requests=requests, unanswered=unanswered)
