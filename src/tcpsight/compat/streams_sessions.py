"""Streams as the old tool told them apart: one per direction, begun by a SYN, ended by the sender's own FIN or RST.

Theory of operation
-------------------
Segments come from the pipeline as they were on the wire, with the places where their payload is kept. A SYN begins a
stream, numbered in order, unless one with the same addresses and ports is going on and was heard of within the session
timeout. Bytes are placed by their distance from the SYN, modulo 2³², nearest to the stream's end; where segments
overlap, the last one counts. A FIN or RST ends its sender's stream, with the bytes it carries, and what comes
after it belongs to none until the next SYN.

These rules differ from those of our own tables on purpose, and stay in this file; bytes are put in order by the
same reassembly. What they cannot see: connections whose SYN was not captured, and that a peer's RST ended both sides.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from tcpsight.streams import Bounds, Pieces, Read, Stream
from tcpsight.tables import FLAG_FIN, FLAG_RST, FLAG_SYN, Headers

if TYPE_CHECKING:
    from tcpsight.pipeline import Batch

KEY_BYTES = 36
"""Both addresses and ports stand next to each other in a row of Headers."""

COLUMNS = ("time_ns", "flags", "sequence_number", "payload_bytes", "captured_payload_bytes", "file", "frame_number")
PIECE_COLUMNS = ("offset", "position", "payload_bytes", "captured_bytes", "file", "frame_number")


class Session:
    """One stream.

    Attributes
    ----------
    number : int
        Counted from 0 in the order of SYNs.
    key : bytes
        Addresses of sender and receiver, 16 bytes each, and their ports, as rows hold them.
    start_us, end_us : int
        Its SYN, and the last segment that belongs to it.
    length : int
        Where its last byte ends; holes count.
    is_complete : bool
        Whether it has bytes and was ended by its sender.
    is_matched : bool
        Whether it holds the pattern that was asked for last.
    """

    __slots__ = ("end_us", "is_complete", "is_matched", "isn", "key", "length", "number", "pieces", "start_us")

    def __init__(self, number: int, key: bytes, time_us: int, isn: int) -> None:
        self.number = number
        self.key = key
        self.start_us = self.end_us = time_us
        self.isn = isn
        self.length = 0
        self.is_complete = False
        self.is_matched = True
        self.pieces = array("q")

    @property
    def ports(self) -> tuple[int, int]:
        """Sender's and receiver's port."""
        source, destination = np.frombuffer(self.key, np.uint16, 2, 32).tolist()
        return source, destination

    def add(self, sequence: int, payload: int, captured: int, position: int, file: int, frame: int) -> None:
        """Take a segment's payload; `sequence` is the number of its first byte."""
        ahead = (sequence - self.isn - 1 - self.length + 2**31) % 2**32 - 2**31
        offset = self.length + ahead
        if offset + payload <= 0:
            return
        self.length = max(self.length, offset + payload)
        self.pieces.extend((offset, max(position, 0), payload, captured, file, frame))

    def stream(self, read: Read) -> Stream:
        """Give its bytes in order; where segments overlap, the last one counts."""
        columns = np.frombuffer(self.pieces, np.int64).reshape(-1, len(PIECE_COLUMNS))
        pieces = Pieces.allocate(len(columns))
        for i, name in enumerate(PIECE_COLUMNS):
            pieces.rows[name] = columns[:, i]
        return Stream(pieces, read, Bounds(self.length), overlaps="last")


class Sessions:
    """Every stream of a capture.

    Parameters
    ----------
    timeout_us : int
        A SYN later than this after the last segment of a stream with the same ends begins another.

    Attributes
    ----------
    all : list of Session
        By number.
    first_us : int or None
        The first segment of the capture.
    """

    def __init__(self, timeout_us: int) -> None:
        self.all: list[Session] = []
        self.first_us: int | None = None
        self._timeout_us = timeout_us
        self._open: dict[bytes, Session] = {}

    @property
    def complete(self) -> int:
        """How many have bytes and were ended."""
        return sum(each.is_complete for each in self.all)

    def feed(self, batch: Batch) -> None:
        """Take the next segments."""
        rows = np.ascontiguousarray(batch.headers.rows)
        if not len(rows):
            return
        if self.first_us is None:
            self.first_us = int(rows["time_ns"][0]) // 1000
        start = Headers.dtype.fields["source_address"][1]  # type: ignore[index]
        keys = rows.view(np.uint8).reshape(len(rows), -1)[:, start : start + KEY_BYTES].tobytes()
        values = zip(*(rows[name].tolist() for name in COLUMNS), batch.kept.tolist(), strict=True)
        for at, row in enumerate(values):
            self._arrive(keys[at * KEY_BYTES : (at + 1) * KEY_BYTES], *row)

    def _arrive(
        self, key: bytes, time_ns: int, flags: int, sequence: int, payload: int, captured: int, file: int, frame: int,
        position: int,
    ) -> None:  # fmt: skip
        time_us = time_ns // 1000
        known = self._open.get(key)
        if flags & FLAG_SYN:
            if known is None or time_us - known.end_us > self._timeout_us:
                known = self._open[key] = Session(len(self.all), key, time_us, sequence)
                self.all.append(known)
            elif known.length == 0:
                known.isn = sequence  # its SYN again, or another try
            sequence += 1
        elif known is None:
            return
        known.end_us = time_us
        if payload > 0:
            known.add(sequence, payload, captured, position, file, frame)
        if flags & (FLAG_FIN | FLAG_RST) and not flags & FLAG_SYN:
            known.is_complete = known.length > 0
            del self._open[key]
