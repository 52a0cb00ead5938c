#!/usr/bin/env python3
"""Cut the payload out of a capture, exactly at the end of each TCP header.

    cut_payload.py IN.pcap OUT.pcap        ("-" is standard input or output)

Every TCP segment keeps its link, IP and TCP headers, options included, and not one
byte more; its length on the wire and its time stay as they were, so payload lengths
can still be computed. Frames that are not TCP over IPv4 or IPv6, fragments other than
the first, and frames whose TCP header was not captured whole are dropped and counted
on standard error: a file made here holds whole TCP headers and nothing else.

Reads classic pcap, microseconds or nanoseconds, either byte order, with link type
Ethernet (802.1Q and 802.1ad tags included), raw IP, BSD null/loop, Linux cooked v1
or v2. Cutting a file twice gives the same file.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MICROSECONDS, NANOSECONDS = 0xA1B2C3D4, 0xA1B23C4D
NULL, ETHERNET, LOOP, LINUX_SLL, LINUX_SLL2 = 0, 1, 108, 113, 276
RAW = (12, 14, 101)  # DLT_RAW differs between systems; 101 is LINKTYPE_RAW
IPV4, IPV6, VLAN_TAGS = 0x0800, 0x86DD, (0x8100, 0x88A8)
TCP = 6
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60


class Capture(NamedTuple):
    """The header of a capture file, and where its frames are read from."""

    stream: BinaryIO
    header: bytes
    order: str  # "<" or ">"
    link_type: int
    ticks_to_ns: int


class Frame(NamedTuple):
    """One captured frame."""

    time_ns: int
    record: bytes  # the 16 bytes before the frame in the file
    wire_bytes: int
    data: bytes


class Segment(NamedTuple):
    """Where the headers of one TCP segment lie in its frame."""

    source: bytes
    destination: bytes
    tcp: int  # offset of the TCP header
    end: int  # offset of the first byte after it
    payload_bytes: int  # by the IP header, so right even when cut


def open_capture(stream: BinaryIO) -> Capture:
    """Read the file header; raise ValueError if this is not classic pcap."""
    header = stream.read(24)
    for order in "<>":
        if len(header) == 24:
            magic = struct.unpack(order + "I", header[:4])[0]
            if magic in (MICROSECONDS, NANOSECONDS):
                link_type = struct.unpack(order + "I", header[20:])[0] & 0x0FFFFFFF
                return Capture(stream, header, order, link_type, 1000 if magic == MICROSECONDS else 1)
    raise ValueError("not a pcap file")


def frames(capture: Capture) -> Iterator[Frame]:
    """Give the frames one after the other; raise ValueError if the last is cut short."""
    while record := capture.stream.read(16):
        if len(record) < 16:
            raise ValueError("the file ends inside a record header")
        seconds, ticks, captured, wire = struct.unpack(capture.order + "4I", record)
        data = capture.stream.read(captured)
        if len(data) < captured:
            raise ValueError("the file ends inside a frame")
        time_ns = seconds * 1_000_000_000 + ticks * capture.ticks_to_ns
        yield Frame(time_ns, record, wire, data)


def network_layer(link_type: int, data: bytes) -> int | None:
    """Give the offset of the IP header, or None if there is none."""
    if link_type in RAW:
        return 0
    if link_type in (NULL, LOOP):
        return 4
    if link_type == LINUX_SLL2:
        return 20 if _ethertype(data, 0) in (IPV4, IPV6) else None
    if link_type == LINUX_SLL:
        at = 14
    elif link_type == ETHERNET:
        at = 12
    else:
        raise ValueError(f"link type {link_type} is not known here")
    while _ethertype(data, at) in VLAN_TAGS:
        at += 4
    return at + 2 if _ethertype(data, at) in (IPV4, IPV6) else None


def _ethertype(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big") if len(data) >= at + 2 else -1


def segment(link_type: int, data: bytes) -> Segment | None:
    """Find the TCP header; None if there is none or it was not captured whole."""
    at = network_layer(link_type, data)
    if at is None or len(data) <= at:
        return None
    version = data[at] >> 4
    if version == 4 and len(data) >= at + 20:
        total = int.from_bytes(data[at + 2 : at + 4], "big")
        offset = int.from_bytes(data[at + 6 : at + 8], "big") & 0x1FFF
        if data[at + 9] != TCP or offset:
            return None
        addresses = data[at + 12 : at + 16], data[at + 16 : at + 20]
        tcp, ip_end = at + (data[at] & 15) * 4, at + total
    elif version == 6 and len(data) >= at + 40:
        addresses = data[at + 8 : at + 24], data[at + 24 : at + 40]
        ip_end = at + 40 + int.from_bytes(data[at + 4 : at + 6], "big")
        found = _after_extensions(data, at)
        if found is None:
            return None
        tcp = found
    else:
        return None
    if len(data) < tcp + 20:
        return None
    end = tcp + (data[tcp + 12] >> 4) * 4
    if end < tcp + 20 or len(data) < end:
        return None
    return Segment(*addresses, tcp, end, ip_end - end)


def _after_extensions(data: bytes, at: int) -> int | None:
    """Walk the IPv6 extension headers to the TCP header."""
    kind, at = data[at + 6], at + 40
    while kind in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION) and len(data) >= at + 8:
        if kind == FRAGMENT and int.from_bytes(data[at + 2 : at + 4], "big") >> 3:
            return None
        size = 8 if kind == FRAGMENT else 8 * (data[at + 1] + 1)
        kind, at = data[at], at + size
    return at if kind == TCP else None


def cut(source: BinaryIO, target: BinaryIO) -> tuple[int, int]:
    """Copy ``source`` to ``target`` without payload; give how many frames were kept and dropped."""
    capture = open_capture(source)
    target.write(capture.header)
    kept = dropped = 0
    for frame in frames(capture):
        found = segment(capture.link_type, frame.data)
        if found is None:
            dropped += 1
            continue
        kept += 1
        target.write(frame.record[:8])
        target.write(struct.pack(capture.order + "2I", found.end, frame.wire_bytes))
        target.write(frame.data[: found.end])
    return kept, dropped


def main(arguments: list[str]) -> int:
    """Cut one file and say what was done."""
    if len(arguments) != 2 or arguments[0] in ("-h", "--help"):
        print(__doc__, file=sys.stderr)
        return 2
    from_name, to_name = arguments
    try:
        source = sys.stdin.buffer if from_name == "-" else open(from_name, "rb")  # noqa: SIM115
        target = sys.stdout.buffer if to_name == "-" else open(to_name, "wb")  # noqa: SIM115
        with source, target:
            kept, dropped = cut(source, target)
    except (OSError, ValueError) as error:
        print(f"cut_payload: {from_name}: {error}", file=sys.stderr)
        return 2
    print(f"cut_payload: {kept} TCP frames kept, {dropped} other frames dropped", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
