"""``tcpsight segments``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli.options import Input, input_options, output_options

if TYPE_CHECKING:
    from tcpsight.cli.running import Output


@click.command("segments")
@input_options
@output_options("payload_bytes > 1kB and kind = retransmission")
@click.option(
    "--relative",
    is_flag=True,
    help="With sequence and acknowledgment numbers after the SYN's, and as they were sent, bytes in flight, "
    "and bytes missing in front of each.",
)
@click.option("--connection", type=click.IntRange(min=1), metavar="N", help="Only those of this connection.")
@click.option("--graph", type=click.Choice(["text", "svg"]), help="A flow graph of the connection, in place of rows.")
def command(source: Input, relative: bool, connection: int | None, graph: str | None, **output: Any) -> int:
    """Every TCP segment, one row each: stream offsets, new bytes, what kind it is.

    \b
    tcpsight segments capture.pcap --filter 'host 10.0.0.1 and port 40022'
    tcpsight segments capture.pcap --format jsonl | grep retransmission
    tcpsight segments capture.pcap --relative --connection 5648
    tcpsight segments capture.pcap --connection 5648 --graph svg -o 5648.svg
    """
    from tcpsight.cli.running import Output, write_table
    from tcpsight.tables import LadderSegments, SegmentDetails

    to = Output(**output)
    if graph is not None:
        return _draw(source, to, connection, graph)
    if not relative:
        return write_table(source, to, SegmentDetails, lambda batch: _of(batch.segments, connection), "frame_number")
    from tcpsight.conversations.ladder import LadderMaking

    making = LadderMaking()
    return write_table(
        source, to, LadderSegments, lambda batch: _of(making.of_batch(batch), connection), "frame_number"
    )


def _of(segments: Any, connection: int | None) -> Any:
    return segments if connection is None else segments[segments.connection_id == connection]


def _draw(source: Input, output: Output, connection: int | None, graph: str) -> int:
    """Write the flow graph of one connection."""
    if connection is None:
        raise click.UsageError("--graph draws one connection: name it with --connection N")
    if (output.format, output.sort, output.columns, output.where) != (None,) * 4:
        raise click.UsageError("--graph is no table: leave out --format, --sort, --columns and --where")
    from tcpsight.cli.notes import conclude, takes_unicode
    from tcpsight.cli.running import reading
    from tcpsight.conversations.ladder import LadderMaking
    from tcpsight.errors import UsageError
    from tcpsight.output.addresses import endpoint_text
    from tcpsight.output.destination import Destination
    from tcpsight.output.drawing import plain
    from tcpsight.output.ladders import flow_lines, flow_svg, rungs
    from tcpsight.tables import DIRECTIONS, SegmentDetails

    making, tables, row = LadderMaking(), [], None
    with reading(source, SegmentDetails) as (run, batches):
        for batch in batches:
            table = _of(making.of_batch(batch), connection)
            if len(table):
                tables.append(table)
            for found in batch.connections.rows[batch.connections.connection_id == connection]:
                row = found.copy()
        if row is None:
            conclude(run)
            raise UsageError(f"there is no connection {connection}; 'tcpsight connections' tells their numbers")
        client, server = (
            endpoint_text(row[f"{side}_address"].tobytes(), int(row[f"{side}_port"]), int(row["ip_version"]))
            for side in DIRECTIONS
        )
        is_text = all(file.is_text for file in run.capture.files)
        found_rungs = rungs(tables, int(row["start_ns"]), is_text=is_text)
        destination = Destination(output.output)
        try:
            if graph == "svg":
                pieces = flow_svg(found_rungs, client, server)
            else:
                spell = str if takes_unicode(output.output) else plain
                pieces = (spell(f"{line}\n") for line in flow_lines(found_rungs, client, server))
            for piece in pieces:
                destination.write(piece.encode())
            destination.close()
        except BaseException:
            destination.abort()
            raise
        return conclude(run)
