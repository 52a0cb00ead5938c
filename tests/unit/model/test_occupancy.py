"""How long a service held each number of requests: against a slow twin that looks at every nanosecond."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tcpsight.model.occupancy as occupancy_module
from tcpsight.model.occupancy import Occupancy, OccupancySweep, TooManySlicesError


def swept(rows: list[tuple[int, int]], interval: int, span: tuple[int, int], block: int = 10**6) -> Occupancy:
    sweep = OccupancySweep(interval, *span)
    table = np.array(sorted(rows), np.int64).reshape(-1, 2)
    for i in range(0, len(table), block):
        sweep.feed(table[i : i + block, 0], table[i : i + block, 1])
    return sweep.finish()


def as_dict(found: Occupancy) -> dict[int, Any]:
    slices = {}
    for i, start in enumerate(found.start_ns.tolist()):
        cells = found.cell_slice == i
        levels = dict(zip(found.cell_level[cells].tolist(), found.cell_ns[cells].tolist(), strict=True))
        numbers = (found.arrivals[i], found.completions[i], found.response_time_sum_ns[i])
        slices[start] = (*map(int, numbers), levels)
    return slices


def looked_at(rows: list[tuple[int, int]], interval: int, span: tuple[int, int]) -> dict[int, Any]:
    """Count residents nanosecond by nanosecond."""
    first, last = span
    slices: dict[int, Any] = {}

    def of(at: int) -> Any:
        return slices.setdefault(at // interval * interval, [0, 0, 0, {}])

    for arrival, completion in rows:
        if first <= arrival <= last:
            of(arrival)[0] += 1
            of(arrival)[2] += completion - arrival
        if first <= completion <= last:
            of(completion)[1] += 1
    for at in range(first, last):
        level = sum(arrival <= at < completion for arrival, completion in rows)
        if level:
            levels = of(at)[3]
            levels[level] = levels.get(level, 0) + 1
    return {start: tuple(row) for start, row in slices.items()}


requests = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 40)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=12
)


@given(requests, st.integers(1, 17), st.integers(0, 20), st.integers(0, 60), st.integers(1, 5))
def test_levels_are_those_of_every_nanosecond_however_rows_are_cut(rows, interval, first, length, block):
    rows = [row for row in rows if row[1] >= first]
    span = (first, first + length)
    assert as_dict(swept(rows, interval, span, block)) == looked_at(rows, interval, span)


def test_residence_is_the_sum_of_levels_times_their_time():
    found = swept([(0, 30), (10, 20)], 100, (0, 100))
    assert found.weighted_ns.tolist() == [40]
    assert dict(zip(found.cell_level.tolist(), found.cell_ns.tolist(), strict=True)) == {1: 20, 2: 10}


def test_slices_that_lie_far_apart_are_told_in_order_and_once_whatever_order_they_were_filled_in():
    # Arrivals and completions of the same few slices come in turn; the slices between hold nothing.
    rows = [(0, 900), (5, 12), (300, 905), (302, 310), (600, 901)]
    for block in (1, 2, 5):
        found = swept(rows, 10, (0, 1000), block)
        assert as_dict(found) == looked_at(rows, 10, (0, 1000))
        assert found.start_ns.tolist() == sorted(looked_at(rows, 10, (0, 1000)))


def test_slices_without_requests_take_no_room():
    found = swept([(0, 5), (10**15, 10**15 + 5)], 10, (0, 2 * 10**15))
    assert found.start_ns.tolist() == [0, 10**15]


def test_too_many_slices_are_refused(monkeypatch):
    monkeypatch.setattr(occupancy_module, "MOST_SLICES", 10)
    with pytest.raises(TooManySlicesError, match="too short here"):
        swept([(0, 1000)], 10, (0, 1000))
