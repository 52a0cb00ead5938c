"""Which streams hold some bytes, told from runs of payload in the order in which they lie in the capture.

Theory of operation
-------------------
Where a stream's runs were captured in order, without overlaps, a pattern stands in one of them, or begins at the end of
one and goes on in the next: both are seen while the capture is read from front to back, once, and no stream is put in
order. A stream with a run that begins before the end of the one before it is doubtful: something was sent again, or
came late. Whoever asks must put it in order and look there. So nothing is missed, and nothing is found that is not
there.

What it cannot see: patterns of more than `MOST_BYTES`; whoever has one looks for its beginning and takes every stream
that holds it for doubtful.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tcpsight.connections._search import search

MOST_BYTES = 64
HOLDS = 1
DOUBTFUL = 2


class Holding(NamedTuple):
    """Connections, by number, ascending.

    Attributes
    ----------
    sure, doubtful : ndarray of int64
        Those that hold the pattern, and those of which it is not known.
    """

    sure: np.ndarray[Any, Any]
    doubtful: np.ndarray[Any, Any]


class PieceSearch:
    """Look for a pattern in pieces, stretch by stretch, in their order.

    Parameters
    ----------
    pieces : ndarray
        `Pieces` rows of the whole capture, shape (n,).
    pattern : bytes
        At least one byte.
    """

    def __init__(self, pieces: np.ndarray[Any, Any], pattern: bytes) -> None:
        self._pieces = pieces
        self._pattern = pattern[:MOST_BYTES]
        self._is_whole = len(pattern) <= MOST_BYTES
        self._ends = np.zeros(len(pieces), np.uint64)
        self._found = np.zeros(len(pieces), np.uint8)

    def feed(self, first: int, last: int, data: Any, origin: int) -> None:
        """Look through pieces [first, last), whose bytes are in `data`, which begins at `origin`."""
        search(self._pieces.view(np.uint8), first, last, data, origin, self._pattern, self._ends, self._found)

    def holding(self) -> Holding:
        """Tell which connections hold it."""
        numbers = self._pieces["connection_id"]
        doubtful = np.unique(numbers[self._found & DOUBTFUL != 0])
        holds = np.unique(numbers[self._found & HOLDS != 0])
        if not self._is_whole:
            return Holding(holds[:0], np.union1d(doubtful, holds))
        return Holding(np.setdiff1d(holds, doubtful, assume_unique=True), doubtful)
