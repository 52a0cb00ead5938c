"""An update as readings of metrics: what every protocol of numbers tells, in units of its names.

Unknown values have no reading. Where two services would have the same name (which only traffic made for it brings
about: an IPv6 address that reads as an IPv4 one), the first is told; a monitoring system refuses all where one name
comes twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from tcpsight.output.columns import AddressColumn, ColumnBlock, null_mask
from tcpsight.output.feeds.metrics import METRICS, OTHER, Metric
from tcpsight.output.feeds.update import UNKNOWN, Update
from tcpsight.output.units import endpoint
from tcpsight.tables import (
    FINDINGS,
    REASONS,
    RESPONSE_TIME_BOUNDS_NS,
    SEVERITIES,
    Column,
    KeyedIntervals,
    ServiceTotals,
    Table,
)

BOUNDS_S = tuple(bound / 1e9 for bound in RESPONSE_TIME_BOUNDS_NS)
"""Upper bounds of the histogram's buckets in seconds; one more bucket is for what lies beyond."""


class Buckets(NamedTuple):
    """The value of a histogram.

    Attributes
    ----------
    counts : list of int
        By bucket of `BOUNDS_S`, and one for what lies beyond; each on its own.
    number : int
        Their sum.
    sum : float
        Sum of the values that were counted.
    """

    counts: list[int]
    number: int
    sum: float


class Point(NamedTuple):
    """One series: what its labels are, in the order of the metric's, and its value."""

    labels: tuple[str, ...]
    value: float | Buckets


class Reading(NamedTuple):
    """One metric and its series."""

    metric: Metric
    points: list[Point]


class Reader:
    """Read updates. Keeps what it needs for that, so that each thread has its own.

    Parameters
    ----------
    version : str
        Of the program.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._names = {table: ServiceNames(table) for table in (KeyedIntervals, ServiceTotals)}

    def read(self, update: Update | None) -> list[Reading]:
        """Give every metric that has a value, in the order of `METRICS`; before the first update, what is known."""
        of_watch = dict(self._of_watch(update))
        names: dict[type[Table], list[str]] = {}
        if update is not None:
            tables = (update.services, update.totals)
            names = {type(table): self._names[type(table)].of(table) for table in tables}
        readings = []
        for metric in METRICS:
            if metric.source is None:
                points = of_watch.get(metric.name, [])
            elif update is None:
                points = []
            else:
                points = _of_services(metric, update, names[metric.source])
            if points:
                readings.append(Reading(metric, points))
        return readings

    def _of_watch(self, update: Update | None) -> Iterator[tuple[str, list[Point]]]:
        """Give what belongs to the whole watch."""
        yield "tcpsight_build_info", [Point((self._version,), 1)]
        if update is None:
            return
        if update.end_ns != UNKNOWN:
            yield "tcpsight_slice_end_timestamp_seconds", [Point((), update.end_ns / 1e9)]
        if update.has_slice:
            yield "tcpsight_slice_length_seconds", [Point((), (update.end_ns - update.start_ns) / 1e9)]
        yield "tcpsight_interface_up", [Point((name,), int(is_up)) for name, is_up in update.interfaces.items()]
        counts = {
            "tcpsight_tracked_connections": update.open_connections,
            "tcpsight_captured_frames_total": update.frames,
            "tcpsight_captured_segments_total": update.segments,
            "tcpsight_captured_bytes_total": update.bytes,
            "tcpsight_capture_dropped_frames_total": update.drops,
        }
        for name, count in counts.items():
            if count != UNKNOWN:
                yield name, [Point((), int(count))]
        # All reasons and findings from the start: a rate needs the 0 before the first.
        unseen = zip(REASONS, update.unseen.counts[:, 0].tolist(), strict=True)
        yield "tcpsight_unseen_total", [Point((reason,), count) for reason, count in unseen]
        if update.findings is not None:
            found = update.findings_so_far
            labelled = [Point(labels, found.get(labels, 0)) for labels in product(FINDINGS, SEVERITIES)]
            yield "tcpsight_findings_total", labelled
        for field in ("sent", "dropped", "failures"):
            points = [Point((name,), getattr(counts, field)) for name, counts in update.feeds.items()]
            yield f"tcpsight_feed_{field}_total", points


class ServiceNames:
    """Names services: ``10.0.0.1:80``, ``[::1]:80``, or `OTHER`.

    Parameters
    ----------
    table_type : type of Table
        The table that has them.
    """

    def __init__(self, table_type: type[Table]) -> None:
        self._address = AddressColumn(table_type, "server_address")
        self._block = ColumnBlock(table_type, self._address.needs)

    def of(self, table: Table) -> list[str]:
        """Name the service of each row."""
        n = len(table)
        found = self._address.find(self._block.gather(table))
        texts, ends, indices = bytes(found.texts), np.asarray(found.ends), np.asarray(found.indices)[:n].tolist()
        ports, others = table.rows["server_port"].tolist(), table.rows["is_other"].tolist()
        names = []
        for index, port, is_other in zip(indices, ports, others, strict=True):
            address = "" if index < 0 else texts[ends[index] : ends[index + 1]].decode()
            names.append(OTHER if is_other else endpoint(address, port))
        return names


def _of_services(metric: Metric, update: Update, names: list[str]) -> list[Point]:
    """Give the series of a metric that each service has."""
    table = update.services if metric.source is KeyedIntervals else update.totals
    points: dict[tuple[str, ...], Point] = {}
    for column, value in metric.columns:
        values = _scaled(table, column)
        if metric.kind == "histogram":
            values = [_buckets(counts, total) for counts, total in zip(update.histogram.tolist(), values, strict=True)]
        for name, number in zip(names, values, strict=True):
            labels = (name, value) if value else (name,)
            if number is not None and labels not in points:
                points[labels] = Point(labels, number)
    return list(points.values())


def _buckets(counts: list[int], total: float) -> Buckets:
    return Buckets(counts, sum(counts), total)


_COLUMNS: Mapping[type[Table], Mapping[str, Column]] = {
    table: {c.name: c for c in table.columns} for table in (KeyedIntervals, ServiceTotals)
}


def _scaled(table: Table, name: str) -> list[Any]:
    """Give a column in seconds, bytes or numbers; None where it is unknown."""
    column = _COLUMNS[type(table)][name]
    unknown = null_mask(column, table.rows[name])
    values: list[Any] = table.rows[name].tolist()
    if column.unit == "ns":
        values = [value / 1e9 for value in values]
    if unknown is not None:
        values = [None if is_unknown else value for value, is_unknown in zip(values, unknown.tolist(), strict=True)]
    return values


def full_labels(metric: Metric, point: Point) -> dict[str, str]:
    """Give a point's labels by name."""
    return dict(zip(metric.labels, point.labels, strict=True))
