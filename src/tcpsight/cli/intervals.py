"""``tcpsight intervals``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli import values
from tcpsight.cli.options import Input, input_options, output_options
from tcpsight.cli.plotting import check_plot, plot_option, write_and_plot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcpsight.model.keys import By
    from tcpsight.tables import Table


@click.command("intervals")
@input_options
@click.option(
    "--interval",
    "interval_ns",
    type=values.interval_ns,
    default="auto",
    show_default=True,
    metavar="auto|DURATION",
    help="Length of a slice.",
)
@click.option(
    "--max-stall",
    "max_stall_ns",
    type=values.positive_duration_ns,
    default="200ms",
    show_default=True,
    metavar="DURATION",
    help="The longest slice that auto chooses: shorter stalls can hide in it.",
)
@click.option(
    "--by",
    type=click.Choice(["service", "server", "client"]),
    help="A series for each of the 20 largest, and one for the others.",
)
@plot_option("throughput, concurrency and percentiles over time")
@output_options("response_time_p99 > 50ms and arrivals > 0")  # fmt: skip
def command(
    source: Input, interval_ns: int | None, max_stall_ns: int, by: By | None, plot: str | None, **output: Any
) -> int:
    """Throughput, concurrency and response times, one row per slice of time.

    \b
    tcpsight intervals capture.pcap
    tcpsight intervals capture.pcap --interval 1s --by service
    tcpsight intervals capture.pcap --interval 100ms --format csv -o intervals.csv
    tcpsight intervals capture.pcap --plot intervals.svg
    """
    from tcpsight.cli.notes import warn, warn_of_outside
    from tcpsight.cli.running import Output, reading, write_rows
    from tcpsight.output.table_figures import IntervalFigure
    from tcpsight.slices import IntervalCollection

    if plot is not None:
        if by is not None:
            raise click.UsageError("--plot draws one series: leave out --by, and choose with --server or --filter")
        check_plot(plot, source.sources)
    options = Output(**output)
    with reading(source) as (run, batches):
        collection = IntervalCollection(interval_ns, max_stall_ns=max_stall_ns, by=by)

        def tables() -> Iterator[Table]:
            for batch in batches:
                collection.feed(batch)
            yield from collection.rows(run.pipeline.span)
            if collection.chosen is not None:
                warn(f"interval {collection.chosen.reason}")
            warn_of_outside(run, collection.outside)

        rows = options.selected(tables(), collection.table_type)
        if plot is not None:
            figure = IntervalFigure()
            return write_and_plot(
                run, rows, figure, plot, options, lambda: options.open(collection.table_type, source.timezone)
            )
        return write_rows(run, rows, options.open(collection.table_type, source.timezone), options.sort)
