"""The slow twin of the walk over a packet ring: a frame at a time, each number read where the kernel's header says."""

from __future__ import annotations

import struct
from typing import NamedTuple


class Taken(NamedTuple):
    """A frame as it is told."""

    time_ns: int
    data: bytes
    wire_bytes: int
    link_type: int


def _tagged(data: bytes, tag: int, protocol: int) -> bytes:
    return data[:12] + struct.pack(">HH", protocol, tag & 0xFFFF) + data[12:]


def read_block(block: bytes, link_type: int, snaplen: int) -> tuple[list[Taken], int]:
    """Give the frames of a block, and how many of those that it announces are damaged."""
    announced, at = struct.unpack_from("=II", block, 12)
    taken: list[Taken] = []
    for left in range(announced, 0, -1):
        if not 48 <= at <= len(block) - 68:
            return taken, left
        step, seconds, nanoseconds, size, wire, status, begin = struct.unpack_from("=IIIIIIH", block, at)
        if begin < 68 or at + begin + size > len(block) or (left > 1 and step < 68):
            return taken, left
        tag, tag_protocol = struct.unpack_from("=IH", block, at + 32)
        (protocol,) = struct.unpack_from(">H", block, at + 50)
        device, hardware, direction, length, address = struct.unpack_from("=iHBB8s", block, at + 52)
        data, link = block[at + begin : at + begin + size], link_type
        at += step
        if hardware == 772 and direction == 4:
            continue
        kept = size
        if link_type == 276 and begin >= 88:
            data = struct.pack(">HHiHBB8s", protocol, 0, device, hardware, direction, length, address) + data
            wire, kept = min(wire, 0xFFFF0000) + 20, snaplen
        elif link_type == 276:
            link = 101
        elif link_type == 1 and status & 16 and size >= 12 and begin >= 72:
            data = _tagged(data, tag, tag_protocol if status & 64 else 0x8100)
            wire, kept = min(wire, 0xFFFF0000) + 4, snaplen
        taken.append(Taken(seconds * 10**9 + nanoseconds, data[:kept], wire, link))
    return taken, 0
