"""Bytes that come late or out of order belong to the turn that owns their place in the stream."""

from __future__ import annotations

from tcpsight.requests import Paired, RequestPairing
from tests.support.conversation import tables, whole

MS = 1_000_000


def pair(script: str) -> Paired:
    return RequestPairing().feed(*tables(whole(script)))


def test_late_bytes_of_a_response_that_cross_the_next_request_belong_to_the_response_before():
    requests = pair("""
        10    0 > 100
        20    0 < 1400
        21    + > 100  ack=0     # sent while the response goes on
        22    + < 1400 ack=100   # sent before the server had it: acknowledges nothing of it
        40    + < 500            # acknowledges it: the answer
    """).requests
    assert requests.response_last_ns.tolist() == [22 * MS, 40 * MS]
    assert requests.response_bytes.tolist() == [2800, 500]
    assert requests.response_time_ns.tolist() == [10 * MS, 19 * MS]
    assert requests.is_overlapped.tolist() == [0, 1]


def test_late_bytes_alone_tell_that_a_request_was_overlapped():
    requests = pair("""
        10    0 > 100
        20    0 < 1400
        21    + > 100            # has acknowledged all that was seen, yet more was on its way
        22    + < 1400 ack=100
        40    + < 500
    """).requests
    assert requests.is_overlapped.tolist() == [0, 1]


def test_a_client_that_has_not_received_everything_overlaps():
    requests = pair("""
        10    0 > 100
        20    0 < 1400
        21    + < 1400
        22    + > 100  ack=1400
        40    + < 500
    """).requests
    assert requests.is_overlapped.tolist() == [0, 1]
    assert requests.response_bytes.tolist() == [2800, 500]


def test_turns_that_wait_for_each_other_do_not_overlap():
    assert pair("1 0 > 9\n 2 0 < 9\n 3 + > 9\n 4 + < 9").requests.is_overlapped.tolist() == [0, 0]


def test_the_lost_beginning_of_a_request_belongs_to_it_and_ends_it():
    requests = pair("""
        10    0 > 100
        20    0 < 400
        30  200 > 100            # bytes 100 to 199 were lost on their way
        31    + <   0 ack=100
        230 100 > 100            # sent again: only now is the request complete
        240   + < 400
    """).requests
    assert requests.request_bytes.tolist() == [100, 200]
    assert requests.request_first_ns.tolist() == [10 * MS, 30 * MS]
    assert requests.arrival_ns.tolist() == [10 * MS, 230 * MS]
    assert requests.response_time_ns.tolist() == [10 * MS, 10 * MS]


def test_the_lost_beginning_of_the_very_first_request_belongs_to_it():
    requests = pair("10 100 > 50\n 12 0 > 100\n 20 0 < 30").requests
    assert requests.request_bytes.tolist() == [150]
    assert requests.arrival_ns.tolist() == [12 * MS]


def test_a_request_hole_filled_after_the_answer_adds_bytes_but_never_moves_arrival():
    requests = pair("""
        10    0 > 100
        11  200 > 100            # 100 to 199 went missing in the capture's own queue
        20    0 < 400 ack=300
        21  100 > 100
        30  300 > 100
        40    + < 400
    """).requests
    assert requests.request_bytes.tolist() == [300, 100]
    assert requests.arrival_ns.tolist() == [11 * MS, 30 * MS]
    assert requests.response_time_ns.tolist() == [9 * MS, 10 * MS]


def test_request_bytes_that_the_capture_shows_after_their_answer_open_no_request():
    requests = pair("""
        10    0 > 100
        20    0 < 400 ack=150    # the server has 50 bytes more than the capture has shown
        21    + >  50            # here they are: frames that changed places in the capture
        22    + < 400
        30    + > 100
        40    + < 400
    """).requests
    assert requests.request_bytes.tolist() == [150, 100]
    assert requests.response_bytes.tolist() == [800, 400]
    assert requests.response_time_ns.tolist() == [10 * MS, 10 * MS]


def test_a_request_hole_of_the_turn_before_is_filled_there():
    requests = pair("""
        10    0 > 100
        11  200 > 100
        20    0 < 400 ack=300
        30  300 > 100
        31  100 > 100            # belongs to the first request
        40    + < 400
    """).requests
    assert requests.request_bytes.tolist() == [200 + 100, 100]
    assert requests.arrival_ns.tolist() == [11 * MS, 30 * MS]


