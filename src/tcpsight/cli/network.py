"""``tcpsight network``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli.options import Input, chosen_format, input_options, output_options

if TYPE_CHECKING:
    from tcpsight.cli.running import Output

SCHEMAS = ("tcpsight", "zeek", "ecs", "ipfix")


@click.command("network")
@input_options
@click.option(
    "--record",
    type=click.Choice(["direction", "flow"]),
    default="direction",
    show_default=True,
    help="A row for each direction, or one JSON object for each connection as it ends, about that which carried more.",
)
@click.option(
    "--schema",
    type=click.Choice(SCHEMAS),
    help="Whose names the fields of flow records have: Zeek's conn.log, Elastic's, IPFIX's.  [default: tcpsight]",
)
@click.option("--country-file", metavar="FILE", help="Countries of clients, in MaxMind's format (.mmdb).")
@click.option("--zone-file", metavar="FILE", help="Zones of servers: '10.1.0.0/16 eu-west', a line each.")
@output_options("rtt_p95 > 100ms and retransmissions > 0")
def command(
    source: Input, record: str, schema: str | None, country_file: str | None, zone_file: str | None, **output: Any
) -> int:
    """Each direction of each connection: round trips, losses, windows, goodput.

    \b
    tcpsight network capture.pcap --sort -retransmissions
    tcpsight network capture.pcap --columns direction,rtt_min_ns,rtt_p95_ns,timeout_retransmissions
    tcpsight network capture.pcap --where 'zero_window > 200ms' --format csv
    tcpsight network - --record flow --country-file country.mmdb --zone-file zones.txt
    """
    from tcpsight.cli.running import Output, write_table
    from tcpsight.tables import Network

    of_flows = {"schema": schema, "country_file": country_file, "zone_file": zone_file}
    if record == "flow":
        return _write_flows(source, Output(**output), {n: v for n, v in of_flows.items() if v is not None})
    for name, value in of_flows.items():
        if value is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} is about flow records: add --record flow")
    return write_table(source, Output(**output), Network, lambda batch: batch.network, "start_ns")


def _write_flows(source: Input, output: Output, chosen: dict[str, str]) -> int:
    """Write a JSON object for each connection as it ends; give the exit status."""
    from tcpsight.cli.notes import conclude, warn_of_none
    from tcpsight.cli.running import reading
    from tcpsight.flows import FlowAssembly
    from tcpsight.output.json_lines import JsonLines
    from tcpsight.tables import Network

    format = chosen_format(output.format, output.output)
    # Unless something else is asked for, by its name or by that of a file.
    if format != "jsonl" and (output.format is not None or format != "table"):
        raise click.UsageError(f"--record flow is written as JSON lines, not as {format}: add --format jsonl")
    if output.sort is not None:
        raise click.UsageError("--record flow writes records as connections end: leave --sort out")
    if output.columns is not None:
        raise click.UsageError("--record flow writes whole records: leave --columns out, or choose by --schema")
    assembly = FlowAssembly(**chosen, where=output.where)
    with reading(source, Network) as (run, batches):
        # Somebody may wait for the records of a pipe.
        is_followed = source.is_followed or run.capture.bytes_total is None
        with JsonLines(output.output) as lines:
            for batch in batches:
                lines.write(assembly.records(batch))
                if is_followed:
                    lines.flush()
            if assembly.where is not None and assembly.seen and not assembly.written:
                warn_of_none(assembly.where, assembly.seen)
            if run.pipeline.segments == 0:
                return conclude(run)
        return conclude(run)
