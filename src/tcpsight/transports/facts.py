"""What was measured of transports as facts, and what share of recorded response times the loopback stack is."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tcpsight.model.distribution import Distribution
from tcpsight.model.services import ServiceSummary
from tcpsight.output.addresses import address_text
from tcpsight.tables import IPV4_PREFIX, Requests, Table
from tcpsight.transports.measuring import Measurement

Facts = dict[str, Any]

OF_SERVICES = "tcp_nodelay"
INSTEAD = "unix_stream"
"""What services are thought to use: nearly all of them set TCP_NODELAY; and what they might use instead."""

PINNINGS = ("free", "same", "apart")
"""Where both processes run, in the order in which that is told."""

LEAST_ROUND_TRIPS = 20
"""Of fewer no percentile is told."""

_LOOPBACK_V4 = IPV4_PREFIX + b"\x7f"
_LOOPBACK_V6 = bytes(15) + b"\x01"


def measured_facts(measurements: Sequence[Measurement], refused: Sequence[tuple[Any, str]]) -> Facts:
    """Tell what was measured, and what could not be."""
    system = os.uname()
    return {
        "host": {
            "kernel": f"{system.sysname} {system.release}",
            "machine": platform.machine(),
            "processors": len(os.sched_getaffinity(0)),
        },
        "transports": [_one(each) for each in measurements],
        "refused": [
            {"transport": case.transport, "message_bytes": case.message_bytes, "pinning": case.pinning, "reason": why}
            for case, why in refused
        ],
    }


def _one(each: Measurement) -> Facts:
    trips, seconds = each.round_trips, max(each.duration_ns, 1) / 1e9
    return {
        "transport": each.case.transport,
        "message_bytes": each.case.message_bytes,
        "pinning": each.case.pinning,
        "round_trips": trips.count,
        "round_trip_min_ns": _known(trips.min),
        "round_trip_p50_ns": _quantile(trips, 0.5),
        "round_trip_p99_ns": _quantile(trips, 0.99),
        "round_trip_max_ns": _known(trips.max),
        "histogram": [{"low_ns": s.low_ns, "high_ns": s.high_ns, "count": s.count} for s in trips.histogram()],
        "messages_per_s": each.messages / seconds,
        "bytes_per_s": each.byte_count / seconds,
        "throughput_messages": each.messages,
        "throughput_ns": each.duration_ns,
    }


def _quantile(trips: Distribution, fraction: float) -> int | None:
    return _known(trips.quantile(fraction)) if trips.count >= LEAST_ROUND_TRIPS else None


def _known(value: int) -> int | None:
    return value if value >= 0 else None


def service_facts(requests: Iterable[Table], transports: Sequence[Facts], most: int = 10) -> list[Facts]:
    """Tell of each service of a capture what share of its response time the loopback stack is, once for each pinning.

    Where processes run matters more than what passes between them, and nobody knows where those of the capture ran.

    Parameters
    ----------
    requests : iterable of Table
        Answered requests, as `Requests`.
    transports : sequence of dict
        What was measured.
    most : int
        How many services, those with the most requests.

    Notes
    -----
    A response time on loopback lasts from the request in the capture to the response in it, both where they are sent:
    within it the server is woken and reads, and writes its answer. That is half of each message's way; a way is half of
    a round trip t of messages of its size. So stack = (t(request) + t(response)) / 4, with t the median, on a straight
    line between the sizes that were measured.
    """
    summary = ServiceSummary()
    for table in requests:
        summary.feed_requests(Requests(table.rows))
    pinnings = sorted({row["pinning"] for row in transports}, key=PINNINGS.index)
    return [
        _service(endpoint, service, [row for row in transports if row["pinning"] == pinning], pinning)
        for endpoint, service in summary.largest(most)
        if service.requests
        for pinning in pinnings
    ]


def _service(endpoint: Any, service: Any, transports: Sequence[Facts], pinning: str) -> Facts:
    address = bytes(endpoint[0])
    number = service.requests
    sizes = service.request_bytes / number, service.response_bytes / number
    p50 = service.response_times.quantile(0.5)
    stack, instead = (stack_ns(transports, name, sizes) for name in (OF_SERVICES, INSTEAD))
    return {
        "server_address": address_text(address, endpoint[2]),
        "server_port": int(endpoint[1]),
        "pinning": pinning,
        "is_loopback": address.startswith(_LOOPBACK_V4) or address == _LOOPBACK_V6,
        "requests": number,
        "request_bytes_mean": sizes[0],
        "response_bytes_mean": sizes[1],
        "response_time_p50_ns": p50,
        "stack_ns": stack,
        "is_within_sizes": are_measured(transports, OF_SERVICES, sizes),
        "stack_fraction": min(stack / p50, 1.0) if stack is not None and p50 > 0 else None,
        "saved_by_unix_stream_ns": None if stack is None or instead is None else stack - instead,
    }


def are_measured(transports: Sequence[Facts], name: str, sizes: tuple[float, float]) -> bool:
    """Tell whether sizes lie between those that were measured; the nearest of these stands for them otherwise."""
    known = [row["message_bytes"] for row in transports if row["transport"] == name and row["round_trip_p50_ns"]]
    return bool(known) and all(min(known) <= size <= max(known) for size in sizes)


def stack_ns(transports: Sequence[Facts], name: str, sizes: tuple[float, float]) -> float | None:
    """Estimate what passing a request and its response costs the server's side; None if that was not measured.

    All that was measured is of one pinning.
    """
    rows = [row for row in transports if row["transport"] == name]
    known = sorted((row["message_bytes"], row["round_trip_p50_ns"]) for row in rows if row["round_trip_p50_ns"])
    if not known:
        return None
    at, times = zip(*known, strict=True)
    return float(sum(np.interp(size, at, times) for size in sizes)) / 4
