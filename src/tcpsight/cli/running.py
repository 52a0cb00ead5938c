"""Runs a capture through and writes one table, with progress and with what was not understood on standard error."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from tcpsight.cli.endings import handling, until_stopped
from tcpsight.cli.notes import conclude, takes_unicode, warn_of_none
from tcpsight.cli.options import Input, chosen_format
from tcpsight.tables import Table

if TYPE_CHECKING:
    from tcpsight.analysis import Analysis, Run
    from tcpsight.capture import Capture
    from tcpsight.output.writers import Writer
    from tcpsight.pipeline import Batch
    from tcpsight.where import Where


LINE_FORMATS = ("csv", "jsonl")

FIRST_COLUMNS = {
    "Requests": (
        "arrival_ns response_time_ns client_address client_port server_address server_port request_bytes "
        "response_bytes connection_id request_index"
    ),
    "AccountedRequests": (
        "arrival_ns response_time_ns client_address server_address server_port limited_by server_ns "
        "response_transfer_ns recovery_ns receiver_limited_ns path_limited_ns unknown_ns request_transfer_ns "
        "connection_id request_index"
    ),
    "Connections": (
        "start_ns duration_ns client_address client_port server_address server_port state requests unanswered "
        "connect_ns client_bytes server_bytes client_retransmissions server_retransmissions limited_by connection_id"
    ),
    "Intervals": (
        "start_ns arrivals completions throughput_per_s concurrency utilization_fraction response_time_p50_ns "
        "response_time_p99_ns response_time_max_ns unanswered_backlog backlog"
    ),
    "KeyedIntervals": (
        "start_ns server_address server_port client_address is_other arrivals throughput_per_s concurrency "
        "utilization_fraction response_time_p50_ns response_time_p99_ns response_time_max_ns unanswered_backlog"
    ),
    "Buckets": (
        "bucket low high connections connections_fraction cumulative_fraction client_bytes_mean server_bytes_mean "
        "duration_p50_ns connect_p50_ns throughput_p50_bits_per_s repeated_syns resets"
    ),
    "BucketConnections": (
        "bucket start_ns duration_ns connect_ns client_bytes server_bytes throughput_bits_per_s requests "
        "connect_attempts capture_filter"
    ),
    "Network": (
        "connection_id direction server_address server_port retransmissions rtt_p50_ns goodput_bits_per_s bytes "
        "client_address client_port rtt_min_ns rtt_p95_ns zero_window_ns in_flight_max_bytes segments start_ns"
    ),
    "Findings": "severity kind subject connections start_ns end_ns summary confidence connection_id",
    "SplitRequests": (
        "arrival_ns response_time_ns client_ns request_path_ns server_ns response_path_ns path_error_ns outcome "
        "client_address client_port server_address server_port connection_id request_index"
    ),
    "Sockets": (
        "local_port remote_address remote_port state process rtt_ns idle_ns retransmissions send_queue_bytes pid "
        "local_address delivery_rate_bits_per_s congestion_window_segments in_flight_segments"
    ),
    "LadderSegments": (
        "frame_number time_ns connection_id direction relative_sequence relative_acknowledgment flags payload_bytes "
        "window_bytes in_flight_bytes missing_bytes kind"
    ),
    "SegmentDetails": (
        "frame_number time_ns connection_id direction flags kind offset acked_offset payload_bytes window_bytes"
    ),
}
"""What comes first on a terminal, which may not have room for more."""

INTERRUPTED = "tcpsight: interrupted: reading what is left in the pipe; again to give up"


@dataclass(frozen=True, slots=True)
class Output:
    """Where rows go, and how: the options of `output_options`."""

    format: str | None
    output: str
    sort: str | None
    columns: str | None
    where: str | None

    @property
    def is_words(self) -> bool:
        """Whether rows are for a person, and nobody asked for columns."""
        return self.columns is None and chosen_format(self.format, self.output) == "table"

    def selected(self, tables: Iterator[Table], table_type: type[Table]) -> Iterator[Table]:
        """Keep the rows for which the condition holds; it is read before the first of them."""
        if self.where is None:
            return tables
        from tcpsight.where import Where

        return _kept(tables, Where(self.where, table_type))

    def open(
        self, table_type: type[Table], timezone: str, *, is_short: bool = False, leading: str | None = None
    ) -> Writer:
        """Open the writer; `is_short` leaves text everywhere to the columns that a terminal has first, or `leading`."""
        from tcpsight.output.writers import open_writer

        columns = self._chosen_columns(table_type)
        format = chosen_format(self.format, self.output)
        if format in ("parquet", "arrow") and self.output == "-" and sys.stdout.isatty():
            raise click.UsageError(f"{format} is nothing to read on a terminal: name a file with -o")
        if format != "table":
            return open_writer(self.output, table_type, format, columns=columns)
        from tcpsight.output.text import TextLayout

        # What a terminal cannot show in a line is left out, and said; a file or pipe gets every column.
        width = None
        first = (leading or FIRST_COLUMNS[table_type.__name__]).split()
        if self.output == "-" and sys.stdout.isatty() and columns is None:
            width = shutil.get_terminal_size().columns
            columns = first + [c.name for c in table_type.columns if not c.internal and c.name not in first]
        elif is_short and columns is None:
            columns = first
        layout = TextLayout(width=width, has_unicode=takes_unicode(self.output))
        return open_writer(self.output, table_type, format, columns=columns, timezone=timezone, layout=layout)

    def _chosen_columns(self, table_type: type[Table]) -> list[str] | None:
        if self.columns is None:
            return None
        if self.columns.strip() == "all":
            return [column.name for column in table_type.columns if not column.internal]
        # A comma too many names no column.
        return [name for part in self.columns.split(",") if (name := part.strip())]

    def order(self, by_time: str) -> str | None:
        """Name the column to sort by; text is sorted by time unless the user says otherwise."""
        if self.sort:
            return self.sort
        return by_time if chosen_format(self.format, self.output) == "table" else None


def write_table(
    source: Input, output: Output, table_type: type[Table], part: Callable[[Batch], Table], by_time: str
) -> int:
    """Write one table of a capture; give the exit status."""
    with reading(source, table_type, alone=True) as (run, batches):
        tables = output.selected((part(batch) for batch in batches), table_type)
        # Somebody may wait for the rows of a pipe. Lines are the same wherever they are flushed, the others are not.
        is_lines = chosen_format(output.format, output.output) in LINE_FORMATS
        is_followed = source.is_followed or (run.capture.bytes_total is None and is_lines)
        writer = output.open(table_type, source.timezone)
        order = output.sort if source.is_followed else output.order(by_time)
        return write_rows(run, tables, writer, order, is_followed=is_followed)


def write_rows(
    run: Run, tables: Iterator[Table], writer: Writer, order: str | None, *, is_followed: bool = False
) -> int:
    """Write tables, sorted if a column is named; give the exit status.

    Parameters
    ----------
    run : Run
        The pass that gives the tables.
    tables : iterator of Table
        Each is valid until the next.
    writer : Writer
        Where to; it is closed here. Without a segment it is given up, so that an old file stays.
    order : str or None
        A column to sort by, with ``-`` before it for descending.
    is_followed : bool
        Whether rows are written as soon as they are final.
    """
    with writer:
        for table in in_order(tables, writer.table_type, order):
            writer.write(table)
            if is_followed:
                writer.flush()
        if run.pipeline.segments == 0:
            return conclude(run)
    return conclude(run)


def in_order(tables: Iterator[Table], table_type: type[Table], order: str | None) -> Iterator[Table]:
    """Collect rows, on disk if there are many, and give them in order of a column; as they come if that is None."""
    if order is None:
        yield from tables
        return
    from tcpsight.output.spill import SortedSpill

    spill = SortedSpill(table_type, (order.removeprefix("-"),), descending=order.startswith("-"))
    for table in tables:
        if len(table):
            spill.add(table)
    yield from spill.sorted()


def _kept(tables: Iterator[Table], where: Where) -> Iterator[Table]:
    """Give the rows for which a condition holds; say so if there is none."""
    before = after = 0
    for table in tables:
        kept = where.apply(table)
        before += len(table)
        after += len(kept)
        yield kept
    if before and not after:
        warn_of_none(where, before)


@contextmanager
def reading_bar(capture: Capture, progress: bool | None) -> Iterator[Callable[[], None]]:
    """Show how far reading has come, if somebody looks; what it gives is to be called now and then."""
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=capture.bytes_total)
        yield lambda: bar.update(task, completed=capture.bytes_read)


@contextmanager
def reading(source: Input, carrying: type[Table] | None = None, **how: Any) -> Iterator[tuple[Run, Iterator[Batch]]]:
    """Open a capture; give the run and its batches, which carry that table, while a bar shows how far it has come.

    From before the capture is opened until its last batch an interrupt ends a pipe's writer, not the reading.
    """
    with ExitStack() as waiting:
        analysis = waiting.enter_context(patient(source))
        with analysis.run(carrying, **how) as run:
            yield run, watched(run, source.progress, waiting)


@contextmanager
def patient(source: Input) -> Iterator[Analysis]:
    """Give a capture to be read while an interrupt ends a pipe's writer, or a following, and not the reading.

    Signals belong to the main thread: so does this, whoever reads.
    """
    with patience(source.sources), ExitStack() as following:
        analysis = source.analysis()
        if analysis.following is not None:
            following.enter_context(until_stopped(analysis.following.stop))
        yield analysis


def watched(run: Run, progress: bool | None, waiting: ExitStack) -> Iterator[Batch]:
    """Give the batches of a run while a bar shows how far it has come; patience ends with them."""
    with waiting, reading_bar(run.capture, progress) as update:
        for count, batch in enumerate(run):
            if count % 64 == 0:
                update()
            yield batch


@contextmanager
def patience(sources: Sequence[str | BinaryIO]) -> Iterator[None]:
    """Let the first interrupt pass while a pipe is read.

    Ctrl-C reaches every program of a pipeline. The one that captures ends by it, after writing what it still holds;
    so the pipe ends by itself, and the answer is what the user waits for.
    """
    usual = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not callable(usual) or not any(map(is_pipe, sources)):
        yield
        return

    def read_on(signal_number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, usual)
        # Past the buffers of Python: the interrupt may have come in the middle of a line.
        with suppress(OSError):
            os.write(2, f"{INTERRUPTED}\n".encode())

    with handling(signal.SIGINT, read_on):
        yield


def is_pipe(source: str | BinaryIO) -> bool:
    """Tell whether somebody else writes a source, so that it ends when they do: not so a terminal."""
    try:
        if isinstance(source, str):
            status = os.fstat(sys.stdin.fileno()) if source == "-" else Path(source).stat()
        else:
            status = os.fstat(source.fileno())
    except (OSError, ValueError, AttributeError):
        return False  # what cannot be opened is told where it is opened
    return stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)
