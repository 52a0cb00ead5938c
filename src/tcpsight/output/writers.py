"""One way to write any table: open a writer, give it tables, close it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, tzinfo
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from tcpsight.errors import UsageError
from tcpsight.output.blocks import BlockWriter
from tcpsight.output.columns import shown_columns
from tcpsight.output.destination import Destination
from tcpsight.output.records import CSV, CSV_ON_TERMINAL, JSON, Notation, RecordEncoder
from tcpsight.output.text import TextEncoder, TextLayout
from tcpsight.tables import Table

FORMATS = ("table", "csv", "jsonl", "parquet", "arrow")
"""What `open_writer` can write: text for people, CSV, JSON lines, Parquet, and an Arrow IPC stream."""


class Encoder(Protocol):
    """How one format is written."""

    @property
    def block_rows(self) -> int:
        """Rows it takes at a time."""

    @property
    def may_cut(self) -> bool:
        """Whether it also takes fewer rows before the end."""

    def begin(self) -> None:
        """Write what comes before the rows."""

    def encode(self, rows: Table) -> None:
        """Write the next rows."""

    def finish(self) -> None:
        """Write what comes after the rows."""

    def abort(self) -> None:
        """Let go without finishing."""


class Writer:
    """An open output of one table; a context manager that closes, or aborts on an exception.

    Parameters
    ----------
    destination : Destination
        Where to.
    table_type : type of Table
        What rows come.
    encoder : Encoder
        How they are written.

    Attributes
    ----------
    table_type : type of Table
        What rows come.
    rows : int
        Rows taken so far.

    Notes
    -----
    `write`, `flush` and `close` raise `TcpsightError` when the system refuses (disk full) and `BrokenPipeError` when
    the reader of a pipe has gone; the output has then been aborted already.
    """

    def __init__(self, destination: Destination, table_type: type[Table], encoder: Encoder) -> None:
        self.table_type = table_type
        self.rows = 0
        self._destination = destination
        self._encoder = encoder
        self._blocks = BlockWriter(table_type, encoder.block_rows, encoder.encode)
        self._is_open = True

    def write(self, table: Table) -> None:
        """Take the next rows; they are copied or written before this returns."""
        if not self._is_open:
            raise ValueError("the writer is closed")
        self.rows += len(table)
        self._blocks.write(table)

    def flush(self) -> None:
        """Write what has been collected so far, for a reader who waits; not in Parquet, whose row groups are whole."""
        if self._encoder.may_cut:
            self._blocks.flush()
            self._destination.flush()

    def close(self) -> None:
        """Write the rest and finish the output; a file appears under its name now."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            self._blocks.flush()
            self._encoder.finish()
            self._destination.close()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Give up: a file is left as it was, or absent."""
        self._is_open = False
        self._destination.abort()
        self._encoder.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def open_writer(
    destination: str | os.PathLike[str] | BinaryIO,
    table_type: type[Table],
    format: str,
    *,
    columns: Sequence[str] | None = None,
    timezone: str | tzinfo = UTC,
    layout: TextLayout | None = None,
) -> Writer:
    """Open an output for rows of one table.

    Parameters
    ----------
    destination : str, os.PathLike or binary file object
        A path, ``-`` for standard output, or an open file. See `Destination`.
    table_type : type of Table
        What rows will come.
    format : str
        One of `FORMATS`.
    columns : sequence of str, optional
        Only these columns, in this order.
    timezone : str or tzinfo
        Of instants in text: an IANA name, or a time zone object. The other formats ignore it.
    layout : TextLayout, optional
        Width and limit of text. The other formats ignore it.

    Raises
    ------
    UsageError
        For an unknown format, column or time zone.
    TcpsightError
        If the destination cannot be opened.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}; the formats are {', '.join(FORMATS)}")
    zone = _timezone(timezone) if isinstance(timezone, str) else timezone
    shown_columns(table_type, columns)
    opened = Destination(destination)
    try:
        encoder: Encoder
        if format == "table":
            encoder = TextEncoder(opened, table_type, columns, layout or TextLayout(), zone)
        else:
            is_shown = destination == "-" and sys.stdout is not None and sys.stdout.isatty()
            encoder = _encoder(opened, table_type, format, columns, CSV_ON_TERMINAL if is_shown else CSV)
        writer = Writer(opened, table_type, encoder)
        encoder.begin()
    except BaseException:
        opened.abort()
        raise
    return writer


def _encoder(
    destination: Destination, table_type: type[Table], format: str, columns: Sequence[str] | None, csv: Notation
) -> Encoder:
    """Make the encoder of a machine format; Arrow, whose import costs a third of a second, only where needed."""
    if format in ("csv", "jsonl"):
        return RecordEncoder(destination, table_type, columns, csv if format == "csv" else JSON)
    from tcpsight.output.columnar import IpcEncoder, ParquetEncoder

    return (ParquetEncoder if format == "parquet" else IpcEncoder)(destination, table_type, columns)


def _timezone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise UsageError(f"unknown time zone {name!r}; names are like Europe/Vienna or UTC") from None
