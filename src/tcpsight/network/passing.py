"""What became of segments between two capture points: which way they went, which were lost or never captured.

Theory of operation
-------------------
*Which way.* What the client sent has to come by the client-side point first. By clocks that differ nobody can tell,
but a segment one way and the next one the other way together can: server-side time less client-side time of the one,
less the same of the other, is what both needed on the way, whatever the clocks show. It is positive if the points are
the way round that they are said to be, negative if not.

*Lost or not captured.* What was seen at the point nearer its sender and not at the other one was lost between them,
unless its receiver acknowledges bytes that the other capture never has: then it passed and was not captured. What was
seen at the far point only was not captured at the near one, or is a copy that the network made.

What it cannot see
------------------
Whether a pure acknowledgment was lost or not captured: it is taken for lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.network.full_segments import full_segments
from tcpsight.network.matching import Covered, Line, Matched, Side, is_alike
from tcpsight.tables import DIRECTIONS, FLAG_FIN, FLAG_SYN, INT64_MIN

Integers = np.ndarray[Any, np.dtype[np.int64]]

CLIENT_SIDE, SERVER_SIDE = 0, 1

SAME_PLACE_NS = 20_000
"""Two stamps of one frame on one host differ by less; so much the wrong way round says nothing."""

MOST_AGAINST = 8
"""Of a connection that runs the other way, so many times more turns say so than speak against it."""

LOST, MISSED_FAR, MISSED_NEAR, COPIED = range(4)
"""Lost between the points; passed, but not captured at the far one, or at the near one; sent on twice."""

FATE = np.dtype(
    [
        ("time_ns", "i8"),
        ("frame", "i8"),
        ("bytes", "i8"),
        ("segments", "i8"),
        ("side", "u1"),
        ("direction", "u1"),
        ("fate", "u1"),
        ("has_data", "u1"),
    ]
)
"""A segment that one capture has and the other has not, by the clock of the side that has it.

`segments` counts an offloaded one as the full-size ones that it is on the wire.
"""


@dataclass(frozen=True, slots=True)
class Way:
    """How often connections speak for, and against, the points being the way round they are said to be.

    Attributes
    ----------
    right, wrong : ndarray of int64, shape (connections,)
        Turns of direction.
    """

    right: Integers
    wrong: Integers

    @property
    def is_reversed(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which connections run the other way, shape (connections,)."""
        return runs_reversed(self.right, self.wrong)


