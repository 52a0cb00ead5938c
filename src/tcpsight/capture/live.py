"""Frames of live interfaces, batch by batch.

Theory of operation
-------------------
`open_live` gives what the system has: on Linux rings of frames straight from the kernel
(`tcpsight.capture.live_rings`), elsewhere libpcap (`tcpsight.capture.live_libpcap`). Either is a `LiveCapture`, which
never ends by itself.

Silence is a batch, too: an empty one whose `until_ns` says how far capture time has come, so that slices can be closed
and idle connections expire while nobody speaks. No frame that is given later is older, but on a machine that is later
than `MARGIN_NS`: such frames are given nevertheless, with the times that they have. Frames have the kernel's time; the
clock read here is the one that the kernel reads.

What it cannot see: frames that were dropped, but how many.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from tcpsight.capture.live_filter import live_filter
from tcpsight.capture.reader import CaptureFile, CaptureInterface
from tcpsight.errors import UsageError
from tcpsight.tables import Frames, UnseenCounter

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

SNAPLEN = 256
"""Bytes kept of each frame: room for the headers of TCP, in a tunnel too."""

RING_BYTES = 64 * 1024 * 1024
"""Of each interface: more than half a second of the smallest frames at half a million a second."""

LEAST_RING_BYTES, MOST_RING_BYTES = 128 * 1000, 16 * 1024**3

MOST_SNAPLEN = 262_144
"""What libpcap and all that read its files take for the longest frame."""

WAIT_NS = 100_000_000

MARGIN_NS = 50_000_000
"""How late the kernel may hand over a block, and its clock be read."""

MOST_INTERFACES = 64

MOST_NAME_BYTES = 15
"""IFNAMSIZ of Linux, without the zero at its end."""

FOREVER_NS = 2**63 - 1

MS = 1_000_000


class LiveCapture:
    """Frames of live interfaces; iterating gives each batch once, and a batch is valid until the next is asked for.

    `open_live` makes it. It never ends by itself: `stop` ends it, when everything that came before was given.

    Attributes
    ----------
    files : list of CaptureFile
        One, which stands for all interfaces.
    interfaces : list of CaptureInterface
        In the order named; `Frames.interface_id` is an index into it. Their drops are brought up to date with every
        batch.
    bytes_read, bytes_total : int, None
        Bytes captured so far; there is no total.
    """

    format = "live"
    bytes_total = None

    def __init__(self, names: Sequence[str], wait_ns: int) -> None:
        self.interfaces: list[CaptureInterface] = []
        self.files = [CaptureFile(0, ",".join(names), self.format, interfaces=self.interfaces)]
        self.bytes_read = 0
        self._wait_ns = wait_ns
        self._unseen = UnseenCounter()
        self._damaged = 0
        self._is_stopped = False
        # A byte in a pipe ends a wait at once, whoever writes it.
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._batches = self._all()

    @property
    def received(self) -> int:
        """Frames that the filter let through so far, the dropped ones included."""
        return sum(self.received_by_interface)

    @property
    def received_by_interface(self) -> list[int]:
        """The same for each interface."""
        raise NotImplementedError

    @property
    def dropped(self) -> int:
        """Frames that were lost since nobody took them in time."""
        raise NotImplementedError

    @property
    def up_by_interface(self) -> dict[str, bool]:
        """Whether each interface is there and up at the moment, by its name; none of which that is not known."""
        return {}

    def name_of(self, number: int) -> str | None:
        """Tell what the interface is called that has this number in cooked frames; None where nobody knows."""
        return None

    @property
    def down(self) -> list[str]:
        """The interfaces that are down or away at the moment."""
        return [name for name, is_up in self.up_by_interface.items() if not is_up]

    @property
    def unseen(self) -> UnseenCounter:
        """What was lost so far; always the same object, brought up to date when asked for."""
        unseen = self._unseen
        unseen.counts[:] = 0
        for reason, counts in (
            ("kernel_drop", [i.kernel_drops for i in self.interfaces]),
            ("interface_drop", [i.interface_drops for i in self.interfaces]),
            ("damaged_frame", [self._damaged]),
        ):
            if total := sum(count or 0 for count in counts):
                unseen.add(reason, total)
        return unseen

    def stop(self) -> None:
        """Let nothing more come in; safe to call from a signal handler and from another thread."""
        self._is_stopped = True
        with suppress(OSError):  # closed already, or full: somebody has called before
            os.write(self._waker, b"\0")

    def __iter__(self) -> Iterator[Frames]:
        return self

    def __next__(self) -> Frames:
        return next(self._batches)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the interfaces; rows that were given point to nothing any more."""
        self._batches.close()
        for descriptor in (self._woken, self._waker):
            with suppress(OSError):
                os.close(descriptor)
        self._woken = self._waker = -1

    def _all(self) -> Generator[Frames, None, None]:
        """Give every batch, and an empty one after each time of silence."""
        given_ns = time.monotonic_ns()
        end_ns = FOREVER_NS
        while True:
            if self._is_stopped and end_ns == FOREVER_NS:
                end_ns = time.monotonic_ns() + self._shut()
                self.files[0].ended_ns = time.time_ns()
            # Decided once: what a look that is not the last held back is still to come.
            is_last = self._is_stopped and time.monotonic_ns() >= end_ns
            frames = self._look(is_last=is_last)
            if len(frames):
                self.files[0].frames += len(frames)
                self.bytes_read += int(frames.captured_bytes.sum(dtype=np.int64))
                if self.files[0].first_ns is None:
                    self.files[0].first_ns = int(frames.time_ns[0])
                yield frames
                if not self._is_stopped:
                    self._rest()
            elif is_last:
                return
            elif frames.until_ns is None:
                continue  # none of what there was passed the filter
            elif time.monotonic_ns() - given_ns >= self._wait_ns:
                yield frames
            else:
                left_ns = min(given_ns + self._wait_ns, end_ns) - time.monotonic_ns()
                self._wait(max(left_ns, 0))
                continue
            given_ns = time.monotonic_ns()

    def _shut(self) -> int:
        """Let nothing more come in; tell for how many nanoseconds there may be more to take."""
        raise NotImplementedError

    def _look(self, *, is_last: bool) -> Frames:
        """Give what there is, or an empty batch that says how far time has come."""
        raise NotImplementedError

    def _wait(self, nanoseconds: int) -> None:
        """Wait until there is something, but no longer."""
        raise NotImplementedError

    def _rest(self) -> None:
        """Let frames gather before the next look, if that is safe: each look costs a millisecond at least."""


