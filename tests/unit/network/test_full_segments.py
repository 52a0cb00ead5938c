"""How long a full segment is on the wire, by what the handshake said and by what came."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.network.full_segments import full_segments
from tcpsight.network.matching import Side
from tcpsight.tables import Sightings

SERVER = 1


def side(*payloads: int, mss: tuple[int, ...] = (), has_timestamps: bool = True) -> Side:
    """Make what the server of one connection sent, and the maximum segment sizes that SYNs said."""
    table = Sightings.allocate(len(payloads) + len(mss))
    table.payload_bytes[: len(payloads)] = payloads
    table.mss_bytes[len(payloads) :] = mss
    table.timestamp_value[:] = 7 if has_timestamps else 0
    return Side(table, np.full(len(table), SERVER))


def full(ours: Side, theirs: Side) -> int:
    return int(full_segments((theirs, ours))[SERVER])


@pytest.mark.parametrize(("has_timestamps", "expected"), [(True, 1448), (False, 1460)])
def test_it_is_the_smaller_mss_of_the_handshake_less_what_timestamps_take(has_timestamps, expected):
    syns = side(2 * 1448, mss=(9000, 1460), has_timestamps=has_timestamps)
    assert full(syns, side(64, has_timestamps=has_timestamps)) == expected
    assert full(side(64, has_timestamps=has_timestamps), syns) == expected
    # Both directions are bounded by it, while nothing speaks against it.
    assert full_segments((syns, syns)).tolist() == [1460, expected]


def test_where_both_show_longer_ones_it_is_not_what_they_show():
    assert full(side(14480, 28960, mss=(1460, 1460)), side(2896, 1448 * 10, mss=(1460, 1460))) == 1448


def test_a_path_that_was_found_to_be_narrower_shows_where_super_segments_arrive_in_pieces():
    ours = side(14000, 2800, mss=(1460, 1460))
    assert full(ours, side(1400, 1400, 1400, mss=(1460, 1460))) == 1400
    # Nothing long came, as through a black hole: that is no length of full segments.
    assert full(ours, side(300, mss=(1460, 1460))) == 1448
    # Who sends no super-segments sends each as it is on the wire.
    assert full(side(1448, 1300, mss=(1460,)), side(1300, mss=(1460,))) == 1448


@pytest.mark.parametrize(("has_timestamps", "expected"), [(True, 1448), (False, 1460)])
def test_without_a_handshake_it_is_what_most_links_carry(has_timestamps, expected):
    assert full(side(64, has_timestamps=has_timestamps), side(14480, has_timestamps=has_timestamps)) == expected


def test_without_a_handshake_and_with_longer_ones_at_both_it_is_the_commonest():
    assert full(side(8948, 8948, 8948, 3000), side(8948, 8948, 100)) == 8948
    assert full(side(1448, 1448, 2896, 14480), side(1448, 4344, 2896)) == 1448
    assert full(side(1448, 2896), side(2896, 1448)) == 1448


def test_nothing_at_all_has_some_length():
    assert (full_segments((side(), side())) > 0).all()
