"""Why a segment was sent again: what acknowledgments had told by then, and what they tell later."""

from __future__ import annotations

import pytest

from tcpsight.network import NetworkMeasuring
from tests.support.headers import follow, headers
from tests.support.network import Directions, measured

HANDSHAKE = """
    0   > S  seq=1000 mss=1460 sackok
    20  < SA seq=5000 mss=1460 sackok
    21  > A
"""
WITHOUT_SACK = HANDSHAKE.replace(" sackok", "")
STAMPED = """
    0   > S  seq=1000 mss=1460 sackok ts=1000/0
    20  < SA seq=5000 mss=1460 sackok ts=500/1000
    21  > A                           ts=1021/500
"""
FOUR = "30 > A 100 \n 31 > A 100 \n 32 > A 100 \n 33 > A 100 \n"


def test_three_duplicate_acknowledgments_make_it_fast():
    network = measured(
        WITHOUT_SACK
        + FOUR
        + "50 < A acked=0 \n 51 < A acked=0 \n 52 < A acked=0 \n 53 > A 100 off=0 \n 75 < A acked=400"
    )
    assert network.causes() == {"fast": 1}
    assert network.server("duplicate_acks") == 3


def test_two_duplicate_acknowledgments_make_no_fast_retransmission():
    network = measured(
        WITHOUT_SACK + FOUR + "50 < A acked=0 \n 51 < A acked=0 \n 253 > A 100 off=0 \n 275 < A acked=400"
    )
    assert network.causes() == {"timeout": 1}


def test_a_block_above_it_makes_it_fast():
    network = measured(HANDSHAKE + FOUR + "50 < A acked=0 sack=100-200 \n 60 > A 100 off=0 \n 80 < A acked=400")
    assert network.causes() == {"fast": 1}


def test_all_that_follows_is_fast_until_what_had_been_sent_is_acknowledged():
    network = measured(
        HANDSHAKE
        + FOUR
        + """
        50 < A acked=0 sack=100-200
        60 > A 100 off=0
        80 < A acked=200               # a partial acknowledgment: 200 is missing, too
        81 > A 100 off=200
        82 > A 100 off=300
        99 < A acked=400
    """
    )
    assert network.causes() == {"fast": 3}


def test_nobody_told_of_a_loss_so_a_timer_ran_out():
    network = measured(HANDSHAKE + FOUR + "300 > A 100 off=0 \n 320 < A acked=400")
    assert network.causes() == {"timeout": 1}


def test_all_that_follows_a_time_out_is_due_to_it():
    network = measured(
        HANDSHAKE
        + FOUR
        + """
        300 > A 100 off=0
        320 < A acked=100
        321 > A 100 off=100
        322 > A 100 off=200
        340 < A acked=400
        350 > A 100                    # sent for the first time
        600 > A 100 off=400            # another story: the last segment
        620 < A acked=500
    """
    )
    assert network.causes() == {"timeout": 3, "probe": 1}


def test_a_fast_retransmission_that_was_lost_too_waits_for_the_timer():
    network = measured(
        HANDSHAKE
        + FOUR
        + """
        50  < A acked=0 sack=100-400
        51  > A 100 off=0
        400 > A 100 off=0
        420 < A acked=400
    """
    )
    assert network.causes() == {"fast": 1, "timeout": 1}


def test_the_last_segment_sent_again_once_is_a_probe():
    """RFC 8985 §7."""
    network = measured(HANDSHAKE + FOUR + "80 > A 100 off=300 \n 100 < A acked=400")
    assert network.causes() == {"probe": 1}


def test_sent_again_twice_it_is_a_time_out():
    network = measured(HANDSHAKE + FOUR + "80 > A 100 off=300 \n 380 > A 100 off=300 \n 400 < A acked=400")
    assert network.causes() == {"probe": 1, "timeout": 1}


def test_a_sender_without_sack_does_not_probe():
    network = measured(WITHOUT_SACK + "30 > A 100 \n 280 > A 100 off=0 \n 300 < A acked=100")
    assert network.causes() == {"timeout": 1}


def test_what_had_been_acknowledged_is_needless():
    network = measured(HANDSHAKE + FOUR + "60 < A acked=400 \n 61 > A 100 off=300")
    assert network.causes() == {"spurious": 1}


def test_a_block_below_the_acknowledgment_tells_what_was_needless():
    """D-SACK, RFC 2883."""
    network = measured(HANDSHAKE + FOUR + "300 > A 100 off=0 \n 320 < A acked=400 \n 340 < A acked=400 sack=0-100")
    assert network.causes() == {"spurious": 1}


def test_so_does_a_block_within_the_next():
    network = measured(
        HANDSHAKE + FOUR + "50 < A acked=0 sack=100-300 \n 60 > A 100 off=100 \n 90 < A acked=0 sack=100-200,100-400"
    )
    assert network.causes() == {"spurious": 1}


