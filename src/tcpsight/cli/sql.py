"""``tcpsight sql``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from os import PathLike
from threading import Lock
from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli import values
from tcpsight.cli.options import Input, RowFormat, chosen_format, input_options
from tcpsight.cli.pages import output_option

if TYPE_CHECKING:
    from tcpsight.analysis import Analysis, Run
    from tcpsight.pipeline import Batch
    from tcpsight.querying import Read
    from tcpsight.tables import Table


@click.command("sql")
@click.argument("query")
@input_options
@click.option(
    "--interval",
    "interval_ns",
    type=values.interval_ns,
    default="auto",
    show_default=True,
    metavar="auto|DURATION",
    help="Length of a slice of intervals.",
)
@click.option(
    "--format",
    "format",
    type=RowFormat(),
    help="How rows are written.  [default: by the suffix of -o, else table]",
)
@output_option
def command(query: str, source: Input, interval_ns: int | None, format: str | None, output: str) -> int:
    """Ask a question in SQL (DuckDB; pip install 'tcpsight[sql]').

    \b
    tcpsight sql 'select client_address, count(*) from requests group by 1' capture.pcap
    tcpsight sql "select * from requests where response_time_ns > 1e9 order by arrival_ns" *.pcap --format csv
    tcpsight sql 'from connections join network using (connection_id)' capture.pcap -o both.parquet
    tcpsight sql 'describe requests' capture.pcap

    The tables are requests, unanswered, connections, intervals, network, segments, findings and unseen, with the
    columns that the commands of these names have in machine formats: times are integer nanoseconds; policed, what
    tells of token buckets and shapers, exchange by exchange; and sketches, counts of response times that add up. Only
    the tables that the query reads are made, each by a pass over the capture. SQL reaches no file and no network.
    """
    from tcpsight.cli.notes import conclude, takes_unicode
    from tcpsight.cli.running import patient
    from tcpsight.output.answers import write_answer
    from tcpsight.querying import answered

    chosen = chosen_format(format, output)
    if chosen in ("parquet", "arrow") and output == "-" and sys.stdout.isatty():
        raise click.UsageError(f"{chosen} is nothing to read on a terminal: name a file with -o")
    with patient(source) as analysis:
        passes = _Passes(analysis, source.progress, interval_ns)
        with answered(query, passes.tables()) as reader:
            zone = values.zone(source.timezone)
            write_answer(reader, output, chosen, zone, has_unicode=takes_unicode(output))
    return conclude(passes.ended[0], shows_unseen=passes.shows_unseen) if passes.ended else 0


@dataclass(slots=True)
class _Passes:
    """Passes over one capture, as a query asks for them.

    The database reads its tables in threads of its own, several at a time: what they share is behind a lock.

    Attributes
    ----------
    ended : list of Run
        Those that came to the end of the capture.
    shows_unseen : bool
        Whether the query has read what was not understood.
    """

    analysis: Analysis
    progress: bool | None
    interval_ns: int | None
    ended: list[Run] = field(default_factory=list)
    shows_unseen: bool = False
    _begun: int = 0
    _lock: Lock = field(default_factory=Lock)
    _bar: Lock = field(default_factory=Lock)

    def tables(self) -> dict[str, tuple[type[Table], Read]]:
        """Give what a query may name."""
        from tcpsight import tables

        return {
            "requests": (tables.Requests, lambda: self._rows(tables.Requests, lambda batch: batch.requests)),
            "unanswered": (tables.Unanswered, lambda: self._rows(tables.Unanswered, lambda batch: batch.unanswered)),
            "connections": (
                tables.Connections,
                lambda: self._rows(tables.Connections, lambda batch: batch.connections),
            ),
            "intervals": (tables.Intervals, self._intervals),
            "network": (tables.Network, lambda: self._rows(tables.Network, lambda batch: batch.network)),
            "segments": (
                tables.SegmentDetails,
                lambda: self._rows(tables.SegmentDetails, lambda batch: batch.segments),
            ),
            "findings": (tables.Findings, self._findings),
            "policed": (tables.Policed, lambda: self._rows(tables.Policed, lambda batch: batch.policed)),
            "sketches": (tables.Sketches, self._sketches),
            "unseen": (tables.Unseen, self._unseen),
        }

    def _rows(self, table_type: type[Table], part: Any) -> Iterator[Table]:
        with self._pass(table_type) as (_, batches):
            for batch in batches:
                yield part(batch)

    def _intervals(self) -> Iterator[Table]:
        from tcpsight.slices import IntervalCollection

        collection = IntervalCollection(self.interval_ns)
        with self._pass(None) as (run, batches):
            for batch in batches:
                collection.feed(batch)
        yield from collection.rows(run.pipeline.span)

    def _findings(self) -> Iterator[Table]:
        from tcpsight.findings import CaptureFindings
        from tcpsight.tables import Findings

        with self._pass(Findings) as (run, batches):
            collection = CaptureFindings(run.pipeline.options.selection)
            for batch in batches:
                collection.add(batch)
        yield collection.table(run)

    def _sketches(self) -> Iterator[Table]:
        """Give response times as counts: those that a lake keeps, where requests are wanted as they were kept."""
        from tcpsight.lake.replaying import StoredCaptures
        from tcpsight.model.sketches import Sketching
        from tcpsight.pipeline import Options

        options, usual = self.analysis.options, Options()
        selection = options.selection
        is_kept = (options.start, options.end, options.leave_out) == (usual.start, usual.end, usual.leave_out)
        if self.analysis.lake is not None and is_kept and selection.since_ns is None and selection.until_ns is None:
            for rows in StoredCaptures(self.analysis.lake).sketches():
                yield rows[selection.of_services(rows)]
            return
        sketching = Sketching()
        with self._pass(None) as (_, batches):
            for batch in batches:
                yield sketching.feed(batch.requests)
        yield sketching.finish()

    def _unseen(self) -> Iterator[Table]:
        with self._pass(None) as (run, batches):
            for _ in batches:
                pass
        self.shows_unseen = True
        yield run.pipeline.unseen.table()

    @contextmanager
    def _pass(self, carrying: type[Table] | None) -> Iterator[tuple[Run, Iterator[Batch]]]:
        """Run through the capture once more; the first of several passes at a time shows how far it has come."""
        from tcpsight.cli.running import is_pipe, watched

        with self._lock:
            is_again = self._begun > 0
            self._begun += 1
        sources = self.analysis.sources
        if is_again and ("-" in sources or any(is_pipe(each) for each in sources if not isinstance(each, PathLike))):
            raise click.UsageError("a pipe can be read once, and the query reads it again: save it to a file")
        with ExitStack() as bar, self.analysis.run(carrying) as run:
            is_watched = self._bar.acquire(blocking=False)
            if is_watched:
                bar.callback(self._bar.release)
            yield run, watched(run, self.progress if is_watched else False, ExitStack())
        # Not where the query had enough before the end.
        with self._lock:
            self.ended.append(run)