def runs_reversed(right: Integers, wrong: Integers) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell which connections run the other way: hardly a turn speaks against it. Where both do, a clock was set."""
    mask: np.ndarray[Any, np.dtype[np.bool_]] = wrong > MOST_AGAINST * right
    return mask


def which_way(client_side: Side, server_side: Side, matched: Matched, connections: int) -> Way:
    """Tell which way each connection runs between the points."""
    ours, theirs = (rows[matched.is_timed] for rows in matched.rows)
    order = np.lexsort((ours, client_side.stream[ours] >> 1))
    ours, theirs = ours[order], theirs[order]
    stream = client_side.stream[ours]
    difference = server_side.sightings.time_ns[theirs] - client_side.sightings.time_ns[ours]
    turns = np.flatnonzero((np.diff(stream >> 1) == 0) & (np.diff(stream & 1) != 0))
    sign = np.where(stream[turns] & 1 == 0, 1, -1)
    needed = sign * (difference[turns] - difference[turns + 1])
    talk = stream[turns] >> 1
    right = np.bincount(talk[needed > SAME_PLACE_NS], minlength=connections)
    wrong = np.bincount(talk[needed < -SAME_PLACE_NS], minlength=connections)
    return Way(right, wrong)


def fates(
    sides: tuple[Side, Side], matched: Matched, wanted: np.ndarray[Any, np.dtype[np.bool_]]
) -> np.ndarray[Any, Any]:
    """Tell of each segment that one capture has and the other has not, or not whole, what became of it.

    Parameters
    ----------
    sides : tuple of Side
        Client side, server side.
    matched : Matched
        Which segments are the same.
    wanted : ndarray of bool, shape (connections,)
        Whose segments to tell of.

    Returns
    -------
    ndarray of FATE, shape (m,)
    """
    found = []
    full = full_segments(sides)
    for direction in range(len(DIRECTIONS)):
        near = CLIENT_SIDE if DIRECTIONS[direction] == "client" else SERVER_SIDE
        for side in (near, 1 - near):
            rows = _unseen(sides[side], matched.seen_bytes[side], direction, wanted)
            fate = _at_near(sides, rows, near) if side == near else _at_far(sides, rows, near)
            told = _told(sides[side], rows, matched.seen_bytes[side], side)
            told["fate"] = fate
            told["segments"] = np.maximum(-(-told["bytes"] // full[sides[side].stream[rows]]), 1)
            found.append(told)
    return np.concatenate(found)


def _unseen(side: Side, seen: Integers, direction: int, wanted: np.ndarray[Any, np.dtype[np.bool_]]) -> Integers:
    is_short = seen < side.sightings.payload_bytes
    return np.flatnonzero(is_short & (side.stream & 1 == direction) & wanted[side.stream >> 1])


def _told(side: Side, rows: Integers, seen: Integers, number: int) -> np.ndarray[Any, Any]:
    table = side.sightings.rows[rows]
    told = np.zeros(len(rows), FATE)
    told["time_ns"], told["frame"], told["direction"] = table["time_ns"], table["frame_number"], side.stream[rows] & 1
    told["bytes"] = table["payload_bytes"] - np.maximum(seen[rows], 0)
    told["side"] = number
    told["has_data"] = (table["payload_bytes"] > 0) | (table["flags"] & (FLAG_SYN | FLAG_FIN) != 0)
    return told


def _at_near(sides: tuple[Side, Side], rows: Integers, near: int) -> Integers:
    """Tell of segments that the far point has not whether they were lost."""
    fate = np.full(len(rows), LOST)
    mine, far = sides[near], sides[1 - near]
    if not len(rows):
        return fate
    stream, begin = mine.stream[rows], mine.sightings.offset[rows]
    end = begin + mine.sightings.payload_bytes[rows]
    missing = covered_bytes(far, stream, begin, end) == 0
    passed = acknowledged(far, int(max(stream.max(), far.stream.max())) + 2)[stream] >= end
    fate[(end > begin) & missing & passed] = MISSED_FAR
    return fate


def _at_far(sides: tuple[Side, Side], rows: Integers, near: int) -> Integers:
    """Tell of segments that the near point has not whether they are copies of one that it has."""
    return np.where(is_alike(sides[1 - near], rows, sides[near]), COPIED, MISSED_NEAR)


def acknowledged(side: Side, streams: int) -> Integers:
    """Give up to where each stream was acknowledged at a point, shape (streams,)."""
    most = np.full(streams, INT64_MIN)
    np.maximum.at(most, side.stream ^ 1, side.sightings.acked_offset)
    return most


def covered_bytes(side: Side, stream: Integers, begin: Integers, end: Integers) -> Integers:
    """Tell how many of the bytes [begin, end) of streams a point ever saw, shape (n,)."""
    table = side.sightings
    rows = np.flatnonzero(table.payload_bytes > 0)
    own, first = side.stream[rows], table.offset[rows]
    last = first + table.payload_bytes[rows]
    line = Line(*(np.concatenate(pair) for pair in ((own, stream), (first, begin), (last, end))))
    at, place = line.at(own, first), line.at(stream, begin)
    covered = Covered(at, at + (last - first))
    return covered.below(place + (end - begin)) - covered.below(place)


class FirstSeen:
    """What brought each byte to a point first.

    Parameters
    ----------
    side : Side
        What the point saw.
    stream, begin, end : ndarray of int64
        Bytes that will be asked for.
    """

    def __init__(self, side: Side, stream: Integers, begin: Integers, end: Integers) -> None:
        table = side.sightings
        rows = np.flatnonzero(table.new_bytes > 0)
        own, first = side.stream[rows], table.offset[rows] + table.new_at[rows]
        last = first + table.new_bytes[rows]
        self._line = Line(*(np.concatenate(pair) for pair in ((own, stream), (first, begin), (last, end))))
        at = self._line.at(own, first)
        order = np.argsort(at, kind="stable")
        self._begins, self._rows = at[order], rows[order]
        self._ends = self._begins + table.new_bytes[rows][order]
        self._covered = Covered(self._begins, self._ends)

    def covered(self, stream: Integers, begin: Integers, end: Integers) -> Integers:
        """Tell how many of the bytes [begin, end) were seen, shape (n,)."""
        first = self._line.at(stream, begin)
        return self._covered.below(first + (end - begin)) - self._covered.below(first)

    def row(self, stream: Integers, offset: Integers) -> Integers:
        """Give the row that brought a byte first, shape (n,); −1 if none did."""
        place = self._line.at(stream, offset)
        run = np.searchsorted(self._begins, place, "right") - 1
        is_seen = run >= 0
        is_seen[is_seen] = self._ends[run[is_seen]] > place[is_seen]
        rows = np.full(len(stream), -1, np.int64)
        rows[is_seen] = self._rows[run[is_seen]]
        return rows

    def last_row(self, stream: Integers, begin: Integers, end: Integers) -> Integers:
        """Give the row that brought the last of the bytes [begin, end) to come, shape (n,); −1 if one never came."""
        first = self._line.at(stream, begin)
        low = np.maximum(np.searchsorted(self._begins, first, "right") - 1, 0)
        high = np.maximum(np.searchsorted(self._begins, first + (end - begin), "left"), low + 1)
        is_whole = (self.covered(stream, begin, end) == end - begin) & (end > begin)
        latest = np.full(len(stream), -1, np.int64)
        if is_whole.any():
            # One more, so that a run of rows may end behind the last.
            rows = np.append(self._rows, -1)
            bounds = np.stack([low[is_whole], high[is_whole]], axis=1).reshape(-1)
            latest[is_whole] = np.maximum.reduceat(rows, bounds)[::2]
        return latest
