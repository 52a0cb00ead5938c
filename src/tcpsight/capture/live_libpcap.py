"""Frames of live interfaces through libpcap, for systems whose kernel has no packet rings.

Theory of operation
-------------------
Each interface is opened in immediate mode and never waited for by libpcap itself, whose waits may last for ever: its
descriptor is polled, for a tick at most, and everything it has is dispatched, frame by frame, into a buffer of ours.
That costs some microseconds a frame, which is enough where nothing faster is to be had.

What it cannot see: an interface that was removed and made again; it stays silent.
"""

from __future__ import annotations

import ctypes
import select
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.capture.filter import ERROR_BYTES, NETMASK_UNKNOWN, _Libpcap, _Program
from tcpsight.capture.live import MARGIN_NS, MS, LiveCapture
from tcpsight.capture.reader import CaptureInterface
from tcpsight.errors import CaptureError, UsageError
from tcpsight.tables import Frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NANOSECONDS = 1
NO_RIGHT, NO_SUCH_DEVICE = -8, -5


class _Header(ctypes.Structure):
    """libpcap's ``struct pcap_pkthdr``; with nanoseconds in place of microseconds if that was granted."""

    _fields_ = (
        ("seconds", ctypes.c_long),
        ("fraction", ctypes.c_long),
        ("captured", ctypes.c_uint32),
        ("wire", ctypes.c_uint32),
    )


class _Counts(ctypes.Structure):
    """libpcap's ``struct pcap_stat``, in which counts wrap."""

    _fields_ = (("received", ctypes.c_uint), ("dropped", ctypes.c_uint), ("interface_dropped", ctypes.c_uint))


_Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(_Header), ctypes.c_void_p)


def _functions() -> Any:
    """Load libpcap and tell ctypes what its functions take."""
    pcap = _Libpcap._load()
    handle, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name, result, arguments in (
        ("pcap_create", handle, (text, text)),
        ("pcap_set_snaplen", number, (handle, number)),
        ("pcap_set_promisc", number, (handle, number)),
        ("pcap_set_timeout", number, (handle, number)),
        ("pcap_set_immediate_mode", number, (handle, number)),
        ("pcap_set_buffer_size", number, (handle, number)),
        ("pcap_set_tstamp_precision", number, (handle, number)),
        ("pcap_get_tstamp_precision", number, (handle,)),
        ("pcap_activate", number, (handle,)),
        ("pcap_geterr", text, (handle,)),
        ("pcap_statustostr", text, (number,)),
        ("pcap_datalink", number, (handle,)),
        ("pcap_compile", number, (handle, ctypes.POINTER(_Program), text, number, ctypes.c_uint32)),
        ("pcap_setfilter", number, (handle, ctypes.POINTER(_Program))),
        ("pcap_freecode", None, (ctypes.POINTER(_Program),)),
        ("pcap_setnonblock", number, (handle, number, text)),
        ("pcap_get_selectable_fd", number, (handle,)),
        ("pcap_dispatch", number, (handle, number, _Callback, handle)),
        ("pcap_stats", number, (handle, ctypes.POINTER(_Counts))),
        ("pcap_close", None, (handle,)),
    ):
        function = getattr(pcap, name)
        function.restype, function.argtypes = result, arguments
    return pcap


class _Interface:
    """One interface, open."""

    def __init__(self, pcap: Any, name: str, sizes: tuple[int, int, int], expression: str | None) -> None:
        self.name = name
        self._pcap = pcap
        self._last = (0, 0, 0)
        message = ctypes.create_string_buffer(ERROR_BYTES)
        self.handle = pcap.pcap_create(name.encode(errors="surrogateescape"), message)
        if not self.handle:
            raise CaptureError(name, -1, message.value.decode("utf-8", "replace"))
        try:
            self._activate(sizes)
            if expression is not None:
                self._set_filter(expression)
            if pcap.pcap_setnonblock(self.handle, 1, message):
                raise CaptureError(name, -1, message.value.decode("utf-8", "replace"))
        except BaseException:
            self.close()
            raise
        self.descriptor = pcap.pcap_get_selectable_fd(self.handle)
        self.link_type = pcap.pcap_datalink(self.handle)
        self.fraction_ns = 1 if pcap.pcap_get_tstamp_precision(self.handle) == NANOSECONDS else 1000

    def _activate(self, sizes: tuple[int, int, int]) -> None:
        pcap, handle = self._pcap, self.handle
        snaplen, buffer_bytes, tick_ms = sizes
        pcap.pcap_set_snaplen(handle, snaplen)
        pcap.pcap_set_promisc(handle, 1)
        pcap.pcap_set_timeout(handle, tick_ms)
        pcap.pcap_set_immediate_mode(handle, 1)
        pcap.pcap_set_buffer_size(handle, buffer_bytes)
        pcap.pcap_set_tstamp_precision(handle, NANOSECONDS)
        status = pcap.pcap_activate(handle)
        if status < 0:
            from tcpsight.capture.ring import NO_RIGHT as RIGHT_IS_MISSING

            if status == NO_RIGHT:
                raise CaptureError(self.name, -1, RIGHT_IS_MISSING)
            why = pcap.pcap_geterr(handle) or pcap.pcap_statustostr(status)
            if status == NO_SUCH_DEVICE:
                why = b"there is no such interface"
            raise CaptureError(self.name, -1, why.decode("utf-8", "replace"))

    def _set_filter(self, expression: str) -> None:
        program, pcap = _Program(), self._pcap
        wrong = pcap.pcap_compile(self.handle, ctypes.byref(program), expression.encode(), 1, NETMASK_UNKNOWN)
        if not wrong:
            wrong = pcap.pcap_setfilter(self.handle, ctypes.byref(program))
            pcap.pcap_freecode(ctypes.byref(program))
        if wrong:
            why = pcap.pcap_geterr(self.handle).decode("utf-8", "replace")
            raise UsageError(f"the filter {expression!r} cannot be used: {why}")

    def dispatch(self, take: Callable[[Any, int], None]) -> None:
        """Hand over what there is."""

        def each(_: int, header: Any, data: int) -> None:
            take(header.contents, data)

        if self._pcap.pcap_dispatch(self.handle, -1, _Callback(each), None) < -1:
            why = self._pcap.pcap_geterr(self.handle).decode("utf-8", "replace")
            raise CaptureError(self.name, -1, why)

    def count(self) -> tuple[int, ...]:
        """Give how many frames were received, dropped, dropped by the interface since this was asked last."""
        counts = _Counts()
        if self._pcap.pcap_stats(self.handle, ctypes.byref(counts)):
            return (0, 0, 0)
        now = (counts.received, counts.dropped, counts.interface_dropped)
        more = tuple((new - old) & 0xFFFFFFFF for new, old in zip(now, self._last, strict=True))
        self._last = now
        return more

    def close(self) -> None:
        """Give it up."""
        if self.handle:
            self._pcap.pcap_close(self.handle)
            self.handle = None


