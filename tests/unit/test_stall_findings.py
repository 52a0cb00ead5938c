"""Stalls are graded by what somebody would notice."""

from __future__ import annotations

import pytest

from tcpsight.model.stall_list import StallSum
from tcpsight.stall_findings import Usual

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
