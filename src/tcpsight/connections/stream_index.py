"""The index of all streams: which bytes of which stream were captured in which frame, and where they are kept.

Theory of operation
-------------------
Each captured run of payload becomes a row of 64 bytes, in capture order, chained to the row before it of the same
stream; when a connection ends, a row for each of its directions says where its chain ends. Per open connection two
numbers are kept, and no payload ever. `streams.py` makes streams of it.

What it cannot see: payload that the connections room could not place. It is left out, as are second captures of a
frame, the garbage octet of a keep-alive, and what a RST carries.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tcpsight.connections._streams import StreamEnds, follow
from tcpsight.connections.overlaps import Numbers
from tcpsight.connections.tracking import Tracked
from tcpsight.tables import Headers, Pieces, Streams


class Indexed(NamedTuple):
    """What a batch adds to the index; valid until the next call.

    Attributes
    ----------
    pieces : Pieces
        Runs of payload, numbered on from those before.
    streams : Streams
        Two of each connection that ended.
    """

    pieces: Pieces
    streams: Streams


class StreamIndexing:
    """Write down, batch by batch, where the bytes of every stream are.

    How rows are cut into batches never changes the index.
    """

    def __init__(self) -> None:
        self._ends = StreamEnds()
        self._pieces = Pieces()
        self._streams = Streams()

    def feed(self, headers: Headers, tracked: Tracked, positions: Numbers) -> Indexed:
        """Take the next segments.

        Parameters
        ----------
        headers : Headers
            Shape (n,).
        tracked : Tracked
            What they became.
        positions : ndarray of int64, shape (n,)
            Where the payload of each is kept; −1 where there is none.
        """
        if len(self._pieces) < len(headers):
            self._pieces = Pieces.allocate(len(headers))
        if len(self._streams) < 2 * len(tracked.boundaries):
            self._streams = Streams.allocate(2 * len(tracked.boundaries))
        pieces, streams = self._ends.feed(
            headers.packed(),
            tracked.segments.packed(),
            tracked.boundaries.packed(),
            positions,
            self._pieces.rows.view(np.uint8),
            self._streams.rows.view(np.uint8),
        )
        return Indexed(Pieces(self._pieces.rows[:pieces]), Streams(self._streams.rows[:streams]))


def pieces_of(index: np.ndarray[Any, Any], last_piece: int, pieces: int) -> Pieces:
    """Take the rows of one stream out of the index of all, in the order in which they were captured.

    Parameters
    ----------
    index : ndarray
        `Pieces` rows of the whole capture, shape (n,).
    last_piece, pieces : int
        As a `Streams` row has them.
    """
    numbers = np.empty(pieces, np.int64)
    follow(index.view(np.uint8), last_piece, numbers)
    return Pieces(index[numbers])
