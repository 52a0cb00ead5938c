"""Writes small captures byte by byte, so that tests know what is in them.

Nothing here is shared with the code under test: a frame's checksums are real, its lengths are what the
caller says.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

ETHERNET = 1
FLAGS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, "A": 0x10, ".": 0x10, "U": 0x20, "E": 0x40, "W": 0x80}


class Frame(NamedTuple):
    """A frame to write: its time, its captured bytes, its length on the wire (by default that of the bytes)."""

    time_ns: int
    data: bytes
    wire_bytes: int = -1
    interface: int = 0


def as_frames(frames: Iterable[Frame | tuple[int, bytes]]) -> list[Frame]:
    return [f if isinstance(f, Frame) else Frame(*f) for f in frames]


# --- classic pcap


def pcap_header(
    *, endian: str = "<", nanoseconds: bool = False, link_type: int = ETHERNET, snaplen: int = 262144
) -> bytes:
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    return struct.pack(endian + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link_type)


def pcap_record(frame: Frame, *, endian: str = "<", nanoseconds: bool = False) -> bytes:
    seconds, fraction = divmod(frame.time_ns, 10**9)
    wire_bytes = len(frame.data) if frame.wire_bytes < 0 else frame.wire_bytes
    fraction = fraction if nanoseconds else fraction // 1000
    return struct.pack(endian + "IIII", seconds, fraction, len(frame.data), wire_bytes) + frame.data


def pcap_bytes(
    frames: Iterable[Frame | tuple[int, bytes]],
    *,
    endian: str = "<",
    nanoseconds: bool = False,
    link_type: int = ETHERNET,
    snaplen: int = 262144,
) -> bytes:
    """Write a classic pcap file of ``(time_ns, bytes)`` or `Frame`."""
    header = pcap_header(endian=endian, nanoseconds=nanoseconds, link_type=link_type, snaplen=snaplen)
    return header + b"".join(pcap_record(f, endian=endian, nanoseconds=nanoseconds) for f in as_frames(frames))


# --- pcapng


class Interface(NamedTuple):
    """An interface to describe; `ticks` is its if_tsresol byte (6: µs, 9: ns, 0x80 | n: 2⁻ⁿ s), None for no byte."""

    link_type: int = ETHERNET
    ticks: int | None = None
    offset_seconds: int | None = None
    name: str = ""
    snaplen: int = 0

    def to_ticks(self, time_ns: int) -> int:
        time_ns -= (self.offset_seconds or 0) * 10**9
        resolution = 6 if self.ticks is None else self.ticks
        per_second: int = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
        # The smallest tick count at or after the instant, so that whole ticks come back exactly.
        return -(-time_ns * per_second // 10**9)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def pcapng_option(code: int, value: bytes, *, endian: str = "<") -> bytes:
    return struct.pack(endian + "HH", code, len(value)) + padded(value)


def pcapng_block(kind: int, body: bytes, *, endian: str = "<") -> bytes:
    length = struct.pack(endian + "I", 12 + len(padded(body)))
    return struct.pack(endian + "I", kind) + length + padded(body) + length


def section_header(*, endian: str = "<", length: int = -1) -> bytes:
    return pcapng_block(0x0A0D0D0A, struct.pack(endian + "IHHq", 0x1A2B3C4D, 1, 0, length), endian=endian)


def interface_description(interface: Interface, *, endian: str = "<") -> bytes:
    options = b""
    if interface.name:
        options += pcapng_option(2, interface.name.encode(), endian=endian)
    if interface.ticks is not None:
        options += pcapng_option(9, bytes([interface.ticks]), endian=endian)
    if interface.offset_seconds is not None:
        options += pcapng_option(14, struct.pack(endian + "q", interface.offset_seconds), endian=endian)
    if options:
        options += bytes(4)
    body = struct.pack(endian + "HHI", interface.link_type, 0, interface.snaplen) + options
    return pcapng_block(1, body, endian=endian)


def enhanced_packet(frame: Frame, ticks: int, *, endian: str = "<", options: bytes = b"") -> bytes:
    wire_bytes = len(frame.data) if frame.wire_bytes < 0 else frame.wire_bytes
    head = struct.pack(endian + "IIIII", frame.interface, ticks >> 32, ticks & 0xFFFFFFFF, len(frame.data), wire_bytes)
    return pcapng_block(6, head + padded(frame.data) + options, endian=endian)


def simple_packet(data: bytes, *, endian: str = "<", wire_bytes: int = -1) -> bytes:
    return pcapng_block(3, struct.pack(endian + "I", len(data) if wire_bytes < 0 else wire_bytes) + data, endian=endian)


def obsolete_packet(frame: Frame, ticks: int, *, endian: str = "<", drops: int = 0) -> bytes:
    wire_bytes = len(frame.data) if frame.wire_bytes < 0 else frame.wire_bytes
    words = (frame.interface, drops, ticks >> 32, ticks & 0xFFFFFFFF, len(frame.data), wire_bytes)
    return pcapng_block(2, struct.pack(endian + "HHIIII", *words) + frame.data, endian=endian)


def interface_statistics(interface: int = 0, *, endian: str = "<", **counters: int) -> bytes:
    """Write interface statistics; counters: ``received interface_drops filtered kernel_drops delivered``."""
    codes = {"received": 4, "interface_drops": 5, "filtered": 6, "kernel_drops": 7, "delivered": 8}
    options = b"".join(
        pcapng_option(codes[k], struct.pack(endian + "Q", v), endian=endian) for k, v in counters.items()
    )
    return pcapng_block(5, struct.pack(endian + "III", interface, 0, 0) + options + bytes(4), endian=endian)


def pcapng_bytes(
    frames: Iterable[Frame | tuple[int, bytes]],
    *,
    endian: str = "<",
    interfaces: Sequence[Interface] = (Interface(ticks=9),),
) -> bytes:
    """Write a pcapng file of one section: its interfaces, then an enhanced packet block for each frame."""
    blocks = [section_header(endian=endian)]
    blocks += [interface_description(i, endian=endian) for i in interfaces]
    for frame in as_frames(frames):
        blocks.append(enhanced_packet(frame, interfaces[frame.interface].to_ticks(frame.time_ns), endian=endian))
    return b"".join(blocks)


# --- frames


def checksum(data: bytes) -> int:
    """Give the ones' complement sum of RFC 1071."""
    number = int.from_bytes(data + bytes(len(data) % 2), "big")
    # Carries that are added again are the remainder, but for a sum of all ones, which does not become 0.
    return ~(number % 0xFFFF or 0xFFFF * (number > 0)) & 0xFFFF


