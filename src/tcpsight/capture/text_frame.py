"""Frames made from tcpdump's text: from hex lines the bytes themselves, without them headers made up from words.

What the words do not say (type of service, and without ``-v`` the time to live, the IP
identification and the checksum) is a neutral value. So two lines with the same words are taken as two packets of
IPv6 with the same headers are: whether one segment was captured twice, or sent twice, is decided where that is known.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from tcpsight.capture.text_line import (
    FRAGMENT,
    MALFORMED,
    MORE_FRAGMENTS,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    TRUNCATED,
    Endpoint,
    IpFields,
    TextSegment,
)

if TYPE_CHECKING:
    from tcpsight.capture.text_sequence import Numbers

LINK_TYPE_ETHERNET = 1
LINK_TYPE_NULL = 0
LINK_TYPE_RAW = 101
LINK_TYPE_LINUX_SLL = 113
LINK_TYPE_LINUX_SLL2 = 276

ETHERTYPE_IPV4, ETHERTYPE_ARP, ETHERTYPE_IPV6 = b"\x08\x00", b"\x08\x06", b"\x86\xdd"
ETHERTYPE_RESERVED = b"\xff\xff"
"""RFC 1701 reserves it: an Ethernet frame that is not IP, and nothing more is known."""
ETHERTYPES_VLAN = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")

ETHERNET_BYTES, IPV4_BYTES, IPV6_BYTES, TCP_BYTES = 14, 20, 40, 20
OPTIONS_LIMIT = 40
"""A TCP header is at most 60 bytes long (RFC 9293 §3.1)."""

_IPV4 = Struct(">BBHHHBBH4s4s")
_IPV6 = Struct(">IHBB16s16s")
_TCP = Struct(">HHIIHHHH")
_MALFORMED_OFFSET = 0x4000
"""A data offset of four words: shorter than a TCP header may be."""


class TextFrame(NamedTuple):
    """One frame: its link type, its bytes, and how many there were on the wire."""

    link_type: int
    data: bytes
    wire_bytes: int


def not_ip_frame(*, is_arp: bool) -> TextFrame:
    """Make the Ethernet header of a frame that is not IP."""
    data = bytes(12) + (ETHERTYPE_ARP if is_arp else ETHERTYPE_RESERVED)
    return TextFrame(LINK_TYPE_ETHERNET, data, len(data))


def cut_ip_frame() -> TextFrame:
    """Make the beginning of an IP header, for a line that says no more was captured."""
    return TextFrame(LINK_TYPE_RAW, b"\x45", IPV4_BYTES)


def bad_ip_frame() -> TextFrame:
    """Make an IP header that contradicts itself, for a line that says so."""
    return TextFrame(LINK_TYPE_RAW, b"\x41" + bytes(IPV4_BYTES - 1), IPV4_BYTES)


_SAYS_IP = re.compile(rb"\bIP(?:v?[46])?\b")
_SAYS_ARP = re.compile(rb"\b(?:ARP|arp)\b")


def says_ip(text: bytes) -> bool:
    """Tell whether a line calls its frame IP."""
    return _SAYS_IP.search(text, 0, 1024) is not None and not says_arp(text)


def says_arp(text: bytes) -> bool:
    """Tell whether a line calls its frame ARP."""
    return _SAYS_ARP.search(text, 0, 1024) is not None


def ip_frame(source: Endpoint, destination: Endpoint, payload: bytes, fields: IpFields, rest_bytes: int) -> TextFrame:
    """Put an IP header before `payload`; `rest_bytes` more were on the wire behind it."""
    length = len(payload) + rest_bytes
    protocol = fields.protocol & 0xFF
    if len(source.address) == 4:
        total = IPV4_BYTES + length
        header = _IPV4.pack(
            0x45, 0, total if total <= 0xFFFF else 0, fields.identification & 0xFFFF, fields.fragment & 0x3FFF,
            fields.ttl, protocol, 0, source.address, destination.address,
        )  # fmt: skip
        return TextFrame(LINK_TYPE_RAW, header + payload, total)
    is_fragment = bool(fields.fragment)
    if is_fragment:  # RFC 8200 §4.5
        offset = (fields.fragment & 0x1FFF) << 3 | bool(fields.fragment & MORE_FRAGMENTS)
        payload = bytes((protocol, 0)) + offset.to_bytes(2, "big") + bytes(4) + payload
        length += 8
        protocol = 44
    header = _IPV6.pack(
        0x60000000, length if length <= 0xFFFF else 0, protocol, fields.ttl, source.address, destination.address
    )
    return TextFrame(LINK_TYPE_RAW, header + payload, IPV6_BYTES + length)


def segment_frame(
    ends: tuple[Endpoint, Endpoint], segment: TextSegment, numbers: Numbers, fields: IpFields
) -> TextFrame:
    """Make the IP and TCP headers of a segment; its payload is on the wire only."""
    source, destination = ends
    options = option_bytes(segment.options, numbers.sack_edges)
    header = _TCP.pack(
        source.port,
        destination.port,
        numbers.sequence,
        numbers.acknowledgment,
        (TCP_BYTES + len(options)) // 4 << 12 | segment.flags & 0x1FF,
        segment.window & 0xFFFF,
        max(segment.checksum, 0),
        segment.urgent & 0xFFFF,
    )
    fields = fields._replace(identification=max(fields.identification, 0), protocol=PROTOCOL_TCP)
    return ip_frame(source, destination, header + options, fields, segment.payload_bytes)


def other_frame(ends: tuple[Endpoint, Endpoint], segment: TextSegment, fields: IpFields) -> TextFrame:
    """Make what can be known of an IP packet that is no whole TCP segment, so that it is counted as what it is."""
    source, destination = ends
    kind = segment.payload_bytes
    if kind == MALFORMED:
        ports = _ports(source, destination)
        payload = ports + bytes(8) + _MALFORMED_OFFSET.to_bytes(2, "big") + bytes(6)
        return ip_frame(source, destination, payload, fields._replace(protocol=PROTOCOL_TCP), 0)
    if kind == TRUNCATED:
        return ip_frame(source, destination, b"", fields._replace(protocol=PROTOCOL_TCP), TCP_BYTES)
    if kind == FRAGMENT or fields.fragment:
        fields = fields._replace(fragment=fields.fragment or 1, protocol=PROTOCOL_TCP)
        return ip_frame(source, destination, b"", fields, 0)
    protocol = fields.protocol
    if protocol < 0:
        # Besides TCP it is UDP whose ports are printed; SCTP and DCCP are as little TCP.
        protocol = PROTOCOL_UDP if source.port >= 0 and segment.protocol == 255 else segment.protocol
    return ip_frame(source, destination, b"", fields._replace(protocol=protocol), 0)


def _ports(source: Endpoint, destination: Endpoint) -> bytes:
    return max(source.port, 0).to_bytes(2, "big") + max(destination.port, 0).to_bytes(2, "big")


_OPTION = re.compile(
    rb"\b(?:(mss) (\d+)|(wscale) (\d+)|(sackOK)|(?:TS val|timestamp) (\d+)(?: ecr)? (\d+)"
    rb"|(sack) \d+ ?(?:\{\d+:\d+\})+|(nop)|(eol))"
)
_EDGE = re.compile(rb"[{:](\d{1,10})")
_SACK = re.compile(rb"sack (\d+) ?((?:\{\d+:\d+\})+)")


def sack_edges(options: bytes) -> tuple[int, ...]:
    """Read the edges of the SACK blocks, as printed."""
    blocks = _SACK.search(options) if b"{" in options else None
    return tuple(int(edge) for edge in _EDGE.findall(blocks[2])) if blocks else ()


def option_bytes(text: bytes, edges: tuple[int, ...]) -> bytes:
    """Make the option bytes that tcpdump printed as `text`; options that are unknown here are left out.

    Parameters
    ----------
    text : bytes
        ``mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7``, or the old words.
    edges : tuple of int
        Absolute SACK edges.
    """
    made = bytearray()
    for found in _OPTION.finditer(text):
        mss, size, _, shift, permitted, value, echo, sack, nop, end = found.groups()
        if mss:
            made += b"\x02\x04" + (int(size) & 0xFFFF).to_bytes(2, "big")
        elif shift:
            made += b"\x03\x03" + bytes((int(shift) & 0xFF,))
        elif permitted:
            made += b"\x04\x02"
        elif value:
            made += b"\x08\x0a" + _u32(int(value)) + _u32(int(echo))
        elif sack:
            made += bytes((5, 2 + 4 * len(edges))) + b"".join(map(_u32, edges))
        elif nop:
            made += b"\x01"
        elif end:
            break
        if len(made) > OPTIONS_LIMIT:
            return b""
    return bytes(made) + bytes(-len(made) % 4)


def _u32(number: int) -> bytes:
    return (number & 0xFFFFFFFF).to_bytes(4, "big")


def hex_frame(data: bytearray, ends: tuple[Endpoint, Endpoint] | None, text: bytes, usual: int) -> TextFrame | None:
    """Make a frame of hex lines.

    Parameters
    ----------
    data : bytearray
        The bytes printed, from the IP header (``-x``) or from the link header (``-xx``) on.
    ends : tuple of Endpoint or None
        Who the text line says it is from and to; it overrules the bytes, because captures are made anonymous and
        names are resolved there.
    text : bytes
        The text line, to tell what is not IP.
    usual : int
        Link type of the IP frame before it, which tells where the dump of one that is not IP begins.

    Returns
    -------
    frame : TextFrame or None
        None where the line is about an IP packet and the bytes are not one: tcpdump also dumps parts that it does
        not understand.
    """
    link_type, at = _link(data, ends)
    if ends is None and not says_ip(text):
        made = not_ip_frame(is_arp=says_arp(text))
        if usual != LINK_TYPE_RAW and len(data) > ETHERNET_BYTES:
            return TextFrame(usual, bytes(data), len(data))
        return TextFrame(made.link_type, made.data + bytes(data), made.wire_bytes + len(data))
    if at < 0 or (_TCP_WORDS.search(text) and _protocol(data, at) not in (PROTOCOL_TCP, None)):
        return None
    wire_bytes = max(len(data), at + _ip_bytes(data, at))
    if ends is not None:
        _overrule(data, at, ends)
    return TextFrame(link_type, bytes(data), wire_bytes)


_TCP_WORDS = re.compile(rb" > \S+: (?:Flags \[|tcp \d|[SFRP.]+ )")


def _protocol(data: bytearray, at: int) -> int | None:
    """Give the IPv4 protocol; None for IPv6, where headers may precede it, and where it is cut off."""
    return data[at + 9] if data[at] >> 4 == 4 and len(data) > at + 9 else None


def _is_ip(data: bytearray, at: int) -> bool:
    if len(data) <= at:
        return False
    if data[at] >> 4 == 4:
        return data[at] & 15 >= 5
    return data[at] >> 4 == 6


def _link(data: bytearray, ends: tuple[Endpoint, Endpoint] | None) -> tuple[int, int]:
    """Tell the link type, and where the IP header is; −1 where nothing is like an IP header.

    A MAC address may begin like an IP header, so an ethertype before an IP header is better evidence, and
    the addresses of the text line are better still.
    """
    if _is_ip(data, 0) and ends is not None and data[:40].find(ends[0].address) in (8, 12):
        return LINK_TYPE_RAW, 0
    at = ETHERNET_BYTES
    while bytes(data[at - 2 : at]) in ETHERTYPES_VLAN and at <= ETHERNET_BYTES + 8:
        at += 4
    if bytes(data[at - 2 : at]) in (ETHERTYPE_IPV4, ETHERTYPE_IPV6) and _is_ip(data, at):
        return LINK_TYPE_ETHERNET, at
    if _is_ip(data, 0):
        return LINK_TYPE_RAW, 0
    if bytes(data[:2]) in (ETHERTYPE_IPV4, ETHERTYPE_IPV6) and data[2:4] == b"\0\0" and _is_ip(data, 20):
        return LINK_TYPE_LINUX_SLL2, 20
    if bytes(data[14:16]) in (ETHERTYPE_IPV4, ETHERTYPE_IPV6) and _is_ip(data, 16):
        return LINK_TYPE_LINUX_SLL, 16
    if (data[:3] == b"\0\0\0" or data[1:4] == b"\0\0\0") and _is_ip(data, 4):
        return LINK_TYPE_NULL, 4
    return LINK_TYPE_RAW, -1


def _ip_bytes(data: bytearray, at: int) -> int:
    """Length of the packet by its IP header; 0 where that is cut off."""
    if len(data) < at + 6:
        return 0
    if data[at] >> 4 == 6:
        return IPV6_BYTES + int.from_bytes(data[at + 4 : at + 6], "big")
    return int.from_bytes(data[at + 2 : at + 4], "big")


def _overrule(data: bytearray, at: int, ends: tuple[Endpoint, Endpoint]) -> None:
    """Write the addresses and ports of the text line over those in the bytes, where both are of one kind."""
    size = len(ends[0].address)
    if len(data) < at + 1 or len(ends[1].address) != size or data[at] >> 4 != (4 if size == 4 else 6):
        return
    first = at + (12 if size == 4 else 8)
    if len(data) < first + 2 * size:
        return
    data[first : first + 2 * size] = ends[0].address + ends[1].address
    if size == 4:
        if data[at + 9] not in (PROTOCOL_TCP, PROTOCOL_UDP) or data[at + 6] & 0x1F or data[at + 7]:
            return
        port_at = at + 4 * (data[at] & 15)
    else:
        if data[at + 6] not in (PROTOCOL_TCP, PROTOCOL_UDP):
            return
        port_at = at + IPV6_BYTES
    for position, end in ((port_at, ends[0]), (port_at + 2, ends[1])):
        if end.port >= 0 and len(data) >= position + 2:
            data[position : position + 2] = end.port.to_bytes(2, "big")
