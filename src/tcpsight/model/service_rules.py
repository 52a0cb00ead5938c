"""The rules of findings about a service as a whole, judged from sums when the capture has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tcpsight.model.finding_shapes import SECOND, Array
from tcpsight.model.lone_handshakes import crowd_of
from tcpsight.model.service_sums import LEAST_CONNECTED, LEAST_LONE, Sums


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
    return int(len(sums.cases["server_resets"]) >= len(sums.cases["client_resets"]))


def judge_resets(sums: Sums, end_ns: int) -> Judgement | None:
    """Tell whether many connections were reset in a short time."""
    del end_ns
    resets = sorted(sums.cases[("client_resets", "server_resets")[_more_resets(sums)]])
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
    cases = sums.cases
    return int(len(cases["half_closed"]) + len(cases["servers_vanished"]) >= len(cases["clients_vanished"]))


def judge_half_open(sums: Sums, end_ns: int) -> Judgement | None:
    """Tell whether there are connections that one side closed or left, and the other never did."""
    closed = {(time, number) for time, number in sums.cases["half_closed"] if end_ns - time >= LEAK_NS}
    vanished = set(sums.cases["clients_vanished"]) | set(sums.cases["servers_vanished"])
    leaked = sorted(closed | vanished)
    if len(leaked) < LEAKED:
        return None
    numbers = {"half_closed": len(closed), "vanished": len(vanished), "connections": sums.connections}
    return Judgement("warning", 0.85, leaked[0][0], end_ns, len(leaked), leaked[0][1], numbers)


CHURN_CONNECTIONS = LEAST_CONNECTED
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
    dropped, repeated, untaken = (sums.cases[sort] for sort in ("dropped", "repeated", "untaken"))
    held = set(repeated) | set(untaken)
    is_held = len(held) >= enough and sums.lost == 0
    if not dropped and not is_held:
        return None
    cases = sorted(set(dropped) | (held if is_held else set()))
    numbers = {
        "handshakes_dropped": len(dropped),
        "handshakes_not_taken_up": len(untaken),
        "syns_dropped": len(repeated),
        "connections": sums.connections,
        "other_losses": sums.lost,
        "is_at_server": is_at_server,
    }
    confidence = 0.95 if dropped or is_at_server else 0.7
    return Judgement("critical", confidence, cases[0][0], cases[-1][0], len(cases), cases[0][1], numbers)


PATIENCE_NS = 3 * SECOND
"""Whoever wants a connection has sent its SYN again by then: after 1 s (RFC 6298)."""

SPREAD_FRACTION = 0.5
"""Of handshakes without an answer, so many have an address of their own: a client that gives up soon has one."""

WITHOUT_DATA_FRACTION = 0.95
"""The same, answered or not, where no data were captured: a filter may have passed SYNs only, but ordinary clients have
several connections each."""


def _left(sums: Sums, end_ns: int) -> Array:
    """Give the handshakes that were kept and that nobody meant to complete."""
    rows = sums.lone_rows
    return rows[rows["start_ns"] <= end_ns - PATIENCE_NS]


def judge_flood(sums: Sums, end_ns: int) -> Judgement | None:
    """Tell whether handshakes were begun in numbers, by whoever did not mean to complete them."""
    left = _left(sums, end_ns)
    crowd = crowd_of(left, sums.crowd)
    if crowd is None:
        return None
    least = WITHOUT_DATA_FRACTION
    if sums.has_data:
        least = 0 if 2 * crowd.answered > crowd.count else SPREAD_FRACTION
    if crowd.addresses < least * crowd.count:
        return None
    numbers = {
        "handshakes": crowd.count,
        "answered": crowd.answered,
        "client_addresses": crowd.addresses,
        "hundred_within_ns": crowd.shortest_ns,
        "connections": sums.connections,
        "has_data": sums.has_data,
    }
    # Those that may be completed yet are on neither side.
    too_young = len(sums.lone_rows) - len(left)
    severity = "critical" if 2 * crowd.count >= sums.connections - too_young else "warning"
    confidence = 0.95 if sums.has_data else 0.6
    return Judgement(severity, confidence, crowd.start_ns, crowd.end_ns, crowd.count, crowd.connection_id, numbers)


def judge_silence(sums: Sums, end_ns: int) -> Judgement | None:
    """Tell whether clients gave up after one SYN each, sooner than they would have sent another."""
    if len(sums.lone_rows) < LEAST_LONE or not sums.has_data or judge_flood(sums, end_ns) is not None:
        return None
    rows = _left(sums, end_ns)
    rows = rows[~rows["is_answered"]]
    if len(rows) < LEAST_LONE:
        return None
    rows = rows[np.argsort(rows["start_ns"], kind="stable")]
    times, number = rows["start_ns"], int(rows["connection_id"][0])
    numbers = {"connect_attempts": len(rows), "waited_ns": 0}
    return Judgement("warning", 0.9, int(times[0]), int(times[-1]), len(rows), number, numbers)


SERVICE_RULES = (
    ServiceRule(
        "syn_flood",
        "100 handshakes or more within 10 s of which the client sent one SYN, and nothing more for 3 s; if they had no "
        "answer, half of them from addresses of their own (95 % of all where no data were captured)",
        judge_flood,
        lambda _: 0,
    ),
    ServiceRule(
        "unanswered",
        "10 connections or more of which nothing but one SYN was captured, 3 s before the end or earlier",
        judge_silence,
        lambda _: 0,
    ),
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
