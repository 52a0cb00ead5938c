"""yconalyzer: how long connections to a port last, and how much each side sends."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from tcpsight.analysis import Analysis
from tcpsight.compat.yconalyzer_accounting import Accounting
from tcpsight.compat.yconalyzer_options import RTT_ENABLED, Options, Refused, complain, parse
from tcpsight.compat.yconalyzer_report import considered, report
from tcpsight.errors import CaptureError, TcpsightError

if TYPE_CHECKING:
    from tcpsight.analysis import Run
    from tcpsight.output.destination import Destination
    from tcpsight.output.pcap import PcapWriter

SNAPLEN = 256

ETHERNET = 1
"""Link type of a file that describes no interface."""

OPEN_FAILED = "yconalyzer.cc:339:"
FILTER_SET = "yconalyzer.cc:971:"
"""Places in the old source that stood before two messages; scripts may look for them."""


def run(name: str, arguments: list[str]) -> int:
    """Run a command line of yconalyzer; give the exit status.

    Parameters
    ----------
    name : str
        What the user called it by.
    arguments : list of str
        The rest of the command line.
    """
    try:
        options = parse(name, arguments)
        if options.write_to:
            return _copy(options)
        return _analyse(options)
    except Refused as refused:
        sys.stdout.write(refused.output)
        complain(refused.error)
        return 1
    except CaptureError as error:
        complain(f"{OPEN_FAILED}{error.path}: {error.reason.removeprefix('cannot be opened: ')}\n")
        return 1
    except TcpsightError as error:
        complain(f"{name}: {error}\n")
        return 1


def _old_expression(options: Options) -> str:
    """Give the capture filter of the old tool, as it showed it."""
    own = f"(tcp port {options.port})&&((tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst)) != 0)"
    return own + (f"&&({_words(options)})" if options.words else "")


def _expression(options: Options) -> str:
    """Give the capture filter: the old one, and the same for IPv6, where flags have no names."""
    own = f"(tcp port {options.port})&&((tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst)) != 0"
    return f"{own}||(ip6 proto 6&&(ip6[53] & 7) != 0))" + (f"&&({_words(options)})" if options.words else "")


def _words(options: Options) -> str:
    return "".join(f"{word} " for word in options.words)


def _analyse(options: Options) -> int:
    """Count connections in a file or, for some time, on an interface, and write the report."""
    if not options.is_live:
        with Analysis([options.read_from], frame_filter=_words(options) or None).run() as reading:
            return _tell(options, reading)
    from tcpsight.compat.live import listening_to

    live = listening_to(options.interface, _expression(options), seconds=options.run_time_s)
    with live as listening, listening.run() as reading:
        return _tell(options, reading, is_live=True)


def _tell(options: Options, reading: Run, *, is_live: bool = False) -> int:
    if options.debug:
        sys.stdout.write(f"{FILTER_SET}Setting filter to {_old_expression(options)}\n")
    sys.stdout.writelines(considered(options))
    if options.has_rtt:
        where = "this machine is" if is_live else "this trace was captured on"
        complain(f"{RTT_ENABLED}Estimates will be wrong if {where} the server for port {options.port}\n")
    accounting = Accounting(options, sys.stdout.write)
    if is_live:
        accounting.first_us = time.time_ns() // 1000
        if not options.interface:
            from tcpsight.compat.local_addresses import local_addresses

            accounting.local_addresses = frozenset(local_addresses())
    for batch in reading:
        accounting.feed(batch.headers)
    if is_live:
        accounting.end(time.time_ns() // 1000)
        _count_frames(reading)
    sys.stdout.writelines(report(accounting, options))
    return _conclude(reading, is_live=is_live)


def _count_frames(reading: Run) -> None:
    received, dropped = (getattr(reading.capture, name) for name in ("received", "dropped"))
    complain(f"{received} Packets received\n{dropped} Packets dropped\n")


def _conclude(reading: Run, *, is_live: bool) -> int:
    """Say on standard error what cut the capture short; the old tool said nothing."""
    broken = reading.pipeline.broken
    if broken is None or is_live:
        return 0
    complain(f"{broken}\n")
    return 2


def _copy(options: Options) -> int:
    """Write the frames that the old tool looked at to a file, from a file or an interface."""
    for letter, is_given in (
        ("d", options.debug), ("n", options.buckets), ("s", options.bucket_size), ("X", options.most_server_bytes),
        ("x", options.most_client_bytes), ("Y", options.least_server_bytes), ("y", options.least_client_bytes),
        ("D", options.drill_low != -1), ("T", options.has_rtt), ("R", options.is_raw), ("V", options.layout),
    ):  # fmt: skip
        if is_given:
            complain(f"-{letter} ignored\n")
    from tcpsight.output.destination import Destination

    destination = Destination(options.write_to)
    try:
        status = _copy_file(options, destination) if not options.is_live else _record(options, destination)
        destination.close()
    except BaseException:
        destination.abort()
        raise
    return status


def _copy_file(options: Options, destination: Destination) -> int:
    with Analysis([options.read_from], frame_filter=_expression(options)).run() as reading:
        assert reading.frame_filter is not None
        writer, status = None, 0
        try:
            for frames in reading.capture:
                writer = writer or _writer(destination, reading)
                writer.write(reading.frame_filter.apply(frames))
        except CaptureError as error:
            complain(f"{error}\n")
            status = 2
        if writer is None:
            _writer(destination, reading)
    return status


def _writer(destination: Destination, reading: Run) -> PcapWriter:
    """Begin a pcap file: without frames it is a header alone."""
    from tcpsight.output.pcap import PcapWriter

    interfaces = reading.capture.interfaces
    link_type, snaplen = (interfaces[0].link_type, interfaces[0].snaplen) if interfaces else (ETHERNET, SNAPLEN)
    return PcapWriter(destination, link_type, snaplen)


def _record(options: Options, destination: Destination) -> int:
    """Write what an interface shows, as it comes, until the time is up or Ctrl-C."""
    from tcpsight.compat.live import listening_to

    live = listening_to(options.interface, _expression(options), seconds=options.run_time_s)
    with live as listening, listening.run() as reading:
        writer = _writer(destination, reading)
        for frames in reading.capture:
            writer.write(frames)
            destination.flush()
        _count_frames(reading)
    return 0
