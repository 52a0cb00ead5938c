"""Frames to a classic pcap file, in microseconds as every reader takes it, or in nanoseconds."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from tcpsight.errors import TcpsightError
from tcpsight.output._packets import PCAP_RECORD_BYTES, pcap_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcpsight.output.destination import Destination
    from tcpsight.output.packet_files import Counts, Lengths
    from tcpsight.tables import Frames

_MAGIC = {1000: 0xA1B2C3D4, 1: 0xA1B23C4D}
_VERSION = (2, 4)


class PcapEncoder:
    """Make the bytes of a pcap file, in this machine's byte order.

    Parameters
    ----------
    link_type : int
        LINKTYPE_ number of all frames.
    snaplen : int
        Most bytes of a frame.
    tick_ns : int
        What times are counted in: 1 or 1000 ns.
    """

    def __init__(self, link_type: int, snaplen: int, *, tick_ns: int = 1) -> None:
        self._header = struct.pack("=IHHiIII", _MAGIC[tick_ns], *_VERSION, 0, 0, snaplen, link_type)
        self._link_type = link_type
        self._tick_ns = tick_ns
        self._room = bytearray()

    def begin(self) -> bytes:
        """Give the header of a file."""
        return self._header

    def sizes(self, kept: Lengths) -> Lengths:
        """Tell how long the records of frames are of which so much is kept."""
        return kept + PCAP_RECORD_BYTES

    def frames(self, frames: Frames, kept: Lengths) -> memoryview:
        """Give the records of frames, with so many bytes of each; valid until the next call.

        Raises
        ------
        TcpsightError
            A frame has another link type; a classic pcap file holds one.
        """
        others = frames.rows[frames.link_type != self._link_type]
        if len(others):
            found = int(others[0]["link_type"])
            raise TcpsightError(f"a pcap file holds one link type: {self._link_type} came first, now {found}")
        most = int(self.sizes(kept).sum(dtype=np.int64))
        if len(self._room) < most:
            self._room = bytearray(most)
        return memoryview(self._room)[: pcap_records(frames.packed(), frames.data, kept, self._room, self._tick_ns)]

    def statistics(self, counts: Sequence[Counts], start_ns: int, end_ns: int) -> bytes:
        """Give nothing: there is no place for them in such a file."""
        return b""


class PcapWriter:
    """Write frames with the bytes that were captured of each, in microseconds.

    Parameters
    ----------
    destination : Destination
        Where to; the file header is written at once.
    link_type : int
        LINKTYPE_ number of all frames.
    snaplen : int
        Most bytes of a frame.
    """

    def __init__(self, destination: Destination, link_type: int, snaplen: int) -> None:
        self._destination = destination
        self._encoder = PcapEncoder(link_type, snaplen, tick_ns=1000)
        destination.write(self._encoder.begin())

    def write(self, frames: Frames) -> None:
        """Write the next frames.

        Raises
        ------
        TcpsightError
            A frame has another link type; a classic pcap file holds one.
        """
        self._destination.write(self._encoder.frames(frames, np.ascontiguousarray(frames.captured_bytes)))
