"""Mutations: of bytes that mean nothing, and of captures record by record, block by block, header by header.

Everything is drawn from one `random.Random`, so that a seed gives the same input again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from tcpsight.output.link_types import DECODED

EDGES = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    15,
    16,
    19,
    20,
    28,
    31,
    32,
    40,
    60,
    63,
    64,
    127,
    128,
    255,
    256,
    1500,
    2**15,
    2**16 - 1,
    2**16,
)
WIDE = (*EDGES, 2**18, 2**24, 2**24 + 1, 2**30, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 10**9 - 1, 10**9)
LINK_TYPES = (*sorted(DECODED), 147, 189, 65_281, 65_535)
"""Those that are decoded, and a few that are not."""

ETHERTYPES = (
    *(0x0800, 0x86DD, 0x0806, 0x05DC, 0x0020, 0x8100, 0x88A8, 0x9100, 0x8847, 0x8848, 0x8864, 0x880B, 0x6558, 0x6559),
    *(0x22F3, 0x88E5, 0x88E7, 0x892F, 0x893F, 0x894F, 0x8903, 0x8909, 0x8926, 0x8870, 0xF1C1, 0x9200),
)
PROTOCOLS = (0, 2, 4, 6, 17, 41, 43, 44, 47, 50, 51, 55, 60, 94, 97, 98, 108, 115, 132, 135, 137, 139, 140)
PORTS = (4789, 4790, 8472, 6081, 2152, 1701, 3544, 4500, 6635, 37_008, 51_820, 5246, 5247, 53)
FLAGS = (0, 1, 2, 4, 0x10, 0x11, 0x12, 0x14, 0x18, 0x19, 0x29, 0x3F, 0xFF)
MOST_BYTES = 200_000


def number(chance: Random, bits: int) -> int:
    """Draw a number of so many bits, often one at which something ends."""
    drawn = chance.choice(WIDE) if chance.random() < 0.7 else chance.getrandbits(bits)
    limit: int = 2**bits
    return drawn % limit


def havoc(data: bytes, chance: Random, others: Sequence[bytes] = ()) -> bytes:
    """Change bytes that mean nothing: flips, numbers, cuts, copies, pieces of another input."""
    out = bytearray(data)
    for _ in range(1 << chance.randint(0, 4)):
        if not out:
            out += chance.randbytes(chance.randint(1, 40))
        at = chance.randrange(len(out))
        size = min(chance.choice((1, 2, 4, 8, 16, 60)), len(out) - at)
        what = chance.randrange(8)
        if what == 0:
            out[at] ^= 1 << chance.randrange(8)
        elif what == 1:
            out[at] = chance.randrange(256)
        elif what == 2:
            width = chance.choice((1, 2, 4, 8))
            out[at : at + width] = number(chance, 8 * width).to_bytes(width, chance.choice(("little", "big")))
        elif what == 3:
            del out[at : at + size]
        elif what == 4:
            out[at:at] = out[at : at + size] * chance.randint(1, 3)
        elif what == 5:
            out[at:at] = chance.randbytes(size)
        elif what == 6 and others:
            other = chance.choice(others)
            begin = chance.randrange(len(other) + 1)
            out[at : at + chance.choice((0, size))] = other[begin : begin + chance.randint(1, 200)]
        elif what == 7 and chance.random() < 0.2:
            del out[at:]
    return bytes(out[:MOST_BYTES])


# --- frames


def tcp_at(frame: bytes) -> int:
    """Find a TCP header behind an IPv4 or IPv6 header at one of the usual places; −1 if there is none."""
    for start in (14, 0, 4, 16, 18, 20, 22):
        if len(frame) < start + 40:
            continue
        if frame[start] >> 4 == 4 and frame[start + 9] == 6:
            return start + 4 * (frame[start] & 15)
        if frame[start] >> 4 == 6 and frame[start + 6] == 6:
            return start + 40
    return -1


def mutate_frame(frame: bytes, chance: Random) -> bytes:
    """Change a field of the TCP header, the IP header or the link layer, or any byte."""
    out, at = bytearray(frame), tcp_at(frame)
    what = chance.randrange(12)
    if at >= 0 and len(out) >= at + 20 and what < 8:
        if what < 2:
            _add(out, at + 4 + 4 * what, chance)
        elif what == 2:
            out[at + 13] = chance.choice(FLAGS)
        elif what == 3:
            out[at + 12] = chance.randrange(16) << 4 | out[at + 12] & 15
        elif what == 4:
            struct.pack_into(">H", out, at + 14, number(chance, 16))
        elif what == 5:
            out = out[: at + 20] + options(chance) + out[at + 20 :]
            out[at + 12] = min(15, (out[at + 12] >> 4) + chance.randint(0, 10)) << 4
        elif what == 6:
            struct.pack_into(">H", out, at + 2 * chance.randrange(2), number(chance, 16))
        else:
            out[at - 20 : at] = havoc(bytes(out[at - 20 : at]), chance)
    elif what == 8 and len(out) > 14:
        struct.pack_into(">H", out, 12, chance.choice(ETHERTYPES))
    elif what == 9:
        out = bytearray(tunnelled(bytes(out), chance))
    elif what == 10:
        del out[chance.randrange(len(out) + 1) :]
    else:
        return havoc(bytes(out), chance)
    return bytes(out)


def _add(out: bytearray, at: int, chance: Random) -> None:
    """Let a sequence or acknowledgment number jump."""
    (old,) = struct.unpack_from(">I", out, at)
    jump = chance.choice((1, -1, -100, 1460, 65_536, 2**24, 2**30, 2**31 - 1, 2**31, 2**31 + 1, number(chance, 32)))
    struct.pack_into(">I", out, at, (old + jump) % 2**32)


def options(chance: Random) -> bytes:
    """Write TCP options, some of them wrong."""
    known = (
        b"\0",
        b"\1",
        b"\2\4\5\xb4",
        b"\3\3\x0e",
        b"\3\3\xff",
        b"\4\2",
        b"\5\x0a" + chance.randbytes(8),
        b"\5\2",
        b"\5\xff",
    )
    more = (
        b"\x08\x0a" + chance.randbytes(8),
        b"\x08\2",
        bytes([chance.randrange(256), chance.randrange(256)]),
        b"\3\0",
    )
    drawn = b"".join(chance.choice(known + more) for _ in range(chance.randint(1, 6)))
    return (drawn + bytes(-len(drawn) % 4))[:40]


def tunnelled(frame: bytes, chance: Random) -> bytes:
    """Put what follows an Ethernet header into a tunnel, a tag or a label of some kind."""
    link, inner = frame[:12], frame[14:]
    kind = frame[12:14]
    six = kind == b"\x86\xdd"

    def four(protocol: int, body: bytes) -> bytes:
        head = struct.pack(">BBHHHBBH", 0x45, 0, (20 + len(body)) % 65_536, 7, 0, 64, protocol, 0)
        return head + b"\x0a\0\0\1\x0a\0\0\2" + body

    def udp(port: int, body: bytes) -> bytes:
        return four(17, struct.pack(">HHHH", 5000, port, (8 + len(body)) % 65_536, 0) + body)

    ways: tuple[Callable[[], tuple[int, bytes]], ...] = (
        lambda: (0x8100, chance.randbytes(2) + kind + inner),
        lambda: (0x8847, chance.randbytes(2) + bytes([chance.choice((0, 1)), 64]) + inner),
        lambda: (
            0x8864,
            b"\x11\0\0\1" + struct.pack(">H", len(inner) % 65_536) + (b"\0\x57" if six else b"\0\x21") + inner,
        ),
        lambda: (0x0800, four(41 if six else 4, inner)),
        lambda: (
            0x0800,
            four(47, struct.pack(">H", chance.choice((0, 0x2000, 0x8000, 0xB000, 0x2001))) + kind + inner),
        ),
        lambda: (0x0800, four(47, b"\x20\0\x65\x58" + chance.randbytes(4) + frame)),
        lambda: (0x0800, four(47, b"\x10\0\x88\xbe" + chance.randbytes(12) + frame)),
        lambda: (0x0800, udp(4789, b"\x08\0\0\0\0\0\7\0" + frame)),
        lambda: (0x0800, udp(6081, bytes([chance.randrange(4), 0]) + b"\x65\x58\0\0\7\0" + frame)),
        lambda: (
            0x0800,
            udp(2152, bytes([0x30 | chance.randrange(8), 255]) + struct.pack(">HI", len(inner) % 65_536, 9) + inner),
        ),
        lambda: (0x0800, udp(3544, inner)),
        lambda: (
            0x0800,
            udp(chance.choice(PORTS), chance.randbytes(chance.randrange(17)) + chance.choice((inner, frame))),
        ),
        lambda: (
            0x0800,
            four(chance.choice(PROTOCOLS), chance.randbytes(chance.randrange(13)) + chance.choice((inner, frame))),
        ),
        lambda: (
            chance.choice(ETHERTYPES),
            chance.randbytes(chance.randrange(17)) + chance.choice((kind + inner, inner, frame)),
        ),
        lambda: (0x0800, udp(1701, chance.randbytes(8) + inner)),
        lambda: (
            0x86DD,
            struct.pack(">IHBB", 6 << 28, (8 + len(inner)) % 65_536, 60, 64)
            + bytes(32)
            + bytes([4, 0])
            + bytes(6)
            + inner,
        ),
    )
    ethertype, body = chance.choice(ways)()
    return link + struct.pack(">H", ethertype) + body


# --- classic pcap

PCAP_MAGICS = (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34)


class Record(NamedTuple):
    """A record of a classic pcap file, its four numbers as they are written."""

    seconds: int
    fraction: int
    captured: int
    wire: int
    frame: bytes


def pcap_parts(data: bytes) -> tuple[str, bytes, list[Record]] | None:
    """Take a sound classic file apart: byte order, file header, records; None if it is none."""
    for endian in "<>":
        if len(data) >= 24 and struct.unpack_from(endian + "I", data)[0] in PCAP_MAGICS[:2]:
            break
    else:
        return None
    records, at = [], 24
    while at + 16 <= len(data):
        seconds, fraction, captured, wire = struct.unpack_from(endian + "IIII", data, at)
        records.append(Record(seconds, fraction, captured, wire, data[at + 16 : at + 16 + captured]))
        at += 16 + captured
    return endian, data[:24], records


def pcap_joined(endian: str, head: bytes, records: Sequence[Record]) -> bytes:
    parts = [head]
    for r in records:
        parts.append(struct.pack(endian + "IIII", *(n % 2**32 for n in r[:4])) + r.frame)
    return b"".join(parts)[:MOST_BYTES]


def mutate_pcap(data: bytes, chance: Random) -> bytes:
    """Change records of a classic file: their order, times, lengths, frames; or its header."""
    parts = pcap_parts(data)
    if parts is None:
        return havoc(data, chance)
    endian, head, records = parts
    for _ in range(1 << chance.randint(0, 4)):
        records = _mutated(records, chance)
    if chance.random() < 0.1:
        head = head[:20] + struct.pack(endian + "I", chance.choice(LINK_TYPES))
    if chance.random() < 0.05:
        head = struct.pack(endian + "I", chance.choice(PCAP_MAGICS)) + head[4:]
    if chance.random() < 0.05:
        head = havoc(head, chance)
    return pcap_joined(endian, head, records)


def _mutated(records: list[Record], chance: Random) -> list[Record]:
    if not records:
        return [Record(number(chance, 32), number(chance, 32), 60, 60, chance.randbytes(60))]
    at, what = chance.randrange(len(records)), chance.randrange(10)
    one = records[at]
    if what == 0:
        return records[:at] + records[at + chance.choice((1, 1, 2, 5)) :]
    if what == 1:
        return records[:at] + [one] * chance.choice((1, 2, 3)) + records[at:]
    if what == 2:
        other = chance.randrange(len(records))
        records[at], records[other] = records[other], one
        return records
    if what == 3:
        one = one._replace(
            seconds=chance.choice((one.seconds + 1, one.seconds - 1, one.seconds + 7801, number(chance, 32)))
        )
    elif what == 4:
        one = one._replace(fraction=number(chance, 32))
    elif what == 5:
        frame = one.frame[: chance.randrange(len(one.frame) + 1)]
        one = one._replace(captured=len(frame), frame=frame)
    elif what == 6:
        one = one._replace(wire=number(chance, 32))
    elif what == 7 and chance.random() < 0.2:
        one = one._replace(captured=number(chance, 32))
    else:
        frame = mutate_frame(one.frame, chance)
        longer = max(len(frame) - len(one.frame), 0)
        one = one._replace(captured=len(frame), wire=one.wire + longer, frame=frame)
    records[at] = one
    return records
