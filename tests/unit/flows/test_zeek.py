"""Zeek's ``conn_state``, from what a capture shows: each as Zeek's own rules have it."""

from __future__ import annotations

import pytest

from tcpsight.flows.assembling import plain_rows
from tcpsight.flows.zeek import conn_state
from tests.support.headers import track

SYN = "0 > S seq=1000\n"
ANSWERED = "0 > S seq=1000\n10 < SA seq=5000\n"
OPEN = ANSWERED + "20 > A\n"
BUSY = OPEN + "30 > PA 100\n40 < PA 300\n"


def named(script: str) -> str | None:
    (connection,) = plain_rows(track(script).connections)
    return conn_state(connection)


@pytest.mark.parametrize(
    ("script", "state"),
    [
        (SYN, "S0"),
        (SYN + "1000 > S seq=1000", "S0"),
        (ANSWERED, "S1"),
        (OPEN, "S1"),
        (BUSY, "S1"),
        (BUSY + "50 > FA\n60 < FA\n70 > A", "SF"),
        (BUSY + "50 < FA\n60 > FA\n70 < A", "SF"),
        (BUSY + "50 > FA\n60 < FA\n70 > R", "SF"),
        (SYN + "10 < RA seq=0 ack=1001", "REJ"),
        (BUSY + "50 > FA\n60 < A", "S2"),
        (BUSY + "50 < FA\n60 > A", "S3"),
        (BUSY + "50 > R", "RSTO"),
        (ANSWERED + "20 > R", "RSTO"),
        (BUSY + "50 > FA\n60 > R", "RSTO"),
        (BUSY + "50 < R", "RSTR"),
        (BUSY + "50 > FA\n60 < R", "RSTR"),
        (ANSWERED + "20 < R", "RSTR"),
        (SYN + "10 > R seq=1001", "RSTOS0"),
        (SYN + "5 > S seq=1000\n10 > R seq=1001", "RSTOS0"),
        (SYN + "10 > FA seq=1001", "SH"),
    ],
)
def test_a_connection_captured_from_its_syn(script, state):
    assert named(script) == state


@pytest.mark.parametrize(
    ("script", "state"),
    [
        ("0 < SA seq=5000 ack=1001", "OTH"),
        ("0 < SA seq=5000 ack=1001\n10 < R seq=5001", "RSTRH"),
        ("0 < SA seq=5000 ack=1001\n10 < FA seq=5001", "SHR"),
        ("0 < SA seq=5000 ack=1001\n10 > A seq=1001 ack=5001", "S1"),
        ("0 < SA seq=5000 ack=1001\n10 > A seq=1001 ack=5001\n20 > FA", "S2"),
        ("0 < SA seq=5000 ack=1001\n10 > A seq=1001 ack=5001\n20 < R", "RSTR"),
    ],
)
def test_a_connection_captured_from_its_syn_ack(script, state):
    assert named(script) == state


@pytest.mark.parametrize(
    ("script", "state"),
    [
        ("0 > PA 100 seq=1 ack=1\n10 < PA 200 seq=1 ack=101", "OTH"),
        ("0 > PA 100 seq=1 ack=1\n10 < FA seq=1 ack=101", "SHR"),
        ("0 > FA seq=1 ack=1\n10 < A seq=1 ack=2", "SH"),
        ("0 > FA seq=1 ack=1\n10 < FA seq=1 ack=2", "SF"),
        ("0 > PA 100 seq=1 ack=1\n10 < R seq=1", "RSTRH"),
        ("0 > PA 100 seq=1 ack=1\n10 > R seq=101", "OTH"),
        ("0 > FA seq=1 ack=1\n10 < R seq=1", "RSTR"),
    ],
)
def test_a_connection_captured_from_its_middle(script, state):
    assert named(script) == state


@pytest.mark.parametrize(
    ("script", "state"),
    [
        # Only the client's side was captured: nobody answered, as far as can be seen.
        (SYN + "20 > A seq=1001 ack=5001\n30 > PA 100 ack=5001", "S0"),
        (SYN + "20 > A seq=1001 ack=5001\n30 > FA ack=5001", "SH"),
        (SYN + "20 > A seq=1001 ack=5001\n30 > R seq=1001", "OTH"),
    ],
)
def test_a_connection_of_which_one_side_was_captured(script, state):
    assert named(script) == state


def test_where_no_flags_are_known_there_is_no_state():
    assert conn_state(dict.fromkeys(
        ("state", "fin_from", "client_isn", "server_isn", "client_segments", "server_segments", "server_bytes")
    )) is None  # fmt: skip
