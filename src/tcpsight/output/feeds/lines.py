"""Slices as JSON lines: one object per service, with the columns of ``intervals --by service --format jsonl``."""

from __future__ import annotations

import io

from tcpsight.output.destination import Destination
from tcpsight.output.feeds.update import Update
from tcpsight.output.records import JSON, RecordEncoder
from tcpsight.tables import Findings, KeyedIntervals, Table

# What is not zero where something happened, or was there.
_SIGNS = (
    "arrivals",
    "completions",
    "backlog",
    "unanswered",
    "unanswered_backlog",
    "unanswered_weighted_ns",
    "busy_ns",
    "weighted_ns",
    "late",
)


def told_services(services: KeyedIntervals) -> KeyedIntervals:
    """Give the rows of a slice that have a line: that of the others only where something of it is not zero.

    Where there is no service yet it has one all the same, so that whoever reads sees time pass.
    """
    others = services.rows[-1:]
    if len(services) == 1 or any(bool(others[name].any()) for name in _SIGNS):
        return services
    return services[:-1]


class TableLines:
    """Write rows of one table as JSON lines, again and again; the bytes are those of ``--format jsonl``.

    Parameters
    ----------
    table_type : type of Table
        The table.
    """

    def __init__(self, table_type: type[Table]) -> None:
        self._buffer = io.BytesIO()
        self._destination = Destination(self._buffer)
        self._encoder = RecordEncoder(self._destination, table_type, None, JSON)

    def encode(self, rows: Table) -> bytes:
        """Give one line per row."""
        for start in range(0, len(rows), self._encoder.block_rows):
            self._encoder.encode(rows[start : start + self._encoder.block_rows])
        self._destination.flush()
        lines = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return lines


class UpdateLines:
    r"""Lay out updates as lines: services, then findings where they are wanted, each ``{"finding": {…}}``.

    Parameters
    ----------
    with_findings : bool
        Whether findings are told.
    """

    def __init__(self, *, with_findings: bool = False) -> None:
        self._services = TableLines(KeyedIntervals)
        self._findings = TableLines(Findings) if with_findings else None

    def encode(self, update: Update) -> bytes:
        """Give the lines of an update, each with its line feed; none where there is no row."""
        return self.of_services(update.services) + self.of_findings(update.findings)

    def of_services(self, services: KeyedIntervals) -> bytes:
        """Give the lines of a slice."""
        return self._services.encode(told_services(services))

    def of_findings(self, findings: Findings | None) -> bytes:
        """Give the lines of findings; none where they are not wanted."""
        if self._findings is None or findings is None or not len(findings):
            return b""
        lines = self._findings.encode(findings).splitlines()
        return b"".join(b'{"finding":%s}\n' % line for line in lines)
