"""The metrics that a watch tells: one table of names, kinds, units and labels for every protocol.

Names and units follow the conventions of Prometheus (base units at the end of the name, ``_total`` for counters);
units are also written as OpenTelemetry writes them (UCUM), so that a collector derives no other names from these.
Labels are of bounded cardinality: a service is one of those that have rows of their own, or `other`, and no label
holds a client's address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tcpsight.tables import FINDINGS, REASONS, SEVERITIES, KeyedIntervals, ServiceTotals, Table

Kind = Literal["counter", "gauge", "histogram", "info"]

OTHER = "other"
"""The service that stands for all that have no rows of their own."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes
    ----------
    name : str
        Its name everywhere.
    kind : {"counter", "gauge", "histogram", "info"}
        Counters count since the watch began; gauges tell of the last slice, or of its end.
    unit : str
        In UCUM: ``s``, ``By``, ``1`` for a share, and words in braces for what is counted.
    labels : tuple of str
        What tells its series apart.
    help : str
        What it tells, in a line.
    source : type of Table, optional
        The table that has a row for each service; None where the value belongs to the whole watch.
    columns : tuple of (str, str)
        Columns of that table, each with the value that its last label has there; one, with no value, where the service
        is the only label.
    values : tuple of str
        The words that labels other than the service can hold, where those are few.
    """

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    help: str
    source: type[Table] | None = None
    columns: tuple[tuple[str, str], ...] = ()
    values: tuple[str, ...] = ()


def _slice(name: str, unit: str, column: str, help: str) -> Metric:
    """Declare a gauge of the last slice."""
    return _of_services(name, "gauge", unit, KeyedIntervals, column, f"Last slice: {help}")


def _count(name: str, unit: str, column: str) -> Metric:
    """Declare a counter of each service."""
    return _of_services(name, "counter", unit, ServiceTotals, column, "{}, since the watch began")


def _of_services(name: str, kind: Kind, unit: str, source: type[Table], column: str, help: str) -> Metric:
    text = _sentence(help.format(_meaning(source, column)))
    return Metric(name, kind, unit, ("service",), text, source, ((column, ""),))


def _split(name: str, unit: str, help: str, label: str, columns: dict[str, str]) -> Metric:
    """Declare a counter of each service that several columns hold, by the value of a label."""
    parts = tuple((column, value) for value, column in columns.items())
    return Metric(name, "counter", unit, ("service", label), help, ServiceTotals, parts, tuple(columns))


def _by_direction(name: str, unit: str, noun: str, help: str) -> Metric:
    return _split(name, unit, help, "direction", {side: f"{side}_{noun}" for side in ("client", "server")})


def _meaning(source: type[Table], column: str) -> str:
    return next(c.meaning for c in source.columns if c.name == column)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


_TIMES = "response times of the requests that arrived in it, {}"

METRICS: tuple[Metric, ...] = (
    _slice(
        "tcpsight_arrivals_per_second",
        "{request}/s",
        "arrival_rate_per_s",
        "answered requests that arrived a second, {}",
    ),
    _slice("tcpsight_throughput_per_second", "{request}/s", "throughput_per_s", "requests completed a second, {}"),
    _slice("tcpsight_concurrency_requests", "{request}", "concurrency", "requests at a time, {}"),
    _slice("tcpsight_utilization_ratio", "1", "utilization_fraction", "share of time with at least one request, {}"),
    _slice("tcpsight_backlog_requests", "{request}", "backlog", "{}"),
    _slice(
        "tcpsight_unanswered_backlog_requests",
        "{request}",
        "unanswered_backlog",
        "requests resident at its end that have no answer so far",
    ),
    _slice("tcpsight_response_time_mean_seconds", "s", "response_time_mean_ns", _TIMES),
    _slice("tcpsight_response_time_p50_seconds", "s", "response_time_p50_ns", _TIMES),
    _slice("tcpsight_response_time_p95_seconds", "s", "response_time_p95_ns", _TIMES),
    _slice("tcpsight_response_time_p99_seconds", "s", "response_time_p99_ns", _TIMES),
    _slice("tcpsight_response_time_max_seconds", "s", "response_time_max_ns", _TIMES),
    _of_services("tcpsight_waiting_requests", "gauge", "{request}", ServiceTotals, "waiting", "{}"),
    _of_services("tcpsight_open_connections", "gauge", "{connection}", ServiceTotals, "open_connections", "{}"),
    Metric(
        "tcpsight_response_time_seconds",
        "histogram",
        "s",
        ("service",),
        "Response times of the requests answered since the watch began",
        ServiceTotals,
        (("response_time_sum_ns", ""),),
    ),
    _count("tcpsight_requests_total", "{request}", "requests"),
    _of_services(
        "tcpsight_late_requests_total",
        "counter",
        "{request}",
        ServiceTotals,
        "late",
        "Requests answered after the slice of their arrival had been told, since the watch began",
    ),
    _count("tcpsight_unanswered_requests_total", "{request}", "unanswered"),
    _count("tcpsight_connections_total", "{connection}", "connections"),
    _split(
        "tcpsight_failed_connections_total",
        "{connection}",
        "Connections that came to nothing or were broken off, since the watch began",
        "outcome",
        {
            "unanswered": "unanswered_connections",
            "refused": "refused_connections",
            "client_reset": "client_resets",
            "server_reset": "server_resets",
        },
    ),
    _by_direction(
        "tcpsight_stream_bytes_total", "By", "bytes", "Stream bytes, retransmissions counted once, by who sent them"
    ),
    _by_direction("tcpsight_segments_total", "{segment}", "segments", "Segments, by who sent them"),
    _by_direction(
        "tcpsight_retransmissions_total", "{segment}", "retransmissions", "Segments sent again, by who sent them"
    ),
    _count("tcpsight_gap_bytes_total", "By", "gap_bytes"),
    Metric(
        "tcpsight_slice_end_timestamp_seconds",
        "gauge",
        "s",
        (),
        "Capture time at which the last slice ended; before the first one, when the watch of an interface began",
    ),
    Metric("tcpsight_slice_length_seconds", "gauge", "s", (), "Length of the last slice"),
    Metric(
        "tcpsight_tracked_connections",
        "gauge",
        "{connection}",
        (),
        "Connections that are being set up or open",
    ),
    Metric(
        "tcpsight_interface_up",
        "gauge",
        "{interface}",
        ("interface",),
        "Whether an interface that is named is there and up: 1, or 0",
    ),
    Metric("tcpsight_captured_frames_total", "counter", "{frame}", (), "Frames captured"),
    Metric("tcpsight_captured_segments_total", "counter", "{segment}", (), "TCP segments captured"),
    Metric("tcpsight_captured_bytes_total", "counter", "By", (), "Bytes of these frames that were captured"),
    Metric("tcpsight_capture_dropped_frames_total", "counter", "{frame}", (), "Frames lost before they were captured"),
    Metric(
        "tcpsight_unseen_total", "counter", "{event}", ("reason",), "What was not understood, by reason", values=REASONS
    ),
    Metric(
        "tcpsight_findings_total",
        "counter",
        "{finding}",
        ("kind", "severity"),
        "Conditions that were found",
        values=(*FINDINGS, *SEVERITIES),
    ),
    Metric("tcpsight_feed_sent_total", "counter", "{update}", ("feed",), "Slices handed to the receiver of a feed"),
    Metric("tcpsight_feed_dropped_total", "counter", "{update}", ("feed",), "Slices that a feed had to give up"),
    Metric(
        "tcpsight_feed_failures_total", "counter", "{failure}", ("feed",), "How often a feed's receiver was not reached"
    ),
    Metric("tcpsight_build_info", "info", "", ("version",), "Which tcpsight this is; always 1"),
)
"""Every metric, in the order in which they are told."""
