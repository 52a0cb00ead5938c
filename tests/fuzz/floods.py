"""Attacks on whoever analyses, as captures: floods of connections, bombs, endless interfaces, text that obeys."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

import numpy as np
import zstandard

from tests.support.pcap import (
    Frame,
    Interface,
    enhanced_packet,
    interface_statistics,
    pcap_header,
    pcapng_block,
    pcapng_option,
    section_header,
    tcp_frame,
)
from tests.support.traffic import CLIENT, MS, PORT, SERVER, START_NS, Talk, answered

SYN_BYTES = 16 + 54
BLOCK = 1 << 17

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08\u202e\u2028<script>alert(1)</script>"
"""What a terminal, a log or a page would obey."""

OBEYED = set("\x1b\x07\x08\x9b\r\u202e\u2028")


def syn_flood(n: int, *, per_second: int = 1_000_000, spread: int = 1) -> Iterator[bytes]:
    """Give a capture of `n` SYNs, each from another endpoint, piece by piece.

    Parameters
    ----------
    n : int
        How many; addresses count up by `spread`, modulo 2³², and ports with them.
    per_second : int
        How dense in capture time.
    """
    yield pcap_header(snaplen=96)
    model = np.frombuffer(_syn(), np.uint8)
    for first in range(0, n, BLOCK):
        count = min(BLOCK, n - first)
        rows = np.tile(model, (count, 1))
        index = np.arange(first, first + count, dtype=np.uint64)
        us = index * np.uint64(1_000_000) // np.uint64(per_second)
        _put(rows, 0, "<u4", 1_700_000_000 + us // np.uint64(1_000_000))
        _put(rows, 4, "<u4", us % np.uint64(1_000_000))
        _put(rows, 16 + 26, ">u4", index * np.uint64(spread) % np.uint64(2**32))
        _put(rows, 16 + 34, ">u2", 1024 + index % np.uint64(60_000))
        _put(rows, 16 + 38, ">u4", index * np.uint64(2_654_435_761) % np.uint64(2**32))
        yield rows.tobytes()


def _syn() -> bytes:
    frame = tcp_frame("10.0.0.1", SERVER, 1024, PORT, 0, 0, "S")
    return bytes(8) + len(frame).to_bytes(4, "little") * 2 + frame


def _put(rows: np.ndarray[Any, Any], at: int, kind: str, values: np.ndarray[Any, Any]) -> None:
    width = np.dtype(kind).itemsize
    rows[:, at : at + width] = values.astype(kind).view(np.uint8).reshape(-1, width)


def garbage(frames: list[Frame], chance: Random, count: int) -> list[Frame]:
    """Put segments between those of a connection whose numbers lie nowhere near its windows.

    The attacker is blind: ports and addresses are right, numbers are guessed, and no two guesses confirm each other.
    """
    taken: list[int] = []
    out = list(frames)
    for _ in range(count):
        number = _apart(taken, chance)
        is_client = chance.random() < 0.5
        ends = (CLIENT, SERVER, 40_000, PORT) if is_client else (SERVER, CLIENT, PORT, 40_000)
        flags = chance.choice(("A", "PA", "R", "RA"))
        body = bytes(chance.choice((0, 1, 100))) if "R" not in flags else b""
        when = chance.randint(frames[3].time_ns + 1, frames[-4].time_ns - 1)
        out.append(Frame(when, tcp_frame(*ends, number, chance.getrandbits(32), flags, body, window=1000)))
    return sorted(out, key=lambda frame: frame.time_ns)


def _apart(taken: list[int], chance: Random) -> int:
    """Guess a number far from all guesses so far, and a gigabyte from the streams."""
    while True:
        number = chance.randint(2**30, 3 * 2**30)
        if all(abs(number - other) > 100_000 for other in taken):
            taken.append(number)
            return number


def overlapping(chance: Random) -> list[Frame]:
    """Give a connection whose request of 1000 bytes is sent in pieces that overlap, each with other content."""
    frames = Talk(answered(1)).frames()
    begin, now = 1001, START_NS + 10 * MS
    pieces = [(0, 400), (200, 400), (100, 700), (500, 500), (0, 1000), (990, 10)]
    middle = [
        Frame(
            now + i * MS,
            tcp_frame(CLIENT, SERVER, 40_000, PORT, begin + at, 9001, "PA", chance.randbytes(size), ip_id=i + 7),
        )
        for i, (at, size) in enumerate(pieces)
    ]
    answer = Frame(now + 50 * MS, tcp_frame(SERVER, CLIENT, PORT, 40_000, 9001, begin + 1000, "PA", bytes(100)))
    return [*frames[:3], *middle, answer]


PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 9),
    "zstd": lambda data: bytes(zstandard.ZstdCompressor().compress(data)),
    "xz": lambda data: lzma.compress(data, preset=0),
    "bzip2": bz2.compress,
}


def bomb(form: str, megabytes: int) -> bytes:
    """Give a compressed capture of empty frames, which is nearly nothing and unpacks to so much."""
    pack = PACKERS[form]
    return pack(pcap_header()) + pack(bytes(1 << 20)) * megabytes


def many_interfaces(n: int) -> bytes:
    """Give a capture on `n` interfaces whose names are to be obeyed; all of them lost frames."""
    frame = Talk(answered(1)).frames()[0]
    block = pcapng_block(
        1, b"\x01\0\0\0\0\0\0\0" + pcapng_option(2, ESCAPES.encode()) + pcapng_option(3, ESCAPES.encode()) + bytes(4)
    )
    packets = [enhanced_packet(Frame(START_NS, frame.data, interface=n - 1), START_NS // 1000)]
    return (
        section_header()
        + block * n
        + b"".join(packets)
        + b"".join(interface_statistics(i, kernel_drops=1 + i % 3, interface_drops=1) for i in range(n))
    )


def with_comments() -> bytes:
    """Give a capture that tells in every option there is what a terminal would obey."""
    text = ESCAPES.encode()
    options = b"".join(pcapng_option(code, text) for code in (1, 2, 3, 4)) + bytes(4)
    section = pcapng_block(0x0A0D0D0A, b"\x4d\x3c\x2b\x1a\1\0\0\0" + b"\xff" * 8 + options)
    interface = pcapng_block(
        1, b"\x01\0\0\0\0\0\0\0" + b"".join(pcapng_option(c, text) for c in (1, 2, 3, 11, 12)) + bytes(4)
    )
    packets = [
        enhanced_packet(frame, Interface().to_ticks(frame.time_ns), options=pcapng_option(1, text) + bytes(4))
        for frame in Talk(answered(1, 2)).frames()
    ]
    return section + interface + b"".join(packets) + interface_statistics(0, kernel_drops=3, interface_drops=4)
