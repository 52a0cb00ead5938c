"""Frames to a pcapng file, with the names of interfaces and what each dropped (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tcpsight.output._packets import PCAPNG_RECORD_BYTES, pcapng_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcpsight.output.packet_files import Counts, Lengths
    from tcpsight.tables import Frames

_SECTION, _INTERFACE, _STATISTICS = 0x0A0D0D0A, 1, 5
_BYTE_ORDER = 0x1A2B3C4D
_LENGTH_UNKNOWN = -1
_NANOSECONDS = 9
# Options (§4.1 to §4.6).
_HARDWARE_NAME, _SYSTEM_NAME, _APPLICATION_NAME = 2, 3, 4
_IF_NAME, _IF_RESOLUTION, _IF_FILTER = 2, 9, 11
_ISB_START, _ISB_END, _ISB_RECEIVED, _ISB_IF_DROPS, _ISB_OS_DROPS = 2, 3, 4, 5, 7


class DescribedInterface(NamedTuple):
    """What a file says of an interface.

    Attributes
    ----------
    name : str
        Its name.
    link_type : int
        LINKTYPE_ number of its frames.
    snaplen : int
        Most bytes of a frame.
    expression : str
        The capture filter; empty for none.
    """

    name: str
    link_type: int
    snaplen: int
    expression: str = ""


class PcapngEncoder:
    """Make the bytes of a pcapng file of one section, in this machine's byte order.

    Parameters
    ----------
    interfaces : sequence of DescribedInterface
        In the order of `Frames.interface_id`.
    application : str
        What wrote it.
    tells_system : bool
        Whether it says on which hardware and system.
    """

    def __init__(
        self, interfaces: Sequence[DescribedInterface], application: str, *, tells_system: bool = True
    ) -> None:
        system, options = os.uname(), b""
        if tells_system:
            options += _option(_HARDWARE_NAME, system.machine.encode())
            options += _option(_SYSTEM_NAME, f"{system.sysname} {system.release}".encode())
        options += _option(_APPLICATION_NAME, application.encode())
        section = struct.pack("=IHHq", _BYTE_ORDER, 1, 0, _LENGTH_UNKNOWN) + options + _option(0, b"")
        self._header = _block(_SECTION, section) + b"".join(described(each) for each in interfaces)
        self._room = bytearray()

    def begin(self) -> bytes:
        """Give the header of a file and the descriptions of the interfaces."""
        return self._header

    def add(self, interface: DescribedInterface) -> bytes:
        """Describe an interface that was met since, for this file, and for those that begin later."""
        self._header += described(interface)
        return described(interface)

    def described(self, interfaces: Sequence[DescribedInterface]) -> bytes:
        """Describe interfaces that were met since; their numbers go on."""
        return b"".join(described(each) for each in interfaces)

    def sizes(self, kept: Lengths) -> Lengths:
        """Tell how long the blocks of frames are of which so much is kept."""
        return (kept + np.uint32(3) & ~np.uint32(3)) + np.uint32(PCAPNG_RECORD_BYTES)

    def frames(self, frames: Frames, kept: Lengths) -> memoryview:
        """Give the blocks of frames, with so many bytes of each; valid until the next call."""
        most = int(self.sizes(kept).sum(dtype=np.int64))
        if len(self._room) < most:
            self._room = bytearray(most)
        return memoryview(self._room)[: pcapng_records(frames.packed(), frames.data, kept, self._room)]

    def statistics(self, counts: Sequence[Counts], start_ns: int, end_ns: int) -> bytes:
        """Give what was counted on each interface between two instants."""
        blocks = []
        for index, each in enumerate(counts):
            options = _instant(_ISB_START, start_ns) + _instant(_ISB_END, end_ns)
            options += _counter(_ISB_RECEIVED, each.received) + _counter(_ISB_IF_DROPS, each.interface_drops)
            options += _counter(_ISB_OS_DROPS, each.kernel_drops) + _option(0, b"")
            blocks.append(_block(_STATISTICS, struct.pack("=I", index) + _halves(end_ns) + options))
        return b"".join(blocks)


def described(each: DescribedInterface) -> bytes:
    """Give the description of an interface; those of a section are numbered as they come."""
    options = _option(_IF_NAME, each.name.encode(errors="surrogateescape"))
    options += _option(_IF_RESOLUTION, bytes([_NANOSECONDS]))
    if each.expression:
        options += _option(_IF_FILTER, b"\0" + each.expression.encode())
    return _block(_INTERFACE, struct.pack("=HHI", each.link_type, 0, each.snaplen) + options + _option(0, b""))


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack("=II", kind, length) + body + struct.pack("=I", length)


def _option(code: int, value: bytes) -> bytes:
    value = value[:65_535]
    return struct.pack("=HH", code, len(value)) + value + bytes(-len(value) % 4)


def _halves(time_ns: int) -> bytes:
    return struct.pack("=II", max(time_ns, 0) >> 32, max(time_ns, 0) & 0xFFFFFFFF)


def _instant(code: int, time_ns: int) -> bytes:
    return _option(code, _halves(time_ns))


def _counter(code: int, count: int | None) -> bytes:
    return b"" if count is None else _option(code, struct.pack("=Q", count))
