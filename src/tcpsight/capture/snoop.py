"""Reads snoop files (RFC 1761), as Solaris writes them, and Shomiti's Surveyor, which pads records with extras."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tcpsight.capture.records import RECORD_LIMIT, Record, RecordReader
from tcpsight.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC = b"snoop\0\0\0"
FILE_HEADER_BYTES = 16
VERSIONS = range(2, 6)
"""2 is snoop's; 3 to 5 are those of Shomiti's cards."""

# Data link types of RFC 1761 and of <sys/dlpi.h>; the others count as unknown.
LINK_TYPES: Mapping[int, int] = {
    0: 1,  # IEEE 802.3
    2: 6,  # token ring
    4: 1,  # Ethernet
    8: 10,  # FDDI
    9: 0,  # loopback
    14: 0,  # software loopback
    16: 122,  # IP over Fibre Channel
    18: 123,  # SunATM
    26: 242,  # IP over InfiniBand
    0x80000005: 226,  # Solaris ipnet
}
# Shomiti counted on where RFC 1761 ends, with meanings of its own.
SHOMITI_LINK_TYPES: Mapping[int, int] = {0: 1, 2: 6, 4: 1, 8: 10, 10: 1, 11: 6, 12: 1, 13: 6, 14: 6, 19: 1}
SHOMITI_TRAILER_BYTES = 16

UNKNOWN_LINK_TYPE = 0xFFFF
"""No LINKTYPE_ has this number."""


class SnoopReader(RecordReader):
    """Read a snoop file.

    See `tcpsight.capture.reader.Reader`. Records count the frames dropped since the capture began; the last
    count holds.
    """

    name = "snoop"
    header_bytes = 24
    _data_link = 0
    _link_type: int | None = None
    _drops = 0

    def _begin(self) -> None:
        self._fill_header(FILE_HEADER_BYTES)
        version, self._data_link = struct.unpack_from(">II", self._window.data, 8)
        if version not in VERSIONS:
            raise CaptureError(self._path, 8, f"snoop version {version} is not known")
        self._window.start = FILE_HEADER_BYTES

    def _measure(self, data: bytearray, at: int) -> int:
        _, captured, length = struct.unpack_from(">III", data, at)
        if length < self.header_bytes + captured or length > RECORD_LIMIT:
            raise self._damage("a record claims an absurd length")
        return int(length)

    def _record(self, data: bytearray, at: int, length: int) -> Record:
        wire, captured, _, drops, seconds, microseconds = struct.unpack_from(">IIIIII", data, at)
        if self._link_type is None:
            is_shomiti = length - self.header_bytes - captured >= SHOMITI_TRAILER_BYTES
            known = SHOMITI_LINK_TYPES if is_shomiti else LINK_TYPES
            self._link_type = known.get(self._data_link, UNKNOWN_LINK_TYPE)
        if drops > self._drops:
            self._file.unseen.add("kernel_drop", drops - self._drops)
            self._drops = drops
        time_ns = seconds * 10**9 + microseconds * 1000
        return Record(time_ns, at + self.header_bytes, captured, wire, self._link_type)

    def _add(self, record: Record) -> None:
        super()._add(record)
        self._file.interfaces[0].kernel_drops = self._drops
