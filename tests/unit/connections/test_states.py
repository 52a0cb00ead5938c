"""How far a connection came, and whose RST is believed."""

from __future__ import annotations

import pytest

from tests.support.headers import track

HANDSHAKE = """
    0   > S  seq=1000 ws=0
    10  < SA seq=5000 ws=0
    20  > A
"""


@pytest.mark.parametrize(
    ("script", "state"),
    [
        ("0 > S seq=1000", "unanswered"),
        ("0 > S seq=1000 \n 1000 > S seq=1000", "unanswered"),
        ("0 > S seq=1000 \n 10 < SA seq=5000", "handshaking"),
        ("0 < SA seq=5000 ack=1001", "handshaking"),
        ("0 > S seq=1000 \n 10 < RA seq=0 ack=1001", "refused"),
        ("0 > S seq=1000 \n 10 > R seq=1001", "client_reset"),
        ("0 > S seq=1000 \n 10 < SA seq=5000 \n 20 < R", "server_reset"),
        (HANDSHAKE, "open"),
        (HANDSHAKE + "30 > FA", "half_closed"),
        (HANDSHAKE + "30 < FA \n 40 > A", "half_closed"),
        (HANDSHAKE + "30 > FA \n 40 < FA", "closed"),
        (HANDSHAKE + "30 > FA \n 40 < FA \n 50 > A \n 60 < R", "closed"),
        (HANDSHAKE + "30 > FA \n 40 > R", "client_reset"),
        (HANDSHAKE + "30 > RA", "client_reset"),
        (HANDSHAKE + "30 < R", "server_reset"),
        (HANDSHAKE + "30 < R \n 31 > R", "server_reset"),
        ("0 > A seq=1 ack=1", "open"),
        ("0 > R seq=1", "client_reset"),
    ],
)
def test_state_says_how_far_it_came(script: str, state: str):
    assert track(script).one("state") == state


@pytest.mark.parametrize(
    ("script", "sides"),
    [
        (HANDSHAKE, "none"),
        (HANDSHAKE + "30 > FA", "client"),
        (HANDSHAKE + "30 < FA \n 40 > A", "server"),
        (HANDSHAKE + "30 > FA \n 40 < FA", "both"),
        (HANDSHAKE + "30 > FA \n 40 < R", "client"),
        (HANDSHAKE + "30 > FA \n 40 < FA \n 50 > A \n 60 < R", "both"),
        ("0 > S seq=1000 \n 10 > FA seq=1001", "client"),
    ],
)
def test_it_is_told_whose_fin_was_seen(script: str, sides: str):
    assert track(script).one("fin_from") == sides


def test_an_acknowledged_fin_counts_though_it_was_not_captured():
    followed = track(
        HANDSHAKE
        + """
        30  < PA 100
        40  > FA ack=5102       # acknowledges the server's FIN, which the capture lost
        50  < A  seq=5102
    """
    )
    assert followed.one("state", "fin_from", "server_bytes", "server_gap_bytes") == ("closed", "both", 100, 0)
    assert "capture_gap" not in followed.unseen


def test_a_missing_byte_is_no_fin_while_its_peer_has_not_closed():
    followed = track(
        HANDSHAKE
        + """
        30  < PA 100
        40  > A  ack=5102
    """
    )
    assert followed.one("state", "server_bytes", "server_gap_bytes") == ("open", 101, 1)


def test_a_refusal_must_acknowledge_the_syn():
    # RFC 9293 §3.10.7.3: in SYN-SENT a RST without an acceptable ACK is dropped.
    for answer in ("R seq=0", "RA seq=0 ack=1000", "RA seq=0 ack=1002"):
        followed = track(f"0 > S seq=1000 \n 10 < {answer}")
        assert followed.one("state", "ignored_resets") == ("unanswered", 1)
        assert followed.unseen == {"reset_outside_window": [1, 0, 2]}


def test_a_refusal_may_acknowledge_data_on_the_syn():
    for ack in (1001, 1101):
        assert track(f"0 > S 100 seq=1000 \n 10 < RA seq=0 ack={ack}").one("state") == "refused"


@pytest.mark.parametrize(
    ("reset", "is_valid"),
    [
        ("< R off=0", False),  # below what the client acknowledged
        ("< R off=99", False),
        ("< R off=100", True),  # RCV.NXT
        ("< R off=1099", True),  # the last byte of the window of 1000
        ("< R off=1100", False),
        ("< R off=1000000", False),
    ],
)
def test_a_reset_counts_only_inside_the_window(reset: str, is_valid: bool):
    followed = track(
        HANDSHAKE
        + f"""
        30  < PA 100
        40  > A  win=1000
        50  {reset}
    """
    )
    assert followed.one("state", "ignored_resets") == (("server_reset", 0) if is_valid else ("open", 1))


def test_a_reset_window_is_scaled():
    script = """
        0   > S  seq=1000 ws=4
        10  < SA seq=5000 ws=4
        20  > A  win=1000
        30  < R  off=15999
    """
    assert track(script).one("state") == "server_reset"


def test_a_reset_just_after_a_fin_is_valid():
    assert track(HANDSHAKE + "30 > FA \n 31 < A \n 40 > R seq=1002").one("state") == "client_reset"


def test_a_reset_of_the_client_that_gives_up_is_valid_at_its_next_number_only():
    assert track("0 > S seq=1000 \n 10 > R seq=1001").one("ignored_resets") == 0
    assert track("0 > S seq=1000 \n 10 > R seq=300000").one("ignored_resets") == 1


def test_data_on_a_reset_is_no_part_of_the_stream():
    followed = track(HANDSHAKE + "30 < RA 50")
    assert followed.one("state", "server_bytes") == ("server_reset", 0)
    assert followed.of_segments("new_bytes") == [0, 0, 0, 0]
    assert followed.of_segments("offset")[-1] == 0


def test_the_handshake_of_one_side_alone_is_understood():
    client_only = """
        0    > S  seq=1000
        20   > A  seq=1001 ack=5001
        30   > PA 100 ack=5001
        50   > A  ack=5501
        60   > FA ack=5501
    """
    followed = track(client_only)
    assert followed.one("state", "client_bytes", "server_bytes") == ("half_closed", 100, 500)
    assert followed.one("server_segments", "server_gap_bytes") == (0, 500)
    server_only = """
        0    < SA seq=5000 ack=1001
        30   < A  ack=1101
        40   < PA 500 ack=1101
        60   < FA ack=1101
    """
    followed = track(server_only)
    assert followed.one("state", "role_source", "server_bytes") == ("half_closed", "syn_ack", 500)
    assert followed.one("client_bytes", "client_gap_bytes") == (100, 100)


def test_rows_hold_what_the_other_rooms_fill_as_zero():
    followed = track(HANDSHAKE)
    assert followed.one("requests", "unanswered", "unsolicited_bytes", "is_farewell") == (0, 0, 0, 0)


@pytest.mark.parametrize(("sequence", "state", "ignored"), [(999, "unanswered", 1), (1000, "client_reset", 0)])
def test_of_a_stream_that_nobody_acknowledged_a_reset_below_its_syn_is_not_believed(sequence, state, ignored):
    followed = track(f"0 > S seq=1000 \n 10 > R seq={sequence}")
    assert followed.one("state", "ignored_resets") == (state, ignored)
