"""Stalls are graded by what somebody would notice."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from tcpsight.findings import written
from tcpsight.model import stall_list
from tcpsight.model.clock_leaps import ClockLeaps
from tcpsight.model.silences import Silences
from tcpsight.model.stall_list import Stall, StallLists, StallSum
from tcpsight.stall_findings import Usual, stall_findings, unheard_ns
from tcpsight.stalling import StallSearch
from tcpsight.tables import Requests

MS = 1_000_000
SECOND = 1_000 * MS
USUAL = Usual((bytes(16), 80, 4), requests=10_000, first_ns=0, last_ns=100 * SECOND)


def stalls(duration_ns: int, requests: int, count: int = 1) -> StallSum:
    return StallSum(stalls=count, requests=requests, duration_ns=duration_ns * count, longest_ns=duration_ns)


@pytest.mark.parametrize(
    ("stall", "ratio", "severity"),
    [
        (stalls(MS // 2, 10), 50, "info"),
        (stalls(99 * MS, 99), 50, "info"),
        (stalls(100 * MS, 10), 9.9, "info"),
        (stalls(100 * MS, 10), 10, "warning"),
        (stalls(MS // 2, 100), 50, "warning"),
        (stalls(MS // 2, 2, count=2000), 50, "warning"),
        (stalls(5 * SECOND, 2), 1, "critical"),
    ],
    ids=[
        "nobody feels it",
        "nearly felt",
        "usual here",
        "felt",
        "one request in a hundred",
        "a hundredth of the time",
        "long",
    ],
)
def test_a_stall_is_a_warning_if_somebody_would_notice(stall, ratio, severity):
    assert USUAL.severity(stall, ratio) == severity


@pytest.mark.parametrize(("duration_ns", "severity"), [(MS // 2, "info"), (100 * MS, "critical")])
def test_what_is_not_over_is_critical_only_if_it_would_be_a_warning(duration_ns, severity):
    assert USUAL.severity(stalls(duration_ns, 10), 50, is_over=False) == severity


def stall(start_ns: int, end_ns: int, **changed: Any) -> Stall:
    """Write one at which five requests waited."""
    row = np.zeros((), [("connection_id", np.int64)])[()]
    told: dict[str, Any] = {
        "kind": "stall", "start_ns": start_ns, "end_ns": end_ns, "silent_ns": end_ns - start_ns, "is_over": True,
        "requests": 5, "unanswered": 0, "connections": 5, "waited_ns": 5 * (end_ns - start_ns),
        "longest_wait_ns": end_ns - start_ns, "drained_ns": end_ns,
        "answered_meanwhile": 0, "surprise": 30.0, "cause": "unseen", "blocker": None, "spoke_again": None,
        "example": row, "examples": [1], "median_ns": MS,
    }  # fmt: skip
    return Stall(**(told | changed))


def test_for_how_long_nothing_was_captured_in_several_stalls_is_the_sum_of_the_silences():
    silences = Silences()
    begins = range(0, 12_000 * SECOND, 1000 * SECOND)
    for begin_ns in begins:
        heard = [0, 20, 20, 81, 81, 110]
        silences.feed(np.array([begin_ns + each * SECOND + i for i, each in enumerate(heard)], np.int64))
    lists = StallLists(unheard_ns=partial(unheard_ns, silences))
    for begin_ns in begins:
        lists.add(stall(begin_ns, begin_ns + 110 * SECOND))
    usual = Usual((bytes(16), 3306, 4), 10_000, 0, 12_000 * SECOND)
    *one_by_one, others = stall_findings(usual, lists, 0, lambda client, server: "")
    assert len(one_by_one) == 5
    assert [round(each.numbers["not_captured_ns"] / SECOND) for each in one_by_one] == [61] * 5
    assert (others.numbers["stalls"], round(others.numbers["not_captured_ns"] / SECOND)) == (7, 7 * 61)


def test_stalls_that_are_not_kept_one_by_one_are_doubted_too(monkeypatch):
    monkeypatch.setattr(stall_list, "MOST_STALLS", 10)
    lists = StallLists(unheard_ns=lambda each: 61 * SECOND if each.requests == 2 else 0)
    for number in range(200):
        # At those that are doubted least is waited.
        begin_ns, requests = number * 1000 * SECOND, 2 if number % 2 else 5
        lists.add(stall(begin_ns, begin_ns + 110 * SECOND, requests=requests, waited_ns=requests * 110 * SECOND))
    usual = Usual((bytes(16), 3306, 4), 10_000, 0, 200_000 * SECOND)
    told = list(stall_findings(usual, lists, 0, lambda client, server: ""))
    counts = [each.numbers.get("stalls", 1) for each in told]
    assert counts == [1, 1, 1, 1, 1, 95] * 2
    assert [each.numbers.get("not_captured_ns", 0) // SECOND for each in told] == [0] * 6 + [61] * 5 + [95 * 61]
    assert {each.severity for each in told[6:]} == {"warning"}


def test_stalls_that_are_added_up_are_told_beside_the_worst_and_requests_that_nobody_looked_at_by_themselves():
    usual = Usual((bytes(16), 3306, 4), 10_000, 0, 200_000 * SECOND)
    beside = "3 stalls beside the worst, up to 10.0 s long; 15 requests waited"
    left_out = "waiting requests were not looked at, as there were too many"
    for stalls, others, expected in (
        (8, 0, beside),
        (8, 7, f"{beside}; 7 {left_out}"),
        (0, 7, f"7 {left_out}: there may be stalls that are not told"),
    ):
        lists = StallLists()
        for number in range(stalls):
            lists.add(stall(number * 1000 * SECOND, (number * 1000 + 10) * SECOND))
        told = written(list(stall_findings(usual, lists, others, lambda client, server: "")))
        assert told.rows["summary"].tolist()[-1].decode() == expected


def test_what_so_few_requests_can_tell_no_surer_is_a_warning():
    lists = StallLists()
    lists.add(stall(0, 60 * SECOND, requests=2, unanswered=2, is_over=False, surprise=8.0))
    (told,) = stall_findings(USUAL, lists, 0, lambda client, server: "")
    assert (told.severity, told.confidence) == ("warning", 0.5)


class Leapt(ClockLeaps):
    """The clock was set forward by 20 s, 6 s after the beginning."""

    def within(self, start_ns: int, end_ns: int) -> int:
        return max(min(end_ns, 10**18 + 26 * 10**9) - max(start_ns, 10**18 + 6 * 10**9), 0)


@pytest.mark.parametrize(("leaps", "severity"), [(Leapt(), "warning"), (None, "info")], ids=["leapt", "idle"])
def test_a_leap_of_the_clock_does_not_make_a_server_look_idle_before_it_got_slower(leaps, severity):
    """Throughput is the same before and after; were those 20 s without requests, it would have risen."""
    requests = Requests.allocate(20_000)
    times = np.random.default_rng(1).gamma(4, 500_000, len(requests))
    times[12_000:] *= 4
    requests.arrival_ns[:] = 10**18 + np.arange(len(requests)) * 1_000_000
    requests.arrival_ns[6000:] += 20 * 10**9
    requests.response_time_ns[:] = times
    requests.completion_ns[:] = requests.arrival_ns + requests.response_time_ns
    requests.connection_id[:] = requests.request_index[:] = 1 + np.arange(len(requests))
    search = StallSearch([(bytes(requests.server_address[0]), int(requests.server_port[0]))], leaps=leaps)
    search.feed(requests)
    found = search.findings(int(requests.completion_ns[-1]), lambda *_: "")
    assert [each.severity for each in found if each.key.kind == "lasting_slowdown"] == [severity]
