"""Bytes of streams that were captured more than once, with different content.

Only streams of which a run begins in front of the end of the one before it can hold such bytes; the others are not
looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from tcpsight.streams import CapturedStreams


class Differing(NamedTuple):
    """How much there is of it.

    Attributes
    ----------
    bytes, places, connections : int
        Bytes that differ, in how many runs, of how many connections.
    """

    bytes: int
    places: int
    connections: int


def differing(streams: CapturedStreams, connection_ids: Iterable[int]) -> Differing:
    """Compare all copies of bytes of some connections."""
    size = places = 0
    found = set()
    wanted = set(connection_ids)
    for number, side in _overlapping(streams):
        if number in wanted:
            for each in streams.stream(number, side).conflicts():
                size += len(each.kept)
                places += 1
                found.add(number)
    return Differing(size, places, len(found))


def _overlapping(streams: CapturedStreams) -> list[tuple[int, int]]:
    """Give connection and direction of the streams of which a run begins before the end of the one before it."""
    pieces = streams.pieces
    if not len(pieces):
        return []
    ends, previous = pieces["offset"] + pieces["captured_bytes"], pieces["previous"]
    found = pieces[(previous >= 0) & (pieces["offset"] < ends[previous])]
    keys = np.unique(found["connection_id"] * 2 + found["direction"])
    return [(int(key) >> 1, int(key) & 1) for key in keys]
