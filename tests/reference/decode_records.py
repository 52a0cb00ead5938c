"""What programs, systems and routers write before a frame; and which header each link type begins with."""

from __future__ import annotations

import struct
from collections.abc import Callable

from tests.reference.decode_layers import (
    Next,
    NoSegmentError,
    Wire,
    avs,
    ethernet,
    ethertype,
    fddi,
    frame_relay,
    line,
    llc_or_ip,
    pppoe,
    prism,
    skipping,
    tag,
    token_ring,
)

MOST_ATTRIBUTES = 32


def cooked(wire: Wire, hardware: int, protocol: int) -> Next:
    """The protocol of a cooked header is no EtherType for netlink, radio and frame relay."""
    if hardware == 824:
        raise NoSegmentError("netlink")
    if hardware in (803, 770):
        return "radiotap" if hardware == 803 else "frame relay"
    return "llc" if protocol == 4 else ethertype(protocol)


def cooked1(wire: Wire) -> Next:
    _, hardware, _, _, protocol = struct.unpack(">HHH8sH", wire.take(16))
    return cooked(wire, hardware, protocol)


def cooked2(wire: Wire) -> Next:
    protocol, _, _, hardware = struct.unpack(">HHIH10x", wire.take(20))
    return cooked(wire, hardware, protocol)


def family(size: int) -> Callable[[Wire], Next]:
    def read(wire: Wire) -> Next:
        head = wire.take(size)[:4]
        for number in (int.from_bytes(head, "little"), int.from_bytes(head, "big")):
            if number == 2:
                return 0x0800
            if number in (10, 24, 28, 30):
                return 0x86DD
        return "nothing"

    return read


def pflog(wire: Wire) -> Next:
    size = wire.peek(4)[0]
    if size < 4:
        raise NoSegmentError("malformed_link")
    wire.take(size + -size % 4)
    return "ip"


def docsis(wire: Wire) -> Next:
    head = wire.peek(6)
    if head[0] >> 6 not in (0, 2):
        return "nothing"
    extended = head[1] if head[0] & 1 else 0
    head = wire.peek(6 + extended)
    if extended >= 3 and head[4] >> 4 in (3, 4) and head[6] >= 0x80:
        raise NoSegmentError("encrypted_link")
    wire.take(6 + extended)
    return "ethernet"


def ppi(wire: Wire) -> Next:
    version, size, wire_type = struct.unpack("<BxHI", wire.peek(8))
    if version or size < 8:
        raise NoSegmentError("malformed_link")
    wire.take(size)
    wire.link_type = wire_type
    return "link"


def pktap(wire: Wire) -> Next:
    size, kind, wire_type = struct.unpack("<III", wire.peek(12))
    if size < 12:
        raise NoSegmentError("malformed_link")
    if kind != 1:
        return "nothing"
    wire.take(size)
    wire.link_type = wire_type
    return "link"


def user2(wire: Wire) -> Next:
    """Old systems of Apple's used a private number for pktap."""
    head = wire.rest()[:12]
    if len(head) == 12:
        size, kind, wire_type = struct.unpack("<III", head)
        if 48 <= size <= 1024 and kind <= 1 and wire_type >> 8 & 0xFF <= 1:
            return pktap(wire)
    raise NoSegmentError("unknown_link_type")


def nflog(wire: Wire) -> Next:
    head = wire.peek(8)
    if head[1]:
        raise NoSegmentError("malformed_link")
    order = ">" if head[6] == 0 and head[7] else "<"
    wire.take(4)
    for _ in range(MOST_ATTRIBUTES):
        size, kind = struct.unpack(order + "HH", wire.peek(4))
        if kind & 0x7FFF == 9:
            wire.take(4)
            return "ip"
        if size < 4:
            raise NoSegmentError("malformed_link")
        # The next attribute is looked at before this one is known to be there.
        wire.at += size + -size % 4
    raise NoSegmentError("too_deep")


DISSECTORS: dict[bytes, Next] = {
    b"ip": 0x0800,
    b"ipv6": 0x86DD,
    b"ppp": "ppp",
    b"eth": "ethernet",
    b"eth_withoutfcs": "ethernet",
    b"eth_maybefcs": "ethernet",
}


