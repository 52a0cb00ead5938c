"""``tcpsight usl``."""

from __future__ import annotations

import io
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from tcpsight.cli import values
from tcpsight.cli.options import Input, input_options
from tcpsight.cli.pages import facts_options, output_option, top_option, write_facts

if TYPE_CHECKING:
    from tcpsight.scalability_facts import Facts


TABLE_SUFFIXES = (".csv", ".tsv")
"""Text in files of these names is meant as a table, whatever is wrong with it."""


@click.command("usl")
@input_options
@click.option(
    "--interval",
    "interval_ns",
    type=values.interval_ns,
    default="auto",
    show_default=True,
    metavar="auto|DURATION",
    help="Length of the slices that are the points of a capture; auto chooses it for each service.",
)
@click.option("--table/--capture", "is_table", default=None, help="What SOURCE is.  [default: told by its content]")
@click.option(
    "--columns", metavar="N,X", help="Columns of a table that hold concurrency and throughput: names or numbers."
)
@top_option
@click.option("--at", metavar="N,N...", help="Forecast throughput and response time at these concurrencies, too.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Of the resampling that gives the intervals.")
@click.option(
    "--plot", metavar="FILE", help="Draw points and curve of each service into a .png, .svg or .pdf (needs Matplotlib)."
)
@facts_options
@output_option
def command(source: Input, interval_ns: int | None, plot: str | None, format: str | None, **others: Any) -> int:
    """Tell how throughput follows concurrency, and where it peaks.

    \b
    tcpsight usl capture.pcap --server :3306
    tcpsight usl load-test.txt --format json
    tcpsight usl capture.pcap --at 50,100
    tcpsight usl results.csv --columns clients,tps --plot curve.svg
    tcpsight intervals capture.pcap --format csv | tcpsight usl -

    A table is two columns of numbers, concurrency and throughput; # begins a comment.
    """
    from tcpsight.scalability import parse_columns, parse_loads

    columns = parse_columns(others["columns"])
    asked = {"seed": others["seed"], "at": parse_loads(others["at"])}
    if plot is not None:
        from tcpsight.output.figures import image_format

        image_format(plot)
        values.refuse_output_over_input(plot, source.sources)
    target = _Target(others["output"], format, plot)
    name, is_table = source.sources[0], others["is_table"]
    if is_table and len(source.sources) > 1:
        raise click.UsageError("a table is one file")
    with ExitStack() as files:
        opened = _opened(name, files) if len(source.sources) == 1 and is_table is not False else None
        head = b""
        if is_table is None and opened is not None:
            is_likely = columns is not None or name.lower().endswith(TABLE_SUFFIXES)
            is_table, opened, head = _looked_at(opened, is_likely=is_likely)
        if is_table:
            target.write(_of_table(name, opened, columns, asked))
            return 0
        if columns is not None:
            raise click.UsageError(f"--columns is for tables, and {name} is none; if it is, add --table")
        if opened is not None and not opened.seekable():
            source = replace(source, sources=[opened])  # what was looked at cannot be opened again
        with _either_told(name, head):
            return _of_capture(source, interval_ns, asked | {"most_services": others["top"]}, target)


@dataclass(frozen=True, slots=True)
class _Target:
    """Where the answer goes."""

    output: str
    format: str | None
    plot: str | None

    def write(self, told: Facts) -> None:
        from tcpsight.output.figures import draw_scalability
        from tcpsight.output.scalability_page import page

        if self.plot is not None:
            draw_scalability(told, self.plot)
        write_facts(told, self.output, self.format, lambda screen: page(told, screen))


def _of_table(name: str, opened: BinaryIO | None, columns: Sequence[str] | None, asked: dict[str, Any]) -> Facts:
    from tcpsight.errors import TcpsightError
    from tcpsight.point_tables import read
    from tcpsight.scalability import facts_of_table

    if opened is None:
        try:
            with open(name, "rb") as file:
                return facts_of_table(read(file, name, columns), **asked)
        except (OSError, ValueError) as error:
            raise TcpsightError(f"{name}: cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    return facts_of_table(read(opened, name, columns), **asked)


def _of_capture(source: Input, interval_ns: int | None, asked: dict[str, Any], target: _Target) -> int:
    from tcpsight.cli.notes import conclude
    from tcpsight.cli.running import reading
    from tcpsight.scalability import ScalabilityCollection

    with reading(source) as (run, batches):
        collection = ScalabilityCollection(interval_ns, **asked)
        for batch in batches:
            collection.feed(batch)
        if run.pipeline.segments:
            target.write(collection.facts(run))
        return conclude(run)


def _opened(source: str, files: ExitStack) -> io.BufferedReader | None:
    """Open what may be a table; None where only the library can say what is wrong with it."""
    if source == "-":
        opened = sys.stdin.buffer if sys.stdin is not None else None
        assert opened is None or isinstance(opened, io.BufferedReader)
        return opened
    try:
        return files.enter_context(open(source, "rb"))
    except (OSError, ValueError):
        return None


def _looked_at(opened: io.BufferedReader, *, is_likely: bool) -> tuple[bool, io.BufferedReader, bytes]:
    """Read on until the first lines decide whether this is a table; give that, it from the start, and what was read."""
    from tcpsight.point_tables import HEAD_BYTES, is_table

    start = opened.tell() if opened.seekable() else None
    head, found = b"", None
    try:
        while found is None and len(head) < HEAD_BYTES and (data := _arrived(opened.raw, HEAD_BYTES - len(head))):
            head += data
            found = is_table(head, is_likely=is_likely, is_whole=False)
        if found is None:
            found = is_table(head, is_likely=is_likely)
    except OSError:
        found = False
    if start is not None:
        opened.seek(start)
        return bool(found), opened, head
    return bool(found), io.BufferedReader(_Rejoined(head, opened.raw)), head


@contextmanager
def _either_told(name: str, head: bytes) -> Iterator[None]:
    """Where text is neither points nor a capture, say why it is no table, too: it may be meant as one."""
    from tcpsight.capture.foreign import UNKNOWN_TEXT
    from tcpsight.errors import CaptureError, TcpsightError
    from tcpsight.point_tables import read

    try:
        yield
    except CaptureError as error:
        if error.reason != UNKNOWN_TEXT or not head:
            raise
        try:
            read(io.BytesIO(head), name)
        except TcpsightError as why:
            raise TcpsightError(f"{why}; nor is it a capture: it {UNKNOWN_TEXT}") from None
        raise


def _arrived(raw: Any, most: int) -> bytes:
    """Wait for bytes; give none only at the end."""
    while True:
        data: bytes | None = raw.read(most)
        if data is not None:
            return data
        select.select([raw], [], [])  # a descriptor that somebody made non-blocking


class _Rejoined(io.RawIOBase):
    """A pipe from its start: what was read of it already, then the rest."""

    def __init__(self, head: bytes, rest: Any) -> None:
        name = getattr(rest, "name", None)
        self.name = name if isinstance(name, str) and name != "<stdin>" else "-"
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        number: int = self._rest.fileno()
        return number

    def readinto(self, view: Any) -> int:
        data = self._head[: len(view)] or _arrived(self._rest, len(view))
        self._head = self._head[len(data) :]
        view[: len(data)] = data
        return len(data)