def test_a_block_tells_of_one_arrival():
    network = measured(
        HANDSHAKE + FOUR + "300 > A 100 off=0 \n 700 > A 100 off=0 \n 720 < A acked=400 \n 721 < A acked=400 sack=0-100"
    )
    assert network.causes() == {"timeout": 1, "spurious": 1}


def test_an_echo_of_the_original_tells_that_it_had_arrived():
    """Eifel, RFC 3522."""
    network = measured(STAMPED + "30 > PA 100 ts=1030/500 \n 330 > PA 100 off=0 ts=1330/500 \n 331 < A ts=800/1030")
    assert network.causes() == {"spurious": 1}


def test_so_it_does_where_more_is_acknowledged_at_once():
    """The original came late, and filled the gap."""
    sent = "30 > PA 100 ts=1030/500 \n 31 > PA 100 ts=1031/500 \n 32 > PA 100 ts=1032/500 \n"
    again = sent + "60 > PA 100 off=0 ts=1060/500 \n 61 < A ts=801/{}"
    assert measured(STAMPED + again.format(1030)).causes() == {"spurious": 1}
    assert "spurious" not in measured(STAMPED + again.format(1060)).causes()


def test_an_echo_tells_nothing_of_what_was_not_the_first_missing():
    # The first one filled the gap, and is echoed; the second may have been needed.
    sent = "30 > PA 100 ts=1030/500 \n 31 > PA 100 ts=1031/500 \n 32 > PA 100 ts=1032/500 \n"
    again = sent + "60 > PA 100 off=100 ts=1060/500 \n 61 < A ts=801/1030"
    assert "spurious" not in measured(STAMPED + again).causes()


def test_an_echo_that_belongs_to_data_before_it_tells_nothing():
    network = measured(
        STAMPED
        + """
        30  > PA 100         ts=1030/500
        31  > PA 100         ts=1031/500
        331 > PA 100 off=100 ts=1331/500
        351 < A              ts=800/1030  # delayed: of the first segment
    """
    )
    assert network.causes() == {"probe": 1}


def test_a_repeated_syn_is_a_control_retransmission_by_time_out():
    network = measured("0 > S seq=1000 \n 1000 > S seq=1000 \n 1020 < SA seq=5000 \n 1021 > A")
    assert network.causes() == {"timeout": 1}
    assert network.client("control_retransmissions", "retransmitted_bytes") == (1, 0)


def test_a_syn_ack_sent_again_though_it_had_been_acknowledged_is_needless():
    network = measured("0 > S seq=1000 \n 20 < SA seq=5000 \n 21 > A \n 1020 < SA seq=5000")
    assert network.causes(1) == {"spurious": 1}
    assert network.server("control_retransmissions") == 1


def test_a_repeated_fin_is_a_control_retransmission():
    network = measured(HANDSHAKE + "30 > FA \n 330 > FA off=0 \n 350 < A")
    assert network.client("retransmissions", "control_retransmissions") == (1, 1)
    assert network.causes() == {"probe": 1}


def test_keep_alives_and_probes_are_no_retransmissions():
    network = measured(
        HANDSHAKE
        + "30 > A 100 \n 50 < A win=0 \n 300 > A 1 \n 320 < A win=0 acked=100 \n 400 < A win=9 \n 9000 < A seq=-1"
    )
    assert network.client("retransmissions", "zero_window_probes") == (0, 1)
    assert network.server("retransmissions", "keep_alives") == (0, 1)


def test_before_anything_was_acknowledged_no_block_reaches_below_the_first_byte():
    """In a capture that begins in the middle, bytes sent before it lie below offset 0."""
    network = measured("0 > A 100 seq=1000 ack=1 \n 300 > A 100 seq=900 ack=1 \n 320 < A seq=1 ack=900")
    assert network.causes() == {"timeout": 1}


@pytest.mark.parametrize("copies", [9, 20])
def test_more_retransmissions_than_are_remembered_are_counted_all_the_same(copies: int):
    again = "".join(f"{300 + 300 * i} > A 100 off=0 \n" for i in range(copies))
    network = measured(HANDSHAKE + FOUR + again + "90000 < A acked=400")
    assert network.causes() == {"timeout": copies}


def test_a_syn_that_may_begin_another_connection_and_is_sent_again_counts_where_it_was_met():
    table = headers(
        WITHOUT_SACK + "30 > A 100 \n 50 < A \n 1000 > S seq=9000 \n 2000 > S seq=9000 \n 4000 > S seq=9000"
    )
    followed = follow([table])
    network = Directions(NetworkMeasuring().feed(followed.segments, table, followed.boundaries))
    assert network.client("segments", "retransmissions", "control_retransmissions") == (6, 2, 2)
    assert network.causes() == {"timeout": 2}
    row = followed.connections
    assert (row.client_retransmissions.tolist(), row.client_control_retransmissions.tolist()) == ([2], [2])
