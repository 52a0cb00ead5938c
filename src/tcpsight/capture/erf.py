"""Reads ERF files, as Endace's cards write them: records of many types, and no file header.

Theory of operation
-------------------
A record is a header of 16 bytes, extension headers of 8, what its type puts in front of the frame, and the frame. There
is no magic number, so a file is ERF if its first records are plausible. Records that are no network frames (metadata,
cells, types that are not known) are frames of link type 65535, which nothing decodes: so they are counted, and frames
have the numbers that Wireshark gives them. Padding is passed over.

What it cannot see: HDLC records do not say which protocol is inside; their first bytes tell PPP from Cisco HDLC.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tcpsight.capture.records import Record, RecordReader

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER_BYTES = 16
EXTENSION_BYTES = 8
HAS_MORE = 0x80
"""Bit of a type, and of an extension header's first byte: another extension header follows."""

PAD, META = 48, 27
LAST_TYPE = 48
COLORED_TYPES = frozenset({10, 11, 15, 16, 17, 19, 20, 22, 23, 24})
"""Types whose loss counter may hold a colour in its place."""

LINK_ETHERNET, LINK_CISCO, LINK_PPP, LINK_ATM, LINK_IPV4, LINK_IPV6 = 1, 104, 50, 100, 228, 229
UNKNOWN_LINK_TYPE = 0xFFFF
"""No LINKTYPE_ has this number: 197 would say that the record's header is part of the frame."""
HDLC_TYPES: Mapping[int, int] = {1: 0, 10: 0, 15: 0, 19: 0, 5: 4, 17: 4}
"""Bytes in front of the frame."""

# (bytes in front of the frame, link type): Ethernet, AAL5 behind its ATM header, IP.
TYPES: Mapping[int, tuple[int, int]] = {
    2: (2, LINK_ETHERNET),
    11: (2, LINK_ETHERNET),
    16: (2, LINK_ETHERNET),
    20: (2, LINK_ETHERNET),
    4: (4, LINK_ATM),
    9: (8, LINK_ATM),
    22: (0, LINK_IPV4),
    23: (0, LINK_IPV6),
}

RECORDS_TO_CHECK = 4
YEAR_SECONDS = 366 * 86_400


class ErfReader(RecordReader):
    """Read an ERF file.

    See `tcpsight.capture.reader.Reader`.
    """

    name = "ERF"
    header_bytes = HEADER_BYTES
    ticks_per_second = 2**32

    def _measure(self, data: bytearray, at: int) -> int:
        length: int = struct.unpack_from(">H", data, at + 10)[0]
        if length < HEADER_BYTES:
            raise self._damage("a record claims to be shorter than its header")
        return length

    def _record(self, data: bytearray, at: int, length: int) -> Record | None:
        ticks, full_type, flags = struct.unpack_from("<QBB", data, at)
        lost, wire = struct.unpack_from(">HH", data, at + 12)
        kind = full_type & ~HAS_MORE
        if kind == PAD:
            return None
        if lost and kind not in COLORED_TYPES:
            self._file.unseen.add("interface_drop", lost)
        start, end = _extensions_end(data, at, length), at + length
        before, link_type = TYPES.get(kind, (0, UNKNOWN_LINK_TYPE))
        if kind in HDLC_TYPES:
            before = HDLC_TYPES[kind]
            # RFC 1662 §3.1: all stations, unnumbered information.
            link_type = LINK_PPP if data[start + before : min(start + before + 2, end)] == b"\xff\x03" else LINK_CISCO
        start = min(start + before, end)
        # Rounded to the nearest nanosecond.
        time_ns = (ticks >> 32) * 10**9 + (((ticks & 0xFFFFFFFF) * 10**9 + 2**31) >> 32)
        return Record(time_ns, start, min(wire, end - start), wire, link_type, (flags & 3, link_type))


def _extensions_end(data: bytes | bytearray, at: int, length: int) -> int:
    """Find where the extension headers end; at the record's end if they do not fit."""
    position, end, more = at + HEADER_BYTES, at + length, data[at + 8]
    while more & HAS_MORE:
        if position + EXTENSION_BYTES > end:
            return end
        more = data[position]
        position += EXTENSION_BYTES
    return position


def looks_like_erf(prefix: bytes, *, is_whole: bool) -> bool:
    """Tell whether a file that begins with `prefix` is ERF, by its first records.

    Parameters
    ----------
    prefix : bytes
        The beginning of the file.
    is_whole : bool
        Whether it is all of the file: then fewer records are enough.
    """
    position, count, before = 0, 0, None
    while count < RECORDS_TO_CHECK and position + HEADER_BYTES <= len(prefix):
        _, seconds, full_type, _, length, _, wire = struct.unpack_from("<IIBB2s2s2s", prefix, position)
        kind, record_bytes = full_type & ~HAS_MORE, int.from_bytes(length, "big")
        if not 0 < kind <= LAST_TYPE or record_bytes < HEADER_BYTES or (kind != PAD and wire == b"\0\0"):
            return False
        if before is not None and kind != PAD and not -1 <= seconds - before <= YEAR_SECONDS:
            return False
        before = seconds if kind != PAD else before
        position += record_bytes
        count += 1
    # A short file is ERF if it ends with a record, or was cut in the third or a later one.
    is_enough = count == RECORDS_TO_CHECK or (is_whole and (count > 2 or (count > 0 and position == len(prefix))))
    return is_enough and before is not None
