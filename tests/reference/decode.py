"""How frames become headers, written to be read: one frame at a time, one field at a time, straight from the RFCs.

Longer than other files: the twin of a whole room is read from top to bottom beside its rules.

No speed, no C, nothing shared with the kernel but the names of columns and reasons.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tcpsight.tables import ENCAPSULATIONS, LINK_TYPE_TEXT_LENGTHS, Frames
from tests.reference.decode_fragments import InPiecesError, Piece, Reassembly
from tests.reference.decode_layers import (
    Next,
    NoSegmentError,
    Wire,
    ethernet,
    frame_relay,
    hdlc,
    labels,
    llc,
    macsec,
    nsh,
    ppp,
    pppoe,
    pseudowire,
    radiotap,
    skipping,
    tag,
    trill,
    wifi,
)
from tests.reference.decode_records import LINKS
from tests.reference.decode_tunnels import behind_ip

MOST_LAYERS = 16
MOST_EXTENSION_HEADERS = 8
TCP = 6
AUTHENTICATION = 51
FRAGMENT = 44
LONGEST_PAYLOAD = 65_535
# Hop-by-hop, routing, destination options, mobility, HIP, shim6: length in units of eight bytes, the first not counted.
EIGHT_BYTE_UNITS = {0, 43, 60, 135, 139, 140}
EXTENSION_HEADERS = EIGHT_BYTE_UNITS | {AUTHENTICATION, FRAGMENT}

LAYERS: dict[Next, Callable[[Wire], Next]] = {
    "ethernet": ethernet,
    "ethertype": tag(2),
    "frame relay": frame_relay,
    "hdlc": hdlc,
    "llc": llc,
    "ppp": ppp,
    "pseudowire": pseudowire,
    "radiotap": radiotap,
    "wifi": wifi,
    0x22F3: trill,
    0x6558: ethernet,
    0x6559: frame_relay,
    0x8100: tag(4),
    0x880B: ppp,
    0x8847: labels,
    0x8848: labels,
    0x8864: pppoe,
    0x8870: llc,
    0x88A8: tag(4),
    0x88E5: macsec,
    0x88E7: skipping(4, "ethernet"),
    0x8903: skipping(2, "ethernet"),
    0x8909: tag(8),
    0x8926: tag(6),
    0x892F: tag(6),
    0x893F: tag(8),
    0x894F: nsh,
    0x9100: tag(4),
    0x9200: tag(4),
    0xF1C1: tag(6),
}


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


def decode(frames: Frames) -> tuple[list[dict[str, Any]], dict[str, list[int]], int]:
    """Give the rows of Headers, for each reason count, bytes and first frame, and how many frames joined others."""
    rows = []
    unseen = Unseen()
    reassembly = Reassembly(tcp, unseen.add)
    data = bytes(frames.data)
    for frame in frames.rows:
        start = int(frame["position"])
        wire_bytes = int(frame["wire_bytes"])
        wire = Wire(data[start : start + int(frame["captured_bytes"])], wire_bytes)
        interface_id = int(frame["interface_id"])
        if int(frame["link_type"]) == 276:
            interface_id = (interface_id + (int.from_bytes(data[start + 4 : start + 8], "big") << 8)) % 2**32
        try:
            row = segment(wire, int(frame["link_type"]))
        except InPiecesError as part:
            part.piece.key += (interface_id,)
            whole = reassembly.take(part.piece, int(frame["time_ns"]), (wire_bytes, int(frame["frame_number"])))
            if whole is None:
                continue
            row = whole
        except NoSegmentError as reason:
            unseen.add(str(reason), wire_bytes, int(frame["frame_number"]))
            continue
        if wire.has_more:
            unseen.add("aggregate", wire_bytes, int(frame["frame_number"]))
        for name in ("frame_number", "time_ns", "frame_in_file", "file"):
            row[name] = int(frame[name])
        row["interface_id"] = interface_id
        rows.append(row)
    reassembly.finish()
    return rows, unseen.counts, reassembly.joined


def segment(wire: Wire, link_type: int) -> dict[str, Any]:
    """Decode one frame, header by header."""
    following = link(wire, link_type)
    row: dict[str, Any] = {}
    end = version = 0
    for _ in range(MOST_LAYERS):
        if following == "ip":
            following = ip(wire)
        elif following == "link":
            following = link(wire, wire.link_type)
        elif following in (0x0800, 0x86DD):
            version = 4 if following == 0x0800 else 6
            row, end, protocol = ipv4(wire) if version == 4 else ipv6(wire)
            following = "carried"
            if wire.fragment:
                raise in_pieces(wire, row, end, protocol)
            if protocol == TCP:
                break
        elif following == "carried":
            protocol = extension_headers(wire, end, protocol, version)
            if wire.fragment:
                raise in_pieces(wire, row, end, protocol)
            if protocol == TCP:
                break
            following = behind_ip(wire, end, protocol)
        elif is_length(following):
            following = llc(wire)
        elif following in LAYERS:
            following = LAYERS[following](wire)
        else:
            raise NoSegmentError("not_ip")
    else:
        # Seventeen headers, or sixteen and something that is none.
        is_header = is_length(following) or following in {"ip", "link", "carried", 0x0800, 0x86DD, *LAYERS}
        raise NoSegmentError("too_deep" if is_header else "not_ip")
    row |= tcp(wire, end) | tunnel(wire)
    if link_type == LINK_TYPE_TEXT_LENGTHS:
        row["options"] |= {"unsequenced"}
    return row


def is_length(following: Next) -> bool:
    """Tell whether it is the length of an IEEE 802.3 frame, behind which LLC stands."""
    return isinstance(following, int) and 0 < following <= 1500


def tunnel(wire: Wire) -> dict[str, Any]:
    """Give the columns about tunnels."""
    kinds = [ENCAPSULATIONS.index(kind) for kind in wire.tunnels]
    return {"encapsulation": kinds[-1] if kinds else 0, "tunnel": sum(k << 4 * i for i, k in enumerate(kinds[:-5:-1]))}


def in_pieces(wire: Wire, row: dict[str, Any], end: int, protocol: int) -> Exception:
    """Tell which piece of which packet begins here."""
    assert wire.fragment
    offset, has_more, identification = wire.fragment
    size = end - wire.at
    is_usable = protocol == TCP and not wire.has_more and size > 0 and offset + size <= LONGEST_PAYLOAD
    if not is_usable or (has_more and size % 8):
        return NoSegmentError("fragment")
    columns = tunnel(wire)
    key = (row["ip_version"], row["source_address"], row["destination_address"], identification, *columns.values())
    data = wire.captured[wire.at : end]
    return InPiecesError(Piece(key, row | columns, offset, offset + size, not has_more, data))


def link(wire: Wire, link_type: int) -> Next:
    """Read the header that frames of this link type begin with."""
    if link_type not in LINKS:
        raise NoSegmentError("unknown_link_type")
    return LINKS[link_type](wire)


def ip(wire: Wire) -> Next:
    """Tell the version from the packet."""
    version = wire.peek(1)[0] >> 4
    if version not in (4, 6):
        raise NoSegmentError("malformed_ip")
    return 0x0800 if version == 4 else 0x86DD


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
        wire.fragment = 8 * offset, more_fragments, fields[3]
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


def extension_headers(wire: Wire, end: int, protocol: int, version: int) -> int:
    """Step over the headers between IP and what it carries; give the number of that."""
    for walked in range(MOST_EXTENSION_HEADERS + 1):
        # IPv4 has protocols, not extension headers; but the authentication header is also one of them.
        if protocol not in EXTENSION_HEADERS or (version == 4 and walked == 0 and protocol != AUTHENTICATION):
            return protocol
        if walked < MOST_EXTENSION_HEADERS:
            protocol = extension_header(wire, end, protocol)
        if wire.fragment:
            if version == 4:
                raise NoSegmentError("fragment")
            return protocol
    raise NoSegmentError("malformed_ip")


def extension_header(wire: Wire, end: int, kind: int) -> int:
    """RFC 8200 §4, RFC 4302 §2: step over one header; give the kind of the next."""
    start = wire.at
    if end - start < 8:
        raise NoSegmentError("malformed_ip")
    next_header, length, fragment_offset, identification = struct.unpack(">BBHI", wire.take(8))
    if kind == FRAGMENT:
        # Three bits that are not the offset: two reserved, and M, the lowest.
        if fragment_offset >> 3 or fragment_offset & 1:
            wire.fragment = fragment_offset & ~7, bool(fragment_offset & 1), identification
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
    return row | tls(wire.captured[start + header_bytes : end], row["payload_bytes"])


def tls(payload: bytes, size: int) -> dict[str, Any]:
    """Tell what TLS records (RFC 8446 §5.1) a payload of `size` bytes begins with, as far as it was captured."""
    told = {"tls": "none", "tls_bytes": 0, "tls_records": 0}
    records = list(tls_records(payload, size))
    if len(payload) < 6 or not records:
        return told
    kinds = [kind for kind, _, _ in records]
    if kinds[0] == 21:
        return told | {"tls": "alert"} if records[0][2] == size and 2 <= size - 5 <= 96 else told
    clear = next((i for i, kind in enumerate(kinds) if kind not in (20, 22)), len(kinds))
    if clear:
        first = next((at for kind, at, _ in records[:clear] if kind == 22), None)
        name = "change" if first is None else "hello" if payload[first + 5 : first + 6] == b"\x01" else "handshake"
        told |= {"tls": name, "tls_bytes": min(records[clear - 1][2], size)}
        if name != "change":
            return told
    sealed: list[int] = []
    for kind, at, end in records[clear:]:
        if kind != 23 or len(sealed) == 16:
            break
        sealed.append(end - at)
        if end <= size and end - at in (58, 74):
            return told | {"tls": "finished", "tls_bytes": end}
    if clear or not sealed:
        return told
    if len(set(sealed)) == 1 and sum(sealed) == size:
        name = "closing" if sealed == [24] else "alike"
        return told | {"tls": name, "tls_bytes": sealed[0], "tls_records": len(sealed)}
    return told | {"tls": "data"}


def tls_records(payload: bytes, size: int) -> Iterator[tuple[int, int, int]]:
    """Give type, beginning and end of each record whose header was captured."""
    at = 0
    while at < size and len(payload) - at >= 5:
        kind, version, length = struct.unpack(">BHH", payload[at : at + 5])
        if not 20 <= kind <= 23 or not 0x0300 <= version <= 0x0304 or not 1 <= length <= 2**14 + 2048:
            return
        if kind == 20 and length != 1:
            return
        yield kind, at, at + 5 + length
        at += 5 + length


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
