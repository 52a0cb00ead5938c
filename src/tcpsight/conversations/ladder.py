"""Segments as a ladder: numbers as they were sent and after the SYN's, what was under way, what was missing.

Theory of operation
-------------------
Relative numbers are stream offsets plus one, which is the sequence number after that of the SYN: the same that tshark
tells, but they do not wrap. Where an offset is unknown, because the segment could not be placed, the number is counted
from where its stream begins, modulo 2³². Per open direction three numbers are kept: where offset 0 lies, up to where
bytes were seen, and up to where they were acknowledged.

What it cannot see: what was under way before the first segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tcpsight.tables import (
    FLAG_ACK,
    FLAG_FIN,
    FLAG_SYN,
    INT64_MIN,
    KINDS,
    OPTION_FRAGMENTED,
    Headers,
    LadderSegments,
    SegmentDetails,
)

if TYPE_CHECKING:
    from tcpsight.pipeline import Batch

DUPLICATE = KINDS.index("duplicate")
KEEP_ALIVE = KINDS.index("keep_alive")

COLUMNS = ("connection_id", "direction", "flags", "kind", "offset", "acked_offset", "payload_bytes")
MADE = ("relative_sequence", "relative_acknowledgment", "in_flight_bytes", "missing_bytes")


class _Side:
    """One direction of a connection."""

    __slots__ = ("acked", "base", "end", "fin")

    def __init__(self) -> None:
        self.base: int | None = None
        self.end: int | None = None
        self.acked: int | None = None
        self.fin = 0  # 1 when its FIN has taken a sequence number behind the last byte


class LadderMaking:
    """Tell of each segment its relative numbers, what was under way and what was missing.

    How rows are cut into batches never changes what is told.
    """

    def __init__(self) -> None:
        self._sides: dict[int, tuple[_Side, _Side]] = {}

    def feed(self, segments: SegmentDetails, headers: Headers) -> LadderSegments:
        """Take the next segments.

        Parameters
        ----------
        segments : SegmentDetails
            Shape (n,).
        headers : Headers
            What they came from, row for row.
        """
        table = LadderSegments.allocate(len(segments))
        for column in SegmentDetails.columns:
            table.rows[column.name] = segments.rows[column.name]
        has_ack = headers.flags & FLAG_ACK != 0
        table.sequence_number[:] = headers.sequence_number
        table.acknowledgment_number[:] = np.where(has_ack, headers.acknowledgment_number.astype(np.int64), -1)
        table.is_fragmented[:] = headers.options & OPTION_FRAGMENTED != 0
        values = [segments.rows[name].tolist() for name in COLUMNS]
        numbers = table.sequence_number.tolist(), table.acknowledgment_number.tolist()
        made = [self._tell(row) for row in zip(*values, *numbers, strict=True)]
        for name, column_values in zip(MADE, zip(*made, strict=True), strict=False):
            table.rows[name] = column_values
        return table

    def of_batch(self, batch: Batch) -> LadderSegments:
        """Take the segments of a batch, and let go of the connections that ended with it."""
        segments, headers = batch.segments, batch.headers
        if len(segments) != len(headers):
            # A selection leaves no header out.
            headers = headers[np.isin(headers.frame_number, segments.frame_number)]
        table = self.feed(segments, headers)
        for number in batch.connections.connection_id.tolist():
            self._sides.pop(number, None)
        return table

    def _tell(self, row: tuple[int, ...]) -> tuple[int, int, int, int]:
        connection, direction, flags, kind, offset, acked, payload, sequence, acknowledgment = row
        both = self._sides.get(connection)
        if both is None:
            both = self._sides[connection] = (_Side(), _Side())
        mine, theirs = both[direction & 1], both[~direction & 1]
        if flags & FLAG_SYN and offset == INT64_MIN:
            relative = 0  # of another connection, it seems
        else:
            relative = _relative(mine, offset, sequence)
        relative_ack = INT64_MIN if acknowledgment < 0 else _relative(theirs, acked, acknowledgment)
        missing = 0
        if offset != INT64_MIN and kind not in (DUPLICATE, KEEP_ALIVE):
            begin = max(offset, 0) if flags & FLAG_SYN else offset
            if mine.end is not None:
                missing = max(begin - mine.end - mine.fin, 0)
            if payload or flags & (FLAG_SYN | FLAG_FIN) or mine.end is None:
                mine.end = begin + payload if mine.end is None else max(mine.end, begin + payload)
            if flags & FLAG_FIN:
                mine.fin = 1
        if acked != INT64_MIN and kind != DUPLICATE:
            theirs.acked = acked if theirs.acked is None else max(theirs.acked, acked)
        in_flight = -1
        if mine.end is not None:
            in_flight = max(mine.end - (mine.acked if mine.acked is not None else 0), 0)
        return relative, relative_ack, in_flight, missing


def _relative(side: _Side, offset: int, number: int) -> int:
    """Give a number after that of the SYN; where the offset is unknown, modulo 2³²."""
    if offset != INT64_MIN:
        side.base = (number - offset) % 2**32
        return offset + 1
    if side.base is None:
        side.base = number
    return (number - side.base + 1) % 2**32
