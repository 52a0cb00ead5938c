"""Runs Headers through the rooms up to the judgment of exchanges."""

from __future__ import annotations

from tcpsight.connections import ConnectionTracking
from tcpsight.network.policing import PolicingDetection
from tcpsight.tables import Headers, Policed


def judge(headers: Headers, batch: int = 5000) -> Policed:
    """Give the Policed rows of a capture, fed in batches of so many rows."""
    tracking, detection, tables = ConnectionTracking(), PolicingDetection(), list[Policed]()
    for begin in [*range(0, len(headers), batch), None]:
        rows = Headers() if begin is None else headers[begin : begin + batch]
        tracked = tracking.finish() if begin is None else tracking.feed(rows)
        at = 0
        while True:
            part = rows[at : at + len(tracked.segments)]
            tables.append(detection.feed(tracked.segments, part, tracked.boundaries).copy())
            if tracked.is_whole:
                break
            at, tracked = at + len(tracked.segments), tracking.more()
    return Policed.concatenate(tables)
