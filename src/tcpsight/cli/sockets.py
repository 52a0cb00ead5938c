"""``tcpsight sockets``."""

from __future__ import annotations

from typing import Any

import click

from tcpsight.cli import values
from tcpsight.cli.options import output_options

WITH_SERVICES = (
    "local_port remote_address remote_port process rtt_ns idle_ns service_throughput_per_s "
    "service_response_time_p50_ns service_response_time_p99_ns service_concurrency service_slice_ns state "
    "retransmissions send_queue_bytes pid local_address"
)
"""What comes first in text beside what a watch told."""


@click.command("sockets")
@click.option("--listening", is_flag=True, help="Also the sockets that listen.")
@click.option(
    "--watch",
    "watched",
    metavar="FILE",
    help="Join what a running 'tcpsight watch --json > FILE' told last of each service.",
)
@output_options("state = established and rtt > 50ms")
@click.option("--timezone", default="UTC", show_default=True, metavar="ZONE", help="Zone of times in text.")
def command(*, listening: bool, watched: str | None, timezone: str, **output: Any) -> int:
    """List TCP connections of this machine as its kernel sees them.

    \b
    tcpsight sockets --where 'state = established'
    tcpsight sockets --where 'retransmissions > 0 or lost_segments > 0' --sort -rtt
    tcpsight sockets --where 'process = mysqld and idle > 10min' --format csv
    tcpsight sockets --watch slices.jsonl --where 'role = server'

    Round trips, windows, queues, rates and times come from the kernel's tcp_info by netlink sock_diag, for IPv4, IPv6
    and IPv4 through sockets of IPv6. Whose a socket of another account is only root sees. Needs Linux.
    """
    from tcpsight.cli.notes import warn
    from tcpsight.cli.running import Output, in_order
    from tcpsight.local.measured import last_slices
    from tcpsight.local.reading import is_connection, read_sockets
    from tcpsight.tables import Sockets

    values.zone(timezone)
    chosen = Output(**output)
    values.refuse_output_over_input(chosen.output, [watched] if watched is not None else [])
    reading = read_sockets(last_slices(watched) if watched is not None else None)
    sockets = reading.sockets if listening else reading.sockets[is_connection(reading.sockets)]
    selected = chosen.selected(iter([sockets]), Sockets)
    leading = WITH_SERVICES if watched is not None else None
    with chosen.open(Sockets, timezone, is_short=True, leading=leading) as writer:
        for table in in_order(selected, Sockets, chosen.sort):
            writer.write(table)
    if reading.without_process:
        warn(hidden(reading.without_process))
    if reading.is_torn:
        warn("connections came and went while the kernel told them: one may be missing, or be there twice")
    return 0


def hidden(number: int) -> str:
    """Say that the processes of so many connections cannot be seen, and what lacks."""
    of = "1 connection" if number == 1 else f"{number:,} connections"
    return f"the process of {of} cannot be seen: they are other accounts' (needs CAP_SYS_PTRACE, as root has it)"
