"""Handshakes, session tickets and alerts of TLS are no requests and no answers; records' headers tell them."""

from __future__ import annotations

from typing import Any

import pytest

from tcpsight.requests import RequestPairing
from tcpsight.requests.pairing import Paired
from tcpsight.tables import TLS_RECORDS, Headers, Requests
from tests.support.conversation import tables, whole

MS = 1_000_000
HELLO = """
    10 0 > 517            # hello
    11 0 < 1300
"""
SENT = {0: ("hello", 517), 1: ("handshake", 1300)}
Kinds = dict[int, tuple[Any, ...]]


def pair(script: str, kinds: Kinds, **how: str) -> Paired:
    """Pair a talk whose segments hold what `kinds` tells: name, bytes, records."""
    segments, boundaries = tables(whole(script))
    headers = Headers.allocate(len(segments))
    for row, (name, *numbers) in kinds.items():
        headers.tls[row] = TLS_RECORDS.index(name)
        headers.tls_bytes[row], headers.tls_records[row] = (*numbers, 0, 0)[:2]
    return RequestPairing(**how).feed(segments, boundaries, headers)


def told(script: str, kinds: Kinds, **how: str) -> list[tuple[int, ...]]:
    """Give of each request when it came and was answered, how large both were, and whether it is of a handshake."""
    names = ("arrival_ns", "completion_ns", "request_bytes", "response_bytes", "is_handshake")
    return [
        (int(row["arrival_ns"]) // MS, int(row["completion_ns"]) // MS, *(int(row[name]) for name in names[2:]))
        for row in pair(script, kinds, **how).requests
    ]


FINISHED_ALONE = """
    20 + >  80            # change, Finished
    21 + < 510            # two tickets
    30 + > 100            # request
    40 + < 300
"""


def test_a_finished_that_comes_alone_is_a_handshake_and_tickets_answer_it():
    kinds = SENT | {2: ("finished", 80), 3: ("alike", 255, 2), 4: ("alike", 100, 1), 5: ("alike", 300, 1)}
    assert told(HELLO + FINISHED_ALONE, kinds)[1:] == [(20, 21, 80, 510, 1), (30, 40, 100, 300, 0)]


@pytest.mark.parametrize("how", [{}, {"given_at": "answer"}])
@pytest.mark.parametrize(
    ("script", "more"),
    [
        ("20 + > 180\n 21 + < 510\n 40 + < 300", {2: ("finished", 80), 3: ("alike", 255, 2)}),
        (
            "20 + > 180\n 21 + < 255\n 22 + < 255\n 40 + < 300",
            {2: ("finished", 80), 3: ("alike", 255, 1), 4: ("alike", 255, 1)},
        ),
        ("20 + > 180\n 21 + < 255\n 40 + < 300", {2: ("finished", 80), 3: ("alike", 255, 1), 4: ("alike", 300, 1)}),
        (
            "19 + > 80\n 20 + > 100\n 21 + < 510 ack=597\n 40 + < 300",
            {2: ("finished", 80), 3: ("alike", 100, 1), 4: ("alike", 255, 2)},
        ),
        (
            "19 + > 80\n 20 + > 100\n 21 + < 239 ack=597\n 40 + < 300",
            {2: ("finished", 80), 3: ("alike", 100, 1), 4: ("data",)},
        ),
        ("20 + > 180\n 40 + < 810", {2: ("finished", 80), 3: ("data",)}),
    ],
    ids=["two at once", "one by one", "only one", "after the Finished alone", "of two lengths", "with the answer"],
)  # fmt: skip
def test_a_request_that_travels_with_the_finished_is_answered_after_the_tickets(script, more, how):
    found = told(HELLO + script, SENT | more, **how)
    assert [row[:3] + row[4:] for row in found[1:]] == [(20, 40, 100, 0)]


def test_of_a_server_without_tickets_the_first_record_is_the_answer():
    kinds = SENT | {2: ("finished", 80), 3: ("alike", 255, 1), 4: ("alike", 90, 1), 5: ("alike", 255, 1)}
    for how in ({}, {"given_at": "answer"}):
        found = told(HELLO + "20 + > 180\n 21 + < 255\n 30 + > 90\n 40 + < 255", kinds, **how)
        assert found[1:] == [(20, 21, 100, 255, 0), (30, 40, 90, 255, 0)]


def test_a_second_ticket_that_comes_with_the_first_request_is_not_its_answer():
    # Nagle's algorithm holds it back until the first is acknowledged: by the request.
    script = "20 + > 80\n 21 + < 255\n 30 + > 100\n 31 + < 255\n 40 + < 300"
    kinds = SENT | {
        2: ("finished", 80),
        **dict.fromkeys((3, 5), ("alike", 255, 1)),
        4: ("alike", 100, 1),
        6: ("data",),
    }
    assert told(HELLO + script, kinds)[1:] == [(20, 21, 80, 510, 1), (30, 40, 100, 300, 0)]


def test_an_upload_goes_on_through_the_tickets():
    script = "20 + > 1080\n 21 + < 255\n 22 + > 1000 ack=1300\n 23 + > 1000\n 40 + < 300"
    kinds = SENT | {2: ("finished", 80), 3: ("alike", 255, 1), 4: ("data",), 5: ("data",), 6: ("data",)}
    assert told(HELLO + script, kinds)[1:] == [(23, 40, 3000, 300, 0)]


def test_an_upload_that_acknowledges_the_second_ticket_goes_on():
    script = "20 + > 80\n 21 + < 255\n 30 + > 175\n 31 + < 255\n 32 + > 1000\n 40 + < 300"
    kinds = SENT | {
        2: ("finished", 80),
        **dict.fromkeys((3, 5), ("alike", 255, 1)),
        4: ("alike", 175, 1),
        **dict.fromkeys((6, 7), ("data",)),
    }
    assert told(HELLO + script, kinds)[1:] == [(20, 21, 80, 510, 1), (32, 40, 1175, 300, 0)]


@pytest.mark.parametrize(
    ("sent", "acked"), [(1000, 1455), (16406, 1455 + 16406)], ids=["before it came", "after a full record of it"]
)
def test_an_upload_that_acknowledges_the_first_ticket_goes_on_when_the_second_tells_that_it_was_one(sent, acked):
    script = f"20 + > 80\n 21 + > 175\n 22 + < 255\n 23 + > {sent}\n 24 + < 255 ack={acked}\n 25 + > 900\n 40 + < 300"
    kinds = SENT | {
        2: ("finished", 80),
        3: ("alike", 175, 1),
        **dict.fromkeys((4, 6), ("alike", 255, 1)),
        **dict.fromkeys((5, 7, 8), ("data",)),
    }
    found = told(HELLO + script, kinds)
    assert [row[:4] for row in found[1:] if not row[4]] == [(25, 40, 175 + sent + 900, 300)]


def test_what_acknowledges_only_a_part_of_an_upload_may_be_a_ticket():
    script = "20 + > 1080\n 21 + > 1000\n 22 + < 255 ack=1280\n 23 + > 1000\n 40 + < 300"
    kinds = SENT | {2: ("finished", 80), 3: ("data",), 4: ("alike", 255, 1), 5: ("data",), 6: ("data",)}
    assert told(HELLO + script, kinds)[1:] == [(23, 40, 3000, 300, 0)]


def test_of_a_server_without_tickets_a_second_answer_as_long_as_the_first_is_one():
    script = "20 + > 180\n 40 + < 300\n 50 + > 100\n 60 + < 300\n 70 + > 100\n 80 + < 90"
    kinds = SENT | {
        2: ("finished", 80),
        **dict.fromkeys((3, 5), ("alike", 300, 1)),
        **dict.fromkeys((4, 6), ("alike", 100, 1)),
        7: ("alike", 90, 1),
    }
    found = [row[:4] for row in told(HELLO + script, kinds)[1:]]
    assert found == [(20, 40, 100, 300), (50, 60, 100, 300), (70, 80, 100, 90)]


def test_a_request_right_after_the_finished_of_tls_1_2_is_a_request():
    # A resumed session: the client has the last word of the handshake.
    together = SENT | {2: ("handshake", 51)}
    assert told(HELLO + "20 + > 151\n 40 + < 300", together)[1:] == [(20, 40, 100, 300, 0)]
    apart = SENT | {2: ("change", 6), 3: ("handshake", 45), 4: ("alike", 100, 1)}
    assert told(HELLO + "18 + > 6\n 19 + > 45\n 20 + > 100\n 40 + < 300", apart)[1:] == [(20, 40, 100, 300, 0)]


def test_what_the_server_says_last_of_a_handshake_answers_no_request():
    # False start: the client asks before it has the server's Finished.
    kinds = SENT | {2: ("handshake", 126), 3: ("alike", 100, 1), 4: ("handshake", 51)}
    found = told(HELLO + "18 + > 126\n 20 + > 100\n 21 + < 51\n 40 + < 300", kinds)
    assert found[1:] == [(20, 40, 100, 300, 0)]


def test_a_hello_in_two_segments_and_one_after_a_retry_are_of_the_handshake():
    script = "10 0 > 1400\n 11 + > 400\n 12 0 < 99\n 13 + > 600\n 14 + < 1300\n 20 + > 180\n 40 + < 300"
    kinds = {
        0: ("hello", 1400), 2: ("handshake", 99), 3: ("hello", 600), 4: ("handshake", 1300), 5: ("finished", 80),
    }  # fmt: skip
    assert [row[4] for row in told(script, kinds)] == [1, 1, 0]


TALK = "10 0 > 100\n 20 0 < 300\n"
DATA = {0: ("alike", 100, 1), 1: ("alike", 300, 1)}


@pytest.mark.parametrize("how", [{}, {"given_at": "answer"}])
@pytest.mark.parametrize(
    ("script", "kinds"),
    [
        ("30 + > 31\n 31 + > 0 fin", {2: ("alert",)}),
        ("30 + > 31\n 31 + < 31\n 32 + > 0 fin", {2: ("alert",), 3: ("alert",)}),
        ("30 + > 24\n 31 + > 0 fin", {2: ("closing", 24, 1)}),
        ("30 + > 24 fin", {2: ("closing", 24, 1)}),
        ("30 + > 24\n 31 + < 24\n 32 + < 0 fin\n 33 + > 0 fin", {2: ("closing", 24, 1), 3: ("closing", 24, 1)}),
        ("5000 + < 24\n 5000 + < 0 fin\n 5001 + > 24\n 5001 + > 0 rst", {2: ("closing", 24, 1), 4: ("closing", 24, 1)}),
        ("5000 + < 31\n 5000 + < 0 fin\n 5001 + > 31\n 5001 + > 0 rst", {2: ("alert",), 4: ("alert",)}),
    ],
)  # fmt: skip
def test_alerts_are_no_requests_and_no_part_of_an_answer(script, kinds, how):
    paired = pair(TALK + script, DATA | kinds, **how)
    assert told(TALK + script, DATA | kinds, **how) == [(10, 20, 100, 300, 0)]
    assert paired.counts.requests.tolist() == [1]
    assert paired.counts.unanswered.tolist() == [0]


@pytest.mark.parametrize("how", [{}, {"given_at": "answer"}])
def test_a_record_as_long_as_an_alert_that_is_followed_by_more_is_data(how):
    script = TALK + "30 + > 24\n 40 + < 24\n 50 + > 24\n 60 + < 300"
    kinds = DATA | dict.fromkeys((2, 3, 4), ("closing", 24, 1))
    found = told(script, kinds, **how)
    assert [row[:2] for row in found] == [(10, 20), (30, 40), (50, 60)]


def test_a_fatal_alert_ends_an_open_request_and_a_handshake():
    kinds = {0: ("hello", 517), 1: ("alert",)}
    assert told("10 0 > 517\n 20 0 < 7\n 21 + < 0 fin", kinds) == [(10, 20, 517, 7, 1)]


def test_however_rows_are_cut_the_same_requests_come_out():
    script = TALK + "30 + > 24\n 40 + < 24\n 50 + > 24\n 60 + < 300\n 70 + > 24\n 71 + < 24"
    kinds = DATA | dict.fromkeys((2, 3, 4, 6, 7), ("closing", 24, 1))
    segments, boundaries = tables(whole(script))
    headers = Headers.allocate(len(segments))
    for row, (name, *numbers) in kinds.items():
        headers.tls[row] = TLS_RECORDS.index(name)
        headers.tls_bytes[row], headers.tls_records[row] = numbers
    pairing, parts = RequestPairing(), []
    for i in range(len(segments)):
        own = boundaries[:1] if i == 0 else boundaries[:0]
        parts.append(pairing.feed(segments[i : i + 1], own, headers[i : i + 1]).requests.copy())
    parts.append(pairing.finish().requests.copy())
    at_once = RequestPairing().feed(segments, boundaries, headers).requests
    cut = Requests.concatenate(parts)
    assert len(cut) == 4
    for name in ("request_index", "arrival_ns", "completion_ns", "request_bytes", "response_bytes"):
        assert getattr(cut, name).tolist() == getattr(at_once, name).tolist()


@pytest.mark.parametrize(
    "tickets", [[("alike", 255, 1), ("alike", 255, 1)], [("alike", 510, 2)]], ids=["one by one", "at once"]
)
def test_behind_two_tickets_a_record_as_long_as_they_were_is_an_answer(tickets):
    """They came before the request; no more of them are expected, and what comes amid an upload answers it."""
    came = "".join(f"{21 + i} + < {255 * (3 - len(tickets))}\n" for i in range(len(tickets)))
    kinds: Kinds = SENT | {2: ("finished", 80)} | {3 + i: (name, 255, n) for i, (name, _, n) in enumerate(tickets)}
    at = 3 + len(tickets)
    kinds |= {at: ("data",), at + 1: ("data",), at + 2: ("alike", 255, 1), at + 3: ("data",)}
    script = f"20 + > 80\n {came} 30 + > 1000\n 31 + > 1000\n 40 + < 255 ack=1597\n 50 + < 100"
    assert told(HELLO + script, kinds)[2:] == [(31, 40, 2000, 355, 0)]


def test_a_request_that_goes_on_behind_a_ticket_counts_once():
    sent = "20 + > 80\n 21 + > 175\n 22 + < 255\n 23 + > 1000\n 24 + < 255 ack=1455\n 25 + > 900\n 40 + < 300"
    kinds = SENT | {
        2: ("finished", 80),
        3: ("alike", 175, 1),
        **dict.fromkeys((4, 6), ("alike", 255, 1)),
        **dict.fromkeys((5, 7, 8), ("data",)),
    }
    paired = pair(HELLO + sent + "\n 50 + > 10\n 60 + < 10", kinds | {9: ("data",), 10: ("data",)})
    requests = paired.requests
    assert requests.request_index.tolist() == list(range(len(requests)))
    assert paired.counts.requests.tolist() == [len(requests)]


def test_behind_the_servers_fin_no_answer_is_awaited_whatever_tickets_came():
    """The last answer may have been a ticket; the client asks on, and nobody will answer."""
    script = "20 + > 180\n 21 + < 255\n 22 + < 0 fin\n 30 + > 90"
    segments, boundaries = tables(whole(HELLO + script))
    headers = Headers.allocate(len(segments))
    for row, (name, size, count) in {2: ("finished", 80, 0), 3: ("alike", 255, 1)}.items():
        headers.tls[row], headers.tls_bytes[row], headers.tls_records[row] = TLS_RECORDS.index(name), size, count
    for row, (name, size) in SENT.items():
        headers.tls[row], headers.tls_bytes[row] = TLS_RECORDS.index(name), size
    pairing = RequestPairing()
    pairing.feed(segments, boundaries[:1], headers)
    assert pairing.waiting(500 * MS).is_open.tolist() == [0]


def test_a_server_that_answers_without_tickets_is_not_thought_to_send_any_later():
    script = "20 + > 180\n 21 + < 300\n 30 + > 90\n 40 + < 255\n 41 + < 300"
    kinds = SENT | {2: ("finished", 80), 3: ("data",), 4: ("data",), 5: ("alike", 255, 1), 6: ("data",)}
    assert told(HELLO + script, kinds)[1:] == [(20, 21, 100, 300, 0), (30, 40, 90, 555, 0)]
