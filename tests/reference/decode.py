"""How frames become headers, written to be read: one frame at a time, one field at a time, straight from the RFCs.

No speed, no C, nothing shared with the kernel but the names of columns and reasons.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass, field
from typing import Any

from tcpsight.tables import LINK_TYPE_TEXT_LENGTHS, Frames

TAGS = {0x8100, 0x88A8, 0x9100, 0x9200}
MOST_TAGS = 8
MOST_EXTENSION_HEADERS = 8
TCP = 6
AUTHENTICATION = 51
FRAGMENT = 44
# Hop-by-hop, routing, destination options, mobility, HIP, shim6: length in units of eight bytes, the first not counted.
EIGHT_BYTE_UNITS = {0, 43, 60, 135, 139, 140}
EXTENSION_HEADERS = EIGHT_BYTE_UNITS | {AUTHENTICATION, FRAGMENT}


class NoSegmentError(Exception):
    """Why there is no segment in this frame."""


@dataclass
class Wire:
    """The bytes of a frame: as many as were captured, and how many there were."""

    captured: bytes
    length: int
    at: int = 0

    def take(self, size: int) -> bytes:
        """Read the next bytes, all of them or none."""
        taken = self.captured[self.at : self.at + size]
        if len(taken) < size:
            raise NoSegmentError("truncated_frame")
        self.at += size
        return taken

    def peek(self, size: int) -> bytes:
        """Read ahead."""
        taken = self.take(size)
        self.at -= size
        return taken


@dataclass
class Unseen:
    """Count, bytes and first frame of each reason."""

    counts: dict[str, list[int]] = field(default_factory=dict)

    def add(self, reason: str, wire_bytes: int, frame_number: int) -> None:
        """Count a frame."""
        entry = self.counts.setdefault(reason, [0, 0, frame_number])
        entry[0] += 1
        entry[1] += wire_bytes
        entry[2] = min(entry[2], frame_number)


def decode(frames: Frames) -> tuple[list[dict[str, Any]], dict[str, list[int]]]:
    """Give the rows of Headers, and for each reason count, bytes and first frame."""
    rows = []
    unseen = Unseen()
    data = bytes(frames.data)
    for frame in frames.rows:
        start = int(frame["position"])
        wire = Wire(data[start : start + int(frame["captured_bytes"])], int(frame["wire_bytes"]))
        try:
            row = segment(wire, int(frame["link_type"]))
        except NoSegmentError as reason:
            unseen.add(str(reason), wire.length, int(frame["frame_number"]))
            continue
        for name in ("frame_number", "time_ns", "frame_in_file", "interface_id", "file"):
            row[name] = int(frame[name])
        if int(frame["link_type"]) == 276:
            device = int.from_bytes(data[start + 4 : start + 8], "big")
            row["interface_id"] = (row["interface_id"] + (device << 8)) % 2**32
        rows.append(row)
    return rows, unseen.counts


def segment(wire: Wire, link_type: int) -> dict[str, Any]:
    """Decode one frame."""
    version = ip_version(wire, link_type)
    row, end, protocol = ipv4(wire) if version == 4 else ipv6(wire)
    walked = 0
    while protocol != TCP:
        # IPv4 has protocols, not extension headers; but the authentication header is also one of them.
        if protocol not in EXTENSION_HEADERS or (version == 4 and walked == 0 and protocol != AUTHENTICATION):
            raise NoSegmentError("not_tcp")
        if walked == MOST_EXTENSION_HEADERS:
            raise NoSegmentError("malformed_ip")
        protocol = extension_header(wire, end, protocol)
        walked += 1
    row |= tcp(wire, end) | {"encapsulation": 0, "tunnel": 0}
    if link_type == LINK_TYPE_TEXT_LENGTHS:
        row["options"] |= {"unsequenced"}
    return row


def ip_version(wire: Wire, link_type: int) -> int:
    """Read everything before the IP header; give the version that it announces."""
    match link_type:
        case 1:
            *_, ethertype = struct.unpack(">6s6sH", wire.take(14))
            return behind_ethertype(wire, ethertype)
        case 113:
            _, hardware, _, _, protocol = struct.unpack(">HHH8sH", wire.take(16))
            return behind_cooked(wire, hardware, protocol)
        case 276:
            protocol, _, _, hardware = struct.unpack(">HHIH10x", wire.take(20))
            return behind_cooked(wire, hardware, protocol)
        case 0 | 108:
            family = wire.take(4)
            for order in ("little", "big"):
                number = int.from_bytes(family, order)
                if number == 2:
                    return 4
                if number in (10, 24, 28, 30):
                    return 6
            raise NoSegmentError("not_ip")
        case 228:
            return 4
        case 229:
            return 6
        case 12 | 14 | 101 | 65280:
            version = wire.peek(1)[0] >> 4
            if version not in (4, 6):
                raise NoSegmentError("malformed_ip")
            return version
    raise NoSegmentError("unknown_link_type")


def behind_cooked(wire: Wire, hardware: int, protocol: int) -> int:
    """Take the protocol of a cooked header for what it is: no EtherType for netlink, frame relay and 802.11 radio."""
    if hardware in (824, 770, 803):
        raise NoSegmentError("not_ip")
    return behind_ethertype(wire, protocol)


def behind_ethertype(wire: Wire, ethertype: int) -> int:
    """Step over the VLAN tags that follow; give the IP version behind them."""
    for _ in range(MOST_TAGS):
        if ethertype not in TAGS:
            break
        _, ethertype = struct.unpack(">HH", wire.take(4))
    if ethertype == 0x0800:
        return 4
    if ethertype == 0x86DD:
        return 6
    raise NoSegmentError("not_ip")


def ipv4(wire: Wire) -> tuple[dict[str, Any], int, int]:
    """RFC 791 §3.1: give the row's fields, where the packet ends, and the protocol in it."""
    start = wire.at
    fields = struct.unpack(">BBHHHBBH4s4s", wire.take(20))
    version, header_bytes, total = fields[0] >> 4, (fields[0] & 15) * 4, fields[2]
    if total == 0:
        total = wire.length - start
    if version != 4 or header_bytes < 20 or not header_bytes <= total < 2**31:
        raise NoSegmentError("malformed_ip")
    more_fragments, offset = bool(fields[4] & 0x2000), fields[4] & 0x1FFF
    if more_fragments or offset:
        raise NoSegmentError("fragment")
    wire.at = start + header_bytes
    row = {
        "ip_version": 4,
        "ip_id": fields[3],
        "ttl": fields[5],
        "source_address": bytes(10) + b"\xff\xff" + fields[8],
        "destination_address": bytes(10) + b"\xff\xff" + fields[9],
    }
    return row, start + total, fields[6]


