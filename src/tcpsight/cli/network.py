"""``tcpsight network``."""

from __future__ import annotations

from typing import Any

import click

from tcpsight.cli.options import Input, input_options, output_options


@click.command("network")
@input_options
@output_options("rtt_p95 > 100ms and retransmissions > 0")
def command(source: Input, **output: Any) -> int:
    """Each direction of each connection: round trips, losses, windows, goodput.

    \b
    tcpsight network capture.pcap --sort -retransmissions
    tcpsight network capture.pcap --columns direction,rtt_min_ns,rtt_p95_ns,timeout_retransmissions
    tcpsight network capture.pcap --where 'zero_window > 200ms' --format csv
    """
    from tcpsight.cli.running import Output, write_table
    from tcpsight.tables import Network

    return write_table(source, Output(**output), Network, lambda batch: batch.network, "start_ns")