def open_live(  # noqa: PLR0913 - each is a question of its own, asked by name
    interfaces: Sequence[str],
    *,
    expression: str | None = None,
    snaplen: int = SNAPLEN,
    ring_bytes: int = RING_BYTES,
    wait_ns: int = WAIT_NS,
    immediate: bool = False,
    promiscuous: bool = True,
    engine: Literal["ring", "libpcap"] | None = None,
) -> LiveCapture:
    """Capture from interfaces of this machine.

    Parameters
    ----------
    interfaces : sequence of str
        Their names; ``any`` for all there are.
    expression : str, optional
        What is let through, as tcpdump takes it; everything by default. The kernel drops the rest.
    snaplen : int
        Bytes kept of each frame.
    ring_bytes : int
        Memory of each interface that the kernel fills while nobody takes frames.
    wait_ns : int
        An empty batch is given after so long a silence. The kernel hands over frames after about as long at most.
    immediate : bool
        Hand frames over within some milliseconds, at the cost of more work where there are few.
    promiscuous : bool
        Take frames that are for others too.
    engine : str, optional
        ``ring``, of Linux, or ``libpcap``, of all others; by default what the system has.

    Returns
    -------
    LiveCapture

    Raises
    ------
    UsageError
        The filter does not compile, or the interfaces make no sense together.
    CaptureError
        There is no such interface, or no right to capture.
    """
    names = list(interfaces)
    if not names:
        raise UsageError("no interface was named")
    if len(set(names)) < len(names):
        raise UsageError("an interface is named twice; its frames would be counted twice")
    if "any" in names and len(names) > 1:
        raise UsageError("'any' is all interfaces; name it alone, or those that are meant")
    if len(names) > MOST_INTERFACES:
        raise UsageError(f"{len(names)} interfaces were named; {MOST_INTERFACES} are the most that are captured from")
    for name in names:
        if not name or len(os.fsencode(name)) > MOST_NAME_BYTES or not name.isprintable():
            raise UsageError(f"no interface has the name {name!r}")
    if not 1 <= snaplen <= MOST_SNAPLEN:
        raise UsageError(f"{snaplen} bytes of each frame: 1 to {MOST_SNAPLEN:,} can be kept")
    if not LEAST_RING_BYTES <= ring_bytes <= MOST_RING_BYTES:
        raise UsageError(f"a ring of {ring_bytes:,} bytes: {LEAST_RING_BYTES:,} to {MOST_RING_BYTES:,} are possible")
    wanted = live_filter(expression)
    tick_ms = 1 if immediate else max(1, min(wait_ns // 2, 1000 * MS) // MS)
    if engine == "libpcap" or (engine is None and not _has_rings()):
        from tcpsight.capture.live_libpcap import LibpcapCapture

        return LibpcapCapture(names, expression, (snaplen, ring_bytes, tick_ms), wait_ns)
    from tcpsight.capture.live_rings import RingCapture
    from tcpsight.capture.ring import shape_of

    return RingCapture(names, shape_of(ring_bytes, tick_ms, snaplen), wanted, wait_ns, is_promiscuous=promiscuous)


def _has_rings() -> bool:
    import socket

    return hasattr(socket, "AF_PACKET")
