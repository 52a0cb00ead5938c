"""The laws of intervals, and the kernel against its slow twin."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from tcpsight.model import IntervalSeries
from tests.reference.model.intervals import intervals as slow_intervals
from tests.support.intervals import Stay, answered, never_answered, rows_of

EPOCH_2024 = 1_704_067_200_000_000_000


class Capture(NamedTuple):
    interval_ns: int
    first_ns: int
    last_ns: int
    requests: list[Stay]
    unanswered: list[Stay]
    longest_run: int


@st.composite
def captures(draw: st.DrawFn) -> Capture:
    """Draw few requests in little time, so that boundaries, ties and the edges of the capture are hit often."""
    origin = draw(st.sampled_from([0, -37, EPOCH_2024]))
    first = origin + draw(st.integers(0, 10))
    last = first + draw(st.integers(0, 60))
    instants = st.integers(first - 3, last + 3)
    stays = st.lists(st.tuples(instants, st.integers(0, 25)).map(lambda s: (s[0], s[0] + s[1])), max_size=8)
    return Capture(
        interval_ns=draw(st.integers(1, 20)),
        first_ns=first,
        last_ns=last,
        requests=sorted(draw(stays)),
        unanswered=sorted(draw(stays)),
        longest_run=draw(st.sampled_from([1, 2, 3, 100])),
    )


def series_of(capture: Capture, *, is_end_known: bool = True) -> IntervalSeries:
    return IntervalSeries(
        capture.interval_ns,
        first_ns=capture.first_ns,
        last_ns=capture.last_ns if is_end_known else None,
        longest_run=capture.longest_run,
    )


def swept(capture: Capture) -> list[dict[str, Any]]:
    series = series_of(capture)
    fed = rows_of([series.feed(answered(capture.requests), never_answered(capture.unanswered))])
    return fed + rows_of([series.finish()])


def is_same(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Fraction):
        return math.isclose(value, wanted, rel_tol=1e-14)
    return bool(value == wanted)


@given(captures())
def test_the_kernel_equals_its_slow_twin(capture):
    wanted = slow_intervals(
        capture.requests,
        capture.unanswered,
        interval_ns=capture.interval_ns,
        first_ns=capture.first_ns,
        last_ns=capture.last_ns,
        longest_run=capture.longest_run,
    )
    found = swept(capture)
    assert len(found) == len(wanted)
    for row, wanted_row in zip(found, wanted, strict=True):
        assert {name: value for name, value in row.items() if not is_same(value, wanted_row[name])} == {}


@given(captures())
def test_every_request_arrives_in_one_slice_or_is_counted_outside(capture):
    series = series_of(capture)
    blocks = [series.feed(answered(capture.requests), never_answered(capture.unanswered)).copy(), series.finish()]
    inside = sum(int(block.arrivals.sum()) + int(block.unanswered.sum()) for block in blocks)
    assert inside + series.outside == len(capture.requests) + len(capture.unanswered)


@given(captures(), st.data())
def test_cutting_into_batches_changes_no_row(capture, data):
    is_end_known = data.draw(st.booleans())
    series = series_of(capture, is_end_known=is_end_known)
    requests, waiting = capture.requests, capture.unanswered
    taken = given_up = 0
    rows = []
    while taken < len(requests):
        n = data.draw(st.integers(1, len(requests) - taken))
        reached = requests[taken + n - 1][0]
        ahead = sum(arrival < reached for arrival, _ in waiting[given_up:])
        ahead = data.draw(st.integers(ahead, len(waiting) - given_up))
        batch = requests[taken : taken + n], waiting[given_up : given_up + ahead]
        rows += rows_of([series.feed(answered(batch[0]), never_answered(batch[1]))])
        taken, given_up = taken + n, given_up + ahead
    rows += rows_of([series.feed(answered([]), never_answered(waiting[given_up:]))])
    if not is_end_known:
        # What arrived after the end can't be known to be outside before the end is known.
        reached = max((arrival for arrival, _ in requests), default=capture.last_ns)
        if reached > capture.last_ns:
            return
        series.last_ns = capture.last_ns
    assert rows + rows_of([series.finish()]) == swept(capture)


@given(captures(), st.integers(-1000, 1000))
def test_shifting_time_by_whole_slices_shifts_the_starts_and_nothing_else(capture, slices):
    by = slices * capture.interval_ns
    shifted = capture._replace(
        first_ns=capture.first_ns + by,
        last_ns=capture.last_ns + by,
        requests=[(a + by, c + by) for a, c in capture.requests],
        unanswered=[(a + by, e + by) for a, e in capture.unanswered],
    )
    assert swept(shifted) == [row | {"start_ns": row["start_ns"] + by} for row in swept(capture)]


@given(captures())
def test_slices_follow_each_other_without_gap_or_overlap(capture):
    rows = swept(capture)
    assert rows[0]["start_ns"] == capture.first_ns
    for row, following in pairwise(rows):
        assert row["start_ns"] + row["length_ns"] == following["start_ns"]
        assert following["start_ns"] % capture.interval_ns == 0
    if capture.last_ns > capture.first_ns:
        assert rows[-1]["start_ns"] + rows[-1]["length_ns"] == capture.last_ns


@given(captures())
def test_residence_adds_up_to_the_response_times_inside_the_capture(capture):
    """Little's law: Σ N·T = Σ R."""
    first, last = capture.first_ns, capture.last_ns
    rows = swept(capture)
    for column, stays in (("weighted_ns", capture.requests), ("unanswered_weighted_ns", capture.unanswered)):
        inside = sum(max(0, min(end, last) - max(begin, first)) for begin, end in stays)
        assert sum(row[column] for row in rows) == inside


@given(captures())
def test_arrivals_less_completions_accumulate_to_the_backlog(capture):
    at_the_start = sum(a < capture.first_ns <= c for a, c in capture.requests)
    backlog = at_the_start
    for row in swept(capture):
        backlog += row["arrivals"] - row["completions"]
        assert row["backlog"] == backlog


@given(captures())
def test_busy_time_is_within_the_slice_and_within_the_residence(capture):
    for row in swept(capture):
        assert 0 <= row["busy_ns"] <= min(row["length_ns"], row["weighted_ns"])
        assert (row["busy_ns"] == 0) == (row["weighted_ns"] == 0)


@given(captures())
def test_requests_outside_of_the_capture_are_counted(capture):
    series = series_of(capture)
    series.feed(answered(capture.requests), never_answered(capture.unanswered))
    series.finish()
    arrivals = [arrival for arrival, _ in capture.requests + capture.unanswered]
    assert series.outside == sum(not capture.first_ns <= arrival <= capture.last_ns for arrival in arrivals)
