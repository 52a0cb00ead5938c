"""``tcpsight segments``."""

from __future__ import annotations

from typing import Any

import click

from tcpsight.cli.options import Input, input_options, output_options


@click.command("segments")
@input_options
@output_options("payload_bytes > 1kB and kind = retransmission")
def command(source: Input, **output: Any) -> int:
    """Every TCP segment, one row each: stream offsets, new bytes, what kind it is.

    \b
    tcpsight segments capture.pcap --filter 'host 10.0.0.1 and port 40022'
    tcpsight segments capture.pcap --format jsonl | grep retransmission
    """
    from tcpsight.cli.running import Output, write_table
    from tcpsight.tables import SegmentDetails

    return write_table(source, Output(**output), SegmentDetails, lambda batch: batch.segments, "frame_number")
