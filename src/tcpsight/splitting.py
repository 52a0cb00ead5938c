"""Two captures of the same traffic, compared: clocks, path delays, losses, and where each request's time went.

Theory of operation
-------------------
Each capture is run through once (`sightings.py`). The connections of both are put together, and divided into partitions
of a few million segments; of each partition the segments are matched, and nothing is kept but what the clocks need (the
tightest differences of a few thousand windows), a sample of the delays, the segments that one side only has, and four
instants of each request. When the clocks are known, instants of the server side are read by the client side's clock.

A request's instants at the client-side point are those of its row in Requests. At the server-side point they are
when the same *bytes* were first seen there: all of the request's, for its end; the first byte that the client-side
point saw of the response, or the last. So what was lost between the points, and sent again, counts for the path.

Memory: 72 B per segment of both captures up to 4 million each, then a temporary file of as much; 600 B per segment of a
partition (at most 4 million, more if one connection has more); 300 B per connection; 350 B per request; 16 B per
segment that one side only has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tcpsight.network import clocks, passing
from tcpsight.network.clocks import ClockPiece
from tcpsight.network.matching import Matched, Side, match
from tcpsight.network.pairing import Pairs, pair_connections
from tcpsight.network.strips import TOWARDS_CLIENT, TOWARDS_SERVER, Extremes, joined, taken
from tcpsight.sightings import Sighted
from tcpsight.split_requests import Instants, instants_of
from tcpsight.tables import DIRECTIONS, INT64_MIN, Sightings

Integers = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
End = Literal["response_first", "response_last"]

PARTITION_ROWS = 4_000_000
"""Segments of both captures that are compared at once."""

LAST_FRAME = np.iinfo(np.int64).max

SAMPLED_DELAYS = 1_000_000
"""Percentiles of delays are those of at most about so many each way, evenly chosen."""


@dataclass(slots=True)
class Comparison:
    """What two captures tell together.

    Attributes
    ----------
    client_side, server_side : Sighted
        The captures.
    pairs : Pairs
        Which connections are the same.
    clock : list of ClockPiece
        How the clocks differ, between steps; empty if no segment was matched each way.
    right, wrong : ndarray of int64, shape (pairs,)
        How often each connection speaks for the points being the way round they are said to be, and against it.
    matched, compared : ndarray of int64, shape (2,)
        Of either side: segments that both have; segments of connections that both have.
    copies_unknown : ndarray of int64, shape (2,)
        Of either side: segments of which it is not known whether they or copies of their bytes reached the other.
    seen_frames : ndarray of int64, shape (2, 2, 2)
        Of either side and direction, the first and the last frame that the other side saw, too.
    delays : Extremes
        A sample of the differences of time.
    fates : ndarray of passing.FATE
        What one side only has.
    instants : Instants
        The requests' instants at the server-side point, by its clock.
    """

    client_side: Sighted
    server_side: Sighted
    pairs: Pairs
    right: Integers
    wrong: Integers
    clock: list[ClockPiece] = field(default_factory=list)
    matched: Integers = field(default_factory=lambda: np.zeros(2, np.int64))
    compared: Integers = field(default_factory=lambda: np.zeros(2, np.int64))
    copies_unknown: Integers = field(default_factory=lambda: np.zeros(2, np.int64))
    seen_frames: Integers = field(default_factory=lambda: np.tile([LAST_FRAME, -1], (2, 2, 1)))
    delays: Extremes = field(default_factory=lambda: joined([]))
    fates: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(0, passing.FATE))
    instants: Instants = field(default_factory=lambda: Instants.unknown(0))

    @property
    def sides(self) -> tuple[Sighted, Sighted]:
        """Both captures."""
        return self.client_side, self.server_side

    @property
    def is_swapped(self) -> bool:
        """Whether most of what was matched says that the client-side capture is nearer the servers."""
        is_reversed = self.is_reversed
        return int(self.wrong[is_reversed].sum()) > int(self.right[~is_reversed].sum())

    @property
    def is_reversed(self) -> Mask:
        """Which connections run the other way, shape (pairs,)."""
        return passing.runs_reversed(self.right, self.wrong)

    def piece_of(self, order: Integers, server_order: Integers) -> Integers:
        """Tell in which piece of the clock places of both captures lie, shape (n,); −1 for none."""
        place = np.full(len(order), -1, np.int64)
        for number, piece in enumerate(self.clock):
            ours, theirs = piece.orders
            is_here = (order >= ours[0]) & (order <= ours[1])
            place[is_here & (server_order >= theirs[0]) & (server_order <= theirs[1])] = number
        return place


def compare(
    client_side: Sighted, server_side: Sighted, *, end: End = "response_first", partition_rows: int = PARTITION_ROWS
) -> Comparison:
    """Compare two captures of the same traffic.

    Parameters
    ----------
    client_side, server_side : Sighted
        The one taken nearer the clients, and the one nearer the servers.
    end : {"response_first", "response_last"}
        Where the response time ends.
    partition_rows : int
        About how many segments are compared at once.
    """
    pairs = pair_connections(client_side.talks, server_side.talks)
    none = np.zeros(len(pairs), np.int64)
    comparison = Comparison(client_side, server_side, pairs, none.copy(), none.copy())
    comparison.instants = Instants.unknown(len(client_side.requests))
    parts: list[Extremes] = []
    sampled: list[Extremes] = []
    told = [comparison.fates]
    drift = 0.0
    every = 1 + max(client_side.rows.count, server_side.rows.count) // SAMPLED_DELAYS
    for part in _partitions(comparison, partition_rows):
        observed = _compared(comparison, part)
        told.append(passing.fates(part.sides, part.matched, ~comparison.is_reversed[part.pairs]))
        instants_of(comparison.instants, client_side.requests, part.requests, part.sides, end=end)
        if not parts:
            drift = clocks.rough_drift(clocks.extremes(observed, client_side.frames))
        parts.append(clocks.extremes(observed, client_side.frames, drift))
        sampled.append(taken(observed, np.arange(0, len(observed), every)))
    comparison.clock = clocks.clock_pieces(clocks.extremes(joined(parts), client_side.frames, drift))
    comparison.delays, comparison.fates = joined(sampled), np.concatenate(told)
    return comparison


# --- partitions


@dataclass(frozen=True, slots=True)
class Partition:
    """Some connections that both captures have.

    Attributes
    ----------
    pairs : ndarray of int64, shape (n,)
        Which; they are numbered 0, 1, 2 … here.
    sides : tuple of Side
        Their segments.
    matched : Matched
        Which of these are the same.
    requests : tuple of ndarray of int64, shape (m,) each
        Rows of Requests that belong to them, and the number of the connection of each.
    """

    pairs: Integers
    sides: tuple[Side, Side]
    matched: Matched
    requests: tuple[Integers, Integers]


def _partitions(comparison: Comparison, partition_rows: int) -> Iterator[Partition]:
    """Divide the connections, and give the segments of each part."""
    pairs = comparison.pairs
    segments = sum(side.rows.count for side in comparison.sides)
    parts = min(-(-segments // partition_rows), max(len(pairs), 1)) if len(pairs) else 0
    pair_of = [_pair_of(side, rows) for side, rows in zip(comparison.sides, pairs.rows, strict=True)]
    requests = comparison.client_side.requests
    talk = np.searchsorted(comparison.client_side.talks["connection_id"], requests.connection_id)
    request_pair = pair_of[0][talk] if len(talk) else talk
    for part in range(parts):
        mine = np.arange(part, len(pairs), parts)
        sides = (
            _side(comparison.client_side, pair_of[0], None, (part, parts)),
            _side(comparison.server_side, pair_of[1], pairs, (part, parts)),
        )
        rows = np.flatnonzero((request_pair >= 0) & (request_pair % parts == part))
        yield Partition(mine, sides, match(*sides), (rows, request_pair[rows] // parts))


def _pair_of(side: Sighted, rows: Integers) -> Integers:
    """Give for each connection the number of its pair; −1 for none."""
    numbers = np.full(len(side.talks), -1, np.int64)
    numbers[rows] = np.arange(len(rows))
    return numbers


def _side(seen: Sighted, pair_of: Integers, pairs: Pairs | None, chosen: tuple[int, int]) -> Side:
    """Collect the segments of a partition; the server side's with offsets and directions as on the client side."""
    part, parts = chosen
    tables, streams = [], []
    for block in seen.rows:
        pair = pair_of[np.searchsorted(seen.talks["connection_id"], block.connection_id)]
        rows = np.flatnonzero((pair >= 0) & (pair % parts == part))
        table, pair = block[rows], pair[rows]
        direction = table.direction.astype(np.int64)
        if pairs is not None:
            table = table.copy()
            direction ^= pairs.is_flipped[pair]
            table.rows["offset"] += pairs.shift[pair, direction]
            is_known = table.acked_offset != INT64_MIN
            table.rows["acked_offset"] += np.where(is_known, pairs.shift[pair, 1 - direction], 0)
        tables.append(table)
        streams.append((pair // parts) * 2 + direction)
    return Side(Sightings.concatenate(tables), np.concatenate([np.zeros(0, np.int64), *streams]))


def _compared(comparison: Comparison, part: Partition) -> Extremes:
    """Count what was matched, tell which way connections run; give the differences of time of those that run right."""
    way = passing.which_way(*part.sides, part.matched, len(part.pairs))
    comparison.right[part.pairs], comparison.wrong[part.pairs] = way.right, way.wrong
    comparison.compared += [len(side.stream) for side in part.sides]
    comparison.matched += [int((seen >= 0).sum()) for seen in part.matched.seen_bytes]
    comparison.copies_unknown += part.matched.copies_unknown
    for number, (side, seen) in enumerate(zip(part.sides, part.matched.seen_bytes, strict=True)):
        for direction in range(len(DIRECTIONS)):
            frames = side.sightings.frame_number[(seen >= 0) & (side.stream & 1 == direction)]
            known = comparison.seen_frames[number, direction]
            known[0] = min([known[0], *frames[:1]])
            known[1] = max([known[1], *frames[-1:]])
    ours, theirs = (rows[part.matched.is_timed] for rows in part.matched.rows)
    is_right = ~way.is_reversed[part.sides[0].stream[ours] >> 1]
    ours, theirs = ours[is_right], theirs[is_right]
    table = part.sides[0].sightings
    return Extremes(
        table.frame_number[ours].astype(np.int64),
        part.sides[1].sightings.frame_number[theirs].astype(np.int64),
        table.time_ns[ours].astype(np.int64),
        part.sides[1].sightings.time_ns[theirs] - table.time_ns[ours],
        part.sides[0].stream[ours] & 1,
    )


def delays_ns(comparison: Comparison) -> tuple[Integers, Integers]:
    """Give delays towards the server, and towards the client, where the clocks are known, sorted."""
    delays, both = comparison.delays, []
    ahead = np.zeros(len(delays), np.int64)
    place = comparison.piece_of(delays.order, delays.server_order)
    for number, piece in enumerate(comparison.clock):
        here = place == number
        if piece.is_consistent:
            ahead[here] = piece.ahead_ns(delays.time_ns[here])
        else:
            place[here] = -1
    for towards, sign in ((TOWARDS_SERVER, 1), (TOWARDS_CLIENT, -1)):
        mine = (delays.towards == towards) & (place >= 0)
        both.append(np.sort(sign * (delays.difference_ns[mine] - ahead[mine])))
    return both[0], both[1]
