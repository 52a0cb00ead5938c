"""How long a slice is when nobody said so."""

from __future__ import annotations

import pytest

from tcpsight.model import choose_interval

US = 1_000
MS = 1_000_000
S = 1_000_000_000


@pytest.mark.parametrize(
    ("p99", "interval"),
    [
        (0, 10 * MS),
        (1 * MS, 10 * MS),
        (1 * MS + 1, 20 * MS),
        (2 * MS, 20 * MS),
        (3 * MS, 50 * MS),
        (5 * MS, 50 * MS),
        (9_999 * US, 100 * MS),
        (20 * MS, 200 * MS),
    ],
)
def test_the_interval_is_the_smallest_step_of_ten_response_times_and_ten_milliseconds(p99, interval):
    assert choose_interval(p99).interval_ns == interval


def test_the_interval_is_never_longer_than_the_stall_that_must_show():
    chosen = choose_interval(300 * MS)
    assert chosen.interval_ns == 200 * MS
    assert chosen.reason == (
        "200 ms, because the 99th-percentile response time is 300 ms, which asks for 5 s, "
        "but stalls longer than 200 ms must show."
    )
    assert choose_interval(300 * MS, max_stall_ns=2 * S).interval_ns == 2 * S
    assert choose_interval(300 * MS, max_stall_ns=10 * S).interval_ns == 5 * S


def test_a_stall_shorter_than_the_shortest_interval_still_limits_it():
    assert choose_interval(10, max_stall_ns=1 * MS).interval_ns == 1 * MS


def test_without_requests_the_shortest_interval_is_taken_and_said_so():
    chosen = choose_interval(-1)
    assert chosen.interval_ns == 10 * MS
    assert "no request" in chosen.reason


def test_the_reason_names_the_response_time():
    assert choose_interval(1_234_567).reason == (
        "20 ms, because the 99th-percentile response time is 1.23 ms and a slice should hold ten of those."
    )
    assert choose_interval(123).reason == (
        "10 ms, the shortest that is chosen, because the 99th-percentile response time is 123 ns."
    )


@pytest.mark.parametrize(
    ("p99_ns", "said"), [(MS, "is 1 ms"), (1_000_001, "is just over 1 ms"), (2_004_000, "is just over 2 ms")]
)
def test_the_reason_never_says_less_than_the_interval_was_chosen_by(p99_ns, said):
    assert said in choose_interval(p99_ns).reason


def test_a_millisecond_short_of_a_second_has_no_exponent():
    assert "is 1000 ms, which" in choose_interval(999_999_999).reason


def test_a_response_time_of_centuries_still_gives_an_answer():
    assert choose_interval(2**63 - 1).interval_ns == 200 * MS


def test_a_senseless_stall_is_refused():
    with pytest.raises(ValueError, match="positive"):
        choose_interval(1, max_stall_ns=0)