class LibpcapCapture(LiveCapture):
    """Frames through libpcap.

    Parameters
    ----------
    names : sequence of str
        The interfaces.
    expression : str or None
        What is let through.
    sizes : tuple of int
        Bytes kept of a frame, bytes of an interface's buffer, milliseconds between two looks.
    wait_ns : int
        An empty batch is given after so long a silence.
    """

    def __init__(self, names: Sequence[str], expression: str | None, sizes: tuple[int, int, int], wait_ns: int) -> None:
        super().__init__(names, wait_ns)
        self._tick_ms = sizes[2]
        # Not by libpcap, which counts both copies of a frame on loopback.
        self._given: list[int] = []
        self._frames = 0
        self._opened: list[_Interface] = []
        try:
            pcap = _functions()
            for name in names:
                opened = _Interface(pcap, name, sizes, expression)
                self._opened.append(opened)
                ticks = 10**9 // opened.fraction_ns
                self._given.append(0)
                self.interfaces.append(CaptureInterface(0, name, opened.link_type, ticks, sizes[0], kernel_drops=0))
        except BaseException:
            self.close()
            raise

    @property
    def received_by_interface(self) -> list[int]:
        """Frames of each interface that the filter let through so far, the dropped ones included."""
        pairs = zip(self._given, self.interfaces, strict=True)
        return [given + (interface.kernel_drops or 0) for given, interface in pairs]

    @property
    def dropped(self) -> int:
        """Frames that found no room."""
        return sum(i.kernel_drops or 0 for i in self.interfaces)

    def close(self) -> None:
        """Give up the interfaces."""
        super().close()
        for each in self._opened:
            each.close()
        self._opened = []

    def _shut(self) -> int:
        return 2 * self._tick_ms * MS

    def _look(self, *, is_last: bool) -> Frames:
        looked_ns = time.time_ns()
        rows: list[tuple[int, ...]] = []
        arena = bytearray()
        for index, each in enumerate(self._opened):

            def take(header: Any, data: int, index: int = index, each: _Interface = each) -> None:
                time_ns = header.seconds * 10**9 + header.fraction * each.fraction_ns
                place = (index, each.link_type, 0)
                rows.append((0, time_ns, len(arena), 0, header.captured, header.wire, *place))
                arena.extend(ctypes.string_at(data, header.captured))
                self._given[index] += 1

            each.dispatch(take)
            self._count(index, each.count())
        if not rows:
            return Frames(until_ns=looked_ns - self._tick_ms * MS - MARGIN_NS)
        rows.sort(key=lambda row: row[1])
        table = np.array(rows, Frames.dtype)
        table["frame_number"] = table["frame_in_file"] = np.arange(self._frames + 1, self._frames + len(rows) + 1)
        self._frames += len(rows)
        return Frames(table, data=arena)

    def _count(self, index: int, counts: tuple[int, ...]) -> None:
        interface = self.interfaces[index]
        interface.kernel_drops = (interface.kernel_drops or 0) + counts[1]
        if counts[2]:
            interface.interface_drops = (interface.interface_drops or 0) + counts[2]

    def _wait(self, nanoseconds: int) -> None:
        poll = select.poll()
        poll.register(self._woken, 0 if self._is_stopped else select.POLLIN)
        for each in self._opened:
            if each.descriptor >= 0:
                poll.register(each.descriptor, select.POLLIN)
        # Not every system's descriptor tells: a tick is waited at most.
        poll.poll(max(1, min(nanoseconds // MS, self._tick_ms)))
