"""How fragments become segments, written to be read: all pieces are kept, and looked at again when one more comes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.reference.decode_layers import NoSegmentError, Wire

Key = tuple[Any, ...]
Counted = Callable[[str, int, int], None]

MOST_PACKETS = 256
LIFETIME_NS = 30 * 10**9
LONGEST_TCP_HEADER = 60


@dataclass
class Piece:
    """One fragment: bytes `begin` to `end` of its packet, of which `data` were captured."""

    key: Key
    row: dict[str, Any]
    begin: int
    end: int
    is_last: bool
    data: bytes


class InPiecesError(Exception):
    """This frame holds a piece of a packet."""

    def __init__(self, piece: Piece) -> None:
        super().__init__()
        self.piece = piece


@dataclass
class Packet:
    """What came of a packet, in the order it came."""

    key: Key
    begun_ns: int
    pieces: list[Piece] = field(default_factory=list)
    frames: list[tuple[int, int]] = field(default_factory=list)
    is_done: bool = False

    def head(self) -> dict[int, int]:
        """Give the bytes of the TCP header by position; what came first stands."""
        known: dict[int, int] = {}
        for piece in self.pieces:
            for i, byte in enumerate(piece.data[:LONGEST_TCP_HEADER]):
                known.setdefault(piece.begin + i, byte)
        return known

    def is_other(self, piece: Piece) -> bool:
        """Whether this piece begins another packet with the same identification."""
        if piece.begin > 0:
            return False
        if self.is_done:
            return True
        known = self.head()
        differs = any(known.get(i, byte) != byte for i, byte in enumerate(piece.data[:LONGEST_TCP_HEADER]))
        return differs and any(each.begin == 0 for each in self.pieces)

    def contradicts_itself(self) -> bool:
        """Whether it has two ends, data behind its end, or, in IPv6, pieces that overlap and are not equal."""
        ends = {piece.end for piece in self.pieces if piece.is_last}
        if len(ends) > 1 or any(piece.end > end for piece in self.pieces for end in ends):
            return True
        places = {(piece.begin, piece.end) for piece in self.pieces}
        overlap = any(a[0] < b[1] and b[0] < a[1] for a, b in itertools.combinations(places, 2))
        return overlap and self.key[0] == 6

    def length(self) -> int:
        """Give its length if all of it is there, else −1."""
        ends = [piece.end for piece in self.pieces if piece.is_last]
        there = {i for piece in self.pieces for i in range(piece.begin, piece.end)}
        return ends[0] if ends and there == set(range(ends[0])) else -1

    def read(self, tcp: Callable[[Wire, int], dict[str, Any]]) -> dict[str, Any]:
        """Read the TCP header of a whole packet."""
        known = self.head()
        held = bytes(known[i] for i in itertools.takewhile(known.__contains__, range(LONGEST_TCP_HEADER)))
        first = next(piece for piece in self.pieces if piece.begin == 0)
        row = (
            first.row
            | tcp(Wire(held, self.length()), self.length())
            | {
                "captured_payload_bytes": 0,
                "tls": "none",
                "tls_bytes": 0,
                "tls_records": 0,
            }
        )
        return row | {"options": row["options"] - {"handshake"} | {"fragmented"}}


class Reassembly:
    """All packets that ever came in pieces; the last 256 can still be added to."""

    def __init__(self, tcp: Callable[[Wire, int], dict[str, Any]], count: Counted) -> None:
        self.packets: list[Packet] = []
        self.joined = 0
        self._tcp = tcp
        self._count = count

    def take(self, piece: Piece, time_ns: int, frame: tuple[int, int]) -> dict[str, Any] | None:
        """Take a piece; give the segment if its packet is whole now."""
        packet = next((p for p in self.packets[-MOST_PACKETS:] if p.key == piece.key), None)
        if packet is not None and (abs(time_ns - packet.begun_ns) > LIFETIME_NS or packet.is_other(piece)):
            self._give_up(packet)
            packet = None
        if packet is None:
            packet = Packet(piece.key, time_ns)
            if len(self.packets) >= MOST_PACKETS:
                self._give_up(self.packets[-MOST_PACKETS])
            self.packets.append(packet)
        elif packet.is_done:
            self._count("fragment", *frame)
            return None
        packet.pieces.append(piece)
        if packet.contradicts_itself() or packet.length() < 0:
            packet.frames.append(frame)
            return None
        return self._complete(packet, frame)

    def _complete(self, packet: Packet, last: tuple[int, int]) -> dict[str, Any] | None:
        frames, packet.frames, packet.is_done = packet.frames, [], True
        try:
            row = packet.read(self._tcp)
        except NoSegmentError as reason:
            for frame in [*frames, last]:
                self._count(str(reason), *frame)
            return None
        self.joined += len(frames)
        return row

    def _give_up(self, packet: Packet) -> None:
        for frame in packet.frames:
            self._count("fragment", *frame)
        packet.frames, packet.key = [], ()

    def finish(self) -> None:
        """Count what never became whole."""
        for packet in self.packets:
            self._give_up(packet)
