"""What IP carries: extension headers, and tunnels with another packet in them."""

from __future__ import annotations

import struct
from collections.abc import Callable

from tests.reference.decode_layers import (
    SERVICES,
    Next,
    NoSegmentError,
    Wire,
    ethernet_after,
    ethertype,
    fits_ip,
    labels,
    looks_like_ethernet,
)


class OrdinaryUdpError(Exception):
    """This is no tunnel after all."""


def behind_ip(wire: Wire, end: int, protocol: int) -> Next:
    """Enter what an IP packet that ends at `end` carries."""
    match protocol:
        case 17:
            return udp(wire, end)
        case 4 | 41:
            wire.enter("ip_in_ip", end)
            return 0x0800 if protocol == 4 else 0x86DD
        case 47:
            return gre(wire, end)
        case 50:
            raise NoSegmentError("encrypted_packet")
        case 97:
            if wire.take(2)[0] >> 4 != 3:
                raise NoSegmentError("malformed_link")
            wire.enter("ethernet_in_ip", end)
            return "ethernet"
        case 108:
            raise NoSegmentError("compressed")
        case 115:
            if wire.take(4) == bytes(4):
                raise NoSegmentError("not_tcp")
            return l2tp_session(wire, end)
        case 137:
            wire.enter("mpls_in_ip", end)
            return 0x8847
    raise NoSegmentError("not_tcp")


def gre(wire: Wire, end: int) -> Next:
    """RFC 2784, 2890, 2637; ERSPAN and WCCP."""
    bits, protocol = struct.unpack(">HH", wire.peek(4))
    version = bits & 7
    if bits & 0x4000 or version > 1:
        raise NoSegmentError("malformed_link")
    if version == 1 and not bits & 0x1000:
        return "nothing"
    optional = [bits & 0x8000, bits & 0x2000, bits & 0x1000, version == 1 and bits & 0x80]
    wire.take(4 + 4 * sum(map(bool, optional)))
    if protocol == 0x88BE:
        wire.enter("erspan", end)
        wire.take(8 if bits & 0x1000 else 0)
        return "ethernet"
    if protocol == 0x22EB:
        wire.enter("erspan", end)
        head = wire.peek(12)
        if head[0] >> 4 != 2:
            raise NoSegmentError("malformed_link")
        wire.take(20 if head[11] & 1 else 12)
        return "ip" if head[10] >> 2 & 31 == 2 else "ethernet"
    is_network = protocol == 0x6558 and bits & 0x2000 and version == 0
    wire.enter("nvgre" if is_network else "gre", end)
    if protocol == 0x883E:
        wire.take(0 if fits_ip(wire) else 4)
        return 0x0800
    return ethertype(protocol)


def udp(wire: Wire, end: int) -> Next:
    """A tunnel by its port, if its header fits; the destination's first."""
    if end - wire.at < 8 or len(wire.rest()) < 8:
        raise NoSegmentError("not_tcp")
    source, destination, _, _ = struct.unpack(">HHHH", wire.take(8))
    start = wire.at
    for port in (destination, source):
        if port in TUNNELS:
            try:
                return TUNNELS[port](wire, end)
            except OrdinaryUdpError:
                wire.at = start
    raise NoSegmentError("not_tcp")


def head_of(wire: Wire, end: int, size: int) -> bytes:
    """Read a header that the packet must have room for; if it has, it should have been captured."""
    if end - wire.at < size:
        raise OrdinaryUdpError
    return wire.peek(size)


def vxlan(wire: Wire, end: int) -> Next:
    flags, middle, _, last = struct.unpack(">B3s3sB", head_of(wire, end, 8))
    has_group = flags == 0x88
    if flags not in (0x08, 0x88) or last or (any(middle) and not has_group):
        raise OrdinaryUdpError
    wire.take(8)
    wire.enter("vxlan", end)
    return "ethernet"


def vxlan_gpe(wire: Wire, end: int) -> Next:
    flags, reserved, protocol, _, last = struct.unpack(">BHB3sB", head_of(wire, end, 8))
    if flags >> 3 != 1 or reserved or last:
        raise OrdinaryUdpError
    wire.take(8)
    wire.enter("vxlan", end)
    return SERVICES.get(protocol, "nothing") if flags & 4 else "ethernet"


def geneve(wire: Wire, end: int) -> Next:
    first, flags, protocol, _, last = struct.unpack(">BBH3sB", head_of(wire, end, 8))
    size = 8 + 4 * (first & 63)
    if first >> 6 or flags & 63 or last or protocol < 0x600 or end - wire.at < size:
        raise OrdinaryUdpError
    wire.enter("geneve", end)
    wire.take(size)
    return int(protocol)