def ipv6(wire: Wire) -> tuple[dict[str, Any], int, int]:
    """RFC 8200 §3: give the row's fields, where the packet ends, and the next header."""
    start = wire.at
    first, payload, next_header, hop_limit, source, destination = struct.unpack(">IHBB16s16s", wire.take(40))
    total = 40 + payload if payload else wire.length - start
    if first >> 28 != 6 or not 40 <= total < 2**31:
        raise NoSegmentError("malformed_ip")
    row = {
        "ip_version": 6,
        "ip_id": 0,
        "ttl": hop_limit,
        "source_address": source,
        "destination_address": destination,
    }
    return row, start + total, next_header


def extension_header(wire: Wire, end: int, kind: int) -> int:
    """RFC 8200 §4, RFC 4302 §2: step over one header; give the kind of the next."""
    start = wire.at
    if end - start < 8:
        raise NoSegmentError("malformed_ip")
    next_header, length, fragment_offset = struct.unpack(">BBH4x", wire.take(8))
    if kind == FRAGMENT:
        # Three bits that are not the offset: two reserved, and M, the lowest.
        if fragment_offset >> 3 or fragment_offset & 1:
            raise NoSegmentError("fragment")
        size = 8
    elif kind == AUTHENTICATION:
        size = (length + 2) * 4
    else:
        size = (length + 1) * 8
    if start + size > end:
        raise NoSegmentError("malformed_ip")
    wire.at = start + size
    return int(next_header)


def tcp(wire: Wire, end: int) -> dict[str, Any]:
    """RFC 9293 §3.1: the fields of the header; `end` is where the IP packet ends."""
    start = wire.at
    if end - start < 20:
        raise NoSegmentError("malformed_tcp")
    fields = struct.unpack(">HHIIBBHHH", wire.take(20))
    header_bytes = (fields[4] >> 4) * 4
    if not 20 <= header_bytes <= end - start:
        raise NoSegmentError("malformed_tcp")
    options = wire.captured[start + 20 : start + header_bytes]
    row = {
        "source_port": fields[0],
        "destination_port": fields[1],
        "sequence_number": fields[2],
        "acknowledgment_number": fields[3],
        "flags": fields[5] + (256 if fields[4] & 1 else 0),
        "window": fields[6],
        "checksum": fields[7],
        "payload_bytes": end - start - header_bytes,
        "captured_payload_bytes": len(wire.captured[start + header_bytes : end]),
        "options_hash": fold(options),
    }
    row |= read_options(options)
    if len(options) < header_bytes - 20:
        row["options"] |= {"cut"}
    return row


def read_options(options: bytes) -> dict[str, Any]:
    """RFC 9293 §3.2, RFC 7323, RFC 2018: what the captured option bytes say."""
    row: dict[str, Any] = {
        "options": set(),
        "mss_bytes": 0,
        "window_scale": 0,
        "timestamp_value": 0,
        "timestamp_echo": 0,
        "sack": [],
    }
    while options:
        kind = options[0]
        if kind == 0:
            break
        if kind == 1:
            options = options[1:]
            continue
        if len(options) < 2 or not 2 <= options[1] <= len(options):
            break
        value, options = options[2 : options[1]], options[options[1] :]
        if kind == 2 and len(value) == 2:
            row["options"].add("mss")
            (row["mss_bytes"],) = struct.unpack(">H", value)
        if kind == 3 and len(value) == 1:
            row["options"].add("window_scale")
            row["window_scale"] = min(value[0], 14)
        if kind == 4 and not value:
            row["options"].add("sack_permitted")
        if kind == 5 and value and len(value) % 8 == 0:
            row["options"].add("sack")
            row["sack"] = list(struct.iter_unpack(">II", value))
        if kind == 8 and len(value) == 8:
            row["options"].add("timestamps")
            row["timestamp_value"], row["timestamp_echo"] = struct.unpack(">II", value)
    return row


def fold(options: bytes) -> int:
    """Hash of option bytes, word by word: multiplied by an odd number near 2⁶⁴/φ, upper half folded in."""
    eights = len(options) // 8 * 8
    fours = len(options) // 4 * 4
    words = [int.from_bytes(options[at : at + 8], sys.byteorder) for at in range(0, eights, 8)]
    words += [int.from_bytes(options[at : at + 4], sys.byteorder) for at in range(eights, fours, 4)]
    if fours < len(options):
        words.append(int.from_bytes(options[fours:], "big"))
    state = len(options)
    for word in words:
        state = (state ^ word) * 0x9E3779B97F4A7C15 % 2**64
        state ^= state >> 32
    return state % 2**32
