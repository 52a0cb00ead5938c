"""Packets within packets: one function a header, each puts it before what it is given.

What is handed on is `Typed`: an EtherType, and the bytes that it announces. 0x6558 announces an Ethernet frame.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tests.support.pcap import checksum

IPV4, IPV6, ETHERNET, MPLS, NSH, PPP = 0x0800, 0x86DD, 0x6558, 0x8847, 0x894F, 0x880B
MACS = bytes.fromhex("0200000000020200000000aa")
PPP_NUMBERS = {IPV4: 0x21, IPV6: 0x57, MPLS: 0x281}
SERVICES = {IPV4: 1, IPV6: 2, ETHERNET: 3, NSH: 4, MPLS: 5}


class Typed(NamedTuple):
    """Bytes, and the EtherType that announces them."""

    protocol: int
    data: bytes


def typed(packet: bytes) -> Typed:
    """Take an IP packet for what it is."""
    return Typed(IPV4 if packet[0] >> 4 == 4 else IPV6, packet)


# --- IP


def over_ip(number: int, payload: bytes, version: int = 4) -> Typed:
    """Put an outer IP header before something with a protocol number."""
    if version == 6:
        head = struct.pack(">IHBB16s16s", 6 << 28, len(payload), number, 60, bytes(15) + b"\7", bytes(15) + b"\x08")
        return Typed(IPV6, head + payload)
    fields = (0x45, 0, 20 + len(payload), 4660, 0x4000, 60, number, 0, bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2)))
    head = struct.pack(">BBHHHBBH4s4s", *fields)
    return Typed(IPV4, head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload)


def over_udp(port: int, payload: bytes, version: int = 4, source: int = 50000) -> Typed:
    """Put UDP, without a checksum, and IP before something with a port."""
    return over_ip(17, struct.pack(">HHHH", source, port, 8 + len(payload), 0) + payload, version)


def ip_in_ip(inner: Typed, version: int = 4) -> Typed:
    return over_ip(4 if inner.protocol == IPV4 else 41, inner.data, version)


def authenticated(packet: Typed) -> Typed:
    """Put an authentication header between IPv4 and what it carries."""
    data = packet.data
    return over_ip(51, struct.pack(">BBHII12s", data[9], 4, 0, 77, 1, bytes(12)) + data[20:])


# --- Ethernet


def ethernet(inner: Typed) -> Typed:
    return Typed(ETHERNET, MACS + struct.pack(">H", inner.protocol) + inner.data)


def ethernet_llc(inner: Typed) -> Typed:
    """An IEEE 802.3 frame: a length, LLC, SNAP."""
    body = llc(inner)
    return Typed(ETHERNET, MACS + struct.pack(">H", len(body)) + body)


def llc(inner: Typed, organisation: int = 0) -> bytes:
    return b"\xaa\xaa\x03" + organisation.to_bytes(3, "big") + struct.pack(">H", inner.protocol) + inner.data


def tagged(kind: int, inner: Typed, tag: bytes = b"\0\7") -> Typed:
    return Typed(kind, tag + struct.pack(">H", inner.protocol) + inner.data)


def backbone(inner: Typed) -> Typed:
    return Typed(0x88E7, b"\0\0\1\2" + ethernet(inner).data)


def fabricpath(inner: Typed) -> Typed:
    return Typed(0x8903, b"\x40\x20" + ethernet(inner).data)


def trill(inner: Typed, options: bytes = b"") -> Typed:
    words = len(options) // 4
    return Typed(0x22F3, struct.pack(">HHH", words << 6 | 9, 1, 2) + options + ethernet(inner).data)


def macsec(inner: Typed, control: int = 0) -> Typed:
    channel = bytes(8) if control & 0x20 else b""
    return Typed(0x88E5, struct.pack(">BBI", control, 0, 9) + channel + struct.pack(">H", inner.protocol) + inner.data)


def nsh(inner: Typed) -> Typed:
    return Typed(NSH, struct.pack(">HBBI", 0x0FC6, 1, SERVICES[inner.protocol], 0x000100FF) + bytes(16) + inner.data)


# --- labels and serial lines


def labelled(inner: Typed, count: int = 1) -> Typed:
    stack = [struct.pack(">I", (16 + i) << 12 | (i == count - 1) << 8 | 64) for i in range(count)]
    return Typed(MPLS, b"".join(stack) + inner.data)


def pseudowire(inner: Typed, control_word: bytes = bytes(4)) -> Typed:
    return Typed(MPLS, labelled(Typed(ETHERNET, control_word + ethernet(inner).data), 2).data)


def ppp(inner: Typed, *, framing: bytes = b"", is_short: bool = False) -> Typed:
    number = PPP_NUMBERS[inner.protocol]
    return Typed(PPP, framing + number.to_bytes(1 if is_short else 2, "big") + inner.data)


def multilink(inner: Typed, flags: int = 0xC0) -> Typed:
    return Typed(PPP, b"\0\x3d" + bytes((flags, 0, 0, 1)) + ppp(inner).data)


def pppoe(inner: Typed) -> Typed:
    data = ppp(inner).data
    return Typed(0x8864, struct.pack(">BBHH", 0x11, 0, 5, len(data)) + data)


def hdlc(inner: Typed) -> bytes:
    return struct.pack(">BBH", 0x0F, 0, inner.protocol) + inner.data


def frame_relay(inner: Typed, address: bytes = b"\x18\x41") -> bytes:
    """RFC 2427, with a number for IP and SNAP for the rest."""
    number = {IPV4: b"\xcc", IPV6: b"\x8e"}.get(inner.protocol)
    if number:
        return address + b"\3" + number + inner.data
    return address + b"\3\0\x80" + bytes(3) + struct.pack(">H", inner.protocol) + inner.data


# --- tunnels


def gre(inner: Typed, bits: int = 0, version: int = 4, protocol: int | None = None) -> Typed:
    """Each of checksum, key and sequence number is four zeros."""
    words = sum(bool(bits & bit) for bit in (0x8000, 0x2000, 0x1000))
    head = struct.pack(">HH", bits, inner.protocol if protocol is None else protocol) + bytes(4 * words)
    return over_ip(47, head + inner.data, version)


def pptp(inner: Typed, *, acknowledges: bool = False) -> Typed:
    data = ppp(inner, framing=b"\xff\3").data
    head = struct.pack(">HHHHI", 0x3081 if acknowledges else 0x3001, PPP, len(data), 9, 1)
    return over_ip(47, head + bytes(4 * acknowledges) + data)


def erspan(inner: Typed, kind: int) -> Typed:
    frame = ethernet(inner).data
    if kind == 1:
        return gre(Typed(0x88BE, frame))
    if kind == 2:
        return gre(Typed(0x88BE, struct.pack(">II", 0x10070001, 3) + frame), 0x1000)
    flags = 0x0001 if kind == 4 else 0
    head = struct.pack(">IIHH", 0x20070001, 3, 0, flags) + (bytes(8) if flags else b"")
    return gre(Typed(0x22EB, head + frame), 0x1000)


def vxlan(inner: Typed, flags: int = 0x08000000, port: int = 4789, version: int = 4) -> Typed:
    return over_udp(port, struct.pack(">II", flags, 42 << 8) + ethernet(inner).data, version)


def vxlan_gpe(inner: Typed) -> Typed:
    return over_udp(4790, struct.pack(">II", 0x0C000000 | SERVICES[inner.protocol], 42 << 8) + inner.data)


def geneve(inner: Typed, options: bytes = b"", version: int = 4) -> Typed:
    head = struct.pack(">BBHI", len(options) // 4, 0, inner.protocol, 42 << 8)
    return over_udp(6081, head + options + inner.data, version)


def gtp(inner: Typed, extensions: tuple[tuple[int, bytes], ...] = (), flags: int = 0x30, version: int = 4) -> Typed:
    """Extensions are their types and contents, two bytes less than a multiple of four."""
    optional = b""
    if extensions or flags & 7:
        kinds = [kind for kind, _ in extensions] + [0]
        optional = bytes((0, 1, 0, kinds[0]))
        for (_, content), following in zip(extensions, kinds[1:], strict=True):
            optional += bytes((len(content) // 4 + 1,)) + content + bytes((following,))
    flags |= 4 if extensions else 0
    body = optional + inner.data
    return over_udp(2152, struct.pack(">BBHI", flags, 255, len(body), 7) + body, version, source=2152)


def teredo(inner: Typed, before: bytes = b"") -> Typed:
    return over_udp(3544, before + inner.data)


def l2tp(inner: Typed, bits: int = 2) -> Typed:
    data = ppp(inner, framing=b"\xff\3").data
    size = 6 + 2 * bool(bits & 0x4000) + 4 * bool(bits & 0x0800) + 4 * bool(bits & 0x0200)
    head = struct.pack(">H", bits) + (struct.pack(">H", size + len(data)) if bits & 0x4000 else b"")
    head += struct.pack(">HH", 1, 2) + (bytes(4) if bits & 0x0800 else b"")
    head += b"\0\2\0\0" if bits & 0x0200 else b""
    return over_udp(1701, head + data, source=1701)


def l2tp3(inner: Typed, cookie: bytes = b"", *, is_udp: bool = False) -> Typed:
    body = struct.pack(">I", 77) + cookie + ethernet(inner).data
    return over_udp(1701, b"\0\3\0\0" + body) if is_udp else over_ip(115, body)


def tzsp(inner: Typed, tags: bytes = b"\x0a\1\x2a\0\1") -> Typed:
    return over_udp(37008, b"\1\0\0\1" + tags + ethernet(inner).data)


# --- Wi-Fi and what stands before it


def wifi(inner: Typed, control: int = 0x0208, *, extra: bytes = b"", qos: bytes = b"") -> bytes:
    """`control` as on the wire, the low byte first; `extra` is a fourth address."""
    head = struct.pack("<HH", control, 0) + MACS + MACS[:6] + b"\x10\0" + extra + qos
    return head + llc(inner)


def radiotap(frame: bytes, flags: int = 0) -> bytes:
    return struct.pack("<BBHIQB", 0, 0, 17, 3, 99, flags) + frame


def amsdu(*inners: Typed) -> bytes:
    """A QoS frame with several packets."""
    head = struct.pack("<HH", 0x0288, 0) + MACS + MACS[:6] + b"\x10\0" + b"\x80\0"
    for i, inner in enumerate(inners):
        body = llc(inner)
        head += MACS + struct.pack(">H", len(body)) + body
        head += bytes(-(14 + len(body)) % 4) if i < len(inners) - 1 else b""
    return head
