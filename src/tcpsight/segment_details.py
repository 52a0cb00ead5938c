"""What a person wants to know of a segment: its row, and what its header says, beside each other."""

from __future__ import annotations

import numpy as np

from tcpsight.connections import Tracked
from tcpsight.tables import INT64_MIN, OPTION_TIMESTAMPS, Headers, SegmentDetails


def details(headers: Headers, tracked: Tracked) -> SegmentDetails:
    """Put segments and what their headers say beside each other, shape (n,)."""
    segments = tracked.segments
    table = SegmentDetails.allocate(len(segments))
    for column in type(segments).columns:
        table.rows[column.name] = segments.rows[column.name]
    for name in ("file", "frame_in_file", "captured_payload_bytes"):
        table.rows[name] = headers.rows[name]
    has_timestamps = headers.options & OPTION_TIMESTAMPS != 0
    table.timestamp_value[:] = np.where(has_timestamps, headers.timestamp_value.astype(np.int64), -1)
    table.timestamp_echo[:] = np.where(has_timestamps, headers.timestamp_echo.astype(np.int64), -1)
    for i in np.flatnonzero((headers.sack_count > 0) & (segments.acked_offset != INT64_MIN)):
        table.sack[i] = _sack_text(headers, int(i), int(segments.acked_offset[i]))
    return table


def _sack_text(headers: Headers, row: int, acked_offset: int) -> bytes:
    """Write SACK blocks as stream offsets: the nearest to the acknowledgment that have these numbers."""
    base = int(headers.acknowledgment_number[row])
    edges = headers.sack[row, : 2 * int(headers.sack_count[row])].tolist()
    offsets = [acked_offset + ((edge - base + 2**31) % 2**32 - 2**31) for edge in edges]
    return b" ".join(b"%d-%d" % pair for pair in zip(offsets[::2], offsets[1::2], strict=True))
