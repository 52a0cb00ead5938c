"""Columns of the tables on the screen: how a cell is written, and what it is sorted by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from rich.text import Text

from tcpsight.output import units


@dataclass(frozen=True, slots=True)
class Cells:
    """One column.

    Attributes
    ----------
    title : str
        Its head.
    value : callable
        Gives of a row what is sorted by; None where it is unknown, which comes last.
    write : callable
        Writes that value.
    is_number : bool
        Whether it stands at the right, and sorting begins with the largest.
    """

    title: str
    value: Callable[[Any], Any]
    write: Callable[[Any], str]
    is_number: bool = True

    def text(self, row: Any) -> Text:
        """Write a row's cell. Nothing in it is taken for markup, or obeyed by a terminal."""
        return Text(units.printable(self.write(self.value(row))), justify="right" if self.is_number else "left")


def attribute(title: str, name: str, write: Callable[[Any], str], *, is_number: bool = True) -> Cells:
    """Make the column of an attribute of rows."""
    return Cells(title, lambda row: getattr(row, name), write, is_number)


SERVICES = (
    attribute("service", "name", str, is_number=False),
    attribute("req/s", "throughput_per_s", units.rate),
    attribute("conc", "concurrency", units.number),
    attribute("busy", "utilization_fraction", units.fraction),
    attribute("p50", "p50_ns", units.duration),
    attribute("p95", "p95_ns", units.duration),
    attribute("p99", "p99_ns", units.duration),
    attribute("max", "max_ns", units.duration),
    attribute("waiting", "waiting", units.count),
    attribute("late", "late", units.count),
    attribute("conns", "connections", units.count),
    attribute("resent", "retransmissions", units.count),
)

CONNECTIONS = (
    attribute("client", "client", str, is_number=False),
    attribute("age", "age_ns", units.duration),
    attribute("state", "state", lambda state: state.replace("_", " "), is_number=False),
    attribute("requests", "requests", units.count),
    attribute("waiting", "waiting", units.count),
    attribute("sent", "client_bytes", units.size),
    attribute("received", "server_bytes", units.size),
    attribute("resent", "retransmissions", units.count),
    attribute("number", "connection_id", str),
)


def requests(timezone: tzinfo) -> tuple[Cells, ...]:
    """Give the columns of requests; instants are those of a zone."""
    return (
        attribute("arrived", "arrival_ns", lambda ns: units.instant(ns, timezone)[11:], is_number=False),
        attribute("response time", "response_time_ns", units.duration),
        attribute("client", "client", str, is_number=False),
        attribute("request", "request_bytes", units.size),
        attribute("response", "response_bytes", units.size),
        attribute("connection", "connection_id", str),
        attribute("index", "request_index", str),
    )
