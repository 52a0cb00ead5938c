"""``tcpsight findings``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli.options import Input, input_options, output_options

if TYPE_CHECKING:
    from tcpsight.analysis import Run
    from tcpsight.cli.running import Output
    from tcpsight.tables import Findings, Table


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
    from tcpsight.cli.running import Output, in_order, reading, write_rows
    from tcpsight.findings import CaptureFindings
    from tcpsight.tables import SEVERITIES, Findings

    options = Output(**output)
    worst = -1
    with reading(source, Findings) as (run, batches):
        collection = CaptureFindings(run.pipeline.options.selection)

        def tables() -> Iterator[Findings]:
            nonlocal worst
            for batch in batches:
                collection.add(batch)
            table = collection.table(run)
            worst = max(table.severity.tolist(), default=-1)
            yield table

        found = options.selected(tables(), Findings)
        if options.is_words:
            status = _write_words(run, in_order(found, Findings, options.sort), options)
        else:
            status = write_rows(run, found, options.open(Findings, source.timezone), options.sort)
    if status == 0 and fail_on is not None and worst >= SEVERITIES.index(fail_on):
        return 1
    return status


def _write_words(run: Run, found: Iterator[Table], output: Output) -> int:
    """Write findings in sentences; give the exit status."""
    from tcpsight.cli.notes import conclude
    from tcpsight.cli.pages import write_text
    from tcpsight.facts import finding_facts
    from tcpsight.output.findings import findings_page

    facts = [finding_facts(row) for table in found for row in table]
    # Nothing found is said of what was looked at: of a capture with segments, and with no condition on what is shown.
    if run.pipeline.segments and (facts or output.where is None):
        write_text(output.output, lambda screen: findings_page(facts, screen, run.pipeline.first_ns))
    return conclude(run)
