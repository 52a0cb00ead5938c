"""The rules of findings about a service as a whole, judged from sums when the capture has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tcpsight.model.finding_shapes import (
    CLIENT_RESET,
    HALF_CLOSED,
    LEAST_MTU_PAYLOAD,
    OPEN,
    REFUSED,
    SECOND,
    SERVER_RESET,
    UNANSWERED,
    Array,
    Bools,
)
from tcpsight.tables import Connections, Network

MOST_TIMES = 4096
"""Instants kept of each kind; a storm is seen in these."""


@dataclass(slots=True)
class Sums:
    """What the connections of a service come to.

    Attributes
    ----------
    connections : int
        How many ended.
    end_ns : int
        The last segment of any.
    """

    connections: int = 0
    start_ns: int = 2**63 - 1
    end_ns: int = -(2**63)
    requests: int = 0
    connected: int = 0
    connect_ns: int = 0
    duration_ns: int = 0
    churn_id: int = -1
    resets: list[list[tuple[int, int]]] = field(default_factory=lambda: [[], []])
    half_closed: list[tuple[int, int]] = field(default_factory=list)
    vanished: list[list[tuple[int, int]]] = field(default_factory=lambda: [[], []])
    repeated: list[tuple[int, int]] = field(default_factory=list)
    dropped: list[tuple[int, int]] = field(default_factory=list)
    untaken: list[tuple[int, int]] = field(default_factory=list)
    lost: int = 0
    server_gap_ns: int = 0
    client_gap_ns: int = 0

    def add(self, connections: Connections, network: Network, rows: Array) -> None:
        """Add connections, with their two rows of Network each."""
        c = connections[rows]
        self._add_handshakes(c, network[2 * rows], network[2 * rows + 1])
        self.connections += len(rows)
        self.start_ns = min(self.start_ns, int(c.start_ns.min()))
        self.end_ns = max(self.end_ns, int(c.end_ns.max()))
        self.requests += int(c.requests.sum())
        is_connected = c.connect_ns >= 0
        self.connected += int(is_connected.sum())
        self.connect_ns += int(c.connect_ns[is_connected].sum())
        self.duration_ns += int(c.duration_ns[is_connected].sum())
        if self.churn_id < 0 and is_connected.any():
            self.churn_id = int(c.connection_id[is_connected][0])
        # Where one side was not captured, nobody knows whether it answered, closed or reset.
        both = (c.client_segments > 0) & (c.server_segments > 0)
        for side, own in enumerate((network[2 * rows + 1], network[2 * rows])):
            _keep(self.vanished[side], c, both & _is_forsaken(own, c))
        for side, state in enumerate((CLIENT_RESET, SERVER_RESET)):
            _keep(self.resets[side], c, c.state == state)
        _keep(self.half_closed, c, both & (c.state == HALF_CLOSED))

    def _add_handshakes(self, c: Connections, client: Network, server: Network) -> None:
        has_gaps = (c.server_handshake_rtt_ns >= 0) & (c.client_handshake_rtt_ns >= 0)
        self.server_gap_ns += int(c.server_handshake_rtt_ns[has_gaps].sum())
        self.client_gap_ns += int(c.client_handshake_rtt_ns[has_gaps].sum())
        # Each repeated SYN may have brought a SYN-ACK too many.
        # Old lakes know only those before the first answer.
        attempts = np.maximum(c.connect_attempts - 1, 0)
        repeated = np.where(client.repeated_syns >= 0, client.repeated_syns, attempts)
        _keep(self.dropped, c, server.needless_syn_acks > repeated)
        is_again = (c.connect_attempts >= 2) & (c.state != UNANSWERED) & (c.state != REFUSED)
        # A repeated SYN-ACK was lost, not held back.
        _keep(self.repeated, c, is_again & (server.control_retransmissions == 0))
        is_untaken = _is_untaken(client, c)
        _keep(self.untaken, c, is_untaken & (client.stall_retransmissions >= UNTAKEN_RETRANSMISSIONS))
        # What was not taken up for a moment is no sign of a full queue, but neither of a path that loses.
        for side, refused in ((client, np.where(is_untaken, client.stall_retransmissions, 0)), (server, 0)):
            resent = side.timeout_retransmissions + side.fast_retransmissions - side.control_retransmissions
            self.lost += int(np.maximum(resent - refused, 0).sum())


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


UNTAKEN_RETRANSMISSIONS = 2
"""Once it may have been lost."""


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


def _keep(times: list[tuple[int, int]], c: Connections, which: Bools) -> None:
    if len(times) < MOST_TIMES:
        times += zip(c.end_ns[which].tolist(), c.connection_id[which].tolist(), strict=True)


class Judgement(NamedTuple):
    """What is so of a service."""

    severity: str
    confidence: float
    start_ns: int
    end_ns: int
    connections: int
    connection_id: int
    numbers: dict[str, Any]


class ServiceRule(NamedTuple):
    """A condition of a service as a whole."""

    kind: str
    text: str
    judge: Callable[[Sums, int], Judgement | None]
    direction: Callable[[Sums], int] = lambda _: -1


STORM_RESETS = 15
"""Within a storm's time."""

