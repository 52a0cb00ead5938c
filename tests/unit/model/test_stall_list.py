"""However many stalls there are, the worst are kept and the others added up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcpsight.model import stall_list
from tcpsight.model.stall_list import Stall, StallList


def stall(number: int, waited_ns: int, *, is_over: bool = True) -> Stall:
    return Stall(
        kind="stall", start_ns=100 * number, end_ns=100 * number + 10, silent_ns=10, is_over=is_over, requests=3,
        unanswered=0, connections=2, waited_ns=waited_ns, longest_wait_ns=10, drained_ns=0,
        answered_meanwhile=0, surprise=20.0,
        cause="unseen", blocker=None, spoke_again=None, example=None, examples=[number], median_ns=2,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(stall_list, "MOST_STALLS", 4)


def test_the_worst_are_kept_and_none_is_lost_uncounted():
    found = StallList()
    for number in range(100):
        found.add(stall(number, waited_ns=number * 37 % 100))
        assert len(list(found)) < 8
    assert len(found) == 100
    worst, rest = found.worst(4)
    assert [each.waited_ns for each in worst] == [99, 98, 97, 96]
    assert (rest.stalls, rest.requests, rest.connections) == (96, 288, 2)
    assert rest.waited_ns == sum(range(96))
    assert rest.duration_ns == 960
    assert (rest.longest_ns, rest.longest_ratio) == (10, 5.0)
    assert (rest.start_ns, rest.end_ns) <= (100, 9910)


def test_what_is_kept_is_in_order_of_ends():
    found = StallList()
    for number in range(9):
        found.add(stall(number, waited_ns=-number))
    assert [each.end_ns for each in found] == sorted(each.end_ns for each in found)
    assert found.last_ns == 810


def test_a_stall_that_is_not_over_comes_first():
    found = StallList()
    found.add(stall(1, waited_ns=1000))
    found.add(stall(2, waited_ns=1, is_over=False))
    assert [each.is_over for each in found.worst(5)[0]] == [False, True]


def test_what_several_lists_left_out_adds_up_as_if_one_had():
    stalls = [stall(number, waited_ns=number * 37 % 100) for number in range(9)]
    whole, parts = stall_list.StallSum(), [stall_list.StallSum() for _ in range(3)]
    for number, each in enumerate(stalls):
        whole.add(each)
        parts[number % 3].add(each)
    joined = stall_list.StallSum()
    for part in reversed(parts):
        joined.join(part)
    assert replace(joined, examples=[]) == replace(whole, examples=[])
    assert joined.examples == [2]
