"""Reads classic pcap files: a header, then records of 16 bytes (some dialects: more) and the frame."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tcpsight.capture import _kernel
from tcpsight.capture.pcap_variants import HEADER_BYTES, USUAL_LIMIT, dialect_of, is_waited_for
from tcpsight.capture.reader import FRAME_LIMIT, ByteSource, CaptureFile, CaptureInterface, ReadOptions
from tcpsight.capture.window import window_of
from tcpsight.errors import CaptureError
from tcpsight.tables import Frames

VIEW_BYTES = 64 * 1024
"""How much of what has arrived is looked at to tell the dialect."""


class PcapReader:
    """Read a classic pcap file, of either byte order, in micro- or nanoseconds, in any dialect.

    See `tcpsight.capture.reader.Reader`.
    """

    def __init__(self, source: ByteSource, file: CaptureFile, options: ReadOptions) -> None:
        self._file = file
        self._path = source.path
        self._window = window_of(source, options, HEADER_BYTES)
        self._table = Frames.allocate(options.batch_frames)
        self._bytes: np.ndarray[Any, Any] = self._table.rows.view(np.uint8)
        self._walk: _kernel.PcapWalk | None = None
        self._interface = len(file.interfaces)

    def read(self) -> Frames | None:
        """Give the next batch; None at the end."""
        walk = self._walk or self._start()
        window = self._window
        while True:
            count = walk.walk(window.data, window.start, window.end, self._bytes)
            window.start = walk.position
            if count:
                if self._interface:
                    self._table.rows["interface_id"][:count] = self._interface
                return Frames(self._table.rows[:count], data=window.data, origin=window.origin)
            if walk.status == _kernel.BAD_LENGTH:
                raise self._damage(walk)
            if not window.fill(walk.need):
                if window.size == 0:
                    return None
                raise self._cut(walk)

    def _start(self) -> _kernel.PcapWalk:
        window = self._window
        self._fill_header(HEADER_BYTES)
        if is_waited_for(window.bytes_at(0, HEADER_BYTES)):
            window.fill(VIEW_BYTES)
        dialect = dialect_of(window.bytes_at(0, min(window.end, VIEW_BYTES)))
        self._fill_header(dialect.file_header_bytes)
        found = CaptureInterface(self._file.index, "", dialect.link_type, 10**9 // dialect.tick_ns, dialect.snaplen)
        self._file.interfaces.append(found)
        window.start = dialect.file_header_bytes
        self._walk = _kernel.PcapWalk(
            is_swapped=(dialect.endian == "<") != (sys.byteorder == "little"),
            header_bytes=dialect.record_header_bytes,
            length_order=dialect.length_order,
            tick_ns=dialect.tick_ns,
            limit=min(max(dialect.snaplen, USUAL_LIMIT), FRAME_LIMIT),
            link_type=dialect.link_type,
            file=self._file.index,
        )
        return self._walk

    def _fill_header(self, need: int) -> None:
        window = self._window
        if not window.fill(need):
            reason = f"the file ends inside the pcap file header ({window.size} of {need} bytes)"
            raise CaptureError(self._path, window.size, f"{reason}; it holds no frames")

    def _damage(self, walk: _kernel.PcapWalk) -> CaptureError:
        reason = f"frame {walk.frames + 1} claims an absurd length; the file is damaged here and cannot be read on"
        return CaptureError(self._path, self._window.offset, reason)

    def _cut(self, walk: _kernel.PcapWalk) -> CaptureError:
        reason = f"the file ends inside frame {walk.frames + 1} ({self._window.size} of {walk.need} bytes)"
        return CaptureError(self._path, self._window.offset, f"{reason}; the capture was cut short")
