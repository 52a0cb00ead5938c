"""Metrics as StatsD datagrams: gauges as they are, counters as what was added since the datagram before.

StatsD has no labels. ``statsd://`` puts them into the name, as `tcpsight.10_0_0_1_3306.requests_total`;
``dogstatsd://`` sends them as tags, which Datadog's agent, Telegraf, Vector and the exporter of Prometheus read. Of the
histogram both get sum and count: what they would add up from buckets differs from one server to the next.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

from tcpsight.output.feeds.readings import Buckets, Point, Reader, Reading, full_labels
from tcpsight.output.feeds.targets import Target
from tcpsight.output.feeds.update import Update

MOST_BYTES = 1432
"""Of one datagram: what an Ethernet frame of 1500 bytes carries, IPv6 and a tunnel included."""

RESOLVE_S = 60.0
"""How long an address that was looked up is used."""

PREFIX = "tcpsight_"

Series = tuple[str, tuple[str, ...]]


class _Sample(NamedTuple):
    """One value; `total` is what a counter is since the watch began, None of a gauge."""

    series: Series
    name: str
    tags: str
    value: float
    total: float | None


class StatsD:
    """Send metrics over UDP.

    Parameters
    ----------
    target : Target
        Where to.
    version : str
        Of the program.
    """

    needs_totals = True

    def __init__(self, target: Target, *, version: str) -> None:
        self.name = target.name
        self._host, self._port = target.hosts[0]
        self._has_tags = target.scheme == "dogstatsd"
        self._reader = Reader(version)
        self._told: dict[Series, float] = {}
        self._socket: socket.socket | None = None
        self._resolved_at = 0.0

    def deliver(self, update: Update) -> None:
        """Send the datagrams of an update; where it breaks off, what was sent is not counted again."""
        samples = [s for reading in self._reader.read(update) for s in self._samples(reading)]
        connected = self._connected()
        # Series that are gone are forgotten: what is kept is bounded by what is told.
        present = {sample.series for sample in samples}
        self._told = {series: total for series, total in self._told.items() if series in present}
        try:
            for datagram, part in _datagrams(samples):
                connected.send(datagram)
                self._told.update((s.series, s.total) for s in part if s.total is not None)
        except OSError:
            self.close()
            raise

    def interrupt(self) -> None:
        """Do nothing: datagrams do not keep one waiting."""

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        """Give a socket to the address that the name has now; one that is refused says so at the next datagram."""
        if self._socket is None or monotonic() - self._resolved_at > RESOLVE_S:
            self.close()
            family, kind, protocol, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
            made = socket.socket(family, kind, protocol)
            try:
                made.connect(address)
                # More than the kernel's buffer holds waits for the card, not for the receiver; but not for ever.
                made.settimeout(1.0)
            except BaseException:
                with suppress(OSError):
                    made.close()
                raise
            self._socket, self._resolved_at = made, monotonic()
        return self._socket

    def _samples(self, reading: Reading) -> Iterator[_Sample]:
        metric = reading.metric
        for point in reading.points:
            labels = full_labels(metric, point)
            if isinstance(point.value, Buckets):
                parts: dict[str, float] = {"_sum": point.value.sum, "_count": point.value.number}
                for ending, total in parts.items():
                    yield self._counter(metric.name + ending, point, labels, total)
            elif metric.kind == "counter":
                yield self._counter(metric.name, point, labels, point.value)
            else:
                yield _Sample((metric.name, point.labels), *self._named(metric.name, labels), point.value, None)

    def _counter(self, name: str, point: Point, labels: dict[str, str], total: float) -> _Sample:
        series = (name, point.labels)
        told = self._told.get(series, 0)
        # A service that lost its place and came back counts anew.
        added = total - told if total >= told else total
        return _Sample(series, *self._named(name, labels), added, total)

    def _named(self, name: str, labels: dict[str, str]) -> tuple[str, str]:
        """Give name and tags as they are sent."""
        if self._has_tags:
            tags = ",".join(f"{key}:{_tag(value)}" for key, value in labels.items())
            return f"tcpsight.{name.removeprefix(PREFIX)}", f"|#{tags}" if tags else ""
        parts = ["tcpsight", *map(_part, labels.values()), name.removeprefix(PREFIX)]
        return ".".join(filter(None, parts)), ""


def _part(value: str) -> str:
    """Write a label as part of a name: dots, colons and the like would end it."""
    return re.sub(r"[^A-Za-z0-9-]", "_", value).strip("_")


def _tag(value: str) -> str:
    return re.sub(r"[|,#@\s]", "_", value)


def _datagrams(samples: list[_Sample]) -> Iterator[tuple[bytes, list[_Sample]]]:
    """Put samples into as few datagrams as hold them, a line each."""
    lines: list[bytes] = []
    part: list[_Sample] = []
    size = 0
    for sample in samples:
        line = _line(sample)
        if lines and size + len(line) + 1 > MOST_BYTES:
            yield b"\n".join(lines), part
            lines, part, size = [], [], 0
        if line:
            lines.append(line)
            size += len(line) + 1
        part.append(sample)
    if lines:
        yield b"\n".join(lines), part


def _line(sample: _Sample) -> bytes:
    """Write a sample; a counter to which nothing was added has none."""
    if sample.total is not None and not sample.value:
        return b""
    kind = "g" if sample.total is None else "c"
    return f"{sample.name}:{_number(sample.value)}|{kind}{sample.tags}".encode("ascii", "replace")


def _number(value: float) -> str:
    """Write a number without an exponent, which not every server reads."""
    if value == int(value):
        return str(int(value))
    return f"{value:.9f}".rstrip("0")
