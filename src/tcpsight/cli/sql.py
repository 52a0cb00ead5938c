"""``tcpsight sql``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli import values
from tcpsight.cli.options import FORMATS, Input, chosen_format, input_options

if TYPE_CHECKING:
    from tcpsight.analysis import Analysis, Run
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
    type=click.Choice(FORMATS),
    help="How rows are written.  [default: by the suffix of -o, else table]",
)
@click.option("-o", "--output", default="-", metavar="FILE", help="Where to; '-' is standard output.")
def command(query: str, source: Input, interval_ns: int | None, format: str | None, output: str) -> int:
    """Ask a question in SQL (DuckDB; pip install 'tcpsight[sql]').

    \b
    tcpsight sql 'select client_address, count(*) from requests group by 1' capture.pcap
    tcpsight sql "select * from requests where response_time_ns > 1e9 order by arrival_ns" *.pcap --format csv
    tcpsight sql 'from connections join network using (connection_id)' capture.pcap -o both.parquet
    tcpsight sql 'describe requests' capture.pcap

    The tables are requests, unanswered, connections, intervals, network, segments, findings and unseen, with the
    columns that the commands of these names have in machine formats: times are integer nanoseconds. Only the tables
    that the query reads are made, each by a pass over the capture. SQL reaches no file and no network.
    """
    from tcpsight.cli.notes import conclude
    from tcpsight.cli.running import patient
    from tcpsight.output.answers import write_answer
    from tcpsight.querying import answered

    chosen = chosen_format(format, output)
    if chosen in ("parquet", "arrow") and output == "-" and sys.stdout.isatty():
        raise click.UsageError(f"{chosen} is nothing to read on a terminal: name a file with -o")
    with patient(source) as analysis:
        passes = _Passes(analysis, source.progress, interval_ns)
        with answered(query, passes.tables()) as reader:
            write_answer(reader, output, chosen, values.zone(source.timezone))
    return conclude(passes.ended[0], shows_unseen=passes.shows_unseen) if passes.ended else 0


@dataclass(slots=True)
class _Passes:
    """Passes over one capture, as a query asks for them.

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
            "unseen": (tables.Unseen, self._unseen),
        }

    def _rows(self, table_type: type[Table], part: Any) -> Iterator[Table]:
        for batch in self._batches(table_type):
            yield part(batch)

    def _intervals(self) -> Iterator[Table]:
        from tcpsight.slices import IntervalCollection

        collection = IntervalCollection(self.interval_ns)
        for batch in self._batches(None):
            collection.feed(batch)
        yield from collection.rows(self.ended[-1].pipeline.span)

    def _findings(self) -> Iterator[Table]:
        from tcpsight.findings import CaptureFindings
        from tcpsight.tables import Findings

        collection = CaptureFindings()
        for batch in self._batches(Findings):
            collection.add(batch)
        yield collection.table(self.ended[-1])

    def _unseen(self) -> Iterator[Table]:
        for _ in self._batches(None):
            pass
        self.shows_unseen = True
        yield self.ended[-1].pipeline.unseen.table()

    def _batches(self, carrying: type[Table] | None) -> Iterator[Any]:
        """Run through the capture once more."""
        from tcpsight.cli.running import is_pipe, watched

        self._begun += 1
        sources = self.analysis.sources
        if self._begun > 1 and (
            "-" in sources or any(is_pipe(each) for each in sources if not isinstance(each, PathLike))
        ):
            raise click.UsageError("a pipe can be read once, and the query reads it again: save it to a file")
        # It may run in any thread of the database's.
        with self.analysis.run(carrying) as run:
            yield from watched(run, self.progress, ExitStack())
            self.ended.append(run)
