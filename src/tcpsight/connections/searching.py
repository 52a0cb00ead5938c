"""Which streams hold some bytes, told from runs of payload in the order in which they lie in the capture.

Theory of operation
-------------------
Where a stream's runs were captured in order, without overlaps, a pattern stands in one of them, or begins at the end of
one and goes on in the next: both are seen while the capture is read from front to back, once, and no stream is put in
order. A stream with a run that begins before the end of the one before it is doubtful: something was sent again, or
came late. Of all such streams together it is decided, by the index alone, which part of which run gives each byte
(`overlaps.py`); these parts are looked through in the order in which they lie in the capture, too. Of each it is kept
which beginnings of the pattern it ends with, and which it would go on with, a bit for each length: put in the order of
their streams, parts that follow each other are joined by these. So each byte is looked at once, whatever came when.

What it cannot see: patterns of more than `MOST_BYTES`; whoever has one looks for its beginning, and must put every
stream in order that holds it. Nor more doubtful streams than have `MOST_PIECES`: those must be put in order, too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tcpsight.connections._search import doubt, join, search, search_parts
from tcpsight.connections._streams import follow_all
from tcpsight.connections.overlaps import Numbers, Policy, cover, ranks
from tcpsight.tables import KINDS

MOST_BYTES = 64
HOLDS = 1
DOUBTFUL = 2
LARGEST = 2**63 - 1
MOST_PIECES = 1 << 21
"""So many pieces of doubtful streams are decided on, in half a gigabyte; streams beyond these stay doubtful."""

PROBE = KINDS.index("zero_window_probe")


class Chains(NamedTuple):
    """All streams: two of each connection, the client's first, by its number, shape (2n,) each.

    Attributes
    ----------
    connection_ids : ndarray of int64
        Whose they are.
    last_pieces, pieces : ndarray of int64
        Where the chain of each ends, and how long it is.
    ends : ndarray of int64
        Up to where it is known to go.
    have_starts : ndarray of bool
        Whether offset 0 is known to be its first byte.
    """

    connection_ids: Numbers
    last_pieces: Numbers
    pieces: Numbers
    ends: Numbers
    have_starts: np.ndarray[Any, np.dtype[np.bool_]]


class Holding(NamedTuple):
    """Connections, by number, ascending.

    Attributes
    ----------
    sure, doubtful : ndarray of int64
        Those that hold the pattern, and those of which it is not known.
    """

    sure: Numbers
    doubtful: Numbers


class _Parts(NamedTuple):
    """What gives the bytes of doubtful streams, in the order of streams, shape (n,) each."""

    offsets: Numbers  # on one axis on which no two streams touch
    lengths: Numbers
    pieces: Numbers
    positions: Numbers


class PieceSearch:
    """Look for a pattern in pieces, stretch by stretch, in their order.

    Parameters
    ----------
    pieces : ndarray
        `Pieces` rows of the whole capture, shape (n,).
    pattern : bytes
        At least one byte.
    chains : Chains
        Which streams they make.
    overlaps : {"first", "last"}
        Which run gives a byte that several hold.
    """

    def __init__(
        self, pieces: np.ndarray[Any, Any], pattern: bytes, chains: Chains, overlaps: Policy = "first"
    ) -> None:
        self._pieces = pieces
        self._pattern = pattern[:MOST_BYTES]
        self._is_whole = len(pattern) <= MOST_BYTES
        self._ends = np.zeros(len(pieces), np.uint64)
        self._found = np.zeros(len(pieces), np.uint8)
        doubt(pieces.view(np.uint8), self._found)
        streams = _doubtful(pieces, chains, self._found)
        is_settled = np.cumsum(chains.pieces[streams]) <= MOST_PIECES
        settled, others = streams[is_settled], streams[~is_settled]
        self._others = np.unique(chains.connection_ids[others])
        self._found[:] = 0
        for stream in others.tolist():
            self._found[_pieces_of(pieces, chains, np.array([stream]))] = DOUBTFUL
        numbers = _pieces_of(pieces, chains, settled)
        self._found[numbers] = DOUBTFUL
        parts = self._parts = _visible(pieces, numbers, chains, settled, overlaps)
        # In the order of the capture.
        self._order = np.argsort(parts.pieces, kind="stable")
        self._part_pieces = parts.pieces[self._order]
        self._positions, self._lengths = parts.positions[self._order], parts.lengths[self._order]
        self._part_ends, self._part_starts = np.zeros((2, len(self._order)), np.uint64)
        self._part_found = np.zeros(len(self._order), np.uint8)

    def feed(self, first: int, last: int, data: Any, origin: int) -> None:
        """Look through pieces [first, last), whose bytes are in `data`, which begins at `origin`."""
        search(self._pieces.view(np.uint8), first, last, data, origin, self._pattern, self._ends, self._found)
        begin, end = np.searchsorted(self._part_pieces, (first, last)).tolist()
        if begin < end:
            part = slice(begin, end)
            positions, lengths = self._positions[part], self._lengths[part]
            ends, starts, found = self._part_ends[part], self._part_starts[part], self._part_found[part]
            search_parts(positions, lengths, data, origin, self._pattern, ends, starts, found)

    def holding(self) -> Holding:
        """Tell which connections hold it."""
        numbers, parts = self._pieces["connection_id"], self._parts
        back = np.empty_like(self._order)
        back[self._order] = np.arange(len(back))
        ends, starts, found = self._part_ends[back], self._part_starts[back], self._part_found[back]
        join(parts.offsets, parts.lengths, ends, starts, len(self._pattern), found)
        in_order = numbers[self._found == HOLDS]
        holds = np.union1d(in_order, numbers[parts.pieces[found == HOLDS]])
        if not self._is_whole:
            return Holding(holds[:0], np.union1d(holds, self._others))
        return Holding(holds, np.setdiff1d(self._others, holds, assume_unique=True))


def _doubtful(pieces: np.ndarray[Any, Any], chains: Chains, found: np.ndarray[Any, np.dtype[np.uint8]]) -> Numbers:
    """Give the streams some piece of which is in doubt, by their place in the chains."""
    numbers = chains.connection_ids[::2]
    odd = np.flatnonzero(found == DOUBTFUL)
    whose, sides = pieces["connection_id"][odd], pieces["direction"][odd]
    if not len(numbers):
        return np.zeros(0, np.int64)
    places = np.searchsorted(numbers, whose).clip(None, len(numbers) - 1)
    is_there = numbers[places] == whose
    return np.unique((2 * places + sides)[is_there])


def _pieces_of(pieces: np.ndarray[Any, Any], chains: Chains, streams: Numbers) -> Numbers:
    """Give the numbers of the pieces of some streams, stream by stream."""
    counts = chains.pieces[streams]
    numbers = np.empty(int(counts.sum()), np.int64)
    follow_all(pieces.view(np.uint8), chains.last_pieces[streams], counts, numbers)
    return numbers


def _visible(
    pieces: np.ndarray[Any, Any], numbers: Numbers, chains: Chains, streams: Numbers, overlaps: Policy
) -> _Parts:
    """Decide which parts of which pieces give the bytes of some streams, as `tcpsight.connections.streams` does."""
    if not len(numbers):
        return _Parts(*[np.zeros(0, np.int64)] * 4)
    counts = chains.pieces[streams]
    firsts, some = np.cumsum(counts) - counts, pieces[numbers]
    offsets, is_sure = some["offset"], some["kind"] != PROBE
    since = np.where(chains.have_starts[streams], 0, np.minimum.reduceat(offsets, firsts).clip(None, 0))
    wire_ends = np.where(is_sure, offsets + some["payload_bytes"], -LARGEST)
    until = np.maximum(np.maximum.reduceat(wire_ends, firsts), np.maximum(chains.ends[streams], since))
    sizes = until - since + 1
    shift = np.repeat(np.cumsum(sizes) - sizes - since, counts)
    low, high = np.repeat(since, counts), np.repeat(until, counts)
    begins, ends = (each.clip(low, high) + shift for each in (offsets, offsets + some["captured_bytes"]))
    covered = cover(begins, ends, ranks(numbers, is_sure, overlaps))
    of = covered.winners
    positions = some["position"][of] + covered.starts - shift[of] - offsets[of]
    return _Parts(covered.starts, covered.ends - covered.starts, numbers[of], positions)
