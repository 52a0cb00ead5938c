"""``tcpsight connections``."""

from __future__ import annotations

from typing import Any

import click

from tcpsight.cli.options import Input, input_options, output_options


@click.command("connections")
@input_options
@output_options("server_bytes > 8kB and duration < 400ms")
def command(source: Input, **output: Any) -> int:
    """Every connection, one row each: set-up, bytes, retransmissions, end.

    \b
    tcpsight connections capture.pcap
    tcpsight connections capture.pcap --sort -duration_ns --format csv
    tcpsight connections capture.pcap --columns start_ns,client_address,state,connect_ns
    """
    from tcpsight.cli.running import Output, write_table
    from tcpsight.tables import Connections

    return write_table(source, Output(**output), Connections, lambda batch: batch.connections, "start_ns")
