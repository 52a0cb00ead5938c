"""Times without a frame: a minute or more, confirmed, the same however frames are cut."""

from __future__ import annotations

import numpy as np
import pytest
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


def test_a_first_frame_of_the_future_hides_no_silence():
    assert heard(9e8, 0, 1, 70, 71) == [(SECOND, 70 * SECOND)]


@pytest.mark.parametrize("parts", [1, 7, 100])
def test_which_are_kept_does_not_follow_from_how_frames_are_cut(parts):
    random = np.random.default_rng(0)
    instants = np.repeat(np.cumsum(random.integers(61, 200, 5 * MOST_SILENCES)) * SECOND, 2)
    lengths = np.sort(np.diff(instants[::2]))[-MOST_SILENCES:]
    found = Silences()
    for part in np.array_split(instants, parts):
        found.feed(part)
    assert sorted(end - begin for begin, end in found.spans) == lengths.tolist()
    assert found.within(0, 2**62) == lengths.sum()


@given(st.lists(st.integers(61, 200), min_size=1, max_size=9), st.integers(-10, 2000), st.integers(-10, 2000))
def test_what_is_silent_of_a_time_is_what_each_silence_has_of_it(lengths, start, end):
    found = Silences()
    found.feed(np.repeat(np.cumsum([0, *lengths]) * SECOND, 2))
    of_each = [max(min(b, end * SECOND) - max(a, start * SECOND), 0) for a, b in found.spans]
    assert found.within(start * SECOND, end * SECOND) == sum(of_each)


def test_a_silence_may_be_longer_than_half_of_all_time():
    found = Silences()
    found.feed(np.array([-(2**62), -(2**62), 2**62 + 5, 2**62 + 5], np.int64))
    assert found.within(-(2**63), 2**63 - 1) == 2**63 + 5


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
    assert len(found.spans) == MOST_SILENCES
    assert sum(end - begin >= 2 * MINUTE - 1 for begin, end in found.spans) == MOST_SILENCES


def obvious(instants: list[int]) -> list[tuple[int, int]]:
    """Walk the frames with the next one in sight."""
    if len(instants) > 1 and instants[0] - instants[1] >= LEAST_NS:
        instants = instants[1:]
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


def test_silences_that_are_known_already_count_like_those_that_were_heard():
    spans = [(SECOND * 100 * i, SECOND * 100 * i + MINUTE) for i in range(3)]
    found = Silences()
    found.keep(spans)
    assert sorted(found.spans) == spans
    assert found.within(SECOND * 130, SECOND * 210) == 40 * SECOND
