"""What the differences of two clocks tell, on differences made by hand."""

from __future__ import annotations

import numpy as np

from tcpsight.network.clocks import clock_pieces, extremes
from tcpsight.network.strips import TOWARDS_CLIENT, TOWARDS_SERVER, Extremes

MS = 1_000_000


def observed(*rows: tuple[int, int, int]) -> Extremes:
    """Make differences from (time, difference, way), in the same order in both captures."""
    times, differences, ways = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    return Extremes(np.arange(len(rows)), np.arange(len(rows)), times, differences, ways)


def test_the_offset_is_the_middle_and_its_error_half_the_round_trip():
    (piece,) = clock_pieces(observed((0, 70 * MS, TOWARDS_SERVER), (MS, 40 * MS, TOWARDS_CLIENT)))
    assert (piece.offset_ns, piece.offset_error_ns, piece.round_trip_min_ns) == (55 * MS, 15 * MS, 30 * MS)
    assert piece.drift_error_ppm is None


def test_longer_delays_say_nothing():
    rows = [(i * MS, 70 * MS + (i % 7) * MS, TOWARDS_SERVER) for i in range(0, 400, 2)]
    rows += [(i * MS, 40 * MS - (i % 5) * MS, TOWARDS_CLIENT) for i in range(1, 400, 2)]
    (piece,) = clock_pieces(observed(*sorted(rows)))
    assert piece.offset_ns == 55 * MS


def test_one_way_alone_tells_nothing():
    assert clock_pieces(observed((0, 1, TOWARDS_SERVER), (5, 2, TOWARDS_SERVER))) == []


def test_no_drift_over_years_is_exactly_none():
    year = 365 * 86_400 * 10**9
    rows = [(i * year // 50, 10 * MS * (1 - 2 * (i % 2)), i % 2) for i in range(600)]
    (piece,) = clock_pieces(observed(*rows))
    assert (piece.drift_ppm, piece.offset_ns, piece.round_trip_min_ns) == (0.0, 0, 20 * MS)


def test_instants_go_to_the_other_clock_and_back():
    rows = [(i * 1000 * MS, 10 * MS * (1 - 2 * (i % 2)) + i * 90_000, i % 2) for i in range(600)]
    (piece,) = clock_pieces(observed(*rows))
    assert abs(piece.drift_ppm - 90) <= (piece.drift_error_ppm or 0)
    times = np.arange(0, 600_000 * MS, 977 * MS)
    assert np.abs(piece.at_client_side(times + piece.ahead_ns(times)) - times).max() <= 1


def test_a_window_keeps_what_is_tight_each_way():
    every = observed((0, 9, TOWARDS_SERVER), (1, 7, TOWARDS_SERVER), (2, 1, TOWARDS_CLIENT), (3, 4, TOWARDS_CLIENT))
    kept = extremes(
        Extremes(
            np.zeros(4, np.int64),
            *(getattr(every, name) for name in ("server_order", "time_ns", "difference_ns", "towards")),
        ),
        (0, 10**6),
    )
    assert sorted(kept.difference_ns.tolist()) == [4, 7]


def turns(count: int, step_ns: int, at: int) -> list[tuple[int, int, int]]:
    """Make differences of a path of 20 ms each way, its clocks alike until one is set at a place."""
    ways = (TOWARDS_SERVER, TOWARDS_CLIENT)
    return [
        (i * MS, (20 * MS if i % 2 == 0 else -20 * MS) + (step_ns if i >= at else 0), ways[i % 2]) for i in range(count)
    ]


def test_a_step_that_is_not_found_is_within_the_error():
    for step_ms in (-30, 5, 39):
        for at in (3, 6, 9):
            (piece,) = clock_pieces(observed(*turns(12, step_ms * MS, at)))
            assert piece.is_consistent
            assert all(abs(piece.offset_ns - there) <= piece.offset_error_ns for there in (0, step_ms * MS))
            assert piece.offset_error_ns <= 20 * MS + abs(step_ms) // 2 * MS + MS


def test_without_a_step_nothing_is_added_to_the_error():
    (piece,) = clock_pieces(observed(*turns(12, 0, 0)))
    assert piece.offset_error_ns == 20 * MS
