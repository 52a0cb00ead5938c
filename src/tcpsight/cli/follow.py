"""``tcpsight follow``."""

from __future__ import annotations

from pathlib import PurePath

import click

from tcpsight.cli.options import Input, input_options, stream_options

FORMATS = ("text", "hex", "raw", "json", "yaml")
SUFFIXES = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}


@click.command("follow")
@input_options
@click.argument("number", type=click.IntRange(min=1), metavar="N")
@click.option(
    "--format",
    "format",
    type=click.Choice(FORMATS),
    help="How it is written; raw is the bytes as they are.  [default: by the suffix of -o, else text]",
)
@click.option(
    "--request",
    type=click.IntRange(min=0),
    metavar="I",
    help="Only from the first byte of this request to the last of its answer; request_index of 'requests'.",
)
@click.option("--side", type=click.Choice(["client", "server"]), help="Only what this side sent.")
@click.option("-o", "--output", default="-", metavar="FILE", help="Where to; '-' is standard output.")
@stream_options
def command(
    source: Input, number: int, format: str | None, output: str, overlaps: str, index: bool, **chosen: str | int | None
) -> int:
    """Tell what both sides of one connection said, in the order of reading.

    \b
    tcpsight follow capture.pcap 5648
    tcpsight follow capture.pcap 5648 --request 2
    tcpsight follow capture.pcap 5648 --format json | jq .
    tcpsight follow capture.pcap 5648 --format raw --side server -o answer.bin

    N is the connection's number: the frame that opened it, as 'connections' and 'requests' tell it.
    """
    from tcpsight.cli.streams import obey

    form = format or SUFFIXES.get(PurePath(output).suffix.lower(), "text")
    options = "".join(f" --{name} {value}" for name, value in chosen.items() if value is not None)
    line = f"follow {number} --format {form}{options}"
    return obey(source, (line,), output, overlaps, keeps_index=index)
