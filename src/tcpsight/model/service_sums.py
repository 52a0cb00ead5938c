"""What the connections of each service come to: sums for every service, and cases where there is something to tell.

Theory of operation
-------------------
A scan of a network has as many services as connections, so what every service has is a row of numbers, added to for a
whole batch at once. Only connections that may show a condition are kept one by one (`Cases`), as few as a rule needs.

Memory: 0.3 KB for each of at most `MOST_SUMMED` services, 130 B for each of at most `MOST_CASES`; see
`lone_handshakes` for these.

What it cannot see: services beyond `MOST_SUMMED`, cases beyond `MOST_CASES`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.model.finding_shapes import (
    CLIENT_RESET,
    HALF_CLOSED,
    LEAST_MTU_PAYLOAD,
    OPEN,
    REFUSED,
    SERVER_RESET,
    UNANSWERED,
    Array,
    Bools,
)
from tcpsight.model.grouping import Endpoint, endpoint_groups
from tcpsight.model.lone_handshakes import Crowd, LoneHandshakes, is_lone
from tcpsight.tables import Connections, Network

MOST_SUMMED = 64_000
"""Services whose connections are added up."""

MOST_TIMES = 4096
"""Instants kept of each sort and service; a storm is seen in these."""

MOST_CASES = 1 << 18
"""Cases kept of all services together."""

LEAST_CONNECTED = 20
LEAST_LONE = 10
"""A service without cases and with fewer of both meets no rule."""

UNTAKEN_RETRANSMISSIONS = 2
"""Once it may have been lost."""

_NUMBERS = np.dtype(
    [
        ("connections", np.int64),
        ("start_ns", np.int64),
        ("end_ns", np.int64),
        ("requests", np.int64),
        ("connected", np.int64),
        ("connect_ns", np.int64),
        ("duration_ns", np.int64),
        ("churn_id", np.int64),
        ("lost", np.int64),
        ("server_gap_ns", np.int64),
        ("client_gap_ns", np.int64),
        ("lone", np.int64),
    ]
)

Cases = list[tuple[int, int]]
"""When each was seen last, and its `connection_id`."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What the connections of a service come to; times in ns.

    Attributes
    ----------
    connections : int
        How many there were, of which `connected` completed their handshake and `lone` were left at one SYN.
    start_ns, end_ns : int
        The first and the last segment of any.
    cases : dict of Cases
        By sort: `client_resets`, `server_resets`, `half_closed`, `clients_vanished`, `servers_vanished`, `repeated`
        SYNs, `dropped` handshakes, what was `untaken`.
    lone_rows : ndarray of LONE
        Those of the service that were kept, in their order.
    crowd : Crowd or None
        Those that were counted.
    has_data : bool
        Whether data were captured, of this service or another: then not only segments that open and close.
    """

    connections: int
    start_ns: int
    end_ns: int
    requests: int
    connected: int
    connect_ns: int
    duration_ns: int
    churn_id: int
    lost: int
    server_gap_ns: int
    client_gap_ns: int
    lone: int
    cases: dict[str, Cases]
    lone_rows: Array
    crowd: Crowd | None
    has_data: bool


class ServiceSums:
    """Add up what connections are, service by service.

    Parameters
    ----------
    has_data : bool
        Whether data were captured before.

    Attributes
    ----------
    end_ns : int
        The last segment of any; 0 where there was none.
    has_data : bool
        Whether data were captured, and not only segments that open and close.
    """

    def __init__(self, *, has_data: bool = False) -> None:
        self.end_ns = 0
        self.has_data = has_data
        self._places: dict[Endpoint, int] = {}
        self._numbers = np.zeros(0, _NUMBERS)
        self._cases: dict[int, dict[str, Cases]] = {}
        self._lone = LoneHandshakes()
        self._case_count = 0

    def feed(self, network: Network, connections: Connections) -> None:
        """Add connections, with their two rows of Network each.

        Parameters
        ----------
        network : Network, shape (2n,)
            The client's direction of each connection, then the server's.
        connections : Connections, shape (n,)
            In the same order.
        """
        if not len(connections):
            return
        c, client, server = connections, network[::2], network[1::2]
        groups = endpoint_groups(c, "server_address", "server_port")
        places = self._settle(groups.endpoints)
        place_of = np.empty(len(c), np.int64)
        place_of[groups.order] = np.repeat(places, groups.counts)
        self._add(c, client, server, groups, places)
        self._keep_cases(place_of, c, client, server)
        self._lone.keep(place_of, c)
        self.has_data = self.has_data or _has_data(c)
        self.end_ns = max(self.end_ns, int(c.end_ns.max()))

    def judged(self) -> Iterator[tuple[Endpoint, Sums]]:
        """Give the services that may meet a rule, in the order in which they were seen first."""
        lone, bounds = self._lone.by_service(len(self._places))
        crowds = self._lone.crowds
        numbers = self._numbers
        counts = np.diff(bounds)
        may_meet = (numbers["connected"][: len(counts)] >= LEAST_CONNECTED) | (counts >= LEAST_LONE)
        for endpoint, place in self._places.items():
            if may_meet[place] or place in self._cases or place in crowds:
                cases = defaultdict(list, self._cases.get(place, {}))
                rows = lone[bounds[place] : bounds[place + 1]]
                values: Any = (*numbers[place].item(), cases, rows, crowds.get(place), self.has_data)
                yield endpoint, Sums(*values)

    # -------------------------------------------------------------------------------------------------- parts

    def _settle(self, endpoints: list[Endpoint]) -> Array:
        """Give the place of each service, new ones included; −1 for those beyond the most."""
        places = np.empty(len(endpoints), np.int64)
        for i, endpoint in enumerate(endpoints):
            place = self._places.get(endpoint, -1)
            if place < 0 and len(self._places) < MOST_SUMMED:
                place = self._places[endpoint] = len(self._places)
            places[i] = place
        missing = len(self._places) - len(self._numbers)
        if missing > 0:
            fresh = np.zeros(max(missing, len(self._numbers)), _NUMBERS)
            fresh["start_ns"], fresh["end_ns"], fresh["churn_id"] = 2**63 - 1, -(2**63), -1
            self._numbers = np.concatenate([self._numbers, fresh])
        return places

    def _add(self, c: Connections, client: Network, server: Network, groups: Any, places: Array) -> None:
        """Add the numbers of a batch."""
        kept = places >= 0
        places = places[kept]
        order, starts = groups.order, groups.starts

        def reduced(how: np.ufunc, values: Array) -> Array:
            return how.reduceat(values[order], starts)[kept]

        is_connected = c.connect_ns >= 0
        has_gaps = (c.server_handshake_rtt_ns >= 0) & (c.client_handshake_rtt_ns >= 0)
        numbers = self._numbers
        for name, values in (
            ("connections", np.ones(len(c), np.int64)),
            ("requests", c.requests),
            ("connected", is_connected.astype(np.int64)),
            ("connect_ns", np.where(is_connected, c.connect_ns, 0)),
            ("duration_ns", np.where(is_connected, c.duration_ns, 0)),
            ("server_gap_ns", np.where(has_gaps, c.server_handshake_rtt_ns, 0)),
            ("client_gap_ns", np.where(has_gaps, c.client_handshake_rtt_ns, 0)),
            ("lost", _lost(c, client, server)),
            ("lone", is_lone(c).astype(np.int64)),
        ):
            numbers[name][places] += reduced(np.add, values)
        numbers["start_ns"][places] = np.minimum(numbers["start_ns"][places], reduced(np.minimum, c.start_ns))
        numbers["end_ns"][places] = np.maximum(numbers["end_ns"][places], reduced(np.maximum, c.end_ns))
        first = reduced(np.minimum, np.where(is_connected, np.arange(len(c)), len(c)))
        is_first = (numbers["churn_id"][places] < 0) & (first < len(c))
        numbers["churn_id"][places[is_first]] = c.connection_id[first[is_first]]

    def _keep_cases(self, place_of: Array, c: Connections, client: Network, server: Network) -> None:
        """Keep the connections that show something."""
        # Where one side was not captured, nobody knows whether it answered, closed or reset.
        both = (c.client_segments > 0) & (c.server_segments > 0)
        # Each repeated SYN may have brought a SYN-ACK too many.
        # Old lakes know only those before the first answer.
        attempts = np.maximum(c.connect_attempts - 1, 0)
        repeated = np.where(client.repeated_syns >= 0, client.repeated_syns, attempts)
        is_again = (c.connect_attempts >= 2) & (c.state != UNANSWERED) & (c.state != REFUSED)
        for sort, which in (
            ("clients_vanished", both & _is_forsaken(server, c)),
            ("servers_vanished", both & _is_forsaken(client, c)),
            ("client_resets", c.state == CLIENT_RESET),
            ("server_resets", c.state == SERVER_RESET),
            ("half_closed", both & (c.state == HALF_CLOSED)),
            ("dropped", server.needless_syn_acks > repeated),
            # A repeated SYN-ACK was lost, not held back.
            ("repeated", is_again & (server.control_retransmissions == 0)),
            ("untaken", _is_untaken(client, c) & (client.stall_retransmissions >= UNTAKEN_RETRANSMISSIONS)),
        ):
            for row in np.flatnonzero(which & (place_of >= 0)).tolist():
                cases = self._cases.setdefault(int(place_of[row]), {}).setdefault(sort, [])
                if len(cases) < MOST_TIMES and self._case_count < MOST_CASES:
                    self._case_count += 1
                    cases.append((int(c.end_ns[row]), int(c.connection_id[row])))


def _has_data(c: Connections) -> bool:
    """Tell whether data were captured, which a filter that passes SYNs, FINs and RSTs alone leaves out."""
    client = c.client_bytes > np.maximum(c.client_gap_bytes, 0)
    server = c.server_bytes > np.maximum(c.server_gap_bytes, 0)
    return bool((client | server).any())


def _is_forsaken(own: Network, c: Connections) -> Bools:
    """Tell where the keep-alives of a side have no answer any more."""
    is_silent: Bools = (
        (c.state == OPEN)
        & (own.stall_payload_bytes == 0)
        & (own.stall_retransmissions >= 2)
        & (own.stall_peer_segments == 0)
        & (own.keep_alives >= 2)
    )
    return is_silent


def _is_untaken(client: Network, c: Connections) -> Bools:
    """Tell where a server that had answered the SYN never took up what came next.

    A full queue drops the last segment of the handshake, and with it the first data, as often as they come.
    """
    is_untaken: Bools = (
        (c.connect_ns >= 0)
        & (client.stall_offset == 0)
        & (client.stall_payload_bytes > 0)
        & (client.stall_payload_bytes <= LEAST_MTU_PAYLOAD)
        & (client.stall_peer_segments == 0)
    )
    return is_untaken


def _lost(c: Connections, client: Network, server: Network) -> Array:
    """Count what got lost on the way, handshakes apart."""
    # What was not taken up for a moment is no sign of a full queue, but neither of a path that loses.
    refused = np.where(_is_untaken(client, c), client.stall_retransmissions, 0)
    lost = np.zeros(len(c), np.int64)
    for side, not_lost in ((client, refused), (server, 0)):
        resent = side.timeout_retransmissions + side.fast_retransmissions - side.control_retransmissions
        lost += np.maximum(resent - not_lost, 0)
    return lost
