"""``tcpsight requests``."""

from __future__ import annotations

from typing import Any

import click

from tcpsight.cli.options import Input, input_options, output_options


@click.command("requests")
@input_options
@output_options("response_time > 100ms and server_port = 3306")
@click.option("--account", is_flag=True, help="Add where the time of each request went: server, path, recovery …")
def command(source: Input, account: bool, **output: Any) -> int:
    """Every answered request with its response time, one row each.

    \b
    tcpsight requests capture.pcap --server :3306
    tcpsight requests day-*.pcap.gz --format parquet -o requests.parquet
    tcpdump -w - tcp port 80 | tcpsight requests - --format csv | head
    tcpsight requests capture.pcap --account --where 'response_time > 1s'

    A request is a run of client data, its response the server data that answers it. In machine formats times are
    integer nanoseconds, and rows come in the order in which they became final unless --sort says otherwise.
    """
    from tcpsight.cli.running import Output, write_table
    from tcpsight.tables import AccountedRequests, Requests

    table_type = AccountedRequests if account else Requests
    return write_table(source, Output(**output), table_type, lambda batch: batch.requests, "arrival_ns")
