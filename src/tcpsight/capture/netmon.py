"""Reads Microsoft Network Monitor files, versions 1 and 2 (the help of Network Monitor 3.4 describes the latter).

Theory of operation
-------------------
A header of 128 bytes, the frames one after another, then tables; the first of them lists where the frames are. A pipe
can't go back, so frames are read in the order in which they lie, up to the first table, and the list only tells how
many there should be. Up to version 2.2 times count from a start in the local time of a machine whose time zone is not
said: ``--input-timezone`` names it. Version 2.3 adds UTC to every frame.

What it cannot see: an order other than that of the file. Records about the machine, not the network, are no frames.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tcpsight.capture.reader import FRAME_LIMIT
from tcpsight.capture.records import Record, RecordReader
from tcpsight.capture.text_time import time_zone
from tcpsight.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcpsight.capture.reader import ByteSource, CaptureFile, ReadOptions

MAGICS = (b"RTSS", b"GMBU")
FILE_HEADER_BYTES = 128

# Bytes behind the frame by minor version of 2: network type; process; UTC and time zone.
TRAILER_BYTES: Mapping[int, int] = {0: 0, 1: 2, 2: 6}
LATEST_TRAILER_BYTES = 15
UTC_MINOR = 3

# Media types (NDIS); Network Monitor 3 reuses some. Wi-Fi has a header of its own, so it is unknown here.
LINK_TYPES: Mapping[int, int] = {0: 1, 1: 1, 2: 6, 3: 10, 7: 101, 8: 101, 9: 101}
UNKNOWN_LINK_TYPE = 0xFFFF
CONVERTED, CONVERTED_MASK = 0xE000, 0xF000
"""A capture converted from pcap has its link types in the lower bits."""

# Payload made by reassembly, network information, names.
NO_FRAMES = frozenset({0xFFFC, 0xFFFD, 0xFFFE})

FILETIME_EPOCH_NS = -11_644_473_600 * 10**9
"""The year 1601, when Windows began to count."""


class NetmonReader(RecordReader):
    """Read a Network Monitor file.

    See `tcpsight.capture.reader.Reader`.
    """

    name = "Network Monitor"

    def __init__(self, source: ByteSource, file: CaptureFile, options: ReadOptions) -> None:
        super().__init__(source, file, options)
        self._start_ns = 0
        self._major, self._minor = 2, 0
        self._link_type = 0
        self._end = 0
        self._listed = 0

    def _begin(self) -> None:
        self._fill_header(FILE_HEADER_BYTES)
        header = self._window.data
        self._minor, self._major, network, *start = struct.unpack_from("<BBH8H", header, 4)
        if self._major not in (1, 2):
            raise CaptureError(self._path, 5, f"Network Monitor version {self._major}.{self._minor} is not known")
        self._link_type = _link_type(network)
        self._start_ns = self._instant(*start)
        list_at, list_bytes, *others = struct.unpack_from("<10I", header, 24)
        self._listed = list_bytes // 4
        # Frames end where the first table begins; the others stand behind the list if they are there.
        self._end = min((at for at in (list_at, *others[::2]) if at >= FILE_HEADER_BYTES), default=0)
        self.header_bytes = 8 if self._major == 1 else 16
        self._window.start = FILE_HEADER_BYTES

    def _instant(self, *parts: int) -> int:
        """Read a SYSTEMTIME, local to the machine that captured."""
        year, month, _, day, hour, minute, second, millisecond = parts
        zone = time_zone(self._options.input_timezone)
        try:
            moment = datetime(year, month, day, hour, minute, second, tzinfo=zone)
            seconds = round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
        except (ValueError, OverflowError):
            raise CaptureError(self._path, 8, "the start of the capture is no date; the file is damaged") from None
        return seconds * 10**9 + millisecond * 10**6

    def _is_over(self) -> bool:
        if not self._end or self._window.offset < self._end:
            return False
        if self._records != self._listed:
            raise self._damage(f"the file lists {self._listed} records and holds {self._records}")
        return True

    def _measure(self, data: bytearray, at: int) -> int:
        if self._major == 1:
            return self.header_bytes + int(struct.unpack_from("<H", data, at + 6)[0])
        captured: int = struct.unpack_from("<I", data, at + 12)[0]
        if captured > FRAME_LIMIT:
            raise self._damage("a frame claims an absurd length")
        return self.header_bytes + captured + TRAILER_BYTES.get(self._minor, LATEST_TRAILER_BYTES)

    def _record(self, data: bytearray, at: int, length: int) -> Record | None:
        if self._major == 1:
            milliseconds, wire, captured = struct.unpack_from("<IHH", data, at)
            time_ns, network = self._start_ns + milliseconds * 10**6, None
        else:
            microseconds, wire, captured = struct.unpack_from("<QII", data, at)
            # Times before the start: the product with ten wraps to a negative number of 100 ns.
            ticks = (microseconds * 10 + 2**63) % 2**64 - 2**63
            time_ns = self._start_ns + ticks * 100
            trailer = at + self.header_bytes + captured
            network = struct.unpack_from("<H", data, trailer)[0] if self._minor else None
            if self._minor >= UTC_MINOR:
                time_ns = FILETIME_EPOCH_NS + struct.unpack_from("<Q", data, trailer + 6)[0] * 100
        if network in NO_FRAMES:
            return None
        link_type = self._link_type if network is None else _link_type(network)
        return Record(time_ns, at + self.header_bytes, captured, wire, link_type, link_type)

    def _may_end(self) -> bool:
        return not self._end


def _link_type(network: int) -> int:
    if network & CONVERTED_MASK == CONVERTED:
        return network & ~CONVERTED_MASK
    return LINK_TYPES.get(network, UNKNOWN_LINK_TYPE)
