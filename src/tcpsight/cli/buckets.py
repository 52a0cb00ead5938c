"""``tcpsight buckets``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli.options import Input, input_options, output_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcpsight.bucketing import Scale
    from tcpsight.tables import Table

BY = ("duration", "connect", "client_bytes", "server_bytes", "throughput", "requests", "attempts")


ALL = -2
"""The number that stands for every bucket; −1 is that of connections of unknown value."""


def _bucket(text: str) -> int:
    """Read which bucket: its number, or a word."""
    if text in ("all", "unknown"):
        return ALL if text == "all" else -1
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise click.BadParameter(f"{text!r} is no bucket; write its number, unknown or all")


@click.command("buckets")
@input_options
@click.option("--by", type=click.Choice(BY), default="duration", show_default=True, help="What buckets are made by.")
@click.option(
    "--scale",
    type=click.Choice(["logarithmic", "linear", "quantile"]),
    help="Edges at 1, 2, 5, 10 …; of one width; or with equal numbers of connections.  "
    "[default: linear with --width and for attempts, else logarithmic]",
)
@click.option("--width", metavar="SIZE", help="Width of linear buckets: 50ms, 8KiB, 10Mbit/s, 5.")
@click.option("--count", type=click.IntRange(1, 100_000), metavar="N", help="How many: 20 linear ones, 10 quantiles.")
@click.option(
    "--bucket",
    type=_bucket,
    metavar="N|unknown|all",
    help="Give the connections of a bucket instead, with the filter that makes tcpdump show each.",
)
@output_options("server_bytes > 8kB and duration < 400ms")
def command(
    source: Input,
    by: str,
    scale: Scale | None,
    width: str | None,
    count: int | None,
    bucket: int | None,
    **output: Any,
) -> int:
    """Count connections by duration, bytes, throughput and the like.

    \b
    tcpsight buckets capture.pcap
    tcpsight buckets capture.pcap --by server_bytes --width 8KiB --where 'duration < 400ms'
    tcpsight buckets capture.pcap --by connect --scale quantile
    tcpsight buckets capture.pcap --by attempts
    tcpsight buckets capture.pcap --bucket 7 --columns duration_ns,capture_filter

    --where is about connections, as in tcpsight connections, and knows throughput_bits_per_s too.
    """
    from tcpsight.bucketing import BucketCollection
    from tcpsight.cli.notes import warn_of_none
    from tcpsight.cli.running import Output, reading, write_rows
    from tcpsight.tables import BucketConnections, Connections, RatedConnections
    from tcpsight.where import Where

    where = output.pop("where")
    options = Output(**output, where=None)
    condition = Where(where, RatedConnections) if where is not None else None
    if width is not None and scale not in (None, "linear"):
        instead = "use --count N" if scale == "quantile" else "leave --width out"
        raise click.UsageError(f"--width {width} is for linear buckets: leave --scale {scale} out, or {instead}")
    collection = BucketCollection(by, scale=scale, width=_width(by, width), count=count, where=condition)
    table_type: type[Table] = collection.table_type if bucket is None else BucketConnections
    with reading(source, Connections) as (run, batches):

        def tables() -> Iterator[Table]:
            for batch in batches:
                collection.feed(batch.connections)
            if condition is not None and collection.given and not collection.total:
                warn_of_none(condition, collection.given)
            if bucket is None:
                yield from collection.rows()
            else:
                collection.tags = run.tags
                yield from collection.connections(None if bucket == ALL else bucket)

        return write_rows(run, tables(), options.open(table_type, source.timezone), options.sort)


def _width(by: str, text: str | None) -> int | None:
    """Read a width in the unit of what buckets are made by."""
    if text is None:
        return None
    from fractions import Fraction

    from tcpsight.errors import UsageError
    from tcpsight.model.buckets import measure
    from tcpsight.where.literals import number_for
    from tcpsight.where.tokens import Token

    column = measure(by)
    try:
        value = number_for(column, Token("word", "".join(text.split()), 0), has_whole_name=column.unit != "ns")
    except UsageError:
        value = Fraction(0)
    if value.denominator != 1 or value < 1:
        example = {"ns": "50ms", "B": "8KiB", "bit/s": "10Mbit/s"}.get(column.unit, "5")
        raise click.BadParameter(f"{text!r} is no width of buckets by {by}; write {example}", param_hint="--width")
    return int(value)
