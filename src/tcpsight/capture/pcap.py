"""Reads classic pcap files: a header, then records of 16 bytes and the frame."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.capture import _kernel
from tcpsight.capture.reader import FRAME_LIMIT, ByteSource, CaptureFile, CaptureInterface, ReadOptions
from tcpsight.capture.window import Window
from tcpsight.errors import CaptureError
from tcpsight.tables import Frames

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER_BYTES = 24

# (nanoseconds per tick, bytes of a record header). Kuznetzov's patched libpcap wrote interface, protocol and
# packet type behind the lengths.
MAGICS: Mapping[int, tuple[int, int]] = {0xA1B2C3D4: (1000, 16), 0xA1B23C4D: (1, 16), 0xA1B2CD34: (1000, 24)}

# libpcap's MAXIMUM_SNAPLEN: writers that state a smaller snaplen have been seen to exceed it up to here.
USUAL_LIMIT = 262_144


class PcapReader:
    """Read a classic pcap file, of either byte order, in micro- or nanoseconds.

    See `tcpsight.capture.reader.Reader`.
    """

    def __init__(self, source: ByteSource, file: CaptureFile, options: ReadOptions) -> None:
        self._file = file
        self._path = source.path
        self._window = Window(source, max(options.buffer_bytes, HEADER_BYTES))
        self._table = Frames.allocate(options.batch_frames)
        self._bytes: np.ndarray[Any, Any] = self._table.rows.view(np.uint8)
        self._walk: _kernel.PcapWalk | None = None

    def read(self) -> Frames | None:
        """Give the next batch; None at the end."""
        walk = self._walk or self._start()
        window = self._window
        while True:
            count = walk.walk(window.data, window.start, window.end, self._bytes)
            window.start = walk.position
            if count:
                return Frames(self._table.rows[:count], data=window.data)
            if walk.status == _kernel.BAD_LENGTH:
                raise self._damage(walk)
            if not window.fill(walk.need):
                if window.size == 0:
                    return None
                raise self._cut(walk)

    def _start(self) -> _kernel.PcapWalk:
        window = self._window
        if not window.fill(HEADER_BYTES):
            reason = f"the file ends inside the pcap file header ({window.size} of {HEADER_BYTES} bytes)"
            raise CaptureError(self._path, window.size, f"{reason}; it holds no frames")
        header = window.data[:HEADER_BYTES]
        endian = "<" if struct.unpack("<I", header[:4])[0] in MAGICS else ">"
        magic, _, minor, _, _, snaplen, network = struct.unpack(endian + "IHHiIII", header)
        tick_ns, header_bytes = MAGICS[magic]
        # The upper half tells about frame check sequences (draft-ietf-opsawg-pcap).
        link_type = network & 0xFFFF
        self._file.interfaces.append(CaptureInterface(self._file.index, "", link_type, 10**9 // tick_ns, snaplen))
        window.start = HEADER_BYTES
        self._walk = _kernel.PcapWalk(
            is_swapped=struct.unpack("=I", header[:4])[0] != magic,
            header_bytes=header_bytes,
            # Up to version 2.2 the length on the wire came first; in 2.3 it depends on the writer.
            length_order=1 if minor < 3 else 2 if minor == 3 else 0,
            tick_ns=tick_ns,
            limit=min(max(snaplen, USUAL_LIMIT), FRAME_LIMIT),
            link_type=link_type,
            file=self._file.index,
        )
        return self._walk

    def _damage(self, walk: _kernel.PcapWalk) -> CaptureError:
        reason = f"frame {walk.frames + 1} claims an absurd length; the file is damaged here and cannot be read on"
        return CaptureError(self._path, self._window.offset, reason)

    def _cut(self, walk: _kernel.PcapWalk) -> CaptureError:
        reason = f"the file ends inside frame {walk.frames + 1} ({self._window.size} of {walk.need} bytes)"
        return CaptureError(self._path, self._window.offset, f"{reason}; the capture was cut short")
