"""Mutations of whole files: blocks of pcapng, lines of text, what is compressed; and which of them suits an input."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable, Sequence
from random import Random

import lz4.frame
import zstandard

from tests.fuzz.mutation import LINK_TYPES, MOST_BYTES, havoc, mutate_frame, mutate_pcap, number, pcap_parts

PCAPNG = b"\x0a\x0d\x0d\x0a"
SECTION, INTERFACE, OBSOLETE, SIMPLE, STATISTICS, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 5, 6
KINDS = (SECTION, INTERFACE, OBSOLETE, SIMPLE, 4, STATISTICS, ENHANCED, 0xBAD, 0x40000BAD, 0xFFFFFFFF)
CODES = (0, 1, 2, 3, 4, 5, 7, 9, 11, 14, 2988, 65_535)

PACKERS: tuple[Callable[[bytes], bytes], ...] = (
    lambda data: gzip.compress(data, 1, mtime=0),
    lambda data: zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data),
    lambda data: bytes(lz4.frame.compress(data)),
    lambda data: lzma.compress(data, preset=0),
    lambda data: bz2.compress(data, 1),
    lambda data: b"\x50\x2a\x4d\x18\3\0\0\0abc" + zstandard.ZstdCompressor(level=1).compress(data),
)

WORDS = (
    b"Flags [S]",
    b"Flags [P.]",
    b"Flags [.]",
    b"seq 1:101",
    b"seq 4294967295",
    b"ack 1",
    b"win 65535",
    b"length 0",
    b"length 4294967296",
    b"tcp 0",
    b"tcp 99999",
    b"options [nop,nop,TS val 1 ecr 2]",
    b"options [mss 1460,sackOK,wscale 14]",
    b"sack 2 {1:2}{3:4}",
    b"IP6",
    b"IP",
    b"ARP,",
    b" > ",
    b"::1.80",
    b"1.2.3.4.5",
    b"\x1b[31m",
    b"\t0x0000:  4500 003c",
    b"9999-12-31 23:59:59.999999",
    b"0000-00-00 00:00:00.0",
    b"99999999999.000000",
    b"2024-02-30 00:00:00.000000",
    b"vlan 5, ",
    b"(tos 0x0, ttl 64,",
    b"10 packets dropped by kernel",
    b"999999999999999 packets dropped by interface",
    b"\r\n",
    b"\n",
    b"[|tcp]",
    b"bad-len 0",
    b"doff=4",
)


def mutate_pcapng(data: bytes, chance: Random) -> bytes:
    """Change blocks of a pcapng file: their order, kinds, lengths, options, frames."""
    endian = ">" if data[8:12] == b"\x1a\x2b\x3c\x4d" else "<"
    blocks = _blocks(data, endian)
    for _ in range(1 << chance.randint(0, 3)):
        at, what = chance.randrange(len(blocks) + 1), chance.randrange(9)
        near = blocks[at : at + 1]
        if what == 0:
            del blocks[at : at + chance.choice((1, 1, 3))]
        elif what == 1:
            blocks[at:at] = near * chance.choice((1, 2))
        elif what == 2:
            blocks.insert(chance.randrange(len(blocks) + 1), near[0] if near else b"")
        elif what == 3:
            blocks[at:at] = [_block(endian, chance.choice(KINDS), chance.randbytes(4 * chance.randrange(12)))]
        elif what == 4:
            blocks[at:at] = [_interface(endian, chance)]
        elif what == 5:
            blocks[at:at] = [_statistics(endian, chance)]
        elif what == 6 and chance.random() < 0.3:
            blocks[at : at + 1] = [havoc(b, chance) for b in near]
        elif what == 7 and chance.random() < 0.3:
            blocks[at:at] = [_section(chance.choice("<>"), chance)]
        else:
            blocks[at : at + 1] = [_framed(b, endian, chance) for b in near]
    return b"".join(blocks)[:MOST_BYTES]


def _blocks(data: bytes, endian: str) -> list[bytes]:
    blocks, at = [], 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(endian + "I", data, at + 4)
        length = min(max(length, 12), len(data) - at)
        blocks.append(data[at : at + length])
        at += length
    return [*blocks, data[at:]] if at < len(data) else blocks


def _block(endian: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(endian + "I", 12 + len(body))
    return struct.pack(endian + "I", kind) + length + body + length


def _options(endian: str, chance: Random) -> bytes:
    out = b""
    for _ in range(chance.randrange(5)):
        size = chance.choice((0, 1, 2, 4, 8, 8, 8, 30))
        value = chance.choice(
            (chance.randbytes(size), (b"\x1b]0;owned\x07" * 4)[:size], number(chance, 64).to_bytes(8, "little")[:size])
        )
        length = size if chance.random() < 0.9 else number(chance, 16)
        out += struct.pack(endian + "HH", chance.choice(CODES), length) + value + bytes(-len(value) % 4)
    return out + chance.choice((b"", bytes(4)))


def _interface(endian: str, chance: Random) -> bytes:
    head = struct.pack(endian + "HHI", chance.choice(LINK_TYPES), 0, chance.choice((0, 0, 96, number(chance, 32))))
    resolution = struct.pack(endian + "HHBxxx", 9, 1, chance.choice((0, 3, 6, 9, 12, 28, 29, 127, 128, 160, 255)))
    offset = struct.pack(endian + "HHq", 14, 8, chance.choice((0, 1, -1, 2**62, -(2**63), 2**63 - 1)))
    return _block(
        endian, INTERFACE, head + chance.choice((b"", resolution, resolution + offset)) + _options(endian, chance)
    )


def _statistics(endian: str, chance: Random) -> bytes:
    head = struct.pack(endian + "III", number(chance, 2), number(chance, 32), number(chance, 32))
    drops = struct.pack(endian + "HHQHHQ", 5, 8, number(chance, 64), 7, 8, number(chance, 64))
    return _block(endian, STATISTICS, head + chance.choice((drops, b"")) + _options(endian, chance))


def _section(endian: str, chance: Random) -> bytes:
    return _block(
        endian, SECTION, struct.pack(endian + "IHHq", 0x1A2B3C4D, 1, chance.randrange(3), -1) + _options(endian, chance)
    )


def _framed(block: bytes, endian: str, chance: Random) -> bytes:
    """Change the frame of an enhanced packet block, or one of the numbers before it."""
    kind = struct.unpack_from(endian + "I", block)[0] if len(block) >= 32 else 0
    if kind != ENHANCED:
        return havoc(block, chance) if chance.random() < 0.2 else block
    numbers = list(struct.unpack_from(endian + "5I", block, 8))
    frame = block[28 : 28 + numbers[3]]
    if chance.random() < 0.6:
        frame = mutate_frame(frame, chance)
        numbers[3] = len(frame)
    else:
        numbers[chance.randrange(5)] = number(chance, 32)
    body = struct.pack(endian + "5I", *numbers) + frame + bytes(-len(frame) % 4)
    return _block(endian, ENHANCED, body + (_options(endian, chance) if chance.random() < 0.3 else b""))


def repacked(data: bytes, chance: Random) -> bytes:
    """Compress, in one stream or several; then, maybe, damage the end or the middle."""
    pack = chance.choice(PACKERS)
    at = chance.randrange(len(data) + 1)
    out = pack(data) if chance.random() < 0.6 else pack(data[:at]) + bytes(chance.choice((0, 0, 5))) + pack(data[at:])
    what = chance.randrange(6)
    if what == 0:
        return out[: chance.randrange(len(out) + 1)]
    if what == 1:
        return out + chance.randbytes(chance.choice((1, 3, 8, 40)))
    if what == 2:
        return out[:-8] + havoc(out[-8:], chance)
    return havoc(out, chance) if what == 3 else out


def mutate_text(data: bytes, chance: Random, others: Sequence[bytes] = ()) -> bytes:
    """Change text line by line and word by word."""
    lines = data.split(b"\n")
    for _ in range(1 << chance.randint(0, 3)):
        at = chance.randrange(len(lines))
        words = lines[at].split(b" ")
        spot, what = chance.randrange(len(words)), chance.randrange(7)
        if what == 0:
            del lines[at : at + chance.choice((1, 2))]
            lines = lines or [b""]
        elif what == 1:
            lines[at:at] = [lines[at]] * chance.choice((1, 3))
        elif what == 2:
            words[spot] = chance.choice(WORDS)
        elif what == 3:
            words.insert(spot, chance.choice(WORDS))
        elif what == 4:
            del words[spot]
        elif what == 5:
            words[spot] = str(number(chance, chance.choice((8, 32, 64)))).encode()
        elif chance.random() < 0.4:
            words = [havoc(lines[at], chance, others)]
        if what > 1 and at < len(lines):
            lines[at] = b" ".join(words)
    return b"\n".join(lines)[:MOST_BYTES]


def mutate_capture(data: bytes, chance: Random, others: Sequence[bytes] = ()) -> bytes:
    """Change a capture in a way that suits its format; now and then wrap it, cut it, or splice two."""
    if chance.random() < 0.05 and others:
        data = data[: chance.randrange(len(data) + 1)] + chance.choice(others)[chance.choice((0, 24)) :]
    if chance.random() < 0.05:
        out = havoc(data, chance, others)
    elif data.startswith(PCAPNG):
        out = mutate_pcapng(data, chance)
    elif pcap_parts(data) is not None:
        out = mutate_pcap(data, chance)
    elif b"\0" not in data[:200]:
        out = mutate_text(data, chance, others)
    else:
        out = havoc(data, chance, others)
    if chance.random() < 0.02:
        out = out[: chance.randrange(len(out) + 1)]
    return repacked(out, chance) if chance.random() < 0.08 else out