def test_a_response_hole_of_the_turn_before_is_filled_there_and_answers_nothing():
    requests = pair("""
        10    0 > 100
        20    0 < 100
        21  200 < 100            # bytes 100 to 199 were lost
        22    + > 100 ack=100    # the client asks again all the same
        23  100 < 100            # their retransmission acknowledges the new request
        40  300 < 100
    """).requests
    assert requests.response_bytes.tolist() == [300, 100]
    assert requests.response_last_ns.tolist() == [23 * MS, 40 * MS]
    assert requests.response_time_ns.tolist() == [10 * MS, 18 * MS]
    assert requests.is_overlapped.tolist() == [0, 1]


def test_the_lost_beginning_of_a_response_belongs_to_it():
    requests = pair("""
        10    0 > 100
        20    0 < 100
        30    + > 100
        40  200 < 100            # bytes 100 to 199 were lost on their way
        90  100 < 100
        99    + > 100
    """).requests
    assert requests.response_bytes.tolist() == [100, 200]
    assert requests.response_first_ns.tolist() == [20 * MS, 40 * MS]
    assert requests.response_last_ns.tolist() == [20 * MS, 90 * MS]


def test_a_segment_that_fills_a_hole_and_goes_on_moves_the_edge_to_its_end():
    requests = pair("""
        10    0 > 10
        11   20 > 10
        12    5 > 40             # new: 10 to 19 and 30 to 44
        20    0 < 100
        21    + > 10  ack=0      # begins at 45
        22    + < 100 ack=45     # does not reach it
        30    + < 100
    """).requests
    assert requests.request_bytes.tolist() == [45, 10]
    assert requests.response_bytes.tolist() == [200, 100]


def test_a_request_that_was_extended_while_a_response_went_on_is_overlapped():
    requests = pair("""
        10    0 > 100
        20    0 < 100
        21    + > 100
        22    + < 100 ack=100
        23    + > 100 ack=100    # had not received the last bytes
        30    + < 100
        31    + > 100            # the turn after that waited again
        32    + < 100
    """).requests
    assert requests.is_overlapped.tolist() == [0, 1, 0]
    assert requests.request_bytes.tolist() == [100, 200, 100]


def test_a_hole_in_the_greeting_is_filled_there():
    paired = pair("""
        1     0 < 10
        2    20 < 10
        5     0 > 10 ack=30
        6    10 < 10
        8    30 < 40
    """)
    assert paired.counts.unsolicited_bytes.tolist() == [30]
    assert paired.requests.response_time_ns.tolist() == [3 * MS]
    assert paired.requests.response_bytes.tolist() == [40]


def test_bytes_older_than_the_turn_before_open_nothing():
    paired = pair("""
        1     0 > 10
        2    20 > 10
        3     0 < 10 ack=30
        4    30 > 10
        5    10 < 10
        6    40 > 10
        7    20 < 10
        8    10 > 10             # two turns late: that row is out
    """)
    assert paired.requests.request_bytes.tolist() == [20, 10, 10]
    assert paired.counts.requests.tolist() == [3]


def final_after(script: str) -> list[int]:
    """Give, per row, after how many segments it came out."""
    events = whole(script)
    pairing = RequestPairing()
    pairing.feed(*tables(events[:1]))
    found: list[int] = []
    for i, event in enumerate(events[1:], 1):
        found += [i] * len(pairing.feed(*tables([event])).requests)
    return found


def test_a_row_is_final_when_the_next_request_is_answered():
    assert final_after("1 0 > 10\n 2 0 < 10\n 3 + > 10\n 4 + < 10\n 5 + > 1") == [4, 6]


def test_a_row_without_acknowledgment_numbers_is_final_when_the_next_request_begins():
    assert final_after("1 0 > 10 ack=?\n 2 0 < 10 ack=?\n 3 + > 10 ack=?\n 4 + < 10 ack=?") == [3, 5]


def test_a_row_with_a_hole_waits_until_the_hole_is_filled():
    hole = "1 0 > 10\n 2 0 < 10\n 3 20 < 10\n 4 + > 10 ack=30\n 5 30 < 10\n 6 + < 1"
    assert final_after(f"{hole}\n 7 10 < 10\n 8 + < 1") == [7, 9]
    assert final_after(f"{hole}\n 7 + > 10\n 8 + < 1") == [7, 8, 9]
    assert final_after(hole) == [7, 7]


def test_bytes_that_come_with_old_ones_begin_behind_those():
    """The request's first segment repeats ten bytes; nothing of the turn before it, or of itself, is missing."""
    segments, boundaries = tables(whole("1 0 > 100\n 2 0 < 50\n 3 90 > 60\n 4 50 < 10\n 5 150 > 10\n 6 60 < 10"))
    pairing = RequestPairing()
    sent = [pairing.feed(segments[i : i + 1], boundaries[: i == 0]).requests.request_bytes.tolist() for i in range(6)]
    # Each row is final once the next request is answered.
    assert sent == [[], [], [], [100], [], [50]]
