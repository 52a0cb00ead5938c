"""Reads pcapng files: blocks that describe sections, interfaces and frames (draft-ietf-opsawg-pcapng).

The kernel walks packet blocks; here is what changes how they are read: a new section, which may have
another byte order and starts a new list of interfaces, a new interface, and the drop counters. Names,
secrets, journal entries, custom and unknown blocks are passed over: none changes what a frame is.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from tcpsight.capture import _kernel, _options
from tcpsight.capture.reader import (
    FRAME_LIMIT,
    TIME_LIMIT_NS,
    ByteSource,
    CaptureFile,
    CaptureInterface,
    ReadOptions,
)
from tcpsight.capture.window import window_of
from tcpsight.errors import CaptureError
from tcpsight.tables import Frames

BYTE_ORDER_MAGIC = 0x1A2B3C4D
SECTION_BYTES = 28
BLOCK_LIMIT = FRAME_LIMIT + 65_536
"""The longest block: the longest frame and options."""

INTERFACE_LIMIT = 65_536
"""Interfaces of one file; more is damage or malice, and would fill the memory."""

COUNT_LIMIT = 2**40
"""A counter that says more is damage; so limited, the counters of all interfaces can be added up."""

MICROSECONDS = 6
"""The if_tsresol of an interface that states none."""

INTERFACE, STATISTICS = 1, 5
SECTION_MAGIC = b"\n\r\r\n"
"""The type of a section header block, which reads the same in both byte orders."""

OPTION_NAME, OPTION_RESOLUTION, OPTION_OFFSET = 2, 9, 14
OPTION_END, OPTION_INTERFACE_DROPS, OPTION_KERNEL_DROPS = 3, 5, 7
OPTION_CODES = 16
"""Options with a higher code are not needed."""

NAME_LIMIT = 256
"""Bytes of an interface's name that are kept."""


