"""Which slices of a series are stumps, in which a rate is chance."""

from __future__ import annotations

from tcpsight.tables import Intervals


def series(*lengths, partial=(), gap=()):
    table = Intervals.allocate(len(lengths))
    table.length_ns[:] = lengths
    for i in range(len(lengths)):
        table.is_partial[i], table.is_gap[i] = i in partial, i in gap
    return table


def test_what_the_ends_of_the_capture_cut_to_less_than_half_is_a_stump():
    assert series(49, 100, 100, 50, partial=(0, 3)).stumps().tolist() == [True, False, False, False]
    assert series(49, 100, 49, partial=(2,)).stumps().tolist() == [False, False, True]


def test_the_only_slice_is_no_stump_unless_a_whole_one_is_known():
    assert series(5, partial=(0,)).stumps().tolist() == [False]
    assert series(5, partial=(0,)).stumps(100).tolist() == [True]


def test_a_gap_does_not_tell_how_long_a_slice_is():
    assert series(60, 10**9, partial=(0,), gap=(1,)).stumps().tolist() == [False, False]
    assert series().stumps().tolist() == []
