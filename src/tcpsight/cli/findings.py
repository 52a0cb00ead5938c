"""``tcpsight findings``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli.options import Input, input_options, output_options

if TYPE_CHECKING:
    from tcpsight.tables import Findings


@click.command("findings")
@input_options
@click.option(
    "--fail-on",
    type=click.Choice(["info", "warning", "critical"]),
    help="Exit with status 1 if there is a finding as bad as this.",
)
@output_options("severity = critical or kind = bufferbloat")
def command(source: Input, fail_on: str | None, **output: Any) -> int:
    """Conditions that have a name, each with its rule and its numbers.

    \b
    tcpsight findings capture.pcap
    tcpsight findings capture.pcap --format jsonl
    tcpsight findings capture.pcap --fail-on critical && echo fine
    """
    from tcpsight.cli.running import Output, reading, write_rows
    from tcpsight.findings import CaptureFindings
    from tcpsight.tables import SEVERITIES, Findings

    options = Output(**output)
    worst = -1
    with reading(source, Findings) as (run, batches):
        collection = CaptureFindings()

        def tables() -> Iterator[Findings]:
            nonlocal worst
            for batch in batches:
                collection.add(batch)
            table = collection.table(run)
            worst = max(table.severity.tolist(), default=-1)
            yield table

        status = write_rows(
            run, options.selected(tables(), Findings), options.open(Findings, source.timezone), options.sort
        )
    if status == 0 and fail_on is not None and worst >= SEVERITIES.index(fail_on):
        return 1
    return status
