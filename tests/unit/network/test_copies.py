"""Of bytes that were sent more often than they came, the last copies came."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.network import copies
from tcpsight.network.copies import Integers, Mask, Runs, seen_of_copies

RUNS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=14)
OFTEN = st.lists(st.tuples(st.integers(0, 8), st.integers(1, 6)), max_size=14)


def bounds(runs: list[tuple[int, int]]) -> Runs:
    return np.array([b for b, _ in runs], np.int64), np.array([b + n for b, n in runs], np.int64)


def seen_at_all(sent: list[tuple[int, int]], seen: list[tuple[int, int]]) -> list[int]:
    came = {byte for begin, length in seen for byte in range(begin, begin + length)}
    return [sum(byte in came for byte in range(begin, begin + length)) for begin, length in sent]


def counted(sent: list[tuple[int, int]], seen: list[tuple[int, int]]) -> tuple[list[int], Mask]:
    count: Integers = np.array(seen_at_all(sent, seen), np.int64)
    is_unknown = seen_of_copies(bounds(sent), bounds(seen), count)
    return count.tolist(), is_unknown


def truth(sent: list[tuple[int, int]], seen: list[tuple[int, int]]) -> list[int]:
    left = Counter(byte for begin, length in seen for byte in range(begin, begin + length))
    told = []
    for begin, length in reversed(sent):
        came = [byte for byte in range(begin, begin + length) if left[byte] > 0]
        left.subtract(came)
        told.append(len(came))
    return told[::-1]


@given(st.one_of(RUNS, OFTEN), st.one_of(RUNS, OFTEN), st.sampled_from([1, 3, 7, copies.WINDOW_PIECES]))
def test_of_copies_the_last_are_those_that_came(sent: list[tuple[int, int]], seen: list[tuple[int, int]], window: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "WINDOW_PIECES", window)
        told, is_unknown = counted(sent, seen)
    assert told == truth(sent, seen)
    assert not is_unknown.any()


@given(OFTEN, OFTEN, st.integers(0, 30))
def test_what_is_not_known_is_marked_and_all_else_is_exact(
    sent: list[tuple[int, int]], seen: list[tuple[int, int]], most: int
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "MOST_PIECES", most)
        told, is_unknown = counted(sent, seen)
    exact, at_all = truth(sent, seen), seen_at_all(sent, seen)
    for mine, true, any_copy, is_open in zip(told, exact, at_all, is_unknown, strict=True):
        assert true <= mine <= any_copy
        assert is_open or mine == true


def test_nothing_is_cut_where_no_two_that_were_sent_share_a_byte(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(copies, "_depth", None)
    begins = np.arange(0, 100_000, 10)[::-1].copy()
    count = np.full(len(begins), 10)
    assert not seen_of_copies((begins, begins + 10), (begins, begins + 10), count).any()
    assert (count == 10).all()


def test_only_those_that_overlap_are_cut_and_only_what_some_copies_came_of_is_given_to_one(
    monkeypatch: pytest.MonkeyPatch,
):
    looked_at = list[int]()
    whole = copies._not_seen

    def watched(runs: Runs, lengths: Integers, depth: Integers, times: Integers) -> Integers:
        looked_at.append(int(depth.sum()))
        return whole(runs, lengths, depth, times)

    monkeypatch.setattr(copies, "_not_seen", watched)
    begins = np.arange(0, 1_000_000, 100)
    # Each once, three twice: of the first nothing came, of the second one copy, of the third both.
    sent = np.concatenate([begins, begins[[5, 50, 500]]])
    seen = np.concatenate([np.delete(begins, 5), begins[[500]]])
    count = np.where(sent == 500, 0, 100)
    assert not seen_of_copies((sent, sent + 100), (seen, seen + 100), count).any()
    assert looked_at == [2]
    assert count[[5, 50, 500]].tolist() == [0, 0, 100]
    assert count[-3:].tolist() == [0, 100, 100]
    assert count.sum() == 100 * (len(begins) + 3 - 3)