def exported(wire: Wire) -> Next:
    following: Next = "nothing"
    for _ in range(MOST_ATTRIBUTES):
        kind, size = struct.unpack(">HH", wire.peek(4))
        value = wire.peek(4 + size)[4:]
        wire.take(4)
        if kind == 0:
            return following
        if kind == 12:
            following = DISSECTORS.get(value.partition(b"\0")[0], "nothing")
        wire.take(size)
    raise NoSegmentError("too_deep")


ERF_KINDS: tuple[tuple[set[int], int, Next], ...] = (
    ({2, 11, 16, 20}, 2, "ethernet"),
    ({1, 10, 15, 19}, 0, "hdlc"),
    ({5, 17}, 4, "hdlc"),
    ({4}, 4, "llc"),
    ({9}, 8, "llc"),
    ({22}, 0, 0x0800),
    ({23}, 0, 0x86DD),
)


def erf(wire: Wire) -> Next:
    more = wire.take(16)[8] >= 0x80
    kind = wire.captured[wire.at - 8] & 0x7F
    extensions = 0
    while more:
        more = wire.take(8)[0] >= 0x80
        extensions += 1
        if more and extensions == MOST_ATTRIBUTES:
            raise NoSegmentError("too_deep")
    for kinds, before, following in ERF_KINDS:
        if kind in kinds:
            wire.take(before)
            return following
    return "nothing"


def juniper(cookie: int, following: Next) -> Callable[[Wire], Next]:
    def read(wire: Wire) -> Next:
        head = wire.peek(4)
        if head[:3] != b"MGC":
            raise NoSegmentError("malformed_link")
        size = 6 + int.from_bytes(wire.peek(6)[4:], "big") if head[3] & 0x80 else 4
        if head[3] & 2:
            wire.take(size + 4)
            return "ip"
        first = wire.rest()[size : size + 1]
        length = cookie
        if cookie and first in (b"\x54", b"\x47"):
            length = cookie + 2 if first == b"\x54" else 8
        wire.take(size + length)
        return following

    return read


def refused(reason: str) -> Callable[[Wire], Next]:
    def read(wire: Wire) -> Next:
        raise NoSegmentError(reason)

    return read


# Signalling, buses, Bluetooth, USB and other things on which there is no TCP.
NO_NETWORK = """139 140 141 142 165 177 186 187 189 190 199 201 203 209 210 211 212 220 227 235 243 245 249 251 254
    255 256 266 271 272 288"""

LINKS: dict[int, Callable[[Wire], Next]] = {
    0: family(4),
    1: ethernet,
    6: token_ring,
    8: skipping(16, "ip"),
    9: line,
    10: fddi,
    12: skipping(0, "ip"),
    14: skipping(0, "ip"),
    50: line,
    51: pppoe,
    100: llc_or_ip,
    101: skipping(0, "ip"),
    104: skipping(0, "hdlc"),
    105: skipping(0, "wifi"),
    106: llc_or_ip,
    107: frame_relay,
    108: family(4),
    109: family(12),
    113: cooked1,
    117: pflog,
    119: prism,
    122: skipping(16, "llc"),
    123: skipping(4, "llc"),
    127: skipping(0, "radiotap"),
    133: juniper(8, "ip"),
    136: juniper(8, "ip"),
    137: juniper(4, "llc"),
    138: tag(18),
    143: docsis,
    149: user2,
    163: avs,
    164: juniper(8, "ip"),
    166: skipping(2, "ppp"),
    167: juniper(0, "ethernet"),
    168: juniper(0, "ethertype"),
    178: juniper(0, "ethernet"),
    179: juniper(0, "ppp"),
    180: juniper(0, "frame relay"),
    181: juniper(0, "hdlc"),
    192: ppi,
    197: erf,
    204: skipping(1, "ppp"),
    205: skipping(1, "hdlc"),
    206: skipping(1, "frame relay"),
    226: skipping(24, "ip"),
    228: skipping(0, 0x0800),
    229: skipping(0, 0x86DD),
    239: nflog,
    240: skipping(4, "ethernet"),
    241: skipping(12, "ethernet"),
    252: exported,
    253: refused("netlink"),
    258: pktap,
    274: skipping(8, "ethernet"),
    276: cooked2,
    281: tag(18),
    282: skipping(4, "ethernet"),
    284: tag(18),
    285: tag(22),
    65280: skipping(0, "ip"),
} | {int(number): refused("no_network") for number in NO_NETWORK.split()}
