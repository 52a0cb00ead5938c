"""``tcpsight capture``."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from tcpsight.cli import values
from tcpsight.cli.rights import give_up_rights, places_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcpsight.capture.live import LiveCapture
    from tcpsight.capturing import Recording
    from tcpsight.output.packet_files import Encoder, PacketFiles


def _one_in(ctx: click.Context, param: click.Parameter, text: str) -> int:
    share, _, number = text.partition("/")
    if share.strip() != "1" or not number.strip().isdecimal() or not 1 <= int(number) <= 2**32:
        raise click.BadParameter(f"{text!r} is no share of connections; write 1/10")
    return int(number)


@click.command("capture")
@click.argument("words", nargs=-1, metavar="[FILTER]...")
@click.option(
    "-i",
    "--interface",
    "interfaces",
    multiple=True,
    metavar="IF",
    help="Where to capture; 'any' for all interfaces. Repeatable.",
)
@click.option("-w", "--write", "path", required=True, metavar="FILE", help="Where to; '-' is standard output.")
@click.option(
    "--payload",
    "payload_bytes",
    type=click.IntRange(0, 262_144),
    default=0,
    show_default=True,
    metavar="N",
    help="Keep so many bytes behind the headers of each frame.",
)
@click.option("--control", is_flag=True, help="Only segments with SYN, FIN or RST.")
@click.option(
    "--sample",
    callback=_one_in,
    default="1/1",
    show_default=True,
    metavar="1/N",
    help="One in so many connections, both directions of each, the same ones on every machine.",
)
@click.option("-c", "--count", type=click.IntRange(min=1), metavar="N", help="End after so many frames.")
@click.option(
    "--duration", "duration_ns", type=values.positive_duration_ns, metavar="DURATION", help="End after so long."
)
@click.option("--rotate-size", type=values.size_bytes, metavar="SIZE", help="Begin another file before one is larger.")
@click.option(
    "--rotate-every",
    type=values.positive_duration_ns,
    metavar="DURATION",
    help="Begin another file at every multiple of this.",
)
@click.option(
    "--keep-total",
    type=values.size_bytes,
    metavar="SIZE",
    help="Remove the oldest of these files before all together are larger.",
)
@click.option(
    "--file-format",
    type=click.Choice(["pcap", "pcapng"]),
    help="How frames are written.  [default: pcapng if FILE ends so, else pcap]",
)
@click.option(
    "--compress",
    "compression",
    type=click.Choice(["zst", "gz", "lz4", "none"]),
    help="Compress while writing.  [default: by the ending of FILE]",
)
@click.option(
    "--ring",
    "ring_bytes",
    type=values.size_bytes,
    default="64MiB",
    show_default=True,
    metavar="SIZE",
    help="Memory of each interface for frames that wait.",
)
@click.option(
    "--user",
    metavar="ACCOUNT",
    help="Become this account once interfaces are open.  [default: who called sudo, if FILE can be written so]",
)
@click.option(
    "--fence/--no-fence",
    default=True,
    show_default=True,
    help="Give up all rights once interfaces are open, and forbid whatever recording does not need.",
)
@click.option("-p", "--no-promiscuous", is_flag=True, help="Only frames that are for this machine.")
def command(
    words: tuple[str, ...],
    interfaces: tuple[str, ...],
    path: str,
    payload_bytes: int,
    control: bool,
    sample: int,
    count: int | None,
    duration_ns: int | None,
    rotate_size: int | None,
    rotate_every: int | None,
    keep_total: int | None,
    file_format: str | None,
    compression: str | None,
    ring_bytes: int,
    user: str | None,
    fence: bool,
    no_promiscuous: bool,
) -> int:  # fmt: skip
    """Record the headers of live frames, and nothing else, for the other commands.

    \b
    tcpsight capture -i eth0 -w trace.pcap tcp port 3306
    tcpsight capture -i eth0 -i lo -w trace.pcapng.zst --duration 10min
    tcpsight capture -i any -w ring.pcap --rotate-size 100MB --keep-total 2GB
    tcpsight capture -i eth0 -w - tcp port 5432 | tcpsight report -

    FILTER is written as for tcpdump. Of each frame the headers are kept, to the end of that of TCP; what is behind them
    with --payload only. Of a set of files each has a name that begins like FILE, then says when it began; all are read
    together as 'trace-*'. Ctrl-C ends it; SIGHUP begins another file.
    """
    from tcpsight.capture.live import open_live
    from tcpsight.capturing import PacketFiles, Recording, Rotation, Wanted, encoder_for
    from tcpsight.cli import running  # noqa: F401 - now, while every account's files can be read
    from tcpsight.cli.endings import GRACE_S, Terminal, until_hung_up, until_stopped
    from tcpsight.output.compressing import compressing
    from tcpsight.output.packet_files import compression_of, format_of

    _check(interfaces, path, (rotate_size, rotate_every, keep_total))
    if user is not None and not fence:
        raise click.UsageError("--user is part of the fence: leave out --no-fence")
    compression = compression or compression_of(path)
    compressing(compression)  # another account may not be able to read the library
    wanted = Wanted(payload_bytes, sample, control, count, duration_ns)
    expression = " ".join(words)
    capture = open_live(
        interfaces,
        expression=expression,
        snaplen=wanted.snaplen,
        ring_bytes=ring_bytes,
        promiscuous=not no_promiscuous,
    )
    with capture:
        encoder = encoder_for(capture, file_format or format_of(path), expression)
        beginning, look = _beginning(capture), _looking(interfaces, capture)
        _check_size(rotate_size, capture, encoder, wanted.snaplen)
        terminal = Terminal()
        if fence:
            give_up_rights(user, [] if path == "-" else places_of(path))
        files = PacketFiles(path, encoder, compression, Rotation(rotate_size, rotate_every, keep_total))
        recording = Recording(capture, files, wanted, encoder)
        recording.on_look = look
        with (
            until_stopped(capture.stop, grace_s=GRACE_S),
            until_hung_up(capture.stop, recording.reopen, terminal=terminal),
        ):
            _say(beginning)
            try:
                recording.run()
            finally:
                _say(_ending(capture, recording, files))
    return 0


def _check_size(size: int | None, capture: LiveCapture, encoder: Encoder, snaplen: int) -> None:
    """Refuse files that have no room for a frame, and what is told of interfaces."""
    if size is None:
        return
    from tcpsight.errors import UsageError
    from tcpsight.interface_naming import named_bytes
    from tcpsight.output.packet_files import least_bytes

    least = least_bytes(encoder, len(capture.interfaces), snaplen) + named_bytes(capture, encoder)
    if size < least:
        raise UsageError(f"--rotate-size: a file with one frame has up to {least:,} bytes; {size:,} are too few")


def _check(interfaces: tuple[str, ...], path: str, sizes: tuple[int | None, ...]) -> None:
    """Refuse what makes no sense, before anything is opened."""
    if not interfaces:
        import socket

        names = ", ".join([name for _, name in socket.if_nameindex()] + ["any"])
        raise click.UsageError(f"no interface: name one with -i; there are {names}")
    size, every, total = sizes
    if path == "-" and sys.stdout.isatty():
        raise click.UsageError("frames are nothing to read on a terminal: name a file with -w, or pipe them on")
    if not path:
        raise click.UsageError("-w '' names no file")
    if path == "-" and (size or every):
        raise click.UsageError("standard output is one file: --rotate-size and --rotate-every need a name")
    if total is not None and not (size or every):
        raise click.UsageError("--keep-total removes files of a set: it needs --rotate-size or --rotate-every")
    if total is not None and size is not None and total < 2 * size:
        raise click.UsageError("--keep-total must leave room for two files of --rotate-size")


def _beginning(capture: LiveCapture) -> str:
    from tcpsight.output.link_types import NAMES
    from tcpsight.output.units import printable  # now, while every account's files can be read

    down = capture.down
    named = []
    for each in capture.interfaces:
        link = NAMES.get(each.link_type, f"link type {each.link_type}")
        named.append(f"{each.name} ({link}{', which is down' if each.name in down else ''})")
    return printable(f"capturing on {', '.join(named)}")


def _ending(capture: LiveCapture, recording: Recording, files: PacketFiles) -> str:
    where = files.name if files.files == 1 else f"{files.files} files{_removed(files)}, the last of them {files.name}"
    told = f"{capture.received} frames received, {recording.written} written to {where}"
    if recording.left_out:
        told += f", {recording.left_out} left out as asked"
    if recording.lost:
        told += f", {recording.lost} lost because they could not be written"
    lost = sum(each.interface_drops or 0 for each in capture.interfaces)
    told += f", {capture.dropped} dropped by the kernel"
    if lost:
        told += f", {lost} by the interface"
    rest = capture.received - capture.dropped - recording.written - recording.left_out - recording.lost
    # Frames that came after the end was decided, and those that the kernel's part of a filter let through.
    return f"{told}; {rest} more lay in the ring at the end, or are not what the filter asks for" if rest > 0 else told


def _removed(files: PacketFiles) -> str:
    """Say what is no longer there of what was written, as there was to be room."""
    told = []
    if files.removed_files:
        told.append(f"{files.removed_files} of them, with {files.removed_frames} frames")
    if files.removed_earlier:
        told.append(f"{files.removed_earlier} of earlier recordings")
    return f" ({' and '.join(told)}, removed for --keep-total)" if told else ""


def _looking(interfaces: tuple[str, ...], capture: LiveCapture) -> Callable[[], None]:
    """Make what says what is news of interfaces: that they went down, are up again, or that nothing has come yet."""
    from tcpsight.cli.interface_notes import Looks

    looks = Looks(interfaces, capture, lambda: capture.received, capture.down)

    def look() -> None:
        for text in looks.look():
            _say(f"note: {text}")

    return look


def _say(message: str) -> None:
    from tcpsight.output.units import printable

    with suppress(OSError):  # the terminal has gone, or nobody reads it any more
        print(f"tcpsight: {printable(message)}", file=sys.stderr, flush=True)
