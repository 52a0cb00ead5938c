"""``tcpsight split``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from tcpsight.cli.options import FORMATS, Input, chosen_format, output_options, two_inputs

if TYPE_CHECKING:
    from tcpsight.sightings import Sighted


def _with_pages(function: Any) -> Any:
    """Let ``--format`` ask for the page and for its facts, too."""
    for option in function.__click_params__:
        if option.name == "format":
            option.type = click.Choice(["text", "json", *FORMATS])
            option.help = "The page, its facts, or the rows.  [default: by the suffix of -o, else text]"
    return function


@click.command("split")
@two_inputs
@_with_pages
@output_options("server > 100ms and outcome = split")
def command(client_side: Input, server_side: Input, **output: Any) -> int:
    """Where the time of requests went, by two captures of the same traffic.

    \b
    tcpsight split client.pcap server.pcap
    tcpsight split client.pcap server.pcap --format json
    tcpsight split client.pcap server.pcap -o split.csv

    The first was taken nearer the clients, the second nearer the servers. The page tells what their clocks differ by,
    how long the path takes each way, and where segments were lost; tables have a row for each request.
    """
    from tcpsight.cli.notes import conclude
    from tcpsight.cli.pages import write_facts
    from tcpsight.cli.running import Output
    from tcpsight.errors import UsageError
    from tcpsight.output.split import page
    from tcpsight.split_facts import split_facts, why_not
    from tcpsight.split_requests import split_requests
    from tcpsight.splitting import End, compare
    from tcpsight.tables import SplitRequests

    start, end = client_side.analysis().options.start, client_side.analysis().options.end
    sides = _sighted(client_side), _sighted(server_side)
    for side in sides:
        if not side.rows.count and (status := conclude(side.run)):
            return status
    comparison = compare(*sides, end=cast("End", end))
    if reason := why_not(comparison):
        raise UsageError(reason)
    table = split_requests(comparison, start=start)
    chosen = _chosen(output)
    if chosen in ("text", "json"):
        told = split_facts(comparison, table)
        write_facts(told, output["output"], chosen, lambda screen: page(told, screen))
    else:
        options = Output(**output | {"format": chosen})
        _write_rows(options, table, SplitRequests, client_side.timezone)
    return max(conclude(side.run) for side in sides)


def _chosen(output: dict[str, Any]) -> str:
    """Tell the format: a page where nobody asks for rows."""
    if output["format"] is not None:
        return str(output["format"])
    if output["output"].lower().endswith(".json"):
        return "json"
    wants_rows = any(output[name] is not None for name in ("where", "sort", "columns"))
    suffix = chosen_format(None, output["output"])
    return suffix if suffix != "table" or wants_rows else "text"


def _sighted(source: Input) -> Sighted:
    from tcpsight.cli.running import reading
    from tcpsight.sightings import SightingPipeline, collected
    from tcpsight.tables import Network

    with reading(source, Network, through=SightingPipeline) as (run, batches):
        return collected(run, batches)


def _write_rows(options: Any, table: Any, table_type: Any, timezone: str) -> None:
    from tcpsight.cli.running import in_order

    with options.open(table_type, timezone) as writer:
        tables = options.selected(iter([table]), table_type)
        for block in in_order(tables, table_type, options.order("arrival_ns")):
            writer.write(block)
