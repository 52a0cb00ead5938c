"""Which of the dialects of classic pcap a file is written in.

Theory of operation
-------------------
Patched libraries of the nineties, Nokia's and AIX's wrote records of their own shape, most of them under the magic
number of the original. So where the magic leaves a choice, the first records are looked at: the usual shape is believed
unless its records contradict themselves and two or more of another shape do not.

What it cannot see: records that have not arrived. On a pipe that brings the file header alone, the usual shape is
believed, for frames of a live capture must not wait; but nobody captures live under a magic of the nineties.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER_BYTES = 24
RECORDS_TO_CHECK = 8
RECORDS_TO_BELIEVE = 2
"""An unusual shape is believed if so many records fit it."""

USUAL_LIMIT = 262_144
"""libpcap's MAXIMUM_SNAPLEN: writers that state a smaller snaplen have been seen to exceed it up to here."""

YEAR_SECONDS = 366 * 86_400

STANDARD, NANOSECOND, MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
IXIA_HARDWARE, IXIA_SOFTWARE = 0x1C0001AC, 0x1C0001AB

# ifType numbers (RFC 1573), which AIX writes in place of link types: Ethernet, token ring, FDDI, loopback.
AIX_LINK_TYPES: Mapping[int, int] = {6: 1, 9: 6, 15: 10, 24: 0}

# NetBSD's class of raw packets: address families in place of link types (AF_INET, AF_INET6).
NETBSD_RAW_CLASS = 0x224
NETBSD_LINK_TYPES: Mapping[int, int] = {2: 228, 24: 229}

DG_UX_VERSION = 543


class Magic(NamedTuple):
    """What a magic number says: nanoseconds per tick, bytes of the file header, possible bytes of a record header."""

    tick_ns: int
    file_header_bytes: int
    record_header_bytes: tuple[int, ...]


MAGICS: Mapping[int, Magic] = {
    # The original; the patch ss990417 of Red Hat 6.1; Nokia's.
    STANDARD: Magic(1000, 24, (16, 24, 20)),
    NANOSECOND: Magic(1, 24, (16,)),
    # Kuznetzov's patch ss991029, which wrote interface, protocol and packet type behind the lengths, and ss990915 of
    # SuSE 6.3, which wrote more.
    MODIFIED: Magic(1000, 24, (24, 28)),
    # Ixia's lcap: the length of all records follows the file header. The hardware's ticks are finer.
    IXIA_HARDWARE: Magic(1, 28, (16,)),
    IXIA_SOFTWARE: Magic(1000, 28, (16,)),
}


class Dialect(NamedTuple):
    """How a file is to be read.

    Attributes
    ----------
    endian : str
        ``<`` or ``>``.
    tick_ns : int
        Nanoseconds per tick of the second time field.
    file_header_bytes, record_header_bytes : int
        How long the headers are.
    length_order : int
        Which length comes first: 0 the captured one, 1 that on the wire, 2 the smaller one is the captured one.
    snaplen, link_type : int
        As the header states them.
    """

    endian: str
    tick_ns: int
    file_header_bytes: int
    record_header_bytes: int
    length_order: int
    snaplen: int
    link_type: int


def is_waited_for(start: bytes) -> bool:
    """Tell whether a file with this header is so old that records may be waited for to tell its dialect."""
    return start[:4] in (MODIFIED.to_bytes(4, "little"), MODIFIED.to_bytes(4, "big"))


def dialect_of(start: bytes) -> Dialect:
    """Tell how a file that begins with `start` is to be read.

    Parameters
    ----------
    start : bytes
        The file header, and as many records as have arrived.
    """
    endian = "<" if struct.unpack_from("<I", start)[0] in MAGICS else ">"
    number, major, minor, _, _, snaplen, network = struct.unpack_from(endian + "IHHiIII", start)
    magic = MAGICS[number]
    tick_ns, shapes = magic.tick_ns, magic.record_header_bytes
    # The upper half tells about frame check sequences (draft-ietf-opsawg-pcap), which IP lengths exclude anyway.
    link_type = network & 0xFFFF
    if network >> 16 & 0x3FF == NETBSD_RAW_CLASS:
        link_type = NETBSD_LINK_TYPES.get(link_type, link_type)
    if number == STANDARD and (major, minor) == (2, 2) and network in AIX_LINK_TYPES:
        tick_ns, link_type = 1, AIX_LINK_TYPES[network]
    length_order = _length_order(major, minor)
    dialect = Dialect(endian, tick_ns, magic.file_header_bytes, shapes[0], length_order, snaplen, link_type)
    if len(shapes) > 1 and length_order == 0:
        return _best(start, dialect, shapes)
    return dialect


def _length_order(major: int, minor: int) -> int:
    """Up to version 2.2, and in DG/UX's, the length on the wire came first; in 2.3 it depends on the writer."""
    if (major == 2 and minor < 3) or major == DG_UX_VERSION:
        return 1
    return 2 if (major, minor) == (2, 3) else 0


def _best(start: bytes, usual: Dialect, shapes: tuple[int, ...]) -> Dialect:
    """Choose among record headers of different lengths."""
    if _fitting(start, usual) is not None:
        return usual
    others = [usual._replace(record_header_bytes=shape) for shape in shapes[1:]]
    fitting = [(count, each) for each in others if (count := _fitting(start, each) or 0) >= RECORDS_TO_BELIEVE]
    return max(fitting)[1] if fitting else usual


def _fitting(start: bytes, dialect: Dialect) -> int | None:
    """Count the records that could be of this dialect; None if one contradicts itself."""
    position, before, count = dialect.file_header_bytes, None, 0
    limit = max(dialect.snaplen, USUAL_LIMIT)
    while count < RECORDS_TO_CHECK and position + dialect.record_header_bytes <= len(start):
        seconds, fraction, captured, wire = struct.unpack_from(dialect.endian + "IIII", start, position)
        if captured > min(limit, wire) or wire > limit or fraction * dialect.tick_ns >= 10**9:
            return None
        if captured == 0 and dialect.record_header_bytes > 16:
            return None  # zeros would fit every shape
        if before is not None and abs(seconds - before) > YEAR_SECONDS:
            return None
        before = seconds
        position += dialect.record_header_bytes + captured
        count += 1
    return count
