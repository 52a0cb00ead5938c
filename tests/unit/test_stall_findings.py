"""Stalls are graded by what somebody would notice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tcpsight.model.silences import Silences
from tcpsight.model.stall_list import Stall, StallList, StallSum
from tcpsight.stall_findings import Usual, stall_findings

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
        "requests": 5, "unanswered": 0, "connections": 5, "waited_ns": 5 * (end_ns - start_ns), "drained_ns": end_ns,
        "answered_meanwhile": 0, "surprise": 30.0, "cause": "unseen", "blocker": None, "spoke_again": None,
        "example": row, "examples": [1], "median_ns": MS,
    }  # fmt: skip
    return Stall(**(told | changed))


def test_for_how_long_nothing_was_captured_in_several_stalls_is_the_sum_of_the_silences():
    stalls, silences = StallList(), Silences()
    for begin_ns in range(0, 12_000 * SECOND, 1000 * SECOND):
        stalls.add(stall(begin_ns, begin_ns + 110 * SECOND))
        heard = [0, 20, 20, 81, 81, 110]
        silences.feed(np.array([begin_ns + each * SECOND + i for i, each in enumerate(heard)], np.int64))
    usual = Usual((bytes(16), 3306, 4), 10_000, 0, 12_000 * SECOND)
    *one_by_one, others = stall_findings(usual, stalls, 0, lambda client, server: "", silences)
    assert len(one_by_one) == 5
    assert [round(each.numbers["not_captured_ns"] / SECOND) for each in one_by_one] == [61] * 5
    assert (others.numbers["stalls"], round(others.numbers["not_captured_ns"] / SECOND)) == (7, 7 * 61)
