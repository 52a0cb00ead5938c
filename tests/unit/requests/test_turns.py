"""Which bytes make a request, which make its response, and when response time starts and ends."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.errors import UsageError
from tcpsight.requests import Paired, RequestPairing
from tests.support.conversation import CLIENT_ADDRESS, SERVER_ADDRESS, tables, talk, whole

MS = 1_000_000


def pair(script: str, start: str = "request_last", end: str = "response_first") -> Paired:
    return RequestPairing(start, end).feed(*tables(whole(script)))


def test_arrival_is_the_last_segment_of_the_request_and_completion_the_first_of_the_response():
    requests = pair("""
        10.0   0 >  100   # request, first part
        12.0   + >   40   # last part: arrival
        30.0   0 < 1400   # response begins: completion
        31.0   + <  600
        50.0   + >  100   # the client speaks again, so the request was complete
    """).requests
    assert requests.request_first_ns.tolist() == [10 * MS]
    assert requests.request_last_ns.tolist() == [12 * MS]
    assert requests.response_first_ns.tolist() == [30 * MS]
    assert requests.response_last_ns.tolist() == [31 * MS]
    assert requests.request_bytes.tolist() == [140]
    assert requests.response_bytes.tolist() == [2000]
    assert requests.arrival_ns.tolist() == [12 * MS]
    assert requests.completion_ns.tolist() == [30 * MS]
    assert requests.response_time_ns.tolist() == [18 * MS]


@pytest.mark.parametrize(
    ("start", "end", "milliseconds"),
    [
        ("request_last", "response_first", 18),
        ("request_last", "response_last", 19),
        ("request_first", "response_first", 20),
        ("request_first", "response_last", 21),
    ],
)
def test_response_time_runs_between_the_chosen_instants(start: str, end: str, milliseconds: int):
    requests = pair("10.0 0 > 100\n 12.0 + > 40\n 30.0 0 < 1400\n 31.0 + < 600", start, end).requests
    assert requests.response_time_ns.tolist() == [milliseconds * MS]
    assert (requests.completion_ns - requests.arrival_ns).tolist() == [milliseconds * MS]


@pytest.mark.parametrize("choice", [{"start": "response_first"}, {"end": "request_last"}, {"start": ""}])
def test_an_impossible_start_or_end_is_refused(choice: dict[str, str]):
    with pytest.raises(UsageError, match="response time can"):
        RequestPairing(**choice)


def test_requests_are_numbered_and_carry_their_endpoints():
    requests = pair("1 0 > 10\n 2 0 < 10\n 3 + > 10\n 4 + < 10\n 5 + > 10\n 6 + < 10").requests
    assert requests.request_index.tolist() == [0, 1, 2]
    assert requests.connection_id.tolist() == [1, 1, 1]
    assert bytes(requests.client_address[2]) == CLIENT_ADDRESS
    assert bytes(requests.server_address[2]) == SERVER_ADDRESS
    assert requests.client_port.tolist() == [1025] * 3
    assert requests.server_port.tolist() == [3306] * 3
    assert requests.ip_version.tolist() == [4] * 3


def test_acknowledgments_retransmissions_and_duplicates_open_extend_and_answer_nothing():
    requests = pair("""
        1    0 >  0  syn
        2    0 <  0  syn
        3    0 >  0
        10   0 > 50
        11   0 > 50        # retransmission: not the end of the request
        12   0 <  0        # a pure acknowledgment is no answer
        20   0 < 70
        21   0 < 70        # retransmitted response
        22  49 >  1        # keep-alive: opens nothing
        23   0 < 70 dup
        30   + > 50
        40   + < 70
    """).requests
    assert requests.request_last_ns.tolist() == [10 * MS, 30 * MS]
    assert requests.response_first_ns.tolist() == [20 * MS, 40 * MS]
    assert requests.response_last_ns.tolist() == [20 * MS, 40 * MS]
    assert requests.request_bytes.tolist() == [50, 50]
    assert requests.response_bytes.tolist() == [70, 70]


def test_a_segment_that_is_partly_old_counts_its_new_bytes_only():
    requests = pair("1 0 > 50\n 2 20 > 50\n 3 0 < 10").requests
    assert requests.request_bytes.tolist() == [70]
    assert requests.request_last_ns.tolist() == [2 * MS]


def test_a_greeting_is_unsolicited_and_answers_nothing():
    paired = pair("""
        1   0 < 80        # MySQL, SSH and SMTP servers speak first
        2   + < 20
        10  0 > 50
        15  + < 30
    """)
    assert paired.requests.response_time_ns.tolist() == [5 * MS]
    assert paired.requests.response_bytes.tolist() == [30]
    assert paired.counts.unsolicited_bytes.tolist() == [100]


def test_a_greeting_still_on_its_way_does_not_answer_the_first_request():
    paired = pair("""
        1   0 < 80
        2   0 > 50 ack=0      # an impatient client
        3   + < 20 ack=0      # the rest of the greeting: sent before the server had any of the request
        9   + < 30
    """)
    assert paired.requests.response_first_ns.tolist() == [9 * MS]
    assert paired.requests.is_overlapped.tolist() == [1]
    assert paired.counts.unsolicited_bytes.tolist() == [100]


def test_data_on_the_syn_opens_the_first_request():
    requests = pair("""
        1   0 > 60 syn        # TCP Fast Open (RFC 7413)
        2   0 <  0 syn ack=60
        5   0 < 90
    """).requests
    assert requests.arrival_ns.tolist() == [1 * MS]
    assert requests.response_time_ns.tolist() == [4 * MS]
    assert requests.request_bytes.tolist() == [60]


def test_data_on_the_fin_extends_the_response():
    requests = pair("1 0 > 60\n 5 0 < 90\n 6 + < 10 fin").requests
    assert requests.response_last_ns.tolist() == [6 * MS]
    assert requests.response_bytes.tolist() == [100]


def test_a_clock_that_was_set_back_within_a_response_does_not_move_its_beginning():
    script = "6000 0 > 10\n 6100 0 < 10\n 6120 10 < 10\n 6115 30 < 10\n {} 40 < 10"
    set_back = RequestPairing().feed(*tables(whole(script.format(1121)))).requests
    late = RequestPairing().feed(*tables(whole(script.format(6099)))).requests
    assert set_back.response_time_ns.tolist() == [100 * MS]
    assert set_back.response_last_ns.tolist() == [6120 * MS]
    assert late.response_time_ns.tolist() == [99 * MS]


def test_times_that_go_backwards_never_make_a_negative_duration():
    requests = pair("10 0 > 50\n 4 0 < 10\n 3 + < 10\n 20 + > 1\n 30 + < 1").requests
    assert requests.response_first_ns.tolist() == [3 * MS, 30 * MS]
    assert requests.response_last_ns.tolist() == [4 * MS, 30 * MS]
    assert requests.response_time_ns.tolist() == [0, 10 * MS]


def test_without_sequence_numbers_the_order_of_capture_decides():
    events = whole("1 ? > 10\n 2 ? > 10\n 5 ? < 30\n 6 ? < 30\n 9 ? > 10\n 12 ? < 5")
    pairing = RequestPairing()
    before_second_answer = pairing.feed(*tables(events[:6])).requests.copy()
    rest = pairing.feed(*tables(events[6:])).requests
    assert before_second_answer.response_time_ns.tolist() == [3 * MS]
    assert before_second_answer.request_bytes.tolist() == [20]
    assert rest.response_time_ns.tolist() == [3 * MS]


def test_connections_that_interleave_do_not_mix():
    first = whole("1 0 > 10\n 3 0 < 10\n 5 + > 10\n 9 + < 10", connection_id=1, slot=0)
    second = whole("2 0 > 10\n 4 0 < 10\n 6 + > 10\n 8 + < 10", connection_id=2, slot=1)
    events = sorted(first + second, key=lambda e: e["time_ns"])
    requests = RequestPairing().feed(*tables(events)).requests
    by_connection = {c: requests.response_time_ns[requests.connection_id == c].tolist() for c in (1, 2)}
    assert by_connection == {1: [2 * MS, 4 * MS], 2: [2 * MS, 2 * MS]}


def test_a_slot_that_changes_hands_within_a_batch_starts_afresh():
    script = "1 0 < 5\n 2 0 > 10\n 4 + < 10\n 5 + > 10"
    paired = RequestPairing().feed(*tables(whole(script, 1, 0) + whole(script, 2, 0)))
    assert paired.requests.connection_id.tolist() == [1, 2]
    assert paired.requests.request_index.tolist() == [0, 0]
    assert paired.counts.connection_id.tolist() == [1, 2]
    assert paired.counts.unsolicited_bytes.tolist() == [5, 5]


def test_tables_are_reused_and_copies_are_not():
    pairing = RequestPairing()
    first = pairing.feed(*tables(whole("1 0 > 10\n 3 0 < 10", 1, 0))).requests
    kept = first.copy()
    pairing.feed(*tables(whole("1 0 > 10\n 9 0 < 10", 2, 0)))
    assert first.connection_id.tolist() == [2]
    assert kept.connection_id.tolist() == [1]


def test_finish_gives_what_no_boundary_ended_by_connection():
    late, early = whole("1 0 > 10\n 3 0 < 10", 9, 0)[:-1], whole("2 0 > 10", 5, 1)[:-1]
    pairing = RequestPairing()
    pairing.feed(*tables(late + early))
    paired = pairing.finish()
    assert paired.counts.connection_id.tolist() == [5, 9]
    assert paired.requests.connection_id.tolist() == [9]
    assert paired.unanswered.end_ns.tolist() == [2 * MS]
    assert len(pairing.finish().counts) == 0


def test_silence_is_a_batch_too():
    segments, boundaries = tables([])
    segments.until_ns = 77
    paired = RequestPairing().feed(segments, boundaries)
    assert [len(table) for table in paired] == [0, 0, 0]
    assert paired.requests.until_ns == 77


@pytest.mark.parametrize("slot", [0, 1, 300, 2**32 - 1])
def test_a_segment_of_no_open_connection_is_refused(slot: int):
    with pytest.raises(ValueError, match="slot"):
        RequestPairing().feed(*tables(talk("1 0 > 10", slot=slot)))


@pytest.mark.parametrize("position", [-1, 3])
def test_boundaries_outside_the_batch_are_refused(position: int):
    segments, boundaries = tables(whole("1 0 > 10\n 2 0 < 10"))
    boundaries.position[1] = position
    with pytest.raises(ValueError, match="position"):
        RequestPairing().feed(segments, boundaries)


def test_strided_rows_are_understood():
    segments, boundaries = tables(whole("1 0 > 10\n 2 0 < 10"))
    doubled = type(segments)(np.repeat(segments.rows, 2)[::2])
    assert len(RequestPairing().feed(doubled, boundaries).requests) == 1
