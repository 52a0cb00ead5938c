"""Pairing as the older tools did it: by order of capture alone; and rows that come with the answer."""

from __future__ import annotations

import pytest

from tcpsight.errors import UsageError
from tcpsight.requests import RequestPairing
from tests.support.conversation import cut, tables, whole

MS = 1_000_000


def test_by_order_of_capture_bytes_that_are_sent_again_count_again():
    script = """
        10   0 > 100
        20   0 > 100   # the same bytes: arrival begins anew
        21   0 <  50
        22   0 <  50   # the same answer: part of it
        30   + > 100
        31   0 <  50   # the old answer again: taken for the answer
    """
    by_stream = RequestPairing().feed(*tables(whole(script))).requests
    assert by_stream.response_time_ns.tolist() == [11 * MS]
    by_capture = RequestPairing(by="capture").feed(*tables(whole(script))).requests
    assert by_capture.response_time_ns.tolist() == [MS, MS]
    assert by_capture.request_bytes.tolist() == [200, 100]
    assert by_capture.response_bytes.tolist() == [100, 50]


def test_by_order_of_capture_copies_of_a_frame_stay_out():
    script = "10 0 > 100\n 11 0 > 100 dup\n 20 0 < 50\n 21 0 < 50 dup"
    requests = RequestPairing(by="capture").feed(*tables(whole(script))).requests
    assert requests.response_time_ns.tolist() == [10 * MS]
    assert (requests.request_bytes.tolist(), requests.response_bytes.tolist()) == ([100], [50])


def test_by_order_of_capture_a_row_is_final_when_the_next_request_begins():
    events = whole("1 0 > 10\n 2 0 < 10\n 3 + > 10\n 4 + < 10")
    pairing = RequestPairing(by="capture")
    given = [len(pairing.feed(*batch).requests) for batch in cut(events, [1, 2, 3, 4, 5])]
    assert given == [0, 0, 0, 1, 0, 1]


@pytest.mark.parametrize("by", ["stream", "capture"])
def test_a_row_that_comes_with_the_answer_has_its_first_segment_and_comes_once(by: str):
    events = whole("1 0 > 10\n 2 + > 5\n 7 0 < 30\n 8 + < 40\n 9 + > 10\n 9.5 + < 10")
    pairing = RequestPairing(by=by, given_at="answer")
    fed = [pairing.feed(*batch).requests.copy() for batch in cut(events, [1, 2, 3, 4, 5, 6])]
    assert [len(requests) for requests in fed] == [0, 0, 0, 1, 0, 0, 1]
    assert fed[3].response_time_ns.tolist() == [5 * MS]
    assert fed[3].response_last_ns.tolist() == [7 * MS]
    assert fed[3].response_bytes.tolist() == [30]


def test_other_words_are_refused():
    for words in ({"by": "luck"}, {"given_at": "noon"}):
        with pytest.raises(UsageError, match="requests are paired by"):
            RequestPairing(**words)