@cache
def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def tcp_flags(flags: int | str) -> int:
    if isinstance(flags, int):
        return flags
    bits = 0
    for letter in flags:
        bits |= FLAGS[letter]
    return bits


def tcp_segment(
    src: str,
    dst: str,
    sport: int,
    dport: int,
    seq: int = 0,
    ack: int = 0,
    flags: int | str = "A",
    payload: bytes = b"",
    *,
    window: int = 65535,
    options: bytes = b"",
) -> bytes:
    """Write a TCP header, its options padded to 32-bit words, and its payload, with a valid checksum."""
    options = padded(options)
    bits = tcp_flags(flags)
    words = (sport, dport, seq % 2**32, ack % 2**32, ((20 + len(options)) // 4) << 12 | bits, window)
    head = struct.pack(">HHIIHH", *words)
    source, destination = packed(src), packed(dst)
    length = 20 + len(options) + len(payload)
    pseudo = (
        source + destination + (struct.pack(">HH", 6, length) if len(source) == 4 else struct.pack(">II", length, 6))
    )
    total = checksum(pseudo + head + bytes(4) + options + payload)
    return head + struct.pack(">HH", total, 0) + options + payload


def ip_packet(src: str, dst: str, payload: bytes, *, protocol: int = 6, ttl: int = 64, ip_id: int = 0) -> bytes:
    """Write an IPv4 or IPv6 packet around `payload`."""
    source, destination = packed(src), packed(dst)
    if len(source) == 16:
        return struct.pack(">IHBB", 6 << 28, len(payload), protocol, ttl) + source + destination + payload
    head = struct.pack(">BBHHHBB", 0x45, 0, 20 + len(payload), ip_id, 0x4000, ttl, protocol)
    total = checksum(head + bytes(2) + source + destination)
    return head + struct.pack(">H", total) + source + destination + payload


def ethernet(packet: bytes, *, vlans: Sequence[int] = ()) -> bytes:
    """Write an Ethernet frame around an IP packet."""
    kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    tags = b"".join(struct.pack(">HH", 0x8100, vlan) for vlan in vlans)
    return b"\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01" + tags + struct.pack(">H", kind) + packet


def tcp_frame(
    src: str,
    dst: str,
    sport: int,
    dport: int,
    seq: int = 0,
    ack: int = 0,
    flags: int | str = "A",
    payload: bytes = b"",
    *,
    window: int = 65535,
    options: bytes = b"",
    ttl: int = 64,
    ip_id: int = 0,
    vlans: Sequence[int] = (),
) -> bytes:
    """Write an Ethernet frame with IPv4 or IPv6, by the addresses, and TCP; `flags` like ``"SA"`` or a number."""
    segment = tcp_segment(src, dst, sport, dport, seq, ack, flags, payload, window=window, options=options)
    return ethernet(ip_packet(src, dst, segment, ttl=ttl, ip_id=ip_id), vlans=vlans)
