"""Requests are marked: the first of a connection, and those that begin with a message of a TLS handshake."""

from __future__ import annotations

import pytest

import tcpsight
from tcpsight.errors import UsageError
from tcpsight.requests import RequestPairing
from tcpsight.tables import TLS_RECORDS, Headers, Requests
from tests.support.conversation import tables, whole

TALK = """
    10 0 > 200   # hello
    20 0 < 900
    30 + > 100   # key exchange
    40 + <  50
    50 + >  80   # request
    60 + < 300
    70 + >  80   # never answered
"""


def pair(handshakes: tuple[int, ...] = (), script: str = TALK) -> tuple[Requests, Requests]:
    """Pair the talk, with those segments marked that begin with a handshake message."""
    segments, boundaries = tables(whole(script))
    headers = Headers.allocate(len(segments))
    for i, row in enumerate(handshakes):
        headers.tls[row] = TLS_RECORDS.index("handshake" if i else "hello")
        headers.tls_bytes[row] = segments.payload_bytes[row]
    paired = RequestPairing().feed(segments, boundaries, headers)
    return paired.requests, paired.unanswered


def test_the_first_request_of_a_connection_is_marked():
    requests, unanswered = pair()
    assert requests.is_first.tolist() == [1, 0, 0]
    assert unanswered.is_first.tolist() == [0]


def test_requests_that_begin_with_a_handshake_message_are_marked():
    requests, unanswered = pair((0, 2))
    assert requests.is_handshake.tolist() == [1, 1, 0]
    assert unanswered.is_handshake.tolist() == [0]


def test_what_follows_the_first_message_of_a_handshake_is_its_end_and_marked():
    # TLS 1.3: the client's Finished is encrypted, and session tickets answer it before its first request is.
    requests, unanswered = pair((0,))
    assert requests.is_handshake.tolist() == [1, 1, 0]
    assert unanswered.is_handshake.tolist() == [0]


def test_a_handshake_after_requests_in_clear_ends_with_the_turn_after_it():
    requests, unanswered = pair((2,))
    assert requests.is_handshake.tolist() == [0, 1, 1]
    assert unanswered.is_handshake.tolist() == [0]


def test_a_handshake_without_answer_is_marked():
    _, unanswered = pair((0, 2, 6))
    assert unanswered.is_handshake.tolist() == [1]


def test_without_headers_nothing_is_known_of_handshakes():
    requests = RequestPairing().feed(*tables(whole(TALK))).requests
    assert not requests.is_handshake.any()


def test_headers_of_another_number_are_refused():
    segments, boundaries = tables(whole(TALK))
    with pytest.raises(ValueError, match="not of the same number"):
        RequestPairing().feed(segments, boundaries, Headers.allocate(1))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("OISF_suricata-verify/tests/pgsql/pgsql-upgrade-tls/input.pcap", [0, 1, 1, 0]),
        ("OISF_suricata-verify/tests/tls/tls13-draft28/tls13_draft28.pcap", [1, 1]),
        ("zeek_zeek/testing/btest/Traces/ftp/ftp-auth-tls.pcap", [0, 0, 1, 0]),
    ],
    ids=["after a request of its own", "at the beginning", "after a command"],
)
def test_handshakes_of_real_captures_are_marked_where_they_are(corpus_dir, path, expected):
    """Which requests they are, tshark tells: its handshake types of the client, and what it says before its first data.

    In the last, a client certificate that is none, Finished and a command travel in one segment.
    """
    requests = tcpsight.open(corpus_dir / "captures" / path).requests.to_numpy()
    first = requests[requests["connection_id"] == 1]
    assert first["is_handshake"].tolist()[: len(expected)] == expected


def test_what_is_marked_can_be_left_out(corpus_dir):
    path = corpus_dir / "captures" / "OISF_suricata-verify/tests/pgsql/pgsql-upgrade-tls/input.pcap"
    left = tcpsight.open(path, leave_out=["handshake", "first"]).requests.to_numpy()
    everything = tcpsight.open(path).requests.to_numpy()
    is_left = (everything["is_handshake"] == 0) & (everything["is_first"] == 0)
    assert left["request_index"].tolist() == everything["request_index"][is_left].tolist()


@pytest.mark.parametrize("kinds", ["last", ["first", 3], 7])
def test_what_has_no_mark_cannot_be_left_out(kinds):
    with pytest.raises(UsageError):
        tcpsight.open("capture.pcap", leave_out=kinds)
