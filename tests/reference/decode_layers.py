"""What stands between a frame's first byte and IP, and between IP and the IP within: one function a header.

Each function takes the bytes from its header on and moves behind it; it gives what follows, as EtherType or as a name,
or raises why there is no segment here. Written from the specifications, one table per family.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

Next = int | str


class NoSegmentError(Exception):
    """Why there is no segment in this frame."""


@dataclass
class Wire:
    """The bytes of a frame: as many as were captured, and how many there were."""

    captured: bytes
    length: int
    at: int = 0
    # Whether `captured` ends where an outer packet does.
    clipped: bool = False
    link_type: int = 0
    # Offset, whether more follow, and identification, where an IP packet turned out to be a fragment.
    fragment: tuple[int, bool, int] | None = None
    has_more: bool = False
    tunnels: list[str] = field(default_factory=list)

    def take(self, size: int) -> bytes:
        """Read the next bytes, all of them or none."""
        taken = self.peek(size)
        self.at += size
        return taken

    def peek(self, size: int) -> bytes:
        """Read ahead."""
        taken = self.captured[self.at : self.at + size]
        if len(taken) < size:
            raise NoSegmentError("malformed_link" if self.clipped else "truncated_frame")
        return taken

    def rest(self) -> bytes:
        """Give all that is left."""
        return self.captured[self.at :]

    def enter(self, kind: str, end: int) -> None:
        """Enter a tunnel in a packet that ends at `end`."""
        if end < len(self.captured):
            self.captured, self.clipped = self.captured[:end], True
        self.length = min(self.length, end)
        self.tunnels.append(kind)


def ethertype(number: int) -> Next:
    """Refuse what is no EtherType."""
    return number if number >= 0x600 else "nothing"


# --- Ethernet and its tags


def ethernet(wire: Wire) -> Next:
    return int.from_bytes(wire.take(14)[12:], "big")


def tag(size: int) -> Callable[[Wire], Next]:
    """Make the reader of a tag that ends in an EtherType."""
    return lambda wire: int.from_bytes(wire.take(size)[-2:], "big")


def skipping(size: int, following: Next) -> Callable[[Wire], Next]:
    """Make the reader of a header that says nothing."""

    def read(wire: Wire) -> Next:
        wire.take(size)
        return following

    return read


def macsec(wire: Wire) -> Next:
    control = wire.peek(6)[0]
    encrypted, changed, explicit = control & 8, control & 4, control & 0x20
    if encrypted or changed:
        raise NoSegmentError("encrypted_link")
    return tag(16 if explicit else 8)(wire)


def pppoe(wire: Wire) -> Next:
    version, code, _, _ = struct.unpack(">BBHH", wire.take(6))
    if version != 0x11:
        raise NoSegmentError("malformed_link")
    return "ppp" if code == 0 else "nothing"


def trill(wire: Wire) -> Next:
    (first,) = struct.unpack(">H", wire.peek(6)[:2])
    wire.take(6 + 4 * (first >> 6 & 31))
    return "ethernet"


SERVICES: dict[int, Next] = {1: 0x0800, 2: 0x86DD, 3: "ethernet", 4: 0x894F, 5: 0x8847}


def nsh(wire: Wire) -> Next:
    first, _, protocol = struct.unpack(">HBB", wire.peek(4))
    words = first & 63
    if first >> 14 or words < 2:
        raise NoSegmentError("malformed_link")
    wire.take(4 * words)
    return SERVICES.get(protocol, "nothing")


def labels(wire: Wire) -> Next:
    for _ in range(16):
        (label,) = struct.unpack(">I", wire.take(4))
        if label >> 8 & 1:
            break
    else:
        raise NoSegmentError("too_deep")
    version = wire.peek(1)[0] >> 4
    if version in (4, 6) and (fits_ip(wire) or not looks_like_ethernet(wire.rest())):
        return 0x0800 if version == 4 else 0x86DD
    return "pseudowire"


def fits_ip(wire: Wire) -> bool:
    """Whether an IP packet would fit here."""
    head = wire.rest()[:6]
    if len(head) < 6:
        return False
    first, ip4_length, ip6_length = struct.unpack(">BxHH", head)
    size = int(40 + ip6_length if first >> 4 == 6 else ip4_length)
    return (first >> 4 == 6 or 0x45 <= first <= 0x4F) and wire.at + size <= wire.length


def looks_like_ethernet(data: bytes) -> bool:
    """Whether these bytes begin with a MAC header before IP or a tag."""
    if len(data) < 15:
        return False
    following, version = data[12:14].hex(), data[14] >> 4
    return (following, version) in (("0800", 4), ("86dd", 6)) or following in ("8100", "88a8")


def pseudowire(wire: Wire) -> Next:
    return ethernet_after(wire, (4, 0))


def ethernet_after(wire: Wire, gaps: tuple[int, ...]) -> Next:
    for gap in gaps:
        if looks_like_ethernet(wire.rest()[gap:]):
            wire.at += gap
            return "ethernet"
    return "nothing"


# --- serial lines and LLC


def line(wire: Wire) -> Next:
    return "hdlc" if wire.peek(2) in (b"\x0f\0", b"\x8f\0") else "ppp"


def hdlc(wire: Wire) -> Next:
    if wire.peek(4)[:2] == b"\xff\x03":
        return "ppp"
    return ethertype(int.from_bytes(wire.take(4)[2:], "big"))


PPP_PROTOCOLS: dict[int, Next] = {0x21: 0x0800, 0x57: 0x86DD, 0x281: 0x8847, 0x283: 0x8847}


def ppp(wire: Wire) -> Next:
    if wire.peek(1) == b"\xff" and wire.peek(2) == b"\xff\x03":
        wire.take(2)
    protocol = wire.peek(1)[0]
    protocol = int.from_bytes(wire.take(1 if protocol & 1 else 2), "big")
    if protocol == 0x53:
        raise NoSegmentError("encrypted_packet")
    if protocol in (0x2D, 0x2F, 0xFB, 0xFD):
        raise NoSegmentError("compressed")
    if protocol == 0x3D:
        begin, end = wire.peek(4)[0] & 0x80, wire.take(4)[0] & 0x40
        if not (begin and end):
            raise NoSegmentError("fragment")
        return "ppp"
    return PPP_PROTOCOLS.get(protocol, "nothing")


def frame_relay(wire: Wire) -> Next:
    if wire.peek(2)[0] & 1:
        raise NoSegmentError("malformed_link")
    size = 2
    while not wire.peek(size)[-1] & 1:
        size += 1
        if size > 4:
            raise NoSegmentError("malformed_link")
    head = wire.peek(size + 2)[size:]
    wire.take(size)
    if head[0] != 3:
        wire.take(2)
        return int.from_bytes(head, "big")
    wire.take(2 if head[1] == 0 else 1)
    return nlpid(wire)


NLPIDS: dict[int, Next] = {0xCC: 0x0800, 0x8E: 0x86DD, 0xCF: "ppp"}


def nlpid(wire: Wire) -> Next:
    number = wire.take(1)[0]
    if number == 0x80:
        return snap(wire, 0)
    return NLPIDS.get(number, "nothing")


def snap(wire: Wire, padding: int) -> Next:
    organisation, (protocol,) = wire.peek(5)[:3].hex(), struct.unpack(">3xH", wire.take(5))
    if organisation in ("000000", "0000f8"):
        return ethertype(protocol)
    if organisation == "0080c2" and protocol in (1, 7):
        wire.take(padding)
        return "ethernet"
    return "nothing"


def llc(wire: Wire) -> Next:
    head = wire.take(3).hex()
    if head == "aaaa03":
        return snap(wire, 2)
    if head == "fefe03":
        return nlpid(wire)
    return 0x0800 if head == "060603" else "nothing"


def llc_or_ip(wire: Wire) -> Next:
    return "llc" if wire.peek(3).hex() in ("aaaa03", "fefe03") else "ip"


def fddi(wire: Wire) -> Next:
    return "llc" if wire.take(13)[0] & 0x30 == 0x10 else "nothing"


def token_ring(wire: Wire) -> Next:
    head = wire.peek(15)
    if head[1] >> 6 != 1:
        return "nothing"
    wire.take(14 + (head[14] & 31 if head[8] >= 0x80 else 0))
    return "llc"


# --- Wi-Fi


def radiotap(wire: Wire) -> Next:
    version, size = struct.unpack("<BxH4x", wire.peek(8))
    if version or size < 8:
        raise NoSegmentError("malformed_link")
    head = wire.take(size)
    present: list[int] = []
    while True:
        if 8 + 4 * len(present) > size:
            raise NoSegmentError("malformed_link")
        present.append(int.from_bytes(head[4 + 4 * len(present) :][:4], "little"))
        if present[-1] < 2**31:
            break
    at, flags = 4 + 4 * len(present), 0
    if present[0] & 1:
        at += -at % 8 + 8
    if present[0] & 2:
        if at >= size:
            raise NoSegmentError("malformed_link")
        flags = head[at]
    if flags & 0x40:
        raise NoSegmentError("damaged_frame")
    return wifi(wire, 4 if flags & 0x20 else 1)


def prism(wire: Wire) -> Next:
    head = wire.peek(8)
    if int.from_bytes(head[:4], "big") >> 12 == 0x80211:
        return avs(wire)
    size = 144 if head[4:] == b"\0\0\0\x90" else int.from_bytes(head[4:], "little")
    if size < 8:
        raise NoSegmentError("malformed_link")
    wire.take(size)
    return "wifi"


def avs(wire: Wire) -> Next:
    cookie, size = struct.unpack(">II", wire.peek(8))
    if cookie >> 12 != 0x80211 or size < 8:
        raise NoSegmentError("malformed_link")
    wire.take(size)
    return "wifi"


def wifi(wire: Wire, alignment: int = 1) -> Next:
    control, more = wire.peek(2)
    kind, subtype = control & 15, control >> 4
    if kind != 8 or subtype & 4:
        raise NoSegmentError("wifi_without_data")
    size = 30 if more & 3 == 3 else 24
    head = wire.peek(size + 2)
    if more & 4 or head[22] & 15:
        raise NoSegmentError("fragment")
    aggregated = False
    if subtype & 8:
        aggregated = head[size] >= 0x80
        size += 6 if more & 0x80 else 2
    size += -size % alignment
    if more & 0x40:
        bodies = [gap for gap in (0, 8) if is_snap(wire.rest()[size + gap :])]
        if aggregated or not bodies:
            raise NoSegmentError("encrypted_wifi")
        size += bodies[0]
    start = wire.at + size
    wire.take(size + 14 if aggregated else size)
    if aggregated:
        (length,) = struct.unpack(">12xH", wire.captured[start : start + 14])
        subframe = 14 + length
        wire.has_more = wire.length - start >= subframe + -subframe % 4 + 14
    return "llc"


def is_snap(data: bytes) -> bool:
    return len(data) >= 8 and data.startswith(b"\xaa\xaa\x03\0\0\0")
