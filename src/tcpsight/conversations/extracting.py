"""All streams at once, in one pass through the capture: for those that were captured whole and in order.

Theory of operation
-------------------
Where every run of a stream begins where the one before it ended, none is missing and none was cut short, a stream is
its runs as they come. The capture is looked at in stretches, front to back; what a stretch holds of each stream is
handed over at once, as it lies there. Streams that are not so (sent again, late, with holes) are named, to be put in
order one by one.

What it cannot see: nothing that putting them in order would see; the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tcpsight.tables import DIRECTIONS, KINDS

if TYPE_CHECKING:
    from tcpsight.streams import CapturedStreams

PROBE = KINDS.index("zero_window_probe")
EXTRACTED_BYTES = 32 << 20
"""Of many streams side by side a stretch holds little of each: the longer it is, the more is written at once."""

EXTRACTED_PIECES = 1 << 18

Numbers = np.ndarray[Any, np.dtype[np.int64]]


class Parcel(NamedTuple):
    """What a stretch of the capture holds of some streams, shape (n,) each; valid until the next.

    Attributes
    ----------
    keys : ndarray of int64
        Which stream: twice the place of its connection in the table, plus 0 for what the client sent, 1 the server.
    offsets : ndarray of int64
        Where in the stream its bytes belong.
    firsts, lasts : ndarray of int64
        Which runs they are: [first, last).
    data : buffer
        Where the runs lie.
    positions, lengths : ndarray of int64, shape (runs,)
        Where each begins, and how long it is.
    """

    keys: Numbers
    offsets: Numbers
    firsts: Numbers
    lasts: Numbers
    data: Any
    positions: Numbers
    lengths: Numbers


class Extraction:
    """Take streams out of a capture.

    Parameters
    ----------
    streams : CapturedStreams
        All of them.
    rows : ndarray of int64, shape (n,)
        Places in the table of the connections that are wanted.

    Attributes
    ----------
    others : list of (int, str)
        Row and side of the streams that must be put in order one by one.
    """

    def __init__(self, streams: CapturedStreams, rows: Numbers) -> None:
        self._streams = streams
        pieces, connections = streams.pieces, streams.connections
        self._keys = _keys(pieces, connections.connection_id)
        lengths = np.zeros(2 * len(connections), np.int64)
        for side, name in enumerate(DIRECTIONS):
            lengths[side::2] = connections.rows[f"{name}_bytes"]
        is_simple = _simple(pieces, self._keys, lengths)
        wanted = np.zeros(2 * len(connections), np.bool_)
        wanted[2 * rows] = wanted[2 * rows + 1] = True
        self._is_taken = is_simple & wanted & (lengths > 0)
        others = np.flatnonzero(wanted & ~is_simple)
        self.others = [(int(key) >> 1, DIRECTIONS[int(key) & 1]) for key in others]

    def parcels(self) -> Iterator[Parcel]:
        """Give the bytes of the simple streams, each stream's in order."""
        pieces = self._streams.pieces
        places = np.flatnonzero(self._is_taken[self._keys] & (self._keys >= 0))
        for first in range(0, len(places), EXTRACTED_PIECES):
            some = places[first : first + EXTRACTED_PIECES]
            keys, offsets = self._keys[some], pieces["offset"][some]
            for stretch in self._streams.stretches(some, EXTRACTED_BYTES):
                part = slice(stretch.first, stretch.last)
                order = np.argsort(keys[part], kind="stable")
                ordered = keys[part][order]
                firsts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
                yield Parcel(
                    ordered[firsts],
                    offsets[part][order][firsts],
                    firsts,
                    np.append(firsts[1:], len(order)),
                    stretch.data,
                    stretch.positions[order] - stretch.origin,
                    stretch.lengths[order],
                )


def _keys(pieces: Any, numbers: Numbers) -> Numbers:
    """Tell of each piece which stream it belongs to: twice the row of its connection, plus its side; −1 for none."""
    if not len(numbers):
        return np.full(len(pieces), -1, np.int64)
    rows = np.searchsorted(numbers, pieces["connection_id"]).clip(None, len(numbers) - 1)
    keys: Numbers = np.where(numbers[rows] == pieces["connection_id"], 2 * rows + pieces["direction"], -1)
    return keys


def _simple(pieces: Any, keys: Numbers, lengths: Numbers) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell which streams are their runs as they come, whole."""
    previous = pieces["previous"]
    ends = pieces["offset"] + pieces["captured_bytes"]
    expected = np.where(previous >= 0, ends[previous], 0) if len(pieces) else ends
    is_odd = (pieces["offset"] != expected) | (pieces["captured_bytes"] != pieces["payload_bytes"])
    is_odd |= pieces["kind"] == PROBE
    captured = np.zeros(len(lengths) + 1, np.int64)
    np.add.at(captured, keys, pieces["captured_bytes"].astype(np.int64))
    simple: np.ndarray[Any, np.dtype[np.bool_]] = captured[:-1] == lengths.clip(0)
    simple[keys[is_odd & (keys >= 0)]] = False
    return simple
