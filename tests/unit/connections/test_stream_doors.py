"""The kernel of the index refuses what does not fit, before it touches anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tcpsight.connections import ConnectionTracking
from tcpsight.connections._search import doubt, join, search_parts
from tcpsight.connections._streams import StreamEnds, follow, follow_all, gather
from tcpsight.connections.overlaps import cover, merged
from tcpsight.tables import Boundaries, Headers, Pieces, Segments, Streams
from tests.support.headers import headers


def columns(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def test_rows_that_do_not_belong_together_are_refused():
    rows = headers("0 > S 0\n1 < SA 0\n2 > A 10")
    tracked = ConnectionTracking().feed(rows)
    room = Pieces.allocate(3).packed(), Streams.allocate(4).packed()
    good: list[Any] = [
        rows.packed(),
        tracked.segments.packed(),
        tracked.boundaries.packed(),
        np.zeros(3, np.int64),
        *room,
    ]
    assert StreamEnds().feed(*good)[0] >= 0
    wrongs: tuple[tuple[int, Any], ...] = (
        (0, Headers.allocate(2).packed()),
        (1, good[1][:-1]),
        (2, good[2][:-1]),
        (3, np.zeros(2, np.int64)),
        (4, Pieces.allocate(2).packed()),
        (5, Streams.allocate(1).packed()),
    )
    for place, wrong in wrongs:
        given = [*good]
        given[place] = wrong
        with pytest.raises(ValueError, match=r"rows|positions|segments"):
            StreamEnds().feed(*given)


def test_a_segment_of_a_connection_that_never_opened_is_refused():
    rows = headers("0 > S 0")
    segments, nothing = Segments.allocate(1), Boundaries().packed()
    room = Pieces.allocate(1).packed(), Streams().packed()
    with pytest.raises(ValueError, match="never opened"):
        StreamEnds().feed(rows.packed(), segments.packed(), nothing, columns(-1), *room)


@pytest.mark.parametrize(("last", "count"), [(2, 3), (5, 1), (-1, 1), (1, 1)])
def test_a_broken_chain_is_refused(last, count):
    pieces = Pieces.allocate(2)
    pieces.previous[:] = -1, 0
    follow(pieces.packed(), 1, np.empty(2, np.int64))
    with pytest.raises(ValueError, match="chain"):
        follow(pieces.packed(), last, np.empty(count, np.int64))


@pytest.mark.parametrize(
    ("at", "length", "room"), [(-1, 1, 9), (0, -1, 9), (3, 2, 9), (5, 0, 9), (0, 3, 2), (2**62, 2**62, 9)]
)
def test_bytes_outside_the_data_are_not_gathered(at, length, room):
    with pytest.raises(ValueError, match=r"outside|room"):
        gather(b"data", columns(at), columns(length), bytearray(room))


def test_gathered_bytes_follow_each_other():
    out = bytearray(5)
    assert gather(b"abcdef", columns(4, 0, 2), columns(2, 1, 0), out) == 3
    assert out == b"efa\0\0"
    with pytest.raises(ValueError, match="number"):
        gather(b"", columns(1), columns(), out)


def test_many_runs_over_each_other_are_swept_in_no_time():
    n = 20_000
    starts = np.arange(n, dtype=np.int64)
    covered = cover(starts, starts + n, -starts)
    assert (len(covered.starts), len(covered.contested)) == (n, n)
    assert covered.winners.tolist() == list(range(n))
    assert [column.tolist() for column in merged(starts, starts + n)] == [[0], [2 * n - 1]]


def test_nothing_covers_nothing():
    empty = columns()
    assert [column.tolist() for column in cover(empty, empty, empty)] == [[], [], [], []]
    assert [column.tolist() for column in merged(empty, empty)] == [[], []]
    assert [column.tolist() for column in merged(columns(5, 1), columns(5, 2))] == [[1], [2]]


def test_several_chains_are_followed_into_the_room_that_is_there():
    pieces = Pieces.allocate(3)
    pieces.previous[:] = -1, -1, 0
    numbers = np.empty(3, np.int64)
    follow_all(pieces.packed(), columns(1, 2), columns(1, 2), numbers)
    assert numbers.tolist() == [1, 0, 2]
    for lasts, counts in ((columns(1, 2), columns(2, 2)), (columns(1, 2), columns(1, 9)), (columns(1), columns(1, 2))):
        with pytest.raises(ValueError, match=r"chain|room|number"):
            follow_all(pieces.packed(), lasts, counts, numbers)
    with pytest.raises(ValueError, match="room"):
        follow_all(pieces.packed(), columns(1), columns(-1), numbers)


def test_parts_outside_of_the_data_are_not_searched():
    bits, found = np.zeros(1, np.uint64), np.zeros(1, np.uint8)
    search_parts(columns(7), columns(3), b"xabc", 6, b"b", bits, bits.copy(), found)
    assert found.tolist() == [1]
    for position, length in ((5, 1), (9, 2), (7, 0), (7, -1), (2**62, 2**62)):
        with pytest.raises(ValueError, match="outside"):
            search_parts(columns(position), columns(length), b"xabc", 6, b"b", bits, bits, found)
    for pattern in (b"", b"b" * 65):
        with pytest.raises(ValueError, match="pattern"):
            search_parts(columns(7), columns(1), b"xabc", 6, pattern, bits, bits, found)
        with pytest.raises(ValueError, match="pattern"):
            join(columns(7), columns(1), bits, bits, len(pattern), found)
    with pytest.raises(ValueError, match="few"):
        search_parts(columns(7, 7), columns(1, 1), b"xabc", 6, b"b", bits, bits, found)
    with pytest.raises(ValueError, match="number"):
        join(columns(7, 8), columns(1), bits, bits, 1, found)
    with pytest.raises(ValueError, match="room"):
        doubt(Pieces.allocate(1).packed(), found[:0])
