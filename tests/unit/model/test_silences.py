"""Times without a frame: a minute or more, confirmed, the same however frames are cut."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.model.silences import LEAST_NS, MOST_SILENCES, Silences

SECOND = 1_000_000_000
MINUTE = 60 * SECOND


def heard(*seconds: float) -> list[tuple[int, int]]:
    found = Silences()
    found.feed(np.array([round(s * SECOND) for s in seconds], np.int64))
    return found.spans


def test_a_minute_without_a_frame_is_a_silence_and_less_is_none():
    assert heard(0, 1, 61, 62) == [(SECOND, 61 * SECOND)]
    assert heard(0, 1, 60.9, 62) == []


def test_one_frame_of_the_future_is_no_end_of_a_silence():
    assert heard(0, 1, 9e8, 2, 3, 70, 71) == [(3 * SECOND, 70 * SECOND)]


def test_a_clock_that_goes_back_makes_no_silence():
    assert heard(1000, 1001, 10, 11, 1002, 1003) == []


def test_what_was_silent_of_a_time_is_what_overlaps():
    found = Silences()
    found.feed(np.array([0, MINUTE, MINUTE + 1, 3 * MINUTE, 3 * MINUTE + 1], np.int64))
    assert found.within(30 * SECOND, 2 * MINUTE + 1) == 90 * SECOND
    assert found.within(MINUTE, MINUTE + 1) == 0


def test_the_longest_are_kept():
    found = Silences()
    lengths = np.repeat([MINUTE, 2 * MINUTE], [2 * MOST_SILENCES, MOST_SILENCES])
    for at in np.cumsum(lengths).tolist():
        found.feed(np.array([at, at + 1], np.int64))
    assert len(found.spans) <= 2 * MOST_SILENCES
    assert sum(end - begin >= 2 * MINUTE - 1 for begin, end in found.spans) == MOST_SILENCES


def obvious(instants: list[int]) -> list[tuple[int, int]]:
    """Walk the frames with the next one in sight."""
    spans, clock, skipped = [], instants[0], False
    for i, instant in enumerate(instants[1:], 1):
        if skipped and instant - clock >= LEAST_NS:
            spans.append((clock, min(instants[i - 1], instant)))
            clock = min(instants[i - 1], instant)
        skipped = instant - clock >= LEAST_NS
        clock = clock if skipped else max(clock, instant)
    return spans


@given(
    st.lists(st.sampled_from([-90, -1, 0, 1, 30, 59, 60, 61, 200]), min_size=1, max_size=40),
    st.lists(st.integers(0, 40), max_size=4),
)
def test_the_same_comes_out_however_frames_are_cut(steps, cuts):
    instants = np.cumsum(np.array(steps, np.int64) * SECOND)
    whole, parts = Silences(), Silences()
    whole.feed(instants)
    for part in np.split(instants, sorted(cuts)):
        parts.feed(part)
    assert whole.spans == parts.spans == obvious(instants.tolist())
