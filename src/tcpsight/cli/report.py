"""``tcpsight report``."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import click

from tcpsight.cli.options import Input, input_options

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from tcpsight.facts import Facts
    from tcpsight.output.drawing import Screen


NARROWEST = 60
"""Fewer characters per line than this only make lines wrap."""


def _quantiles(ctx: click.Context, param: click.Parameter, values: tuple[float, ...]) -> tuple[float, ...]:
    for value in values:
        if not 0 < value < 1:
            raise click.BadParameter(f"{value:g} is no quantile; write 0.999 for the 99.9th percentile")
    return values


@click.command("report")
@input_options
@click.option(
    "--quantile",
    "quantiles",
    type=float,
    multiple=True,
    default=(0.5, 0.9, 0.95, 0.99),
    metavar="Q",
    callback=_quantiles,
    help="Which quantiles of the response time. Repeatable.  [default: .5 .9 .95 .99]",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=10, show_default=True, metavar="N", help="How many services."
)
@click.option(
    "--format",
    "format",
    type=click.Choice(["text", "json"]),
    help="A page, or the same facts for a program.  [default: json if -o ends in .json, else text]",
)
@click.option("-o", "--output", default="-", metavar="FILE", help="Where to; '-' is standard output.")
def command(source: Input, quantiles: tuple[float, ...], top: int, format: str | None, output: str) -> int:
    """Tell what is wrong and how each service performs, in one page.

    \b
    tcpsight report capture.pcap
    tcpsight report capture.pcap --server :3306 --since 2026-05-01T12:00
    tcpdump -s 128 -w - tcp port 6379 | tcpsight report -
    """
    from tcpsight.cli import values
    from tcpsight.cli.running import conclude, reading, warn_of_outside
    from tcpsight.facts import facts
    from tcpsight.reporting import ReportCollection
    from tcpsight.tables import Findings

    chosen = format or ("json" if output.lower().endswith(".json") else "text")
    with reading(source, Findings) as (run, batches):
        collection = ReportCollection(top)
        for batch in batches:
            collection.feed(batch)
        # Without a frame there is nothing to tell but the error.
        if run.pipeline.frames:
            report = collection.report(run)
            warn_of_outside(run, report.outside)
            _write(facts(report, quantiles), output, chosen, values.zone(source.timezone))
        return conclude(run, shows_unseen=run.pipeline.frames > 0)


def _write(facts: Facts, output: str, format: str, timezone: ZoneInfo) -> None:
    from tcpsight.output.destination import Destination
    from tcpsight.output.report import json_text, page

    text = json_text(facts) if format == "json" else page(facts, timezone, _screen(output))
    encoding = "utf-8" if format == "json" or output != "-" else (sys.stdout.encoding or "utf-8")
    destination = Destination(output)
    try:
        destination.write(text.encode(encoding, "replace"))
        destination.close()
    except BaseException:
        destination.abort()
        raise


def _screen(output: str) -> Screen:
    """Find out what the page will be shown on."""
    from tcpsight.output.drawing import Screen

    if output != "-":
        return Screen()
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((100, 24)).columns
    encoding = (sys.stdout.encoding or "ascii").lower()
    return Screen(
        width=max(width, NARROWEST),
        has_color=is_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb",
        has_unicode=encoding.startswith("utf"),
    )
