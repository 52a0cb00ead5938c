"""``tcpsight compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli import values
from tcpsight.cli.options import Input, before_and_after
from tcpsight.cli.pages import check_html, facts_options, html_option, output_option, top_option, write_facts

if TYPE_CHECKING:
    from tcpsight.comparison import CollectedCapture
    from tcpsight.comparison_facts import Facts


KINDS = ("response-time", "failures", "throughput", "retransmissions", "vanished", "findings")


@click.command("compare")
@before_and_after
@click.option(
    "--tolerance",
    type=values.fraction,
    default="5%",
    show_default=True,
    metavar="SHARE",
    help="Response times may be longer, throughput at equal concurrency lower by this share, such as 10% or 0.1.",
)
@click.option(
    "--failure-tolerance",
    type=values.fraction,
    default="1%",
    show_default=True,
    metavar="SHARE",
    help="This much more of the requests may be unanswered, of connections come to nothing, of segments be sent again.",
)
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice([*KINDS, "none"]),
    help="Exit with status 1 for this only. Repeatable; none: never for what is worse.  [default: each of them]",
)
@click.option(
    "--quantile",
    "quantiles",
    multiple=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="P",
    help="Show this quantile of the response time, such as 0.9. Repeatable.  [default: 0.1 to 0.99]",
)
@click.option(
    "--same",
    multiple=True,
    metavar="BEFORE=AFTER",
    help="A service that moved: [ADDRESS]:PORT before and after, such as :3306=10.0.0.7:3307. Repeatable.",
)
@top_option
@facts_options
@html_option
@output_option
def command(before: Input, after: Input, tolerance: float, failure_tolerance: float, **others: Any) -> int:
    """Tell what changed between two captures; exit status 1 if it got worse.

    \b
    tcpsight compare monday.pcap tuesday.pcap
    tcpsight compare before.pcap after.pcap --server :3306 --tolerance 10%
    tcpsight compare 'before-*.pcap.gz' 'after-*.pcap.gz' --format json -o changed.json
    tcpsight compare day.pcap --at 2026-05-01T12:00 --html changed.html
    tcpsight compare before.pcap after.pcap --fail-on response-time --fail-on failures
    tcpsight compare old-host.pcap new-host.pcap --same :3306=:3307

    Response times quantile by quantile, throughput at equal concurrency, failures, retransmissions, round trips and
    findings. Status 1 means worse beyond doubt, by more than is tolerated: the median or the 95th percentile of
    response time, the share of what failed, throughput at equal concurrency, the share of segments sent again; or a
    service vanished, or a critical finding came.
    """
    from tcpsight.cli.notes import conclude
    from tcpsight.comparing import check_common, parse_same
    from tcpsight.comparison import QUANTILES, compared
    from tcpsight.comparison_facts import Tolerance, comparison_facts
    from tcpsight.errors import UsageError

    counted, same = _counted(others["fail_on"]), [parse_same(each) for each in others["same"]]
    if (html := others["html"]) is not None:
        check_html(html, before.sources + after.sources, others["top"])
    sides = _collected(before), _collected(after)
    for side in sides:
        if not side.run.pipeline.segments and (status := conclude(side.run)):
            return status
    comparison = compared(*sides, most_services=others["top"], quantiles=others["quantiles"] or QUANTILES, same=same)
    try:
        check_common(comparison)
    except UsageError:
        for side in sides:
            conclude(side.run)
        raise
    facts = comparison_facts(comparison, Tolerance(tolerance, failure_tolerance, counted))
    if html is not None:
        _write_html(facts, html, before.timezone)
    else:
        from tcpsight.output.comparison_page import page

        zone = values.zone(before.timezone)
        write_facts(facts, others["output"], others["format"], lambda screen: page(facts, zone, screen))
    return max(int(facts["is_worse"]), *(conclude(side.run) for side in sides))


def _counted(asked: tuple[str, ...]) -> tuple[str, ...]:
    """Give the kinds of worsening that count, as the library calls them."""
    from tcpsight.errors import UsageError

    if "none" in asked and len(set(asked)) > 1:
        raise UsageError("--fail-on none says that nothing counts: give it alone")
    return tuple(each.replace("-", "_") for each in asked or KINDS if each != "none")


def _collected(source: Input) -> CollectedCapture:
    from tcpsight.cli.running import reading
    from tcpsight.comparison import CollectedCapture
    from tcpsight.tables import Findings

    is_part = source.since is not None or source.until is not None
    with reading(source, Findings, with_segments=is_part) as (run, batches):
        collection = CollectedCapture(run.pipeline.options.selection)
        for batch in batches:
            collection.feed(batch)
        return collection.finish(run)


def _write_html(facts: Facts, path: str, timezone: str) -> None:
    from tcpsight.cli.pages import write_text
    from tcpsight.output.comparison_html import comparison_html

    page = comparison_html(facts, values.zone(timezone))
    write_text(path, lambda screen: page, is_ascii=True)
