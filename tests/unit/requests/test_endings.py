"""What becomes of the last request of a connection."""

from __future__ import annotations

import pytest

from tcpsight.requests import Paired, RequestPairing
from tests.support.conversation import boundary, tables, talk, whole

MS = 1_000_000


def pair(script: str, start: str = "request_last") -> Paired:
    return RequestPairing(start).feed(*tables(whole(script)))


def endings(paired: Paired) -> tuple[int, int, int]:
    """Give requests, unanswered and is_farewell of the only connection; unanswered rows must agree."""
    (count,) = paired.counts.rows
    assert len(paired.requests) == count["requests"]
    assert len(paired.unanswered) == count["unanswered"]
    return int(count["requests"]), int(count["unanswered"]), int(count["is_farewell"])


def test_a_request_that_a_hung_server_never_answers_is_unanswered():
    paired = pair("""
        10   0 > 10
        20   0 < 10
        30   + > 10
        31   + > 20
        900  + < 0           # the server's kernel acknowledges; its process does not answer
    """)
    assert endings(paired) == (1, 1, 0)
    (row,) = paired.unanswered.rows
    assert row["request_index"] == 1
    assert row["request_bytes"] == 30
    assert (row["request_first_ns"], row["request_last_ns"]) == (30 * MS, 31 * MS)
    assert row["arrival_ns"] == 31 * MS
    assert row["end_ns"] == 900 * MS
    assert [row[name] for name in ("response_first_ns", "response_last_ns", "completion_ns")] == [-1, -1, -1]
    assert (row["response_time_ns"], row["response_bytes"]) == (-1, 0)
    assert row["server_port"] == 3306


def test_the_arrival_of_an_unanswered_request_is_chosen_too():
    assert pair("30 0 > 10\n 31 + > 20", "request_first").unanswered.arrival_ns.tolist() == [30 * MS]


def test_waiting_never_ends_before_it_begins():
    events = [boundary("opened", 1, 0, 0), *talk("30 0 > 10"), boundary("ended", 1, 0, 5 * MS)]
    assert RequestPairing().feed(*tables(events)).unanswered.end_ns.tolist() == [30 * MS]


@pytest.mark.parametrize(
    ("last_lines", "is_farewell"),
    [
        ("30 + > 5\n 31 + > 0 fin", True),
        ("30 + > 5 fin", True),
        ("30 + > 5\n 31 + > 0 fin\n 32 + < 0\n 33 + < 0 fin\n 34 + > 0", True),
        ("30 + > 5\n 31 + < 0\n 32 + > 0 fin", True),
        ("30 + > 5\n 31 + < 0 fin\n 32 + > 0 fin", False),  # the server went first
        ("30 + > 5\n 330 + > 0 fin", True),
        ("30 + > 5\n 331 + > 0 fin", False),  # the client has waited, and given up
        ("25 + < 0 fin\n 30 + > 5\n 31 + > 0 fin", True),
        ("30 + > 5\n 31 ? < 0 fin\n 32 + > 0 fin", True),  # a FIN that nobody would believe
        ("30 + > 5\n 31 + > 0 fin\n 32 + < 0 rst", True),
        ("30 + > 5\n 31 + > 0 fin\n 32 + > 0 rst", True),
        ("30 + > 5\n 31 + < 0 rst\n 32 + > 0 fin", False),
        ("30 + > 5\n 31 + > 0 rst", False),
        ("30 + > 5\n 31 ? < 0 rst\n 32 + > 0 fin", True),  # a RST that nobody would believe
        ("30 + > 5\n 31 + < 0 fin", False),
        ("30 + > 5\n 31 + > 0 fin dup", False),
        ("30 + > 5", False),
    ],
)
def test_a_last_request_followed_only_by_the_clients_fin_is_a_farewell(last_lines: str, is_farewell: bool):
    paired = pair(f"10 0 > 10\n 20 0 < 10\n {last_lines}")
    assert endings(paired) == (1, int(not is_farewell), int(is_farewell))


def test_an_answered_farewell_is_a_request():
    assert endings(pair("10 0 > 10 fin\n 20 0 < 10\n 21 + < 0 fin")) == (1, 0, 0)


def test_late_bytes_of_the_response_before_do_not_answer_the_last_request():
    paired = pair("10 0 > 10\n 20 0 < 10\n 21 + > 5 fin ack=0\n 22 + < 10 ack=10\n 23 + < 0 fin")
    assert endings(paired) == (1, 0, 1)
    assert paired.requests.response_bytes.tolist() == [20]


def test_a_connection_without_data_has_counts_and_no_rows():
    assert endings(pair("1 0 > 0 syn\n 2 0 < 0 syn\n 3 0 > 0\n 4 0 > 0 fin")) == (0, 0, 0)


def test_at_the_end_the_turn_before_comes_first():
    requests = pair("10 0 > 10\n 20 0 < 10\n 21 20 < 10\n 30 + > 5\n 40 + < 5").requests
    assert requests.request_index.tolist() == [0, 1]


def test_counts_come_in_the_order_of_the_ends():
    first, second = whole("1 0 > 1\n 2 0 < 1", 1, 0), whole("1 0 > 1", 2, 1)
    events = [first[0], second[0], *first[1:-1], *second[1:-1], second[-1], first[-1]]
    paired = RequestPairing().feed(*tables(events))
    assert paired.counts.connection_id.tolist() == [2, 1]
    assert paired.counts.requests.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("last_line", "is_open"),
    [
        ("", True),
        ("431 + > 0 fin", True),  # the client sends no more, and may be answered
        ("31 + < 0 fin", False),
        ("431 + > 0 fin\n 432 + < 0 fin", False),
        ("31 + < 0 rst", False),
        ("31 + > 0 rst", False),
        ("31 ? < 0 fin", True),  # nobody would believe it
        ("31 + < 0 fin dup", True),
    ],
)
def test_a_request_is_open_at_the_end_of_the_capture_as_long_as_its_server_may_answer(last_line: str, is_open: bool):
    events = [boundary("opened", 1, 0, 0), *talk(f"30 0 > 10\n {last_line}")]
    pairing = RequestPairing()
    pairing.feed(*tables(events))
    assert pairing.waiting(500 * MS).is_open.tolist() == [is_open]
    end = boundary("ended", 1, 0, 500 * MS, is_open=1)
    assert pairing.feed(*tables([end])).unanswered.is_open.tolist() == [is_open]
    reset = [*events, boundary("ended", 1, 0, 500 * MS)]
    assert RequestPairing().feed(*tables(reset)).unanswered.is_open.tolist() == [False]