def gtp(wire: Wire, end: int) -> Next:
    flags, message, length, _ = struct.unpack(">BBHI", head_of(wire, end, 8))
    if flags >> 3 != 6 or message != 255 or end - wire.at < 8 + length:
        raise OrdinaryUdpError
    start = wire.at
    if flags & 7:
        wire.take(12)
        following = wire.captured[wire.at - 1] if flags & 4 else 0
        extensions = 0
        while following:
            if extensions == 16:
                raise NoSegmentError("too_deep")
            words = wire.peek(1)[0]
            if words == 0:
                raise NoSegmentError("malformed_link")
            following = wire.take(4 * words)[-1]
            extensions += 1
    else:
        wire.at = start + 8
    wire.enter("gtp", end)
    return "ip"


def teredo(wire: Wire, end: int) -> Next:
    data, start = wire.rest(), 0
    if len(data) >= 4 and data[:2] == b"\0\1":
        start = 13 + data[2] + data[3]
    if len(data) >= start + 8 and data[start : start + 2] == b"\0\0":
        start += 8
    if end - wire.at < start + 40:
        raise OrdinaryUdpError
    version, length = struct.unpack(">B3xH", wire.peek(start + 6)[start:])
    if version >> 4 != 6 or end - wire.at < start + 40 + length:
        raise OrdinaryUdpError
    wire.take(start)
    wire.enter("teredo", end)
    return 0x86DD


def mpls_in_udp(wire: Wire, end: int) -> Next:
    if end - wire.at < 8:
        raise OrdinaryUdpError
    ahead = Wire(wire.captured, wire.length, wire.at)
    try:
        labels(ahead)
    except NoSegmentError:
        raise OrdinaryUdpError from None
    if not (fits_ip(ahead) or looks_like_ethernet(ahead.rest()) or looks_like_ethernet(ahead.rest()[4:])):
        raise OrdinaryUdpError
    wire.enter("mpls_in_ip", end)
    return 0x8847


def tzsp(wire: Wire, end: int) -> Next:
    if end - wire.at < 5:
        raise OrdinaryUdpError
    if wire.peek(4) not in (b"\1\0\0\1", b"\1\1\0\1"):
        raise OrdinaryUdpError
    wire.take(4)
    for _ in range(32):
        kind, size = wire.peek(2)
        wire.take(1)
        if kind == 1:
            wire.enter("tzsp", end)
            return "ethernet"
        if kind:
            wire.at += 1 + size
    raise NoSegmentError("too_deep")


def l2tp(wire: Wire, end: int) -> Next:
    head = head_of(wire, end, 8)
    (bits,) = struct.unpack(">H6x", head)
    if head[:4] == b"\0\3\0\0":
        wire.take(8)
        return l2tp_session(wire, end)
    has_length, has_numbers, has_offset = bits & 0x4000, bits & 0x0800, bits & 0x0200
    if bits & ~0x4B00 != 2:
        raise OrdinaryUdpError
    size = 6
    if has_length:
        if end - wire.at < int.from_bytes(head[2:4], "big"):
            raise OrdinaryUdpError
        size += 2
    if has_numbers:
        size += 4
    if has_offset:
        size += 2 + int.from_bytes(wire.peek(size + 2)[size:], "big")
    if end - wire.at < size:
        raise OrdinaryUdpError
    wire.enter("l2tp", end)
    wire.take(size)
    return "ppp"


def l2tp_session(wire: Wire, end: int) -> Next:
    """Cookie and sublayer have lengths that only the two ends know."""
    wire.enter("l2tp", end)
    return ethernet_after(wire, (0, 4, 8, 12))


def esp_in_udp(wire: Wire, end: int) -> Next:
    security = wire.rest()[:4]
    is_reserved = int.from_bytes(security, "big") < 256
    if end - wire.at < 12 or len(security) < 4 or is_reserved or (end - wire.at) % 4:
        raise OrdinaryUdpError
    raise NoSegmentError("encrypted_packet")


def wireguard(wire: Wire, end: int) -> Next:
    if end - wire.at < 32 or wire.rest()[:4] != b"\4\0\0\0":
        raise OrdinaryUdpError
    raise NoSegmentError("encrypted_packet")


TUNNELS: dict[int, Callable[[Wire, int], Next]] = {
    1701: l2tp,
    2152: gtp,
    3544: teredo,
    4500: esp_in_udp,
    4789: vxlan,
    4790: vxlan_gpe,
    6081: geneve,
    6635: mpls_in_udp,
    8472: vxlan,
    37008: tzsp,
    51820: wireguard,
}
