"""What shows a hole ends the wait for what is missing: recovery begins there."""

from __future__ import annotations

from tcpsight.tables import FLAG_ACK, FLAG_FIN, KINDS
from tests.unit.network.test_time_account import HANDSHAKE, MS, account, syn


def test_a_fin_that_shows_that_something_is_missing_ends_the_wait():
    parts = account("0 0 > 10\n 5 0 < 10\n 105 30 > 0 fin\n 106 10 > 20 ack=10", {}, {}, {"flags": FLAG_ACK | FLAG_FIN})
    assert parts["think"] == 100


def test_a_fin_that_overtakes_the_whole_answer_ends_the_wait_for_the_server():
    """So did 300 connections of a capture of web servers: a bare FIN first, and the answer milliseconds after it."""
    parts = account(
        HANDSHAKE
        + """
         12    0 > 100
        762   50 < 0 fin
        764    0 < 50
        765  100 > 0
        """,
        *syn(),
        {},
        {},
        {"kind": KINDS.index("out_of_order")},
        {"acked_offset": 51},
        connect_ns=2 * MS,
    )
    assert parts == {"think": 10, "server": 750, "recovery": 3}


def test_an_acknowledgment_that_overtakes_the_senders_data_ends_the_wait_for_them():
    parts = account(
        "0 0 > 10\n 5 0 < 10\n 105 30 > 0\n 109 10 > 20 ack=10\n 110 10 < 5",
        {}, {}, {}, {"kind": KINDS.index("out_of_order")},
    )  # fmt: skip
    assert parts == {"think": 100, "server": 6, "recovery": 4}


def test_within_an_answer_a_sign_of_a_hole_ends_what_the_answer_waited_for():
    parts = account(
        "0 0 > 10\n 5 0 < 10\n 15 30 < 0 fin\n 19 10 < 20\n",
        {}, {}, {}, {"kind": KINDS.index("out_of_order")},
    )  # fmt: skip
    assert parts == {"server": 5, "response_transfer": 10, "recovery": 4}


def test_a_second_sign_of_the_same_hole_tells_nothing_new():
    parts = account(
        "0 0 > 10\n 5 0 < 10\n 15 30 < 0\n 25 30 < 0 fin\n 29 10 < 20\n",
        {}, {}, {}, {}, {"kind": KINDS.index("out_of_order")},
    )  # fmt: skip
    assert parts == {"server": 5, "response_transfer": 10, "recovery": 14}


def test_a_hole_behind_one_that_was_filled_has_a_sign_of_its_own():
    late = {"kind": KINDS.index("out_of_order")}
    talk = "0 0 > 10\n 5 0 < 10\n 15 30 < 0\n 19 10 < 20\n 20 10 > 0 ack=30\n 29 50 < 0\n 36 30 < 20"
    parts = account(talk, {}, {}, {}, late, {}, {}, late)
    assert parts == {"server": 5, "response_transfer": 19, "recovery": 12}


def test_what_is_sent_again_shows_no_hole():
    parts = account("0 0 > 10\n 5 0 < 10\n 105 30 > 5", {}, {}, {"kind": KINDS.index("retransmission"), "new_bytes": 0})
    assert parts == {"recovery": 100, "server": 5}


def test_without_its_syn_nobody_knows_that_something_is_missing_before_a_sides_first_segment():
    parts = account("0 0 > 10\n 50 30 < 0\n 70 0 < 30", {}, {}, {"kind": KINDS.index("out_of_order")})
    assert parts == {"recovery": 70}


def test_the_byte_of_a_fin_is_no_hole():
    closing = "0 0 > 10\n 5 0 < 20\n 6 20 < 0 fin\n 7 10 > 0 ack=21\n 500 10 > 0 fin ack=21\n 501 21 < 0 ack=11"
    assert account(closing) == {"server": 5, "think": 496}
    without_fin = "0 0 > 10\n 5 0 < 20\n 7 10 > 0 ack=21\n 500 10 > 0 fin ack=21\n 501 21 < 0 ack=11"
    assert account(without_fin) == {"server": 5, "think": 496}


def test_while_something_is_sent_again_a_sign_of_a_hole_ends_no_other_wait():
    again = {"kind": KINDS.index("retransmission")}
    parts = account("0 0 > 10\n 5 0 < 10\n 15 0 < 10\n 25 40 < 0\n 26 10 > 0 ack=10", {}, {}, again)
    assert parts == {"server": 5, "recovery": 21}
