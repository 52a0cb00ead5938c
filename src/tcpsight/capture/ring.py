"""One interface's packet ring: a socket of the Linux kernel that writes frames into memory shared with it.

Theory of operation
-------------------
A packet socket without a protocol receives nothing. So the ring is made, the filter set and the memory mapped first,
and binding to the interface, with all protocols, is the last step: nothing that the filter would not let through ever
comes in. The kernel fills one block of the ring after the other and hands a block over when it is full, or when nothing
was added to it between two ticks of a clock: so a frame waits for two ticks at most. Blocks are given back when their
rows have been used; when the kernel finds none free, it drops frames and counts them.

An interface that goes down and comes up again stays bound. One that is removed and made again has another number: it is
found again by its name, and the same socket bound to it, which needs no right that was given up since.

What it cannot see: what happened on an interface while it was away, and frames before the first look at one that came
back.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from tcpsight.capture._ring import BlockWalk
from tcpsight.errors import CaptureError

if TYPE_CHECKING:
    from tcpsight.capture._ring import RingMemory
    from tcpsight.capture.live_filter import LiveFilter
    from tcpsight.capture.reader import CaptureInterface

ANY = "any"
"""All interfaces, as tcpdump calls them."""

LINK_TYPE_LINUX_SLL2 = 276
LINK_TYPES = {1: 1, 772: 1, 0xFFFE: 101, 519: 101, 801: 105, 802: 119, 803: 127}
"""Link type of interfaces by their hardware type (ARPHRD_ of ``linux/if_arp.h``); of all others frames are cooked:
taken without link header, since nobody knows how long that is, with one of LINKTYPE_LINUX_SLL2 in its place."""

# linux/if_packet.h, linux/if_ether.h, linux/sockios.h, asm-generic/socket.h
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_RX_RING = 5
PACKET_STATISTICS = 6
PACKET_VERSION = 10
PACKET_RESERVE = 12
TPACKET_V3 = 2
PACKET_MR_PROMISC = 1
ETH_P_ALL = 3
SO_ATTACH_FILTER = 26
SIOCGIFNAME = 0x8910
SIOCGIFFLAGS, SIOCGIFHWADDR, SIOCGIFINDEX = 0x8913, 0x8927, 0x8933
IFF_UP = 1

DROPS_EVERY_NS = 1_000_000_000

RESERVED_BYTES = 32
"""Room in front of each frame for what is written there: a VLAN tag, a cooked header."""

RING_FRAME_BYTES = 2048
"""Rings of this version have no frames of a size; the kernel asks for one nevertheless."""

NO_RIGHT = (
    "capturing needs the right CAP_NET_RAW, which this process does not have: run as root, or give it to the program "
    "that runs tcpsight with 'setcap cap_net_raw+ep', or use the unit in contrib/systemd"
)

_libc = ctypes.CDLL(None, use_errno=True)


class RingShape(NamedTuple):
    """How a ring is laid out.

    Attributes
    ----------
    block_bytes, blocks : int
        So many blocks of that size.
    tick_ms : int
        After one to two of these the kernel hands over a block that is not full.
    snaplen : int
        How much is kept of each frame.
    """

    block_bytes: int
    blocks: int
    tick_ms: int
    snaplen: int


class Ring:
    """The frames of one interface.

    Parameters
    ----------
    name : str
        Of the interface, or `ANY`.
    index : int
        Its place among the interfaces of the capture.
    shape : RingShape
        How its ring is laid out.
    memory : RingMemory
        Where it is to be mapped.

    Attributes
    ----------
    link_type : int
        LINKTYPE_ number of its frames.
    index : int
        Its place among the interfaces of the capture.
    walk : BlockWalk
        What makes rows of blocks.
    is_away : bool
        Whether the interface was removed and is looked for.
    received, dropped : int
        Frames that the filter let through, the dropped ones included; those that found no free block.

    Raises
    ------
    CaptureError
        There is no such interface, or no right to capture.
    """

    def __init__(self, name: str, index: int, shape: RingShape, memory: RingMemory) -> None:
        self.name = name
        self.received = self.dropped = 0
        self.is_away = False
        self.index = index
        self._shape = shape
        self._memory = memory
        self._number = self._hardware = 0
        try:
            self._open()
        except OSError as error:
            raise self._failure(self._why(error)) from error

    def _open(self) -> None:
        link_type = LINK_TYPE_LINUX_SLL2
        if self.name != ANY:
            # Any socket will do to ask, and one of another kind needs no right: a wrong name is told first.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
                self._number, self._hardware = self._look_up(asked)
            link_type = LINK_TYPES.get(self._hardware, LINK_TYPE_LINUX_SLL2)
        self.link_type = link_type
        self.is_cooked = link_type == LINK_TYPE_LINUX_SLL2
        kind = socket.SOCK_DGRAM if self.is_cooked else socket.SOCK_RAW
        self._drops_file = self._open_drops()
        self._first_interface_drops = self._read_drops()
        self._next_drops_ns = 0
        self.socket = socket.socket(socket.AF_PACKET, kind | socket.SOCK_CLOEXEC, 0)
        shape = self._shape
        self.walk = BlockWalk(
            first=self.index * self._memory.ring_bytes,
            block_bytes=shape.block_bytes,
            blocks=shape.blocks,
            snaplen=shape.snaplen,
            link_type=link_type,
            interface_id=self.index,
        )
        try:
            self._make_ring()
        except BaseException:
            self.socket.close()
            raise

    def _make_ring(self) -> None:
        """Ask the kernel for the ring and map it."""
        shape, asked = self._shape, self.socket
        asked.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        asked.setsockopt(SOL_PACKET, PACKET_RESERVE, RESERVED_BYTES)
        frames = shape.blocks * (shape.block_bytes // RING_FRAME_BYTES)
        request = (shape.block_bytes, shape.blocks, RING_FRAME_BYTES, frames, shape.tick_ms, 0, 0)
        asked.setsockopt(SOL_PACKET, PACKET_RX_RING, struct.pack("=7I", *request))
        if not self._memory.attach(self.index, asked.fileno()):
            raise OSError(12, "the ring cannot be mapped")

    def set_filter(self, wanted: LiveFilter) -> None:
        """Let the kernel pass on only what a filter lets through."""
        self._attach(wanted.program(self.link_type, self._shape.snaplen))

    def _attach(self, program: bytes) -> None:
        kept = ctypes.create_string_buffer(program, len(program))
        # struct sock_fprog: a length and a pointer
        described = struct.pack("@HP", len(program) // 8, ctypes.addressof(kept))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)

    def begin(self, *, is_promiscuous: bool) -> None:
        """Let frames come in."""
        self._is_promiscuous = is_promiscuous
        try:
            self._bind()
        except OSError as error:
            raise self._failure(self._why(error)) from error

    def _bind(self) -> None:
        # Not by Python, which knows interfaces by name only: struct sockaddr_ll
        where = struct.pack("=HHi12x", socket.AF_PACKET, socket.htons(ETH_P_ALL), self._number)
        if _libc.bind(self.fileno(), where, len(where)):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        if self._is_promiscuous and self.name != ANY and self._hardware != 772:
            request = struct.pack("=iHH8x", self._number, PACKET_MR_PROMISC, 0)
            with suppress(OSError):  # it is not Ethernet: there is nothing that others would not be shown
                self.socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)

    def shut(self) -> None:
        """Let nothing more come in; what the ring holds stays."""
        self._attach(struct.pack("=HBBI", 0x06, 0, 0, 0))

    def fileno(self) -> int:
        """Give the descriptor to be polled."""
        return self.socket.fileno()

    def look_after(self) -> None:
        """Take note of an interface that went down or away; bind to one that came back."""
        with suppress(OSError):
            self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # reading it clears it
        if self.name == ANY:
            return
        try:
            number, hardware = self._look_up(self.socket)
        except OSError:
            self.is_away = True
            return
        if number == self._number and not self.is_away:
            return
        self.is_away = True
        if hardware != self._hardware:
            return  # its frames would not be what everyone was told
        with suppress(OSError):
            self._number = number
            self._bind()
            self.is_away = False

    @property
    def is_up(self) -> bool:
        """Whether the interface, which is not `ANY`, is there and up."""
        try:
            answer = self._ask(self.socket, SIOCGIFFLAGS)
        except OSError:
            return False
        return bool(struct.unpack_from("=H", answer, 16)[0] & IFF_UP)

    def count(self, interface: CaptureInterface, *, is_last: bool) -> None:
        """Bring the counts up to date, here and in what is told of the interface; reading sets the kernel's back.

        What the interface itself dropped costs more to ask: that is done once a second, and when it is the last time.
        """
        packets, drops, _ = struct.unpack("=3I", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12))
        self.received += packets
        self.dropped += drops
        interface.kernel_drops = self.dropped
        at_ns = time.monotonic_ns()
        if at_ns < self._next_drops_ns and not is_last:
            return
        self._next_drops_ns = at_ns + DROPS_EVERY_NS
        now = self._read_drops()
        if now is not None and self._first_interface_drops is not None:
            # A device that was made again counts from 0.
            self._first_interface_drops = min(self._first_interface_drops, now)
            interface.interface_drops = max(now - self._first_interface_drops, interface.interface_drops or 0)

    def _open_drops(self) -> list[int]:
        """Open what tells of frames that the interface itself had no room for, while that is still allowed."""
        found: list[int] = []
        for name in ("rx_missed_errors", "rx_fifo_errors"):
            with suppress(OSError):
                path = os.path.join("/sys/class/net", self.name, "statistics", name)  # noqa: PTH118 - any name
                found.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        return found

    def _read_drops(self) -> int | None:
        try:
            return sum(int(os.pread(each, 32, 0)) for each in self._drops_file) if self._drops_file else None
        except (OSError, ValueError):
            return None  # the interface is away

    def close(self) -> None:
        """Give the ring back."""
        self._memory.detach(self.index)
        self.socket.close()
        while self._drops_file:
            os.close(self._drops_file.pop())

    def name_of(self, number: int) -> str | None:
        """Tell what an interface is called that has this number now; None if there is none."""
        with suppress(OSError):
            answer: Any = fcntl.ioctl(self.fileno(), SIOCGIFNAME, struct.pack("16xi20x", number))
            return os.fsdecode(bytes(answer)[:16].partition(b"\0")[0])
        return None

    def _look_up(self, asked: socket.socket) -> tuple[int, int]:
        """Give number and hardware type of the interface."""
        number = struct.unpack_from("=i", self._ask(asked, SIOCGIFINDEX), 16)[0]
        return number, struct.unpack_from("=H", self._ask(asked, SIOCGIFHWADDR), 16)[0]

    def _ask(self, asked: socket.socket, request: int) -> bytes:
        answer: Any = fcntl.ioctl(asked.fileno(), request, struct.pack("16s24x", os.fsencode(self.name)))
        return bytes(answer)

    def _failure(self, reason: str) -> CaptureError:
        return CaptureError(self.name, -1, reason)

    def _why(self, error: OSError) -> str:
        if isinstance(error, PermissionError):
            return NO_RIGHT
        if error.errno == 19:  # ENODEV
            return f"there is no such interface{existing()}"
        if error.errno == 12:  # ENOMEM
            size = self._memory.ring_bytes >> 10
            return f"there is no memory for a ring of {size:,} KiB, which stays in memory: ask for a smaller one"
        return f"cannot be captured from: {error.strerror or error}"


def existing() -> str:
    """List the interfaces that there are."""
    names = [name for _, name in socket.if_nameindex()]
    return f"; there are {', '.join([*names, ANY])}" if names else ""


def shape_of(ring_bytes: int, tick_ms: int, snaplen: int) -> RingShape:
    """Choose blocks: large ones wake less often, and the kernel and whoever reads need several of them.

    Parameters
    ----------
    ring_bytes : int
        About how large a ring shall be.
    tick_ms : int
        See `RingShape`.
    snaplen : int
        How much is kept of each frame.
    """
    block_bytes = 1 << 20
    while block_bytes > 1 << 16 and ring_bytes < 16 * block_bytes:
        block_bytes >>= 1
    return RingShape(block_bytes, max(ring_bytes // block_bytes, 2), tick_ms, snaplen)