STORM_NS = 10 * SECOND

STORM_FRACTION = 0.5
"""Of the connections of the service."""


def _more_resets(sums: Sums) -> int:
    return int(len(sums.resets[1]) >= len(sums.resets[0]))


def judge_resets(sums: Sums, end_ns: int) -> Judgement | None:
    """Tell whether many connections were reset in a short time."""
    del end_ns
    resets = sorted(sums.resets[_more_resets(sums)])
    if len(resets) < STORM_RESETS or len(resets) < STORM_FRACTION * sums.connections:
        return None
    times = np.array([time for time, _ in resets])
    spread = times[STORM_RESETS - 1 :] - times[: len(times) - STORM_RESETS + 1]
    if spread.min() > STORM_NS:
        return None
    numbers = {"resets": len(resets), "connections": sums.connections, "fifteen_within_ns": int(spread.min())}
    return Judgement("warning", 0.9, int(times[0]), int(times[-1]), len(resets), resets[0][1], numbers)


LEAKED = 3
LEAK_NS = SECOND
"""Silence after which a side that has not closed has forgotten to."""


def _who_leaks(sums: Sums) -> int:
    """Tell which side is gone, or has forgotten to close: servers forget."""
    clients, servers = map(len, sums.vanished)
    return int(len(sums.half_closed) + servers >= clients)


def judge_half_open(sums: Sums, end_ns: int) -> Judgement | None:
    """Tell whether there are connections that one side closed or left, and the other never did."""
    closed = {(time, number) for time, number in sums.half_closed if end_ns - time >= LEAK_NS}
    vanished = set(sums.vanished[0]) | set(sums.vanished[1])
    leaked = sorted(closed | vanished)
    if len(leaked) < LEAKED:
        return None
    numbers = {"half_closed": len(closed), "vanished": len(vanished), "connections": sums.connections}
    return Judgement("warning", 0.85, leaked[0][0], end_ns, len(leaked), leaked[0][1], numbers)


CHURN_CONNECTIONS = 20
CHURN_FRACTION = 0.2
"""Of the time that connections live goes into opening them."""

CHURN_REQUESTS = 2
"""Requests per connection: with more the handshake pays."""


def judge_churn(sums: Sums, end_ns: int) -> Judgement | None:
    """Tell whether connections live hardly longer than it takes to open them."""
    del end_ns
    if sums.connected < CHURN_CONNECTIONS or sums.duration_ns <= 0:
        return None
    share = sums.connect_ns / sums.duration_ns
    if share < CHURN_FRACTION or sums.requests > CHURN_REQUESTS * sums.connections:
        return None
    numbers = {
        "connections": sums.connected,
        "connect_fraction": round(share, 4),
        "requests_per_connection": round(sums.requests / sums.connections, 4),
    }
    return Judgement("info", 0.9, sums.start_ns, sums.end_ns, sums.connected, sums.churn_id, numbers)


DROPPED = 4
DROPPED_FRACTION = 0.3
"""Of the connections of the service: a path that loses so many SYNs loses other segments too."""

AT_SERVER_FRACTION = 0.1
"""Of the handshake's time: captured at the server, its SYN-ACK follows the SYN at once."""


def judge_listening(sums: Sums, end_ns: int) -> Judgement | None:
    """Tell whether the server dropped SYNs, or the last segment of handshakes."""
    del end_ns
    is_at_server = sums.connected > 0 and sums.server_gap_ns < AT_SERVER_FRACTION * (
        sums.server_gap_ns + sums.client_gap_ns
    )
    enough = 1 if is_at_server else max(DROPPED, DROPPED_FRACTION * sums.connections)
    held = set(sums.repeated) | set(sums.untaken)
    is_held = len(held) >= enough and sums.lost == 0
    if not sums.dropped and not is_held:
        return None
    cases = sorted(set(sums.dropped) | (held if is_held else set()))
    numbers = {
        "handshakes_dropped": len(sums.dropped),
        "handshakes_not_taken_up": len(sums.untaken),
        "syns_dropped": len(sums.repeated),
        "connections": sums.connections,
        "other_losses": sums.lost,
        "is_at_server": is_at_server,
    }
    confidence = 0.95 if sums.dropped or is_at_server else 0.7
    return Judgement("critical", confidence, cases[0][0], cases[-1][0], len(cases), cases[0][1], numbers)


SERVICE_RULES = (
    ServiceRule(
        "listen_overflow",
        "a SYN-ACK was sent again after it had been acknowledged; or, where nothing else was lost, SYNs, or the first "
        "data after a handshake, had no answer: once captured at the server, elsewhere 4 and of 30 % of connections",
        judge_listening,
    ),
    ServiceRule(
        "reset_storm",
        "15 resets by one side or more within 10 s, of half of the connections",
        judge_resets,
        _more_resets,
    ),
    ServiceRule(
        "half_open_leak",
        "3 connections or more that one side closed, and then nothing for 1 s, or whose keep-alives have no answer",
        judge_half_open,
        _who_leaks,
    ),
    ServiceRule(
        "connection_churn",
        "20 connections or more, a fifth of whose time is connecting, with 2 requests each at most",
        judge_churn,
    ),
)
