"""Connections whose payload is known, for whoever follows them."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

from tests.support.pcap import Frame, checksum, pcap_bytes, tcp_frame

START_NS = 1_700_000_000 * 10**9
MS = 10**6
ESCAPES = b"\x1b]0;owned\x07\x1b[2J\x9b31m"


def talk(port: int, said: list[tuple[str, bytes]], start_ns: int = START_NS, snaplen: int = 65_535) -> list[Frame]:
    """Make one connection: handshake, what each side says a millisecond apart, both FINs."""
    frames: list[Frame] = []
    sent = {">": 1000, "<": 5000}

    def send(sender: str, flags: str, payload: bytes = b"") -> None:
        other = "<" if sender == ">" else ">"
        ends, ports = (
            (("10.0.0.1", "10.0.0.9"), (port, 80)) if sender == ">" else (("10.0.0.9", "10.0.0.1"), (80, port))
        )
        data = tcp_frame(*ends, *ports, sent[sender], 0 if flags == "S" else sent[other], flags, payload)
        frames.append(Frame(start_ns + len(frames) * MS, data[:snaplen], len(data)))
        sent[sender] += len(payload) + ("S" in flags) + ("F" in flags)

    for sender, flags in ((">", "S"), ("<", "SA"), (">", "A")):
        send(sender, flags)
    for sender, payload in said:
        send(sender, "PA", payload)
    for sender, flags in ((">", "FA"), ("<", "FA"), (">", "A")):
        send(sender, flags)
    return frames


def in_pieces(frame: Frame, *edges: int, number: int = 77) -> list[Frame]:
    """Cut a frame of Ethernet and IPv4 into one for each IP fragment; edges count bytes of the segment, by eights."""
    head, segment = bytearray(frame.data[14:34]), frame.data[34:]
    frames = []
    for i, (begin, end) in enumerate(pairwise([0, *edges, len(segment)])):
        more = 0x2000 if end < len(segment) else 0
        struct.pack_into(">HHH", head, 2, 20 + end - begin, number, begin >> 3 | more)
        struct.pack_into(">H", head, 10, 0)
        struct.pack_into(">H", head, 10, checksum(bytes(head)))
        frames.append(Frame(frame.time_ns + i * 1000, frame.data[:14] + bytes(head) + segment[begin:end]))
    return frames


def two_talks(path: Path) -> Path:
    """Write a capture of two connections, 1 and 9: one is plain, the other one has what a terminal would obey."""
    frames = [
        *talk(40_000, [(">", b"GET /a HTTP/1.1\r\n\r\n"), ("<", b"HTTP/1.1 200 OK\r\n\r\nhello")]),
        *talk(40_001, [(">", b"GET /b" + ESCAPES), ("<", b"needle in a hay"), ("<", b"stack")], START_NS + 100 * MS),
    ]
    path.write_bytes(pcap_bytes(frames))
    return path
