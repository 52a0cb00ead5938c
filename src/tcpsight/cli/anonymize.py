"""``tcpsight anonymize``."""

from __future__ import annotations

import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcpsight.cli import values

if TYPE_CHECKING:
    from tcpsight.anonymity.anonymizing import Anonymizing
    from tcpsight.anonymity.prefixes import Secrets
    from tcpsight.capture import Capture
    from tcpsight.output.packet_files import Counts


def _shift(ctx: click.Context, param: click.Parameter, text: str | None) -> int:
    if text is None:
        return 0
    is_back = text.startswith("-")
    duration = values.duration_ns(text.removeprefix("-").removeprefix("+"))
    return -duration if is_back else duration


@click.command("anonymize")
@click.argument("source", metavar="IN")
@click.argument("output", metavar="OUT")
@click.option("--key", "key_path", metavar="FILE", help="Map with this key: the same addresses become the same again.")
@click.option(
    "--new-key",
    "new_key_path",
    metavar="FILE",
    help="Make a key, and keep it in this new file.  [default: a key that is forgotten]",
)
@click.option(
    "--ports",
    type=click.Choice(["keep", "map"]),
    default="keep",
    show_default=True,
    help="Map ports, too: those below 32768 and the others among themselves.",
)
@click.option(
    "--shift", "shift_ns", callback=_shift, metavar="[-]DURATION", help="Add this to all times, or take it from them."
)
@click.option("--start", metavar="INSTANT", help="Shift times so that the first frame is here.")
@click.option(
    "--file-format", type=click.Choice(["pcap", "pcapng"]), help="How it is written.  [default: pcap if OUT ends so]"
)
@click.option("--progress/--no-progress", default=None, help="A bar on standard error.  [default: if it is a terminal]")
@click.option(
    "--input-timezone", default="UTC", show_default=True, metavar="ZONE", help="Zone of times in tcpdump text."
)
def command(
    source: str,
    output: str,
    key_path: str | None,
    new_key_path: str | None,
    ports: str,
    shift_ns: int,
    start: str | None,
    file_format: str | None,
    progress: bool | None,
    input_timezone: str,
) -> int:
    """Make a capture that may be given away, and gives the same analysis.

    \b
    tcpsight anonymize capture.pcap public.pcapng
    tcpsight anonymize monday.pcap monday-public.pcapng --new-key site.key
    tcpsight anonymize tuesday.pcap tuesday-public.pcapng --key site.key --ports map --shift -40d

    Of every TCP segment the headers are built anew: addresses mapped so that common prefixes stay common (Crypto-PAn),
    clocks of timestamps moved, checksums right where they were right. Nothing else is copied: no payload, MAC address,
    VLAN, tunnel, option or name. Frames without TCP keep their place, blank. Needs cryptography.
    """
    from tcpsight.anonymity.anonymizing import Anonymizing, Wanted, anonymized
    from tcpsight.anonymity.writing import FrameWriter
    from tcpsight.capture import open_capture
    from tcpsight.cli.running import reading_bar
    from tcpsight.errors import CaptureError
    from tcpsight.output.destination import Destination

    sources = values.expanded((source,))
    if len(sources) > 1:
        raise click.UsageError(f"{source!r} is several files: each becomes one of its own")
    values.refuse_output_over_input(output, sources)
    _refuse_output_over_key(output, key_path, new_key_path)
    if start is not None and shift_ns:
        raise click.UsageError("--start shifts times: leave out --shift")
    if output == "-" and sys.stdout.isatty():
        raise click.UsageError("frames are nothing to read on a terminal: name a file, or pipe them on")
    values.zone(input_timezone)
    start_ns = values.instant_ns(start, "UTC") if start is not None else None
    wanted = Wanted(ports == "map", shift_ns, start_ns)
    with ExitStack() as stack:
        anonymizing = Anonymizing(_secrets(key_path, new_key_path), wanted)
        new_key = stack.enter_context(_NewKey(new_key_path))
        capture = stack.enter_context(open_capture(sources, input_timezone=input_timezone))
        update = stack.enter_context(reading_bar(capture, progress))
        destination = Destination(output)
        stack.callback(destination.abort)
        writer = FrameWriter(destination, file_format or ("pcap" if output.lower().endswith(".pcap") else "pcapng"))
        broken = None
        try:
            for frames in anonymized(capture, anonymizing):
                writer.write(frames)
                update()
        except CaptureError as error:
            broken = error  # what came before is worth new_key
        writer.finish(_dropped(capture))
        destination.close()
        new_key.is_used = True
    _tell(anonymizing)
    if broken is not None:
        raise broken
    return 0


class _NewKey:
    """A new key's file, which goes again if nothing was mapped by it."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self.is_used = False

    def __enter__(self) -> _NewKey:
        return self

    def __exit__(self, *_: object) -> None:
        if self._path is not None and not self.is_used:
            Path(self._path).unlink(missing_ok=True)


def _refuse_output_over_key(output: str, key_path: str | None, new_key_path: str | None) -> None:
    """Refuse to write a capture where the key is, or is to be."""
    key = key_path if key_path is not None else new_key_path
    if key is None or output == "-":
        return
    with suppress(OSError, ValueError):
        if Path(output).resolve() == Path(key).resolve() or Path(output).samefile(key):
            raise click.UsageError(f"the output {output!r} is the key {key!r}: the key would be lost")


def _secrets(key_path: str | None, new_key_path: str | None) -> Secrets:
    """Read the key, or make one."""
    from tcpsight.anonymity.keys import new_key, read_key
    from tcpsight.anonymity.prefixes import Secrets
    from tcpsight.cli.notes import warn

    if key_path is not None and new_key_path is not None:
        raise click.UsageError("--key and --new-key contradict each other")
    if key_path is None:
        Secrets(bytes(32))  # before a key is written: the library may lack
        return Secrets(new_key(new_key_path))
    key, is_exposed = read_key(key_path)
    if is_exposed:
        warn(f"--key {key_path}: others than its owner may read the key, and undo the mapping by it")
    return Secrets(key)


def _dropped(capture: Capture) -> Counts:
    """Give what was dropped on all interfaces, None where nobody counted."""
    from tcpsight.output.packet_files import Counts

    totals = []
    for name in ("interface_drops", "kernel_drops"):
        known = [count for each in capture.interfaces if (count := getattr(each, name)) is not None]
        totals.append(sum(known) if known else None)
    return Counts(None, *totals)


def _tell(anonymizing: Anonymizing) -> None:
    """Say what has become something else."""
    from tcpsight.cli.notes import warn
    from tcpsight.output.units import counted

    if anonymizing.others:
        warn(f"{counted(anonymizing.others, 'frame')} without a TCP segment that can be read: blank in the result")
    if anonymizing.tunnelled:
        of = counted(anonymizing.tunnelled, "segment")
        warn(f"{of} in tunnels: outside of them in the result, where the same endpoints are one connection")
    if anonymizing.near:
        of = counted(anonymizing.near, "segment")
        warn(f"{of} between two ports below 32768: where no handshake tells, client and server may have changed places")
    if anonymizing.wrong:
        warn(f"{counted(anonymizing.wrong, 'segment')} with a wrong checksum: wrong in the result, too")
