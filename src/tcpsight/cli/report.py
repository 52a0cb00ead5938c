"""``tcpsight report``."""

from __future__ import annotations

import click

from tcpsight.cli.options import Input, input_options
from tcpsight.cli.pages import check_html, facts_options, html_option, output_option, top_option, write_facts


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
@top_option
@facts_options
@html_option
@output_option
def command(
    source: Input, quantiles: tuple[float, ...], top: int, format: str | None, html: str | None, output: str
) -> int:
    """Tell what is wrong and how each service performs, in one page.

    \b
    tcpsight report capture.pcap
    tcpsight report capture.pcap --html report.html
    tcpsight report capture.pcap --server :3306 --since 2026-05-01T12:00
    tcpdump -s 128 -w - tcp port 6379 | tcpsight report -
    """
    if html is None:
        return _in_words(source, quantiles, top, format, output)
    return _for_a_browser(source, quantiles, top, html)


def _in_words(source: Input, quantiles: tuple[float, ...], top: int, format: str | None, output: str) -> int:
    from tcpsight.cli import values
    from tcpsight.cli.notes import conclude, warn_of_outside
    from tcpsight.cli.running import reading
    from tcpsight.facts import facts
    from tcpsight.output.report import page
    from tcpsight.reporting import ReportCollection
    from tcpsight.tables import Findings

    with reading(source, Findings) as (run, batches):
        collection = ReportCollection(top, run.pipeline.options.selection)
        for batch in batches:
            collection.feed(batch)
        # Without a frame there is nothing to tell but the error.
        if run.pipeline.frames:
            report = collection.report(run)
            warn_of_outside(run, report.outside)
            told, zone = facts(report, quantiles), values.zone(source.timezone)
            write_facts(told, output, format, lambda screen: page(told, zone, screen))
        return conclude(run, shows_unseen=run.pipeline.frames > 0)


def _for_a_browser(source: Input, quantiles: tuple[float, ...], top: int, path: str) -> int:
    from tcpsight.cli import values
    from tcpsight.cli.notes import conclude, warn_of_outside
    from tcpsight.cli.pages import write_text
    from tcpsight.cli.running import reading
    from tcpsight.report_page import PageCollection
    from tcpsight.tables import Findings

    check_html(path, source.sources, top)
    with reading(source, Findings) as (run, batches):
        collection = PageCollection(top, run.pipeline.options.selection)
        for batch in batches:
            collection.feed(batch)
        report = collection.report(run)
        warn_of_outside(run, report.outside)
        again = source.analysis() if source.is_readable_again else None
        page = collection.page(report, again, quantiles, values.zone(source.timezone))
        # Without a frame, too: who opens the page shall see that, and not one of yesterday.
        write_text(path, lambda screen: page, is_ascii=True)
        return conclude(run, shows_unseen=run.pipeline.frames > 0)