class PcapngReader:
    """Read a pcapng file.

    See `tcpsight.capture.reader.Reader`. Drop counters of statistics blocks count from the start of the
    capture, so the last one of an interface holds; where there is none, the counts that packet blocks
    carry are added up. A simple packet block has no time: its frame gets that of the frame before it, and is
    counted.
    """

    def __init__(self, source: ByteSource, file: CaptureFile, options: ReadOptions) -> None:
        self._file = file
        self._path = source.path
        self._window = window_of(source, options, SECTION_BYTES)
        self._table = Frames.allocate(options.batch_frames)
        self._bytes: np.ndarray[Any, Any] = self._table.rows.view(np.uint8)
        self._walk = _kernel.PcapngWalk(limit=BLOCK_LIMIT, file=file.index)
        self._known = np.zeros((4, _kernel.INTERFACE_COLUMNS), np.int64)
        self._found = np.zeros((OPTION_CODES, 2), np.int64)
        self._endian = "<"
        self._has_counted = False
        self._failure: CaptureError | None = None

    def read(self) -> Frames | None:
        """Give the next batch; None at the end."""
        if self._failure is not None:
            raise self._failure
        walk, window = self._walk, self._window
        count, row_bytes = 0, self._table.rows.itemsize
        while True:
            count += walk.walk(window.data, window.start, window.end, self._bytes[count * row_bytes :], self._known)
            window.start = walk.position
            # Files with a section for every few frames are not cut into as many batches.
            if count and not (walk.status == _kernel.BLOCK and count < len(self._table) and self._takes_block()):
                return Frames(self._table.rows[:count], data=window.data, origin=window.origin)
            if count:
                continue
            if walk.status == _kernel.BLOCK:
                self._block()
            elif walk.status != _kernel.MORE:
                raise self._damage(walk)
            elif not window.fill(walk.need):
                self._count()
                if window.size == 0:
                    return None
                raise self._cut(walk)

    def _takes_block(self) -> bool:
        """Take a block that is not a packet behind the frames of this batch, unless the window must be moved for it."""
        window = self._window
        if window.bytes_at(window.start, 4) == SECTION_MAGIC:
            endian = self._byte_order() if window.size >= SECTION_BYTES else ""
            if not endian or struct.unpack_from(endian + "I", window.data, window.start + 4)[0] > window.size:
                return False
        try:
            self._block()
        except CaptureError as failure:
            self._failure = failure  # not before the frames in front of it
            return False
        return True

    def _block(self) -> None:
        """Take a block that is not a packet and move past it."""
        window = self._window
        if window.bytes_at(window.start, 4) == SECTION_MAGIC:
            self._section()
            return
        kind, length = struct.unpack_from(self._endian + "II", window.data, window.start)
        if kind == INTERFACE:
            self._interface(length)
        else:
            self._statistics(length)
        window.start += length

    def _byte_order(self) -> str:
        """Tell the byte order of the section at the window's start; empty if it states none."""
        magic = self._window.bytes_at(self._window.start + 8, 4)
        return next((endian for endian in "<>" if struct.pack(endian + "I", BYTE_ORDER_MAGIC) == magic), "")

    def _section(self) -> None:
        window, walk = self._window, self._walk
        if window.size < SECTION_BYTES and not window.fill(SECTION_BYTES):
            raise self._cut(walk, SECTION_BYTES)
        endian = self._byte_order()
        if not endian:
            raise self._error("a section states no byte order; the file is damaged here")
        length, _, major = struct.unpack_from(endian + "IIH", window.data, window.start + 4)
        if length < SECTION_BYTES or length % 4 or length > BLOCK_LIMIT:
            raise self._error("a section header has an absurd length; the file is damaged here")
        if major != 1:
            raise self._error(f"pcapng version {major} is not known")
        if window.size < length and not window.fill(length):
            raise self._cut(walk, length)
        if struct.unpack_from(endian + "I", window.data, window.start + length - 4)[0] != length:
            raise self._error("the two lengths of a section header disagree; the file is damaged here")
        self._endian = endian
        walk.is_swapped = struct.pack(endian + "I", 1) != struct.pack("=I", 1)
        walk.first_interface, walk.interfaces = len(self._file.interfaces), 0
        window.start += length

    def _interface(self, block_bytes: int) -> None:
        interfaces = self._file.interfaces
        index = len(interfaces)
        if index == INTERFACE_LIMIT:
            raise self._error(f"the file describes more than {INTERFACE_LIMIT} interfaces; is it damaged?")
        if block_bytes < 20:
            raise self._error("an interface description is too short; the file is damaged here")
        link_type, _, snaplen = struct.unpack_from(self._endian + "HHI", self._window.data, self._window.start + 8)
        found = CaptureInterface(self._file.index, link_type=link_type, snaplen=snaplen)
        self._find_options(16, block_bytes)
        found.name = self._option(OPTION_NAME)[:NAME_LIMIT].rstrip(b"\0").decode("utf-8", "replace")
        resolution, offset = self._option(OPTION_RESOLUTION), self._option(OPTION_OFFSET)
        clock, factor, found.ticks_per_second = clock_of(resolution[0] if len(resolution) == 1 else MICROSECONDS)
        seconds = struct.unpack(self._endian + "q", offset)[0] if len(offset) == 8 else 0
        # Whatever time it is added to, what lies beyond the limit stays beyond it, and within 64 bits.
        offset_ns = min(max(seconds * 10**9, -2 * TIME_LIMIT_NS), TIME_LIMIT_NS)
        while index >= len(self._known):
            self._known = np.concatenate([self._known, np.zeros_like(self._known)])
        self._known[index] = (link_type, snaplen, clock, factor, offset_ns, 0)
        interfaces.append(found)
        self._walk.interfaces += 1

    def _statistics(self, block_bytes: int) -> None:
        if block_bytes < 24:
            raise self._error("an interface statistics block is too short; the file is damaged here")
        index = struct.unpack_from(self._endian + "I", self._window.data, self._window.start + 8)[0]
        if index >= self._walk.interfaces:
            return  # statistics of nobody say nothing
        found = self._file.interfaces[self._walk.first_interface + index]
        self._find_options(20, block_bytes)
        offset_ns = int(self._known[self._walk.first_interface + index, _kernel.OFFSET_NS])
        self._note_end(self._option(OPTION_END), found.ticks_per_second, offset_ns)
        interface_drops, kernel_drops = self._counter(OPTION_INTERFACE_DROPS), self._counter(OPTION_KERNEL_DROPS)
        if interface_drops is not None:
            self._file.unseen.add("interface_drop", interface_drops - (found.interface_drops or 0))
            found.interface_drops = interface_drops
        if kernel_drops is not None:
            self._file.unseen.add("kernel_drop", kernel_drops - (found.kernel_drops or 0))
            found.kernel_drops = kernel_drops

    def _note_end(self, halves: bytes, ticks_per_second: int, offset_ns: int) -> None:
        """Take note of when capturing on an interface ended, if that is told; the latest counts."""
        if len(halves) != 8:
            return
        high, low = struct.unpack(self._endian + "II", halves)
        ended_ns = (high << 32 | low) * 10**9 // ticks_per_second + offset_ns
        if 0 < ended_ns <= TIME_LIMIT_NS:
            self._file.ended_ns = max(self._file.ended_ns or 0, ended_ns)

    def _count(self) -> None:
        """At the end, add up what packet blocks said of interfaces without statistics, and what times were lacking."""
        if self._has_counted:
            return
        self._has_counted = True
        drops, walk, unseen = self._known[:, _kernel.DROPS], self._walk, self._file.unseen
        for index in np.flatnonzero(drops).tolist():
            found = self._file.interfaces[index]
            if found.interface_drops is None and found.kernel_drops is None:
                found.kernel_drops = int(drops[index])
                unseen.add("kernel_drop", found.kernel_drops)
        unseen.add("unrepresentable_time", walk.clamped, 0, walk.first_clamped)
        unseen.add("untimed_frame", walk.untimed, 0, walk.first_untimed)

    def _find_options(self, skip: int, block_bytes: int) -> None:
        """Find the options of the block at the window's start, which begin `skip` bytes behind it."""
        start = self._window.start
        is_swapped = self._walk.is_swapped
        _options.last_options(self._window.data, start + skip, start + block_bytes - 4, is_swapped, self._found)

    def _option(self, code: int) -> bytes:
        """Give the value of an option that `_find_options` found; empty if there is none."""
        start, length = self._found[code].tolist()
        return self._window.bytes_at(start, length) if start >= 0 else b""

    def _counter(self, code: int) -> int | None:
        """Give the value of a counter; None if there is none."""
        value = self._option(code)
        return min(struct.unpack(self._endian + "Q", value)[0], COUNT_LIMIT) if len(value) == 8 else None

    def _error(self, reason: str) -> CaptureError:
        self._count()
        return CaptureError(self._path, self._window.offset, reason)

    def _damage(self, walk: _kernel.PcapngWalk) -> CaptureError:
        """Say what is wrong with the block at the window's start."""
        what = {
            _kernel.BAD_LENGTH: "a block claims an absurd length",
            _kernel.BAD_TRAILER: "the two lengths of a block disagree",
            _kernel.BAD_INTERFACE: "a frame names an interface that the file did not describe",
            _kernel.BAD_CAPTURED: "a frame claims more bytes than its block holds",
        }[walk.status]
        return self._error(f"{what} after frame {walk.frames}; the file is damaged here and cannot be read on")

    def _cut(self, walk: _kernel.PcapngWalk, need: int = 0) -> CaptureError:
        reason = (
            f"the file ends inside a block after frame {walk.frames} ({self._window.size} of {need or walk.need} bytes)"
        )
        return self._error(f"{reason}; the capture was cut short")


def clock_of(resolution: int) -> tuple[int, int, int]:
    """Tell how to make nanoseconds of ticks.

    Parameters
    ----------
    resolution : int
        The if_tsresol byte: n for 10⁻ⁿ s, 128 + n for 2⁻ⁿ s (draft-ietf-opsawg-pcapng §4.2).

    Returns
    -------
    clock, factor, ticks_per_second : int
        MULTIPLY or DIVIDE by the factor, which is an unsigned 64-bit number in a signed one, or SHIFT by it.
    """
    power = resolution & 0x7F
    if resolution & 0x80:
        return _kernel.SHIFT, power, 2**power
    if power <= 9:
        return _kernel.MULTIPLY, 10 ** (9 - power), 10**power
    if power <= 28:
        factor = 10 ** (power - 9)
        return _kernel.DIVIDE, factor - 2**64 if factor >= 2**63 else factor, 10**power
    # 2⁶⁴ ticks of 10⁻²⁹ s are less than a nanosecond.
    return _kernel.SHIFT, 127, 10**power
