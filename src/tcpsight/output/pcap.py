"""Frames to a classic pcap file, in microseconds, as every reader takes it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tcpsight.errors import TcpsightError

if TYPE_CHECKING:
    from tcpsight.output.destination import Destination
    from tcpsight.tables import Frames

_MAGIC = 0xA1B2C3D4
_VERSION = (2, 4)


class PcapWriter:
    """Write frames with the bytes that were captured of each.

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
        self._link_type = link_type
        destination.write(struct.pack("<IHHiIII", _MAGIC, *_VERSION, 0, 0, snaplen, link_type))

    def write(self, frames: Frames) -> None:
        """Write the next frames.

        Raises
        ------
        TcpsightError
            A frame has another link type; a classic pcap file holds one.
        """
        others = frames.rows[frames.link_type != self._link_type]
        if len(others):
            found = int(others[0]["link_type"])
            raise TcpsightError(f"a pcap file holds one link type: {self._link_type} came first, now {found}")
        data = memoryview(frames.data)
        names = ("time_ns", "position", "captured_bytes", "wire_bytes")
        pieces: list[bytes | memoryview] = []
        for time_ns, position, captured, wire in zip(*(frames.rows[name].tolist() for name in names), strict=True):
            seconds, rest = divmod(time_ns, 10**9)
            pieces.append(struct.pack("<IIII", seconds % 2**32, rest // 1000, captured, wire))
            pieces.append(data[position : position + captured])
        self._destination.write(b"".join(pieces))
