"""What the report notes of turns that hold: overlaps, and what may be push."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tcpsight.analysis import Analysis
from tcpsight.facts import facts
from tcpsight.output.report import page
from tcpsight.output.turn_words import turn_notes
from tcpsight.reporting import ReportCollection
from tcpsight.tables import Findings
from tests.support.pcap import Frame, pcap_bytes, tcp_frame
from tests.support.traffic import CLIENT, MS, PORT, SERVER, START_NS, Talk, answered, capture

SUBSCRIBER = 50_000


def pushed(first_sequence: int, acknowledged: int, at_ns: int, count: int) -> list[Frame]:
    """Write small messages of the server, one each 200 ms, nobody having asked."""
    frames = []
    for i in range(count):
        sequence, time_ns = first_sequence + 600 * i, at_ns + i * 200 * MS
        data = tcp_frame(SERVER, CLIENT, PORT, SUBSCRIBER, sequence, acknowledged, "PA", bytes(600))
        heard = tcp_frame(CLIENT, SERVER, SUBSCRIBER, PORT, acknowledged, sequence + 600, "A")
        frames += [Frame(time_ns, data), Frame(time_ns + MS, heard)]
    return frames


def report_of(frames: list[Frame]) -> tuple[dict[str, Any], str]:
    ordered: list[Frame] = sorted(frames, key=_time)
    with Analysis([io.BytesIO(pcap_bytes(ordered, nanoseconds=True))]).run(Findings) as run:
        collection = ReportCollection()
        for batch in run:
            collection.feed(batch)
        told = facts(collection.report(run), (0.5,))
    return told["services"][0], " ".join(page(told).split())


def _time(frame: Frame) -> int:
    return frame.time_ns


def asking() -> list[Frame]:
    return capture([Talk(answered(*[1 + i % 7 / 10 for i in range(100)]), client_port=40_000 + c) for c in range(4)])


def test_a_subscription_beside_requests_is_noted_as_push():
    talk = Talk(answered(1), client_port=SUBSCRIBER, is_closed=False)
    begin = talk.frames()
    messages = pushed(9001 + 100, 1001 + 20, begin[-1].time_ns + 200 * MS, 50)
    service, text = report_of([*asking(), *begin, *messages])
    assert service["turns"]["trickling"] == 1
    assert service["turns"]["doubt"] is None
    assert "1 answer goes on for long in small pieces: perhaps push, unasked" in text


def test_what_a_server_sends_before_anybody_asked_is_noted_as_push():
    begin = Talk([], client_port=SUBSCRIBER, is_closed=False).frames()
    service, text = report_of([*begin, *pushed(9001, 1001, START_NS + 300 * MS, 10)])
    assert service["turns"]["unsolicited_bytes"] == 6000
    assert "5.86 KiB were sent before anybody asked: perhaps push" in text


def test_requests_alone_are_no_push():
    _, text = report_of(asking())
    assert "push" not in text


def talking(**turns: int) -> dict[str, Any]:
    none = {"hold": True, "doubt": None, "trickling": 0, "unsolicited_bytes": 0, "from_their_syn": 3, "handshakes": 0}
    return {"overlapped": 0, "turns": none | turns}


@pytest.mark.parametrize(
    ("unsolicited", "words"), [(536 * 3, []), (536 * 3 + 1, ["1.57 KiB were sent before anybody asked: perhaps push"])]
)
def test_a_server_that_says_little_first_greets_and_one_that_says_much_pushes(unsolicited, words):
    assert turn_notes(talking(unsolicited_bytes=unsolicited)) == words


def test_what_comes_first_of_a_connection_that_is_older_than_the_capture_is_no_push():
    download = pushed(900_000, 500, START_NS, 10)
    service, text = report_of([*asking(), *download])
    assert service["connections"]["unsolicited_bytes"] == 6000
    assert (service["turns"]["unsolicited_bytes"], service["turns"]["from_their_syn"]) == (0, 4)
    assert "push" not in text
    assert service["remarks"] == []


def test_every_face_tells_the_same_notes():
    begin = Talk([], client_port=SUBSCRIBER, is_closed=False).frames()
    service, text = report_of([*begin, *pushed(9001, 1001, START_NS + 300 * MS, 10)])
    assert service["remarks"] == ["5.86 KiB were sent before anybody asked: perhaps push"]
    assert service["remarks"][0] in text


def test_handshakes_are_counted_in_words():
    assert turn_notes(talking(handshakes=0)) == []
    assert turn_notes(talking(handshakes=1)) == ["1 of the requests is a TLS handshake (--leave-out handshake)"]
    assert turn_notes(talking(handshakes=12)) == ["12 of the requests are TLS handshakes (--leave-out handshake)"]
