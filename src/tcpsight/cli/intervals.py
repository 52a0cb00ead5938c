"""``tcpsight intervals``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli.options import DURATION, Input, input_options, output_options

if TYPE_CHECKING:
    from tcpsight.model.keys import By


class IntervalLength(click.ParamType):
    """``auto`` or a duration."""

    name = "auto|duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Give nanoseconds, or None for auto."""
        if value is None or value == "auto":
            return None
        length: int = DURATION.convert(value, param, ctx)
        if length <= 0:
            self.fail("an interval must be longer than 0", param, ctx)
        return length


@click.command("intervals")
@input_options
@click.option("--interval", "interval_ns", type=IntervalLength(), default="auto", show_default=True,
              metavar="auto|DURATION", help="Length of a slice.")
@click.option("--max-stall", "max_stall_ns", type=DURATION, default="200ms", show_default=True, metavar="DURATION",
              help="The longest slice that auto chooses: shorter stalls can hide in it.")
@click.option("--by", type=click.Choice(["service", "server", "client"]),
              help="A series for each of the 20 largest, and one for the others.")
@output_options
def command(source: Input, interval_ns: int | None, max_stall_ns: int, by: By | None, **output: Any) -> int:
    """Throughput, concurrency, utilization and response times, one row per slice of time.

    \b
    tcpsight intervals capture.pcap
    tcpsight intervals capture.pcap --interval 1s --by service
    tcpsight intervals capture.pcap --interval 100ms --format csv -o intervals.csv
    """
    from tcpsight.cli.running import Output, conclude, warn, watched
    from tcpsight.slices import IntervalCollection

    if max_stall_ns <= 0:
        raise click.BadParameter("a stall must be longer than 0", param_hint="--max-stall")
    options = Output(**output)
    with source.analysis().run() as run:
        collection = IntervalCollection(interval_ns, max_stall_ns=max_stall_ns, by=by)
        with options.open(collection.table_type, source.timezone) as writer:
            for batch in watched(run, source):
                collection.feed(batch)
            for rows in collection.rows(run.pipeline.first_ns, run.pipeline.last_ns):
                writer.write(rows)
        if collection.chosen is not None:
            warn(f"interval {collection.chosen.reason}")
        return conclude(run)
