"""The stretch of a connection's segments that a time–sequence graph shows.

Theory of operation
-------------------
A graph of more than a few thousand segments is a line. So a connection's segments are looked at in overlapping runs of
`MOST_SEGMENTS`, as they come, and the run with the most segments sent again, windows closed and holes filled is kept;
of equal ones the first. Memory is two runs, however long the connection.

What it cannot see: trouble that is spread thinly over more segments than a run has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tcpsight.tables import FLAG_FIN, FLAG_RST, FLAG_SYN, KINDS, SegmentDetails, joined_rows

MOST_SEGMENTS = 2000

_NOTABLE = tuple(KINDS.index(name) for name in ("retransmission", "out_of_order", "zero_window_probe"))


class SegmentExcerpt:
    """Keep the most notable run of one connection's segments.

    Parameters
    ----------
    most : int
        Segments of a run.

    Attributes
    ----------
    seen : int
        How many segments the connection had.
    """

    def __init__(self, most: int = MOST_SEGMENTS) -> None:
        self.seen = 0
        self._most = most
        self._parts: list[np.ndarray[Any, Any]] = []
        self._held = 0
        self._best = np.zeros(0, SegmentDetails.dtype)
        self._best_score = -1

    def feed(self, segments: SegmentDetails) -> None:
        """Take its next segments; they are copied."""
        self.seen += len(segments)
        self._parts.append(joined_rows([segments.rows]))
        self._held += len(segments)
        # By half a run, so that trouble at the edge of one is whole in the next.
        step = max(self._most // 2, 1)
        if self._held < self._most + step:
            return
        window = joined_rows(self._parts)
        while len(window) >= self._most + step:
            self._consider(window[: self._most])
            window = window[step:]
        self._parts, self._held = [window], len(window)

    def segments(self) -> SegmentDetails:
        """Give the run that is kept."""
        window = joined_rows([self._best[:0], *self._parts])
        self._consider(window[: self._most])
        self._consider(window[-self._most :])
        return SegmentDetails(self._best)

    def _consider(self, rows: np.ndarray[Any, Any]) -> None:
        score = int(notable(SegmentDetails(rows)).sum())
        if score > self._best_score:
            self._best, self._best_score = joined_rows([rows]), score


def notable(segments: SegmentDetails) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell which segments are sent again, fill a hole, or close a window, shape (n,)."""
    is_closing = (segments.window_bytes == 0) & ((segments.flags & (FLAG_SYN | FLAG_FIN | FLAG_RST)) == 0)
    found: np.ndarray[Any, np.dtype[np.bool_]] = np.isin(segments.kind, _NOTABLE) | is_closing
    return found
